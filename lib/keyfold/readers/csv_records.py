"""Cuts bytes into records; finds those without a row, and broken quoting, by regular expressions."""

import re
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Bools, Int64s
from keyfold.readers.text_form import LOOK, TextForm

BLANK = b" \t\r\n\x0b\x0c"
OPEN = "a quote is not closed"
AFTER = "text after a closing quote"
INSIDE = "a quote within unquoted text"
BEFORE = "blanks before an opening quote"
BREAKS = "quoted text has line breaks; set data.csv.multi_line to read them"
IN_OPEN_QUOTE = "the line is in quotes that open in line {} and are not closed"
FOLLOWS = "the line follows a bad line and may be part of its quoted text"


class RecordCut(NamedTuple):
    """The ends of records and lines, and the reasons why records are bad; `joined` records belong to the one before them."""

    ends: Int64s
    breaks: Int64s
    why: dict[int, str]
    joined: frozenset[int] = frozenset()


class Grammar(NamedTuple):
    """The quoting rules of a form."""

    sound: str  # RE2: a record with sound quoting
    whole: re.Pattern[bytes]  # the same for Python
    exact: re.Pattern[bytes]  # a record with as many fields as names; quoted text may have line breaks
    prefix: re.Pattern[bytes]  # the longest prefix with sound quoting
    field: re.Pattern[bytes]  # the next field of a sound record: quoted text, or plain text, and the end of the last field


def cut_records(data: bytes, eof: bool, form: TextForm, line: int = 1) -> RecordCut:
    """Cuts bytes into complete records. The bytes begin with a record, which is in line `line` of the file; `eof`: they end the file."""
    ends = _line_ends(data, eof=eof)
    if form.kind == "json" or not form.csv.quote or form.csv.quote.encode() not in data or not len(ends):
        return RecordCut(ends, ends, {})
    if not form.csv.multi_line:
        return _by_line(data, eof, ends, form)
    quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == ord(form.csv.quote))
    records = ends[np.searchsorted(quotes, ends) % 2 == 0]
    if len(records) and (not eof or records[-1] == len(data)) and _sound(data, records, form).all():
        return RecordCut(records, ends, {})
    return _one_by_one(data, eof, ends, form, line)


def open_quote_line(reason: str) -> int | None:
    """The line in which a quote opens that is not closed, if that is the reason why a later line is bad."""
    match = re.fullmatch(IN_OPEN_QUOTE.format(r"(\d+)"), reason)
    return int(match[1]) if match else None


def has_sound_quoting(data: bytes, form: TextForm) -> bool:
    """Whether all of these complete lines have sound quoting."""
    ends = _line_ends(data, eof=True)
    quote = form.csv.quote.encode()
    return not quote or quote not in data or bool(_sound(data, ends, form).all())


def skipped_records(data: bytes, ends: Int64s, form: TextForm) -> list[int]:
    """The records that hold no row: those of blanks alone."""
    blanks = BLANK.translate(None, form.delimiter.encode() if form.kind == "csv" else b"")
    first = record_starts(ends)
    maybe = np.flatnonzero(np.frombuffer(data, np.uint8)[first] <= ord(" "))
    return [i for i in maybe.tolist() if not data[first[i] : ends[i]].strip(blanks)]


def record_starts(ends: Int64s) -> Int64s:
    """The first byte of each record."""
    return np.concatenate([np.zeros(1, np.int64), ends[:-1]])


def record_array(data: Any, ends: Int64s) -> pa.Array:
    """Records as an Arrow array that shares their bytes."""
    offsets = pa.py_buffer(np.concatenate([np.zeros(1, np.int64), ends]).astype(np.int64))
    return pa.Array.from_buffers(pa.large_binary(), len(ends), [None, offsets, pa.py_buffer(data)])


def grammar(form: TextForm) -> Grammar:
    """The quoting rules of a form as regular expressions."""
    return _grammar(form.csv.quote, form.delimiter, form.csv.escape, form.csv.multi_line, len(form.names))


@cache
def _grammar(quote: str, delimiter: str, escape: str, multi_line: bool, fields: int) -> Grammar:
    q, d, e = (_escaped(text) for text in (quote or "\0", delimiter, escape))  # "\0": rows have no NUL bytes
    blank = "".join(_escaped(b) for b in " \t" if b != delimiter)
    bytewise = len(d) == len(r"\x00")
    # For Python: delimiters of several bytes, possessive repetition.
    plain, other = (rf"[^{q}{d}\r\n]", rf"[^{d}\r\n]") if bytewise else (rf"(?:(?!{d})[^{q}\r\n])", rf"(?:(?!{d})[^\r\n])")
    inside, within = _inside(q, e, ""), _inside(q, e, r"\r\n")
    strict = f"(?:{q}{inside}{q}|{plain}*+)"
    bare = f"{plain}*+" if multi_line else rf"(?![{blank}]*{q}){other}*+"
    lax = f"(?:{q}{inside if multi_line else within}{q}|{bare}|)"
    end = r"(?:\r\n?|\n|\Z)"
    # For RE2, which supports neither.
    re2 = rf"[^{q}{d}\r\n]*" if multi_line else rf"[{blank}]*(?:[^{q}{d}{blank}\r\n][^{d}\r\n]*)?"
    text = rf"(?:[^{q}{e}]|{q}{q}" + (rf"|{e}(?s:.)" if e else "") + ")*"
    field = f"(?:{q}{text}{q}|{re2})"
    count = max(fields - 1, 0)
    return Grammar(
        rf"\A{field}(?:{d}{field})*(?:\r\n?|\n)?\z" if bytewise else "",
        _compiled(f"(?:(?:{q}{inside}{q}|{bare}){d})*+(?:{q}{inside}{q}|{bare}){end}"),
        _compiled(f"{strict}(?:{d}{strict}){{{count}}}{end}"),
        _compiled(f"(?:{lax}{d})*+{lax}"),
        _compiled(f"(?:{q}({inside}){q}|({bare}))(?:{d}|({end}))"),
    )


def _escaped(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def _inside(q: str, e: str, breaks: str) -> str:
    """A pattern for the text inside quotes."""
    pair = f"(?:{q}{q}|{e}[^{breaks}])" if e and breaks else f"(?:{q}{q}|{e}.)" if e else f"{q}{q}"
    return f"[^{q}{e}{breaks}]*+(?:{pair}[^{q}{e}{breaks}]*+)*+"


def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode(), re.DOTALL)


def _line_ends(data: bytes, *, eof: bool) -> Int64s:
    at = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(at == 10) + 1
    if b"\r" in data:  # also ends a line, unless \n follows
        returns = np.flatnonzero(at[:-1] == 13)
        ends = np.sort(np.concatenate([ends, returns[at[returns + 1] != 10] + 1]))
    if eof and data and (not len(ends) or ends[-1] < len(data)):
        ends = np.append(ends, len(data))
    return ends.astype(np.int64)


def _sound(data: bytes, ends: Int64s, form: TextForm) -> Bools:
    rules = grammar(form)
    if rules.sound:
        matches = pc.match_substring_regex(record_array(data, ends), rules.sound).to_numpy(zero_copy_only=False)
        return np.asarray(matches, np.bool_)
    pairs = zip(record_starts(ends).tolist(), ends.tolist(), strict=True)
    return np.fromiter((rules.whole.fullmatch(data, a, b) is not None for a, b in pairs), np.bool_, len(ends))


def _by_line(data: bytes, eof: bool, ends: Int64s, form: TextForm) -> RecordCut:
    """Cuts bytes with one row per line. Lines that together form a row with line breaks are all bad."""
    why: dict[int, str] = {}
    joined: set[int] = set()
    rules = grammar(form)
    for i in np.flatnonzero(~_sound(data, ends, form)).tolist():
        if i in why:
            continue
        first, last = int(ends[i - 1]) if i else 0, int(ends[i])
        why[i] = _fault(data, first, _end_of(rules.prefix, data, first, last), form)
        if why[i] == OPEN:
            if not eof and len(data) - first < LOOK:
                return RecordCut(ends[:i], ends, {k: v for k, v in why.items() if k < i}, frozenset(joined))
            whole = rules.exact.match(data, first, min(first + LOOK, len(data)))
            if whole and whole.end() > last:
                more = range(i + 1, int(np.searchsorted(ends, whole.end())) + 1)
                why |= dict.fromkeys([i, *more], BREAKS)
                joined |= {*more}
    return RecordCut(ends, ends, why, frozenset(joined))


def _one_by_one(data: bytes, eof: bool, breaks: Int64s, form: TextForm, line: int) -> RecordCut:
    """Cuts bytes whose quoted text may have line breaks. Lines after broken quoting are bad until a quote certainly opens."""
    ends: list[int] = []
    why: dict[int, str] = {}
    joined: set[int] = set()
    at, rules, limits = 0, grammar(form), breaks.tolist()
    number = 0  # of the line that ends after `at`
    while at < len(data):
        while limits and number < len(limits) and limits[number] <= at:
            number += 1
        sound = _end_of(rules.prefix, data, at, len(data))
        if not eof and len(data) - sound < len(form.delimiter.encode()):
            break  # more data decides
        if sound == len(data) or data[sound] in b"\r\n":
            k = int(np.searchsorted(breaks, sound, side="right"))
            stop = limits[k] if k < len(limits) else len(data) if eof else 0
            if not stop:
                break
            ends.append(stop)
        else:
            reason = _fault(data, at, sound, form)
            stop = (len(data) if eof else 0) if reason == OPEN else _next_sound(data, eof, sound, breaks, form)
            if not stop:
                break
            inside = IN_OPEN_QUOTE.format(line + number)
            more = [end for end in limits[number:] if end <= stop]
            why[len(ends)] = reason
            for i in range(len(ends) + 1, len(ends) + len(more)):
                why[i] = inside if reason == OPEN else FOLLOWS
                joined.add(i)
            ends += more
        at = ends[-1]
    return RecordCut(np.array(ends, np.int64), breaks, why, frozenset(joined))


def _next_sound(data: bytes, eof: bool, fault: int, breaks: Int64s, form: TextForm) -> int:
    """The end of the line after which records begin again: a quote certainly opens there, or none is near; 0 if more data decides."""
    quote, outer = form.csv.quote.encode(), (form.delimiter + "\r\n").encode()

    def line_end(at: int) -> int:
        k = int(np.searchsorted(breaks, at, side="right"))
        return int(breaks[k]) if k < len(breaks) else len(data) if eof else 0

    stop = line_end(fault)
    while stop and (stop < len(data) or not eof):
        at = data.find(quote, stop, stop + LOOK)
        if at < 0:
            return 0 if not eof and len(data) - stop < LOOK else stop
        if at + 1 == len(data) and not eof:
            return 0
        if data[at - 1] in outer and at + 1 < len(data) and data[at + 1] not in outer + quote:
            return stop
        stop = line_end(at)
    return stop


def _end_of(prefix: re.Pattern[bytes], data: bytes, first: int, last: int) -> int:
    match = prefix.match(data, first, last)
    assert match is not None  # it also matches nothing
    return match.end()


def _fault(data: bytes, first: int, at: int, form: TextForm) -> str:
    """The reason why the quoting of a record that begins at `first` is broken at `at`."""
    quote, delimiter = form.csv.quote.encode(), form.delimiter.encode()
    opens = at == first or data.endswith(delimiter, first, at)
    if data[at : at + 1] == quote:
        return OPEN if opens else INSIDE
    return BEFORE if opens else AFTER
