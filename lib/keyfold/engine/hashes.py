"""Columns of hashes, for `Frame.compute`."""

from collections.abc import Mapping, Sequence
from functools import partial

import pyarrow as pa

from keyfold.core import hashing, sql
from keyfold.core.row_hash import arrow_key_hash, arrow_row_hash, sql_key_hash, sql_row_hash
from keyfold.engine.frame import Computed


def key_hash(name: str, types: Mapping[str, str], columns: Sequence[str], salt: str) -> Computed:
    """bigint: the salted hash of columns (DataError for a type that cannot be hashed)."""
    return Computed({name: pa.int64()}, partial(_key_hash, columns, salt), [sql_key_hash(types, columns, salt)])


def sample_place(name: str, types: Mapping[str, str], columns: Sequence[str], salt: str) -> Computed:
    """bigint in [0, 1,000,000): the salted hash of columns, reduced (DataError for a type that cannot be hashed)."""
    place = hashing.sql_reduce(sql_key_hash(types, columns, salt), hashing.PARTS)
    return Computed({name: pa.int64()}, partial(_sample_place, columns, salt), [place])


def row_hash(name: str, columns: Sequence[str]) -> Computed:
    """bigint: the hash of the values of columns; NULL is a value too."""
    return Computed({name: pa.int64()}, partial(_row_hash, columns), [sql_row_hash(map(sql.column_reference, columns))])


def row_place(name: str, columns: Sequence[str]) -> Computed:
    """bigint in [0, 1,000,000): the hash of the values of columns, reduced."""
    place = hashing.sql_reduce(sql_row_hash(map(sql.column_reference, columns)), hashing.PARTS)
    return Computed({name: pa.int64()}, partial(_row_place, columns), [place])


def _key_hash(columns: Sequence[str], salt: str, batch: pa.RecordBatch) -> list[pa.Array]:
    return [pa.array(arrow_key_hash(batch, columns, salt))]


def _sample_place(columns: Sequence[str], salt: str, batch: pa.RecordBatch) -> list[pa.Array]:
    return [pa.array(hashing.reduce(arrow_key_hash(batch, columns, salt), hashing.PARTS))]


def _row_hash(columns: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    return [pa.array(arrow_row_hash([batch[name] for name in columns]))]


def _row_place(columns: Sequence[str], batch: pa.RecordBatch) -> list[pa.Array]:
    return [pa.array(hashing.reduce(arrow_row_hash([batch[name] for name in columns]), hashing.PARTS))]
