"""Predictions are read by the engine of a run, and as a pandas frame from a conf."""

import pandas as pd
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import DataError
from keyfold.runtime.run import Run
from keyfold.scoring.predictions import read_predictions

BIG = 2**53 + 1  # a class that no double holds


@pytest.fixture
def run(engine, home):
    run = Run(parse_conf({"name": "shop", "data": {"key": ["id"]}}), engine)
    rows = [(1, BIG, 0.25, "2026-01"), (1, BIG, 0.5, "2026-02"), (2, None, None, "2026-02")]
    frame = engine.rows(rows, "id bigint, prediction bigint, probability double, period string")
    run.predictions.replace(frame, "period", {"2026-01": 1, "2026-02": 2})
    return run


@pytest.mark.both_engines
def test_a_run_gives_a_frame_of_its_engine_and_a_conf_a_pandas_frame(run, engine):
    for period, keys in ((None, [1, 1, 2]), ("2026-02", [1, 2]), ("2026-03", [])):
        by_engine, by_pandas = read_predictions(run, period), read_predictions(run.conf, period)
        assert isinstance(by_pandas, pd.DataFrame) and isinstance(by_engine, pd.DataFrame) == (engine.name == "embedded")
        by_engine = by_engine if engine.name == "embedded" else by_engine.toPandas()
        assert sorted(by_pandas["id"]) == sorted(by_engine["id"]) == keys
        assert set(by_pandas.columns) == set(by_engine.columns)
    assert by_pandas.dtypes.astype(str).to_dict() == {
        "id": "int64", "prediction": "int64", "probability": "float64", "period": "object",
    }  # fmt: skip


def test_integers_beside_null_stay_integers(run):
    assert read_predictions(run.conf, "2026-02").sort_values("id")["prediction"].tolist() == [BIG, None]


def test_a_table_that_does_not_exist_is_reported(run):
    conf = parse_conf({"name": "other", "data": {"key": ["id"]}})
    with pytest.raises(DataError, match=r"there is no table `other.predictions` in .*; run `score` first, or give a Run if"):
        read_predictions(conf)
