"""Sections about classes and labels count what scikit-learn counts."""

import re

import numpy as np
import pytest
import sklearn.metrics as oracle

from html_page import NASTY, Reader
from keyfold.evaluation.measures import Weighted, calibration_error
from keyfold.evaluation.row_parts import row_parts
from keyfold.evaluation.thresholds import choose_threshold, choose_thresholds
from keyfold.labels import Binary
from keyfold.reporting.class_sections import (
    MOST,
    Claims,
    calibration_section,
    classes_section,
    thresholds_section,
)

pytestmark = pytest.mark.filterwarnings("error")  # of matplotlib and NumPy: a run's log stays quiet
DRAW = np.random.default_rng(0)


def tables(section):
    """The cells of each table, by the row's first cell."""
    Reader(section.html)
    found = []
    for table in re.findall("<tbody>(.*?)</tbody>", section.html, re.DOTALL):
        rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall("<tr>(.*?)</tr>", table, re.DOTALL)]
        found.append({first: cells for first, *cells in rows})
    return found


def test_each_class_has_its_row_of_the_confusion_matrix_and_its_rates():
    names, y, predicted = ["a", NASTY, "c"], DRAW.integers(0, 3, 500), DRAW.integers(0, 3, 500)
    matrix, rates = tables(classes_section(names, y, predicted))
    counts = oracle.confusion_matrix(y, predicted)
    assert [list(map(int, row)) for row in matrix.values()] == counts.tolist() and len(rates) == 3
    of = oracle.precision_recall_fscore_support(y, predicted)
    for code, name in ((0, "a"), (2, "c")):
        rows, guessed, *shares = rates[name]
        assert (int(rows), int(guessed)) == (of[3][code], counts[:, code].sum())
        assert shares == [f"{of[part][code]:.2%}" for part in range(3)]


def test_a_class_that_the_train_fold_lacks_is_an_error_with_a_row_of_its_own():
    matrix, rates = tables(classes_section(["a", "b"], np.array([0, 1, -1, -1]), np.array([0, 1, 0, 1])))
    assert matrix["(unknown to the train fold)"] == ["1", "1"]
    assert rates["(unknown to the train fold)"][:2] == ["2", "0"] and rates["a"] == ["1", "2", "50.00%", "100.00%", "66.67%"]


def test_rare_ones_of_many_classes_are_together_and_none_is_lost():
    k = MOST + 7
    y = np.append(np.repeat(np.arange(k), np.arange(1, k + 1)), [-1, -1])
    predicted = DRAW.permutation(np.where(y < 0, 0, y))
    matrix, rates = tables(classes_section([f"class {code}" for code in range(k)], y, predicted))
    assert len(matrix) == MOST + 2 and len(rates) == k + 1 and next(iter(rates)) == f"class {k - 1}"
    cells = np.array([[int(n) for n in row] for row in matrix.values()])
    assert cells.sum() == len(y) and cells.shape == (MOST + 2, MOST + 1)
    assert cells.sum(axis=1).tolist() == [*range(8, k + 1), sum(range(8)), 2]


def test_a_chosen_threshold_is_on_its_curve():
    y, p = DRAW.random(300) < 0.3, DRAW.random(300)
    for rule in ({"maximise": "f1"}, {"recall_at_least": 0.5}, {"cost": {"false_positive": 1, "false_negative": 9}}):
        one = choose_threshold(y, p, rule)
        html = thresholds_section({"yes": one}).html
        assert f"chosen, {one.threshold:.4g}" in html and html.count("<svg") == 1
    y = np.stack([y, y & False, *[y] * 7], axis=1)
    names = [f"l{code}" for code in range(9)]
    html = thresholds_section(
        dict(zip(names, choose_thresholds(y, np.stack([p] * 9, axis=1), {"maximise": "f1"}, names), strict=True))
    ).html
    assert html.count("<svg") == 6 and "but 0.5: 1 labels" in html and "first 6 of 8 labels" in html


def test_the_calibration_error_is_that_of_the_metrics():
    y, p = DRAW.random(500) < 0.3, np.minimum(DRAW.random(500), 0.5)  # bins of different sizes
    found, *_ = tables(calibration_section("sigmoid", Claims(y, p), Claims(y, p / 2)))
    for name, of in (("before", p), ("after", p / 2)):
        expected = calibration_error(Weighted(row_parts(Binary("boolean", True, False), y.astype(float), of), np.ones(500)))
        assert float(found[f"{name} calibration"][0]) == pytest.approx(expected, rel=1e-3)
