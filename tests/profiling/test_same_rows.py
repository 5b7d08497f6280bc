"""`init` reads files as `ingest` does with the options that `init` writes: the same rows, columns and bad lines, or the same refusal."""

import os
import random
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

import written
from keyfold.errors import DataError
from keyfold.ingestion.sources import text_form
from keyfold.ingestion.text_files import check_header, local_text_files
from keyfold.profiling.draft_data import _csv_options
from keyfold.profiling.file_profile import profile_files
from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.paths import partition_columns
from keyfold.readers.rows import file_rows


def by_init(source):
    """The options that `init` writes, and what it reads: columns, values in order, bad lines by reason."""
    profile = profile_files(source)
    lines = _csv_options(profile)
    values = {name: [blank_as_null(v) for v in profile.sample.column(name).to_pylist()] for name in profile.columns}
    rows = [*zip(*values.values(), strict=True)]
    return yaml.safe_load(lines[0])["csv"] if lines else {}, (
        profile,
        [*values],
        rows,
        +Counter(profile.bad),
    )


def by_ingest(source, options, columns):
    """The same by `ingest`, before values are cast."""
    csv = CsvOptions.model_validate({name: value for name, value in options.items() if name not in ("decimal", "thousands")})
    files = sorted(str(p) for p in Path(source).rglob("*.*")) if Path(source).is_dir() else [source]
    texts = local_text_files([*map(os.path.abspath, files)], text_form(source, csv))
    folders = partition_columns(source, [*texts.heads])
    check_header(texts, folders, {})
    read = [rows for file, head in texts.heads.items() for rows in file_rows(file, head, folders[file], columns)]
    values = [tuple(map(blank_as_null, row.values())) for rows in read for row in rows.kept.to_pylist()]
    return values, Counter(bad.reason for rows in read for bad in rows.bad), [*texts.names, *next(iter(folders.values()))]


def blank_as_null(value):
    return None if value is None or (isinstance(value, str) and not value.strip(" \t\n\r\x0b\x0c")) else value


def plain(value):
    """Numbers that are equal as equal values: the types of JSON are told in a sample by file."""
    text = str(value).lower() if isinstance(value, bool) else value
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def agree(source, is_json):
    try:
        options, (profile, columns, rows, bad) = by_init(source)
    except DataError as refused:
        init = str(refused)
    else:
        init = None
    try:
        wanted, wanted_bad, names = by_ingest(source, options if init is None else {}, columns if init is None else ())
    except DataError as refused:
        refusal = str(refused)
    else:
        refusal = None
    if refusal:  # of a name that is missing or twice, or of other columns in another file, `init` says what to do
        assert init or profile.header or profile.other, refusal
        return
    if init:
        encoding = any(reason.startswith("the line is not ") for reason in wanted_bad)
        assert encoding or not wanted or "has no rows" in init, init
        return
    assert bad == wanted_bad
    if is_json:
        rows, wanted = ([tuple(map(plain, row)) for row in some] for some in (rows, wanted))
    else:
        assert columns == names
    assert rows == wanted


def in_folder(contents, name, sites=()):
    """A source with these files, in folders of these names; a single one is itself the source."""
    folder = tempfile.TemporaryDirectory()
    for i, content in enumerate(contents):
        below = Path(folder.name, *([f"site={sites[i]}"] if sites else []))
        below.mkdir(exist_ok=True)
        (below / f"{i}.{name}").write_bytes(content)
    source = folder.name if len(contents) > 1 or sites else str(Path(folder.name) / f"0.{name}")
    return folder, source


CELL = st.one_of(
    st.sampled_from(
        ["1", "2.5", "1,5", "NA", "?", "x", "", '""', '"a, b"', '"two\nlines"', '"said \\"yes\\""', '5" disk', "é", "sep=;"]
    ),
    st.text(st.sampled_from('ab1,;|\t"\\\n\r é.'), max_size=4),
)


@st.composite
def csv_text(draw):
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    names = draw(st.lists(st.sampled_from(["a", "b", "A", "", "c d", '"n\nm"', "keyfold_x"]), min_size=1, max_size=4))
    rows = draw(st.lists(st.lists(CELL, min_size=len(names), max_size=len(names)), max_size=5))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    start = draw(st.sampled_from(["", "", "\ufeff", "sep=;\n", f"sep={delimiter}\n", "\n"]))
    return (start + end.join(delimiter.join(row) for row in [names, *rows])).encode() + draw(
        st.sampled_from([b"", b"\n", b"\xff\n"])
    )


@given(st.lists(csv_text(), min_size=1, max_size=3), st.booleans())
@example([b"a;b\n1;2\n", b"sep=,\na,b\n1,2\n"], False)
@example([b'a,b\n1,2\n3,"x\ny"\n', b'a,b\n1,"p\nq"\n'], False)
@example([b"a,b\n1,2\n", b"b,a\n1,2\n"], True)
@settings(max_examples=100, deadline=None)
def test_csv(contents, below):
    folder, source = in_folder(contents, "csv", range(len(contents)) if below else ())
    with folder:
        agree(source, is_json=False)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=2), st.sampled_from(["csv", "multi", "json"]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_written_files(seeds, kind, below):
    files = [
        written.objects(random.Random(s)) if kind == "json" else written.csv(random.Random(s), multi=kind == "multi")
        for s in seeds
    ]
    name = files[0].name.partition(".")[2]
    files = [file for file in files if file.name.partition(".")[2] == name]
    folder, source = in_folder([file.data for file in files], name, ("1", "%20")[: len(files)] if below else ())
    with folder:
        agree(source, is_json=kind == "json")


def test_parquet(tmp_path):
    """A time of day and a UUID are text, and a row that would lose nanoseconds is bad."""
    at = pa.array([1, 1000, 2000], pa.timestamp("ns"))
    uuids = pa.array([b"x" * 16] * 3, pa.uuid())
    pq.write_table(pa.table({"at": at, "u": uuids, "t": pa.array([1, 2, 3], pa.time32("s"))}), tmp_path / "a.parquet")
    profile = profile_files(str(tmp_path / "a.parquet"))
    assert (profile.rows, profile.bad) == (2, {"`at` has nanoseconds, and a time holds microseconds": 1})
    assert {name: column.type for name, column in profile.columns.items()} == {"at": "timestamp", "u": "string", "t": "string"}
    pq.write_table(pa.table({"u": pa.array([[1]], pa.list_(pa.time32("s")))}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="the column `u` is a time of day within another type, which is not supported"):
        profile_files(str(tmp_path / "a.parquet"))


@given(
    st.lists(
        st.sampled_from(
            [
                '{"a":1,"B":"x"}',
                '{"b":2.5}',
                '{"A":"7"}',
                '{"site":1}',
                '{"a":1,"A":2}',
                "7",
                '{"c":{"d":[1]}}',
                '{"a":null}',
                "{}",
                '{"n":1e400}',
                '{"n":12345678901234567890}',
            ]
        ),
        min_size=1,
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
@example(["{}", '{"a":1,"B":"x"}'], False)
def test_json(lines, below):
    folder, source = in_folder(["\n".join(lines).encode()] * 2, "jsonl", ("1", "2") if below else ())
    with folder:
        agree(source, is_json=True)
