"""The rows that can be learnt from: labelled, before the period that is asked for, each with its fold; pinned to a version."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfold.conf.data import AboveThreshold
from keyfold.conf.split import utc_text
from keyfold.core import sql
from keyfold.core.names import BRIDGED, FOLD, FOLDS, LABEL, NUMBER, PART, PERIOD
from keyfold.core.sql import col
from keyfold.core.types import family_of
from keyfold.dataset import imputation
from keyfold.dataset.imputation import Imputations
from keyfold.engine import functions as F
from keyfold.engine.table_versions import TableVersion
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.features.fitting import Target
from keyfold.models.label import Label
from keyfold.models.positive_class import guess_positive
from keyfold.runtime.periods import period_of
from keyfold.split import strata
from keyfold.split.folds import Folds

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from keyfold.runtime.run import Run


class LabelledRows(NamedTuple):
    """`rows` with their fold, their part of the train fold (else NULL) and their label, a boolean for a class, else a double.

    With `split.folds` they have the number of their part to cross-validate, too.

    `periods` of the rows; `counts` of rows by fold and class (None where the label is a number).
    """

    rows: "DataFrame"
    version: TableVersion
    periods: list[str]
    counts: dict[tuple[str, Any], int]
    label: Label
    folds: Folds
    stand_ins: Imputations | None = None  # what is in the gaps of bridged rows, where the table has versions

    def pins(self, run: "Run") -> dict[str, Any]:
        """What a job on these rows pins."""
        bridge = self.stand_ins.digest if self.stand_ins else None
        label = [self.label.family, *map(repr, self.label[1:])]
        return {"rows": self.version, "before": run.period, "folds": self.folds.identity, "label": label, "bridge": bridge}

    def of(self, fold: str) -> int:
        """The rows of a fold."""
        return sum(n for (f, _), n in self.counts.items() if f == fold)

    @property
    def target(self) -> Target | None:
        """What features learn of the label; None where it is a number."""
        return Target(LABEL, PART) if self.label.classes else None


def labelled_rows(run: "Run") -> LabelledRows:
    """The labelled rows of the table as it is now (DataError where there is nothing to learn from)."""
    label = run.conf.data.label
    if label is None:
        raise ConfError("data.label is not set: name the column that is to be predicted")
    version, frame = pinned_table(run, {"data.label": [label]})
    rows, period = frame.where(col(label).isNotNull()), period_of(run.conf.data, frame)
    if run.period is not None:
        rows = rows.where(period < run.period)
    cut = strata.with_strata(run, folds_of(run), version, rows)
    rows = with_fold(run, cut, rows, FOLD, NUMBER if run.conf.split.folds else None)
    rows, stand_ins = imputation.impute_training_rows(run, rows, FOLD, version, cut.identity)
    classes = _is_class(run, frame.schema[label].dataType.simpleString())
    by = [
        named_period(run, frame).alias("period"),
        col(FOLD),
        _class(run).alias(label) if classes else F.lit(None).cast("string").alias(label),
    ]
    unknown = F.count_if(sql.column(cut.sql_unknown)).alias("unknown")
    counted = rows.groupBy(*by).agg(F.count("*").alias("n"), unknown).limit(100_000).collect()
    counts: Counter[tuple[str, Any]] = Counter()
    for _, fold, value, n, _ in counted:
        counts[fold, value] += n
    _tell_unknown(run, cut, sum(row.unknown for row in counted), sum(counts.values()))
    if not any(fold == "train" for fold, _ in counts):
        before = f" before period {run.period}" if run.period else ""
        raise DataError(f"table `{run.featured.name}` has no row with a label `{label}` in the train fold{before}")
    _refuse_empty(run, cut, counts)
    periods = sorted({row[0] for row in counted})
    found = _label(run, rows, counts, classes=classes)
    part = F.when(col(FOLD) == "train", cut.spark_part(frame))
    wanted = _class(run) == F.lit(found.positive) if classes else col(label).cast("double")
    return LabelledRows(rows.withColumn(PART, part).withColumn(LABEL, wanted), version, periods, counts, found, cut, stand_ins)


def with_fold(run: "Run", cut: Folds, frame: "DataFrame", fold: str, number: str | None = None) -> "DataFrame":
    """The frame with the fold that training has used, or would use: bridged rows are in train or in none."""
    made = cut.add(frame, fold, number)
    if not run.conf.data.versions or BRIDGED not in made.columns:
        return made
    return made.withColumn(fold, F.when(~col(BRIDGED) | (col(fold) == "train"), col(fold)))


def _tell_unknown(run: "Run", cut: Folds, unknown: int, n: int) -> None:
    if not unknown:
        return
    names = " or ".join(f"`{name}`" for name in cut.unknown)
    said = f"{unknown:,} of {n:,} rows have no {names} (NULL)"
    if cut.split.null_groups == "refuse":
        raise DataError(
            f"split.by: {said}, so their group is not known; fill the column, or write split.null_groups: own (each goes by its "
            "key) or together (they are one group)"
        )
    run.say(f"{said}: each is a group of its own, by its key (split.null_groups: own)")


def _refuse_empty(run: "Run", cut: Folds, counts: Mapping[tuple[str, Any], int]) -> None:
    """DataError where the test fold that was asked for has no row, or the validation fold that trials are measured on."""
    split, rows = run.conf.split, sum(counts.values())
    asked = split.time.spans if split.time else {fold for fold in FOLDS if getattr(split.share, fold)}
    train = run.conf.train
    for fold in ("validation", "test"):
        if fold not in asked or any(f == fold and n for (f, _), n in counts.items()):
            continue
        why = f"the {fold} fold is empty: none of the {rows:,} rows with a label {_no_place(cut, fold)}"
        if train and (fold == "test" or (train.tune and not split.folds)):
            raise DataError(why)
        run.say(why)


def _no_place(cut: Folds, fold: str) -> str:
    if cut.split.time:
        start, _ = cut.split.time.spans[fold]
        also = f", in the {fold} part of `{'`, `'.join(cut.by)}`" if cut.hashed else ""
        return f"is from {utc_text(start or 0)} on{also}; move split.time.{fold}, whose column is `{cut.time}`"
    share = getattr(cut.split.share, fold)
    by = "`, `".join(cut.by)
    few = f"; there are too few values of `{by}`" if cut.given else ""
    return (
        f"fell into its share of {share:g}, by the hash of `{by}`{few}. Take a larger split.share.{fold}, another split.salt or "
        f"split.by, or write split.share.{fold}: 0"
    )


def _class(run: "Run") -> "Column":
    """The label as a class."""
    data = run.conf.data
    label = col(str(data.label))
    return label > data.positive.above if isinstance(data.positive, AboveThreshold) else label


def pinned_table(run: "Run", also: Mapping[str, list[str]] | None = None) -> "tuple[TableVersion, DataFrame]":
    """The table as it is now, and its version (DataError where a column that the conf names is not there)."""
    data, version = run.conf.data, run.featured.version()
    frame = run.featured.read(version.version)
    time = [data.time] if data.time and PERIOD not in frame.columns else []
    for option, names in {**(also or {}), "data.key": data.key, "data.time": time, **_asked(folds_of(run))}.items():
        for name in names:
            if name not in frame.columns:
                raise DataError(f"{option}: table `{run.featured.name}` has no column `{name}`{suggestion(name, frame.columns)}")
    return version, frame


def _asked(folds: Folds) -> dict[str, list[str]]:
    return {"split.by": folds.by, "split.time": [folds.time] if folds.time else []}


def _is_class(run: "Run", label_type: str) -> bool:
    train = run.conf.train
    return train.model.chosen.classifies if train else family_of(label_type) in ("string", "boolean")


def folds_of(run: "Run") -> Folds:
    """The split of the use case, whose strata may not be there yet (ConfError where it has no label or time to go by)."""
    conf, data = run.conf, run.conf.data
    if conf.split.time and not (conf.split.time.column or data.time):
        raise ConfError("split.time: name the column that says when, by split.time.column or data.time")
    if conf.split.stratified and data.label is None:
        raise ConfError("split.stratified: data.label is not set, so there are no classes")
    if conf.split.stratified and isinstance(data.positive, AboveThreshold):
        raise ConfError("split.stratified needs a label that is a class; this one is a number, of which data.positive makes two")
    return Folds(conf.split, data.key, conf.name, data.time, data.label or "", repeats=data.period != "all")


def named_period(run: "Run", frame: "DataFrame") -> "Column":
    """text: the period of each row, empty where a row has none."""
    return F.coalesce(period_of(run.conf.data, frame), F.lit(""))  # a table of others may have rows without a time


def _label(run: "Run", rows: "DataFrame", counts: Mapping[tuple[str, Any], int], *, classes: bool) -> Label:
    data = run.conf.data
    family = family_of(rows.schema[str(data.label)].dataType.simpleString())
    above = isinstance(data.positive, AboveThreshold)
    if above and (not classes or family not in ("bigint", "double", "decimal")):
        raise ConfError(
            f"data.positive: `above` makes classes of a number, for a classifier (got the label `{data.label}`, {family}, "
            f"{'for a classifier' if classes else 'for a regressor'})"
        )
    if not classes:
        if family not in ("bigint", "double", "decimal"):
            raise DataError(f"data.label: `{data.label}` is {family}; a regressor needs numbers")
        return Label(family)
    there = sorted({value for _, value in counts}, key=str)
    if len(there) != 2:
        shown = ", ".join(map(str, there[:10])) + (" …" if len(there) > 10 else "")
        raise DataError(f"data.label: `{data.label}` has {len(there)} class(es): {shown}; a classifier needs two")
    if above:
        return Label("boolean", True, False)
    if data.positive is None and (guessed := guess_positive(there)):
        run.say(f"data.positive is not set; probabilities are of the class `{guessed[0]}`, for {guessed[1]}")
    positive = data.positive if data.positive is not None else guessed and guessed[0]
    if positive not in there or type(positive) is not type(there[0]):
        got = "it is not set, and neither class says yes" if positive is None else f"got {positive!r}"
        raise DataError(
            f"data.positive: `{data.label}` has the classes {there[0]!r} and {there[1]!r}; name the positive one ({got})"
            + suggestion(str(positive), map(str, there))
        )
    return Label(family, positive, there[0] if there[1] == positive else there[1])
