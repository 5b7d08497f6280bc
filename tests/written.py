"""Files of text that are written from known rows with known faults: what is right of each line is known."""

import bz2
import gzip
import json
import lzma
import random
from typing import NamedTuple

from keyfold.readers.csv_options import CsvOptions
from keyfold.readers.text_form import TextForm

WORDS = [
    "x", "007", "1e3", "NULL", "NA", "#hash", "a b", "trail ", "C:\\dir", "Köln", "北京", "😀", "1,5", "semi;colon", "a|b", "tab\there",
    "::", '"', 'say "hi"', "it's", "=1+1", "y" * 300, "\u2028", "\u00a0", "\x7f", "--", "'", "\\N", '5" disk', "\ufeff",
]  # fmt: skip
BREAKS = ["two\nlines", "a,b\n1,2,3\nq", "\n", "x\r\ny", 'has "q"\nand,more', 'x\n"y"\nz']
FAULTS = ["unclosed", "after", "before", "few", "many", "trailing", "utf8", "breaks", "header", "blank", "spaces", "nul", "inner"]
NUMBERS = ["0", "-0", "7", "1e3", "1E+5", "1.50", "0.1234567890123456789", "123456789012345678901234567890", "1e400", "-0.0"]
TEXTS = [*WORDS, 'quote " in', "back\\slash", "new\nline", "ctrl\x01", '":', 'a":1,"b', '","id":5', '{"x":1}', "{", "}", ": 5"]
OBJECTS = {
    "two": "{0}{0}", "two_blank": "{0} {0}", "two_comma": "{0}, {0}", "rubbish": "{0} words", "number": "{0}1", "bracket": "{0}]",
    "brace": "{0}}}", "array": "[{0}]", "scalar": "5", "null": "null", "single": "{{'id':1}}", "zero": '{{"id":01}}', "nan": '{{"id":NaN}}',
    "plus": '{{"id":+1}}', "half": '{{"id":"a\\ud800b"}}', "comma": '{{"id":1,}}', "comment": "// {0}", "control": '{{"id":"\x01"}}',
    "twice": '{{"id":1,"id":1}}', "case": '{{"id":1,"ID":2}}', "cut": '{{"id":', "deep": "[" * 100_000,
}  # fmt: skip

Values = tuple[str | None, ...]


class Line(NamedTuple):
    """What is right of a line: the values of a row, or the faults, one of which is its reason."""

    line: int
    raw: str
    values: Values | None = None
    reasons: tuple[str, ...] = ()


class Written(NamedTuple):
    """A file, its form, its lines that are not blank; `spread`: whether a fault may take sound rows with it."""

    name: str
    data: bytes
    form: TextForm
    names: tuple[str, ...]
    lines: list[Line]
    blank: int
    spread: bool


REASONS = {
    "unclosed": ("a quote is not closed",), "after": ("text after a closing quote",), "before": ("blanks before an opening quote",),
    "few": (" in place of ",), "many": (" in place of ",), "trailing": (" in place of ",), "utf8": ("the line is not ",),
    "nul": ("a NUL byte",), "inner": ("a quote within unquoted text",), "breaks": ("quoted text has line breaks",),
}  # fmt: skip


def csv(draw: random.Random, *, multi: bool) -> Written:
    """A CSV file of some form, with some faults."""
    form = _form(draw, multi=multi)
    names: tuple[str, ...] = tuple(f"c{i}" for i in range(draw.choice([1, 2, 2, 3, 4, 6])))
    ends = draw.choice([["\n"], ["\n"], ["\r\n"], ["\n", "\r\n", "\r"], ["\r"]])
    kinds = draw.sample(FAULTS, draw.choice([0, 1, 1, 2, 3, 5]))
    if not form.csv.quote or form.encoding.startswith("utf-16"):
        kinds = [k for k in kinds if k in ("few", "many", "trailing", "header", "blank", "spaces", "nul")]
    words = [w for w in WORDS if _encodable(w, form.encoding) and not (form.csv.escape and w.endswith("\\"))]
    out: list[bytes] = []
    lines: list[Line] = []
    at, blank, last = 1, 0, ""

    def put(raw: str | bytes, values: Values | None = None, fault: str = "", breaks: int = 0) -> None:
        nonlocal at, blank, last
        end = draw.choice(ends)
        text = raw if isinstance(raw, bytes) else raw.encode(form.encoding.replace("utf-16", "utf-16-le"))
        if not text and last == "\r" and end[0] == "\n":
            end = "\r"
        last = end
        out.append(text + end.encode(form.encoding.replace("utf-16", "utf-16-le")))
        said = raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")
        if values is not None or fault:
            lines.append(Line(at, said, values, REASONS.get(fault, ())))
        else:
            blank += at > 1
        at += 1 + breaks

    put(form.delimiter.join(names))
    for tag in range(draw.choice([1, 3, 8, 25])):
        fault = draw.choice(kinds) if kinds and draw.random() < 0.35 else ""
        clean = [f"r{tag}x{i}" for i in range(len(names))]
        place = draw.randrange(len(names))
        q, d = form.csv.quote, form.delimiter
        if fault in ("blank", "spaces"):
            put("" if fault == "blank" else "  ")
        elif fault == "header":
            put(d.join(names), names)
        elif fault == "few" and len(names) > 1:
            put(d.join(clean[:-1]), fault=fault)
        elif fault in ("many", "trailing"):
            put(d.join([*clean, "more" if fault == "many" else ""]), fault=fault)
        elif fault == "nul":
            clean[place] += "\0nul"
            put(d.join(clean), fault=fault)
        elif fault == "utf8":
            odd = {"utf-8": [b"\xff", b"\xe4", b"\xed\xa0\x80"], "cp1252": [b"\x81", b"\x9d"]}.get(form.encoding)
            if odd:
                put(clean[0].encode() + draw.choice(odd) + d.join(["", *clean[1:]]).encode(), fault=fault)
        elif fault == "inner":
            clean[place] += draw.choice([f"{q} x", f"{q}in{q}y"])
            put(d.join(clean), *((None, fault) if multi else (tuple(clean),)))
        elif fault in ("unclosed", "after", "before"):
            text = clean[place]
            broken = {
                "unclosed": f"{q}open {text}",
                "after": f"{q}{text}{q}{draw.choice(['y', ' ', f'y{q}z{q}'])}",
                "before": f" {q}{text}{q}",
            }
            clean[place] = broken[fault]
            put(d.join(clean), fault="inner" if fault == "before" and multi else fault)
        elif fault == "breaks":
            clean[place] += "\nzwei"
            text = d.join(_field(draw, v, form, always=v == clean[place]) for v in clean)
            if multi:
                put(text, tuple(clean), breaks=1)
            else:
                ends, former = ["\n"], ends
                put(text.split("\n")[0], fault=fault)
                ends = former
                put(text.split("\n")[1], fault=fault)
        elif not fault:
            values = [_value(draw, form, words) for _ in names]
            values[place] = f"r{tag}" if len(names) > 1 else values[place] or "z"
            text = d.join(_field(draw, v, form) for v in values)
            breaks = sum((v or "").replace("\r\n", "\n").count("\n") for v in values)
            if text.strip():
                put(text, tuple(None if v in form.csv.null_values and _bare(text, v, form) else v for v in values), breaks=breaks)
    data = b"".join(out)
    last_end = ends[0].encode(form.encoding.replace("utf-16", "utf-16-le"))
    if len(ends) == 1 and lines and not blank and draw.random() < 0.3:
        data = data.removesuffix(last_end)
    mark = {"utf-8": b"\xef\xbb\xbf", "utf-16": b"\xff\xfe"}.get(form.encoding, b"")
    data = mark + data if form.encoding == "utf-16" or draw.random() < 0.15 else data
    return _packed(
        draw, "csv", data, form, names, lines, blank, spread=multi and bool({"unclosed", "after", "inner", "before"} & {*kinds})
    )


def _form(draw: random.Random, *, multi: bool) -> TextForm:
    delimiter = draw.choice([",", ",", ",", ",", ";", "\t", "|", "||", "::"])
    quote = "" if not multi and draw.random() < 0.05 else draw.choice(['"'] * 9 + ["'"])
    escape = "\\" if quote and draw.random() < 0.15 else ""
    encoding = draw.choice(["utf-8"] * 8 + ["utf-16", "cp1252", "iso8859-1"])
    nulls = ["NA", "\\N"] if draw.random() < 0.2 else []
    options = CsvOptions(delimiter=delimiter, quote=quote, escape=escape, multi_line=multi, encoding=encoding, null_values=nulls)
    return TextForm(csv=options)


def _encodable(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return encoding != "iso8859-1" or "\x85" not in text


def _value(draw: random.Random, form: TextForm, words: list[str]) -> str | None:
    at = draw.random()
    if at < 0.16:
        return None if at < 0.12 or not form.csv.quote else ""
    if form.csv.multi_line and at < 0.4:
        return draw.choice(BREAKS)
    word = draw.choice(words)
    return word if form.csv.quote or form.delimiter not in word else "w"


def _field(draw: random.Random, value: str | None, form: TextForm, *, always: bool = False) -> str:
    q = form.csv.quote
    if value is None or not q:
        return value or ""
    must = (
        value in ("", *form.csv.null_values)
        or any(c in value for c in (q, form.delimiter[0], "\n", "\r", "\\"))
        or value[0] == " "
    )
    if not (must or always or draw.random() < 0.25):
        return value
    pair = draw.choice([f"\\{q}", q + q]) if form.csv.escape else q + q
    escaped = value.replace("\\", "\\\\") if form.csv.escape else value
    return q + escaped.replace(q, pair) + q


def _bare(text: str, value: str | None, form: TextForm) -> bool:
    return not form.csv.quote and value is not None and value in text


def objects(draw: random.Random) -> Written:
    """JSON lines, with some faults."""
    names = ("id", *(f"k{i}" for i in range(1, draw.choice([1, 2, 3, 4, 6]))), *(["größe"] if draw.random() < 0.2 else []))
    ends = draw.choice([["\n"], ["\n"], ["\r\n"], ["\n", "\r\n"]])
    blank_after, ascii_ = draw.random() < 0.5, draw.random() < 0.3
    shuffle, missing, extra = draw.random() < 0.2, draw.random() < 0.3, draw.random() < 0.2
    kinds = draw.sample([*OBJECTS, "utf8", "nested", "other_case", "blank", "wide"], draw.choice([0, 1, 2, 3, 5]))
    out: list[bytes] = []
    lines: list[Line] = []
    blank = 0
    for tag in range(draw.choice([1, 3, 10, 40])):
        pairs = {"id": str(tag)} | {name: _json_value(draw, ascii_) for name in names[1:] if not missing or draw.random() < 0.7}
        pairs |= {"zz": _json_value(draw, ascii_)} if extra else {}
        fault = draw.choice(kinds) if kinds and draw.random() < 0.35 else ""
        if fault == "nested":
            pairs["id"] = draw.choice(["[1,2]", '{"a":1.50,"b":[true,null]}', "[]", '[{"id":7}]'])
        order = draw.sample([*pairs], len(pairs)) if shuffle else [*pairs]
        if fault == "wide":
            pairs |= {f"u{i}": "1.50" for i in range(300)}
            order = [*pairs]
        spelled = {"id": "Id"} if fault == "other_case" else {}
        comma, colon = (", ", ": ") if blank_after else (",", ":")
        text = "{" + comma.join(f"{json.dumps(spelled.get(k, k), ensure_ascii=False)}{colon}{pairs[k]}" for k in order) + "}"
        if fault == "blank":
            raw, blank = draw.choice([b"", b"  ", b"\t"]), blank + 1
        elif fault == "utf8":
            raw = b'{"id":"a' + draw.choice([b"\xff", b"\xe4", b"\xed\xa0\x80"]) + b'"}'
            lines.append(Line(len(out) + 1, raw.decode("utf-8", "backslashreplace"), None, ("the line is not UTF-8",)))
        elif fault in OBJECTS:
            said = OBJECTS[fault].format(text) if fault != "deep" else OBJECTS[fault]
            raw = said.encode()
            twice = ("is repeated",) if fault in ("twice", "case") else ("the line is not a JSON object",)
            lines.append(Line(len(out) + 1, said, None, twice))
        else:
            raw = text.encode()
            lines.append(Line(len(out) + 1, text, tuple(_as_text(pairs.get(name)) for name in names)))
        out.append(raw + draw.choice(ends).encode())
    data = b"".join(out)
    if lines and len(out) == lines[-1].line and draw.random() < 0.3:
        data = data.rstrip(b"\r\n")
    data = b"\xef\xbb\xbf" + data if draw.random() < 0.15 else data
    return _packed(draw, "jsonl", data, TextForm("json", names), names, lines, blank, spread=False)


def _json_value(draw: random.Random, ascii_: bool) -> str:
    at = draw.random()
    if at < 0.1:
        return "null"
    if at < 0.5:
        return draw.choice([*NUMBERS, "true", "false"])
    return json.dumps(draw.choice(TEXTS), ensure_ascii=ascii_)


def _as_text(value: str | None) -> str | None:
    if value is None or value == "null":
        return None
    return str(json.loads(value)) if value.startswith('"') else value


def _packed(
    draw: random.Random, kind: str, data: bytes, form: TextForm, names: Values, lines: list[Line], blank: int, *, spread: bool
) -> Written:
    ways = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    end = draw.choice([""] * 12 + [*ways])
    packed = ways[end](data) if end else data
    return Written(f"rows.{kind}{end}", packed, form, tuple(map(str, names)), lines, blank, spread)


def drawn_file(kind, seed):
    """A file of the kind `csv`, `multi` (CSV with line breaks in quotes) or `json`, drawn with a seed."""
    draw = random.Random(f"{kind} {seed}")
    return objects(draw) if kind == "json" else csv(draw, multi=kind == "multi")
