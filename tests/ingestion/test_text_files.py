"""Text files in Spark: ranges of bytes and another file system give the rows of the whole file."""

from pathlib import Path

import pytest

from keyfold.ingestion import source_rows, sources, text_files
from keyfold.readers.blocks import read_head, read_parts
from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.text_form import TextForm
from source_rows import table


def read_directly(path, form):
    found = []
    for part in read_parts(path, read_head(path, form)):
        values = [tuple(row.values()) for row in part.rows.to_pylist()]
        found += [(*row, None, Path(path).name, int(line)) for row, line in zip(values, part.lines, strict=True)]
        found += [(None, None, bad.reason, Path(path).name, bad.line) for bad in part.bad]
    return found


@pytest.fixture
def folder(tmp_path):
    """Files with some broken lines, one of them hidden."""
    lines = ['1,"x, y"', "2,z", '3,"open', "4,a,b", '5,"two', 'lines"', "6,"] * 300
    (tmp_path / "a 1.csv").write_text("id,note\r\n" + "\r\n".join(lines), newline="")
    (tmp_path / "b+%20.csv").write_text("note,id\nq,7\n")
    for name in (".ipynb_checkpoints", "_archive"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old.csv").write_text("id,note,gone\n1,2,3\n")
    return tmp_path


@pytest.mark.parametrize("multi", [False, True])
def test_ranges_and_another_file_system_give_the_rows_of_the_whole_file(spark_engine, folder, monkeypatch, multi):
    monkeypatch.setattr(text_files, "_SMALL", 1000)
    monkeypatch.setattr(text_files, "_LARGE", 1000)
    csv = CsvOptions(multi_line=multi)
    form = TextForm(csv=csv)
    a, b = (str(folder / name) for name in ("a 1.csv", "b+%20.csv"))
    whole = [*read_directly(a, form), *((i, note, *more) for note, i, *more in read_directly(b, form))]
    whole.sort(key=lambda row: row[-2:])
    assert len(whole) > 1000
    if multi:
        assert len(text_files._tasks(spark_engine, {a: read_head(a, form)})) > 5
    assert table(sources.read_source(spark_engine, str(folder), {}, csv), "id", "note") == whole
    monkeypatch.setattr(sources, "local_path", lambda _: None)
    monkeypatch.setattr(source_rows, "local_files", lambda _: None)
    assert table(sources.read_source(spark_engine, f"file://{folder}", {}, csv), "id", "note") == whole


def test_the_keys_of_json_lines_are_found_in_all_ranges(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "_SMALL", 20)
    monkeypatch.setattr(text_files, "_LARGE", 20)
    (tmp_path / "a.jsonl").write_text('{"b":1,"a":2}\n{"A":1,"c":{"x":[1]}}\nbroken\n{"b":1,"B":2}\n{"d":null}\n')
    texts = text_files.local_text_files([str(tmp_path / "a.jsonl")], TextForm("json"))
    assert len(text_files._tasks(engine, texts.heads)) > 1
    assert texts.json_keys(engine) == ["b", "a", "c", "d"]
