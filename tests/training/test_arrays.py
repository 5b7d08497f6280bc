"""Rows on the driver: folds, weights of classes and layouts."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.dataset.fit_features import fit_features
from keyfold.errors import ConfError, DataError
from keyfold.labels import Binary, Number
from keyfold.runtime.run import Run
from keyfold.training import arrays
from keyfold.training.arrays import ArrayRows, class_weights, collect_rows, identifying_columns, row_weights

ROWS = ArrayRows(
    pa.table(
        {
            "keyfold_fold": ["train", "train", "validation", "test"], "keyfold_label": [True, False, False, False],
            "keyfold_order": [1, 2, 3, 4],
        }
    ),
    None,
    Binary("boolean", True, False),
)  # fmt: skip
MODEL = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}


def train(class_weight):
    return parse_conf({"name": "t", "train": {"model": MODEL, "class_weight": class_weight}, "data": {"key": ["id"]}}).train


def labelled(label):
    counts = {("train", "yes"): 10, ("train", "no"): 30}
    return SimpleNamespace(label=label, counts=counts, count_in=lambda fold: 40)


def address(rows):
    return rows.table["keyfold_order"].chunk(0).buffers()[1].address


def test_folds_are_parts_of_the_rows():
    assert [len(ROWS.fold(fold).y) for fold in ("train", "validation", "test")] == [2, 1, 1]
    assert ROWS.outside_test.order.tolist() == [1, 2, 3]
    assert address(ROWS.fold("train")) == address(ROWS), "rows that are together are not copied"
    mixed = ROWS._replace(table=ROWS.table.take([3, 0, 2, 1]))
    assert [mixed.fold(fold).order.tolist() for fold in ("train", "validation", "test")] == [[1, 2], [3], [4]]
    assert mixed.outside_test.order.tolist() == [1, 2, 3] and not len(mixed.fold("none").order)
    assert ROWS.few == 1
    assert ROWS._replace(table=ROWS.table.set_column(1, "keyfold_label", pa.array([0.5] * 4)), label=Number("double")).few == 4


def test_balanced_classes_have_one_weight_together():
    negative, positive = class_weights(train("balanced"), labelled(Binary("string", "yes", "no")))
    assert (30 * negative, 10 * positive) == pytest.approx((20, 20))


def test_classes_have_the_weights_of_the_conf():
    label = Binary("string", "yes", "no")
    assert class_weights(train({"yes": 3, "no": 1}), labelled(label)) == (1, 3)
    assert class_weights(train(None), labelled(label)) is None
    assert class_weights(train("balanced"), labelled(Number("double"))) is None, "a number has no classes"
    with pytest.raises(ConfError, match=r"train.class_weight must have the classes no and yes \(got yes, nope\)"):
        class_weights(train({"yes": 3, "nope": 1}), labelled(label))


def test_a_rows_weight_is_that_of_its_class_times_that_of_its_layout():
    assert row_weights(ROWS, None) is None
    assert row_weights(ROWS, (1, 3)).tolist() == [3, 1, 1, 1]
    with_layouts = ROWS._replace(table=ROWS.table.append_column("keyfold_weight", pa.array([1.0, 1.0, 0.5, 0.5])))
    assert row_weights(with_layouts, None).tolist() == [1, 1, 0.5, 0.5]
    assert np.array_equal(row_weights(with_layouts, (2, 3)), [3, 2, 1, 1])


def test_rows_are_identified_by_key_and_time():
    data = parse_conf({"name": "t", "data": {"key": ["id"], "time": "at"}}).data
    assert identifying_columns(data) == ["id", "at"]
    assert identifying_columns(data.model_copy(update={"time": "id"})) == ["id"]


@pytest.mark.parametrize("parts", [10**6, 300_000])
def test_rows_are_collected_in_the_order_of_their_hash_with_slices_as_text(embedded, home, monkeypatch, parts):
    n = 50_000  # several batches
    rows = pa.table({"id": range(n), "y": [i % 2 == 0 for i in range(n)], "x": [i / 4 for i in range(n)], PERIOD: ["all"] * n})
    raw = {
        "name": "t",
        "label": {"column": "y", "positive": True},
        "data": {"key": ["id"]},
        "features": {"x": {"numeric": {"input_col": "x"}}},
    }
    report, split = {"slices": ["id"], "truth": "x"}, {"share": {"train": 0.6, "validation": 0.2, "test": 0.2}, "folds": 3}
    run = Run(parse_conf(raw | {"train": {"model": MODEL}, "report": report, "split": split}), embedded)
    run.rows.replace(embedded.frame(rows), PERIOD, {"all": n})
    monkeypatch.setattr(arrays, "sample_share", lambda *_: parts)
    spec, labelled = fit_features(run)
    collected, share = collect_rows(run, spec, labelled)
    assert share == parts / 10**6 and abs(collected.table.num_rows / n - share) < 0.02
    assert all((np.diff(collected.fold(fold).order) > 0).all() for fold in ("train", "validation", "test"))
    assert (np.diff(collected.outside_test.order) > 0).all()
    x = collected.table["x"].to_numpy()
    assert (collected.table[f"{arrays.EXTRA}x"].to_numpy() == x).all() and ((x * 4 % 2 == 0) == collected.y).all()
    assert collected.table[f"{arrays.EXTRA}id"].to_pylist() == [str(round(4 * value)) for value in x]
    run.conf.report.slices[:] = ["z"]
    with pytest.raises(DataError, match="report: the table has no column `z`"):
        collect_rows(run, spec, labelled)
