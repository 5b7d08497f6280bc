"""Sections of the page that several jobs share."""

import re

import numpy as np
import pytest

from html_page import Reader, some_metrics
from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.metrics import METRICS
from keyfold.evaluation.slices import Slice
from keyfold.reporting.sections import (
    Confusion,
    classification_sections,
    features_section,
    files_section,
    folds_section,
    metrics_section,
    reconciliation_section,
    scores_section,
    slices_section,
    stability,
    steps_section,
    threshold_section,
)

pytestmark = pytest.mark.filterwarnings("error")  # of matplotlib and NumPy: a run's log stays quiet


def test_reconciliation_says_whether_it_adds_up():
    right = reconciliation_section({"read": 1000, "kept": 998, "quarantined": 2}, {"few": 1, "many": 7, "also": 1})
    assert "1,000 read = 998 kept + 2 quarantined" in right.html
    assert "✓" in right.html
    assert re.findall("<td>(many|also|few)", right.html) == ["many", "also", "few"]
    wrong = reconciliation_section({"read": 1000, "kept": 990}, {}, title="Rows scored")
    assert "10 rows are unaccounted for" in wrong.html
    assert 'class="note bad"' in wrong.html
    assert "quarantined" not in wrong.html
    assert wrong.title == "Rows scored"


def test_a_share_is_never_rounded_to_all_or_nothing():
    html = reconciliation_section({"read": 1_000_000, "kept": 999_999, "quarantined": 1}, {}).html
    for share in ("100.00%", "&gt;99.99%", "&lt;0.01%"):
        assert share in html
    assert "0.00%" in reconciliation_section({"read": 10, "kept": 10, "quarantined": 0}, {}).html


def test_folds_tell_share_and_rate():
    text = Reader(folds_section([("train", 750, 150), ("test", 250, None)], {"train": 0.8, "test": 0.2}).html).text
    assert re.search(r"train\s*750\s*75.00%\s*80.00%\s*150\s*20.00%", text)
    assert re.search(r"test\s*250\s*25.00%\s*20.00%\s*–\s*–", text)


def test_features_join_their_inputs():
    html = features_section([{"name": "f", "kind": "crossed", "inputs": ["a", "b"], "width": 4096}]).html
    assert "a, b" in html
    assert "4,096" in html


def test_four_curves_are_drawn_and_the_truth_if_known():
    y, p = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.4, 0.3])
    plain, known = classification_sections(y, p)[0], classification_sections(y, p, p)[0]
    for title in ("ROC curve", "Precision and recall", "Calibration", "Lift"):
        assert title in plain.html
    assert "true probability" not in plain.html
    assert ">true probability<" in known.html
    assert "base rate, 50.0%" in plain.html


@pytest.mark.parametrize("y", [[], [1, 1], [0, 0]])
def test_one_class_has_no_curves(y):
    (section,) = classification_sections(y, [0.5] * len(y))
    html = section.html
    assert "both classes" in html
    assert "<svg" not in html


def test_metrics_of_folds_may_differ():
    html = metrics_section({"train": {"rmse": Metric(1, 1, 1)}, "test": {"mine": Metric(2, 2, 2)}}).html
    assert re.findall(r"<td[^>]*>(.*?)</td>", html) == ["RMSE ↓", "1.00 (1.00 – 1.00)", "–", "mine", "–", "2.00 (2.00 – 2.00)"]


def test_slices_without_a_known_metric_have_no_picture():
    found = {"a": Slice(3, some_metrics(*[np.nan] * 3))}
    assert "<svg" not in slices_section("c", found).html
    assert "<svg" in slices_section("c", {**found, "b": Slice(9, some_metrics())}).html
    assert slices_section("c", {}).title == "By c"


def test_long_names_are_cut_in_pictures_only():
    html = steps_section([("x" * 50, 1, 1.0)]).html
    assert "x" * 50 in html
    assert f">{'x' * 31}…<" in html


def test_steps_survive_no_time_and_no_rows():
    html = steps_section([("a", 0, 0.0), ("b", None, 0.0)]).html
    assert "0.0 seconds in all" in html
    assert "500.0" in steps_section([("a", 1000, 2.0)]).html
    assert steps_section([]).title == "Time"


def test_empty_counts_draw():
    assert "<svg" in scores_section([0, 0.5, 1], [0, 0]).html
    assert "<svg" in folds_section([("train", 0, 0)], {"train": 1.0}).html
    assert "<svg" in reconciliation_section({"read": 0, "kept": 0}, {}).html


def test_the_confusion_matrix_counts_each_row_once_at_each_threshold():
    rng = np.random.default_rng(0)
    y, p = rng.random(500) < 0.3, np.round(rng.random(500), 2)
    html = threshold_section(y, p).html
    text = Reader(html).text
    for threshold in (0.1, 0.5, 0.9):
        positive = p >= threshold
        counts = Confusion(
            *(int(n) for n in ((y & positive).sum(), (~y & positive).sum(), (y & ~positive).sum(), (~y & ~positive).sum()))
        )
        assert f"{threshold:.2f}{''.join(map(str, counts))}" in "".join(text.split())
        if threshold == 0.5:
            cells = dict(re.findall(r'data-cell="(tp|fp|fn|tn)">(\d+)<', html))
            assert {name: int(n) for name, n in cells.items()} == counts._asdict()


def test_shares_of_no_rows_are_dashes():
    assert Confusion(0, 0, 0, 0).shares == dict.fromkeys(("precision", "recall", "predicted positive", "accuracy"))
    assert "–" in threshold_section([0, 1], [0.1, 0.2]).html


def test_files_are_listed_by_quarantined_rows_and_a_generator_has_none():
    (section,) = files_section({"a": (5, 5, 0), "b": (5, 3, 2), "": (1, 1, 0)}, ["one is new"])
    assert re.findall(r"<td>(\w)</td>", section.html) == ["b", "a"]
    assert "one is new" in section.html
    assert files_section({"": (1, 1, 0)}, []) == []


def test_how_far_scores_moved():
    same = np.array([10, 20, 30])
    assert stability(same, same * 5) < 0.001 and stability(same, same[::-1]) > 0.25
    p, q = np.array([10.5, 20.5]) / 31, np.array([20.5, 10.5]) / 31
    assert stability([10, 20], [20, 10]) == pytest.approx(sum((p - q) * np.log(p / q)))


@pytest.mark.parametrize(("former", "words", "bad"), [
    ([12, 18], "no notable drift", False), ([18, 12], "some drift of the scores", False), ([20, 10], "strong drift of the scores", True),
])  # fmt: skip
def test_scores_are_compared_with_those_of_a_former_period(former, words, bad):
    html = scores_section([0, 0.5, 1], [12, 18], ("2026-01", former)).html
    assert "index against 2026-01: " in html and words in html and ('class="note bad"' in html) == bad


def test_the_mean_of_slices_is_over_rows():
    found = {"a": Slice(10, {"roc_auc": Metric(0.6, 0.5, 0.7)}), "b": Slice(30, {"roc_auc": Metric(0.8, 0.7, 0.9)})}
    assert "mean over rows, 0.750" in slices_section("c", found).html


def test_the_table_of_metrics_names_all_that_are_shown():
    html = metrics_section({"test": dict.fromkeys(METRICS, Metric(0.5, 0.4, 0.6))}).html
    assert re.findall(r"<tr><td>(.*?) [↑↓]</td>", html) == [kind.label for kind in METRICS.values()]


def test_the_confusion_matrix_is_that_at_the_threshold_of_the_model():
    y, p = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.3271, 0.3271])
    html = threshold_section(y, p, 0.3271).html
    assert 'data-cell="threshold">0.3271<' in html and 'value="33"' in html
    assert [int(n) for n in re.findall(r'data-cell="(?:tp|fn|fp|tn)">(\d)', html)] == [2, 0, 1, 1]
    rows = re.findall(r'<td class="n">([\d.]+)</td>|<td>(0\.\d+)</td>', html)
    assert ("", "0.3271") in rows or ("0.3271", "") in rows
    assert html.count("0.50") == 1, "in the table only"


def test_slices_show_brief_metrics():
    found = {"a": Slice(3, some_metrics() | {"recall": Metric(0.1, 0, 0.2)})}
    assert "Recall" not in slices_section("c", found).html and "ROC AUC" in slices_section("c", found).html
