"""The thresholds of a stratified split, fitted once for each class and then kept in a table.

The table also keeps the class of each group (and of each key with rows in several periods): the greatest label, as text, of its rows
when the group was first seen. Neither later labels nor later groups therefore move a row.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from keyfold.core import hashing, sql
from keyfold.core.digests import digest
from keyfold.core.names import CLASS, CONTENT, GROUP, UNIT
from keyfold.core.texts import value_texts
from keyfold.engine.columns import col, count_rows, lit
from keyfold.engine.frame import Computed, Frame, persisting
from keyfold.errors import DataError
from keyfold.split.folds import Folds, Strata

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf
    from keyfold.engine.table_versions import TableVersion
    from keyfold.engine.tables import Table
    from keyfold.runtime.run import Run

TABLE, GROUPS = "keyfold.strata", "keyfold.strata_groups"
MAX_CLASSES = 1000
_Thresholds = dict[str, tuple[int, int]]
_COARSE = 15  # low bits of a place that the first count ignores


def with_strata(run: "Run", folds: Folds, version: "TableVersion", rows: Frame | None = None) -> Folds:
    """The folds with their strata: from the table, otherwise fitted on `rows`. New groups in `rows` are added to the table.

    Returns `folds` unchanged if the split is not stratified. Raises DataError if there are neither strata nor rows, or too many classes.
    """
    if not folds.split.stratified:
        return folds
    identity = strata_name(run.conf, folds, version)
    thresholds = _find(run.table(TABLE), identity)
    if rows is not None:
        thresholds = _add(run, folds, identity, thresholds, rows)
    if not thresholds:
        raise DataError(f"the strata of the split are not fitted yet for table `{run.featured.name}`; run `features` first")
    groups = _groups(run.table(GROUPS), identity) if folds.grouped else None
    folds.strata = Strata(thresholds, groups, _digest(groups))
    return folds


def _add(run: "Run", folds: Folds, identity: str, thresholds: _Thresholds, rows: Frame) -> _Thresholds:
    """The thresholds, fitted on `rows` if there are none yet. Adds new groups to the table."""
    with persisting() as persist:
        units = persist(_units(folds, rows, _groups(run.table(GROUPS), identity)))
        thresholds = thresholds or _fit(run, folds, units, identity)
        if folds.grouped and units.head(1).rows():
            named = units.rename({UNIT: GROUP}).with_columns({"id": lit(identity)}).select(["id", GROUP, CLASS])
            run.table(GROUPS).append(named.coalesce(1), job="strata")
    return thresholds


def strata_name(conf: "Conf", folds: Folds, version: "TableVersion") -> str:
    """The id of strata in the table. It must never change for a conf: strata would be fitted again, and rows would change folds."""
    cuts = folds.split.model_dump(mode="json", include={"by", "salt", "share"})
    units = {} if folds.split.null_groups == "own" else {"null_groups": folds.split.null_groups}
    units |= {"copies": "together"} if CONTENT in folds.by else {}
    sections = {"split": cuts | units, "key": conf.data.key, "label": folds.label}
    return digest({"job": "strata", "name": conf.name, "sections": sections, "table": version.id})


def _find(table: "Table", identity: str) -> _Thresholds:
    rows = table.frame().where(col("id") == lit(identity)).sort(["class"]).rows() if table.exists() else []
    return {row["class"]: (row["test"], row["validation"]) for row in rows}


def _groups(table: "Table", identity: str) -> Frame | None:
    """The columns `keyfold_group` and `keyfold_class`, one row per group, even if two runs added the group."""
    if not table.exists():
        return None
    return table.frame().where(col("id") == lit(identity)).group([GROUP], **{CLASS: col(CLASS).min()})


def _digest(groups: Frame | None) -> str:
    """Number and sum of the hashes of groups and classes, independent of their order; empty without groups."""
    if groups is None:
        return ""
    h = f"xxhash64({GROUP}, {CLASS})"
    halves = Computed({"high": pa.int64(), "low": pa.int64()}, _hash_halves, [f"shiftright({h}, 32)", f"{h} & {_LOW}L"])
    sums = groups.compute(halves).group([], n=count_rows(), high=col("high").sum(), low=col("low").sum()).rows()[0]
    summed = (sums["high"] << 32) + sums["low"] if sums["n"] else None
    return f"{sums['n']} {summed}"


_LOW = 0xFFFFFFFF


def _hash_halves(batch: pa.RecordBatch) -> list[pa.Array]:
    h = hashing.chained_hash([batch[GROUP], batch[CLASS]])
    return [pa.array(h >> 32), pa.array(h & _LOW)]


def _units(folds: Folds, rows: Frame, known: Frame | None) -> Frame:
    """Hash and class of the units to rank: of rows, or of groups that are not in `known`."""
    text = f"CAST({sql.column_reference(folds.label)} AS STRING)"
    units = folds.add_unit(rows.select(dict.fromkeys([*folds.columns, folds.label])), UNIT)
    units = units.compute(Computed({CLASS: pa.string()}, partial(_class_texts, folds.label), [text]), [UNIT])
    units = units.where(~col(UNIT).is_null())
    if not folds.grouped:
        return units
    units = units.group([UNIT], **{CLASS: col(CLASS).max()})
    return units if known is None else units.join(known.select([GROUP]).rename({GROUP: UNIT}), [UNIT], "anti")


def _class_texts(label: str, batch: pa.RecordBatch) -> list[pa.Array]:
    return [value_texts(batch[label])]


def _fit(run: "Run", folds: Folds, units: Frame, identity: str) -> _Thresholds:
    cuts_of = dict(sorted(thresholds(folds, units)))
    if len(cuts_of) > MAX_CLASSES:
        raise DataError(
            f"split.stratified: `{folds.label}` has {len(cuts_of):,} values; at most {MAX_CLASSES:,} classes can be stratified"
        )
    rows = [(identity, name, *cuts) for name, cuts in cuts_of.items()]
    frame = run.engine.rows(rows, "id string, class string, test bigint, validation bigint")
    run.table(TABLE).replace(frame, "id", {identity: len(rows)}, job="strata")
    return cuts_of


def thresholds(folds: Folds, units: Frame) -> Iterator[tuple[str, tuple[int, int]]]:
    """The thresholds of each class (see `Strata`), which give the shares exactly except for ties.

    units: the columns `keyfold_unit` (the hash) and `keyfold_class`. Counts by coarse place locate the ranks; a second pass sorts only
    the places near them.
    """
    place = hashing.sql_reduce(UNIT, hashing.MAX_BUCKETS)
    computed = Computed(
        dict.fromkeys(("place", "coarse"), pa.int64()), _places_of, [place, f"shiftrightunsigned({place}, {_COARSE})"]
    )
    placed, counts = units.compute(computed, [CLASS]), dict[str, dict[int, int]]()
    for row in placed.group([CLASS, "coarse"], n=count_rows()).sort([CLASS, "coarse"]).rows():
        counts.setdefault(row[CLASS], {})[row["coarse"]] = row["n"]
    share, ranks = folds.split.share, {}
    for name, by_coarse in counts.items():
        n = sum(by_coarse.values())
        ranks[name] = [_locate(by_coarse, rank) for rank in (round(share.test * n), n - round(share.validation * n))]
    places = _places(placed, {at[0] for both in ranks.values() for at in both if at})
    for name, both in ranks.items():
        test, validation = (places[name, at[0]][at[1]] if at else hashing.MAX_BUCKETS for at in both)
        yield name, (test, validation)


def _places_of(batch: pa.RecordBatch) -> list[pa.Array]:
    place = hashing.reduce(batch[UNIT].to_numpy(), hashing.MAX_BUCKETS)
    return [pa.array(place), pa.array(place >> _COARSE)]


def _places(placed: Frame, coarse: set[int]) -> dict[tuple[str, int], list[int]]:
    """The places of units in ascending order, by class and coarse place."""
    places: dict[tuple[str, int], list[int]] = {}
    for row in placed.where(col("coarse").is_in(sorted(coarse))).sort(["place"]).rows() if coarse else ():
        places.setdefault((row[CLASS], row["coarse"]), []).append(row["place"])
    return places


def _locate(by_coarse: Mapping[int, int], rank: int) -> tuple[int, int] | None:
    """The coarse place of a rank, and the rank within it; None if there are fewer units."""
    for coarse, n in by_coarse.items():
        if rank < n:
            return coarse, rank
        rank -= n
    return None
