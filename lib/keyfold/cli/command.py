"""A job of the command line: its summary, its options, and what it runs."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

from keyfold.cli.parser import Parser


class Command(NamedTuple):
    """A job. `group` is its heading in `keyfold --help`, `summary` its line there.

    `add_options` declares its options; `run` and `check` get the parsed ones. `check` raises the errors that need no Spark to find, and
    returns why the job needs Spark, None if it does not.
    """

    group: str
    summary: str
    run: Callable[[argparse.Namespace], object]
    add_options: Callable[[argparse.ArgumentParser], object] = lambda _: None
    check: Callable[[argparse.Namespace], str | None] = lambda _: None

    def parser(self, program: str) -> Parser:
        """The parser of its options; `program`: the command before them, such as `keyfold score`."""
        parser = Parser(self.summary, prog=program)
        self.add_options(parser)
        return parser
