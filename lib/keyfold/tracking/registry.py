"""MLflow: where it lives, what a run of training leaves there, and which registered version answers."""

import fcntl
import logging
import math
import os
import platform
import re
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.conf.score import MODEL_URI
from keyfold.core.digests import folder_digest
from keyfold.engine.home import home
from keyfold.errors import ConfError, DataError, PromiseError
from keyfold.evaluation.metrics import Metric
from keyfold.models.model import Model
from keyfold.secrets import redacted
from keyfold.tracking import model_folder
from keyfold.version import __version__

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.exceptions import MlflowException
    from mlflow.models import ModelSignature

    from keyfold.tracking.trials import TuningResult

CHAMPION = "champion"
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic", "scikit-learn", "skops", "xxhash", "PyYAML", "Pillow")
_PLAIN = {"double": "double", "string": "string", "boolean": "boolean", "binary": "binary"}
_MISSING = (  # what stores say of a name, alias or run that they do not have
    "RESOURCE_DOES_NOT_EXIST",
    "INVALID_PARAMETER_VALUE",
    "NOT_FOUND",
)


class Registered(NamedTuple):
    """A registered version of a model."""

    name: str
    version: str
    mlflow_run_id: str
    tags: dict[str, str]

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    @property
    def pin(self) -> list[str | None]:
        """What a job pins of it."""
        return [self.name, self.version, self.mlflow_run_id, self.tags.get("keyfold.manifest")]


def client() -> "MlflowClient":
    """A client of the configured MLflow, or of the one in keyfold's home, which is made on first use."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # a tracking server's address may hold a password
    for of_no_use in (".*input example.*", "IProgress not found.*"):
        warnings.filterwarnings("ignore", message=of_no_use)
    import mlflow

    mlflow.utils.logging_utils.disable_logging()
    if "MLFLOW_TRACKING_URI" not in os.environ and not mlflow.tracking._tracking_service.utils.is_tracking_uri_set():
        mlflow.set_tracking_uri(_local())
    return mlflow.MlflowClient()


def _local() -> str:
    return f"sqlite:///{home() / 'mlflow.db'}"


def _experiment(name: str) -> None:
    import mlflow

    home().mkdir(parents=True, exist_ok=True)
    # Two processes that make the same SQLite file at once would both try to create its tables.
    with (home() / ".mlflow.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        local = mlflow.get_tracking_uri() == _local()
        if mlflow.get_experiment_by_name(name) is None:
            mlflow.create_experiment(name, str(home() / "artifacts") if local else None)
    mlflow.set_experiment(name)


def register(
    experiment: str, name: str, model: Model, metrics: Mapping[str, Mapping[str, Metric]], params: Mapping[str, Any],
    tags: Mapping[str, str], files: Mapping[str, str], steps: Mapping[int, Mapping[str, float]], tuned: "TuningResult | None" = None,
) -> Registered:  # fmt: skip
    """Logs a run with its model, metrics by fold and by step, texts by file name, and a run below it for each trial.

    Registers the model as a new version.
    """
    api = client()
    import mlflow

    _experiment(experiment)
    with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
        saved = model.save(Path(folder, "model"))
        tags = {**tags, model_folder.MANIFEST: saved, "keyfold.spec_digest": model.spec.digest}
        tags |= {"keyfold.inexact": str(parity)} if (parity := model.parity).differ else {}
        mlflow.log_params({key: str(value)[:6000] for key, value in params.items()})
        mlflow.log_metrics(_flat(metrics))
        for step, known in steps.items():
            mlflow.log_metrics({what: value for what, value in known.items() if not math.isnan(value)}, step=step)
        for file, text in files.items():
            mlflow.log_text(text, file)
        info = mlflow.pyfunc.log_model(
            name="model",
            loader_module="keyfold.serving",
            data_path=str(Path(folder, "model")),
            code_paths=[str(_code(Path(folder)))],
            signature=signature(model),
            pip_requirements=[f"{package}=={metadata.version(package)}" for package in _packages(model)],
        )
        if tuned:
            _log_trials(tuned)
        tags |= {model_folder.DIGEST: _stored(info.model_uri, Path(folder, "stored"), saved)}
        mlflow.set_tags(dict(tags))
        _make_name(api, name)
        version = api.create_model_version(name, info.model_uri, run.info.run_id, dict(tags), model_id=info.model_id)
    return _registered(version)


def _stored(uri: str, into: Path, saved: str) -> str:
    """The digest of a logged model as its store gives it back (PromiseError where the model is not what was saved)."""
    into.mkdir()
    at = model_folder.clean_copy(_downloaded(uri, into))
    own = model_folder.own_files(at)
    if own is None or folder_digest(own) != saved:
        raise PromiseError("MLflow's store gave back another model than the one that was logged; nothing was registered")
    return model_folder.model_digest(at)


def _log_trials(tuned: "TuningResult") -> None:
    import mlflow

    for trial in tuned.trials:
        mlflow.start_run(nested=True, run_name=f"trial {trial.place + 1}")
        mlflow.log_params({path: str(value)[:6000] for path, value in trial.params.items()})
        mlflow.set_tags({"keyfold.state": trial.state} | ({"keyfold.why": redacted(trial.why)[:5000]} if trial.why else {}))
        if trial.value is not None:
            mlflow.log_metric(tuned.metric, trial.value)
        mlflow.end_run("FAILED" if trial.why else "FINISHED")


def _make_name(api: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        api.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _code(folder: Path) -> Path:
    """The package as files, which the model takes along; out of its archive where --py-files brought it."""
    package = Path(__file__).parents[1]
    if package.is_dir():
        return package
    archive = next(p for p in package.parents if p.is_file())
    with zipfile.ZipFile(archive) as files:
        files.extractall(folder, [name for name in files.namelist() if name.startswith("keyfold/")])
    return folder / "keyfold"


def registered_by(name: str, run_id: str) -> Registered | None:
    """The version that a run with this id registered before."""
    found = [v for v in _versions(name) if v.tags.get("keyfold.run_id") == run_id]
    return _registered(max(found, key=lambda v: int(v.version))) if found else None


def test_metrics(version: Registered) -> dict[str, Metric]:
    """Its metrics on its own test fold, with their intervals; none where MLflow has no such run any more."""
    from mlflow.exceptions import MlflowException

    try:
        known = client().get_run(version.mlflow_run_id).data.metrics
    except MlflowException as error:
        _refuse_but_missing(error)
        return {}
    names = [name.removeprefix("test_") for name in known if name.startswith("test_") and not name.startswith("test_without_")]
    return {
        name: Metric(known[f"test_{name}"], known.get(f"test_{name}_low", math.nan), known.get(f"test_{name}_high", math.nan))
        for name in names
        if not name.endswith(("_low", "_high"))
    }


def promote(version: Registered) -> None:
    """Makes a version the champion."""
    client().set_registered_model_alias(version.name, CHAMPION, version.version)


def champion_of(name: str) -> Registered | None:
    """The version that answers now."""
    return _by_alias(name, CHAMPION)


def find_version(uri: str) -> Registered:
    """The version that `models:/name@alias`, `models:/name/version` or `runs:/id` means (DataError where there is none)."""
    if not re.fullmatch(MODEL_URI, uri):
        raise ConfError(f"a model is named by models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID (got `{uri}`)")
    if uri.startswith("runs:/"):
        return _of_run(uri.removeprefix("runs:/"))
    path = uri.removeprefix("models:/")
    name, at, alias = path.partition("@")
    if at:
        found = _by_alias(name, alias)
        if found is None:
            raise DataError(f"there is no model `{uri}`: {_what_is_there(name)}")
        return found
    name, _, number = path.rpartition("/")
    for version in _versions(name):
        if version.version == number or str(version.version) == number:
            return _registered(version)
    raise DataError(f"there is no model `{uri}`: {_what_is_there(name)}")


def _of_run(run_id: str) -> Registered:
    found = client().search_model_versions(f"run_id = '{run_id}'")
    if not found:
        raise DataError(f"no model is registered of run `{run_id}`; name one by models:/name/version")
    return _registered(max(found, key=lambda v: int(v.version)))


def fetch_model(version: Registered, into: Path, trust: str | None = None) -> Path:
    """The folder of keyfold's own files of a model, brought from the registry, once all files of the model are those that were registered.

    PromiseError where they are not. Of a model that keyfold did not train the whole folder, where `trust` is its digest
    (DataError where it is not).
    """
    try:
        at = _downloaded(f"models:/{version.name}/{version.version}", into)
    except Exception as error:  # whatever a store raises, which may hold a password
        raise DataError(f"the files of {version} cannot be brought from MLflow's store ({type(error).__name__})") from error
    if model_folder.DIGEST not in version.tags and model_folder.MANIFEST not in version.tags:
        return _trusted(version, at, trust)
    own = model_folder.own_files(model_folder.clean_copy(at))
    model_folder.refuse_other_files(str(version), at, own, version.tags)
    if own is None:
        raise DataError(f"{version} has no `model.json`: it was not logged by keyfold")
    return own


def _downloaded(uri: str, into: Path) -> Path:
    client()
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(into)))


def _trusted(version: Registered, folder: Path, trust: str | None) -> Path:
    found = folder_digest(folder)
    if trust != found:
        was = f"the conf trusts {trust}, and its files are now {found}" if trust else f"its digest is {found}"
        raise DataError(
            f"{version} was not trained by keyfold, so it has no certificate, and to load it is to run its code; {was}. "
            f"If you know where it comes from: score.trust: {found}"
        )
    (folder / "model.json").unlink(missing_ok=True)
    return folder


def read_text(version: Registered, file: str) -> str:
    """A text that `register` was given, by its file name."""
    client()
    import mlflow

    return str(mlflow.artifacts.load_text(f"runs:/{version.mlflow_run_id}/{file}"))


def _packages(model: Model) -> list[str]:
    return [*REQUIREMENTS, *model.estimator.packages]


def environment(model: Model) -> dict[str, str]:
    """The versions that a model was trained with."""
    versions = {package: metadata.version(package) for package in _packages(model)}
    return {"python": platform.python_version(), "keyfold": __version__} | versions


def signature(model: Model) -> "ModelSignature":
    """The raw columns in the order of the conf, all optional; integers, dates and decimals as Any, since NULL must pass."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, ColSpec, Schema, TensorSpec

    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(_PLAIN.get(family) or AnyType(), name=column, required=False) for column, family in model.spec.inputs.items()
    ]
    outcome = _PLAIN.get(model.label.family) or AnyType() if model.label.classes else "double"
    return ModelSignature(
        Schema(inputs), Schema([ColSpec(outcome, "prediction", False), ColSpec("double", "probability", False)])
    )


def _flat(metrics: Mapping[str, Mapping[str, Metric]]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for fold, named in metrics.items():
        for name, metric in named.items():
            parts = {"": metric.value, "_low": metric.low, "_high": metric.high}
            flat |= {f"{fold}_{name}{part}": value for part, value in parts.items() if not math.isnan(value)}
    return flat


def _versions(name: str) -> "list[ModelVersion]":
    return list(client().search_model_versions(f"name = '{name.replace(chr(39), '')}'"))


def _by_alias(name: str, alias: str) -> Registered | None:
    from mlflow.exceptions import MlflowException

    try:
        return _registered(client().get_model_version_by_alias(name, alias))
    except MlflowException as error:
        _refuse_but_missing(error)
        return None


def _refuse_but_missing(error: "MlflowException") -> None:
    """DataError where a store failed to answer: that is not to say that something is not there."""
    if error.error_code not in _MISSING:
        raise DataError(f"MLflow did not answer ({error.error_code}): {redacted(str(error))[:300]}; please run again") from error


def _what_is_there(name: str) -> str:
    versions = sorted((int(v.version) for v in _versions(name)), reverse=True)
    if not versions:
        return f"no version of `{name}` is registered; run `train` first"
    return (
        f"`{name}` has versions {', '.join(map(str, versions[:10]))}, and the champion is {champion_of(name) or 'none of them'}"
    )


def _registered(version: "ModelVersion") -> Registered:
    return Registered(version.name, str(version.version), version.run_id or "", dict(version.tags))


def tracking_address() -> str:
    """MLflow's address, without a password."""
    return redacted(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{home() / 'mlflow.db'}"))
