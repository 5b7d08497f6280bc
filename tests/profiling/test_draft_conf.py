"""What `init` makes of files: types, choices with reasons, warnings, and a sentence for each wrong file or option."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keyfold.conf import use_case as confs
from keyfold.conf.yaml import parse_yaml
from keyfold.errors import ConfError, DataError, KeyfoldError
from keyfold.profiling.draft import snake_case
from keyfold.profiling.draft_conf import draft_conf
from keyfold.profiling.yaml_text import yaml_scalar
from places import ROOT

JOB = ROOT / "jobs" / "init.py"
TELCO = "churn_telco/telco-customer-churn-by-IBM.csv"
Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str | bytes, name: str = "mine.csv") -> str:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


@pytest.fixture
def telco() -> str:
    path = Path(os.environ.get("KEYFOLD_TEST_DATA", "")) / TELCO
    if not path.is_file():
        pytest.skip(f"KEYFOLD_TEST_DATA has no {TELCO}")
    return str(path)


def table(**columns: list[Any]) -> str:
    """CSV of 20 rows: an id, a label, a number to learn from and the columns that a test gives."""
    base = {"id": [f"k{i}" for i in range(20)], "y": ["Yes", "No", "No", "No"] * 5, "x": [i % 7 for i in range(20)]}
    return pd.DataFrame(base | columns).to_csv(index=False)


def look(path: str, **options: Any) -> tuple[str, dict[str, Any]]:
    """The text for a file, and what a reader of YAML makes of it; it must be a conf that holds."""
    text = draft_conf(path, **{"key": ["id"], "label": "y"} | options)
    assert confs.parse_conf(parse_yaml(text)).name == yaml.safe_load(text)["name"]
    return text, parse_yaml(text)


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["1", "-2"], "bigint"),
        (["9223372036854775807", "0"], "bigint"),
        (["9223372036854775808", "0"], "string"),
        (["12345678901234567890123", "1.5"], "string"),
        (["007", "1"], "string"),
        (["+49301234", "1"], "string"),
        (["1", "2.5"], "double"),
        (["1e-3", " .5 "], "double"),
        (["true", "False"], "boolean"),
        (["Yes", "true"], "string"),
        (["2026-02-28", "2024-02-29"], "date"),
        (["2026-02-29", "2024-02-29"], "string"),
        (["2026-10-01 12:00", "2026-10-01T12:00:01.5Z"], "timestamp"),
        (["2026-10-01T12:00Z", "2026-10-01 12:00"], "string"),
        (["2026-10-01 25:00", "2026-10-01 12:00"], "string"),
        (["", " "], "string"),
        (["NA", "1"], "string"),
    ],
)
def test_a_type_holds_every_value_without_loss(write: Write, values: list[str], type_: str) -> None:
    text, conf = look(write(table(v=[*values, *[""] * 18])))
    assert conf["data"]["columns"] == {"id": "string", "y": "string", "x": "bigint", "v": type_}
    missing = 18 + sum(not v.strip() for v in values)
    assert f"    v: {type_}  # {missing} missing\n" in text


def test_a_zone_is_declared_where_times_need_one(write: Write) -> None:
    text, conf = look(write(table(at=["2026-10-01 12:00:00Z", "2026-10-01 12:00"] * 10)))
    assert conf["data"]["zone"] == "UTC"
    assert "  zone: UTC  # at has times without an offset: set the zone of the clock that wrote them" in text
    _, conf = look(write(table(at=["2026-10-01 12:00:00Z", "2026-10-01 12:00:00+02:00"] * 10)))
    assert "zone" not in conf["data"]


def test_numbers_few_texts_many_texts_each_get_their_feature(write: Write) -> None:
    frame = pd.DataFrame({"id": range(2_000), "y": [0, 1, 0, 0] * 500, "few": ["a", "b"] * 1_000})
    frame["city"], frame["Flag"] = [f"city {i % 119}" for i in frame.id], [True, False] * 1_000
    path = write(frame.assign(x=[1.5, None] * 1_000).to_csv(index=False))
    _, conf = look(path)
    assert conf["features"] == {
        "few": {"one_hot": {"input_col": "few", "min_frequency": 10}},
        "city": {"hashed": {"input_col": "city", "num_buckets": 512}},
        "flag": {"one_hot": {"input_col": "Flag", "min_frequency": 10}},
        "x": {"numeric": {"input_col": "x", "scale": "standard", "missing": "mean"}},
    }
    assert conf["report"]["slices"] == ["few"]


def test_the_most_buckets_are_2_to_the_18(write: Write) -> None:
    values = [f"v{i % 80_000}" for i in range(90_000)]
    text, conf = look(write(pd.DataFrame({"id": range(90_000), "y": [0, 1] * 45_000, "v": values}).to_csv(index=False)))
    # Nearly every row differs, but the file shows repeats enough to learn from.
    assert conf["features"]["v"]["hashed"]["num_buckets"] == 1 << 18
    assert "over 65,536 different values" in text


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([f"C-{i}" for i in range(20)], "v is left out: every row has a different value, as with identifiers."),
        (range(100, 120), "v is left out: it is a different whole number in every row, as identifiers are."),
        (["same"] * 20, "v is left out: it is same in every row."),
        ([""] * 20, "v is left out: every value is missing."),
        (["2026-10-01", "2026-10-02"] * 10, "v is left out: no recurring part of its dates varies, such as the weekday."),
    ],
)
def test_columns_that_teach_nothing_are_left_out_with_the_reason(write: Write, values: Any, why: str) -> None:
    text, conf = look(write(table(v=[*values])))
    assert [*conf["features"]] == ["x"]
    assert f"  # {why}" in text


def test_amounts_that_differ_by_chance_are_no_identifiers(write: Write) -> None:
    _, conf = look(write(table(v=[i * i * 37 + 5 for i in range(20)])))
    assert "v" in conf["features"]


def test_free_text_gets_a_vocabulary(write: Write) -> None:
    path = write("id,y,v\n" + "".join(f"{i},{i % 2},it broke again on day {i % 160}\n" for i in range(320)))
    assert look(path)[1]["features"] == {"v": {"text": {"input_col": "v", "max_tokens": 5000}}}


def test_words_for_missing_values_are_found(write: Write) -> None:
    text, conf = look(
        write(
            table(
                v=["?", *(str(i % 15) for i in range(19))],
                w=["NA", "2026-01-02", "2026-01-03", "2026-01-04"] * 5,
                t=["none", "a"] * 10,
            )
        )
    )
    assert conf["data"]["csv"] == {"null_values": ["?", "NA"]}
    assert (conf["data"]["columns"]["v"], conf["data"]["columns"]["w"]) == ("bigint", "date")
    assert "    v: bigint  # 1 missing\n" in text and conf["features"]["t"] == {"one_hot": {"input_col": "t"}}
    _, conf = look(write("id,y,x,v\n" + "".join(f'{i},{i % 2},{i % 3},"{"NA" if i % 5 else i}"\n' for i in range(40))))
    assert "csv" not in conf["data"]  # words in quotes are text


def test_words_among_numbers_are_pointed_out(write: Write) -> None:
    text, conf = look(write(table(v=["about 7", *(str(i % 15) for i in range(19))])))
    assert "one_hot" in conf["features"]["v"]
    assert 'numbers except "about 7": leave those cells empty to make it numeric' in text


def test_backslashes_before_quotes_are_understood(write: Write) -> None:
    rows = "".join(f'{i},{i % 2},{i % 3},"said \\"yes\\", {i % 4}"\n' for i in range(40))
    text, conf = look(write("id,y,x,v\n" + rows))
    assert conf["data"]["csv"] == {"escape": "\\"}
    assert conf["data"]["columns"]["v"] == "string" and "Warning" not in text


@pytest.mark.parametrize(
    ("labels", "positive", "why"),
    [
        (["Yes", "No", "Yes", "Yes"], '"Yes"', "`Yes` says yes where the other class is `No`"),
        (["1", "0", "1", "1"], "1", "`1` says yes where the other class is `0`"),
        (["1.0", "0.0", "1.0", ""], "1", "`1` says yes where the other class is `0`"),
        (["True", "FALSE", "TRUE", "False"], "true", "`true` says yes where the other class is `false`"),
        (["Ja", "Nein", "Ja", "Ja"], "Ja", "`Ja` says yes where the other class is `Nein`"),
        (["stayed", "left", "stayed", "stayed"], "left", "it is the rarer class, and neither name means yes"),
    ],
)
def test_the_positive_class_is_chosen_and_said(write: Write, labels: list[str], positive: str, why: str) -> None:
    text, conf = look(write(table(y=labels * 5)))
    assert f"  positive: {positive}  # probabilities are of this class: {why}" in text
    assert conf["train"]["model"]["sklearn"]["estimator"] == "sklearn.linear_model.LogisticRegression"


@pytest.mark.parametrize("codes", [["1", "2"], ["7", "9"]])
def test_of_codes_neither_is_guessed(write: Write, codes: list[str]) -> None:
    text, conf = look(write(table(y=codes * 10)))
    assert "positive" not in conf["data"]
    assert f"write `positive: {codes[0]}` or `positive: {codes[1]}`. Without it `train` stops." in text
    assert "It does not run yet" in text


def test_many_numbers_are_a_regression(write: Write) -> None:
    _, conf = look(write(table(y=[i % 9 + 0.5 for i in range(20)])))
    assert "positive" not in conf["data"]
    assert conf["train"]["model"]["sklearn"]["estimator"] == "sklearn.linear_model.Ridge"


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_and_byte_order_marks(write: Write, delimiter: str, start: str) -> None:
    _, conf = look(write(start + table(v=["a", "b"] * 10).replace(",", delimiter)))
    assert [*conf["data"]["columns"]] == ["id", "y", "x", "v"]
    assert conf["data"].get("csv", {}).get("delimiter", ",") == delimiter


def test_other_encodings_are_named_as_spark_names_them(write: Write) -> None:
    _, conf = look(write(table(v=["é", "ü"] * 10).encode("latin-1")), encoding="latin-1")
    assert conf["data"]["csv"] == {"encoding": "iso-8859-1"}


def test_line_breaks_in_quotes_are_said(write: Write) -> None:
    _, conf = look(write(table(v=["a\nb", "c"] * 10)))
    assert conf["data"]["csv"] == {"multi_line": True}


def test_gzip_is_unpacked(write: Write) -> None:
    assert look(write(gzip.compress(table().encode()), "mine.csv.gz"))[1]["features"] == look(write(table()))[1]["features"]


def test_json_lines_keep_the_types_that_json_says(write: Write) -> None:
    rows = [{"id": f"k{i}", "y": i % 2 == 0, "n": i % 5, "code": str(i % 5), "day": "2026-10-01"} for i in range(20)]
    rows[3] |= {"n": 2.5, "late": 2**70}
    text, conf = look(write("\n".join(map(json.dumps, rows)) + "\nbroken\n7\n", "mine.jsonl"))
    assert "# Warning: 2 lines are not rows" in text
    types = {"id": "string", "y": "boolean", "n": "double", "code": "string", "day": "date", "late": "string"}
    assert conf["data"]["columns"] == types
    assert conf["features"]["code"] == {"one_hot": {"input_col": "code"}}


def test_parquet_types_need_no_columns(tmp_path: Path) -> None:
    days = pa.array([20_000] * 20, pa.int32()).cast(pa.date32())
    nested = pa.array([[1]] * 20)
    columns = {"id": range(20), "y": [True, False] * 10, "x": [0.5, float("nan")] * 10, "code": ["1", "2"] * 10}
    columns |= {"day": days, "list": nested}
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), tmp_path / "t.parquet")
    text, conf = look(str(tmp_path / "t.parquet"))
    assert "columns" not in conf["data"] and conf["data"]["positive"] is True
    x = {"numeric": {"input_col": "x", "scale": "standard", "missing": "mean"}}
    assert conf["features"] == {"x": x, "code": {"one_hot": {"input_col": "code"}}}
    assert "# list is left out: it is nested or binary." in text


def test_missing_and_repeated_keys_are_warned_of(write: Write) -> None:
    text, _ = look(write(table(id=["", "", "a", "a", "b", "b", *range(14)])))
    assert "# Warning: 2 rows have no key; they will be quarantined." in text
    assert "# Warning: 4 rows share their key with another row; they will be quarantined." in text
    assert "# `ingest` will refuse the files: it would quarantine more rows than data.max_quarantine, 0.1, allows." in text
    assert "# For another key: no column is unique; `--key A,B` combines several, `--key content`" in text
    assert "Warning" not in look(write(table()))[0]


@pytest.mark.parametrize(("days", "period"), [(["2026-09-01", "2026-10-01"], "month"), (["2026-10-01", "2026-10-02"], "day")])
def test_the_period_is_one_in_which_keys_stand_once(write: Write, days: list[str], period: str) -> None:
    text, conf = look(write(table(id=[i // 2 for i in range(20)], t=days * 10)), time="t")
    assert (conf["data"]["time"], conf["data"]["period"]) == ("t", period)
    assert "Warning" not in text


def test_a_key_that_looks_like_a_fraction_stays_text(write: Write) -> None:
    assert look(write(table(id=[i + 0.5 for i in range(20)])))[1]["data"]["columns"]["id"] == "string"


def test_long_files_are_cut_and_it_is_said(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfold.profiling.file_profile.LIMIT", 4_000_000)
    text, _ = look(write("id,y,x\n" + "".join(f"{i},{i % 2},{'n' * (i % 30)}\n" for i in range(800_000))))
    assert "# Only the first 4 MB were read" in text
    assert "800,000" not in text


def test_lines_that_are_no_rows_are_counted(write: Write) -> None:
    assert "# Warning: 2 lines are not rows" in look(write(table() + "a,b\n1,2,3,4,5\n"))[0]


@given(st.text(max_size=30).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text)))
def test_any_text_survives_quoting(text: str) -> None:
    line = f"{{input_col: {yaml_scalar(text)}}}  # {yaml_scalar(text)}"
    assert yaml.safe_load(line) == parse_yaml(line) == {"input_col": text}


ODD = ["a b", "a.b", 'say "x"', "o'clock", "back`tick", "a: b", "#1", "Größe (m²)", "城市", "yes", "null", "1", "-"]


def test_odd_names_come_through(write: Write) -> None:
    text, conf = look(write(table(**{name: [f"u{i}", f"v{i}"] * 10 for i, name in enumerate(ODD)})), name="odd")
    columns = [*conf["data"]["columns"].items()][3:]
    assert [said["from"] if isinstance(said, dict) else name for name, said in columns] == ODD
    assert [name for name, said in columns if isinstance(said, str)] == ["城市", "yes", "null", "1", "-"]
    assert [f["one_hot"]["input_col"] for f in list(conf["features"].values())[1:]] == [name for name, _ in columns]
    assert all(name.isidentifier() and name.isascii() for name in conf["features"])
    assert [*yaml.safe_load(text)["features"]] == [*conf["features"]]


def test_names_in_snake_case() -> None:
    names = {"TotalCharges": "total_charges", "StreamingTV": "streaming_tv", "Größe (m²)": "grosse_m2", "2nd": "_2nd", "城": ""}
    assert {name: snake_case(name) for name in names} == names


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
        (b'[\n{"id": 1,\n"y": 2}]', "m.json", "is JSON over several lines; one object a line is needed"),
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
def test_files_that_will_not_do(write: Write, content: bytes, name: str, sentence: str) -> None:
    with pytest.raises(DataError) as raised:
        draft_conf(write(content, name), ["id"], "y")
    assert sentence in str(raised.value)


def test_files_that_are_not_there(write: Write, tmp_path: Path) -> None:
    write(table(), "customers.csv")
    with pytest.raises(ConfError, match=r"no file `.*/custmers.csv` \(did you mean `customers.csv`\?\)"):
        draft_conf(str(tmp_path / "custmers.csv"), ["id"], "y")
    with pytest.raises(ConfError, match="there is no file"):
        draft_conf(str(tmp_path / "nowhere" / "a.csv"), ["id"], "y")
    (tmp_path / "empty" / "_hidden").mkdir(parents=True)
    (tmp_path / "empty" / "_hidden" / "a.csv").write_text(table())
    with pytest.raises(ConfError, match=r"the folder `.*/empty` has no files"):
        draft_conf(str(tmp_path / "empty"), ["id"], "y")


def run(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(JOB), *args], capture_output=True, text=True, check=False)


def test_the_job_prints_the_conf_and_nothing_else(write: Write) -> None:
    path = write(table(**{"a,b": ["u", "v"] * 10}))
    done = run(path, "--key", 'id,"a,b"', "--label", "y")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == draft_conf(path, ["id", "a,b"], "y")


def test_the_job_says_one_sentence_and_shows_the_trace_only_if_asked(write: Write) -> None:
    path = write(table())
    wrong = [path, "--key", "id", "--label", "z"]
    done = run(*wrong)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "Traceback" in run(*wrong, "--debug").stderr
    assert run(write(b"", "empty.csv"), "--key", "id", "--label", "y").returncode == 3


def test_telco_total_charges_is_a_number_with_11_missing(telco: str) -> None:
    text, conf = look(telco, key=["customerID"], label="Churn")
    assert "    TotalCharges: double  # 11 missing\n" in text
    assert (conf["data"]["positive"], len(conf["features"])) == ("Yes", 19)
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
