"""Fits a label of several labels a row on the train fold: which labels there are, and which of them are rare."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.label import LabelConf
from keyfold.core.names import FOLD
from keyfold.core.types import arrow_family
from keyfold.engine.columns import col
from keyfold.engine.frame import Frame
from keyfold.errors import DataError
from keyfold.labels import Multilabel
from keyfold.labels.classes import MAX_CLASSES
from keyfold.labels.multilabel import POOLED

THRESHOLD = 0.5
Counts = dict[str, dict[str, int]]  # rows by fold and label
_SHOWN = 10
_NAME, _ROWS = "keyfold_name", "keyfold_rows"


def fit_multilabel(conf: LabelConf, family: str, rows: Frame, say: Callable[[str], None]) -> Multilabel:
    """The labels of rows of the train fold. DataError if there are fewer than two, or more than 1,000."""
    _check_types(conf, rows.types)
    by_fold = _count(conf, rows)
    counts = by_fold.get("train", {})
    frequent = sorted(name for name, n in counts.items() if n >= conf.min_frequency)
    rare = sorted(counts.keys() - set(frequent))
    _report(conf, by_fold, rare, say)
    labels = frequent if conf.rare == "leave_out" or not rare else [*(name for name in frequent if name != POOLED), POOLED]
    where, enough = "`, `".join(conf.columns_of_rows), f" in {conf.min_frequency:,} rows or more" if rare else ""
    if not labels:
        raise DataError(
            f"label: no row of the train fold has a label in `{where}`" + (" that is frequent enough" if rare else "")
        )
    if len(labels) == 1:
        raise DataError(
            f"label: the train fold has only the label `{labels[0]}` in `{where}`{enough}; there must be two or more. "
            "Make a column that says whether a row has it, and predict that one"
        )
    if len(labels) > MAX_CLASSES:
        raise DataError(f"label: `{where}` has {len(labels):,} labels, of at most {MAX_CLASSES:,}; raise label.min_frequency")
    return Multilabel(family, tuple(labels), (THRESHOLD,) * len(labels))


def _report(conf: LabelConf, by_fold: Counts, rare: list[str], say: Callable[[str], None]) -> None:
    """Lists labels that are rare in the train fold, and those that only other folds have."""
    if rare:
        done = "left out" if conf.rare == "leave_out" else f"pooled as `{POOLED}`"
        say(
            f"label: {len(rare):,} of {len(by_fold['train']):,} labels have fewer than {conf.min_frequency:,} rows of the train fold and "
            f"are {done}: {_shown(rare)}"
        )
    unknown = sorted({name for counts in by_fold.values() for name in counts} - by_fold.get("train", {}).keys())
    if unknown and not (rare and conf.rare == "pool"):
        rows = sum(counts.get(name, 0) for counts in by_fold.values() for name in unknown)
        say(
            f"WARNING: {len(unknown):,} labels of {rows:,} rows of other folds are not in the train fold ({_shown(unknown)}); they are "
            "never predicted, and metrics leave them out"
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")


def label_codes(conf: LabelConf, labels: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    """The codes of each row's labels, with commas; NULL for a row without a label column."""
    lists = _lists(conf, batch)
    codes = pc.index_in(lists.flatten(), pa.array(labels, pa.string()))
    if conf.rare == "pool" and labels[-1] == POOLED:
        codes = codes.fill_null(len(labels) - 1)
    row, code = (array.to_numpy(zero_copy_only=False) for array in (pc.list_parent_indices(lists), codes))
    row, code = (np.asarray(array)[~np.isnan(np.asarray(code, float))].astype(np.int64) for array in (row, code))
    pairs = np.unique(row * len(labels) + code)
    row, code = np.divmod(pairs, len(labels))
    offsets = np.searchsorted(row, np.arange(batch.num_rows + 1)).astype(np.int32)
    texts = pc.binary_join(pa.ListArray.from_arrays(offsets, pa.array(code).cast(pa.string())), ",")
    return [pc.if_else(lists.is_valid(), texts, None)]


def _check_types(conf: LabelConf, types: dict[str, str]) -> None:
    for name in conf.columns_of_rows:
        wanted = "boolean, or 0 and 1" if conf.columns else "text" if conf.separator else "an array of text"
        fits = (
            types[name] in ("boolean", "tinyint", "smallint", "int", "bigint") if conf.columns
            else types[name].startswith("string") if conf.separator else types[name] == "array<string>"
        )  # fmt: skip
        if not fits:
            raise DataError(f"label: `{name}` must be {wanted} (got {types[name]})")


def _count(conf: LabelConf, rows: Frame) -> Counts:
    """The number of rows with each label, by fold."""
    types = {FOLD: pa.string(), _NAME: pa.string(), _ROWS: pa.int64()}
    counted = rows.select([FOLD, *conf.columns_of_rows]).map_batches(partial(_count_batches, conf), types)
    counts: Counts = {}
    for row in counted.group([FOLD, _NAME], n=col(_ROWS).sum()).rows():
        counts.setdefault(row[FOLD], {})[row[_NAME]] = row["n"]
    return counts


def _count_batches(conf: LabelConf, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        lists = _lists(conf, batch)
        row = pc.list_parent_indices(lists)
        pairs = pa.table({"row": row, _NAME: lists.flatten(), FOLD: batch[FOLD].take(row)}).group_by(["row", FOLD, _NAME])
        counts = pairs.aggregate([]).group_by([FOLD, _NAME]).aggregate([([], "count_all")]).combine_chunks()
        yield from counts.select([FOLD, _NAME, "count_all"]).rename_columns([FOLD, _NAME, _ROWS]).to_batches()


def _lists(conf: LabelConf, batch: pa.RecordBatch) -> pa.ListArray:
    """The labels of each row, without blanks around them and without empty ones; a label may occur twice."""
    if conf.columns:
        return _of_columns(conf.columns, batch)
    column = batch[str(conf.column)]
    if conf.separator:
        column = pc.split_pattern(column.cast(pa.string()), conf.separator)
    names = pc.utf8_trim_whitespace(column.flatten().cast(pa.string()))
    kept = pc.fill_null(pc.not_equal(names, ""), False)
    row = pc.list_parent_indices(column).to_numpy()[kept.to_numpy(zero_copy_only=False)]
    offsets = np.searchsorted(row, np.arange(len(column) + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), names.filter(kept), mask=column.is_null() if column.null_count else None)


def _of_columns(names: Sequence[str], batch: pa.RecordBatch) -> pa.ListArray:
    has = np.stack([_booleans(name, batch[name]) for name in names], axis=1)
    offsets = np.append(0, np.cumsum(has.sum(axis=1))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(names, pa.string()).take(pa.array(np.nonzero(has)[1])))


def _booleans(name: str, values: pa.Array) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    if arrow_family(values.type) != "boolean":
        known = values.drop_null()
        if len(odd := known.filter(pc.invert(pc.is_in(known, pa.array([0, 1], values.type))))):
            raise DataError(f"label: `{name}` must be 0 or 1 (got {odd[0]})")
    return values.cast(pa.bool_()).fill_null(False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
