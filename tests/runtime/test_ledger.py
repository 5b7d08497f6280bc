"""Rows of the ledger."""

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import PromiseError
from keyfold.runtime.account import Job, Step
from keyfold.runtime.ledger import COLUMNS, append_rows, row_of

CONF = parse_conf({"name": "churn", "data": {"key": ["id"]}})


def test_a_row_fills_all_columns_with_counts_and_core_hours():
    job = Job("score", counts={"read": 10, "scored": 9, "quarantined": 1}, steps=[Step("predict", seconds=1800.0)])
    row = row_of(job, CONF, "2026-10", 4)
    assert row.keys() == COLUMNS.keys()
    assert [row[f"rows_{name}"] for name in ("read", "kept", "scored", "quarantined")] == [10, None, 9, 1]
    assert (row["seconds"], row["steps"], row["core_hours"]) == (1800.0, {"predict": 1800.0}, 2.0)
    assert (row["job"], row["name"], row["period"], row["conf_digest"]) == ("score", "churn", "2026-10", CONF.digest)


def test_an_unknown_column_is_refused_before_anything_is_written():
    with pytest.raises(PromiseError, match="the ledger has no column rows_lost"):
        append_rows(None, [{"job": "score", "rows_lost": 1}])
