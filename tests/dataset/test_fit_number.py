"""Labels that are numbers: text that is read as one, logarithms, and what a model cannot learn."""

import numpy as np
import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import FOLD, LABEL, PERIOD
from keyfold.dataset.labelled_rows import labelled_rows
from keyfold.engine.columns import col, lit
from keyfold.errors import ConfError, DataError
from keyfold.labels import Bands, Number
from keyfold.runtime.run import Run

N = 300
RIDGE = {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}
CLASSIFIER = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
STARS = [f" {i % 5 + 1}{'.50' if i % 2 else ''} " for i in range(N)]
MOODS = [("low", "medium", "high")[i % 3] for i in range(N)]


def conf_of(label, model=RIDGE, **more):
    raw = {"name": "fit", "data": {"key": ["id"]}, "label": label, "features": {"x": {"numeric": {"input_col": "x"}}}}
    return parse_conf(raw | ({"train": {"model": model}} if model else {}) | more)


def run_of(engine, label, y, model=RIDGE, **more):
    rows = pa.table({"id": range(N), "x": np.arange(N) / N, "y": y, PERIOD: ["all"] * N})
    run = Run(conf_of(label, model, **more), engine)
    run.rows.replace(engine.frame(rows), PERIOD, {"all": N})
    return run


@pytest.mark.both_engines
@pytest.mark.parametrize(
    ("scores", "y", "numbers"),
    [
        ("number", STARS, [float(text) for text in STARS]),
        ({"low": 1, "medium": 2, "high": 4}, MOODS, [{"low": 1.0, "medium": 2.0, "high": 4.0}[mood] for mood in MOODS]),
        ({"true": 1, "false": -1}, [i % 3 == 0 for i in range(N)], [1.0 if i % 3 == 0 else -1.0 for i in range(N)]),
    ],
    ids=["number", "text", "boolean"],
)
def test_a_class_is_a_number_for_a_regressor(engine, home, scores, y, numbers):
    found = labelled_rows(run_of(engine, {"column": "y", "as": scores}, [*y[:-1], None]))
    assert isinstance(found.label, Number)
    labels = {row["id"]: row[LABEL] for row in found.rows.select(["id", LABEL]).rows()}
    assert labels == dict(enumerate(numbers[:-1])), "the last row is not labelled"


def test_bands_of_a_rating_are_those_of_its_numbers(embedded, home):
    found = labelled_rows(run_of(embedded, {"column": "y", "as": "number", "bands": [2, 4]}, STARS, CLASSIFIER))
    assert isinstance(found.label, Bands) and (found.label.lowest, found.label.highest) == (1.0, 5.5)


def test_a_logarithm_and_an_interval_are_options_of_the_label(embedded, home):
    run = run_of(embedded, {"column": "y", "transform": "log", "interval": 0.8}, np.arange(N) + 1.0)
    assert labelled_rows(run).label == Number("double", 0.8, transform="log")


@pytest.mark.both_engines
@pytest.mark.parametrize(
    ("label", "y", "sentence"),
    [
        ({"transform": "log"}, [0, -3, *range(1, N - 1)], r"label.transform: `y` is 0 or less .* in 2 of 300 rows, such as (0|-3); leave"),
        ({}, [float("inf"), float("nan"), *[1.0] * (N - 2)], "label: `y` is not a finite number in 2 of 300 rows, such as (inf|nan); "),
        ({"as": "number"}, ["n/a", "", "1e", *["4"] * (N - 4), None], "label.as: `y` has no number in 3 of 299 rows, such as '(n/a|1e|)'; give"),
        ({"as": {"low": 1, "medium": 2}}, MOODS, "label.as: `y` has no number in 100 of 300 rows, such as 'high'; give each class its"),
    ],
    ids=["log", "not finite", "text", "class"],
)  # fmt: skip
def test_labels_that_cannot_be_learnt_are_counted(engine, home, label, y, sentence):
    run = run_of(engine, {"column": "y", **label}, y)
    with pytest.raises(DataError, match=sentence):
        labelled_rows(run)


def test_without_a_model_a_number_may_be_anything(embedded, home):
    found = labelled_rows(run_of(embedded, "y", [float("nan"), *[1.0] * (N - 1)], model=None))
    assert np.isnan(found.rows.select([LABEL]).to_arrow()[LABEL].to_numpy()).sum() == 1


def test_a_classifier_takes_no_option_of_numbers(embedded, home):
    for option, value in (("interval", 0.9), ("transform", "log"), ("as", "number")):
        with pytest.raises(ConfError, match=f"label.{option} is for a label that is a number; leave it out, or train a reg"):
            labelled_rows(run_of(embedded, {"column": "y", option: value}, STARS, CLASSIFIER))


@pytest.mark.parametrize(
    ("label", "more", "sentence"),
    [
        ({"transform": "sqrt"}, {}, "label.transform"),
        ({"as": {"low": 1}}, {}, "label.as"),
        ({"as": "integer"}, {}, "label.as"),
        ({"transform": "log", "bands": [1]}, {}, "`transform` is for a number that a regressor predicts, and `bands` are"),
        ({"as": "number", "positive": "5"}, {}, "`as` is for a number, and `positive` for classes; leave one out"),
        ({"interval": 0.9, "separator": ","}, {}, "`interval` is for a number, and `separator` for classes"),
        ({"interval": 1.0}, {}, "label.interval"),
        ({"interval": 0.9}, {"split": {"share": {"train": 0.9, "validation": 0, "test": 0.1}}}, "label.interval is fitted on the"),
        ({"interval": 0.9}, {"split": {"time": {"column": "x", "test": "2026-01-01"}}}, "label.interval is fitted on the validation"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_together_are_refused(label, more, sentence):
    with pytest.raises(ConfError, match=sentence):
        conf_of({"column": "y", **label}, **more)


BANDS = {"column": "y", "bands": [100, 200]}


@pytest.mark.parametrize(
    ("y", "floor", "cap"),
    [
        (np.minimum(np.arange(N), 270.0), False, True),
        (np.maximum(np.arange(N), 30.0), True, False),
        (np.arange(N) % 3 * 100.0, False, False),
        (np.arange(N) + 0.5, False, False),
    ],
    ids=["cap", "floor", "few numbers", "neither"],
)
def test_a_number_at_which_others_are_cut_off_has_a_mass_of_its_own(embedded, home, capsys, y, floor, cap):
    found = labelled_rows(run_of(embedded, BANDS, y, CLASSIFIER))
    train = found.rows.where(col(FOLD) == lit("train")).select([LABEL]).to_arrow()[LABEL].to_numpy()
    first, last = train[train < 100], train[train >= 200]
    assert found.label.floor == (np.mean(first == first.min()) if floor else 0)
    assert found.label.cap == (np.mean(last == last.max()) if cap else 0)
    shown = capsys.readouterr().err
    assert ("are the highest one, 270, which looks like a limit: the band `≥ 200` is open, and true" in shown) == cap
    assert ("are the lowest one, 30, which looks like a limit: the band `< 100` is open" in shown) == floor
