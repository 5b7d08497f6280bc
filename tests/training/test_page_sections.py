"""The page's table by label, and what tuned thresholds gain."""

import numpy as np
from sklearn.metrics import f1_score, precision_score, recall_score

from html_page import Reader
from keyfold.labels import Multilabel
from keyfold.training.page_sections import SHOWN_LABELS, labels_section

RNG = np.random.default_rng(0)
Y = RNG.random((500, 3)) < [0.05, 0.5, 0.2]
P = np.clip(0.35 * Y + 0.5 * RNG.random((500, 3)), 0, 1)
LABEL = Multilabel("string", ("few", "many", "some"), (0.45, 0.4, 0.4))


def text_of(label, y=Y, p=P):
    return Reader(labels_section(label, y, p, np.arange(len(y))).html).text


def test_the_table_has_the_numbers_of_scikit_learn_the_most_frequent_label_first():
    text, places = text_of(LABEL), []
    for code, name in enumerate(LABEL.labels):
        decided = P[:, code] >= LABEL.thresholds[code]
        shares = [of(Y[:, code], decided) for of in (precision_score, recall_score, f1_score)]
        row = f"{name}{Y[:, code].sum()}{decided.sum()}{LABEL.thresholds[code]:.3g}" + "".join(f"{share:.2%}" for share in shares)
        assert row in text.replace(" ", "")
        places.append(text.index(name))
    assert places[1] < places[2] < places[0]


def test_the_gain_is_shown_if_thresholds_were_tuned():
    gain = f1_score(Y, np.array(LABEL.thresholds) <= P, average="micro") - f1_score(Y, P >= 0.5, average="micro")
    assert f"Micro F1 ↑ {gain:.3f}"[:14].replace(" ", "") in text_of(LABEL).replace(" ", "")
    assert "gain" not in text_of(Multilabel("string", LABEL.labels, (0.5,) * 3))


def test_a_label_that_no_row_has_has_no_shares_and_many_labels_are_cut():
    y, p = np.zeros((10, SHOWN_LABELS + 1), bool), np.zeros((10, SHOWN_LABELS + 1))
    label = Multilabel("string", tuple(f"({code})" for code in range(SHOWN_LABELS + 1)), (0.5,) * (SHOWN_LABELS + 1))
    text = text_of(label, y, p)
    assert f"The {SHOWN_LABELS} most frequent of {SHOWN_LABELS + 1} labels" in text and f"({SHOWN_LABELS})" not in text
