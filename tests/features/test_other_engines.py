"""The same spec and the same bits from other engines and other types: a cluster of processes, Spark Connect, pandas, collations."""

import datetime as dt
import json
import os
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather
from pyspark.sql import functions as F

import images
from every_kind import IMAGE, TARGET, confs, same, table
from keyfold.errors import DataError
from keyfold.features import matrix
from keyfold.features.certificate import bits_differ
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec
from places import TESTS

MOMENTS = [dt.datetime(1900, 1, 1), dt.datetime(2026, 3, 29, 1, 30, 0, 1), None]
HARD = {
    "text": ["An ad: two Ads", "", "a\0b", "👩‍👩‍👧 é e\u0301 ΣÀ Ж", "x" * 70_000, None],
    "whole": [2**53 + 1, -(2**61), None, 7],
    "small": [None, 2**31 - 1, -(2**31)],
    "real": [0.1, -0.0, float("nan"), float("-inf"), 1e-300, None, 2.0**60],
    "single": [0.5, None, -(2.0**60)],
    "flag": [True, None, False],
    "day": [dt.date(1, 1, 1), dt.date(9999, 12, 31), None, dt.date(2024, 2, 29)],
    "at": [m and m.replace(tzinfo=dt.UTC) for m in MOMENTS],
    "wall": MOMENTS,
    "price": [Decimal("1.5"), Decimal("-0.000000000000000001"), None],
    "photo": [images.FILES["turned"], None, images.FILES["16 bits"]],
    "file": [None, str(IMAGE)],
    "cents": [None, Decimal("0.10"), Decimal("-9999999.99")],
}
SCRIPT = TESTS / "elsewhere.py"


@pytest.fixture(scope="module")
def here(spark, tmp_path_factory):
    """Hard rows in a file, features of every kind, and the spec that this session fits."""
    folder = tmp_path_factory.mktemp("elsewhere")
    IMAGE.parent.mkdir(exist_ok=True)
    IMAGE.write_bytes(images.FILES["turned"])
    drawn = [{c: some[i % len(some)] for c, some in HARD.items()} for i in range(40)]
    features, rows = confs(drawn), table(drawn)
    rows = rows.append_column("i", pa.array(range(rows.num_rows)))
    pq.write_table(rows, folder / "rows.parquet")
    raw = {name: feature.model_dump(mode="json", exclude_none=True) for name, feature in features.items()}
    (folder / "features.json").write_text(json.dumps([raw, *TARGET]))
    return folder, rows, Spec.fit(spark.read.parquet(str(folder / "rows.parquet")), features, TARGET)


@pytest.mark.parametrize("master", ["connect", "local-cluster[2,1,1024]"])
@pytest.mark.slow
def test_another_engine_gives_the_same_spec_and_the_same_bits(here, master, spark_home, tmp_path):
    folder, rows, spec = here
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK", "PYSPARK"))}
    environment |= {"SPARK_HOME": str(spark_home), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    start = [sys.executable] if master == "connect" else [str(spark_home / "bin/spark-submit"), "--master", master]
    command = [*start, str(SCRIPT), master, str(folder)]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert (folder / f"{master}.json").read_text("utf-8") == spec.to_json()
    found = feather.read_table(folder / f"{master}.arrow").sort_by("i")
    assert found.num_rows == rows.num_rows
    same(spec, found, spec.arrow(rows))


def test_pandas_rows_are_taken(here):
    _, rows, spec = here
    frame = rows.to_pandas()
    assert frame["whole"].dtype == "float64", "pandas has no integers beside gaps"
    frame["whole"] = rows["whole"].to_pandas(integer_object_nulls=True)
    same_arrays(spec.arrow(frame), spec.arrow(rows))


def same_arrays(found, wanted):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert not bits_differ(array, found[name]).any(), name


@pytest.mark.slow
def test_mllib_trains_on_the_rows_of_the_sparse_matrix(spark, here):
    from pyspark.ml.classification import LogisticRegression

    folder, rows, spec = here
    with pytest.raises(
        DataError, match=r"take 4,29\d,\d{3},\d{3} columns, and .*; features.\w+ takes 2,147,483,647: lower its num_buckets"
    ):
        matrix.sparse_matrix(spec.arrow(rows), spec.outs)
    spec = Spec(spec.inputs, {name: fitted for name, fitted in spec.features.items() if spec.outs[name].width < 2**20})
    wanted = matrix.sparse_matrix(spec.arrow(rows), spec.outs)
    wanted.sum_duplicates()
    frame = spark.read.parquet(str(folder / "rows.parquet")).repartition(3)
    made = spec.assemble(frame, "the features", ["i", F.col("flag").cast("double").alias("a.label")])
    assert [field.dataType.simpleString() for field in made.schema] == ["bigint", "double", "vector"]
    for row in made.collect():
        vector, line = row["the features"], wanted[row.i]
        assert (vector.size, vector.indices.tolist()) == (wanted.shape[1], line.indices.tolist())
        assert vector.values.tobytes() == line.data.tobytes()
    few = Spec.fit(frame, {"c": Feature.model_validate({"one_hot": {"input_col": "flag"}})})
    model = LogisticRegression(maxIter=5, labelCol="flag").fit(
        few.assemble(frame.where("flag IS NOT NULL"), keep=["flag"]).withColumn("flag", F.col("flag").cast("double"))
    )
    assert model.coefficients.size == few.outs["c"].width


TYPES = {
    "case": "collate(text, 'UNICODE_CI')", "language": "collate(text, 'de_AI')", "char": "CAST(left(text, 9) AS CHAR(9))",
    "whole38": "CAST(n AS DECIMAL(38, 0)) * 10000000000000000000", "fraction38": "CAST(n / 1e6 AS DECIMAL(38, 38))",
    "one": "CAST(n % 10 AS DECIMAL(1, 0))", "mixed": "CAST(n / 7 AS DECIMAL(18, 6))", "byte": "CAST(n % 100 AS TINYINT)",
    "short": "CAST(n AS SMALLINT)",
}  # fmt: skip


def test_collations_and_types_of_all_sizes(spark, tmp_path):
    texts = ["Straße", "STRASSE", "straße", "é", "e\u0301", "E", "a", "A", "", None]
    rows = spark.createDataFrame([(i, texts[i % len(texts)]) for i in range(-30, 30)], "n int, text string").coalesce(1)
    rows = rows.selectExpr(*(f"{expression} {name}" for name, expression in TYPES.items()))
    features = {}
    for c in TYPES:
        features |= {
            f"hashed_{c}": {"hashed": {"input_col": c, "num_buckets": 1000}},
            f"one_hot_{c}": {"one_hot": {"input_col": c}},
        }
        features[f"crossed_{c}"] = {"crossed": {"input_cols": [c, "case"], "num_buckets": 1000}}
    spec = Spec.fit(rows, {name: Feature.model_validate(raw) for name, raw in features.items()})
    arrays = spec.arrow(rows.toArrow())
    same(spec, spec.transform(rows).toArrow(), arrays)
    for c in ("case", "language"):
        assert spec.outs[f"one_hot_{c}"].width == 9 + 2, "a collation does not make two texts one"
    assert spec.outs["one_hot_fraction38"].width == 60 + 2
