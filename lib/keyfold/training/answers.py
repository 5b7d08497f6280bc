"""What a model's label needs besides the train fold: it is fitted on predictions of the validation fold, after the training."""

from dataclasses import replace
from typing import Any

import numpy.typing as npt

from keyfold.core.arrays import Doubles
from keyfold.evaluation.conformal import central_share, conformal_half_width, rows_for_interval
from keyfold.labels import Bands, Label, Number
from keyfold.models.model import Model
from keyfold.training.arrays import ArrayRows


def complete_model(model: Model, validation: ArrayRows) -> Model:
    """The model with its label completed on the rows of the validation fold. Raises as `complete_label`."""
    if not needs_validation(model.label):
        return model
    return model._replace(label=complete_label(model.label, validation.truth, model.numbers(validation.arrays)))


def needs_validation(label: Label) -> bool:
    """Whether `complete_label` changes the label."""
    return isinstance(label, Bands) or (isinstance(label, Number) and label.interval is not None)


def complete_label(label: Label, y: npt.NDArray[Any], numbers: Doubles) -> Label:
    """The label with what is fitted on rows of the validation fold: the error of an interval.

    y: the labels of n rows as `Label.measured` returns them; numbers: (n,) or (n, k) predicted for them.
    Raises DataError if there are too few rows. Bands are adjusted only if there are enough; else their interval is that of the
    predicted distribution.
    """
    if isinstance(label, Number) and label.interval is not None:
        error = conformal_half_width(label.transformed(y), label.transformed(numbers), label.interval)
        return replace(label, error=error)
    if isinstance(label, Bands) and len(y) >= rows_for_interval(label.interval):
        return replace(label, held=central_share(label, y, numbers))
    return label
