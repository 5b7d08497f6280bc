"""The account of a run: status, counts, steps and messages of its jobs."""

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import DataError
from keyfold.runtime.run import Run


@pytest.fixture
def run(embedded, monkeypatch, tmp_path):
    monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path))
    return Run(parse_conf({"name": "churn", "data": {"key": ["id"]}}), embedded)


@pytest.mark.parametrize(("earlier", "status", "result"), [(None, "committed", "made"), ("earlier", "done before", "earlier")])
def test_a_result_of_an_earlier_run_is_not_made_again(run, capsys, earlier, status, result):
    with run.job("train") as job:
        given = run.once(
            job, lambda: earlier, lambda: "made", lambda found: f"{found} is reused", lambda found: {"read": len(found)}
        )
    assert (given, job.status, job.counts) == (result, status, {"read": len(result)})
    assert ("earlier is reused" in capsys.readouterr().err) == (earlier is not None)


def test_a_failed_job_keeps_its_message_and_its_steps(run):
    with pytest.raises(DataError), run.job("ingest") as job:
        with run.step("read") as step:
            step.rows = 5
        raise DataError("there are no rows in s3a://key:canary@bucket/a.csv")
    assert (job.status, job.message) == ("failed", "there are no rows in s3a://…@bucket/a.csv")
    assert [(step.name, step.rows) for step in job.steps] == [("read", 5)]


def test_the_last_lines_name_the_tables_of_the_jobs_that_ran(run):
    for name in ("ingest", "score"):
        with run.job(name) as job:
            job.run_id = name
    assert [line.split()[:2] for line in run.results()][:2] == [["rows", "churn.rows"], ["predictions", "churn.predictions"]]
    assert run.results()[2].endswith("reports/score/index.html")
