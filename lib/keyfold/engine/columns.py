"""Column expressions for every engine: those of narwhals, with the column names of tables.

narwhals reads some names as SQL, for example names with dots. Its frames hold such names escaped; see `escape_name`.
"""

import re

import narwhals as nw

_PLAIN = re.compile(r"[\w -]+")
_ESCAPED = "odd_"

lit, when, count_rows = nw.lit, nw.when, nw.len


def col(name: str) -> nw.Expr:
    """The column of this name, which may hold any character."""
    return nw.col(escape_name(name))


def escape_name(name: str) -> str:
    """The name of a column in narwhals' frames."""
    return name if _PLAIN.fullmatch(name) and not name.startswith(_ESCAPED) else _ESCAPED + name.encode().hex()


def unescape_name(name: str) -> str:
    """Reverses `escape_name`."""
    return bytes.fromhex(name.removeprefix(_ESCAPED)).decode() if name.startswith(_ESCAPED) else name
