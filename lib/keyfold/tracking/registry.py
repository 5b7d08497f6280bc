"""Registered versions: found, fetched, promoted."""

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from keyfold.core.digests import folder_digest
from keyfold.errors import ConfError, DataError
from keyfold.evaluation.intervals import Metric
from keyfold.models.registered import MODEL_URI
from keyfold.secrets import redacted
from keyfold.tracking import model_folder
from keyfold.tracking.connection import client, download, tracking_address
from keyfold.tracking.tags import MANIFEST, MODEL_DIGEST, RUN_ID

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.exceptions import MlflowException

CHAMPION = "champion"
_MISSING = (  # error codes of stores for a name, alias or run that they do not have
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
        """The parts of the version that a job's run id pins."""
        return [self.name, self.version, self.mlflow_run_id, self.tags.get(MANIFEST)]


def registered_by(name: str, run_id: str) -> Registered | None:
    """The newest version that was registered under a run id."""
    versions = [v for v in _versions(name) if v.tags.get(RUN_ID) == run_id]
    return as_registered(max(versions, key=lambda v: int(v.version))) if versions else None


def test_metrics(version: Registered) -> dict[str, Metric]:
    """The version's metrics on its test fold, with their intervals; empty if MLflow no longer has its run."""
    from mlflow.exceptions import MlflowException

    try:
        logged = client().get_run(version.mlflow_run_id).data.metrics
    except MlflowException as error:
        _refuse_but_missing(error)
        return {}
    names = [name.removeprefix("test_") for name in logged if name.startswith("test_") and not name.startswith("test_without_")]
    return {
        name: Metric(logged[f"test_{name}"], logged.get(f"test_{name}_low", math.nan), logged.get(f"test_{name}_high", math.nan))
        for name in names
        if not name.endswith(("_low", "_high"))
    }


def promote(version: Registered) -> None:
    """Makes a version the champion."""
    client().set_registered_model_alias(version.name, CHAMPION, version.version)


def champion_of(name: str) -> Registered | None:
    """The version with the alias `champion`."""
    return _by_alias(name, CHAMPION)


def find_version(uri: str) -> Registered:
    """The version that `models:/name@alias`, `models:/name/version` or `runs:/id` names (DataError if there is none)."""
    if not re.fullmatch(MODEL_URI, uri):
        raise ConfError(f"a model is named by models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID (got `{uri}`)")
    if uri.startswith("runs:/"):
        return _of_run(uri.removeprefix("runs:/"))
    path = uri.removeprefix("models:/")
    name, at, alias = path.partition("@")
    if at:
        aliased = _by_alias(name, alias)
        if aliased is None:
            raise DataError(f"there is no model `{uri}`: {_list_versions(name)}")
        return aliased
    name, _, number = path.rpartition("/")
    for version in _versions(name):
        if version.version == number or str(version.version) == number:
            return as_registered(version)
    raise DataError(f"there is no model `{uri}`: {_list_versions(name)}")


def _of_run(run_id: str) -> Registered:
    versions = client().search_model_versions(f"run_id = '{run_id}'")
    if not versions:
        raise DataError(f"run `{run_id}` has registered no model; name one by models:/name/version")
    return as_registered(max(versions, key=lambda v: int(v.version)))


def fetch_model(version: Registered, into: Path, trust: str | None = None) -> Path:
    """Downloads a model, checks that all of its files are those that were registered, and returns the folder of keyfold's own files.

    Raises PromiseError if a file differs. A model that keyfold did not train is returned whole, if `trust` is its digest (else
    DataError).
    """
    try:
        root = download(f"models:/{version.name}/{version.version}", into)
    except Exception as error:  # stores raise anything, and the message may hold a password
        raise DataError(f"the files of {version} could not be downloaded from MLflow's store ({type(error).__name__})") from error
    if MODEL_DIGEST not in version.tags and MANIFEST not in version.tags:
        return _trusted(version, root, trust)
    own = model_folder.own_files(model_folder.clean_copy(root))
    model_folder.refuse_other_files(str(version), root, own, version.tags)
    if own is None:
        raise DataError(f"{version} has no `model.json`: it was not logged by keyfold")
    return own


def _trusted(version: Registered, folder: Path, trust: str | None) -> Path:
    digest = folder_digest(folder)
    if trust != digest:
        reason = f"the conf trusts {trust}, and the digest of its files is {digest}" if trust else f"its digest is {digest}"
        raise DataError(
            f"{version} was not trained by keyfold, so it has no certificate, and loading it runs its code; {reason}. "
            f"If you know its origin, set score.trust: {digest}"
        )
    (folder / "model.json").unlink(missing_ok=True)
    return folder


def read_text(version: Registered, file: str) -> str:
    """A text file that was logged with the version."""
    client()
    import mlflow

    return str(mlflow.artifacts.load_text(f"runs:/{version.mlflow_run_id}/{file}"))


def _versions(name: str) -> "list[ModelVersion]":
    return list(client().search_model_versions(f"name = '{name.replace(chr(39), '')}'"))


def _by_alias(name: str, alias: str) -> Registered | None:
    from mlflow.exceptions import MlflowException

    try:
        return as_registered(client().get_model_version_by_alias(name, alias))
    except MlflowException as error:
        _refuse_but_missing(error)
        return None


def _refuse_but_missing(error: "MlflowException") -> None:
    """Raises DataError for a store that failed, since that does not mean that something is missing."""
    if error.error_code not in _MISSING:
        raise DataError(f"MLflow did not answer ({error.error_code}): {redacted(str(error))[:300]}; please run again") from error


def _list_versions(name: str) -> str:
    versions = sorted((int(v.version) for v in _versions(name)), reverse=True)
    if not versions:
        return f"no version of `{name}` is registered; run `train` first (looked in {tracking_address()})"
    return (
        f"`{name}` has versions {', '.join(map(str, versions[:10]))}, and the champion is {champion_of(name) or 'none of them'}"
    )


def as_registered(version: "ModelVersion") -> Registered:
    """MLflow's version as ours."""
    return Registered(version.name, str(version.version), version.run_id or "", dict(version.tags))
