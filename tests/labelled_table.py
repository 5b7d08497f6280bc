"""A small labelled table, and runs over it under any split."""

import pyarrow as pa

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.runtime.run import Run


def rows(spark, n, first=0, label="IF(id % 10 = 0, 'yes', IF(id % 7 = 0, NULL, 'no'))"):
    """Rows with a key, a person, a label and a number."""
    return spark.range(first, first + n).selectExpr(
        "id", "id % 500 AS person", f"{label} AS y", "id * 1.0 AS x", f"'all' {PERIOD}"
    )


def table(n):
    """The same as Arrow, with a category."""
    ids = range(n)
    labels = ["yes" if i % 10 == 0 else None if i % 7 == 0 else "no" for i in ids]
    columns = {"id": ids, "person": [i % 500 for i in ids], "y": labels, "x": [float(i) for i in ids]}
    return pa.table({**columns, "c": [f"c{i % 37}" for i in ids], PERIOD: ["all"] * n})


def keep(engine, rows, data=None):
    """Writes the table: rows of Spark, or of Arrow."""
    rows = engine.frame(rows) if isinstance(rows, pa.Table) else rows
    run_of(engine, {}, data).rows.replace(rows, PERIOD, {"all": rows.count()})


def overwrite(run, rows):
    """Makes rows of Spark, without a period, the whole table of a run."""
    if run.rows.exists():
        rows.write.format("delta").mode("overwrite").save(str(run.rows.path))
    else:
        run.rows.append(rows)


def run_of(engine, split, data=None, features=None):
    """A run over the table under a split."""
    features = features or {"x": {"numeric": {"input_col": "x"}}}
    data = {"key": ["id"], "label": "y", "positive": "yes"} | (data or {})
    return Run(parse_conf({"name": "strata", "data": data, "split": split, "features": features}), engine)
