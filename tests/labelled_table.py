"""A small labelled table, and runs over it under any split."""

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.runtime.run import Run


def rows(spark, n, first=0, label="IF(id % 10 = 0, 'yes', IF(id % 7 = 0, NULL, 'no'))"):
    """Rows with a key, a person, a label and a number."""
    return spark.range(first, first + n).selectExpr(
        "id", "id % 500 AS person", f"{label} AS y", "id * 1.0 AS x", f"'all' {PERIOD}"
    )


def keep(spark, frame, data=None):
    """Writes the table."""
    run = run_of(spark, {}, data)
    run.rows.replace(frame, PERIOD, {"all": frame.count()})


def run_of(spark, split, data=None):
    """A run over the table under a split."""
    features = {"x": {"numeric": {"input_col": "x"}}}
    data = {"key": ["id"], "label": "y", "positive": "yes"} | (data or {})
    return Run(parse_conf({"name": "strata", "data": data, "split": split, "features": features}), spark)
