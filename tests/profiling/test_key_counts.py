"""Missing and repeated keys."""

import pytest

from drafts import Write, look, table


def test_missing_and_repeated_keys_give_warnings(write: Write) -> None:
    text, _ = look(write(table(id=["", "", "a", "a", "b", "b", *range(14)])))
    assert "# Warning: 2 rows have no key; they will be quarantined." in text
    assert "# Warning: 4 rows share their key with another row; they will be quarantined." in text
    assert "# `ingest` will refuse the files: it would quarantine more rows than data.max_quarantine, 0.1, allows." in text
    assert "# For another key: no column is unique; `--key A,B` combines several, `--key content`" in text
    assert "Warning" not in look(write(table()))[0]


@pytest.mark.parametrize(("days", "period"), [(["2026-09-01", "2026-10-01"], "month"), (["2026-10-01", "2026-10-02"], "day")])
def test_the_period_is_one_in_which_keys_are_unique(write: Write, days: list[str], period: str) -> None:
    text, conf = look(write(table(id=[i // 2 for i in range(20)], t=days * 10)), time="t")
    assert (conf["data"]["time"], conf["data"]["period"]) == ("t", period)
    assert "Warning" not in text
