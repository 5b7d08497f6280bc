"""The feature table: the rows with the columns of windows and views, updated by period.

A new period is computed from the states of the series after the period before it. If rows of an earlier period change, it and all
later periods are computed again. The columns of a view are joined again for the periods in which a changed row of the view may hold.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.views import View, ViewSource
from keyfold.core import sql
from keyfold.core.digests import digest
from keyfold.core.names import KNOWN, PERIOD, RUN
from keyfold.core.types import DAYS, family_of, require_family
from keyfold.engine.columns import col, count_rows, lit
from keyfold.engine.commits import Commit
from keyfold.engine.frame import Computed, Frame
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.feature_store import views
from keyfold.feature_store.point_in_time import ViewRows, training_set
from keyfold.feature_store.window_columns import (
    AT,
    BATCH,
    add_known_time,
    add_windows,
    check_windows,
    first_taken_name,
    latest_states,
    period_times,
    time_micros,
)
from keyfold.features.kinds.windowed import parse_span
from keyfold.runtime.periods import period_of
from keyfold.windows.series import SeriesDefinition

if TYPE_CHECKING:
    from keyfold.engine.table_versions import TableVersion
    from keyfold.engine.tables import Table
    from keyfold.runtime.run import Run

JOB = "windows"
_Counts = dict[str, dict[str, int]]  # row counts by period and digest of its inputs


class JoinedView(NamedTuple):
    """A view whose columns the rows get: its rows, its digest, and by period its first time and the version of its last change."""

    source: ViewRows
    digest: str
    periods: dict[str, tuple[int, int]]

    def version_until(self, time: int | None) -> list[Any]:
        """The digest, and the last change among the periods that begin at or before a time (microseconds)."""
        changes = (version for first, version in self.periods.values() if time is not None and first <= time)
        return [self.digest, max(changes, default=0)]


class _Inputs(NamedTuple):
    """Inputs of a feature table: the windows of the conf, its views, and the version of the rows."""

    windows: SeriesDefinition | None
    views: list[JoinedView]
    version: "TableVersion"

    @property
    def definition(self) -> str:
        return self.windows.digest if self.windows else ""


def update_feature_table(run: "Run", chain: tuple[str, ...] = ()) -> None:
    """Updates the feature table to the current rows and views, if the conf has windows or views, and describes its own view.

    chain: the names of the use cases that read this one's view, outermost first. Raises ConfError, DataError or PromiseError.
    """
    windows, joined = run.conf.windows, joined_views(run, chain)
    if windows is not None or joined:
        _update(run, _Inputs(windows, joined, run.rows.version()))
    if run.conf.view:
        _describe(run, run.conf.view, windows)


def offer_view(run: "Run") -> None:
    """The job `features` of a conf that has a `view` and no features of a model."""
    with run.job("features") as job:
        update_feature_table(run)
        version = run.featured.version()
        job.inputs = {run.featured.name: version}
        job.run_id = run.identity("view", view=views.view_description(run.featured).digest, rows=version)


# --- views ---


def joined_views(run: "Run", chain: tuple[str, ...] = ()) -> list[JoinedView]:
    """The current views of `data.views`; a view that is named by its conf is updated first."""
    return [_joined_view(run, source, chain) for source in run.conf.data.views]


def _joined_view(run: "Run", source: ViewSource, chain: tuple[str, ...]) -> JoinedView:
    table = _view_table(run, source, chain)
    view, (table_id, version) = views.view_description(table), table.version()
    rows = views.read_view(table, source, version)
    frame = rows.frame if PERIOD in rows.frame.columns else rows.frame.with_columns({PERIOD: lit("all")})
    first = period_times(frame, view.time, first=col(AT).min())
    changed = table.versions_of(PERIOD, [row[PERIOD] for row in first], version)
    periods = {row[PERIOD]: (row["first"], changed[row[PERIOD]]) for row in first if row["first"] is not None}
    return JoinedView(rows, digest([view.digest, table_id, source.model_dump(mode="json")]), periods)


def _view_table(run: "Run", source: ViewSource, chain: tuple[str, ...]) -> "Table":
    if source.conf is None:
        return run.table(str(source.table))
    other, chain = _run_of(run, source.conf), (*chain, run.conf.name)
    if other.conf.name in chain:
        raise ConfError(f"data.views: {' takes from '.join([*chain, other.conf.name])}, which is a cycle")
    if other.conf.view is None:
        raise ConfError(f"data.views: {source.conf} has no section `view`, so it publishes no view")
    update_feature_table(other, chain)
    return other.featured


def _run_of(run: "Run", path: str) -> "Run":
    from keyfold.conf.use_case import load_conf
    from keyfold.runtime.run import Run

    other = Run(load_conf(path), run.engine)
    other.jobs = run.jobs  # steps count for the job of this run
    return other


def view_digests(run: "Run") -> dict[str, str]:
    """The digest of each view's definition, by the name of its table."""
    tables = (run.table(v.table) if v.table else _run_of(run, str(v.conf)).featured for v in run.conf.data.views)
    return {table.name: views.view_description(table).digest for table in tables}


def _describe(run: "Run", view: View, windows: SeriesDefinition | None) -> None:
    """Writes the description of the conf's view into a property of its table."""
    data, table = run.conf.data, run.featured
    if data.time is None:
        raise ConfError("view: data.time is not set, so its rows have no time")
    features = [w.name for w in windows.windows if not w.name.startswith(KNOWN)] if windows else []
    known = view.created and (KNOWN if windows else view.created)
    description = views.describe_view(view, data.key, data.time, features, windows.digest if windows else "", known)
    if not description.features:
        raise ConfError("view.features: name the columns to publish, since the conf has no windows")
    rows = table.frame()
    options = {"entity": description.entity, "features": description.features, "created": [view.created or description.time]}
    for option, names in options.items():
        for name in names:
            if name not in rows.columns:
                raise DataError(f"view.{option}: table `{table.name}` has no column `{name}`{suggestion(name, rows.columns)}")
    if windows is None:
        _refuse_null(table, rows, data.time, view.created)
    table.describe({views.VIEW_PROPERTY: description.to_json()})


# --- periods ---


def _update(run: "Run", inputs: _Inputs) -> None:
    windows, created = inputs.windows, run.conf.view.created if run.conf.view else None
    rows = run.rows.frame(inputs.version.version)
    if windows is not None:
        check_windows(windows, rows, run.rows.name, created)
    rows = rows.compute(period_of(run.conf.data, rows.types))
    times = period_times(rows, str(run.conf.data.time), last=col(AT).max(), n=count_rows())
    digests = _digests(run, inputs, {row[PERIOD]: row["last"] for row in times if row[PERIOD] is not None})
    arrived = {row[PERIOD]: {digests.get(row[PERIOD], ""): row["n"]} for row in times}
    computed = _without_foreign(run.featured, _count(run.featured.frame())) if run.featured.exists() else {}
    changed = {p for p in {*arrived, *computed} if computed.get(p) != arrived.get(p)}
    if not changed:
        return
    _refuse_null(run.rows, rows, str(run.conf.data.time), created if windows else None)
    late = _late_periods(run, inputs.definition, rows, changed, times) if computed else set()
    periods, states = _plan(run.featured, windows, {*arrived, *computed}, changed - late, computed)
    late -= periods
    if late:
        growth = sum(sum(arrived.get(p, {}).values()) - sum(computed.get(p, {}).values()) for p in late)
        _log_late(run, sorted(late), growth)
    if periods:
        counts = {p: sum(arrived.get(p, {}).values()) for p in sorted(periods)}
        some = rows.where(col(PERIOD).is_in([*counts])).compute(_digest_column(digests))
        _compute(run, inputs, some, states, counts)


def _plan(
    table: "Table", windows: SeriesDefinition | None, periods: set[str], changed: set[str], computed: _Counts
) -> tuple[set[str], Frame | None]:
    """The periods to compute, and the states to continue from; without states, windows are computed for all periods."""
    if windows is None or not changed:
        return changed, None
    first = min(changed)
    states = _states(table, windows, max((p for p in computed if p < first), default=None))
    return {p for p in periods if p >= first} if states is not None else periods, states


def _compute(run: "Run", inputs: _Inputs, rows: Frame, states: Frame | None, counts: Mapping[str, int]) -> None:
    windows = inputs.windows
    with run.step("windows" if windows else "views") as step, rows.batches_by_rows(BATCH):
        unique = run.conf.data.key if run.rows.unique(run.conf.data.key) else None
        # Before the windows: the join reads its rows twice, and the kernel would run twice.
        rows = training_set(rows, [view.source for view in inputs.views], str(run.conf.data.time), run.say)
        if windows is not None:
            if name := first_taken_name(windows, rows.columns):
                raise DataError(f"features.{name}: a view of data.views has a column of this name; rename the feature")
            rows = add_known_time(windows, add_windows(windows, rows, states), run.conf.view.created if run.conf.view else None)
        changes = [[view.source.name, *view.version_until(2**63 - 1)] for view in inputs.views]
        run.featured.replace(
            rows, PERIOD, counts, retention=run.conf.data.retention, schema=True, recorded=True, job=JOB,
            run_id=digest([inputs.definition, str(inputs.version), changes]), definition=inputs.definition,
            rows=str(inputs.version), views=changes, unique=unique,
        )  # fmt: skip
        step.rows = sum(counts.values())


def _digests(run: "Run", inputs: _Inputs, times: Mapping[str, int]) -> dict[str, str]:
    """By period, whose last time is given, a digest of the inputs of its windows and views."""
    changed = run.rows.versions_of(PERIOD, times, inputs.version.version)
    return {
        p: digest([[inputs.definition, inputs.version.id], changed[p], [view.version_until(time) for view in inputs.views]])[:16]
        for p, time in times.items()
    }


def _digest_column(digests: Mapping[str, str]) -> Computed:
    """The digest of a row's period, in place of the id of the run that took the row in."""
    pairs = ", ".join(sql.text_literal(text) for pair in digests.items() for text in pair)
    text = f"coalesce(element_at(map({pairs}), {sql.quote_identifier(PERIOD)}), '')" if pairs else "''"
    return Computed({RUN: pa.string()}, partial(_digest_of, digests), [text])


def _digest_of(digests: Mapping[str, str], batch: pa.RecordBatch) -> list[pa.Array]:
    place = pc.index_in(batch.column(PERIOD), pa.array([*digests], pa.string()))
    return [pa.array([*digests.values()], pa.string()).take(place).fill_null("")]


def _count(rows: Frame) -> _Counts:
    counts: _Counts = {}
    for row in rows.group([PERIOD, RUN], n=count_rows()).rows():
        counts.setdefault(row[PERIOD], {})[row[RUN]] = row["n"]
    return counts


def _without_foreign(table: "Table", counts: _Counts) -> _Counts:
    """The counts; empty for a period whose last commit is not of this job, because its digests may be out of date."""
    last = table.log().last_of(PERIOD, counts)
    own = {p for p, commit in last.items() if isinstance(commit, Commit) and commit.metadata.get("job") == JOB}
    return {p: values if p in own else {} for p, values in counts.items()}


def _late_periods(
    run: "Run", definition: str, rows: Frame, changed: set[str], times: list[dict[str, Any]]
) -> set[str]:  # fmt: skip
    """The changed periods that are older than data.lateness; none if the windows were defined otherwise before."""
    lateness, last = run.conf.data.lateness, next(run.featured.commits(), None)
    if not (lateness and last and times) or last.metadata.get("definition") != definition:
        return set()
    time, since = str(run.conf.data.time), max(row["last"] for row in times) - (parse_span(lateness).micros or 0)
    at = rows.select([PERIOD, time]).compute(time_micros(AT, time), [PERIOD]).where(col(AT) >= since)
    first = at.group([], first=col(PERIOD).min()).rows()[0]["first"]
    return {p for p in changed if first is not None and p < first}


def _log_late(run: "Run", periods: Sequence[str], growth: int) -> None:
    names = ", ".join(periods[:3]) + (" …" if len(periods) > 3 else "")
    run.say(
        f"{names}: changed ({growth:+,} rows) more than {run.conf.data.lateness} late (data.lateness), so `{run.featured.name}` "
        f"keeps its former rows of {'that period' if len(periods) == 1 else 'those periods'}"
    )


def _states(table: "Table", windows: SeriesDefinition, period: str | None) -> Frame | None:
    """The states of the series after a period; None unless the last commit of that period ended with it, under the same definition."""
    if period is None:
        return None
    for commit in table.commits():
        rows = commit.metadata.get(PERIOD, {})
        if period in rows:
            last = max((p for p, n in rows.items() if n), default=None)
            same = commit.metadata.get("definition") == windows.digest and last == period
            return latest_states(table.frame(), windows, period) if same else None
    return None


def _refuse_null(table: "Table", rows: Frame, time: str, created: str | None) -> None:
    """Raises DataError if rows lack their time, or the time at which they were known."""
    if created:
        family = family_of(rows.types[created])
        require_family(DAYS, family, f"view.created: `{created}`", "cast it, or give its type in data.columns")
    needed = {"data.time": (time, "a time"), "view.created": (created, "the time at which it was known")}
    columns = [(option, name, what) for option, (name, what) in needed.items() if name]
    missing = {option: col(name).is_null().cast(nw.Int64).sum() for option, name, _ in columns}
    counts = rows.group([], **missing).rows()[0]
    for option, name, what in columns:
        if n := counts[option]:
            raise DataError(f"{option}: `{name}` is NULL in {n:,} rows of `{table.name}`; every row needs {what}")
