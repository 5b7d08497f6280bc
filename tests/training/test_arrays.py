"""Rows on the driver: folds, order and further columns."""

import numpy as np
import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.dataset.fit_features import fit_features
from keyfold.errors import DataError
from keyfold.labels import Binary, Number
from keyfold.runtime.run import Run
from keyfold.training import arrays
from keyfold.training.arrays import ArrayRows, collect_rows, identifying_columns

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
