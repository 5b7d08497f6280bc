"""Hashes of rows, in Spark and in Arrow: of the key, which decides folds, samples and the order of training rows; of all values."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core import hashing, sql
from keyfold.core.arrays import Int64s, single_chunk
from keyfold.core.names import CONTENT
from keyfold.core.types import ARROW, HASHED, ArrowValue, SqlValue, arrow_family, family_of, require_family

_COPY, _DIGITS = r"^[0-9a-f]{32}-[0-9]+\z", 32


def sql_without_copy(name: str, expression: str) -> str:
    """Text: a content key without its copy number, so that all copies of a row have the same; other columns as they are."""
    if name != CONTENT:
        return expression
    return (
        f"CASE WHEN {expression} RLIKE {sql.text_literal(_COPY)} THEN substring({expression}, 1, {_DIGITS}) ELSE {expression} END"
    )


def without_copy(name: str, texts: pa.Array) -> pa.Array:
    """`sql_without_copy` for Arrow texts."""
    if name != CONTENT:
        return texts
    return pc.if_else(pc.match_substring_regex(texts, _COPY), pc.utf8_slice_codeunits(texts, 0, _DIGITS), texts)


def sql_key_hash(
    types: Mapping[str, str], columns: Sequence[str], salt: str, of: Callable[[str, str], str] | None = None
) -> str:  # fmt: skip
    """bigint: the salted hash of columns as an SQL expression (DataError for a type that cannot be hashed).

    types: of all columns, by name. of: may replace the expression of a text column, given its name and expression.
    """
    values = []
    for column in columns:
        family = family_of(types[column])
        require_family(HASHED, family, f"a key or split by `{column}`", "round it, or choose another column")
        value = sql.column_reference(column)
        values.append(SqlValue(of(column, value) if of and family == "string" else value, family).hash)
    return hashing.sql_feature_hash(salt, values)


def arrow_key_hash(
    rows: pa.Table | pa.RecordBatch, columns: Sequence[str], salt: str, of: Callable[[str, pa.Array], pa.Array] | None = None
) -> Int64s:
    """int64: `sql_key_hash` of Arrow rows (DataError for a type that cannot be hashed); `of` may replace a text column, given its name."""
    values = []
    for column in columns:
        array = single_chunk(rows[column])
        family = arrow_family(array.type)
        require_family(HASHED, family, f"a key or split by `{column}`", "round it, or choose another column")
        array = array.cast(ARROW[family]) if family != "decimal" else array
        values.append(ArrowValue(of(column, array) if of and family == "string" else array, family).hash)
    return hashing.feature_hash(salt, values)


def sql_row_hash(expressions: Iterable[str]) -> str:
    """bigint: hash of values in their order; NULL counts as a value (`xxhash64` alone would skip it)."""
    return f"xxhash64({', '.join(f'({e}) IS NULL, {e}' for e in expressions)})"


def arrow_row_hash(arrays: Iterable[pa.Array]) -> Int64s:
    """int64: the hash of values in their order, equal to `sql_row_hash`."""
    return hashing.chained_hash([hashing.hashed_cells(cells) for array in arrays for cells in (array.is_null(), array)])
