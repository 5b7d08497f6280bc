"""Rows of text as typed rows: their reasons, and which of them have their raw text."""

import pyarrow as pa

from keyfold.readers.casts import TextFormat
from keyfold.readers.typed_rows import RowTypes, TextColumn, cast_rows

COLUMNS = [TextColumn("id", "int", None, "Id", "int"), TextColumn("day", "date", "d.M.yyyy", "Tag", "date(d.M.yyyy)"), TextColumn("note", "string", None, "note", "string")]  # fmt: skip


def typed(needed):
    texts = [["1", "x", None, " ", "5"], ["5.1.2024", "y", "31.12.1999", None, None], ["a", None, "c", 'd"', "e"]]
    known = pa.array([None, None, None, None, "no row"], pa.string())
    return cast_rows([pa.array(column, pa.string()) for column in texts], RowTypes(COLUMNS, TextFormat(), needed), known)


def test_a_row_has_the_first_reason_and_blank_text_is_missing():
    rows = typed(None)
    assert [column.to_pylist()[:1] for column in rows.values][::2] == [[1], ["a"]]
    assert rows.values[0].to_pylist() == [1, None, None, None, 5]
    assert rows.reason.to_pylist() == [None, "`id` is not int", None, None, "no row"]
    assert rows.raw.to_pylist() == [
        '{"Id":"1","Tag":"5.1.2024","note":"a"}', '{"Id":"x","Tag":"y","note":null}', '{"Id":null,"Tag":"31.12.1999","note":"c"}',
        '{"Id":" ","Tag":null,"note":"d\\""}', '{"Id":"5","Tag":null,"note":"e"}',
    ]  # fmt: skip


def test_rows_that_lack_nothing_need_no_raw_text():
    assert [raw is not None for raw in typed(["id"]).raw.to_pylist()] == [False, True, True, True, True]
    assert [raw is not None for raw in typed([]).raw.to_pylist()] == [False, True, False, False, True]
