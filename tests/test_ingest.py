"""Files into the table: every bad row told by file and line, nothing read twice, times in their zone, whole numbers exact."""

import json
import os
import random
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.conf import check
from keyfold.errors import ConfError, DataError
from keyfold.ingest import ingest
from keyfold.run import Run
from keyfold.score import score
from keyfold.training import decide, train

TYPES = {"id": "bigint", "amount": "double", "day": "date"}


def conf_of(source, name="t", columns=TYPES, **data):
    return check({"name": name, "data": {"source": str(source), "columns": columns, "key": ["id"]} | data})


@pytest.fixture
def ingested(spark, home, tmp_path):
    """Ingests a file of this content, or a source that is there; the run."""

    def ingested(content=None, source="rows.csv", **data):
        path = tmp_path / source
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        run = Run(conf_of(path, **data), spark)
        ingest(run)
        return run

    return ingested


def rows(run, *columns):
    return sorted(tuple(row) for row in run.rows.read().select(*columns).collect())


def aside(run):
    found = run.quarantine.read().collect() if run.quarantine.exists() else []
    return sorted((Path(row.file).name, row.line, row.reason) for row in found if row.run_id == run.jobs[-1].run_id)


# --- bad rows ---

UNPARSED = "the line does not parse: too few or too many fields, or broken quoting"
TWICE = "the key stands more than once in the period"


def test_bad_lines_are_told_by_file_and_line(ingested):
    lines = ["id,amount,day", "1,1.5,2026-01-01", "", "2,1", "3,1,2026-01-01,9", "x,1,2026-01-01", "4,5d,2026-01-01"]
    lines += ["id,amount,day", "  ", "5,1e999,2026-01-01", "6,1,2026-02-30", "7,1,", "7,1,", '8,"1,2026-01-01', ",1,2026-01-01"]
    run = ingested("\ufeff" + "\r\n".join(lines) + "\r\n")
    assert aside(run) == [
        ("rows.csv", 4, UNPARSED),
        ("rows.csv", 5, UNPARSED),
        ("rows.csv", 6, "`id` is not bigint"),
        ("rows.csv", 7, "`amount` is not double"),
        ("rows.csv", 8, "`id` is not bigint"),
        ("rows.csv", 10, "`amount` is not double"),
        ("rows.csv", 11, "`day` is not date"),
        ("rows.csv", 12, TWICE),
        ("rows.csv", 13, TWICE),
        ("rows.csv", 14, UNPARSED),
        ("rows.csv", 15, "key `id` is NULL"),
    ]
    assert rows(run, "id", "amount") == [(1, 1.5)]
