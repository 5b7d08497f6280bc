"""Balances the classes of the rows that a model is fitted on (`train.rebalance`)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keyfold.conf.rebalance import Rebalance
from keyfold.conf.train import Train
from keyfold.core import hashing
from keyfold.core.arrays import Doubles, Int64s
from keyfold.core.packages import require_package
from keyfold.dataset.labelled_rows import LabelledRows
from keyfold.errors import ConfError, DataError
from keyfold.features.matrix import dense_matrix
from keyfold.features.spec import FeatureArrays, Spec
from keyfold.labels import Binary, Classes, Label
from keyfold.models.examples import Examples
from keyfold.training.arrays import ArrayRows

SALT = "rebalance"


def balance_rows(rebalance: Rebalance, spec: Spec, rows: ArrayRows, seed: int) -> Examples:
    """The rows with balanced classes. Raises ConfError for weights of other classes, DataError if they cannot be balanced."""
    plain, names = rows.examples, class_names(rows.label)
    counts = np.bincount(plain.y.astype(np.intp), minlength=len(names))
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"train.rebalance: all {len(plain.y):,} rows to train on are `{names[int(counts.argmax())]}`, so nothing can be balanced"
        )
    return _WAYS[rebalance.choice](_Unbalanced(rebalance, spec, rows, plain, counts, names, seed))


def class_names(label: Label) -> list[str]:
    """The classes as text, in the order of their codes (ConfError for a label without classes of which each row has one)."""
    if isinstance(label, Binary | Classes):
        return label.names
    raise ConfError("train.rebalance balances classes of which each row has one; leave it out for this label")


def class_weights(rebalance: Rebalance, counts: npt.NDArray[Any], names: list[str]) -> Doubles:
    """The weight of each class, of which `counts` are the rows (ConfError if the conf names other classes)."""
    if rebalance.weights == "balanced":
        return counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))  # type: ignore[no-any-return]
    named = dict(rebalance.weights or {})
    if named.keys() != set(names):
        classes = f"{', '.join(names[:-1])} and {names[-1]}"
        raise ConfError(f"train.rebalance.weights must have the classes {classes} (got {', '.join(named)})")
    return np.array([named[name] for name in names])


def network_weights(train: Train, rows: LabelledRows) -> tuple[float, ...] | None:
    """The weights of the classes with which a network is trained, in the order of codes; None without rebalancing."""
    rebalance, label = train.rebalance, rows.label
    if rebalance is None:
        return None
    names = class_names(label)
    classes = label.classes if isinstance(label, Classes) else (label.negative, label.positive)  # type: ignore[attr-defined]
    counts = np.array([rows.counts.get(("train", value), 0) for value in classes])
    if rebalance.minority is not None:
        weights = np.where(np.arange(len(counts)) == _rarest(counts), rebalance.minority, 1.0)
    else:
        weights = class_weights(rebalance, counts, names)
    return tuple(map(float, weights))


# --- the ways ---


class _Unbalanced(NamedTuple):
    rebalance: Rebalance
    spec: Spec
    rows: ArrayRows
    plain: Examples
    counts: npt.NDArray[np.int64]  # rows of each class
    names: list[str]
    seed: int

    @property
    def codes(self) -> npt.NDArray[np.intp]:
        return self.plain.y.astype(np.intp)

    @property
    def places(self) -> Int64s:
        """The place of each row by the hash of its key, in [0, PARTS)."""
        return hashing.reduce(hashing.feature_hash(SALT, [self.rows.order]), hashing.PARTS)


def _undersample(given: _Unbalanced) -> Examples:
    share, common = given.rebalance.majority or 1.0, int(given.counts.argmax())
    kept = (given.codes != common) | (given.places < round(share * hashing.PARTS))
    if not (kept & (given.codes == common)).any():
        raise DataError(
            f"train.rebalance.majority: {share:g} of {given.counts[common]:,} rows of `{given.names[common]}` leaves none; take a larger share"
        )
    return given.plain.filter(kept)


def _oversample(given: _Unbalanced) -> Examples:
    times, codes = given.rebalance.minority or 1.0, given.codes
    copies = int(times) + (given.places < round(times % 1 * hashing.PARTS))
    places = np.repeat(np.arange(len(codes)), np.where(codes == _rarest(given.counts), copies, 1))
    return given.plain.take(places)


def _weigh(given: _Unbalanced) -> Examples:
    weight = class_weights(given.rebalance, given.counts, given.names)[given.codes]
    return given.plain._replace(weight=weight if given.plain.weight is None else given.plain.weight * weight)


def _synthesise(given: _Unbalanced) -> Examples:
    require_package("train.rebalance.smote", "imblearn", "imbalance installs it")
    points, plain = dense_matrix(given.plain.arrays, given.spec.outs), given.plain
    neighbours = _checked_neighbours(given, points)
    from imblearn.over_sampling import SMOTE

    points, y = SMOTE(k_neighbors=neighbours, random_state=given.seed % 2**32).fit_resample(points, plain.y)
    weight = None
    if plain.weight is not None:  # a new row has the mean weight of its class
        means = plain.totals(len(given.names)) / np.maximum(given.counts, 1)
        weight = np.append(plain.weight, means[y[len(plain.y) :].astype(np.intp)])
    order = np.zeros(len(y), np.int64)  # new rows have no key
    return Examples(_as_arrays(points, given.spec), y, weight, given.rows.label, order)


def _checked_neighbours(given: _Unbalanced, points: Doubles) -> int:
    """The number of neighbours (DataError if a class has too few rows, or a feature no value)."""
    assert given.rebalance.smote is not None
    neighbours, rarest = given.rebalance.smote.neighbours, _rarest(given.counts)
    if (few := int(given.counts[rarest])) <= neighbours:
        raise DataError(
            f"train.rebalance.smote: {few:,} rows to train on are `{given.names[rarest]}`, and each needs {neighbours} neighbours; "
            "take fewer neighbours, or another way"
        )
    if not np.isfinite(points).all():
        names = [name for name in given.spec.outs if not np.isfinite(given.plain.arrays[name]).all()]
        raise DataError(f"train.rebalance.smote: features.{names[0]} is missing (NaN) in some rows; set its option `missing`")
    return neighbours


def _as_arrays(points: Doubles, spec: Spec) -> FeatureArrays:
    """The columns of `dense_matrix` as the arrays of the features."""
    lengths = [out.length or 0 for out in spec.outs.values()]
    parts = np.split(points, np.cumsum(lengths)[:-1], axis=1)
    return {name: part[:, 0] if part.shape[1] == 1 else part for name, part in zip(spec.outs, parts, strict=True)}


def _rarest(counts: npt.NDArray[Any]) -> int:
    """The code of the least frequent class that has rows; of equals the last one, which is the positive one of two."""
    present = np.flatnonzero(counts)[::-1]
    return int(present[counts[present].argmin()])


_WAYS: dict[str, Callable[[_Unbalanced], Examples]] = {
    "majority": _undersample, "minority": _oversample, "weights": _weigh, "smote": _synthesise,
}  # fmt: skip
