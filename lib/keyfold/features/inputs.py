"""Inputs of features: their columns, and the order of features that take other features."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from keyfold.core.derived import Derived, raw_columns
from keyfold.core.types import SqlValue
from keyfold.errors import ConfError, suggestion
from keyfold.features.kind import FeatureInput, Kind


def columns_of(kinds: Iterable[Kind]) -> list[str]:
    """Table columns that kinds take, in order of first use."""
    return list(dict.fromkeys(chain.from_iterable(map(raw_columns, inputs_of(kinds)))))


def inputs_of(kinds: Iterable[Kind]) -> list[str | Derived]:
    """Columns and derived numbers that kinds take, in order of first use."""
    return list(dict.fromkeys(c for kind in kinds for c in kind.inputs() if not isinstance(c, FeatureInput)))


def sql_inputs(
    kinds: Mapping[str, Kind], values: Mapping[str | Derived, SqlValue], feature_sql: Callable[[str, list[SqlValue]], str]
) -> dict[str, list[SqlValue]]:
    """SQL inputs of each kind, by feature name.

    values: SQL values of columns and derived numbers. feature_sql: returns the SQL expression of a feature, given its inputs.
    """
    inputs: dict[str, list[SqlValue]] = {}
    for name in feature_order(kinds):
        inputs[name] = [
            SqlValue(f"CAST({feature_sql(c.feature, inputs[c.feature])} AS BIGINT)", "bigint")
            if isinstance(c, FeatureInput)
            else values[c]
            for c in kinds[name].inputs()
        ]
    return inputs


def feature_order(kinds: Mapping[str, Kind]) -> list[str]:
    """Names of features, each after the features it takes. Raises ConfError for a cycle or an unknown name."""
    ordered: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ConfError(f"features.{name} takes itself: {' → '.join((*path, name))}")
        for other in kinds[name].inputs():
            if isinstance(other, FeatureInput):
                if other.feature not in kinds:
                    near = suggestion(other.feature, kinds)
                    raise ConfError(f"features.{name} takes the feature `{other.feature}`, which does not exist{near}")
                visit(other.feature, (*path, name))
        ordered[name] = None

    for name in kinds:
        visit(name, ())
    return list(ordered)
