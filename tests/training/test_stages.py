"""A cascade is trained, measured by stage and beside its last stage, registered, and scores with the name of the stage."""

import io
import json

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.pyfunc.scoring_server import predictions_to_json

from keyfold.core.names import PERIOD
from keyfold.errors import DataError
from keyfold.models.model import Model
from keyfold.scoring.job import score
from keyfold.serving.pyfunc import load_model
from keyfold.tracking import registry
from keyfold.training.job import train
from keyfold.training.one_batch import memorize_one_batch
from labelled_table import run_over

LINEAR = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
EXIT = {"precision_at_least": 0.95, "rows_at_least": 10}
FEATURES = {
    "loud": {"found": {"input_col": "text", "patterns": ["exclamations"]}},
    "size": {"numeric": {"input_col": "size", "scale": "standard"}},
    "words": {"text": {"input_col": "text", "max_tokens": 50}},
}  # fmt: skip
STAGES = {
    "loud": {"features": ["loud"], "model": LINEAR, "exit": EXIT},
    "words": {"features": ["words", "size", {"stage": "loud"}], "model": LINEAR},
}


def table(n=900):
    rng = np.random.default_rng(0)
    spam = rng.random(n) < 0.4
    marks, win = rng.poisson(np.where(spam, 3, 0.05)), rng.random(n) < np.where(spam, 0.9, 0.1)
    texts = [f"{'win' if w else 'tea'} w{i % 9} n{i} {'!' * m}" for i, (w, m) in enumerate(zip(win, marks, strict=True))]
    size = spam + rng.normal(size=n)
    return pa.table({"id": range(n), "text": texts, "size": size, "y": np.where(spam, "spam", "ham"), PERIOD: ["all"] * n})


def run_of(engine, stages=STAGES, **more):
    conf = {
        "name": "m", "label": {"column": "y", "positive": "spam"}, "data": {"key": ["id"]}, "features": FEATURES,
        "split": {"share": {"train": 0.6, "validation": 0.2, "test": 0.2}}, "train": {"model": {"cascade": {"stages": stages}}},
    }  # fmt: skip
    return run_over(engine, conf | more, table())


@pytest.mark.both_engines
def test_a_cascade_answers_with_its_stage_in_the_table_and_in_python(engine, home, tmp_path, capsys):
    run = run_of(engine)
    version = train(run)
    score(run, version)
    scored = run.predictions.frame().select(["id", "status", "prediction", "probability", "stage"]).to_arrow().to_pandas()
    scored = scored.sort_values("id", ignore_index=True)
    assert (scored.status == "scored").all() and set(scored.stage) == {"loud", "words"}
    frame = table().to_pandas()[["text", "size"]]
    served = load_model(f"models:/{version.name}/{version.version}").predict(frame)
    assert served.to_dict("list") == scored[["prediction", "probability", "stage"]].to_dict("list")
    pyfunc, body = mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}").predict(frame), io.StringIO()
    pd.testing.assert_frame_equal(pyfunc, served)
    predictions_to_json(pyfunc.head(1), body)
    assert json.loads(body.getvalue())["predictions"] == served.head(1).to_dict("records")
    alone = load_model(f"models:/{version.name}/{version.version}").predict(frame.iloc[[7]])
    pd.testing.assert_frame_equal(alone, served.iloc[[7]])
    model = Model.load(registry.fetch_model(version, tmp_path / "model"))
    assert model.answer_types["stage"] == pa.string() and not model.parity.differ
    assert "rows of the test fold leave at: loud" in capsys.readouterr().err


def test_a_cascade_is_measured_by_stage_and_beside_its_last_stage(embedded, home):
    run = run_of(embedded)
    version = train(run)
    metrics = registry.client().get_run(version.mlflow_run_id).data.metrics
    assert metrics["test_alone_f1_difference"] == pytest.approx(metrics["test_f1"] - metrics["test_alone_f1"])
    assert metrics["test_alone_f1"] > 0.8 and metrics["test_alone_cpu_share"] > 0
    (section,) = (section.html for section in run.sections if section.title == "Cascade")
    assert "<td>loud</td><td>ham</td>" in section and "<td>the rest</td>" in section
    assert "trained on all rows with loud, size, words" in section or "with words, size, loud" in section
    again = run_of(embedded)
    train(again)
    assert again.jobs[-1].status == "done before"


def test_an_exit_that_nothing_reaches_is_said(embedded, home, capsys):
    never = {"loud": STAGES["loud"] | {"exit": {"precision_at_least": 1.0, "rows_at_least": 170}}, "words": STAGES["words"]}
    train(run_of(embedded, never))
    said = capsys.readouterr().err
    assert "no row leaves at loud for ham: too few rows" in said and "leave at: loud 0.00%, words 100.00%" in said


def test_a_cascade_that_every_row_leaves_at_stage_one_is_not_registered(embedded, home):
    all_leave = {"loud": STAGES["loud"] | {"exit": {"precision_at_least": 0.5, "rows_at_least": 1}}, "words": STAGES["words"]}
    run = run_of(embedded, all_leave)
    with pytest.raises(DataError, match="stage `loud`: every row of the validation fold that reaches it leaves there") as caught:
        train(run)
    assert caught.value.exit_code == 3 and not registry.client().search_registered_models()


def test_a_batch_is_memorized_by_a_cascade(embedded, home, capsys):
    memorize_one_batch(run_of(embedded))
    assert "metrics on the" in capsys.readouterr().err
