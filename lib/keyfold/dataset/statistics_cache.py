"""The table of statistics: what was measured of some periods is kept, so that a new one is fitted without reading them again.

A part is what one fit had to read: the statistics of some periods, each at the version that changed it last. Parts of the same
base (table, split, and all that is asked) add up; one of whose periods was changed since is not taken. The table is a cache of
the train fold, rare values included: its rows may be deleted at any time, and the next fit reads what is missing.
"""

import json
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from keyfold.core import digests, sql
from keyfold.features import fitting

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

    from keyfold.features.fit_plan import FitPlan
    from keyfold.runtime.run import Run

STATISTICS_TABLE = "keyfold.statistics"


def cached_statistics(
    run: "Run", base: str, versions: Mapping[str, int], plan: "FitPlan", rows: "DataFrame", period: "Column"
) -> pa.Table:
    """The statistics of `rows`, whose periods have `versions`; the periods that are not known yet are read, and kept."""
    if not plan.needs_rows:
        return fitting.STATISTICS_SCHEMA.empty_table()
    table, found = run.table(STATISTICS_TABLE), []
    known = table.read().where(sql.col("base") == base) if table.exists() else None
    parts = _chosen(known.select("part", "periods").distinct().collect(), versions) if known else {}
    missing = sorted(versions.keys() - chain.from_iterable(parts.values()))
    run.say(f"fitting reads {len(missing)} of {len(versions)} periods")
    if known and parts:
        found.append(_added(known.where(sql.col("part").isin(*parts))))
    if missing:
        found.append(plan.measure(rows.where(period.isin(*missing)) if parts else rows))
        periods = digests.canonical_json({p: versions[p] for p in missing})
        part = digests.digest([base, periods])
        cells = run.spark.createDataFrame(found[-1]).selectExpr(
            f"{sql.text_literal(base)} base", f"{sql.text_literal(part)} part", f"{sql.text_literal(periods)} periods", "*"
        )
        if found[-1].num_rows:
            table.replace(cells.coalesce(1), "part", {part: found[-1].num_rows}, job="features")
    return fitting.merge_statistics(found)


def _chosen(parts: "Iterable[Row]", versions: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Parts that hold, the largest first, no two of which have a period in common."""
    chosen: dict[str, dict[str, int]] = {}
    taken: set[str] = set()
    for row in sorted(parts, key=lambda row: (-len(row.periods), row.part)):
        periods = json.loads(row.periods)
        if periods.items() <= versions.items() and taken.isdisjoint(periods):
            chosen[row.part] = periods
            taken |= periods.keys()
    return chosen


def _added(rows: "DataFrame") -> pa.Table:
    """The statistics of several parts; Spark adds up the counts, of which there may be many."""
    return fitting.sum_cells(rows, "of", fitting.is_extreme()).toArrow().cast(fitting.STATISTICS_SCHEMA)
