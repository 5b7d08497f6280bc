"""Cascades: a row's answer depends on no other row, later features are not computed for rows that left, exits keep their precision."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.errors import ConfError, DataError, RowsError
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec
from keyfold.labels import Binary, Classes, Multilabel
from keyfold.models.cascade import Exit, decisions, find_exits, is_certain
from keyfold.models.cascade_fit import check_classes
from keyfold.models.examples import Examples
from keyfold.models.lazy_features import LazyFeatures
from keyfold.models.member_fits import run_in_turn
from keyfold.models.model import load_fitted
from keyfold.models.section import ModelConf

N = 900
LINEAR = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
TREE = {"sklearn": {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3, "min_samples_leaf": 20}}}
BINARY = Binary("string", "spam", "ham")
FEATURES = {
    "loud": {"found": {"input_col": "text", "patterns": ["exclamations", "digits"]}},
    "size": {"numeric": {"input_col": "size", "scale": "standard"}},
    "words": {"text": {"input_col": "text", "max_tokens": 50, "weights": "tfidf"}},
}  # fmt: skip


def drawn(n=N, seed=0):
    """Texts whose exclamation marks give some of them away, and words the others."""
    rng = np.random.default_rng(seed)
    spam = rng.random(n) < 0.4
    loud = rng.poisson(np.where(spam, 2.0, 0.1))
    words = np.where(rng.random(n) < np.where(spam, 0.9, 0.1), "win", "tea")
    noise = rng.integers(0, 30, n)
    texts = [f"{word} w{k} {'!' * marks}" for word, k, marks in zip(words, noise, loud, strict=True)]
    return pa.table({"text": texts, "size": spam + rng.normal(size=n)}), spam


TABLE, SPAM = drawn()
SPEC = Spec.fit(TABLE, {name: Feature.model_validate(kind) for name, kind in FEATURES.items()})
THREE = np.where(SPAM, 2, (TABLE["size"].to_numpy() > 0).astype(int))
LABELS = {"binary": (BINARY, SPAM), "classes": (Classes("string", ("x", "y", "z")), THREE)}


def stages(precision=0.9, model=LINEAR, **last):
    out = {"precision_at_least": precision, "rows_at_least": 10}
    return {
        "loud": {"features": ["loud"], "model": TREE, "exit": out},
        "size": {"features": ["size", {"stage": "loud"}], "model": LINEAR, "exit": out},
        "words": {"features": ["words", "size", {"stage": "size"}], "model": model} | last,
    }


def examples(y=SPAM, label=BINARY, **more):
    return Examples(SPEC.arrow(TABLE), y, None, label, np.arange(N) * 7, np.arange(N) // 3)._replace(**more)


def fitted(of, rows, seed=0):
    half = np.arange(N) % 3 < 2
    learn = rows.filter(half)._replace(validation=rows.filter(~half))
    return ModelConf.model_validate({"cascade": {"stages": of}}).fit(SPEC, learn, seed, run_in_turn)


@pytest.fixture(scope="module")
def cascade():
    return fitted(stages(), examples())


@pytest.mark.parametrize("kind", LABELS)
def test_a_saved_cascade_has_the_same_bits_row_by_row(kind, tmp_path):
    label, y = LABELS[kind]
    whole = fitted(stages(), examples(y, label))
    whole.save(tmp_path)
    loaded = load_fitted(tmp_path, SPEC, json.loads(json.dumps(whole.facts, allow_nan=False)))
    numbers, decided = whole.answers(TABLE, label)
    assert len(set(decided.to_pylist())) == 3 and numbers.shape == ((N, 3) if kind == "classes" else (N,))
    assert whole.numbers(SPEC.arrow(TABLE), label).tobytes() == numbers.tobytes()
    for place in range(0, N, 30):
        alone, stage = loaded.answers(TABLE.slice(place, 1), label)
        assert alone.tobytes() == numbers[place : place + 1].tobytes() and stage[0] == decided[place]
    again, stage = loaded.answers(pa.RecordBatch.from_pylist(TABLE.to_pylist()[::-1]), label)
    assert again.tobytes() == numbers[::-1].tobytes() and stage.to_pylist() == decided.to_pylist()[::-1]


@settings(max_examples=25)
@given(st.lists(st.integers(0, N - 1), min_size=1, max_size=40))
def test_answers_do_not_depend_on_other_rows(cascade, places):
    numbers, decided = cascade.answers(TABLE, BINARY)
    some, stage = cascade.answers(TABLE.take(places), BINARY)
    assert some.tobytes() == numbers[places].tobytes() and stage.to_pylist() == decided.take(pa.array(places)).to_pylist()


def test_no_row_has_no_answer(cascade):
    numbers, decided = cascade.answers(TABLE.slice(0, 0), BINARY)
    assert numbers.shape == (0,) and decided.to_pylist() == []


def test_features_are_computed_for_the_rows_that_reach_a_stage(cascade, monkeypatch):
    computed = []
    arrow = Spec.arrow
    monkeypatch.setattr(Spec, "arrow", lambda self, rows: computed.append((*self.features, rows.num_rows)) or arrow(self, rows))
    _, decided = cascade.answers(TABLE, BINARY)
    left = np.unique(decided.to_numpy(zero_copy_only=False), return_counts=True)[1].tolist()  # loud, size, words
    of_rows = [one for one in computed if not one[0].startswith("stage ")]
    assert of_rows == [("loud", N), ("size", N - left[0]), ("words", N - left[0] - left[1])]


def test_exits_that_nothing_reaches_leave_the_last_stage():
    of = stages()
    for stage in ("loud", "size"):
        of[stage]["exit"] = {"precision_at_least": 1.0, "rows_at_least": N}
    of["words"]["features"] = ["words", "size"]
    whole, half = fitted(of, examples()), np.arange(N) % 3 < 2
    assert all(exit_ == Exit(None, 0, None) for stage in whole.stages[:-1] for exit_ in stage.exits)
    last = ModelConf.model_validate(LINEAR)
    (alone,) = run_in_turn(
        lambda _, seed: last.fit(SPEC.only(["words", "size"]), examples().filter(half), seed, run_in_turn), None, [0]
    )
    numbers, decided = whole.answers(TABLE, BINARY)
    assert decided.unique().to_pylist() == ["words"]
    assert numbers == pytest.approx(alone.numbers(SPEC.arrow(TABLE), BINARY), abs=1e-9)


def test_a_missing_column_is_refused_even_if_no_row_needs_it(cascade):
    loud = pa.table({"text": ["!!!!!!!!"]})
    with pytest.raises(DataError, match="no column `size`"):
        cascade.answers(loud, BINARY)
    assert cascade.answers(loud.append_column("size", pa.array([1.0])), BINARY)[1].to_pylist() == ["loud"]


def test_rows_at_fault_are_those_of_the_whole_batch(monkeypatch):
    lazy = LazyFeatures.of_rows(SPEC, TABLE.slice(0, 6)).take(np.array([1, 3, 5])).take(np.array([0, 2]))

    def refuse(self, rows):
        raise RowsError("no", np.array([False, True]))

    monkeypatch.setattr(Spec, "arrow", refuse)
    with pytest.raises(RowsError) as caught:
        lazy.get(["size"])
    assert np.flatnonzero(caught.value.rows).tolist() == [5] and len(caught.value.rows) == 6


# --- exits ---


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=60), st.sampled_from([0.5, 0.8, 1.0]), st.integers(1, 8))
def test_an_exit_is_the_lowest_threshold_with_the_precision(rows, precision, least):
    truth, p = np.array([t for t, _ in rows], np.int64), np.array([k / 20 for _, k in rows], np.float64)
    codes, probability = decisions(p, BINARY)
    exits = find_exits(truth, codes, probability, [precision] * 2, least)
    for code, found in enumerate(exits):
        mine = codes == code
        reached = [
            t for t in set(probability[mine])
            if (chosen := mine & (probability >= t)).sum() >= least and (truth[chosen] == code).mean() >= precision
        ]  # fmt: skip
        assert found.threshold == min(reached, default=None)
        leaves = mine & is_certain(exits, codes, probability)
        assert leaves.sum() == found.rows
        if found.rows:
            assert found.precision == (truth[leaves] == code).mean() >= precision


def test_a_row_without_a_number_goes_on():
    codes, probability = decisions(np.array([np.nan, 1.0]), BINARY)
    assert is_certain([Exit(0.5, 1, 1.0)] * 2, codes, probability).tolist() == [False, True]
    codes, probability = decisions(np.array([[np.nan, 1.0, 0.0], [0.1, 0.9, 0.0]]), LABELS["classes"][0])
    assert is_certain([Exit(0.5, 1, 1.0)] * 3, codes, probability).tolist() == [False, True]


def test_rows_never_leave_for_a_class_that_an_exit_does_not_name():
    of = stages()
    of["loud"]["exit"] = {"precision_at_least": {"spam": 0.9}, "rows_at_least": 10}
    ham, spam = fitted(of, examples()).stages[0].exits
    assert ham.threshold is None and spam.threshold > 0.5 and spam.rows >= 10


# --- fitting ---


def test_a_stage_that_memorises_its_rows_lets_no_more_of_them_leave_than_of_others():
    """Rows of the train fold are judged out of fold, so that the next stage learns from as many as reach it later."""
    rng = np.random.default_rng(3)
    key = rng.normal(size=N)
    y = rng.random(N) < 1 / (1 + np.exp(-3 * key))
    table, half = TABLE.set_column(1, "size", pa.array(key)), np.arange(N) % 2 == 0
    memory = {"sklearn": {"estimator": "sklearn.ensemble.ExtraTreesClassifier", "params": {"n_estimators": 30}}}
    of = {
        "key": {"features": ["size"], "model": memory, "exit": {"precision_at_least": 0.85, "rows_at_least": 10}},
        "words": {"features": ["words"], "model": LINEAR},
    }  # fmt: skip
    given, rows = [], examples(y, arrays=SPEC.arrow(table), part=np.arange(N) // 2)

    def run(function, shared, tasks):
        given.append(len(shared.rows.order))
        return run_in_turn(function, shared, tasks)

    conf = ModelConf.model_validate({"cascade": {"stages": of}})
    whole = conf.fit(SPEC, rows.filter(half)._replace(validation=rows.filter(~half)), 0, run)
    decided = np.array(whole.answers(table.filter(pa.array(~half)), BINARY)[1].to_pylist())
    assert given[0] == N // 2 and 0.2 < np.mean(decided == "words") < 0.8
    assert given[1] / given[0] == pytest.approx(np.mean(decided == "words"), abs=0.15)


@pytest.mark.parametrize(
    ("of", "more", "message"),
    [
        ({}, {"y": np.arange(N) == 4}, "stage `loud`: .* has one class|`loud` cannot be fitted.*one class"),
        ({"loud": {"precision_at_least": 0.3, "rows_at_least": 1}}, {}, "stage `loud`: every row of the (train|validation) fold that reaches it leaves"),
        ({}, {"part": np.zeros(N, np.int64)}, "all 600 rows are in one of 5 parts"),
    ],
)  # fmt: skip
def test_what_cannot_be_fitted_says_why(of, more, message):
    conf = stages()
    for stage, exit_ in of.items():
        conf[stage]["exit"] = exit_
    with pytest.raises(DataError, match=message):
        fitted(conf, examples(**more))


def test_a_cascade_needs_a_validation_fold():
    with pytest.raises(DataError, match="no row to find exits on"):
        ModelConf.model_validate({"cascade": {"stages": stages()}}).fit(SPEC, examples(), 0, run_in_turn)


def test_exits_name_classes_of_the_label():
    conf = ModelConf.model_validate({"cascade": {"stages": stages(precision={"spma": 0.9})}}).cascade.named_classes
    with pytest.raises(ConfError, match=r"names the class `spma`, and the label has ham, spam .did you mean `spam`"):
        check_classes(conf, BINARY)
    with pytest.raises(ConfError, match="the label is of kind labels"):
        check_classes(conf, Multilabel("string", ("p", "q")))


# --- rules ---


def test_rules_decide_by_what_is_found_and_let_the_other_rows_go_on(tmp_path):
    found = {
        "bang": {"found": {"input_col": "text", "patterns": ["exclamations"]}},
        "tea": {"found": {"input_col": "text", "words": ["tea"]}},
    }
    spec = Spec.fit(TABLE, {name: Feature.model_validate(kind) for name, kind in (found | {"words": FEATURES["words"]}).items()})
    of = {
        "rules": {"rules": {"spam": ["bang"], "ham": ["tea"]}, "exit": {"precision_at_least": 0.75, "rows_at_least": 10}},
        "words": {"features": ["words", {"stage": "rules"}], "model": LINEAR},
    }  # fmt: skip
    rows = Examples(spec.arrow(TABLE), SPAM, None, BINARY, np.arange(N), np.arange(N))
    whole = ModelConf.model_validate({"cascade": {"stages": of}}).fit(spec, rows._replace(validation=rows), 0, run_in_turn)
    numbers, decided = whole.answers(TABLE, BINARY)
    texts = TABLE["text"].to_pylist()
    bang, tea = (np.array([sign in text for text in texts]) for sign in ("!", "tea"))
    p_bang, p_tea = ((SPAM[of].sum() + 1) / (of.sum() + 2) for of in (bang, tea & ~bang))
    assert p_bang > 0.75 and p_tea < 0.25
    assert decided.to_pylist() == ["rules" if applies else "words" for applies in bang | tea]
    assert set(numbers[bang]) == {p_bang} and set(numbers[tea & ~bang]) == {p_tea} and np.isfinite(numbers).all()
    whole.save(tmp_path)
    loaded = load_fitted(tmp_path, spec, json.loads(json.dumps(whole.facts, allow_nan=False)))
    assert loaded.answers(TABLE, BINARY)[0].tobytes() == numbers.tobytes()
