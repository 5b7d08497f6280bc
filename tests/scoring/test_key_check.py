"""Keys of the rows to score: each row is scored once, or in quarantine, or its key is refused."""

from collections import Counter
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.conf.use_case import parse_conf
from keyfold.core.names import REASON
from keyfold.engine.table_versions import TableVersion
from keyfold.scoring import key_check
from keyfold.scoring.key_check import COPIES, check_keys

PINNED = TableVersion("t", 3)


@pytest.fixture(scope="module")
def check(embedded):
    """Checks rows (id, seen); also returns the quarantined rows with their number, and the messages."""

    def check(rows, keep, *, proven=False, commits=()):
        conf = parse_conf({"name": "t", "data": {"key": ["id"], "time": "seen"}, "score": {"keep": keep}})
        quarantined, messages = [], []
        run = SimpleNamespace(
            conf=conf, say=messages.append, quarantine=SimpleNamespace(name="q"),
            featured=SimpleNamespace(unique=lambda key, version: proven),
            predictions=SimpleNamespace(exists=lambda: bool(commits), commits=lambda: commits),
        )  # fmt: skip
        table = pa.table({"row": range(len(rows)), "id": [r[0] for r in rows], "seen": [r[1] for r in rows]},
                         schema=pa.schema({"row": pa.int64(), "id": pa.int64(), "seen": pa.int64()}))  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(key_check, "quarantine_rows", lambda run, run_id, rows, n: quarantined.append((rows.rows(), n)))
            return check_keys(run, SimpleNamespace(run_id="r"), embedded.frame(table), PINNED, "2026-10"), quarantined, messages

    return check


keys, times = st.sampled_from([None, 1, 2, 3]), st.sampled_from([None, 10, 20])


def scored_rows(rows, keep):
    """The numbers of the rows that are scored."""
    by_key = {}
    for i, (key, time) in enumerate(rows):
        by_key.setdefault(key, []).append((time, i))
    by_key.pop(None, None)
    for copies in by_key.values():
        latest = [i for time, i in copies if time == max((t for t, _ in copies if t is not None), default=0)]
        if len(copies) == 1 or (keep == "latest" and len(latest) == 1):
            yield copies[0][1] if len(copies) == 1 else latest[0]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(keys, times), min_size=1, max_size=8), st.sampled_from(["none", "latest"]))
def test_each_row_is_scored_or_quarantined_and_each_key_is_answered_once(check, rows, keep):
    checked, quarantined, _ = check(rows, keep)
    wanted = {*scored_rows(rows, keep)}
    assert {row["row"] for row in checked.unique.rows()} == wanted
    others = [row for part, _ in quarantined for row in part]
    assert {row["row"] for row in others} == {*range(len(rows))} - wanted and len(others) == len(rows) - len(wanted)
    assert [n for _, n in quarantined] == [len(others)] * bool(others) and checked.refused == len(others)
    assert {row[REASON] for row in others} <= {"the key is NULL", "the key occurs more than once in the period"}
    counts = Counter(key for key, _ in rows if key is not None)
    refused = {row["id"]: row[COPIES] for row in checked.duplicates.rows()} if checked.duplicates else {}
    assert refused == {key: n for key, n in counts.items() if not {i for i, row in enumerate(rows) if row[0] == key} & wanted}
    assert (checked.read, checked.keys) == (len(rows), len(counts))
    assert checked.proof == (None if others else [*PINNED, "2026-10", ["id"]])


def test_keys_that_were_proven_unique_are_not_counted_again(check, monkeypatch):
    monkeypatch.setattr(key_check, "count_keys", lambda *of: pytest.fail("counted again"))
    commits = [SimpleNamespace(metadata={"proven": [*PINNED, "2026-10", ["id"]]})]
    for known in ({"proven": True}, {"commits": commits}):
        checked, quarantined, _ = check([(1, 10), (2, 10)], "none", **known)
        assert (checked.read, checked.keys, checked.refused, quarantined) == (2, 2, 0, [])


def test_the_message_counts_rows_and_keys(check):
    _, _, messages = check([(None, 10), (1, 10), (1, 20), (1, None), (2, 10), (2, 10), (3, 10)], "latest")
    assert messages == ["5 rows went to `q`: 1 without a key, 4 of 2 repeated keys"]
