"""Files into the table: every bad row told by file and line, nothing read twice, times in their zone, whole numbers exact."""

import datetime as dt
import random
import re
import shutil
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.conf.use_case import parse_conf
from keyfold.engine.tables import Table
from keyfold.errors import ConfError, DataError
from keyfold.ingestion import job
from keyfold.ingestion.job import ingest, undo
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep

TYPES = {"id": "bigint", "amount": "double", "day": "date"}


def conf_of(source, name="t", columns=TYPES, **data):
    return parse_conf(
        {"name": name, "data": {"source": str(source), "columns": columns, "key": ["id"], "max_quarantine": 1} | data}
    )


@pytest.fixture
def ingested(engine, home, tmp_path):
    """Ingests a file of this content, or a source that is there; the run."""

    def ingested(content=None, source="rows.csv", **data):
        path = tmp_path / source
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        run = Run(conf_of(path, **data), engine)
        ingest(run)
        return run

    ingested.engine = engine
    return ingested


def rows(run, *columns):
    return sorted(tuple(row[name] for name in columns) for row in run.rows.frame().select(columns).rows())


def aside(run):
    found = run.quarantine.frame().rows() if run.quarantine.exists() else []
    lines = ((Path(row["file"]).name, row["line"], row["reason"]) for row in found if row["run_id"] == run.jobs[-1].run_id)
    return sorted(lines)


def by_another(run):
    """The table of rows, for changes that keyfold does not make."""
    return deltalake.DeltaTable(run.rows.path)


# --- bad rows ---

UNCLOSED = "a quote is not closed"
BREAKS = "quoted text has line breaks; set data.csv.multi_line to read them"
TWICE = "the key occurs more than once in the period"


def test_text_that_is_not_quite_what_it_is_declared_to_be(ingested):
    types = {"id": "bigint", "day": "date", "d": "decimal(38,18)", "n": "decimal(38,0)", "t": "string"}
    lines = ["id,day,d,n,t", "1,2026-07-01 rubbish,1,1,x", "2,2026,1,1,x", "3,2026-07-01,0.1234567890123456789,1,x"]
    lines += [
        '4,2026-07-01,1,1,"abc',
        '5,2026-07-01,1,1,"multi',
        'line"',
        '6,2026-07-01,1.50,1234567890123456789012345,5" disk',
        "7,2026-7-1\t,1,1,x",
    ]
    run = ingested("\n".join(lines), columns=types, source="odd.csv")
    assert rows(run, "id", "t") == [(6, '5" disk'), (7, "x")]
    expected = [
        (2, "`day` is not date"),
        (3, "`day` is not date"),
        (4, "`d` is not decimal(38,18)"),
        (5, UNCLOSED),
        (6, BREAKS),
        (7, BREAKS),
    ]
    assert [(line, reason) for _, line, reason in aside(run)] == expected


def test_bad_lines_are_told_by_file_and_line(ingested):
    lines = ["id,amount,day", "1,1.5,2026-01-01", "", "2,1", "3,1,2026-01-01,9", "x,1,2026-01-01", "4,5d,2026-01-01"]
    lines += ["id,amount,day", "  ", "5,1e999,2026-01-01", "6,1,2026-02-30", "7,1,", "7,1,", '8,"1,2026-01-01', ",1,2026-01-01"]
    run = ingested("\ufeff" + "\r\n".join(lines) + "\r\n")
    assert aside(run) == [
        ("rows.csv", 4, "2 fields in place of 3"),
        ("rows.csv", 5, "4 fields in place of 3"),
        ("rows.csv", 6, "`id` is not bigint"),
        ("rows.csv", 7, "`amount` is not double"),
        ("rows.csv", 8, "`id` is not bigint"),
        ("rows.csv", 10, "`amount` is not double"),
        ("rows.csv", 11, "`day` is not date"),
        ("rows.csv", 12, TWICE),
        ("rows.csv", 13, TWICE),
        ("rows.csv", 14, UNCLOSED),
        ("rows.csv", 15, "key `id` is NULL"),
    ]
    assert rows(run, "id", "amount") == [(1, 1.5)]


def test_a_quote_that_swallows_the_rest_of_a_file_is_told_with_its_line(ingested, capsys):
    lines = ["id,note", "1,x", '2,"two', 'lines"', '3,"open', *(f"{i},x" for i in range(4, 14))]
    run = ingested("\n".join(lines), columns={"id": "bigint", "note": "string"}, csv={"multi_line": True})
    told = "rows.csv: the quote that opens in line 5 is not closed, so 11 lines, to the end of the file, are quarantined"
    assert told in "".join(capsys.readouterr())
    inside = "the line is in quotes that open in line 5 and are not closed"
    assert aside(run) == [("rows.csv", 5, UNCLOSED), *(("rows.csv", line, inside) for line in range(6, 16))]
    assert rows(run, "id") == [(1,), (2,)]


def test_text_is_read_as_it_was_written(ingested):
    """Quotes, Latin-1, whole numbers over 2^53 and grouped numbers; the wrongly grouped go to quarantine."""
    lines = [
        'id;amount;"nä;me"',
        '9007199254740993;1,234.5;"a ""b"""',
        "1,234,567;-12;ü",
        "1,23;1;x",
        "1234,567;1;x",
        "2;1,2345;x",
    ]
    csv = {"delimiter": ";", "encoding": "latin-1", "thousands": ","}
    columns = {"id": "bigint", "amount": "double", "name": {"from": "nä;me", "type": "string"}}
    run = ingested("\n".join(lines).encode("latin-1"), csv=csv, columns=columns)
    assert rows(run, "id", "amount", "name") == [(1_234_567, -12.0, "ü"), (2**53 + 1, 1_234.5, 'a "b"')]
    assert [(line, reason) for _, line, reason in aside(run)] == [
        (4, "`id` is not bigint"),
        (5, "`id` is not bigint"),
        (6, "`amount` is not double"),
    ]


def test_grouped_numbers_must_be_declared(ingested):
    run = ingested('id,amount,day\n"1,234",1,2026-01-01\n1,1,2026-01-01\n')
    assert aside(run) == [("rows.csv", 2, "`id` is not bigint")]


def test_json_lines_and_parquet_are_told_too(ingested, tmp_path):
    lines = ['{"id": 9007199254740993, "amount": 1e3}', "", '{"id": 9223372036854775808}', "[1", '{"id": "7", "amount": "x"}']
    lines += ['{"id": 1e3}', '{"id": 8}{"id": 9}']
    run = ingested("\ufeff" + "\n".join(lines), "rows.jsonl", columns={"id": "bigint", "amount": "double"})
    assert rows(run, "id", "amount") == [(2**53 + 1, 1000.0)]
    odd = "the line is not a JSON object: "
    assert aside(run) == [
        ("rows.jsonl", 3, "`id` is not bigint"),
        ("rows.jsonl", 4, odd + "expecting ',' delimiter"),
        ("rows.jsonl", 5, "`amount` is not double"),
        ("rows.jsonl", 6, "`id` is not bigint"),
        ("rows.jsonl", 7, odd + "text follows the object"),
    ]
    pq.write_table(pa.table({"id": [1, 2, 2, None]}), tmp_path / "rows.parquet")
    run = ingested(source="rows.parquet", name="p", columns={})
    assert aside(run) == [("rows.parquet", None, "key `id` is NULL"), *[("rows.parquet", None, TWICE)] * 2]


BAD = {
    "{i},1": "2 fields in place of 3",
    "{i},1,2026-01-01,x": "4 fields in place of 3",
    '{i},"1,2026-01-01': UNCLOSED,
    "x{i},1,2026-01-01": "`id` is not bigint",
    '"{i},000",1,2026-01-01': "`id` is not bigint",
    "{i}.0,1,2026-01-01": "`id` is not bigint",
    "9223372036854775808,{i},2026-01-01": "`id` is not bigint",
    "{i},1.2.3,2026-01-01": "`amount` is not double",
    "{i},1,2026-13-01": "`day` is not date",
    ",{i},2026-01-01": "key `id` is NULL",
    " ,1,2026-01-01": "key `id` is NULL",
    "{i},1,2026-01-01\n{i},1,2026-01-01": TWICE,
}


@settings(max_examples=4)
@given(st.randoms(use_true_random=False), st.lists(st.sampled_from([*BAD]), min_size=1), st.integers(1, 3))
def test_so_many_bad_rows_in_so_many_aside(engine, tmp_path_factory, draw, bad, parts):
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYFOLD_HOME", str(folder / "state"))
        written = [(line.format(i=i), BAD[line]) for i, line in enumerate(bad)] + [
            (f"{i},1,2026-01-01", None) for i in range(900, 905)
        ]
        draw.shuffle(written)
        expected = []
        (folder / "in").mkdir()
        for part in range(parts):
            lines = ["id,amount,day"]
            for text, reason in written[part::parts]:
                for line in text.split("\n"):
                    lines += [""] * draw.randrange(2) + [line]
                    expected += [(f"{part}.csv", len(lines), reason)] if reason else []
            (folder / "in" / f"{part}.csv").write_text("\n".join(lines))
        run = Run(conf_of(folder / "in"), engine)
        ingest(run)
        assert aside(run) == sorted(expected)
        assert run.jobs[0].counts == {"read": len(expected) + 5, "kept": 5, "quarantined": len(expected)}


# --- files that come, go and change ---


@pytest.fixture
def folder(tmp_path):
    """A folder of files; writes one."""
    (tmp_path / "in").mkdir()

    def write(name, *lines):
        (tmp_path / "in" / name).write_text("\n".join(["id,amount,day", *lines]) + "\n")

    return write


MONTHLY = {"source": "in", "time": "day", "period": "month"}


def told(run):
    commit = next(run.rows.commits())
    return {Path(name).name: file["periods"] for name, file in commit.metadata["files"].items()}


@pytest.mark.both_engines
def test_only_the_new_file_is_read(ingested, folder):
    folder("a.csv", "1,1,2026-01-05", "x,1,2026-01-06")
    folder("b[1] +%20.csv", "1,1,2026-02-05")
    first = ingested(**MONTHLY)
    assert first.jobs[0].counts == {"read": 3, "kept": 2, "quarantined": 1}
    again = ingested(**MONTHLY)
    assert again.jobs[0].status == "done before"
    assert again.rows.version() == first.rows.version()
    folder("c.csv", "1,1,2026-03-05", "2,1,2026-03-05", ",1,2026-03-05")
    third = ingested(**MONTHLY)
    assert third.jobs[0].counts == {"read": 3, "kept": 2, "quarantined": 1}
    assert rows(third, "id", "keyfold_period") == [(1, "2026-01"), (1, "2026-02"), (1, "2026-03"), (2, "2026-03")]
    assert told(third) == {
        "a.csv": {"2026-01": [1, 1]},
        "b[1] +%20.csv": {"2026-02": [1, 0]},
        "c.csv": {"2026-03": [2, 1]},
    }
    assert "1 of 3 files are new or changed" in third.write_report().read_text("utf-8")
    assert ingested(**MONTHLY).jobs[0].status == "done before"


def test_a_period_that_a_new_file_adds_to_is_read_whole(ingested, folder):
    folder("a.csv", "1,1,2026-01-05", "2,1,2026-02-05")
    folder("b.csv", "3,1,2026-03-05")
    ingested(**MONTHLY)
    folder("c.csv", "1,9,2026-01-07", "4,1,2026-01-07")
    run = ingested(**MONTHLY)
    assert run.jobs[0].counts == {"read": 3, "kept": 1, "quarantined": 2}
    assert aside(run) == [("a.csv", 2, TWICE), ("c.csv", 2, TWICE)]
    assert rows(run, "id", "keyfold_period") == [(2, "2026-02"), (3, "2026-03"), (4, "2026-01")]
    assert told(run)["a.csv"] == {"2026-01": [0, 1], "2026-02": [1, 0]}
    assert ingested(**MONTHLY).jobs[0].status == "done before"


def test_a_file_that_changes_while_it_is_read_is_told(ingested, folder, tmp_path, monkeypatch):
    folder("a.csv", "1,1,2026-01-05")
    run, stage = ingested(source="in"), job.stage_rows

    def stage_and_change(*arguments):
        staged = stage(*arguments)
        staged.rows.count()
        with (tmp_path / "in" / "b.csv").open("a") as file:
            file.write("77,1,2026-02-01\n")
        return staged

    folder("b.csv", "50,1,2026-02-01")
    with monkeypatch.context() as patch:
        patch.setattr(job, "stage_rows", stage_and_change)
        with pytest.raises(DataError, match=r"b\.csv changed while it was read; run again"):
            ingested(source="in")
    assert rows(run, "id") == [(1,)]
    assert rows(ingested(source="in"), "id") == [(1,), (50,), (77,)]


@pytest.mark.both_engines
def test_rows_of_an_earlier_reading_are_not_taken_for_those_of_a_changed_file(ingested, folder, monkeypatch):
    """Spark keeps what is persisted, and takes it for every equal plan."""
    folder("a.csv", "1,1,2026-01-05", "1,2,2026-01-05", "9,1,2026-01-05")
    assert rows(ingested(**MONTHLY, max_quarantine=1), "id") == [(9,)]
    folder("a.csv", "1,1,2026-01-05", "2,2,2026-01-05", "9,1,2026-01-05")
    with monkeypatch.context() as patch:
        patch.setattr(job, "_commit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ingested(**MONTHLY, max_quarantine=1)
    folder("a.csv", "1,1,2026-01-05", "3,2,2026-01-05", "9,1,2026-01-05")
    assert rows(ingested(**MONTHLY, max_quarantine=1), "id") == [(1,), (3,), (9,)]


def test_a_changed_file_is_read_again_and_a_lost_period_too(ingested, folder, tmp_path):
    folder("a.csv", "1,1,2026-01-05", "2,1,2026-02-05")
    folder("b.csv", "3,1,2026-01-05")
    ingested(**MONTHLY)
    folder("a.csv", "1,1,2026-03-05", "2,2,2026-02-05")
    run = ingested(**MONTHLY)
    assert rows(run, "id", "amount", "keyfold_period") == [(1, 1.0, "2026-03"), (2, 2.0, "2026-02"), (3, 1.0, "2026-01")]
    assert (
        f"`{tmp_path}/in/a.csv` has changed since it was ingested, and was read again"
        in next(run.rows.commits()).metadata["notes"]
    )
    by_another(run).delete("id = 3")
    assert rows(ingested(**MONTHLY), "id") == [(1,), (2,), (3,)]
    (tmp_path / "in" / "b.csv").unlink()
    assert ingested(**MONTHLY).jobs[0].status == "done before"
    folder("c.csv", "5,1,2026-01-05")
    with pytest.raises(DataError, match=r"period 2026-01 must be read again, and `.*b\.csv`, which has rows of it, is missing"):
        ingested(**MONTHLY)


def test_files_by_their_uri_are_known_again(ingested, folder, tmp_path):
    uri = {"source": f"file://{tmp_path}/in", "time": "day", "period": "month"}

    def of(**more):
        run = Run(parse_conf({"name": "t", "data": {"columns": TYPES, "key": ["id"]} | uri | more}), ingested.engine)
        ingest(run)
        return run

    folder("a 1.csv", "1,1,2026-01-05", "2,1,2026-01-05")
    of()
    folder("b.csv", "3,1,2026-01-05")
    assert rows(of(), "id") == [(1,), (2,), (3,)]


def test_what_a_changed_file_no_longer_has_is_gone(ingested, folder, tmp_path):
    folder("a.csv", "1,1,2026-01-05", "2,1,2026-02-05")
    folder("b.csv", "3,1,2026-03-05")
    ingested(**MONTHLY)
    folder("a.csv", "1,x,2026-01-05", "2,1,2026-02-05")
    run = ingested(**MONTHLY)
    assert (run.jobs[0].counts, rows(run, "id")) == ({"read": 2, "kept": 1, "quarantined": 1}, [(2,), (3,)])
    (tmp_path / "in" / "b.csv").unlink()
    folder("a.csv", "3,1,2026-03-05", "2,1,2026-02-05")
    with pytest.raises(DataError, match=r"period 2026-03 must be read again, and `.*b\.csv`, which has rows of it, is missing"):
        ingested(**MONTHLY)


def test_a_source_that_is_read_otherwise_leaves_no_row_twice(ingested, folder):
    folder("a.csv", "1,1,2026-01-05", "2,1,2026-02-05")
    ingested(**MONTHLY)
    yearly = ingested(**MONTHLY | {"period": "year"})
    assert rows(yearly, "id", "keyfold_period") == [(1, "2026"), (2, "2026")]
    assert rows(ingested(**MONTHLY), "id", "keyfold_period") == [(1, "2026-01"), (2, "2026-02")]


def test_a_source_that_is_read_otherwise_loses_no_row_of_a_file_that_is_gone(ingested, folder, tmp_path):
    folder("a.csv", "1,1,2026-01-05")
    folder("b.csv", "2,1,2026-02-05")
    run = ingested(**MONTHLY)
    (tmp_path / "in/b.csv").rename(tmp_path / "b.csv")
    with pytest.raises(
        DataError, match=r"differently than before, so all of it must be read again, and `.*b.csv` is missing; put it back"
    ):
        ingested(**MONTHLY | {"columns": TYPES | {"amount": "bigint"}, "table": "t.rows"})
    assert rows(run, "id") == [(1,), (2,)]


def test_what_a_run_put_aside_stays_when_a_period_is_read_again(ingested, folder):
    folder("a.csv", "1,1,2026-01-05", ",1,2026-01-05", "2,1,2026-02-05", ",1,2026-02-05")
    run = ingested(**MONTHLY)
    by_another(run).delete("id = 1")
    again = ingested(**MONTHLY)
    assert rows(again, "id") == [(1,), (2,)]
    there = [(row["run_id"], row["period"], row["line"]) for row in again.quarantine.frame().rows()]
    first, second = run.jobs[0].run_id, again.jobs[0].run_id
    assert sorted(there) == sorted([(first, "2026-01", 3), (first, "2026-02", 5), (second, "2026-01", 3)])


def test_one_of_two_like_files_is_missed(ingested, folder, tmp_path):
    content = {"source": "in", "key": "content"}
    folder("a.csv", "1,1,2026-01-05")
    folder("b.csv", "1,1,2026-01-05")
    ingested(**content)
    (tmp_path / "in" / "b.csv").rename(tmp_path / "in" / "d.csv")
    assert rows(ingested(**content), "id") == [(1,), (1,)]
    (tmp_path / "in" / "d.csv").unlink()
    folder("c.csv", "2,1,2026-01-05")
    with pytest.raises(DataError, match=r"`.*d\.csv`, which has rows of it, is missing"):
        ingested(**content)


def test_a_new_file_with_a_header_alone_changes_nothing(ingested, folder):
    folder("a.csv", "1,1,2026-01-05")
    ingested(**MONTHLY)
    folder("b.csv")
    run = ingested(**MONTHLY)
    assert (run.jobs[0].status, rows(run, "id")) == ("done before", [(1,)])


def test_parquet_files_of_different_columns_are_refused(ingested, tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"id": [1], "amount": [1.0]}), tmp_path / "in" / "a.parquet")
    pq.write_table(pa.table({"id": [2], "amounts": [2.0]}), tmp_path / "in" / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet has different columns from .*a\.parquet: `amount`, `amounts`; declare each"):
        ingested(source="in", columns={})


def test_a_folder_of_tabs_whose_rows_are_numbered(ingested, folder, tmp_path):
    (tmp_path / "in" / "a.tsv").write_text("\tid\tamount\tday\n0\t1\t1 500\t2026-01-05\n")
    assert rows(ingested(source="in", csv={"thousands": " "}), "id", "amount") == [(1, 1500.0)]


# --- times ---

AT = {"columns": {"id": "bigint", "at": "timestamp"}}


def test_times_without_an_offset_are_of_the_declared_zone(ingested):
    times = {
        "2026-07-01 12:00": "2026-07-01 10:00:00",
        "2026-01-01T12:00:00.000001": "2026-01-01 11:00:00.000001",
        "2026-01-01": "2025-12-31 23:00:00",
        "2026-03-29 02:30": "2026-03-29 01:30:00",
        "2026-10-25 02:30": "2026-10-25 00:30:00",
        "2026-10-25 03:00": "2026-10-25 02:00:00",
        "2026-10-25T02:30:00+01:00": "2026-10-25 01:30:00",
        "2026-10-25T02:30:00Z": "2026-10-25 02:30:00",
    }
    lines = [f"{i},{time}" for i, time in enumerate(times)]
    run = ingested(
        "\n".join(["id,at", *lines, "97,2026-07-01 12:00:00\t", "98,12:30", "99,2026-02-30 00:00"]), zone="Europe/Berlin", **AT
    )
    expected = dict(enumerate(times.values())) | {97: "2026-07-01 10:00:00"}
    assert dict(rows(run, "id", "at")) == {i: dt.datetime.fromisoformat(f"{time}Z") for i, time in expected.items()}
    assert [line for _, line, reason in aside(run) if reason == "`at` is not timestamp"] == [11, 12]
    notes = [
        "1 times do not exist in Europe/Berlin; they were moved forward by the width of the gap",
        "1 times exist twice in Europe/Berlin; the earlier was taken",
    ]
    assert next(run.rows.commits()).metadata["notes"] == notes
    assert all(note in run.write_report().read_text("utf-8") for note in notes)


def test_times_without_an_offset_need_a_zone(ingested):
    with pytest.raises(DataError) as error:
        ingested("id,at\n1,2026-01-01 12:00:00Z\n2,2026-01-01 12:00:00\n", **AT)
    assert str(error.value) == (
        "`at` has the time `2026-01-01 12:00:00` without an offset, and no zone is declared; set data.zone (such as "
        "Europe/Berlin), or give the column the type timestamp_ntz"
    )
    run = ingested("id,at\n1,2026-01-01 12:00:00\n", columns={"id": "bigint", "at": "timestamp_ntz"}, name="wall")
    assert run.jobs[0].counts["kept"] == 1
    with pytest.raises(ConfError, match=r"data\.zone: must be a time zone.*\(got `Europe/Berlyn`\) \(did you mean `Europe/B"):
        conf_of("x.csv", zone="Europe/Berlyn")


# --- keys ---


def test_keys_that_differ_in_their_unicode_form_are_told_and_not_merged(ingested):
    columns = {"id": "string"}
    run = ingested("id,amount\nZoe\u0308,1\nZo\u00eb,2\nnai\u0308ve,3\nK,4\n\u212a,5\n", columns=columns)
    assert run.jobs[0].counts == {"read": 5, "kept": 5, "quarantined": 0}
    note = "2 keys differ from another key only in Unicode form, such as 'K' in period all; they are kept distinct"
    assert next(run.rows.commits()).metadata["notes"] == [note]
    assert note.replace("'", "&#39;") in run.write_report().read_text("utf-8")


def test_a_table_without_a_key_gets_one_of_its_content(ingested, tmp_path):
    lines = [f"{i % 3},{i % 2},2026-01-01" for i in range(9)]
    conf = {"key": "content", "columns": {"id": "bigint"}}
    one = ingested("\n".join(["id,amount,day", *lines, "x,1,2026-01-01"]), **conf)
    random.Random(1).shuffle(lines)
    (tmp_path / "two").mkdir()
    for part in range(2):
        (tmp_path / "two" / f"{part}.csv").write_text("\n".join(["id,amount,day", *lines[part::2]]))
    two = ingested(source="two", name="two", **conf)
    found = rows(one, "content_key", "id", "amount")
    assert found == rows(two, "content_key", "id", "amount")
    assert len({row[0] for row in found}) == 9
    assert all(re.fullmatch(r"[0-9a-f]{32}-[12]", row[0]) for row in found)


@pytest.mark.slow
@pytest.mark.parametrize("key", [["id"], ["big"]])
def test_whole_numbers_are_exact_in_the_predictions(ingested, key):
    """2^53 + 1, its neighbours and NULL: as a key, as a feature and as the label."""
    odd = [2**53 + 1 + 2 * (i % 2) for i in range(60)]
    lines = [f"{2**53 + 1 + i},{'' if i % 7 == 0 else 2**53 + 1 + i},{odd[i]},{odd[i]}" for i in range(60)]
    names = ("id", "big", "odd", "y")
    run = ingested("\n".join([",".join(names), *lines]), columns=dict.fromkeys(names, "bigint"), key=key)
    kinds = {"big": {"one_hot": {"input_col": "big"}}, "odd": {"hashed": {"input_col": "odd", "num_buckets": 64}}}
    model = {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}}
    data = run.conf.data.model_dump(mode="json", exclude_none=True)
    run = Run(
        parse_conf(
            {
                "name": "t",
                "data": data,
                "label": {"column": "y", "positive": 2**53 + 1},
                "split": {"allow": ["odd"]},
                "features": kinds,
                "train": model,
            }
        ),
        run.engine,
    )
    ingest(run)
    assert run.jobs[0].status == "done before"
    score(run, promote_or_keep(run, train(run)))
    found = run.predictions.frame().rows()
    named = [i for i in range(60) if key == ["id"] or i % 7]
    assert sorted(row[key[0]] for row in found) == [2**53 + 1 + i for i in named]
    assert {(row[key[0]] - 2**53 - 1) % 2 * 2 + 2**53 + 1 == row["prediction"] for row in found} == {True}
    assert len(aside(ingested(source="rows.csv", columns=data["columns"], key=key, name="u"))) == 60 - len(named)


# --- monthly snapshots, and how many rows may go to quarantine ---


def test_next_months_file_with_the_same_keys_changes_nothing_until_it_is_a_period(ingested, folder):
    folder("members_2026-09.csv", *(f"{i},1,2020-01-01" for i in range(20)))
    first = ingested(source="in", max_quarantine=0.1)
    folder("members_2026-10.csv", *(f"{i},2,2020-01-01" for i in range(2, 22)))
    sentence = (
        r"36 of the 40 rows cannot be kept: 36 × the key occurs more than once in the period. That is 90.0%, and data.max_quarantine "
        r"is 10.0%. Most of these keys occur in several files, once in each \(.*members_2026-09.csv, .*members_2026-10.csv\): is each file a "
        r"monthly snapshot\? .*data.period: \{from: file, pattern: '\(\\d\{4\}-\\d\{2\}\)'\}. Nothing has changed in `t.rows`"
    )
    with pytest.raises(DataError, match=sentence):
        ingested(source="in", max_quarantine=0.1)
    assert len(rows(first, "id")) == 20
    by_file = {"source": "in", "max_quarantine": 0, "period": {"from": "file", "pattern": r"(\d{4})-(\d{2})"}}
    run = ingested(**by_file)
    september, october = [("2026-09", 1.0)] * 20, [("2026-10", 2.0)] * 20
    assert rows(run, "keyfold_period", "amount") == [*september, *october]
    folder("members.csv", "1,1,2020-01-01")
    with pytest.raises(
        DataError, match=r"data.period: the pattern .* does not match `in/members.csv`; change it, or move the file"
    ):
        ingested(**by_file)
    assert len(rows(run, "id")) == 40


def test_more_bad_rows_than_the_conf_allows_change_nothing(ingested, folder):
    folder("a.csv", *(f"{i},1,2020-01-01" for i in range(10)))
    run = ingested(source="in")
    folder("a.csv", *(f"{i % 5},1,2020-01-01" for i in range(10)), *(f"{i},1,2020-01-01" for i in range(10, 20)))
    with pytest.raises(DataError, match=r"10 of the 20 rows cannot .* Is data.key \(id\) the whole key\? Nothing has changed"):
        ingested(source="in", max_quarantine=0.49)
    assert len(rows(run, "id")) == 10
    assert ingested(source="in", max_quarantine=0.5).jobs[0].counts == {"read": 20, "kept": 10, "quarantined": 10}


def test_ingests_are_undone_one_after_the_other_and_read_again(ingested, folder):
    """Periods of others stay; the same files are new again; what somebody changed since is not overwritten."""
    folder("a.csv", "1,1,2026-01-05", "2,1,2026-02-05")
    first = ingested(**MONTHLY)
    folder("b.csv", "3,1,2026-02-06", "4,1,2026-03-01")
    second = ingested(**MONTHLY)
    assert rows(second, "id") == [(1,), (2,), (3,), (4,)]
    undone = Run(second.conf, second.engine)
    undo(undone)
    assert rows(undone, "id", "keyfold_run") == [(1, first.jobs[0].run_id), (2, first.jobs[0].run_id)]
    assert undone.rows.unique(["id"]) and undone.jobs[0].counts == {"kept": 1}
    again = ingested(**MONTHLY)
    assert again.jobs[0].status == "committed" and again.jobs[0].run_id == second.jobs[0].run_id
    assert rows(again, "id") == [(1,), (2,), (3,), (4,)]
    for left in ([(1,), (2,)], []):
        undo(Run(second.conf, second.engine))
        assert rows(second, "id") == left
    with pytest.raises(DataError, match=r"table `t.rows` has no ingest to undo"):
        undo(Run(second.conf, second.engine))
    assert ingested(**MONTHLY).jobs[0].counts == {"read": 4, "kept": 4, "quarantined": 0}
    by_another(second).update({"amount": "2.0"}, predicate="id = 1")
    folder("c.csv", "5,1,2026-04-01")
    ingested(**MONTHLY)
    undo(Run(second.conf, second.engine))
    with pytest.raises(
        DataError, match=r"the rows of period 2026-0\d were changed after version \d+, so that version cannot be undone"
    ):
        undo(Run(second.conf, second.engine))
    assert len(rows(second, "id")) == 4


# --- files that are gone, and names that count ---


def test_no_row_of_a_file_that_is_gone_is_lost_whatever_else_happened(ingested, folder, tmp_path):
    """The table was changed, the conf reads otherwise, the source is spelled otherwise."""
    folder("a.csv", "1,1,2026-01-05", "2,1,2026-01-05")
    folder("b.csv", "3,1,2026-01-06", "4,1,2026-01-06")
    run = ingested(source="in")
    (tmp_path / "in/a.csv").rename(tmp_path / "a.csv")
    by_another(run).delete("id = 3")
    for more in ({}, {"zone": "Europe/Berlin"}, {"at": f"file://{tmp_path}/in/"}):
        with pytest.raises(DataError, match=r"a\.csv`.* is missing; put it back|a\.csv` is missing; put it back"):
            ingest(Run(conf_of(more.pop("at", tmp_path / "in"), **more), run.engine))
    assert rows(run, "id") == [(1,), (2,), (4,)]
    (tmp_path / "a.csv").rename(tmp_path / "in/a.csv")
    ingest(Run(conf_of(f"{tmp_path}/in/"), run.engine))
    assert rows(run, "id") == [(1,), (2,), (3,), (4,)]


def test_a_snapshot_of_the_same_bytes_is_another_file(ingested, folder, tmp_path):
    by_file = {"source": "in", "period": {"from": "file", "pattern": r"(\d{4}-\d{2})"}}
    folder("m_2026-09.csv", "1,1,2026-01-05")
    ingested(**by_file)
    (tmp_path / "in/m_2026-09.csv").rename(tmp_path / "in/m_2026-10.csv")
    assert rows(ingested(**by_file), "id", "keyfold_period") == [(1, "2026-09"), (1, "2026-10")]
    folder("late_2026-09.csv", "3,1,2026-01-05")
    with pytest.raises(
        DataError, match=r"period 2026-09 must be read again, and `.*m_2026-09.csv`, which has rows of it, is missing"
    ):
        ingested(**by_file)


def test_content_keys_do_not_depend_on_the_order_of_columns(ingested, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text("id,amount,day\n1,5,2026-01-03\n")
    (tmp_path / "in/b.csv").write_text("day,id,amount\n2026-02-03,2,5\n2026-02-03,2,5\n")
    content = {"source": "in", "key": "content", "time": "day", "period": "month"}
    before = rows(ingested(**content), "id", "content_key")
    (tmp_path / "in/c.csv").write_text("id,amount,day\n2,5,2026-02-03\n")
    after = rows(ingested(**content), "id", "content_key")
    assert set(before) < set(after) and len({key.split("-")[0] for _, key in after}) == 2 and len(set(after)) == 4


def test_a_limit_is_the_decimal_that_the_conf_writes(ingested, folder):
    folder("a.csv", *(f"{'x' if i < 29 else ''}{i},1,2020-01-01" for i in range(100)))
    assert ingested(source="in", max_quarantine=0.29).jobs[0].counts == {"read": 100, "kept": 71, "quarantined": 29}


# --- versions that are gone ---


def test_former_rows_are_kept_as_long_as_the_conf_says(ingested):
    run = ingested("id,amount,day\n1,1,2026-01-01\n")

    def kept_for():
        found = by_another(run).metadata().configuration
        return {found[f"delta.{what}RetentionDuration"] for what in ("deletedFile", "log")}

    assert kept_for() == {"interval 30 days"}
    version = run.rows.version()
    assert ingested(retention="12 weeks", source="rows.csv").jobs[0].status == "done before"
    assert kept_for() == {"interval 12 weeks"}
    assert run.rows.version() == version


def test_a_version_that_is_gone_is_told(ingested):
    run = ingested("id,amount,day\n1,1,2026-01-01\n", retention="2 weeks")
    ingested("id,amount,day\n1,2,2026-01-01\n", retention="2 weeks")
    table = by_another(run)
    table.alter.set_table_properties({"a": "b"}, raise_if_not_exists=False)
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    sentence = (
        "version 0 of table `t.rows` is gone: VACUUM takes rows that were replaced more than 2 weeks ago (data.retention); "
        "run the job on the table as it is, or ingest those files again"
    )
    with pytest.raises(DataError, match=re.escape(sentence)):
        run.rows.frame(0)
    assert [row["amount"] for row in run.rows.frame(run.rows.version().version).rows()] == [2.0]


def test_a_table_that_is_made_anew_has_another_version(spark, tmp_path):
    table = Table(spark, "a.b", tmp_path / "t")
    seen = []
    for how in ("made", "replaced", "added to", "made"):
        if how == "made":
            shutil.rmtree(table.path, ignore_errors=True)
        if how == "replaced":
            spark.sql(f"CREATE OR REPLACE TABLE {table.at} USING delta AS SELECT 1 a")
        else:
            spark.range(1).selectExpr("cast(id as int) a").write.format("delta").mode("append").save(str(table.path))
        asked = spark.sql(f"DESCRIBE DETAIL {table.at}").collect()[0].id
        seen.append(table.version())
        assert seen[-1].id == asked
    assert len(set(seen)) == 4
