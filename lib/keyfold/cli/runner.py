"""Runs a job: errors become sentences on stderr, and each kind of error has its exit code."""

import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from keyfold.cli.error_messages import as_keyfold_error, unexpected
from keyfold.secrets import redacted

PASSED = 99  # the exit code of a check without errors
checks_only = False  # set by keyfold.cli.preflight: a job ends before its session starts


def run_guarded(work: Callable[[], object], *, debug: bool, check: Callable[[], object] = lambda: None) -> NoReturn:
    """Calls `work` and exits: with 0, with the code of a KeyfoldError, or with 1 for another error; prints the error's sentence.

    Under `checks_only` it calls `check` instead, exits with PASSED unless that raises a KeyfoldError, and leaves other errors to the job.
    """
    try:
        (check if checks_only else work)()
    except Exception as error:  # noqa: BLE001 - the last line of defence
        known = as_keyfold_error(error)
        if checks_only and known is None:
            sys.exit(PASSED)
        if debug:
            print(redacted(traceback.format_exc()), file=sys.stderr, end="")
        print(redacted(f"keyfold: {known or unexpected(error)}"), file=sys.stderr, flush=True)
        sys.exit(known.exit_code if known else 1)
    sys.exit(PASSED if checks_only else 0)
