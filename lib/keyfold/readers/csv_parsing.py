"""Parses records with valid quoting into rows of text: with Arrow's CSV parser, or in Python for forms that Arrow reads differently."""

import re
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from keyfold.readers.csv_records import grammar
from keyfold.readers.text_form import TextForm

Odd = dict[int, str]  # the reason why a record is not a row, by its index


def csv_rows(records: pa.Array, form: TextForm) -> tuple[pa.Table, Odd]:
    """The rows, in order, and the records that are not rows."""
    by_python = np.zeros(len(records), bool) if form.bytewise else np.ones(len(records), bool)
    if form.csv.escape and form.csv.quote:
        escaped = pc.match_substring(records, form.csv.escape)
        by_python |= np.asarray(escaped.to_numpy(zero_copy_only=False), bool)
    if not by_python.any():
        return parse_csv(records, form)
    arrow_places, python_places = np.flatnonzero(~by_python), np.flatnonzero(by_python)
    table, ragged = parse_csv(records.filter(pa.array(~by_python)), form)
    odd = {int(arrow_places[i]): reason for i, reason in ragged.items()}
    rows: list[tuple[str | None, ...]] = []
    for i, record in zip(python_places.tolist(), records.filter(pa.array(by_python)).to_pylist(), strict=True):
        fields = fields_of(record, form)
        if len(fields) == len(form.names):
            rows.append(fields)
        else:
            odd[i] = _ragged(len(fields), len(form.names))
    places = [np.setdiff1d(arrow_places, [*odd]), np.setdiff1d(python_places, [*odd])]
    return merge_in_order([table, text_table([*zip(*rows, strict=True)], form.names)], places), odd


def parse_csv(records: pa.Array, form: TextForm) -> tuple[pa.Table, Odd]:
    """Parses records with Arrow; those with another number of fields are not rows."""
    odd: Odd = {}

    def ragged(row: Any) -> str:
        odd[row.number - 1] = _ragged(row.actual_columns, row.expected_columns)
        return "skip"

    if not len(records):
        return text_table([], form.names), odd
    offsets = np.frombuffer(records.buffers()[1], np.int64)[[records.offset, records.offset + len(records)]].tolist()
    data = records.buffers()[2].slice(offsets[0], offsets[1] - offsets[0])
    if data[-1] not in b"\r\n":  # else Arrow reads an empty last field after a quoted one as "", not as NULL
        data = pa.py_buffer(data.to_pybytes() + b"\n")
    if bytes(memoryview(data)[:3]) == b"\xef\xbb\xbf":  # the first text begins with a BOM; Arrow drops one BOM
        data = pa.py_buffer(b"\xef\xbb\xbf" + data.to_pybytes())
    table = pacsv.read_csv(
        pa.BufferReader(data),
        pacsv.ReadOptions(use_threads=False, block_size=data.size + 1, column_names=_places(form)),
        pacsv.ParseOptions(
            delimiter=form.delimiter, quote_char=form.csv.quote or False, double_quote=True,
            newlines_in_values=form.csv.multi_line,
            invalid_row_handler=ragged, ignore_empty_lines=False,
        ),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(_places(form), pa.string()), null_values=["", *form.csv.null_values],
            strings_can_be_null=True, quoted_strings_can_be_null=False,
        ),
    )  # fmt: skip
    return table.rename_columns([*form.names]), odd


def _places(form: TextForm) -> list[str]:
    return [str(i) for i in range(len(form.names))]


def _ragged(fields: int, wanted: int) -> str:
    return f"{fields:,} field{'s' if fields > 1 else ''} in place of {wanted:,}"


@cache
def _unescaping(quote: str, escape: str) -> re.Pattern[str]:
    q, e = re.escape(quote), re.escape(escape)
    return re.compile(rf"{e}([{q}{e}])|({q}){q}" if e else f"()({q}){q}")


def fields_of(record: bytes, form: TextForm) -> tuple[str | None, ...]:
    """The fields of a record with valid quoting; unquoted empty fields and words of `null_values` are None."""
    fields: list[str | None] = []
    at, rules, nulls = 0, grammar(form), {"", *form.csv.null_values}
    while True:
        field = rules.field.match(record, at)
        assert field is not None  # the quoting is valid
        quoted, plain, last = field.groups()
        if quoted is not None:
            pairs = _unescaping(form.csv.quote, form.csv.escape)
            fields.append(pairs.sub(lambda pair: pair[1] or pair[2], quoted.decode()))
        else:
            text = plain.decode()
            fields.append(None if text in nulls else text)
        at = field.end()
        if last is not None:
            return tuple(fields)


def text_table(columns: list[Any], names: tuple[str, ...]) -> pa.Table:
    """A table of text columns; without columns, a table with these names and no rows."""
    arrays = [pa.array(column, pa.string()) for column in columns] or [pa.array([], pa.string())] * len(names)
    return pa.Table.from_arrays(arrays, [*names])


def merge_in_order(tables: list[pa.Table], places: list[Any]) -> pa.Table:
    """Concatenates tables and orders the rows by their places."""
    rows, order = pa.concat_tables(tables), np.concatenate(places)
    return rows if (np.diff(order) > 0).all() else rows.take(pa.array(np.argsort(order)))
