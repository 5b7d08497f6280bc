"""Checks --period against the conf's data.period."""

import re
from datetime import date
from typing import TYPE_CHECKING

from keyfold.errors import ConfError

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf

_SHAPES = {
    "all": ("all", "all"),
    "year": (r"\d{4}", "2026"),
    "month": (r"\d{4}-\d{2}", "2026-10"),
    "day": (r"\d{4}-\d{2}-\d{2}", "2026-10-31"),
    "file": (r"\d{4}(-\d{2}){0,2}", "2026, 2026-10 or 2026-10-31"),
}


def checked_period(conf: "Conf", period: str | None) -> str | None:
    """The period to score, None for the default (ConfError if it does not have the form of the conf's periods)."""
    of_files = not isinstance(conf.data.period, str)
    name = "file" if of_files else str(conf.data.period)
    shape, example = _SHAPES[name]
    if period is not None and not (re.fullmatch(shape, period) and _is_date(period)):
        kind = "that of the files' names" if of_files else name
        raise ConfError(f"--period must be like {example}, since data.period is {kind} (got {period})")
    return None if name == "all" else period


def _is_date(period: str) -> bool:
    try:
        return period == "all" or bool(date.fromisoformat(period + "2000-01-01"[len(period) :]))
    except ValueError:
        return False
