"""The folder of a logged model: its digest is compared before any of its files is loaded or imported."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from keyfold.conf import yaml
from keyfold.core.digests import folder_digest
from keyfold.core.packages import installed_release
from keyfold.errors import PromiseError
from keyfold.tracking.connection import existing_client, without_long_retries
from keyfold.tracking.tags import MANIFEST, MODEL_DIGEST

META = "registered_model_meta"  # file with name and version that MLflow adds when it downloads a model
LATER = {META, "__pycache__"}  # added to a folder later, by MLflow and by Python when it imports `code` from a local store
ONLY_OWN = "was registered by keyfold 0.1: only the files in `data` are checked, not `MLmodel`, `code` and requirements; train again to check all"


def model_digest(root: Path) -> str:
    """The digest of all files except those that MLflow and Python add later."""
    return folder_digest(root, LATER)


def clean_copy(root: Path) -> Path:
    """Deletes from a private copy the files that its digest leaves out, so that no unchecked file remains."""
    for path in [path for name in LATER for path in root.rglob(name)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return root


def own_files(root: Path) -> Path | None:
    """The folder of keyfold's own files in a logged model, None if it has none. Those of registered members are below it."""
    return min((path.parent for path in root.rglob("model.json")), key=lambda folder: len(folder.parts), default=None)


def is_from_0_1(tags: Mapping[str, str]) -> bool:
    """Whether a version was registered by keyfold 0.1."""
    return MANIFEST in tags and MODEL_DIGEST not in tags


def refuse_other_files(label: str, root: Path, own: Path | None, tags: Mapping[str, str]) -> None:
    """Raises PromiseError if files were changed, added or removed since they were registered."""
    expected = tags.get(MODEL_DIGEST) or tags[MANIFEST]
    digest = model_digest(root) if MODEL_DIGEST in tags else folder_digest(own) if own else "none"
    if digest != expected:
        raise PromiseError(
            f"the files of {label} are not those that were registered: one was changed, added or removed "
            f"(digest {digest}, not {expected}). Restore its files, or train again"
        )


def package_differences(folder: Path) -> list[str]:
    """Installed packages whose releases differ from those that a fetched model requires, such as `numpy 2.1.0, not 2.0.0`."""
    path = next((p for f in (folder, *folder.parents[:2]) if (p := f / "requirements.txt").is_file()), None)
    lines = [line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines()] if path else []
    required = [line.partition("==") for line in lines if line and not line.startswith("-")]
    if not any(equals for _, equals, _ in required):
        return ["requirements.txt is missing, or names no release of a package, so they cannot be compared"]
    unnamed = [f"{name}, for which no release is named" for name, equals, _ in required if not equals]
    named = [(name.strip(), release.strip()) for name, equals, release in required if equals]
    installed = {name: installed_release(name) or "missing" for name, _ in named}
    return [f"{name} {installed[name]}, not {release}" for name, release in named if installed[name] != release] + unnamed


def check_from_inside(data: Path) -> None:
    """For MLflow's own loader: compares the folder with the digest in the registry, or logs that it could not.

    It cannot prevent code that MLflow has run before (`loader_module` of `MLmodel`, modules in `code`).
    """
    root = next((folder for folder in (data, *data.parents[:3]) if (folder / "MLmodel").is_file()), None)
    if root is None:
        return
    try:
        label, tags = _registered(root)
    except Exception as error:  # noqa: BLE001 - registries raise anything, and the message may hold a password
        _warn_unchecked(f"MLflow's registry did not answer ({type(error).__name__})")
        return
    if MODEL_DIGEST in tags or MANIFEST in tags:
        refuse_other_files(label, root, data, tags)
    else:
        _warn_unchecked("its version has no digest in MLflow's registry")


def _warn_unchecked(why: str) -> None:
    logging.getLogger("keyfold").warning(
        "The files of this model were not checked: %s. keyfold.load_model(uri) checks them first.", why
    )


def _registered(root: Path) -> tuple[str, Mapping[str, str]]:
    """The version or run that the folder names, and its tags in MLflow."""
    from mlflow.models import Model as MLmodel

    with without_long_retries():
        api = existing_client()
        if (root / META).is_file():
            meta = yaml.parse_yaml((root / META).read_text("utf-8"))
            version = api.get_model_version(meta["model_name"], meta["model_version"])
            return f"{version.name} version {version.version}", version.tags
        run_id = str(MLmodel.load(str(root)).run_id)
        return f"the model of run {run_id}", api.get_run(run_id).data.tags
