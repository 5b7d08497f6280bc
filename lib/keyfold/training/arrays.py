"""Labelled rows on the driver as Arrow, or a sample of them if they would take too much memory, and their weights."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.conf.data import Data
from keyfold.conf.train import Train
from keyfold.core import hashing, sql
from keyfold.core.arrays import Bools, single_chunk
from keyfold.core.machine import cores, memory_limit
from keyfold.core.memory import return_freed_memory
from keyfold.core.names import FOLD, FOLDS, LABEL, NUMBER, ORDER, PART, WEIGHT
from keyfold.core.texts import value_texts
from keyfold.core.threads import map_in_order
from keyfold.dataset.fit_neutral import with_majority
from keyfold.dataset.labelled_rows import LabelledRows
from keyfold.engine.columns import col, lit
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.hashes import key_hash, sample_place
from keyfold.errors import DataError, suggestion
from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.metrics import measure_predictions
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.labels import Binary, Label
from keyfold.models.examples import Examples
from keyfold.models.model import Model
from keyfold.split.folds import Folds

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf
    from keyfold.runtime.run import Run

EXTRA = "keyfold_extra:"  # before the names of further columns
MAJORITY = "keyfold_majority"  # the class that most raters name
_PLACE = "keyfold_place"
BAG = 16  # assumed number of cells of a feature without a fixed length


class ArrayRows(NamedTuple):
    """Rows on the driver, ordered by fold and by the hash of their key, so independently of the engine."""

    table: pa.Table
    spec: Spec
    label: Label

    def filter(self, mask: Bools | pa.ChunkedArray) -> "ArrayRows":
        """The rows whose boolean in `mask` (n) is true."""
        return self._replace(table=self.table.filter(pa.array(mask) if isinstance(mask, np.ndarray) else mask))

    def first(self, rows: int) -> "ArrayRows":
        """The first rows."""
        return self._replace(table=self.table.slice(0, rows))

    def fold(self, name: str) -> "ArrayRows":
        """The rows of one fold, which are not copied if they are together."""
        mask = pa.compute.equal(self.table[FOLD], name)
        places = np.flatnonzero(mask.to_numpy())
        together = len(places) and places[-1] - places[0] + 1 == len(places)
        return self._replace(table=self.table.slice(places[0], len(places))) if together else self.filter(mask)

    @property
    def outside_test(self) -> "ArrayRows":
        """The rows outside the test fold, ordered by the hash of their key alone."""
        rows = self.filter(pa.compute.not_equal(self.table[FOLD], "test")).table
        return self._replace(table=rows.take(pa.array(np.argsort(rows[ORDER].to_numpy(), kind="stable"))))

    @property
    def arrays(self) -> FeatureArrays:
        """The features, an array each."""
        return self.spec.arrays(self.table)

    @property
    def y(self) -> npt.NDArray[Any]:
        """The label as `Label.encode` returns it: n numbers, booleans or codes, or a sparse matrix of booleans (n, k)."""
        return self.label.encode(self.table[LABEL])

    @property
    def examples(self) -> Examples:
        """The rows as a model is fitted on them, with the weights of their layouts."""
        weight, part = (
            self.table[name].to_numpy() if name in self.table.column_names else None for name in (WEIGHT, EXTRA + PART)
        )
        return Examples(self.arrays, self.y, weight, self.label, self.order, part)

    @property
    def truth(self) -> npt.NDArray[Any]:
        """The label as `Label.measured` returns it for metrics."""
        return self.label.measured(self.table[LABEL])

    @property
    def few(self) -> int:
        """Number of rows of the smaller of two classes; of all rows for other labels."""
        if not isinstance(self.label, Binary):
            return self.table.num_rows  # type: ignore[no-any-return]
        return min(int(self.y.sum()), int((~self.y).sum()))

    @property
    def order(self) -> npt.NDArray[np.int64]:
        """The hash of each row's key (n)."""
        return self.table[ORDER].to_numpy()


def measure_model(model: Model, rows: ArrayRows) -> dict[str, Metric]:
    """The metrics of a model on some rows, by name."""
    return measure_predictions(model.label, rows.truth, model.numbers(rows.arrays), order=rows.order)


def collect_rows(run: "Run", spec: Spec, rows: LabelledRows) -> tuple[ArrayRows, float]:
    """The rows with their features, and the share of all rows that they are (0 to 1).

    Features of the train fold are computed out of fold. If all rows would take too much memory, the hash of the key chooses a sample.
    """
    conf = run.conf
    assert conf.train is not None
    frame, key = rows.rows.where(col(FOLD).is_in(_collected_folds(conf.train))), identifying_columns(conf.data)
    parts = sample_share(conf.train, spec, rows)
    share = parts / hashing.PARTS
    if share < 1:
        frame = frame.compute(sample_place(_PLACE, frame.types, key, "sample")).where(col(_PLACE) < lit(parts))
        run.say(f"the rows would take too much memory: {share:.1%} of them, chosen by the hash of the key, are used")
    named = _with_extra(conf, frame, rows.folds).compute(key_hash(ORDER, frame.types, key, "order"))
    extra = [name for name in named.columns if name.startswith(EXTRA)]
    kept = [FOLD, LABEL, ORDER, *([WEIGHT] if rows.imputations else []), *extra]
    table = spec.out_of_fold(PART).transform(named, kept).to_arrow()
    columns = dict(zip(table.column_names, table.columns, strict=True))
    del table
    return ArrayRows(_in_order(columns), spec, rows.label), share


def _in_order(columns: dict[str, pa.ChunkedArray]) -> pa.Table:
    """The rows by fold and by the hash of their key; takes the columns one by one out of the dictionary, so that each is freed."""
    return_freed_memory()
    folds = pa.compute.index_in(columns[FOLD], pa.array(FOLDS)).to_numpy()
    places = pa.array(np.lexsort([columns[ORDER].to_numpy(), folds]))
    names = [*columns]
    taken = map_in_order(lambda name: single_chunk(columns.pop(name)).take(places), names, cores())
    return pa.table(dict(zip(names, taken, strict=True)))


def identifying_columns(data: Data) -> list[str]:
    """The columns that identify a row: the key, and data.time."""
    return [*data.key, *([data.time] if data.time and data.time not in data.key else [])]


def _with_extra(conf: "Conf", rows: Frame, folds: Folds) -> Frame:
    """The rows with further columns, under names with `EXTRA`: those that the page needs, slices as text, and parts of the rows.

    Raises DataError if the table has no such column.
    """
    slices, others = conf.report.slices, [conf.report.truth] if conf.report.truth else []
    for name in (*slices, *others):
        if name not in rows.columns:
            raise DataError(f"report: the table has no column `{name}`{suggestion(name, rows.columns)}")
    others += [NUMBER] if conf.split.folds else []
    if conf.label and conf.label.raters:
        rows = with_majority(conf.label, rows, EXTRA + MAJORITY)
    if any(one.train and one.train.stacks for one in (conf, *conf.variants.values())):  # in validation too, for cross-validation
        rows = folds.add_part(rows, EXTRA + PART)
    texts = [name for name in slices if name not in others]
    return rows.compute(_copies(rows, texts, others)) if texts or others else rows


def _copies(rows: Frame, texts: Sequence[str], others: Sequence[str]) -> Computed:
    """Copies of columns, some of them as text."""
    types = dict.fromkeys(texts, pa.string()) | rows.arrow_types(others)
    names = {name: sql.column_reference(name) for name in types}
    expressions = [f"CAST({names[name]} AS STRING)" if name in texts else names[name] for name in types]
    return Computed({EXTRA + name: type_ for name, type_ in types.items()}, partial(_copied, texts, others), expressions)


def _copied(texts: Sequence[str], others: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    return [*(value_texts(batch[name]) for name in texts), *(batch[name] for name in others)]


def _collected_folds(train: Train) -> tuple[str, ...]:
    """The folds that are collected on the driver; a network reads the train fold from files."""
    return ("validation", "test") if train.model.torch else FOLDS


def sample_share(train: Train, spec: Spec, rows: LabelledRows) -> int:
    """How many millionths of the rows fit into the driver's share of the memory."""
    count = sum(rows.count_in(fold) for fold in _collected_folds(train))
    needed = needed_memory(spec, count)
    if rows.label.width > 1:  # numbers of a held-out fold, with copies for the metrics
        needed += max(rows.count_in(fold) for fold in ("validation", "test")) * rows.label.width * (8 + 8 + 8)
    return round(min(1.0, memory_limit() * train.memory_share / max(1, needed)) * hashing.PARTS)


def needed_memory(spec: Spec, rows: int) -> int:
    """Bytes that features of rows take: a cell as Arrow, as a column of a sparse matrix, and a copy while that is built."""
    return rows * sum(out.length or BAG for out in spec.outs.values()) * (8 + 12 + 12)
