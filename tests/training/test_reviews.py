"""Reviews with a neutral answer: the report compares it with plain abstention; of real reviews, too."""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from keyfold.conf import yaml
from keyfold.conf.use_case import parse_conf
from keyfold.dataset.fit_features import fit_features
from keyfold.errors import DataError
from keyfold.features.matrix import sparse_matrix
from keyfold.ingestion.job import ingest
from keyfold.models import blocks
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training import coverage
from keyfold.training.arrays import EXTRA, collect_rows
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep

DATA = os.environ.get("KEYFOLD_TEST_DATA")
CONF = Path(__file__).parents[2] / "conf/reviews.yaml"
GENERATED = {"data": {"source": {"generator": "reviews", "rows": 4000}}, "release": {}}


def run_of(engine, **sections):
    """A run of conf/reviews.yaml with other options, after `ingest`."""
    raw = yaml.parse_yaml(CONF.read_text("utf-8"))
    for name, options in (GENERATED | sections).items():
        raw[name] = options if name in ("label", "release") else raw[name] | options
    run = Run(parse_conf(raw), engine)
    ingest(run)
    return run


def metrics_of(version):
    return registry.client().get_run(version.mlflow_run_id).data.metrics


def page_of(run):
    return "".join(section.html for section in run.sections if section.title == "Coverage")


def test_plain_abstention_is_that_of_a_model_of_the_rows_that_are_not_neutral(embedded, home):
    run = run_of(embedded)
    version = train(run)
    measured, page = metrics_of(version), page_of(run)
    assert "True classes are those of `true_sentiment`." in page and "plain abstention" in page
    spec, rows = fit_features(run)
    learn, test = (collect_rows(run, spec, rows)[0].fold(name) for name in ("train", "test"))
    sure = learn.y < 2
    with blocks.one_thread():
        fitted = LogisticRegression(max_iter=1000, random_state=0).fit(
            sparse_matrix(learn.arrays, spec.outs)[sure], learn.y[sure]
        )
        p = fitted.predict_proba(sparse_matrix(test.arrays, spec.outs))
    truth = np.array(rows.label.answers)[p.argmax(axis=1)] == test.table[EXTRA + "true_sentiment"].to_numpy()
    answered = round(measured["test_coverage"] * len(p))
    assert measured["test_abstention_coverage"] == measured["test_coverage"] and 0.6 < measured["test_coverage"] < 0.95
    first = np.argsort(-p.max(axis=1), kind="stable")[:answered]
    assert measured["test_abstention_plain_accuracy"] == pytest.approx(truth[first].mean(), abs=1e-3)
    assert abs(measured["test_abstention_gain"]) < 0.05 and measured["test_answered_accuracy"] > 0.88
    score(run, promote_or_keep(run, version))
    told = run.predictions.frame().to_arrow()["prediction"].to_pylist()
    assert {*told} == {"negative", "positive", "neutral"}


def test_the_true_class_of_a_row_is_that_of_most_raters_unless_the_report_names_it(embedded, home):
    run = run_of(embedded, report={"truth": None})
    train(run)
    assert "The true class of a row is the one that most raters name." in page_of(run)


def test_a_model_that_abstains_is_measured_alone(embedded, home):
    run = run_of(
        embedded, label={"column": "rater_1", "positive": "positive", "neutral": {"abstain": 0.9}, "calibrate": "temperature"}
    )
    version = train(run)
    measured = metrics_of(version)
    assert 0.3 < measured["test_coverage"] < 0.95 and measured["test_answered_accuracy"] > measured["test_accuracy"] + 0.05
    assert not any("abstention" in name for name in measured) and "difference" not in page_of(run)


def test_weights_name_the_neutral_class_too_and_members_of_an_ensemble_learn_it(embedded, home, capsys):
    members = {
        "a": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}},
        "b": {"sklearn": {"estimator": "sklearn.naive_bayes.MultinomialNB"}},
    }
    options = {
        "model": {"ensemble": {"vote": {"members": members}}},
        "rebalance": {"weights": {"negative": 2, "positive": 1, "neutral": 3}},
    }
    run = run_of(embedded, train=options, report={"truth": "product"})
    measured = metrics_of(train(run))
    assert "WARNING: report.truth: `product` is none of negative, positive in" in capsys.readouterr().err
    assert measured["test_abstention_coverage"] == measured["test_coverage"] and "Ensemble" in {
        section.title for section in run.sections
    }


def test_a_model_that_cannot_be_trained_without_the_neutral_class_is_measured_alone(embedded, home, monkeypatch):
    def refuse(*_):
        raise DataError("it needs more rows")

    monkeypatch.setattr(coverage, "fit_model", refuse)
    run = run_of(embedded)
    measured, page = metrics_of(train(run)), page_of(run)
    assert "No plain abstention:" in page and "it cannot be trained: it needs more rows" in page
    assert measured["test_answered_accuracy"] > 0.88 and "test_abstention_gain" not in measured


@pytest.mark.skipif(not DATA, reason="KEYFOLD_TEST_DATA names no folder of real data")
def test_reviews_of_a_loudspeaker(embedded, home):
    data = {
        "source": str(Path(str(DATA)) / "reviews_alexa/amazon_alexa_3150.tsv"), "csv": {"multi_line": True}, "columns": {"rating": "bigint"}, "key": "content", "time": None, "period": "all",
    }  # fmt: skip
    label = {"column": "rating", "positive": {"above": 3}, "neutral": {"between": [3, 3]}}
    words = {"words": {"text": {"input_col": "verified_reviews", "max_tokens": 5000, "min_frequency": 2, "weights": "tfidf"}}}
    run = run_of(embedded, data=data, label=label, features=words, report={"truth": None, "slices": []}, split={"allow": ["verified_reviews"]},
                 train={"rebalance": {"weights": "balanced", "correct": False}})  # fmt: skip
    version = train(run)
    score(run, promote_or_keep(run, version))
    measured = metrics_of(version)
    assert measured["test_answered_accuracy"] > 0.88 and 0.85 < measured["test_coverage"] < 0.99
    assert -0.03 < measured["test_abstention_gain"] < 0.03
    assert "Neutral rows have no true class, so they are in no accuracy." in page_of(run)
    rows = run.predictions.frame().to_arrow()
    assert rows.num_rows == 3150 and {*rows["prediction"].to_pylist()} == {"above 3", "below 3", "neutral"}
