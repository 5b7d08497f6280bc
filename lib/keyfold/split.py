"""The fold of a row, as a pure function of its key, its group, its time or its class.

On [0, 1) test is at the bottom, validation at the top, train between. So adding rows moves none, and a larger test share only
takes rows from train. With `time` the boundaries decide, alone or, where `by` is given, together with the hash: a row whose two
folds differ is in none, as are rows in a gap. `stratified` cuts each class by itself, at thresholds that are fitted once.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator, model_validator

from keyfold import hashing, sql
from keyfold.section import Section
from keyfold.values import DAYS, HASHED, MICROS, SqlValue, family_of, refuse_unless

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FOLDS = ("train", "validation", "test")
FOLD = "keyfold_fold"
GAP = r"^\d{1,6} (minute|hour|day|week)s?$"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Share(Section):
    """Shares of the folds, which sum to 1."""

    train: float = Field(0.8, gt=0, le=1)
    validation: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Share":
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(f"train, validation and test must sum to 1 (got {self.train + self.validation + self.test:g})")
        return self


class Time(Section):
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
    def _in_order(self) -> "Time":
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


class Split(Section):
    """Which columns decide a row's fold."""

    by: list[str] | str = Field([], description="rows that have these in common are in one fold; default: the key")
    salt: str | None = Field(None, description="default: the conf's name; another salt is another split")
    share: Share = Share()
    time: Time | None = Field(None, description="boundaries in time in place of shares; with `by`, both must agree")
    stratified: bool = Field(False, description="the same shares of each class of the label, exact at fitting")
    folds: int | None = Field(None, ge=2, le=100, description="cuts what is outside test into so many parts, to cross-validate")
    max_identical: float | None = Field(
        None, ge=0, le=1, description="of the rows outside train, the share whose features a row of train may have, all of them"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Split":
        for option in ("stratified", "folds"):
            if self.time and getattr(self, option):
                raise ValueError(f"`{option}` cuts by the hash, and `time` by boundaries; choose one of both")
        return self


class Strata(NamedTuple):
    """By class (as text) its places of test and of validation, in [0, 2^31 - 1); for groups, the class of each.

    `groups` has columns `keyfold_group` (bigint, the feature hash) and `keyfold_class`; None where each row has its own class.
    """

    thresholds: Mapping[str, tuple[int, int]]
    groups: "DataFrame | None" = None


class Folds:
    """A split, ready: `by` the columns, `salt` the whole salt, `time` the column of boundaries.

    `repeats`: whether a key may stand in several rows, which are then a group. `strata` are set once they are fitted.
    """

    strata: "Strata | None"

    def __init__(
        self, split: Split, key: Sequence[str], name: str, time: str | None = None, label: str = "", *, repeats: bool = False
    ) -> None:
        self.split, self.label, self.strata = split, label, None if not split.stratified else Strata({})
        self.given = [split.by] if isinstance(split.by, str) else list(split.by)
        self.by = self.given or list(key)
        self.grouped = repeats or set(self.by) != set(key)
        self.salt = f"split:{name if split.salt is None else split.salt}"
        self.time = (split.time.column or time) if split.time else None

    @property
    def columns(self) -> list[str]:
        """The columns that decide the fold of a row."""
        own = self.strata is not None and self.strata.groups is None
        return [*(self.by if self.hashed else []), *([self.time] if self.time else []), *([self.label] if own else [])]

    @property
    def identity(self) -> dict[str, object]:
        """What decides the folds, as JSON."""
        cuts = self.split.model_dump(mode="json", exclude={"max_identical"}, exclude_defaults=True)
        strata = {"strata": {c: list(at) for c, at in self.strata.thresholds.items()}} if self.strata else {}
        return {"split": cuts, "salt": self.salt, "by": self.by, "time": self.time, **strata}

    def _cuts(self, parts: int) -> tuple[int, int]:
        """The places of test and of validation."""
        return round(self.split.share.test * parts), parts - round(self.split.share.validation * parts)

    @property
    def hashed(self) -> bool:
        """Whether the hash decides; else the time alone."""
        return self.split.time is None or bool(self.given)

    def add(self, frame: "DataFrame", column: str, number: str | None = None) -> "DataFrame":
        """The frame with the fold of each row (text, or NULL); `number`: and its part to cross-validate (int), NULL in test.

        DataError for a column that cannot be hashed, or is no time.
        """
        if self.strata and self.strata.groups is not None:
            known = frame.withColumn("keyfold_group", key_hash(frame, self.by, self.salt))
            known = known.join(self.strata.groups, "keyfold_group", "left")
            frame = known.select(*map(sql.col, [*frame.columns, "keyfold_class"]))
        made = {column: sql.column(self.sql(frame))}
        if number:
            made[number] = sql.column(self._sql_number(frame))
        return frame.withColumns(made).drop("keyfold_class")

    def sql(self, frame: "DataFrame") -> str:
        """text: the fold as an expression over a frame that `add` prepared."""
        hashed = self._sql_of_cuts(frame, _sql_cut) if self.hashed else None
        timed = self._sql_timed(frame) if self.split.time else None
        return f"CASE WHEN {hashed} = {timed} THEN {timed} END" if hashed and timed else hashed or str(timed)

    def _sql_of_cuts(self, frame: "DataFrame", of: Callable[[str, tuple[int, int], int], str]) -> str:
        """What `of` makes of a row's place, of the cuts that hold for its class, and of how many places there are."""
        key = sql_key_hash(frame, self.by, self.salt)
        if not self.strata:
            return of(hashing.sql_reduce(key, hashing.PARTS), self._cuts(hashing.PARTS), hashing.PARTS)
        most = hashing.MAX_BUCKETS
        place = hashing.sql_reduce(key, most)
        cases = (f"WHEN {self._class} = {sql.text(c)} THEN {of(place, cuts, most)}" for c, cuts in self.strata.thresholds.items())
        return f"CASE WHEN {self._class} IS NULL THEN NULL {' '.join(cases)} ELSE {of(place, self._cuts(most), most)} END"

    @property
    def _class(self) -> str:
        grouped = self.strata is not None and self.strata.groups is not None
        return "keyfold_class" if grouped else f"CAST({sql.reference(self.label)} AS STRING)"

    def _sql_timed(self, frame: "DataFrame") -> str:
        assert self.split.time is not None
        at = self.sql_time(frame)
        return (
            f"CASE {' '.join(f'WHEN {_sql_within(at, *span)} THEN {fold!r}' for fold, span in self.split.time.spans.items())} END"
        )

    def sql_time(self, frame: "DataFrame") -> str:
        """bigint: the microseconds since 1970 of the split's time column (DataError for a column of another type)."""
        column = str(self.time)
        family = family_of(frame.schema[column].dataType.simpleString())
        refuse_unless(DAYS, family, f"split.time: column `{column}`", "cast it, or name another by split.time.column")
        at = hashing.sql_canonical(sql.reference(column), family)
        return f"({at} * {MICROS['day']}L)" if family == "date" else at

    def _sql_number(self, frame: "DataFrame") -> str:
        k = self.split.folds or 1

        def of(place: str, cuts: tuple[int, int], parts: int) -> str:
            return f"CASE WHEN {place} >= {cuts[0]}L THEN CAST(({place} - {cuts[0]}L) * {k}L DIV {parts - cuts[0]}L AS INT) END"

        return self._sql_of_cuts(frame, of)

    def spark_part(self, frame: "DataFrame") -> "Column":
        """bigint in [0, 1,000,000): the part of a row within its fold; rows that the split keeps together have one."""
        return place(frame, self.by, f"out_of_fold:{self.salt}")

    def numpy(
        self,
        hashes: Sequence[hashing.Int64s],
        times: hashing.Int64s | None = None,
        classes: npt.NDArray[np.object_] | None = None,
    ) -> npt.NDArray[np.object_]:
        """The same, of the value hashes of the columns, of microseconds (NaT's integer where NULL) and of classes as text or None."""
        found = self._numpy_hashed(hashing.feature_hash(self.salt, hashes), classes) if self.hashed else None
        if self.split.time is None or times is None:
            assert found is not None
            return found
        timed = np.full(len(times), None, object)
        for fold, (start, end) in self.split.time.spans.items():
            within = (times != np.iinfo(np.int64).min) & (start is None or times >= start) & (end is None or times < end)
            timed[within] = fold
        if found is not None:
            timed[found != timed] = None
        return timed

    def _numpy_hashed(self, h: hashing.Int64s, classes: npt.NDArray[np.object_] | None) -> npt.NDArray[np.object_]:
        if not self.strata or classes is None:
            return _cut(hashing.reduce(h, hashing.PARTS), self._cuts(hashing.PARTS))
        at = hashing.reduce(h, hashing.MAX_BUCKETS)
        found = _cut(at, self._cuts(hashing.MAX_BUCKETS))
        for name, cuts in self.strata.thresholds.items():
            found[classes == name] = _cut(at[classes == name], cuts)
        found[[name is None for name in classes]] = None
        return found


def _sql_cut(place: str, cuts: tuple[int, int], _: int) -> str:
    return f"CASE WHEN {place} < {cuts[0]}L THEN 'test' WHEN {place} >= {cuts[1]}L THEN 'validation' ELSE 'train' END"


def _cut(place: hashing.Int64s, cuts: tuple[int, int]) -> npt.NDArray[np.object_]:
    return np.select([place < cuts[0], place >= cuts[1]], ["test", "validation"], "train").astype(object)


def _sql_within(at: str, start: int | None, end: int | None) -> str:
    sides = [f"{at} >= {start}L"] * (start is not None) + [f"{at} < {end}L"] * (end is not None)
    return " AND ".join(sides)


def place(frame: "DataFrame", columns: list[str], salt: str) -> "Column":
    """bigint in [0, 1,000,000), of columns under a salt."""
    return sql.column(hashing.sql_reduce(sql_key_hash(frame, columns, salt), hashing.PARTS))


def key_hash(frame: "DataFrame", columns: list[str], salt: str) -> "Column":
    """bigint: the feature hash of columns (DataError for a type that cannot be hashed)."""
    return sql.column(sql_key_hash(frame, columns, salt))


def sql_key_hash(frame: "DataFrame", columns: list[str], salt: str) -> str:
    """The same, as an SQL expression over the frame."""
    values = []
    for column in columns:
        family = family_of(frame.schema[column].dataType.simpleString())
        refuse_unless(HASHED, family, f"a key or split by `{column}`", "round it, or choose another column")
        values.append(SqlValue(sql.reference(column), family).hash)
    return hashing.sql_feature_hash(salt, values)
