"""The fold of a row, a pure function of its key, its group, its time or its class.

The hash of a row gives a place in [0, 1): test is at the bottom, validation at the top, train between. So new rows move no other
row, and a larger test share takes rows from train alone. With `time` boundaries decide, alone or, if `by` is set, together with
the hash: a row whose two folds differ is in none, as are rows in a gap. `stratified` cuts each class by itself, at thresholds that
are fitted once.

Rows of one hash are a unit and are in one fold: the rows of a group; a row whose group is unknown (NULL), by its key; the copies
of a row under `key: content`, whose keys differ in the number of the copy alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.conf.split import Split
from keyfold.core import hashing, sql
from keyfold.core.arrays import Int64s
from keyfold.core.names import CLASS, CONTENT, GROUP
from keyfold.core.row_hash import arrow_key_hash, single_chunk, sql_key_hash, sql_without_copy
from keyfold.core.types import ARROW, DAYS, MICROS, arrow_family, family_of, require_family

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


class Strata(NamedTuple):
    """The fitted part of a stratified split.

    thresholds: by class (as text), the place below which a unit is in test and the place from which it is in validation, in
    [0, 2^31 - 1); groups: the class of each group, in columns `keyfold_group` (bigint, the hash) and `keyfold_class`, None if each
    row has its own class; digest: of the groups.
    """

    thresholds: Mapping[str, tuple[int, int]]
    groups: "DataFrame | None" = None
    digest: str = ""


class Folds:
    """A split of a use case.

    by: the columns that are hashed; group_by: those of `split.by`; key: the columns of the key; salt: the salt with its prefix; time:
    the column of the boundaries, or None; grouped: whether several rows may share a hash; strata: set by `keyfold.split.strata`.
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
        """The columns in which NULL means that the group of a row is unknown."""
        return [] if self.split.null_groups == "together" else [c for c in self.group_by if c not in self.key]

    @property
    def columns(self) -> list[str]:
        """The columns that decide the fold of a row."""
        own = self.strata is not None and self.strata.groups is None
        units = [*self.by, *(self.key if self.unknown else [])]
        return [
            *(dict.fromkeys(units) if self.hashed else []),
            *([self.time] if self.time else []),
            *([self.label] if own else []),
        ]

    @property
    def identity(self) -> dict[str, object]:
        """All that the folds depend on, as JSON."""
        cuts = self.split.model_dump(mode="json", exclude={"max_identical", "allow"}, exclude_defaults=True)
        units = {"null_groups": self.split.null_groups} if self.unknown else {}
        units |= {"copies": "together"} if CONTENT in self.by else {}
        strata = [{c: list(at) for c, at in self.strata.thresholds.items()}, self.strata.digest] if self.strata else None
        return {"split": cuts, "salt": self.salt, "by": self.by, "time": self.time, "strata": strata, **units}

    def _cuts(self, parts: int) -> tuple[int, int]:
        """The place below which a row is in test, and the place from which it is in validation."""
        return round(self.split.share.test * parts), parts - round(self.split.share.validation * parts)

    @property
    def hashed(self) -> bool:
        """Whether the hash counts; else the time alone decides."""
        return self.split.time is None or bool(self.group_by)

    def add(self, frame: "DataFrame", column: str, number: str | None = None) -> "DataFrame":
        """The frame with the fold of each row in `column` (text, or NULL) and its part to cross-validate in `number` (int, NULL in test).

        Raises DataError for a column that cannot be hashed, or is no time.
        """
        if self.strata and self.strata.groups is not None:
            with_class = frame.withColumn(GROUP, self.unit(frame)).join(self.strata.groups, GROUP, "left")
            frame = with_class.select(*map(sql.col, [*frame.columns, CLASS]))
        columns = {column: sql.column(self.sql(frame))}
        if number:
            columns[number] = sql.column(self._sql_number(frame))
        return frame.withColumns(columns).drop(CLASS)

    def unit(self, frame: "DataFrame") -> "Column":
        """bigint: the hash of each row's unit; NULL if its group is unknown and refused (DataError for a type that cannot be hashed)."""
        return sql.column(self._sql_unit(frame, self.salt))

    def _sql_unit(self, frame: "DataFrame", salt: str) -> str:
        group = sql_key_hash(frame, self.by, salt, sql_without_copy)
        if not self.unknown:
            return group
        own = sql_key_hash(frame, self.key, salt, sql_without_copy) if self.split.null_groups == "own" else "NULL"
        return f"CASE WHEN {self.sql_unknown} THEN {own} ELSE {group} END"

    @property
    def sql_unknown(self) -> str:
        """boolean: SQL expression of whether the group of a row is unknown."""
        return " OR ".join(f"{sql.column_reference(c)} IS NULL" for c in self.unknown) or "FALSE"

    def sql(self, frame: "DataFrame") -> str:
        """text: SQL expression of the fold; of groups with strata over a frame that has their class."""
        hashed = self._sql_of_cuts(frame, _sql_cut) if self.hashed else None
        timed = self._sql_timed(frame) if self.split.time else None
        return f"CASE WHEN {hashed} = {timed} THEN {timed} END" if hashed and timed else hashed or str(timed)

    def _sql_of_cuts(self, frame: "DataFrame", of: Callable[[str, tuple[int, int], int], str]) -> str:
        """`of` applied to the place of a row, the cuts of its class and the number of places; NULL if an unknown group is refused."""
        value = self._sql_of_places(self._sql_unit(frame, self.salt), of)
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
    def _class(self) -> str:
        grouped = self.strata is not None and self.strata.groups is not None
        return CLASS if grouped else f"CAST({sql.column_reference(self.label)} AS STRING)"

    def _sql_timed(self, frame: "DataFrame") -> str:
        assert self.split.time is not None
        at = self.sql_time(frame)
        return (
            f"CASE {' '.join(f'WHEN {_sql_within(at, *span)} THEN {fold!r}' for fold, span in self.split.time.spans.items())} END"
        )

    def sql_time(self, frame: "DataFrame") -> str:
        """bigint: SQL expression of the split's time in microseconds since 1970 (DataError for a column of another type)."""
        column = str(self.time)
        family = family_of(frame.schema[column].dataType.simpleString())
        require_family(DAYS, family, f"split.time: column `{column}`", "cast it, or name another by split.time.column")
        at = hashing.sql_canonical(sql.column_reference(column), family)
        return f"({at} * {MICROS['day']}L)" if family == "date" else at

    def _sql_number(self, frame: "DataFrame") -> str:
        k = self.split.folds or 1

        def of(place: str, cuts: tuple[int, int], parts: int) -> str:
            return f"CASE WHEN {place} >= {cuts[0]}L THEN CAST(({place} - {cuts[0]}L) * {k}L DIV {parts - cuts[0]}L AS INT) END"

        return self._sql_of_cuts(frame, of)

    def spark_part(self, frame: "DataFrame") -> "Column":
        """bigint in [0, 1,000,000): the part of a row within its fold, for out-of-fold features; rows of a unit have the same."""
        return sql.column(hashing.sql_reduce(self._sql_unit(frame, f"out_of_fold:{self.salt}"), hashing.PARTS))

    def numpy(self, rows: pa.Table | pa.RecordBatch, classes: npt.NDArray[np.object_] | None = None) -> npt.NDArray[np.object_]:
        """The folds of Arrow rows (train, validation, test or None), as `add` gives them.

        classes: with strata, the classes of the rows or of their groups, as text or None.
        """
        hashed = self._numpy_hashed(self._numpy_unit(rows), classes) if self.hashed else None
        if hashed is not None and self.split.null_groups == "refuse":
            hashed[self._numpy_unknown(rows)] = None
        if self.split.time is None:
            assert hashed is not None
            return hashed
        times = _times(rows[str(self.time)])
        timed = np.full(len(times), None, object)
        for fold, (start, end) in self.split.time.spans.items():
            within = (times != np.iinfo(np.int64).min) & (start is None or times >= start) & (end is None or times < end)
            timed[within] = fold
        if hashed is not None:
            timed[hashed != timed] = None
        return timed

    def _numpy_unit(self, rows: pa.Table | pa.RecordBatch) -> Int64s:
        group, unknown = arrow_key_hash(rows, self.by, self.salt), self._numpy_unknown(rows)
        return np.where(unknown, arrow_key_hash(rows, self.key, self.salt), group) if unknown.any() else group

    def _numpy_unknown(self, rows: pa.Table | pa.RecordBatch) -> npt.NDArray[np.bool_]:
        unknown = np.zeros(rows.num_rows, bool)
        for name in self.unknown:
            unknown |= single_chunk(rows[name]).is_null().to_numpy(zero_copy_only=False)
        return unknown

    def _numpy_hashed(self, h: Int64s, classes: npt.NDArray[np.object_] | None) -> npt.NDArray[np.object_]:
        if not self.strata or classes is None:
            return _cut(hashing.reduce(h, hashing.PARTS), self._cuts(hashing.PARTS))
        place = hashing.reduce(h, hashing.MAX_BUCKETS)
        folds = _cut(place, self._cuts(hashing.MAX_BUCKETS))
        for name, cuts in self.strata.thresholds.items():
            folds[classes == name] = _cut(place[classes == name], cuts)
        folds[[name is None for name in classes]] = None
        return folds


def _sql_cut(place: str, cuts: tuple[int, int], _: int) -> str:
    return f"CASE WHEN {place} < {cuts[0]}L THEN 'test' WHEN {place} >= {cuts[1]}L THEN 'validation' ELSE 'train' END"


def _cut(place: Int64s, cuts: tuple[int, int]) -> npt.NDArray[np.object_]:
    return np.select([place < cuts[0], place >= cuts[1]], ["test", "validation"], "train").astype(object)


def _sql_within(at: str, start: int | None, end: int | None) -> str:
    sides = [f"{at} >= {start}L"] * (start is not None) + [f"{at} < {end}L"] * (end is not None)
    return " AND ".join(sides)


def _times(column: pa.Array | pa.ChunkedArray) -> Int64s:
    """int64: microseconds since 1970; the least integer for NULL."""
    array = single_chunk(column)
    family = arrow_family(array.type)
    at = hashing.canonical_values(array.cast(ARROW[family]), family)
    micros = at.fill_null(0).to_numpy(zero_copy_only=False) * (MICROS["day"] if family == "date" else 1)
    return np.where(array.is_null().to_numpy(zero_copy_only=False), np.iinfo(np.int64).min, micros)
