"""The fold of a row, a pure function of its key, its group, its time or its class.

The hash of a row is a place in [0, 1). Test rows are at the bottom, validation rows at the top, train rows between. New rows therefore
move no other row, and a larger test share takes rows from train only. `time` replaces the hash by boundaries; if `by` is set too, a row
has a fold only if hash and time agree. Rows in a gap have no fold. `stratified` cuts each class by itself, at thresholds that are fitted
once.

Rows with the same hash are a unit, and a unit is in one fold. Units are: the rows of a group; a single row whose group is unknown
(NULL), hashed by its key; the copies of a row under `key: content`, whose keys differ only in the number of the copy.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.conf.split import Split
from keyfold.core import hashing, sql
from keyfold.core.arrays import Int64s, single_chunk
from keyfold.core.names import CLASS, CONTENT, FOLDS, GROUP
from keyfold.core.row_hash import arrow_key_hash, sql_key_hash, sql_without_copy, without_copy
from keyfold.core.texts import value_texts
from keyfold.core.types import ARROW, DAYS, MICROS, arrow_family, family_of, require_family
from keyfold.engine.engine import AnyRows, as_given, frame_of
from keyfold.engine.frame import Computed, Frame

_F = TypeVar("_F", bound=Frame)


class Strata(NamedTuple):
    """The fitted part of a stratified split.

    thresholds: for each class (as text) two places in [0, 2^31 - 1). Units below the first are in test, units from the second on in
    validation. groups: the class of each group, in columns `keyfold_group` (bigint, the hash) and `keyfold_class`; None if each row
    has its own class. digest: of the groups.
    """

    thresholds: Mapping[str, tuple[int, int]]
    groups: Frame | None = None
    digest: str = ""


class Folds:
    """A split of a use case.

    by: the hashed columns. group_by: the columns of `split.by`. key: the columns of the key. salt: the salt with its prefix. time: the
    column that the boundaries apply to, or None. grouped: whether several rows may share a hash. strata: set by `keyfold.split.strata`.
    """

    strata: "Strata | None"

    def __init__(
        self, split: Split, key: Sequence[str], name: str, time: str | None = None, label: str = "", *, repeats: bool = False
    ) -> None:
        self.split, self.label, self.strata = split, label, None if not split.stratified else Strata({})
        self.group_by = [split.by] if isinstance(split.by, str) else list(split.by)
        self.key, self.by = list(key), self.group_by or list(key)
        self.grouped = repeats or set(self.by) != set(key) or CONTENT in self.by
        self.salt = f"split:{name if split.salt is None else split.salt}"
        self.time = (split.time.column or time) if split.time else None

    @property
    def unknown(self) -> list[str]:
        """The columns in which a NULL makes the group of a row unknown."""
        return [] if self.split.null_groups == "together" else [c for c in self.group_by if c not in self.key]

    @property
    def columns(self) -> list[str]:
        """The columns that a row's fold depends on."""
        own = self.strata is not None and self.strata.groups is None
        units = [*self.by, *(self.key if self.unknown else [])]
        return [
            *(dict.fromkeys(units) if self.hashed else []),
            *([self.time] if self.time else []),
            *([self.label] if own else []),
        ]

    @property
    def identity(self) -> dict[str, object]:
        """Everything that the folds depend on, as JSON."""
        cuts = self.split.model_dump(mode="json", exclude={"max_identical", "allow"}, exclude_defaults=True)
        units = {"null_groups": self.split.null_groups} if self.unknown else {}
        units |= {"copies": "together"} if CONTENT in self.by else {}
        strata = [{c: list(at) for c, at in self.strata.thresholds.items()}, self.strata.digest] if self.strata else None
        return {"split": cuts, "salt": self.salt, "by": self.by, "time": self.time, "strata": strata, **units}

    def _cuts(self, parts: int) -> tuple[int, int]:
        """Two places: rows below the first are in test, rows from the second on in validation."""
        return round(self.split.share.test * parts), parts - round(self.split.share.validation * parts)

    @property
    def hashed(self) -> bool:
        """Whether the hash decides, alone or together with the time."""
        return self.split.time is None or bool(self.group_by)

    def add(self, frame: AnyRows, column: str, number: str | None = None) -> AnyRows:
        """Adds the fold of each row in `column` (text or NULL), and its cross-validation part in `number` (int, NULL in test).

        `frame` is of an engine, Spark or Arrow. Raises DataError for a column that cannot be hashed or is not a time.
        """
        return as_given(self._add(frame_of(frame), column, number), frame)

    def _add(self, frame: Frame, column: str, number: str | None) -> Frame:
        types = {column: pa.string()} | ({number: pa.int32()} if number else {})
        kept = [name for name in frame.columns if name not in types]
        if self.strata and self.strata.groups is not None:
            frame = self.add_unit(frame, GROUP).join(self.strata.groups, [GROUP], "left")
        expressions = [self.sql(frame.types), *([self._sql_number(frame.types)] if number else [])]
        kernel = partial(_fold_arrays, self._without_groups(), self._class_column, with_number=number is not None)
        return frame.compute(Computed(types, kernel, expressions), kept)

    def add_unit(self, frame: _F, column: str) -> _F:
        """Adds the hash of each row's unit (bigint); NULL if its group is unknown and refused (DataError as for `add`)."""
        kernel = partial(_unit_arrays, self._without_groups(), self.salt)
        return frame.compute(Computed({column: pa.int64()}, kernel, [self._sql_unit(frame.types, self.salt)]))

    def add_part(self, frame: _F, column: str) -> _F:
        """Adds the part of each row for out-of-fold features: bigint in [0, 1,000,000), the same for all rows of a unit."""
        salt = f"out_of_fold:{self.salt}"
        part = hashing.sql_reduce(self._sql_unit(frame.types, salt), hashing.PARTS)
        kernel = partial(_unit_arrays, self._without_groups(), salt, parts=hashing.PARTS)
        return frame.compute(Computed({column: pa.int64()}, kernel, [part]))

    def add_time(self, frame: _F, column: str) -> _F:
        """Adds the split's time in microseconds since 1970 (bigint; DataError for a column that is not a time)."""
        return frame.compute(Computed({column: pa.int64()}, partial(_time_arrays, str(self.time)), [self.sql_time(frame.types)]))

    def _without_groups(self) -> "Folds":
        """A copy that can be pickled."""
        other = copy(self)
        other.strata = self.strata and self.strata._replace(groups=None)
        return other

    def _sql_unit(self, types: Mapping[str, str], salt: str) -> str:
        group = sql_key_hash(types, self.by, salt, sql_without_copy)
        if not self.unknown:
            return group
        own = sql_key_hash(types, self.key, salt, sql_without_copy) if self.split.null_groups == "own" else "NULL"
        return f"CASE WHEN {self.sql_unknown} THEN {own} ELSE {group} END"

    @property
    def sql_unknown(self) -> str:
        """SQL expression (boolean): whether the group of a row is unknown."""
        return " OR ".join(f"{sql.column_reference(c)} IS NULL" for c in self.unknown) or "FALSE"

    def sql(self, types: Mapping[str, str]) -> str:
        """SQL expression (text) of the fold; with strata of groups, the frame must have the groups' classes."""
        hashed = self._sql_of_cuts(types, _sql_cut) if self.hashed else None
        timed = self._sql_timed(types) if self.split.time else None
        return f"CASE WHEN {hashed} = {timed} THEN {timed} END" if hashed and timed else hashed or str(timed)

    def _sql_of_cuts(self, types: Mapping[str, str], of: Callable[[str, tuple[int, int], int], str]) -> str:
        """Applies `of` to a row's place, the cuts of its class and the number of places; NULL if the row's group is unknown and refused."""
        value = self._sql_of_places(self._sql_unit(types, self.salt), of)
        refused = self.unknown and self.split.null_groups == "refuse"
        return f"CASE WHEN {self.sql_unknown} THEN NULL ELSE {value} END" if refused else value

    def _sql_of_places(self, key: str, of: Callable[[str, tuple[int, int], int], str]) -> str:
        if not self.strata:
            return of(hashing.sql_reduce(key, hashing.PARTS), self._cuts(hashing.PARTS), hashing.PARTS)
        places = hashing.MAX_BUCKETS
        place = hashing.sql_reduce(key, places)
        cases = (
            f"WHEN {self._class} = {sql.text_literal(c)} THEN {of(place, cuts, places)}"
            for c, cuts in self.strata.thresholds.items()
        )
        return f"CASE WHEN {self._class} IS NULL THEN NULL {' '.join(cases)} ELSE {of(place, self._cuts(places), places)} END"

    @property
    def _class_column(self) -> str | None:
        """The column with the classes; None without strata."""
        return (self.label if self.strata.groups is None else CLASS) if self.strata else None

    @property
    def _class(self) -> str:
        return CLASS if self._class_column == CLASS else f"CAST({sql.column_reference(self.label)} AS STRING)"

    def _sql_timed(self, types: Mapping[str, str]) -> str:
        assert self.split.time is not None
        at = self.sql_time(types)
        return (
            f"CASE {' '.join(f'WHEN {_sql_within(at, *span)} THEN {fold!r}' for fold, span in self.split.time.spans.items())} END"
        )

    def sql_time(self, types: Mapping[str, str]) -> str:
        """SQL expression (bigint) of the split's time in microseconds since 1970 (DataError for a column that is not a time)."""
        column = str(self.time)
        family = family_of(types[column])
        require_family(DAYS, family, f"split.time: column `{column}`", "cast it, or name another by split.time.column")
        at = hashing.sql_canonical(sql.column_reference(column), family)
        return f"({at} * {MICROS['day']}L)" if family == "date" else at

    def _sql_number(self, types: Mapping[str, str]) -> str:
        k = self.split.folds or 1

        def of(place: str, cuts: tuple[int, int], parts: int) -> str:
            return f"CASE WHEN {place} >= {cuts[0]}L THEN CAST(({place} - {cuts[0]}L) * {k}L DIV {parts - cuts[0]}L AS INT) END"

        return self._sql_of_cuts(types, of)

    def numpy(self, rows: pa.Table | pa.RecordBatch, classes: npt.NDArray[np.object_] | None = None) -> npt.NDArray[np.object_]:
        """The folds of Arrow rows (train, validation, test or None), equal to those of `add`.

        classes: with strata, the classes of the rows or of their groups, as text or None.
        """
        return np.array([*FOLDS, None], object)[self._numpy_folds(rows, classes)]

    def _numpy_folds(self, rows: pa.Table | pa.RecordBatch, classes: npt.NDArray[np.object_] | None) -> Int64s:
        """The indices of the folds in `FOLDS`; -1 for no fold."""
        hashed = self._numpy_of_cuts(rows, classes, _cut) if self.hashed else None
        if self.split.time is None:
            assert hashed is not None
            return hashed
        times = _times(rows[str(self.time)])
        timed = np.full(len(times), -1)
        for fold, (start, end) in self.split.time.spans.items():
            within = (times != np.iinfo(np.int64).min) & (start is None or times >= start) & (end is None or times < end)
            timed[within] = FOLDS.index(fold)
        return timed if hashed is None else np.where(hashed == timed, timed, -1)

    def _numpy_numbers(self, rows: pa.RecordBatch, classes: npt.NDArray[np.object_] | None) -> Int64s:
        """The cross-validation parts; -1 in test."""
        k = self.split.folds or 1

        def of(place: Int64s, cuts: tuple[int, int], parts: int) -> Int64s:
            return np.where(place >= cuts[0], (place - cuts[0]) * k // max(1, parts - cuts[0]), -1)

        return self._numpy_of_cuts(rows, classes, of)

    def _numpy_of_cuts(
        self, rows: pa.Table | pa.RecordBatch, classes: npt.NDArray[np.object_] | None, of: "_OfCuts"
    ) -> Int64s:  # fmt: skip
        """`of` as in `_sql_of_cuts`; -1 for NULL."""
        h = self._numpy_unit(rows, self.salt)
        parts = hashing.PARTS if not self.strata or classes is None else hashing.MAX_BUCKETS
        place = hashing.reduce(h, parts)
        values = of(place, self._cuts(parts), parts)
        if self.strata and classes is not None:
            for name, cuts in self.strata.thresholds.items():
                values[classes == name] = of(place[classes == name], cuts, parts)
            values[np.array([name is None for name in classes], bool)] = -1
        if self.split.null_groups == "refuse":
            values[self._numpy_unknown(rows)] = -1
        return values

    def _numpy_unit(self, rows: pa.Table | pa.RecordBatch, salt: str) -> Int64s:
        group, unknown = arrow_key_hash(rows, self.by, salt, without_copy), self._numpy_unknown(rows)
        return np.where(unknown, arrow_key_hash(rows, self.key, salt, without_copy), group) if unknown.any() else group

    def _numpy_unknown(self, rows: pa.Table | pa.RecordBatch) -> npt.NDArray[np.bool_]:
        unknown = np.zeros(rows.num_rows, bool)
        for name in self.unknown:
            unknown |= single_chunk(rows[name]).is_null().to_numpy(zero_copy_only=False)
        return unknown


_OfCuts = Callable[[Int64s, tuple[int, int], int], Int64s]


def _fold_arrays(folds: Folds, class_column: str | None, batch: pa.RecordBatch, *, with_number: bool) -> list[pa.Array]:
    classes = value_texts(batch[class_column]).to_numpy(zero_copy_only=False) if class_column else None
    places = folds._numpy_folds(batch, classes)
    names = pa.array(FOLDS).take(pa.array(places, mask=places < 0))
    if not with_number:
        return [names]
    numbers = folds._numpy_numbers(batch, classes)
    return [names, pa.array(numbers, pa.int32(), mask=numbers < 0)]


def _unit_arrays(folds: Folds, salt: str, batch: pa.RecordBatch, *, parts: int | None = None) -> list[pa.Array]:
    units = folds._numpy_unit(batch, salt)
    refused = folds._numpy_unknown(batch) if folds.split.null_groups == "refuse" else None
    return [pa.array(hashing.reduce(units, parts) if parts else units, mask=refused)]


def _time_arrays(name: str, batch: pa.RecordBatch) -> list[pa.Array]:
    return [pa.array(_times(batch[name]), mask=batch[name].is_null().to_numpy(zero_copy_only=False))]


def _sql_cut(place: str, cuts: tuple[int, int], _: int) -> str:
    return f"CASE WHEN {place} < {cuts[0]}L THEN 'test' WHEN {place} >= {cuts[1]}L THEN 'validation' ELSE 'train' END"


def _cut(place: Int64s, cuts: tuple[int, int], _: int) -> Int64s:
    test, validation, train = (FOLDS.index(fold) for fold in ("test", "validation", "train"))
    return np.where(place < cuts[0], test, np.where(place >= cuts[1], validation, train))


def _sql_within(at: str, start: int | None, end: int | None) -> str:
    sides = [f"{at} >= {start}L"] * (start is not None) + [f"{at} < {end}L"] * (end is not None)
    return " AND ".join(sides)


def _times(column: pa.Array | pa.ChunkedArray) -> Int64s:
    """Microseconds since 1970 (int64); the smallest integer for NULL."""
    array = single_chunk(column)
    family = arrow_family(array.type)
    at = hashing.canonical_values(array.cast(ARROW[family]), family)
    micros = at.fill_null(0).to_numpy(zero_copy_only=False) * (MICROS["day"] if family == "date" else 1)
    return np.where(array.is_null().to_numpy(zero_copy_only=False), np.iinfo(np.int64).min, micros)
