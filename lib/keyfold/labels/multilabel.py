"""Any number of several labels."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools, Doubles, single_chunk
from keyfold.labels.label import Answer, Label, probability_maps

POOLED = "(other)"  # the label of rows that have a rare one


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

    def same_question(self, other: Label) -> bool:
        """Whether the labels are the same."""
        return isinstance(other, Multilabel) and other.labels == self.labels

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
        """string: the codes of the row's labels with commas, such as `3,17`, without those that the train fold does not have"""
        return pa.string()

    def encode(self, truth: pa.ChunkedArray) -> Any:
        """Whether each row has each label: a sparse matrix (n, k), which takes memory for the labels that rows have."""
        from scipy import sparse

        codes = pc.split_pattern(single_chunk(truth), ",")
        row, code = pc.list_parent_indices(codes).to_numpy(), codes.flatten()
        known = pc.not_equal(code, "").to_numpy(zero_copy_only=False)  # no labels are one empty text
        column = code.filter(pa.array(known)).cast(pa.int64()).to_numpy()
        return sparse.csr_array((np.ones(len(column), bool), (row[known], column)), shape=(len(codes), self.width))

    def measured(self, truth: pa.ChunkedArray) -> Bools:
        """Whether each row has each label (n, k)."""
        return self.encode(truth).toarray()  # type: ignore[no-any-return]

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
