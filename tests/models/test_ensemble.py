"""Ensembles: draws by the key's hash, convex weights, stacks without leaks; saved and loaded with the same bits."""

import json

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.metrics import log_loss

from keyfold.errors import DataError
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec
from keyfold.labels import Binary, Classes, Multilabel, Number
from keyfold.models.examples import Examples
from keyfold.models.log_odds import CERTAIN
from keyfold.models.member_fits import run_in_turn
from keyfold.models.model import load_fitted
from keyfold.models.section import ModelConf

N = 600
LINEAR = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
RIDGE = {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}
TREE = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}}}
STUMP = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeRegressor", "params": {"max_depth": 2}}}
NEAR = {"sklearn": {"estimator": "sklearn.neighbors.KNeighborsClassifier", "params": {"n_neighbors": 1}}}  # memorises its rows
BINARY = Binary("boolean", True, False)
FEATURES = {name: {"numeric": {"input_col": name}} for name in "abk"}


def drawn(n=N, seed=0):
    """Rows of two numbers that matter and a key that does not, which is the same for the rows of a group of four."""
    rng = np.random.default_rng(seed)
    return pa.table({"a": rng.normal(size=n), "b": rng.normal(size=n), "k": np.repeat(rng.normal(size=n // 4), 4)})


TABLE = drawn()
SPEC = Spec.fit(TABLE, {name: Feature.model_validate(kind) for name, kind in FEATURES.items()})
SCORE = TABLE["a"].to_numpy() * np.where(TABLE["b"].to_numpy() > 0, 2, -1)
LABELS = {
    "binary": (BINARY, SCORE + np.random.default_rng(1).normal(size=N) > 0, LINEAR, TREE),
    "number": (Number("double"), SCORE, RIDGE, STUMP),
    "classes": (Classes("string", ("x", "y", "z")), np.digitize(SCORE, [-1, 0.5]), LINEAR, TREE),
}  # fmt: skip


def examples(table=TABLE, y=None, label=BINARY, **more):
    n = table.num_rows
    order = np.random.default_rng(2).permutation(2**40 // n * np.arange(n))
    y = LABELS["binary"][1][:n] if y is None else y
    return Examples(SPEC.arrow(table), y, None, label, order, np.repeat(np.arange(n // 4), 4))._replace(**more)


def fitted(ensemble, rows, seed=0):
    return ModelConf.model_validate({"ensemble": ensemble}).fit(SPEC, rows, seed, run_in_turn)


def kinds(linear, tree):
    members = {"linear": linear, "tree": tree}
    return [
        {"bag": {"of": tree, "members": 3}},
        {"vote": {"members": members, "weights": "tuned"}},
        {"stack": {"members": members, "meta": linear}},
    ]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("kind", range(3))
def test_a_saved_ensemble_has_the_same_bits_row_by_row(label, kind, tmp_path):
    of, y, linear, tree = LABELS[label]
    rows = examples(y=y, label=of)
    ensemble = fitted(kinds(linear, tree)[kind], rows._replace(validation=rows))
    ensemble.save(tmp_path)
    loaded = load_fitted(tmp_path, SPEC, json.loads(json.dumps(ensemble.facts)))
    numbers = ensemble.numbers(rows.arrays, of)
    assert numbers.shape == ((N, 3) if label == "classes" else (N,)) and np.isfinite(numbers).all()
    alone = np.concatenate([loaded.numbers(rows.take(np.array([i])).arrays, of) for i in range(20)])
    assert alone.tobytes() == numbers[:20].tobytes()
    assert not list(tmp_path.rglob("*.pkl")) and (tmp_path / "members").is_dir()
    if of.has_classes:
        assert numbers.min() >= 0 and numbers.max() <= 1


@pytest.mark.parametrize("kind", range(3))
def test_the_order_of_the_rows_does_not_matter_beyond_rounding(kind):
    rows = examples()
    mixed = np.random.default_rng(3).permutation(N)
    whole, other = (fitted(kinds(LINEAR, TREE)[kind], one._replace(validation=one)) for one in (rows, rows.take(mixed)))
    assert other.numbers(rows.arrays, BINARY) == pytest.approx(whole.numbers(rows.arrays, BINARY), abs=2e-3)


def test_a_row_is_drawn_by_the_hash_of_its_key():
    rows = examples()
    draws = [rows.drawn(member, 1.0).order for member in range(40)]
    counts = np.array([[np.sum(draw == key) for key in rows.order[:50]] for draw in draws])
    assert draws[0].tolist() != draws[1].tolist() and len(draws[0]) == pytest.approx(N, rel=0.2)
    assert counts.mean() == pytest.approx(1, abs=0.1) and counts.var() == pytest.approx(1, abs=0.15)
    assert np.mean([len(rows.drawn(member, 0.25).order) for member in range(40)]) == pytest.approx(N / 4, rel=0.1)
    few = rows.filter(np.arange(N) < 100)
    assert few.drawn(0, 1.0).order.tolist() == [key for key in draws[0] if key in set(few.order)], "other rows change nothing"


def test_a_member_that_memorises_keys_gains_nothing_in_a_stack():
    """Unless rows of one group are in several parts, which lets its memory through."""
    y = np.repeat(np.random.default_rng(5).random(N // 4) < 0.5, 4)
    memory = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeClassifier"}}
    ensemble = {"stack": {"members": {"linear": LINEAR, "memory": memory}, "meta": LINEAR}}
    kept, split = (fitted(ensemble, examples(y=y, part=part)) for part in (np.repeat(np.arange(N // 4), 4), np.arange(N)))
    assert abs(kept.meta.estimator.coef_[0, 1]) < 0.3 < split.meta.estimator.coef_[0, 1]


def test_tuned_weights_are_the_best_convex_ones():
    rows = examples()
    vote = fitted({"vote": {"members": {"linear": LINEAR, "tree": TREE}, "weights": "tuned"}}, rows._replace(validation=rows))
    numbers = [member.numbers(rows.arrays, BINARY).clip(CERTAIN, 1 - CERTAIN) for member in vote.members.values()]
    losses = {w: log_loss(rows.y, w * numbers[0] + (1 - w) * numbers[1]) for w in np.linspace(0, 1, 101)}
    assert vote.weights.sum() == pytest.approx(1) and (vote.weights >= 0).all()
    assert vote.weights[0] == pytest.approx(min(losses, key=losses.get), abs=0.011)


def test_tuned_weights_of_numbers_have_the_lowest_squared_error():
    label, y, linear, tree = LABELS["number"]
    rows = examples(y=y, label=label)
    vote = fitted({"vote": {"members": {"linear": linear, "tree": tree}, "weights": "tuned"}}, rows._replace(validation=rows))
    one, two = (member.numbers(rows.arrays, label) for member in vote.members.values())
    best = np.clip(-np.sum((one - two) * (two - y)) / np.sum((one - two) ** 2), 0, 1)
    assert vote.weights[0] == pytest.approx(best, abs=1e-3)


def test_a_vote_is_a_mean_of_logarithms_if_those_are_learnt():
    label, y = Number("double", transform="log"), SCORE - SCORE.min() + 1
    rows = examples(y=label.transformed(y), label=label)
    vote = fitted({"vote": {"members": {"linear": RIDGE, "tree": STUMP}}}, rows)
    one, two = (member.numbers(rows.arrays, label) for member in vote.members.values())
    assert vote.numbers(rows.arrays, label) == pytest.approx(np.sqrt(one * two))


def test_given_weights_are_scaled_and_equal_ones_are_a_mean():
    rows = examples()
    members = {"linear": LINEAR, "tree": TREE}
    for weights, share in (({"linear": 1, "tree": 3}, 0.25), ("equal", 0.5)):
        vote = fitted({"vote": {"members": members, "weights": weights}}, rows)
        one, two = (member.numbers(rows.arrays, BINARY) for member in vote.members.values())
        assert vote.numbers(rows.arrays, BINARY) == pytest.approx(share * one + (1 - share) * two)


def test_an_ensemble_may_be_a_member():
    inner = {"ensemble": {"bag": {"of": TREE, "members": 2, "share": 0.5}}}
    ensemble = fitted({"stack": {"members": {"linear": LINEAR, "bag": inner}, "meta": LINEAR}}, examples())
    assert [*ensemble.members["bag"].members] == ["member_1", "member_2"]


@pytest.mark.parametrize(
    ("ensemble", "more", "message"),
    [
        ({"stack": {"members": {"a": LINEAR, "b": TREE}, "meta": LINEAR}}, {"part": np.zeros(N, np.int64)},
         r"all 600 rows are in one of 5 parts.*more groups"),
        ({"vote": {"members": {"a": LINEAR, "b": TREE}, "weights": "tuned"}}, {}, "the validation fold has no row to tune weights on"),
        ({"bag": {"of": TREE}}, {"y": np.arange(N) == 3}, r"member `member_\d\d` cannot be fitted: .* all have one class"),
        ({"vote": {"members": {"a": LINEAR, "b": {"sklearn": {"estimator": "sklearn.naive_bayes.MultinomialNB"}}}}}, {},
         "member `b` cannot be fitted: ValueError|member `b` cannot be fitted: Negative"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_says_why(ensemble, more, message):
    with pytest.raises(DataError, match=message):
        fitted(ensemble, examples(**more))


def test_tasks_return_sentences_so_that_no_engine_shows_a_stack_trace():
    given = []
    ModelConf.model_validate({"ensemble": {"bag": {"of": TREE, "members": 2}}}).fit(
        SPEC, examples(), 0, lambda function, shared, tasks: given.extend(tasks) or run_in_turn(function, shared, tasks)
    )
    assert [task.seed for task in given] == [0, 1]


def test_several_labels_are_voted_on_and_stacked():
    of = Multilabel("string", ("p", "q"))
    has = np.stack([SCORE > 0, TABLE["b"].to_numpy() > 0.3], axis=1)
    rows = examples(y=sparse.csr_array(has), label=of)
    members = {"linear": LINEAR, "near": NEAR}
    vote = fitted({"vote": {"members": members, "weights": "tuned"}}, rows._replace(validation=rows))
    stack = fitted({"stack": {"members": members, "meta": LINEAR}}, rows)
    for ensemble in (vote, stack):
        numbers = ensemble.numbers(rows.arrays, of)
        assert numbers.shape == (N, 2) and ((numbers > 0.5) == has).mean() > 0.9
