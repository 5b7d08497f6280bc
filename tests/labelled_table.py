"""A small labelled table, and runs over it under any split."""

import pyarrow as pa

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.runtime.run import Run
from sections import data_and_label


def table(n, first=0, label=lambda i: "yes" if i % 10 == 0 else None if i % 7 == 0 else "no"):
    """Rows with a key, a person, a label, a number and a category."""
    ids = range(first, first + n)
    columns = {"id": ids, "person": [i % 500 for i in ids], "y": [label(i) for i in ids], "x": [float(i) for i in ids]}
    return pa.table({**columns, "c": [f"c{i % 37}" for i in ids], PERIOD: ["all"] * n})


def keep(engine, rows, data=None):
    """Writes the table."""
    run_of(engine, {}, data).rows.replace(engine.frame(rows), PERIOD, {"all": rows.num_rows})


def run_of(engine, split, data=None, features=None):
    """A run over the table under a split."""
    features = features or {"x": {"numeric": {"input_col": "x"}}}
    data = {"key": ["id"], "label": "y", "positive": "yes"} | (data or {})
    return Run(parse_conf({"name": "strata", **data_and_label(data), "split": split, "features": features}), engine)


def run_over(engine, conf, rows):
    """A run of a raw conf over a table, which is written unless it is there."""
    run = Run(parse_conf(conf), engine)
    if not run.rows.exists():
        run.rows.replace(engine.frame(rows), PERIOD, {"all": rows.num_rows})
    return run
