"""The table of statistics: a new period is fitted without reading the old ones, and changed periods are read again."""

import datetime as dt
import math
import re

import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.dataset.fit_features import _fit
from keyfold.dataset.labelled_rows import FOLD, labelled_rows
from keyfold.engine.columns import col, lit
from keyfold.features import fit_plan
from keyfold.features.spec import Spec
from keyfold.runtime.run import Run
from sections import data_and_label

pytestmark = pytest.mark.usefixtures("compiled")

NEEDS = {
    "both": {"x": {"numeric": {"input_col": "x", "scale": "standard"}}, "c": {"one_hot": {"input_col": "c"}}},
    "counts": {"c": {"index": {"input_col": "c"}}, "q": {"bucketized": {"input_col": "x", "num_buckets": 4}}},
    "numbers": {"x": {"numeric": {"input_col": "x", "scale": "minmax"}}, "w": {"numeric": {"input_col": "w", "scale": "standard"}}},
    "nothing": {"x": {"bucketized": {"input_col": "x", "boundaries": [9]}}, "w": {"numeric": {"input_col": "w", "missing": 0}}, "c": {"hashed": {"input_col": "c", "num_buckets": 8}}},
}  # fmt: skip


def conf(features=NEEDS["both"]):
    data = {"key": ["id"], "label": "y", "time": "at", "period": "month"}
    return parse_conf({"name": "t", **data_and_label(data), "features": features})


def month(number, shift=0):
    ids = range(number * 1000, number * 1000 + 100)
    columns = {
        "id": ids, "at": [dt.date(2026, number, 5)] * 100, "x": [math.sqrt(i + shift) for i in ids], "w": pa.array(map(float, ids), pa.float32()),
        "c": [f"min{i % (number + 2)}" for i in ids], "y": [i % 2 == 0 for i in ids], PERIOD: [f"2026-0{number}"] * 100,
    }  # fmt: skip
    return pa.table(columns)


def put(run, number, shift=0):
    run.rows.replace(run.engine.frame(month(number, shift)), PERIOD, {f"2026-0{number}": 100})


def train(found):
    return found.rows.where(col(FOLD) == lit("train"))


def fitted(engine, capsys, features=NEEDS["both"]):
    """The spec, checked against one that is fitted on all rows; how many of how many periods were read."""
    run = Run(conf(features), engine)
    found = labelled_rows(run)
    capsys.readouterr()
    spec = _fit(run, found)
    said = re.search(r"fitting reads (\d+) of (\d+) periods", capsys.readouterr().err)
    assert spec.to_json() == Spec.fit(train(found), run.conf.features).to_json()
    return tuple(map(int, said.groups()))


@pytest.mark.slow
def test_only_new_and_changed_periods_are_read(spark, home, capsys):
    run = Run(conf(), spark)
    put(run, 1)
    put(run, 2)
    assert fitted(spark, capsys) == (2, 2)
    assert fitted(spark, capsys) == (0, 2)
    put(run, 3)
    assert fitted(spark, capsys) == (1, 3)
    rarer = {**NEEDS["both"], "c": {"one_hot": {"input_col": "c", "max_categories": 2}}}
    assert fitted(spark, capsys, rarer) == (0, 3), "another cut of the same counts"
    put(run, 1, shift=7)
    assert fitted(spark, capsys) == (2, 3), "the first two months are one part"
    spark.sql(f"OPTIMIZE {run.rows.at}")
    assert fitted(spark, capsys) == (0, 3), "files, and no rows, were changed"
    assert fitted(spark, capsys, NEEDS["numbers"]) == (3, 3), "something else is asked"
    spark.sql(f"UPDATE {run.rows.at} SET x = 1 WHERE id = 2003")
    assert fitted(spark, capsys) == (3, 3), "somebody else's commit may have changed all"


def test_files_of_old_months_are_not_read(engine, home):
    run = Run(conf(), engine)
    put(run, 1)
    _fit(run, labelled_rows(run))
    put(run, 2)
    found = labelled_rows(run)
    whole = Spec.fit(train(found), run.conf.features)
    for file in (run.rows.path / f"{PERIOD}=2026-01").glob("*.parquet"):
        file.unlink()
    with pytest.raises(Exception, match=r"FAILED_READ_FILE|No such file|not found"):
        Spec.fit(train(found), run.conf.features)
    assert _fit(run, found).to_json() == whole.to_json()


def test_new_and_changed_periods_alone_are_read_and_of_one_version(engine, home, capsys, monkeypatch):
    run = Run(conf(), engine)
    put(run, 1)
    assert fitted(engine, capsys) == (1, 1)
    put(run, 2)
    assert fitted(engine, capsys) == (1, 2)
    put(run, 1, shift=7)
    assert fitted(engine, capsys) == (1, 2)
    monkeypatch.setattr(fit_plan, "STATISTICS_VERSION", 1)
    assert fitted(engine, capsys) == (2, 2), "the parts are of version 2"
    assert fitted(engine, capsys) == (0, 2)


@pytest.mark.parametrize("needs", NEEDS)
def test_rows_are_read_once_or_not_at_all(spark, spark_engine, needs):
    read = spark.sparkContext.accumulator(0)

    def counting(batches):
        for batch in batches:
            read.add(batch.num_rows)
            yield batch

    frame = spark_engine.frame(month(1)).data
    rows = frame.mapInArrow(counting, frame.schema)
    Spec.fit(rows, conf(NEEDS[needs]).features)
    assert read.value == (0 if needs == "nothing" else 100)
