"""Fits the feature spec on the train fold, or finds the one that was fitted on the same rows."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from keyfold.core.names import FOLD, PERIOD
from keyfold.dataset import collisions, page_sections, statistics_cache
from keyfold.dataset.labelled_rows import LabelledRows, labelled_rows
from keyfold.engine.columns import col, lit
from keyfold.errors import ConfError
from keyfold.feature_store.table import update_feature_table
from keyfold.features.fit_plan import FitPlan
from keyfold.features.spec import Spec
from keyfold.reporting.page import PageSection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keyfold.engine.tables import Table
    from keyfold.runtime.run import Run

SPECS = "keyfold.specs"
_SPEC_COLUMNS = "digest string, run_id string, name string, spec string, fitted_at timestamp"


def fit_features(run: "Run") -> tuple[Spec, LabelledRows]:
    """The job `features`: the spec, fitted on the train fold or found in keyfold.specs, and the labelled rows."""
    if not run.conf.features:
        raise ConfError("features: the conf names none, so there is nothing to fit or to train on")
    with run.job("features") as job:
        update_feature_table(run)
        with run.step("folds") as step:
            rows = labelled_rows(run)
            step.rows = sum(rows.counts.values())
        job.counts, job.inputs = {"read": step.rows}, {run.featured.name: rows.version}
        job.run_id = run.identity("features", **rows.pins(run))
        spec = run.once(
            job,
            lambda: _find(run.table(SPECS), job.run_id),
            lambda: _fit_and_keep(run, job.run_id, rows),
            lambda spec: f"the spec {spec.digest} was fitted before on the same rows",
        )
        job.facts["spec"] = spec.digest
        job.sections += _sections(run, job.run_id, spec, rows)
    return spec, rows


def _fit_and_keep(run: "Run", run_id: str, rows: LabelledRows) -> Spec:
    with run.step("fit") as step:
        spec = _fit(run, rows)
        step.rows = rows.count_in("train")
    row = (spec.digest, run_id, run.conf.name, spec.to_json(), datetime.now(UTC))
    run.table(SPECS).append(run.engine.rows([row], _SPEC_COLUMNS), job="features", run_id=run_id)
    return spec


def _fit(run: "Run", rows: LabelledRows) -> Spec:
    """Fits the spec from statistics by period. Periods that were measured before are not measured again."""
    train = rows.rows.where(col(FOLD) == lit("train"))
    plan = FitPlan.of(train, run.conf.features, rows.target)
    versions = run.featured.versions_of(PERIOD, rows.periods, rows.version.version)
    statistics = statistics_cache.cached_statistics(run, _statistics_id(run, rows, plan), versions, plan, train)
    return plan.spec(statistics, run.say)


def _statistics_id(run: "Run", rows: LabelledRows, plan: FitPlan) -> str:
    pins = rows.pins(run)
    label = pins["label"] if any(f.kind.learns_label for f in run.conf.features.values()) else None
    return run.identity(
        "statistics",
        table=rows.version.id,
        asked=plan.statistics_names,
        folds=pins["folds"],
        bridge=pins["bridge"],
        positive=label,
    )


def _find(table: "Table", run_id: str) -> Spec | None:
    rows = table.frame().where(col("run_id") == lit(run_id)).head(1).rows() if table.exists() else []
    return Spec.from_json(rows[0]["spec"]) if rows else None


# --- the page ---


def _sections(run: "Run", run_id: str, spec: Spec, rows: LabelledRows) -> "Iterator[PageSection]":
    if rows.imputations:
        yield page_sections.imputations_section(rows.imputations)
    yield page_sections.rows_by_fold_section(rows, None if run.conf.split.time else run.conf.split.share.model_dump())
    yield page_sections.spec_section(spec)
    if run.conf.report.collisions and collisions.bucketed_features(spec):
        train = rows.rows.where(col(FOLD) == lit("train"))
        yield page_sections.collisions_section(collisions.cached_collisions(run, run_id, spec, train))
