"""Labels with a neutral answer: which rows are declined, and what they get."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keyfold.labels import Classes, Neutral

LEARNT = Neutral("string", ("no", "yes", "neutral"))


@given(st.integers(2, 5), st.floats(0.1, 0.99), st.integers(0, 30), st.integers(0, 2**32))
def test_a_model_that_abstains_declines_the_rows_that_it_is_not_sure_of(k, abstain, rows, seed):
    label = Neutral("string", tuple("abcde"[:k]), abstain)
    numbers = np.random.default_rng(seed).dirichlet(np.ones(k), rows)
    answer, always = label.answer(numbers), Classes("string", label.classes).answer(numbers)
    sure = numbers.max(axis=1, initial=0) >= abstain
    assert answer["prediction"].to_pylist() == [
        name if known else "neutral" for name, known in zip(always["prediction"].to_pylist(), sure, strict=True)
    ]
    assert answer["probability"] == always["probability"] and answer["probabilities"] == always["probabilities"]
    assert np.array_equal(label.declines(numbers), ~sure) and np.array_equal(label.confidence(numbers), numbers.max(axis=1))


@given(st.integers(0, 30), st.integers(0, 2**32))
def test_a_learnt_neutral_class_is_predicted_where_it_is_the_most_probable(rows, seed):
    numbers = np.random.default_rng(seed).dirichlet(np.ones(3), rows)
    answer = LEARNT.answer(numbers)
    assert [name == "neutral" for name in answer["prediction"].to_pylist()] == LEARNT.declines(numbers).tolist()
    assert np.array_equal(LEARNT.declines(numbers), numbers[:, 2] > numbers[:, :2].max(axis=1, initial=0))
    best = np.array(LEARNT.answers)[LEARNT.best_answer(numbers)]
    kept = ~LEARNT.declines(numbers)
    assert np.array_equal(best[kept], np.array(answer["prediction"].to_pylist())[kept])


def test_a_row_whose_probability_is_the_least_one_is_answered():
    label = Neutral("string", ("no", "yes"), 0.75)
    assert label.answer(np.array([[0.25, 0.75], [0.26, 0.74], [0.8, 0.2]]))["prediction"].to_pylist() == ["yes", "neutral", "no"]


def test_answers_are_compared_only_if_both_learn_the_neutral_class_or_neither_does():
    abstaining = Neutral("string", ("no", "yes"), 0.75)
    assert abstaining.same_question(Neutral("string", ("no", "yes"), 0.9))
    assert not abstaining.same_question(Classes("string", ("no", "yes"))) and not abstaining.same_question(LEARNT)
    assert LEARNT.same_question(Neutral("string", ("no", "yes", "neutral")))
