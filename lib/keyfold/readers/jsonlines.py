"""Parses JSON lines into rows of text: valid objects all at once, any other line with Python's `json`."""

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Int64s
from keyfold.readers.csv_parsing import Odd, merge_in_order, text_table
from keyfold.readers.members import Members, are_objects, find_members
from keyfold.readers.text_form import TextForm

NO_OBJECT = "the line is not a JSON object"
REPEATED_KEY = "the key `{}` is repeated, or differs from another key by case alone"
GIVEN_KEY = "the line has a key `{}`, and so do the names of its folders"
_KINDS = {'"': "string", "t": "boolean", "f": "boolean", "{": "nested", "[": "nested", "n": "null"}  # by their first letter
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_fold = cache(str.casefold)


class _Pairs(list[tuple[str, Any]]):
    """An object as pairs of key and value, in order, with repeated keys."""


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number, parse_constant=_refuse)


def json_rows(records: pa.Array, form: TextForm) -> tuple[pa.Table, Odd]:
    """The values of `form.names` as text, in the order of the lines, and the lines that are not one object."""
    every, sound = not form.names, are_objects(records)
    places = np.flatnonzero(sound)
    members = find_members(records if sound.all() else records.filter(pa.array(sound)))
    others = records.filter(pa.array(~sound)).to_pylist()
    form = form._replace(names=_all_keys(members, others)) if every else form
    rows, refused = _columns(members, len(places), form)
    if len(refused):
        sound[places[refused]] = False
        rows = rows.take(pa.array(np.setdiff1d(np.arange(len(places)), refused)))
        others = records.filter(pa.array(~sound)).to_pylist()
    left = np.flatnonzero(~sound)
    values: list[tuple[str | None, ...]] = []
    odd: Odd = {}
    for i, record in zip(left.tolist(), others, strict=True):
        value = _object(record, form)
        if isinstance(value, str):
            odd[i] = value
        else:
            values.append(value)
    other_rows = text_table([*zip(*values, strict=True)], form.names)
    rows = merge_in_order([rows, other_rows], [np.flatnonzero(sound), np.setdiff1d(left, [*odd])])
    return _with_kinds(rows, members, others) if every else rows, odd


def json_kinds(column: pa.Field) -> set[str]:
    """The kinds of a column's values in the JSON, if all keys were read: string, number, boolean, nested."""
    return {*(column.metadata or {}).get(b"json", b"").decode().split()} - {"null"}


def _with_kinds(rows: pa.Table, members: Members, others: list[bytes]) -> pa.Table:
    pairs = [divmod(pair, 256) for pair in np.unique(members.keys * 256 + members.kinds).tolist()]
    kinds = {(_fold(members.names[key]), _KINDS.get(chr(kind), "number")) for key, kind in pairs}
    kinds |= {(_fold(key), _kind(value)) for record in others for key, value in _pairs(record)}
    kinds_by_key: dict[str, list[str]] = {}
    for key, kind in sorted(kinds):
        kinds_by_key.setdefault(key, []).append(kind)
    fields = [field.with_metadata({"json": " ".join(kinds_by_key[_fold(field.name)])}) for field in rows.schema]
    return pa.Table.from_arrays(rows.columns, schema=pa.schema(fields))


def _kind(value: Any) -> str:
    kinds = {_Number: "number", bool: "boolean", str: "string", type(None): "null"}
    return kinds.get(type(value), "nested")


def distinct_keys(keys: Iterable[str]) -> list[str]:
    """Keys without those that differ from an earlier one by case alone."""
    distinct: dict[str, str] = {}
    for key in keys:
        distinct.setdefault(_fold(key), key)
    return [*distinct.values()]


def _all_keys(members: Members, others: list[bytes]) -> tuple[str, ...]:
    keys = [*members.names, *(key for record in others for key, _ in _pairs(record))]
    return tuple(distinct_keys(keys))


def _columns(members: Members, count: int, form: TextForm) -> tuple[pa.Table, Int64s]:
    """The members named in `form.names` as columns of `count` rows, and the objects with a repeated key or a key that folders give."""
    wanted = {name: i for i, name in enumerate(dict.fromkeys(map(_fold, form.names)))}
    column = np.array([wanted.get(_fold(key), -1) for key in members.names], np.int64)
    # Keys outside `names` are repeated only if they are equal.
    alike = np.where(column < 0, len(wanted) + np.arange(len(column)), column)
    width = len(wanted) + len(column) or 1
    pairs = np.sort(members.records * width + alike[members.keys])
    refused = pairs[1:][np.diff(pairs) == 0] // width
    if form.given:
        given = {*map(_fold, form.given)}
        also = np.array([_fold(key) in given for key in members.names], bool)[members.keys]
        refused = np.concatenate([refused, members.records[also & (members.kinds != ord("n"))]])
    column = np.where(members.kinds == ord("n"), -1, column[members.keys])  # null
    small = column.astype(np.int16) if len(wanted) < 1 << 15 else column  # is sorted by radix
    order = np.argsort(small, kind="stable")
    parts = np.split(order, np.searchsorted(column[order], np.arange(len(wanted) + 1)))[1:-1]
    columns = {}
    for name, part in zip(wanted, parts, strict=True):
        at = np.full(count, -1)
        at[members.records[part]] = part
        columns[name] = members.values.take(pa.array(at, mask=at < 0))
    return pa.table([columns[_fold(name)] for name in form.names], [*form.names]), np.unique(refused)


def _pairs(record: bytes) -> _Pairs:
    """The members of a line; none if it is not an object."""
    try:
        pairs = _DECODER.decode(record.decode().strip(" \t\r\n"))
    except (ValueError, RecursionError):
        return _Pairs()
    return pairs if isinstance(pairs, _Pairs) else _Pairs()


def _object(record: bytes, form: TextForm) -> tuple[str | None, ...] | str:
    """The values of `form.names` as text, or the reason why the line is not one object."""
    text = record.decode().strip(" \t\r\n")
    try:
        pairs = _DECODER.decode(text)
        if not isinstance(pairs, _Pairs):
            return NO_OBJECT
        if "\\u" in text and _HALF.search(text):
            json.dumps(pairs, ensure_ascii=False).encode()  # half a surrogate pair cannot be encoded
    except (ValueError, RecursionError) as error:
        return f"{NO_OBJECT}: {_error_kind(error)}"
    by: dict[str, Any] = {}
    wanted, keys = [*map(_fold, form.names)], set[str]()
    for key, value in pairs:
        folded = _fold(key)
        if key in keys or (folded in by and folded in wanted):
            return REPEATED_KEY.format(key)
        keys.add(key)
        by[folded] = value
    if given := next((name for name in form.given if by.get(_fold(name)) is not None), None):
        return GIVEN_KEY.format(given)
    if any(isinstance(by.get(name), list) for name in wanted):
        by = {_fold(key): value for key, value in _as_written(text, pairs)}
    return tuple(v if v is None or isinstance(v, str) else str(v).lower() for v in map(by.get, wanted))


def _error_kind(error: Exception) -> str:
    """The message of an error without its position, so that equal errors are counted together."""
    if isinstance(error, json.JSONDecodeError):
        return "text follows the object" if error.msg == "Extra data" else error.msg[0].lower() + error.msg[1:]
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return "half of a surrogate pair is not text" if isinstance(error, UnicodeError) else str(error)


def _as_written(text: str, pairs: _Pairs) -> list[tuple[str, Any]]:
    """The pairs of an object, with arrays and objects as they are written in the line."""
    written: list[tuple[str, Any]] = []
    at = text.index("{") + 1
    space = re.compile(r"[ \t\n\r]*")
    for key, value in pairs:
        _, at = json.decoder.scanstring(text, text.index('"', at) + 1)  # type: ignore[attr-defined]
        at = _after(space, text, _after(space, text, at) + 1)
        _, end = _DECODER.raw_decode(text, at)
        written.append((key, text[at:end] if isinstance(value, list) else value))
        at = _after(space, text, end) + 1
    return written


def _after(space: re.Pattern[str], text: str, at: int) -> int:
    blanks = space.match(text, at)
    assert blanks is not None
    return blanks.end()
