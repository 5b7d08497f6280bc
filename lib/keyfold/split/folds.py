"""The fold of a row, as a pure function of its key, its group, its time or its class.

On [0, 1) test is at the bottom, validation at the top, train between. So adding rows moves none, and a larger test share only
takes rows from train. With `time` the boundaries decide, alone or, where `by` is given, together with the hash: a row whose two
folds differ is in none, as are rows in a gap. `stratified` cuts each class by itself, at thresholds that are fitted once.

What has one hash is a unit, and is in one fold: the rows of a group; a row by its key where its group is unknown (NULL); the
copies of a row under `key: content`, whose keys differ in the copy's number alone.
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
    """By class (as text) its places of test and of validation, in [0, 2^31 - 1); for groups, the class of each.

    `groups` has columns `keyfold_group` (bigint, the feature hash) and `keyfold_class`; None where each row has its own class.
    `digest` is of the groups.
    """

    thresholds: Mapping[str, tuple[int, int]]
    groups: "DataFrame | None" = None
    digest: str = ""


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
        self.key, self.by = list(key), self.given or list(key)
        self.grouped = repeats or set(self.by) != set(key) or CONTENT in self.by
        self.salt = f"split:{name if split.salt is None else split.salt}"
        self.time = (split.time.column or time) if split.time else None

    @property
    def unknown(self) -> list[str]:
        """The columns in which NULL means that the group of a row is not known."""
        return [] if self.split.null_groups == "together" else [c for c in self.given if c not in self.key]

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
        """What decides the folds, as JSON."""
        cuts = self.split.model_dump(mode="json", exclude={"max_identical", "allow"}, exclude_defaults=True)
        units = {"null_groups": self.split.null_groups} if self.unknown else {}
        units |= {"copies": "together"} if CONTENT in self.by else {}
        strata = [{c: list(at) for c, at in self.strata.thresholds.items()}, self.strata.digest] if self.strata else None
        return {"split": cuts, "salt": self.salt, "by": self.by, "time": self.time, "strata": strata, **units}

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
            known = frame.withColumn(GROUP, self.unit(frame))
            known = known.join(self.strata.groups, GROUP, "left")
            frame = known.select(*map(sql.col, [*frame.columns, CLASS]))
        made = {column: sql.column(self.sql(frame))}
        if number:
            made[number] = sql.column(self._sql_number(frame))
        return frame.withColumns(made).drop(CLASS)

    def unit(self, frame: "DataFrame") -> "Column":
        """bigint: the hash of a row's unit, NULL where its group is unknown and refused (DataError for a type that cannot be hashed)."""
        return sql.column(self._sql_unit(frame, self.salt))

    def _sql_unit(self, frame: "DataFrame", salt: str) -> str:
        group = sql_key_hash(frame, self.by, salt, sql_without_copy)
        if not self.unknown:
            return group
        own = sql_key_hash(frame, self.key, salt, sql_without_copy) if self.split.null_groups == "own" else "NULL"
        return f"CASE WHEN {self.sql_unknown} THEN {own} ELSE {group} END"

    @property
    def sql_unknown(self) -> str:
        """boolean: whether the group of a row is unknown."""
        return " OR ".join(f"{sql.column_reference(c)} IS NULL" for c in self.unknown) or "FALSE"

    def sql(self, frame: "DataFrame") -> str:
        """text: the fold as an expression over a frame that `add` prepared."""
        hashed = self._sql_of_cuts(frame, _sql_cut) if self.hashed else None
        timed = self._sql_timed(frame) if self.split.time else None
        return f"CASE WHEN {hashed} = {timed} THEN {timed} END" if hashed and timed else hashed or str(timed)

    def _sql_of_cuts(self, frame: "DataFrame", of: Callable[[str, tuple[int, int], int], str]) -> str:
        """What `of` makes of a row's place, of the cuts that hold for its class, and of how many places there are."""
        key = self._sql_unit(frame, self.salt)
        found = self._sql_of_places(key, of)
        refused = self.unknown and self.split.null_groups == "refuse"
        return f"CASE WHEN {self.sql_unknown} THEN NULL ELSE {found} END" if refused else found

    def _sql_of_places(self, key: str, of: Callable[[str, tuple[int, int], int], str]) -> str:
        if not self.strata:
            return of(hashing.sql_reduce(key, hashing.PARTS), self._cuts(hashing.PARTS), hashing.PARTS)
        most = hashing.MAX_BUCKETS
        place = hashing.sql_reduce(key, most)
        cases = (
            f"WHEN {self._class} = {sql.text_literal(c)} THEN {of(place, cuts, most)}"
            for c, cuts in self.strata.thresholds.items()
        )
        return f"CASE WHEN {self._class} IS NULL THEN NULL {' '.join(cases)} ELSE {of(place, self._cuts(most), most)} END"

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
        """bigint: the microseconds since 1970 of the split's time column (DataError for a column of another type)."""
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
        """bigint in [0, 1,000,000): the part of a row within its fold; rows that the split keeps together have one."""
        return sql.column(hashing.sql_reduce(self._sql_unit(frame, f"out_of_fold:{self.salt}"), hashing.PARTS))

    def numpy(self, rows: pa.Table | pa.RecordBatch, classes: npt.NDArray[np.object_] | None = None) -> npt.NDArray[np.object_]:
        """The same, of Arrow rows; of strata with the classes of the rows, or of their groups, as text or None."""
        found = self._numpy_hashed(self._numpy_unit(rows), classes) if self.hashed else None
        if found is not None and self.split.null_groups == "refuse":
            found[self._numpy_unknown(rows)] = None
        if self.split.time is None:
            assert found is not None
            return found
        times = _times(rows[str(self.time)])
        timed = np.full(len(times), None, object)
        for fold, (start, end) in self.split.time.spans.items():
            within = (times != np.iinfo(np.int64).min) & (start is None or times >= start) & (end is None or times < end)
            timed[within] = fold
        if found is not None:
            timed[found != timed] = None
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
        at = hashing.reduce(h, hashing.MAX_BUCKETS)
        found = _cut(at, self._cuts(hashing.MAX_BUCKETS))
        for name, cuts in self.strata.thresholds.items():
            found[classes == name] = _cut(at[classes == name], cuts)
        found[[name is None for name in classes]] = None
        return found


def _sql_cut(place: str, cuts: tuple[int, int], _: int) -> str:
    return f"CASE WHEN {place} < {cuts[0]}L THEN 'test' WHEN {place} >= {cuts[1]}L THEN 'validation' ELSE 'train' END"


def _cut(place: Int64s, cuts: tuple[int, int]) -> npt.NDArray[np.object_]:
    return np.select([place < cuts[0], place >= cuts[1]], ["test", "validation"], "train").astype(object)


def _sql_within(at: str, start: int | None, end: int | None) -> str:
    sides = [f"{at} >= {start}L"] * (start is not None) + [f"{at} < {end}L"] * (end is not None)
    return " AND ".join(sides)


def _times(column: pa.Array | pa.ChunkedArray) -> Int64s:
    """Microseconds since 1970; the least integer where NULL."""
    array = single_chunk(column)
    family = arrow_family(array.type)
    at = hashing.canonical_values(array.cast(ARROW[family]), family)
    micros = at.fill_null(0).to_numpy(zero_copy_only=False) * (MICROS["day"] if family == "date" else 1)
    return np.where(array.is_null().to_numpy(zero_copy_only=False), np.iinfo(np.int64).min, micros)
