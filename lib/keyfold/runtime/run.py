"""One attempt of a job: its steps, its counts, its row in the ledger, its report."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from keyfold.conf import table_names
from keyfold.conf.use_case import Conf
from keyfold.engine.home import home
from keyfold.engine.session import parallel_tasks
from keyfold.engine.tables import Table, Tables
from keyfold.reporting import page as report
from keyfold.reporting.sections import identifiers_section, steps_section
from keyfold.runtime import identity
from keyfold.secrets import redacted
from keyfold.tracking.registry import tracking_address

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


T = TypeVar("T")
LEDGER = "keyfold.runs"
LEDGER_COLUMNS = (
    "job string, name string, run_id string, conf_digest string, period string, input_versions string, rows_read bigint, "
    "rows_kept bigint, rows_scored bigint, rows_quarantined bigint, seconds double, steps map<string,double>, "
    "core_hours double, status string, message string, started_at timestamp"
)


@dataclass
class Step:
    """A part of a job: rows that went through it, seconds that it took."""

    name: str
    rows: int | None = None
    seconds: float = 0.0


@dataclass
class Job:
    """What one job of a run came to."""

    name: str
    run_id: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    sections: list[report.PageSection] = field(default_factory=list)
    status: str = "failed"
    message: str = ""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))


class Run:
    """The conf, the session and the tables that jobs share, and what they leave behind."""

    def __init__(self, conf: Conf, spark: "SparkSession", period: str | None = None) -> None:
        self.conf, self.spark, self.period = conf, spark, period
        self.tables = Tables(spark, home())
        self.jobs: list[Job] = []
        self.sections: list[report.PageSection] = []
        self.facts: dict[str, object] = {}
        self.verdict: report.Verdict | None = None  # on the model that was trained
        self.begins: Any = None  # what the parameters of a training begin with
        self.asked_by: tuple[str, ...] = ()  # names of the use cases that take this one's view

    def table(self, name: str) -> Table:
        """The table of that name."""
        return self.tables.table(name)

    def used(self, kind: str) -> Table:
        """The use case's table of a kind (see `keyfold.conf.table_names`), which is written for that use alone."""
        return self.tables.used(table_names.table_use(self.conf, kind))

    @property
    def rows(self) -> Table:
        """The table that the use case reads."""
        return self.used("rows")

    @property
    def featured(self) -> Table:
        """The table that features are taken from: the rows, or the feature table where the conf has windows or views."""
        if not self.conf.data.views and self.conf.windows is None:
            return self.rows
        return self.used("features")

    @property
    def quarantine(self) -> Table:
        """Beside it, the rows that could not be kept."""
        return self.used("quarantine")

    @property
    def predictions(self) -> Table:
        """The table of outcomes by key and period."""
        return self.used("predictions")

    @property
    def images(self) -> Table:
        """The table of images by key and period."""
        return self.used("images")

    def say(self, sentence: str) -> None:
        """Tells the person who watches something that is no result."""
        print(redacted(f"{'':<10}{sentence}"), file=sys.stderr, flush=True)

    def identity(self, job: str, **pinned: Any) -> str:
        """The run id: a digest of the conf, the pinned inputs and the packages that a job's values depend on (see `keyfold.runtime.identity`)."""
        return identity.run_identity(self.conf, job, pinned)

    def once(
        self, job: Job, known: Callable[[], T | None], make: Callable[[], T], said: Callable[[T], str],
        counts: Callable[[T], Mapping[str, int]] = lambda _: {},
    ) -> T:  # fmt: skip
        """What an earlier run with the job's identity left, or else what `make` makes; the job has its status and counts from here.

        `known` finds what was left, None where there is nothing; `said` is the sentence about it.
        """
        found = known()
        if found is None:
            found = make()
            job.counts |= counts(found)
        else:
            self.done_before(job, said(found), counts(found))
        return found

    def done_before(self, job: Job, said: str, counts: Mapping[str, int]) -> None:
        """Marks a job whose outcome is there already."""
        job.status = "done before"
        job.counts |= counts
        self.say(said)

    @contextmanager
    def job(self, name: str) -> Iterator[Job]:
        """Keeps account of a job, whether it ends well or not."""
        job = Job(name)
        self.jobs.append(job)
        try:
            yield job
            job.status = "committed" if job.status == "failed" else job.status
        except BaseException as error:
            job.message = redacted(str(error))[:1000] or type(error).__name__
            raise

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Times a part of the current job and says so in one line."""
        step = Step(name)
        self.jobs[-1].steps.append(step)
        said = f"{self.jobs[-1].name:<9} {name:<10}"
        if sys.stderr.isatty():
            print(f"{said} …", end="\r", file=sys.stderr, flush=True)
        start = time.monotonic()
        yield step
        step.seconds = time.monotonic() - start
        rows = "" if step.rows is None else f"{step.rows:,} rows"
        print(f"{said} {rows:>18} {step.seconds:8.1f} s", file=sys.stderr, flush=True)

    def results(self) -> list[str]:
        """The last lines: where the predictions, the report and the MLflow page are, and how to open them."""
        done = {job.name: job for job in self.jobs}
        lines = []
        if "ingest" in done:
            lines.append(f"rows         {self.rows.name}  {self.rows.path or ''}")
        if "spec" in self.facts:
            lines.append(f"spec         {self.facts['spec']}")
        if "score" in done:
            lines.append(f"predictions  {self.predictions.name}  {self.predictions.path or ''}")
        if "images" in done:
            lines.append(f"images       {self.images.name}  {self.images.path or ''}")
        lines.append(f"report       {self.write_report()}")
        if "train" in done:
            lines.append(f"MLflow       mlflow ui --backend-store-uri {tracking_address()}")
        if self.verdict:
            lines.append(f"model        {self.verdict}")
        return lines

    def close(self) -> None:
        """Writes the ledger: one row for each job that was attempted."""
        rows = [self._ledger_row(job, parallel_tasks(self.spark)) for job in self.jobs]
        if rows:
            self.table(LEDGER).append(self.spark.createDataFrame(rows, LEDGER_COLUMNS).coalesce(1), job="ledger")

    def _ledger_row(self, job: Job, at_once: int) -> tuple[Any, ...]:
        seconds = sum((step.seconds for step in job.steps), 0.0)
        counted = (job.counts.get(name) for name in ("read", "kept", "scored", "quarantined"))
        steps = {step.name: step.seconds for step in job.steps}
        inputs = redacted(json.dumps(job.inputs, sort_keys=True))
        return (
            job.name, self.conf.name, job.run_id, self.conf.digest, self.period, inputs, *counted,
            seconds, steps, seconds * at_once / 3600, job.status, job.message, job.started,
        )  # fmt: skip

    def write_report(self) -> Path:
        """Writes reports/<run id>/index.html of the last job, and gives its path; a full page that is there stays."""
        last = self.jobs[-1]
        path = home() / "reports" / last.run_id / "index.html"
        if path.exists() and last.status == "done before":
            return path
        steps = [(f"{job.name} {step.name}", step.rows, step.seconds) for job in self.jobs for step in job.steps]
        ids = {name: self.facts[name] for name in _IDS if name in self.facts} | {"run id": last.run_id, "conf": self.conf.digest}
        page = report.render_page(
            f"{self.conf.name}: {last.name}",
            self._head(last),
            [
                *(section for job in self.jobs for section in job.sections),
                *self.sections,
                steps_section(steps),
                identifiers_section(ids),
            ],
            lead=self._lead(last),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(redacted(page), "utf-8")
        return path

    def _lead(self, last: Job) -> str:
        """What came of the run, in a sentence or two."""
        counted = [f"{n:,} rows {what}" for what, n in last.counts.items() if n is not None]
        verdict = self.verdict and f"{self.verdict.outcome}{': ' * bool(self.verdict.why_not)}{'; '.join(self.verdict.why_not)}."
        return f"{verdict or ''} {last.name}: {', '.join(counted)}.".strip() if counted else verdict or ""

    def _head(self, last: Job) -> dict[str, object]:
        """Metrics, model, data, date; then what else a person reads."""
        head: dict[str, object] = dict(self.verdict.facts) if self.verdict else {}
        if self.conf.train and "model" in self.facts:
            head["model"] = f"{self.facts['model']}, {_kind(self.conf.train.model.chosen.said)}"
        labelled = [f"{job.counts['read']:,} labelled rows" for job in self.jobs if job.name == "train" and "read" in job.counts]
        head |= {
            "data": ", ".join([self.rows.name, *labelled]),
            "period": self.period or "all labelled rows",
            "date": f"{last.started:%Y-%m-%d %H:%M} UTC",
        }
        return head | {name: value for name, value in self.facts.items() if name not in (*_IDS, *head)}


_IDS = ("MLflow run", "spec")


def _kind(said: Mapping[str, Any]) -> str:
    return str(said.get("estimator") or said.get("network") or "").rpartition(".")[2]
