"""The engine of a conf: as the user asks, or Spark where something needs it."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from keyfold.conf.use_case import parse_conf
from keyfold.engine import spark_setup
from keyfold.engine.engine import EmbeddedEngine, SparkEngine, embedded
from keyfold.errors import ConfError
from keyfold.runtime import engine_choice
from keyfold.runtime.engine_choice import EngineChoice, choose_engine
from keyfold.runtime.run import Run
from sections import data_and_label

PLAIN = EngineChoice("embedded", "nothing here needs Spark")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """Nothing beside the conf asks for Spark; the reasons that a test adds do."""
    reasons = []
    monkeypatch.setattr(spark_setup, "reasons_for_spark", lambda: iter(reasons))
    monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("KEYFOLD_ENGINE", raising=False)
    return reasons


@pytest.fixture
def source(tmp_path):
    (tmp_path / "mine.csv").write_text("id,day,plan,churn\n1,2026-01-01,a,0\n")
    return tmp_path / "mine.csv"


def conf(source, **more):
    data = {"source": str(source), "key": ["id"], "label": "churn", "columns": {"id": "bigint"}} | more.pop("data", {})
    return parse_conf({"name": "mine", **data_and_label(data), "features": {"plan": {"one_hot": {"input_col": "plan"}}}} | more)


def test_a_conf_that_fits_is_embedded(source):
    assert choose_engine(conf(source)) == PLAIN
    assert choose_engine(conf(source, images={"input_col": "plan"})) == PLAIN
    assert choose_engine(parse_conf({"name": "mine", "data": {"key": ["id"]}})) == PLAIN


def test_other_sources_and_keys_of_content_are_embedded(tmp_path):
    """Also layouts whose older files have names that Delta would map: those are no names of the table."""
    for name in ("in/old.csv", "in/new.csv", "lake/a.parquet", "photos/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("start station id\n1\n")
    pq.write_table(pa.table({"id": [1]}), tmp_path / "lake/a.parquet")
    write_deltalake(tmp_path / "delta", pa.table({"id": [1]}))
    for source in ("lake", "delta", "photos"):
        assert choose_engine(conf(tmp_path / source, data={"key": ["content_key"]})) == PLAIN
    old = {"name": "old", "files": ["old*"], "columns": {"start station id": "bigint"}}
    old["columns_from"] = {"id": {"renamed": "start station id"}, "churn": {"missing": "null"}}
    columns = {"id": "bigint", "churn": "bigint"}
    versions = {"columns": columns, "versions": [old, {"name": "new", "files": ["new*"]}]}
    assert choose_engine(conf(tmp_path / "in", data=versions)) == PLAIN
    delta = {"path": "s3a://bucket/lake", "versions": [0, 1]}
    older = [
        {key: old[key] for key in ("name", "columns", "columns_from")} | {"delta": delta},
        {"name": "new", "files": ["*.csv"]},
    ]
    remote = choose_engine(conf(tmp_path / "in", data={"columns": columns, "versions": older}))
    assert remote == EngineChoice(
        "spark", "the embedded engine has no access to s3a://bucket/lake, which is on no disk of this machine yet"
    )


def test_the_option_precedes_the_environment_and_that_the_conf(source, monkeypatch):
    asks = conf(source, engine="spark")
    assert choose_engine(asks) == EngineChoice("spark", "the conf has `engine: spark`")
    monkeypatch.setenv("KEYFOLD_ENGINE", "embedded")
    assert choose_engine(asks) == EngineChoice("embedded", "KEYFOLD_ENGINE is `embedded`")
    assert choose_engine(asks, "spark") == EngineChoice("spark", "--engine is `spark`")
    assert choose_engine(asks, "auto") == PLAIN
    monkeypatch.setenv("KEYFOLD_ENGINE", "")
    assert choose_engine(asks).name == "spark"
    monkeypatch.setenv("KEYFOLD_ENGINE", "Spark")
    with pytest.raises(ConfError, match=r"--engine must be one of auto, embedded, spark .got `duck`."):
        choose_engine(asks, "duck")
    with pytest.raises(ConfError, match=r"KEYFOLD_ENGINE must be one of auto, embedded, spark .got `Spark`."):
        choose_engine(asks)


LACKING = [
    ({"data": {"source": "s3://bucket/rows.csv"}}, "reader for s3://bucket/rows.csv, which is on no disk of this machine"),
    (
        {"data": {"time": "at"}, "features": {"last id": {"windowed": {"input_col": "id", "over": "1 row", "take": "lag"}}}},
        "column mapping of Delta, which the column name `last id` needs (rename the feature)",
    ),
    ({"data": {"table": "lake.crm.months"}}, "access to the catalog of table `lake.crm.months`"),
    ({"score": {"into": "lake.crm.scores"}}, "access to the catalog of table `lake.crm.scores`"),
]


@pytest.mark.parametrize(("more", "part"), LACKING)
def test_what_the_embedded_engine_lacks_goes_to_spark_or_is_refused(source, more, part):
    assert choose_engine(conf(source, **more)) == EngineChoice("spark", f"the embedded engine has no {part} yet")
    with pytest.raises(ConfError) as refused:
        choose_engine(conf(source, **more, engine="embedded"))
    said = f"the conf has `engine: embedded`, and the embedded engine has no {part} yet; leave that out, or write `spark`"
    assert str(refused.value) == said
    assert choose_engine(conf(source, **more, engine="spark")).reason == "the conf has `engine: spark`"


def test_names_that_delta_must_map_go_to_spark_unless_they_are_renamed(source):
    source.write_text("id,the plan,churn\n1,a,0\n")
    assert "column mapping of Delta, which the column name `the plan` needs" in choose_engine(conf(source)).reason
    renamed = {"columns": {"id": "bigint", "plan": {"from": "the plan", "type": "string"}}}
    assert choose_engine(conf(source, data=renamed)) == PLAIN
    source.with_suffix(".jsonl").write_text('{"id": 1}\n')
    lines = {"source": str(source.with_suffix(".jsonl")), "columns": {"id": "bigint", "a b": "string"}}
    assert "`a b`" in choose_engine(conf(source, data=lines)).reason


def write_odd_table(folder):
    """The log of a table without rows that has deletion vectors."""
    log = folder / "_delta_log"
    log.mkdir(parents=True)
    features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    metadata = {"id": "1", "format": {"provider": "parquet", "options": {}}, "partitionColumns": [], "configuration": {}}
    column = {"name": "id", "type": "long", "nullable": True, "metadata": {}}
    schema = json.dumps({"type": "struct", "fields": [column]})
    actions = [
        {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7} | features},
        {"metaData": metadata | {"schemaString": schema}},
    ]
    (log / f"{0:020}.json").write_text("\n".join(map(json.dumps, actions)))


@pytest.mark.parametrize("table", ["rows", "quarantine", "predictions"])
def test_a_table_with_features_that_need_spark_goes_to_spark(source, tmp_path, table):
    write_odd_table(tmp_path / "state/tables/mine" / table)
    assert choose_engine(conf(source)).reason.endswith(f"no support for deletionVectors of table `mine.{table}` yet")


def test_a_delta_source_with_features_that_need_spark_goes_to_spark(tmp_path):
    write_odd_table(tmp_path / "lake")
    assert choose_engine(conf(tmp_path / "lake")).reason.endswith(
        f"no support for deletionVectors of table `{tmp_path}/lake` yet"
    )


def test_a_remote_place_goes_to_spark(source, monkeypatch):
    monkeypatch.setenv("KEYFOLD_HOME", "s3a://bucket/state")
    assert "no access to s3a://bucket/state" in choose_engine(conf(source)).reason


def test_files_larger_than_the_memory_go_to_spark(source, monkeypatch):
    size = source.stat().st_size
    monkeypatch.setattr(engine_choice, "memory_limit", lambda: size)
    assert choose_engine(conf(source)) == PLAIN
    (source.parent / "more.csv").write_text(source.read_text())
    assert choose_engine(conf(source.parent / "*.csv")).name == "spark"
    assert choose_engine(conf(source.parent / "*.csv"), "embedded").name == "embedded", "the limit is advice"


def test_surroundings_come_after_the_conf(source, surroundings):
    surroundings.append("a Spark session is active")
    assert choose_engine(conf(source)) == EngineChoice("spark", "a Spark session is active")
    assert choose_engine(conf(source), "embedded").name == "embedded"
    assert choose_engine(conf(source, **LACKING[0][0])).reason.startswith("the embedded engine has no")


def test_files_that_cannot_be_read_are_left_to_the_job(source, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "broken.csv").symlink_to(tmp_path / "nowhere")
    for name in ("empty.csv", "broken.csv", "none.csv", "none*.csv"):
        assert choose_engine(conf(tmp_path / name)) == PLAIN


def test_a_run_without_an_engine_takes_the_one_of_its_conf(source, surroundings, monkeypatch, capsys):
    run = Run(conf(source), period="2026-01")
    assert (run.engine, run.period) == (embedded(), "2026-01") and isinstance(run.engine, EmbeddedEngine)
    assert capsys.readouterr().err == "engine    embedded: nothing here needs Spark\n"
    monkeypatch.setattr("keyfold.engine.session.session", lambda name: name)
    monkeypatch.setattr(spark_setup, "missing_for_spark", lambda: None)
    surroundings.append("a Spark session is active")
    monkeypatch.setattr(SparkEngine, "__init__", lambda self, spark: setattr(self, "_spark", spark))
    monkeypatch.setattr("keyfold.engine.tables._catalog_configured", lambda _: False)
    assert Run(conf(source)).engine.spark == "keyfold mine"
    assert capsys.readouterr().err == "engine    spark: a Spark session is active\n"


def test_what_is_missing_for_spark_is_told_with_what_needs_it(source, monkeypatch, capsys):
    monkeypatch.setattr(spark_setup, "missing_for_spark", lambda: "Java")
    needs = r"^this needs Spark \(the embedded engine has no access to the catalog of table `lake.crm.months` yet\); Spark needs Java$"
    with pytest.raises(ConfError, match=needs):
        Run(conf(source, **LACKING[2][0]))
