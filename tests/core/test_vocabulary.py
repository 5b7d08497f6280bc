"""Lookup of values in a vocabulary by their hashes."""

import numpy as np
import pytest

from keyfold.core import vocabulary
from keyfold.engine.spark_columns import column


@pytest.mark.parametrize("words", [[], ["a"], [f"word {n}" for n in range(300)], [*range(-50, 50)]])
def test_each_value_is_found_at_its_index_and_others_are_not(words):
    assert vocabulary.has_distinct_hashes(words)
    hashes = np.array([*vocabulary.hashes_of(words), 1, 2], np.int64)
    assert vocabulary.lookup(hashes, words).tolist() == [*range(len(words)), -1, -1]


def test_repeated_values_have_no_distinct_hashes():
    assert not vocabulary.has_distinct_hashes(["a", "b", "a"])


def test_sql_finds_the_same_indices(spark):
    words = ["a", "é", "", *(f"word {n}" for n in range(60))]
    frame = spark.createDataFrame([(h,) for h in [*vocabulary.hashes_of(words), 1]], "h bigint").coalesce(1)
    found = frame.select(column(vocabulary.sql_lookup("h", words)), column(vocabulary.sql_lookup("h", []))).collect()
    assert [tuple(row) for row in found] == [*((i, None) for i in range(len(words))), (None, None)]
