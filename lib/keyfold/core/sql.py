"""Names and values as parts of SQL text."""

import re
from collections.abc import Iterable

_PLAIN = re.compile(r"[^$'\\\x00-\x1f\x7f-\uffff\U00010000-\U0010ffff]*")

_LETTER = re.compile(r"[A-Za-z0-9 _.,:/-]")
ESCAPED = {"spark.sql.parser.escapedStringLiterals": "false"}


def quote_identifier(name: str) -> str:
    """A name as an identifier; it may hold any character."""
    return "`" + name.replace("`", "``") + "`"


def column_reference(name: str) -> str:
    """A column in an expression; `${…}` in a name would be read as a variable, also between back-quotes."""
    return f"IDENTIFIER({text_literal(quote_identifier(name))})" if "${" in name else quote_identifier(name)


def text_literal(value: str) -> str:
    """A text as a literal that reads the same under all settings of the parser for escapes."""
    return f"'{value}'" if _PLAIN.fullmatch(value) else f"CAST(X'{value.encode().hex()}' AS STRING)"


def property_literal(value: str) -> str:
    """A text as a literal for names and values of properties, where SQL takes no expression; parse it under `ESCAPED`."""
    return "'" + "".join(c if _LETTER.fullmatch(c) else _escaped(c) for c in value) + "'"


def _escaped(c: str) -> str:
    return f"\\U{ord(c):08x}" if ord(c) > 0xFFFF else f"\\u{ord(c):04x}"


def double_literal(value: float) -> str:
    """A finite double as a literal with the same bits."""
    return f"{float(value)!r}D"


def bigint_literal(value: int) -> str:
    """A 64-bit integer as a literal."""
    return f"{value}L"


def array_expression(items: Iterable[str]) -> str:
    """An array of expressions."""
    return f"array({', '.join(items)})"


def is_one_of(name: str, texts: Iterable[str]) -> str:
    """The condition that a column of text is one of `texts`."""
    return f"{quote_identifier(name)} IN ({', '.join(map(text_literal, texts))})"
