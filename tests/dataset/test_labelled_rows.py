"""The labelled rows of a conf: unknown groups, empty folds and the positive class are reported or refused."""

import re

import pytest
from pyspark.sql import functions as F

from keyfold.conf.train import Train
from keyfold.core.names import PERIOD
from keyfold.dataset.labelled_rows import labelled_rows
from keyfold.errors import DataError
from keyfold.runtime.run import Run
from labelled_table import keep, rows, run_of

pytestmark = pytest.mark.usefixtures("compiled")

MODEL = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}


def test_unknown_groups_are_reported_or_refused(spark, home, capsys):
    keep(spark, rows(spark, 2000).withColumn("person", F.expr("IF(id % 4 = 0, NULL, person)")))
    found = labelled_rows(run_of(spark, {"by": "person"}))
    labelled = sum(found.counts.values())
    unknown = sum(1 for i in range(2000) if i % 4 == 0 and (i % 10 == 0 or i % 7))
    said = f"{unknown:,} of {labelled:,} rows have no `person` (NULL)"
    assert f"{said}: each is a group of its own, by its key" in capsys.readouterr().err
    with pytest.raises(DataError, match=rf"split.by: {re.escape(said)}, so .* write split.null_groups: own") as refused:
        labelled_rows(run_of(spark, {"by": "person", "null_groups": "refuse"}))
    assert refused.value.exit_code == 3
    assert labelled_rows(run_of(spark, {"by": "person", "null_groups": "together"})).counts != found.counts


@pytest.mark.parametrize(
    ("split", "train", "sentence"),
    [
        ({"by": "one"}, True, "the test fold is empty: none of the 2 rows with a label fell into its share of 0.1, by the hash of `one`; "
         "there are too few values of `one`. Take a larger split.share.test, another split.salt or split.by, or write split.share.test: 0"),
        ({"time": {"test": "2030-01-01"}}, True, "the test fold is empty: none of the 2 rows with a label is from 2030-01-01 on; "
         "move split.time.test, whose column is `at`"),
        ({"share": {"train": 0.9, "validation": 0.1, "test": 0}}, True, None),
        ({}, False, None),
    ],
)  # fmt: skip
def test_an_empty_fold_is_reported_or_refused(spark, home, capsys, split, train, sentence):
    few = spark.createDataFrame([(1, "yes"), (2, "no")], "id bigint, y string")
    keep(spark, few.selectExpr("*", "1 AS one", "date'2026-01-01' AS at", "1.0 AS x", f"'all' {PERIOD}"))
    run = run_of(spark, {"salt": "1"} | split, {"time": "at"})
    conf = run.conf.model_copy(update={"train": Train(model=MODEL)}) if train else run.conf
    if sentence:
        with pytest.raises(DataError, match=re.escape(sentence)):
            labelled_rows(Run(conf, spark))
    else:
        labelled_rows(Run(conf, spark))
        assert (
            "the validation fold is empty: none of the 2 rows with a label fell into its share of 0.1" in capsys.readouterr().err
        )


def test_the_positive_class_is_guessed_with_a_reason_or_asked_for(spark, home, capsys):
    label = "IF(id % 2 = 0, 'Yes', 'No') AS y", "IF(id % 2 = 0, 1, 2) AS code", "id % 3 = 0 AS flag"
    keep(spark, spark.range(300).selectExpr("id", *label, "1.0 AS x", f"'all' {PERIOD}"))
    found = [labelled_rows(run_of(spark, {}, {"label": name, "positive": None})).label for name in ("y", "flag")]
    assert [label.positive for label in found] == ["Yes", True]
    said = "data.positive is not set; probabilities are of the class `Yes`, for `Yes` means yes and the other class is `No`"
    assert said in capsys.readouterr().err
    codes = {"label": "code", "positive": None}
    with pytest.raises(DataError, match=r"classes 1 and 2; name the positive one .*, and neither class says yes"):
        run = run_of(spark, {}, codes)
        labelled_rows(Run(run.conf.model_copy(update={"train": Train(model=MODEL)}), spark))
