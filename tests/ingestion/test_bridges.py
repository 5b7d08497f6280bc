"""Two layouts, one table: bridges, stand-ins for what older rows lack, and what is said where a layout drifts."""

import datetime as dt
import json
import os
import random
from pathlib import Path

import deltalake
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keyfold.conf import yaml
from keyfold.conf.data import Data
from keyfold.conf.use_case import parse_conf
from keyfold.conf.versions import LayoutVersion
from keyfold.core import hashing
from keyfold.core.names import WEIGHT
from keyfold.core.texts import value_texts
from keyfold.dataset import imputation
from keyfold.dataset.labelled_rows import FOLD, labelled_rows
from keyfold.engine.arrow_types import arrow_type, type_name
from keyfold.engine.columns import col, lit
from keyfold.ingestion import bridges, layout_reader, source_files
from keyfold.ingestion.increments import sum_counts
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training import job
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep
from places import ROOT
from test_bad_input import refusal
from two_layouts import FROM, NEW, OLD, conf

DATA = os.environ.get("KEYFOLD_TEST_DATA")
OLD_HEADER, NEW_HEADER = "no,start,amount,code,kind", "id,at,amount,card,age,y"


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / f"{name}.csv").write_text("\n".join([*lines, ""]), "utf-8")
    return folder


def old_row(i, rng):
    amount = rng.choice(["1.0", "2", "3.5", ""])
    kind = rng.choice(["Subscriber", "Customer", "Customer", "Guest", ""])
    return f"{i},2020-04-01 00:00:{i % 60:02}.5,{amount},{rng.choice(['C', 'K', ''])},{kind}"


def new_row(i, rng):
    return f"n{i},2021-04-01 00:00:{i % 60:02},{i},{rng.choice(['cash', 'visa', 'visa', 'amex'])},{20 + i % 3},{rng.choice(['member', 'casual'])}"


@pytest.fixture
def folder(tmp_path):
    rng = random.Random(0)
    old = [OLD_HEADER, *(old_row(i, rng) for i in range(100))]
    return write(tmp_path / "files", old_1=old, new_1=[NEW_HEADER, *(new_row(i, rng) for i in range(200))])


def bridged(engine, folder):
    rows = layout_reader.read_layouts(engine, parse_conf(conf(folder)).data).rows
    return sorted(rows.drop("keyfold_file", "keyfold_raw", "keyfold_line").rows(), key=repr)


def test_a_bridge_of_two_parts_is_that_of_one_then_of_the_other(embedded, home, tmp_path):
    rng = random.Random(1)
    rows = [old_row(i, rng) for i in range(120)]
    new = [NEW_HEADER, new_row(0, rng)]
    whole = bridged(embedded, write(tmp_path / "whole", old=[OLD_HEADER, *rows], new=new))
    parts = bridged(embedded, write(tmp_path / "parts", old_a=[OLD_HEADER, *rows[:50]], old_b=[OLD_HEADER, *rows[50:]], new=new))
    assert len(whole) == 121
    assert whole == parts


def test_rows_that_cannot_be_brought_over_are_quarantined_and_counted_by_file(embedded, home, folder):
    run = Run(parse_conf(conf(folder)), embedded)
    ingest(run)
    old = pd.read_csv(folder / "old_1.csv", keep_default_na=False, dtype=str)
    lossy, unmapped = old.amount == "3.5", old.kind == "Guest"
    aside = deltalake.DeltaTable(str(run.quarantine.path)).to_pandas()
    assert aside.reason.value_counts().to_dict() == {
        "`amount` cannot be cast to bigint without loss": lossy.sum(),
        "`kind` has a value that the map of `y` lacks": (unmapped & ~lossy).sum(),
    }
    assert set(json.loads(aside.raw[0])) == set(OLD)
    kept = deltalake.DeltaTable(str(run.rows.path)).to_pandas()
    assert kept.groupby(["keyfold_layout", "is_bridged"]).size().to_dict() == {
        ("new", False): 200, ("old", True): 100 - (lossy | unmapped).sum(),
    }  # fmt: skip
    assert kept[kept.is_bridged].card.dropna().eq("cash").all() and kept[kept.is_bridged].age.isna().all()
    assert "no,start" not in kept.columns and list(NEW) == list(kept.columns[:6])
    page = run.write_report().read_text("utf-8")
    said = f'old_1.csv</td><td class="n">100</td><td class="n">{100 - len(aside)}</td><td class="n">{len(aside)}</td>'
    assert said in page
    assert "`code` by a map of 1 values; else missing: distribution" in page
    again = Run(parse_conf(conf(folder)), embedded)
    ingest(again)
    assert again.jobs[0].status == "done before"


def test_weights_and_stand_ins_are_no_reason_to_ingest_anew(folder):
    one, other = parse_conf(conf(folder)), conf(folder)
    other["data"]["versions"][0] |= {"weight": 0.1, "columns_from": FROM | {"age": {"missing": "most_frequent"}}}
    assert source_files.reading_options(one) == source_files.reading_options(parse_conf(other))
    other["data"]["versions"][0]["columns_from"] = FROM | {"age": {"constant": 1.0}}
    assert source_files.reading_options(one) != source_files.reading_options(parse_conf(other))


def current(wanted, **more):
    return Data(key=["c"], columns={"c": wanted}, **more)


AT = dt.datetime(2020, 4, 1, 23, 59, 58, 500_000)


def bridge(wanted, columns, rule, **more):
    """The values of a column `c` and why there is none, from older columns."""
    batch = pa.record_batch(columns)
    types = {field.name: type_name(field.type) for field in batch.schema}
    version = LayoutVersion(name="old", columns=types, columns_from={"c": rule})
    found = bridges.Bridge.to_current(current(wanted, **more), version).column(batch, "c")
    assert found.value.type == arrow_type(wanted)
    return found


@pytest.mark.parametrize(
    ("function", "columns", "wanted", "value"),
    [
        ("join", ["a", "n"], "string", "x 7"),
        ("join", ["a", "nothing", "n"], "string", "x 7"),
        ("join", ["nothing", "nothing"], "string", None),
        ("coalesce", ["nothing", "a"], "string", "x"),
        ("seconds", ["at", "later"], "bigint", 61),
        ("seconds", ["later", "at"], "bigint", -61),
        ("seconds", ["day", "later"], "bigint", 86_460),
        ("seconds", ["at", "never"], "bigint", None),
        ("date", ["at"], "date", AT.date()),
        ("date", ["never"], "date", None),
        ("digest", ["nothing", "nothing"], "string", None),
        ("digest", ["a", "n"], "string", "parity"),
    ],
)
def test_each_named_function(function, columns, wanted, value):
    rows = {
        "a": pa.array(["x"]), "n": pa.array([7]), "nothing": pa.nulls(1, pa.string()), "at": pa.array([AT], pa.timestamp("us")),
        "later": pa.array([dt.datetime(2020, 4, 2, 0, 1)], pa.timestamp("us")), "day": pa.array([AT.date()]),
        "never": pa.nulls(1, pa.timestamp("us")),
    }  # fmt: skip
    found = bridge(wanted, rows, {"derived": {function: columns}})
    if value == "parity":
        parts = [hashing.value_hash(pa.array(["x"])), hashing.value_hash(pa.array([7]))]
        halves = [hashing.feature_hash(f"bridge:c:{half}", parts).view(np.uint64)[0] for half in (0, 1)]
        value = "".join(f"{half:016x}" for half in halves)
    assert (found.value.to_pylist(), found.reason.to_pylist()) == ([value], [None])


@pytest.mark.parametrize(
    ("had", "wanted", "value", "became"),
    [
        ("double", "bigint", 3.0, 3), ("double", "bigint", 3.5, "lost"), ("double", "bigint", float("nan"), "lost"),
        ("bigint", "int", 2**31, "lost"), ("bigint", "double", 2**53 + 1, "lost"),
        ("bigint", "string", 3678, "3678"), ("string", "bigint", " 12 ", 12), ("string", "bigint", " ", None),
        ("string", "bigint", "JC105", "lost"), ("timestamp_ntz", "date", dt.datetime(2020, 4, 1), dt.date(2020, 4, 1)),
        ("timestamp_ntz", "date", dt.datetime(2020, 4, 1, 1), "lost"), ("bigint", "boolean", 2, "lost"),
        ("bigint", "boolean", None, None),
    ],
)  # fmt: skip
def test_a_type_is_brought_over_without_loss_or_not_at_all(had, wanted, value, became):
    found = bridge(wanted, {"o": pa.array([value], arrow_type(had))}, {"renamed": "o"})
    lost = f"`o` cannot be cast to {wanted} without loss"
    assert (found.value.to_pylist(), found.reason.to_pylist()) == ([None], [lost]) if became == "lost" else ([became], [None])


@pytest.mark.parametrize(
    ("had", "wanted", "value", "became"),
    [
        ("string", "timestamp", "2020-07-01 12:00", "2020-07-01 10:00:00"), ("string", "timestamp", "2020-07-01T12:00:00Z", "2020-07-01 12:00:00"),
        ("timestamp_ntz", "timestamp", "2020-01-01 12:00:00.5", "2020-01-01 11:00:00.5"), ("date", "timestamp", "2020-07-01", "2020-06-30 22:00:00"),
        ("timestamp", "timestamp_ntz", "2020-07-01 10:00:00Z", "2020-07-01 12:00:00"), ("timestamp", "date", "2020-06-30 22:00:00Z", "2020-07-01"),
        ("timestamp", "date", "2020-07-01 00:00:00Z", None), ("timestamp", "timestamp_ntz", "2020-10-25 01:30:00Z", None),
        ("string", "bigint", "1.234", "1234"), ("string", "double", "1.23", None),
    ],
)  # fmt: skip
def test_older_times_are_of_the_declared_zone_and_older_numbers_grouped_as_declared(had, wanted, value, became):
    old = pa.array([value]).cast(arrow_type(had))
    found = bridge(wanted, {"o": old}, {"renamed": "o"}, zone="Europe/Berlin", csv={"thousands": "."})
    why = None if became else f"`o` cannot be cast to {wanted} without loss"
    assert (value_texts(found.value).to_pylist(), found.reason.to_pylist()) == ([became], [why])


def test_mapped_values_and_constants():
    codes = {"o": pa.array(["C", "x", None, "D"])}
    found = bridge("boolean", codes, {"mapped": "o", "values": {"C": True, "D": False}})
    assert found.value.to_pylist() == [True, None, None, False]
    assert found.reason.to_pylist() == [None, "`o` has a value that the map of `c` lacks", None, None]
    assert bridge("string", codes, {"mapped": "o", "values": {"C": "x"}, "missing": "distribution"}).reason.null_count == 4
    assert bridge("string", {"o": pa.array([1, 2])}, {"mapped": "o", "values": {"2": "two"}}).value.to_pylist() == [None, "two"]
    assert bridge("double", codes, {"constant": 1}).value.to_pylist() == [1.0] * 4
    assert bridge("date", codes, {"missing": "null"}).value.to_pylist() == [None] * 4


def test_older_times_without_an_offset_need_a_zone_and_odd_hours_are_counted(embedded, home, tmp_path):
    write(
        tmp_path / "f",
        old=["id,t", "1,2020-10-25 02:30", "2,2020-03-29 02:30"],
        new=["id,at", "3,2021-10-31 02:30", "4,2021-10-31T02:30:00Z"],
    )
    old = {"name": "old", "files": ["old*"], "columns": {"id": "bigint", "t": "string"}, "columns_from": {"at": {"renamed": "t"}}}
    versions = [old, {"name": "new", "files": ["new*"]}]
    data = {"source": str(tmp_path / "f"), "columns": {"id": "bigint", "at": "timestamp"}, "versions": versions, "key": ["id"]}
    code, sentence = refusal(lambda: ingest(Run(parse_conf({"name": "odd", "data": data}), embedded)))
    assert (code, sentence.partition(";")[0]) == (
        3,
        "`at` has the time `2020-03-29 02:30` without an offset, and no zone is declared",
    )
    run = Run(parse_conf({"name": "odd", "data": data | {"zone": "Europe/Berlin"}}), embedded)
    ingest(run)
    notes = next(run.rows.commits()).metadata["notes"]
    assert [note.partition(";")[0] for note in notes] == [
        "1 times do not exist in Europe/Berlin",
        "2 times exist twice in Europe/Berlin",
    ]


def test_both_layouts_are_learnt_from_and_new_rows_alone_are_measured(embedded, home, folder, monkeypatch):
    run = Run(parse_conf(conf(folder)), embedded)
    ingest(run)
    found = labelled_rows(run)
    rows = found.rows.select(["id", FOLD, "is_bridged", "card", "age", WEIGHT]).to_arrow().to_pandas()
    assert not rows[rows[FOLD] != "train"].is_bridged.any()
    assert rows.groupby("is_bridged")[WEIGHT].unique().map(list).to_dict() == {False: [1.0], True: [0.5]}
    new = pd.read_csv(folder / "new_1.csv").set_index("id")
    learnt = new.loc[rows[~rows.is_bridged & (rows[FOLD] == "train")].id]
    by = {s.column: s for s in found.imputations.of}
    assert by["age"][3:] == ([repr(float(learnt.age.mean()))], [1])
    counts = learnt.card.value_counts()
    assert by["card"][3:] == (["amex", "visa"], [counts["amex"], counts["amex"] + counts["visa"]])  # cash is the map's
    assert set(rows[rows.is_bridged].card) == {"cash", "amex", "visa"}
    assert rows[rows.is_bridged].age.eq(learnt.age.mean()).all()
    version = train(run)
    assert registry.read_text(version, imputation.IMPUTATION_FILE) == found.imputations.to_json()
    score(run, promote_or_keep(run, version))
    predictions = deltalake.DeltaTable(str(run.predictions.path)).to_pandas().set_index("id")
    table = deltalake.DeltaTable(str(run.rows.path)).to_pandas().set_index("id")
    assert sorted(predictions.index) == sorted(table.index)
    used = rows.set_index("id")[FOLD]
    assert predictions.fold.loc[used.index].equals(used.rename("fold")), "the fold that was used"
    bridged = table[table.is_bridged].index
    assert set(predictions.fold.loc[bridged].dropna()) == {"train"} and predictions.fold.loc[bridged].isna().any()
    # Where the features are those of a new row, so is the probability: the same stand-ins at scoring.
    filled = rows.set_index("id")
    visa = filled[filled.is_bridged & (filled.card == "visa")].index
    assert len(visa) and predictions.loc[visa].probability.drop_duplicates().size == 1
    assert predictions.probability.notna().all()
    lighter = conf(folder)
    lighter["data"]["versions"][0]["weight"] = 0.01
    other = Run(parse_conf(lighter), embedded)
    ingest(other)
    assert other.jobs[0].status == "done before"
    anew = []
    monkeypatch.setattr(job, "_train", anew.append)
    monkeypatch.setattr(job, "register_result", lambda *_: version)
    train(other)
    assert anew, "another weight is another model"


def test_a_split_by_what_older_rows_lack_is_refused(embedded, home, folder):
    run = Run(parse_conf(conf(folder) | {"split": {"by": "card"}}), embedded)
    ingest(run)
    assert refusal(lambda: labelled_rows(run)) == (
        2,
        "split.by: older layouts lack `card`, so it cannot decide the fold of their rows",
    )


def test_a_header_that_is_written_otherwise_is_taken_and_another_layout_is_not(embedded, home, folder):
    rng = random.Random(2)
    before = bridged(embedded, folder)
    lines = (folder / "new_1.csv").read_text().splitlines()
    swapped = [",".join(f[1:] + f[:1]) for f in (line.split(",") for line in lines)]
    write(folder, new_1=["\ufeff" + swapped[0].replace("card", " CARD "), *swapped[1:]])
    assert bridged(embedded, folder) == before
    notes = layout_reader.read_layouts(embedded, parse_conf(conf(folder)).data).notes
    assert "new_1.csv: `card` is written `CARD` (changed case); accepted" in notes
    write(folder, new_2=[NEW_HEADER.replace("card", "cards") + ",tip", f"{new_row(500, rng)},1"])
    code, sentence = refusal(lambda: ingest(Run(parse_conf(conf(folder)), embedded)))
    assert code == 3
    assert sentence.startswith(
        "new_2.csv does not have the declared layout, and nothing was written:\n"
        "  `card` is gone, and `cards` looks like it (bridge needed: renamed)\n"
        "  `tip` is new (bridge needed: unexpected)\n"
        "Paste this into the conf, and correct it:\ndata:\n"
    )
    assert "      cards:\n        renamed: card\n" in sentence
    assert not (home / "tables").exists()


def test_files_of_no_version_or_of_two_are_refused(embedded, home, folder):
    def said(files):
        made = conf(folder)
        made["data"]["versions"][0]["files"] = files
        return refusal(lambda: ingest(Run(parse_conf(made), embedded)))

    assert said(["old*.csv", "new*.csv"]) == (
        2,
        "data.versions: new_1.csv is a file of two versions; make their patterns disjoint",
    )
    assert said(["ol.csv"]) == (2, f"data.versions: `ol.csv` of version `old` matches no file in {folder}")
    write(folder, stray=["a", "1"])
    assert said(["old*.csv"]) == (
        2,
        f"data.versions: stray.csv in {folder} belongs to no version; name it in one, or move it away",
    )


def test_a_source_that_drifts_from_its_table(embedded, home, tmp_path):
    def run(columns, values):
        path = write(tmp_path / "plain", rows=[",".join(columns), values]) / "rows.csv"
        return Run(parse_conf({"name": "plain", "data": {"source": str(path), "columns": columns, "key": ["id"]}}), embedded)

    ingest(run({"id": "bigint", "n": "bigint"}, "1,1"))
    taken = run({"N": "int", "id": "bigint"}, "2,2")
    ingest(taken)
    assert [(row["id"], row["n"]) for row in taken.rows.frame().rows()] == [(2, 2)]
    code, sentence = refusal(lambda: ingest(run({"id": "bigint", "n": "double"}, "1,")))
    assert code == 3
    assert "  `n` is double, and was bigint (bridge needed: another type)\n" in sentence
    assert not taken.quarantine.exists()


def test_layouts_of_a_delta_table_are_what_was_appended(embedded, home, tmp_path):
    path = str(tmp_path / "table")
    for i in range(2):
        deltalake.write_deltalake(path, pa.table({"no": [i], "code": ["C"]}), mode="append")
    deltalake.write_deltalake(path, pa.table({"id": ["2"], "card": ["visa"]}), mode="append", schema_mode="merge")
    old = {"name": "old", "columns": {"no": "bigint", "code": "string"}, "delta": {"path": path, "versions": [0, 1]}}
    old["columns_from"] = {"id": {"renamed": "no"}, "card": {"mapped": "code", "values": {"C": "cash"}}}
    columns = {"no": "bigint", "code": "string", "id": "string", "card": "string"}
    old["columns_from"] |= {"no": {"missing": "null"}}
    versions = [old, {"name": "new", "delta": {"path": path, "versions": [2]}}]
    run = Run(parse_conf({"name": "appended", "data": {"columns": columns, "versions": versions, "key": ["id"]}}), embedded)
    ingest(run)
    found = run.rows.frame().select(["id", "card", "keyfold_layout"]).rows()
    assert sorted(tuple(row.values()) for row in found) == [("0", "cash", "old"), ("1", "cash", "old"), ("2", "visa", "new")]
    deltalake.DeltaTable(path).delete("no = 1")
    code, sentence = refusal(lambda: ingest(run))
    assert code == 3
    assert sentence.startswith(f"data.versions: version 3 of the Delta table `{path}` is a DELETE, not an append")


def test_the_chain_is_learnt_from_in_both_layouts(embedded, home):
    made = yaml.read_yaml(ROOT / "conf" / "retail.yaml")
    made["data"]["source"] |= {"rows": 6_000, "days": 90}
    run = Run(parse_conf(made | {"release": {}}), embedded)
    ingest(run)
    found = labelled_rows(run)
    thin = found.rows.where(col("keyfold_layout") == lit("thin")).to_arrow().to_pandas()
    assert set(thin.card_type) == {"cash", "debit", "visa", "mastercard", "amex"}
    cards = thin.card_type.value_counts()
    assert 0.4 < cards["visa"] / cards[["visa", "mastercard", "amex"]].sum() < 0.6
    assert len(thin[["loyalty_points", "earlier_purchases"]].drop_duplicates()) == 1


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="KEYFOLD_TEST_DATA names no folder of real data")
def test_two_months_of_trips_are_one_table_and_no_row_is_lost(embedded, home):
    made = yaml.read_yaml(ROOT / "conf" / "bikes.yaml")
    made["data"]["source"] = str(Path(DATA) / "citibike_schema")
    run = Run(parse_conf(made), embedded)
    ingest(run)
    told = next(run.rows.commits()).metadata["files"]
    files = {
        Path(n).name: dict(zip(("read", "kept", "quarantined"), sum_counts(f["periods"]), strict=True)) for n, f in told.items()
    }
    lines = {"JC-202004-citibike-tripdata.csv.gz": 9268, "JC-202102-citibike-tripdata.csv.gz": 4881}
    assert {name: of["read"] for name, of in files.items()} == lines
    assert all(of["read"] == of["kept"] + of["quarantined"] for of in files.values())
    rows = deltalake.DeltaTable(str(run.rows.path)).to_pandas()
    assert rows.ride_id.is_unique
    assert rows.groupby("keyfold_layout").size().to_dict() == {
        "2020": files[min(files)]["kept"],
        "2021": files[max(files)]["kept"],
    }
    old = rows[rows.is_bridged]
    assert old.member_casual.value_counts().to_dict() == {"member": 6692, "casual": 2576}
    assert old.rideable_type.isna().all()
    found = labelled_rows(run)
    measured = found.rows.where(col(FOLD) != lit("train")).select(["keyfold_layout"]).distinct().rows()
    assert [row["keyfold_layout"] for row in measured] == ["2021"]
    version = train(run)
    score(run, promote_or_keep(run, version))
    predictions = deltalake.DeltaTable(str(run.predictions.path)).to_pandas()
    assert len(predictions) == len(rows) and set(predictions.status) == {"scored"}
