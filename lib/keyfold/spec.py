"""The feature spec: fitted once on the train fold, then the same bits in Spark and in Arrow; its whole state is JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold import digests, fitting, hashing
from keyfold.errors import ConfError, DataError, nearest
from keyfold.features import KINDS, Feature, FromFeature, Kind
from keyfold.features.kind import State
from keyfold.sql import col
from keyfold.values import ArrowValue, SparkValue, arrow_cast, family_of, refuse_unless, spark_cast

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Arrays = dict[str, npt.NDArray[Any]]


class Fitted(NamedTuple):
    """A feature and what it keeps of the training rows."""

    kind: Kind
    state: State


class Spec:
    """`inputs`: the family of each raw column, in the order of the conf. `features`: name to kind and state."""

    def __init__(self, inputs: Mapping[str, str], features: Mapping[str, Fitted]) -> None:
        self.inputs, self.features = dict(inputs), dict(features)

    @classmethod
    def fit(cls, rows: "DataFrame", features: Mapping[str, Feature]) -> "Spec":
        """Fitted on all rows of a frame, in at most two passes (DataError for a missing column or a wrong type)."""
        kinds = {name: feature.kind for name, feature in features.items()}
        inputs = {c: family_of(_type(rows, c)) for c in columns_of(kinds.values())}
        for name, kind in kinds.items():
            for column in kind.inputs():
                if isinstance(column, str):
                    refuse_unless(kind.takes, inputs[column], f"features.{name}: column `{column}`:", _ADVICE)
        values = {c: spark_cast(col(c), family, family, c) for c, family in inputs.items()}
        found = fitting.statistics(rows, values, wanted(kinds.values()))
        stats = {n: [found.get(c, {}) if isinstance(c, str) else {} for c in k.inputs()] for n, k in kinds.items()}
        return cls(inputs, {name: Fitted(kind, kind.fit(name, stats[name])) for name, kind in kinds.items()})

    def spark(self, frame: "DataFrame") -> dict[str, "Column"]:
        """The features as Columns over a frame that has the raw columns."""
        values: dict[str, Any] = {c: spark_cast(col(c), family_of(_type(frame, c)), f, c) for c, f in self.inputs.items()}
        found: dict[str, Column] = {}
        for name in self._order:
            kind, state = self.features[name]
            taken = [values[c] if isinstance(c, str) else SparkValue(found[c.feature], "bigint") for c in kind.inputs()]
            found[name] = kind.spark(taken, state)
        return {name: found[name] for name in self.features}

    def arrow(self, rows: pa.Table | pa.RecordBatch) -> Arrays:
        """The features as arrays of the length of `rows` (DataError for a missing column or another type)."""
        values = {c: arrow_cast(_column(rows, c), family, c) for c, family in self.inputs.items()}
        found: Arrays = {}
        for name in self._order:
            kind, state = self.features[name]
            taken = [values[c] if isinstance(c, str) else _of_feature(found[c.feature]) for c in kind.inputs()]
            found[name] = kind.arrow(taken, state)
        return {name: found[name] for name in self.features}

    def transform(self, frame: "DataFrame", keep: Sequence[str] = ()) -> "DataFrame":
        """The columns `keep` and the features, by name."""
        return frame.select(*map(col, keep), *(column.alias(name) for name, column in self.spark(frame).items()))

    @cached_property
    def widths(self) -> dict[str, int]:
        """How many columns each feature takes in a matrix."""
        return {name: kind.width(state) for name, (kind, state) in self.features.items()}

    @cached_property
    def indices(self) -> dict[str, int]:
        """The features that are indices, with their widths."""
        return {name: self.widths[name] for name, (kind, _) in self.features.items() if kind.integers}

    @cached_property
    def _order(self) -> list[str]:
        return in_order({name: kind for name, (kind, _) in self.features.items()})

    @cached_property
    def digest(self) -> str:
        """Names the spec: equal specs have equal digests on every machine."""
        return digests.digest(self._json())

    def to_json(self) -> str:
        """All there is to know, as JSON text."""
        return digests.canonical(self._json())

    def _json(self) -> dict[str, Any]:
        features = [
            {"name": name, "kind": kind_name(kind), "conf": kind.model_dump(mode="json"), "state": state}
            for name, (kind, state) in self.features.items()
        ]
        return {"contract": hashing.CONTRACT, "inputs": list(self.inputs.items()), "features": features}

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        """The spec that `to_json` wrote (DataError where it is damaged or of another contract version)."""
        try:
            spec = json.loads(text)
            version = spec["contract"]
            if version != hashing.CONTRACT:
                raise DataError(f"this spec is of contract version {version}; this keyfold has {hashing.CONTRACT}: fit it again")
            features = {f["name"]: Fitted(KINDS[f["kind"]].model_validate(f["conf"]), f["state"]) for f in spec["features"]}
            return cls(dict(spec["inputs"]), features)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"this spec is damaged: {error!r:.200}") from error


_ADVICE = "hash integers, text, dates or decimals; give floats to `numeric`"


def kind_name(kind: Kind) -> str:
    """The name of a kind, as confs have it."""
    return next(name for name, found in KINDS.items() if type(kind) is found)


def columns_of(kinds: Iterable[Kind]) -> list[str]:
    """The raw columns that kinds take, in order of first use."""
    return list(dict.fromkeys(c for kind in kinds for c in kind.inputs() if isinstance(c, str)))


def wanted(kinds: Iterable[Kind]) -> dict[str, set[str]]:
    """The statistics that kinds need, by column."""
    found: dict[str, set[str]] = {}
    for kind in kinds:
        for column in kind.inputs():
            if isinstance(column, str) and kind.statistics:
                found.setdefault(column, set()).update(kind.statistics)
    return found


def in_order(kinds: Mapping[str, Kind]) -> list[str]:
    """Names such that a feature comes after those it takes (ConfError for a circle or an unknown name)."""
    done: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ConfError(f"features.{name} takes itself: {' → '.join((*path, name))}")
        for other in kinds[name].inputs():
            if isinstance(other, FromFeature):
                _check_taken(name, other.feature, kinds)
                visit(other.feature, (*path, name))
        done[name] = None

    for name in kinds:
        visit(name, ())
    return list(done)


def _check_taken(name: str, other: str, kinds: Mapping[str, Kind]) -> None:
    if other not in kinds:
        raise ConfError(f"features.{name} takes the feature `{other}`, which is not there{nearest(other, kinds)}")
    if not kinds[other].integers:
        raise ConfError(f"features.{name} takes the feature `{other}`, which yields no integers; bucketize it first")


def _of_feature(array: npt.NDArray[Any]) -> ArrowValue:
    return ArrowValue(pa.array(array.astype(np.int64)), "bigint")


def _type(frame: "DataFrame", column: str) -> str:
    if column not in frame.columns:
        raise DataError(f"the table has no column `{column}`, which a feature takes{nearest(column, frame.columns)}")
    return frame.schema[column].dataType.simpleString()


def _column(rows: pa.Table | pa.RecordBatch, column: str) -> pa.Array | pa.ChunkedArray:
    if column not in rows.schema.names:
        raise DataError(f"the rows have no column `{column}`, which a feature takes{nearest(column, rows.schema.names)}")
    return rows.column(column)
