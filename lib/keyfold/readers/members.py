"""Finds the members of JSON objects in many lines at once: regular expressions validate the lines, NumPy finds keys and values."""

import json
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools, Int64s

DEPTH = 12  # levels of nesting that are validated; Python's `json` reads deeper lines
_HEX = "[0-9a-fA-F]"
_PAIR = rf"u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}"  # of surrogates
_ESCAPE = rf'\\(?:["\\/bfnrt]|u[0-9abcefABCEF]{_HEX}{{3}}|u[dD][0-7]{_HEX}{{2}}|{_PAIR})'
_STRING = rf'"(?:[^"\\\x00-\x1f]|{_ESCAPE})*"'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"


def _value(string: str) -> str:
    return f"(?:{string}|{_NUMBER}|true|false|null)"


def _members(string: str) -> str:
    member = f"{string} ?: ?{_value(string)} ?"
    return f"(?:{member}(?:, ?{member})*)?"


_END = r" ?\r?\n?\z"
_FLAT = rf"\A ?\{{ ?{_members(_STRING)}\}}{_END}"
_STRINGS = rf'\A ?\{{(?:[^"\\]|{_STRING})*\z'  # an object with sound strings, or broken JSON
_EMPTY = '""'
_INNERMOST = rf"\{{ ?{_members(_EMPTY)}\}}|\[ ?(?:{_value(_EMPTY)} ?(?:, ?{_value(_EMPTY)} ?)*)?\]"


class Members(NamedTuple):
    """The outermost members of objects, in order."""

    records: Int64s  # the number of the record
    keys: Int64s  # the index of the key in `names`
    names: list[str]
    values: pa.Array  # text: strings unescaped, other values as written
    kinds: "np.typing.NDArray[np.uint8]"  # the first byte of the value as written


def are_objects(records: pa.Array) -> Bools:
    """Whether each record is one JSON object and nothing else; False also for objects with unusual blanks or deep nesting."""
    sound = _matches(records, _FLAT)
    if sound.all():
        return sound
    places = np.flatnonzero(~sound)
    rest = records.take(pa.array(places))
    strings = _matches(rest, _STRINGS)
    places, rest = places[strings], _without_strings(rest.filter(pa.array(strings)))
    for _ in range(DEPTH):
        if not len(places):
            break
        rest = pc.replace_substring_regex(rest, _INNERMOST, "null")
        done = _matches(rest, rf"\A ?null{_END}")
        sound[places[done]] = True
        places, rest = places[~done], rest.filter(pa.array(~done))
    return sound


def find_members(objects: pa.Array) -> Members:
    """The members of records that are objects by `are_objects`."""
    data, offsets = _bytes_of(objects)
    opened, closed = _strings(data)
    colons = _after_blank(data, closed + 1)
    keys = np.flatnonzero(data[colons] == ord(":"))
    keys = keys[_depths(data, offsets, opened, closed, opened[keys]) == 1]
    begin, end = _after_blank(data, colons[keys] + 1), np.append(opened[keys[1:]], len(data)) if len(keys) else keys
    first = np.searchsorted(opened[keys], offsets)
    not_empty = np.diff(first) > 0
    end[first[1:][not_empty] - 1] = _line_ends(data, offsets)[not_empty]
    end = _before_blank(data, _before_blank(data, end) - 1)  # before the comma or brace
    kinds = data[begin] if len(begin) else np.zeros(0, np.uint8)
    quoted = kinds == ord('"')
    texts = _pieces(data, opened[keys] + 1, closed[keys], begin + quoted, end - quoted)
    number = np.arange(0, 4 * len(keys), 4)
    places, names = _distinct_keys(texts.take(pa.array(number)))
    values = _unescaped(texts.take(pa.array(number + 2)), quoted)
    return Members(np.repeat(np.arange(len(objects)), np.diff(first)), places, names, values, kinds)


def _matches(records: pa.Array, pattern: str) -> Bools:
    return np.array(pc.match_substring_regex(records, pattern), np.bool_)


def _bytes_of(records: pa.Array) -> tuple["np.typing.NDArray[np.uint8]", Int64s]:
    """The bytes of records, and 0 with the ends of the records."""
    offsets = np.frombuffer(records.buffers()[1], np.int64)[records.offset : records.offset + len(records) + 1]
    data = np.frombuffer(records.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    return data, offsets - offsets[0]


def _strings(data: "np.typing.NDArray[np.uint8]") -> tuple[Int64s, Int64s]:
    """The positions of opening and closing quotes."""
    is_quote = data == ord('"')
    slashes = np.flatnonzero(data == ord("\\"))
    if len(slashes):
        number = np.arange(len(slashes))
        starts = np.append(True, np.diff(slashes) > 1)
        escaping = (number - np.maximum.accumulate(np.where(starts, number, 0))) % 2 == 0
        is_quote[slashes[escaping] + 1] = False
    quotes = np.flatnonzero(is_quote)
    return quotes[::2], quotes[1::2]


def _after_blank(data: "np.typing.NDArray[np.uint8]", at: Int64s) -> Int64s:
    return at + (data[at] == ord(" "))


def _before_blank(data: "np.typing.NDArray[np.uint8]", end: Int64s) -> Int64s:
    return end - (data[end - 1] == ord(" "))


def _line_ends(data: "np.typing.NDArray[np.uint8]", offsets: Int64s) -> Int64s:
    """The ends of records without their line breaks."""
    ends = offsets[1:]
    for end in b"\n\r":
        ends = ends - (data[ends - 1] == end)
    return ends


def _depths(data: "np.typing.NDArray[np.uint8]", offsets: Int64s, opened: Int64s, closed: Int64s, at: Int64s) -> Int64s:
    """The number of open braces and brackets at each of the places `at`."""
    folded = data | 0x20  # [ becomes {, and ] becomes }
    brackets = np.flatnonzero(folded == ord("{"))
    if len(brackets) == len(offsets) - 1:
        return np.ones(len(at), np.int64)
    brackets = np.sort(np.concatenate([brackets, np.flatnonzero(folded == ord("}"))]))
    before = np.searchsorted(opened, brackets)
    outside = (before == 0) | (closed[before - 1] < brackets)
    brackets = brackets[outside]
    depths = np.cumsum(np.where(folded[brackets] == ord("{"), 1, -1))
    return np.asarray(depths[np.searchsorted(brackets, at) - 1], np.int64)


def _pieces(data: "np.typing.NDArray[np.uint8]", *cuts: Int64s) -> pa.Array:
    """The text between each place of a cut and the next one: the places of all cuts, in turn, are in order."""
    ends = np.stack(cuts, axis=1, dtype=np.int32, casting="unsafe").reshape(-1)
    if not len(ends):
        return pa.array([], pa.string())
    return pa.Array.from_buffers(pa.string(), len(ends) - 1, [None, pa.py_buffer(ends), pa.py_buffer(data)])


def _without_strings(records: pa.Array) -> pa.Array:
    """Records whose strings are empty."""
    data, offsets = _bytes_of(records)
    opened, closed = _strings(data)
    drop = np.zeros(len(data) + 1, np.int8)
    drop[opened + 1] = 1
    drop[closed] -= 1
    keep = np.cumsum(drop[:-1], dtype=np.int8) == 0
    dropped = np.append(0, np.cumsum(closed - opened - 1))
    ends = offsets - dropped[np.searchsorted(opened, offsets)]
    return pa.Array.from_buffers(pa.large_binary(), len(records), [None, pa.py_buffer(ends), pa.py_buffer(data[keep])])


def _distinct_keys(keys: pa.Array) -> tuple[Int64s, list[str]]:
    """The distinct keys, and the index of each key among them."""
    encoded = keys.dictionary_encode()
    names: dict[str, int] = {}
    places = [names.setdefault(_unescape(name), len(names)) for name in encoded.dictionary.to_pylist()]
    return np.array(places, np.int64)[encoded.indices.to_numpy()], [*names]


def _unescaped(values: pa.Array, quoted: Bools) -> pa.Array:
    escaped = pc.and_(pc.match_substring(values, "\\"), pa.array(quoted))
    if not pc.any(escaped).as_py():
        return values
    texts = values.filter(escaped).dictionary_encode()
    plain = pa.array(map(_unescape, texts.dictionary.to_pylist()), pa.string())
    return pc.replace_with_mask(values, escaped, plain.take(texts.indices))


def _unescape(text: str) -> str:
    return json.decoder.scanstring(f'{text}"', 0)[0] if "\\" in text else text  # type: ignore[attr-defined,no-any-return]
