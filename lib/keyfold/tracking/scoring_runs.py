"""MLflow runs of scoring jobs: which version scored which period, and how many rows."""

import logging
import time
from collections.abc import Mapping

from keyfold.tracking import tags
from keyfold.tracking.connection import client, use_experiment, without_long_retries
from keyfold.tracking.registry import Registered


def log_scoring(use_case: str, version: Registered, period: str, run_id: str, counts: Mapping[str, int]) -> str:
    """Logs a committed scoring in the experiment of its use case, and returns the id of the MLflow run.

    Its name is that of use case, version and period; counts of rows are metrics. If MLflow fails, logs a warning and returns an empty id.
    """
    try:
        with without_long_retries():
            api = client()
            from mlflow.entities import Metric

            experiment = use_experiment(use_case)
            run_tags = {
                tags.JOB: "score", tags.RUN_ID: run_id, tags.NAME: use_case, tags.PERIOD: period,
                tags.MODEL: version.name, tags.MODEL_VERSION: version.version,
            }  # fmt: skip
            name = f"{use_case} v{version.version} {period} scored"
            run = api.create_run(experiment, tags=run_tags, run_name=name)
            now = round(time.time() * 1000)
            api.log_batch(run.info.run_id, [Metric(f"rows_{outcome}", rows, now, 0) for outcome, rows in counts.items()])
            api.set_terminated(run.info.run_id)
            return str(run.info.run_id)
    except Exception as error:  # noqa: BLE001 - predictions are committed, whatever MLflow raises; the message may hold a password
        logging.getLogger("keyfold").warning(
            "MLflow has no run of this scoring (%s); the predictions are committed", type(error).__name__
        )
        return ""
