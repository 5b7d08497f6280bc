"""The feature table: the rows with their windows beside them, by period, and no period computed twice.

A period that is new is computed from the state of its series, which the last row of each series carries: the past that its
windows still reach, and the sums of those that reach back to the beginning. Where rows change that were there, all later periods are
computed again. Spark exchanges and sorts once; the kernel (`keyfold.windows`) runs over the sorted batches.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from keyfold.digests import digest
from keyfold.errors import ConfError, DataError, nearest
from keyfold.features.windowed import Windowed
from keyfold.fitting import TO_WORKERS
from keyfold.ingest import PERIOD, RUN, period_of
from keyfold.series import STATE, Definition, batches
from keyfold.spark import set_for_now
from keyfold.sql import col
from keyfold.values import DAYS, HASHED, NUMBERS, family_of, refuse_unless

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.conf import Conf
    from keyfold.run import Run

_STATE = "struct<sums:array<double>,at:array<bigint>,x:array<double>>"


def definition(conf: "Conf") -> Definition | None:
    """The windows of a conf, None where it has none (ConfError where they are not of one series in one order)."""
    kinds = {name: f.kind for name, f in conf.features.items() if isinstance(f.kind, Windowed)}
    if not kinds:
        return None
    time = conf.data.time
    if time is None:
        raise ConfError(f"features.{next(iter(kinds))}: windows need data.time, the column that says when")
    found = {name: (k.by or [c for c in conf.data.key if c != time], k.order_by or [time]) for name, k in kinds.items()}
    (first, (by, order)), *_ = found.items()
    for name, other in found.items():
        if other != (by, order):
            raise ConfError(
                f"features.{name} is by {', '.join(other[0])} in the order of {', '.join(other[1])}, and features.{first} by "
                f"{', '.join(by)} in the order of {', '.join(order)}; the windows of a conf are of one series in one order"
            )
    if not by:
        raise ConfError(f"features.{first}.by must name the series, since the key is data.time alone")
    if order[0] != time:
        raise ConfError(f"features.{first}.order_by must begin with data.time, `{time}` (got {order[0]})")
    inputs = list(dict.fromkeys((k.input_col, k.value) for k in kinds.values()))
    return Definition(by, time, order[1:], inputs, [k.window(inputs) for k in kinds.values()])


def ready(run: "Run") -> None:
    """Brings the feature table to where the rows are; a conf without windows has none (DataError, PromiseError)."""
    made = definition(run.conf)
    if made is None:
        return
    version = run.rows.version()
    rows = run.rows.read(version.version)
    _check(run, made, rows)
    there = _periods(rows, period_of(run.conf.data, rows), _known_by(made, rows, str(version)))
    before = _periods(run.featured.read(), col(PERIOD), col(RUN)) if run.featured.exists() else {}
    changed = [p for p in {*there, *before} if before.get(p) != there.get(p)]
    if not changed:
        return
    if n := rows.where(col(made.time).isNull()).count():
        raise DataError(f"windows: `{made.time}` is NULL in {n:,} rows of `{run.rows.name}`, which have no place in their series")
    with run.step("windows") as step:
        first = min(changed)
        states = _states(run, made, max((p for p in before if p < first), default=None))
        first = first if states is not None else ""
        counts = {p: sum(there.get(p, {}).values()) for p in sorted({*there, *before}) if p >= first}
        some = rows.where(period_of(run.conf.data, rows) >= first)
        with set_for_now(run.spark, TO_WORKERS):
            _commit(run, made, some, states, counts, str(version))
        step.rows = sum(counts.values())


def _commit(
    run: "Run", made: Definition, rows: "DataFrame", states: "DataFrame | None", counts: Mapping[str, int], version: str,
) -> None:  # fmt: skip
    own = [c for c in rows.columns if c not in (PERIOD, RUN)]
    given = rows.select(*map(col, own), period_of(run.conf.data, rows).alias(PERIOD), _known_by(made, rows, version).alias(RUN))
    proven = run.conf.data.key if run.rows.unique(run.conf.data.key) else None
    run.featured.replace(
        windowed(made, given, states), PERIOD, counts, retention=run.conf.data.retention, schema=True, job="windows",
        run_id=digest([made.digest, version]), definition=made.digest, rows=version, unique=proven,
    )  # fmt: skip


def _known_by(made: Definition, rows: "DataFrame", version: str) -> Any:
    """text: what tells whether a row's windows are of this definition, and of the run that wrote its period."""
    from pyspark.sql import functions as F

    came = col(RUN) if RUN in rows.columns else F.lit(version)
    return F.substring(F.sha2(F.concat(F.lit(f"{made.digest}:"), came), 256), 1, 16)


def _check(run: "Run", made: Definition, rows: "DataFrame") -> None:
    for option, names in {"input_col": [c for c, _ in made.inputs], "by": made.by, "order_by": [made.time, *made.ties]}.items():
        for name in names:
            if name not in rows.columns:
                where = f"the windows of the conf ({option})"
                raise DataError(f"{where}: table `{run.rows.name}` has no column `{name}`{nearest(name, rows.columns)}")
    if both := [w.name for w in made.windows if w.name in rows.columns]:
        raise DataError(f"features.{both[0]}: table `{run.rows.name}` has a column of this name; rename the feature")
    families = {f.name: family_of(f.dataType.simpleString()) for f in rows.schema.fields}
    refuse_unless(DAYS, families[made.time], f"windows: data.time `{made.time}`", "cast it, or give its type in data.columns")
    for name in made.by:
        refuse_unless(HASHED, families[name], f"windows: by `{name}`", "choose another column")
    for name, value in made.inputs:
        if value is None:
            refuse_unless(NUMBERS, families[name], f"windows: input_col `{name}`", "cast it, or take the share of a value")


def _periods(rows: "DataFrame", period: Any, name: Any) -> dict[str, dict[str, int]]:
    """By period the rows of each name."""
    found: dict[str, dict[str, int]] = {}
    for p, known_by, n in rows.groupBy(period.alias(PERIOD), name.alias(RUN)).count().collect():
        found.setdefault(p, {})[known_by] = n
    return found


def _states(run: "Run", made: Definition, period: str | None) -> "DataFrame | None":
    """The series' states after a period; None where not every series has one there."""
    if period is None:
        return None
    for commit in run.featured.commits():
        touched = commit.metadata.get(PERIOD, {})
        if period in touched:
            last = max((p for p, n in touched.items() if n), default=None)
            if commit.metadata.get("definition") != made.digest or last != period:
                return None
            return latest(run.featured.read(), made, period)
    return None


def latest(table: "DataFrame", made: Definition, period: str | None = None) -> "DataFrame":
    """One row for each series of a feature table, after a period (default: the last): what names it, and its state."""
    from pyspark.sql import functions as F

    rows = table.where(col(STATE).isNotNull() & (col(PERIOD) <= period if period else F.lit(True)))
    return rows.groupBy(*map(col, made.by)).agg(F.max_by(col(STATE), col(made.time)).alias(STATE))


def windowed(made: Definition, rows: "DataFrame", states: "DataFrame | None" = None) -> "DataFrame":
    """The rows with their windows and, on the last row of each series, its state; one exchange, one sort."""
    from pyspark.sql.types import DoubleType, StructField, StructType, _parse_datatype_string

    names = rows.columns
    number = {c: f"_{i}" for i, c in enumerate(names)}
    # By number: PySpark's mapInArrow cannot find a column whose name has dots or back-quotes.
    taken = rows.select(*(col(c).alias(n) for c, n in number.items()))
    if states is not None:
        known = states.select(*(col(c).alias(number[c]) for c in made.by), col(STATE))
        taken = taken.unionByName(known, allowMissingColumns=True)
    series = [number[c] for c in made.by]
    ordered = taken.repartition(*series).sortWithinPartitions(*series, *(number[c] for c in (made.time, *made.ties)))
    state = StructField(STATE, _parse_datatype_string(_STATE))
    schema = StructType([*rows.schema.fields, *(StructField(w.name, DoubleType()) for w in made.windows), state])
    return ordered.mapInArrow(partial(batches, made, names), schema)
