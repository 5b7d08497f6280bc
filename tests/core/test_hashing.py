"""The hash contract: xxHash64 of canonical values, as Spark computes it."""

import decimal

import numpy as np
import pyarrow as pa
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from keyfold.core import hashing


def test_hashes_are_xxhash64_of_spark(spark):
    """Fixed points of the contract, from Spark's own function: should these move, all saved models would be wrong."""
    from pyspark.sql import functions as F

    row = spark.range(1).select(F.xxhash64(F.lit("")), F.xxhash64(F.lit("keyfold")), F.xxhash64(F.lit(7).cast("bigint"))).first()
    assert [hashing.text_hash(""), hashing.text_hash("keyfold")] == list(row)[:2]
    assert hashing.value_hash(pa.array([7, None])).tolist() == [row[2], 42]
    assert hashing.feature_hash("s", [np.array([1]), np.array([2])]).tolist() == [
        spark.range(1).select(F.xxhash64(F.xxhash64(F.lit("s")), F.lit(1).cast("bigint"), F.lit(2).cast("bigint"))).first()[0]
    ]


@given(st.lists(st.one_of(st.none(), st.binary(max_size=70)), max_size=60), st.integers(0, 5))
def test_texts_of_all_lengths_hash_as_xxhash_does(cells, skipped):
    array = pa.array(cells, pa.binary()).slice(skipped)
    wanted = [42 if cell is None else np.uint64(xxhash.xxh64_intdigest(cell, 42)).view(np.int64) for cell in cells[skipped:]]
    assert hashing.value_hash(array).tolist() == wanted


def test_canonical_values():
    assert [hashing.decimal_text(decimal.Decimal(d)) for d in ("1.50", "100", "1E+2", "-0.0", "0.0000000001", "-1.10")] == [
        "1.5", "100", "100", "0", "0.0000000001", "-1.1"
    ]  # fmt: skip
