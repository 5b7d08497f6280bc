"""The page of a run: its title, its first lines, and links to the runs and the model that it builds on."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from keyfold.engine.home import home
from keyfold.reporting.page import link_html, render_page, render_template
from keyfold.reporting.sections import links_section, steps_section
from keyfold.secrets import redacted
from keyfold.tracking import tags
from keyfold.tracking.connection import web_address
from keyfold.tracking.registry import Registered

if TYPE_CHECKING:
    from keyfold.engine.tables import Table
    from keyfold.runtime.account import Job
    from keyfold.runtime.run import Run

_AMONG_LINKS = ("spec",)
_TITLES = {
    "ingest": "ingested {kept} rows", "undo": "undid an ingest", "features": "fitted features", "images": "made {made} images",
    "embeddings": "wrote embeddings", "view": "updated a view",
}  # fmt: skip


def page_path(run_id: str) -> Path:
    """Where the page of a run is."""
    return home() / "reports" / run_id / "index.html"


def write_page(run: "Run") -> Path:
    """Writes the page of a run under the id of its last job and returns its path; the page of a job that was done before is kept.

    The ids of the run's other jobs get a page that leads to it, unless they have one.
    """
    last = run.jobs[-1]
    path = page_path(last.run_id)
    if path.exists() and last.status == "done before":
        return path
    title = f"{run.conf.name}: {page_title(run)}"
    steps = [(f"{job.name} {step.name}", step.rows, step.seconds) for job in run.jobs for step in job.steps]
    sections = [*run.sections, steps_section(steps)]
    _write(path, render_page(title, _head(run), [*sections, links_section(dict(_links(run)))], lead=_lead(run)))
    for job in run.jobs[:-1]:
        if job.run_id and not page_path(job.run_id).exists():
            leads = render_template("moved.html.j2", title=title, address=f"../{last.run_id}/index.html")
            _write(page_path(job.run_id), leads)
    return path


def _write(path: Path, html: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(redacted(html), "utf-8")


def page_title(run: "Run") -> str:
    """What the run did, such as `trained v3, promoted, scored 2026-10`."""
    done = [
        _trained(job, run) if job.name == "train" else _scored(job, run) for job in run.jobs if job.name in ("train", "score")
    ]
    last = run.jobs[-1]
    if last.name not in ("train", "score"):
        counts = {name: f"{n:,}" for name, n in last.counts.items()}
        done.append(_TITLES.get(last.name, last.name).format_map({"kept": "no", "made": "no"} | counts))
    return ", ".join(done) + (" (failed)" if last.status == "failed" else "")


def _trained(job: "Job", run: "Run") -> str:
    trained = f"trained v{job.model.version}" if job.model else "training"
    promoted = run.verdict and run.verdict.promoted
    return trained if promoted is None else f"{trained}, {'promoted' if promoted else 'not promoted'}"


def _scored(job: "Job", run: "Run") -> str:
    again = any(other.name == "train" for other in run.jobs)
    version = f" with v{job.model.version}" if job.model and not again else ""
    return f"scored {run.facts.get('scored period', 'no period')}{version}"


def _lead(run: "Run") -> str:
    """The verdict on the model and the row counts of the last job."""
    verdict, last = run.verdict, run.jobs[-1]
    sentences = [f"{': '.join(filter(None, [verdict.outcome, '; '.join(verdict.why_not)]))}."] if verdict else []
    counts = ", ".join(f"{n:,} {name}" for name, n in last.counts.items() if n is not None)
    return " ".join([*sentences, *([f"Rows of {last.name}: {counts}."] if counts else [])])


def _head(run: "Run") -> dict[str, object]:
    """Metrics, model, data and date; then the other facts."""
    head: dict[str, object] = dict(run.verdict.facts) if run.verdict else {}
    model = next((job.model for job in reversed(run.jobs) if job.model), None)
    if model:
        trained = any(job.name == "train" for job in run.jobs) and run.conf.train
        path = f"models.{model.tags[tags.CANDIDATE]}" if tags.CANDIDATE in model.tags else "model"
        one = trained.candidates.get(path, trained.model) if trained else None
        kind = _kind(one.chosen.parameters) if one else ""
        head["model"] = model_link(model) + (f", {kind}" if kind else "")
    labelled = [f"{job.counts['read']:,} labelled rows" for job in run.jobs if job.name == "train" and "read" in job.counts]
    head["data"] = ", ".join([run.rows.name, *labelled])
    if run.period or labelled:
        head["period"] = run.period or "all labelled rows"
    head |= {
        "date": f"{run.jobs[-1].started:%Y-%m-%d %H:%M} UTC",
    }
    return head | {name: value for name, value in run.facts.items() if name not in (*_AMONG_LINKS, *head)}


def _kind(parameters: Mapping[str, object]) -> str:
    return str(parameters.get("estimator") or parameters.get("network") or "").rpartition(".")[2]


def _links(run: "Run") -> Iterator[tuple[str, object]]:
    """Identifiers by label, as links to pages and to MLflow if there are such."""
    last = run.jobs[-1]
    yield "this run", last.run_id
    yield "conf", run.conf.digest
    if "spec" in run.facts:
        yield "spec", run.facts["spec"]
    if not any(job.name == "ingest" for job in run.jobs) and (ingested := _last_ingest(run.rows)):
        yield "rows ingested by", run_link(ingested)
    for model in _models(run.jobs):
        trained = model.tags.get(tags.RUN_ID)
        if trained and trained not in [job.run_id for job in run.jobs]:
            yield f"{model} trained by", run_link(trained)
        yield f"{model}", model_link(model)
        yield f"MLflow run of {model}", mlflow_link(model.mlflow_run_id, f"runs/{model.mlflow_run_id}")


def _models(jobs: "Iterable[Job]") -> list[Registered]:
    return [*{str(job.model): job.model for job in jobs if job.model}.values()]


def _last_ingest(rows: "Table") -> str | None:
    commits = [commit for commit in rows.log() if commit.metadata.get("job") == "ingest"] if rows.exists() else []
    return next((str(commit.metadata["run_id"]) for commit in commits if "run_id" in commit.metadata), None)


def run_link(run_id: str) -> Markup:
    """HTML of a link to the page of another run, or its id if it left no page here."""
    return link_html(run_id, f"../{run_id}/index.html" if page_path(run_id).exists() else "")


def model_link(model: Registered) -> Markup:
    """HTML of a link to a model version in MLflow, or its name if MLflow has no web address."""
    return mlflow_link(str(model), f"models/{model.name}/versions/{model.version}")


def mlflow_link(text: str, page: str) -> Markup:
    """HTML of a link to a page of MLflow's web interface; the text alone for a store without one."""
    return link_html(text, web_address(page))
