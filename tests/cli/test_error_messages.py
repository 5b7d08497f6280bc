"""Errors of workers, Spark and MLflow as sentences."""

import pyarrow as pa
import pytest

from keyfold import errors
from keyfold.cli.error_messages import as_keyfold_error, unexpected
from keyfold.errors import ConfError, DataError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.KeyfoldError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_a_worker_keeps_its_sentence_and_its_exit_code(kind):
    text = f"Traceback (most recent call last):\n  File x\nkeyfold.errors.{kind.__name__}: the value 3 is odd\n\tat org.apache"
    error = as_keyfold_error(RuntimeError(text))
    assert (str(error), error.exit_code) == ("the value 3 is odd", kind.exit_code)


def test_an_error_of_sql_is_of_the_data():
    error = as_keyfold_error(RuntimeError("[USER_RAISED_EXCEPTION] keyfold: column `a` is lost SQLSTATE: P0001\nmore"))
    assert isinstance(error, errors.DataError) and str(error) == "column `a` is lost"


def test_another_error_has_no_sentence():
    assert as_keyfold_error(RuntimeError("keyfold.errors.NoSuchError: x")) is None
    assert as_keyfold_error(ValueError("odd")) is None


class SparkError(Exception):
    def __init__(self, condition, text):
        super().__init__(text)
        self.getCondition = lambda: condition


MEMORY = "memory ran out; a larger machine, or a cluster with Spark, has more; the tables are as they were before"


@pytest.mark.parametrize(("error", "kind", "sentence"), [
    (SparkError("PATH_NOT_FOUND", "[PATH_NOT_FOUND] Path does not exist: file:/x. SQLSTATE: 42K03"), DataError, "data.source: Path does not exist: file:/x"),
    (SparkError("COLUMN_ALREADY_EXISTS", "[C] The column `id` already exists. Choose."), DataError,
     "data.source: two columns differ by case alone: The column `id` already exists; rename one"),
    (SparkError("DELTA_VERSION_NOT_FOUND", "[D] Cannot time travel to version 7.\nat java"), DataError, "Cannot time travel to version 7."),
    (pa.ArrowMemoryError("malloc of size 9 failed"), DataError, MEMORY),
    (RuntimeError("Out of Memory Error: failed to allocate data of size 16.0 MiB (16.0 MiB/19.0 MiB used)"), DataError, MEMORY),
    (SparkError(None, "Job aborted: java.lang.OutOfMemoryError: Java heap space"), DataError, MEMORY),
    (OSError("write: No space left on device"), DataError, "the disk is full; the tables are as they were before"),
    (RuntimeError("API request to http://mlflow:5000/api/2.0/x failed with exception"), DataError,
     "MLflow at http://mlflow:5000 does not answer; is the server up, and MLFLOW_TRACKING_URI right?"),
    (RuntimeError("[FAILED_READ_FILE.NO_HINT] Encountered error while reading file /d/a.parquet. SQLSTATE"), DataError,
     "/d/a.parquet cannot be read: it was removed, is truncated, or has another format than its name says"),
])  # fmt: skip
def test_known_errors_have_a_sentence(error, kind, sentence):
    known = as_keyfold_error(error)
    assert (type(known), str(known)) == (kind, sentence)


def test_own_errors_stay_and_unknown_ones_are_none():
    own = ConfError("x")
    assert as_keyfold_error(own) is own and as_keyfold_error(KeyError("x")) is None


def test_an_unexpected_error_has_the_first_line_that_says_something():
    error = RuntimeError("An error occurred while calling o1.save.\n: java.lang.X: broken\n\tat java")
    assert unexpected(error) == "unexpected error: RuntimeError: java.lang.X: broken (--debug shows the stack trace)"
    assert unexpected(ValueError()) == "unexpected error: ValueError: no message (--debug shows the stack trace)"
    assert len(unexpected(ValueError("x" * 9999))) < 600
