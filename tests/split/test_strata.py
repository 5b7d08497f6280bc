"""Stratified splits: exact shares in each class, and thresholds and groups that stay as they were fitted."""

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from keyfold.conf.split import Split
from keyfold.core.names import CLASS, FOLD, GROUP, UNIT
from keyfold.dataset.labelled_rows import labelled_rows
from keyfold.engine.spark_frame import SparkFrame
from keyfold.split import strata
from keyfold.split.folds import Folds, Strata
from keyfold.split.strata import GROUPS
from labelled_table import keep, rows, run_of

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.mark.parametrize("stratified", [False, True])
def test_more_test_takes_from_train_alone(spark, home, stratified):
    def at(**share):
        run = run_of(spark, {"stratified": stratified, "share": share} if share else {"stratified": stratified})
        return dict(labelled_rows(run).rows.data.select("id", FOLD).collect())

    keep(spark, rows(spark, 3000))
    before, after = at(), at(train=0.7, validation=0.1, test=0.2)
    moves = {(before[k], after[k]) for k in before if before[k] != after[k]}
    assert moves == {("train", "test")}


def test_strata_are_exact_when_fitted_and_then_stay(spark, home):
    keep(spark, rows(spark, 5000))
    fitted = labelled_rows(run_of(spark, {"stratified": True}))
    counts = {(row[FOLD], row.y): row["count"] for row in fitted.rows.data.groupBy(FOLD, "y").count().collect()}
    n = {y: sum(c for (_, of), c in counts.items() if of == y) for y in ("yes", "no")}
    for y, size in n.items():
        assert abs(counts["test", y] - 0.1 * size) <= 0.5, "exact, by class"
        assert abs(counts["validation", y] - 0.1 * size) <= 0.5
    before = dict(fitted.rows.data.select("id", FOLD).collect())
    keep(spark, rows(spark, 9000, label="IF(id % 3 = 0, 'yes', 'no')").where("id >= 5000").unionByName(rows(spark, 5000)))
    after = dict(labelled_rows(run_of(spark, {"stratified": True})).rows.data.select("id", FOLD).collect())
    assert {k: after[k] for k in before} == before
    cut = fitted.folds
    table = rows(spark, 5000).select("id", "y").toArrow()
    found = cut.numpy(table, np.array(table["y"].to_pylist(), object))
    spark_found = dict(cut.add(SparkFrame(rows(spark, 5000)), "fold").data.select("id", "fold").collect())
    assert dict(zip(table["id"].to_pylist(), found.tolist(), strict=True)) == spark_found
    assert {spark_found[k] for k in range(7, 70, 70)} == {None}, "without a label"


def test_the_class_of_a_group_is_fixed_when_it_is_fitted(spark, home):
    split = {"stratified": True, "by": "person"}
    keep(spark, rows(spark, 2000))
    first = labelled_rows(run_of(spark, split)).rows.data
    person = dict(first.select("person", FOLD).distinct().collect())
    assert len(person) == first.select("person").distinct().count(), "one fold a group"
    swapped = rows(spark, 2000, label="IF(id % 10 = 0, 'no', 'yes')").withColumn("person", F.expr("id % 600"))
    keep(spark, swapped)
    again = labelled_rows(run_of(spark, split)).rows.data
    later = dict(again.select("person", FOLD).distinct().collect())
    assert {k: later[k] for k in person} == person, "labels were swapped, and no group moved"
    assert later.keys() == person.keys() | set(range(500, 600))
    assert run_of(spark, split).table(GROUPS).read().count() == len(later)
    yes = first.groupBy("person").agg(F.max("y").alias("y"), F.max(FOLD).alias("fold")).groupBy("y", "fold").count().collect()
    n = {y: sum(r["count"] for r in yes if r.y == y) for y in ("yes", "no")}
    assert all(abs(r["count"] - n[r.y] * (0.8 if r.fold == "train" else 0.1)) <= 1 for r in yes)


def test_groups_with_strata_are_the_same_on_both_engines(spark_engine, embedded):
    """Thresholds, the digest of the groups, and the folds of rows whose groups have a class, none, or are new."""
    table = pa.table({"id": range(4000), "person": [i % 700 if i % 11 else None for i in range(4000)], "y": LABELS})
    found = []
    for engine in (spark_engine, embedded):
        folds = Folds(Split(by="person", stratified=True, folds=3), ["id"], "n", label="y")
        units = strata._units(folds, engine.frame(table.slice(0, 3000)), None)
        groups = units.rename({UNIT: GROUP}).persist()
        later = strata._units(folds, engine.frame(table), groups)
        folds.strata = Strata(dict(sorted(strata.thresholds(folds, units))), groups, strata._digest(groups))
        rows = folds.add(engine.frame(table), "fold", "number").select(["id", "fold", "number"]).sort(["id"]).rows()
        found.append((folds.identity, later.count(), rows))
    assert found[0] == found[1]
    assert {row["fold"] for row in found[0][2]} == {"train", "validation", "test", None}


LABELS = ["no" if i % 3 else "yes" for i in range(3500)] + [None] * 500


@pytest.mark.parametrize("cells", [[(1, "a"), (2, None), (-3, "x" * 40), (3, "")], []])
def test_the_digest_of_groups_is_a_sum_of_hashes_in_spark(spark, engine, cells):
    schema = f"{GROUP} bigint, {CLASS} string"
    summed = F.sum(F.xxhash64(GROUP, CLASS).cast("decimal(38,0)"))
    assert strata._digest(engine.rows(cells, schema)) == " ".join(
        map(str, spark.createDataFrame(cells, schema).agg(F.count("*"), summed).first())
    )
