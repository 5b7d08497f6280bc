"""Tables for tests of `init`, and the confs that it drafts for them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import yaml

from keyfold.conf.use_case import parse_conf
from keyfold.conf.yaml import parse_yaml
from keyfold.profiling.draft_conf import draft_conf

Write = Callable[..., str]
Draw = Callable[..., tuple[str, dict[str, Any]]]


def table(**columns: list[Any]) -> str:
    """CSV of 20 rows: an id, a label, a number to learn from and the columns that a test gives."""
    base = {"id": [f"k{i}" for i in range(20)], "y": ["Yes", "No", "No", "No"] * 5, "x": [i % 7 for i in range(20)]}
    return pd.DataFrame(base | columns).to_csv(index=False)


def look(path: str, **options: Any) -> tuple[str, dict[str, Any]]:
    """The text for a file, and what a reader of YAML makes of it; it must be a conf that holds."""
    text = draft_conf(path, **{"key": ["id"], "label": "y"} | options)
    assert parse_conf(parse_yaml(text)).name == yaml.safe_load(text)["name"]
    return text, parse_yaml(text)


def drawn(path: str, **options: Any) -> tuple[str, dict[str, Any]]:
    text = draft_conf(path, **{"key": ["id"], "label": "y"} | options)
    parse_conf(parse_yaml(text))
    return text, parse_yaml(text)


def frame(rows: int = 400, **columns: Any) -> pd.DataFrame:
    """An id, a label of two classes, a number that says a little of it, and the columns that a test gives."""
    draws = np.random.default_rng(7)
    y = draws.random(rows) < 0.4
    base = {"id": [f"k{i}" for i in range(rows)], "y": y.astype(int), "x": (y + draws.normal(size=rows)).round(2)}
    return pd.DataFrame(base | {name: made(y, draws) if callable(made) else made for name, made in columns.items()})


def series(shops: int) -> pd.DataFrame:
    days = pd.date_range("2026-01-01", periods=60)
    rows = [(f"S{s}", day.date(), i % 7 + s % 3, (i * 37 + s * 11) % 50) for s in range(shops) for i, day in enumerate(days)]
    return pd.DataFrame(rows, columns=["shop", "day", "visits", "sales"])
