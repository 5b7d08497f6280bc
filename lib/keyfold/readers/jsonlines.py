"""Parses JSON lines into rows of text: proven objects all at once, any other line with Python's `json`."""

import json
import re
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from keyfold.core.arrays import Int64s
from keyfold.readers.delimited import Odd, merge_in_order, text_table
from keyfold.readers.form import TextForm
from keyfold.readers.members import Members, are_objects, find_members

NO_OBJECT = "the line is not a JSON object"
REPEATED_KEY = "the key `{}` is repeated, or differs from another key by case alone"
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_fold = cache(str.casefold)


class _Pairs(list[tuple[str, Any]]):
    """An object as pairs of key and value, in order, with repeated keys."""


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=_refuse)


def json_rows(records: pa.Array, form: TextForm) -> tuple[pa.Table, Odd]:
    """The values of `form.names` as text, in the order of the lines, and the lines that are not one object."""
    sound = are_objects(records)
    places = np.flatnonzero(sound)
    members = find_members(records if sound.all() else records.filter(pa.array(sound)))
    rows, repeats = _columns(members, len(places), form.names)
    if len(repeats):
        sound[places[repeats]] = False
        rows = rows.take(pa.array(np.setdiff1d(np.arange(len(places)), repeats)))
    left = np.flatnonzero(~sound)
    values: list[tuple[str | None, ...]] = []
    odd: Odd = {}
    for i, record in zip(left.tolist(), records.take(pa.array(left)).to_pylist(), strict=True):
        value = _object(record, form.names)
        if isinstance(value, str):
            odd[i] = value
        else:
            values.append(value)
    few = text_table([*zip(*values, strict=True)], form.names)
    return merge_in_order([rows, few], [np.flatnonzero(sound), np.setdiff1d(left, [*odd])]), odd


def _columns(members: Members, count: int, names: tuple[str, ...]) -> tuple[pa.Table, Int64s]:
    """The members named in `names` as columns of `count` rows, and the objects with a repeated key."""
    wanted = {name: i for i, name in enumerate(dict.fromkeys(map(_fold, names)))}
    column = np.array([wanted.get(_fold(key), -1) for key in members.names], np.int64)
    # Keys outside `names` are repeated only if they are equal.
    alike = np.where(column < 0, len(wanted) + np.arange(len(column)), column)
    width = len(wanted) + len(column) or 1
    pairs = np.sort(members.records * width + alike[members.keys])
    repeats = np.unique(pairs[1:][np.diff(pairs) == 0] // width)
    column = np.where(members.kinds == ord("n"), -1, column[members.keys])  # null
    order = np.argsort(column, kind="stable")
    parts = np.split(order, np.searchsorted(column[order], np.arange(len(wanted) + 1)))[1:-1]
    columns = {}
    for name, part in zip(wanted, parts, strict=True):
        at = np.full(count, -1)
        at[members.records[part]] = part
        columns[name] = members.values.take(pa.array(at, mask=at < 0))
    return pa.table([columns[_fold(name)] for name in names], [*names]), repeats


def _object(record: bytes, names: tuple[str, ...]) -> tuple[str | None, ...] | str:
    """The values of `names` as text, or the reason why the line is not one object."""
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
    wanted, keys = [*map(_fold, names)], set[str]()
    for key, value in pairs:
        folded = _fold(key)
        if key in keys or (folded in by and folded in wanted):
            return REPEATED_KEY.format(key)
        keys.add(key)
        by[folded] = value
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
