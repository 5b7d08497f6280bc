"""The commands of every README that are marked as tested, run as a reader types them, in a copy of what they need; tables and links of the READMEs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import deltalake
import numpy as np
import pytest

from keyfold import errors
from keyfold.conf import yaml
from keyfold.conf.use_case import Conf, parse_conf
from keyfold.features.kinds import KINDS
from keyfold.tracking import registry
from places import ROOT

# The project's own first: the others go on from its tables.
PATHS = [ROOT / "README.md", *sorted((ROOT / "lib/keyfold").glob("*/README.md")), ROOT / "tests/bench/README.md"]
READMES = {path: path.read_text("utf-8") for path in PATHS}
README, ALL = READMES[ROOT / "README.md"], "\n\n".join(READMES.values())
MARKED = re.compile(r"^<!-- tested(?:: (?P<sizes>.+?))? -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
CUSTOMERS = 600
SECRET = "canary-5e0b6a"


def marked(language):
    return [(m["text"], m["sizes"] or "") for m in MARKED.finditer(ALL) if m["language"] == language]


def commands():
    """How to run each marked command, in the order of the READMEs."""
    for m in MARKED.finditer(ALL):
        if m["language"] == "python":
            yield [sys.executable, "-c", m["text"]]
        if m["language"] == "sh":
            for line in m["text"].splitlines():
                yield ["bash", "-c", f"{line.partition(' #')[0]} {m['sizes'] or ''}"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """All that the commands said, and the folder that they left: not the project itself, whose conf/ they would write into."""
    folder = tmp_path_factory.mktemp("project")
    copytree(ROOT / "conf", folder / "conf")
    (folder / "spark-submit.sh").write_text(f'#!/bin/sh\nexec "{ROOT}/spark-submit.sh" "$@"\n')
    (folder / "spark-submit.sh").chmod(0o755)
    (folder / "my_customers.csv").write_text(customers())
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK", "PYSPARK", "MLFLOW"))}
    (folder / "events").mkdir()
    log = {"eventLog.enabled": "true", "eventLog.dir": folder / "events", "eventLog.compress": "false"}
    given = {f"-Dspark.{name}={value}" for name, value in (log | {"hadoop.fs.s3a.secret.key": SECRET}).items()}
    options = " ".join(["-XX:TieredStopAtLevel=1", *given])  # the first as in conftest.py
    environment |= {"KEYFOLD_HOME": str(folder / ".keyfold"), "SPARK_SUBMIT_OPTS": options}
    environment |= {"MLFLOW_TRACKING_PASSWORD": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET}
    said = {}
    for command in commands():
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, f"{command[-1]}\n{ended.stderr[-3000:]}"
        said[command[-1]] = ended
    return SimpleNamespace(folder=folder, said=said)


def customers():
    rng = np.random.default_rng(0)
    spend, leaves = rng.gamma(2, 30, CUSTOMERS).round(2), rng.random(CUSTOMERS)
    rows = [
        f"c{i},{s},{'ab'[i % 2]},{'Yes' if u < s / 150 else 'No'}" for i, (s, u) in enumerate(zip(spend, leaves, strict=True))
    ]
    return "\n".join(["customerID,Spend,Plan,Churn", *rows, ""])


def said(done, *words):
    """The command with these words in it."""
    return next(ended for command, ended in done.said.items() if all(word in command for word in words))


def table(done, name):
    return deltalake.DeltaTable(str(done.folder / ".keyfold/tables" / name)).to_pandas()


def test_the_pipeline_says_where_its_results_are(done):
    told = said(done, "pipeline", "churn").stdout
    lines = dict(pair for line in told.splitlines() if len(pair := line.split(maxsplit=1)) == 2)
    assert [name for name in lines if name.isalpha()] == ["rows", "spec", "predictions", "report", "MLflow", "model"], told
    assert re.fullmatch(r"churn version 1 is the champion: test ROC AUC 0\.\d+ \(0\.\d+ – 0\.\d+\)", lines["model"])
    assert deltalake.DeltaTable.is_deltatable(lines["predictions"].split()[-1])
    assert "</html>" in Path(lines["report"]).read_text("utf-8")
    assert (done.folder / ".keyfold/mlflow.db").is_file()


def test_each_engine_is_taken_where_the_readme_says_so_and_finds_what_the_other_committed(done):
    embedded, spark = (said(done, "pipeline conf/churn", *words).stderr for words in ((), ("--engine spark",)))
    assert "engine    embedded: nothing here needs Spark\n" in embedded
    assert "engine    spark: --engine is `spark`\n" in spark
    assert "the same source was ingested before" in spark and "nothing new was committed" in spark


def test_no_secret_is_kept_or_told(done):
    """Neither one of the environment nor one of Spark's settings: in tables, MLflow, reports, event logs or what was said."""
    written = {path: path.read_bytes() for path in done.folder.rglob("*") if path.is_file()}
    assert [path for path, content in written.items() if SECRET.encode() in content] == []
    assert [command for command, ended in done.said.items() if SECRET in ended.stdout + ended.stderr] == []
    told = [content for path, content in written.items() if path.name.startswith("events_")]
    assert told and all(b'fs.s3a.secret.key":"*********' in content for content in told)  # so it was there to be told


def test_predictions_are_read_without_spark(done):
    keys = table(done, "churn/rows").query("keyfold_period == '2026-10'").customer_id
    assert sorted(table(done, "churn/predictions").customer_id) == sorted(keys)
    assert f"2026-10  scored    {len(keys)}" in said(done, "FROM predictions ORDER BY customer_id").stdout


def test_scoring_once_more_commits_nothing(done):
    assert "nothing new was committed" in said(done, "score conf/churn").stderr
    history = deltalake.DeltaTable(str(done.folder / ".keyfold/tables/churn/predictions")).history()
    assert [commit["operation"] for commit in history] == ["SET TBLPROPERTIES", "WRITE"], "what the table is for, and the rows"


def test_an_own_file_is_scored_whole(done):
    found = table(done, "my_customers/predictions")
    assert sorted(found.customerID) == sorted(f"c{i}" for i in range(CUSTOMERS))
    assert set(found.status) == {"scored"}


def test_the_schema_is_written(done):
    assert yaml.parse_yaml((done.folder / "conf/schema.json").read_text("utf-8"))["title"] == "Conf"


def test_a_model_is_saved_without_pickle_and_refused_once_its_files_are_changed(done, monkeypatch, tmp_path):
    import mlflow

    monkeypatch.setenv("KEYFOLD_HOME", str(done.folder / ".keyfold"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(None)
    version = registry.find_version("models:/my_customers@champion")
    files = [p for p in registry.fetch_model(version, tmp_path / "sound").rglob("*") if p.is_file()]
    assert {p.suffix for p in files} == {".arrow", ".json", ".skops"}
    for spec in (done.folder / ".keyfold/artifacts").rglob("model/spec.json"):
        spec.write_text(spec.read_text("utf-8") + " ", "utf-8")
    with pytest.raises(errors.PromiseError, match="my_customers version 1 are not those that were registered"):
        registry.fetch_model(version, tmp_path / "changed")
    mlflow.set_tracking_uri(None)


@pytest.mark.parametrize("text", [text for text, _ in marked("yaml")])
def test_what_is_a_conf_can_be_read(text):
    parse_conf(yaml.parse_yaml(text))


def test_one_conf_shows_all_there_is():
    (text,) = (text for text, _ in marked("yaml") if "score" in yaml.parse_yaml(text))
    conf = parse_conf(yaml.parse_yaml(text))
    assert list(yaml.parse_yaml(text)) == list(Conf.model_fields)
    assert {feature.choice for feature in conf.features.values()} == set(KINDS)


def rows_of(header):
    """The first cells of the table of the project's README with that header."""
    body = README.split(f"| {header} |", 1)[1].split("\n\n")[0].splitlines()[2:]
    return [line.split("|")[1].strip().strip("`") for line in body]


def test_each_job_is_told_of():
    assert sorted(rows_of("job")) == sorted(path.stem for path in (ROOT / "jobs").glob("*.py"))


def test_each_exit_code_is_told_of():
    codes = {kind.exit_code for kind in (errors.KeyfoldError, *errors.KeyfoldError.__subclasses__())}
    assert {int(code) for code in rows_of("exit code")} == codes | {0}


def anchors(text):
    """The names that headings have as targets of links."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_linked_is_there(path):
    links = re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", READMES[path])
    missing = [link for link, _ in links if not (path.parent / link).exists()]
    assert missing == []
    targets = [((path.parent / link).resolve() if link else path, anchor) for link, anchor in links if anchor]
    assert [(file, anchor) for file, anchor in targets if anchor not in anchors(file.read_text("utf-8"))] == []


def test_the_first_page_is_read_to_the_end():
    assert len(README.encode()) <= 17_600
