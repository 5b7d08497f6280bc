"""The last layer for each kind of label: bits of several labels, and outputs as probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keyfold.labels import Bands, Binary, Classes, Multilabel, Number
from keyfold.models.heads import Head, pack_bits, unpack_bits


@given(st.integers(1, 70).flatmap(lambda k: arrays.arrays(bool, st.tuples(st.integers(0, 5), st.just(k)))))
def test_several_labels_are_bits(has):
    cells = pack_bits(has)
    assert cells.shape == (len(has), Head("labels", has.shape[1]).label_cells) and cells.dtype == np.int32
    assert (unpack_bits(cells, has.shape[1]) == has).all()


@pytest.mark.parametrize(
    ("label", "outputs", "numbers"),
    [
        (Number("double", transform="log"), [0.0, 1.0], [1.0, np.e]),
        (Binary("boolean", True, False), [0.0, 1e4, -1e4], [0.5, 1.0, 0.0]),
        (Classes("string", ("a", "b")), [[0.0, np.log(3)], [-1e4, 1e4]], [[0.25, 0.75], [0.0, 1.0]]),
        (Bands("double", (1.0,), 0.0, 2.0, (0.5, 1.5)), [[5.0, 5.0]], [[0.5, 0.5]]),
        (Multilabel("string", ("a", "b"), (0.5, 0.5)), [[0.0, np.log(3)]], [[0.5, 0.75]]),
        (Multilabel("string", ("a",), (0.5,)), [0.0, np.log(3)], [[0.5], [0.75]]),
    ],
)
def test_outputs_become_the_numbers_of_the_label(label, outputs, numbers):
    head = Head.of(label)
    assert head.numbers(label, np.array(outputs)) == pytest.approx(np.array(numbers))
    none = head.numbers(label, np.empty(0))
    assert none.shape == (0, *np.shape(numbers)[1:])
