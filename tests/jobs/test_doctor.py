"""The facts and the trial of the job doctor."""

import re
from types import SimpleNamespace

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.engine import spark_setup
from keyfold.errors import DataError
from keyfold.jobs import doctor


def facts(conf=None):
    return dict(doctor.environment_facts(conf))


def test_facts_are_of_this_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "_PACKAGES", ("pyarrow", "none-such"))
    found = facts()
    assert found["none-such"] == "not installed" and found["pyarrow"][0].isdigit()
    assert (found["state"], found["tables"]) == (str(tmp_path), str(tmp_path / "tables"))
    session = SimpleNamespace(conf=SimpleNamespace(get=lambda name, default: "2g" if name.endswith("memory") else default))
    assert dict(doctor.spark_facts(session)) == {"master": "a Connect server", "driver": "2g of memory"}


def test_facts_tell_what_each_engine_needs_and_finds(monkeypatch):
    monkeypatch.setattr(spark_setup, "missing_for_spark", lambda: None)
    monkeypatch.setattr(spark_setup, "java", lambda: None)
    assert re.fullmatch(r"duckdb \d\S+, deltalake \d\S+; \d+ cores, [\d,.]+ GB of memory", facts()["embedded"])
    assert re.fullmatch(r"pyspark \d\S+, delta-spark \d\S+, Java elsewhere", facts()["spark"])
    monkeypatch.setattr(spark_setup, "missing_for_spark", lambda: "Java")
    assert facts()["spark"] == "cannot start: it needs Java"


def test_facts_tell_which_engine_a_conf_gets(monkeypatch):
    reasons = []
    monkeypatch.setattr(spark_setup, "reasons_for_spark", lambda: iter(reasons))
    monkeypatch.delenv("KEYFOLD_ENGINE", raising=False)
    conf = {"name": "mine", "data": {"key": ["id"]}}
    assert facts()["engine"].startswith("embedded, unless a conf needs Spark")
    assert facts(parse_conf(conf))["engine"] == "embedded for this conf: nothing here needs Spark"
    assert facts(parse_conf(conf | {"engine": "spark"}))["engine"] == "spark for this conf: the conf has `engine: spark`"
    reasons.append("MASTER is set")
    assert facts()["engine"] == "spark: MASTER is set"


def test_the_trial_leaves_no_file(engine, tmp_path):
    assert doctor.delta_trial(engine, tmp_path / "new") >= 0
    assert [*(tmp_path / "new").iterdir()] == []


def test_a_failed_trial_names_the_folder_and_the_first_line_of_the_reason(monkeypatch, tmp_path, embedded):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match=r"could not be written and read in .*file \(.*File exists.*\); set KEYFOLD_HOME elsewhere"
    ):
        doctor.delta_trial(embedded, tmp_path / "file")

    def fail(*_):
        raise RuntimeError("no space\nat java.lang.Thread")

    monkeypatch.setattr(doctor, "_write_and_read", fail)
    with pytest.raises(DataError, match=r"\(no space\); set"):
        doctor.delta_trial(embedded, tmp_path)
    monkeypatch.setattr(doctor, "_write_and_read", lambda *_: 999)
    with pytest.raises(DataError, match=r"must have the 1000 rows that were written \(got 999\)"):
        doctor.delta_trial(embedded, tmp_path)
