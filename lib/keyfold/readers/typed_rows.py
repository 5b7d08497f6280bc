"""Rows of text as typed rows: the values, why a row cannot be kept, its raw text, and the clock faults of its times."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools, single_chunk
from keyfold.core.json_texts import text_jsons
from keyfold.readers.arrow_values import bools
from keyfold.readers.casts import CastColumn, TextFormat, cast_column, clock_faults, fault_columns, trim, why_not


class TextColumn(NamedTuple):
    """A column of text: its name in the table, its type, the form of its dates or times, its name in the file, the type as declared."""

    name: str
    type: str
    form: str | None
    origin: str
    declared: str


class RowTypes(NamedTuple):
    """The columns of text in order, and how they write values.

    needed: if given, only rows with a reason, or without a value in one of these columns, have their raw text.
    """

    columns: Sequence[TextColumn]
    format: TextFormat
    needed: Sequence[str] | None = None

    @property
    def times(self) -> list[str]:
        """The columns that are instants."""
        return [column.name for column in self.columns if column.type == "timestamp"]

    def faults(self) -> dict[str, str]:
        """Names and types of the columns of clock faults."""
        return fault_columns(self.format.zone) if self.times else {}


class TypedRows(NamedTuple):
    """Values by column, the reason and the raw text by row, and the clock faults, as RowTypes.faults names them."""

    values: list[pa.Array]
    reason: pa.Array
    raw: pa.Array
    faults: list[pa.Array]


def cast_rows(texts: "Sequence[pa.Array | pa.ChunkedArray]", types: RowTypes, reason: pa.Array) -> TypedRows:
    """Columns of text, in the order of the types, as typed rows; `reason`: why a row cannot be kept, where that is known."""
    raws = [single_chunk(text) for text in texts]
    cast = {c.name: cast_column(raw, c.type, c.form, types.format) for c, raw in zip(types.columns, raws, strict=True)}
    for column, raw in zip(types.columns, raws, strict=True):
        if column.type != "string":
            reason = _with_reasons(reason, column, raw, cast[column.name])
    faults = clock_faults({name: cast[name] for name in types.times}, types.format.zone) if types.times else {}
    values = [column.value for column in cast.values()]
    return TypedRows(values, reason, _raw(raws, types, reason, cast), [*faults.values()])


def _with_reasons(reason: pa.Array, column: TextColumn, raw: pa.Array, cast: CastColumn) -> pa.Array:
    """The reasons, and further ones where text is not a value of the column's type."""
    if cast.value.null_count == raw.null_count:
        return reason
    wrong = bools(pc.and_(cast.value.is_null(), pc.and_(reason.is_null(), raw.is_valid())))
    wrong[wrong] = bools(pc.not_equal(trim(raw.filter(pa.array(wrong))), ""))
    if not wrong.any():
        return reason
    reasons = why_not(f"`{column.name}`", cast.text.filter(pa.array(wrong)), column.type, column.declared)
    return pc.replace_with_mask(reason, pa.array(wrong), reasons)


def _raw(raws: list[pa.Array], types: RowTypes, reason: pa.Array, cast: dict[str, CastColumn]) -> pa.Array:
    rows = pa.RecordBatch.from_arrays(raws, [column.origin for column in types.columns])
    values = {name: column.value for name, column in cast.items()}
    return raw_texts(reason, values, types.needed, rows, lambda rows: text_jsons(rows.schema.names, rows.columns))


def raw_texts(
    reason: pa.Array, values: Mapping[str, pa.Array], needed: Sequence[str] | None, rows: pa.RecordBatch,
    texts: Callable[[pa.RecordBatch], pa.Array],
) -> pa.Array:  # fmt: skip
    """`texts` of the rows with a reason, or without a value in a column of `needed` (None: of all rows); NULL for the others."""
    if needed is None:
        return texts(rows)
    wanted: Bools = bools(reason.is_valid())
    for name in needed:
        if name in values and values[name].null_count:
            wanted |= bools(values[name].is_null())
    none = pa.nulls(len(reason), pa.string())
    if not wanted.any():
        return none
    mask = pa.array(wanted)
    return pc.replace_with_mask(none, mask, texts(rows.filter(mask)))
