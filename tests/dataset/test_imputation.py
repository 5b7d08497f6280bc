"""Imputations: the same in Spark and in NumPy, in the shares that were counted, and fitted on rows in any order."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keyfold.core import hashing
from keyfold.dataset.imputation import Imputation, Imputations, MissingColumn, _cumulate, fit_imputations
from keyfold.errors import DataError


def drawn(values, cumulative, ids, spark):
    imputation = Imputation("card", "distribution", ["old"], values, cumulative)
    rows = pa.table({"id": ids, "card": pa.nulls(len(ids), pa.string())})
    frame = spark.createDataFrame(rows).selectExpr("id", "CAST(card AS STRING) card", "'old' keyfold_layout", "true is_bridged")
    in_spark = {row.id: row.card for row in Imputations([imputation]).spark(frame, ["id"]).collect()}
    hashes = hashing.feature_hash("bridge:card", [hashing.value_hash(pa.array(ids))])
    return [in_spark[i] for i in ids], imputation.numpy(hashes).tolist()


def test_a_distribution_is_drawn_alike_in_spark_and_in_numpy_as_often_as_counted(spark):
    in_spark, in_numpy = drawn(["amex", "it's", "ß visa"], [10, 30, 100], list(range(20_000)), spark)
    assert in_spark == in_numpy
    shares = pd.Series(in_spark).value_counts(normalize=True)
    assert np.allclose(shares[["amex", "it's", "ß visa"]], [0.1, 0.2, 0.7], atol=0.01)
    assert drawn(["only"], [7], [1, 2], spark) == (["only"] * 2, ["only"] * 2)


def test_imputations_are_fitted_on_rows_in_any_order(spark):
    frame = spark.createDataFrame(
        pa.table(
            {
                "card": ["b", "a", "b", None, "c"],
                "n": [1, 2, 2, None, 4],
                "x": [0.1, 0.2, 0.3, None, float("nan")],
                "d": [True] * 5,
            }
        )
    )
    missing = {
        MissingColumn("card", "distribution", ("c",)): ["old"], MissingColumn("card", "most_frequent"): ["older"],
        MissingColumn("n", "mean"): ["old"], MissingColumn("x", "mean"): ["old"], MissingColumn("d", "most_frequent"): ["old"],
    }  # fmt: skip
    fitted = fit_imputations(frame, missing)
    assert [s[3:] for s in fitted.of] == [
        (["a", "b"], [1, 3]), (["b"], [1]), (["2"], [1]), (["0.2"], [1]), (["true"], [1]),
    ]  # fmt: skip
    assert (
        Imputations.from_json(fitted.to_json()).digest == fitted.digest == fit_imputations(frame.repartition(3), missing).digest
    )
    message = (
        "`card` cannot be imputed: rows of the current layout in the train fold have no value of it but c, which the map gives"
    )
    with pytest.raises(DataError, match=message):
        fit_imputations(frame.where("card = 'c'"), {MissingColumn("card", "distribution", ("c",)): ["old"]})


def test_counts_beyond_the_reduction_are_scaled():
    values, cumulative = _cumulate({"b": 3 * 10**9, "a": 10**9, "c": 1})
    assert values == ["a", "b", "c"]
    assert cumulative[-1] < 2**31
    assert cumulative[0] / cumulative[-1] == pytest.approx(0.25, abs=1e-6)
