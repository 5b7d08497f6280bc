"""The option parser of a job, which names the nearest option for a wrong one."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from keyfold.errors import suggestion
from keyfold.secrets import redacted

SCRIPT = "./spark-submit.sh"
_SUBMIT = (
    "archives", "class", "conf", "deploy-mode", "driver-class-path", "driver-cores", "driver-java-options", "driver-library-path",
    "driver-memory", "exclude-packages", "executor-cores", "executor-memory", "files", "jars", "keytab", "kill", "master", "name",
    "num-executors", "packages", "principal", "properties-file", "proxy-user", "py-files", "queue", "remote", "repositories", "status",
    "supervise", "total-executor-cores", "verbose",
)  # fmt: skip


class Parser(argparse.ArgumentParser):
    """The options of a job, with --debug. An option of spark-submit in the wrong place gets its own message."""

    def __init__(self, about: str | None = None, **more: Any) -> None:
        super().__init__(**{"prog": f"{SCRIPT} {Path(sys.argv[0]).stem}", "description": about} | more)
        self._words: Sequence[str] = ()
        self.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the stack trace of an error")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parses the options; exits with 2 and a sentence for a wrong one."""
        self._words = sys.argv[1:] if args is None else args
        options, rest = self.parse_known_args(self._words, namespace)
        if rest:
            self._refuse(rest)
        options.debug = "debug" in options
        return options

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exits after a message, from which passwords are removed."""
        super().exit(status, message and redacted(message))

    def error(self, message: str) -> NoReturn:
        """Exits with 2 after a sentence."""
        if misplaced := [word for word in self._words if _is_submit_option(word)]:
            self._refuse(misplaced)
        self.exit(2, f"keyfold: {message}; `{self.prog} --help` lists the options\n")

    def _refuse(self, rest: Sequence[str]) -> NoReturn:
        if misplaced := [word for word in rest if _is_submit_option(word)]:
            name = misplaced[0]
            self.exit(2, f"keyfold: {name} is an option of spark-submit; put it after `--`: {self.prog} … -- {name} …\n")
        what = "an option" if rest[0].startswith("-") else "an argument"
        near = suggestion(rest[0], option_names(self))
        self.exit(2, f"keyfold: {rest[0]} is not {what} of this job{near}; `{self.prog} --help` lists them\n")


def _is_submit_option(word: str) -> bool:
    return word.startswith("--") and word[2:].partition("=")[0] in _SUBMIT


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """The options of a parser, such as --set, those of its subcommands included."""
    names = []
    for action in parser._actions:
        names += [name for name in action.option_strings if name.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):
            names += [name for sub in action.choices.values() for name in option_names(sub)]
    return list(dict.fromkeys(names))
