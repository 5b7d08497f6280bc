"""Caches statistics by period in a table, so that a fit with a new period reads only that period.

A part holds the statistics that one fit measured: of some periods, each at the version that changed it last. Parts with the same base
(table, split and measured expressions) add up. A part is ignored if one of its periods has changed since. The table holds values of
train rows, also rare ones. Its rows may be deleted at any time; the next fit measures the missing periods again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from keyfold.core import digests
from keyfold.core.names import PERIOD
from keyfold.dataset.labelled_rows import with_period
from keyfold.engine.columns import col, lit
from keyfold.engine.frame import Frame
from keyfold.features import fitting

if TYPE_CHECKING:
    from keyfold.features.fit_plan import FitPlan
    from keyfold.runtime.run import Run

STATISTICS_TABLE = "keyfold.statistics"


def cached_statistics(run: "Run", base: str, versions: Mapping[str, int], plan: "FitPlan", rows: Frame) -> pa.Table:
    """The statistics of `rows`, whose periods have `versions`. Measures and stores the periods that the table lacks."""
    if not plan.needs_rows:
        return fitting.STATISTICS_SCHEMA.empty_table()
    table = run.table(STATISTICS_TABLE)
    cached = table.frame().where(col("base") == lit(base)) if table.exists() else None
    parts = _choose(cached.select(["part", "periods"]).distinct().rows(), versions) if cached else {}
    missing = sorted(versions.keys() - chain.from_iterable(parts.values()))
    run.say(f"fitting reads {len(missing)} of {len(versions)} periods")
    statistics = [_sum_parts(cached.where(col("part").is_in([*parts])))] if cached and parts else []
    if missing:
        statistics.append(plan.measure(_of_periods(run, rows, missing) if parts else rows))
        _add(run, base, {p: versions[p] for p in missing}, statistics[-1])
    return fitting.merge_statistics(statistics)


def _of_periods(run: "Run", rows: Frame, periods: Sequence[str]) -> Frame:
    if PERIOD in rows.columns and "" not in periods:  # which stands for NULL
        return rows.among(PERIOD, periods)
    return with_period(run.conf.data, rows).where(col(PERIOD).is_in(periods))


def _choose(parts: Iterable[Mapping[str, str]], versions: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Chooses current parts without common periods, largest first."""
    chosen: dict[str, dict[str, int]] = {}
    covered: set[str] = set()
    for row in sorted(parts, key=lambda row: (-len(row["periods"]), row["part"])):
        periods = json.loads(row["periods"])
        if periods.items() <= versions.items() and covered.isdisjoint(periods):
            chosen[row["part"]] = periods
            covered |= periods.keys()
    return chosen


def _add(run: "Run", base: str, versions: Mapping[str, int], statistics: pa.Table) -> None:
    if not statistics.num_rows:
        return
    periods = digests.canonical_json(versions)
    part = digests.digest([base, periods])
    named = zip(("base", "part", "periods"), (base, part, periods), strict=True)
    cells = pa.table({name: pa.repeat(text, statistics.num_rows) for name, text in named})
    for column in statistics.column_names:
        cells = cells.append_column(column, statistics[column])
    run.table(STATISTICS_TABLE).replace(run.engine.frame(cells), "part", {part: statistics.num_rows}, job="features")


def _sum_parts(rows: Frame) -> pa.Table:
    """Sums the statistics of parts in the engine, because there may be many counts."""
    return fitting.sum_cells(rows, "of", fitting.is_extreme()).to_arrow().cast(fitting.STATISTICS_SCHEMA)
