"""Accuracy against coverage: of models that answer the rows they are sure of, and decline the others."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.evaluation.curves import Curve, thin_curve
from keyfold.evaluation.intervals import Metric, bootstrap_intervals

COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Answers(NamedTuple):
    """What a model answers n rows with, if it does. confidence: n numbers; rows with higher ones are answered first.

    correct: whether the answer is the true class. known: whether the row has a true class; others count for no accuracy.
    neutral: whether the row is labelled neutral.
    """

    confidence: Doubles
    correct: Bools
    known: Bools
    neutral: Bools

    def take(self, places: Int64s) -> "Answers":
        """The rows at some places."""
        return Answers(self.confidence[places], self.correct[places], self.known[places], self.neutral[places])


class AtCoverage(NamedTuple):
    """Metrics of the rows that are answered, at one coverage (share of all rows): of a model, and of plain abstention at the same coverage.

    accuracy: of the answered rows with a true class. neutral: share of neutral rows among the answered ones. gain: what the model's accuracy
    is above that of plain abstention. The last three are NaN without plain abstention.
    """

    coverage: Metric
    accuracy: Metric
    neutral: Metric
    plain_accuracy: Metric
    plain_neutral: Metric
    gain: Metric


class _Ranked:
    """Rows by descending confidence; rows with equal confidence are answered in equal parts, so that no order decides."""

    def __init__(self, answers: Answers) -> None:
        self.order = np.argsort(-answers.confidence, kind="stable")
        ranked = answers.confidence[self.order]
        self.last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], ranked.size > 0))
        self.values = [
            values[self.order].astype(np.float64) for values in (answers.known & answers.correct, answers.known, answers.neutral)
        ]

    def weighed(self, weight: Doubles) -> list[Doubles]:
        """The running sums, from 0, of the weights of all rows, of correct, known and neutral ones."""
        weights = weight[self.order]
        return [np.append(0.0, np.cumsum(part)[self.last]) for part in (weights, *(weights * values for values in self.values))]


def accuracy_curve(answers: Answers) -> Curve:
    """x: share of the rows that are answered; y: accuracy of those that have a true class. Only where there are such rows."""
    rows, correct, known, _ = _Ranked(answers).weighed(np.ones(len(answers.confidence)))
    kept = known > 0
    return thin_curve(rows[kept] / rows[-1], correct[kept] / known[kept])


def compare_answers(
    model: Answers, answered: ArrayLike, plain: Answers | None, order: ArrayLike, *,
    coverages: Sequence[float] = COVERAGES, replicates: int = 200,
) -> list[AtCoverage]:  # fmt: skip
    """A model beside plain abstention at the same coverage, paired: at first for the rows that the model itself answers, then at the coverages.

    answered: whether the model answers each of the n rows. order: n integers, one per row; they make the result independent of the order
    of the rows. Each replicate of the bootstrap draws the same rows for both.
    """
    places = np.argsort(np.asarray(order, np.int64), kind="stable")
    own = np.asarray(answered, np.float64)[places]
    first = model.take(places)
    ranked, of_plain = _Ranked(first), _Ranked(plain.take(places)) if plain else None

    def measure(weight: Doubles) -> dict[str, float]:
        share = float((weight * own).sum() / weight.sum())
        ours = [_of_answered(first, weight * own), *_at(ranked.weighed(weight), coverages)]
        theirs = _at(of_plain.weighed(weight), [share, *coverages]) if of_plain else [(np.nan, np.nan)] * len(ours)
        rows = zip([share, *coverages], ours, theirs, strict=True)
        cells = ((at, *one, *two, one[0] - two[0]) for at, one, two in rows)
        return {
            f"{name} {place}": value
            for place, row in enumerate(cells)
            for name, value in zip(AtCoverage._fields, row, strict=True)
        }

    of = bootstrap_intervals(measure, np.ones(len(own)), replicates)
    return [AtCoverage(*(of[f"{name} {place}"] for name in AtCoverage._fields)) for place in range(1 + len(coverages))]


def _of_answered(answers: Answers, weight: Doubles) -> tuple[float, float]:
    """Accuracy, and share of neutral rows, of the rows with these weights."""
    known = weight * answers.known
    return _ratio((known * answers.correct).sum(), known.sum()), _ratio((weight * answers.neutral).sum(), weight.sum())


def _at(sums: list[Doubles], shares: Sequence[float]) -> list[tuple[float, float]]:
    """Accuracy, and share of neutral rows, of the answered rows at each share."""
    rows, *others = sums
    ends = np.array(shares) * rows[-1]
    correct, known, neutral = (np.interp(ends, rows, values) for values in others)
    return [(_ratio(right, of), _ratio(none, end)) for right, of, none, end in zip(correct, known, neutral, ends, strict=True)]


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else np.nan
