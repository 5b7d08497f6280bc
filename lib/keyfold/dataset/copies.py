"""Rows that are alike across folds: how many, and how many of them are copies of one another rather than alike by chance.

In a table of a few categories every row has its like; in one of many numbers none has. So likes as such are no fault. Copies are
told by two signs, of which the weaker counts:

- they agree in a column, each column, more often than they would if its values were dealt out to the rows anew;
- they have the same label, more often than two rows have it by chance, or than rows have it that differ in one column alone, where
  there are such: columns that tell of the label, and of one another, are no fault. Where k rows of train are alike this counts
  for 1 / sqrt(k): a label that many rows agree on is a rule, and no memory of one row.

Columns are looked at as at most 12 parts; a single column is cut into the first and the second half of its text.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core import sql
from keyfold.core.names import FOLD
from keyfold.core.row_hash import key_hash
from keyfold.engine import functions as F
from keyfold.split.folds import Folds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SHARE = 0.1  # of the rows outside train that may be copies
COPY_SAMPLE = 4_000  # rows outside train that are looked at
COPY_PARTS = 12
_ALIKE, _LABELLED, _LABEL, _PARTS = 0, 1, 2, 3
_Ints = npt.NDArray[np.int64]
_Doubles = npt.NDArray[np.float64]


class CopyCounts(NamedTuple):
    """Of rows outside train how many rows of train are as they are, by what: all features, these and the label, the label alone.

    `rest`: in all parts but one, for each part; `part`: in the part alone; `near`: in all parts but one and the label.
    """

    features: _Ints
    labelled: _Ints
    label: _Ints
    rest: Sequence[_Ints]
    part: Sequence[_Ints]
    near: Sequence[_Ints]
    train: int


def sql_row_hash(expressions: Iterable[str]) -> str:
    """bigint: of values in their order, each of which may be NULL (which `xxhash64` alone would skip)."""
    return f"xxhash64({', '.join(f'({e}) IS NULL, {e}' for e in expressions)})"


def hash_parts(rows: "DataFrame", inputs: Sequence[str]) -> list[str]:
    """The hashes of the parts that columns are looked at by, as expressions; at least two."""
    columns = [sql.column_reference(c) for c in inputs]
    if len(columns) == 1:
        binary = rows.schema[inputs[0]].dataType.simpleString() == "binary"
        text = columns[0] if binary else f"CAST({columns[0]} AS STRING)"
        half = f"CAST(length({text}) DIV 2 AS INT)"
        return [sql_row_hash([f"substring({text}, 1, {half})"]), sql_row_hash([f"substring({text}, {half} + 1)"])]
    return [sql_row_hash(columns[i::COPY_PARTS]) for i in range(min(COPY_PARTS, len(columns)))]


def count_copies(rows: "DataFrame", train: int, folds: Folds, inputs: Sequence[str]) -> CopyCounts:
    """What so many rows of train have in common with rows outside it, of which a sample is taken by the hash of the key; two passes."""
    from keyfold.core.names import LABEL

    made = {f"p{i}": sql.column(e) for i, e in enumerate(hash_parts(rows, inputs))}
    order = key_hash(rows, folds.key, "copies").alias("o")
    frame = rows.select(sql.col(FOLD), sql.col(LABEL).alias("y"), order, *(c.alias(name) for name, c in made.items()))
    by = _by(list(made))
    hashed = frame.selectExpr(FOLD, "o", *(f"{e} AS h{what}" for what, e in by.items()))
    outside = hashed.where(f"{FOLD} <> 'train'").sort("o").limit(COPY_SAMPLE).drop(FOLD, "o").toArrow()
    sample = {what: outside[f"h{what}"].to_numpy() for what in by}
    wanted = [(np.full(len(u), what), u) for what, u in ((w, np.unique(h)) for w, h in sample.items())]
    asked = pa.table({"what": np.concatenate([w for w, _ in wanted]), "h": np.concatenate([u for _, u in wanted])})
    each = hashed.where(f"{FOLD} = 'train'").selectExpr(
        f"inline({sql.array_expression(f'struct(CAST({what} AS BIGINT) AS what, h{what} AS h)' for what in by)})"
    )
    there = F.broadcast(rows.sparkSession.createDataFrame(asked))
    found = each.join(there, ["what", "h"]).groupBy("what", "h").agg(F.count("*").alias("n")).toArrow()
    n = {what: _counted(found, what, hashes) for what, hashes in sample.items()}
    many = len(made)
    rest, part, near = ([n[_PARTS + many * of + i] for i in range(many)] for of in (0, 1, 2))
    return CopyCounts(n[_ALIKE], n[_LABELLED], n[_LABEL], rest, part, near, train)


def _by(names: list[str]) -> dict[int, str]:
    """By number what rows may agree in, as hashes."""
    found = {_ALIKE: names, _LABELLED: [*names, "y"], _LABEL: ["y"]}
    found |= {_PARTS + i: [n for n in names if n != name] for i, name in enumerate(names)}
    found |= {_PARTS + len(names) + i: [name] for i, name in enumerate(names)}
    found |= {_PARTS + 2 * len(names) + i: [*(n for n in names if n != name), "y"] for i, name in enumerate(names)}
    return {what: f"xxhash64({', '.join(of)})" for what, of in found.items()}


def _counted(found: pa.Table, what: int, hashes: _Ints) -> _Ints:
    some = found.filter(pa.compute.equal(found["what"], what)).sort_by("h")
    if not some.num_rows:
        return np.zeros(len(hashes), np.int64)
    known, n = some["h"].to_numpy(), some["n"].to_numpy()
    at = np.searchsorted(known, hashes).clip(0, len(known) - 1)
    return np.where(known[at] == hashes, n[at], 0)


def copy_share(found: CopyCounts) -> tuple[float, float]:
    """The share (0 to 1) of rows outside train that are copies, and its standard error."""
    there = found.features > 0
    if not there.any():
        return 0.0, 0.0
    signs = [
        there - _by_chance(rest - found.features, part, found.train) for rest, part in zip(found.rest, found.part, strict=True)
    ]
    signs.append(_by_label(found, there))
    shares = [(float(sign.mean()), float(sign.std() / len(sign) ** 0.5)) for sign in signs]
    share, error = min(shares, key=lambda s: s[0] - 2 * s[1])
    return max(0.0, share), error


def _by_chance(others: _Ints, part: _Ints, train: int) -> _Doubles:
    """For each row the chance that it has its like, were a part dealt out to the rows anew: so many agree but for that part."""
    likely = np.minimum(part / train, 1 - 1e-9)
    whole = np.minimum(others / (1 - likely) / train, 1.0)  # the rows that agree in the rest, could that have been seen
    return 1 - (1 - whole) ** part


def _by_label(found: CopyCounts, there: npt.NDArray[np.bool_]) -> _Doubles:
    """For each row how much more its likes agree on its label than chance would have them, or those that are nearly alike do."""
    k, chance = np.maximum(found.features, 1), found.label / found.train
    near = np.sum([rest - found.features for rest in found.rest], axis=0)
    agree = np.sum([near_ - found.labelled for near_ in found.near], axis=0)
    likely = np.maximum(chance, (agree + chance) / (near + 1))
    weight = there / k**0.5
    by_chance = (weight * (1 - likely)).sum() / weight.sum()
    more: _Doubles = weight * (found.labelled / k - likely) / by_chance if by_chance > 0 else np.zeros(len(k))
    return more
