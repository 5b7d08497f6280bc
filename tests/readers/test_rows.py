"""Rows of sources without an engine."""

import gzip

import pytest

from keyfold.errors import DataError
from keyfold.readers.jsonlines import json_kinds
from keyfold.readers.rows import read_rows
from keyfold.readers.text_form import TextForm


def rows_of(source, form, columns=()):
    """The rows of each file with their lines, and its bad lines."""
    rows, bad = [], []
    for part in read_rows(str(source), form, columns):
        rows += [(int(line), *row.values()) for line, row in zip(part.lines, part.kept.to_pylist(), strict=True)]
        bad += [(line.line, line.reason, line.raw) for line in part.bad]
    return rows, bad


@pytest.fixture
def sites(tmp_path):
    """A folder for each of two sites, one of them compressed; hidden files."""
    for site, line in {"1": b'1,"x, y"\n2\n', "b%2F": b"3,z\n"}.items():
        (tmp_path / f"site={site}").mkdir()
        (tmp_path / f"site={site}" / "_old.csv").write_bytes(b"\xff")
        content = b"id,note\n" + line
        is_first = site == "1"
        (tmp_path / f"site={site}" / ("a.csv" if is_first else "a.csv.gz")).write_bytes(
            content if is_first else gzip.compress(content)
        )
    return tmp_path


def test_files_of_a_folder_with_the_columns_of_its_folders(sites):
    rows, bad = rows_of(sites, TextForm())
    assert rows == [(2, "1", "x, y", "1"), (2, "3", "z", "b/")]
    assert bad == [(3, "1 field in place of 2", "2")]
    assert rows_of(sites / "*" / "a.csv", TextForm(), ["note", "id"])[0] == [(2, "x, y", "1")]
    with pytest.raises(DataError, match=r"a\.csv has no column `noot` \(did you mean `note`\?\)"):
        rows_of(sites, TextForm(), ["noot"])
    with pytest.raises(DataError, match=r"there is no file"):
        rows_of(sites / "b.csv", TextForm())


def test_a_json_line_with_a_key_that_its_folders_give_is_bad(tmp_path):
    (tmp_path / "site=1").mkdir()
    lines = ['{"id":1}', '{"id":2,"site":"x"}', '{"id":3,"Site":null}', '{"id":4,"site":[1,  2]}']
    (tmp_path / "site=1" / "a.jsonl").write_text("\n".join(lines))
    why = "the line has a key `site`, and so do the names of its folders"
    for columns in (["id", "site"], ["site", "id"]):
        rows, bad = rows_of(tmp_path, TextForm("json"), columns)
        assert [dict(zip(("line", *columns), row, strict=True)) for row in rows] == [
            {"line": 1, "id": "1", "site": "1"},
            {"line": 3, "id": "3", "site": "1"},
        ]
        assert bad == [(2, why, lines[1]), (4, why, lines[3])]


def test_all_keys_of_json_lines_with_the_kinds_of_their_values(tmp_path):
    lines = [
        '{"b":1,"a":"x"}',
        '{"B":2.50,"c":[true, {}]}',
        '{"a":"1"}',
        '{"d" :  true,"a":null}',
        '{"e":null}',
        "{}",
        '{"b":1,"B":2}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    (part,) = read_rows(str(tmp_path / "a.jsonl"), TextForm("json"))
    assert part.kept.schema.names == ["b", "a", "c", "e", "d"]
    assert {field.name: json_kinds(field) for field in part.kept.schema} == {
        "b": {"number"}, "a": {"string"}, "c": {"nested"}, "e": set(), "d": {"boolean"},
    }  # fmt: skip
    assert part.kept.to_pydict() == {
        "b": ["1", "2.50", None, None, None, None], "a": ["x", None, "1", None, None, None],
        "c": [None, "[true, {}]", None, None, None, None], "e": [None] * 6, "d": [None, None, None, "true", None, None],
    }  # fmt: skip
    assert [bad.line for bad in part.bad] == [7]
    (tmp_path / "a.jsonl").write_text("{}\n{}\n")
    (part,) = read_rows(str(tmp_path / "a.jsonl"), TextForm("json"))
    assert (part.kept.num_columns, part.lines.tolist()) == (0, [1, 2])
