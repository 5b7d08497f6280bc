"""A run: the conf, the engine and the tables that its jobs share, and the account of each job for the ledger and the page."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from keyfold.conf import table_names
from keyfold.conf.use_case import Conf
from keyfold.core.memory import return_freed_memory
from keyfold.engine.engine import Engine, as_engine
from keyfold.engine.home import home
from keyfold.engine.tables import Table, Tables
from keyfold.reporting.page import PageSection, Verdict
from keyfold.runtime import job_identity, ledger
from keyfold.runtime.account import Job, Step
from keyfold.runtime.engine_choice import choose_engine
from keyfold.runtime.ledger import LEDGER
from keyfold.runtime.run_page import write_page
from keyfold.secrets import redacted
from keyfold.tracking.connection import open_command
from keyfold.tracking.run_pages import log_page

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")


class Run:
    """Conf, engine, tables and account that the jobs of a run share."""

    def __init__(self, conf: Conf, engine: "Engine | SparkSession | None" = None, period: str | None = None) -> None:
        """`engine`: a session of Spark, or an engine (default: the one that `choose_engine` takes for the conf)."""
        self.conf, self.period = conf, period
        self.engine = choose_engine(conf).start(f"keyfold {conf.name}") if engine is None else as_engine(engine)
        home().mkdir(parents=True, exist_ok=True)
        self.tables = Tables(self.engine, home())
        self.jobs: list[Job] = []

    @property
    def spark(self) -> "SparkSession":
        """Spark's session (ConfError if the engine is another)."""
        return self.engine.spark

    @property
    def sections(self) -> tuple[PageSection, ...]:
        """Sections of the page, of all jobs."""
        return tuple(section for job in self.jobs for section in job.sections)

    @property
    def facts(self) -> Mapping[str, object]:
        """Facts for the head of the page, of all jobs."""
        return MappingProxyType({name: value for job in self.jobs for name, value in job.facts.items()})

    @property
    def verdict(self) -> Verdict | None:
        """The last verdict on a model."""
        return next((job.verdict for job in reversed(self.jobs) if job.verdict), None)

    def table(self, name: str) -> Table:
        """The table of that name."""
        return self.tables.table(name)

    def used(self, kind: str) -> Table:
        """The table of the use case for a kind of content (see `keyfold.conf.table_names`), which no other use may write."""
        return self.tables.used(table_names.table_use(self.conf, kind))

    @property
    def rows(self) -> Table:
        """The table of ingested rows."""
        return self.used("rows")

    @property
    def featured(self) -> Table:
        """The table that features are computed from: the rows, or the feature table if the conf has windows or views."""
        if not self.conf.data.views and self.conf.windows is None:
            return self.rows
        return self.used("features")

    @property
    def quarantine(self) -> Table:
        """The table of rows that `ingest` could not keep."""
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
        """Logs progress to stderr."""
        print(redacted(f"{'':<10}{sentence}"), file=sys.stderr, flush=True)

    def identity(self, job: str, **pinned: Any) -> str:
        """Run id: digest of the parts of the conf, the pinned inputs and the packages that a job depends on (see `keyfold.runtime.job_identity`)."""
        return job_identity.run_identity(self.conf, job, pinned)

    def once(
        self, job: Job, load: Callable[[], T | None], make: Callable[[], T], message: Callable[[T], str],
        counts: Callable[[T], Mapping[str, int]] = lambda _: {},
    ) -> T:  # fmt: skip
        """Result of an earlier run with the job's identity, or else of `make`; sets the job's status and counts.

        load: returns the earlier result, None if there is none; message: says in the log that it is reused.
        """
        result = load()
        if result is None:
            result = make()
            job.counts |= counts(result)
        else:
            self.done_before(job, message(result), counts(result))
        return result

    def done_before(self, job: Job, message: str, counts: Mapping[str, int]) -> None:
        """Marks a job whose result exists already."""
        job.status = "done before"
        job.counts |= counts
        self.say(message)

    @contextmanager
    def job(self, name: str) -> Iterator[Job]:
        """Keeps account of a job, also if it fails."""
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
        """Times a step of the current job and logs it in one line."""
        step = Step(name)
        self.jobs[-1].steps.append(step)
        label = f"{self.jobs[-1].name:<9} {name:<10}"
        if sys.stderr.isatty():
            print(f"{label} …", end="\r", file=sys.stderr, flush=True)
        start = time.monotonic()
        yield step
        return_freed_memory()
        step.seconds = time.monotonic() - start
        rows = "" if step.rows is None else f"{step.rows:,} rows"
        print(f"{label} {rows:>18} {step.seconds:8.1f} s", file=sys.stderr, flush=True)

    def results(self) -> list[str]:
        """Last lines of the output: tables, page and model of the run, and the command that opens MLflow."""
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
        page = self.write_report()
        for job in self.jobs:
            if job.mlflow_run and job.status == "committed":
                log_page(job.mlflow_run, page)
        lines.append(f"report       {page}")
        if "train" in done:
            lines.append(f"MLflow       {open_command()}")
        if self.verdict:
            lines.append(f"model        {self.verdict}")
        return lines

    def close(self) -> None:
        """Appends a row for each attempted job to the ledger."""
        rows = [ledger.row_of(job, self.conf, self.period, self.engine.tasks) for job in self.jobs]
        ledger.append_rows(self.table(LEDGER), rows)

    def write_report(self) -> Path:
        """Writes the page, reports/<run id of the last job>/index.html, and returns its path."""
        return write_page(self)
