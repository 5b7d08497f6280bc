"""Parity of synthetic rows: other bits in another order, alone, or on another machine."""

import numpy as np

from keyfold.features import matrix
from keyfold.features.kind import FeatureOutput
from keyfold.models import parity

OUTS = {
    "city": FeatureOutput("int", 40), "plan": FeatureOutput("int", 5), "pair": FeatureOutput("int", 200), "age": FeatureOutput("double"), "spent": FeatureOutput("double"),
    "waves": FeatureOutput("double", length=8),
}  # fmt: skip


def wide(arrays):
    """A kind whose sums depend on how many rows there are."""
    return np.full(len(arrays["age"]), 0.5 + 2.0**-50 * len(arrays["age"]))


def test_made_up_rows_find_a_kind_whose_rows_depend_on_each_other():
    outs = {**OUTS, "bag": FeatureOutput("int", 9, None), "photo": FeatureOutput("float", length=3)}
    steady = lambda arrays: arrays["age"] * 2 + arrays["photo"].sum(axis=1)  # noqa: E731
    assert parity.measure_parity(steady, outs, parity.exact_predictions(steady, outs)) == (40, 0, 0.0)
    measured = parity.measure_parity(wide, outs, parity.exact_predictions(wide, outs))
    assert measured == (40, 1, 39 * 2.0**-50)
    assert str(measured) == "1 of 40 synthetic rows, by 3e-14 at most"
    turned = lambda arrays: arrays["age"] + np.arange(len(arrays["age"]))  # noqa: E731
    assert parity.measure_parity(turned, outs, parity.exact_predictions(turned, outs)).differ == 40


def test_other_bits_than_where_it_was_trained_are_measured():
    outs = {"age": FeatureOutput("double")}
    expected = parity.exact_predictions(lambda arrays: arrays["age"] / 3, outs)
    assert parity.measure_parity(lambda arrays: arrays["age"] * (1 / 3), outs, expected).differ > 0
    strange = [*expected[:-1], "nan"]
    assert parity.measure_parity(lambda arrays: arrays["age"] / 3, outs, strange) == (40, 1, 0.0), (
        "a NaN is no number to subtract"
    )


def test_made_up_rows_are_features_of_every_form_and_few_where_rows_are_wide():
    outs = {**OUTS, "bag": FeatureOutput("int", 9, None)}
    rows = parity.made_up_features(outs)
    assert matrix.sparse_matrix(rows, outs).shape == (40, sum(out.columns for out in outs.values()))
    assert matrix.dense_matrix({n: rows[n] for n in OUTS}, OUTS).shape == (40, 13)
    assert all(rows[n].min() >= 0 and rows[n].max() < OUTS[n].width for n in ("city", "plan", "pair"))
    assert len(set(rows["age"].tolist())) == 40
    assert len(parity.made_up_features({"photo": FeatureOutput("float", length=224 * 224 * 3)})["photo"]) == 2


def test_a_model_that_refuses_made_up_rows_is_not_compared():
    def refuses(arrays):
        raise ValueError

    assert parity.exact_predictions(refuses, OUTS) == []
    assert parity.measure_parity(refuses, OUTS, []) == (0, 0, 0.0)
