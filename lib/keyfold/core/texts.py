"""Values as the text that Spark's `CAST(… AS STRING)` gives, with the time zone UTC.

A float becomes the shortest text that parses to the same float; Java before release 19 writes one more digit for some.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.core.types import arrow_family


def value_texts(array: pa.Array) -> pa.Array:
    """The values of an Arrow array of a type family as text."""
    family = arrow_family(array.type)
    match family:
        case "decimal":
            return _each(array, lambda value: format(value, "f"))
        case "double":
            return _each(array, _float_text if array.type == pa.float32() else _double_text)
        case "date":
            return pc.strftime(array, "%Y-%m-%d")
        case "timestamp" | "timestamp_ntz":
            texts = pc.strftime(array.cast(pa.timestamp("us")), "%Y-%m-%d %H:%M:%S")
            return pc.replace_substring_regex(texts, r"\.?0*$", "")
    return array.cast(pa.string())


def _each(array: pa.Array, text: Callable[[Any], str]) -> pa.Array:
    encoded = array.dictionary_encode()
    return pa.array(map(text, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)


def _double_text(value: float) -> str:
    return _java(repr(value))


def _float_text(value: float) -> str:
    return _java(str(np.float32(value)))


def _java(shortest: str) -> str:
    """The digits of a number's shortest text as Java writes them: plain from 0.001 to 10,000,000, else 1.0E10."""
    if shortest in _SPECIAL:
        return _SPECIAL[shortest]
    match = re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?", shortest)
    assert match is not None
    sign, whole, part, exponent = match[1], match[2], match[3] or "", int(match[4] or 0)
    digits = (whole + part).lstrip("0")
    power = len(whole) + exponent - (len(whole + part) - len(digits))  # the number is 0.digits × 10^power
    digits = digits.rstrip("0")
    if not digits:
        return f"{sign}0.0"
    if not -3 < power <= 7:
        return f"{sign}{digits[0]}.{digits[1:] or '0'}E{power - 1}"
    padded = digits.ljust(power, "0") if power > 0 else "0" * (1 - power) + digits
    cut = max(power, 1)
    return f"{sign}{padded[:cut]}.{padded[cut:] or '0'}"


_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
