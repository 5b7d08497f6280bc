"""Any number of several labels."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Bools, Doubles
from keyfold.labels.label import Answer, Label, probability_maps


@dataclass(frozen=True)
class Multilabel(Label):
    """Any number of k labels; numbers of a model: (n, k) probabilities of the labels.

    labels: the k labels of the train fold, in ascending order; the code of a label is its place.
    thresholds: the least probability with which each label is predicted.
    """

    labels: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()

    kind: ClassVar[str] = "labels"

    @property
    def width(self) -> int:
        """The number of labels."""
        return len(self.labels)

    @property
    def names(self) -> list[str]:
        """The labels, in the order of their codes."""
        return list(self.labels)

    @property
    def prediction_type(self) -> pa.DataType:
        """array of strings"""
        return pa.list_(pa.string())

    @property
    def more_types(self) -> dict[str, pa.DataType]:
        """`probabilities`: a map of label to probability."""
        return {"probabilities": pa.map_(pa.string(), pa.float64())}

    @property
    def truth_type(self) -> pa.DataType:
        """array of bigint: the codes of the row's labels, without those that the train fold does not have"""
        return pa.list_(pa.int64())

    def encode(self, truth: pa.ChunkedArray) -> Bools:
        """Whether each row has each label (n, k)."""
        lists = truth.combine_chunks() if isinstance(truth, pa.ChunkedArray) else truth
        lists = pa.concat_arrays(lists.chunks) if isinstance(lists, pa.ChunkedArray) else lists
        has = np.zeros((len(lists), self.width), bool)
        row = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
        has[row, lists.flatten().to_numpy(zero_copy_only=False)] = True
        return has

    def decide(self, numbers: Doubles) -> Bools:
        """Whether each label is predicted (n, k)."""
        return numbers >= np.array(self.thresholds)

    def answer(self, numbers: Doubles) -> Answer:
        """The predicted labels, in the order of their codes, and the probabilities of all."""
        known, has = np.isfinite(numbers).all(axis=1), self.decide(numbers)
        offsets = np.append(0, np.cumsum(has.sum(axis=1))).astype(np.int32)
        values = pa.array(self.labels, pa.string()).take(pa.array(np.nonzero(has)[1]))
        mask = None if known.all() else pa.array(~known)
        return {
            "prediction": pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask),
            "probability": pa.nulls(len(has), pa.float64()),
            "probabilities": probability_maps(self.names, numbers),
        }
