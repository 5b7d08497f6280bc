"""Both engines ingest the same files to the same rows, quarantine and commits."""

import datetime as dt

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import CONTENT
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run

COLUMNS = {"id": "string", "n": "bigint", "at": "timestamp", "d": "decimal(10,2)", "odd.`name": "double"}
HEADER = "id,n,at,d,odd.`name,note"
FIRST = [
    HEADER, "a,1,2026-01-05 12:00,1.50,0.1,x", "a,1,2026-02-05,2,1e300,", "b,2,2026-01-31 23:30,3,-0.0,ü", "b,2,2026-01-31,4,nan,z",
    "c,x,2026-01-05,1,1,x", ",3,2026-01-05,1,1,", "d,,2026-01-05,1,1,", "e,4,,1,1,", "f,5,2026-01-05", 'g,6,2026-02-05,1,1,"open',
    "h,7,2026-03-29 02:30,1,1,", "e\u0301,8,2026-02-05,1,1,", "\u00e9,8,2026-02-05,1,1,",
]  # fmt: skip


def conf_of(folder, **data):
    data = {"key": ["id", "n"], "time": "at", "period": "month", "zone": "Europe/Berlin", "max_quarantine": 1} | data
    return parse_conf({"name": "t", "data": {"source": str(folder), "columns": COLUMNS} | data})


def told(run):
    """Counts, rows, quarantine and metadata of the last commit, in an order."""
    rows = sorted(run.rows.frame().drop("keyfold_run").rows(), key=repr)
    aside = run.quarantine.frame().select(["run_id", "table", "period", "file", "line", "reason", "raw"]).rows()
    metadata = dict(next(run.rows.commits()).metadata) | {"attempt": ""}
    return run.jobs[-1].status, run.jobs[-1].counts, run.jobs[-1].run_id, repr(rows), sorted(aside, key=repr), metadata


def ingests(engine, state, folder, monkeypatch, changes):
    """The account of an ingest of a folder after each change."""
    monkeypatch.setenv("KEYFOLD_HOME", str(state))
    found = []
    for change in changes:
        change()
        run = Run(conf_of(folder), engine)
        ingest(run)
        found.append(told(run))
    return found


def test_both_engines_ingest_the_same(spark_engine, embedded, tmp_path, monkeypatch):
    """Bad lines, duplicates, NULL keys; then nothing new; then a new file, and one that has changed."""
    folder = tmp_path / "in"
    folder.mkdir()

    def write(name, lines):
        (folder / name).write_text("\n".join(lines))

    def begin():
        (folder / "b.csv").unlink(missing_ok=True)
        write("a.csv", FIRST)

    def change():
        write("a.csv", [*FIRST[:4], "c,3,2026-04-05,1,1,x"])
        write("b.csv", [HEADER, "z,1,2026-02-05,1,1,", "a,1,2026-02-06,1,1,", "q,9,2026-04-05,1,1,"])

    changes = [begin, lambda: None, change]
    found = ingests(embedded, tmp_path / "embedded", folder, monkeypatch, changes)
    first, again, changed = found
    assert first[1] == {"read": 13, "kept": 5, "quarantined": 8} and first[5]["counts"] == first[1]
    assert (again[0], again[5]) == ("done before", first[5])
    assert any("Unicode" in note for note in first[5]["notes"]) and any("do not exist" in note for note in first[5]["notes"])
    assert (changed[0], changed[1]) == ("committed", {"read": 7, "kept": 5, "quarantined": 2})
    assert ingests(spark_engine, tmp_path / "spark", folder, monkeypatch, changes) == found


def write_parquet(folder):
    """Keys that repeat and that are NULL, nanoseconds, odd types, and folders as columns."""
    at = pa.array([1_767_000_000_123_456_000, 1_767_000_000_000_000_001, None, 0, -1_000, 5_000], pa.timestamp("ns", "UTC"))
    for site in ("1", "x"):
        (folder / f"site={site}").mkdir(parents=True)
        rows = pa.table({"id": ["a", "b", "c", None, "d", "d"], "at": at, "t": [dt.time(1)] * 6, "v": [{"x": [0.1]}, None] * 3})
        pq.write_table(rows, folder / f"site={site}" / "rows.parquet", row_group_size=4)
    return {"source": str(folder), "columns": {"site": "int"}}


def write_delta(folder):
    rows = pa.table(
        {"id": ["a", "b", "b", None], "at": pa.array([0, 1, 1, 2], pa.timestamp("us", "UTC")), "keyfold_run": ["x"] * 4}
    )
    deltalake.write_deltalake(folder, rows)
    return {"source": str(folder), "columns": {}}


def write_csv(folder):
    folder.mkdir()
    (folder / "a.csv").write_text("id,at,n\n1,2026-01-01 12:00,1.5\n1,2026-01-01 12:00,1.5\n1,x,1\n")
    return {"source": str(folder), "columns": {"id": "bigint", "at": "timestamp", "n": "double"}}


def write_layouts(folder):
    """Older text with a time that clocks skip, older Parquet, and the current layout."""
    folder.mkdir()
    (folder / "old.csv").write_text("no,when\n1,2026-03-29 02:30\n2,2026-04-29 02:30\nx,2026-04-29\n3,later\n")
    pq.write_table(pa.table({"no": [1.0, 2.5, None], "code": ["C", "D", None]}), folder / "older.parquet")
    (folder / "new.csv").write_text("id,at,card\na,2026-01-05 12:00,visa\na,2026-01-05 12:00,visa\n,,\n")
    old = {"name": "old", "files": ["old.csv"], "columns": {"no": "string", "when": "string"}}
    old["columns_from"] = {"id": {"derived": {"join": ["no"]}}, "at": {"renamed": "when"}, "card": {"constant": "cash"}}
    older = {"name": "older", "files": ["older.parquet"], "columns": {"no": "double", "code": "string"}}
    cards = {"mapped": "code", "values": {"C": "cash"}}
    older["columns_from"] = {"id": {"renamed": "no"}, "at": {"constant": "2026-05-01 00:00:00"}, "card": cards}
    columns = {"id": "string", "at": "timestamp", "card": "string"}
    return {"source": str(folder), "columns": columns, "versions": [older, old, {"name": "new", "files": ["new.csv"]}]}


def write_delta_layouts(folder):
    for number in (1, 2):
        deltalake.write_deltalake(folder, pa.table({"no": [number]}), mode="append")
    at = pa.array([0, 1], pa.timestamp("us", "UTC"))
    deltalake.write_deltalake(folder, pa.table({"id": ["a", None], "at": at}), mode="append", schema_mode="merge")
    old = {"name": "old", "columns": {"no": "bigint"}, "delta": {"path": str(folder), "versions": [0, 1]}}
    old["columns_from"] = {"id": {"renamed": "no"}, "at": {"constant": "2026-05-01 00:00:00"}}
    columns = {"id": "string", "at": "timestamp", "no": "bigint"}
    return {
        "source": None,
        "columns": columns,
        "versions": [old, {"name": "new", "delta": {"path": str(folder), "versions": [2]}}],
    }


@pytest.mark.parametrize(("write", "key"), [
    (write_parquet, ["id"]), (write_layouts, ["id"]), (write_delta_layouts, ["id"]),
    pytest.param(write_delta, ["id"], marks=pytest.mark.slow), pytest.param(write_csv, [CONTENT], marks=pytest.mark.slow),
])  # fmt: skip
def test_sources_of_all_kinds_are_the_same_on_both_engines(spark_engine, embedded, tmp_path, monkeypatch, write, key):
    data = write(tmp_path / "in")
    found = []
    for engine in (embedded, spark_engine):
        monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path / engine.name))
        run = Run(conf_of("", key=key, **data), engine)
        ingest(run)
        found.append(told(run))
    assert found[0] == found[1]
    assert found[0][1]["kept"]
