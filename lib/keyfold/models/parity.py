"""Parity: whether a model predicts the same bits for synthetic features in any order, for one row alone, and on another machine."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.features.kind import Array, FeatureOutput
from keyfold.models.blocks import block_size
from keyfold.models.examples import take_rows

PARITY_ROWS = 40  # fewer if a block has fewer, as for images
INEXACT = "a row that is served alone may differ from the batch, since predictions depend on the other rows"
OTHER_BITS = "predictions here differ from those where it was trained: another type of processor, or other releases of packages"
Predict = Callable[[dict[str, Array]], npt.NDArray[np.float64]]


class Parity(NamedTuple):
    """Number of synthetic rows, how many of them have other bits, and the largest difference."""

    rows: int
    differ: int = 0
    most: float = 0.0

    def __str__(self) -> str:
        return f"{self.differ} of {self.rows} synthetic rows, by {self.most:.1g} at most"


def exact_predictions(predict: Predict, outs: Mapping[str, FeatureOutput]) -> list[str]:
    """The predictions of the synthetic rows as hexadecimal text; empty if the model raises on them."""
    try:
        return [float(value).hex() for value in predict(made_up_features(outs)).reshape(-1)]
    except Exception:  # noqa: BLE001 - a model may refuse numbers that no row has
        return []


def measure_parity(predict: Predict, outs: Mapping[str, FeatureOutput], expected: Sequence[str]) -> Parity:
    """Compares the expected predictions with those of the rows in reverse order, and of the first row alone."""
    if not expected:
        return Parity(0)
    arrays = made_up_features(outs)
    rows = len(next(iter(arrays.values())))
    trained = np.array([float.fromhex(value) for value in expected]).reshape(rows, -1)
    reverse = np.arange(rows)[::-1]
    reordered = predict(take_rows(arrays, reverse)).reshape(rows, -1)[reverse]
    alone = predict(take_rows(arrays, reverse[-1:])).reshape(1, -1)
    pairs = [(trained, reordered), (trained[:1], alone)]
    differ = [(a.view(np.uint64) != b.view(np.uint64)).any(axis=1) for a, b in pairs]
    differences = [np.abs(a - b).max(initial=0.0, where=np.isfinite(a) & np.isfinite(b)) for a, b in pairs]
    differ[0][:1] |= differ[1]
    return Parity(len(trained), int(differ[0].sum()), float(max(differences)))


def made_up_features(outs: Mapping[str, FeatureOutput]) -> dict[str, Array]:
    """Synthetic features, the same on every machine: numbers in [0, 1) and indices. Few rows if a row is wide."""
    rows = max(2, min(PARITY_ROWS, block_size(outs.values())))
    return {name: _array(out, rows, place) for place, (name, out) in enumerate(outs.items())}


def _array(out: FeatureOutput, rows: int, place: int) -> Array:
    each = out.length or 2
    # Integers modulo 2^32, since no random number generator promises equal numbers in later releases.
    numbers = (np.arange(1, rows * each + 1, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(place * 40503)) % np.uint64(
        2**32
    )
    if out.type != "int":
        values: Any = (numbers / 2**32).astype(np.float32 if out.type == "float" else np.float64)
    else:
        values = (numbers * np.uint64(out.width) >> np.uint64(32)).astype(np.int32)
    if out.length is None:
        return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * each), pa.array(values))
    return values if each == 1 else values.reshape(rows, each)
