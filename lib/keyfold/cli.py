"""What every job of a conf does around its work: options, the session, errors as sentences, where the results are."""

import argparse
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

from keyfold.errors import ConfError, DataError, KeyfoldError
from keyfold.sources import UNREADABLE

if TYPE_CHECKING:
    from keyfold.conf import Conf
    from keyfold.run import Run


def main(work: "Callable[..., object]", about: str | None, flags: Mapping[str, str] | None = None) -> NoReturn:
    """Runs a job by the options of the command line, and exits with its code; `flags` of its own, with what they are for, it is given by name."""
    options = _options(about, flags or {})
    given = {name.replace("-", "_"): getattr(options, name.replace("-", "_")) for name in flags or {}}
    guarded(lambda: _run(lambda run: work(run, **given), options), debug=options.debug)


def guarded(work: Callable[[], object], *, debug: bool) -> NoReturn:
    """Calls `work`, and exits: 0, or the code of a KeyfoldError after its sentence, or 1 after another error's."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - the last line of defence
        if debug:
            traceback.print_exc()
        known = understood(error)
        print(f"keyfold: {known or _unknown(error)}", file=sys.stderr, flush=True)
        sys.exit(known.exit_code if known else 1)
    sys.exit(0)


def _options(about: str | None, flags: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("conf", help="the YAML file of the use case")
    parser.add_argument("--set", action="append", default=[], metavar="path.to.option=value", dest="overrides")
    parser.add_argument("--period", help="what to score; training sees only what is before (default: the latest, and all)")
    parser.add_argument("--debug", action="store_true", help="show the stack trace of an error")
    for name, purpose in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=purpose)
    return parser.parse_args()


def _run(work: "Callable[[Run], object]", options: argparse.Namespace) -> None:
    from keyfold.conf import load

    conf = load(options.conf, options.overrides)
    from keyfold.run import Run
    from keyfold.spark import session

    period = _period(conf, options.period)
    run = Run(conf, session(f"keyfold {conf.name}"), period)
    try:
        work(run)
    finally:
        run.close()
    for line in run.results():
        print(line)


def _period(conf: "Conf", period: str | None) -> str | None:
    by = conf.data.period if isinstance(conf.data.period, str) else "file"
    shape, example = _PERIODS[by]
    if period is not None and not re.fullmatch(shape, period):
        kind = by if isinstance(conf.data.period, str) else "that of the files' names"
        raise ConfError(f"--period must be like {example}, since data.period is {kind} (got {period})")
    return None if by == "all" else period


_PERIODS = {
    "all": ("all", "all"),
    "year": (r"\d{4}", "2026"),
    "month": (r"\d{4}-\d{2}", "2026-10"),
    "day": (r"\d{4}-\d{2}-\d{2}", "2026-10-31"),
    "file": (r"\d{4}(-\d{2}){0,2}", "2026, 2026-10 or 2026-10-31"),
}


def understood(error: BaseException) -> KeyfoldError | None:
    """The error for a person that an error stands for: one of ours, wherever it was raised, or a known one of Spark's."""
    if isinstance(error, KeyfoldError):
        return error
    text = str(error)
    for mark in ("keyfold: ", "keyfold.errors.DataError: ", "keyfold.errors.RowsError: "):
        if mark in text:
            return DataError(text.split(mark, 1)[1].partition("\n")[0].removesuffix(" SQLSTATE: P0001"))
    if "keyfold.errors.PromiseError: " in text:
        from keyfold.errors import PromiseError

        return PromiseError(text.split("keyfold.errors.PromiseError: ", 1)[1].partition("\n")[0])
    condition = getattr(error, "getCondition", lambda: None)()
    return _SPARK[condition](text) if condition in _SPARK else _by_words(text)


def _by_words(text: str) -> KeyfoldError | None:
    for words, advice in _WORDS.items():
        if words in text:
            return DataError(advice)
    if found := re.search(r"\[FAILED_READ_FILE[^]]*\] Encountered error while reading file (.+?)\.\s", text):
        return DataError(f"{found[1]} {UNREADABLE}")
    return None


_SPARK: dict[str, Callable[[str], KeyfoldError]] = {
    "PATH_NOT_FOUND": lambda text: DataError(f"data.source: {text.split('.')[0].split('] ')[-1]}"),
    "COLUMN_ALREADY_EXISTS": lambda text: DataError(
        f"data.source: two columns differ by case alone: {text.split('] ', 1)[-1].split('.')[0]}; rename one"
    ),
    "DELTA_TABLE_NOT_FOUND": lambda text: DataError(text.split("\n")[0]),
    "DELTA_VERSION_NOT_FOUND": lambda text: DataError(text.split("\n")[0].split("] ", 1)[-1]),
}
_WORDS = {
    "CSV header does not conform to the schema": "the files of data.source have different headers; ingest them one by one",
    "No space left on device": "the disk is full; the tables are as they were before",
}


def _unknown(error: BaseException) -> str:
    # Py4J's first line says only which call failed; the second has Java's own message.
    lines = [line for line in str(error).split("\n") if line.strip() and not line.startswith("An error occurred while calling")]
    first = lines[0].removeprefix(": ") if lines else "no message"
    return f"something unexpected: {type(error).__name__}: {first[:500]} (--debug shows the stack trace)"
