"""Quarantined rows: their place and their raw text, on both engines."""

from keyfold.core.names import FILE, LINE, PERIOD, RAW, REASON
from keyfold.runtime import quarantine


def test_a_line_that_was_read_is_kept_as_it_was(engine):
    rows = [("f.csv", 7, "1;2", "x", "all", 1), ("f.csv", 8, None, "y", "all", 2)]
    frame = engine.rows(rows, f"{FILE} string, {LINE} int, {RAW} string, {REASON} string, {PERIOD} string, raw int")
    account = frame.compute(quarantine._account(frame.columns), [PERIOD, REASON]).sort(["line"]).rows()
    assert [(row["file"], row["line"], row["raw"]) for row in account] == [("f.csv", 7, "1;2"), ("f.csv", 8, '{"raw":2}')]


def test_rows_without_a_raw_text_have_the_json_of_their_columns(engine):
    """A column of the data that is named as one of the account is none of it."""
    frame = engine.rows(
        [("x", "all", 1, "f.csv"), ("y", "all", None, None)], f"{REASON} string, {PERIOD} string, n int, file string"
    )
    account = frame.compute(quarantine._account(frame.columns), [PERIOD, REASON]).sort([REASON]).rows()
    assert [(row["file"], row["line"], row["raw"]) for row in account] == [
        (None, None, '{"n":1,"file":"f.csv"}'), (None, None, '{"n":null,"file":null}'),
    ]  # fmt: skip
