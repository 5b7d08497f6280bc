"""Variants of a model, such as one with fewer features: trained on the same rows, and compared on the same rows of the test fold."""

import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from keyfold.conf.train import Train
from keyfold.core import digests
from keyfold.core.arrays import Doubles
from keyfold.errors import KeyfoldError
from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.paired import Measures, compare_predictions
from keyfold.features.spec import Spec
from keyfold.models.ensemble import Fitted, RunTasks, run_in_turn
from keyfold.training.arrays import ArrayRows
from keyfold.training.fitting import fit_model


class Variant(NamedTuple):
    """A variant of a model: its name, the section `train` and the features that it is trained with."""

    name: str
    train: Train
    spec: Spec


class TrainedVariant(NamedTuple):
    """A trained variant, what it predicts for rows of the test fold, as numbers of its label, and the seconds of its training."""

    name: str
    estimator: Fitted
    numbers: Doubles
    seconds: float


class ComparedVariant(NamedTuple):
    """Metrics of a variant on the test fold and its differences from the reference, which has none; if it cannot be trained, why."""

    name: str
    metrics: dict[str, Metric]
    difference: dict[str, Metric]
    seconds: float | None
    failure: str = ""

    @property
    def measured(self) -> dict[str, Metric]:
        """Metrics and differences (`<name>_difference`) together."""
        return self.metrics | {f"{name}_difference": metric for name, metric in self.difference.items()}


def train_variant(variant: Variant, learn: ArrayRows, test: ArrayRows, run: RunTasks = run_in_turn) -> TrainedVariant:
    """Trains a variant on the rows `learn`, and predicts the rows `test`. Raises what `fit_model` raises."""
    start = time.perf_counter()
    estimator = fit_model(variant.train, variant.spec, learn, run)
    seconds = time.perf_counter() - start
    return TrainedVariant(variant.name, estimator, estimator.numbers(test.arrays, test.label), seconds)


def compare_variants(
    reference: Variant,
    others: Sequence[Variant],
    learn: ArrayRows,
    test: ArrayRows,
    measures: Measures,
    run: RunTasks = run_in_turn,
) -> list[ComparedVariant]:
    """Trains the reference and the others; the reference first, then the others with their differences from it, paired.

    A variant that cannot be trained is kept, with the reason; if it is the reference, its error is raised.
    """
    base = train_variant(reference, learn, test, run)
    of_base = compare_predictions(test.label, test.truth, base.numbers, base.numbers, measures, order=test.order).first
    compared = [ComparedVariant(base.name, of_base, {}, base.seconds)]
    for variant in others:
        try:
            trained = train_variant(variant, learn, test, run)
        except (KeyfoldError, ValueError) as error:
            compared.append(ComparedVariant(variant.name, {}, {}, None, " ".join(str(error).split())))
            continue
        pair = compare_predictions(test.label, test.truth, trained.numbers, base.numbers, measures, order=test.order)
        compared.append(ComparedVariant(trained.name, pair.first, pair.difference, trained.seconds))
    return compared


def logged_name(prefix: str, name: str) -> str:
    """A name that MLflow accepts: few special characters, and at most 250 in all."""
    plain = re.sub(r"[^\w. -]", lambda sign: f"_{ord(sign[0]):x}_", name)
    return f"{prefix}_{plain if len(plain) < 200 else digests.digest(plain)}"
