"""Scoring: one row per key, also for faulty tables and foreign models, and tables of actions."""

import csv
import json
import os

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from delta_log import age, restore, update
from keyfold.conf.use_case import parse_conf
from keyfold.engine.columns import col, lit
from keyfold.engine.commit_records import RECORDS
from keyfold.engine.home import home
from keyfold.engine.tables import Table
from keyfold.errors import DataError, PromiseError
from keyfold.jobs.rebuild_ledger import rebuild_ledger
from keyfold.models import predictor
from keyfold.runtime.run import Run
from keyfold.scoring import key_check
from keyfold.scoring.job import _compare_environments, score
from keyfold.tracking import model_folder, registry
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep

KEYS = [2**53 + 1, 2**63 - 1, -(2**63), 0, -1]


def conf(table="shop.visits", **score):
    return parse_conf(
        {
            "name": "shop",
            "label": {"column": "y", "positive": True},
            "data": {"table": table, "key": ["id", "at"], "time": "seen", "period": "month"},
            "split": {"by": ["id"], "allow": ["x"]},
            "features": {"x": {"numeric": {"input_col": "x"}}, "c": {"one_hot": {"input_col": "c", "handle_unseen": "error"}}},
            "train": {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
            "score": score,
        }
    )


def visits(month, keys, seed=0):
    draw = np.random.default_rng(seed)
    x, c = draw.normal(size=len(keys)), draw.integers(0, 3, len(keys))
    seen = [pd.Timestamp(2026, month, 1 + i % 20) for i in range(len(keys))]
    return pa.table(
        {
            "id": pa.array(keys, pa.int64()), "at": pa.array([f"{c}/é" for c in c]), "seen": pa.array(seen, pa.timestamp("us", "UTC")),
            "x": x, "c": [f"c{n}" for n in c], "y": pa.array((x > 0).tolist() if month == 1 else [None] * len(keys), pa.bool_()),
        }
    )  # fmt: skip


@pytest.fixture(scope="module", params=["embedded", "spark_engine"])
def engine(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def trained(engine, tmp_path_factory, made_state):
    """A table that keyfold did not ingest, with two months without labels, and a champion."""
    home = made_state(tmp_path_factory.mktemp("score"))
    former = os.environ.get("KEYFOLD_HOME")
    os.environ["KEYFOLD_HOME"] = str(home)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    mlflow.set_tracking_uri(None)
    run = Run(conf(), engine)
    odd = visits(2, [*KEYS, *range(1, 96)])
    write(run.rows, [visits(1, range(400)), odd, visits(3, range(300), 1)])
    promote_or_keep(run, train(run))
    yield run.rows
    mlflow.set_tracking_uri(None)
    os.environ.pop("KEYFOLD_HOME") if former is None else os.environ.update(KEYFOLD_HOME=former)


def write(table, parts):
    for part in parts:
        write_deltalake(table.path, part, mode="append")


def scored(engine, period="2026-02", into="shop.predictions", table="shop.visits", **options):
    run = Run(conf(table, into=into, **options), engine, period)
    score(run)
    return run


def rows_of(run, period):
    rows = run.predictions.frame().where(col("period") == lit(period)).drop("scored_at").rows()
    return sorted((tuple(sorted(row.items(), key=str)) for row in rows), key=str)


@pytest.fixture(scope="module")
def first(engine, trained):
    """The second month is scored; the logs of the predictions and of the commit records are 45 days old and cleaned."""
    run = scored(engine)
    age(run.predictions), age(run.table(RECORDS))
    return run


def test_keys_come_out_as_they_went_in_and_running_again_is_harmless(engine, first, monkeypatch):
    """Also after a RESTORE. Keys are checked once per version of the table."""
    predictions = first.predictions.frame().to_arrow()
    assert sorted(predictions["id"].to_pylist()) == sorted([*KEYS, *range(1, 96)])
    assert set(predictions["status"].to_pylist()) == {"scored"}
    assert first.predictions.properties()["delta.dataSkippingStatsColumns"] == "`id`,`at`,`probability`"
    files = [pq.ParquetFile(path).metadata.row_group(0) for path in first.predictions.path.glob("period=*/*.parquet")]
    columns = [group.column(i) for group in files for i in range(group.num_columns)]
    assert {column.path_in_schema for column in columns if column.is_stats_set} == {"id", "at", "probability"}
    version = first.predictions.version().version
    assert scored(engine).jobs[-1].status == "done before" and first.predictions.version().version == version
    latest = first.predictions.history(1)[0].version
    next_month = scored(engine, "2026-03")
    assert any("against 2026-02: " in section.html for section in next_month.jobs[-1].sections)
    before = rows_of(first, "2026-03")
    restore(first.predictions, latest)
    assert len(before) == 300 and rows_of(first, "2026-03") == []
    monkeypatch.setattr(key_check, "count_keys", lambda *of: pytest.fail("checked again"))
    assert scored(engine, "2026-03").jobs[-1].status == "committed"
    assert rows_of(first, "2026-03") == before
    update(first.predictions, {"probability": "0.5"}, "id = 7")
    assert scored(engine, "2026-03").jobs[-1].status == "committed", "the table was changed by others"
    assert rows_of(first, "2026-03") == before


@pytest.fixture(scope="module")
def odd(engine, trained):
    """50 good rows; 3 without a key; key 0 three times, once with a later time; key 1 twice with the same time; 2 with an unseen value."""
    plain = visits(2, range(50), 3)
    copies = plain.slice(0, 1)
    later = copies.set_column(2, "seen", pa.array([pd.Timestamp(2026, 2, 27)], pa.timestamp("us", "UTC")))
    later = later.set_column(3, "x", pa.array([9.0]))
    unkeyed = plain.slice(10, 3).set_column(0, "id", pa.nulls(3, pa.int64()))
    unseen = plain.slice(20, 2).set_column(4, "c", pa.array(["c9", "c8"])).set_column(0, "id", pa.array([1000, 1001]))
    table = Run(conf("shop.odd"), engine).rows
    write(table, [plain, copies, later, plain.slice(1, 1), unkeyed, unseen])
    return table


@pytest.mark.parametrize("keep", ["none", "latest"])
def test_every_row_of_a_faulty_table_is_scored_or_quarantined(engine, odd, keep):
    run = scored(engine, into=f"{keep}.predictions", table="shop.odd", keep=keep, max_quarantine=0.5)
    found = {row["id"]: row for row in run.predictions.frame().rows()}
    assert sorted(found) == [*range(50), 1000, 1001], "one row per key"
    refused = {key: row["reason"] for key, row in found.items() if row["status"] == "quarantined"}
    assert refused.pop(1) == "the key occurs 2 times in the period"
    assert "`c` has a value that was not there at fitting" in refused.pop(1000) and "c8" in refused.pop(1001)
    assert refused == ({} if keep == "latest" else {0: "the key occurs 3 times in the period"})
    quarantined = [json.loads(row["raw"]) for row in run.quarantine.frame().rows() if row["run_id"] == run.jobs[-1].run_id]
    assert sorted(str(row["id"]) for row in quarantined) == sorted(
        ["None"] * 3 + ["0"] * (2 if keep == "latest" else 3) + ["1"] * 2
    )
    if keep == "latest":
        assert found[0]["probability"] > 0.9 and 9.0 not in [row["x"] for row in quarantined]
        again = scored(engine, into=f"{keep}.predictions", table="shop.odd", keep=keep, max_quarantine=0.5)
        assert again.jobs[-1].status == "done before"
    job = run.jobs[-1]
    assert job.counts["read"] == 58 and job.counts["scored"] + job.counts["quarantined"] == 52


def test_too_many_without_a_prediction_leave_the_period_as_it_was(engine, first, odd, monkeypatch):
    """Also if the job is killed between the commit and its check."""
    before = rows_of(first, "2026-02")
    with pytest.raises(DataError, match=r"8 of 58 rows cannot be scored; see .*13.8%, and score.max_quarantine is 10.0%"):
        scored(engine, table="shop.odd")
    assert rows_of(first, "2026-02") == before
    limit = {"table": "shop.odd", "keep": "latest", "max_quarantine": 0.13}
    with monkeypatch.context() as killed:
        killed.setattr(Table, "_put_back", lambda *_, **__: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            scored(engine, **limit)
    assert rows_of(first, "2026-02") != before
    with pytest.raises(DataError, match=r"9 of 58 rows cannot be scored \(1 × column `c`.*15.5%"):
        scored(engine, **limit)
    assert rows_of(first, "2026-02") == before
    rebuild_ledger(first)
    recorded, current = (
        {row["run_id"] for row in table.frame().rows()} for table in (first.table("keyfold.runs"), first.predictions)
    )
    assert first.jobs[0].run_id in recorded == current, "no run whose rows were put back"


def test_a_model_is_loaded_once_per_worker(spark, trained, tmp_path):
    def count_loads(batches):
        from keyfold.models import predictor

        for _ in batches:
            yield pa.RecordBatch.from_pydict({"loads": [[*predictor.loads.values()]]})

    for period in ("2026-03", "2026-01"):
        scored(spark, period, "all.predictions")
    found = spark.range(8).repartition(8).mapInArrow(count_loads, "loads array<bigint>").distinct().collect()
    # Spark ends workers that were idle for a minute, so on a busy machine none may be left that has loaded the model.
    assert {n for row in found for n in row.loads} <= {1}, "the remaining workers have scored two periods or more"
    packed = predictor.pack_folder(registry.fetch_model(registry.find_version("models:/shop@champion"), tmp_path))
    digest = predictor.bytes_digest(packed)
    assert len({id(predictor._unpacked(digest, packed)) for _ in range(3)}) == predictor.loads[digest] == 1


# --- which model ---


def test_a_run_names_its_model_and_files_that_were_changed_are_refused(engine, trained, tmp_path):
    version = registry.find_version("models:/shop@champion")
    assert registry.find_version(f"runs:/{version.mlflow_run_id}") == version
    with pytest.raises(DataError, match="run `abc` has registered no model"):
        registry.find_version("runs:/abc")
    (described,) = home().joinpath("artifacts").rglob("MLmodel")
    sound, ran = described.read_text(), tmp_path / "ran"
    described.write_text(sound.replace("keyfold.serving", "evil"))
    (described.parent / "code/evil.py").write_text(f"open({str(ran)!r}, 'w')")
    try:
        with pytest.raises(PromiseError, match="are not those that were registered"):
            scored(engine, into="changed.predictions")
    finally:
        described.write_text(sound)
        (described.parent / "code/evil.py").unlink()
    assert not ran.exists()


def test_other_releases_of_packages_are_named_and_refused_with_strict(engine, first, monkeypatch, tmp_path):
    release = model_folder.installed_release
    monkeypatch.setattr(
        model_folder, "installed_release", lambda name: {"skops": "0.0", "xxhash": "missing"}.get(name) or release(name)
    )
    run = Run(conf(into="strict.predictions"), engine, "2026-02")
    with pytest.raises(
        DataError,
        match=r"packages differ from those that shop version 1 was trained with: skops 0.0, not .*; xxhash missing, not .*--strict",
    ):
        score(run, strict=True)
    assert not run.predictions.exists()
    version = registry.find_version("models:/shop/1")
    differs = _compare_environments(version, ["skops 0.0, not 1.0"], strict=False)
    assert differs == (
        "packages differ from those that shop version 1 was trained with: skops 0.0, not 1.0",
        "skops 0.0, not 1.0",
    )
    assert _compare_environments(version, [], strict=True) is None
    with pytest.raises(DataError, match=r"requirements.txt is missing"):
        _compare_environments(version, model_folder.package_differences(tmp_path), strict=True)


def test_a_foreign_model_scores_if_its_digest_is_trusted(engine, trained, tmp_path):
    from mlflow.models import infer_signature

    def rule(model_input):
        if (model_input["x"] > 1.5).any():
            raise ValueError("no rule for so much")
        return (model_input["x"] * 10).round().astype("int64")

    frame = pd.DataFrame({"x": [1.0, 0.5]})
    registry.client()
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(
            name="model", python_model=rule, signature=infer_signature(frame, rule(frame)), registered_model_name="rule",
            pip_requirements=["numpy==0.1"],
        )  # fmt: skip
    options = {"model": "models:/rule/1", "into": "foreign.predictions"}
    with pytest.raises(DataError, match=r"was not trained by keyfold.*score.trust: ([0-9a-f]{32})") as refused:
        scored(engine, **options)
    with pytest.raises(DataError, match=r"the conf trusts 0{32}, and the digest of its files is"):
        scored(engine, **options, trust="0" * 32)
    run = scored(engine, **options, trust=str(refused.value)[-32:])
    found = run.predictions.frame().rows()
    x = {row["id"]: row["x"] for row in run.rows.frame().rows() if row["seen"].month == 2}
    assert {row["id"]: row["prediction"] for row in found} == {
        key: None if value > 1.5 else round(value * 10) for key, value in x.items()
    }
    assert {row["reason"] for row in found if row["status"] == "quarantined"} == {"ValueError: no rule for so much"}
    assert {row["spec_digest"] for row in found} == {str(refused.value)[-32:]}
    assert info.signature is not None


# --- actions ---


def test_actions_are_a_table_and_a_file(engine, first):
    actions = {"call": {"top": 0.1}, "write": {"over": 0.5}, "visit": {"budget": 10, "cost": 3.4}}
    run = scored(engine, actions=actions)
    rows = run.predictions.frame().where(col("period") == lit("2026-02")).rows()
    ranked = sorted(rows, key=lambda r: (-r["probability"], r["id"], r["at"]))
    wanted = {"call": ranked[:10], "write": [r for r in ranked if r["probability"] > 0.5], "visit": ranked[:2]}
    for name, expected in wanted.items():
        table = run.table(f"shop.{name}").frame().rows()
        assert {(r["id"], r["at"], r["probability"]) for r in table} == {(r["id"], r["at"], r["probability"]) for r in expected}
        file = home() / "reports" / run.jobs[-1].run_id / f"{name}.csv"
        lines = list(csv.DictReader(file.open(encoding="utf-8")))
        assert [int(line["id"]) for line in lines] == [r["id"] for r in expected]
    assert "the 10% with the highest probability" in run.jobs[-1].sections[-1].html
    versions = {name: run.table(f"shop.{name}").version() for name in wanted}
    again = scored(engine, actions=actions)
    assert {name: again.table(f"shop.{name}").version() for name in wanted} == versions, "a second run commits nothing"
