"""Probabilities are counted by bins and added exactly, on every engine."""

import math
from fractions import Fraction

import pyarrow as pa

from keyfold.scoring import outcomes
from keyfold.scoring.outcomes import Outcomes

HARD = [0.0, -0.0, 5e-324, 1e-19, 2.0**-31, 0.05, 0.1, 0.1 + 0.2, 0.7, 0.95, 1 - 2.0**-53, 1.0, None, math.nan, -1e300, math.inf]


class Predictions:
    """A table of predictions."""

    def __init__(self, engine, probabilities):
        n = len(probabilities)
        table = {
            "period": ["all"] * n,
            "status": ["scored"] * n,
            "reason": pa.nulls(n, pa.string()),
            "probability": probabilities,
        }
        self.rows = engine.frame(pa.table(table))

    def frame(self):
        return self.rows


def test_bins_and_mean(engine):
    x = pa.array(HARD, pa.float64())
    (high, low) = (array.to_pylist() for array in outcomes._parts_of(pa.record_batch({"probability": x}))[1:])
    assert all(
        0 <= Fraction(p) - Fraction(h, 2**31) - Fraction(low_part, 2**62) < Fraction(1, 2**62)
        for p, h, low_part in zip(HARD[:12], high, low, strict=False)
    )
    found = Outcomes.of(Predictions(engine, x), "all", len(HARD))
    assert found.counts == {"scored": 16, "quarantined": 0}
    assert found.histogram.tolist() == [6, 1, 1, 0, 0, 0, 1, *[0] * 6, *[0], 1, 0, 0, 0, 0, 5]
    total = sum(map(Fraction, HARD[:12])) + 2  # what is above 1, NaN too, counts as 1
    assert abs(Fraction(found.mean) - total / 15) < Fraction(1, 2**53)
