"""The section `data` of a drafted conf: formats, keys, labels and names."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from drafts import Draw, Write, drawn, frame, look, table
from keyfold.errors import ConfError
from keyfold.profiling.draft_conf import draft_conf

ODD = ["a b", "a.b", 'say "x"', "o'clock", "back`tick", "a: b", "#1", "Größe (m²)", "城市", "yes", "null", "1", "-"]


def test_excel_in_german(draw: Draw) -> None:
    rows = [
        f"{i:06};{5 + i},{i:02};{i % 9 + 1}.{i:03},50;{i % 28 + 1:02}.{i % 12 + 1:02}.2026;{'Ja' if i % 3 else 'Nein'}"
        for i in range(99)
    ]
    text, conf = draw(
        "sep=;\nKunden-Nr;Größe (m²);Umsatz €;Datum;Gekündigt\n" + "\n".join(rows), key=["Kunden-Nr"], label="Gekündigt"
    )
    assert conf["data"]["csv"] == {"delimiter": ";", "decimal": ",", "thousands": "."}
    assert conf["data"]["columns"] == {
        "Kunden-Nr": "string", "grosse_m2": {"from": "Größe (m²)", "type": "double"},
        "umsatz": {"from": "Umsatz €", "type": "double"}, "Datum": "date(dd.MM.yyyy)", "Gekündigt": "string",
    }  # fmt: skip
    assert {name: next(iter(f)) for name, f in conf["features"].items()} == {
        "grosse_m2": "numeric",
        "umsatz": "numeric",
        "datum": "date_parts",
    }
    assert conf["label"]["positive"] == "Ja"
    assert "# The first line, `sep=;`, names the delimiter" in text
    assert "Polars does not read such tables, and delta-rs reads NULL" in text


def test_the_days_tell_whether_months_come_first(draw: Draw) -> None:
    days = [f"{i % 28 + 1:02}/{i % 12 + 1:02}/2026" for i in range(400)]
    months = [f"{i % 12 + 1}/{i % 28 + 1}/26" for i in range(400)]
    either = [f"0{i % 9 + 1}/0{i % 8 + 1}/2026" for i in range(400)]
    at = [f"{day} {i % 24}:{i % 60:02}" for i, day in enumerate(days)]
    text, conf = draw(frame(a=days, b=months, c=either, at=at))
    assert conf["data"]["columns"]["at"] == "timestamp(dd/MM/yyyy H:mm)" and conf["data"]["zone"] == "UTC"
    assert [conf["data"]["columns"][name] for name in "abc"] == ["date(dd/MM/yyyy)", "date(M/d/yy)", "date(dd/MM/yyyy)"]
    assert "    c: date(dd/MM/yyyy)  # or MM/dd/yyyy: these dates fit both\n" in text


def test_a_key_named_like_a_column_of_predictions_is_renamed(draw: Draw, tmp_path: Path) -> None:
    text, conf = draw(frame().rename(columns={"id": "Status"}), key=["Status"])
    assert conf["data"]["columns"]["status_"] == {"from": "Status", "type": "string"} and conf["data"]["key"] == ["status_"]
    assert "renamed: the table of predictions has its own column status" in text and "To keep a name" not in text
    frame().rename(columns={"id": "Status"}).to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(ConfError, match=r"--key: `Status` is a column of the table of predictions; rename it in the files"):
        draft_conf(str(tmp_path / "mine.parquet"), ["Status"], "y")


def test_a_table_without_a_key_has_the_key_content(draw: Draw, tmp_path: Path) -> None:
    _, conf = draw(frame().drop(columns="id"), key=["content"])
    assert conf["data"]["key"] == "content"
    with pytest.raises(ConfError, match=r"--key must name the columns that identify a row: no column is unique; .*--key content"):
        draft_conf(str(tmp_path / "mine.csv"), None, "y")
    draw(frame())
    with pytest.raises(ConfError, match="`id` is unique"):
        draft_conf(str(tmp_path / "mine.csv"), None, "y")
    _, conf = draw(frame().rename(columns={"id": "content"}), key=["content"])
    assert conf["data"]["key"] == ["content"]


def test_nanoseconds_are_noted(tmp_path: Path) -> None:
    at = pa.array(np.arange(40) * 10**14, pa.timestamp("ns"))
    pq.write_table(
        pa.table({"id": range(40), "at": at, "x no.": [i % 7 for i in range(40)], "y": [0, 1] * 20}), tmp_path / "t.parquet"
    )
    text, conf = drawn(str(tmp_path / "t.parquet"))
    assert "  # at has nanoseconds: they become microseconds, and a row that would lose digits is quarantined.\n" in text
    assert "at" in conf["features"] and conf["features"]["x_no"]["numeric"]["input_col"] == "x no."
    assert '  # "x no." is best renamed in the files. Such a name requires column mapping in Delta' in text


def test_times_without_an_offset_get_a_zone(write: Write) -> None:
    text, conf = look(write(table(at=["2026-10-01 12:00:00Z", "2026-10-01 12:00"] * 10)))
    assert conf["data"]["zone"] == "UTC"
    assert "  zone: UTC  # at has times without an offset: set the zone of the clock that wrote them" in text
    _, conf = look(write(table(at=["2026-10-01 12:00:00Z", "2026-10-01 12:00:00+02:00"] * 10)))
    assert "zone" not in conf["data"]


@pytest.mark.parametrize(
    ("labels", "positive", "why"),
    [
        (["Yes", "No", "Yes", "Yes"], '"Yes"', "`Yes` means yes and the other class is `No`"),
        (["1", "0", "1", "1"], "1", "`1` means yes and the other class is `0`"),
        (["1.0", "0.0", "1.0", ""], "1", "`1` means yes and the other class is `0`"),
        (["True", "FALSE", "TRUE", "False"], "true", "`true` means yes and the other class is `false`"),
        (["Ja", "Nein", "Ja", "Ja"], "Ja", "`Ja` means yes and the other class is `Nein`"),
        (["stayed", "left", "stayed", "stayed"], "left", "it is the rarer class, and neither name means yes"),
    ],
)
def test_the_positive_class_is_chosen_with_a_reason(write: Write, labels: list[str], positive: str, why: str) -> None:
    text, conf = look(write(table(y=labels * 5)))
    assert f"  positive: {positive}  # probabilities are of this class: {why}" in text
    assert conf["train"]["models"]["linear"]["sklearn"]["estimator"] == "sklearn.linear_model.LogisticRegression"


@pytest.mark.parametrize("codes", [["1", "2"], ["7", "9"]])
def test_no_positive_class_is_guessed_from_codes(write: Write, codes: list[str]) -> None:
    text, conf = look(write(table(y=codes * 10)))
    assert "positive" not in conf["label"]
    assert f"write `positive: {codes[0]}` or `positive: {codes[1]}`. Without it `train` stops." in text
    assert "It does not run yet" in text


def test_a_key_that_looks_like_a_fraction_stays_text(write: Write) -> None:
    assert look(write(table(id=[i + 0.5 for i in range(20)])))[1]["data"]["columns"]["id"] == "string"


def test_odd_names_are_replaced_or_quoted(write: Write) -> None:
    text, conf = look(write(table(**{name: [f"u{i}", f"v{i}"] * 10 for i, name in enumerate(ODD)})), name="odd")
    columns = [*conf["data"]["columns"].items()][3:]
    assert [said["from"] if isinstance(said, dict) else name for name, said in columns] == ODD
    assert [name for name, said in columns if isinstance(said, str)] == ["城市", "yes", "null", "1", "-"]
    assert [f["one_hot"]["input_col"] for f in list(conf["features"].values())[1:]] == [name for name, _ in columns]
    assert all(name.isidentifier() and name.isascii() for name in conf["features"])
    assert [*yaml.safe_load(text)["features"]] == [*conf["features"]]
