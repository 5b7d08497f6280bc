"""The feature table: the rows with their windows and the columns of views beside them, by period, and no period computed twice.

A period that is new is computed from the state of its series, which the last row of each series carries: the past that its
windows still reach, and the sums of those that reach back to the beginning. Where rows change that were there, all later periods are
computed again. Columns of views are taken again where a view changed rows that may stand by then. Spark exchanges and sorts
once for all windows; the kernel (`keyfold.windows.kernel`) runs over the sorted batches.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.conf.views import ViewSource
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.digests import digest
from keyfold.core.names import KNOWN, PERIOD, RUN, STATE
from keyfold.core.sql import col
from keyfold.core.types import DAYS, HASHED, NUMBERS, family_of, require_family
from keyfold.engine import functions as F
from keyfold.engine.commits import Commit
from keyfold.engine.session import temporary_settings
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.feature_store import views
from keyfold.feature_store.point_in_time import ViewRows, time_micros, training_set
from keyfold.features.fitting import ARROW_SETTINGS
from keyfold.features.kinds.windowed import parse_span
from keyfold.runtime.periods import period_of
from keyfold.windows.series import STATE_TYPE, SeriesDefinition, window_batches

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.engine.tables import Table, TableVersion
    from keyfold.runtime.run import Run

JOB = "windows"
# A batch costs the kernel the same some milliseconds however many rows it has; this many are also what Arrow's own readers give.
TO_KERNEL = ARROW_SETTINGS | {"spark.sql.execution.arrow.maxRecordsPerBatch": "131072"}


class TakenView(NamedTuple):
    """A view that the rows take columns from: its rows, what names its values, and by period its first time and its last change."""

    known: ViewRows
    digest: str
    periods: dict[str, tuple[int, int]]

    def by(self, time: int | None) -> list[Any]:
        """What names the values that rows up to a time may get."""
        return [
            self.digest,
            max((version for first, version in self.periods.values() if time is not None and first <= time), default=0),
        ]


def taken_views(run: "Run") -> list[TakenView]:
    """The views of the conf, as they are now (DataError)."""
    found = []
    for viewed in run.conf.data.views:
        table = _brought(run, viewed)
        said, (id_, version) = views.view_description(table), table.version()
        known = views.read_view(table, viewed, version)
        period = col(PERIOD) if PERIOD in known.rows.columns else F.lit("all")
        first = known.rows.groupBy(period.alias(PERIOD)).agg(F.min(time_micros(said.time))).collect()
        changed = table.versions_of(PERIOD, [p for p, _ in first], version)
        periods = {p: (time, changed[p]) for p, time in first if time is not None}
        found.append(TakenView(known, digest([said.digest, id_, viewed.model_dump(mode="json")]), periods))
    return found


def _brought(run: "Run", viewed: ViewSource) -> "Table":
    """The table of a view; where its conf is named, as of its rows now."""
    if viewed.conf is None:
        return run.table(str(viewed.table))
    other = _of_conf(run, viewed.conf)
    if other.conf.view is None:
        raise ConfError(f"data.views: {viewed.conf} has no section `view`, so it offers none")
    update_feature_table(other)
    return other.featured


def _of_conf(run: "Run", path: str) -> "Run":
    from keyfold.conf.use_case import load_conf
    from keyfold.runtime.run import Run

    other = Run(load_conf(path), run.spark)
    other.jobs = run.jobs  # whose steps these are
    other.asked_by = (*run.asked_by, run.conf.name)
    if other.conf.name in other.asked_by:
        raise ConfError(f"data.views: {' takes from '.join([*other.asked_by, other.conf.name])}, which has no beginning")
    return other


def view_digests(run: "Run") -> dict[str, str]:
    """By view of the conf what its values are made by."""
    tables = (run.table(v.table) if v.table else _of_conf(run, str(v.conf)).featured for v in run.conf.data.views)
    return {table.name: views.view_description(table).digest for table in tables}


def update_feature_table(run: "Run") -> None:
    """Brings the feature table to where the rows and the views are; without windows or views there is none (DataError, PromiseError)."""
    made, some = run.conf.windows, taken_views(run)
    if made is not None or some:
        _ready(run, made, some)
    if run.conf.view:
        _offer(run, made)


def offer_view(run: "Run") -> None:
    """The job of a conf that only offers a view."""
    with run.job("features") as job:
        update_feature_table(run)
        version = run.featured.version()
        job.inputs = {run.featured.name: version}
        job.run_id = run.identity("view", view=views.view_description(run.featured).digest, rows=version)


def _offer(run: "Run", made: SeriesDefinition | None) -> None:
    view, data = run.conf.view, run.conf.data
    assert view is not None
    if data.time is None:
        raise ConfError("view: data.time is not set, so its rows stand at no time")
    windows = [w.name for w in made.windows if not w.name.startswith(KNOWN)] if made else []
    known = view.created and (KNOWN if made else view.created)
    said = views.describe_view(view, data.key, data.time, windows, made.digest if made else "", known)
    if not said.features:
        raise ConfError("view.features: name the columns that are offered, since the conf has no windows")
    columns = run.featured.read().columns
    for option, names in {"entity": said.entity, "features": said.features, "created": [view.created or said.time]}.items():
        for name in names:
            if name not in columns:
                raise DataError(f"view.{option}: table `{run.featured.name}` has no column `{name}`{suggestion(name, columns)}")
    if made is None:
        _refuse_null(run.featured, run.featured.read(), data.time, view.created)
    run.featured.describe({views.VIEW_PROPERTY: said.to_json()})


def _ready(run: "Run", made: SeriesDefinition | None, some: list[TakenView]) -> None:
    version = run.rows.version()
    rows = run.rows.read(version.version)
    if made is not None:
        _check(run, made, rows)
    rows = _named(run, made, some, rows, version)
    there = _periods(rows, col(PERIOD), col(RUN))
    before = _own(run, _periods(run.featured.read(), col(PERIOD), col(RUN))) if run.featured.exists() else {}
    changed = {p for p in {*there, *before} if before.get(p) != there.get(p)}
    if not changed:
        return
    _refuse_null(run.rows, rows, str(run.conf.data.time), run.conf.view.created if made and run.conf.view else None)
    late = _too_late(run, made, rows, changed) if before else set()
    first = min(changed - late, default=None)
    states = None
    if made is not None and first is not None:
        states = _states(run, made, max((p for p in before if p < first), default=None))
        if states is None:
            late, first = set(), ""  # from the beginning, with all that has come
    if late:
        _tell(run, late, sum(sum(there.get(p, {}).values()) - sum(before.get(p, {}).values()) for p in late))
    if first is None:
        return
    changed = {p for p in {*there, *before} if p >= first} if made is not None else changed - late
    with run.step("windows" if made else "views") as step:
        counts = {p: sum(there.get(p, {}).values()) for p in sorted(changed)}
        with temporary_settings(run.spark, TO_KERNEL):
            _commit(run, made, some, rows.where(col(PERIOD).isin(list(counts))), states, counts, str(version))
        step.rows = sum(counts.values())


def _own(run: "Run", periods: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """The same; no names where the last to change a period was another, who left the names of what was computed."""
    last = run.featured.log().last_of(PERIOD, periods)
    made = {p for p, commit in last.items() if isinstance(commit, Commit) and commit.metadata.get("job") == JOB}
    return {p: names if p in made else {} for p, names in periods.items()}


def _too_late(run: "Run", made: SeriesDefinition | None, rows: "DataFrame", changed: set[str]) -> set[str]:
    """Of the periods that changed those that data.lateness leaves as they are."""
    lateness, last = run.conf.data.lateness, next(run.featured.commits(), None)
    if lateness is None or last is None or last.metadata.get("definition") != (made.digest if made else ""):
        return set()
    at = time_micros(str(run.conf.data.time))
    newest = rows.agg(F.max(at)).collect()[0][0] or 0
    first = rows.where(at >= newest - (parse_span(lateness).micros or 0)).agg(F.min(PERIOD)).collect()[0][0]
    return {p for p in changed if first is not None and p < first}


def _tell(run: "Run", late: set[str], came: int) -> None:
    run.say(
        f"{', '.join(sorted(late)[:3])}{' …' if len(late) > 3 else ''}: changed ({came:+,} rows) more than {run.conf.data.lateness} late "
        f"(data.lateness), so `{run.featured.name}` keeps what it has of {'that period' if len(late) == 1 else 'those periods'}"
    )


def _commit(
    run: "Run", made: SeriesDefinition | None, some: list[TakenView], rows: "DataFrame", states: "DataFrame | None", counts: Mapping[str, int],
    version: str,
) -> None:  # fmt: skip
    proven = run.conf.data.key if run.rows.unique(run.conf.data.key) else None
    # Before the windows: the join looks at its rows twice, and the kernel is not to run for both.
    rows = training_set(rows, [taken.known for taken in some], str(run.conf.data.time), run.say)
    if made is not None:
        if both := [w.name for w in made.windows if w.name in rows.columns]:
            raise DataError(f"features.{both[0]}: a view of data.views has a column of this name; rename the feature")
        rows = _all_known(run, made, add_windows(made, rows, states))
    made_by, changed = made.digest if made else "", [[t.known.name, *t.by(2**63 - 1)] for t in some]
    run.featured.replace(
        rows, PERIOD, counts, retention=run.conf.data.retention, schema=True, recorded=True, job=JOB,
        run_id=digest([made_by, version, changed]), definition=made_by, rows=version, views=changed, unique=proven,
    )  # fmt: skip


def _named(
    run: "Run", made: SeriesDefinition | None, some: list[TakenView], rows: "DataFrame", version: "TableVersion"
) -> "DataFrame":
    """The rows with their period and, in place of their run, what tells whether their windows and views are those of now."""
    period = period_of(run.conf.data, rows)
    last = rows.groupBy(period).agg(F.max(time_micros(str(run.conf.data.time)))).collect()
    times = {p: time for p, time in last if p is not None}
    changed = run.rows.versions_of(PERIOD, times, version.version)
    made_by = [made.digest if made else "", version.id]
    names = {p: digest([made_by, changed[p], [taken.by(time) for taken in some]])[:16] for p, time in times.items()}
    pairs = [F.lit(x) for pair in names.items() for x in pair]
    name = F.coalesce(F.element_at(F.create_map(*pairs), period), F.lit("")) if pairs else F.lit("")
    own = [c for c in rows.columns if c not in (PERIOD, RUN)]
    return rows.select(*map(col, own), period.alias(PERIOD), name.alias(RUN))


def _all_known(run: "Run", made: SeriesDefinition, rows: "DataFrame") -> "DataFrame":
    """With the time at which a row and all that its windows look at was known, where the view says when rows were."""
    parts = [w.name for w in made.windows if w.name.startswith(KNOWN)]
    if not parts or run.conf.view is None or run.conf.view.created is None:
        return rows
    latest = F.greatest(time_micros(run.conf.view.created), *(F.col(c).cast("bigint") for c in parts))
    return rows.withColumn(KNOWN, F.timestamp_micros(latest)).drop(*parts)


def _check(run: "Run", made: SeriesDefinition, rows: "DataFrame") -> None:
    inputs = [c for taken, _ in made.inputs for c in raw_columns(taken)]
    for option, names in {"input_col": inputs, "by": made.by, "order_by": [made.time, *made.ties]}.items():
        for name in names:
            if name not in rows.columns:
                where = f"the windows of the conf ({option})"
                raise DataError(f"{where}: table `{run.rows.name}` has no column `{name}`{suggestion(name, rows.columns)}")
    if both := [w.name for w in made.windows if w.name in rows.columns]:
        raise DataError(f"features.{both[0]}: table `{run.rows.name}` has a column of this name; rename the feature")
    families = {f.name: family_of(f.dataType.simpleString()) for f in rows.schema.fields}
    require_family(DAYS, families[made.time], f"windows: data.time `{made.time}`", "cast it, or give its type in data.columns")
    for name in made.by:
        require_family(HASHED, families[name], f"windows: by `{name}`", "choose another column")
    created = run.conf.view and run.conf.view.created
    for taken, value in made.inputs:
        if isinstance(taken, Derived):
            taken.check(families, "windows")
        elif value is None and taken != created:
            require_family(NUMBERS, families[taken], f"windows: input_col `{taken}`", "cast it, or take the share of a value")


def _refuse_null(table: "Table", rows: "DataFrame", time: str, created: str | None) -> None:
    """DataError where rows stand at no time, or nobody can tell when they were known."""
    if created:
        family = family_of(rows.schema[created].dataType.simpleString())
        require_family(DAYS, family, f"view.created: `{created}`", "cast it, or give its type in data.columns")
    names = [time, *([created] if created else [])]
    for name, n in zip(names, rows.select(*(F.count_if(col(c).isNull()) for c in names)).collect()[0], strict=True):
        if n and name == time:
            raise DataError(f"data.time: `{name}` is NULL in {n:,} rows of `{table.name}`, so nobody can tell when they stand")
        if n:
            raise DataError(
                f"view.created: `{name}` is NULL in {n:,} rows of `{table.name}`, so nobody can tell when they were known"
            )


def _periods(rows: "DataFrame", period: Any, name: Any) -> dict[str, dict[str, int]]:
    """By period the rows of each name."""
    found: dict[str, dict[str, int]] = {}
    for p, known_by, n in rows.groupBy(period.alias(PERIOD), name.alias(RUN)).count().collect():
        found.setdefault(p, {})[known_by] = n
    return found


def _states(run: "Run", made: SeriesDefinition, period: str | None) -> "DataFrame | None":
    """The series' states after a period; None where not every series has one there."""
    if period is None:
        return None
    for commit in run.featured.commits():
        touched = commit.metadata.get(PERIOD, {})
        if period in touched:
            last = max((p for p, n in touched.items() if n), default=None)
            if commit.metadata.get("definition") != made.digest or last != period:
                return None
            return latest_states(run.featured.read(), made, period)
    return None


def latest_states(table: "DataFrame", made: SeriesDefinition, period: str | None = None) -> "DataFrame":
    """One row for each series of a feature table, after a period (default: the last): what names it, and its state."""
    rows = table.where(col(STATE).isNotNull() & (col(PERIOD) <= period if period else F.lit(True)))
    last = rows.groupBy(*map(col, made.by)).agg(F.max_by(col(STATE), col(made.time)).alias(STATE))
    return last.where(col(STATE).isNotNull())


def add_windows(made: SeriesDefinition, rows: "DataFrame", states: "DataFrame | None" = None) -> "DataFrame":
    """The rows with their windows and, on the last row of each series, its state; one exchange, one sort. `states`: what `latest` gives."""
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import DoubleType, StructField, StructType

    names = rows.columns
    number = {c: f"_{i}" for i, c in enumerate(names)}
    # By number: PySpark's mapInArrow cannot find a column whose name has dots or back-quotes.
    taken = rows.toDF(*number.values())
    if states is not None:
        taken = taken.unionByName(states.toDF(*(number[c] for c in made.by), STATE), allowMissingColumns=True)
    series = [number[c] for c in made.by]
    together = taken.repartition(*series) if series else taken.repartition(1)
    ordered = together.sortWithinPartitions(*series, *(number[c] for c in (made.time, *made.ties)))
    state = StructField(STATE, from_arrow_type(STATE_TYPE))
    schema = StructType([*rows.schema.fields, *(StructField(w.name, DoubleType()) for w in made.windows), state])
    return ordered.mapInArrow(partial(window_batches, made, names), schema)
