"""The feature spec: fitted once on the train fold, then the same bits in Spark and in Arrow; its whole state is JSON."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from keyfold.core import digests, hashing, sql
from keyfold.core.derived import Derived, raw_columns
from keyfold.core.sql import col
from keyfold.core.types import HASHED, ArrowValue, SqlValue, arrow_cast, family_of, require_family, sql_cast
from keyfold.errors import ConfError, DataError, suggestion
from keyfold.features import fitting, matrix
from keyfold.features.fitting import CountedExpression, FeatureStatistics, Statistics, Target
from keyfold.features.kind import Array, FeatureInput, FeatureOutput, Kind, State
from keyfold.features.kinds import KINDS, Feature

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame

FeatureArrays = dict[str, Array]


class FittedFeature(NamedTuple):
    """A feature and what it keeps of the training rows."""

    kind: Kind
    state: State


class Spec:
    """`inputs`: the family of each raw column, in the order of the conf. `features`: name to kind and state."""

    def __init__(self, inputs: Mapping[str, str], features: Mapping[str, FittedFeature]) -> None:
        self.inputs, self.features = dict(inputs), dict(features)

    @classmethod
    def fit(cls, rows: "DataFrame", features: Mapping[str, Feature], target: Target | None = None) -> "Spec":
        """Fitted on all rows of a frame, in one pass (DataError for a missing column or a wrong type)."""
        plan = FitPlan.of(rows, features, target)
        return plan.spec(plan.measure(rows))

    def transform(self, frame: "DataFrame", keep: "Sequence[str | Column]" = ()) -> "DataFrame":
        """The columns `keep` and the features, by name (DataError for a missing column or a wrong type)."""
        hashed, taken = self.taken(frame)
        features = (kind.spark(taken[name], state) for name, (kind, state) in self.features.items())
        kept = (col(c) if isinstance(c, str) else c for c in keep)
        made = hashed.select(*kept, *features)
        return made.toDF(*made.columns[: len(keep)], *self.features)  # `Column.alias` takes a millisecond

    def taken(self, frame: "DataFrame") -> "tuple[DataFrame, dict[str, list[SqlValue]]]":
        """The frame with value hashes beside, and what each feature takes of it (DataError as for `transform`)."""
        types = {c: family_of(_type(frame, c)) for c in self.inputs}
        below = (sql.column(e).alias(n) for n, e in self._below(types).items())
        return frame.select("*", *below), self._taken(types)

    def assemble(self, frame: "DataFrame", into: str = "features", keep: "Sequence[str | Column]" = ()) -> "DataFrame":
        """The columns `keep`, and the features as one column of sparse MLlib vectors: the rows of `matrix.csr`.

        Spark computes the features, and Python workers put them together.
        """
        from pyspark.ml.linalg import VectorUDT
        from pyspark.sql.types import StructField, StructType

        made = self.transform(frame, keep)
        numbered = made.toDF(*(f"_{i}" for i in range(len(made.columns))))
        schema = StructType([*made.schema.fields[: len(keep)], StructField(into, VectorUDT(), nullable=False)])
        return numbered.mapInArrow(partial(_assembled, self.outs), schema)

    def out_of_fold(self, part: str) -> "Spec":
        """What gives training rows their features, of one more column: a row's part as of `Target`, or NULL for a served row."""
        features = {name: FittedFeature(kind.out_of_fold(part), state) for name, (kind, state) in self.features.items()}
        columns = columns_of(kind for kind, _ in features.values())
        return Spec({c: self.inputs.get(c, "bigint") for c in columns}, features)

    def to_sql(self, table: str, keep: Sequence[str] = ()) -> str:
        """A SELECT of the columns `keep` and the features from a table (DataError for a kind that has no SQL form)."""
        if impure := [name for name, (kind, _) in self.features.items() if not kind.pure]:
            kind = kind_name(self.features[impure[0]].kind)
            raise DataError(f"features.{impure[0]} has no SQL form, for its kind is `{kind}`; call transform, or leave it out")
        if variables := [name for name in (*keep, *self.features) if "${" in name]:
            raise DataError(f"`{variables[0]}` cannot be a name in SQL, which reads `${{…}}` as a variable; rename it")
        taken = self._taken(self.inputs)
        features = {name: kind.sql(taken[name], state) for name, (kind, state) in self.features.items()}
        below = ", ".join(["*", *(f"{e} AS {n}" for n, e in self._below(self.inputs).items())])
        columns = [f"  {sql.quote_identifier(c)}" for c in keep] + [
            f"  {e} AS {sql.quote_identifier(n)}" for n, e in features.items()
        ]
        return "\n".join(["SELECT", ",\n".join(columns), "FROM (SELECT", below, "FROM", f"{table})"])

    def _below(self, types: Mapping[str, str]) -> dict[str, str]:
        # Value hashes and derived numbers are columns of a projection below, so that Spark computes each once for all features.
        hashed = columns_of(kind for kind, _ in self.features.values() if kind.takes == HASHED)
        values = self._columns(types)
        derived = {name: d.sql([values[c] for c in raw_columns(d)]).column for d, name in self._derived.items()}
        return {self._hash_of[c]: sql_cast(types[c], self.inputs[c], c).hash for c in hashed} | derived

    @cached_property
    def _hash_of(self) -> dict[str, str]:
        return {c: f"keyfold_hash_{i}" for i, c in enumerate(self.inputs)}

    @cached_property
    def _derived(self) -> dict[Derived, str]:
        found = (c for c in inputs_of(kind for kind, _ in self.features.values()) if isinstance(c, Derived))
        return {derived: f"keyfold_derived_{i}" for i, derived in enumerate(found)}

    def _columns(self, types: Mapping[str, str]) -> dict[str, SqlValue]:
        return {c: sql_cast(types[c], family, c).hashed_as(self._hash_of[c]) for c, family in self.inputs.items()}

    def _taken(self, types: Mapping[str, str]) -> dict[str, list[SqlValue]]:
        derived = {d: SqlValue(name, "double") for d, name in self._derived.items()}
        return sql_inputs({name: kind for name, (kind, _) in self.features.items()}, self._columns(types) | derived, self._sql_of)

    def _sql_of(self, name: str, values: list[SqlValue]) -> str:
        kind, state = self.features[name]
        return kind.sql(values, state)

    def arrow(self, rows: "pa.Table | pa.RecordBatch | pd.DataFrame") -> FeatureArrays:
        """The features as arrays of the length of `rows` (DataError for a missing column or another type)."""
        if not isinstance(rows, pa.Table | pa.RecordBatch):
            rows = pa.Table.from_pandas(rows, preserve_index=False)
        values: dict[str | Derived, ArrowValue] = {
            c: arrow_cast(_column(rows, c, self._made_of(c)), family, c) for c, family in self.inputs.items()
        }
        values |= {d: d.arrow([values[c] for c in raw_columns(d)]) for d in self._derived}
        found: FeatureArrays = {}
        for name in self._order:
            kind, state = self.features[name]
            taken = [_of_feature(found[c.feature]) if isinstance(c, FeatureInput) else values[c] for c in kind.inputs()]
            found[name] = kind.arrow(taken, state)
        return {name: found[name] for name in self.features}

    def _made_of(self, column: str) -> str:
        kinds = (kind for kind, _ in self.features.values() if column in kind.inputs())
        return next((kind.made_of for kind in kinds if kind.made_of), "")

    def arrays(self, table: pa.Table) -> FeatureArrays:
        """The arrays of features that Spark computed, of a table that has them as columns."""
        return {name: _array(table[name], out) for name, out in self.outs.items()}

    @cached_property
    def outs(self) -> dict[str, FeatureOutput]:
        """What each feature yields."""
        return {name: kind.out(state) for name, (kind, state) in self.features.items()}

    def columns_of(self, name: str) -> list[str]:
        """The raw columns that a feature takes, itself or through other features."""
        inputs = self.features[name].kind.inputs()
        each = (self.columns_of(c.feature) if isinstance(c, FeatureInput) else raw_columns(c) for c in inputs)
        return list(dict.fromkeys(chain.from_iterable(each)))

    @cached_property
    def _order(self) -> list[str]:
        return feature_order({name: kind for name, (kind, _) in self.features.items()})

    @cached_property
    def digest(self) -> str:
        """Names the spec: equal specs have equal digests on every machine."""
        return digests.digest(self._json())

    def to_json(self) -> str:
        """All there is to know, as JSON text."""
        return digests.canonical_json(self._json())

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
            features = {
                f["name"]: FittedFeature(KINDS[f["kind"]].model_validate(f["conf"]), f["state"]) for f in spec["features"]
            }
            return cls(dict(spec["inputs"]), features)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"this spec is damaged: {error!r:.200}") from error


_NO_CLASS = "learns from a label of two classes, and here the label is a number; train a classifier, or use `hashed` or `one_hot`"
_ADVICE = "hash integers, text, dates or decimals; give floats to `numeric`"


def kind_name(kind: Kind) -> str:
    """The name of a kind, as confs have it."""
    return next(name for name, found in KINDS.items() if type(kind) is found)


class FitPlan(NamedTuple):
    """What fitting needs of the rows: numbers of columns, and counts of expressions by feature."""

    kinds: Mapping[str, Kind]
    families: Mapping[str, str]
    values: Mapping[str | Derived, SqlValue]
    counted: Mapping[str, list[CountedExpression]]

    @classmethod
    def of(cls, rows: "DataFrame", features: Mapping[str, Feature], target: Target | None = None) -> "FitPlan":
        """The plan for the rows of a frame (DataError for a missing column or a wrong type)."""
        kinds = {name: feature.kind for name, feature in features.items()}
        feature_order(kinds)
        families = {c: family_of(_type(rows, c)) for c in columns_of(kinds.values())}
        for name, kind in kinds.items():
            if kind.learns_label and target is None:
                raise ConfError(f"features.{name}: `{kind_name(kind)}` {_NO_CLASS}")
            for column in kind.inputs():
                if isinstance(column, str):
                    require_family(kind.takes, families[column], f"features.{name}: column `{column}`:", _ADVICE)
                if isinstance(column, Derived):
                    column.check(families, f"features.{name}")
        columns = {c: sql_cast(family, family, c) for c, family in families.items()}
        derived = (c for c in inputs_of(kinds.values()) if isinstance(c, Derived))
        values = columns | {d: d.sql([columns[c] for c in raw_columns(d)]) for d in derived}
        counted = {
            n: k.counted([values[c] for c in k.inputs() if not isinstance(c, FeatureInput)], target) for n, k in kinds.items()
        }
        return cls(kinds, families, values, counted)

    @property
    def _numbers(self) -> dict[str, SqlValue]:
        taken = inputs_of(kind for kind in self.kinds.values() if kind.numbers)
        return {self._name(c): self.values[c] for c in taken}

    def _name(self, column: str | Derived) -> str:
        """In statistics."""
        return column if isinstance(column, str) else f"\0{self.values[column].column}"

    @property
    def _counted(self) -> list[CountedExpression]:
        return [c for some in self.counted.values() for c in some]

    @property
    def reads(self) -> bool:
        """Whether fitting reads the rows at all."""
        return bool(self._numbers or self._counted)

    @property
    def asked(self) -> list[str]:
        """What statistics are of: two plans that ask for the same can use each other's."""
        asked = {*(f"{c} {v.family}" for c, v in self._numbers.items()), *(c.name for c in self._counted)}
        return [f"version {fitting.STATISTICS_VERSION}", *sorted(asked)]

    def measure(self, rows: "DataFrame") -> pa.Table:
        """The statistics of rows (see `keyfold.features.fitting`)."""
        return fitting.measure_statistics(rows, self._numbers, self._counted)

    def spec(self, statistics: pa.Table, say: Callable[[str], None] = lambda _: None) -> Spec:
        """The spec that follows from statistics; `say` is told of features that are the same in every row."""
        asked = Statistics(statistics)
        fitted: dict[str, FittedFeature] = {}
        numbers = {c: asked.numbers(c) for c in self._numbers}
        for name in feature_order(self.kinds):
            kind = self.kinds[name]
            inputs = [
                {"width": _index_width(name, c.feature, fitted[c.feature])}
                if isinstance(c, FeatureInput)
                else {"family": self.values[c].family} | numbers.get(self._name(c), {})
                for c in kind.inputs()
            ]
            measured = FeatureStatistics(inputs, [asked.counts(c) for c in self.counted[name]])
            fitted[name] = FittedFeature(kind, kind.fit(name, measured))
            if kind.constant(measured):
                say(f"features.{name}: column `{kind.inputs()[0]}` has one value in the train fold; the feature says nothing")
        return Spec(self.families, {name: fitted[name] for name in self.kinds})


def columns_of(kinds: Iterable[Kind]) -> list[str]:
    """The raw columns that kinds take, in order of first use."""
    return list(dict.fromkeys(chain.from_iterable(map(raw_columns, inputs_of(kinds)))))


def inputs_of(kinds: Iterable[Kind]) -> list[str | Derived]:
    """The columns and derived numbers that kinds take, in order of first use."""
    return list(dict.fromkeys(c for kind in kinds for c in kind.inputs() if not isinstance(c, FeatureInput)))


def sql_inputs(
    kinds: Mapping[str, Kind], values: Mapping[str | Derived, SqlValue], of: Callable[[str, list[SqlValue]], str]
) -> dict[str, list[SqlValue]]:
    """For each kind the SQL values it takes: of columns, or of other features, whose expressions `of` makes."""
    taken: dict[str, list[SqlValue]] = {}
    for name in feature_order(kinds):
        taken[name] = [
            SqlValue(f"CAST({of(c.feature, taken[c.feature])} AS BIGINT)", "bigint") if isinstance(c, FeatureInput) else values[c]
            for c in kinds[name].inputs()
        ]
    return taken


def feature_order(kinds: Mapping[str, Kind]) -> list[str]:
    """Names such that a feature comes after those it takes (ConfError for a circle or an unknown name)."""
    done: dict[str, None] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ConfError(f"features.{name} takes itself: {' → '.join((*path, name))}")
        for other in kinds[name].inputs():
            if isinstance(other, FeatureInput):
                _check_taken(name, other.feature, kinds)
                visit(other.feature, (*path, name))
        done[name] = None

    for name in kinds:
        visit(name, ())
    return list(done)


def _check_taken(name: str, other: str, kinds: Mapping[str, Kind]) -> None:
    if other not in kinds:
        raise ConfError(f"features.{name} takes the feature `{other}`, which is not there{suggestion(other, kinds)}")


def _index_width(name: str, other: str, fitted: FittedFeature) -> int:
    out = fitted.kind.out(fitted.state)
    if not out.is_index:
        raise ConfError(f"features.{name} takes the feature `{other}`, which yields no single integer; bucketize it first")
    return out.width


def _of_feature(array: Array) -> ArrowValue:
    return ArrowValue(pa.array(np.asarray(array, np.int64)), "bigint")


def _array(column: pa.ChunkedArray, out: FeatureOutput) -> Array:
    whole = column.combine_chunks()
    if out.length is None:
        return whole if isinstance(whole, pa.ListArray) else pa.concat_arrays(whole.chunks)
    if out.length == 1 and not pa.types.is_list(whole.type):
        return whole.to_numpy(zero_copy_only=False)
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(-1, out.length)


def _assembled(outs: Mapping[str, FeatureOutput], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        features = pa.Table.from_batches([batch.select(range(batch.num_columns - len(outs), batch.num_columns))])
        arrays = {name: _array(column, out) for (name, out), column in zip(outs.items(), features.columns, strict=True)}
        kept = batch.columns[: batch.num_columns - len(outs)]
        columns = [*kept, matrix.mllib_vectors(matrix.sparse_matrix(arrays, outs))]
        yield pa.RecordBatch.from_arrays(columns, [f"_{i}" for i in range(len(columns))])


def _type(frame: "DataFrame", column: str) -> str:
    if column not in frame.columns:
        raise DataError(f"the table has no column `{column}`, which a feature takes{suggestion(column, frame.columns)}")
    return frame.schema[column].dataType.simpleString()


def _column(rows: pa.Table | pa.RecordBatch, column: str, made_of: str) -> pa.Array | pa.ChunkedArray:
    if column not in rows.schema.names:
        near = f" ({made_of})" if made_of else suggestion(column, rows.schema.names)
        raise DataError(f"the rows have no column `{column}`, which a feature takes{near}")
    return rows.column(column)
