"""Variants of a model, such as one with fewer features: trained on the same rows, and compared on the same rows of the test fold."""

import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keyfold.conf.label import LabelConf
from keyfold.conf.train import Train
from keyfold.core import digests
from keyfold.core.arrays import Doubles
from keyfold.dataset.fit_bands import bands_of
from keyfold.dataset.fit_number import fit_number
from keyfold.errors import DataError, KeyfoldError
from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.paired import Measures, Predicted, compare_predictions
from keyfold.features.spec import Spec
from keyfold.labels import Bands, Label, Number
from keyfold.models.member_fits import Fitted, RunTasks, run_in_turn
from keyfold.training.answers import complete_answers
from keyfold.training.arrays import ArrayRows
from keyfold.training.fitting import fit_model, rows_to_fit

if TYPE_CHECKING:
    from keyfold.models.model import Model


FoldMetrics = dict[str, dict[str, Metric]]
"""Metrics by name, of each fold, and of each model that is measured beside the one that is trained."""


class Variant(NamedTuple):
    """A variant of a model: its name, the sections of the conf and the features that it is trained with.

    label: None for one that is fitted on the train fold, if it is of numbers; the label of the rows, if it is not.
    """

    name: str
    conf: LabelConf
    train: Train
    spec: Spec
    label: Label | None = None


class TrainedVariant(NamedTuple):
    """A trained variant, what it predicts for the test fold, with its completed label, and the seconds of its training, if they are known."""

    name: str
    predicted: Predicted
    seconds: float | None = None


class ComparedVariant(NamedTuple):
    """Metrics of a variant on the test fold, their differences from those of the reference and ratios to them, which the reference lacks.

    failure: if the variant cannot be trained, why.
    """

    name: str
    metrics: dict[str, Metric]
    difference: dict[str, Metric]
    ratio: dict[str, Metric]
    seconds: float | None
    failure: str = ""

    @property
    def measured(self) -> dict[str, Metric]:
        """Metrics, differences (`<name>_difference`) and ratios (`<name>_ratio`) together."""
        of = {"difference": self.difference, "ratio": self.ratio}
        return self.metrics | {f"{name}_{what}": metric for what, some in of.items() for name, metric in some.items()}


def train_variant(variant: Variant, rows: ArrayRows, run: RunTasks = run_in_turn) -> TrainedVariant:
    """Trains a variant, completes its answers on the validation fold, and predicts the test fold.

    Raises what `fit_model` and `complete_answers` raise.
    """
    rows, start = rows._replace(label=variant.label or fit_label(variant.conf, rows)), time.perf_counter()
    estimator = fit_model(variant.train, variant.spec, rows_to_fit(variant.train.model, rows), run)
    seconds = time.perf_counter() - start
    return TrainedVariant(variant.name, _completed(variant, estimator, rows), seconds)


def fit_label(conf: LabelConf, rows: ArrayRows) -> Label:
    """The label of a variant of numbers, fitted on the rows of the train fold; other labels are that of the rows.

    Raises DataError if a number has no logarithm that the conf asks for, or as `bands_of`.
    """
    if not isinstance(rows.label, Bands | Number):
        return rows.label
    if conf.bands:
        return bands_of(conf, rows.label.family, np.sort(rows.fold("train").truth))
    if conf.transform and (least := rows.truth.min()) <= 0:
        raise DataError(f"label.transform: a number is {least:g}, and has no logarithm")
    return fit_number(conf, rows.label.family)


def _completed(variant: Variant, estimator: Fitted, rows: ArrayRows) -> Predicted:
    test, held_out = rows.fold("test"), rows.fold("validation")
    of_validation = estimator.numbers(held_out.arrays, rows.label)
    completed = complete_answers(variant.conf, rows.label, held_out.truth, of_validation)
    deviation = deviation_of_errors(completed.label, held_out, completed.numbers(of_validation))
    return Predicted(completed.label, completed.numbers(estimator.numbers(test.arrays, rows.label)), deviation)


def predict_model(name: str, model: "Model", rows: ArrayRows) -> TrainedVariant:
    """A model that is trained already as a variant."""
    validation = rows.fold("validation")
    deviation = None
    if isinstance(model.label, Number):
        deviation = deviation_of_errors(model.label, validation, model.numbers(validation.arrays))
    return TrainedVariant(name, Predicted(model.label, model.numbers(rows.fold("test").arrays), deviation))


def deviation_of_errors(label: Label, validation: ArrayRows, numbers: Doubles) -> float | None:
    """The standard deviation of the errors of predicted numbers, in their unit; None for other labels, and with less than two rows."""
    if not isinstance(label, Number) or len(numbers) < 2:
        return None
    return float(np.std(validation.truth - numbers))


def compare_variants(
    reference: TrainedVariant,
    others: Sequence[Variant],
    rows: ArrayRows,
    measures: Callable[[Predicted], Measures],
    run: RunTasks = run_in_turn,
    ratios: Sequence[str] = (),
) -> list[ComparedVariant]:
    """Trains the others: the reference first, then the others with their differences from it, paired.

    A variant that cannot be trained is kept, with the reason.
    """
    test = rows.fold("test")
    alone = compare_predictions(test.truth, reference.predicted, reference.predicted, measures, order=test.order).first
    compared = [ComparedVariant(reference.name, alone, {}, {}, reference.seconds)]
    for variant in others:
        try:
            trained = train_variant(variant, rows, run)
        except (KeyfoldError, ValueError) as error:
            compared.append(ComparedVariant(variant.name, {}, {}, {}, None, " ".join(str(error).split())))
            continue
        pair = compare_predictions(test.truth, trained.predicted, reference.predicted, measures, order=test.order, ratios=ratios)
        compared.append(ComparedVariant(trained.name, *pair, trained.seconds))
    return compared


def logged_name(prefix: str, name: str) -> str:
    """A name that MLflow accepts: few special characters, and at most 250 in all."""
    plain = re.sub(r"[^\w. -]", lambda sign: f"_{ord(sign[0]):x}_", name)
    return f"{prefix}_{plain if len(plain) < 200 else digests.digest(plain)}"
