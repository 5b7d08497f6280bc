"""Registers a trained model, and records its MLflow run and version."""

from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.conf import yaml
from keyfold.conf.train import Train
from keyfold.core.digests import canonical_json
from keyfold.dataset import imputation
from keyfold.dataset.leakage_gates import Gate
from keyfold.feature_store.table import view_digests
from keyfold.labels import Binary
from keyfold.models.model import Model
from keyfold.tracking import tags, training_runs
from keyfold.tracking.registry import Registered
from keyfold.tracking.training_runs import TableInput, TrainingLog
from keyfold.training.arrays import ArrayRows
from keyfold.training.candidates import Choice
from keyfold.training.context import TrainingContext
from keyfold.training.registered import member_tags
from keyfold.training.trials import TuningResult
from keyfold.training.variants import FoldMetrics

if TYPE_CHECKING:
    from keyfold.training.loop import EpochMetrics


class TrainingResult(NamedTuple):
    """A trained model and all its measurements; `train` has the chosen model or the tuned parameters, `share` is that of the collected rows."""

    model: Model
    train: Train
    rows: ArrayRows
    share: float
    gates: list[Gate]
    tuned: TuningResult | None
    measured: FoldMetrics
    history: "list[EpochMetrics]"
    choice: Choice | None = None


def register_result(context: TrainingContext, name: str, result: TrainingResult) -> Registered:
    """Logs the training as an MLflow run and registers the model as a new version."""
    run, featured = context.run, context.run.featured
    with run.step("register"):
        log = TrainingLog(
            use_case=run.conf.name,
            period=run.period or context.rows.periods[-1],
            table=TableInput(featured.name, str(featured.path or ""), *context.rows.version),
            description=_describe(context),
            params=_params(context, result),
            metrics=result.measured,
            tags=_tags(context, result),
            files=_files(context, result),
            steps={epoch.step: {"loss": epoch.loss, "validation_loss": epoch.validation} for epoch in result.history},
            trials=[trial.mlflow_run(result.tuned.metric) for trial in result.tuned.trials] if result.tuned else [],
        )
        return training_runs.register(name, result.model, log)


def _params(context: TrainingContext, result: TrainingResult) -> dict[str, Any]:
    train = result.train
    rows = context.rows.count_in("train") if train.model.torch else result.rows.fold("train").table.num_rows
    chosen = {"candidate": result.choice.best.name} if result.choice else {}
    return {**train.model.chosen.parameters, **chosen, "rows": rows}


def _tags(context: TrainingContext, result: TrainingResult) -> dict[str, str]:
    conf, rows = context.run.conf, context.rows
    values = {
        tags.RUN_ID: context.run_id, tags.NAME: conf.name, tags.ROWS: str(list(rows.version)),
        tags.TABLE: context.run.featured.name, tags.CONF_DIGEST: conf.digest, tags.SEED: str(context.train.seed),
        tags.TEST_FEW: str(result.rows.fold("test").few), tags.SAMPLED: f"{result.share:g}",
    }  # fmt: skip
    values |= member_tags(context.run, context.spec, rows)
    values |= {tags.metric_tag(name): str(metric.value) for name, metric in result.measured.get("test", {}).items()}
    if context.warm_start:
        values[tags.START] = f"{context.warm_start.name}, {context.warm_start.digest}"
    if rows.imputations:
        values[tags.BRIDGE] = rows.imputations.digest
    if conf.data.views:
        values[tags.VIEWS] = canonical_json(view_digests(context.run))
    if result.tuned:
        values[tags.TUNED] = canonical_json(result.tuned.trials[0].params)
    if result.choice:
        values[tags.CANDIDATE] = result.choice.best.name
    return values


def _files(context: TrainingContext, result: TrainingResult) -> dict[str, str]:
    files = {
        "spec.json": context.spec.to_json(),
        "conf.yaml": yaml.dump_yaml(context.run.conf),
        "environment.json": canonical_json(training_runs.environment(result.model)),
        "gates.json": canonical_json([gate._asdict() for gate in result.gates]),
    }
    return files | ({imputation.IMPUTATION_FILE: context.rows.imputations.to_json()} if context.rows.imputations else {})


def _describe(context: TrainingContext) -> str:
    """The registered model's description, as Markdown."""
    data, label = context.run.conf.data, context.rows.label
    columns = " and ".join(f"`{name}`" for name in context.run.conf.label_columns)
    predicts = f"probability that {columns} is {label.positive}" if isinstance(label, Binary) else f"predicted {columns}"
    return (
        f"Use case `{context.run.conf.name}`: {predicts}, one prediction per {' and '.join(f'`{name}`' for name in data.key)}.\n\n"
        "`./spark-submit.sh train CONF` trains a version and makes it the champion if it meets `release.promote_if`; to promote another "
        "version, set the alias `champion` on it. `./spark-submit.sh score CONF` scores with the champion."
    )
