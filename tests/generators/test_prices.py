"""Prices: working days, and changes that follow the days before."""

import numpy as np
import pytest
from pydantic import ValidationError

from generated import blocks
from keyfold.generators import GENERATORS


def prices(**options):
    return GENERATORS["prices"](generator="prices", **{"symbols": 4, "days": 2000, **options})


def test_prices_are_of_working_days_and_follow_the_days_before(engine) -> None:
    generated = blocks(prices(), range(4))
    rows = generated.to_pandas()
    assert not rows.duplicated(["stock", "Date"]).any() and len(rows) == 8000
    days = rows.Date.to_numpy("M8[D]")
    assert np.is_busday(days).all() and days.max() == np.datetime64("2026-10-30")
    # The change is that of the price, and half of the mean of the five before is in it.
    assert np.allclose(100 * np.diff(np.log(rows.value[:2000])), rows.change[1:2000], atol=1e-3)
    past = rows.groupby("stock").change.transform(lambda c: c.shift(1).rolling(5).mean())
    slope = np.polyfit(past[past.notna()], rows.change[past.notna()], 1)[0]
    assert 0.4 < slope < 0.6
    for tasks in (1, 3):
        drawn = prices().frame(engine, tasks).to_arrow()
        assert drawn.sort_by([("stock", "ascending"), ("Date", "ascending")]).equals(generated)
    assert not blocks(prices(seed=1), range(4)).equals(generated)
    with pytest.raises(ValidationError, match="days"):
        prices(days=1)
