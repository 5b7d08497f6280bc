"""The drafted conf as a whole: options, splits, models, errors, and that it runs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pandas as pd
import pytest

from drafts import Draw, Write, drawn, frame, look, series, table
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError, KeyfoldError
from keyfold.ingestion.job import ingest
from keyfold.profiling.draft_conf import draft_conf
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep
from places import ROOT

JOB = ROOT / "jobs" / "init.py"
TELCO = "churn_telco/telco-customer-churn-by-IBM.csv"


@pytest.fixture
def telco() -> str:
    path = Path(os.environ.get("KEYFOLD_TEST_DATA", "")) / TELCO
    if not path.is_file():
        pytest.skip(f"KEYFOLD_TEST_DATA has no {TELCO}")
    return str(path)


def run(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(JOB), *args], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("key", [["shop"], ["shop", "day"]])
def test_few_series_are_split_by_time(draw: Draw, key: list[str]) -> None:
    text, conf = draw(series(3), key=key, label="sales", time="day")
    assert conf["split"] == {"time": {"validation": "2026-02-18", "test": "2026-02-24"}}
    assert "# 3 series are too few for folds by key, so" in text
    assert conf["data"]["period"] == ("day" if key == ["shop"] else "month")
    assert [*conf["features"]] == ["shop", "day", "visits", "sales_before", "sales_mean_7"]
    assert conf["features"]["shop"] == {"one_hot": {"input_col": "shop"}}


def test_one_series_and_a_content_key(draw: Draw) -> None:
    _, conf = draw(series(1), key=["day"], label="sales", time="day")
    assert conf["features"]["sales_before"]["windowed"]["by"] == [] and "time" in conf["split"]
    _, conf = draw(series(2), key=["content"], label="sales", time="day")
    assert (conf["data"]["key"], conf["data"]["period"]) == ("content", "month")
    assert "time" in conf["split"] and "sales_before" not in conf["features"]


def test_small_tables_have_larger_test_folds(draw: Draw) -> None:
    assert draw(frame(2_000))[1]["split"]["share"] == {"train": 0.8, "validation": 0.1, "test": 0.1}
    assert draw(frame(300))[1]["split"]["share"] == {"train": 0.7, "validation": 0.1, "test": 0.2}
    text, conf = draw(frame(60))
    assert conf["split"]["share"] == {"train": 0.6, "validation": 0.1, "test": 0.3}
    assert "It does not run yet" in text and "fewer than 10 rows of a class" in text


def test_many_series_stay_whole(draw: Draw) -> None:
    _, conf = draw(series(201), key=["shop", "day"], label="sales", time="day")
    assert conf["split"]["by"] == ["shop"] and "time" not in conf["split"]


def test_the_conf_is_written_to_a_file_once(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(frame().to_csv(index=False))
    out = tmp_path / "mine.yaml"
    command = [sys.executable, str(JOB), str(tmp_path / "mine.csv"), "--key", "id", "--label", "y", "--out", str(out)]
    first, again = (subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(2))
    assert (first.returncode, first.stderr) == (0, "")
    assert out.read_text() == draft_conf(str(tmp_path / "mine.csv"), ["id"], "y")
    assert again.returncode == 2 and "already; give another name, or delete it" in again.stderr


def test_a_conf_for_few_series_runs(engine: Any, home: Path, draw: Draw) -> None:
    table = series(3)
    table["sales"] = 20 + table.visits + 3 * (pd.to_datetime(table.day).dt.dayofweek == 5) + np.arange(len(table)) % 3
    text, conf = draw(table, key=["shop"], label="sales", time="day")
    assert "# visits" not in text
    run = Run(parse_conf(conf), engine)
    ingest(run)
    score(run, promote_or_keep(run, train(run)))
    found = deltalake.DeltaTable(str(run.predictions.path)).to_pandas()
    assert [*found.shop] and set(found.status) == {"scored"} and len(found) == 3


def test_a_conf_for_snapshots_from_excel_runs(engine: Any, home: Path, draw: Draw, tmp_path: Path) -> None:
    def month(of: range, label: Callable[[int], str]) -> str:
        rows = (
            f"{i:05};{i % 50},{i % 10}0;{1 + i % 9}.{i % 1000:03},25;{i % 28 + 1:02}.0{i % 9 + 1}.2025;{label(i)}" for i in of
        )
        return "sep=;\nKunden-Nr;Größe (m²);Umsatz €;Datum;Gekündigt\n" + "\n".join(rows) + "\n"

    draw(
        month(range(400), lambda i: "Ja" if i % 50 + 3 * (i % 13) < 40 else "Nein"),
        "m/kunden_2026-09.csv",
        key=["Kunden-Nr"],
        label="Gekündigt",
    )
    (tmp_path / "m" / "kunden_2026-10.csv").write_text(month(range(10, 410), lambda _: ""))
    text, conf = drawn(str(tmp_path / "m"), key=["Kunden-Nr"], label="Gekündigt")
    assert "It runs as it is." in text
    run = Run(parse_conf(conf), engine)
    ingest(run)
    score(run, promote_or_keep(run, train(run)))
    rows = deltalake.DeltaTable(str(run.rows.path)).to_pandas()
    assert (len(rows), rows.grosse_m2.isna().sum(), rows.umsatz.max()) == (800, 0, 9404.25)
    found = deltalake.DeltaTable(str(run.predictions.path)).to_pandas()
    assert set(found.period) == {"2026-10"} and set(found.status) == {"scored"} and len(found) == 400


def test_many_numbers_are_a_regression(write: Write) -> None:
    _, conf = look(write(table(y=[i % 9 + 0.5 for i in range(20)])))
    assert "positive" not in conf["label"]
    estimators = [model["sklearn"]["estimator"] for model in conf["train"]["models"].values()]
    assert estimators == ["sklearn.linear_model.Ridge", "sklearn.ensemble.HistGradientBoostingRegressor"]


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"key": ["Id"]}, ConfError, "--key: {path} has no column `Id` (did you mean `id`?)"),
        ({"label": "yy"}, ConfError, "--label: {path} has no column `yy` (did you mean `y`?)"),
        ({"label": "id"}, ConfError, "the column `id` cannot be two of key, label and time"),
        ({"time": "x"}, ConfError, "--time: the column `x` must hold dates or timestamps, such as 2026-10-31 (got bigint)"),
        ({"key": ["x"], "label": "id"}, ConfError, "--label: `id` has 20 different values (`k0`, `k1`, `k2`, …)"),
        ({"name": "my churn"}, ConfError, "--name must be letters, digits and _, a letter first (got `my churn`; `my_churn`"),
        ({"encoding": "punycode"}, ConfError, "--encoding must be an encoding that Python knows, such as utf-8"),
        ({"encoding": "nonsense"}, ConfError, "(got `nonsense`)"),
    ],
)
def test_wrong_options(write: Write, options: dict[str, Any], error: type[KeyfoldError], sentence: str) -> None:
    path = write(table())
    with pytest.raises(error) as raised:
        draft_conf(path, **{"key": ["id"], "label": "y"} | options)
    assert sentence.format(path=path) in str(raised.value)


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"", "m.csv", "is empty"),
        (b"\n \n", "m.csv", "is empty"),
        (b"id,y\n", "m.csv", "has no rows"),
        (b"", "m.jsonl", "has no rows"),
        (b'[\n{"id": 1,\n"y": 2}]', "m.json", "is JSON over several lines; write one object per line"),
        (b"1\n2\n", "m.json", "has no rows: 2 × the line is not a JSON object"),
        (b"id,y\n1,2\n3,caf\xe9\n", "m.csv", "line 3 is not UTF-8 (byte 0xe9); save the file as UTF-8 or name its encoding"),
        (b"id,y\n" + b"1,2\n" * 2_000_000 + b"3,caf\xe9\n", "m.csv", "line 2000002 is not UTF-8"),
        ("id,y\n1,2\n".encode("utf-16"), "m.csv", "line 1 is not UTF-8 (byte 0xff)"),
        (b'{"id": 1, "y": "caf\xe9"}\n', "m.jsonl", "line 1 is not UTF-8 (byte 0xe9)"),
        (b"id,y\n1,\x80 5\n", "m.csv", "is not UTF-8 (byte 0x80); it looks like Windows-1252, in which this is `1,€`"),
        (b"no parquet", "m.parquet", "cannot be read"),
        (b"PK\x03\x04", "m.csv", "is a zip archive or an Excel workbook, not text"),
        (b"PK\x03\x04", "m.xlsx", "is an Excel workbook; save its sheet as CSV"),
        (b"\x1f\x8bno gzip", "m.csv.gz", "cannot be read"),
        (b"id,y,x\n1,Yes,1\n2,Yes,2\n", "m.csv", "the label `y` has only the value `Yes`; there is nothing to predict"),
        (b"id,y,x\n1,,1\n2,,2\n", "m.csv", "the label `y` has no value"),
        (b"id,y,x\n1,a,1\n2,b,1\n", "m.csv", "no column is left to learn from:"),
    ],
)
def test_unusable_files_are_refused(write: Write, content: bytes, name: str, sentence: str) -> None:
    with pytest.raises(DataError) as raised:
        draft_conf(write(content, name), ["id"], "y")
    assert sentence in str(raised.value)


def test_the_job_prints_the_conf_and_nothing_else(write: Write) -> None:
    path = write(table(**{"a,b": ["u", "v"] * 10}))
    done = run(path, "--key", 'id,"a,b"', "--label", "y")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == draft_conf(path, ["id", "a,b"], "y")


def test_errors_are_one_line_unless_the_trace_is_asked_for(write: Write) -> None:
    path = write(table())
    wrong = [path, "--key", "id", "--label", "z"]
    done = run(*wrong)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Traceback" in run(*wrong, "--debug").stderr
    assert run(write(b"", "empty.csv"), "--key", "id", "--label", "y").returncode == 3


def test_telco_total_charges_is_a_number_with_11_missing(telco: str) -> None:
    text, conf = look(telco, key=["customerID"], label="Churn")
    assert "    TotalCharges: double  # 11 missing\n" in text
    assert (conf["label"]["positive"], len(conf["features"])) == ("Yes", 19)
    assert "Warning" not in text


def test_telco_features_make_a_good_model(telco: str) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    features = look(telco, key=["customerID"], label="Churn")[1]["features"].values()
    frame = pd.read_csv(telco, na_values=[" "])
    numbers = frame[[f["numeric"]["input_col"] for f in features if "numeric" in f]]
    texts = pd.get_dummies(frame[[f["one_hot"]["input_col"] for f in features if "one_hot" in f]], dtype=float)
    y = (frame.Churn == "Yes").to_numpy()
    areas = []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(y))
        train, test = order[: int(0.8 * len(y))], order[int(0.9 * len(y)) :]
        mean, deviation = numbers.iloc[train].mean(), numbers.iloc[train].std(ddof=0)
        x = np.hstack([((numbers.fillna(mean) - mean) / deviation), texts])
        model = LogisticRegression(max_iter=1_000).fit(x[train], y[train])
        areas.append(roc_auc_score(y[test], model.predict_proba(x[test])[:, 1]))
    assert np.mean(areas) >= 0.835


def test_several_texts_are_classes(write: Write) -> None:
    text, conf = look(write(table(y=["cat", "dog", "cat", "eel", "cat"] * 4)))
    assert conf["label"] == "y" and "# 3 classes: 12 × cat, 4 × dog, 4 × eel\n" in text
    estimators = [model["sklearn"]["estimator"] for model in conf["train"]["models"].values()]
    assert estimators == ["sklearn.linear_model.LogisticRegression", "sklearn.ensemble.HistGradientBoostingClassifier"]
    assert conf["release"]["promote_if"] == {"roc_auc_ovr": {"at_least": 0.6}}
    assert ", …\n" in look(write(table(y=[f"c{i % 10}" for i in range(20)])))[0]


def test_gradient_boosting_is_no_candidate_where_it_cannot_be_trained(write: Write) -> None:
    words = [f"the {i}th note of a customer" for i in range(400)]
    cities = [f"city {i % 150}" for i in range(400)]
    for name, values in {"note": words, "city": cities}.items():
        text, conf = look(write(frame(**{name: values}).to_csv(index=False)))
        assert conf["train"]["model"]["sklearn"]["estimator"] == "sklearn.linear_model.LogisticRegression"
        assert (
            f"Gradient boosting is no candidate: it takes categories of at most 255 values and no texts, unlike {name}.\n" in text
        )
    few = frame(city=[f"city {i % 90}" for i in range(400)])
    assert conf["train"].keys() == {"model"} and "models" in look(write(few.to_csv(index=False)))[1]["train"]
    many = pd.DataFrame({"id": range(400), "y": [f"class {i % 40}" for i in range(400)], "x": [i * 7 % 31 for i in range(400)]})
    assert "it grows trees for each class, and the label has more than 30." in look(write(many.to_csv(index=False)))[0]


def test_a_column_that_tells_the_class_is_left_out(write: Write) -> None:
    names = [("cat", "dog", "eel", "fox")[i % 4] for i in range(400)]
    columns = {"id": range(400), "y": names, "code": [name.upper() for name in names], "x": [i * 7 % 31 for i in range(400)]}
    text, conf = look(write(pd.DataFrame(columns).to_csv(index=False)))
    assert conf["features"].keys() == {"x"} and "it alone predicts the label (ROC AUC 1.000" in text


@pytest.mark.parametrize(
    ("numbers", "skewed"),
    [
        (np.random.default_rng(0).lognormal(3, 1, 400).round(2), True),
        (np.append(np.random.default_rng(0).lognormal(3, 1, 399).round(2), 0), False),  # no logarithm
        (np.random.default_rng(0).normal(50, 9, 400).round(2), False),
        (np.array([1, 1, 1, 1, 1, 1, 1, 1, 2, 100] * 40), False),  # scores
    ],
    ids=["skewed", "zero", "even", "few"],
)
def test_the_logarithm_of_skewed_numbers_is_learnt(write: Write, numbers: Any, skewed: bool) -> None:
    columns = {"id": range(400), "y": numbers, "x": [i % 7 for i in range(400)]}
    text, conf = look(write(pd.DataFrame(columns).to_csv(index=False)))
    assert conf["label"] == ({"column": "y", "transform": "log"} if skewed else "y")
    assert ("all above 0 and skewed" in text) == skewed
