"""MLflow runs of scoring jobs: which version scored which period, and how many rows."""

import logging
import time
from collections.abc import Mapping

from keyfold.tracking.model_folder import without_long_retries
from keyfold.tracking.registry import Registered, client, use_experiment


def log_scoring(use_case: str, version: Registered, period: str, run_id: str, counts: Mapping[str, int]) -> str:
    """Logs a committed scoring in the experiment of its use case, and returns the id of the MLflow run.

    Its name is that of use case, version and period; counts of rows are metrics. If MLflow fails, logs a warning and returns an empty id.
    """
    try:
        with without_long_retries():
            api = client()
            from mlflow.entities import Metric

            experiment = use_experiment(use_case)
            tags = {
                "keyfold.job": "score", "keyfold.run_id": run_id, "keyfold.name": use_case, "keyfold.period": period,
                "keyfold.model": version.name, "keyfold.model_version": version.version,
            }  # fmt: skip
            name = f"{use_case} v{version.version} {period} scored"
            run = api.create_run(experiment, tags=tags, run_name=name)
            now = round(time.time() * 1000)
            api.log_batch(run.info.run_id, [Metric(f"rows_{outcome}", rows, now, 0) for outcome, rows in counts.items()])
            api.set_terminated(run.info.run_id)
            return str(run.info.run_id)
    except Exception as error:  # noqa: BLE001 - predictions are committed, whatever MLflow raises; the message may hold a password
        logging.getLogger("keyfold").warning(
            "MLflow has no run of this scoring (%s); the predictions are committed", type(error).__name__
        )
        return ""
