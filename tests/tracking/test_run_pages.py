"""The page of a run as an artifact of its MLflow run."""

import logging
from pathlib import Path

from keyfold.reporting.charts import figure_html
from keyfold.tracking import registry
from keyfold.tracking.registry import Registered
from keyfold.tracking.run_pages import log_page
from keyfold.tracking.scoring_runs import log_scoring


def test_the_page_and_its_pictures_are_artifacts(home, tmp_path):
    run_id = log_scoring("shop", Registered("shop", "3", "abc", {}), "2026-10", "r", {"read": 10})
    page = tmp_path / "index.html"
    page.write_text(f"<html>{figure_html(lambda ax: ax.plot([1, 2]), caption='Scores: 10 rows')}</html>")
    log_page(run_id, page)
    paths = {file.path for file in registry.client().list_artifacts(run_id, "report")}
    assert paths == {"report/index.html", "report/01-scores-10-rows.svg"}
    copy, picture = (
        Path(registry.client().download_artifacts(run_id, path, tmp_path)).read_text("utf-8") for path in sorted(paths)[::-1]
    )
    assert copy == page.read_text("utf-8") and picture.startswith("<svg") and picture in copy


def test_a_page_that_cannot_be_logged_is_a_warning(home, tmp_path, caplog):
    (tmp_path / "index.html").write_text("<html></html>")
    with caplog.at_level(logging.WARNING, "keyfold"):
        log_page("none", tmp_path / "index.html")
    assert "MLflow has no copy of the page (MlflowException)" in caplog.text
