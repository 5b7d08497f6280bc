"""Plans the fitting of a spec: the statistics that the features need, and the spec computed from them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pyarrow as pa

from keyfold.core.derived import Derived, raw_columns
from keyfold.core.types import SqlValue, family_of, require_family, sql_cast
from keyfold.engine.engine import frame_of
from keyfold.errors import ConfError
from keyfold.features.fitting import (
    MOST_CLASSES,
    STATISTICS_VERSION,
    CountedExpression,
    FeatureStatistics,
    FitInput,
    Statistics,
    Stats,
    Target,
)
from keyfold.features.inputs import columns_of, feature_order, inputs_of
from keyfold.features.kind import FeatureInput, Kind
from keyfold.features.kinds import Feature, kind_name
from keyfold.features.measuring import measure_statistics
from keyfold.features.spec import FittedFeature, Rows, Spec, type_of_column

_NO_CLASS = f"learns from a label of 2 to {MOST_CLASSES} classes, and here the label is not; train a classifier, or use `hashed` or `one_hot`"
_MANY_CLASSES = f"makes a number for each class, of {MOST_CLASSES} at most, and this label has {{}}; use `hashed` or `one_hot`"
_ADVICE = "hash integers, text, dates or decimals; give floats to `numeric`"


class FitPlan(NamedTuple):
    """The features to fit, and what to measure for them.

    kinds: by feature name. families: type family of each table column. values: SQL values of columns and derived numbers.
    counted: expressions to count, by feature name.
    """

    kinds: Mapping[str, Kind]
    families: Mapping[str, str]
    values: Mapping[str | Derived, SqlValue]
    counted: Mapping[str, list[CountedExpression]]

    @classmethod
    def of(cls, rows: Rows, features: Mapping[str, Feature], target: Target | None = None) -> "FitPlan":
        """Plans the fitting on the rows of a frame.

        Raises DataError for a missing column or a wrong type, and ConfError for features that do not fit together or the target.
        """
        frame = frame_of(rows)
        kinds = {name: feature.kind for name, feature in features.items()}
        feature_order(kinds)
        families = {c: family_of(type_of_column(frame, c)) for c in columns_of(kinds.values())}
        for name, kind in kinds.items():
            _check_inputs(name, kind, families, target)
        columns = {c: sql_cast(family, family, c) for c, family in families.items()}
        derived = (c for c in inputs_of(kinds.values()) if isinstance(c, Derived))
        values = columns | {d: d.sql([columns[c] for c in raw_columns(d)]) for d in derived}
        counted = {
            name: kind.counted_expressions([FitInput(c, values[c]) for c in inputs_of([kind])], target)
            for name, kind in kinds.items()
        }
        return cls(kinds, families, values, counted)

    @property
    def _numbers(self) -> dict[str, str | Derived]:
        columns = inputs_of(kind for kind in self.kinds.values() if kind.needs_moments)
        return {self._statistics_name(c): c for c in columns}

    def _statistics_name(self, column: str | Derived) -> str:
        return column if isinstance(column, str) else f"\0{self.values[column].column}"

    @property
    def _counted(self) -> list[CountedExpression]:
        return [expression for expressions in self.counted.values() for expression in expressions]

    @property
    def needs_rows(self) -> bool:
        """Whether fitting needs the rows."""
        return bool(self._numbers or self._counted)

    @property
    def statistics_names(self) -> list[str]:
        """Version and names of the statistics. Plans with equal names can share statistics."""
        names = {*(f"{name} {self.values[c].family}" for name, c in self._numbers.items()), *(c.name for c in self._counted)}
        return [f"version {STATISTICS_VERSION}", *sorted(names)]

    def measure(self, rows: Rows) -> pa.Table:
        """Measures the statistics of rows."""
        return measure_statistics(frame_of(rows), self.families, self._numbers, self._counted)

    def spec(self, table: pa.Table, warn: Callable[[str], None] = lambda _: None) -> Spec:
        """Computes the spec from statistics. Calls `warn` for each constant feature."""
        statistics = Statistics(table)
        numbers = {c: statistics.numbers(c) for c in self._numbers}
        fitted: dict[str, FittedFeature] = {}
        for name in feature_order(self.kinds):
            kind, counts = self.kinds[name], [statistics.counts(c) for c in self.counted[name]]
            measured = FeatureStatistics(self._input_statistics(name, numbers, fitted), counts)
            fitted[name] = FittedFeature(kind, kind.fit(name, measured))
            if kind.is_constant(measured):
                warn(f"features.{name}: column `{kind.inputs()[0]}` has one value in the train fold; the feature is constant")
        return Spec(self.families, {name: fitted[name] for name in self.kinds})

    def _input_statistics(self, name: str, numbers: Mapping[str, Stats], fitted: Mapping[str, FittedFeature]) -> list[Stats]:
        return [
            {"width": _index_width(name, c.feature, fitted[c.feature])}
            if isinstance(c, FeatureInput)
            else {"family": self.values[c].family, **numbers.get(self._statistics_name(c), {})}
            for c in self.kinds[name].inputs()
        ]


def _check_inputs(name: str, kind: Kind, families: Mapping[str, str], target: Target | None) -> None:
    if kind.learns_label and target is None:
        raise ConfError(f"features.{name}: `{kind_name(kind)}` {_NO_CLASS}")
    if kind.learns_label and target and target.classes > MOST_CLASSES:
        raise ConfError(f"features.{name}: `{kind_name(kind)}` {_MANY_CLASSES.format(target.classes)}")
    for column in kind.inputs():
        if isinstance(column, str):
            require_family(kind.takes, families[column], f"features.{name}: column `{column}`:", _ADVICE)
        if isinstance(column, Derived):
            column.check(families, f"features.{name}")


def _index_width(name: str, other: str, fitted: FittedFeature) -> int:
    out = fitted.kind.output(fitted.state)
    if not out.is_index:
        raise ConfError(f"features.{name} takes the feature `{other}`, which does not give one index per row; bucketize it first")
    return out.width
