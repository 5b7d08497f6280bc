"""The thresholds of a stratified split, fitted once for each class and then kept in a table.

For groups (and keys that have rows in several periods) the class of each is kept, too: the greatest label of its rows, as text,
when the group first arrived. So neither later labels nor later groups move a row.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from keyfold.core import hashing, sql
from keyfold.core.digests import digest
from keyfold.core.names import CLASS, CONTENT, GROUP
from keyfold.errors import DataError
from keyfold.split.folds import Folds, Strata

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.conf.use_case import Conf
    from keyfold.engine.table_versions import TableVersion
    from keyfold.engine.tables import Table
    from keyfold.runtime.run import Run

TABLE, GROUPS = "keyfold.strata", "keyfold.strata_groups"
MAX_CLASSES = 1000
_Thresholds = dict[str, tuple[int, int]]
_COARSE = 15  # bits of a place that the first count leaves out


def with_strata(run: "Run", folds: Folds, version: "TableVersion", rows: "DataFrame | None" = None) -> Folds:
    """The folds, with their strata if the split is stratified: from the table, or else fitted on `rows`, whose new groups are added.

    Raises DataError if there are no strata and no rows, or if the label has too many classes.
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


def _add(run: "Run", folds: Folds, identity: str, thresholds: _Thresholds, rows: "DataFrame") -> _Thresholds:
    """The thresholds, fitted on `rows` if there are none; the groups that are new are added to the table."""
    units = _units(folds, rows, _groups(run.table(GROUPS), identity)).persist()
    try:
        thresholds = thresholds or _fit(run, folds, units, identity)
        if folds.grouped and units.take(1):
            named = units.selectExpr(f"{sql.text_literal(identity)} AS id", "h AS keyfold_group", "class AS keyfold_class")
            run.table(GROUPS).append(named.coalesce(1), job="strata")
    finally:
        units.unpersist()
    return thresholds


def strata_name(conf: "Conf", folds: Folds, version: "TableVersion") -> str:
    """The id of strata in the table. It must not change: another id for the same conf would fit again and move rows to other folds."""
    cuts = folds.split.model_dump(mode="json", include={"by", "salt", "share"})
    units = {} if folds.split.null_groups == "own" else {"null_groups": folds.split.null_groups}
    units |= {"copies": "together"} if CONTENT in folds.by else {}
    sections = {"split": cuts | units, "key": conf.data.key, "label": conf.data.label}
    return digest({"job": "strata", "name": conf.name, "sections": sections, "table": version.id})


def _find(table: "Table", identity: str) -> _Thresholds:
    rows = table.read().where(sql.col("id") == identity).sort("class").collect() if table.exists() else []
    return {row["class"]: (row.test, row.validation) for row in rows}


def _groups(table: "Table", identity: str) -> "DataFrame | None":
    """`keyfold_group` and `keyfold_class`, each group once, even if two runs added it."""
    if not table.exists():
        return None
    return table.read().where(sql.col("id") == identity).groupBy(GROUP).agg(sql.column("min(keyfold_class)").alias(CLASS))


def _digest(groups: "DataFrame | None") -> str:
    """Count and sum of the hashes of groups and classes, in any order; empty without groups."""
    if groups is None:
        return ""
    hashes = "sum(CAST(xxhash64(keyfold_group, keyfold_class) AS DECIMAL(38, 0)))"
    n, summed = groups.agg(sql.column("count(*)"), sql.column(hashes)).collect()[0]
    return f"{n} {summed}"


def _units(folds: Folds, rows: "DataFrame", known: "DataFrame | None") -> "DataFrame":
    """Hash `h` and `class` of the units to rank: rows, or groups that are not in `known`."""
    text = sql.column(f"CAST({sql.column_reference(folds.label)} AS STRING)").alias("class")
    units = rows.select(folds.unit(rows).alias("h"), text).where("h IS NOT NULL")
    if not folds.grouped:
        return units
    units = units.groupBy("h").agg(sql.column("max(class)").alias("class"))
    return units if known is None else units.join(known, units.h == known.keyfold_group, "left_anti")


def _fit(run: "Run", folds: Folds, units: "DataFrame", identity: str) -> _Thresholds:
    cuts_of = dict(sorted(thresholds(folds, units)))
    if len(cuts_of) > MAX_CLASSES:
        raise DataError(
            f"split.stratified: `{folds.label}` has {len(cuts_of):,} values; at most {MAX_CLASSES:,} classes can be stratified"
        )
    rows = [(identity, name, *cuts) for name, cuts in cuts_of.items()]
    frame = run.spark.createDataFrame(rows, "id string, class string, test bigint, validation bigint").coalesce(1)
    run.table(TABLE).replace(frame, "id", {identity: len(rows)}, job="strata")
    return cuts_of


def thresholds(folds: Folds, units: "DataFrame") -> Iterator[tuple[str, tuple[int, int]]]:
    """For each class its cuts (see `Strata`), which give the shares exactly but for ties.

    units: hash `h` and `class` of each. Counts by coarse place find the ranks; a second pass sorts the places around them alone.
    """
    place = hashing.sql_reduce("h", hashing.MAX_BUCKETS)
    placed = units.selectExpr("class", f"{place} AS place").selectExpr("*", f"shiftrightunsigned(place, {_COARSE}) AS coarse")
    counts: dict[str, dict[int, int]] = {}
    for row in placed.groupBy("class", "coarse").count().sort("class", "coarse").collect():
        counts.setdefault(row["class"], {})[row.coarse] = row["count"]
    share, ranks = folds.split.share, {}
    for name, by_coarse in counts.items():
        n = sum(by_coarse.values())
        ranks[name] = [_locate(by_coarse, rank) for rank in (round(share.test * n), n - round(share.validation * n))]
    places = _places(placed, {(name, at[0]) for name, both in ranks.items() for at in both if at})
    for name, both in ranks.items():
        test, validation = (places[name, at[0]][at[1]] if at else hashing.MAX_BUCKETS for at in both)
        yield name, (test, validation)


def _places(placed: "DataFrame", cells: set[tuple[str, int]]) -> dict[tuple[str, int], list[int]]:
    """The places in each cell (class and coarse place), in ascending order."""
    places: dict[tuple[str, int], list[int]] = {}
    if cells:
        structs = ", ".join(f"struct({sql.text_literal(name)}, {coarse}L)" for name, coarse in sorted(cells))
        for row in placed.where(sql.column(f"struct(class, coarse) IN ({structs})")).sort("place").collect():
            places.setdefault((row["class"], row.coarse), []).append(row.place)
    return places


def _locate(by_coarse: Mapping[int, int], rank: int) -> tuple[int, int] | None:
    """The coarse place of a rank, and the rank within it; None if there are fewer units."""
    for coarse, n in by_coarse.items():
        if rank < n:
            return coarse, rank
        rank -= n
    return None
