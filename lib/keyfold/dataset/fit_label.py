"""Fits the label on labelled rows: its kind, its classes and their order; and adds it to the rows as models learn it."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

import narwhals as nw
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.label import AboveThreshold, LabelConf
from keyfold.core.names import CLASS, FOLD, LABEL, PERIOD
from keyfold.core.types import family_of
from keyfold.dataset import fit_neutral, fit_number
from keyfold.dataset.fit_bands import fit_bands
from keyfold.dataset.fit_multilabel import fit_multilabel, label_codes
from keyfold.dataset.fit_number import NUMBERS, no_threshold
from keyfold.engine.columns import col, count_rows, lit
from keyfold.engine.frame import Computed, Frame
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.evaluation.thresholds import UNTUNED
from keyfold.labels import Binary, Classes, Label, Multilabel, Neutral
from keyfold.labels.classes import MAX_CLASSES, UNKNOWN
from keyfold.models.positive_class import guess_positive

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf

NUMERIC = ("number", "bands")  # kinds of labels whose column is a number
_UNKNOWN_GROUP, _UNFIT = "keyfold_unknown", "keyfold_unfit_"
LabelCounts = dict[tuple[str, Any], int]  # rows by fold and class


class Counted(NamedTuple):
    """The periods of labelled rows, and counts of them.

    rows: by fold and class (None without classes). unknown: those with an unknown group. unfit: by the conditions of `unfit`, of numbers.
    """

    periods: list[str]
    rows: LabelCounts
    unknown: int
    unfit: list[int]


def kind_of_label(conf: "Conf", types: dict[str, str]) -> str:
    """The kind of the label: as the conf says, or by the type of the column and whether the model is a classifier."""
    label, classifies = conf.label, conf.train.model.chosen.classifies if conf.train else None
    assert label is not None
    family = family_of(types[label.columns_of_rows[0]])
    kind = "labels" if label.several or family.startswith("array") else "bands" if label.bands else ""
    kind = "classes" if label.neutral else kind
    if kind and classifies is False:
        path = next(iter(conf.train.candidates)) if conf.train else ""
        raise ConfError(f"label: a classifier learns {kind}, and train.{path} is a regressor; take a classifier")
    if not kind:
        classes = family in ("string", "boolean") and label.scores is None
        kind = "classes" if classifies or (classifies is None and classes) else "number"
    _check_model(conf, kind)
    if kind not in NUMERIC and label.of_numbers:
        raise ConfError(f"label.{label.of_numbers[0]} is for a label that is a number; leave it out, or train a regressor")
    return kind


def _check_model(conf: "Conf", kind: str) -> None:
    for path, model in conf.train.candidates.items() if conf.train else ():
        if model.sklearn and model.sklearn.chain and kind != "labels":
            raise ConfError(
                f"train.{path}.sklearn.chain is for a label of several labels, which learn from each other; leave it out"
            )


def count_labels(conf: "Conf", rows: Frame, unknown_group: Sequence[str]) -> Counted:
    """Counts rows that have their period, in one pass. unknown_group: columns that are NULL where the group of a row is unknown."""
    assert conf.label is not None
    kind, unknown = kind_of_label(conf, rows.types), reduce(or_, (col(name).is_null() for name in unknown_group), lit(False))
    unfit = []
    if kind in NUMERIC:
        fit_number.fit_number(conf.label, family_of(rows.types[str(conf.label.column)]))  # checks the type
        unfit = [each.condition for each in fit_number.unfit(conf.label)]
        rows = fit_number.with_number(conf.label, rows)
    flags = {f"{_UNFIT}{place}": condition.cast(nw.Int64) for place, condition in enumerate(unfit)}
    flags |= {_UNKNOWN_GROUP: unknown.cast(nw.Int64)}
    value = _class(conf.label) if kind == "classes" else lit(None).cast(nw.String)
    if conf.label.neutral:
        rows, value = fit_neutral.with_class(conf.label, rows), col(CLASS)
    sums = {name: col(name).sum() for name in flags}
    cells = rows.with_columns({CLASS: value, **flags}).group([PERIOD, FOLD, CLASS], n=count_rows(), **sums)
    counts: Counter[tuple[str, Any]] = Counter()
    found = cells.head(100_000).rows()
    for cell in found:
        counts[cell[FOLD], cell[CLASS]] += cell["n"]
    *of_unfit, of_unknown = (sum(cell[name] for cell in found) for name in flags)
    return Counted(sorted({cell[PERIOD] for cell in found}), counts, of_unknown, of_unfit)


def fit_label(conf: "Conf", rows: Frame, counts: LabelCounts, say: Callable[[str], None]) -> Label:
    """The label of rows with their folds and counts. ConfError or DataError if the model cannot learn it."""
    assert conf.label is not None
    kind, family = kind_of_label(conf, rows.types), family_of(rows.types[conf.label.columns_of_rows[0]])
    if conf.label.neutral:
        fit_neutral.check_classes(conf.label, counts)
        return fit_neutral.neutral_label(conf.label, _several(conf.label, "string", counts, say))
    if kind == "classes":
        return _classes(conf.label, family, counts, say)
    if kind == "labels":
        return fit_multilabel(conf.label, family, rows, say)
    number = fit_number.fit_number(conf.label, family)
    if kind == "number":
        return number
    train = with_label(conf.label, rows.where(col(FOLD) == lit("train")), number)
    return fit_bands(conf.label, family, train, conf.data, counts, say)


def with_label(conf: LabelConf, rows: Frame, label: Label) -> Frame:
    """Adds the label as `Label.truth_type` says."""
    if isinstance(label, Binary):
        return rows.with_columns({LABEL: _class(conf) == lit(label.positive)})
    if isinstance(label, Neutral):
        return rows.compute(Computed({LABEL: label.truth_type}, partial(fit_neutral.class_codes, conf, label.classes, UNKNOWN)))
    if isinstance(label, Classes):
        return rows.compute(Computed({LABEL: label.truth_type}, partial(_codes, str(conf.column), label.classes)))
    if isinstance(label, Multilabel):
        return rows.compute(Computed({LABEL: label.truth_type}, partial(label_codes, conf, label.labels)))
    return fit_number.with_number(conf, rows)


def _class(conf: LabelConf) -> nw.Expr:
    """The class of a row: the label's value, or whether the label is above the threshold of label.positive."""
    value = col(str(conf.column))
    return value > lit(conf.positive.above) if isinstance(conf.positive, AboveThreshold) else value


def _codes(name: str, classes: Sequence[Any], batch: pa.RecordBatch) -> list[pa.Array]:
    values = batch[name]
    known = pa.array(classes).cast(values.type)
    return [pc.if_else(values.is_null(), None, pc.fill_null(pc.index_in(values, known), UNKNOWN)).cast(pa.int64())]


def _classes(conf: LabelConf, family: str, counts: LabelCounts, say: Callable[[str], None]) -> Binary | Classes:
    """The label of a classifier: of two classes, or of more. The positive class of two is guessed if label.positive is not set."""
    above = isinstance(conf.positive, AboveThreshold)
    if above and family not in NUMBERS:
        raise no_threshold(conf, family, "classifier")
    classes = sorted({value for _, value in counts}, key=str)
    if len(classes) > 2 and conf.positive is None:
        return _several(conf, family, counts, say)
    if len(classes) != 2:
        shown = ", ".join(map(str, classes[:10])) + (" …" if len(classes) > 10 else "")
        two = (
            "; label.positive is for a label of two classes, leave it out"
            if len(classes) > 2
            else "; a classifier needs two or more"
        )
        raise DataError(f"label: `{conf.column}` has {len(classes)} class(es): {shown}{two}")
    if above:
        return Binary("boolean", True, False)
    positive = _positive(conf, classes, say)
    return Binary(family, positive, classes[0] if classes[1] == positive else classes[1])


def _positive(conf: LabelConf, classes: list[Any], say: Callable[[str], None]) -> Any:
    positive = conf.positive
    if positive is None and (guess := guess_positive(classes)):
        positive, reason = guess
        say(f"label.positive is not set; probabilities are of the class `{positive}`, for {reason}")
    if positive not in classes or type(positive) is not type(classes[0]):
        got = "it is not set, and neither class says yes" if positive is None else f"got {positive!r}"
        raise DataError(
            f"label.positive: `{conf.column}` has the classes {classes[0]!r} and {classes[1]!r}; name the positive one ({got})"
            + suggestion(str(positive), map(str, classes))
        )
    return positive


def _several(conf: LabelConf, family: str, counts: LabelCounts, say: Callable[[str], None]) -> Classes:
    shown = "`" + "`, `".join(conf.columns_of_rows) + "`"
    if conf.threshold != UNTUNED:
        raise ConfError(
            f"label.threshold is for two classes or several labels, and {shown} has {len({value for _, value in counts}):,} "
            "classes, of which the most probable is predicted; leave it out"
        )
    if family not in ("string", "bigint", "boolean"):
        raise DataError(f"label: {shown} is {family}; classes are text or integers. Make it text, or train a regressor")
    by_fold: dict[str, set[Any]] = {}
    for fold, value in counts:
        by_fold.setdefault(fold, set()).add(value)
    classes = sorted(by_fold["train"])
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"label: {shown} has {len(classes):,} classes in the train fold, of at most {MAX_CLASSES:,}; group them"
            + ("" if family == "string" else ", or train a regressor")
        )
    if len(classes) < 2:
        raise DataError(f"label: {shown} has only the class {classes[0]} in the train fold; a classifier needs two or more")
    for fold, values in sorted(by_fold.items(), key=str):
        if unknown := sorted(values - set(classes)):
            n = sum(counts[fold, value] for value in unknown)
            shown = ", ".join(map(str, unknown[:10])) + (" …" if len(unknown) > 10 else "")
            say(
                f"WARNING: {n:,} rows of the {fold or 'no'} fold have classes that the train fold lacks ({shown}); they count as errors"
            )
    return Classes(family, tuple(classes))
