"""Imputations: the same in Spark and in NumPy, in the shares that were counted, and fitted on rows in any order."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keyfold.core import hashing
from keyfold.core.names import BRIDGED, LAYOUT
from keyfold.dataset.imputation import Imputation, Imputations, MissingColumn, _cumulate, fit_imputations
from keyfold.engine.columns import col, lit
from keyfold.errors import DataError


def drawn(values, cumulative, ids, engine):
    imputation = Imputation("card", "distribution", ["old"], values, cumulative)
    n = len(ids)
    table = pa.table({"id": ids, "card": pa.nulls(n, pa.string()), LAYOUT: ["old"] * n, BRIDGED: [True] * n})
    filled = {row["id"]: row["card"] for row in Imputations([imputation]).fill(engine.frame(table), ["id"]).rows()}
    hashes = hashing.feature_hash("bridge:card", [hashing.value_hash(pa.array(ids))])
    return [filled[i] for i in ids], imputation.arrow(hashes).to_pylist()


def test_a_distribution_is_drawn_alike_by_each_engine_and_as_often_as_counted(engine):
    by_engine, in_arrow = drawn(["amex", "it's", "ß visa"], [10, 30, 100], list(range(20_000)), engine)
    assert by_engine == in_arrow
    shares = pd.Series(by_engine).value_counts(normalize=True)
    assert np.allclose(shares[["amex", "it's", "ß visa"]], [0.1, 0.2, 0.7], atol=0.01)
    assert drawn(["only"], [7], [1, 2], engine) == (["only"] * 2, ["only"] * 2)


def test_only_what_a_layout_lacks_is_filled_with_values_of_the_columns_type(engine):
    values = {
        "n": (pa.int32(), "7", 7), "x": (pa.float64(), "0.1", 0.1), "flag": (pa.bool_(), "true", True), "text": (pa.string(), "", ""),
        "d": (pa.decimal128(9, 2), "1.50", Decimal("1.50")), "day": (pa.date32(), "2024-02-29", dt.date(2024, 2, 29)),
        "at": (pa.timestamp("us", "UTC"), "2024-02-29 01:02:03.5", dt.datetime(2024, 2, 29, 1, 2, 3, 500_000, dt.UTC)),
    }  # fmt: skip
    bridged, layouts = [True, True, True, False, None, None], ["old", "older", "new", "old", "old", None]
    table = pa.table({"id": range(6), LAYOUT: layouts, BRIDGED: bridged} | {c: pa.nulls(6, t) for c, (t, _, _) in values.items()})
    there = {"id": [6], LAYOUT: ["old"], BRIDGED: [True], "n": [9]}
    table = pa.concat_tables([table, pa.table(there)], promote_options="permissive").cast(table.schema)
    of = [Imputation(c, "most_frequent", ["old"], [text], [1]) for c, (_, text, _) in values.items()]
    of += [Imputation("n", "mean", ["older"], ["8"], [1])]
    filled = Imputations(of).fill(engine.frame(table), ["id"])
    assert filled.columns == table.column_names
    first, second, *others, last = filled.sort(["id"]).rows()
    assert last["n"] == 9
    assert {c: first[c] for c in values} == {c: value for c, (_, _, value) in values.items()}
    assert [second[c] for c in values] == [8, *[None] * 6]
    assert {value for row in others for c, value in row.items() if c in values} == {None}


def test_imputations_are_fitted_on_rows_in_any_order(engine):
    frame = engine.frame(
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
    assert Imputations.from_json(fitted.to_json()).digest == fitted.digest == fit_imputations(frame.sort(["n"]), missing).digest
    message = (
        "`card` cannot be imputed: rows of the current layout in the train fold have no value of it but c, which the map gives"
    )
    with pytest.raises(DataError, match=message):
        fit_imputations(frame.where(col("card") == lit("c")), {MissingColumn("card", "distribution", ("c",)): ["old"]})


def test_counts_beyond_the_reduction_are_scaled():
    values, cumulative = _cumulate({"b": 3 * 10**9, "a": 10**9, "c": 1})
    assert values == ["a", "b", "c"]
    assert cumulative[-1] < 2**31
    assert cumulative[0] / cumulative[-1] == pytest.approx(0.25, abs=1e-6)
