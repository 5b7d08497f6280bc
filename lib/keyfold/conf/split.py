"""The section `split`: what decides the fold of a row."""

import datetime as dt
from typing import Literal

from pydantic import Field, field_validator, model_validator

from keyfold.core.section import Section
from keyfold.core.types import MICROS

GAP = r"^\d{1,6} (minute|hour|day|week)s?$"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class FoldShares(Section):
    """Shares of the folds, which sum to 1."""

    train: float = Field(0.8, gt=0, le=1)
    validation: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _sums_to_one(self) -> "FoldShares":
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(f"train, validation and test must sum to 1 (got {self.train + self.validation + self.test:g})")
        return self


class TimeBoundaries(Section):
    """Boundaries in time: train is before `validation` (or `test`), less the gap; test is from `test` on."""

    column: str | None = Field(None, description="a date or timestamp; default: data.time")
    validation: str | None = Field(None, description="ISO date or time in UTC; without it there is no validation fold")
    test: str = Field(examples=["2026-09-01"], description="ISO date or time in UTC")
    gap: str = Field("0 days", pattern=GAP, examples=["30 days"], description="so long before each boundary rows are in no fold")

    @field_validator("validation", "test")
    @classmethod
    def _is_a_time(cls, at: str | None) -> str | None:
        if at is not None:
            try:
                dt.datetime.fromisoformat(at)
            except ValueError:
                raise ValueError(f"must be an ISO date or time such as 2026-09-01 (got `{at}`)") from None
        return at

    @model_validator(mode="after")
    def _in_order(self) -> "TimeBoundaries":
        if self.validation is not None and not _micros(self.validation) < _micros(self.test) - self.gap_micros:
            raise ValueError(f"validation ({self.validation}) must begin before test ({self.test}), by more than the gap")
        return self

    @property
    def gap_micros(self) -> int:
        """Microseconds."""
        number, unit = self.gap.split()
        return int(number) * MICROS[unit.removesuffix("s")]

    @property
    def spans(self) -> dict[str, tuple[int | None, int | None]]:
        """By fold the microseconds since 1970, in UTC, from (with) and to (without) which its rows are."""
        test = _micros(self.test)
        first = test if self.validation is None else _micros(self.validation)
        between = {} if self.validation is None else {"validation": (first, test - self.gap_micros)}
        return {"train": (None, first - self.gap_micros), **between, "test": (test, None)}


def _micros(at: str) -> int:
    found = dt.datetime.fromisoformat(at)
    return ((found if found.tzinfo else found.replace(tzinfo=dt.UTC)) - _EPOCH) // dt.timedelta(microseconds=1)


def utc_text(micros: int | None) -> str:
    """A time in UTC, as people write it."""
    at = _EPOCH.replace(tzinfo=None) + dt.timedelta(microseconds=micros or 0)
    return at.isoformat(" ").removesuffix(" 00:00:00")


class Split(Section):
    """Which columns decide a row's fold."""

    by: list[str] | str = Field([], description="rows that have these in common are in one fold; default: the key")
    salt: str | None = Field(None, description="default: the conf's name; another salt is another split")
    share: FoldShares = FoldShares()
    time: TimeBoundaries | None = Field(None, description="boundaries in time in place of shares; with `by`, both must agree")
    stratified: bool = Field(False, description="the same shares of each class of the label, exact at fitting")
    folds: int | None = Field(None, ge=2, le=100, description="cuts what is outside test into so many parts, to cross-validate")
    null_groups: Literal["own", "refuse", "together"] = Field(
        "own",
        description="a row with a NULL in `by`: own: its key decides; refuse: the job ends; together: NULL is a value like others",
    )
    max_identical: float | None = Field(
        None,
        ge=0,
        le=1,
        description="of the rows outside train, the share whose features a row of train may have; default: 0.1, of copies alone",
    )
    allow: list[str] = Field([], description="columns that may tell the label by themselves, being known before it")

    @model_validator(mode="after")
    def _fits_together(self) -> "Split":
        for option in ("stratified", "folds"):
            if self.time and getattr(self, option):
                raise ValueError(f"`{option}` cuts by the hash, and `time` by boundaries; choose one of both")
        return self
