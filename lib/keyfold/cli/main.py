"""The command line of every job: options, the session, errors as sentences, exit codes."""

import argparse
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from keyfold.errors import ConfError, DataError, KeyfoldError, suggestion
from keyfold.readers.opening import UNREADABLE
from keyfold.secrets import redacted

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf
    from keyfold.runtime.run import Run


PASSED = 99  # the exit code of a check that found nothing
checks_only = False  # set by keyfold.cli.preflight: a job ends before its session starts
_SUBMIT = (
    "archives", "class", "conf", "deploy-mode", "driver-class-path", "driver-cores", "driver-java-options", "driver-library-path",
    "driver-memory", "exclude-packages", "executor-cores", "executor-memory", "files", "jars", "keytab", "kill", "master", "name",
    "num-executors", "packages", "principal", "properties-file", "proxy-user", "py-files", "queue", "remote", "repositories", "status",
    "supervise", "total-executor-cores", "verbose",
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """The options of a job: with --debug, and a sentence for options of spark-submit that stand in the wrong place."""

    def __init__(self, about: str | None = None, **more: Any) -> None:
        super().__init__(**{"prog": f"./spark-submit.sh {Path(sys.argv[0]).stem}", "description": about} | more)
        self.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the stack trace of an error")

    def parse_args(self, *given: Any, **more: Any) -> Any:  # type: ignore[override]
        """The options (exit code 2 with a sentence for what is none)."""
        options, rest = self.parse_known_args(*given, **more)
        if rest:
            self._refuse(rest)
        options.debug = "debug" in options
        return options

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exits after a message without passwords."""
        super().exit(status, message and redacted(message))

    def error(self, message: str) -> NoReturn:
        """Exits with 2 after a sentence."""
        if theirs := [word for word in sys.argv[1:] if _of_submit(word)]:
            self._refuse(theirs)
        self.exit(2, f"keyfold: {message}; `{self.prog} --help` tells more\n")

    def _refuse(self, rest: Sequence[str]) -> NoReturn:
        theirs = [word for word in rest if _of_submit(word)]
        if theirs:
            self.exit(
                2,
                f"keyfold: {theirs[0]} is an option of spark-submit; its options stand after `--`: {self.prog} … -- {theirs[0]} …\n",
            )
        own = [option for action in self._actions for option in action.option_strings]
        what = "an option" if rest[0].startswith("-") else "an argument"
        self.exit(2, f"keyfold: {rest[0]} is not {what} of this job{suggestion(rest[0], own)}; `{self.prog} --help` lists them\n")


def _of_submit(word: str) -> bool:
    return word.startswith("--") and word[2:].partition("=")[0] in _SUBMIT


def run_job(
    work: "Callable[..., object]", about: str | None, flags: Mapping[str, str] | None = None, *, reads_source: bool = False
) -> NoReturn:
    """Runs a job by the options of the command line, and exits with its code; `flags` of its own, with what they are for, it is given by name.

    `reads_source`: whether files of `data.source` must be there before it starts.
    """
    options = _options(about, flags or {})
    given = {name.replace("-", "_"): getattr(options, name.replace("-", "_")) for name in flags or {}}
    run_guarded(
        lambda: _run(lambda run: work(run, **given), options),
        debug=options.debug,
        check=lambda: _check(options, reads_source=reads_source),
    )


def run_guarded(work: Callable[[], object], *, debug: bool, check: Callable[[], object] = lambda: None) -> NoReturn:
    """Calls `work`, and exits: 0, or the code of a KeyfoldError after its sentence, or 1 after another error's.

    Before the session starts only `check` is called, and what it does not understand is left to the job.
    """
    try:
        (check if checks_only else work)()
    except Exception as error:  # noqa: BLE001 - the last line of defence
        known = as_keyfold_error(error)
        if checks_only and known is None:
            sys.exit(PASSED)
        if debug:
            print(redacted(traceback.format_exc()), file=sys.stderr, end="")
        print(redacted(f"keyfold: {known or _unknown(error)}"), file=sys.stderr, flush=True)
        sys.exit(known.exit_code if known else 1)
    sys.exit(PASSED if checks_only else 0)


def _options(about: str | None, flags: Mapping[str, str]) -> argparse.Namespace:
    parser = Parser(about)
    parser.add_argument("conf", help="the YAML file of the use case")
    parser.add_argument("--set", action="append", default=[], metavar="path.to.option=value", dest="overrides")
    parser.add_argument("--period", help="what to score; training sees only what is before (default: the latest, and all)")
    for name, purpose in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=purpose)
    return parser.parse_args()  # type: ignore[no-any-return]


def _check(options: argparse.Namespace, *, reads_source: bool) -> None:
    from keyfold.cli.preflight import check_inputs
    from keyfold.conf.use_case import load_conf

    conf = load_conf(options.conf, options.overrides)
    _period(conf, options.period)
    check_inputs(conf, reads_source=reads_source)


def _run(work: "Callable[[Run], object]", options: argparse.Namespace) -> None:
    from keyfold.conf.use_case import load_conf

    conf = load_conf(options.conf, options.overrides)
    from keyfold.engine.session import session
    from keyfold.runtime.run import Run

    period = _period(conf, options.period)
    run = Run(conf, session(f"keyfold {conf.name}"), period)
    try:
        work(run)
    finally:
        run.close()
    for line in run.results():
        print(redacted(line))


def _period(conf: "Conf", period: str | None) -> str | None:
    by = conf.data.period if isinstance(conf.data.period, str) else "file"
    shape, example = _PERIODS[by]
    if period is not None and not (re.fullmatch(shape, period) and _is_date(period)):
        kind = by if isinstance(conf.data.period, str) else "that of the files' names"
        raise ConfError(f"--period must be like {example}, since data.period is {kind} (got {period})")
    return None if by == "all" else period


def _is_date(period: str) -> bool:
    try:
        return period == "all" or bool(date.fromisoformat(period + "2000-01-01"[len(period) :]))
    except ValueError:
        return False


_PERIODS = {
    "all": ("all", "all"),
    "year": (r"\d{4}", "2026"),
    "month": (r"\d{4}-\d{2}", "2026-10"),
    "day": (r"\d{4}-\d{2}-\d{2}", "2026-10-31"),
    "file": (r"\d{4}(-\d{2}){0,2}", "2026, 2026-10 or 2026-10-31"),
}


def as_keyfold_error(error: BaseException) -> KeyfoldError | None:
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
    if found := re.search(r"API request to (\S+?)/api/\S* failed with exception", text):
        return DataError(f"MLflow at {found[1]} does not answer; is the server up, and MLFLOW_TRACKING_URI right?")
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
    "No space left on device": "the disk is full; the tables are as they were before",
    "PARQUET_TYPE_ILLEGAL": "a Parquet file has a column of a type that is not read, such as a UUID or a time of day; write it as text",
}


def _unknown(error: BaseException) -> str:
    # Py4J's first line says only which call failed; the second has Java's own message.
    lines = [line for line in str(error).split("\n") if line.strip() and not line.startswith("An error occurred while calling")]
    first = lines[0].removeprefix(": ") if lines else "no message"
    return f"something unexpected: {type(error).__name__}: {first[:500]} (--debug shows the stack trace)"
