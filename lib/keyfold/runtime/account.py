"""The account of a job: its counts, steps and sections, which become its ledger row and its page."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from keyfold.reporting.page import PageSection, Verdict
from keyfold.tracking.registry import Registered


@dataclass
class Step:
    """Part of a job: the rows that it processed and the seconds that it took."""

    name: str
    rows: int | None = None
    seconds: float = 0.0


@dataclass
class Job:
    """Account of one job of a run."""

    name: str
    run_id: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    sections: list[PageSection] = field(default_factory=list)  # of the page
    facts: dict[str, object] = field(default_factory=dict)  # for the head of the page
    verdict: Verdict | None = None  # on the model
    model: Registered | None = None  # the version that the job trained or scored with
    mlflow_run: str = ""  # id of the MLflow run that records the job
    status: str = "failed"
    message: str = ""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
