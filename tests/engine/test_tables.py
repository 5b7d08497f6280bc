"""Tables: Spark, delta-rs, PyArrow, Polars and DuckDB read the same rows; properties hold any text."""

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder

from keyfold.conf.use_case import parse_conf
from keyfold.engine.tables import Tables
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run

HEADER = "subscriber no.,größe,minutes"
ODD = {"subscriber no.": "string", "größe": "double", "minutes": "bigint"}
SAFE = {
    "subscriber_no": {"from": "subscriber no.", "type": "string"}, "groesse": {"from": "größe", "type": "double"}, "minutes": "bigint",
}  # fmt: skip
ROWS = [("a", 1.5, 2**53 + 1), ("b", None, None), ("é", -0.0, -7)]


def spark_(table, names):
    return [tuple(row) for row in table.read().select(*(f"`{name}`" for name in names)).collect()]


def delta_rs(table, names):
    columns = ", ".join(f'"{name}"' for name in names)
    found = QueryBuilder().register("t", DeltaTable(str(table.path))).execute(f"SELECT {columns} FROM t")
    return tuples(pa.table(found).to_pylist())


def pyarrow_(table, names):
    return tuples(DeltaTable(str(table.path)).to_pyarrow_table(columns=names).to_pylist())


def polars_(table, names):
    return pl.read_delta(str(table.path)).select(names).rows()


def duckdb_(table, names):
    files = DeltaTable(str(table.path)).file_uris()
    columns = ", ".join(f'"{name}"' for name in names)
    return duckdb.sql(f"SELECT {columns} FROM read_parquet({files!r}, hive_partitioning = true)").fetchall()


def tuples(rows):
    return [tuple(row.values()) for row in rows]


READERS = [spark_, delta_rs, pyarrow_, polars_, duckdb_]


@pytest.fixture
def read(spark, home, tmp_path):
    """What each reader finds of a file with odd names that is ingested with these columns."""

    def read(columns, key):
        (tmp_path / "calls.csv").write_text(
            "\n".join([HEADER, *(",".join("" if v is None else str(v) for v in row) for row in ROWS), ""])
        )
        run = Run(
            parse_conf({"name": "t", "data": {"source": str(tmp_path / "calls.csv"), "columns": columns, "key": [key]}}), spark
        )
        ingest(run)
        return {reader.__name__: reader for reader in READERS}, run.rows

    return read


def test_safe_names_are_read_alike_by_all(read):
    readers, table = read(SAFE, "subscriber_no")
    for name, reader in readers.items():
        assert sorted(reader(table, [*SAFE])) == ROWS, name
    assert "delta.columnMapping.mode" not in table.properties()


def test_a_conf_may_keep_odd_names_at_the_price_of_some_readers(read, capsys):
    readers, table = read(ODD, "subscriber no.")
    assert sorted(readers["spark_"](table, [*ODD])) == ROWS
    assert "column `subscriber no.` turns on Delta's column mapping" in capsys.readouterr().err
    with pytest.raises(Exception, match=r"(?i)column ?mapping"):
        readers["polars_"](table, [*ODD])
    assert {v for row in readers["pyarrow_"](table, [*ODD]) for v in row} == {None}, "the sentence must change where this mends"


def test_properties_keep_odd_names_and_values(spark, tmp_path):
    table = Tables(spark, tmp_path).table("a.b")
    table.append(spark.range(1))
    odd = {"k.'ä\\`\"${x}\n😀": 'it\'s \\ "ü" ${spark.app.name}\n;', "plain": "{}"}
    for escaped in ("true", "false"):
        spark.conf.set("spark.sql.parser.escapedStringLiterals", escaped)
        table.describe({name: value + escaped for name, value in odd.items()})
        assert {(name, value + escaped) for name, value in odd.items()} <= {*table.properties().items()}
    spark.conf.unset("spark.sql.parser.escapedStringLiterals")
