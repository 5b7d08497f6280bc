"""Reasons of an answer: what each feature of the conf adds to it, relative to the train fold.

The contributions of all features are the answer minus the answer of the reference, in the unit of the contributions.
linear: coefficient × (value - mean over the train fold). Exact.
trees: Shapley values of the trees (`tree_paths`); the reference is their mean over the rows that they were trained on. Exact.
replaced, for any other model: features are replaced by those of a reference row one by one, in the order of the conf and in the reverse
order; a contribution is the mean of both changes of the answer. Exact Shapley values as long as no three features act together.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Doubles
from keyfold.errors import ConfError
from keyfold.features.kind import Array
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.labels import Binary, Label, Number
from keyfold.models.sklearn import Estimator

REASONS = "reasons"
FOR = "explains one number, or the probability of one of two classes"
REASON = pa.struct([("feature", pa.string()), ("contribution", pa.float64())])
_CHECKED = 256  # rows on which a way must give the answers
_NEAR = 1e-7  # the largest difference, relative to the largest number
Unit = Literal["log-odds", "probability", "number", "logarithm"]
Predict = Callable[[FeatureArrays], Doubles]
_IN_UNIT: dict[str, Callable[[Doubles], Doubles]] = {
    "log-odds": lambda p: np.log(p) - np.log1p(-p), "logarithm": np.log, "probability": np.asarray, "number": np.asarray,
}  # fmt: skip
_FROM_UNIT: dict[str, Callable[[Doubles], Doubles]] = {
    "log-odds": lambda x: 1 / (1 + np.exp(-x)), "logarithm": np.exp, "probability": np.asarray, "number": np.asarray,
}  # fmt: skip


@dataclass(frozen=True)
class Reasons:
    """How contributions to a model's answers are computed; JSON of the model.

    unit: log-odds or probability of the positive class, the number, or its natural logarithm. Probabilities are those that the
    estimator learnt, before calibration and correction, unless the way is `replaced`.
    answer: of the reference, in that unit. reference: by feature; the mean of its term, for `replaced` its value, none for trees.
    """

    way: Literal["linear", "trees", "replaced"]
    unit: Unit
    answer: float
    reference: dict[str, Any] = field(default_factory=dict)

    def contributions(self, estimator: Any, predict: Predict, arrays: FeatureArrays) -> Doubles:
        """What each feature adds for n rows (n, features); `predict`: the model's numbers. A row's bits depend on no other row."""
        if self.way == "linear":
            return _terms(estimator, arrays) - np.array([self.reference[name] for name in arrays])
        if self.way == "trees":
            return estimator.trees.contributions(estimator.matrix(arrays))  # type: ignore[no-any-return]
        return _changes(predict, self.reference, arrays)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def check_label(label: Label) -> None:
    """ConfError for a label whose answer is more than one number."""
    if not isinstance(label, Binary | Number):
        raise ConfError(f"score.reasons {FOR}, and the label is of kind {label.kind}; leave it out")


def fit_reasons(spec: Spec, estimator: Any, predict: Predict, label: Label, arrays: FeatureArrays) -> Reasons:
    """How answers of a model are explained, by the rows of the train fold: the first way that gives the answers of some of them."""
    first = {name: array[:_CHECKED] for name, array in arrays.items()}
    if isinstance(estimator, Estimator):
        numbers, units = estimator.uncorrected_numbers(first, label), _units(label)
        if _is_linear(estimator):
            means = dict(zip(arrays, _terms(estimator, arrays).mean(axis=0).tolist(), strict=True))
            terms = _terms(estimator, first) - np.array([*means.values()])
            for unit in units:
                if (answer := _reference_answer(terms, numbers, unit)) is not None:
                    return Reasons("linear", unit, answer, means)
        if estimator.trees:
            terms = estimator.trees.contributions(estimator.matrix(first))
            for unit in units:
                if (answer := _reference_answer(terms, numbers, unit)) is not None:
                    return Reasons("trees", unit, answer)
    reference = {name: _typical(array) if spec.outs[name].type == "int" else _mean(array) for name, array in arrays.items()}
    one = {name: _repeated(reference[name], array[:1]) for name, array in arrays.items()}
    return Reasons("replaced", "number" if isinstance(label, Number) else "probability", float(predict(one)[0]), reference)


def strongest(contributions: Doubles, names: list[str], most: int) -> pa.Array:
    """The features that add or take most, for n rows of (n, features), as lists of REASON; equal ones by name."""
    by_name = sorted(range(len(names)), key=names.__getitem__)
    places = np.argsort(-np.abs(contributions[:, by_name]), axis=1, kind="stable")[:, :most]
    values = np.take_along_axis(contributions[:, by_name], places, axis=1)
    features = pa.array([names[place] for place in by_name], pa.string()).take(pa.array(places.ravel()))
    reasons = pa.StructArray.from_arrays([features, pa.array(values.ravel(), pa.float64())], fields=[*REASON])
    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]), reasons)


def _units(label: Label) -> tuple[Unit, ...]:
    return ("log-odds", "probability") if label.has_classes else ("number", "logarithm")


def _reference_answer(terms: Doubles, numbers: Doubles, unit: Unit) -> float | None:
    """The answer of the reference if contributions (n, features) in this unit give the numbers (n); else None."""
    with np.errstate(all="ignore"):
        raw = _IN_UNIT[unit](numbers)
        rest = raw - terms.sum(axis=1)
        known = np.isfinite(rest)
        if not known.any():
            return None
        certain = np.flatnonzero(known)[np.argmin(np.abs(raw[known]))]  # where the unit has the most digits
        given = terms.sum(axis=1) + rest[certain]
        answers = _FROM_UNIT[unit](given)
        near = np.abs(answers - numbers).max() <= _NEAR * max(np.abs(numbers).max(), 1e-300)
    return float(rest[certain]) if near else None


def _is_linear(estimator: Estimator) -> bool:
    return np.size(getattr(estimator.estimator, "coef_", ())) == sum(estimator.widths)


def _terms(estimator: Estimator, arrays: FeatureArrays) -> Doubles:
    """Coefficient × value, summed over the columns of each feature (n, features); row by row."""
    from scipy import sparse

    coefficients, start, terms = np.ravel(estimator.estimator.coef_), 0, []
    for name, width in zip(arrays, estimator.widths, strict=True):
        columns = sparse.csr_matrix(estimator.feature_matrix(name, arrays))
        terms.append(columns @ coefficients[start : (start := start + width)])
    return np.stack(terms, axis=1)


def _changes(predict: Predict, reference: Mapping[str, Any], arrays: FeatureArrays) -> Doubles:
    names, places = [*arrays], {name: place for place, name in enumerate(arrays)}
    answers, rows = predict(arrays), len(next(iter(arrays.values())))
    total = np.zeros((rows, len(names)))
    for order in (names, names[::-1]):
        replaced, before = dict(arrays), answers
        for name in order:
            replaced[name] = _repeated(reference[name], arrays[name])
            after = predict(replaced)
            total[:, places[name]] += (before - after) / 2
            before = after
    return total


def _mean(array: Array) -> Any:
    return np.nanmean(np.asarray(array, np.float64), axis=0).tolist()


def _typical(array: Array) -> Any:
    """The most frequent index, of each place of a list; a bag is empty."""
    if isinstance(array, pa.Array):
        return []
    columns = np.asarray(array).reshape(len(array), -1).T
    typical = [int(np.bincount(column).argmax()) for column in columns]
    return typical if np.ndim(array) > 1 else typical[0]


def _repeated(value: Any, array: Array) -> Array:
    """A value as an array like another one."""
    if isinstance(array, pa.Array):
        return pa.array([value] * len(array), array.type)
    return np.broadcast_to(np.asarray(value, array.dtype), array.shape)
