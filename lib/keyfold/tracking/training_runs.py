"""The MLflow run of a training, and the version of the registered model that it creates."""

import math
import platform
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from keyfold.core.digests import folder_digest
from keyfold.core.types import arrow_family
from keyfold.errors import PromiseError
from keyfold.evaluation.intervals import Metric
from keyfold.models.model import Model
from keyfold.secrets import redacted
from keyfold.tracking import model_folder, tags
from keyfold.tracking.connection import client, download, use_experiment
from keyfold.tracking.registry import Registered, as_registered
from keyfold.version import __version__

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

REQUIREMENTS = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "scikit-learn", "skops", "xxhash", "PyYAML", "Pillow")
_PLAIN = {"double": "double", "string": "string", "boolean": "boolean", "binary": "binary"}
_LONGEST = 6000  # characters of a parameter
_GENERATED = "Use case `"  # how generated descriptions begin


class TableInput(NamedTuple):
    """The Delta table that a model was trained on: its name, its path (empty in a catalog), its id and its version."""

    name: str
    path: str
    id: str
    version: int


class TrialRun(NamedTuple):
    """Contents of the child run of a trial; `place`: its number in the search, from 0."""

    place: int
    params: Mapping[str, Any] = {}
    metrics: Mapping[str, float] = {}
    tags: Mapping[str, str] = {}
    failed: bool = False


class TrainingLog(NamedTuple):
    """Contents of the MLflow run of a training.

    metrics: by fold and name; files: texts by file name; steps: losses by step; description: that of the registered model.
    """

    use_case: str
    period: str = ""
    table: TableInput | None = None
    description: str = ""
    params: Mapping[str, Any] = {}
    metrics: Mapping[str, Mapping[str, Metric]] = {}
    tags: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    steps: Mapping[int, Mapping[str, float]] = {}
    trials: Sequence[TrialRun] = ()

    def run_name(self, version: str | int) -> str:
        """Use case, version and period, such as `churn v3 2026-10`."""
        return f"{self.use_case} v{version} {self.period}".strip()

    def trial_name(self, version: str | int, place: int) -> str:
        """Use case, version and trial, such as `churn v3 trial 4`."""
        return f"{self.use_case} v{version} trial {place + 1}"


def register(name: str, model: Model, log: TrainingLog) -> Registered:
    """Logs a run with its model, a child run for each trial, and registers the model as a new version."""
    api = client()
    import mlflow

    use_experiment(log.use_case)
    expected = _next_version(api, name)
    with mlflow.start_run(run_name=log.run_name(expected)) as run, tempfile.TemporaryDirectory() as folder:
        digest = model.save(Path(folder, "model"))
        _log_values(log)
        info = _log_model(model, Path(folder))
        runs = {trial.place: _log_trial(trial, log.trial_name(expected, trial.place)) for trial in log.trials}
        version_tags = {**log.tags, tags.MANIFEST: digest, tags.SPEC_DIGEST: model.spec.digest}
        version_tags |= {tags.INEXACT: str(parity)} if (parity := model.parity).differ else {}
        version_tags[tags.MODEL_DIGEST] = _stored_digest(info.model_uri, Path(folder, "stored"), digest)
        mlflow.set_tags(version_tags)
        _create_registered_model(api, name, log.description)
        version = api.create_model_version(name, info.model_uri, run.info.run_id, version_tags, model_id=info.model_id)
    if int(version.version) != expected:  # another job has registered a version meanwhile
        api.update_run(run.info.run_id, name=log.run_name(version.version))
        for place, trial_run in runs.items():
            api.update_run(trial_run, name=log.trial_name(version.version, place))
    return as_registered(version)


def _next_version(api: "MlflowClient", name: str) -> int:
    versions = api.search_model_versions(f"name = '{name.replace(chr(39), '')}'")
    return max((int(version.version) for version in versions), default=0) + 1


def _log_values(log: TrainingLog) -> None:
    import mlflow

    if log.table:
        _log_table(log.table)
    mlflow.log_params({key: str(value)[:_LONGEST] for key, value in log.params.items()})
    mlflow.log_metrics(_flat(log.metrics))
    for step, losses in log.steps.items():
        mlflow.log_metrics({name: value for name, value in losses.items() if not math.isnan(value)}, step=step)
    for file, text in log.files.items():
        mlflow.log_text(text, file)


def _log_table(table: TableInput) -> None:
    """Logs the table's version as a dataset; no row is read."""
    import mlflow
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    place = {"path": table.path} if table.path else {"delta_table_name": table.name}
    source = DeltaDatasetSource(delta_table_version=table.version, delta_table_id=table.id, **place)
    dataset = MetaDataset(source, name=table.name, digest=f"v{table.version}-{table.id[:8]}")  # type: ignore[abstract]
    mlflow.log_input(dataset, context="training")


def _log_model(model: Model, folder: Path) -> Any:
    import mlflow

    return mlflow.pyfunc.log_model(
        name="model",
        loader_module="keyfold.serving",
        data_path=str(folder / "model"),
        code_paths=[str(_code_folder(folder))],
        signature=signature(model),
        pip_requirements=[f"{package}=={metadata.version(package)}" for package in _packages(model)],
    )


def _stored_digest(uri: str, folder: Path, saved: str) -> str:
    """The digest of a logged model as its store returns it (PromiseError if its own files have another digest than `saved`)."""
    folder.mkdir()
    root = model_folder.clean_copy(download(uri, folder))
    own = model_folder.own_files(root)
    if own is None or folder_digest(own) != saved:
        raise PromiseError("MLflow's store returned a different model from the one that was logged; nothing was registered")
    return model_folder.model_digest(root)


def _log_trial(trial: TrialRun, name: str) -> str:
    """Logs a trial as a child run and returns the id of the run."""
    import mlflow

    run = mlflow.start_run(nested=True, run_name=name)
    mlflow.log_params({path: str(value)[:_LONGEST] for path, value in trial.params.items()})
    mlflow.set_tags({tag: redacted(text)[:5000] for tag, text in trial.tags.items()})
    mlflow.log_metrics(dict(trial.metrics))
    mlflow.end_run("FAILED" if trial.failed else "FINISHED")
    return str(run.info.run_id)


def _create_registered_model(api: "MlflowClient", name: str, description: str) -> None:
    """Creates the registered model unless it exists; replaces its description only if that was generated."""
    from mlflow.exceptions import MlflowException

    try:
        api.create_registered_model(name, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        former = api.get_registered_model(name).description or ""
        if description not in ("", former) and (not former or former.startswith(_GENERATED)):
            api.update_registered_model(name, description)


def _code_folder(folder: Path) -> Path:
    """The folder of this package, which is saved with the model; extracted if --py-files brought it as an archive."""
    package = Path(__file__).parents[1]
    if package.is_dir():
        return package
    archive = next(p for p in package.parents if p.is_file())
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder, [name for name in files.namelist() if name.startswith("keyfold/")])
    return folder / "keyfold"


def _packages(model: Model) -> Sequence[str]:
    return [*REQUIREMENTS, *model.estimator.packages]


def environment(model: Model) -> dict[str, str]:
    """The versions of Python, keyfold and the packages that a model was trained with."""
    versions = {package: metadata.version(package) for package in _packages(model)}
    return {"python": platform.python_version(), "keyfold": __version__} | versions


def signature(model: Model) -> "ModelSignature":
    """Raw columns in the order of the conf, all optional; integers, dates and decimals as Any, because NULL must pass."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema, TensorSpec

    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(_PLAIN.get(family) or AnyType(), name=column, required=False) for column, family in model.spec.inputs.items()
    ]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(_mlflow_type(type_), name, False) for name, type_ in model.plain_types.items()]
    return ModelSignature(Schema(inputs), Schema(outputs))


def _mlflow_type(type_: pa.DataType) -> Any:
    from mlflow.types.schema import AnyType, Array, DataType, Map

    if pa.types.is_map(type_):
        return Map(DataType.double)
    if pa.types.is_list(type_):
        return Array(DataType.string)
    return _PLAIN.get(arrow_family(type_)) or AnyType()


def _flat(metrics: Mapping[str, Mapping[str, Metric]]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for fold, named in metrics.items():
        for name, metric in named.items():
            parts = {"": metric.value, "_low": metric.low, "_high": metric.high}
            flat |= {f"{fold}_{name}{part}": value for part, value in parts.items() if not math.isnan(value)}
    return flat
