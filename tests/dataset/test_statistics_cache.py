"""The table of statistics: a new period is fitted without reading the old ones, and changed periods are read again."""

import re

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.core.sql import col
from keyfold.dataset.fit_features import _fit
from keyfold.dataset.labelled_rows import FOLD, labelled_rows
from keyfold.features import fitting
from keyfold.features.spec import Spec
from keyfold.runtime.run import Run

pytestmark = pytest.mark.usefixtures("compiled")

NEEDS = {
    "both": {"x": {"numeric": {"input_col": "x", "scale": "standard"}}, "c": {"one_hot": {"input_col": "c"}}},
    "counts": {"c": {"index": {"input_col": "c"}}, "q": {"bucketized": {"input_col": "x", "num_buckets": 4}}},
    "numbers": {"x": {"numeric": {"input_col": "x", "scale": "minmax"}}, "w": {"numeric": {"input_col": "w", "scale": "standard"}}},
    "nothing": {"x": {"bucketized": {"input_col": "x", "boundaries": [9]}}, "w": {"numeric": {"input_col": "w", "missing": 0}}, "c": {"hashed": {"input_col": "c", "num_buckets": 8}}},
}  # fmt: skip


def conf(features=NEEDS["both"]):
    data = {"key": ["id"], "label": "y", "time": "at", "period": "month"}
    return parse_conf({"name": "t", "data": data, "features": features})


def month(spark, number, shift=0):
    rows = spark.range(number * 1000, number * 1000 + 100)
    return rows.selectExpr(
        "id", f"date'2026-0{number}-05' at", f"sqrt(id + {shift}) x", "cast(id as float) w", f"concat('min', id % {number + 2}) c",
        "id % 2 = 0 y", f"'2026-0{number}' {PERIOD}",
    )  # fmt: skip


def put(run, number, shift=0):
    run.rows.replace(month(run.spark, number, shift), PERIOD, {f"2026-0{number}": 100})


def train(found):
    return found.rows.data.where(col(FOLD) == "train")


def fitted(spark, capsys, features=NEEDS["both"]):
    """The spec, checked against one that is fitted on all rows; how many of how many periods were read."""
    run = Run(conf(features), spark)
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


def test_files_of_old_months_are_not_read(spark, home, capsys):
    run = Run(conf(), spark)
    put(run, 1)
    _fit(run, labelled_rows(run))
    put(run, 2)
    found = labelled_rows(run)
    whole = Spec.fit(train(found), run.conf.features)
    for file in (run.rows.path / f"{PERIOD}=2026-01").glob("*.parquet"):
        file.unlink()
    with pytest.raises(Exception, match="FAILED_READ_FILE"):
        Spec.fit(train(found), run.conf.features)
    assert _fit(run, found).to_json() == whole.to_json()


def test_statistics_of_another_version_are_not_added(spark, home, capsys, monkeypatch):
    put(Run(conf(), spark), 1)
    assert fitted(spark, capsys) == (1, 1)
    monkeypatch.setattr(fitting, "STATISTICS_VERSION", 1)
    assert fitted(spark, capsys) == (1, 1), "the first part is of version 2"
    assert fitted(spark, capsys) == (0, 1)


@pytest.mark.parametrize("needs", NEEDS)
def test_rows_are_read_once_or_not_at_all(spark, needs):
    read = spark.sparkContext.accumulator(0)

    def counting(batches):
        for batch in batches:
            read.add(batch.num_rows)
            yield batch

    frame = month(spark, 1)
    rows = frame.mapInArrow(counting, frame.schema)
    Spec.fit(rows, conf(NEEDS[needs]).features)
    assert read.value == (0 if needs == "nothing" else 100)
