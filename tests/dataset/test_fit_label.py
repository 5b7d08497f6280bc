"""The label is fitted on the train fold, by kind; on every engine the rows have the same labels."""

import numpy as np
import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import FOLD, LABEL, PERIOD
from keyfold.dataset.labelled_rows import labelled_rows
from keyfold.errors import ConfError, DataError
from keyfold.labels import Bands, Classes, Multilabel
from keyfold.runtime.run import Run

N = 400
CLASSIFIER = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}


def table(**more):
    draw = np.random.default_rng(0)
    topics = [draw.choice(["p", "s", "m"], k, replace=False).tolist() for k in draw.integers(0, 3, N)]
    columns = {
        "id": range(N), "x": draw.random(N), "price": draw.lognormal(3, 1, N), "kind": draw.choice(["a", "b", "c"], N),
        "stars": draw.integers(1, 6, N), "topics": [" , ".join(names) + "," for names in topics], "list": topics, "sport": draw.integers(0, 2, N),
        "news": draw.random(N) < 0.5, PERIOD: ["all"] * N,
    } | more  # fmt: skip
    return pa.table(columns), topics


def run_of(engine, label, estimator=CLASSIFIER, **more):
    rows, _ = table(**more)
    features = {"x": {"numeric": {"input_col": "x"}}}
    conf = {"name": "fit", "data": {"key": ["id"]}, "label": label, "features": features, "train": {"model": estimator}}
    run = Run(parse_conf(conf), engine)
    run.rows.replace(engine.frame(rows), PERIOD, {"all": N})
    return run


LABELS = {
    "classes": "kind", "integers": "stars", "bands": {"column": "price", "bands": {"quantiles": 5}}, "edges": {"column": "price", "bands": [10, 40]},
    "text": {"column": "topics", "separator": ","}, "array": "list", "columns": {"columns": ["sport", "news"]},
}  # fmt: skip


@pytest.mark.both_engines
@pytest.mark.parametrize("kind", LABELS)
def test_each_kind_is_fitted_on_the_train_fold(engine, home, kind):
    rows, topics = table()
    found = labelled_rows(run_of(engine, LABELS[kind]))
    labelled = found.rows.select(["id", FOLD, LABEL]).sort(["id"]).to_arrow()
    encode = found.label.measured if isinstance(found.label, Multilabel) else found.label.encode
    y, train = encode(labelled[LABEL]), labelled[FOLD].to_numpy(zero_copy_only=False) == "train"
    if kind in ("classes", "integers"):
        values = rows["kind" if kind == "classes" else "stars"].to_pylist()
        assert isinstance(found.label, Classes) and found.label.classes == tuple(sorted(set(values)))
        assert [found.label.classes[code] for code in y] == values
    elif kind in ("bands", "edges"):
        price = rows["price"].to_numpy()
        edges = np.quantile(price[train], [0.2, 0.4, 0.6, 0.8], method="lower") if kind == "bands" else [10, 40]
        assert isinstance(found.label, Bands) and list(found.label.edges) == list(edges)
        assert found.label.values == pytest.approx([price[train & (y == code)].mean() for code in range(len(edges) + 1)])
        assert (found.label.lowest, found.label.highest) == (price[train].min(), price[train].max())
    elif kind == "columns":
        assert y.T.tolist() == [[bool(value) for value in rows[name].to_pylist()] for name in ("news", "sport")]
    else:
        assert isinstance(found.label, Multilabel) and found.label.labels == ("m", "p", "s")
        assert [{found.label.labels[code] for code in np.flatnonzero(row)} for row in y] == list(map(set, topics))


def test_a_class_without_a_train_row_is_reported_and_has_no_code(embedded, home, capsys):
    found = labelled_rows(run_of(embedded, "kind"))
    folds = {row["id"]: row[FOLD] for row in found.rows.select(["id", FOLD]).rows()}
    kind = ["odd" if folds[i] == "test" and i % 2 else "abc"[i % 3] for i in range(N)]
    found = labelled_rows(run_of(embedded, "kind", kind=kind))
    codes = found.rows.select(["id", LABEL]).rows()
    assert found.label.classes == ("a", "b", "c") and {row["id"] for row in codes if row[LABEL] == -1} == {
        i for i, name in enumerate(kind) if name == "odd"
    }
    assert "rows of the test fold have classes that the train fold lacks (odd); they count as errors" in capsys.readouterr().err


def test_rare_labels_are_left_out_or_pooled(embedded, home, capsys):
    lists = [["p"] if i % 2 else ["s", "rare"] if i % 40 == 0 else ["s"] for i in range(N)]
    for rare, labels in (("leave_out", ("p", "s")), ("pool", ("p", "s", "(other)"))):
        found = labelled_rows(run_of(embedded, {"column": "list", "min_frequency": 20, "rare": rare}, list=lists))
        assert found.label.labels == labels
        assert "1 of 3 labels have fewer than 20 rows of the train fold" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label", "more", "error", "message"),
    [
        ("kind", {"kind": [f"k{i}" for i in range(N)]}, None, ""),
        ("kind", {"kind": ["a"] * N}, DataError, "has 1 class"),
        ({"column": "kind", "positive": "a"}, {}, DataError, "label.positive is for a label of two classes"),
        ({"column": "price", "bands": [1000, 2000]}, {}, DataError, "no row of the train fold is in the band from 1000 to 2000"),
        ({"column": "price", "bands": {"quantiles": 3}}, {"price": [1.0] * N}, DataError, "too few different numbers"),
        ({"column": "price", "bands": [3]}, {"price": [float("nan"), *[4.0] * (N - 1)]}, DataError, "not a finite number"),
        (
            {"column": "kind", "bands": [3]},
            {},
            DataError,
            "`kind` is string, and must be a number for bands; `label: {as: number}` reads",
        ),
        ({"column": "price", "separator": ","}, {}, DataError, "`price` must be text"),
        ({"columns": ["stars", "sport"]}, {}, DataError, "`stars` must be 0 or 1"),
        ("list", {"list": pa.array([[]] * N, pa.list_(pa.string()))}, DataError, "no row of the train fold has a label"),
    ],
)
def test_a_label_that_cannot_be_learnt_is_a_sentence(embedded, home, label, more, error, message):
    if error is None:
        assert labelled_rows(run_of(embedded, label, **more)).label.width > 300
        return
    with pytest.raises(error, match=message):
        labelled_rows(run_of(embedded, label, **more))


def test_a_regressor_learns_neither_bands_nor_labels(embedded, home):
    ridge = {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}
    for label in ({"column": "price", "bands": [10]}, "list"):
        with pytest.raises(ConfError, match=r"train\.model is a regressor; take a classifier"):
            labelled_rows(run_of(embedded, label, ridge))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({}, "must name either `column` or `columns`"),
        ({"column": "y", "columns": ["a", "b"]}, "must name either"),
        ({"column": "y", "bands": [2, 1]}, "must be edges in ascending order"),
        ({"column": "y", "bands": [1, 1]}, "each once"),
        ({"column": "y", "bands": [1], "positive": "a"}, "`positive` and `bands` are for labels of different kinds"),
        ({"column": "y", "take": "median"}, "`take` is for `bands`"),
        ({"columns": ["a", "a"]}, "`columns` has `a` twice"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(label, message):
    with pytest.raises(ConfError, match=message):
        parse_conf({"name": "n", "data": {"key": ["id"]}, "label": label})


def test_where_the_label_was_before_is_a_sentence():
    for data, line in (
        ({"label": "y"}, 'label: "y"'),
        ({"label": "y", "positive": "Yes"}, 'label: {column: "y", positive: "Yes"}'),
    ):
        with pytest.raises(ConfError, match=f"`label` is a section of its own: write `{line}` below `data`"):
            parse_conf({"name": "n", "data": {"key": ["id"]} | data})


def test_a_chain_is_for_several_labels(embedded, home):
    chain = {"sklearn": CLASSIFIER["sklearn"] | {"chain": True}}
    with pytest.raises(ConfError, match="chain is for a label of several labels"):
        labelled_rows(run_of(embedded, "kind", chain))
    assert labelled_rows(run_of(embedded, "list", chain)).label.width == 3
