"""The probability from which a class is predicted, chosen on held-out rows."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keyfold.core.arrays import Bools, Doubles
from keyfold.errors import DataError
from keyfold.evaluation.curves import POINTS, Curve

UNTUNED = 0.5
_DEMANDS = {"precision_at_least": ("precision", "recall"), "recall_at_least": ("recall", "precision")}


class ChosenThreshold(NamedTuple):
    """The least probability with which a class is predicted.

    curves: what it was chosen from, by name (`f1`, `cost`, `precision` and `recall`, …): x is the threshold, ascending, and y the value;
    at most 200 points, one of them that of the threshold. Empty for a threshold that was not chosen.
    """

    threshold: float
    curves: dict[str, Curve]


class Outcomes(NamedTuple):
    """Numbers of rows by descending threshold: true and false positives; the first threshold predicts no row, the last one all rows."""

    threshold: Doubles
    tp: Doubles
    fp: Doubles

    @property
    def positives(self) -> float:
        """All rows of the class."""
        return float(self.tp[-1])

    @property
    def negatives(self) -> float:
        """All other rows."""
        return float(self.fp[-1])

    @property
    def precision(self) -> Doubles:
        """The share of the predicted rows that are of the class; NaN where none is predicted."""
        with np.errstate(invalid="ignore"):
            return self.tp / (self.tp + self.fp)

    @property
    def recall(self) -> Doubles:
        """The share of the rows of the class that are predicted."""
        return self.tp / self.positives

    @property
    def balanced_accuracy(self) -> Doubles:
        """The mean of the recall of both classes."""
        hits = (
            self.tp * self.negatives + (self.negatives - self.fp) * self.positives
        )  # one division, so that equal ones have equal bits
        return hits / (2 * self.positives * self.negatives)

    def f_beta(self, beta: float) -> Doubles:
        """The F score, in which recall counts beta times as much as precision."""
        b = beta**2
        return (1 + b) * self.tp / (b * self.positives + self.tp + self.fp)

    def cost(self, false_positive: float, false_negative: float) -> Doubles:
        """The mean cost of a row."""
        wrong = false_positive * self.fp + false_negative * (self.positives - self.tp)
        return wrong / (self.positives + self.negatives)


def choose_threshold(
    y: ArrayLike, p: ArrayLike, rule: Mapping[str, Any], *, fold: str = "the validation fold", option: str = "label.threshold"
) -> ChosenThreshold:
    """The threshold that a rule chooses; a row is predicted to be of the class if its probability is at least the threshold.

    y: n booleans, whether a row is of the class. p: n probabilities of it.
    rule: `{maximise: f1 | balanced_accuracy}`, `{maximise: f_beta, beta: 2}`, `{precision_at_least: x}` (with the highest recall),
    `{recall_at_least: x}` (with the highest precision) or `{cost: {false_positive: a, false_negative: b}}`.
    Thresholds are the probabilities of the rows, and one just above them all. Of equally good ones, the highest is chosen; for
    `recall_at_least`, the one with the highest recall.
    Raises DataError, which names `option` and `fold`, if one of the two classes has no row, or if no threshold meets the demand.
    """
    has = np.asarray(y, bool)
    if has.all() or not has.any():
        rows = "every row" if has.any() else "no row"
        raise DataError(
            f"{option}: {rows} of {fold} is of the positive class, so no threshold can be chosen; give the fold more rows"
        )
    outcomes = _outcomes(has, np.asarray(p, np.float64))
    (name, wanted), *_ = rule.items()
    if name in _DEMANDS:
        return _meet_demand(outcomes, *_DEMANDS[name], float(wanted), f"{option}.{name}", fold)
    if name == "cost":
        return _chosen(outcomes, int(np.argmin(values := outcomes.cost(**wanted))), cost=values)
    values = outcomes.balanced_accuracy if wanted == "balanced_accuracy" else outcomes.f_beta(rule.get("beta", 1.0))
    return _chosen(outcomes, int(np.argmax(values)), **{wanted: values})


def choose_thresholds(
    y: ArrayLike, p: ArrayLike, rule: Mapping[str, Any], names: Sequence[str], option: str = "label.threshold"
) -> list[ChosenThreshold]:
    """The threshold of each of k labels, as `choose_threshold`; 0.5, without curves, for a label that no row or each row has.

    y: (n, k) booleans; p: (n, k) probabilities; names: of the k labels, for the DataError.
    """
    has, probability = np.asarray(y, bool), np.asarray(p, np.float64)
    return [
        ChosenThreshold(UNTUNED, {})
        if one.all() or not one.any()
        else choose_threshold(
            one, probability[:, code], rule, fold=f"label `{names[code]}` of the validation fold", option=option
        )
        for code, one in enumerate(has.T)
    ]


def _outcomes(y: Bools, p: Doubles) -> Outcomes:
    descending = np.argsort(-p, kind="stable")
    y, p = y[descending], p[descending]
    last = np.flatnonzero(np.append(p[1:] != p[:-1], True))  # row of each different probability
    tp, rows = np.cumsum(y)[last], last + 1
    thresholds = np.append(np.nextafter(p[0], np.inf), p[last])
    return Outcomes(thresholds, np.append(0.0, tp), np.append(0.0, rows - tp))


def _meet_demand(outcomes: Outcomes, demanded: str, other: str, least: float, option: str, fold: str) -> ChosenThreshold:
    values, others = getattr(outcomes, demanded), getattr(outcomes, other)
    met = values >= least
    if not met.any():
        best = int(np.nanargmax(values))
        raise DataError(
            f"{option}: no threshold has a {demanded} of {least:.15g} on {fold}; the best is {_below(values[best])}, "
            f"at {outcomes.threshold[best]:.6g}, with a {other} of {others[best]:.3g}; ask for no more, or improve the model"
        )
    # Of equals: the highest threshold for a precision, which has fewer false positives; the lowest for a recall.
    chosen = max(np.flatnonzero(met).tolist(), key=lambda i: (np.nan_to_num(others[i], nan=-1.0), values[i]))
    return _chosen(outcomes, chosen, **{demanded: values, other: others})


def _below(value: float) -> str:
    """A number as text, rounded down, so that a demand for it can be met."""
    return f"{np.floor(value * 1e4) / 1e4:.4g}"


def _chosen(outcomes: Outcomes, best: int, **values: Doubles) -> ChosenThreshold:
    shown = np.unique(np.append(np.linspace(0, len(outcomes.threshold) - 1, POINTS - 1).round().astype(np.int64), best))[::-1]
    threshold = outcomes.threshold
    return ChosenThreshold(float(threshold[best]), {name: Curve(threshold[shown], of[shown]) for name, of in values.items()})
