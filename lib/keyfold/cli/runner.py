"""Runs a job: errors become sentences on stderr, and each kind of error has its exit code."""

import gc
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from keyfold.cli.error_messages import as_keyfold_error, unexpected
from keyfold.secrets import redacted

PASSED = 99  # the exit code of a check without errors

# Set by keyfold.cli.preflight: a job ends after its check, or is handed over with the reason if it needs Spark.
only_check = False
hand_over: Callable[[str], NoReturn] | None = None


def run_guarded(work: Callable[[], object], *, debug: bool, check: Callable[[], str | None] = lambda: None) -> NoReturn:
    """Calls `work` and exits: with 0, with the code of a KeyfoldError, or with 1 for another error; prints the error's sentence.

    `check` is called before it if there is `hand_over`, and may give that a reason. Under `only_check` it is all that is called, and its
    reason is printed: the code is PASSED unless it raises a KeyfoldError, and other errors are left to the job.
    """
    gc.set_threshold(10_000)  # with the default, 700, the collector looks for a second through what imports create
    try:
        reason = check() if hand_over else None
        if only_check:
            print(reason or "", end="")
        elif hand_over and reason:
            hand_over(reason)
        else:
            work()
    except Exception as error:  # noqa: BLE001 - the last line of defence
        known = as_keyfold_error(error)
        if only_check and known is None:
            sys.exit(PASSED)
        if debug:
            print(redacted(traceback.format_exc()), file=sys.stderr, end="")
        print(redacted(f"keyfold: {known or unexpected(error)}"), file=sys.stderr, flush=True)
        sys.exit(known.exit_code if known else 1)
    sys.exit(PASSED if only_check else 0)
