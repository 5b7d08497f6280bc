"""The rows that a model learns from: labelled rows before the period of the run, with their folds, at a pinned version of the table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.conf.data import Data
from keyfold.conf.label import AboveThreshold
from keyfold.conf.split import utc_text
from keyfold.core.names import BRIDGED, FOLD, LABEL, NUMBER, PART, PERIOD
from keyfold.dataset import fit_label, fit_number, imputation
from keyfold.dataset.fit_label import LabelCounts
from keyfold.dataset.imputation import Imputations
from keyfold.engine.columns import col, lit, when
from keyfold.engine.frame import Frame
from keyfold.engine.table_versions import TableVersion
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.features.fitting import Target
from keyfold.labels import Binary, Classes, Label
from keyfold.runtime.periods import period_of
from keyfold.split import strata
from keyfold.split.folds import Folds

if TYPE_CHECKING:
    from keyfold.runtime.run import Run


class LabelledRows(NamedTuple):
    """Labelled rows of a table at a version, with their folds.

    rows: with the fold, the part within the train fold (NULL in other folds), the label (see `Label.truth_type`) and, with
    `split.folds`, the number of the cross-validation part. periods: the periods of the rows. counts: rows by fold and class (None for
    labels without classes). imputations: of the columns that older layouts lack, if the conf has versions.
    """

    rows: Frame
    version: TableVersion
    periods: list[str]
    counts: LabelCounts
    label: Label
    folds: Folds
    imputations: Imputations | None = None

    def pins(self, run: "Run") -> dict[str, Any]:
        """What identifies these rows in the identity of a job (see `keyfold.runtime.job_identity`)."""
        bridge = self.imputations.digest if self.imputations else None
        saved = self.label.to_json()
        label = [saved.pop("family"), *map(repr, saved.values())]
        return {"rows": self.version, "before": run.period, "folds": self.folds.identity, "label": label, "bridge": bridge}

    def count_in(self, fold: str) -> int:
        """The number of rows in a fold."""
        return sum(n for (f, _), n in self.counts.items() if f == fold)

    @property
    def target(self) -> Target | None:
        """The columns of the target for features that learn from it; None unless the label is one of some classes."""
        if isinstance(self.label, Classes):
            return Target(LABEL, PART, self.label.width)
        return Target(LABEL, PART) if isinstance(self.label, Binary) else None


def labelled_rows(run: "Run") -> LabelledRows:
    """The labelled rows of the latest version of the table, before `run.period` if it is set (DataError if the train fold is empty)."""
    conf = run.conf
    if conf.label is None:
        raise ConfError("label is not set: name the column that is to be predicted, as in `label: churned`")
    version, table = pinned_table(run, {"label": conf.label_columns})
    rows = table.where(*(~col(name).is_null() for name in conf.label_columns))
    if run.period is not None:
        rows = _before(conf.data, rows, run.period)
    folds = strata.with_strata(run, folds_of(run), version, rows)
    rows = with_fold(run, folds, rows, FOLD, NUMBER if conf.split.folds else None)
    rows, imputations = imputation.impute_training_rows(run, rows, FOLD, version, folds.identity)
    named = with_period(conf.data, rows, [FOLD, *conf.label_columns, *folds.unknown])
    counted = fit_label.count_labels(conf, named, folds.unknown)
    _report_unknown(folds, counted.unknown, sum(counted.rows.values()), run.say)
    _check_folds(run, folds, counted.rows)
    if counted.unfit and (conf.train or conf.label.bands):
        fit_number.check_fit(conf.label, rows, counted.unfit, sum(counted.rows.values()))
    label = fit_label.fit_label(conf, rows, counted.rows, run.say)
    rows = fit_label.with_label(conf.label, folds.add_part(rows, PART), label)
    rows = rows.with_columns({PART: when(col(FOLD) == lit("train")).then(col(PART))})
    return LabelledRows(rows, version, counted.periods, counted.rows, label, folds, imputations)


def _before(data: Data, rows: Frame, period: str) -> Frame:
    named = rows if PERIOD in rows.columns else rows.compute(period_of(data, rows.types))
    return named.where(col(PERIOD) < lit(period)).select(rows.columns)


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
    if split.stratified and conf.label is None:
        raise ConfError("split.stratified: label is not set, so there are no classes")
    if split.stratified and conf.label and isinstance(conf.label.positive, AboveThreshold):
        raise ConfError("split.stratified needs a label that is a class; this one is a number, of which label.positive makes two")
    if split.stratified and conf.label and conf.label.several:
        raise ConfError("split.stratified needs a label that is one class; this one is several labels")
    return Folds(split, data.key, conf.name, data.time, next(iter(conf.label_columns), ""), repeats=data.period != "all")


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


def _check_folds(run: "Run", folds: Folds, counts: LabelCounts) -> None:
    """Raises DataError if a fold that training needs is empty; logs any other empty fold."""
    rows, train, filled = sum(counts.values()), run.conf.train, {fold for (fold, _), n in counts.items() if n}
    if "train" not in filled:
        before = f" before period {run.period}" if run.period else ""
        label = "`, `".join(run.conf.label_columns)
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
