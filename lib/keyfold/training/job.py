"""From labelled rows to a registered model: the train fold to the driver as Arrow, fitted, measured, logged."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.conf import yaml
from keyfold.conf.train import Train
from keyfold.core.digests import canonical_json
from keyfold.core.names import NUMBER
from keyfold.dataset import imputation, leakage_gates
from keyfold.dataset.fit_features import fit_features
from keyfold.dataset.labelled_rows import LabelledRows
from keyfold.dataset.leakage_gates import gates_section
from keyfold.errors import ConfError
from keyfold.evaluation import metrics
from keyfold.evaluation.metrics import Metric
from keyfold.feature_store import table
from keyfold.features.certificate import Certificate
from keyfold.features.spec import Spec
from keyfold.models.label import Label
from keyfold.models.model import Model
from keyfold.models.parity import INEXACT
from keyfold.models.sklearn import Estimator
from keyfold.models.torch import Network
from keyfold.reporting import page
from keyfold.reporting.sections import classification_sections, metrics_section, slices_section
from keyfold.tracking import registry
from keyfold.tracking.registry import Registered
from keyfold.tracking.trials import TuningResult
from keyfold.training import network as distributed
from keyfold.training import search, trial_scores, warm_start
from keyfold.training.ablation import ablations_section, measure_ablation
from keyfold.training.arrays import (
    ArrayRows,
    class_weights,
    collect_rows,
    measure_model,
    network_inputs,
    row_weights,
    sample_share,
)
from keyfold.training.search import require_optuna, tuning_section

if TYPE_CHECKING:
    from keyfold.runtime.run import Job, Run
    from keyfold.training.loop import EpochMetrics

ONE = 3_072  # rows that are learnt alone, to see whether they can be


def train(run: "Run") -> Registered:
    """Trains and registers, or finds the version that the same conf and rows gave; promotes it where it clears the bar."""
    conf = run.conf
    if conf.train is None:
        raise ConfError("train: the conf has no such section, so there is nothing to train")
    distributed.check_network(run)
    if conf.train.tune:
        require_optuna()
    spec, found = fit_features(run)
    name = conf.train.register_as or conf.name
    with run.job("train") as job:
        if (network := conf.train.model.torch) and network.start:
            run.begins = warm_start.find_start(network.start)
        job.run_id = run.identity("train", **training_pins(run, spec, found))
        job.inputs = {run.featured.name: found.version, "spec": spec.digest}
        version = run.once(
            job,
            lambda: registry.registered_by(name, job.run_id),
            lambda: _train(run, job, spec, found, name),
            lambda version: f"{version} was trained before from the same conf and rows",
            lambda _: {"read": sum(found.counts.values())},
        )
        job.model = version
    return version


def training_pins(run: "Run", spec: Spec, found: LabelledRows) -> dict[str, Any]:
    """What a training pins."""
    train = run.conf.train
    assert train is not None
    more = {
        "spec": spec.digest,
        "sampled": sample_share(run, spec, found),
        "early": train.prunes_trials,
        "together": train.trials_at_once,
    }
    return found.pins(run) | more | {"start": run.begins.digest if run.begins else None}


def _train(run: "Run", job: "Job", spec: Spec, found: LabelledRows, name: str) -> Registered:
    conf = run.conf
    assert conf.train is not None
    with run.step("gates") as step:
        proven = leakage_gates.check_gates(run, found)
        run.sections.append(gates_section(proven))
        step.rows = sum(found.counts.values())
    with run.step("collect") as step:
        rows, share = collect_rows(run, spec, found)
        step.rows = rows.table.num_rows
    learnt, weights, train, tuned = rows.fold("train"), class_weights(conf.train, found), conf.train, None
    if conf.train.tune:
        tuned = _tuned(run, job.run_id, rows, spec, found, weights)
        train = conf.train.model_copy(update={"model": tuned.model})
    estimator: Estimator | Network
    weight = None
    course: list[EpochMetrics] = []
    if train.model.sklearn is None:
        estimator, course = distributed.train_network(
            run, job.run_id, spec, found, *network_inputs(run, found), train.model.torch
        )
    else:
        with run.step("fit") as step:
            step.rows = learnt.table.num_rows
            weight = row_weights(learnt, weights)
            estimator = train.model.sklearn.fit(spec, learnt.arrays, learnt.y, weight, train.seed)
    model = Model(spec, estimator, found.label, Certificate.issue(run.spark, spec))
    if (parity := model.parity).differ:
        run.say(f"{INEXACT} ({parity})")
    with run.step("evaluate") as step:
        measured = {
            fold: measure_model(model, part) for fold in ("validation", "test") if (part := rows.fold(fold)).table.num_rows
        }
        if conf.split.folds:
            measured["cross_validated"] = _cross_validated(train, rows, found.label, conf.split.folds, weights)
        step.rows = sum(rows.fold(fold).table.num_rows for fold in measured)
        run.sections += _sections(run, model, rows.fold("test"), measured)
    if conf.report.without and "test" in measured:
        measured |= _ablated(run, train, model, rows, weight, measured["test"])
    with run.step("register"):
        params = {
            **train.model.chosen.parameters,
            "rows": found.count_in("train") if train.model.torch else learnt.table.num_rows,
        }
        tags = {
            "keyfold.run_id": job.run_id, "keyfold.name": conf.name, "keyfold.rows": str(list(found.version)),
            "keyfold.table": run.featured.name, "keyfold.conf_digest": conf.digest, "keyfold.seed": str(conf.train.seed),
            "keyfold.test_few": str(rows.fold("test").few),
            "keyfold.sampled": f"{share:g}", **{f"keyfold.{k}": str(v.value) for k, v in measured.get("test", {}).items()},
        }  # fmt: skip
        files = {
            "spec.json": spec.to_json(),
            "conf.yaml": yaml.dump_yaml(conf),
            "environment.json": canonical_json(registry.environment(model)),
        }
        if run.begins:
            tags["keyfold.start"] = f"{run.begins.name}, {run.begins.digest}"
        if found.imputations:
            files[imputation.IMPUTATION_FILE] = found.imputations.to_json()
            tags["keyfold.bridge"] = found.imputations.digest
        if conf.data.views:
            tags["keyfold.views"] = canonical_json(table.view_digests(run))
        if tuned:
            tags["keyfold.tuned"] = canonical_json(tuned.trials[0].params)
        files["gates.json"] = canonical_json([gate._asdict() for gate in proven])
        steps = {said.step: {"loss": said.loss, "validation_loss": said.validation} for said in course}
        return registry.register(conf.name, name, model, measured, params, tags, files, steps, tuned)


def _tuned(
    run: "Run", run_id: str, rows: ArrayRows, spec: Spec, found: LabelledRows, weights: tuple[float, float] | None
) -> TuningResult:
    """The model with the parameters that did best, and the trials, on the page too."""
    conf, train = run.conf, run.conf.train
    assert train is not None
    assert train.tune is not None
    metric = train.tune.metric_for(train.model)
    with run.step("tune") as step:
        step.rows = rows.table.num_rows
        if train.model.torch:
            score = trial_scores.network_score(
                run, run_id, spec, found, *network_inputs(run, found), rows.fold("validation"), metric
            )
            tuned = search.search_parameters(run, train, run_id, score)
        else:
            inside = rows.inside
            work = trial_scores.EstimatorTrials.of(inside, row_weights(inside, weights), conf.split.folds, train.seed, metric)
            with work.over(run.spark, train.tune.parallel) as score:
                tuned = search.search_parameters(run, train, run_id, score)
    run.sections.append(tuning_section(tuned.metric, tuned.trials, tuned.importance, search.picture_axes(train.tune, tuned)))
    return tuned


def _ablated(
    run: "Run", train: Train, model: Model, rows: ArrayRows, weight: npt.NDArray[np.float64] | None, full: dict[str, Metric]
) -> dict[str, dict[str, Metric]]:
    """What the features of `report.without` gain, on the page and for MLflow."""
    conf, learnt, test = run.conf, rows.fold("train"), rows.fold("test")
    with run.step("without") as step:
        found = [measure_ablation(model, train, learnt, test, weight, names) for names in conf.report.without]
        step.rows = learnt.table.num_rows * len(found)
    run.sections.append(ablations_section([(a.without, {n: (full[n], a.metrics[n], a.gain[n]) for n in a.gain}) for a in found]))
    return {a.name: a.measured for a in found}


def fit_one_batch(run: "Run", spec: Spec, found: LabelledRows) -> None:
    """Says how well a scikit-learn model knows the rows that it learnt, some of the train fold; registers nothing."""
    train = run.conf.train
    assert train is not None
    assert train.model.sklearn is not None
    with run.step("fit") as step:
        rows, _ = collect_rows(run, spec, found)
        some = ArrayRows(rows.fold("train").table.slice(0, ONE), spec)
        step.rows = some.table.num_rows
        weight = row_weights(some, class_weights(train, found))
        model = train.model.sklearn.fit(spec, some.arrays, some.y, weight, train.seed)
    measured = measure_model(Model(spec, model, found.label, Certificate.issue(run.spark, spec)), some)
    said = ", ".join(f"{name} {metrics.format_number(metric.value, digits=4)}" for name, metric in measured.items())
    run.say(f"of {step.rows:,} rows that it learnt itself: {said}")


def _sections(run: "Run", model: Model, test: ArrayRows, measured: dict[str, dict[str, Metric]]) -> list[page.PageSection]:
    if not test.table.num_rows:
        return [metrics_section(measured)] if measured else []
    extra = {c.removeprefix("keyfold_extra:"): c for c in test.table.column_names if c.startswith("keyfold_extra:")}
    measure = metrics.classification_metrics if model.label.classes else metrics.regression_metrics
    said = model.estimator.probability(test.arrays) if model.label.classes else model.estimator.value(test.arrays)
    made = [metrics_section(measured)]
    if model.label.classes:
        truth = test.table[extra[run.conf.report.truth]].to_numpy() if run.conf.report.truth else None
        made += classification_sections(test.y, said, truth)
    for name in run.conf.report.slices:
        groups = np.array(test.table[extra[name]].to_pylist(), dtype=object)
        made.append(
            slices_section(name, metrics.slice_metrics(test.y, said, groups, order=test.order, measure=measure, replicates=100))
        )
    return made


def _cross_validated(
    train: Train, rows: ArrayRows, label: Label, folds: int, weights: tuple[float, float] | None
) -> dict[str, Metric]:
    """The metrics of rows outside test, each answered by a model that was trained on the other parts."""
    assert train.model.sklearn is not None
    inside = rows.inside
    number = inside.table[f"keyfold_extra:{NUMBER}"].to_numpy()
    answer = np.full(len(number), np.nan)
    for k in range(folds):
        learnt, held = (ArrayRows(inside.table.filter(pa.array(mask)), rows.spec) for mask in (number != k, number == k))
        if held.table.num_rows:
            made = train.model.sklearn.fit(rows.spec, learnt.arrays, learnt.y, row_weights(learnt, weights), train.seed)
            answer[number == k] = made.probability(held.arrays) if label.classes else made.value(held.arrays)
    measure = metrics.classification_metrics if label.classes else metrics.regression_metrics
    return measure(inside.y, answer, order=inside.order)
