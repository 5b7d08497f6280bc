"""Sources: the same rows from ranges of bytes and from another file system, folders that are hidden or are columns, odd lines."""

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from keyfold.conf.columns import RenamedColumn
from keyfold.conf.csv import CsvOptions
from keyfold.conf.data import Data
from keyfold.core.names import FILE, LINE
from keyfold.core.sql import col
from keyfold.errors import DataError
from keyfold.ingestion import casts, parquet_files, sources, text_files
from keyfold.ingestion.bridges import cast_column
from keyfold.readers import paths
from keyfold.readers.blocks import read_head, read_parts
from keyfold.readers.casts import TextFormat
from keyfold.readers.form import TextForm


def table(source, *columns):
    """The rows of a source with their reason, file and line, sorted by those."""
    more = [source.reason.alias("reason"), col(FILE).alias("file"), *([col(LINE)] if LINE in source.rows.columns else [])]
    found = source.rows.select(*map(col, columns), *more).collect()
    return sorted(
        ((*row[:-2], Path(row[-2]).name, row[-1]) if len(more) == 3 else tuple(row) for row in found), key=lambda r: r[-2:]
    )


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
def test_ranges_and_another_file_system_give_the_rows_of_the_whole_file(spark, folder, monkeypatch, multi):
    monkeypatch.setattr(text_files, "_SMALL", 1000)
    monkeypatch.setattr(text_files, "_LARGE", 1000)
    form = TextForm(multi_line=multi)
    a, b = (str(folder / name) for name in ("a 1.csv", "b+%20.csv"))
    whole = [*read_directly(a, form), *((i, note, *more) for note, i, *more in read_directly(b, form))]
    whole.sort(key=lambda row: row[-2:])
    csv = CsvOptions(multi_line=multi)
    assert len(whole) > 1000
    if multi:
        assert len(text_files._tasks(spark, {a: read_head(a, form)})) > 5
    assert table(sources.read_source(spark, str(folder), {}, csv), "id", "note") == whole
    monkeypatch.setattr(sources, "local_files", lambda _: None)
    assert table(sources.read_source(spark, f"file://{folder}", {}, csv), "id", "note") == whole


def test_hidden_files_are_not_read(folder):
    assert [Path(f).name for f in paths.local_files(str(folder))] == ["a 1.csv", "b+%20.csv"]
    assert paths.local_files(f"file://{folder}") == paths.local_files(str(folder))
    assert paths.local_files("s3a://bucket/x") is None
    assert [*map(paths.is_hidden, ["_a/b", "a/.b", "_a=1/b", "a_/b.c", "_SUCCESS"])] == [True, True, False, False, True]


def test_the_names_of_folders_are_columns_of_text(spark, tmp_path):
    for site, lines in {"01": ["1,1.5", "2,oops"], "1": ["3,3.5", '4,"open', "5,5.5"], "%20": ["6,1"]}.items():
        (tmp_path / f"site={site}").mkdir()
        (tmp_path / f"site={site}" / "a.csv").write_text("\n".join(["id,v", *lines]))
    columns = {"id": "bigint", "v": "double"}
    found = table(sources.read_source(spark, str(tmp_path), columns, None), "site", "id")
    rows = {(site, i, reason, line) for site, i, reason, _, line in found}
    assert rows == {
        ("01", 1, None, 2), ("01", 2, "`v` is not double", 3), ("1", 3, None, 2), (None, None, "a quote is not closed", 3),
        ("1", 5, None, 4), (" ", 6, None, 2),
    }  # fmt: skip
    found = table(sources.read_source(spark, str(tmp_path), columns | {"site": "bigint"}, None), "site")
    assert {row[0] for row in found} == {1, None}
    (tmp_path / "site=1" / "b.csv").write_text("id,v,site\n1,2,3\n")
    with pytest.raises(DataError, match=r"b\.csv has a column `site`, and so do the names of its folders; rename one"):
        sources.read_source(spark, str(tmp_path), columns, None)
    (tmp_path / "b.csv").write_text("id,v\n1,2\n")
    with pytest.raises(DataError, match=r"is below folders of .*no such folder"):
        sources.read_source(spark, str(tmp_path), columns, None)


def rows_and_reasons(path, content, form):
    path.write_text(content)
    some = [*read_parts(str(path), read_head(str(path), form))]
    rows = [(int(n), *row.values()) for part in some for n, row in zip(part.lines, part.rows.to_pylist(), strict=True)]
    return rows, {bad.line: bad.reason for part in some for bad in part.bad}


def test_json_lines_of_more_or_less_than_one_object_are_told(tmp_path):
    content = (
        '{"id":1}\n{"id":2}{"id":3}\n{"id":4} {"id":5}\n{"id":6}, {"id":7}\n{"id":8} words\n{"id":9}]\n{"id":10}}\n{"id":11, }\n'
    )
    rows, bad = rows_and_reasons(tmp_path / "a.jsonl", content, TextForm("json", ("id",)))
    assert rows == [(1, "1")]
    assert set(bad.values()) == {
        "the line is not a JSON object: text follows the object",
        "the line is not a JSON object: expecting property name enclosed in double quotes",
    }
    assert [*bad] == [*range(2, 9)]


def test_json_keys_that_differ_by_case_are_found_and_two_of_them_are_told(tmp_path):
    content = '{"id":1,"UserPlan":"a"}\n{"ID":2,"UserPlan":"b"}\n{"id":3,"userplan":"c"}\n{"id":4,"ID":5}\n{"id":6,"x":1,"X":2}\n'
    rows, bad = rows_and_reasons(tmp_path / "a.jsonl", content, TextForm("json", ("id", "UserPlan")))
    assert rows == [(1, "1", "a"), (2, "2", "b"), (3, "3", "c"), (5, "6", None)]
    assert bad == {4: "the key `ID` is repeated, or differs from another key by case alone"}


def test_backslashes_are_broken_quoting_unless_the_conf_says_what_they_are(tmp_path):
    notes = [
        r'1,"said \"yes\""',
        r'2,"said \"yes, please\""',
        r'3,"C:\dir\"',
        r'4,"the 5\" pipe"',
        '5,"a ""doubled"" one"',
        r"6,C:\dir",
    ]
    content = "\n".join(["id,note", *notes, ""])
    rows, bad = rows_and_reasons(tmp_path / "a.csv", content, TextForm())
    assert rows == [(4, "3", "C:\\dir\\"), (6, "5", 'a "doubled" one'), (7, "6", r"C:\dir")]
    after = "text after a closing quote"
    assert bad == {2: after, 3: after, 5: after}
    rows, bad = rows_and_reasons(tmp_path / "a.csv", content, TextForm(escape="\\"))
    wanted = ['said "yes"', 'said "yes, please"', 'the 5" pipe', 'a "doubled" one', r"C:\dir"]
    assert [row[-1] for row in rows] == wanted
    assert bad == {4: "a quote is not closed"}


def test_a_quote_swallows_no_lines(tmp_path):
    lines = [
        "id\ttext",
        '6\t"Stopped working ',
        "7\tlove it",
        '8\t"It performs well"',
        "9\tgood",
        '10\t"two\nlines"',
        '11\t"open',
        "12\tx",
    ]
    rows, bad = rows_and_reasons(tmp_path / "a.tsv", "\n".join(lines), TextForm(delimiter="\t", multi_line=True))
    assert rows == [(5, "9", "good"), (6, "10", "two\nlines")]
    follows = "the line follows a bad line and may be part of its quoted text"
    assert bad == {
        2: "text after a closing quote", 3: follows, 4: follows, 8: "a quote is not closed",
        9: "the line is in quotes that open in line 8 and are not closed",
    }  # fmt: skip


def test_what_stands_before_the_header(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeffsep=;\r\n\r\nid;größe\r\n1;2,5\r\n".encode())
    head = read_head(str(path), TextForm())
    assert (head.form.names, head.form.delimiter, head.line, head.skipped) == (("id", "größe"), ";", 4, "sep=;")
    assert [part.rows.to_pylist() for part in read_parts(str(path), head)] == [[{"id": "1", "größe": "2,5"}]]
    path.write_text('"id","two\nlines"\n1,2\n')
    assert read_head(str(path), TextForm(multi_line=True)).form.names == ("id", "two\nlines")


def test_words_for_null_are_those_without_quotes(tmp_path):
    rows, _ = rows_and_reasons(tmp_path / "a.csv", 'a,b\nNA,"NA"\n,""\nNaN,\\N\n', TextForm(nulls=("NA", "\\N")))
    assert rows == [(2, None, "NA"), (3, None, ""), (4, "NaN", None)]


def test_numbers_dates_and_names_as_people_write_them(spark, tmp_path):
    lines = [
        "sep=;", "Kunden-Nr;Größe (m²);Umsatz €;Datum;Zeit", "000;54,72;2.361,15;16.08.2026;01.07.2026 12:00", "001;186;1.234.567;01.07.2026;",
        "002;1.5;1,5;1.07.2026;", "003;1;12.34,5;30.02.2026;", "004;1;1;01.07.2026;29.03.2026 02:30", "005;1,5,1;1;01.07.2026;01.07.2026",
    ]  # fmt: skip
    path = tmp_path / "a.csv"
    path.write_bytes("\r\n".join(lines).encode("cp1252"))
    columns = {
        "customer": {"from": "Kunden-Nr", "type": "string"}, "Größe (m²)": "double", "sales": {"from": "Umsatz €", "type": "decimal(12,2)"},
        "day": {"from": "Datum", "type": "date(dd.MM.yyyy)"}, "Zeit": "timestamp(dd.MM.yyyy HH:mm)",
    }  # fmt: skip
    csv = {"decimal": ",", "thousands": ".", "encoding": "windows-1252"}
    data = Data.model_validate(
        {"source": str(path), "key": ["customer"], "columns": columns, "csv": csv, "zone": "Europe/Berlin"}
    )
    source = sources.read_source(spark, str(path), data.columns, data.csv, zone=data.zone)
    assert source.notes == [f"{path}: the line `sep=;` was skipped"]
    rows = source.rows.select(
        "customer", "`Größe (m²)`", "sales", "day", F.unix_seconds("Zeit"), source.reason, LINE, "keyfold_skipped"
    ).collect()
    rows = [tuple(row) for row in sorted(rows, key=lambda row: row[-2])]
    at = int(dt.datetime(2026, 7, 1, 10, tzinfo=dt.UTC).timestamp())
    assert rows[:2] == [
        ("000", 54.72, Decimal("2361.15"), dt.date(2026, 8, 16), at, None, 3, 0),
        ("001", 186.0, Decimal("1234567.00"), dt.date(2026, 7, 1), None, None, 4, 0),
    ]
    assert [row[5] for row in rows[2:]] == [
        "`Größe (m²)` is not double", "`sales` is not decimal(12,2)", None, "`Größe (m²)` is not double",
    ]  # fmt: skip
    assert (rows[4][-1], rows[2][3]) == (1, None)
    columns = {"Zeit": {"from": "Datum", "type": "string"}}
    with pytest.raises(
        DataError, match=r"data.columns.Zeit is from `Datum`, but .*a\.csv also has a column `Zeit`; choose another name"
    ):
        sources.read_source(spark, str(path), Data.model_validate({"key": ["at"], "columns": columns}).columns, data.csv)


def test_times_with_an_offset_in_a_form_are_moments(spark):
    texts_ = ["01/07/2026 12:00 +0200", "01/07/2026 12:00", "x"]
    rows = spark.createDataFrame([(text,) for text in texts_], "t string")
    iso = casts.iso_text(F.col("t"), "timestamp", "dd/MM/yyyy HH:mm Z")
    found = rows.select(F.unix_seconds(casts.cast_text(iso, "timestamp", TextFormat(zone="Asia/Tokyo")))).collect()
    assert [row[0] for row in found] == [int(dt.datetime(2026, 7, 1, 10, tzinfo=dt.UTC).timestamp()), None, None]


def test_nanoseconds_in_parquet_are_microseconds_where_nothing_is_lost(spark, tmp_path):
    at = [1_751_364_000_123_456_000, -1_000, 1_751_364_000_123_456_789, None]
    table_ = pa.table({"id": range(4), "utc": pa.array(at, pa.timestamp("ns", "UTC")), "wall": pa.array(at, pa.timestamp("ns"))})
    pq.write_table(table_, tmp_path / "a.parquet")
    source = sources.read_source(spark, str(tmp_path / "a.parquet"), {}, None)
    assert {f.name: f.dataType.simpleString() for f in source.rows.schema.fields if f.name in ("utc", "wall")} == {
        "utc": "timestamp",
        "wall": "timestamp_ntz",
    }
    columns = [F.unix_micros("utc"), F.unix_micros(F.col("wall").cast("timestamp")), source.reason]
    found = [tuple(row) for row in source.rows.orderBy("id").select(*columns).collect()]
    lost = "`utc` has nanoseconds, and a time holds microseconds"
    assert found == [(1_751_364_000_123_456,) * 2 + (None,), (-1, -1, None), (None, None, lost), (None, None, None)]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (pa.array([dt.time(12)]), "is a time of day, which is not read; write it as text"),
        (pa.array([b"x" * 16], pa.uuid()), "is a UUID, which is not read; write it as text"),
        (
            pa.array([[dt.datetime(2026, 1, 1)]], pa.list_(pa.timestamp("ns"))),
            "is a time of nanoseconds within another type, which",
        ),
        (pa.array([1.0], pa.float16()), "is a number of 16 bits, which is not read; write it as a float"),
    ],
)
def test_types_of_parquet_that_are_not_read_are_told(tmp_path, values, sentence):
    pq.write_table(pa.table({"v": values}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a\.parquet: the column `v` {sentence}"):
        parquet_files.parquet_schema([str(tmp_path / "a.parquet")])


def test_folders_of_parquet_are_text_unless_a_type_is_declared(spark, tmp_path):
    for store in ("1", "01", "1.0"):
        (tmp_path / f"store={store}").mkdir()
        pq.write_table(
            pa.table({"id": [1], "odd name": [2], "big": pa.array([2**64 - 1], pa.uint64())}),
            tmp_path / f"store={store}" / "a.parquet",
        )
    source = sources.read_source(spark, str(tmp_path), {}, None)
    assert sorted(tuple(row) for row in source.rows.select("store", "id", "big").collect()) == [
        (store, 1, 2**64 - 1) for store in ("01", "1", "1.0")
    ]
    columns = {"store": "int", "plain": RenamedColumn.model_validate({"from": "odd name", "type": "bigint"})}
    source = sources.read_source(spark, str(tmp_path), columns, None)
    found = sorted((tuple(row) for row in source.rows.select("store", "plain", source.reason).collect()), key=repr)
    assert found == [(1, 2, None), (1, 2, None), (None, 2, "`store` is not int")]


def test_links_are_followed_once_around_and_one_to_nothing_is_told(spark, tmp_path):
    source, other = tmp_path / "source", tmp_path / "other"
    (source / "deep").mkdir(parents=True)
    other.mkdir()
    (source / "a.csv").write_text("id\n1\n")
    (other / "b.csv").write_text("id\n2\n")
    (other / "_hidden.csv").write_text("id\n3\n")
    (source / "linked").symlink_to(other)
    (source / "c.csv").symlink_to(other / "_hidden.csv")
    (source / "deep" / "up").symlink_to(source)
    (other / "back").symlink_to(source)
    names = ["a.csv", "c.csv", "linked/b.csv"]
    assert [str(Path(file).relative_to(source)) for file in paths.local_files(str(source))] == names
    assert [*map(str, paths.local_files(f"{source}/link*"))] == [str(source / "linked" / "b.csv")] + [
        str(source / "linked" / "back" / name) for name in ("a.csv", "c.csv")
    ]
    pq.write_table(pa.table({"id": [1]}), tmp_path / "p.parquet")
    (tmp_path / "parquet").mkdir()
    (tmp_path / "parquet" / "x=1").symlink_to(other)
    for file in other.iterdir():
        file.unlink()
    (other / "p.parquet").symlink_to(tmp_path / "p.parquet")
    where = [*paths.local_files(str(tmp_path / "parquet"))]
    source_ = sources.read_source(spark, str(tmp_path / "parquet"), {}, None, where)
    assert [tuple(row) for row in source_.rows.select("id", "x", FILE).collect()] == [(1, "1", where[0])]
    (source / "c.csv").unlink()
    (source / "gone.csv").symlink_to(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"gone\.csv` is a link to `.*nothing`, which does not exist"):
        paths.local_files(str(source))


@pytest.mark.parametrize("kind", ["csv", "json", "parquet", "folder"])
def test_names_that_are_keyfolds_own_are_refused_unless_the_conf_gives_another(spark, tmp_path, kind):
    names = ("keyfold_run", "keyfold_file", "Keyfold_Raw")
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        path.write_text(f"id,{','.join(names)}\n1,x,y,z\n")
    elif kind == "json":
        path.write_text('{"id":1,"keyfold_run":"x","keyfold_file":"y","Keyfold_Raw":"z"}\n')
    elif kind == "parquet":
        pq.write_table(pa.table({"id": [1]} | dict(zip(names, [["x"], ["y"], ["z"]], strict=True))), path)
    else:
        folder = path / "keyfold_run=x" / "keyfold_file=y" / "Keyfold_Raw=z"
        folder.mkdir(parents=True)
        (folder / "a.csv").write_text("id\n1\n")
    some = {f"new{i}": RenamedColumn.model_validate({"from": name, "type": "string"}) for i, name in enumerate(names)}
    given = sources.read_source(spark, str(path), {"id": "bigint"} | some, None)
    rows = given.rows.select("id", *some, col(FILE), given.raw.alias("raw"), given.reason.alias("reason")).collect()
    file = rows[0][4]
    assert [tuple(row) for row in rows] == [(1, "x", "y", "z", file, rows[0].raw, None)]
    assert file.startswith(str(path))
    assert all(f'"{name}"' in rows[0].raw for name in names)
    if kind != "json":
        told = r"the column name `keyfold_run` is reserved for keyfold; rename it: data.columns: {<name>: {from: keyfold_run, "
        with pytest.raises(DataError, match=told):
            sources.read_source(spark, str(path), {"id": "bigint"}, None)
    with pytest.raises(ValueError, match=r"the name `keyfold_run` is reserved for keyfold; write {<name>: {from: keyfold_run, "):
        Data.model_validate({"key": ["id"], "columns": {"keyfold_run": "string"}})


def test_json_keys_that_stand_twice_are_told_whether_or_not_a_column_reads_them(tmp_path):
    content = '{"id":1,"x":1}\n{"id":2,"x":1,"x":2}\n{"id":3,"x":1,"x":1}\n{"id":4,"x":{"y":1,"y":2}}\n{"id":5,"x":1,"X":2}\n'
    rows, bad = rows_and_reasons(tmp_path / "a.jsonl", content, TextForm("json", ("id",)))
    assert rows == [(1, "1"), (4, "4"), (5, "5")]
    assert bad == dict.fromkeys((2, 3), "the key `x` is repeated, or differs from another key by case alone")


def test_the_keys_of_json_lines_are_found_in_all_ranges(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "_SMALL", 20)
    monkeypatch.setattr(text_files, "_LARGE", 20)
    (tmp_path / "a.jsonl").write_text('{"b":1,"a":2}\n{"A":1,"c":{"x":[1]}}\nbroken\n{"b":1,"B":2}\n{"d":null}\n')
    texts = text_files.local_text_files([str(tmp_path / "a.jsonl")], TextForm("json"), guess=True)
    assert len(text_files._tasks(spark, texts.heads)) > 1
    assert texts.json_keys(spark) == ["b", "a", "c", "d"]


def test_text_that_a_type_cannot_hold_whole_is_told(spark, tmp_path):
    """At the door, and where an older layout has the same text."""
    finer, offset = "has nanoseconds, and a time holds microseconds", "has an offset, and timestamp_ntz has none"
    moment, wall = {
        "2026-07-01T10:00:00.1234567Z": finer, "2026-07-01 10:00:00.123456000Z": None, "2026-07-01T10:00:00.000000001+02:00": finer,
        "2026-07-01 10:00:00.123456789": finer, "2026-07-01 10:00:00.5Z": None, "x": "is not timestamp",
    }, {
        "2026-07-01T10:00:00.1234567": finer, "2026-07-01 10:00:00.1234560": None, "2026-07-01T10:00:00Z": offset,
        "2026-07-01 10:00:00+02:00": offset, "2026-07-01 10:00:00 Europe/Berlin": offset, "x": "is not timestamp_ntz",
        "2026-07-01 10:00": None, "2026-07-01": None,
    }  # fmt: skip
    numbers = {"1e-400": "is not double", "-0.0e-999": None, "1e400": "is not double", "5e-324": None, "0": None, "-.00": None}
    not_decimal = "is not decimal(10,2)"
    decimals = {
        "1e-40": not_decimal, "1.005": not_decimal, "1.00000000000000000000001e1": not_decimal, "1.2345e1": not_decimal, "1.50e-1": None,
        "1.2345e2": None, "0E-18": None, "1.500": None, "1e7": None, "1e8": not_decimal, "1e99999999999": not_decimal, "-12.5E+1": None,
    }  # fmt: skip
    all_ = {"timestamp": moment, "timestamp_ntz": wall, "double": numbers, "decimal(10,2)": decimals}
    for type_, cases in all_.items():
        path = tmp_path / f"{type_}.csv"
        path.write_text("\n".join(["v", *cases, ""]))
        found = sources.read_source(spark, str(path), {"v": type_}, None, zone="UTC")
        rows = found.rows.select("v", found.reason.alias("reason"), LINE).orderBy(LINE).collect()
        told = {text: f"`v` {reason}" if reason else None for text, reason in cases.items()}
        assert dict(zip(cases, [row.reason for row in rows], strict=True)) == told
        assert [row.v is None for row in rows] == [reason is not None for reason in cases.values()]
        old = spark.createDataFrame([(text,) for text in cases], "v string")
        given = cast_column(Data.model_validate({"key": ["v"], "zone": "UTC"}), F.col("v"), "string", type_, "`v`")
        bridged = old.select(given.value, given.reason).collect()
        assert [row[0] for row in bridged] == [row.v for row in rows]
        assert [row[1] is None for row in bridged] == [row.reason is None for row in rows]


def test_columns_that_spark_takes_for_one_are_told_in_parquet_too(spark, tmp_path):
    folder = tmp_path / "site=1"
    folder.mkdir()
    for name, told in {
        "Site": "has a column `Site`, and so do the names of its folders",
        "ID": "has several columns `id`, which",
    }.items():
        pq.write_table(pa.table({"id": [1], name: [2]}), folder / "a.parquet")
        with pytest.raises(DataError, match=rf"a\.parquet {told}"):
            sources.read_source(spark, str(tmp_path), {}, None)
    (folder / "a.parquet").unlink()
    (folder / "a.csv").write_text("id,SITE\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv has a column `SITE`, and so do the names of its folders; rename one"):
        sources.read_source(spark, str(tmp_path), {}, None)


def test_escapes_in_the_names_of_folders_are_text_or_told(spark, tmp_path):
    folder = tmp_path / "ort=K%C3%B6ln%2F1 + %"
    folder.mkdir()
    (folder / "a.csv").write_text("id\n1\n")
    assert [row.ort for row in sources.read_source(spark, str(tmp_path), {}, None).rows.select("ort").collect()] == ["Köln/1 + %"]
    (folder / "a.csv").unlink()
    pq.write_table(pa.table({"id": [1]}), folder / "a.parquet")
    with pytest.raises(DataError, match=r"Spark misreads the escapes in `ort=K%C3%B6ln.*; rename the folder to `ort=Köln"):
        sources.read_source(spark, str(tmp_path), {}, None)
    folder.rename(tmp_path / "ort=Köln%25 + ")
    assert [row.ort for row in sources.read_source(spark, str(tmp_path), {}, None).rows.select("ort").collect()] == ["Köln% + "]
    with pytest.raises(DataError, match=r"`%FF` in a folder's name has escapes that are not UTF-8; rename the folder"):
        paths.partition_columns("/x", ["/x/ort=%FF/a.csv"])


def test_files_that_are_no_pictures_are_told(spark, tmp_path):
    for name in ("a.png", "b.PNG", "c.tiff", "labels.csv"):
        (tmp_path / name).write_bytes(b"x")
    source = sources.read_source(spark, str(tmp_path), {}, None)
    assert source.notes == [f"{tmp_path}: 2 files are no pictures by their names, such as {tmp_path}/c.tiff; they are left out"]
    assert source.rows.count() == 2
