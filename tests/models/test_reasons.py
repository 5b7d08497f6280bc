"""Reasons: contributions are the answer minus that of the reference, whatever the model; those of trees are Shapley values."""

from functools import partial
from itertools import combinations
from math import factorial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError
from keyfold.features.spec import Spec
from keyfold.labels import Binary, Classes, Number
from keyfold.models.examples import Examples
from keyfold.models.model import Model
from keyfold.models.reasons import check_label, fit_reasons, strongest
from keyfold.models.sklearn import Sklearn
from keyfold.models.tree_paths import Trees, shapley_values
from shop_model import shop_model

FEATURES = {
    "x": {"numeric": {"input_col": "x"}},
    "place": {"one_hot": {"input_col": "c"}},
    "word": {"hashed": {"input_col": "c", "num_buckets": 16}},
    "z": {"numeric": {"input_col": "z"}},
}
TEXT = {"words": {"text": {"input_col": "t", "num_buckets": 32}}}
BINARY, NUMBER = Binary("boolean", True, False), Number("double")
UNITS = {
    "linear_model.LogisticRegression": ("linear", "log-odds"),
    "linear_model.Ridge": ("linear", "number"),
    "linear_model.PoissonRegressor": ("linear", "logarithm"),
    "discriminant_analysis.LinearDiscriminantAnalysis": ("linear", "log-odds"),
    "svm.LinearSVC": ("linear", "log-odds"),
    "tree.DecisionTreeClassifier": ("trees", "probability"),
    "ensemble.RandomForestClassifier": ("trees", "probability"),
    "ensemble.ExtraTreesRegressor": ("trees", "number"),
    "ensemble.GradientBoostingClassifier": ("trees", "log-odds"),
    "ensemble.HistGradientBoostingClassifier": ("trees", "log-odds"),
    "ensemble.HistGradientBoostingRegressor": ("trees", "number"),
    "neighbors.KNeighborsClassifier": ("replaced", "probability"),
    "neighbors.KNeighborsRegressor": ("replaced", "number"),
    "naive_bayes.GaussianNB": ("replaced", "probability"),
}
SMALL = {"n_estimators": 5, "max_iter": 20, "max_leaf_nodes": 12, "min_samples_leaf": 5}


def table(n=300, seed=0):
    draw = np.random.default_rng(seed)
    c = draw.integers(0, 12, n)
    x, z = draw.normal(size=n), draw.normal(size=n)
    words = [" ".join(f"w{w}" for w in draw.integers(0, 9, draw.integers(0, 4))) for _ in range(n)]
    y = x + (c % 3) + x * z
    return pa.table({"x": x, "z": z, "c": [f"c{i}" for i in c], "t": words}), y


def features(**kinds):
    conf = {"name": "n", "data": {"table": "a.b", "key": ["id"]}, "features": kinds}
    return parse_conf(conf).features


def fitted(name, label=None, **kinds):
    """A spec, a fitted estimator, its label, rows of features and how its answers are explained."""

    rows, y = table()
    spec = Spec.fit(rows, features(**(kinds or FEATURES)))
    conf = Sklearn(estimator=f"sklearn.{name}")
    accepted = conf.estimator_class()._get_param_names()
    params = {key: value for key, value in SMALL.items() if key in accepted}
    if name.startswith("linear_model.Logistic"):
        params["max_iter"] = 500
    conf = conf.model_copy(update={"params": params})
    label = label or (BINARY if conf.classifies else NUMBER)
    arrays = spec.arrow(rows)
    estimator = conf.fit(spec, Examples(arrays, y > 1 if label.has_classes else np.exp(y / 4), None, label, None), 0)
    return spec, estimator, label, arrays, fit_reasons(spec, estimator, partial(estimator.numbers, label=label), label, arrays)


def answers(unit, numbers):
    return {"log-odds": lambda p: np.log(p / (1 - p)), "logarithm": np.log}.get(unit, np.asarray)(numbers)


@pytest.mark.parametrize("name", UNITS)
def test_contributions_are_the_answer_minus_the_reference(name):
    spec, estimator, label, arrays, reasons = fitted(name)
    assert (reasons.way, reasons.unit) == UNITS[name]
    predict = partial(estimator.numbers, label=label)
    found = reasons.contributions(estimator, predict, arrays)
    assert found.shape == (300, len(FEATURES)) and found.any(axis=0).all()
    np.testing.assert_allclose(found.sum(axis=1), answers(reasons.unit, predict(arrays)) - reasons.answer, atol=1e-9)
    places = np.random.default_rng(1).permutation(300)
    for some in (places, places[:7], places[:1]):
        part = {name: array[some] for name, array in arrays.items()}
        assert (reasons.contributions(estimator, predict, part) == found[some]).all(), "a row's reasons depend on no other row"


def test_words_of_a_text_are_one_reason():
    for name, way in (("linear_model.LogisticRegression", "linear"), ("ensemble.RandomForestClassifier", "trees"), ("neighbors.KNeighborsClassifier", "replaced")):  # fmt: skip
        _, estimator, label, arrays, reasons = fitted(name, **FEATURES, **TEXT)
        predict = partial(estimator.numbers, label=label)
        found = reasons.contributions(estimator, predict, arrays)
        assert reasons.way == way and found.shape == (300, 5) and found[:, 4].any()
        np.testing.assert_allclose(found.sum(axis=1), answers(reasons.unit, predict(arrays)) - reasons.answer, atol=1e-9)


def test_contributions_of_a_linear_model_are_coefficients_times_distance_from_the_mean():
    _, estimator, _, arrays, reasons = fitted("linear_model.Ridge", x=FEATURES["x"], place=FEATURES["place"])
    found, coefficients = reasons.contributions(estimator, None, arrays), estimator.estimator.coef_
    of_place = coefficients[1:][arrays["place"]]
    np.testing.assert_allclose(found[:, 0], coefficients[0] * (arrays["x"] - arrays["x"].mean()))
    np.testing.assert_allclose(found[:, 1], of_place - of_place.mean())


def brute_force(estimator, tree, row, owners):
    """Shapley values by their definition, over all sets of players."""
    t, players = tree, sorted(set(owners))

    def value(known, node=0):
        if t.children_left[node] < 0:
            return t.value[node, 0, -1]
        sides, column = (t.children_left[node], t.children_right[node]), t.feature[node]
        if owners[column] in known:
            return value(known, sides[int(row[column] > t.threshold[node])])
        return sum(t.weighted_n_node_samples[side] / t.weighted_n_node_samples[node] * value(known, side) for side in sides)

    total, n = np.zeros(len(players)), len(players)
    for player in players:
        others = [p for p in players if p != player]
        for size in range(n):
            for known in combinations(others, size):
                weight = factorial(size) * factorial(n - size - 1) / factorial(n)
                total[player] += weight * (value({*known, player}) - value({*known}))
    return total


@pytest.mark.parametrize(("columns", "most"), [(4, None), (10, None), (10, 3)])
@pytest.mark.parametrize("room", [2**23, 100])
def test_contributions_of_trees_are_shapley_values_by_their_definition(columns, most, room, monkeypatch):
    """Also without room for tables, and with several columns of one player."""
    from sklearn.tree import DecisionTreeRegressor

    monkeypatch.setattr("keyfold.models.tree_paths._TABLES", room)
    draw = np.random.default_rng(columns)
    rows = draw.normal(size=(200, columns)).astype(np.float32)
    owners = [c % (most or columns) for c in range(columns)]
    tree = DecisionTreeRegressor(max_depth=9, random_state=0).fit(rows, rows.sum(axis=1) + rows.prod(axis=1), draw.random(200))
    trees = Trees.of(tree, owners)
    assert max(len(leaf.players) for leaf in trees.trees[0].leaves) == min(8, most or columns)
    assert any(table is None for table in trees.tables[0]) == (room == 100)
    found = trees.contributions(rows[:5])
    for row, mine in zip(rows[:5], found, strict=True):
        np.testing.assert_allclose(mine, brute_force(tree, tree.tree_, row, owners), atol=1e-12)


def test_histogram_gradient_boosting_with_missing_and_unknown_values():
    from sklearn.ensemble import HistGradientBoostingClassifier

    draw = np.random.default_rng(0)
    rows = np.column_stack([draw.normal(size=400), draw.integers(0, 200, 400), draw.normal(size=400), draw.integers(0, 5, 400)])
    rows[draw.random(400) < 0.2, 0] = np.nan
    y = np.nan_to_num(rows[:, 0]) + rows[:, 1] % 3 + rows[:, 3] > 3
    model = HistGradientBoostingClassifier(max_iter=15, categorical_features=[False, True, False, True]).fit(rows[:300], y[:300])
    found = Trees.of(model, [0, 1, 2, 3]).contributions(rows)
    rest = model.decision_function(rows) - found.sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(0, 63))
@settings(max_examples=50, deadline=None)
def test_shapley_values_of_a_leaf_add_up(shares, code):
    follows = np.array([code >> place & 1 for place in range(len(shares))], bool)
    found = shapley_values(np.array([shares]), follows[None])
    assert found.sum() == pytest.approx(follows.prod() - np.prod(shares), abs=1e-12)


def test_forests_with_too_many_leaves_are_not_taken_apart(monkeypatch):
    monkeypatch.setattr("keyfold.models.tree_paths.MAX_LEAVES", 20)
    assert fitted("ensemble.RandomForestClassifier")[-1].way == "replaced"


def test_the_strongest_reasons_first_and_equal_ones_by_name():
    contributions = np.array([[0.5, -2.0, 0.5, 0.0], [1.0, 1.0, -3.0, 2.0]])
    found = strongest(contributions, ["b", "c", "a", "d"], 3).to_pylist()
    assert [[(r["feature"], r["contribution"]) for r in row] for row in found] == [
        [("c", -2.0), ("a", 0.5), ("b", 0.5)],
        [("a", -3.0), ("d", 2.0), ("b", 1.0)],
    ]
    assert [len(row) for row in strongest(contributions, ["b", "c", "a", "d"], 9).to_pylist()] == [4, 4]
    assert strongest(contributions[:0], ["b", "c", "a", "d"], 2).to_pylist() == []


def test_reasons_are_for_one_number():
    check_label(BINARY)
    check_label(NUMBER)
    with pytest.raises(ConfError, match=r"score.reasons explains one number.*of kind classes; leave it out"):
        check_label(Classes("string", ("a", "b", "c")))


def test_a_model_without_a_reference_gives_no_reasons():
    model = shop_model()
    assert model.with_reasons(0) == model
    with pytest.raises(DataError, match=r"trained without .score.reasons."):
        model.with_reasons(3)


def test_reasons_are_part_of_a_saved_model(tmp_path):
    model = shop_model()
    rows = pa.table(model.certificate.rows)
    explained = fit_reasons(model.spec, model.estimator, model.numbers, model.label, model.spec.arrow(rows))
    plain = model.predict(rows)
    model = model._replace(explained=explained)
    model.save(tmp_path)
    loaded = Model.load(tmp_path).with_reasons(2)
    assert loaded.explained == explained
    answer = loaded.predict(rows)
    assert {name: column.to_pylist() for name, column in plain.items()} | {"reasons": answer["reasons"].to_pylist()} == {
        name: column.to_pylist() for name, column in answer.items()
    }
    assert answer["reasons"].type == loaded.answer_types["reasons"] and len(answer["reasons"][0]) == 2
