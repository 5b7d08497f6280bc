"""Importance of features: what a metric of the model loses if rows of the test fold swap their values of one feature."""

import time
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.conf.importance import Importance
from keyfold.core import hashing
from keyfold.core.arrays import Int64s
from keyfold.errors import DataError
from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.metric_loss import MetricLoss
from keyfold.evaluation.metrics import MAIN, names_of
from keyfold.features.inputs import feature_order
from keyfold.features.kind import FeatureInput
from keyfold.features.spec import FeatureArrays, Spec, as_input
from keyfold.labels import Label
from keyfold.models.examples import take_rows
from keyfold.models.member_fits import RunTasks, run_in_turn
from keyfold.models.model import Model
from keyfold.training.arrays import ArrayRows
from keyfold.training.variants import logged_name

MOST_NUMBERS = 10_000_000  # predicted numbers of one permutation
LONG = 20  # seconds of all predictions, below which processes would take longer to start
SALT = "importance"
Places = npt.NDArray[np.intp]


class MeasuredImportance(NamedTuple):
    """What a metric loses by feature, the most important one first; `features`: how many the model has; `rows`: that were permuted."""

    metric: str
    losses: Mapping[str, Metric]
    features: int
    rows: int
    repeats: int

    @property
    def measured(self) -> dict[str, dict[str, Metric]]:
        """The losses by a name that MLflow accepts, and the metric."""
        return {logged_name("test_importance", name): {self.metric: loss} for name, loss in self.losses.items()}


def metric_of(importance: Importance, label: Label) -> str:
    """The metric whose loss is measured (DataError if the label has no such metric)."""
    metric = importance.metric or MAIN[label.kind]
    if metric not in (names := names_of(label)):
        raise DataError(f"report.importance.metric: this label has no {metric}; choose one of {', '.join(names)}")
    return metric


def measure_importance(importance: Importance, model: Model, test: ArrayRows, run: RunTasks = run_in_turn) -> MeasuredImportance:
    """Measures the features on rows of the test fold, of many those that the hash of their key chooses.

    The hash also decides which rows swap values, so the result depends neither on the order of the rows nor on the engine.
    """
    metric, names = metric_of(importance, model.label), list(model.spec.features)
    rows = _in_order(test, min(importance.rows, MOST_NUMBERS // model.label.width))
    arrays, order, start = rows.arrays, rows.order, time.perf_counter()
    loss = MetricLoss(model.label, rows.truth, model.numbers(arrays), metric)
    run = run if (time.perf_counter() - start) * len(names) * importance.repeats > LONG else run_in_turn
    shared = _Shared(model, arrays, [permutation(order, repeat) for repeat in range(importance.repeats)], loss)
    if len(names) > importance.most:
        names = _strongest(dict(zip(names, run(partial(_loss, interval=False), shared, names), strict=True)))[: importance.most]
    losses = dict(zip(names, run(_loss, shared, names), strict=True))
    return MeasuredImportance(
        metric, {name: losses[name] for name in _strongest(losses)}, len(model.spec.features), len(order), importance.repeats
    )


class _Shared(NamedTuple):
    model: Model
    arrays: FeatureArrays
    permutations: list[Places]
    loss: MetricLoss


def _loss(shared: _Shared, name: str, *, interval: bool = True) -> Metric:
    """The loss for one feature. A function, since tasks are pickled."""
    model, arrays = shared.model, shared.arrays
    changed = (model.numbers(permuted_features(model.spec, arrays, name, places)) for places in shared.permutations)
    return shared.loss.of(changed, interval=interval)


def _strongest(losses: Mapping[str, Metric]) -> list[str]:
    """The features by descending loss; those without one last, and equal ones in the order of the conf."""
    return sorted(losses, key=lambda name: -np.nan_to_num(losses[name].value, nan=-np.inf))


def _in_order(rows: ArrayRows, most: int) -> ArrayRows:
    """The first rows by the hash of their key; equal hashes, as of rows with one key, by their label and features."""
    order = rows.order
    places = np.argsort(order, kind="stable")
    _, count = np.unique(order, return_counts=True)
    if len(count) < len(order):
        tied = np.repeat(count > 1, count)
        texts = dict(zip(places[tied], map(str, rows.table.take(pa.array(places[tied])).to_pylist()), strict=True))
        places[tied] = sorted(texts, key=lambda place: (order[place], texts[place]))
    return rows._replace(table=rows.table.take(pa.array(places[:most])))


def permutation(order: Int64s, repeat: int) -> Places:
    """For each row, the place of the row whose value it gets. order: the hash of each row's key (n), in ascending order."""
    return np.argsort(hashing.feature_hash(SALT, [order, np.array([repeat])]), kind="stable")


def permuted_features(spec: Spec, arrays: FeatureArrays, name: str, places: Places) -> FeatureArrays:
    """The features of n rows with one feature taken from other rows, and with the features that take it.

    A feature that takes features alone is computed from them; one that takes columns too, which are not there, is taken from the same
    other rows.
    """
    changed = take_rows({name: arrays[name]}, places)
    for other in feature_order({of: kind for of, (kind, _) in spec.features.items()}):
        kind, state = spec.features[other]
        taken = [column.feature for column in kind.inputs() if isinstance(column, FeatureInput)]
        if changed.keys().isdisjoint(taken):
            continue
        if len(taken) == len(kind.inputs()):
            changed[other] = kind.arrow([as_input((arrays | changed)[of]) for of in taken], state)
        else:
            changed |= take_rows({other: arrays[other]}, places)
    return {of: changed.get(of, array) for of, array in arrays.items()}
