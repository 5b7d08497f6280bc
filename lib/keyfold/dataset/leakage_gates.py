"""What must hold of the folds before anything is trained on them, proven on the rows themselves: mostly in one pass."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.conf.split import utc_text
from keyfold.core import sql
from keyfold.core.names import BRIDGED, FOLD, FOLDS, UNIT
from keyfold.dataset.copies import SHARE, copy_share, count_copies, sql_row_hash
from keyfold.dataset.label_leaks import Leak, find_leaks
from keyfold.errors import ConfError, PromiseError, suggestion
from keyfold.evaluation.label_leakage import LEAST_ROWS, SUSPECT_SCORE
from keyfold.evaluation.metrics import format_number
from keyfold.reporting.page import PageSection, html_table
from keyfold.split.folds import Folds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

    from keyfold.dataset.labelled_rows import LabelledRows
    from keyfold.runtime.run import Run

CHANCE = 1e-6  # an honest split breaks a band less often than this, over all of its bands
LARGE = 0.1  # of the rows, in one group of many
_SHOWN = 5
_GROUP, _FEATURES = 0, 1


class Gate(NamedTuple):
    """One thing that was proven or not: what was seen, and, where it is broken, the first offending keys as text and what to do."""

    name: str
    holds: bool
    seen: str
    offending: Sequence[str] = ()
    advice: str = ""

    def __str__(self) -> str:
        such = f", such as {', '.join(self.offending)}" if self.offending else ""
        return f"{self.name}: {self.seen}{such}{'. ' * bool(self.advice)}{self.advice}"


class FoldCell(NamedTuple):
    """Groups (or tuples of features) whose rows are in the folds of `mask`, a bit each, and of one class."""

    what: int
    mask: int
    positive: bool | None
    units: int
    most: int  # rows of the largest
    rows: Sequence[int]  # by fold
    first: Sequence[int | None]  # microseconds, by fold
    last: Sequence[int | None]


def check_gates(run: "Run", found: "LabelledRows") -> list[Gate]:
    """The gates of the split (PromiseError where one is broken)."""
    from keyfold.features.inputs import columns_of

    folds, split = found.folds, run.conf.split
    rows = found.rows.where(f"{sql.quote_identifier(FOLD)} IS NOT NULL")
    kinds = [feature.kind for feature in run.conf.features.values()]
    # In later times the same rows may well come again, as they will when the model answers.
    inputs = columns_of(kinds) if split.max_identical is not None or folds.hashed else []
    cells = _cells(rows, folds, inputs, classes=found.label.classes)
    groups = [cell for cell in cells if cell.what == _GROUP]
    gates = []
    if folds.given:
        _tell_largest(run, rows, folds, groups)
    if folds.hashed:
        gates.append(_groups(rows, folds, groups))
        if not split.time:
            # Bridged rows are in train alone, so shares are those of the others.
            own = _cells(rows.where(f"NOT {BRIDGED}"), folds, [], classes=found.label.classes) if found.stand_ins else groups
            gates += _shares(folds, own, classes=found.label.classes)
    if split.time:
        gates += _times(rows, folds, groups)
    if inputs:
        gates.append(_identical(rows, found, inputs, [c for c in cells if c.what == _FEATURES]))
    gates += _telling(run, rows, found)
    if broken := [gate for gate in gates if not gate.holds]:
        raise PromiseError(f"nothing was trained, because a check of the rows failed. {'; '.join(map(str, broken))}")
    return gates


def _cells(rows: "DataFrame", folds: Folds, inputs: Sequence[str], *, classes: bool) -> list[FoldCell]:
    """What the gates look at: one scan of the rows, one shuffle of integers."""
    from keyfold.core.names import LABEL

    units = [f"struct({_GROUP} AS what, keyfold_unit AS h)"]
    if inputs:
        units.append(f"struct({_FEATURES} AS what, {sql_row_hash(map(sql.column_reference, inputs))} AS h)")
    at = folds.sql_time(rows) if folds.split.time else "CAST(NULL AS BIGINT)"
    each = rows.withColumn(UNIT, folds.unit(rows)).selectExpr(
        f"array_position({_names()}, {sql.quote_identifier(FOLD)}) - 1 AS fold",
        f"{LABEL if classes else 'CAST(NULL AS BOOLEAN)'} AS positive", f"{at} AS at", f"inline({sql.array_expression(units)})",
    )  # fmt: skip
    parts = range(len(FOLDS))
    sums = [f"count_if(fold = {f}) AS n{f}" for f in parts]
    times = [f"{take}(CASE WHEN fold = {f} THEN at END) AS {take}{f}" for take in ("min", "max") for f in parts]
    mask = "bit_or(shiftleft(1L, CAST(fold AS INT))) AS mask"
    units_ = each.groupBy("what", "h").agg(*map(sql.column, [mask, "max(positive) AS positive", *sums, *times]))
    most = f"max({' + '.join(f'n{f}' for f in parts)}) AS most"
    again = (
        [most]
        + [f"sum(n{f}) AS n{f}" for f in parts]
        + [f"{take}({take}{f}) AS {take}{f}" for take in ("min", "max") for f in parts]
    )
    grouped = units_.groupBy("what", "mask", "positive").agg(*map(sql.column, ["count(*) AS units", *again]))
    return [_cell(row) for row in grouped.collect()]


def _cell(row: "Row") -> FoldCell:
    by = {name: [row[f"{name}{f}"] for f in range(len(FOLDS))] for name in ("n", "min", "max")}
    return FoldCell(row.what, row.mask, row.positive, row.units, row.most, by["n"], by["min"], by["max"])


def _names() -> str:
    return sql.array_expression(map(sql.text_literal, FOLDS))


def _groups(rows: "DataFrame", folds: Folds, cells: Sequence[FoldCell]) -> Gate:
    split = sum(cell.units for cell in cells if cell.mask.bit_count() > 1)
    whole = sum(cell.units for cell in cells)
    name = f"rows of one {' and '.join(folds.by)} are in one fold"
    seen = f"{split:,} of {whole:,} are in several"
    if not split:
        return Gate(name, True, seen)
    marked = rows.withColumn(UNIT, folds.unit(rows))
    several = marked.groupBy(UNIT).agg(sql.column(f"count(DISTINCT {sql.quote_identifier(FOLD)})").alias("keyfold_n"))
    return Gate(name, False, seen, _first(marked.join(several.where("keyfold_n > 1"), UNIT, "left_semi"), folds.by))


def _tell_largest(run: "Run", rows: "DataFrame", folds: Folds, cells: Sequence[FoldCell]) -> None:
    """A group that is so large may be what stands for `not known`, and moves the shares of the rows."""
    n, units = sum(sum(cell.rows) for cell in cells), sum(cell.units for cell in cells)
    largest = max((cell.most for cell in cells), default=0)
    if largest > n * LARGE and largest * units > n / LARGE:
        by = list(map(sql.col, folds.by))
        found = rows.groupBy(*by).count().sort(sql.col("count").desc(), *by).take(1)[0]
        value = ", ".join(map(str, found[:-1]))
        run.say(
            f"{found['count']:,} of {n:,} rows are of one group, {' and '.join(folds.by)} {value!r}, so the shares of rows differ "
            "from those of groups; if it stands for what is not known, make it NULL"
        )


def _shares(folds: Folds, cells: Sequence[FoldCell], *, classes: bool) -> list[Gate]:
    """Shares of the groups in each fold, all and by class, against the band of the binomial distribution."""
    split = folds.split
    asked = {"train": split.share.train, "validation": split.share.validation, "test": split.share.test}
    of: dict[str, list[FoldCell]] = {"shares": list(cells)}
    if classes:
        for positive in (True, False):
            of[f"shares of {'the positive' if positive else 'the other'} class"] = [c for c in cells if c.positive is positive]
    bands = len(FOLDS) * len(of)
    return [_share(name, some, asked, bands) for name, some in of.items()]


def _share(name: str, cells: Sequence[FoldCell], asked: dict[str, float], bands: int) -> Gate:
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


def _times(rows: "DataFrame", folds: Folds, cells: Sequence[FoldCell]) -> list[Gate]:
    """Whether each fold is within its span, so that no row of the future is in train and each gap is empty."""
    assert folds.split.time is not None
    gates = []
    for f, fold in enumerate(FOLDS):
        if fold not in folds.split.time.spans:
            continue
        start, end = folds.split.time.spans[fold]
        ends = [at for c in cells for at in (c.first[f], c.last[f]) if at is not None]
        holds = not ends or ((start is None or min(ends) >= start) and (end is None or max(ends) < end))
        seen = f"its rows are from {utc_text(min(ends))} to {utc_text(max(ends))}" if ends else "no row"
        sides = [f"from {utc_text(start)}"] * (start is not None) + [f"before {utc_text(end)}"] * (end is not None)
        name = f"{fold} is {' and '.join(sides)}"
        gates.append(Gate(name, holds, seen, () if holds else _first(_outside(rows, folds, fold, start, end), folds.by)))
    return gates


def _outside(rows: "DataFrame", folds: Folds, fold: str, start: int | None, end: int | None) -> "DataFrame":
    at = folds.sql_time(rows)
    out = [f"{at} < {start}L"] * (start is not None) + [f"{at} >= {end}L"] * (end is not None)
    return rows.where(sql.column(f"{sql.quote_identifier(FOLD)} = {sql.text_literal(fold)} AND ({' OR '.join(out)})"))


def _identical(rows: "DataFrame", found: "LabelledRows", inputs: Sequence[str], cells: Sequence[FoldCell]) -> Gate:
    """Against `max_identical` all rows that are alike count; without it copies do, which chance does not explain."""
    folds, most = found.folds, found.folds.split.max_identical
    outside = sum(sum(cell.rows[1:]) for cell in cells)
    same = sum(sum(cell.rows[1:]) for cell in cells if cell.mask & 1)
    share = same / max(1, outside)
    seen = f"{same:,} of {outside:,} rows outside train ({share:.2%}) have the features of a row of train"
    name = "identical rows across folds"
    if most is not None or share <= SHARE:
        most = SHARE if most is None else most
        holds, seen = share <= most, f"{seen}; at most {most:.2%} may"
    else:
        copied, error = copy_share(count_copies(rows, found.of("train"), folds, inputs))
        holds = copied - 2 * error <= SHARE
        seen += f", about {copied:.2%} more than chance explains; at most {SHARE:.2%} may be copies"
    if holds:
        return Gate(name, True, seen)
    marked = rows.withColumn("keyfold_same", sql.column(sql_row_hash(map(sql.column_reference, inputs))))
    train = marked.where(f"{sql.quote_identifier(FOLD)} = 'train'").select("keyfold_same")
    there = marked.where(f"{sql.quote_identifier(FOLD)} <> 'train'").join(train, "keyfold_same", "left_semi")
    advice = "Name in split.by what they have in common, take copies out, or write in split.max_identical which share you accept"
    return Gate(name, False, seen, _first(there, folds.by), advice)


def _telling(run: "Run", rows: "DataFrame", found: "LabelledRows") -> list[Gate]:
    """Whether a column gives the label away, but for those that the conf allows; windows look at earlier rows alone, and do not."""
    from keyfold.features.inputs import columns_of
    from keyfold.features.kinds.text import Text
    from keyfold.features.kinds.windowed import Windowed

    if run.conf.train and run.conf.train.overfit:
        return []  # of rows that are all there is a table by heart is wanted
    kinds = [feature.kind for feature in run.conf.features.values()]
    columns = columns_of(kind for kind in kinds if not isinstance(kind, Windowed) or kind.current)
    allowed = run.conf.split.allow
    if other := [name for name in allowed if name not in rows.columns]:
        raise ConfError(
            f"split.allow: table `{run.featured.name}` has no column `{other[0]}`{suggestion(other[0], rows.columns)}"
        )
    looked = find_leaks(
        rows, sum(map(found.of, FOLDS)), found.folds, [c for c in columns if c not in allowed], classes=found.label.classes,
        texts={kind.input_col: kind.sql_words(rows) for kind in kinds if isinstance(kind, Text)},
    )  # fmt: skip
    name = "columns that give the label away"
    if not looked:
        return [
            Gate(
                name,
                True,
                f"not looked for: there are none, or fewer than {LEAST_ROWS} rows of a class (of numbers {2 * LEAST_ROWS})",
            )
        ]
    unit = "ROC AUC" if found.label.classes else "R²"
    suspects = [t for t in looked if t.most > SUSPECT_SCORE]
    if not suspects:
        seen = f"the most telling, `{looked[0].column}`, has {unit} {format_number(looked[0].most)} alone; {SUSPECT_SCORE} is suspect"
        return [Gate(name, True, seen)]
    said = "; ".join(_said(t, unit) for t in suspects)
    names = ", ".join(t.column for t in suspects)
    advice = f"Take it out of `features`, or, where it is known before the label is, write split: {{allow: [{names}]}}"
    return [Gate(name, False, said, advice=advice)]


def _said(one: Leak, unit: str) -> str:
    how = (
        "by where it is missing" if one.missing >= one.most - 0.01 else "by one of its words" if one.word == one.most else "alone"
    )
    return f"`{one.column}` tells the label {how}, with {unit} {format_number(one.most)} on rows that are held out"


def _first(rows: "DataFrame", columns: Sequence[str]) -> list[str]:
    """The first keys, in their own order."""
    found: list[Any] = rows.select(*map(sql.col, columns)).distinct().sort(*map(sql.col, columns)).take(_SHOWN)
    return [" ".join(str(value) for value in row) for row in found]


def gates_section(found: Sequence[Gate]) -> PageSection:
    """What was proven of the folds before training."""
    cells = [(gate.name, "✓" if gate.holds else "✗", gate.seen) for gate in found]
    return PageSection("What the folds were checked for", html_table(["gate", "holds", "seen"], cells), "folds")
