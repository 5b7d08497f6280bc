"""Promotion: champion and challenger are measured on the same test rows, and a model that misses its conditions is not promoted."""

import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from keyfold.conf.use_case import parse_conf
from keyfold.errors import DataError
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep


def conf(home, feature, **release):
    return parse_conf(
        {
            "name": "m",
            "label": {"column": "y", "positive": 1}, "data": {"source": str(home / "m.csv"), "key": ["id"],
                     "columns": dict.fromkeys(["id", "y"], "bigint") | dict.fromkeys(["good", "bad"], "double")},
            "split": {"share": {"train": 0.5, "validation": 0, "test": 0.5}},
            "features": {feature: {"numeric": {"input_col": feature}}},
            "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
            "release": {"promote_if": {"roc_auc": release}},
        }
    )  # fmt: skip


def trained(engine, made):
    run = Run(made, engine)
    version = train(run)
    return run, version, promote_or_keep(run, version)


def test_champion_and_challenger_answer_the_same_rows(engine, home, capsys):
    rng = np.random.default_rng(0)
    y, noise = rng.integers(0, 2, 1200), rng.normal(0, 1, (2, 1200))
    lines = [f"{i},{y[i]},{y[i] + noise[0, i]:.4f},{y[i] / 4 + noise[1, i]:.4f}" for i in range(1200)]
    (home / "m.csv").write_text("\n".join(["id,y,good,bad", *lines]) + "\n")
    ingest(Run(conf(home, "bad", at_least=0.5), engine))
    _, first, answering = trained(engine, conf(home, "bad", better_than="champion"))
    assert answering == first == registry.champion_of("m"), "there was none to beat"

    run, second, answering = trained(engine, conf(home, "good", better_than="champion"))
    assert answering == second == registry.champion_of("m")
    assert run.verdict.outcome == "m version 2 is the champion" and not run.verdict.why_not
    # On the rows of now the former one has the very figures that it had, for they are the rows of then.
    assert run.verdict.before["roc_auc"] == pytest.approx(registry.test_metrics(first)["roc_auc"].value, abs=1e-12)
    assert run.verdict.metrics["roc_auc"] == registry.test_metrics(second)["roc_auc"]
    score(run, answering)
    assert run.results()[-1] == f"model        {run.verdict}" and ", champion before 0.5" in str(run.verdict)
    page = run.write_report().read_text("utf-8")
    order = [
        "m version 2 is the champion",
        "test ROC AUC ↑",
        "<dt>model",
        "<dt>data",
        "<dt>date",
        "Against the champion",
        "Links",
        second.mlflow_run_id,
    ]
    assert sorted(order, key=page.index) == order and page.count(second.mlflow_run_id) == 1

    alone = Run(conf(home, "good", better_than="champion"), engine)
    score(alone)
    assert str(alone.verdict).startswith("scored by m version 2: test ROC AUC 0.7")

    run, third, answering = trained(engine, conf(home, "bad", better_than="champion").model_copy(update={"name": "m"}))
    assert (third, answering) == (first, second), "trained before, and worse than who answers now"
    assert "roc_auc minus that of the champion on the same test rows is -0." in run.verdict.why_not[0]
    assert "m version 2 stays the champion" in capsys.readouterr().err

    # A column that the champion takes is gone: the figures are not comparable, and nothing is promoted.
    gone = (home / "m.csv").read_text().replace("good", "other")
    (home / "n.csv").write_text(gone)
    other = conf(home, "bad", better_than="champion")
    data = other.data.model_copy(
        update={"source": str(home / "n.csv"), "table": "m.others", "columns": {**other.data.columns, "other": "double"}}
    )
    data.columns.pop("good")
    other = other.model_copy(update={"data": data})
    ingest(Run(other, engine))
    run, _, answering = trained(engine, other)
    assert answering == second
    assert run.verdict.why_not == [
        "roc_auc cannot be compared with the champion's: m version 2 cannot score these rows: the table has no column `good`"
    ]


def test_a_store_that_does_not_answer_is_not_one_without_a_champion(home, monkeypatch):
    """Else the next version would be promoted unseen."""
    assert registry.champion_of("m") is None
    made = registry.client()

    class Fails:
        def __getattr__(self, name):
            return lambda *_: (_ for _ in ()).throw(MlflowException("database is locked"))

    monkeypatch.setattr(registry, "client", Fails)
    with pytest.raises(DataError, match=r"MLflow did not answer \(INTERNAL_ERROR\): database is locked"):
        registry.champion_of("m")
    one = registry.Registered("m", "1", "0" * 32, {})
    with pytest.raises(DataError, match="MLflow did not answer"):
        registry.test_metrics(one)
    monkeypatch.setattr(registry, "client", lambda: made)
    assert registry.test_metrics(one) == {}


def test_a_test_fold_of_few_rows_promotes_no_model(engine, home):
    lines = [f"{i},{int(i % 7 == 0)},{i % 7},{i % 3}" for i in range(40)]
    (home / "m.csv").write_text("\n".join(["id,y,good,bad", *lines]) + "\n")
    ingest(Run(conf(home, "good", at_least=0.75), engine))
    with pytest.raises(DataError, match=r"the test fold has \d rows? of a class, too few to measure roc_auc on"):
        trained(engine, conf(home, "good", at_least=0.75))
    assert registry.champion_of("m") is None
