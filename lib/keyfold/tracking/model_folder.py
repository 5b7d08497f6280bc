"""The folder of a logged model: one digest of all its files, compared before anything in it is loaded or imported."""

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from keyfold.conf import yaml
from keyfold.core.digests import folder_digest
from keyfold.errors import PromiseError

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST = "keyfold.model_digest"  # tag of the version and of the run: of every file of the logged model
MANIFEST = "keyfold.manifest"  # of keyfold's own files alone, which is all that version 0.1 kept
META = "registered_model_meta"  # MLflow writes name and version into a copy that it downloads
LATER = {META, "__pycache__"}  # which Python leaves where MLflow imports `code` out of a local store
ONLY_OWN = "was registered by keyfold 0.1: only the files in `data` are checked, not `MLmodel`, `code` and requirements; train again to check all"
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def model_digest(root: Path) -> str:
    """The digest of all files but those that MLflow and Python add later."""
    return folder_digest(root, LATER)


def clean_copy(root: Path) -> Path:
    """A private copy without the files that its digest leaves out, so that nothing unchecked stays in it."""
    for path in [found for name in LATER for found in root.rglob(name)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return root


def own_files(root: Path) -> Path | None:
    """The folder of keyfold's own files in a logged model."""
    return next((path.parent for path in root.rglob("model.json")), None)


def is_from_0_1(tags: Mapping[str, str]) -> bool:
    """Whether a version was registered by keyfold 0.1."""
    return MANIFEST in tags and DIGEST not in tags


def refuse_other_files(what: str, root: Path, own: Path | None, tags: Mapping[str, str]) -> None:
    """PromiseError where files were changed, added or removed since they were registered."""
    expected = tags.get(DIGEST) or tags[MANIFEST]
    found = model_digest(root) if DIGEST in tags else folder_digest(own) if own else "none"
    if found != expected:
        raise PromiseError(
            f"the files of {what} are not those that were registered: one was changed, added or removed "
            f"(digest {found}, not {expected}). Bring its files back, or train again"
        )


def package_differences(folder: Path) -> list[str]:
    """Packages of other releases here than those that a fetched model asks for, some words each."""
    at = next((p for f in (folder, *folder.parents[:2]) if (p := f / "requirements.txt").is_file()), None)
    lines = [line.partition("#")[0].strip() for line in at.read_text("utf-8").splitlines()] if at else []
    asked = [line.partition("==") for line in lines if line and not line.startswith("-")]
    if not any(equals for _, equals, _ in asked):
        return ["requirements.txt is missing, or names no release of a package, so they cannot be compared"]
    unnamed = [f"{name}, of which no release is named" for name, equals, _ in asked if not equals]
    named = [(name.strip(), release.strip()) for name, equals, release in asked if equals]
    return [f"{name} {_release(name)}, not {release}" for name, release in named if _release(name) != release] + unnamed


def _release(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def check_from_inside(data: Path) -> None:
    """For MLflow's own loader: compares the folder with the registry where that can be asked; else logs that it was not.

    What MLflow ran before it came here (`loader_module` of `MLmodel`, modules in `code`) can no longer be prevented.
    """
    root = next((folder for folder in (data, *data.parents[:3]) if (folder / "MLmodel").is_file()), None)
    if root is None:
        return
    try:
        what, tags = _registered(root)
    except Exception as error:  # noqa: BLE001 - whatever keeps the registry from answering; its words may hold a password
        _unchecked(f"MLflow's registry cannot be asked ({type(error).__name__})")
        return
    if DIGEST in tags or MANIFEST in tags:
        refuse_other_files(what, root, data, tags)
    else:
        _unchecked("its version has no digest in MLflow's registry")


def _unchecked(why: str) -> None:
    logging.getLogger("keyfold").warning(
        "The files of this model were not checked: %s. keyfold.load_model(uri) checks them first.", why
    )


def _registered(root: Path) -> tuple[str, Mapping[str, str]]:
    """What the folder says that it is, and the tags that MLflow keeps of that."""
    from mlflow.models import Model as MLmodel

    with _impatient():
        api = _client()
        if (root / META).is_file():
            meta = yaml.parse_yaml((root / META).read_text("utf-8"))
            found = api.get_model_version(meta["model_name"], meta["model_version"])
            return f"{found.name} version {found.version}", found.tags
        run_id = str(MLmodel.load(str(root)).run_id)
        return f"the model of run {run_id}", api.get_run(run_id).data.tags


def _client() -> "MlflowClient":
    import mlflow

    if not mlflow.tracking._tracking_service.utils.is_tracking_uri_set():
        raise LookupError("no tracking URI is set")
    if (place := urlsplit(mlflow.get_registry_uri())).scheme == "sqlite" and not Path(place.path.removeprefix("/")).is_file():
        raise FileNotFoundError("MLflow would make a database")
    return mlflow.MlflowClient()


@contextmanager
def _impatient() -> Iterator[None]:
    """MLflow would try for minutes to reach a server."""
    mine = {name: value for name, value in _PATIENCE.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)
