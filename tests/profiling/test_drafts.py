"""What `init` makes of tables as people have them: other numbers and dates, leaks, people, snapshots, series, odd headers."""

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.conf import use_case as confs
from keyfold.conf.yaml import parse_yaml
from keyfold.errors import ConfError
from keyfold.evaluation import label_leakage
from keyfold.ingestion.job import ingest
from keyfold.profiling import value_formats
from keyfold.profiling.draft_conf import draft_conf
from keyfold.profiling.file_profile import profile_files
from keyfold.profiling.row_sample import SAMPLE_ROWS, RowSample
from keyfold.profiling.value_formats import NUMBER_FORMATS, NumberFormat
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep
from places import ROOT

JOB = ROOT / "jobs" / "init.py"
Draw = Callable[..., tuple[str, dict[str, Any]]]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """The text and the conf for a table, which the conf's own check accepts."""

    def draw(table: pd.DataFrame | str, name: str = "mine.csv", **options: Any) -> tuple[str, dict[str, Any]]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(table if isinstance(table, str) else table.to_csv(index=False))
        return drawn(str(path), **options)

    return draw


def drawn(path: str, **options: Any) -> tuple[str, dict[str, Any]]:
    text = draft_conf(path, **{"key": ["id"], "label": "y"} | options)
    confs.parse_conf(parse_yaml(text))
    return text, parse_yaml(text)


def frame(rows: int = 400, **columns: Any) -> pd.DataFrame:
    """An id, a label of two classes, a number that says a little of it, and the columns that a test gives."""
    draws = np.random.default_rng(7)
    y = draws.random(rows) < 0.4
    base = {"id": [f"k{i}" for i in range(rows)], "y": y.astype(int), "x": (y + draws.normal(size=rows)).round(2)}
    return pd.DataFrame(base | {name: made(y, draws) if callable(made) else made for name, made in columns.items()})


# --- numbers and dates ---


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
    assert conf["data"]["positive"] == "Ja"
    assert "# The first line, `sep=;`, names the delimiter" in text
    assert "Polars does not read such tables, and delta-rs reads NULL" in text


def test_days_before_months_are_told_by_the_days(draw: Draw) -> None:
    days = [f"{i % 28 + 1:02}/{i % 12 + 1:02}/2026" for i in range(400)]
    months = [f"{i % 12 + 1}/{i % 28 + 1}/26" for i in range(400)]
    either = [f"0{i % 9 + 1}/0{i % 8 + 1}/2026" for i in range(400)]
    at = [f"{day} {i % 24}:{i % 60:02}" for i, day in enumerate(days)]
    text, conf = draw(frame(a=days, b=months, c=either, at=at))
    assert conf["data"]["columns"]["at"] == "timestamp(dd/MM/yyyy H:mm)" and conf["data"]["zone"] == "UTC"
    assert [conf["data"]["columns"][name] for name in "abc"] == ["date(dd/MM/yyyy)", "date(M/d/yy)", "date(dd/MM/yyyy)"]
    assert "    c: date(dd/MM/yyyy)  # or MM/dd/yyyy: these dates fit both\n" in text


def test_amounts_with_a_currency_are_text_and_that_is_said(draw: Draw) -> None:
    text, conf = draw(frame(fee=["£19.99", "£5"] * 200, price=[f"{i}.50 €" for i in range(400)]))
    said = "its numbers carry the sign `{}` and are read as text: remove it in the file to make them numbers"
    assert f"  fee: {{one_hot: {{input_col: fee}}}}  # 2 different values; {said.format('£')}\n" in text
    assert f"  # price is left out: {said.format('€')}.\n" in text
    assert conf["data"]["columns"]["price"] == "string"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(10**12), 10**12), min_size=1), st.integers(0, 4), st.sampled_from(NUMBER_FORMATS))
def test_any_number_is_read_in_the_form_in_which_it_is_written(whole: list[int], places: int, form: NumberFormat) -> None:
    def written(number: int) -> str:
        units, rest = divmod(abs(number), 10**places)
        grouped = f"{units:,}".replace(",", form.thousands)
        return "-" * (number < 0) + grouped + (f"{form.decimal}{rest:0{places}}" if places else "")

    texts = pa.array([*map(written, whole)])
    kind = "double" if places else "bigint"
    assert pa.compute.all(pa.compute.match_substring_regex(texts, f"^({form.pattern(kind)})$")).as_py()
    assert form.plain(texts).cast(pa.float64()).to_pylist() == [number / 10**places for number in whole]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)), min_size=1),
    st.sampled_from(value_formats.DATES),
)
def test_any_date_is_read_in_the_form_in_which_it_is_written(days: list[Any], form: str) -> None:
    tokens = {
        "yyyy": "%Y",
        "yy": "%y",
        "MMM": "%b",
        "MM": "%m",
        "dd": "%d",
        "M": "%-m",
        "d": "%-d",
        "HH": "%H",
        "H": "%-H",
        "mm": "%M",
        "ss": "%S",
    }
    python = re.sub("yyyy|yy|MMM|MM|M|dd|d|HH|H|mm|ss", lambda token: tokens[token[0]], form)
    texts = pa.array([day.strftime(python) for day in days])
    assert value_formats.are_dates(texts, form)
    shape = "%Y-%m-%d" + (" %H:%M:%S" if "ss" in form else " %H:%M:00" if "mm" in form else "")
    assert value_formats.dates_as_iso(texts, form).to_pylist() == [day.strftime(shape) for day in days]


def test_what_is_no_date_is_null() -> None:
    texts = pa.array([None, "", "1.2", "31.12.2026"])
    assert value_formats.dates_as_iso(texts, "dd.MM.yyyy").to_pylist() == [None, None, None, "2026-12-31"]
    assert value_formats.dates_as_iso(pa.array([None, "1.2.26 7:05"]), "d.M.yy H:mm").to_pylist() == [None, "2026-02-01 07:05:00"]


def test_gaps_between_dates_of_any_form(draw: Draw) -> None:
    days = [f"{i % 28 + 1:02}.0{i % 9 + 1}.2026" if i % 3 else None for i in range(400)]
    _, conf = draw(frame(a=days, b=[day and day[:6] + "26" for day in days]))
    assert {conf["data"]["columns"]["a"], conf["data"]["columns"]["b"]} == {"date(dd.MM.yyyy)", "date(dd.MM.yy)"}


# --- leaks and people ---


def test_columns_that_give_the_label_away_are_left_out(draw: Draw) -> None:
    text, conf = draw(
        frame(
            reason=lambda y, draws: np.where(y, draws.choice(["A", "B"], len(y)), None),
            closed=lambda y, draws: np.where(y, "2026-03-01", None),
            again=lambda y, draws: y ^ (draws.random(len(y)) < 0.02),  # as is_recid is for two_year_recid
            far=lambda y, draws: np.where(y, draws.normal(size=len(y)), draws.choice([-9, 9], len(y))),  # no line tells it
            fair=lambda y, draws: (y + draws.normal(0, 1, len(y))).round(1),
        ),
    )
    assert [*conf["features"]] == ["x", "fair"]
    for name, why in {
        "reason": "its missing values predict the label",
        "closed": "its missing values predict",
        "again": "it alone predicts",
        "far": "it alone",
    }.items():
        assert f"  # {name} is left out: {why}" in text
    assert "ROC AUC 1.000 on held-out rows" in text and "its name to `split: {allow: […]}`" in text


def test_numbers_that_give_a_number_away_are_left_out(draw: Draw) -> None:
    z = np.random.default_rng(1).normal(size=400)
    text, conf = draw(
        frame(
            z=z.round(3),
            curve=(z**2).round(3),
            fair=(z + np.random.default_rng(2).normal(size=400)).round(2),
            y=(3 * z + 50).round(2),
        )
    )
    assert [*conf["features"]] == ["x", "curve", "fair"]
    assert "# z is left out: it alone predicts the label (R² 1.000 on held-out rows)" in text


def test_what_comes_with_a_suspect_and_what_tells_together(draw: Draw) -> None:
    def some(y: Any, draws: Any) -> Any:
        return np.where(y & (draws.random(len(y)) < 0.5), 1 + draws.integers(0, 9, len(y)), None)

    parts = {f"part_{i}": lambda y, draws: (y + draws.normal(0, 0.6, len(y))).round(2) for i in range(4)}
    text, conf = draw(frame(rearrested=lambda y, draws: np.where(y, "yes", None), days=some, again=lambda y, d: y * 1, **parts))
    assert "# days is left out: it is present only where rearrested is, which tells the label." in text
    assert [*conf["features"]] == ["x", *parts]
    assert re.search(
        r"# Warning: together these reveal the label \(ROC AUC 0\.9\d+ on held-out rows\). Are they known before it, such as part_",
        text,
    )
    assert "Warning" not in draw(frame())[0]


def test_of_two_columns_that_are_the_same_one_is_taken(draw: Draw) -> None:
    text, conf = draw(frame(amount=[i % 23 for i in range(400)], total=[i % 23 for i in range(400)]))
    assert [*conf["features"]] == ["x", "amount"]
    assert "# total is left out: it is the same as amount in every row." in text


def test_few_rows_make_no_suspects() -> None:
    y = np.array([0.0, 1.0] * 15)
    assert label_leakage.leakage_reason(label_leakage.ColumnValues(y), label_leakage.LabelValues(y, classes=True)) is None
    assert label_leakage.leakage_reason(
        label_leakage.ColumnValues(np.tile(y, 2)), label_leakage.LabelValues(np.tile(y, 2), classes=True)
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=40), st.integers(0, 10**6))
def test_the_area_is_that_of_scikit_learn(scores: list[int], seed: int) -> None:
    from sklearn.metrics import roc_auc_score

    y = np.random.default_rng(seed).integers(0, 2, len(scores)).astype(float)
    y[:2] = 0, 1
    assert label_leakage.LabelValues(y, classes=True).quality(np.array(scores, float)) == pytest.approx(roc_auc_score(y, scores))


def test_people_are_left_out(draw: Draw) -> None:
    n = range(400)
    names = [f"{a} {b}" for a in ("Ann", "bob", "EVE", "Zoë") for b in ("Li", "O'Hara", "de Vries", "Smith-Jones", "Ok")] * 20
    text, conf = draw(
        frame(
            name=names, last_name=[f"S{i % 50}" for i in n], contact=[f"a{i}@b.example" for i in n], phone=[f"0{i + 1000}" for i in n],
            home=[f"{i % 90 + 1} High Street" for i in n], host=[f"10.0.0.{i % 200}" for i in n],
            birth_date=[f"19{i % 90 + 10}-03-01" for i in n], product_name=[f"Widget {i % 30}" for i in n],
            address_change=["none", "1 year"] * 200, first=["yes", "no"] * 200,
        )
    )  # fmt: skip
    assert [*conf["features"]] == ["x", "product_name", "address_change", "first"]
    whats = {"name": "a name", "contact": "an e-mail address", "phone": "a telephone number", "home": "a postal address"}
    for name, what in (whats | {"host": "an IP address", "birth_date": "a date of birth", "last_name": "a name"}).items():
        assert f"  # {name} is left out: it looks like {what};" in text


# --- kinds of features ---


def test_a_level_for_each_state_and_codes_are_no_amounts(draw: Draw) -> None:
    _, conf = draw(frame(state=[f"S{i % 51}" for i in range(400)], store_id=[i % 7 for i in range(400)]))
    assert conf["features"]["state"] == {"one_hot": {"input_col": "state"}}
    assert conf["features"]["store_id"] == {"one_hot": {"input_col": "store_id"}}


def test_parts_of_dates_that_come_again(draw: Draw) -> None:
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(400) * 2, "D")
    hours = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(400), "h")
    _, conf = draw(frame(joined=days.strftime("%Y-%m-%d"), at=hours.strftime("%Y-%m-%d %H:%M")))
    assert conf["features"]["joined"] == {
        "date_parts": {"input_col": "joined", "parts": ["day_of_week", "month"], "cyclic": True}
    }
    assert conf["features"]["at"] == {"date_parts": {"input_col": "at", "parts": ["hour", "day_of_week"], "cyclic": True}}


def test_days_between_dates(draw: Draw) -> None:
    began = pd.Timestamp("2025-01-01") + pd.to_timedelta(np.arange(400) % 50, "D")
    ended = began + pd.to_timedelta(np.arange(400) % 7, "D")
    table = frame(
        began=began.strftime("%Y-%m-%d"),
        ended=ended.strftime("%Y-%m-%d %H:%M"),
        birth_date=[f"19{i % 90 + 10}-03-01" for i in range(400)],
    )
    _, conf = draw(table)
    assert conf["features"]["ended_after_began"]["numeric"]["input_col"] == {"difference": ["ended", "began"]}
    text, conf = draw(table.assign(at=(ended + pd.Timedelta("3D")).strftime("%Y-%m-%d")), time="at")
    ages = {name: f["numeric"]["input_col"] for name, f in conf["features"].items() if name.endswith("_age")}
    assert ages == {f"{name}_age": {"age": name} for name in ("began", "ended", "birth_date")}
    assert "birth_date is left out" not in text and "birth_date" not in conf["features"]


# --- series and snapshots ---


def series(shops: int) -> pd.DataFrame:
    days = pd.date_range("2026-01-01", periods=60)
    rows = [(f"S{s}", day.date(), i % 7 + s % 3, (i * 37 + s * 11) % 50) for s in range(shops) for i, day in enumerate(days)]
    return pd.DataFrame(rows, columns=["shop", "day", "visits", "sales"])


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


def test_a_word_that_tells_the_label_is_a_suspect(draw: Draw) -> None:
    y = frame().y
    notes = [f"{['late', 'bill', 'slow', 'phone'][i % 4]} call {i}" for i in range(len(y))]
    told = [f"{note}, {'closed' if leaves else 'open'}" for note, leaves in zip(notes, y, strict=True)]
    text, conf = draw(frame(told=told, notes=notes))
    assert "told is left out: one of its words predicts the label (ROC AUC 1.000 on held-out rows)." in text
    assert "told" not in conf["features"] and "notes" in conf["features"]


# --- headers, keys, files ---


def test_headers_without_a_name_or_with_one_twice_are_a_proposal(draw: Draw) -> None:
    text, conf = draw("id,size,size,,Y,y\n1,3,4,a,0,1\n2,5,4,b,1,2\n3,1,1,a,0,1\n", label="Y")
    assert "#   id,size,size_2,column_4,Y,y_2\n" in text and "It does not run yet" in text
    assert [*conf["data"]["columns"]] == ["id", "size", "size_2", "column_4", "Y", "y_2"]


def test_headers_with_line_breaks_and_names_of_keyfold_are_a_proposal(draw: Draw) -> None:
    text, conf = draw('id,"size\nof it",keyfold_period,content_key,y\n1,3,4,a,0\n2,5,4,b,1\n3,1,1,a,1\n')
    assert "#   id,size of it,former_keyfold_period,former_content_key,y\n" in text and "It does not run yet" in text
    assert [*conf["data"]["columns"]] == ["id", "size_of_it", "former_keyfold_period", "former_content_key", "y"]


def test_a_key_with_the_name_of_a_column_of_predictions_gets_another(draw: Draw, tmp_path: Path) -> None:
    text, conf = draw(frame().rename(columns={"id": "Status"}), key=["Status"])
    assert conf["data"]["columns"]["status_"] == {"from": "Status", "type": "string"} and conf["data"]["key"] == ["status_"]
    assert "renamed: the table of predictions has its own column status" in text and "To keep a name" not in text
    frame().rename(columns={"id": "Status"}).to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(ConfError, match=r"--key: `Status` is a column of the table of predictions; rename it in the files"):
        draft_conf(str(tmp_path / "mine.parquet"), ["Status"], "y")


def test_a_first_column_without_a_name_is_the_number_of_the_row(draw: Draw) -> None:
    text, conf = draw(",id,v,y\n0,a,5,0\n1,b,7,1\n")
    assert [*conf["features"]] == ["v"] and "Warning" not in text
    assert '# "_c0" is left out: it has no name and numbers the rows.' in text


def test_a_table_without_a_key(draw: Draw, tmp_path: Path) -> None:
    _, conf = draw(frame().drop(columns="id"), key=["content"])
    assert conf["data"]["key"] == "content"
    with pytest.raises(ConfError, match=r"--key must name the columns that identify a row: no column is unique; .*--key content"):
        draft_conf(str(tmp_path / "mine.csv"), None, "y")
    draw(frame())
    with pytest.raises(ConfError, match="`id` is unique"):
        draft_conf(str(tmp_path / "mine.csv"), None, "y")
    _, conf = draw(frame().rename(columns={"id": "content"}), key=["content"])
    assert conf["data"]["key"] == ["content"]


def test_hidden_folders_are_not_looked_at(draw: Draw, tmp_path: Path) -> None:
    draw(frame(), "f/a.csv")
    for hidden in ("_old", ".git"):
        draw(frame(), f"f/{hidden}.csv")
    (tmp_path / "f" / "_archive").mkdir()
    draw(frame(), "f/_archive/b.csv")
    assert profile_files(str(tmp_path / "f")).files == [str(tmp_path / "f" / "a.csv")]


def test_faults_of_quoting_do_not_make_text_of_many_lines(draw: Draw) -> None:
    lines = [f"{i}\tfine thing {i}\t{i % 2}" for i in range(40)]
    lines[6], lines[8] = '6\t"Stopped working, not fun \t0', '8\t"It performs well. What is there?"\t1'
    text, conf = draw("id\ttext\ty\n" + "\n".join(lines), "m.tsv")
    assert conf["data"]["csv"] == {"delimiter": "\t"}
    assert "# Warning: 1 lines are not rows of these columns; they will be quarantined: 1 × a quote is not closed." in text


def test_nanoseconds_are_told(tmp_path: Path) -> None:
    at = pa.array(np.arange(40) * 10**14, pa.timestamp("ns"))
    pq.write_table(
        pa.table({"id": range(40), "at": at, "x no.": [i % 7 for i in range(40)], "y": [0, 1] * 20}), tmp_path / "t.parquet"
    )
    text, conf = drawn(str(tmp_path / "t.parquet"))
    assert "  # at has nanoseconds, which are cut to microseconds.\n" in text
    assert "at" in conf["features"] and conf["features"]["x_no"]["numeric"]["input_col"] == "x no."
    assert '  # "x no." is best renamed in the files. Such a name requires column mapping in Delta' in text


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3 * SAMPLE_ROWS // 2), min_size=1, max_size=8))
def test_a_sample_is_of_all_blocks(sizes: list[int]) -> None:
    sample, at = RowSample(), 0
    for size in sizes:
        sample.add({"n": pa.array(range(at, at + size))})
        at += size
    kept = sample.column("n").to_pylist()
    assert len(kept) == sample.rows <= 2 * SAMPLE_ROWS and kept == sorted(set(kept))
    assert len(kept) >= min(at, SAMPLE_ROWS) and (not kept or max(np.diff([*kept, at]), default=1) <= -(-at // SAMPLE_ROWS))


def test_the_conf_is_written_to_a_file_once(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(frame().to_csv(index=False))
    out = tmp_path / "mine.yaml"
    command = [sys.executable, str(JOB), str(tmp_path / "mine.csv"), "--key", "id", "--label", "y", "--out", str(out)]
    first, again = (subprocess.run(command, capture_output=True, text=True, check=False) for _ in range(2))
    assert (first.returncode, first.stderr) == (0, "")
    assert out.read_text() == draft_conf(str(tmp_path / "mine.csv"), ["id"], "y")
    assert again.returncode == 2 and "already; give another name, or delete it" in again.stderr


# --- and it runs ---


def test_a_conf_for_few_series_runs(spark: Any, home: Path, draw: Draw) -> None:
    table = series(3)
    table["sales"] = 20 + table.visits + 3 * (pd.to_datetime(table.day).dt.dayofweek == 5) + np.arange(len(table)) % 3
    text, conf = draw(table, key=["shop"], label="sales", time="day")
    assert "# visits" not in text
    run = Run(confs.parse_conf(conf), spark)
    ingest(run)
    score(run, promote_or_keep(run, train(run)))
    found = deltalake.DeltaTable(str(run.predictions.path)).to_pandas()
    assert [*found.shop] and set(found.status) == {"scored"} and len(found) == 3


def test_a_conf_for_snapshots_from_excel_runs(spark: Any, home: Path, draw: Draw, tmp_path: Path) -> None:
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
    run = Run(confs.parse_conf(conf), spark)
    ingest(run)
    score(run, promote_or_keep(run, train(run)))
    rows = deltalake.DeltaTable(str(run.rows.path)).to_pandas()
    assert (len(rows), rows.grosse_m2.isna().sum(), rows.umsatz.max()) == (800, 0, 9404.25)
    found = deltalake.DeltaTable(str(run.predictions.path)).to_pandas()
    assert set(found.period) == {"2026-10"} and set(found.status) == {"scored"} and len(found) == 400
