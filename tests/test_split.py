"""A row's fold is a pure function of its key."""

import numpy as np
import pyarrow as pa
import pytest

from keyfold import hashing
from keyfold.errors import DataError
from keyfold.split import Folds, Split, key_hash


def folds_of(frame, **conf):
    split = Folds(Split.model_validate(conf), ["id"], "churn")
    return dict(frame.select("id", split.spark(frame).alias("fold")).collect())


def test_folds_do_not_move(spark):
    small, large = spark.range(2000), spark.range(5000).repartition(7)
    one, other = folds_of(small), folds_of(large)
    assert {k: other[k] for k in one} == one
    text = folds_of(spark.range(2000).selectExpr("cast(id as int) id"))
    assert text == one, "the width of an integer does not matter"
    hashes = hashing.value_hash(pa.array(range(2000)))
    assert Folds(Split(), ["id"], "churn").numpy([hashes]).tolist() == [one[i] for i in range(2000)]


def test_more_test_takes_from_train_alone(spark):
    before = folds_of(spark.range(5000))
    after = folds_of(spark.range(5000), share={"train": 0.7, "validation": 0.1, "test": 0.2})
    moves = {(before[k], after[k]) for k in before if before[k] != after[k]}
    assert moves == {("train", "test")}


def test_shares_and_salts(spark):
    first, second = folds_of(spark.range(20000)), folds_of(spark.range(20000), salt="other")
    values, counts = np.unique(list(first.values()), return_counts=True)
    assert dict(zip(values, counts / 20000, strict=True)) == pytest.approx(
        {"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.01
    )
    both = sum(first[k] == second[k] == "test" for k in first) / 20000
    assert both == pytest.approx(0.01, abs=0.004), "two salts are independent"


def test_a_float_key_is_refused(spark):
    with pytest.raises(DataError, match=r"split by `x`.*got double"):
        key_hash(spark.createDataFrame([(0.5,)], "x double"), ["x"], "s")
