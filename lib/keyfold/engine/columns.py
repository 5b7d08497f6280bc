"""Expressions over columns, the same on every engine: narwhals', by the names that tables have.

narwhals reads some names as SQL, such as those with dots. Such names are escaped in its frames; see `escape_name`.
"""

import re

import narwhals as nw

_PLAIN = re.compile(r"[\w -]+")
_ESCAPED = "odd_"

lit, when, count_rows = nw.lit, nw.when, nw.len


def col(name: str) -> nw.Expr:
    """The column of exactly this name, which may hold any character."""
    return nw.col(escape_name(name))


def escape_name(name: str) -> str:
    """A name as narwhals' frames have it."""
    return name if _PLAIN.fullmatch(name) and not name.startswith(_ESCAPED) else _ESCAPED + name.encode().hex()


def unescape_name(name: str) -> str:
    """The name of which `escape_name` made this one."""
    return bytes.fromhex(name.removeprefix(_ESCAPED)).decode() if name.startswith(_ESCAPED) else name
