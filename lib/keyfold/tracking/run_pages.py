"""The page of a run and its pictures as artifacts of MLflow runs."""

import logging
import re
import tempfile
from pathlib import Path

from keyfold.tracking.connection import client, without_long_retries

_PICTURE = re.compile(r"<svg[^>]*aria-label=\"([^\"]*)\".*?</svg>", re.DOTALL)


def log_page(mlflow_run_id: str, page: Path) -> None:
    """Logs `report/index.html` and `report/NN-CAPTION.svg`. If MLflow fails, logs a warning."""
    try:
        with without_long_retries(), tempfile.TemporaryDirectory() as folder:
            html = page.read_text("utf-8")
            Path(folder, "index.html").write_text(html, "utf-8")
            for number, picture in enumerate(_PICTURE.finditer(html), 1):
                Path(folder, f"{number:02d}-{_file_name(picture[1])}.svg").write_text(picture[0], "utf-8")
            client().log_artifacts(mlflow_run_id, folder, "report")
    except Exception as error:  # noqa: BLE001 - the job is done, whatever MLflow raises; the message may hold a password
        logging.getLogger("keyfold").warning("MLflow has no copy of the page (%s)", type(error).__name__)


def _file_name(caption: str) -> str:
    return "-".join(re.findall(r"\w+", caption.lower()))[:60] or "picture"
