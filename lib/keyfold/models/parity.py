"""Predictions of made-up features: whether they have the same bits in another order, one by one, and where the model is loaded."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.features.kind import Array, FeatureOutput
from keyfold.models.blocks import block_size

PARITY_ROWS = 40  # fewer where a block has fewer, for there each row is an image
INEXACT = "a row that is served alone may differ from the batch, for predictions depend on the rows beside it"
OTHER_BITS = (
    "predictions here differ from those where it was trained: the processor is of another type, or packages of other releases"
)
Predict = Callable[[dict[str, Array]], npt.NDArray[np.float64]]


class Parity(NamedTuple):
    """Of `rows` made-up rows, how many have other bits, and by how much they differ at most."""

    rows: int
    differ: int = 0
    most: float = 0.0

    def __str__(self) -> str:
        return f"{self.differ} of {self.rows} made-up rows, by {self.most:.1g} at most"


def exact_predictions(predict: Predict, outs: Mapping[str, FeatureOutput]) -> list[str]:
    """The predictions of the made-up rows, exact as text; none where the model refuses them."""
    try:
        return [float(value).hex() for value in predict(made_up_features(outs))]
    except Exception:  # noqa: BLE001 - a model may refuse numbers that no row has
        return []


def measure_parity(predict: Predict, outs: Mapping[str, FeatureOutput], expected: Sequence[str]) -> Parity:
    """The expected predictions against those of the rows in reverse order, and of the first one alone."""
    if not expected:
        return Parity(0)
    arrays, wanted = made_up_features(outs), np.array([float.fromhex(value) for value in expected])
    last_first = np.arange(len(wanted))[::-1]
    found = predict(_taken(arrays, last_first))[last_first]
    alone = predict(_taken(arrays, last_first[-1:]))
    pairs = [(wanted, found), (wanted[:1], alone)]
    other = [a.view(np.uint64) != b.view(np.uint64) for a, b in pairs]
    apart = [np.abs(a - b).max(initial=0.0, where=np.isfinite(a) & np.isfinite(b)) for a, b in pairs]
    other[0][:1] |= other[1]
    return Parity(len(wanted), int(other[0].sum()), float(max(apart)))


def made_up_features(outs: Mapping[str, FeatureOutput]) -> dict[str, Array]:
    """Features of some rows, the same wherever they are made: numbers in [0, 1) and indices."""
    rows = max(2, min(PARITY_ROWS, block_size(outs.values())))
    return {name: _array(out, rows, place) for place, (name, out) in enumerate(outs.items())}


def _array(out: FeatureOutput, rows: int, place: int) -> Array:
    each = out.length or 2
    # Integers modulo 2^32, as no generator of random numbers promises the same in its next release.
    drawn = (np.arange(1, rows * each + 1, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(place * 40503)) % np.uint64(2**32)
    if out.type != "int":
        values: Any = (drawn / 2**32).astype(np.float32 if out.type == "float" else np.float64)
    else:
        values = (drawn * np.uint64(out.width) >> np.uint64(32)).astype(np.int32)
    if out.length is None:
        return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * each), pa.array(values))
    return values if each == 1 else values.reshape(rows, each)


def _taken(arrays: Mapping[str, Array], places: npt.NDArray[np.intp]) -> dict[str, Array]:
    return {
        name: array.take(pa.array(places)) if isinstance(array, pa.Array) else array[places] for name, array in arrays.items()
    }
