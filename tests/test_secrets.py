"""Passwords in addresses and in the environment: hidden wherever text leaves a job, and nothing else is."""

import json
import sys
from types import SimpleNamespace
from urllib.parse import quote

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.cli import main
from keyfold.cli.error_messages import as_keyfold_error
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError
from keyfold.reporting import page
from keyfold.runtime.ledger import row_of
from keyfold.runtime.run import Run
from keyfold.secrets import holds_password, is_address, redacted
from keyfold.tracking import registry
from keyfold.tracking.connection import tracking_address


@pytest.mark.parametrize(("text", "shown"), [
    ("cannot reach https://me:canary@host/x.", "cannot reach https://…@host/x."),
    ("s3a://AKIA:can/ary+9==@bucket/a.csv", "s3a://…@bucket/a.csv"),
    ("`https://me:c@nary@host:5000/x?y=1`", "`https://…@host:5000/x?y=1`"),
    ("postgresql+psycopg2://me:can%40ary@h/db", "postgresql+psycopg2://…@h/db"),
    ("https://canary@host/x", "https://…@host/x"),
    ("read s3a%3A%2F%2Fkey%3Acanary%40bucket/a", "read s3a%3A%2F%2F…%40bucket/a"),
    ("jdbc:postgresql://h/db?user=me&password=canary&ssl=true", "jdbc:postgresql://h/db?user=me&password=…&ssl=true"),
    ("jdbc:sqlserver://h;user=me;Password=canary;x=1", "jdbc:sqlserver://h;user=me;Password=…;x=1"),
    ("jdbc:oracle:thin:me/canary@h:1521/x", "jdbc:oracle:thin:…@h:1521/x"),
    ("https://h/x?X-Amz-Signature=canary&sig=canary#a", "https://h/x?X-Amz-Signature=…&sig=…#a"),
    ("https://h/x%3Ftoken%3Dcanary%26y%3D1", "https://h/x%3Ftoken%3D…"),
    ('{"files": {"s3a://k:canary@b/a.csv": 1, "s3a://k:canary@b/b.csv": 2}}', '{"files": {"s3a://…@b/a.csv": 1, "s3a://…@b/b.csv": 2}}'),
])  # fmt: skip
def test_passwords_of_addresses_are_hidden(text, shown):
    assert redacted(text) == shown
    assert "canary" not in shown


@pytest.mark.parametrize("text", [
    "s3a://bucket/month=2026-10/a@b.csv", "abfss://container@account.dfs.core.windows.net/x", "sqlite:////home/me/.keyfold/mlflow.db",
    "https://host:5000/x?page=2&monkey=3&design=x", "write to me@example.com: models:/churn@champion", "there is no file `token=3/a.csv`", "",
])  # fmt: skip
def test_other_text_is_kept(text):
    assert redacted(text) == text


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\"'<>"), min_size=1, max_size=20))
def test_a_password_of_any_characters_is_hidden(password):
    for word in (password, quote(password), quote(password, safe="")):
        said = redacted(f"cannot read s3a://key:{word}@bucket/x.csv, which is gone")
        assert said == "cannot read s3a://…@bucket/x.csv, which is gone"


def test_passwords_of_the_environment_are_hidden(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:can%40ary@mlflow.example/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "Sesame123")
    monkeypatch.setenv("KUBE_TOKEN_FILE", "/var/run/token")
    assert tracking_address() == "https://…@mlflow.example/x"
    assert (
        redacted("login of can@ary failed, can%40ary too; Sesame123; /var/run/token")
        == "login of … failed, … too; …; /var/run/token"
    )


@pytest.mark.parametrize(
    "address", ["s3a://key:canary@bucket/a.csv", "ftp://me:can@nary@host/a.csv", "https://h/a.csv?sig=canary"]
)
def test_a_conf_with_a_password_is_refused(address):
    with pytest.raises(ConfError) as error:
        parse_conf({"name": "x", "data": {"source": address, "key": ["id"]}})
    assert "data.source must not hold a password (got " in str(error.value)
    assert "nary" not in str(error.value)


def test_no_output_of_a_job_holds_a_password(embedded, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KEYFOLD_HOME", str(tmp_path))
    address = "s3a://key:canary@bucket/a.csv"
    run = Run(parse_conf({"name": "x", "data": {"key": ["id"]}}), embedded)
    with pytest.raises(DataError), run.job("ingest") as job:
        job.run_id, job.inputs = "r", {"files": {address: "digest"}}
        job.facts["source"] = address
        job.sections.append(page.PageSection("Files", page.html_table(["file"], [[address]])))
        run.say(f"reads {address}")
        raise DataError(f"there is no {address}")
    html = run.write_report().read_text("utf-8")
    row = row_of(job, run.conf, None, 2)
    assert json.loads(row["input_versions"]) == {"files": {"s3a://…@bucket/a.csv": "digest"}}

    assert str(DataError(f"there is no {address}")) == "there is no s3a://…@bucket/a.csv", "in a notebook, too"

    def work():
        raise RuntimeError(f"there is no {address}")

    monkeypatch.setattr(sys, "argv", ["x.py"])
    for debug in (True, False):
        with pytest.raises(SystemExit):
            main.run_guarded(work, debug=debug)
    said = capsys.readouterr()
    for text in (html, str(row), said.err, said.out):
        assert "canary" not in text
    assert (
        said.err.count("keyfold: unexpected error: RuntimeError: there is no s3a://…@bucket/a.csv (--debug") == 2
        and "Traceback" in said.err
    )
    assert html.count("s3a://…@bucket/a.csv") >= 2


def test_secrets_of_the_environment_are_hidden_and_plain_words_are_kept(monkeypatch):
    for name, value in {
        "AWS_SECRET_ACCESS_KEY": "/K7MDENGbPxRfi", "OPENAI_API_KEY": "sk-abcdef", "db_password": "hunter22", "AZURE_STORAGE_KEY": "Zm9vYmFy",
        "TOKENIZERS_PARALLELISM": "false", "MY_TOKEN": "true", "PASSWORD_STORE_DIR": "home", "API_TOKEN_FILE": "plainname", "LONG_TOKEN": "ey" * 3000, "PIN_PASSWORD": "20261128",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    text = f"{'ey' * 3000} 20261128 /K7MDENGbPxRfi sk-abcdef hunter22 Zm9vYmFy false true home plainname"
    assert redacted(text) == "… … … … … … false true home plainname"


def test_passwords_in_odd_spellings_of_addresses_are_hidden():
    for address in (
        " s3a://AK:SE@b/p",
        "postgres://u:pa ss@h/db",
        "snowflake://u:p'w@h/d",
        "jdbc:mysql://h/db?pass=x1",
        "https://h/a#token=abc",
    ):
        assert is_address(address) and holds_password(address), address
    for address in ("s3a://bucket/a:b/c", "abfss://box@account.dfs.core.windows.net/a", "https://example.org:8080/a"):
        assert not holds_password(address), address


@pytest.mark.parametrize("password", ["ca&na<ry'1", 'ca"nary', "ca\\nary", "canäry", "ca+na/ry=="])
def test_a_password_is_hidden_in_every_form(password, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    html = page.render_page(
        "t", {"why": f"login with {password} failed"}, [page.PageSection("s", page.html_table(["x"], [[password]]))]
    )
    for text in (html, json.dumps({"why": password}), repr([password]), quote(password), quote(password, safe="")):
        said = redacted(text)
        assert "…" in said and "nary" not in said and "na&" not in said and "na%" not in said


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("PGPASSWORD", "canary12", "canary12"), ("MYSQL_PWD", "canary12", "canary12"), ("DB_PASS", "canary12", "canary12"),
        ("GPG_PASSPHRASE", "canary12", "canary12"), ("OPENAI_APIKEY", "canary12", "canary12"), ("SSH_PRIVATE_KEY", "canary12", "canary12"),
        ("SENTRY_DSN", "https://me:canary12@h/1", "canary12"),
        ("AZURE_STORAGE_CONNECTION_STRING", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=canary12==;EndpointSuffix=x", "canary12=="),
        ("PYSPARK_SUBMIT_ARGS", "--conf spark.hadoop.fs.s3a.secret.key=canary12 --master local", "canary12"),
    ],
)  # fmt: skip
def test_variables_of_other_names_hold_passwords(name, value, shown, monkeypatch):
    monkeypatch.setenv(name, value)
    assert redacted(f"failed with `{shown}`.") == "failed with `…`."


@pytest.mark.parametrize(("text", "shown"), [
    ("Access denied (password=canary)", "Access denied (password=…)"),
    ("conn: host=h port=5 user=me password='canary' dbname=x", "conn: host=h port=5 user=me password='…' dbname=x"),
    ("Driver=X;Uid=me;Pwd=canary;", "Driver=X;Uid=me;Pwd=…;"),
    ("set spark.hadoop.fs.s3a.secret.key=canary", "set spark.hadoop.fs.s3a.secret.key=…"),
    ("fs.azure.account.key.a.dfs.core.windows.net=canary==", "fs.azure.account.key.a.dfs.core.windows.net=…"),
    ("{'password': 'canary', 'user': 'me'}", "{'password': '…', 'user': 'me'}"),
    ("headers {'Authorization': 'Basic Y2FuYXJ5'}", "headers {'Authorization': 'Basic …'}"),
    ("Authorization: Bearer canary.canary", "Authorization: Bearer …"), ("sent Bearer canary.canary", "sent Bearer …"),
])  # fmt: skip
def test_passwords_of_options_and_headers_are_hidden(text, shown):
    assert redacted(text) == shown


@pytest.mark.parametrize("text", [
    "features.password_changed: column `password_changed` has no number", "there is no file `token=3/a.csv`", "`password` is gone",
    "{'password_changed': 'yes'}", "features.authorization: column `x` is missing", "the bearer of it",
])  # fmt: skip
def test_names_that_only_resemble_passwords_are_kept(text):
    assert redacted(text) == text


def test_no_argument_of_the_command_line_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["score.py", "a.yaml", "s3a://me:canary@bucket/a.csv"])
    with pytest.raises(SystemExit):
        main.run_script("score")
    assert "canary" not in capsys.readouterr().err


def test_settings_of_the_session_are_hidden(spark, monkeypatch):
    from keyfold.engine.session import session

    spark.conf.set("spark.hadoop.fs.s3a.secret.key", "canary12")
    session()
    spark.conf.unset("spark.hadoop.fs.s3a.secret.key")
    assert redacted("signed with canary12") == "signed with …"


def test_errors_of_a_model_hold_no_password(monkeypatch):
    from keyfold.models import predictor

    monkeypatch.setenv("DB_PASSWORD", "canary12")
    model = SimpleNamespace(answer_types={"prediction": pa.float64()})
    assert predictor._refused(model, RuntimeError("login as me with canary12"))[1].to_pylist() == [
        "RuntimeError: login as me with …"
    ]


def test_a_server_that_does_not_answer_is_one_message():
    said = "API request to http://me:canary@h:5000/api/2.0/mlflow/runs/search failed with exception HTTPConnectionPool(host='h'): Max retries"
    known = as_keyfold_error(RuntimeError(said))
    assert str(known) == "MLflow at http://…@h:5000 does not answer; is the server up, and MLFLOW_TRACKING_URI right?"
    assert known.exit_code == 3


def test_mlflow_prints_no_address_of_its_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", raising=False)
    registry.client()
    from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT

    assert MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.get()


@pytest.mark.parametrize("unit", ["a.", "a-b", "aZ-_", "password", "?a", "&a.b-c", "account.key.", "x=1;"])
def test_long_texts_take_time_in_proportion(unit):
    """200,000 letters: with time as their square the test would take minutes."""
    text = unit * (200_000 // len(unit))
    assert redacted(f"{text} s3a://k:canary@b") == f"{text} s3a://…@b"
