"""Equal rows in different folds: how many there are, and how many of them are copies rather than equal by chance.

In a table with few categories every row has an equal one; in a table with many numbers none has. Equal rows are therefore no fault by
themselves. Two signs show copies, and the weaker one counts:

- In every column, equal rows agree more often than they would if the values of that column were shuffled.
- Equal rows have the same label more often than two random rows do, and more often than rows that differ in a single column, if there
  are any. (Columns that predict the label or one another are no fault.) With k equal rows in train, this sign counts 1 / sqrt(k): a
  label that many rows share is a rule, and not the memory of one row.

The columns are compared in at most 12 parts. A single column is cut into the first and the second half of its text.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core import hashing, sql
from keyfold.core.arrays import Doubles, Int64s, single_chunk
from keyfold.core.names import FOLD, LABEL, ORDER
from keyfold.core.row_hash import arrow_row_hash, sql_row_hash
from keyfold.core.texts import value_texts
from keyfold.engine.columns import col, lit
from keyfold.engine.frame import Batches, Computed, Frame
from keyfold.engine.hashes import key_hash
from keyfold.split.folds import Folds

SHARE = 0.1  # the largest share of copies among the rows outside train
COPY_SAMPLE = 4_000  # sampled rows outside train
COPY_PARTS = 12
# Kinds of agreement: in all features, in all features and the label, in the label; see `_agreeing` for those from _PARTS on.
_FEATURES, _LABELLED, _LABEL, _PARTS = 0, 1, 2, 3


class CopyCounts(NamedTuple):
    """For each sampled row outside train, the number of train rows that agree with it in certain columns.

    features: in all features. labelled: in all features and the label. label: in the label. rest: for each part, in all other parts.
    part: for each part, in that part. near: for each part, in all other parts and the label. train: the number of train rows.
    Rows that agree in all features agree in some: no count of `rest` or `part` is below that of `features`, none of `near` below `labelled`.
    """

    features: Int64s
    labelled: Int64s
    label: Int64s
    rest: Sequence[Int64s]
    part: Sequence[Int64s]
    near: Sequence[Int64s]
    train: int


def hash_parts(types: Mapping[str, str], inputs: Sequence[str]) -> Computed:
    """Columns `keyfold_part_0`, `keyfold_part_1`, … with the hashes of at least two parts. `types`: the columns' types by name."""
    columns = [sql.column_reference(c) for c in inputs]
    if len(columns) == 1:
        text = columns[0] if types[inputs[0]] == "binary" else f"CAST({columns[0]} AS STRING)"
        half = f"CAST(length({text}) DIV 2 AS INT)"
        halves = [sql_row_hash([f"substring({text}, 1, {half})"]), sql_row_hash([f"substring({text}, {half} + 1)"])]
        return Computed(_parts(2), partial(_hash_halves, inputs[0]), halves)
    n = min(COPY_PARTS, len(columns))
    return Computed(_parts(n), partial(_hash_parts, inputs), [sql_row_hash(columns[i::COPY_PARTS]) for i in range(n)])


def _parts(n: int) -> dict[str, pa.DataType]:
    return {f"keyfold_part_{i}": pa.int64() for i in range(n)}


def _hash_parts(inputs: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    parts = (inputs[i::COPY_PARTS] for i in range(min(COPY_PARTS, len(inputs))))
    return [pa.array(arrow_row_hash([batch[name] for name in names])) for names in parts]


def _hash_halves(name: str, batch: pa.RecordBatch) -> list[pa.Array]:
    texts = batch[name] if pa.types.is_binary(batch[name].type) else value_texts(batch[name])
    values = texts.to_pylist()
    halves = [v and v[: len(v) // 2] for v in values], [v and v[len(v) // 2 :] for v in values]
    return [pa.array(arrow_row_hash([pa.array(half, texts.type)])) for half in halves]


def count_copies(rows: Frame, train: int, folds: Folds, inputs: Sequence[str]) -> CopyCounts:
    """Counts the train rows that agree with a sample of the other rows, in two passes over `rows`. The sample is by the hash of the key.

    train: the number of train rows. inputs: the columns of the features.
    """
    parts = hash_parts(rows.types, inputs)
    names, kept = [*parts.types], [FOLD, LABEL]
    hashed = rows.compute(key_hash(ORDER, rows.types, folds.key, "copies"), [*dict.fromkeys([*kept, *inputs])])
    hashed = hashed.compute(parts, [*kept, ORDER])
    outside = hashed.where(col(FOLD) != lit("train")).sort([ORDER, *names]).head(COPY_SAMPLE).to_arrow()
    columns = _agreeing(names)
    sample = _hashes(columns, outside)
    counts = _count_in_train(hashed.where(col(FOLD) == lit("train")), columns, sample)
    rest, part, near = ([counts[_PARTS + len(names) * group + i] for i in range(len(names))] for group in (0, 1, 2))
    return CopyCounts(counts[_FEATURES], counts[_LABELLED], counts[_LABEL], rest, part, near, train)


def _agreeing(parts: Sequence[str]) -> list[list[str]]:
    """The columns of each kind of agreement: first the fixed kinds, then `rest`, `part` and `near` of each part."""
    rest = [[name for name in parts if name != part] for part in parts]
    return [[*parts], [*parts, LABEL], [LABEL], *rest, *([part] for part in parts), *([*others, LABEL] for others in rest)]


def _hashes(columns: Sequence[Sequence[str]], rows: pa.Table | pa.RecordBatch) -> list[Int64s]:
    cells = {name: hashing.hashed_cells(single_chunk(rows[name])) for names in columns for name in names}
    return [hashing.chained_hash([cells[name] for name in names]) for names in columns]


def _count_in_train(train: Frame, columns: Sequence[Sequence[str]], sample: Sequence[Int64s]) -> list[Int64s]:
    """For each kind of agreement and each sampled row, the number of train rows that agree with it."""
    kernel = partial(_count_agreeing, columns, [np.unique(hashes) for hashes in sample])
    types = {"kind": pa.int32(), "h": pa.int64(), "n": pa.int64()}
    found = train.map_batches(kernel, types).group(["kind", "h"], n=col("n").sum()).to_arrow()
    return [_look_up(found.filter(pa.compute.equal(found["kind"], kind)), hashes) for kind, hashes in enumerate(sample)]


def _count_agreeing(columns: Sequence[Sequence[str]], wanted: Sequence[Int64s], batches: Batches) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for kind, hashes in enumerate(_hashes(columns, batch)):
            found, n = np.unique(hashes[np.isin(hashes, wanted[kind])], return_counts=True)
            yield pa.record_batch({"kind": pa.repeat(pa.scalar(kind, pa.int32()), len(found)), "h": found, "n": n})


def _look_up(counts: pa.Table, hashes: Int64s) -> Int64s:
    """The count of each hash; 0 for a hash without a count."""
    if not counts.num_rows:
        return np.zeros(len(hashes), np.int64)
    counts = counts.sort_by("h")
    known, n = counts["h"].to_numpy(), counts["n"].to_numpy()
    at = np.searchsorted(known, hashes).clip(0, len(known) - 1)
    return np.where(known[at] == hashes, n[at], 0)


def copy_share(counts: CopyCounts) -> tuple[float, float]:
    """The share (0 to 1) of copies among the rows outside train, and its standard error."""
    equal = counts.features > 0
    if not equal.any():
        return 0.0, 0.0
    signs = [
        equal - _chance_of_equal(rest - counts.features, part, counts.train)
        for rest, part in zip(counts.rest, counts.part, strict=True)
    ]
    signs.append(_label_agreement(counts, equal))
    shares = [(float(sign.mean()), float(sign.std() / len(sign) ** 0.5)) for sign in signs]
    share, error = min(shares, key=lambda s: s[0] - 2 * s[1])
    return max(0.0, share), error


def _chance_of_equal(others: Int64s, part: Int64s, train: int) -> Doubles:
    """For each row, the probability that it would have an equal one if the values of a part were shuffled.

    others: the number of train rows that agree in all other parts. part: the number of train rows that agree in the part.
    """
    likely = np.minimum(part / train, 1 - 1e-9)
    whole = np.minimum(others / (1 - likely) / train, 1.0)  # estimates the share of rows that agree in the rest
    return 1 - (1 - whole) ** part


def _label_agreement(counts: CopyCounts, equal: npt.NDArray[np.bool_]) -> Doubles:
    """For each row, how much more often equal rows have its label than random or nearly equal rows do."""
    k, chance = np.maximum(counts.features, 1), counts.label / counts.train
    near = np.sum([rest - counts.features for rest in counts.rest], axis=0)
    agree = np.sum([n - counts.labelled for n in counts.near], axis=0)
    likely = np.maximum(chance, (agree + chance) / (near + 1))
    weight = equal / k**0.5
    by_chance = (weight * (1 - likely)).sum() / weight.sum()
    more: Doubles = weight * (counts.labelled / k - likely) / by_chance if by_chance > 0 else np.zeros(len(k))
    return more
