"""Checks the folds before training: groups, shares, boundaries in time, copies, and columns that leak the label."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import narwhals as nw
import pyarrow as pa

from keyfold.conf.split import utc_text
from keyfold.conf.use_case import Conf
from keyfold.core.names import BRIDGED, FOLD, FOLDS, LABEL, UNIT
from keyfold.dataset.copies import SHARE, copy_share, count_copies
from keyfold.dataset.label_leaks import Leak, find_leaks
from keyfold.engine.columns import col, count_rows, lit, when
from keyfold.engine.frame import Frame
from keyfold.engine.hashes import row_hash
from keyfold.errors import ConfError, PromiseError, suggestion
from keyfold.evaluation.intervals import format_number
from keyfold.evaluation.label_leakage import LEAST_ROWS, SUSPECT_SCORE
from keyfold.features.inputs import columns_of
from keyfold.features.kinds.text import Text
from keyfold.features.kinds.windowed import Windowed
from keyfold.labels import Binary, Classes, Label
from keyfold.split.folds import Folds

if TYPE_CHECKING:
    from keyfold.dataset.labelled_rows import LabelledRows
    from keyfold.runtime.run import Run

CHANCE = 1e-6  # probability that a correct split fails any of the checks of shares
LARGE = 0.1  # a group with a larger share of the rows is reported
_CLASSES = 10  # whose shares are checked, the most frequent
_SHOWN = 5  # offending keys to show
_GROUP, _FEATURES = 0, 1
_SAME, _TIME = "keyfold_same", "keyfold_time"  # the hash of a row's features, and its time


class Gate(NamedTuple):
    """The result of a check: what was measured and, if the check failed, the first offending keys as text and advice."""

    name: str
    holds: bool
    seen: str
    offending: Sequence[str] = ()
    advice: str = ""

    def __str__(self) -> str:
        such = f", such as {', '.join(self.offending)}" if self.offending else ""
        return f"{self.name}: {self.seen}{such}{'. ' * bool(self.advice)}{self.advice}"


class FoldCell(NamedTuple):
    """Counts of units (groups, or tuples of features) with rows in the same set of folds and of the same class (by its code).

    unit: `_GROUP` or `_FEATURES`. mask: the set of folds, one bit per fold. most: the rows of the largest unit. rows: the rows by fold.
    first, last: the first and last time by fold, in microseconds since 1970.
    """

    unit: int
    mask: int
    code: int | None
    units: int
    most: int
    rows: Sequence[int]
    first: Sequence[int | None]
    last: Sequence[int | None]


def check_gates(run: "Run", labelled: "LabelledRows") -> list[Gate]:
    """Checks the folds of labelled rows, mostly in one pass (PromiseError if a gate fails)."""
    folds, split, classes = labelled.folds, run.conf.split, labelled.label.kind in ("binary", "classes")
    rows = labelled.rows.where(~col(FOLD).is_null())
    # With boundaries in time, equal rows may recur later, as they will when the model is in use.
    compared = split.max_identical is not None or folds.hashed
    inputs = columns_of(feature.kind for feature in run.conf.features.values()) if compared else []
    cells = _cells(rows, folds, inputs, classes=classes)
    groups = [cell for cell in cells if cell.unit == _GROUP]
    gates = []
    if folds.group_by:
        _report_largest(run, rows, folds, groups)
    if folds.hashed:
        gates.append(_check_groups(rows, folds, groups))
        if not split.time:
            # Bridged rows can be in train only, so they do not count for the shares.
            own = _cells(rows.where(~col(BRIDGED)), folds, [], classes=classes) if labelled.imputations else groups
            gates += _check_shares(folds, own, labelled.label)
    if split.time:
        gates += _check_times(rows, folds, groups)
    if inputs:
        features = [cell for cell in cells if cell.unit == _FEATURES]
        gates.append(_check_identical(rows, folds, labelled.count_in("train"), inputs, features))
    if not (run.conf.train and run.conf.train.overfit):  # train.overfit memorises rows on purpose
        gates.append(_check_leaks(run.conf, rows, labelled, run.featured.name))
    if failed := [gate for gate in gates if not gate.holds]:
        raise PromiseError(f"nothing was trained, because a check of the rows failed. {'; '.join(map(str, failed))}")
    return gates


def _cells(rows: Frame, folds: Folds, inputs: Sequence[str], *, classes: bool) -> list[FoldCell]:
    """Counts units by folds and class, in one scan of the rows and one shuffle of integers."""
    read = dict.fromkeys([FOLD, LABEL, *folds.by, *folds.key, *([folds.time] if folds.time else []), *inputs])
    each = folds.add_unit(rows.select(read), UNIT)
    if inputs:
        each = each.compute(row_hash(_SAME, inputs))
    each = folds.add_time(each, _TIME) if folds.split.time else each
    code = col(LABEL) if classes else lit(None)
    each = each.with_columns({LABEL: code.cast(nw.Int64)})
    each = each.stack("unit", {"h": [UNIT, _SAME] if inputs else [UNIT]}, [FOLD, LABEL, *([_TIME] if folds.split.time else [])])
    of_folds = _of_folds(timed=folds.split.time is not None)
    by_unit = each.group(["unit", "h"], code=col(LABEL).max(), **of_folds)
    n = [col(f"n{f}") for f in range(len(FOLDS))]
    mask, most = (sum(some[1:], some[0]) for some in ([(rows > 0).cast(nw.Int64) * (1 << f) for f, rows in enumerate(n)], n))
    sums = {name: getattr(col(name), "sum" if name[0] == "n" else name[:3])() for name in of_folds}
    cells = by_unit.with_columns({"mask": mask, "most": most}).group(
        ["unit", "mask", "code"], units=count_rows(), most=col("most").max(), **sums
    )
    return [_cell(row) for row in cells.rows()]


def _of_folds(*, timed: bool) -> dict[str, nw.Expr]:
    """For each fold, the number of rows and, if they are `timed`, their first and last time. An engine keeps them for each unit."""
    of = {f: col(FOLD) == lit(fold) for f, fold in enumerate(FOLDS)}
    times = {f: when(is_of).then(col(_TIME)) for f, is_of in of.items()} if timed else {}
    return {
        **{f"n{f}": when(is_of).then(lit(1)).count() for f, is_of in of.items()},
        **{f"min{f}": at.min() for f, at in times.items()},
        **{f"max{f}": at.max() for f, at in times.items()},
    }


def _cell(row: Mapping[str, Any]) -> FoldCell:
    by: dict[str, list[Any]] = {name: [row.get(f"{name}{f}") for f in range(len(FOLDS))] for name in ("n", "min", "max")}
    return FoldCell(row["unit"], row["mask"], row["code"], row["units"], row["most"], by["n"], by["min"], by["max"])


def _check_groups(rows: Frame, folds: Folds, cells: Sequence[FoldCell]) -> Gate:
    split = sum(cell.units for cell in cells if cell.mask.bit_count() > 1)
    name = f"rows of one {' and '.join(folds.by)} are in one fold"
    seen = f"{split:,} of {sum(cell.units for cell in cells):,} are in several"
    if not split:
        return Gate(name, True, seen)
    with_unit = folds.add_unit(rows, UNIT)
    several = with_unit.group([UNIT], first=col(FOLD).min(), last=col(FOLD).max()).where(col("first") != col("last"))
    return Gate(name, False, seen, _first_keys(with_unit.join(several.select([UNIT]), [UNIT], "semi"), folds.by))


def _report_largest(run: "Run", rows: Frame, folds: Folds, cells: Sequence[FoldCell]) -> None:
    """Logs the largest group if it is so large that it may stand for unknown values and distorts the shares of the rows."""
    n, units = sum(sum(cell.rows) for cell in cells), sum(cell.units for cell in cells)
    largest = max((cell.most for cell in cells), default=0)
    if largest > n * LARGE and largest * units > n / LARGE:
        number = "keyfold_rows"
        sizes = rows.group(folds.by, **{number: count_rows()}).sort([number, *folds.by], descending=[number])
        group = sizes.head(1).rows()[0]
        value = ", ".join(str(group[name]) for name in folds.by)
        run.say(
            f"{group[number]:,} of {n:,} rows are of one group, {' and '.join(folds.by)} {value!r}, so the shares of rows differ "
            "from those of groups; if this value means unknown, make it NULL"
        )


def _check_shares(folds: Folds, cells: Sequence[FoldCell], label: Label) -> list[Gate]:
    """Compares the shares of the groups in each fold, in total and by class, with quantiles of the binomial distribution."""
    by_name: dict[str, Sequence[FoldCell]] = {"shares": cells}
    if isinstance(label, Binary):
        by_name |= {
            f"shares of {name} class": [c for c in cells if c.code == code]
            for code, name in ((1, "the positive"), (0, "the other"))
        }
    if isinstance(label, Classes):
        frequent = Counter({code: sum(c.units for c in cells if c.code == code) for code in range(label.width)}).most_common(
            _CLASSES
        )
        by_name |= {f"shares of class {label.names[code]}": [c for c in cells if c.code == code] for code, _ in frequent}
    chance = CHANCE / (len(FOLDS) * len(by_name))
    return [_check_share(name, folds, group, chance) for name, group in by_name.items()]


def _check_share(name: str, folds: Folds, cells: Sequence[FoldCell], chance: float) -> Gate:
    from scipy.stats import binom

    n = sum(cell.units for cell in cells)
    seen, outside = [], []
    for f, fold in enumerate(FOLDS):
        share = getattr(folds.split.share, fold)
        k = sum(cell.units for cell in cells if cell.mask == 1 << f)
        low, high = (int(binom.ppf(q, n, share)) for q in (chance / 2, 1 - chance / 2)) if n else (0, 0)
        seen.append(f"{fold} {k:,} of {n:,}, expected {max(0, low):,} to {high:,}")
        if not low <= k <= high:
            outside.append(seen[-1])
    return Gate(name, not outside, "; ".join(outside or seen))


def _check_times(rows: Frame, folds: Folds, cells: Sequence[FoldCell]) -> list[Gate]:
    """Checks that each fold is within its boundaries: no row of the future is in train, and each gap is empty."""
    assert folds.split.time is not None
    return [
        _check_time(rows, folds, fold, [at for c in cells for at in (c.first[f], c.last[f]) if at is not None])
        for f, fold in enumerate(FOLDS)
        if fold in folds.split.time.spans
    ]


def _check_time(rows: Frame, folds: Folds, fold: str, times: Sequence[int]) -> Gate:
    assert folds.split.time is not None
    start, end = folds.split.time.spans[fold]
    sides = [f"from {utc_text(start)}"] * (start is not None) + [f"before {utc_text(end)}"] * (end is not None)
    name = f"{fold} is {' and '.join(sides)}"
    if not times:
        return Gate(name, True, "no row")
    seen = f"its rows are from {utc_text(min(times))} to {utc_text(max(times))}"
    if (start is None or min(times) >= start) and (end is None or max(times) < end):
        return Gate(name, True, seen)
    return Gate(name, False, seen, _first_keys(_outside(rows, folds, fold, start, end), folds.by))


def _outside(rows: Frame, folds: Folds, fold: str, start: int | None, end: int | None) -> Frame:
    timed, at = folds.add_time(rows, _TIME).where(col(FOLD) == lit(fold)), col(_TIME)
    early = lit(False) if start is None else at < lit(start)
    return timed.where(early if end is None else early | (at >= lit(end)))


def _check_identical(rows: Frame, folds: Folds, train: int, inputs: Sequence[str], cells: Sequence[FoldCell]) -> Gate:
    """Checks the rows outside train that equal a train row: all of them with `max_identical`, otherwise only the copies."""
    limit = folds.split.max_identical
    outside = sum(sum(cell.rows[1:]) for cell in cells)
    same = sum(sum(cell.rows[1:]) for cell in cells if cell.mask & 1)
    share = same / max(1, outside)
    seen = f"{same:,} of {outside:,} rows outside train ({share:.2%}) have the features of a row of train"
    name = "identical rows across folds"
    if limit is not None or share <= SHARE:
        limit = SHARE if limit is None else limit
        holds, seen = share <= limit, f"{seen}; at most {limit:.2%} may"
    else:
        copied, error = copy_share(count_copies(rows, train, folds, inputs))
        holds = copied - 2 * error <= SHARE
        seen += f", about {copied:.2%} more than chance explains; at most {SHARE:.2%} may be copies"
    if holds:
        return Gate(name, True, seen)
    advice = "Name in split.by what the copies share, remove them, or accept a share by split.max_identical"
    return Gate(name, False, seen, _first_keys(_identical(rows, inputs), folds.by), advice)


def _identical(rows: Frame, inputs: Sequence[str]) -> Frame:
    hashed = rows.compute(row_hash(_SAME, inputs))
    train = hashed.where(col(FOLD) == lit("train")).select([_SAME])
    return hashed.where(col(FOLD) != lit("train")).join(train, [_SAME], "semi")


def _check_leaks(conf: Conf, rows: Frame, labelled: "LabelledRows", table: str) -> Gate:
    """Checks that no column leaks the label. Ignores columns of split.allow, and windows, which end before their row."""
    allowed = conf.split.allow
    if other := [name for name in allowed if name not in rows.columns]:
        raise ConfError(f"split.allow: table `{table}` has no column `{other[0]}`{suggestion(other[0], rows.columns)}")
    kinds = [feature.kind for feature in conf.features.values()]
    columns = columns_of(kind for kind in kinds if not isinstance(kind, Windowed) or kind.current)
    leaks = find_leaks(
        rows, sum(map(labelled.count_in, FOLDS)), labelled.folds, [c for c in columns if c not in allowed],
        label=labelled.label, texts=[kind for kind in kinds if isinstance(kind, Text)],
    )  # fmt: skip
    return _leak_gate(leaks, "R²" if labelled.label.truth_type == pa.float64() else "ROC AUC")


def _leak_gate(leaks: Sequence[Leak], metric: str) -> Gate:
    name = "columns that give the label away"
    if not leaks:
        few = f"there is no column, or there are fewer than {LEAST_ROWS} rows of a class (of numbers {2 * LEAST_ROWS})"
        return Gate(name, True, f"not measured: {few}")
    suspects = [leak for leak in leaks if leak.most > SUSPECT_SCORE]
    if not suspects:
        best = f"`{leaks[0].column}` predicts the label best, with {metric} {format_number(leaks[0].most)} alone"
        return Gate(name, True, f"{best}; above {SUSPECT_SCORE} is suspect")
    names = ", ".join(leak.column for leak in suspects)
    advice = f"Remove it from `features` or, if it is known before the label is, write split: {{allow: [{names}]}}"
    return Gate(name, False, "; ".join(_leak_text(leak, metric) for leak in suspects), advice=advice)


def _leak_text(leak: Leak, metric: str) -> str:
    if leak.missing >= leak.most - 0.01:
        how = "by where it is missing"
    else:
        how = "by one of its words" if leak.word == leak.most else "alone"
    return f"`{leak.column}` predicts the label {how}, with {metric} {format_number(leak.most)} on held-out rows"


def _first_keys(rows: Frame, columns: Sequence[str]) -> list[str]:
    keys = rows.select(columns).distinct().sort(columns).head(_SHOWN).rows()
    return [" ".join(str(_without_zone(value)) for value in key.values()) for key in keys]


def _without_zone(value: object) -> object:
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value
