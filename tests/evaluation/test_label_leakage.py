"""Columns that leak the label, by their values, by where they are missing, and by one word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.evaluation.label_leakage import (
    ColumnValues,
    LabelValues,
    combined_leakage,
    leakage_reason,
    measure_leakage,
    reason_in_words,
    word_leakage,
)


def test_few_rows_are_not_enough_for_suspicion() -> None:
    y = np.array([0.0, 1.0] * 15)
    assert leakage_reason(ColumnValues(y), LabelValues(y, classes=True)) is None
    assert leakage_reason(ColumnValues(np.tile(y, 2)), LabelValues(np.tile(y, 2), classes=True))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(0, 10**6))
def test_the_area_is_that_of_scikit_learn(scores: list[int], seed: int) -> None:
    from sklearn.metrics import roc_auc_score

    y = np.random.default_rng(seed).integers(0, 2, len(scores)).astype(float)
    y[:2] = 0, 1
    assert LabelValues(y, classes=True).quality(np.array(scores, float)) == pytest.approx(roc_auc_score(y, scores))


RNG = np.random.default_rng(0)
Y = RNG.random(600) < 0.4
LABEL = LabelValues(Y.astype(float), classes=True)
HALF = np.arange(600) % 2 == 0


def test_values_and_gaps_are_measured_on_held_out_rows() -> None:
    noise = ColumnValues(RNG.normal(size=600))
    assert measure_leakage(noise, LABEL, HALF) == pytest.approx((0.5, 0.5), abs=0.1)
    copy = ColumnValues(np.where(Y, 1.0, RNG.normal(size=600) - 9))
    assert measure_leakage(copy, LABEL, HALF) == pytest.approx((1, 0.5))
    gaps = ColumnValues(None, np.where(Y, RNG.integers(0, 3, 600), -1))
    assert measure_leakage(gaps, LABEL, HALF) == (1, 1)


def test_a_number_is_measured_by_r2_of_values_and_of_ranks() -> None:
    x = RNG.normal(size=600)
    assert measure_leakage(ColumnValues(x), LabelValues(3 * x - 1, classes=False), HALF).alone > 0.99
    assert measure_leakage(ColumnValues(RNG.normal(size=600)), LabelValues(np.exp(9 * x), classes=False), HALF).alone < 0.2


def test_the_reason_names_values_gaps_or_a_word() -> None:
    assert (leakage_reason(ColumnValues(np.where(Y, 5.0, np.nan)), LABEL) or "").startswith(
        "its missing values predict the label"
    )
    assert (leakage_reason(ColumnValues(Y * 2.0), LABEL) or "").startswith("it alone predicts the label (ROC AUC 1.000")
    assert leakage_reason(ColumnValues(RNG.normal(size=600)), LABEL) is None
    texts = [f"Call {i % 7}, {'closed' if y else 'open'}." for i, y in enumerate(Y)]
    assert reason_in_words(texts, LABEL) == "one of its words predicts the label (ROC AUC 1.000 on held-out rows)"
    assert reason_in_words(["a word", None] * 300, LABEL) is None


def test_the_best_word_is_chosen_on_one_half() -> None:
    words, starts = np.arange(600), np.arange(601)  # a word of its own in each text
    assert word_leakage(words, starts, HALF, LABEL) == pytest.approx(0.5, abs=0.01)
    assert word_leakage(Y.astype(np.int64), starts, HALF, LABEL) == 1
    assert word_leakage(words[:0], np.zeros(601, np.int64), HALF, LABEL) == 0


def test_columns_are_combined_and_ordered() -> None:
    columns = {name: ColumnValues(Y + RNG.normal(0, 1, 600)) for name in "abcd"} | {"noise": ColumnValues(RNG.normal(size=600))}
    quality, names = combined_leakage(columns, LABEL)
    assert names[-1] == "noise"
    assert max(measure_leakage(column, LABEL, HALF).alone for column in columns.values()) + 0.05 < quality < 1
    assert combined_leakage(columns, LabelValues(LABEL.y, classes=False)) == (0.5, [])
