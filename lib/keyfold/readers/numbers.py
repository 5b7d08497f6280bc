"""Text as numbers, as Spark's ANSI casts read it: NULL where a digit would be lost."""

import math
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.readers.arrow_values import bools, convert_rest

INTEGERS = {"tinyint": pa.int8(), "smallint": pa.int16(), "int": pa.int32(), "bigint": pa.int64()}
REALS = {"float": pa.float32(), "double": pa.float64()}
_TRUE, _FALSE = ["t", "true", "y", "yes", "1"], ["f", "false", "n", "no", "0"]
_MOST_DIGITS = 38  # of a decimal, before the mark too
_INT32 = range(-(2**31), 2**31)

_DIGITS = np.zeros(256, bool)
_DIGITS[np.frombuffer(b"-.0123456789", np.uint8)] = True

_INTEGER = re.compile(r"([+-]?)0*([0-9]+)")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITE = re.compile(r"([+-]?)inf(?:inity)?", re.IGNORECASE | re.ASCII)
_NOT_A_NUMBER = re.compile(r"[+-]?NaN|(?i:nan)", re.ASCII)
_HEX = re.compile(r"([+-]?)0[xX](?:([0-9a-fA-F]+)\.?|([0-9a-fA-F]*)\.([0-9a-fA-F]+))[pP]([+-]?[0-9]+)[fFdD]?")
_DECIMAL = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?)(\d+))?")  # digits of any script, as Java reads them


def parse_boolean(text: pa.Array) -> pa.Array:
    """Trimmed text as booleans."""
    lower = pc.ascii_lower(text)
    is_true, is_false = (pc.is_in(lower, pa.array(words)) for words in (_TRUE, _FALSE))
    return pc.if_else(is_true, True, pc.if_else(is_false, False, pa.scalar(None, pa.bool_())))


def plain_number(text: pa.Array, decimal: str, thousands: str) -> pa.Array:
    """Numbers with a point and without groups; NULL if groups are not of three digits, or the decimal mark differs."""
    nothing = pa.scalar(None, pa.string())
    if thousands:
        fraction = "" if thousands == decimal else rf"([{decimal}][0-9]*)?"
        grouped = pc.match_substring_regex(text, rf"^[+-]?[0-9]{{1,3}}([{thousands}][0-9]{{3}})+{fraction}$")
        ungrouped = pc.replace_substring(text, thousands, "")
        without = pc.if_else(pc.match_substring(text, thousands), nothing, text)
        text = pc.if_else(grouped, ungrouped, without)
    if decimal == ".":
        return text
    return pc.if_else(pc.match_substring(text, "."), nothing, pc.replace_substring(text, decimal, "."))


def cast_digits(text: pa.Array, type_: str) -> pa.Array | None:
    """Text as integers or doubles, if all of it is digits with signs and points and the type holds it; else None."""
    to = (INTEGERS | {"double": REALS["double"]}).get(type_)
    if to is None or not _DIGITS[_bytes(text)].all() or (pc.max(pc.binary_length(text)).as_py() or 0) > _MOST_DIGITS:
        return None
    try:
        return _arrow_cast(text, to)
    except pa.ArrowInvalid:
        return None


def _bytes(text: pa.Array) -> npt.NDArray[np.uint8]:
    """The text of all values, one after the other."""
    _, offsets, data = text.buffers()
    if data is None or not len(text):
        return np.zeros(0, np.uint8)
    first, end = np.frombuffer(offsets, np.int32)[[text.offset, text.offset + len(text)]]
    return np.frombuffer(data, np.uint8)[first:end]


def parse_integer(text: pa.Array, type_: str) -> pa.Array:
    """Trimmed text as integers."""
    width = {"tinyint": 2, "smallint": 4, "int": 9, "bigint": 18}[type_]
    return _parse(text, rf"^-?[0-9]{{1,{width}}}$", INTEGERS[type_], partial(_integer, bits=INTEGERS[type_].bit_width))


def parse_real(text: pa.Array, type_: str) -> pa.Array:
    """Trimmed text as doubles, NULL if too large or too small; or as floats, if the table's type is float."""
    convert = _double if type_ == "double" else _single
    return _parse(text, r"^[+-]?[0-9]{1,30}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,2})?$" if type_ == "double" else _SINGLE,
                  REALS[type_], convert)  # fmt: skip


_SINGLE = r"^[+-]?[0-9]{1,30}(?:\.[0-9]{0,30})?$"


def parse_decimal(text: pa.Array, precision: int, scale: int) -> pa.Array:
    """Trimmed text as decimals; NULL if it has more digits than the type."""
    before = precision - scale
    whole = rf"[0-9]{{1,{before}}}" if before else "0"
    fraction = rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""
    type_ = pa.decimal128(precision, scale)
    return _parse(text, rf"^[+-]?{whole}{fraction}$", type_, partial(_decimal, precision=precision, scale=scale))


def _parse(text: pa.Array, proven: str, type_: pa.DataType, convert: Callable[[str], Any]) -> pa.Array:
    fit = pc.match_substring_regex(text, proven)
    if pc.all(fit).as_py():  # NULL aside
        return _arrow_cast(text, type_)
    done = _arrow_cast(pc.if_else(fit, text, pa.scalar(None, pa.string())), type_)
    return convert_rest(done, text, bools(pc.invert(fit)), convert)


def _arrow_cast(text: pa.Array, type_: pa.DataType) -> pa.Array:
    return pc.cast(text, type_)


def _integer(text: str, bits: int) -> int | None:
    match = _INTEGER.fullmatch(text)
    if not match or len(match[2]) > 19:
        return None
    value = int(match[1] + match[2])
    return value if -(1 << (bits - 1)) <= value < 1 << (bits - 1) else None


def _double(text: str) -> float | None:
    """A double, and neither too large nor too small."""
    if not _REAL.fullmatch(text):
        return _word(text)
    value = float(text)
    too_small = value == 0 and re.match("[^eE]*[1-9]", text)
    return None if math.isinf(value) or too_small else value


def _word(text: str) -> float | None:
    if _NOT_A_NUMBER.fullmatch(text):
        return math.nan
    infinite = _INFINITE.fullmatch(text)
    return float(infinite[1] + "inf") if infinite else None


def _single(text: str) -> float | None:
    """A float as Java reads it: `5d` and `0x1p3`, too."""
    if match := _HEX.fullmatch(text):
        sign, whole, some, fraction, exponent = match.groups()
        digits, power = (whole or "") + (some or "") + (fraction or ""), int(exponent[-9:]) - 4 * len(fraction or "")
        return _nearest_single(sign + _dyadic(int(digits, 16), max(min(power, 5000), -5000)))
    plain = re.sub(r"(?<=[0-9.])[dDfF]\Z", "", text)
    return _nearest_single(plain) if _REAL.fullmatch(plain) else _word(text)


def _dyadic(number: int, power: int) -> str:
    """number · 2^power as decimal text, exactly."""
    return str(number << power) if power >= 0 else f"{number * 5**-power}e{power}"


def _nearest_single(text: str) -> float:
    return float(pa.array([text]).cast(pa.float32())[0].as_py())


def _decimal(text: str, precision: int, scale: int) -> Decimal | None:
    """A decimal as Java reads it, rounded; NULL if it does not fit, or digits after the mark would be lost."""
    match = _DECIMAL.fullmatch(text)
    if not match or not (match[2] or match[3]) or any(c > "\uffff" for c in text):
        return None
    sign, whole, fraction, exponent = match[1], match[2], match[3] or "", _exponent(match[4], match[5])
    if exponent is None or len(fraction) - exponent not in _INT32:
        return None
    digits = _ascii(whole + fraction).lstrip("0")
    own_scale = len(fraction) - exponent  # the scale that the text has
    if (digits and len(digits) - own_scale > _MOST_DIGITS) or not _keeps_digits(text, scale):
        return None
    unscaled = _rescaled(digits, own_scale - scale)
    if len(str(unscaled)) > precision:
        return None
    return Decimal((1 if sign == "-" else 0, tuple(map(int, str(unscaled))), -scale))


def _exponent(sign: str | None, digits: str | None) -> int | None:
    if digits is None:
        return 0
    digits = _ascii(digits)
    digits = digits[:-10].lstrip("0") + digits[-10:]
    exponent = int((sign or "") + digits) if len(digits) <= 10 else 1 << 40
    return exponent if exponent in _INT32 else None


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(int(digit)) for digit in digits)


def _rescaled(digits: str, drop: int) -> int:
    """An unscaled number without its last digits, rounded half up; with more zeros where `drop` is negative."""
    if drop <= 0:
        return int(digits or "0") * 10**-drop if digits else 0
    kept, lost = (digits[:-drop], digits[-drop]) if drop <= len(digits) else ("", "0")
    return int(kept or "0") + (lost >= "5")


def _keeps_digits(text: str, scale: int) -> bool:
    """Whether a decimal keeps all digits after the mark; Spark would round them."""
    if not re.search("[eE]", text):
        return not re.search(rf"[.][0-9]{{{scale}}}[0-9]*[1-9]", text)
    if re.match(r"[^eE1-9]*[eE]", text):
        return True
    digits = re.search(r"[.]([0-9]*?)0*[eE]", text)
    exponent = re.search(r"[eE][+]?(-?[0-9]+)\Z", text)
    power = int(exponent[1]) if exponent and len(exponent[1]) < 4000 else None
    return power is not None and power in _INT32 and len(digits[1] if digits else "") - power <= scale
