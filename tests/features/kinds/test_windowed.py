"""A window as a feature."""

import pyarrow as pa
import pytest

from every_kind import fitted
from keyfold.errors import DataError


def test_a_missing_window_is_described():
    conf = {"windowed": {"input_col": "x", "column": "w", "over": "3 rows", "take": "mean"}}
    spec, result = fitted([(1.0,), (None,)], "w double", f=conf)
    assert result["f"].tolist() == [1.0, 1.0]
    message = (
        r"no column `w`, which a feature takes \(mean of `x` over 3 rows; the feature table has it, and series\.States gives it\)"
    )
    with pytest.raises(DataError, match=message):
        spec.arrow(pa.table({"x": [1.0]}))
