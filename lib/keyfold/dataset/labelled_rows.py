"""The rows that a model learns from: labelled rows before the period of the run, with their folds, at a pinned version of the table."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

import narwhals as nw
import pyarrow as pa

from keyfold.conf.data import AboveThreshold, Data
from keyfold.conf.split import utc_text
from keyfold.core import sql
from keyfold.core.names import BRIDGED, CLASS, FOLD, LABEL, NUMBER, PART, PERIOD
from keyfold.core.types import ArrowValue, arrow_family, family_of
from keyfold.dataset import imputation
from keyfold.dataset.imputation import Imputations
from keyfold.engine.columns import col, count_rows, lit, when
from keyfold.engine.frame import Computed, Frame
from keyfold.engine.table_versions import TableVersion
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.features.fitting import Target
from keyfold.models.label import Label
from keyfold.models.positive_class import guess_positive
from keyfold.runtime.periods import period_of
from keyfold.split import strata
from keyfold.split.folds import Folds

if TYPE_CHECKING:
    from keyfold.runtime.run import Run

_NUMBERS = ("bigint", "double", "decimal")
_UNKNOWN = "keyfold_unknown"
_LabelCounts = dict[tuple[str, Any], int]  # rows by fold and class


class LabelledRows(NamedTuple):
    """Labelled rows of a table at a version, with their folds.

    rows: with the fold, the part within the train fold (NULL in other folds), the label (boolean for a class, double for a number)
    and, with `split.folds`, the number of the cross-validation part. periods: the periods of the rows. counts: rows by fold and class
    (None for a number). imputations: of the columns that older layouts lack, if the conf has versions.
    """

    rows: Frame
    version: TableVersion
    periods: list[str]
    counts: _LabelCounts
    label: Label
    folds: Folds
    imputations: Imputations | None = None

    def pins(self, run: "Run") -> dict[str, Any]:
        """What identifies these rows in the identity of a job (see `keyfold.runtime.job_identity`)."""
        bridge = self.imputations.digest if self.imputations else None
        label = [self.label.family, *map(repr, self.label[1:])]
        return {"rows": self.version, "before": run.period, "folds": self.folds.identity, "label": label, "bridge": bridge}

    def count_in(self, fold: str) -> int:
        """The number of rows in a fold."""
        return sum(n for (f, _), n in self.counts.items() if f == fold)

    @property
    def target(self) -> Target | None:
        """The columns of the target for features that learn from it; None if the label is a number."""
        return Target(LABEL, PART) if self.label.classes else None


def labelled_rows(run: "Run") -> LabelledRows:
    """The labelled rows of the latest version of the table, before `run.period` if it is set (DataError if the train fold is empty)."""
    conf, name = run.conf, run.conf.data.label
    if name is None:
        raise ConfError("data.label is not set: name the column that is to be predicted")
    version, table = pinned_table(run, {"data.label": [name]})
    rows = table.where(~col(name).is_null())
    if run.period is not None:
        rows = _before(conf.data, rows, run.period)
    folds = strata.with_strata(run, folds_of(run), version, rows)
    rows = with_fold(run, folds, rows, FOLD, NUMBER if conf.split.folds else None)
    rows, imputations = imputation.impute_training_rows(run, rows, FOLD, version, folds.identity)
    family = family_of(table.types[name])
    classes = conf.train.model.chosen.classifies if conf.train else family in ("string", "boolean")
    periods, counts, unknown = _count(conf.data, rows, folds, classes=classes)
    _report_unknown(folds, unknown, sum(counts.values()), run.say)
    _check_folds(run, folds, counts)
    label = _label(conf.data, family, counts, run.say) if classes else _number_label(conf.data, family)
    rows = _with_label(conf.data, folds.add_part(rows, PART), label)
    rows = rows.with_columns({PART: when(col(FOLD) == lit("train")).then(col(PART))})
    return LabelledRows(rows, version, periods, counts, label, folds, imputations)


def _before(data: Data, rows: Frame, period: str) -> Frame:
    named = rows if PERIOD in rows.columns else rows.compute(period_of(data, rows.types))
    return named.where(col(PERIOD) < lit(period)).select(rows.columns)


def _count(data: Data, rows: Frame, folds: Folds, *, classes: bool) -> tuple[list[str], _LabelCounts, int]:
    """The periods of the rows, the number of rows by fold and class, and the number of rows whose group is unknown."""
    named = with_period(data, rows, [FOLD, str(data.label), *folds.unknown])
    unknown = reduce(or_, (col(name).is_null() for name in folds.unknown), lit(False))
    value = _class(data) if classes else lit(None).cast(nw.String)
    cells = named.with_columns({CLASS: value, _UNKNOWN: unknown.cast(nw.Int64)}).group(
        [PERIOD, FOLD, CLASS], n=count_rows(), unknown=col(_UNKNOWN).sum()
    )
    counts: Counter[tuple[str, Any]] = Counter()
    found = cells.head(100_000).rows()
    for cell in found:
        counts[cell[FOLD], cell[CLASS]] += cell["n"]
    return sorted({cell[PERIOD] for cell in found}), counts, sum(cell["unknown"] for cell in found)


# --- the table and its folds ---


def pinned_table(run: "Run", columns: Mapping[str, list[str]] | None = None) -> tuple[TableVersion, Frame]:
    """The version of the table that features are computed from, and its rows.

    columns: further required columns, by the option of the conf that names them. Raises DataError if a column is missing.
    """
    data, folds, version = run.conf.data, folds_of(run), run.featured.version()
    table = run.featured.frame(version.version)
    named = {
        **(columns or {}), "data.key": data.key, "data.time": [data.time] if data.time and PERIOD not in table.columns else [],
        "split.by": folds.by, "split.time": [folds.time] if folds.time else [],
    }  # fmt: skip
    for option, names in named.items():
        for name in names:
            if name not in table.columns:
                raise DataError(f"{option}: table `{run.featured.name}` has no column `{name}`{suggestion(name, table.columns)}")
    return version, table


def folds_of(run: "Run") -> Folds:
    """The split of the run's conf, without its strata (ConfError if the conf lacks a label or a time that the split needs)."""
    conf, data, split = run.conf, run.conf.data, run.conf.split
    if split.time and not (split.time.column or data.time):
        raise ConfError("split.time: name the column of the boundaries, by split.time.column or data.time")
    if split.stratified and data.label is None:
        raise ConfError("split.stratified: data.label is not set, so there are no classes")
    if split.stratified and isinstance(data.positive, AboveThreshold):
        raise ConfError("split.stratified needs a label that is a class; this one is a number, of which data.positive makes two")
    return Folds(split, data.key, conf.name, data.time, data.label or "", repeats=data.period != "all")


def with_fold(run: "Run", folds: Folds, frame: Frame, column: str, number: str | None = None) -> Frame:
    """Adds the fold of each row (NULL for no fold) and the number of its part. A bridged row is in the train fold or in none."""
    rows = folds.add(frame, column, number)
    if not run.conf.data.versions or BRIDGED not in rows.columns:
        return rows
    return rows.with_columns({column: when(~col(BRIDGED) | (col(column) == lit("train"))).then(col(column))})


def with_period(data: Data, frame: Frame, keep: Sequence[str] | None = None) -> Frame:
    """Adds the period of each row as `keyfold_period` (empty text for a row without a period) to the columns `keep` (default: all)."""
    named = frame.compute(period_of(data, frame.types), keep)
    # Rows of tables that others write may lack their time.
    return named.with_columns({PERIOD: when(col(PERIOD).is_null()).then(lit("")).otherwise(col(PERIOD))})


def _report_unknown(folds: Folds, unknown: int, n: int, say: Callable[[str], None]) -> None:
    if not unknown:
        return
    names = " or ".join(f"`{name}`" for name in folds.unknown)
    message = f"{unknown:,} of {n:,} rows have no {names} (NULL)"
    if folds.split.null_groups == "refuse":
        raise DataError(
            f"split.by: {message}, so their group is not known; fill the column, or write split.null_groups: own (each goes by its "
            "key) or together (they are one group)"
        )
    say(f"{message}: each is a group of its own, by its key (split.null_groups: own)")


def _check_folds(run: "Run", folds: Folds, counts: _LabelCounts) -> None:
    """Raises DataError if a fold that training needs is empty; logs any other empty fold."""
    rows, train, filled = sum(counts.values()), run.conf.train, {fold for (fold, _), n in counts.items() if n}
    if "train" not in filled:
        before = f" before period {run.period}" if run.period else ""
        label = run.conf.data.label
        raise DataError(f"table `{run.featured.name}` has no row with a label `{label}` in the train fold{before}")
    for fold in _evaluation_folds(folds):
        if fold not in filled:
            message = f"the {fold} fold is empty: none of the {rows:,} rows with a label {_why_empty(folds, fold)}"
            if train and (fold == "test" or (train.tune and not folds.split.folds)):
                raise DataError(message)
            run.say(message)


def _evaluation_folds(folds: Folds) -> Iterator[str]:
    time, share = folds.split.time, folds.split.share
    return (fold for fold in ("validation", "test") if (fold in time.spans if time else getattr(share, fold)))


def _why_empty(folds: Folds, fold: str) -> str:
    by = "`, `".join(folds.by)
    if folds.split.time:
        start, _ = folds.split.time.spans[fold]
        also = f", in the {fold} part of `{by}`" if folds.hashed else ""
        return f"is from {utc_text(start or 0)} on{also}; move split.time.{fold}, whose column is `{folds.time}`"
    few = f"; there are too few values of `{by}`" if folds.group_by else ""
    return (
        f"fell into its share of {getattr(folds.split.share, fold):g}, by the hash of `{by}`{few}. Take a larger split.share.{fold}, "
        f"another split.salt or split.by, or write split.share.{fold}: 0"
    )


# --- the label ---


def _class(data: Data) -> nw.Expr:
    """The class of a row: the label's value, or whether the label is above the threshold of data.positive."""
    label = col(str(data.label))
    return label > lit(data.positive.above) if isinstance(data.positive, AboveThreshold) else label


def _with_label(data: Data, rows: Frame, label: Label) -> Frame:
    """Adds the label: whether it is the positive class, or the number as a double."""
    if label.classes:
        return rows.with_columns({LABEL: _class(data) == lit(label.positive)})
    name = str(data.label)
    return rows.compute(
        Computed({LABEL: pa.float64()}, partial(_as_double, name), [f"CAST({sql.column_reference(name)} AS DOUBLE)"])
    )


def _as_double(name: str, batch: pa.RecordBatch) -> list[pa.Array]:
    family = arrow_family(batch[name].type)
    if family == "double":
        return [batch[name].cast(pa.float64())]
    value = ArrowValue(batch[name], family)
    return [pa.array(value.number, mask=value.null)]


def _number_label(data: Data, family: str) -> Label:
    if isinstance(data.positive, AboveThreshold):
        raise _no_threshold(data, family, "regressor")
    if family not in _NUMBERS:
        raise DataError(f"data.label: `{data.label}` is {family}; a regressor needs numbers")
    return Label(family)


def _label(data: Data, family: str, counts: _LabelCounts, say: Callable[[str], None]) -> Label:
    """The label of a classifier. The positive class is guessed if data.positive is not set."""
    above = isinstance(data.positive, AboveThreshold)
    if above and family not in _NUMBERS:
        raise _no_threshold(data, family, "classifier")
    classes = sorted({value for _, value in counts}, key=str)
    if len(classes) != 2:
        shown = ", ".join(map(str, classes[:10])) + (" …" if len(classes) > 10 else "")
        raise DataError(f"data.label: `{data.label}` has {len(classes)} class(es): {shown}; a classifier needs two")
    if above:
        return Label("boolean", True, False)
    positive, guess = data.positive, None
    if positive is None and (guess := guess_positive(classes)):
        positive, reason = guess
        say(f"data.positive is not set; probabilities are of the class `{positive}`, for {reason}")
    if positive not in classes or type(positive) is not type(classes[0]):
        got = "it is not set, and neither class says yes" if positive is None else f"got {positive!r}"
        raise DataError(
            f"data.positive: `{data.label}` has the classes {classes[0]!r} and {classes[1]!r}; name the positive one ({got})"
            + suggestion(str(positive), map(str, classes))
        )
    return Label(family, positive, classes[0] if classes[1] == positive else classes[1])


def _no_threshold(data: Data, family: str, model: str) -> ConfError:
    return ConfError(
        f"data.positive: `above` makes classes of a number, for a classifier (got the label `{data.label}`, {family}, for a {model})"
    )
