"""Files that are snapshots of the same keys."""

from pathlib import Path

from drafts import Draw, drawn, frame


def test_files_that_repeat_their_keys_are_snapshots(draw: Draw, tmp_path: Path) -> None:
    draw(frame(), "m/members_2026-09.csv")
    text, conf = draw(frame(390), "m/members_2026-10.csv")
    assert conf["data"]["period"] == {"from": "file", "pattern": r"(\d{4}-\d{2})"}
    assert '# Warning: keys repeat across files ("members_2026-10.csv", "members_2026-09.csv")' in text
    assert f'write `source: "{tmp_path}/m/members_*.csv"`' in text
    for source in (tmp_path / "m", tmp_path / "m" / "members_*.csv"):
        text, conf = drawn(str(source))
        assert conf["data"]["period"] == {"from": "file", "pattern": r"(\d{4}-\d{2})"}
        assert "790 rows in 2 files" in text and "share their key" not in text


def test_files_of_other_keys_are_no_snapshots(draw: Draw, tmp_path: Path) -> None:
    draw(frame(), "m/calls_2026-09.csv")
    text, conf = draw(frame().assign(id=[f"n{i}" for i in range(400)]), "m/calls_2026-10.csv")
    assert "period" not in conf["data"] and "Warning" not in text
    draw(frame(), "n/a.csv")
    draw(frame(), "n/b.csv")
    assert "Set `time` and `period`" in drawn(str(tmp_path / "n"))[0]
