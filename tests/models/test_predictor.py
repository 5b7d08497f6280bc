"""Rows on which a model raises are found and quarantined, no others."""

from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.errors import RowsError
from keyfold.models import predictor
from shop_model import shop_model


class PickyModel:
    """Names some rows that it refuses, raises without naming others, and predicts NaN for a third kind."""

    answer_types = MappingProxyType({"prediction": pa.float64(), "probability": pa.float64()})

    def predict(self, rows):
        x = np.array(rows["x"].to_pylist())
        if (x % 7 == 1).any():
            raise RowsError("named", x % 7 == 1)
        if (x % 7 == 2).any():
            raise ValueError("some row")
        return {"prediction": pa.array(x / 1.0, mask=x % 7 == 3), "probability": pa.nulls(len(x), pa.float64())}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_only_rows_at_fault_are_quarantined_and_rows_stay_in_order(x):
    outcome = predictor.predict_rows(PickyModel(), pa.RecordBatch.from_pydict({"x": x}))
    reasons = {1: "named", 2: "ValueError: some row", 3: predictor.NOT_FINITE}
    assert outcome["reason"].to_pylist() == [reasons.get(n % 7) for n in x]
    assert outcome["prediction"].to_pylist() == [None if n % 7 in reasons else n for n in x]
    assert outcome["status"].to_pylist() == ["quarantined" if n % 7 in reasons else "scored" for n in x]


def test_rows_are_not_at_fault_when_memory_runs_out():
    class LargeModel(PickyModel):
        limit = 4

        def predict(self, rows):
            if rows.num_rows > self.limit:
                raise pa.ArrowMemoryError(f"malloc of size {rows.num_rows} failed")
            return super().predict(rows)

    model, rows = LargeModel(), pa.RecordBatch.from_pydict({"x": [7] * 32})
    assert predictor.predict_rows(model, rows)["status"].to_pylist() == ["scored"] * 32
    model.limit = 0
    with pytest.raises(MemoryError):
        predictor.predict_rows(model, rows)


def test_threads_load_a_model_once(tmp_path):
    packed = predictor.pack_folder(shop_model_folder(tmp_path))
    digest = predictor.bytes_digest(packed)
    with ThreadPoolExecutor(4) as threads:
        loaded = {id(model) for model in threads.map(lambda _: predictor._unpacked(digest, packed), range(8))}
    assert len(loaded) == predictor.loads[digest] == 1


def shop_model_folder(path):
    shop_model().save(path)
    return path
