"""Rows on the driver, as Arrow, and what they weigh; where they would take too much memory, a sample of them."""

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.conf.train import Train
from keyfold.core import hashing
from keyfold.core.names import FOLD, FOLDS, LABEL, NUMBER, ORDER, PART, WEIGHT
from keyfold.core.row_hash import key_hash, sample_place
from keyfold.core.sql import col
from keyfold.core.types import spark_text
from keyfold.dataset.labelled_rows import LabelledRows
from keyfold.engine import functions as F
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.evaluation import metrics
from keyfold.evaluation.metrics import Metric
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.models.model import Model

if TYPE_CHECKING:
    from keyfold.runtime.run import Run

BAG = 16  # cells that a bag is taken to have


class ArrayRows(NamedTuple):
    """Rows on the driver, in an order that does not depend on the cluster."""

    table: pa.Table
    spec: Spec

    def fold(self, name: str) -> "ArrayRows":
        """The rows of a fold."""
        return ArrayRows(self.table.filter(pa.compute.equal(self.table[FOLD], name)), self.spec)

    @property
    def inside(self) -> "ArrayRows":
        """The rows outside the test fold."""
        return ArrayRows(self.table.filter(pa.compute.not_equal(self.table[FOLD], "test")), self.spec)

    @property
    def arrays(self) -> FeatureArrays:
        """The features."""
        return self.spec.arrays(self.table)

    @property
    def y(self) -> npt.NDArray[Any]:
        """The label: booleans for a class, else doubles."""
        return self.table[LABEL].to_numpy()

    @property
    def few(self) -> int:
        """Rows of the smaller class, or of all where the label is a number."""
        return min(int(self.y.sum()), int((~self.y).sum())) if self.y.dtype == bool else len(self.y)

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """What identifies a row."""
        return self.table[ORDER].to_numpy()


def measure_model(model: Model, rows: ArrayRows) -> dict[str, Metric]:
    """The metrics of a model on rows."""
    if model.label.classes:
        return metrics.classification_metrics(rows.y, model.estimator.probability(rows.arrays), order=rows.order)
    return metrics.regression_metrics(rows.y, model.estimator.value(rows.arrays), order=rows.order)


def network_inputs(run: "Run", found: LabelledRows) -> tuple[list[str], tuple[float, float]]:
    """What a network's training needs besides: the columns that identify a row, and the weights of the classes."""
    assert run.conf.train is not None
    return identifying_columns(run), class_weights(run.conf.train, found) or (1.0, 1.0)


def collect_rows(run: "Run", spec: Spec, found: LabelledRows) -> tuple[ArrayRows, float]:
    """The rows with features on the driver, those of the train fold out of fold; where they would take too much memory, a sample by the key's hash."""
    conf = run.conf
    extra = {c: col(c).cast("string") for c in conf.report.slices} | (
        {conf.report.truth: col(conf.report.truth)} if conf.report.truth else {}
    )
    _check_extra(found, extra)
    order = key_hash(found.rows, identifying_columns(run), "order")
    parts = sample_share(run, spec, found)
    share = parts / hashing.PARTS
    rows = found.rows.where(col(FOLD).isin(*_taken(run)))
    if share < 1:
        rows = rows.where(sample_place(rows, identifying_columns(run), "sample") < F.lit(parts))
        run.say(f"the rows would take too much memory: {share:.1%} of them, chosen by the hash of the key, are used")
    extra |= {NUMBER: col(NUMBER)} if conf.split.folds else {}
    columns = {FOLD: col(FOLD), LABEL: col(LABEL), ORDER: order} | ({WEIGHT: col(WEIGHT)} if found.imputations else {})
    columns |= {f"keyfold_extra:{n}": column for n, column in extra.items()}
    table = spec.out_of_fold(PART).transform(rows, [column.alias(name) for name, column in columns.items()]).toArrow()
    return ArrayRows(table.sort_by([(ORDER, "ascending")]), spec), share


def identifying_columns(run: "Run") -> list[str]:
    """The columns that tell rows apart: the key, and data.time."""
    data = run.conf.data
    return [*data.key, *([data.time] if data.time and data.time not in data.key else [])]


def _check_extra(found: LabelledRows, extra: dict[str, Any]) -> None:
    for name in extra:
        if name not in found.rows.columns:
            raise DataError(f"report: the table has no column `{name}`{suggestion(name, found.rows.columns)}")


def _taken(run: "Run") -> tuple[str, ...]:
    """The folds whose rows come to the driver; a network reads the train fold from files."""
    return ("validation", "test") if run.conf.train and run.conf.train.model.torch else FOLDS


def sample_share(run: "Run", spec: Spec, found: LabelledRows) -> int:
    """Of a million parts of the rows, how many fit into the driver's share of the memory."""
    assert run.conf.train is not None
    rows = sum(found.count_in(fold) for fold in _taken(run))
    # A cell as Arrow, as a column of a sparse matrix, and once more while that is made.
    needed = rows * sum(out.length or BAG for out in spec.outs.values()) * (8 + 12 + 12)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * run.conf.train.memory_share
    return round(min(1.0, there / max(1, needed)) * hashing.PARTS)


def class_weights(train: Train, found: LabelledRows) -> tuple[float, float] | None:
    """Of the negative and the positive class."""
    label = found.label
    if train.class_weight is None or not label.classes:
        return None
    if train.class_weight == "balanced":
        share = found.counts.get(("train", label.positive), 0) / found.count_in("train")
        return 0.5 / (1 - share), 0.5 / share
    given = {str(key): value for key, value in train.class_weight.items()}
    negative, positive = (given.get(spark_text(value), np.nan) for value in (label.negative, label.positive))
    if np.isnan([negative, positive]).any() or len(given) != 2:
        raise ConfError(
            f"train.class_weight must have the classes {spark_text(label.negative)} and {spark_text(label.positive)} (got {', '.join(given)})"
        )
    return negative, positive


def row_weights(learnt: ArrayRows, weights: tuple[float, float] | None) -> npt.NDArray[np.float64] | None:
    """The weights of classes times those of the rows' layouts, where there are any."""
    weight = None if weights is None else np.where(learnt.y, weights[1], weights[0])
    if WEIGHT not in learnt.table.column_names:
        return weight
    of_rows = learnt.table[WEIGHT].to_numpy()
    return of_rows if weight is None else of_rows * weight
