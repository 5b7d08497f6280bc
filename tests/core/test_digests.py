"""Digests of values and of folders."""

import pytest

from keyfold.core.digests import canonical_json, digest, folder_digest


def test_equal_values_have_equal_digests():
    assert digest({"b": 1, "a": [2, "é"]}) == digest({"a": [2, "é"], "b": 1}) != digest({"a": ["é", 2], "b": 1})
    assert canonical_json({"b": 1, "a": [2, "é"]}) == '{"a":[2,"é"],"b":1}'
    assert digest([]) == "4f53cda18c2baa0c0354bb5f9a3ecbe5"


def test_numbers_that_json_lacks_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        digest([float("nan")])


def test_a_folder_is_its_files_names_and_links(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("1")
    before = folder_digest(tmp_path)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "b").write_text("2")
    assert folder_digest(tmp_path, ["cache"]) == before != folder_digest(tmp_path)
    (tmp_path / "in" / "a").rename(tmp_path / "in" / "c")
    assert folder_digest(tmp_path, ["cache"]) != before
    (tmp_path / "in" / "a").symlink_to("/nowhere")
    assert len(folder_digest(tmp_path, ["cache"])) == 32
