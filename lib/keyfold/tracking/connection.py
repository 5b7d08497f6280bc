"""The connection to MLflow: its address, its client and its experiments; no other package reads them."""

import fcntl
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from keyfold.engine.home import home
from keyfold.secrets import redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_opening: list[Thread] = []


def open_in_background() -> None:
    """Imports MLflow and opens the store in keyfold's home in a thread, which `client` waits for; errors are left to `client`."""
    _configure()
    _opening.append(Thread(target=_open_store, args=(_local_uri(),)))
    _opening[-1].start()


def _open_store(local: str) -> None:
    with suppress(Exception):
        import mlflow

        mlflow.utils.logging_utils.disable_logging()
        if not _is_configured():
            with _lock():
                mlflow.MlflowClient(local, local).search_registered_models(max_results=1)


def client() -> "MlflowClient":
    """A client of the configured MLflow, else of the one in keyfold's home, which is created on first use."""
    while _opening:
        _opening.pop().join()
    _configure()
    import mlflow

    mlflow.utils.logging_utils.disable_logging()
    if not _is_configured():
        mlflow.set_tracking_uri(_local_uri())
    return mlflow.MlflowClient()


def _configure() -> None:
    """Settings that MLflow reads when it is imported."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # a tracking server's address may hold a password
    for message in (".*input example.*", "IProgress not found.*"):
        warnings.filterwarnings("ignore", message=message)


def _is_configured() -> bool:
    """Whether the environment or the program names a store."""
    import mlflow

    return "MLFLOW_TRACKING_URI" in os.environ or mlflow.tracking._tracking_service.utils.is_tracking_uri_set()


def _local_uri() -> str:
    return f"sqlite:///{home() / 'mlflow.db'}"


def use_experiment(name: str) -> str:
    """Makes an experiment the active one, which is created on first use; its id."""
    import mlflow

    with _lock():
        local = mlflow.get_tracking_uri() == _local_uri()
        if mlflow.get_experiment_by_name(name) is None:
            mlflow.create_experiment(name, str(home() / "artifacts") if local else None)
    return str(mlflow.set_experiment(name).experiment_id)


@contextmanager
def _lock() -> Iterator[None]:
    """Two processes that create the same SQLite file at once would both try to create its tables."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / ".mlflow.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def existing_client() -> "MlflowClient":
    """A client of the configured MLflow; LookupError or FileNotFoundError if there is no store; creates none."""
    import mlflow

    if not mlflow.tracking._tracking_service.utils.is_tracking_uri_set():
        raise LookupError("no tracking URI is set")
    if (place := urlsplit(mlflow.get_registry_uri())).scheme == "sqlite" and not Path(place.path.removeprefix("/")).is_file():
        raise FileNotFoundError("MLflow would create a database")
    return mlflow.MlflowClient()


def download(uri: str, into: Path) -> Path:
    """Downloads the artifacts of a URI into a folder."""
    client()
    import mlflow

    return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(into)))


def tracking_address() -> str:
    """MLflow's address, without a password."""
    return redacted(os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{home() / 'mlflow.db'}"))


def web_address(page: str) -> str:
    """Address of a page of MLflow's web interface, such as `runs/ID`; no web address if MLflow is a local store."""
    address = re.sub(r"//[^/@]*@", "//", tracking_address()).rstrip("/")  # the browser asks for the password itself
    return f"{address}/#/{page}"


def open_command() -> str:
    """The command that opens MLflow's web interface."""
    return f"mlflow ui --backend-store-uri {tracking_address()}"


@contextmanager
def without_long_retries() -> Iterator[None]:
    """Lets MLflow try to reach a server for seconds instead of minutes, unless the environment sets its limits."""
    added = {name: value for name, value in _LIMITS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
