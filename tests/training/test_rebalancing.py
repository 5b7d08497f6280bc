"""Each way of rebalancing: which rows a model is fitted on, and that its probabilities are those of the true shares."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from keyfold.conf.rebalance import Rebalance
from keyfold.errors import ConfError, DataError
from keyfold.labels import Classes, Multilabel, Number
from keyfold.training import rebalancing
from keyfold.training.fitting import fit_model
from keyfold.training.rebalancing import balance_rows, class_weights, network_weights
from rare_positives import LABEL, drawn, section

needs_smote = pytest.mark.skipif(importlib.util.find_spec("imblearn") is None, reason="imbalanced-learn is not installed")
SMOTE = pytest.param({"smote": {"neighbours": 5}}, marks=needs_smote)
WAYS = [{"majority": 0.2}, {"minority": 7.5}, {"weights": "balanced"}, {"weights": {"yes": 9, "no": 0.5}}, SMOTE]


def balanced(rebalance, rows, seed=0):
    return balance_rows(Rebalance.model_validate(rebalance), rows.spec, rows, seed)


# --- which rows ---


def test_a_share_of_the_majority_is_kept_by_the_hash_of_the_key():
    rows, _ = drawn(20_000)
    fitted = balanced({"majority": 0.25}, rows)
    assert fitted.y.sum() == rows.y.sum()
    assert 0.24 < (~fitted.y).sum() / (~rows.y).sum() < 0.26
    part = rows.filter(np.arange(20_000) % 3 > 0)
    kept, kept_of_part = (set(balanced({"majority": 0.25}, of).arrays["a"]) for of in (rows, part))
    assert kept_of_part == kept & set(part.arrays["a"]), "whether a row is kept depends on its key alone"
    more = set(balanced({"majority": 0.5}, rows).arrays["a"])
    assert kept < more


def test_each_row_of_the_minority_occurs_as_often_as_the_conf_says():
    rows, _ = drawn(20_000)
    fitted = balanced({"minority": 3}, rows)
    values, counts = np.unique(fitted.arrays["a"][fitted.y], return_counts=True)
    assert set(counts) == {3} and len(values) == rows.y.sum()
    assert (~fitted.y).sum() == (~rows.y).sum()
    part = balanced({"minority": 2.5}, rows)
    assert set(np.unique(part.arrays["a"][part.y], return_counts=True)[1]) == {2, 3}
    assert abs(part.y.sum() / rows.y.sum() - 2.5) < 0.1


def test_balanced_classes_have_one_weight_together():
    rows, _ = drawn(5_000)
    fitted = balanced({"weights": "balanced"}, rows)
    assert fitted.weight[fitted.y].sum() == pytest.approx(fitted.weight[~fitted.y].sum()) == pytest.approx(2_500)


def test_weights_of_layouts_stay_and_count_for_the_correction():
    rows, _ = drawn(20_000, weight=True)
    of_layout = rows.table["keyfold_weight"].to_numpy()
    fitted = balanced({"weights": {"yes": 4, "no": 2}}, rows)
    assert fitted.weight == pytest.approx(of_layout * np.where(rows.y, 4, 2))
    corrected = fit_model(section({"weights": {"yes": 9, "no": 1}}).train, rows.spec, rows).numbers(rows.arrays, LABEL)
    assert np.average(corrected, weights=of_layout) == pytest.approx(np.average(rows.y, weights=of_layout), rel=1e-5)


@pytest.mark.parametrize("way", [{"majority": 0.5}, {"minority": 2}, {"weights": "balanced"}])
def test_classes_follow_the_most_and_the_least_frequent(way):
    label = Classes("string", ("common", "never", "rare"))
    rows, _ = drawn(5_000, label=label)
    fitted = balanced(way, rows)
    before, after = (np.bincount(y, minlength=3) for y in (rows.y, fitted.y))
    assert (after == before).tolist() == [way != {"majority": 0.5}, True, way != {"minority": 2}]
    numbers = fit_model(section(way).train, rows.spec, rows).numbers(rows.arrays, label)
    assert numbers.mean(axis=0) == pytest.approx(before / before.sum(), rel=1e-4)


def test_only_rebalanced_estimators_are_corrected():
    rows, _ = drawn(1_000)
    for rebalance in (None, {"weights": "balanced", "correct": False}):
        assert fit_model(section(rebalance).train, rows.spec, rows).prior is None


# --- probabilities ---


@pytest.mark.parametrize("way", WAYS)
def test_probabilities_are_those_of_the_true_shares(way):
    (learn, p_learn), (test, p) = drawn(200_000, 1), drawn(100_000, 2)
    plain, way_of = (fit_model(section(of).train, learn.spec, learn) for of in (None, way))
    none, corrected = (e.numbers(test.arrays, LABEL) for e in (plain, way_of))
    # The regression without rebalancing has the mean of the labels that it learnt.
    assert corrected.mean() == pytest.approx(none.mean(), rel=0.01)
    assert corrected.mean() / p.mean() == pytest.approx(learn.y.mean() / p_learn.mean(), rel=0.01)
    worse = ((corrected - test.y) ** 2 - (none - test.y) ** 2).mean()
    assert worse < 0.01 * ((none - test.y) ** 2).mean()
    biased = fit_model(section(way | {"correct": False}).train, learn.spec, learn).numbers(test.arrays, LABEL)
    assert biased.mean() > 3 * p.mean()


@needs_smote
def test_smote_adds_rows_between_others_without_changing_them():
    rows, _ = drawn(3_000, weight=True)
    fitted = balanced({"smote": {"neighbours": 3}}, rows)
    assert fitted.y.sum() == (~fitted.y).sum() == (~rows.y).sum()
    assert (fitted.arrays["a"][:3_000] == rows.arrays["a"]).all() and (fitted.y[:3_000] == rows.y).all()
    mean = rows.table["keyfold_weight"].to_numpy()[rows.y].mean()
    assert fitted.weight[3_000:] == pytest.approx(mean)
    again = balanced({"smote": {"neighbours": 3}}, rows)
    assert (again.arrays["b"] == fitted.arrays["b"]).all()


# --- networks ---


def labelled(label, **counts):
    return SimpleNamespace(label=label, counts={("train", name): n for name, n in counts.items()})


def test_networks_have_weights():
    rows = labelled(LABEL, yes=10, no=30)
    negative, positive = network_weights(section({"weights": "balanced"}).train, rows)
    assert (30 * negative, 10 * positive) == pytest.approx((20, 20))
    assert network_weights(section({"weights": {"yes": 3, "no": 1}}).train, rows) == (1, 3)
    assert network_weights(section({"minority": 5}).train, rows) == (1, 5)
    assert network_weights(section().train, rows) is None
    with pytest.raises(ConfError, match="balances classes of which each row has one"):
        network_weights(section({"minority": 5}).train, labelled(Number("double")))


# --- what cannot be balanced ---


def test_weights_name_all_classes():
    rows, _ = drawn(100)
    with pytest.raises(ConfError, match=r"train.rebalance.weights must have the classes no and yes \(got yes, nope\)"):
        balanced({"weights": {"yes": 3, "nope": 1}}, rows)
    weights = class_weights(Rebalance(weights={"c": 1, "a": 2, "b": 3}), np.array([1, 1, 1]), ["a", "b", "c"])
    assert weights.tolist() == [2, 3, 1]


def test_one_class_cannot_be_balanced():
    rows, _ = drawn(500)
    with pytest.raises(DataError, match=r"all 4.. rows to train on are `no`, so nothing can be balanced"):
        balanced({"majority": 0.5}, rows.filter(~rows.y))


def test_a_share_that_leaves_no_row_is_refused():
    rows, _ = drawn(300)
    with pytest.raises(DataError, match=r"train.rebalance.majority: 1e-05 of 2.. rows of `no` leaves none; take a larger share"):
        balanced({"majority": 1e-5}, rows)


def test_labels_without_one_class_a_row_are_refused():
    rows, _ = drawn(10)
    for label in (Number("double"), Multilabel("array", ("a", "b"), (0.5, 0.5))):
        with pytest.raises(ConfError, match="balances classes of which each row has one"):
            rebalancing.class_names(label)


def test_smote_without_the_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    rows, _ = drawn(100)
    with pytest.raises(ConfError, match=r"train.rebalance.smote needs the package imblearn: ./spark-submit.sh setup imbalance"):
        balanced({"smote": {}}, rows)


def test_smote_needs_neighbours_and_numbers(monkeypatch):
    monkeypatch.setattr(rebalancing, "require_package", lambda *_: None)
    rows, _ = drawn(300)
    few = rows.filter((np.cumsum(rows.y) <= 2) | ~rows.y)
    with pytest.raises(DataError, match="2 rows to train on are `yes`, and each needs 5 neighbours; take fewer"):
        balanced({"smote": {}}, few)
    missing = rows._replace(table=rows.table.set_column(1, "b", pa.array([float("nan"), *[1.0] * 299])))
    with pytest.raises(DataError, match=r"features.b is missing \(NaN\) in some rows; set its option `missing`"):
        balanced({"smote": {"neighbours": 1}}, missing)
