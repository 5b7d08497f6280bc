"""What a job refuses before Spark starts, and that a look at a conf is quick."""

import gzip
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keyfold.cli import preflight
from keyfold.cli.runner import PASSED
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError, DataError
from places import ROOT
from sections import data_and_label

JOBS = ROOT / "jobs"
COLUMNS = "id,day,plan,churn"


def conf(source, **more):
    data = {"source": str(source), "key": ["id"], "label": "churn", "columns": {"id": "bigint"}} | more.pop("data", {})
    return parse_conf({"name": "mine", **data_and_label(data), "features": {"plan": {"one_hot": {"input_col": "plan"}}}} | more)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "mine.csv").write_text(f"\ufeff{COLUMNS}\n1,2026-01-01,a,0\n")
    return tmp_path / "mine.csv"


@pytest.mark.parametrize(("more", "sentence"), [
    ({"data": {"key": ["idd"]}}, "data.key: the source `{source}` has no column `idd` (did you mean `id`?)"),
    ({"data": {"columns": {"idd": "bigint"}}}, "{source} has no column `idd`, which data.columns declares (did you mean `id`?)"),
    ({"data": {"label": "chrn"}}, "label: the source `{source}` has no column `chrn` (did you mean `churn`?)"),
    ({"split": {"by": "plna"}}, "split.by: the source `{source}` has no column `plna` (did you mean `plan`?)"),
    ({"features": {"x": {"hashed": {"input_col": "pln", "num_buckets": 9}}}}, "features.x: the source `{source}` has no column `pln` (did you mean `plan`?)"),
    ({"split": {"time": {"column": "dya", "test": "2026-01-01"}}}, "split.time.column: the source `{source}` has no column `dya` (did you mean `day`?)"),
    ({"split": {"allow": ["plna"]}}, "split.allow: the source `{source}` has no column `plna` (did you mean `plan`?)"),
    ({"features": {"x": {"numeric": {"input_col": {"ratio": ["id", "spend"]}}}}}, "features.x: the source `{source}` has no column `spend`"),
    ({"data": {"time": "day", "columns": {"day": "date"}}, "features": {"x": {"windowed": {"input_col": "id", "by": "plna", "over": "1 rows", "take": "last"}}}},
     "features.x: the source `{source}` has no column `plna` (did you mean `plan`?)"),
    ({"images": {"input_col": "photo", "operations": [{"thumbnail": 64}]}}, "images.input_col: the source `{source}` has no column `photo`"),
    ({"report": {"slices": ["city"]}}, "report.slices: the source `{source}` has no column `city`"),
    ({"report": {"truth": "p"}}, "report.truth: the source `{source}` has no column `p`"),
    ({"data": {"time": "day", "columns": {"day": "date"}}, "features": {"x": {"windowed": {"input_col": "id", "by": "plan", "order_by": ["day", "line"], "over": "1 rows", "take": "last"}}}},
     "features.x: the source `{source}` has no column `line`"),
])  # fmt: skip
def test_a_column_that_no_file_has_is_told(source, more, sentence):
    with pytest.raises(DataError) as error:
        preflight.check_inputs(conf(source, **more), reads_source=True)
    assert str(error.value) == sentence.format(source=source)
    preflight.check_inputs(conf(source, **more), reads_source=False)


def test_columns_are_read_from_whatever_holds_them(tmp_path, source):
    preflight.check_inputs(conf(source), reads_source=True)
    folder = tmp_path / "many" / "plan=a"
    folder.mkdir(parents=True)
    (folder / "part.csv.gz").write_bytes(gzip.compress(b"id;day;churn\n1;x;0\n"))
    preflight.check_inputs(conf(folder.parent, data={"csv": {"delimiter": ";"}}), reads_source=True)
    pq.write_table(pa.table({name: ["1"] for name in COLUMNS.split(",")}), tmp_path / "mine.parquet")
    preflight.check_inputs(conf(tmp_path / "mine.parquet"), reads_source=True)
    with pytest.raises(DataError, match=r"label: .* has no column `left`"):
        preflight.check_inputs(conf(tmp_path / "mine.parquet", data={"label": "left"}), reads_source=True)


def test_what_cannot_be_told_is_left_to_the_job(tmp_path, source):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfe\xfd")
    (tmp_path / "odd.parquet").write_text("x")
    (tmp_path / "some.jsonl").write_text('{"id": 1}\n')
    for name, sentence in {"empty.csv": "is empty: it has no header", "odd.csv": "the header's column .* is not UTF-8"}.items():
        with pytest.raises(DataError, match=sentence):
            preflight.check_inputs(conf(tmp_path / name), reads_source=True)
    for name in ("odd.parquet", "some.jsonl"):
        preflight.check_inputs(conf(tmp_path / name), reads_source=True)
    preflight.check_inputs(conf("s3a://bucket/mine.csv"), reads_source=True)
    preflight.check_inputs(conf(source, data={"columns": {"id": "bigint"}, "label": "churn"}), reads_source=True)


def test_windows_are_made_from_columns_and_content_has_a_key(source):
    series = {"windowed": {"input_col": "id", "over": "7 days", "take": "mean"}}
    keyed = {"key": "content", "time": "day", "columns": {"day": "date"}}
    preflight.check_inputs(
        conf(source, data=keyed, features={"week": series | {"windowed": series["windowed"] | {"by": "plan"}}}), reads_source=True
    )
    with pytest.raises(DataError, match=r"features.week: .* no column `idd`"):
        odd = {"windowed": series["windowed"] | {"by": "plan", "input_col": "idd"}}
        preflight.check_inputs(conf(source, data=keyed, features={"week": odd}), reads_source=True)


def test_columns_of_views_and_layouts_are_left_to_the_job(source):
    view = {"time": "day", "views": ["usage.features"], "columns": {"id": "bigint"}}
    preflight.check_inputs(conf(source, data=view, report={"slices": ["minutes"]}), reads_source=True)


def test_files_and_confs_that_are_not_there_are_told(tmp_path, source):
    with pytest.raises(DataError, match=r"there is no file `.*mine.cvs` .*did you mean `mine.csv`"):
        preflight.check_inputs(conf(tmp_path / "mine.cvs"), reads_source=True)
    with pytest.raises(ConfError, match=r"there is no conf `usage.yaml`"):
        preflight.check_inputs(conf(source, data={"time": "day", "views": ["usage.yaml"]}), reads_source=False)


def ran(job, *words):
    """The exit code, stdout and stderr of a check in a process of its own, and the packages that it imported."""
    code = f"""
import sys, atexit
sys.argv[1:] = {["--check", "script", str(JOBS / f"{job}.py"), *words]!r}
atexit.register(lambda: print(*sorted({{"pyspark", "mlflow", "sklearn", "pandas", "scipy", "torch"}} & set(sys.modules))))
from keyfold.cli import preflight
preflight.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)})
    *out, imported = done.stdout.splitlines()
    return done.returncode, "\n".join(out), done.stderr, imported


def test_a_check_runs_a_job_up_to_its_session(tmp_path, source):
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"name: mine\ndata: {{source: {source}, key: [id], columns: {{id: bigint}}}}\nlabel: churn\n"
        "train: {model: {sklearn: {estimator: sklearn.linear_model.LogisticRegression, params: {C: 1}}}}\n"
    )
    for mine in (path, ROOT / "conf/churn.yaml"):
        assert ran("pipeline", str(mine)) == (PASSED, "", "", ""), "and imports nothing that takes long"
    code, out, err, imported = ran("train", "--help")
    assert (code, err, imported) == (0, "", "") and out.startswith("usage: ./spark-submit.sh train ")
    code, out, err, imported = ran("train", "--driver-memory", "4g", str(path))
    assert (code, out, imported) == (2, "", "")
    assert "--driver-memory is an option of spark-submit; put it after `--`: ./spark-submit.sh train … -- --driver-memory" in err
    code, _, err, _ = ran("score", str(path), "--strickt", "--set", "label=chrn")
    assert (code, "--strickt is not an option of this job (did you mean `--strict`?)" in err) == (2, True)
    code, _, err, imported = ran("ingest", str(path), "--set", "label=chrn")
    assert (code, imported) == (3, "") and err.startswith("keyfold: label: the source")
    assert ran("spec", "diff", "a", "b", "--on", "x.rows")[0] == ran("doctor")[0] == PASSED


def test_a_job_that_needs_no_spark_is_run_at_once_and_another_is_handed_to_the_script(tmp_path, source):
    script = tmp_path / "script.sh"
    script.write_text('#!/bin/sh\nprintf "%s|" "$KEYFOLD_REASON" "$@"\n')  # without the right to execute it

    def ran(*words):
        command = [sys.executable, "-m", "keyfold.cli.preflight", str(script), *map(str, words)]
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SPARK", "PYSPARK", "MASTER", "KEYFOLD"))
        }
        return subprocess.run(
            command, capture_output=True, text=True, env=kept | {"KEYFOLD_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "lib")}
        )

    schema = ran(JOBS / "schema.py", "--")
    assert (schema.returncode, schema.stdout[:1]) == (0, "{")
    conf = tmp_path / "mine.yaml"
    conf.write_text(f"name: mine\ndata: {{source: {source}, key: [id], columns: {{id: bigint}}}}\n")
    undo = ran(JOBS / "undo.py", conf, "--")
    assert undo.returncode == 3 and "engine    embedded: nothing here needs Spark" in undo.stderr
    assert "table `mine.rows` has no ingest to undo" in undo.stderr
    words = [str(JOBS / "undo.py"), str(conf), "--", "--name", "a b"]
    assert ran(*words).stdout == "|".join(["there are options of spark-submit", "--checked", *words, ""])
    refused = ran(*words[:2], "--engine", "embedded", *words[2:])
    assert refused.returncode == 2
    said = "keyfold: --engine is `embedded`, which takes no options of spark-submit (got --name); leave them out\n"
    assert refused.stderr == said
    assert ran(JOBS / "feast.py", "a", "--").stdout.startswith("this job reads tables by Spark|--checked|")
    assert ran(JOBS / "spec.py", "sql", "a", "--on", "lake.crm.b", "--").stdout.startswith("the embedded engine has no access to")
    spec = ran(JOBS / "spec.py", "sql", "a", "--on", "b", "--")
    assert spec.returncode == 3 and "there is no spec `a`" in spec.stderr
