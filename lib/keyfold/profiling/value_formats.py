"""Formats of numbers and dates: decimal commas, thousands separators, currency signs, days before months."""

import re
from functools import cache
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc


class NumberFormat(NamedTuple):
    """Decimal mark and thousands separator of numbers."""

    decimal: str = "."
    thousands: str = ""

    def pattern(self, kind: str) -> str:
        """RE2 pattern for `bigint` or `double`. Plus signs and leading zeros do not match: they mark telephone numbers and codes."""
        most = 18 if kind == "bigint" else 14
        group = re.escape(self.thousands)
        grouped = f"[1-9][0-9]{{0,2}}({group}[0-9]{{3}})+|" if self.thousands else ""
        whole = f"({grouped}0|[1-9][0-9]{{0,{most}}})"
        if kind == "bigint":
            return f"-?{whole}"
        mark = re.escape(self.decimal)
        return f"-?({whole}({mark}[0-9]*)?|{mark}[0-9]+)([eE][-+]?[0-9]{{1,3}})?"

    def plain(self, texts: pa.Array) -> pa.Array:
        """Numbers of this format as Arrow parses them."""
        texts = pc.ascii_trim_whitespace(texts)
        for mark, other in ((self.thousands, ""), (self.decimal, ".")):
            texts = pc.replace_substring(texts, mark, other) if mark not in ("", other) else texts
        return texts


PLAIN = NumberFormat()
NUMBER_FORMATS = (
    PLAIN,
    *(NumberFormat(d, t) for d, marks in ((",", ("", ".", " ", "'")), (".", (",", " ", "'"))) for t in marks),
)

_SIGNS = r"[$£€¥₹₽₺%]|USD|EUR|GBP|CHF|JPY|SEK|NOK|DKK|PLN|CAD|AUD"
_SIGNED = rf"^(?P<before>{_SIGNS})?[ \x{{a0}}]?(?P<number>-?[0-9][0-9.,' ]*?)[ \x{{a0}}]?(?P<after>{_SIGNS})?$"


def common_sign(texts: pa.Array) -> str | None:
    """Currency or percent sign that all of these numbers share; None if there is none."""
    parts = pc.extract_regex(pc.utf8_trim_whitespace(texts), _SIGNED)
    if not len(texts) or parts.null_count:
        return None
    beside = pc.binary_join_element_wise(parts.field("before"), parts.field("after"), "")
    signs = pc.unique(beside).to_pylist()
    return signs[0] if len(signs) == 1 and signs[0] else None


# Patterns of Java's DateTimeFormatter; two digits come before one, so that the narrower pattern is chosen.
_DATES = (
    "dd.MM.yyyy", "d.M.yyyy", "dd/MM/yyyy", "d/M/yyyy", "MM/dd/yyyy", "M/d/yyyy", "dd-MM-yyyy", "MM-dd-yyyy", "yyyy/MM/dd",
    "yyyy.MM.dd", "yyyyMMdd", "dd.MM.yy", "d.M.yy", "dd/MM/yy", "d/M/yy", "MM/dd/yy", "M/d/yy", "dd-MMM-yyyy", "d-MMM-yyyy",
    "dd-MMM-yy", "d-MMM-yy", "dd MMM yyyy", "d MMM yyyy",
)  # fmt: skip
DATES = (*_DATES, *(f"{date} {time}" for date in _DATES for time in ("HH:mm", "HH:mm:ss", "H:mm", "H:mm:ss")))
_TOKENS = {
    "yyyy": "(?P<y>(?:19|20)[0-9]{2})", "yy": "(?P<y>[0-9]{2})", "MMM": "(?P<m>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)",
    "MM": "(?P<m>0[1-9]|1[0-2])", "M": "(?P<m>0?[1-9]|1[0-2])", "dd": "(?P<d>0[1-9]|[12][0-9]|3[01])",
    "d": "(?P<d>0?[1-9]|[12][0-9]|3[01])", "HH": "(?P<h>[01][0-9]|2[0-3])", "H": "(?P<h>[01]?[0-9]|2[0-3])",
    "mm": "(?P<n>[0-5][0-9])", "ss": "(?P<s>[0-5][0-9])",
}  # fmt: skip
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def dates_as_iso(texts: pa.Array, form: str) -> pa.Array:
    """Dates or times of this format as ISO text; NULL if a text is not of the format."""
    parts = pc.extract_regex(pc.ascii_trim_whitespace(texts), _regex(form))
    year, month, day = (pc.struct_field(parts, part) for part in "ymd")
    if "yyyy" not in form:
        year = pc.binary_join_element_wise("20", year, "")
    if "MMM" in form:
        number = pc.index_in(month, pa.array(_MONTHS))
        month = pc.add(number, 1).cast(pa.string())
    date = pc.binary_join_element_wise(year, _two(month), _two(day), "-")
    if not has_time(form):
        return date
    seconds = pc.struct_field(parts, "s") if "ss" in form else pa.array(["00"] * len(texts), pa.string())
    return pc.binary_join_element_wise(
        date, pc.binary_join_element_wise(_two(pc.struct_field(parts, "h")), pc.struct_field(parts, "n"), seconds, ":"), " "
    )


def has_time(form: str) -> bool:
    """Whether a format includes a time of day."""
    return "mm" in form


def _two(texts: pa.Array) -> pa.Array:
    return pc.ascii_lpad(texts, 2, "0")


def looks_like(text: str, form: str) -> bool:
    """Whether a text matches this format; does not check the calendar."""
    return _compiled(form).fullmatch(text.strip()) is not None


@cache
def _compiled(form: str) -> re.Pattern[str]:
    return re.compile(_regex(form))


@cache
def _regex(form: str) -> str:
    tokens = re.split("(yyyy|yy|MMM|MM|M|dd|d|HH|H|mm|ss)", form)
    return "^" + "".join(_TOKENS.get(token, re.escape(token)) for token in tokens) + "$"


def are_dates(texts: pa.Array, form: str) -> bool:
    """Whether all texts are calendar dates in this format."""
    dates = dates_as_iso(texts, form)
    return not dates.null_count and are_calendar_days(dates)


def are_calendar_days(isos: pa.Array) -> bool:
    """Whether all ISO texts begin with a calendar date."""
    try:
        pc.utf8_slice_codeunits(isos, 0, 10).cast(pa.date32())
    except pa.ArrowInvalid:
        return False
    return True


def swapped_format(form: str, forms: set[str]) -> str | None:
    """The format with day and month swapped, if it also fits."""
    swapped = form.translate(str.maketrans("dM", "Md"))
    return swapped if swapped in forms else None
