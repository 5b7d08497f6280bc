"""Reframing: houses of California, whose price is predicted as a distribution over bands, and by a regression on the same rows."""

import os
from pathlib import Path

import numpy as np
import pytest
import sklearn.utils

from keyfold.conf.use_case import parse_conf
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.tracking import registry
from keyfold.training.job import train

DATA = os.environ.get("KEYFOLD_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="KEYFOLD_TEST_DATA names no folder of real data")
NUMBERS = [
    "longitude",
    "latitude",
    "housing_median_age",
    "total_rooms",
    "total_bedrooms",
    "population",
    "households",
    "median_income",
]
RATIOS = {
    "rooms_each": ["total_rooms", "households"],
    "bedrooms_part": ["total_bedrooms", "total_rooms"],
    "people_each": ["population", "households"],
}
PLACES = {"inland": "INLAND", "near_ocean": "NEAR OCEAN", "near_bay": "NEAR BAY", "hour_from_ocean": "<1H OCEAN"}
MODELS = ["model", "regression", "scaled"]
SHOWN = ["rmse", "crps", "interval_coverage", "interval_width", *(f"coverage_{n}_third" for n in ("lowest", "middle", "highest"))]


@pytest.fixture(autouse=True)
def dense(monkeypatch):
    """All features are numbers; of a dense matrix trees learn the same ten times as fast."""
    known = sklearn.utils.get_tags

    def tags(estimator):
        found = known(estimator)
        found.input_tags.sparse = False
        return found

    monkeypatch.setattr(sklearn.utils, "get_tags", tags)


def trees(kind, **params):
    """The best parameters of both sides on a validation fold, among forests and extra trees; boosting is in the README."""
    return {"sklearn": {"estimator": f"sklearn.ensemble.ExtraTrees{kind}", "params": {"max_features": 0.6} | params}}


def compared(engine, salt, train_share=0.6, **params):
    """The metrics of the bands and of the regression, with a salt of the split; the rows are ingested once."""
    numbers = {name: {"numeric": {"input_col": name, "missing": "mean"}} for name in NUMBERS}
    places = {name: {"found": {"input_col": "ocean_proximity", "values": [value]}} for name, value in PLACES.items()}
    ratios = {name: {"numeric": {"input_col": {"ratio": of}, "missing": "mean"}} for name, of in RATIOS.items()}
    label = "median_house_value"
    conf = {
        "name": "housing",
        "data": {
            "source": str(Path(str(DATA)) / "housing_california/housing.csv"), "key": "content",
            "columns": {**dict.fromkeys([*NUMBERS, label], "double"), "ocean_proximity": "string"},
        },
        "label": {"column": label, "bands": {"quantiles": 20}, "interval": 0.9},
        "split": {"salt": str(salt), "share": {"train": train_share, "validation": 0.2, "test": 0.8 - train_share}},
        "features": numbers | ratios | places,
        "train": {"model": trees("Classifier", **params)},
        "report": {"compare": {"regression": {"label": {"bands": None}, "train": {"model": trees("Regressor", **params)}}}},
    }  # fmt: skip
    scaled = {"label": {"bands": None, "interval": {"share": 0.9, "scaled": True}}}
    conf["report"]["compare"]["scaled"] = scaled | {"train": conf["report"]["compare"]["regression"]["train"]}
    run = Run(parse_conf(conf), engine)
    if not run.rows.exists():
        ingest(run)
    return registry.client().get_run(train(run).mlflow_run_id).data.metrics


def figures(metrics):
    """The ratio of the RMSE of the bands to that of the regression, then those of `SHOWN`, of each model."""
    of = [metrics[f"test_compared_{name}_{shown}"] for name in MODELS for shown in SHOWN]
    return np.array([1 / metrics["test_compared_regression_rmse_ratio"], *of])


def check(found):
    (ratio, _, crps, coverage, width, *thirds), (_, gaussian, _, other_width, *_), scaled = found[:8], found[8:15], found[15:]
    assert min(scaled[4:]) >= 0.85 and scaled[3] < other_width
    assert ratio <= 1.05 and crps < gaussian and width < other_width
    assert 0.88 <= coverage <= 0.92 and min(thirds) >= 0.85


def test_bands_predict_prices_about_as_well_and_know_better_how_sure_they_are(embedded, home):
    check(figures(compared(embedded, 0, 0.3, n_estimators=30)))


@pytest.mark.slow
def test_ten_splits(embedded, home):
    found = []
    for salt in range(10):
        found.append(figures(compared(embedded, salt, n_estimators=100)))
        print(f"\nsalt {salt}:", *np.round(found[-1], 3))
    mean, low, high = np.mean(found, axis=0), np.min(found, axis=0), np.max(found, axis=0)
    names = ["ratio", *(f"{of} {name}" for of in MODELS for name in SHOWN)]
    for name, *of in zip(names, mean, low, high, strict=True):
        print(f"{name:35} {of[0]:12,.3f}  from {of[1]:12,.3f} to {of[2]:12,.3f}")
    for one in found:
        check(one)
