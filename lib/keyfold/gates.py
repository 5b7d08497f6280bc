"""What must hold of the folds before anything is trained on them, proven on the rows themselves, in one pass."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold import sql
from keyfold.errors import PromiseError
from keyfold.schema import BRIDGED
from keyfold.split import FOLD, FOLDS, Folds, moment

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

    from keyfold.examples import Examples
    from keyfold.run import Run

CHANCE = 1e-6  # an honest split breaks a band less often than this, over all of its bands
_SHOWN = 5
_GROUP, _FEATURES = 0, 1


class Gate(NamedTuple):
    """One thing that was proven or not: what was seen, and, where it is broken, the first offending keys as text."""

    name: str
    holds: bool
    seen: str
    offending: Sequence[str] = ()


class Cell(NamedTuple):
    """Groups (or tuples of features) whose rows are in the folds of `mask`, a bit each, and of one class."""

    what: int
    mask: int
    positive: bool | None
    units: int
    rows: Sequence[int]  # by fold
    first: Sequence[int | None]  # microseconds, by fold
    last: Sequence[int | None]


def check(run: "Run", found: "Examples") -> list[Gate]:
    """The gates of the split (PromiseError where one is broken)."""
    from keyfold.spec import columns_of

    folds, split = found.folds, run.conf.split
    rows = found.rows.where(f"{sql.quoted(FOLD)} IS NOT NULL")
    inputs = columns_of(feature.kind for feature in run.conf.features.values())
    cells = _cells(rows, folds, inputs if split.max_identical is not None else [], classes=found.label.classes)
    groups = [cell for cell in cells if cell.what == _GROUP]
    gates = []
    if folds.hashed:
        gates.append(_groups(rows, folds, groups))
        if not split.time:
            # Bridged rows are in train alone, so shares are those of the others.
            own = _cells(rows.where(f"NOT {BRIDGED}"), folds, [], classes=found.label.classes) if found.stand_ins else groups
            gates += _shares(folds, own, classes=found.label.classes)
    if split.time:
        gates += _times(rows, folds, groups)
    if split.max_identical is not None:
        gates.append(_identical(rows, folds, inputs, [c for c in cells if c.what == _FEATURES], split.max_identical))
    if broken := [gate for gate in gates if not gate.holds]:
        said = "; ".join(f"{g.name}: {g.seen}" + (f", such as {', '.join(g.offending)}" if g.offending else "") for g in broken)
        raise PromiseError(f"the folds cannot be trusted, so nothing was trained. {said}")
    return gates


def _cells(rows: "DataFrame", folds: Folds, inputs: Sequence[str], *, classes: bool) -> list[Cell]:
    """What the gates look at: one scan of the rows, one shuffle of integers."""
    from keyfold.examples import LABEL

    units = [f"struct({_GROUP} AS what, keyfold_unit AS h)"]
    if inputs:
        units.append(f"struct({_FEATURES} AS what, {_row_hash(inputs)} AS h)")
    at = folds.sql_time(rows) if folds.split.time else "CAST(NULL AS BIGINT)"
    each = rows.withColumn("keyfold_unit", folds.unit(rows)).selectExpr(
        f"array_position({_names()}, {sql.quoted(FOLD)}) - 1 AS fold",
        f"{LABEL if classes else 'CAST(NULL AS BOOLEAN)'} AS positive", f"{at} AS at", f"inline({sql.array(units)})",
    )  # fmt: skip
    parts = range(len(FOLDS))
    sums = [f"count_if(fold = {f}) AS n{f}" for f in parts]
    times = [f"{take}(CASE WHEN fold = {f} THEN at END) AS {take}{f}" for take in ("min", "max") for f in parts]
    mask = "bit_or(shiftleft(1L, CAST(fold AS INT))) AS mask"
    units_ = each.groupBy("what", "h").agg(*map(sql.column, [mask, "max(positive) AS positive", *sums, *times]))
    again = [f"sum(n{f}) AS n{f}" for f in parts] + [f"{take}({take}{f}) AS {take}{f}" for take in ("min", "max") for f in parts]
    grouped = units_.groupBy("what", "mask", "positive").agg(*map(sql.column, ["count(*) AS units", *again]))
    return [_cell(row) for row in grouped.collect()]


def _cell(row: "Row") -> Cell:
    by = {name: [row[f"{name}{f}"] for f in range(len(FOLDS))] for name in ("n", "min", "max")}
    return Cell(row.what, row.mask, row.positive, row.units, by["n"], by["min"], by["max"])


def _names() -> str:
    return sql.array(map(sql.text, FOLDS))


def _row_hash(columns: Iterable[str]) -> str:
    return f"xxhash64({', '.join(map(sql.reference, columns))})"


def _groups(rows: "DataFrame", folds: Folds, cells: Sequence[Cell]) -> Gate:
    split = sum(cell.units for cell in cells if cell.mask.bit_count() > 1)
    whole = sum(cell.units for cell in cells)
    name = f"rows of one {' and '.join(folds.by)} are in one fold"
    seen = f"{split:,} of {whole:,} are in several"
    if not split:
        return Gate(name, True, seen)
    more = rows.groupBy(*map(sql.col, folds.by)).agg(sql.column(f"count(DISTINCT {sql.quoted(FOLD)})").alias("keyfold_n"))
    return Gate(name, False, seen, _first(more.where("keyfold_n > 1"), folds.by))


def _shares(folds: Folds, cells: Sequence[Cell], *, classes: bool) -> list[Gate]:
    """Shares of the groups in each fold, all and by class, against the band of the binomial distribution."""
    split = folds.split
    asked = {"train": split.share.train, "validation": split.share.validation, "test": split.share.test}
    of: dict[str, list[Cell]] = {"shares": list(cells)}
    if classes:
        for positive in (True, False):
            of[f"shares of {'the positive' if positive else 'the other'} class"] = [c for c in cells if c.positive is positive]
    bands = len(FOLDS) * len(of)
    return [_share(name, some, asked, bands) for name, some in of.items()]


def _share(name: str, cells: Sequence[Cell], asked: dict[str, float], bands: int) -> Gate:
    from scipy.stats import binom

    n = sum(cell.units for cell in cells)
    outside, said = [], []
    for f, fold in enumerate(FOLDS):
        k = sum(cell.units for cell in cells if cell.mask == 1 << f)
        low, high = (int(binom.ppf(q, n, asked[fold])) for q in (CHANCE / bands / 2, 1 - CHANCE / bands / 2)) if n else (0, 0)
        said.append(f"{fold} {k:,} of {n:,}, which is to be within {max(0, low):,} and {high:,}")
        if not low <= k <= high:
            outside.append(said[-1])
    return Gate(name, not outside, "; ".join(outside or said))


def _times(rows: "DataFrame", folds: Folds, cells: Sequence[Cell]) -> list[Gate]:
    """Whether each fold is within its span, so that no row of the future is in train and each gap is empty."""
    assert folds.split.time is not None
    gates = []
    for f, fold in enumerate(FOLDS):
        if fold not in folds.split.time.spans:
            continue
        start, end = folds.split.time.spans[fold]
        ends = [at for c in cells for at in (c.first[f], c.last[f]) if at is not None]
        holds = not ends or ((start is None or min(ends) >= start) and (end is None or max(ends) < end))
        seen = f"its rows are from {moment(min(ends))} to {moment(max(ends))}" if ends else "no row"
        sides = [f"from {moment(start)}"] * (start is not None) + [f"before {moment(end)}"] * (end is not None)
        name = f"{fold} is {' and '.join(sides)}"
        gates.append(Gate(name, holds, seen, () if holds else _first(_outside(rows, folds, fold, start, end), folds.by)))
    return gates


def _outside(rows: "DataFrame", folds: Folds, fold: str, start: int | None, end: int | None) -> "DataFrame":
    at = folds.sql_time(rows)
    out = [f"{at} < {start}L"] * (start is not None) + [f"{at} >= {end}L"] * (end is not None)
    return rows.where(sql.column(f"{sql.quoted(FOLD)} = {sql.text(fold)} AND ({' OR '.join(out)})"))


def _identical(rows: "DataFrame", folds: Folds, inputs: Sequence[str], cells: Sequence[Cell], most: float) -> Gate:
    outside = sum(sum(cell.rows[1:]) for cell in cells)
    same = sum(sum(cell.rows[1:]) for cell in cells if cell.mask & 1)
    share = same / max(1, outside)
    seen = f"{same:,} of {outside:,} rows outside train ({share:.2%}) have the features of a row of train; at most {most:.2%} may"
    name = "identical rows across folds"
    if share <= most:
        return Gate(name, True, seen)
    marked = rows.withColumn("keyfold_same", sql.column(_row_hash(inputs)))
    train = marked.where(f"{sql.quoted(FOLD)} = 'train'").select("keyfold_same")
    there = marked.where(f"{sql.quoted(FOLD)} <> 'train'").join(train, "keyfold_same", "left_semi")
    return Gate(name, False, seen, _first(there, folds.by))


def _first(rows: "DataFrame", columns: Sequence[str]) -> list[str]:
    """The first keys, in their own order."""
    found: list[Any] = rows.select(*map(sql.col, columns)).distinct().sort(*map(sql.col, columns)).take(_SHOWN)
    return [" ".join(str(value) for value in row) for row in found]
