"""The page of a run: its title, its place, and its links to other runs and to MLflow."""

import re

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.evaluation.intervals import Metric
from keyfold.reporting.page import PageSection, Verdict
from keyfold.runtime import run_page
from keyfold.runtime.run import Run
from keyfold.tracking.registry import Registered

MODEL = Registered("churn", "3", "mlflow-run", {"keyfold.run_id": "training"})


@pytest.fixture
def run(embedded, monkeypatch, tmp_path):
    monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Run(parse_conf({"name": "churn", "data": {"key": ["id"]}}), embedded)


def add_job(run, name, *, model=None, counts=None, run_id=""):
    with run.job(name) as job:
        job.model, job.counts, job.run_id = model, counts or {}, run_id or name
        if name == "score":
            job.facts["scored period"] = "2026-10"
    return job


def verdict(promoted):
    metrics = {"roc_auc": Metric(0.8, 0.7, 0.9)}
    return Verdict("churn version 3 is judged", [] if promoted else ["roc_auc is low"], "roc_auc", metrics, {}, promoted=promoted)


@pytest.mark.parametrize(
    ("names", "promoted", "title"),
    [
        (["ingest"], None, "ingested 1,234 rows"),
        (["ingest", "features"], None, "fitted features"),
        (["features", "train"], True, "trained v3, promoted"),
        (["train"], False, "trained v3, not promoted"),
        (["score"], None, "scored 2026-10 with v3"),
        (["ingest", "features", "train", "score"], True, "trained v3, promoted, scored 2026-10"),
        (["other"], None, "other"),
    ],
)
def test_the_title_says_what_the_run_did(run, names, promoted, title):
    for name in names:
        add_job(run, name, model=MODEL if name in ("train", "score") else None, counts={"kept": 1234})
    run.jobs[-1].verdict = None if promoted is None else verdict(promoted)
    assert run_page.page_title(run) == title
    page = run.write_report().read_text("utf-8")
    assert f"<title>churn: {title}</title>" in page


def test_the_title_of_a_failed_job_says_so(run):
    with pytest.raises(ValueError, match="broken"), run.job("ingest"):
        raise ValueError("broken")
    assert run_page.page_title(run) == "ingested no rows (failed)"


def test_the_verdict_and_why_not_are_the_first_lines(run):
    add_job(run, "train", model=MODEL, counts={"read": 9})
    run.jobs[-1].verdict = verdict(promoted=False)
    page = run.write_report().read_text("utf-8")
    assert "churn version 3 is judged: roc_auc is low. Rows of train: 9 read." in page


def test_sections_of_all_jobs_are_in_the_order_of_their_topics(run):
    for name, topics in {"ingest": ("files", "data"), "train": ("slices", "metrics")}.items():
        add_job(run, name).sections += [PageSection(f"of {topic}", f"<p>{name}</p>", topic) for topic in topics]
    page = run.write_report().read_text("utf-8")
    assert re.findall("<h2>(.*?)</h2>", page) == ["of metrics", "of slices", "of data", "of files", "Time", "Links"]


def test_a_page_links_to_the_run_that_trained_its_model_if_that_left_a_page(run):
    add_job(run, "score", model=MODEL)
    assert "../training/index.html" not in run.write_report().read_text("utf-8")
    run_page.page_path("training").parent.mkdir(parents=True)
    run_page.page_path("training").write_text("a page")
    page = run.write_report().read_text("utf-8")
    assert re.search(r'<td>churn version 3 trained by</td><td><a href="\.\./training/index.html">training</a></td>', page)


def test_the_ids_of_other_jobs_lead_to_the_page(run):
    add_job(run, "train", model=MODEL, run_id="training")
    add_job(run, "score", model=MODEL)
    run.write_report()
    assert 'content="0; url=../score/index.html"' in run_page.page_path("training").read_text("utf-8")


def test_a_page_of_a_job_that_was_done_before_stays(run):
    add_job(run, "ingest")
    path = run.write_report()
    path.write_text("the first page")
    run.done_before(run.jobs[-1], "it was done before", {})
    assert run.write_report().read_text() == "the first page"
    run.jobs[-1].status = "committed"
    assert run.write_report().read_text() != "the first page"


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://me:secret@mlflow.example/", "https://mlflow.example/#/models/churn/versions/3"),
        ("http://localhost:5000", "http://localhost:5000/#/models/churn/versions/3"),
        ("sqlite:///x.db", None),
        ("databricks", None),
    ],
)
def test_models_link_to_mlflow_if_it_has_an_address_of_the_web(monkeypatch, address, link):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    shown = str(run_page.model_link(MODEL))
    assert shown == (f'<a href="{link}">churn version 3</a>' if link else "churn version 3")
