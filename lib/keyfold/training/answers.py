"""What a model's answers need besides the train fold: it is fitted on predictions of the validation fold, after the training."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.conf.label import LabelConf
from keyfold.conf.threshold import Threshold
from keyfold.core.arrays import Doubles
from keyfold.evaluation.calibrators import Calibrator, fit_calibrator
from keyfold.evaluation.conformal import central_share, conformal_half_width, rows_for_interval, scaled_interval
from keyfold.evaluation.thresholds import ChosenThreshold, choose_threshold, choose_thresholds
from keyfold.labels import Bands, Binary, Label, Multilabel, Number
from keyfold.models.model import Model
from keyfold.models.reasons import fit_reasons
from keyfold.training.arrays import ArrayRows


class Completed(NamedTuple):
    """A completed label, the calibrator of a model's probabilities, and how thresholds were chosen, by label or positive class."""

    label: Label
    calibrator: Calibrator | None = None
    thresholds: Mapping[str, ChosenThreshold] = {}

    def numbers(self, numbers: Doubles) -> Doubles:
        """Numbers of the label, of those that an estimator predicts."""
        return self.calibrator(numbers) if self.calibrator else numbers


def complete_model(conf: LabelConf, model: Model, validation: ArrayRows) -> Model:
    """The model, completed on the rows of the validation fold. Raises as `complete_answers`."""
    completed = complete_on_rows(conf, model, validation)
    return model._replace(label=completed.label, calibrator=completed.calibrator)


def explain_model(model: Model, learn: ArrayRows) -> Model:
    """The model with the reference of its reasons, of the rows of the train fold."""
    return model._replace(explained=fit_reasons(model.spec, model.estimator, model.numbers, model.label, learn.arrays))


def complete_on_rows(conf: LabelConf, model: Model, validation: ArrayRows) -> Completed:
    """`complete_answers` on the rows of the validation fold, which are predicted only if something is fitted on them."""
    label = model.label
    if not needs_validation(conf, label):
        no_rows = validation.first(0).truth
        return complete_answers(conf, label, no_rows, np.empty((0, label.width) if label.width > 1 else 0))
    return complete_answers(conf, label, validation.truth, model.estimator.numbers(validation.arrays, label))


def needs_validation(conf: LabelConf, label: Label) -> bool:
    """Whether the rows of the validation fold affect the answers."""
    return isinstance(label, Bands) or bool(conf.fitted_on_validation)


def complete_answers(conf: LabelConf, label: Label, y: npt.NDArray[Any], numbers: Doubles) -> Completed:
    """What is fitted on rows of the validation fold: first the calibrator, then thresholds and the error of an interval.

    y: the labels of n rows as `Label.measured` returns them; numbers: (n,) or (n, k) that an estimator predicted for them.
    Raises DataError if there are too few rows, or if no threshold meets the demand. Bands are adjusted only if there are enough; else
    their interval is that of the predicted distribution.
    """
    calibrator = _calibrator(conf, label, y, numbers)
    numbers = calibrator(numbers) if calibrator else numbers
    if isinstance(label, Binary | Multilabel):
        label, chosen = _with_thresholds(conf.threshold, label, y, numbers)
        return Completed(label, calibrator, chosen)
    if isinstance(label, Number) and label.interval is not None:
        learnt = label.transformed(y), label.transformed(numbers)
        scaled = conf.scales_interval
        label = scaled_interval(label, *learnt) if scaled else replace(label, error=conformal_half_width(*learnt, label.interval))
    elif isinstance(label, Bands) and len(y) >= rows_for_interval(label.interval):
        label = replace(label, held=central_share(label, y, numbers))
    return Completed(label, calibrator)


def _calibrator(conf: LabelConf, label: Label, y: npt.NDArray[Any], numbers: Doubles) -> Calibrator | None:
    if conf.calibrate is None:
        return None
    truth = label.codes(y) if isinstance(label, Bands) else y
    return fit_calibrator(truth, numbers, conf.calibrate, exclusive=not isinstance(label, Multilabel))


def _with_thresholds(
    threshold: float | Threshold, label: Binary | Multilabel, y: npt.NDArray[Any], p: Doubles
) -> tuple[Label, dict[str, ChosenThreshold]]:
    if isinstance(label, Binary):
        if not isinstance(threshold, Threshold):
            return replace(label, threshold=threshold), {}
        one = choose_threshold(y, p, threshold.rule)
        return replace(label, threshold=one.threshold), {str(label.positive): one}
    if not isinstance(threshold, Threshold):
        return replace(label, thresholds=(threshold,) * label.width), {}
    chosen = choose_thresholds(y, p, threshold.rule, label.labels)
    return replace(label, thresholds=tuple(one.threshold for one in chosen)), dict(zip(label.names, chosen, strict=True))
