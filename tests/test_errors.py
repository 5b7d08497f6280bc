"""Errors for users."""

import pytest

from keyfold.errors import ConfError, DataError, KeyfoldError, PromiseError, RowsError, duplicates, suggestion


@pytest.mark.parametrize(
    ("name", "names", "text"),
    [
        ("custmer", ["month", "customer"], " (did you mean `customer`?)"),
        ("MONTH", ["month", "customer"], " (did you mean `month`?)"),
        ("xyz", ["month", "customer"], ""),
        ("x", [], ""),
    ],
)
def test_the_nearest_name_is_suggested(name, names, text):
    assert suggestion(name, names) == text


def test_duplicates_come_once_in_order():
    assert duplicates(["b", "a", "b", "c", "a", "b"]) == ["b", "a"]


def test_each_kind_of_error_has_its_exit_code():
    codes = {error: error.exit_code for error in (KeyfoldError, ConfError, DataError, RowsError, PromiseError)}
    assert [*codes.values()] == [1, 2, 3, 3, 4]


def test_an_error_of_rows_keeps_their_mask_out_of_its_message():
    error = RowsError("a value is lost", [True, False])
    assert (str(error), error.rows) == ("a value is lost", [True, False])


def test_messages_hold_no_passwords():
    assert "geheim" not in str(DataError("cannot read jdbc:postgresql://u:geheim@host/db"))
