"""JSON lines as rows of text: lines with a fixed list of keys by Arrow's CSV parser once that is proven, all others by `json`."""

import json
import re
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools
from keyfold.readers.delimited import Odd, merge_in_order, parse_csv, text_table
from keyfold.readers.form import TextForm

NO_OBJECT = "the line is not a JSON object"
REPEATED_KEY = "the key `{}` stands twice, or differs from another by case alone"
_STRING = r'"(?:[^"\\\x00-\x1f]|\\["\\/])*"'  # what Arrow's CSV parser unescapes as JSON does
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_fold = cache(str.casefold)


class _Pairs(list[tuple[str, Any]]):
    """An object as the decoder gives it: all its keys, in order."""


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=_refuse)


def json_rows(records: pa.Array, form: TextForm) -> tuple[pa.Table, Odd]:
    """The wanted keys of lines, in order, as text; and the lines that are not one object."""
    left = np.arange(len(records))
    tables: list[pa.Table] = []
    places: list[Any] = []
    for keys, space in _shapes(records):
        if not len(left):
            break
        some = records if len(left) == len(records) else records.take(pa.array(left))
        rows, fit = _alike(some, keys, space, form.names)
        tables, places, left = [*tables, rows], [*places, left[fit]], left[~fit]
    values: list[tuple[str | None, ...]] = []
    odd: Odd = {}
    for i, record in zip(left.tolist(), records.take(pa.array(left)).to_pylist(), strict=True):
        value = _object(record, form.names)
        if isinstance(value, str):
            odd[i] = value
        else:
            values.append(value)
    tables.append(text_table([*zip(*values, strict=True)], form.names))
    return merge_in_order(tables, [*places, np.setdiff1d(left, [*odd])]), odd


def json_keys(records: list[bytes]) -> list[str]:
    """The keys of lines that are objects, in the order in which they come."""
    found: dict[str, None] = {}
    for record in records:
        pairs = _decoded(record)
        if isinstance(pairs, _Pairs):
            found |= dict.fromkeys(key for key, _ in pairs)
    return [*found]


def _decoded(record: bytes) -> Any:
    try:
        return _DECODER.decode(record.decode().strip(" \t\r\n"))
    except (ValueError, RecursionError):
        return None


def _shapes(records: pa.Array) -> list[tuple[tuple[str, ...], int]]:
    """The lists of keys of some of the lines, frequent ones first, and whether blanks follow commas and colons."""
    some = [records[int(i)].as_py() for i in np.linspace(0, len(records) - 1, min(64, len(records)))]
    counted = Counter(shape for record in some if (shape := _shape(record)))
    return [shape for shape, _ in counted.most_common(8)]


def _shape(record: bytes) -> tuple[tuple[str, ...], int] | None:
    pairs = _decoded(record)
    keys = [key for key, _ in pairs] if isinstance(pairs, _Pairs) else []
    plain = len({key.casefold() for key in keys}) == len(keys) and all(re.fullmatch(r'[^"\\\x00-\x1f:{},]*', k) for k in keys)
    return (tuple(keys), int(b'": ' in record)) if keys and plain else None


def _alike(records: pa.Array, keys: tuple[str, ...], space: int, names: tuple[str, ...]) -> tuple[pa.Table, Bools]:
    """The rows of lines with just these keys and plain values, and which those are."""
    blank = " " * space
    members = f",{blank}".join(f'"{re.escape(k)}":{blank}(?:{_STRING}|{_NUMBER}|true|false|null)' for k in keys)
    fit = pc.match_substring_regex(records, rf"\A\{{{members}\}}\r?\n?\z")
    fit = pc.and_(fit, pc.equal(pc.count_substring(records, '":'), len(keys)))  # or a text has one, too
    sound = records if pc.all(fit).as_py() else records.filter(fit)
    fields = TextForm(names=("{", *keys, "}"), quote='"')
    rows, odd = parse_csv(_without_keys(sound, keys, space), fields, json=True)
    if odd or rows.num_rows != len(sound):
        raise RuntimeError(f"{rows.num_rows} rows of {len(sound)} objects; please report this")
    by, nothing = {key.casefold(): i for i, key in enumerate(keys, 1)}, pa.nulls(rows.num_rows, pa.string())
    # Keys are alike but for their case, so none is exact beside one that is not.
    found = [by.get(name.casefold()) for name in names]
    wanted = [nothing if i is None else rows.column(i) for i in found]
    return pa.table(wanted, [*names]), np.asarray(fit.to_numpy(zero_copy_only=False), np.bool_)


def _without_keys(records: pa.Array, keys: tuple[str, ...], space: int) -> pa.Array:
    """Lines that are proven to have these keys as one record array of CSV: braces become commas, keys and colons go."""
    if not len(records):
        return records
    offsets = np.frombuffer(records.buffers()[1], np.int64)[records.offset : records.offset + len(records) + 1]
    data = np.frombuffer(records.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].copy()
    offsets = offsets - offsets[0]
    quote, colon, comma = b'":,'
    colons = np.flatnonzero((data[:-1] == quote) & (data[1:] == colon)).reshape(-1, len(keys))
    drop = np.zeros(len(data) + 1, np.int8)
    drop[colons - [len(key.encode()) + 1 + space * (i > 0) for i, key in enumerate(keys)]] = 1
    drop[colons + 2 + space] = -1
    last = offsets[1:] - 1
    for end in b"\n\r":
        last = last - (data[last] == end)
    data[offsets[:-1]] = data[last] = comma
    data = data[np.cumsum(drop[:-1], dtype=np.int8) == 0]
    whole = pa.py_buffer(np.array([0, len(data)], np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, whole, pa.py_buffer(data)])


def _object(record: bytes, names: tuple[str, ...]) -> tuple[str | None, ...] | str:
    """The wanted values as text, or why the line is not one object."""
    text = record.decode().strip(" \t\r\n")
    try:
        pairs = _DECODER.decode(text)
        if not isinstance(pairs, _Pairs):
            return NO_OBJECT
        if "\\u" in text and _HALF.search(text):
            json.dumps(pairs, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        return f"{NO_OBJECT}: {_said(error)}"
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


def _said(error: Exception) -> str:
    """What is wrong, without what differs from line to line."""
    if isinstance(error, json.JSONDecodeError):
        return "there is more behind it" if error.msg == "Extra data" else error.msg[0].lower() + error.msg[1:]
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return "half a surrogate pair is no text" if isinstance(error, UnicodeError) else str(error)


def _as_written(text: str, pairs: _Pairs) -> list[tuple[str, Any]]:
    """Arrays and objects as the text that they are in the line."""
    found: list[tuple[str, Any]] = []
    at = text.index("{") + 1
    space = re.compile(r"[ \t\n\r]*")
    for key, value in pairs:
        _, at = json.decoder.scanstring(text, text.index('"', at) + 1)  # type: ignore[attr-defined]
        at = _after(space, text, _after(space, text, at) + 1)
        _, end = _DECODER.raw_decode(text, at)
        found.append((key, text[at:end] if isinstance(value, list) else value))
        at = _after(space, text, end) + 1
    return found


def _after(space: re.Pattern[str], text: str, at: int) -> int:
    found = space.match(text, at)
    assert found is not None
    return found.end()
