"""Errors for users: what is wrong, where, which value, what to do. Each class has its exit code, also if a worker raises it."""

from collections import Counter
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, ClassVar

from keyfold.secrets import redacted


class KeyfoldError(Exception):
    """An error that the user can fix; jobs print its message without a stack trace."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *args: Any) -> None:
        super().__init__(*(redacted(arg) if isinstance(arg, str) else arg for arg in args))


class ConfError(KeyfoldError):
    """The conf, or an option of the command, is wrong."""

    exit_code = 2


class DataError(KeyfoldError):
    """The data, or a model or table that the job needs, is not as the conf says."""

    exit_code = 3


class RowsError(DataError):
    """Some rows are at fault. `rows`: booleans, one for each row of the input."""

    def __init__(self, sentence: str, rows: Any) -> None:
        super().__init__(sentence, rows)
        self.rows = rows

    def __str__(self) -> str:
        return str(self.args[0])


class PromiseError(KeyfoldError):
    """keyfold could not keep a promise; the former state was kept."""

    exit_code = 4


def duplicates(names: Iterable[str]) -> list[str]:
    """The names that occur more than once, in order."""
    return [name for name, n in Counter(names).items() if n > 1]


def suggestion(name: str, names: Iterable[str]) -> str:
    """' (did you mean `x`?)' for the nearest valid name, or ''."""
    by_folded = {n.casefold(): n for n in names}
    match = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f" (did you mean `{by_folded[match[0]]}`?)" if match else ""
