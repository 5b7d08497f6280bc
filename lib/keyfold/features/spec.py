"""The feature spec: fitted once on the train fold, with the same bits on every engine and in Arrow. Its whole state is JSON."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from keyfold.core import digests, hashing, sql
from keyfold.core.arrays import single_chunk
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.types import HASHED, ArrowValue, SqlValue, arrow_cast, family_of, sql_cast
from keyfold.engine.engine import AnyRows, as_given, frame_of
from keyfold.engine.frame import Computed, Expression, Frame
from keyfold.engine.mllib import map_to_vectors
from keyfold.errors import DataError, suggestion
from keyfold.features import matrix
from keyfold.features.fitting import Target
from keyfold.features.inputs import columns_of, feature_order, inputs_of, sql_inputs
from keyfold.features.kind import Array, FeatureInput, FeatureOutput, Kind, State, as_column, rows_at_once
from keyfold.features.kinds import KINDS, Feature, kind_name

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame

FeatureArrays = dict[str, Array]
Rows: TypeAlias = "Frame | DataFrame | pa.Table | pd.DataFrame"


class FittedFeature(NamedTuple):
    """A kind of feature and its fitted state."""

    kind: Kind
    state: State


class Spec:
    """Fitted features.

    inputs: type family of each table column, in the order of the conf. features: kind and state by feature name.
    """

    def __init__(self, inputs: Mapping[str, str], features: Mapping[str, FittedFeature]) -> None:
        self.inputs, self.features = dict(inputs), dict(features)

    @classmethod
    def fit(cls, rows: Rows, features: Mapping[str, Feature], target: Target | None = None) -> "Spec":
        """Fits features in one pass over rows: a frame of an engine, a DataFrame of Spark or pandas, or an Arrow table.

        Raises DataError for a missing column or a wrong type, ConfError for features that do not fit together or the target.
        """
        from keyfold.features.fit_plan import FitPlan

        frame = frame_of(rows)
        plan = FitPlan.of(frame, features, target)
        return plan.spec(plan.measure(frame))

    def transform(self, frame: AnyRows, keep: "Sequence[str | Column]" = ()) -> AnyRows:
        """The columns `keep` and one column per feature. `frame` is of an engine, Spark or Arrow.

        Raises DataError for a missing column or a wrong type.
        """
        rows: Any = frame_of(frame)  # whose columns to keep may be Columns of Spark
        types = self._families(rows)
        self._columns(types)  # which refuses other types
        if all(isinstance(name, str) for name in keep):
            rows = self.select_inputs(rows, [str(name) for name in keep])
        computed = Computed(
            {name: out.arrow_type for name, out in self.outs.items()}, self._feature_columns, partial(self._expressions, types),
            self._shared_columns(types), rows_at_once(self.outs.values()),
        )  # fmt: skip
        return as_given(rows.compute(computed, keep), frame)

    def select_inputs(self, frame: Frame, keep: Sequence[str] = ()) -> Frame:
        """The columns `keep` and those that features take (DataError for a missing one)."""
        self._families(frame)
        names = dict.fromkeys([*keep, *self.inputs])
        return frame.select(names) if names else frame

    def _families(self, frame: Frame) -> dict[str, str]:
        return {c: family_of(type_of_column(frame, c)) for c in self.inputs}

    def _expressions(self, types: Mapping[str, str]) -> list[Expression]:
        values = self._sql_inputs(types)
        return [kind.expression(values[name], state) for name, (kind, state) in self.features.items()]

    def _feature_columns(self, batch: pa.RecordBatch) -> list[pa.Array]:
        return [as_column(array) for array in self.arrow(batch).values()]

    def sql_values(self, frame: Frame) -> tuple[dict[str, str], dict[str, list[SqlValue]]]:
        """Shared SQL expressions by name, and the inputs of each feature in terms of them (DataError as for `transform`)."""
        families = self._families(frame)
        return self._shared_columns(families), self._sql_inputs(families)

    def assemble(self, frame: "DataFrame", into: str = "features", keep: "Sequence[str | Column]" = ()) -> "DataFrame":
        """The columns `keep` and one column of sparse MLlib vectors: the rows of `matrix.sparse_matrix`.

        Spark computes the features; Python workers assemble them.
        """
        return map_to_vectors(self.transform(frame, keep), partial(_assemble, self.outs), len(keep), into)

    def only(self, names: Iterable[str]) -> "Spec":
        """The spec of some features and of those that they take, with the columns that these need."""
        wanted, taken = set[str](), [*names]
        while taken:
            wanted.add(name := taken.pop())
            inputs = self.features[name].kind.inputs()
            taken += [c.feature for c in inputs if isinstance(c, FeatureInput) and c.feature not in wanted]
        features = {name: feature for name, feature in self.features.items() if name in wanted}
        columns = columns_of(kind for kind, _ in features.values())
        return Spec({c: family for c, family in self.inputs.items() if c in columns}, features)

    def out_of_fold(self, part: str) -> "Spec":
        """The spec for training rows. It reads a row's part (see `Target`) from a column; rows without a part get the values for scoring."""
        features = {name: FittedFeature(kind.out_of_fold(part), state) for name, (kind, state) in self.features.items()}
        columns = columns_of(kind for kind, _ in features.values())
        return Spec({c: self.inputs.get(c, "bigint") for c in columns}, features)

    def to_sql(self, table: str, keep: Sequence[str] = ()) -> str:
        """A SELECT of the columns `keep` and the features from a table. Raises DataError for a kind without SQL."""
        if arrow_only := [name for name, (kind, _) in self.features.items() if not kind.has_sql]:
            kind = kind_name(self.features[arrow_only[0]].kind)
            raise DataError(
                f"features.{arrow_only[0]} has no SQL form, because its kind is `{kind}`; call transform, or leave it out"
            )
        if variables := [name for name in (*keep, *self.features) if "${" in name]:
            raise DataError(f"`{variables[0]}` cannot be a name in SQL, which reads `${{…}}` as a variable; rename it")
        values = self._sql_inputs(self.inputs)
        features = {name: kind.sql(values[name], state) for name, (kind, state) in self.features.items()}
        shared = ", ".join(["*", *(f"{e} AS {n}" for n, e in self._shared_columns(self.inputs).items())])
        columns = [f"  {sql.quote_identifier(c)}" for c in keep]
        columns += [f"  {e} AS {sql.quote_identifier(n)}" for n, e in features.items()]
        return "\n".join(["SELECT", ",\n".join(columns), "FROM (SELECT", shared, "FROM", f"{table})"])

    def _shared_columns(self, types: Mapping[str, str]) -> dict[str, str]:
        """Value hashes and derived numbers as columns of an inner projection, so that Spark computes each once for all features."""
        hashed = columns_of(kind for kind, _ in self.features.values() if kind.takes == HASHED)
        values = self._columns(types)
        derived = {name: d.sql([values[c] for c in raw_columns(d)]).column for d, name in self._derived.items()}
        return {self._hash_columns[c]: sql_cast(types[c], self.inputs[c], c).hash for c in hashed} | derived

    @cached_property
    def _hash_columns(self) -> dict[str, str]:
        return {c: f"keyfold_hash_{i}" for i, c in enumerate(self.inputs)}

    @cached_property
    def _derived(self) -> dict[Derived, str]:
        numbers = (c for c in inputs_of(kind for kind, _ in self.features.values()) if isinstance(c, Derived))
        return {derived: f"keyfold_derived_{i}" for i, derived in enumerate(numbers)}

    def _columns(self, types: Mapping[str, str]) -> dict[str, SqlValue]:
        return {c: sql_cast(types[c], family, c).hashed_as(self._hash_columns[c]) for c, family in self.inputs.items()}

    def _sql_inputs(self, types: Mapping[str, str]) -> dict[str, list[SqlValue]]:
        derived = {d: SqlValue(name, "double") for d, name in self._derived.items()}
        kinds = {name: kind for name, (kind, _) in self.features.items()}
        return sql_inputs(kinds, self._columns(types) | derived, self._feature_sql)

    def _feature_sql(self, name: str, values: list[SqlValue]) -> str:
        kind, state = self.features[name]
        return kind.sql(values, state)

    def check_rows(self, rows: "pa.Table | pa.RecordBatch") -> None:
        """Raises DataError if a column that a feature takes is missing or of another type."""
        self._raw_values(rows.slice(0, 0))

    def arrow(self, rows: "pa.Table | pa.RecordBatch | pd.DataFrame") -> FeatureArrays:
        """Features by name, as arrays with one entry per row (see `Kind.arrow` for types and shapes).

        Raises DataError for a missing column or another type, RowsError for rows that a feature refuses.
        """
        return self.arrow_with_inputs(rows)[0]

    def arrow_with_inputs(
        self, rows: "pa.Table | pa.RecordBatch | pd.DataFrame"
    ) -> tuple[FeatureArrays, dict[str, list[ArrowValue]]]:  # fmt: skip
        """The features, as from `arrow`, and the inputs of each."""
        if not isinstance(rows, pa.Table | pa.RecordBatch):
            rows = pa.Table.from_pandas(rows, preserve_index=False)
        values: dict[str | Derived, ArrowValue] = dict(self._raw_values(rows).items())
        values |= {d: d.arrow([values[c] for c in raw_columns(d)]) for d in self._derived}
        arrays: FeatureArrays = {}
        inputs: dict[str, list[ArrowValue]] = {}
        for name in self._order:
            kind, state = self.features[name]
            inputs[name] = [as_input(arrays[c.feature]) if isinstance(c, FeatureInput) else values[c] for c in kind.inputs()]
            arrays[name] = kind.arrow(inputs[name], state)
        return {name: arrays[name] for name in self.features}, inputs

    def _raw_values(self, rows: pa.Table | pa.RecordBatch) -> dict[str, ArrowValue]:
        return {c: arrow_cast(_column(rows, c, self._origin(c)), family, c) for c, family in self.inputs.items()}

    def _origin(self, column: str) -> str:
        kinds = (kind for kind, _ in self.features.values() if column in kind.inputs())
        return next((kind.origin for kind in kinds if kind.origin), "")

    def arrays(self, table: pa.Table) -> FeatureArrays:
        """The arrays that `arrow` returns, from a table of features that Spark computed."""
        return {name: _feature_array(table[name], out) for name, out in self.outs.items()}

    @cached_property
    def outs(self) -> dict[str, FeatureOutput]:
        """Type and shape of each feature."""
        return {name: kind.output(state) for name, (kind, state) in self.features.items()}

    def columns_of(self, name: str) -> list[str]:
        """Table columns that a feature depends on, directly or through other features."""
        inputs = self.features[name].kind.inputs()
        columns = (self.columns_of(c.feature) if isinstance(c, FeatureInput) else raw_columns(c) for c in inputs)
        return list(dict.fromkeys(chain.from_iterable(columns)))

    @cached_property
    def _order(self) -> list[str]:
        return feature_order({name: kind for name, (kind, _) in self.features.items()})

    @cached_property
    def digest(self) -> str:
        """Digest of the JSON. Equal specs have equal digests on every machine."""
        return digests.digest(self._json())

    def to_json(self) -> str:
        """The whole spec as JSON text."""
        return digests.canonical_json(self._json())

    def _json(self) -> dict[str, Any]:
        features = [
            {"name": name, "kind": kind_name(kind), "conf": kind.model_dump(mode="json"), "state": state}
            for name, (kind, state) in self.features.items()
        ]
        return {"contract": hashing.CONTRACT, "inputs": list(self.inputs.items()), "features": features}

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        """Reads the text of `to_json`. Raises DataError if it is damaged or of another contract version."""
        try:
            spec = json.loads(text)
            version = spec["contract"]
            if version != hashing.CONTRACT:
                raise DataError(f"this spec is of contract version {version}; this keyfold has {hashing.CONTRACT}: fit it again")
            features = {
                f["name"]: FittedFeature(KINDS[f["kind"]].model_validate(f["conf"]), f["state"]) for f in spec["features"]
            }
            return cls(dict(spec["inputs"]), features)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"this spec is damaged: {error!r:.200}") from error


def type_of_column(frame: Frame, column: str) -> str:
    """Spark's simple name of a column's type. Raises DataError if the frame has no such column."""
    types = frame.types
    if column not in types:
        raise DataError(f"the table has no column `{column}`, which a feature takes{suggestion(column, types)}")
    return types[column]


def _column(rows: pa.Table | pa.RecordBatch, column: str, origin: str) -> pa.Array | pa.ChunkedArray:
    if column not in rows.schema.names:
        hint = f" ({origin})" if origin else suggestion(column, rows.schema.names)
        raise DataError(f"the rows have no column `{column}`, which a feature takes{hint}")
    return rows.column(column)


def as_input(array: Array) -> ArrowValue:
    """A feature with one index per row as an input of another feature."""
    return ArrowValue(pa.array(np.asarray(array, np.int64)), "bigint")


def _feature_array(column: pa.ChunkedArray, out: FeatureOutput) -> Array:
    array = single_chunk(column)
    if out.length is None:
        return array if isinstance(array, pa.ListArray) else pa.concat_arrays(array.chunks)
    if out.length == 1 and not pa.types.is_list(array.type):
        return array.to_numpy(zero_copy_only=False)
    return array.flatten().to_numpy(zero_copy_only=False).reshape(-1, out.length)


def _assemble(outs: Mapping[str, FeatureOutput], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        kept = batch.num_columns - len(outs)
        features = pa.Table.from_batches([batch.select(range(kept, batch.num_columns))])
        arrays = {name: _feature_array(column, out) for (name, out), column in zip(outs.items(), features.columns, strict=True)}
        columns = [*batch.columns[:kept], matrix.mllib_vectors(matrix.sparse_matrix(arrays, outs))]
        yield pa.RecordBatch.from_arrays(columns, [f"_{i}" for i in range(len(columns))])
