"""Rows that are equal across folds: how many, and how many of them are copies of one another rather than equal by chance.

In a table of a few categories every row has an equal one; in a table of many numbers none has. So equal rows as such are no fault.
Copies show by two signs, of which the weaker counts:

- they agree in a column, each column, more often than they would if its values were dealt out to the rows anew;
- they have the same label more often than two rows do by chance, or than rows do that differ in one column alone, if there are
  such rows: columns that predict the label, or one another, are no fault. If k rows of train are equal, this counts for 1 / sqrt(k):
  a label that many rows agree on is a rule rather than the memory of one row.

Columns are compared as at most 12 parts; a single column is cut into the first and the second half of its text.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core import sql
from keyfold.core.names import FOLD, LABEL
from keyfold.core.row_hash import key_hash
from keyfold.engine import functions as F
from keyfold.split.folds import Folds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SHARE = 0.1  # of the rows outside train, at most so many may be copies
COPY_SAMPLE = 4_000  # rows outside train
COPY_PARTS = 12
# Numbers of what rows may agree in: all features, these and the label, the label; from _PARTS on see `_hashes`.
_FEATURES, _LABELLED, _LABEL, _PARTS = 0, 1, 2, 3
_Ints = npt.NDArray[np.int64]
_Doubles = npt.NDArray[np.float64]


class CopyCounts(NamedTuple):
    """For each sampled row outside train the number of rows of train that agree with it, by what they agree in.

    features: all features; labelled: these and the label; label: the label; rest: for each part, all others; part: for each
    part, it alone; near: for each part, all others and the label; train: rows of train.
    """

    features: _Ints
    labelled: _Ints
    label: _Ints
    rest: Sequence[_Ints]
    part: Sequence[_Ints]
    near: Sequence[_Ints]
    train: int


def sql_row_hash(expressions: Iterable[str]) -> str:
    """bigint: hash of values in their order; NULL counts as a value (`xxhash64` alone would skip it)."""
    return f"xxhash64({', '.join(f'({e}) IS NULL, {e}' for e in expressions)})"


def hash_parts(rows: "DataFrame", inputs: Sequence[str]) -> list[str]:
    """SQL expressions of the hashes of the parts; at least two."""
    columns = [sql.column_reference(c) for c in inputs]
    if len(columns) == 1:
        binary = rows.schema[inputs[0]].dataType.simpleString() == "binary"
        text = columns[0] if binary else f"CAST({columns[0]} AS STRING)"
        half = f"CAST(length({text}) DIV 2 AS INT)"
        return [sql_row_hash([f"substring({text}, 1, {half})"]), sql_row_hash([f"substring({text}, {half} + 1)"])]
    return [sql_row_hash(columns[i::COPY_PARTS]) for i in range(min(COPY_PARTS, len(columns)))]


def count_copies(rows: "DataFrame", train: int, folds: Folds, inputs: Sequence[str]) -> CopyCounts:
    """Counts the rows of train that agree with a sample of the rows outside, by the hash of the key; two passes over `rows`.

    train: rows of train; inputs: columns of the features.
    """
    parts = {f"p{i}": sql.column(e) for i, e in enumerate(hash_parts(rows, inputs))}
    order = key_hash(rows, folds.key, "copies").alias("o")
    frame = rows.select(sql.col(FOLD), sql.col(LABEL).alias("y"), order, *(c.alias(name) for name, c in parts.items()))
    hashes = _hashes(list(parts))
    hashed = frame.selectExpr(FOLD, "o", *(f"{e} AS h{kind}" for kind, e in hashes.items()))
    outside = hashed.where(f"{FOLD} <> 'train'").sort("o").limit(COPY_SAMPLE).drop(FOLD, "o").toArrow()
    sample = {kind: outside[f"h{kind}"].to_numpy() for kind in hashes}
    counts = _count_in_train(hashed, sample)
    rest, part, near = ([counts[_PARTS + len(parts) * group + i] for i in range(len(parts))] for group in (0, 1, 2))
    return CopyCounts(counts[_FEATURES], counts[_LABELLED], counts[_LABEL], rest, part, near, train)


def _hashes(parts: list[str]) -> dict[int, str]:
    """By number the hash of the columns that rows may agree in: first the fixed ones, then for each part `rest`, `part` and `near`."""
    columns = {_FEATURES: parts, _LABELLED: [*parts, "y"], _LABEL: ["y"]}
    for i, part in enumerate(parts):
        others = [name for name in parts if name != part]
        columns |= {_PARTS + len(parts) * group + i: names for group, names in enumerate((others, [part], [*others, "y"]))}
    return {kind: f"xxhash64({', '.join(columns[kind])})" for kind in sorted(columns)}


def _count_in_train(hashed: "DataFrame", sample: dict[int, _Ints]) -> dict[int, _Ints]:
    structs = sql.array_expression(f"struct(CAST({kind} AS BIGINT) AS kind, h{kind} AS h)" for kind in sample)
    each = hashed.where(f"{FOLD} = 'train'").selectExpr(f"inline({structs})")
    distinct = {kind: np.unique(hashes) for kind, hashes in sample.items()}
    cells = {"kind": np.repeat(list(distinct), [len(h) for h in distinct.values()]), "h": np.concatenate([*distinct.values()])}
    wanted = F.broadcast(hashed.sparkSession.createDataFrame(pa.table(cells)))
    found = each.join(wanted, ["kind", "h"]).groupBy("kind", "h").agg(F.count("*").alias("n")).toArrow()
    return {kind: _look_up(found.filter(pa.compute.equal(found["kind"], kind)), hashes) for kind, hashes in sample.items()}


def _look_up(counts: pa.Table, hashes: _Ints) -> _Ints:
    """The count of each hash, 0 if it has none."""
    if not counts.num_rows:
        return np.zeros(len(hashes), np.int64)
    counts = counts.sort_by("h")
    known, n = counts["h"].to_numpy(), counts["n"].to_numpy()
    at = np.searchsorted(known, hashes).clip(0, len(known) - 1)
    return np.where(known[at] == hashes, n[at], 0)


def copy_share(counts: CopyCounts) -> tuple[float, float]:
    """The share (0 to 1) of rows outside train that are copies, and its standard error."""
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


def _chance_of_equal(others: _Ints, part: _Ints, train: int) -> _Doubles:
    """For each row the probability of an equal one if the values of a part were dealt out anew.

    others: rows of train that agree in all but the part; part: rows that agree in the part.
    """
    likely = np.minimum(part / train, 1 - 1e-9)
    whole = np.minimum(others / (1 - likely) / train, 1.0)  # an estimate of the rows that agree in the rest
    return 1 - (1 - whole) ** part


def _label_agreement(counts: CopyCounts, equal: npt.NDArray[np.bool_]) -> _Doubles:
    """For each row how much more often equal rows have its label than rows do by chance, or nearly equal rows."""
    k, chance = np.maximum(counts.features, 1), counts.label / counts.train
    near = np.sum([rest - counts.features for rest in counts.rest], axis=0)
    agree = np.sum([n - counts.labelled for n in counts.near], axis=0)
    likely = np.maximum(chance, (agree + chance) / (near + 1))
    weight = equal / k**0.5
    by_chance = (weight * (1 - likely)).sum() / weight.sum()
    more: _Doubles = weight * (counts.labelled / k - likely) / by_chance if by_chance > 0 else np.zeros(len(k))
    return more
