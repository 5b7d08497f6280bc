"""Translates errors of Spark, Java and MLflow into sentences that say what to do."""

import re
from collections.abc import Callable

from keyfold import errors
from keyfold.errors import DataError, KeyfoldError
from keyfold.readers.opening import UNREADABLE

_SQL_ERROR = "keyfold: "  # how the messages of raise_error in SQL begin
_RAISED = re.compile(r"keyfold\.errors\.(\w+): (.*)")  # as a worker's traceback prints an error


def as_keyfold_error(error: BaseException) -> KeyfoldError | None:
    """The KeyfoldError to report for an error: the error itself, one raised in a worker, or a known one of Spark; None for any other."""
    if isinstance(error, KeyfoldError):
        return error
    text = _NO_MEMORY if isinstance(error, MemoryError) else str(error)
    if _SQL_ERROR in text:
        return DataError(text.split(_SQL_ERROR, 1)[1].partition("\n")[0].removesuffix(" SQLSTATE: P0001"))
    if (raised := _RAISED.search(text)) and (kind := _kind_of(raised[1])):
        return kind(raised[2])
    condition = getattr(error, "getCondition", lambda: None)()
    return _CONDITIONS[condition](text) if condition in _CONDITIONS else _by_text(text)


def unexpected(error: BaseException) -> str:
    """The sentence for an error that has no translation."""
    # Py4J's first line says only which call failed; the second has Java's own message.
    lines = [line for line in str(error).split("\n") if line.strip() and not line.startswith("An error occurred while calling")]
    first = lines[0].removeprefix(": ") if lines else "no message"
    return f"unexpected error: {type(error).__name__}: {first[:500]} (--debug shows the stack trace)"


def _kind_of(name: str) -> type[KeyfoldError] | None:
    """The class of that name in `keyfold.errors`, or its nearest base class that takes only a message."""
    error = getattr(errors, name, None)
    bases: tuple[type[KeyfoldError], ...] = error.__mro__ if error else ()
    return next((base for base in bases if base is KeyfoldError or "__init__" not in vars(base)), None)


def _by_text(text: str) -> KeyfoldError | None:
    for phrase, message in _PHRASES.items():
        if phrase in text:
            return DataError(message)
    if match := re.search(r"API request to (\S+?)/api/\S* failed with exception", text):
        return DataError(f"MLflow at {match[1]} does not answer; is the server up, and MLFLOW_TRACKING_URI right?")
    if match := re.search(r"\[FAILED_READ_FILE[^]]*\] Encountered error while reading file (.+?)\.\s", text):
        return DataError(f"{match[1]} {UNREADABLE}")
    return None


_CONDITIONS: dict[str, Callable[[str], KeyfoldError]] = {
    "PATH_NOT_FOUND": lambda text: DataError(f"data.source: {text.split('.')[0].split('] ')[-1]}"),
    "COLUMN_ALREADY_EXISTS": lambda text: DataError(
        f"data.source: two columns differ by case alone: {text.split('] ', 1)[-1].split('.')[0]}; rename one"
    ),
    "DELTA_TABLE_NOT_FOUND": lambda text: DataError(text.split("\n")[0]),
    "DELTA_VERSION_NOT_FOUND": lambda text: DataError(text.split("\n")[0].split("] ", 1)[-1]),
}
_NO_MEMORY, _BEFORE = "Out of Memory Error", "the tables are as they were before"
_PHRASES = {
    "failed to offload data block": (
        f"sorts and joins need more room than the disk has; free some, or name a folder on another disk by KEYFOLD_SPILL; {_BEFORE}"
    ),
    **dict.fromkeys(
        (_NO_MEMORY, "OutOfMemoryError"), f"memory ran out; a larger machine, or a cluster with Spark, has more; {_BEFORE}"
    ),
    "No space left on device": f"the disk is full; {_BEFORE}",
    "PARQUET_TYPE_ILLEGAL": "a Parquet file has a column of a type that is not read, such as a UUID or a time of day; write it as text",
}
