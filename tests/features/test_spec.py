"""The spec: any layout of the rows, its SQL, its JSON."""

import random

import pytest

from keyfold.errors import DataError
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec

pytestmark = pytest.mark.usefixtures("compiled")


def test_the_spec_is_the_same_for_any_layout(spark):
    rng = random.Random(0)
    rows = [(rng.choice([None, 1e15, -1e15, 1.0]) or rng.gauss(3, 1e-3), rng.choice("abcdé"), i) for i in range(2000)]
    features = {
        "x": Feature.model_validate({"numeric": {"input_col": "x", "scale": "standard"}}),
        "c": Feature.model_validate({"one_hot": {"input_col": "c"}}),
    }
    digests = set()
    for partitions in (1, 7):
        rng.shuffle(rows)
        digests.add(Spec.fit(spark.createDataFrame(rows, "x double, c string, i int").repartition(partitions), features).digest)
    assert len(digests) == 1


def test_a_name_that_sql_reads_as_a_variable_is_refused_in_sql_text_alone(spark):
    feature = {"hashed": {"input_col": "a${x}", "num_buckets": 9}}
    frame = spark.createDataFrame([("u",)], "`a${x}` string")
    spec = Spec.fit(frame, {"f${y}": Feature.model_validate(feature)})
    assert spec.transform(frame).toArrow()["f${y}"].to_pylist() == list(spec.arrow(frame.toArrow())["f${y}"])
    with pytest.raises(DataError, match=r"`f\$\{y\}` cannot be a name in SQL"):
        spec.to_sql("t")


def test_a_damaged_spec_is_reported():
    with pytest.raises(DataError, match="damaged"):
        Spec.from_json('{"contract": 1}')
    with pytest.raises(DataError, match="contract version 2; this keyfold has 1"):
        Spec.from_json('{"contract": 2}')


def test_a_float_is_refused_by_both_sides(spark):
    frame = spark.createDataFrame([(0.5,)], "x double")
    for conf in ({"hashed": {"input_col": "x", "num_buckets": 8}}, {"one_hot": {"input_col": "x"}}):
        with pytest.raises(DataError, match=r"column `x`.*got double.*hash integers"):
            Spec.fit(frame, {"f": Feature.model_validate(conf)})
