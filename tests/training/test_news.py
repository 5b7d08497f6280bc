"""Topics of news: tuned thresholds are at least as good as scikit-learn's one-against-rest at 0.5; of real articles, too."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier

from keyfold.conf import yaml
from keyfold.conf.use_case import parse_conf
from keyfold.dataset.fit_features import fit_features
from keyfold.features.matrix import sparse_matrix
from keyfold.ingestion.job import ingest
from keyfold.models import blocks
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training.arrays import collect_rows
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep
from reuters import articles

DATA = os.environ.get("KEYFOLD_TEST_DATA")
CONF = Path(__file__).parents[2] / "conf/news.yaml"
TYPES = {"article_id": "bigint", "published_at": "timestamp", "agency": "string", "text": "string", "topics": "string"}


def conf_of(**more):
    raw = yaml.parse_yaml(CONF.read_text("utf-8"))
    for path, value in more.items():
        section, name = path.split("__")
        raw[section] = raw[section] | {name: value}
    return raw


def peer(run):
    """Micro F1 of OneVsRestClassifier at 0.5, on the same features and folds."""
    spec, rows = fit_features(run)
    learn, test = (collect_rows(run, spec, rows)[0].fold(name) for name in ("train", "test"))
    params = run.conf.train.model.sklearn.params
    with blocks.one_thread():
        fitted = OneVsRestClassifier(LogisticRegression(**params)).fit(sparse_matrix(learn.arrays, spec.outs), learn.truth)
        return f1_score(test.truth, fitted.predict(sparse_matrix(test.arrays, spec.outs)), average="micro")


def metrics_of(run):
    version = train(run)
    score(run, promote_or_keep(run, version))
    return registry.client().get_run(version.mlflow_run_id).data.metrics


def test_generated_news(embedded, home):
    run = Run(parse_conf(conf_of(data__source={"generator": "news", "rows": 4000}, label__min_frequency=25)), embedded)
    ingest(run)
    assert metrics_of(run)["test_micro_f1"] > peer(run) + 0.02
    page = "".join(section.html for section in run.sections)
    assert "What the thresholds of the validation fold gain over 0.5" in page
    rows = run.predictions.frame().to_arrow()
    named = {name for names in rows["prediction"].to_pylist() for name in names}
    assert "politics" in named and named <= {key for key, _ in rows["probabilities"][0].as_py()}


@pytest.mark.skipif(not DATA, reason="KEYFOLD_TEST_DATA names no folder of real data")
def test_articles_of_reuters(embedded, home, tmp_path):
    found = list(articles(Path(str(DATA)) / "news_reuters"))
    (tmp_path / "reuters.jsonl").write_text("".join(json.dumps(article) + "\n" for article in found), "utf-8")
    data = {"data__source": str(tmp_path / "reuters.jsonl"), "data__columns": TYPES, "data__period": "all"}
    raw = conf_of(**data, label__min_frequency=20, split__allow=["text"], report__slices=[])
    run = Run(parse_conf(raw), embedded)
    ingest(run)
    measured = metrics_of(run)
    assert measured["test_micro_f1"] >= peer(run) and measured["test_micro_f1"] > 0.85
    rows = run.predictions.frame().to_arrow().sort_by("article_id")
    truth = [{*(article["topics"] or "").split(",")} for article in sorted(found, key=lambda article: article["article_id"])]
    earn = np.array(
        [("earn" in topics, "earn" in names) for topics, names in zip(truth, rows["prediction"].to_pylist(), strict=True)]
    )
    assert rows.num_rows == 5000 and earn[earn[:, 0], 1].mean() > 0.9
