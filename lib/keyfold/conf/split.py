"""The section `split`: how rows are assigned to folds."""

import datetime as dt
from typing import Literal

from pydantic import Field, field_validator, model_validator

from keyfold.core.section import Section, Share
from keyfold.core.types import MICROS

GAP = r"^\d{1,6} (minute|hour|day|week)s?$"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class FoldShares(Section):
    """Shares of the folds; they sum to 1."""

    train: float = Field(0.8, gt=0, le=1, description="Share of the train fold.")
    validation: float = Field(0.1, ge=0, lt=1, description="Share of the validation fold.")
    test: float = Field(0.1, ge=0, lt=1, description="Share of the test fold.")

    @model_validator(mode="after")
    def _sums_to_one(self) -> "FoldShares":
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(f"train, validation and test must sum to 1 (got {self.train + self.validation + self.test:g})")
        return self


class TimeBoundaries(Section):
    """Boundaries in time: the train fold ends before `validation` (or `test`), less the gap; the test fold begins at `test`."""

    column: str | None = Field(None, description="Column with a date or time. Default: `data.time`.")
    validation: str | None = Field(
        None,
        examples=["2026-06-01"],
        description="Start of the validation fold, an ISO date or time in UTC. Default: no such fold.",
    )
    test: str = Field(examples=["2026-09-01"], description="Start of the test fold, an ISO date or time in UTC.")
    gap: str = Field(
        "0 days", pattern=GAP, examples=["30 days"], description="Rows this long before each boundary belong to no fold."
    )

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
        """The gap in microseconds."""
        number, unit = self.gap.split()
        return int(number) * MICROS[unit.removesuffix("s")]

    @property
    def spans(self) -> dict[str, tuple[int | None, int | None]]:
        """The start (inclusive) and end (exclusive) of each fold, in microseconds since 1970 (UTC); None: unbounded."""
        test = _micros(self.test)
        first = test if self.validation is None else _micros(self.validation)
        between = {} if self.validation is None else {"validation": (first, test - self.gap_micros)}
        return {"train": (None, first - self.gap_micros), **between, "test": (test, None)}


def _micros(at: str) -> int:
    time = dt.datetime.fromisoformat(at)
    return ((time if time.tzinfo else time.replace(tzinfo=dt.UTC)) - _EPOCH) // dt.timedelta(microseconds=1)


def utc_text(micros: int | None) -> str:
    """Microseconds since 1970 as an ISO date, or as date and time (UTC)."""
    at = _EPOCH.replace(tzinfo=None) + dt.timedelta(microseconds=micros or 0)
    return at.isoformat(" ").removesuffix(" 00:00:00")


class Split(Section):
    """How rows are assigned to folds."""

    by: list[str] | str = Field(
        [],
        examples=[["customer_id"]],
        description="Columns; rows with equal values belong to one fold. Default: the key.",
    )
    salt: str | None = Field(
        None, description="Salt of the hash that assigns folds; another salt gives another split. Default: the conf's name."
    )
    share: FoldShares = Field(FoldShares(), description="Shares of the folds.")
    time: TimeBoundaries | None = Field(
        None, description="Boundaries in time instead of shares; with `by`, rows with equal values must be on one side."
    )
    stratified: bool = Field(
        False, description="Whether each class of the label has the same shares, exact for the rows that were fitted."
    )
    folds: int | None = Field(
        None, ge=2, le=100, description="Number of folds of cross-validation, into which the rows outside test are split."
    )
    null_groups: Literal["own", "refuse", "together"] = Field(
        "own",
        description="Rows with a NULL in `by`. own: assigned by their own key; refuse: the job fails; together: NULL is one group.",
    )
    max_identical: Share | None = Field(
        None,
        description="Largest share of the rows outside train whose features equal those of a row of train. "
        "Default: 0.1, counting only copies of whole rows.",
    )
    allow: list[str] = Field(
        [], description="Columns that may predict the label by themselves, because they are known before it."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Split":
        for option in ("stratified", "folds"):
            if self.time and getattr(self, option):
                raise ValueError(f"`{option}` splits by hash, and `time` by boundaries; choose one of them")
        return self

    @property
    def lacks_validation(self) -> str:
        """Why the validation fold has no rows, as a clause; empty if it has some."""
        if self.time:
            return "" if self.time.validation else "split.time.validation is not set"
        return "" if self.share.validation else "split.share.validation is 0"
