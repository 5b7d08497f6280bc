"""The facts and the trial of the job doctor."""

from types import SimpleNamespace

import pytest

from keyfold.engine import session as sessions
from keyfold.errors import DataError
from keyfold.jobs import doctor


def test_facts_are_of_this_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "_java", lambda _: "17.0.1  /java")
    monkeypatch.setattr(doctor, "_PACKAGES", ("pyspark", "none-such"))
    monkeypatch.setattr(sessions, "parallel_tasks", lambda _: 3)
    spark = SimpleNamespace(conf=SimpleNamespace(get=lambda name, default: "2g" if name.endswith("memory") else default))
    facts = dict(doctor.environment_facts(spark))
    assert (facts["java"], facts["master"], facts["cores"]) == ("17.0.1  /java", "a Connect server", "3")
    assert (facts["memory"], facts["none-such"]) == ("2g for the driver", "not installed") and facts["pyspark"][0].isdigit()
    assert (facts["state"], facts["tables"]) == (str(tmp_path), str(tmp_path / "tables"))


def test_the_trial_leaves_no_table(monkeypatch, tmp_path):
    folders = []

    def write(_, path):
        folders.append(tmp_path / path)
        folders[0].mkdir()
        return doctor.TRIAL_ROWS

    monkeypatch.setattr(doctor, "_write_and_read", write)
    assert doctor.delta_trial(None, tmp_path / "new") >= 0
    assert folders[0].parent == tmp_path / "new" and not folders[0].exists()


def test_a_failed_trial_names_the_folder_and_the_first_line_of_the_reason(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match=r"could not be written and read in .*file \(.*File exists.*\); set KEYFOLD_HOME elsewhere"
    ):
        doctor.delta_trial(None, tmp_path / "file")

    def fail(*_):
        raise RuntimeError("no space\nat java.lang.Thread")

    monkeypatch.setattr(doctor, "_write_and_read", fail)
    with pytest.raises(DataError, match=r"\(no space\); set"):
        doctor.delta_trial(None, tmp_path)
    monkeypatch.setattr(doctor, "_write_and_read", lambda *_: 999)
    with pytest.raises(DataError, match=r"must have the 1000 rows that were written \(got 999\)"):
        doctor.delta_trial(None, tmp_path)
