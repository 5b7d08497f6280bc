"""Fits the feature spec on the train fold, or finds the one that was fitted on the same rows."""

from typing import TYPE_CHECKING

from keyfold.core.names import FOLD, FOLDS, PERIOD
from keyfold.core.sql import col
from keyfold.dataset import collisions, statistics_cache
from keyfold.dataset.collisions import collisions_section
from keyfold.dataset.labelled_rows import LabelledRows, labelled_rows, named_period
from keyfold.errors import ConfError
from keyfold.feature_store import table as feature_table
from keyfold.features.fit_plan import FitPlan
from keyfold.features.spec import Spec
from keyfold.reporting import page
from keyfold.reporting.sections import features_section, folds_section

if TYPE_CHECKING:
    from keyfold.runtime.run import Run

SPECS = "keyfold.specs"
_SPEC_COLUMNS = "digest string, run_id string, name string, spec string, fitted_at timestamp"


def fit_features(run: "Run") -> tuple[Spec, LabelledRows]:
    """Fits the spec on the train fold, or finds the one that was fitted on just that, and keeps it in keyfold.specs."""
    conf = run.conf
    if not conf.features:
        raise ConfError("features: the conf names none, so there is nothing to fit or to train on")
    with run.job("features") as job:
        feature_table.update_feature_table(run)
        with run.step("folds") as step:
            found = labelled_rows(run)
            step.rows = sum(found.counts.values())
        job.counts, job.inputs = {"read": step.rows}, {run.featured.name: found.version}
        job.run_id = run.identity("features", **found.pins(run))
        spec = run.once(
            job,
            lambda: _kept(run, job.run_id),
            lambda: _made(run, job.run_id, found),
            lambda spec: f"the spec {spec.digest} was fitted before on the same rows",
        )
        run.facts["spec"] = spec.digest
        run.sections += [found.stand_ins.section()] if found.stand_ins else []
        run.sections += [_folds_section(run, found), _features_section(spec)]
        if conf.report.collisions and collisions.bucketed_features(spec):
            learnt = found.rows.where(col(FOLD) == "train")
            run.sections.append(collisions_section(collisions.cached_collisions(run, job.run_id, spec, learnt)))
    return spec, found


def _made(run: "Run", run_id: str, found: LabelledRows) -> Spec:
    with run.step("fit") as step:
        spec = _fitted(run, found)
        step.rows = found.of("train")
    _keep(run, run_id, spec)
    return spec


def _fitted(run: "Run", found: LabelledRows) -> Spec:
    rows = found.rows.where(col(FOLD) == "train")
    plan, pins = FitPlan.of(rows, run.conf.features, found.target), found.pins(run)
    learnt = found.label if any(f.kind.learns_label for f in run.conf.features.values()) else None
    base = run.identity(
        "statistics", table=found.version.id, asked=plan.statistics_names, folds=pins["folds"], bridge=pins["bridge"],
        positive=learnt and pins["label"],
    )  # fmt: skip
    versions = run.featured.versions_of(PERIOD, found.periods, found.version.version)
    return plan.spec(statistics_cache.cached_statistics(run, base, versions, plan, rows, named_period(run, rows)), run.say)


def _kept(run: "Run", run_id: str) -> Spec | None:
    table = run.table(SPECS)
    found = table.read().where(col("run_id") == run_id).select("spec").take(1) if table.exists() else []
    return Spec.from_json(found[0][0]) if found else None


def _keep(run: "Run", run_id: str, spec: Spec) -> None:
    from datetime import UTC, datetime

    row = (spec.digest, run_id, run.conf.name, spec.to_json(), datetime.now(UTC))
    run.table(SPECS).append(run.spark.createDataFrame([row], _SPEC_COLUMNS).coalesce(1), job="features", run_id=run_id)


def _folds_section(run: "Run", found: LabelledRows) -> page.PageSection:
    classes, positive = found.label.classes, found.label.positive
    rows = [(fold, found.of(fold), found.counts.get((fold, positive), 0) if classes else None) for fold in FOLDS]
    if none := sum(found.counts.values()) - sum(found.of(fold) for fold in FOLDS):
        rows.append(("in none", none, None))
    return folds_section(rows, None if run.conf.split.time else run.conf.split.share.model_dump())


def _features_section(spec: Spec) -> page.PageSection:
    from keyfold.features.kinds import kind_name

    return features_section(
        [
            {
                "name": name,
                "kind": kind_name(kind),
                "inputs": ", ".join(map(str, kind.inputs())),
                "width": spec.outs[name].columns,
                "note": kind.note(state),
            }
            for name, (kind, state) in spec.features.items()
        ]
    )
