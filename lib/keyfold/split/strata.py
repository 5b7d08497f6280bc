"""The thresholds of a stratified split: by class the ranks that were cut at its first fitting, kept in a table for good.

For groups (and keys that stand in several periods) the class of each is kept too: the greatest label of its rows, as text, when
it was first seen. So a later label, or a later group, moves none.
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
    from keyfold.runtime.run import Run

TABLE, GROUPS = "keyfold.strata", "keyfold.strata_groups"
MAX_CLASSES = 1000
_COARSE = 15  # bits that the first look at places leaves out


def with_strata(run: "Run", folds: Folds, version: "TableVersion", rows: "DataFrame | None" = None) -> Folds:
    """The folds with their strata: those that are kept; else fitted on `rows`, whose new groups are added to the kept ones.

    DataError where there is none, or the label is no class.
    """
    if not folds.split.stratified:
        return folds
    identity = strata_name(run.conf, folds, version)
    thresholds = _kept(run, identity)
    if rows is not None:
        units = _units(folds, rows, _groups(run, identity)).persist()
        try:
            thresholds = thresholds or _fitted(run, folds, units, identity)
            if folds.grouped and units.take(1):
                named = units.selectExpr(f"{sql.text_literal(identity)} AS id", "h AS keyfold_group", "class AS keyfold_class")
                run.table(GROUPS).append(named.coalesce(1), job="strata")
        finally:
            units.unpersist()
    if not thresholds:
        raise DataError(f"the strata of the split are not fitted yet for table `{run.featured.name}`; run `features` first")
    groups = _groups(run, identity) if folds.grouped else None
    folds.strata = Strata(thresholds, groups, _digest(groups))
    return folds


def strata_name(conf: "Conf", folds: Folds, version: "TableVersion") -> str:
    """What strata are kept by, for good: another digest for the same conf would cut anew and move rows to other folds."""
    cuts = folds.split.model_dump(mode="json", include={"by", "salt", "share"})
    units = {} if folds.split.null_groups == "own" else {"null_groups": folds.split.null_groups}
    units |= {"copies": "together"} if CONTENT in folds.by else {}
    sections = {"split": cuts | units, "key": conf.data.key, "label": conf.data.label}
    return digest({"job": "strata", "name": conf.name, "sections": sections, "table": version.id})


def _kept(run: "Run", identity: str) -> dict[str, tuple[int, int]]:
    table = run.table(TABLE)
    rows = table.read().where(sql.col("id") == identity).sort("class").collect() if table.exists() else []
    return {row["class"]: (row.test, row.validation) for row in rows}


def _groups(run: "Run", identity: str) -> "DataFrame | None":
    """`keyfold_group` and `keyfold_class`, each group once, whoever added it meanwhile."""
    table = run.table(GROUPS)
    if not table.exists():
        return None
    found = table.read().where(sql.col("id") == identity)
    return found.groupBy(GROUP).agg(sql.column("min(keyfold_class)").alias(CLASS))


def _digest(groups: "DataFrame | None") -> str:
    """Another one for other groups or classes, whatever their order."""
    if groups is None:
        return ""
    said = "sum(CAST(xxhash64(keyfold_group, keyfold_class) AS DECIMAL(38, 0)))"
    n, summed = groups.agg(sql.column("count(*)"), sql.column(said)).collect()[0]
    return f"{n} {summed}"


def _units(folds: Folds, rows: "DataFrame", known: "DataFrame | None") -> "DataFrame":
    """`h` and `class` of what is ranked: rows, or groups that are not known yet."""
    text = sql.column(f"CAST({sql.column_reference(folds.label)} AS STRING)").alias("class")
    units = rows.select(folds.unit(rows).alias("h"), text).where("h IS NOT NULL")
    if not folds.grouped:
        return units
    units = units.groupBy("h").agg(sql.column("max(class)").alias("class"))
    return units if known is None else units.join(known, units.h == known.keyfold_group, "left_anti")


def _fitted(run: "Run", folds: Folds, units: "DataFrame", identity: str) -> dict[str, tuple[int, int]]:
    found = dict(sorted(thresholds(folds, units)))
    if len(found) > MAX_CLASSES:
        raise DataError(
            f"split.stratified: `{folds.label}` has {len(found):,} values, and at most {MAX_CLASSES:,} can be classes of their own"
        )
    rows = [(identity, name, *cuts) for name, cuts in found.items()]
    frame = run.spark.createDataFrame(rows, "id string, class string, test bigint, validation bigint").coalesce(1)
    run.table(TABLE).replace(frame, "id", {identity: len(rows)}, job="strata")
    return found


def thresholds(folds: Folds, units: "DataFrame") -> Iterator[tuple[str, tuple[int, int]]]:
    """By class the places at its ranks, exact but for ties: units below the first are test, from the second on validation."""
    place = hashing.sql_reduce("h", hashing.MAX_BUCKETS)
    placed = units.selectExpr("class", f"{place} AS place").selectExpr("*", f"shiftrightunsigned(place, {_COARSE}) AS coarse")
    counts: dict[str, dict[int, int]] = {}
    for row in placed.groupBy("class", "coarse").count().sort("class", "coarse").collect():
        counts.setdefault(row["class"], {})[row.coarse] = row["count"]
    share, wanted = folds.split.share, {}
    for name, by_coarse in counts.items():
        n = sum(by_coarse.values())
        wanted[name] = [_at(by_coarse, rank) for rank in (round(share.test * n), n - round(share.validation * n))]
    asked = {(name, at[0]) for name, both in wanted.items() for at in both if at}
    fine: dict[tuple[str, int], list[int]] = {}
    if asked:
        cells = ", ".join(f"struct({sql.text_literal(name)}, {coarse}L)" for name, coarse in sorted(asked))
        for row in placed.where(sql.column(f"struct(class, coarse) IN ({cells})")).sort("place").collect():
            fine.setdefault((row["class"], row.coarse), []).append(row.place)
    for name, both in wanted.items():
        test, validation = (fine[name, at[0]][at[1]] if at else hashing.MAX_BUCKETS for at in both)
        yield name, (test, validation)


def _at(by_coarse: Mapping[int, int], rank: int) -> tuple[int, int] | None:
    """The coarse place of a rank, and the rank within it; None where there is no such rank."""
    for coarse, n in by_coarse.items():
        if rank < n:
            return coarse, rank
        rank -= n
    return None
