"""The labelled rows of a conf: unknown groups, empty folds and the positive class are reported or refused."""

import datetime as dt
import math
import re
from decimal import Decimal

import pyarrow as pa
import pytest

from keyfold.conf.train import Train
from keyfold.core.names import FOLD, LABEL, PART, PERIOD
from keyfold.dataset.labelled_rows import labelled_rows
from keyfold.errors import DataError
from keyfold.runtime.run import Run
from labelled_table import keep, run_of, table

pytestmark = pytest.mark.usefixtures("compiled")

MODEL = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}


def test_unknown_groups_are_reported_or_refused(engine, home, capsys):
    whole = table(2000)
    people = [None if i % 4 == 0 else i % 500 for i in range(2000)]
    keep(engine, whole.set_column(1, "person", pa.array(people)))
    found = labelled_rows(run_of(engine, {"by": "person"}))
    labelled = sum(found.counts.values())
    unknown = sum(1 for i in range(2000) if i % 4 == 0 and (i % 10 == 0 or i % 7))
    said = f"{unknown:,} of {labelled:,} rows have no `person` (NULL)"
    assert f"{said}: each is a group of its own, by its key" in capsys.readouterr().err
    with pytest.raises(DataError, match=rf"split.by: {re.escape(said)}, so .* write split.null_groups: own") as refused:
        labelled_rows(run_of(engine, {"by": "person", "null_groups": "refuse"}))
    assert refused.value.exit_code == 3
    assert labelled_rows(run_of(engine, {"by": "person", "null_groups": "together"})).counts != found.counts


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
def test_an_empty_fold_is_reported_or_refused(engine, home, capsys, split, train, sentence):
    at = pa.array([dt.date(2026, 1, 1)] * 2)
    keep(engine, pa.table({"id": [1, 2], "y": ["yes", "no"], "one": [1, 1], "at": at, "x": [1.0, 1.0], PERIOD: ["all", "all"]}))
    run = run_of(engine, {"salt": "1"} | split, {"time": "at"})
    conf = run.conf.model_copy(update={"train": Train(model=MODEL)}) if train else run.conf
    if sentence:
        with pytest.raises(DataError, match=re.escape(sentence)):
            labelled_rows(Run(conf, engine))
    else:
        labelled_rows(Run(conf, engine))
        assert (
            "the validation fold is empty: none of the 2 rows with a label fell into its share of 0.1" in capsys.readouterr().err
        )


def test_the_positive_class_is_guessed_with_a_reason_or_asked_for(engine, home, capsys):
    ids = range(300)
    labels = {"y": ["No" if i % 2 else "Yes" for i in ids], "code": [1 + i % 2 for i in ids], "flag": [i % 3 == 0 for i in ids]}
    keep(engine, pa.table({"id": ids, **labels, "x": [1.0] * 300, PERIOD: ["all"] * 300}))
    found = [labelled_rows(run_of(engine, {}, {"label": name, "positive": None})).label for name in ("y", "flag")]
    assert [label.positive for label in found] == ["Yes", True]
    said = "label.positive is not set; probabilities are of the class `Yes`, for `Yes` means yes and the other class is `No`"
    assert said in capsys.readouterr().err
    codes = {"label": "code", "positive": None}
    with pytest.raises(DataError, match=r"classes 1 and 2; name the positive one .*, and neither class says yes"):
        run = run_of(engine, {}, codes)
        labelled_rows(Run(run.conf.model_copy(update={"train": Train(model=MODEL)}), engine))


LABELS = {
    "price": [Decimal(i).scaleb(-1) for i in range(60)], "whole": [i - 2**53 for i in range(60)],
    "ratio": [math.inf, -0.0, math.nan, *(i / 7 for i in range(57))], "flag": [i % 3 == 0 for i in range(60)],
}  # fmt: skip
IN_TIME = {"label": "ratio", "time": "at", "period": "month", "zone": "Asia/Tokyo"}


def test_labels_and_periods_are_the_same_on_every_engine(spark_engine, embedded, tmp_path, made_state, monkeypatch):
    days = [dt.datetime(2025, 12, 31, 20, tzinfo=dt.UTC) + dt.timedelta(i) for i in range(59)]
    rows = pa.table({"id": range(60), **LABELS, "at": [*days, None], "x": [1.0] * 60})
    found = []
    for engine in (spark_engine, embedded):
        monkeypatch.setenv("KEYFOLD_HOME", str(made_state(tmp_path / engine.name)))
        run_of(engine, {}, {}).rows.append(engine.frame(rows))
        for data in (
            {"label": "price"},
            {"label": "price", "positive": {"above": 0.35}},
            {"label": "whole"},
            {"label": "flag"},
            IN_TIME,
        ):
            run = run_of(engine, {}, {"positive": None} | data)
            classes = data["label"] == "flag" or "positive" in data
            model = Train(model={"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}) if classes else None
            run = Run(run.conf.model_copy(update={"train": model}), engine, "2026-02" if data == IN_TIME else None)
            made = labelled_rows(run)
            numbers = made.rows.select(["id", FOLD, PART, LABEL]).sort(["id"]).rows()
            found.append(repr((sorted(made.counts.items(), key=str), made.periods, made.label, numbers)))
    half = len(found) // 2
    assert found[:half] == found[half:]
    assert "['2026-01']" in found[-1]
