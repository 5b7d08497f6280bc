"""Periods taken from file names: a monthly snapshot is often one file per month, whose rows do not contain the month."""

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
    """Takes the period of each file's rows from its path, below the source."""

    origin: Literal["file"] = Field(alias="from", description="The path of each file gives the period of its rows.")
    pattern: str = Field(
        examples=[r"(\d{4}-\d{2})"],
        description="Regular expression; its one to three groups, joined by `-`, are year, month and day. The last match in the path counts.",
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
        """Periods by file; raises DataError if a path contains no period, or if the periods differ in length."""
        periods = {file: self._of(file) for file in files}
        if len({len(period) for period in periods.values()}) > 1:
            short, long = (pick(periods.items(), key=lambda pair: len(pair[1])) for pick in (min, max))
            raise DataError(
                f"data.period: `{short[0]}` gives {short[1]} and `{long[0]}` gives {long[1]}; "
                "the pattern must find a year in all files, or a month, or a day"
            )
        return periods

    def of_paths(self, source: str, files: Iterable[str]) -> dict[str, str]:
        """Periods by absolute path; only the source's own folder and the part of the path below it are searched."""
        parent = _parent(source)
        paths = {file: file.removeprefix(parent) for file in files}
        periods = self.of(paths.values())
        return {file: periods[path] for file, path in paths.items()}

    def _of(self, file: str) -> str:
        matches = list(re.finditer(self.pattern, file))
        if not matches:
            raise DataError(
                f"data.period: the pattern {self.pattern} does not match `{file}`; change it, or move the file out of the source"
            )
        period = "-".join(part for part in matches[-1].groups() if part)
        try:
            shape = re.fullmatch(r"\d{4}(-\d\d){0,2}", period)
            date.fromisoformat(period + "0001-01-01"[len(period) :] if shape else "")
        except ValueError:
            raise DataError(
                f"data.period: the pattern {self.pattern} finds `{period}` in `{file}`; a period is like 2026, 2026-10 or 2026-10-31"
            ) from None
        return period


def _parent(source: str) -> str:
    """The parent of the source's own folder, with a trailing slash."""
    source = local_path(source) or source
    fixed = re.split(r"[*?\[{]", source, maxsplit=1)[0]
    whole = fixed if "://" in source else os.path.abspath(fixed or ".") + "/" * fixed.endswith("/")  # noqa: PTH100 - links stay
    own = whole.rstrip("/") if fixed == source else whole.rpartition("/")[0]
    return own.rpartition("/")[0] + "/"


DATED = re.compile(r"(?<!\d)(?:19|20)\d\d(?:[-_.]?(?:0[1-9]|1[0-2])(?:[-_.]?(?:0[1-9]|[12]\d|3[01]))?)?(?!\d)")


def propose_period(files: Iterable[str]) -> FilePeriod | None:
    """The pattern that fits these names if each has a year, month or day of its own, else None."""
    names = list(files)
    dates = [matches[-1] if (matches := DATED.findall(name)) else "" for name in names]
    digits = {len(re.sub(r"\D", "", text)) for text in dates}
    if "" in dates or len(digits) != 1 or len(set(dates)) < len(names):
        return None
    count = {4: 1, 6: 2, 8: 3}[digits.pop()]
    separators = {re.sub(r"\d", "", text)[:1] for text in dates}
    if len(separators) > 1:
        return None
    separator = separators.pop()
    parts = [r"\d{4}", r"\d{2}", r"\d{2}"][:count]
    if separator == "-" or count == 1:
        pattern = f"({'-'.join(parts)})"
    else:
        pattern = re.escape(separator).join(f"({part})" for part in parts)
    return FilePeriod.model_validate({"from": "file", "pattern": pattern})
