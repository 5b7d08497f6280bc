"""Errors of workers as sentences."""

import pytest

from keyfold import errors
from keyfold.cli.error_messages import as_keyfold_error

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
