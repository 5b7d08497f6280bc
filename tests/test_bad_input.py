"""What a user gets wrong: each has its sentence and its exit code (2 conf, 3 data, 4 a broken promise), and no row is lost."""

import contextlib
import csv
import gzip
import io
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import deltalake
import mlflow
import pyarrow as pa
import pytest

from keyfold.cli import main
from keyfold.cli.main import run_guarded
from keyfold.conf.use_case import parse_conf
from keyfold.core.names import RAW, REASON
from keyfold.dataset.fit_features import fit_features
from keyfold.errors import DataError, PromiseError
from keyfold.features.spec import Spec
from keyfold.ingestion import sources
from keyfold.ingestion.job import ingest
from keyfold.readers.csv_options import CsvOptions
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep
from places import ROOT
from sections import data_and_label
from source_rows import cells

HEADER = "id,amount,label\n"
MODEL = {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}}


def exit_of(work, *, debug=False):
    """The exit code of a job, and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), pytest.raises(SystemExit) as left:
        run_guarded(work, debug=debug)
    return left.value.code, said.getvalue()


def refusal(work):
    """The exit code of a job that must fail, and its sentence, in place of a stack trace."""
    code, said = exit_of(work)
    assert "Traceback" not in said
    assert "unexpected error" not in said
    return code, said[said.index("keyfold: ") :].removeprefix("keyfold: ").rstrip("\n")


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory, made_state):
    """One state folder for this file: a table that one test has written serves the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYFOLD_HOME", str(made_state(tmp_path_factory.mktemp("state"))))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        mlflow.set_tracking_uri(None)
        yield
        mlflow.set_tracking_uri(None)


def conf_of(name, **data):
    data = {"key": ["id"], "label": "label", "max_quarantine": 1} | data
    return {"name": name, **data_and_label(data), "features": {"amount": {"numeric": {"input_col": "amount"}}}, "train": MODEL}


@pytest.fixture(scope="module", params=["embedded", "spark_engine"])
def engine(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def job(engine, tmp_path):
    """Runs a job on a conf, of a file with this content; the refusal, with the folder's name left out."""

    def job(work, content=None, *, file="rows.csv", name="bad", **data):
        if content is not None:
            (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
            data = {"source": str(tmp_path / file), "columns": {"id": "bigint", "amount": "double", "label": "bigint"}} | data
        code, sentence = refusal(lambda: work(Run(parse_conf(conf_of(name, **data)), engine)))
        return code, sentence.replace(f"{tmp_path}/", "")

    return job


# --- the edges: exit codes, stack traces, options ---


def test_each_kind_of_error_has_its_exit_code():
    def broken():
        raise PromiseError("rows were lost")

    assert exit_of(lambda: None) == (0, "")
    assert exit_of(lambda: parse_conf({"name": "x"}))[0] == 2
    assert exit_of(broken) == (4, "keyfold: rows were lost\n")
    code, said = exit_of(lambda: 1 / 0)
    assert code == 1
    assert said == "keyfold: unexpected error: ZeroDivisionError: division by zero (--debug shows the stack trace)\n"


def test_debug_shows_the_stack_trace():
    code, said = exit_of(lambda: parse_conf({"name": "x"}), debug=True)
    assert code == 2
    assert "Traceback" in said
    assert "in parse_conf" in said
    assert "data is missing" in said


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("Job aborted: keyfold.errors.DataError: a value is lost\n  at …", 3, "a value is lost"),
        ("Job aborted: keyfold.errors.PromiseError: 3 rows went in\n  at …", 4, "3 rows went in"),
        ("[USER_RAISED_EXCEPTION] keyfold: column `a` is odd SQLSTATE: P0001\n", 3, "column `a` is odd"),
        (
            "[PARQUET_TYPE_ILLEGAL] Illegal Parquet type: INT64 (TIME(MICROS,true)).",
            3,
            "a Parquet file has a column of a type that is not read, such as a UUID or a time of day; write it as text",
        ),
        ("java.io.IOException: No space left on device", 3, "the disk is full; the tables are as they were before"),
    ],
)
def test_an_error_from_a_worker_is_the_error_that_was_raised_there(text, code, sentence):
    def work():
        raise RuntimeError(text)

    assert refusal(work) == (code, sentence)


def test_an_unknown_java_error_is_told_in_javas_words():
    def work():
        raise RuntimeError("An error occurred while calling o1.x.\n: java.lang.Oops: no luck\n\tat x")

    assert "RuntimeError: java.lang.Oops: no luck (" in exit_of(work)[1]


def started(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["ingest.py", *map(str, arguments)])
    monkeypatch.setattr("keyfold.engine.session.session", lambda name: pytest.fail("a session was started"))
    with pytest.raises(SystemExit) as left:
        main.run_script("ingest")
    return left.value.code, capsys.readouterr().err


def test_options_are_checked_before_a_session_is_started(capsys, monkeypatch):
    churn = ROOT / "conf" / "churn.yaml"
    assert started(capsys, monkeypatch, churn, "--perod", "2026-10")[0] == 2
    code, said = started(capsys, monkeypatch, churn, "--period", "october")
    assert (code, said) == (2, "keyfold: --period must be like 2026-10, since data.period is month (got october)\n")
    code, said = started(capsys, monkeypatch, churn, "--set", "data.sorce=x")
    assert (code, said) == (2, f"keyfold: {churn} has a fault:\n  data.sorce is not an option (did you mean `source`?)\n")


def test_a_job_with_a_wrong_conf_ends_without_java(tmp_path):
    conf = tmp_path / "mine.yaml"
    conf.write_text("name: mine\ndata: {key: [id]}\nfetures: {}\n")
    environment = os.environ | {"JAVA_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run(
        [sys.executable, ROOT / "jobs" / "pipeline.py", conf], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 2
    assert done.stderr == f"keyfold: {conf} has a fault:\n  fetures is not an option (did you mean `features`?)\n"
    assert not done.stdout


# --- sources that cannot be read ---


LATIN = "set data.csv.encoding to windows-1252 (or iso-8859-1) if the file comes from Windows, or convert it to UTF-8"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "rows.csv is empty: it has no header"),
        ("\n\n", "rows.csv is empty: it has no header"),
        (HEADER, "the source `rows.csv` has no rows"),
        ("id,amount\n1,2\n", "rows.csv has no column `label`, which data.columns declares"),
        ("id,amounts,label\n1,2,3\n", "rows.csv has no column `amount`, which data.columns declares (did you mean `amounts`?)"),
        ("id,amount,amount,label\n", "rows.csv: the header has `amount` more than once; rename one"),
        (
            "id,amount,Amount,label\n",
            "rows.csv: the header has `Amount` and `amount`, which Spark takes for one name; rename one",
        ),
        ("id,amount,,label\n", "rows.csv: column 3 of the header has no name; name it"),
        ("id,amount,läbel\n1,2,3\n".encode("latin-1"), f"rows.csv: the header's column `l\ufffdbel` is not UTF-8; {LATIN}"),
        (HEADER.encode("utf-16"), "rows.csv: the header has NUL bytes; is it UTF-16? Then set data.csv.encoding to utf-16"),
        ('id,"amount,label\n1,2,3\n', "rows.csv: the header in line 1 has broken quoting: a quote is not closed"),
        (b"PK\x03\x04", "rows.csv is a zip archive or an Excel workbook, not text"),
    ],
)
def test_a_csv_file_that_cannot_be_ingested(job, content, sentence):
    assert job(ingest, content) == (3, sentence)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("key", ["idd"], "data.key: the source `rows.csv` has no column `idd` (did you mean `id`?)"),
        ("label", "lable", "label: the source `rows.csv` has no column `lable` (did you mean `label`?)"),
        ("time", "when", "data.time: the source `rows.csv` has no column `when`"),
        ("time", "amount", "data.time: `amount` is double; it must be a date or a timestamp (say so in data.columns)"),
    ],
)
def test_a_column_that_the_conf_names_must_be_there(job, option, value, sentence):
    period = {"period": "month"} if option == "time" else {}
    assert job(ingest, HEADER + "1,2,3\n", **{option: value}, **period) == (3, sentence)


def test_a_missing_file_names_the_nearest(job, tmp_path):
    (tmp_path / "customers.csv").touch()
    code, sentence = job(ingest, source=str(tmp_path / "custommers.csv"))
    assert code == 3
    assert sentence == f"data.source: there is no file `custommers.csv` (seen from {Path.cwd()}) (did you mean `customers.csv`?)"


def test_an_empty_folder_and_files_with_different_headers(job, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    assert job(ingest, source=str(folder)) == (3, "data.source: the folder `files` has no files")
    (folder / "a.csv").write_text(HEADER + "1,2,3\n")
    (folder / "b.csv").write_text("id,label,amount\n1,3,2\n")
    (folder / "b.csv").write_text("id,label,amounts\n1,3,2\n")
    code, sentence = job(ingest, source=str(folder), columns={"id": "bigint"})
    assert code == 3
    assert (
        sentence
        == "files/b.csv has different columns from files/a.csv: `amount`, `amounts`; declare each layout as one of data.versions"
    )
    (folder / "b.csv").rename(folder / "b.zip")
    code, sentence = job(ingest, source=str(folder), columns={"id": "bigint"})
    assert (code, sentence) == (3, "data.source: `files/b.zip` is an archive; unpack it and name its files")


@pytest.mark.parametrize(
    ("file", "content"), [("rows.parquet", b"PAR1"), ("rows.csv.gz", gzip.compress((HEADER + "1,2,3\n" * 9_999).encode())[:-20])]
)
def test_a_damaged_file_is_named(job, file, content):
    code, sentence = job(ingest, content, file=file)
    assert code == 3
    assert sentence.endswith(f"{file} cannot be read: it was removed, is truncated, or has another format than its name says")


def test_what_the_conf_must_say_is_asked_for(job):
    assert job(ingest) == (2, "data.source is not set: nothing to ingest, and there is no table `bad.rows`")
    code, sentence = job(ingest, HEADER, columns={})
    assert code == 2
    assert sentence.startswith("data.columns must give the types of the columns of rows.csv; `./spark-submit.sh init rows.csv")
    assert job(fit_features, label=None) == (
        2,
        "label is not set: name the column that is to be predicted, as in `label: churned`",
    )


def test_latin_1_is_read_where_the_conf_says_so(embedded, tmp_path):
    (tmp_path / "rows.csv").write_bytes("id,läbel\n1,é\n".encode("latin-1"))
    found = sources.read_source(embedded, str(tmp_path / "rows.csv"), {"id": "bigint"}, CsvOptions(encoding="latin-1"))
    assert cells(found, "id", "läbel") == [(1, "é")]


# --- rows that cannot be kept ---


BAD_LINES = {
    "2,1,0": "the key occurs more than once in the period",
    "2,1,1": "the key occurs more than once in the period",
    ",1,0": "key `id` is NULL",
    " ,2,0": "key `id` is NULL",
    "3,1": "2 fields in place of 3",
    "4,1,0,9": "4 fields in place of 3",
    '5,"1,0': "a quote is not closed",
    "x,1,0": "`id` is not bigint",
    "9223372036854775808,1,0": "`id` is not bigint",
    "6,1.2.3,0": "`amount` is not double",
    "7,1,maybe": "`label` is not bigint",
}


@pytest.fixture(scope="module")
def kept(engine, tmp_path_factory):
    """A run that ingested good lines and bad ones."""
    path = tmp_path_factory.mktemp("kept") / "rows.csv"
    good = [f"{i},{'' if i % 2 else ' '},1" for i in range(100, 110)]
    path.write_text(HEADER + "".join(f"{line}\n" for line in [*good[:5], *BAD_LINES, *good[5:]]))
    columns = {"id": "bigint", "amount": "double", "label": "bigint"}
    run = Run(parse_conf(conf_of("kept", source=str(path), columns=columns)), engine)
    ingest(run)
    return run


def test_read_is_kept_plus_quarantined(kept):
    assert kept.jobs[0].counts == {"read": 10 + len(BAD_LINES), "kept": 10, "quarantined": len(BAD_LINES)}
    assert sorted(row["id"] for row in kept.rows.frame().rows()) == [*range(100, 110)]


def test_each_quarantined_row_has_its_reason_and_its_raw_text(kept):
    def raw(line):
        fields = dict(zip(("id", "amount", "label"), [field or None for field in line.split(",")], strict=False))
        return line if "`" not in BAD_LINES[line] and "key" not in BAD_LINES[line] else json.dumps(fields, separators=(",", ":"))

    found = {(row["reason"], row["raw"]) for row in kept.quarantine.frame().rows()}
    assert found == {(reason, raw(line)) for line, reason in BAD_LINES.items()}


def test_blank_text_in_a_column_of_numbers_is_missing_and_not_wrong(kept):
    assert {row["amount"] for row in kept.rows.frame().rows()} == {None}


def test_where_no_row_can_be_kept_the_job_says_why(job, engine):
    code, sentence = job(ingest, HEADER + "1,1,1\n1,2,1\n,1,1\n", name="none")
    assert code == 3
    reasons = "2 × the key occurs more than once in the period; 1 × key `id` is NULL"
    assert (
        sentence
        == f"none of the 3 rows can be kept: {reasons}. Is data.key (id) the whole key? Nothing has changed in `none.rows`; the rows are in `none.quarantine`"
    )
    assert Run(parse_conf(conf_of("none")), engine).quarantine.frame().count() == 3


def test_lines_of_json_that_are_no_objects_are_quarantined(embedded, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('{"id": 1, "amount": 2.5}\n{"id": 2, \n[1]\n{"id": 3, "amount": "x"}\n{"amount": 1}\n')
    found = sources.read_source(embedded, str(path), {"id": "bigint", "amount": "double"}, None)
    rows = cells(found, "id", REASON, RAW)
    odd = "the line is not a JSON object"
    assert [row[:2] for row in rows] == [
        (1, None),
        (None, f"{odd}: expecting property name enclosed in double quotes"),
        (None, odd),
        (3, "`amount` is not double"),
        (None, None),
    ]
    assert [row[2] for row in rows[1:3]] == ['{"id": 2, ', "[1]"]


# --- tables that do not fit ---


def test_a_label_with_one_class(job, kept):
    expected = "label: `label` has 1 class(es): 1; a classifier needs two or more"
    assert job(fit_features, table="kept.rows") == (3, expected)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"label": "lable"}, "label: table `kept.rows` has no column `lable` (did you mean `label`?)"),
        ({"key": ["idd"]}, "data.key: table `kept.rows` has no column `idd` (did you mean `id`?)"),
        ({"table": "kept.row"}, "there is no table `kept.row` (did you mean `rows`?); run `ingest` first"),
    ],
)
def test_a_table_that_is_not_as_the_conf_says(job, kept, wrong, sentence):
    assert job(fit_features, **({"table": "kept.rows"} | wrong)) == (3, sentence)


def test_an_empty_table(job, engine):
    nothing = pa.table({"id": pa.array([], "int64"), "amount": pa.array([], "float64"), "label": pa.array([], "int64")})
    deltalake.write_deltalake(Run(parse_conf(conf_of("empty")), engine).rows.path, nothing)
    assert job(fit_features, name="empty") == (3, "table `empty.rows` has no row with a label `label` in the train fold")


def test_a_source_with_another_schema_than_the_table(job, kept):
    content = "id,amount,label,city\n1,1,1,x\n"
    code, sentence = job(ingest, content, table="kept.rows", columns={"id": "bigint", "amount": "bigint", "label": "bigint"})
    assert code == 3
    assert sentence.startswith(
        "the source of table `kept.rows` does not have the declared layout, and nothing was written:\n"
        "  `amount` is bigint, and was double (bridge needed: another type)\n"
        "  `city` is new (bridge needed: unexpected)\n"
        "Paste this into the conf, and correct it:\ndata:\n"
    )
    assert sentence.endswith("or choose another data.table")
    assert kept.rows.frame().count() == 10


# --- names of columns, from the file to the predictions ---


ODD = ["my `i.d", "when; now", "a.b", "c`d", "e'f", 'g"h', "i\\j", "k,l", "${m} %s{n}", "ä (x)=1", "yes?no"]
MAPPED = str.maketrans(dict.fromkeys(" ;,(){}=", "_"))  # names with these need Delta's column mapping, which Spark alone writes
TYPES = ["bigint", "date", "double", "string", "string", "string", "double", "bigint", "string", "string", "string"]


def odd_conf(path, names):
    key, when, number, one, hashed, crossed, scaled, count, dollar, accent, label = names
    return {
        "name": "odd",
        "data": {
            "source": str(path), "columns": dict(zip(names, TYPES, strict=True)), "key": [key], "time": when,
            "period": "month",
        },
        "label": {"column": label, "positive": "yes"},
        "features": {
            number: {"numeric": {"input_col": number, "scale": "standard"}},
            one: {"one_hot": {"input_col": one}},
            hashed: {"hashed": {"input_col": hashed, "num_buckets": 8}},
            crossed: {"crossed": {"input_cols": [crossed, count, {"feature": one}], "num_buckets": 8}},
            scaled: {"numeric": {"input_col": scaled, "scale": "minmax"}},
            dollar: {"one_hot": {"input_col": dollar}},
            accent: {"one_hot": {"input_col": accent}},
        },
        "train": MODEL,
        "report": {"slices": [one]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def odd(engine, tmp_path_factory):
    """A conf of a file with such names, ingested and trained; one key is there twice."""
    path = tmp_path_factory.mktemp("odd files") / "my 'odd' file.csv"
    draw = random.Random(0)
    names = ODD if engine.name == "spark" else [name.translate(MAPPED) for name in ODD]
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(names)
        for month, i in [*((1, i) for i in range(60)), *((2, i) for i in range(20)), (2, 19)]:
            yes = draw.random() < 0.5
            words = [draw.choice(some) for some in ("xyz", "abc", "de")]
            label = "" if month == 2 else "yes" if yes else "no"
            lines.writerow([i, f"2026-0{month}-01", draw.gauss(yes, 1), *words, draw.random(), i % 7, "p", f"t{i % 3}", label])
    run = Run(parse_conf(odd_conf(path, names)), engine)
    ingest(run)
    promote_or_keep(run, train(run))
    return odd_conf(path, names)


def test_columns_may_have_any_name(odd, engine):
    run = Run(parse_conf(odd), engine)
    score(run)
    found, [key] = run.predictions.frame().rows(), odd["data"]["key"]
    assert sorted(row[key] for row in found) == [*range(19)]
    assert {row["status"] for row in found} == {"scored"}
    assert {row["prediction"] for row in found} == {"yes", "no"}
    assert [json.loads(row["raw"])[key] for row in run.quarantine.frame().rows()] == ["19", "19"]


def test_a_period_with_no_rows(odd, engine):
    code, sentence = refusal(lambda: score(Run(parse_conf(odd), engine, "2031-01")))
    assert code == 3
    assert sentence == "table `odd.rows` has no row with a key in period 2031-01 (its periods: 2026-02, 2026-01)"
    code, sentence = refusal(lambda: train(Run(parse_conf(odd), engine, "2026-01")))
    assert code == 3
    assert sentence == "table `odd.rows` has no row with a label `yes?no` in the train fold before period 2026-01"


@pytest.mark.parametrize(
    ("model", "what_is_there"),
    [
        ("models:/odd/7", "`odd` has versions 1, and the champion is odd version 1"),
        ("models:/odd@challenger", "`odd` has versions 1, and the champion is odd version 1"),
        ("models:/od@champion", "no version of `od` is registered; run `train` first (looked in sqlite:///{state}/mlflow.db)"),
    ],
)
def test_a_model_that_is_not_there(odd, engine, model, what_is_there):
    what_is_there = what_is_there.replace("{state}", os.environ["KEYFOLD_HOME"])
    code, sentence = refusal(lambda: score(Run(parse_conf(odd | {"score": {"model": model}}), engine)))
    assert (code, sentence) == (3, f"there is no model `{model}`: {what_is_there}")


def test_a_positive_class_that_is_not_there(odd, engine):
    code, sentence = refusal(lambda: fit_features(Run(parse_conf(odd | {"label": odd["label"] | {"positive": "yess"}}), engine)))
    assert code == 3
    said = "`yes?no` has the classes 'no' and 'yes'; name the positive one (got 'yess') (did you mean `yes`?)"
    assert sentence == f"label.positive: {said}"


def test_a_table_at_an_older_schema_is_not_scored(odd, engine):
    rows = Run(parse_conf(odd), engine).rows.frame().to_arrow()
    run = Run(parse_conf(odd | {"data": odd["data"] | {"table": "odd.older"}, "score": {"into": "odd.none"}}), engine)
    deltalake.write_deltalake(run.rows.path, rows.drop_columns(["a.b", "keyfold_run"]))
    code, sentence = refusal(lambda: score(run))
    assert code == 3
    assert sentence.startswith("the table has no column `a.b`, which a feature takes")
    assert not run.predictions.exists()


def test_a_missing_value_that_the_conf_refuses(engine):
    kinds = parse_conf(conf_of("x") | {"features": {"n": {"numeric": {"input_col": "n", "missing": "error"}}}}).features
    rows = engine.rows([(1, 1.0), (2, None)], "id bigint, n double")
    spec = Spec.fit(rows.head(1), kinds)
    sentence = "column `n` has a missing value, and the conf says `missing: error`"
    assert refusal(lambda: spec.transform(rows).rows()) == (3, sentence)
    with pytest.raises(DataError, match="column `n` has a missing value"):
        spec.arrow(rows.to_arrow())


# --- promises ---


@pytest.mark.parametrize("in_catalog", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_commit_with_other_rows_than_were_counted_is_put_back(spark, in_catalog):
    tables = Run(parse_conf(conf_of("promise")), spark).tables
    tables.in_catalog = in_catalog
    table = tables.table("promise.rows")

    def rows(*pairs):
        return spark.createDataFrame(pa.table(dict(zip(("id", "period"), zip(*pairs, strict=True), strict=True)))).coalesce(1)

    def there():
        return sorted(map(tuple, table.read().collect()))

    assert refusal(lambda: table.replace(rows((1, "a")), "period", {"a": 2}))[0] == 4
    assert there() == []
    table.replace(rows((1, "a"), (2, "a"), (3, "b")), "period", {"a": 2, "b": 1}, job="test")
    before = there()
    code, sentence = refusal(lambda: table.replace(rows((7, "a"), (8, "a"), (9, "a")), "period", {"a": 2}, job="test"))
    assert code == 4
    assert sentence == (
        "table `promise.rows`: 2 rows were expected, and Delta committed 3; "
        "the former rows were put back. Please run again, and report this"
    )
    assert there() == before


# --- values that were not there at fitting ---


@pytest.mark.parametrize("unseen_in", ["train", "score"])
def test_an_unseen_value_refuses_training_and_costs_its_own_row_in_scoring(engine, unseen_in):
    """Under `error`: 1 of 60 rows of the second month has a shop that the train fold of the first lacks."""
    rows = [(i, f"2026-0{1 + i % 2}", i % 5 == 0, f"shop {i % 3}") for i in range(120)]
    conf = conf_of(f"unseen_{unseen_in}", label="y", time="keyfold_period", period="month")
    conf["features"] = {"shop": {"one_hot": {"input_col": "shop", "handle_unseen": "error"}}}
    if unseen_in == "train":
        conf["split"] = {"share": {"train": 0.5, "validation": 0.4, "test": 0.1}}
        rows = [(i, month, y, f"shop {i}") for i, month, y, _ in rows]
    else:
        rows[1] = (*rows[1][:3], "a new shop")
    run = Run(parse_conf(conf), engine, "2026-02")
    run.rows.replace(
        engine.rows(rows, "id bigint, keyfold_period string, y boolean, shop string"),
        "keyfold_period",
        {"2026-01": 60, "2026-02": 60},
    )
    if unseen_in == "train":
        code, sentence = refusal(lambda: score(run, promote_or_keep(run, train(run))))
        assert code == 3
        assert re.match(r"column `shop` has a value that was not there at fitting.*choose `own`.*: shop \d+", sentence)
        assert not run.predictions.exists()
        return
    score(run, promote_or_keep(run, train(run)))
    found = {row["id"]: row for row in run.predictions.frame().rows()}
    assert found.keys() == {row[0] for row in rows if row[1] == "2026-02"}
    assert {i for i, row in found.items() if row["status"] == "quarantined"} == {1}
    assert "was not there at fitting" in found[1]["reason"]
    assert "a new shop" in found[1]["reason"]
