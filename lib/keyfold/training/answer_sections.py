"""The page's sections about what a model answers for the rows of the test fold."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from keyfold.conf.threshold import Threshold
from keyfold.core.arrays import Doubles
from keyfold.labels import Bands, Binary, Classes, Label, Multilabel
from keyfold.models.model import Model
from keyfold.reporting.class_sections import Claims, calibration_section, classes_section, thresholds_section
from keyfold.reporting.page import PageSection
from keyfold.reporting.sections import classification_sections
from keyfold.training.answers import complete_on_rows
from keyfold.training.arrays import ArrayRows
from keyfold.training.page_sections import labels_section

if TYPE_CHECKING:
    from keyfold.conf.label import LabelConf


def answer_sections(
    conf: "LabelConf", model: Model, rows: ArrayRows, predicted: Doubles, true_probability: Doubles | None
) -> list[PageSection]:
    """Curves and tables of classes or labels. predicted: the model's numbers for the rows of the test fold, of which there are some."""
    label, test = model.label, rows.fold("test")
    sections = []
    if isinstance(label, Binary):
        sections += classification_sections(test.truth, predicted, true_probability, threshold=label.threshold)
    elif isinstance(label, Classes):
        sections.append(classes_section(label.names, test.truth, label.decide(predicted)))
    elif isinstance(label, Multilabel):
        sections.append(labels_section(label, test.truth, predicted, test.order))
    if isinstance(conf.threshold, Threshold):
        sections.append(thresholds_section(complete_on_rows(conf, model, rows.fold("validation")).thresholds))
    if conf.calibrate and model.calibrator:
        raw = model.estimator.numbers(test.arrays, label)
        sections.append(
            calibration_section(conf.calibrate, *(_claims(label, test.truth, numbers) for numbers in (raw, predicted)))
        )
    return sections


def _claims(label: Label, truth: npt.NDArray[Any], numbers: Doubles) -> Claims:
    """Probabilities, and whether what they are of is true: of the positive class, of the predicted one, or of each label."""
    if isinstance(label, Classes | Bands):
        code = label.decide(numbers)
        true = label.codes(truth) if isinstance(label, Bands) else truth
        return Claims(true == code, numbers[np.arange(len(code)), code])
    return Claims(truth.reshape(-1), numbers.reshape(-1))
