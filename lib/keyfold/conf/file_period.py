"""Periods that file names give: a monthly snapshot is often a file of its own, and its month stands nowhere else."""

import os
import re
from collections.abc import Iterable
from datetime import date
from typing import Literal

from pydantic import Field, field_validator

from keyfold.core.section import Section
from keyfold.errors import DataError
from keyfold.readers.paths import local_path

_PARTS = ("year", "month", "day")


class FilePeriod(Section):
    """A period that stands in the path of each file, below the source."""

    origin: Literal["file"] = Field(alias="from", description="the path of each file gives the period of its rows")
    pattern: str = Field(
        examples=[r"(\d{4}-\d{2})"],
        description="a regular expression; its groups, joined by -, are the year, the month and the day. The last match counts",
    )

    @field_validator("pattern")
    @classmethod
    def _has_groups(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from error
        if not 1 <= groups <= len(_PARTS):
            raise ValueError(r"must have one to three groups in brackets, as in (\d{4}-\d{2}) or (\d{4})(\d{2})")
        return pattern

    def of(self, files: Iterable[str]) -> dict[str, str]:
        """The period by file (DataError for a file whose path gives none, or one of another shape)."""
        periods = {file: self._of(file) for file in files}
        if len({len(period) for period in periods.values()}) > 1:
            short, long = (pick(periods.items(), key=lambda pair: len(pair[1])) for pick in (min, max))
            raise DataError(
                f"data.period: `{short[0]}` gives {short[1]} and `{long[0]}` gives {long[1]}; "
                "the pattern must find a year, a month or a day in all files alike"
            )
        return periods

    def of_paths(self, source: str, files: Iterable[str]) -> dict[str, str]:
        """The same by absolute path, of which only what stands below the source, and the source's own folder, is looked at."""
        above = _above(source)
        paths = {file: file.removeprefix(above) for file in files}
        periods = self.of(paths.values())
        return {file: periods[path] for file, path in paths.items()}

    def _of(self, file: str) -> str:
        found = list(re.finditer(self.pattern, file))
        if not found:
            raise DataError(
                f"data.period: the pattern {self.pattern} is nowhere in `{file}`; change it, or move the file out of the source"
            )
        period = "-".join(part for part in found[-1].groups() if part)
        try:
            shape = re.fullmatch(r"\d{4}(-\d\d){0,2}", period)
            date.fromisoformat(period + "0001-01-01"[len(period) :] if shape else "")
        except ValueError:
            raise DataError(
                f"data.period: the pattern {self.pattern} finds `{period}` in `{file}`; a period is like 2026, 2026-10 or 2026-10-31"
            ) from None
        return period


def _above(source: str) -> str:
    """The folder that holds the source's own folder, with a slash at its end."""
    source = local_path(source) or source
    fixed = re.split(r"[*?\[{]", source, maxsplit=1)[0]
    whole = fixed if "://" in source else os.path.abspath(fixed or ".") + "/" * fixed.endswith("/")  # noqa: PTH100 - links stay
    own = whole.rstrip("/") if fixed == source else whole.rpartition("/")[0]
    return own.rpartition("/")[0] + "/"


DATED = re.compile(r"(?<!\d)(?:19|20)\d\d(?:[-_.]?(?:0[1-9]|1[0-2])(?:[-_.]?(?:0[1-9]|[12]\d|3[01]))?)?(?!\d)")


def propose_period(files: Iterable[str]) -> FilePeriod | None:
    """The pattern that fits the names of files that each have a year, month or day of their own; None where they have none."""
    names = list(files)
    last = [found[-1] if (found := DATED.findall(name)) else "" for name in names]
    digits = {len(re.sub(r"\D", "", text)) for text in last}
    if "" in last or len(digits) != 1 or len(set(last)) < len(names):
        return None
    count = {4: 1, 6: 2, 8: 3}[digits.pop()]
    marks = {re.sub(r"\d", "", text)[:1] for text in last}
    if len(marks) > 1:
        return None
    mark = marks.pop()
    parts = [r"\d{4}", r"\d{2}", r"\d{2}"][:count]
    pattern = (
        f"({'-'.join(parts)})" if mark in ("-", "") and (mark or count == 1) else re.escape(mark).join(f"({p})" for p in parts)
    )
    return FilePeriod.model_validate({"from": "file", "pattern": pattern})
