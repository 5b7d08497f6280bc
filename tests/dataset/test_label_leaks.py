"""Columns that give the label away are found, alone or by being there; honest ones are not."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keyfold.conf.split import Split
from keyfold.conf.use_case import parse_conf
from keyfold.core.names import LABEL, PERIOD
from keyfold.dataset import leakage_gates
from keyfold.dataset.label_leaks import find_leaks
from keyfold.dataset.labelled_rows import labelled_rows
from keyfold.errors import ConfError, PromiseError
from keyfold.evaluation.label_leakage import SUSPECT_SCORE
from keyfold.features.kinds.text import Text
from keyfold.labels import Binary, Number
from keyfold.runtime.run import Run
from keyfold.split.folds import Folds
from keyfold.tracking import registry
from keyfold.training.job import train

RNG = np.random.default_rng(0)
N = 3000
Y = RNG.random(N) < 0.2
AMOUNT = np.exp(RNG.normal(size=N))
FOLDS = Folds(Split(), ["id"], "leaks")


def found_of(engine, y, classes=True, n=N, words=(), **columns):
    table = pa.Table.from_pandas(pd.DataFrame({"id": np.arange(N), LABEL: y} | columns), preserve_index=False)
    texts = [Text(input_col=name, num_buckets=9) for name in words]
    return {
        t.column: t
        for t in find_leaks(
            engine.frame(table),
            n,
            FOLDS,
            list(columns),
            label=Binary("boolean", True, False) if classes else Number("double"),
            texts=texts,
        )
    }


def test_columns_that_tell_a_class(engine):
    score = np.where(Y, RNG.normal(1.5, 1, N), RNG.normal(0, 1, N))
    leaky = {
        "there": np.where(Y, RNG.choice(["A", "B"], N), None),
        "missing": np.where(Y, None, RNG.normal(size=N)),
        "since": np.where(Y, pd.Timestamp("2026-01-01").date(), None),
        "code": np.where(Y, RNG.integers(3, 6, N), RNG.integers(0, 3, N)).astype(str),
        "nearly": Y ^ (RNG.random(N) < 0.01),
        "beyond": np.where(Y, 100.0, 0) + RNG.normal(size=N),
        "ring": np.where(Y, RNG.choice([-9.0, 9.0], N), 0) + RNG.normal(size=N),
        "blob": [b"yes" if y else b"no" for y in Y],
    }
    honest = {
        "score": score, "noise": RNG.normal(size=N), "id_like": [f"v{i}" for i in range(N)], "same": ["x"] * N, "nothing": [None] * N,
        "often_there": np.where(RNG.random(N) < np.where(Y, 0.9, 0.2), 1.0, None),
    }  # fmt: skip
    found = found_of(engine, Y, **leaky, **honest)
    assert {name for name, t in found.items() if t.most > SUSPECT_SCORE} == leaky.keys()
    assert {name for name, t in found.items() if t.missing > SUSPECT_SCORE} == {"there", "missing", "since"}
    assert found["id_like"].most == pytest.approx(0.5, abs=0.06), "no row answers for itself"
    assert list(found)[-1] in honest and next(iter(found)) in leaky, "the most telling first"
    assert 0.75 < found["score"].alone < 0.9
    assert found_of(engine, np.arange(N) < 5, few=np.arange(N) < 5) == {}, "too few of a class to say"


def test_columns_that_tell_a_number(engine):
    leaky = {"cents": AMOUNT * 100, "negative": 7 - AMOUNT, "rounded": AMOUNT.round(1), "order": np.log(AMOUNT)}
    honest = {"half": AMOUNT + RNG.normal(size=N) * AMOUNT.std(), "group": RNG.choice(list("abc"), N)}
    for unit in (1.0, 1e200):
        found = found_of(engine, AMOUNT * unit, classes=False, **leaky, **honest)
        assert {name for name, t in found.items() if t.most > SUSPECT_SCORE} == leaky.keys()


def test_of_a_heavy_tail_the_order_is_enough(engine):
    tail = np.exp(4 * RNG.normal(size=N))
    found = found_of(
        engine, tail, classes=False, log=np.log(tail), noise=RNG.normal(size=N), near=np.log(tail) + 3 * RNG.normal(size=N)
    )
    assert {name for name, t in found.items() if t.most > SUSPECT_SCORE} == {"log"}


def test_a_word_that_tells_the_label_in_texts_that_all_differ(engine):
    said = [f"{' '.join(RNG.choice(['bill', 'phone', 'slow', 'late'], 4))} {i}" for i in range(N)]
    columns = {
        "told": [f"Call {text}, {'cancelled' if y else 'stays'}" for text, y in zip(said, Y, strict=True)],
        "only": [text + " (closed)" * int(y) if i % 7 else None for i, (text, y) in enumerate(zip(said, Y, strict=True))],
        "honest": [text + " angry" * int(y and i % 2) for i, (text, y) in enumerate(zip(said, Y, strict=True))],
        "none": ["", *[None] * (N - 1)],
    }  # fmt: skip
    found = found_of(engine, Y, words=list(columns), **columns)
    assert found["told"].word > 0.99 and found["told"].alone < 0.6
    assert found["only"].word > 0.9
    assert found["honest"].most < 0.8 and found["none"].most < 0.6
    number = found_of(engine, Y * 2.0, classes=False, words=["told", "honest"], **columns)
    assert number["told"].word > 0.99 and number["honest"].most < 0.8


def test_a_sample_is_enough(engine):
    found = found_of(engine, Y, n=40 * N, good=Y, bad=RNG.random(N))
    assert found["good"].alone > 0.99 > SUSPECT_SCORE > found["bad"].alone, (
        "of 40 times the rows, by which the sample is measured"
    )


def test_engines_measure_the_same_bits(spark_engine, embedded):
    columns = {
        "x": np.where(Y, None, AMOUNT), "day": pd.Series(pd.date_range("2020-01-01", periods=N)).dt.date, "flag": Y,
        "text": [f"Call {'No' * int(y)} {i % 9}" if i % 5 else None for i, y in enumerate(Y)],
    }  # fmt: skip
    some, others = (
        found_of(engine, AMOUNT, classes=False, n=40 * N, words=["text"], **columns) for engine in (spark_engine, embedded)
    )
    assert some == others
    assert len(some) == 4


# --- in the job ---


def run_of(engine, split, label="churn"):
    features = {"x": {"numeric": {"input_col": "x"}}, "why": {"one_hot": {"input_col": "reason_code"}}}
    classes = label == "churn"
    estimator = "sklearn.linear_model.LogisticRegression" if classes else "sklearn.linear_model.Ridge"
    conf = {
        "name": "leaks", "split": split, "label": label, "data": {"key": ["id"]}, "features": features,
        "train": {"model": {"sklearn": {"estimator": estimator}}}, "report": {"slices": ["reason_code"]},
    }  # fmt: skip
    return Run(parse_conf(conf), engine)


def test_a_column_that_gives_the_label_away_stops_training_unless_it_is_allowed(engine, home):
    ids, draw = np.arange(1500), np.random.default_rng(1)
    churn, x = ids % 5 == 0, draw.integers(0, 1000, 1500).astype(float)
    reasons = [f"{'ABC'[int(number) % 3]}" if left else None for left, number in zip(churn, x, strict=True)]
    amount = 3 * x + churn + draw.integers(0, 2000, 1500)
    rows = {"id": ids, "churn": churn, "x": x, PERIOD: ["all"] * 1500, "reason_code": reasons, "amount": amount}
    run_of(engine, {}).rows.replace(engine.frame(pa.table(rows)), PERIOD, {"all": 1500})
    with pytest.raises(PromiseError) as stopped:
        train(run_of(engine, {}))
    assert stopped.value.exit_code == 4
    assert (
        "columns that give the label away: `reason_code` predicts the label by where it is missing, with ROC AUC 1.00 on held-out "
        "rows. Remove it from `features` or, if it is known before the label is, write split: {allow: [reason_code]}"
    ) in str(stopped.value)
    assert registry.registered_by("leaks", "") is None
    with pytest.raises(ConfError, match=r"split.allow: table `leaks.rows` has no column `reason` .did you mean `reason_code`"):
        train(run_of(engine, {"allow": ["reason"]}))
    allowed = run_of(engine, {"allow": ["reason_code"]})
    assert all(gate.holds for gate in leakage_gates.check_gates(allowed, labelled_rows(allowed)))
    number = run_of(engine, {}, "amount")
    train(number)
    page = number.write_report().read_text("utf-8")
    assert "By reason_code" in page and "RMSE by reason_code" in page, "slices of a regression"
