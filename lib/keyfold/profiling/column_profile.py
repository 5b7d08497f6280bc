"""Profile of a column, built block by block, without Spark and in bounded memory."""

import re
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.arrays import Doubles
from keyfold.profiling import value_formats
from keyfold.profiling.value_formats import DATES, NUMBER_FORMATS, PLAIN, NumberFormat

ENOUGH_VALUES = 1 << 16  # distinct values that are kept of a column
CLASSES = 1_000  # distinct values that are counted of a column
OTHER = "nested or binary"

Block = dict[str, pa.Array]

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_OFFSET = "Z|[-+][0-9]{2}:?[0-9]{2}"
# Spark reads a zone only after seconds.
_CLOCK = rf"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{{1,6}})?({_OFFSET})?)?"
# From the narrowest type to the widest.
TYPE_PATTERNS = {
    "boolean": "(?i)true|false",
    "bigint": PLAIN.pattern("bigint"),
    "double": PLAIN.pattern("double"),
    "date": _DAY,
    "timestamp": f"{_DAY}[ T]{_CLOCK}",
}
_HEAD = 50  # values that rule out most forms before all are checked


@dataclass
class ColumnProfile:
    """Profile of a column over the blocks read so far."""

    name: str
    present: int = 0  # values that are not missing
    words: int = 0
    can: set[str] = field(default_factory=lambda: {*TYPE_PATTERNS, "string", OTHER})
    # Of text: types of numbers by their format, and formats of dates.
    forms: dict[NumberFormat, str] = field(default_factory=lambda: dict.fromkeys(NUMBER_FORMATS, "bigint"))
    dates: set[str] = field(default_factory=lambda: {*DATES})
    sign: str | None = ""  # the sign of all numbers, such as $ or %; None if they have none in common
    numbers: NumberFormat = PLAIN  # format of the numbers of the file
    distinct: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    share: float = 1.0  # of distinct values among all, until `distinct` was full
    counts: Counter[str] = field(default_factory=Counter)
    wall: bool = False  # some times have no offset
    nanoseconds: bool = False  # in Parquet

    @property
    def type(self) -> str:
        """Spark SQL type, or `OTHER`; `string` if every value is missing."""
        if not self.present:
            return "string"
        narrowest = next((kind for kind in (*TYPE_PATTERNS, "string") if kind in self.can), OTHER)
        if narrowest in ("string", "double") and self.numbers != PLAIN:
            narrowest = self.forms.get(self.numbers, "string")
        return ("timestamp" if value_formats.has_time(self.date_form) else "date") if self.date_form else narrowest

    @property
    def date_form(self) -> str | None:
        """Format of dates that are not ISO dates; None if they are, or if the column has no dates."""
        if "date" in self.can or "string" not in self.can or not self.present:
            return None
        if "bigint" in self.can:
            return "yyyyMMdd" if "yyyyMMdd" in self.dates and len(self.distinct) > 1 else None
        return next((form for form in DATES if form in self.dates), None)

    def add(self, values: pa.Array, castable: frozenset[str]) -> None:
        """Adds the values of a block; `castable`: types that text may hold."""
        values = _present(values)
        self.present += len(values)
        if not len(values):
            return
        self.can &= _possible(values, castable & self.can)
        if not is_text_type(values.type) or "date" not in castable:
            self.dates = set()
        if not is_text_type(values.type) or "double" not in castable:
            self.forms, self.sign = {}, None
        if self.forms or self.dates or self.sign is not None:
            self._add_forms(pc.unique(pc.ascii_trim_whitespace(values.cast(pa.string()))))
        if "timestamp" in self.can and "string" in self.can:
            self.wall |= not pc.all(pc.match_substring_regex(values.cast(pa.string()), f"({_OFFSET})[ \\t]*$")).as_py()
        if self.can != {OTHER}:
            self._add_texts(values.cast(pa.string()))

    def _add_forms(self, texts: pa.Array) -> None:
        first = texts[0].as_py()
        self.dates = {form for form in self.dates if value_formats.looks_like(first, form)}
        self.forms = {form: kind for form, kind in self.forms.items() if re.fullmatch(form.pattern("double"), first)}
        for part in (texts.slice(0, _HEAD), texts):
            fits = {form: _number_kind(part, form, kind) for form, kind in self.forms.items()}
            self.forms = {form: kind for form, kind in fits.items() if kind}
            self.dates = {form for form in self.dates if value_formats.are_dates(part, form)}
            if self.sign is not None:
                sign = value_formats.common_sign(part)
                self.sign = sign if sign and self.sign in ("", sign) else None

    def _add_texts(self, texts: pa.Array) -> None:
        self.words += len(texts) + pc.sum(pc.count_substring(texts, " ")).as_py()
        if len(self.counts) <= CLASSES:
            self.counts.update({v["values"]: v["counts"] for v in pc.value_counts(texts).to_pylist()})
        if len(self.distinct) <= ENOUGH_VALUES:
            self.distinct = pc.unique(pa.concat_arrays([self.distinct, texts]))
            self.share = len(self.distinct) / self.present

    def classes(self) -> Counter[str]:
        """Counts of values, as far as they are counted; `TRUE` and `True` are one boolean."""
        if self.type != "boolean":
            return self.counts
        counts: Counter[str] = Counter()
        for text, n in self.counts.items():
            counts[text.strip().lower()] += n
        return counts

    def strays(self) -> list[str]:
        """The up to three words that keep a column from being numeric."""
        texts = pc.ascii_trim_whitespace(self.distinct)
        odd = texts.filter(pc.invert(_matches(texts, self.numbers.pattern("double"))))
        few = self.type == "string" and 0 < len(odd) <= 3 and len(texts) >= 10 * len(odd)
        return odd.to_pylist() if few else []

    def span(self) -> int:
        """Range of the distinct whole numbers: highest less lowest, plus one."""
        low_high = pc.min_max(self.numbers.plain(self.distinct).cast(pa.int64())).as_py()
        return int(low_high["max"] - low_high["min"] + 1)

    def iso(self, texts: pa.Array) -> pa.Array:
        """Dates or times as ISO text; texts of equal length sort by time."""
        if self.date_form:
            return value_formats.dates_as_iso(texts, self.date_form)
        return pc.ascii_trim_whitespace(texts)

    def numeric(self, values: pa.Array) -> Doubles:
        """Numbers, dates (as days) or times (as seconds) as floats; NaN where missing."""
        match self.type:
            case "bigint" | "double":
                plain = self.numbers.plain(values) if is_text_type(values.type) else values
                numbers = plain.cast(pa.float64(), safe=False)
            case "date":
                numbers = self.iso(values.cast(pa.string())).cast(pa.date32()).cast(pa.int32()).cast(pa.float64())
            case _:
                texts = pc.replace_substring(pc.utf8_slice_codeunits(self.iso(values.cast(pa.string())), 0, 19), "T", " ")
                numbers = texts.cast(pa.timestamp("s")).cast(pa.int64()).cast(pa.float64())
        return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)


_MISSING = (
    "NA", "N/A", "n/a", "#N/A", "NULL", "null", "Null", "None", "none", "NaN", "nan", "?", "-", "--", ".", "\\N", "missing", "unknown",
)  # fmt: skip
_NEVER_A_CATEGORY = ("NA", "N/A", "#N/A", "NULL", "NaN", "?", "\\N")  # if several columns have it


def null_words(rows: pa.Table) -> list[str]:
    """Words for missing values: those that keep a column from holding numbers or dates, or that several columns have."""
    votes: Counter[str] = Counter()
    for values in rows.columns:
        texts = pc.unique(pc.ascii_trim_whitespace(values.combine_chunks())).drop_null()
        texts = texts.filter(pc.not_equal(texts, ""))
        odd = pc.is_in(texts, pa.array(_MISSING))
        words, rest = texts.filter(odd).to_pylist(), texts.filter(pc.invert(odd))
        if not words:
            continue
        column = ColumnProfile("")
        column.add(rest, frozenset(TYPE_PATTERNS))
        typed = len(rest) > 1 and (column.type != "string" or column.forms)
        votes.update({word: 2 if typed else 1 for word in words if typed or word in _NEVER_A_CATEGORY})
    return sorted(word for word, n in votes.items() if n > 1)


def _present(values: pa.Array) -> pa.Array:
    values = values.drop_null()
    return values.filter(pc.invert(pc.is_nan(values))) if pa.types.is_floating(values.type) else values


def is_text_type(kind: pa.DataType) -> bool:
    """Whether values of this type are text."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _possible(values: pa.Array, castable: frozenset[str]) -> set[str]:
    """Types that hold all of these values."""
    t, kind = pa.types, values.type
    if is_text_type(kind):
        texts = pc.unique(pc.ascii_trim_whitespace(values.cast(pa.string())))
        return {name for name in castable if name in TYPE_PATTERNS and _fits(texts, name)} | {"string"}
    tests = {
        t.is_boolean: {"boolean", "string"},
        t.is_integer: {"bigint", "double", "string"},
        t.is_floating: {"double", "string"},
        t.is_decimal: {"double", "string"},
        t.is_date: {"date"},
        t.is_timestamp: {"timestamp"},
    }
    return next((kinds for test, kinds in tests.items() if test(kind)), {OTHER})


def _matches(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.match_substring_regex(texts, f"^({pattern})$")


def _number_kind(texts: pa.Array, form: NumberFormat, kind: str) -> str | None:
    """Narrowest numeric type, `kind` or wider, that holds these texts in this format; None if there is none."""
    for wider in (kind, "double"):
        if pc.all(_matches(texts, form.pattern(wider))).as_py():
            try:
                form.plain(texts).cast(pa.int64() if wider == "bigint" else pa.float64())
            except pa.ArrowInvalid:
                continue
            return wider
    return None


def _fits(texts: pa.Array, kind: str) -> bool:
    if not pc.all(_matches(texts, TYPE_PATTERNS[kind])).as_py():
        return False
    if kind in ("date", "timestamp"):
        return value_formats.are_calendar_days(texts)
    try:
        texts.cast(pa.int64() if kind == "bigint" else pa.string())
    except pa.ArrowInvalid:  # beyond 64 bits
        return False
    return True
