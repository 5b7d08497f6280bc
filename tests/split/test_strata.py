"""Stratified splits: exact shares in each class, and thresholds and groups that stay as they were fitted."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from keyfold.conf.split import Split
from keyfold.core.names import CLASS, FOLD, GROUP, UNIT
from keyfold.dataset.labelled_rows import labelled_rows
from keyfold.split import strata
from keyfold.split.folds import Folds, Strata
from keyfold.split.strata import GROUPS
from labelled_table import keep, run_of, table


def folds(labelled, by="id"):
    """The fold of each key, or of each group (one of them)."""
    return {row[by]: row[FOLD] for row in labelled.rows.select([by, FOLD]).rows()}


@pytest.mark.parametrize("stratified", [False, True])
def test_more_test_takes_from_train_alone(engine, home, stratified):
    def at(**share):
        return folds(labelled_rows(run_of(engine, {"stratified": stratified} | ({"share": share} if share else {}))))

    keep(engine, table(3000))
    before, after = at(), at(train=0.7, validation=0.1, test=0.2)
    moves = {(before[k], after[k]) for k in before if before[k] != after[k]}
    assert moves == {("train", "test")}


def test_strata_are_exact_when_fitted_and_then_stay(engine, home):
    keep(engine, table(5000))
    fitted = labelled_rows(run_of(engine, {"stratified": True}))
    counts = Counter((row[FOLD], row["y"]) for row in fitted.rows.select([FOLD, "y"]).rows())
    n = {y: sum(c for (_, of), c in counts.items() if of == y) for y in ("yes", "no")}
    for y, size in n.items():
        assert abs(counts["test", y] - 0.1 * size) <= 0.5, "exact, by class"
        assert abs(counts["validation", y] - 0.1 * size) <= 0.5
    before = folds(fitted)
    more = table(4000, 5000, label=lambda i: "no" if i % 3 else "yes")
    keep(engine, pa.concat_tables([more, table(5000)]))
    after = folds(labelled_rows(run_of(engine, {"stratified": True})))
    assert {k: after[k] for k in before} == before
    found = fitted.folds.numpy(table(5000), np.array(table(5000)["y"].to_pylist(), object))
    by_engine = {
        row["id"]: row["fold"] for row in fitted.folds.add(engine.frame(table(5000)), "fold").select(["id", "fold"]).rows()
    }
    assert dict(zip(range(5000), found.tolist(), strict=True)) == by_engine
    assert {by_engine[k] for k in range(7, 70, 70)} == {None}, "without a label"


def test_the_class_of_a_group_is_fixed_when_it_is_fitted(engine, home):
    split = {"stratified": True, "by": "person"}
    keep(engine, table(2000))
    first = labelled_rows(run_of(engine, split))
    rows = first.rows.select(["person", FOLD, "y"]).rows()
    assert len({(row["person"], row[FOLD]) for row in rows}) == len({row["person"] for row in rows}), "one fold a group"
    swapped = table(2000, label=lambda i: "yes" if i % 10 else "no")
    keep(engine, swapped.set_column(1, "person", pa.array([i % 600 for i in range(2000)])))
    person, later = folds(first, "person"), folds(labelled_rows(run_of(engine, split)), "person")
    assert {k: later[k] for k in person} == person, "labels were swapped, and no group moved"
    assert later.keys() == person.keys() | set(range(500, 600))
    assert run_of(engine, split).table(GROUPS).frame().count() == len(later)
    label = {}
    for row in rows:
        label[row["person"]] = max(row["y"], label.get(row["person"], ""))
    counts = Counter((y, person[k]) for k, y in label.items())
    n = Counter(label.values())
    assert all(abs(count - n[y] * (0.8 if fold == "train" else 0.1)) <= 1 for (y, fold), count in counts.items())


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
