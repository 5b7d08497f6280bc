"""Cascades: models one after the other. Rows that a stage is sure of leave with its answer, and the next stages see the rest.

A stage has features of its own, which are computed for the rows that reach it. It may also take what a former stage predicted. A row
leaves if its predicted class has at least the probability that the validation fold demands of the stage and the class.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.features.kinds.numeric import Numeric
from keyfold.features.spec import FeatureArrays, FittedFeature, Spec
from keyfold.labels import Binary, Label
from keyfold.models.lazy_features import LazyFeatures
from keyfold.models.log_odds import log_odds_table
from keyfold.models.member_fits import Fitted, Load
from keyfold.models.prior import Corrected

STAGE = "stage"
FED = "stage "  # before the name of a stage whose log-odds are a feature


class Exit(NamedTuple):
    """When rows leave a stage for a class: their least probability, None if they never do; of the validation fold, rows and precision.

    precision: of those rows; if they never leave, the highest that as many rows as needed have, None if there are too few.
    """

    threshold: float | None
    rows: int
    precision: float | None


class Stage(NamedTuple):
    """A fitted stage: its features of the rows, the stages that feed it with their log-odds, its model, and an exit for each class.

    fed: the log-odds as features, by name. The last stage has no exits, since all rows leave it.
    """

    name: str
    features: list[str]
    feeds: list[str]
    fed: dict[str, FittedFeature]
    model: Fitted
    exits: list[Exit]

    def numbers(self, features: LazyFeatures, numbers: Mapping[str, Doubles], label: Label) -> Doubles:
        """What it predicts for n rows, given the numbers of former stages by name: (n,) or (n, k)."""
        return self.model.numbers(features.get(self.features) | fed_arrays(self.feeds, self.fed, numbers, label), label)

    def leaves(self, numbers: Doubles, label: Label) -> Bools:
        """Whether each of n rows leaves the cascade here, by what the stage predicts for them."""
        if not self.exits:
            return np.ones(len(numbers), bool)
        return is_certain(self.exits, *decisions(numbers, label))


class Step(NamedTuple):
    """What one stage did: its place in the cascade, the places of the m rows that reached it, their numbers, and whether they left."""

    stage: int
    places: npt.NDArray[np.intp]
    numbers: Doubles
    leaves: Bools


class Cascade(Corrected):
    """Fitted stages in their order; the last one answers for all rows that reach it."""

    def __init__(self, spec: Spec, stages: Sequence[Stage]) -> None:
        self.spec, self.stages = spec, list(stages)

    @cached_property
    def _names(self) -> pa.Array:
        return pa.array([stage.name for stage in self.stages], pa.string())

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that scoring needs besides those of keyfold."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.model.packages))

    def steps(self, features: LazyFeatures, label: Label) -> Iterator[Step]:
        """What each stage does with n rows; features are computed in the step that needs them. A row's bits depend on no other row."""
        places, numbers = np.arange(features.n), dict[str, Doubles]()
        for place, stage in enumerate(self.stages):
            if not len(places):
                return
            predicted = stage.numbers(features, numbers, label)
            leaves = stage.leaves(predicted, label)
            yield Step(place, places, predicted, leaves)
            rest = np.flatnonzero(~leaves)
            features, places = features.take(rest), places[rest]
            numbers = {name: values[rest] for name, values in (numbers | {stage.name: predicted}).items()}

    def decided(self, features: LazyFeatures, label: Label) -> tuple[Doubles, Int64s]:
        """The numbers of n rows, (n,) or (n, k), and the place of the stage that decided each (n)."""
        numbers = np.full((features.n, label.width) if label.width > 1 else features.n, np.nan)
        stages = np.zeros(features.n, np.int64)
        for step in self.steps(features, label):
            left = step.places[step.leaves]
            numbers[left], stages[left] = step.numbers[step.leaves], step.stage
        return numbers, stages

    def uncorrected_numbers(self, arrays: FeatureArrays, label: Label) -> Doubles:
        """Predicted numbers of n rows: (n,), or (n, k) for a label of k numbers."""
        return self.decided(LazyFeatures(arrays), label)[0]

    def answers(self, rows: pa.Table | pa.RecordBatch, label: Label) -> tuple[Doubles, pa.Array]:
        """The numbers of n raw rows, and the name of the stage that decided each; raises as `Spec.arrow`."""
        numbers, stages = self.decided(LazyFeatures.of_rows(self.spec, rows), label)
        return numbers, self._names.take(pa.array(stages))

    @property
    def facts(self) -> dict[str, Any]:
        """The stages as JSON."""
        return {
            "stages": [
                {
                    "name": stage.name, "features": stage.features, "feeds": stage.feeds,
                    "fed": {name: feature.state for name, feature in stage.fed.items()}, "model": stage.model.facts,
                    "exits": [list(one) for one in stage.exits],
                }
                for stage in self.stages
            ]
        }  # fmt: skip

    def save(self, folder: Path) -> None:
        """Writes the models of the stages into folders of their own."""
        for stage in self.stages:
            (inner := folder / "stages" / stage.name).mkdir(parents=True)
            stage.model.save(inner)

    @classmethod
    def load(cls, folder: Path, spec: Spec, facts: Mapping[str, Any], load: Load) -> Self:
        """Reads a saved cascade; `load` reads the model of a stage."""
        stages = []
        for one in facts["stages"]:
            fed = {name: FittedFeature(Numeric(input_col=name, scale="standard"), state) for name, state in one["fed"].items()}
            model = load(folder / "stages" / one["name"], stage_spec(spec, one["features"], fed), one["model"])
            stages.append(Stage(one["name"], one["features"], one["feeds"], fed, model, [Exit(*exit_) for exit_ in one["exits"]]))
        return cls(spec, stages)


def stage_spec(spec: Spec, features: Sequence[str], fed: Mapping[str, FittedFeature]) -> Spec:
    """The features that the model of a stage takes; only their types and shapes, since their inputs are computed elsewhere."""
    return Spec({}, {name: spec.features[name] for name in features} | dict(fed))


def fed_arrays(
    feeds: Sequence[str], fed: Mapping[str, FittedFeature], numbers: Mapping[str, Doubles], label: Label
) -> FeatureArrays:  # fmt: skip
    """The log-odds of stages as features."""
    return Spec(dict.fromkeys(fed, "double"), fed).arrow(fed_table(feeds, numbers, label)) if feeds else {}


def fed_table(feeds: Sequence[str], numbers: Mapping[str, Doubles], label: Label) -> pa.Table:
    """The log-odds of stages as columns."""
    return log_odds_table([f"{FED}{name}" for name in feeds], [numbers[name] for name in feeds], label)


# --- deciding ---


def decisions(numbers: Doubles, label: Label) -> tuple[Int64s, Doubles]:
    """The code of the predicted class of n rows, and its probability; NaN where a number is not finite."""
    codes = label.decide(numbers).astype(np.int64)
    if isinstance(label, Binary):
        return codes, np.where(codes, numbers, 1 - numbers)
    return codes, np.where(np.isfinite(numbers).all(axis=1), numbers[np.arange(len(codes)), codes], np.nan)


def is_certain(exits: Sequence[Exit], codes: Int64s, probability: Doubles) -> Bools:
    """Whether the class of each row has the probability that its exit demands."""
    thresholds = np.array([np.inf if one.threshold is None else one.threshold for one in exits])
    return probability >= thresholds[codes]  # type: ignore[no-any-return]


def find_exits(truth: Int64s, codes: Int64s, probability: Doubles, precision: Sequence[float | None], least: int) -> list[Exit]:
    """The exit of each of k classes: the lowest threshold from which on a share of the rows is right, of as many rows as needed.

    truth, codes: of n rows, the class and the predicted one. probability: of the predicted class. precision: the share for each class;
    None if rows never leave for it. least: number of rows that it needs.
    """
    return [_find_exit(truth[mine] == code, probability[mine], demanded, least)
            for code, demanded in enumerate(precision) for mine in [(codes == code) & np.isfinite(probability)]]  # fmt: skip


def _find_exit(right: Bools, probability: Doubles, precision: float | None, least: int) -> Exit:
    descending = np.argsort(-probability, kind="stable")
    right, p = right[descending], probability[descending]
    last = np.flatnonzero(np.append(p[1:] != p[:-1], len(p) > 0))  # the last row of each probability
    last = last[last + 1 >= least]
    if not len(last):
        return Exit(None, 0, None)
    shares = np.cumsum(right)[last] / (last + 1)
    reached = np.flatnonzero(shares >= (np.inf if precision is None else precision))
    if not len(reached):
        return Exit(None, 0, float(shares.max()))
    lowest = int(reached[-1])
    return Exit(float(p[last[lowest]]), int(last[lowest]) + 1, float(shares[lowest]))
