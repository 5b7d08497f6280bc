"""A view of usage by user and day, and a use case that takes columns from it, both of CSV files that a test writes."""

import datetime as dt
import random

from keyfold.conf.use_case import parse_conf
from keyfold.feature_store import table
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
USAGE = {
    "name": "usage",
    "data": {
        "columns": {"user": "string", "day": "date", "known": "timestamp", "calls": "double"},
        "key": ["user", "day"], "time": "day", "period": "day",
    },
    "features": {
        "calls_2": {"windowed": {"input_col": "calls", "over": "2 rows", "take": "sum", "current": True}},
        "calls_all": {"windowed": {"input_col": "calls", "over": "all", "take": "max"}},
    },
    "view": {"created": "known", "ttl": "3 days", "owner": "data@telecom.example", "description": "calls of a customer"},
}  # fmt: skip
CHURN = {
    "name": "churn",
    "data": {
        "columns": {"customer": "string", "asked": "date", "left": "boolean"}, "key": ["customer", "asked"], "time": "asked",
        "period": "day", "views": [{"table": "usage.features", "entity": {"user": "customer"}}],
    },
    "label": "left",
    "features": {"calls_2": {"numeric": {"input_col": "calls_2", "missing": 0}}},
}  # fmt: skip
NAMES = "abcdef"


def day(number):
    """The date of a day, counted from the first."""
    return (START + dt.timedelta(number)).date()


def usage(number, late=""):
    """Rows of a day; those of `late` were known two days after."""
    rng = random.Random(number)
    return [
        f"{u},{day(number)},{day(number + 2 * (u in late))} 00:00:00Z,{rng.randrange(9)}"
        for u in NAMES
        if rng.random() < 0.8 or u in late
    ]


def offered(engine, folder, **more):
    """A run that ingested the folder and offers the view."""
    run = Run(parse_conf(USAGE | {"data": USAGE["data"] | {"source": str(folder)}} | more), engine)
    ingest(run)
    table.offer_view(run)
    return run


def taking(engine, folder, **data):
    """A run that ingested the folder and takes columns from the view."""
    run = Run(parse_conf(CHURN | {"data": CHURN["data"] | {"source": str(folder)} | data}), engine)
    ingest(run)
    with run.job("features"):
        table.update_feature_table(run)
    return run


def write(folder, name, header, lines):
    """Writes a CSV file."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join([header, *lines, ""]))
