"""Numbers derived from columns: the right values, the bits of Java's StrictMath, and what a conf says wrongly."""

import datetime as dt
import math
import re

import numpy as np
import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.derived import SAMPLES, Derived, _log
from keyfold.errors import ConfError, DataError
from keyfold.features.certificate import Certificate
from keyfold.features.kinds import Feature
from keyfold.features.kinds.windowed import Windowed
from keyfold.features.spec import Spec
from keyfold.windows.series import SeriesDefinition, States
from window_rows import HOUR, batch, run

RNG = np.random.default_rng(0)
DAY = dt.timedelta(days=1)
AT = dt.datetime(2026, 11, 28, 12)


def made(conf, **columns):
    derived = Derived.model_validate(conf)
    return derived.of({name: columns[name] for name in derived.columns}, "f").to_pylist()


def nothing(values):
    return [None if math.isnan(value) else value for value in values]


def test_values():
    day, at = pa.array([AT.date(), dt.date(1, 1, 1), None]), pa.array([AT, AT, AT], pa.timestamp("us"))
    moment = pa.array([AT.replace(tzinfo=dt.UTC)] * 3, pa.timestamp("us", "UTC"))
    days = (AT.date() - dt.date(1, 1, 1)).days + 0.5
    assert nothing(made({"age": "day", "at": "at"}, day=day, at=at)) == [0.5, days, None]
    assert nothing(made({"difference": ["day", "at"], "unit": "seconds"}, day=day, at=moment)) == [-43200, -days * 86400, None]
    born = pa.array([AT.date() - 9000 * DAY], pa.date32())
    assert made({"age": "born", "at": "day"}, born=born, day=day[:1]) == [9000]
    a, b = pa.array([1.0, 3.0, 0.0, None, 2.0]), pa.array([4, 0, 0, 1, None])
    assert nothing(made({"ratio": ["a", "b"]}, a=a, b=b)) == [0.25, None, None, None, None]
    x = pa.array([0, 1, -1, -5, None])
    assert nothing(made({"log": "x"}, x=x)) == [None, 0, None, None, None]
    assert nothing(made({"log": "x", "plus": 1}, x=x)) == [0, pytest.approx(math.log(2)), None, None, None]
    assert nothing(made({"difference": ["day", "at"]}, day=pa.nulls(1), at=at[:1])) == [None]


def test_the_logarithm_is_that_of_strict_math(spark):
    """Bits drawn at random, numbers beside 1, powers of two and their neighbours, subnormal numbers."""
    powers = 2.0 ** np.arange(-1074, 1024)
    x = np.concatenate([
        RNG.integers(0, 0x7FF0000000000000, 100_000).view(np.float64), 1 + RNG.normal(size=50_000) * 10.0 ** RNG.uniform(-17, 0, 50_000),
        powers, np.nextafter(powers, 0), np.nextafter(powers, np.inf), RNG.integers(1, 2**52, 5000).view(np.float64), SAMPLES,
        np.arange(-5.0, 5000), 2**0.5 * (1 + RNG.integers(-9, 9, 100) * 2.0**-52), 0.5**0.5 * (1 + RNG.integers(-9, 9, 100) * 2.0**-53),
    ])  # fmt: skip
    found = spark.createDataFrame(pa.table({"x": x})).selectExpr("x", "coalesce(ln(x), double('nan')) l").toArrow()
    with np.errstate(all="ignore"):
        mine = _log(found["x"].to_numpy())
    known = ~np.isnan(mine)
    assert np.array_equal(found["l"].to_numpy().view(np.int64), np.where(known, mine, np.nan).view(np.int64))
    assert np.allclose(mine[known], np.log(found["x"].to_numpy()[known]), rtol=4e-16)


def test_a_spec_takes_them_and_its_certificate_has_hard_cases(engine):
    confs = {
        "age": {"numeric": {"input_col": {"age": "born", "at": "day"}, "scale": "standard"}},
        "log": {"bucketized": {"input_col": {"log": "x"}, "num_buckets": 3}},
        "share": {"numeric": {"input_col": {"ratio": ["x", "n"]}, "clip": [0.0, 0.9]}},
        "cross": {"crossed": {"input_cols": [{"feature": "log"}, "n"], "num_buckets": 64}},
        "same": {"numeric": {"input_col": "x"}},
    }
    rows = [(AT.date() - i * DAY, AT.date(), i * 1.5, i % 3) for i in range(40)]
    frame = engine.rows(rows, "born date, day date, x double, n bigint")
    spec = Spec.fit(frame, {name: Feature.model_validate(conf) for name, conf in confs.items()})
    assert spec.inputs == {"born": "date", "day": "date", "x": "double", "n": "bigint"}
    assert spec.columns_of("cross") == ["x", "n"]
    state = spec.features["age"].state
    assert (state["shift"], state["factor"]) == (19.5, pytest.approx(1 / np.arange(40).std()))
    assert spec.features["log"].state["boundaries"] == pytest.approx([math.log(13 * 1.5), math.log(26 * 1.5)])
    certificate = Certificate.issue(engine, Spec.from_json(spec.to_json()))
    assert set(SAMPLES) <= set(certificate.rows["x"].to_pylist())
    certificate.check(spec)


def test_a_window_over_them_is_that_over_a_column_of_them():
    rows = [(k, h * HOUR, None if h % 5 == 2 else 0.7 * h) for k in range(3) for h in range(12)]
    ratio = Derived(ratio=("x", "k"))

    def definition(column):
        kind = Windowed.model_validate({"input_col": column, "by": "k", "column": "w", "over": "3 rows", "take": "mean"})
        inputs = [(kind.input_col, None)]
        return SeriesDefinition(["k"], "t", [], inputs, [kind.window(inputs)])

    wanted = run(definition("x"), [(k, at, None if x is None or not k else x / k) for k, at, x in rows])
    found = run(definition(ratio), rows, [5, 17])
    assert found["w"].to_pylist() == wanted["w"].to_pylist()
    served = States(definition(ratio)).windows(pa.Table.from_batches([batch(definition(ratio), rows)]))
    assert served["w"].to_pylist() == wanted["w"].to_pylist()
    assert definition(ratio).digest != definition(Derived(ratio=("k", "x"))).digest


def conf(column, **data):
    features = {"f": {"numeric": {"input_col": column}}}
    return parse_conf({"name": "t", "data": {"key": ["id"], **data}, "features": features}).features["f"].kind


def test_an_age_is_at_the_time_of_the_row():
    assert conf({"age": "born"}, time="day").input_col == Derived(age="born", at="day")
    assert conf({"age": "born", "at": "seen"}, time="day").input_col.columns == ("seen", "born")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({}, "must name one of age, difference, ratio, log (got none)"),
        ({"log": "x", "age": "y", "at": "z"}, "must name one of age, difference, ratio, log (got age and log)"),
        ({"log": "x", "unit": "days"}, "`unit` is for `difference` (got log)"),
        ({"age": "born"}, "`age` needs the row's time: set data.time, or name a column by `at`"),
        ({"ratoi": ["a", "b"]}, "ratoi is not an option (did you mean `ratio`?)"),
        ({"ratio": ["a"]}, "input_col.ratio"),
        ({"log": "x", "plus": math.inf}, "input_col.plus"),
    ],
)
def test_a_conf_that_cannot_be(column, said):
    with pytest.raises(ConfError, match=re.escape(said)):
        conf(column)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"log": "s"}, "features.f: log of s: column `s` takes bigint, double, boolean, decimal (got string); cast it"),
        ({"ratio": ["x", "d"]}, "features.f: ratio of x, d: column `d` takes bigint"),
        (
            {"difference": ["d", "x"]},
            "features.f: difference of d, x: column `x` takes date, timestamp, timestamp_ntz (got double)",
        ),
        ({"log": "y"}, "the table has no column `y`"),
    ],
)
def test_columns_of_other_types_are_refused(spark, column, said):
    frame = spark.createDataFrame([("a", 1.0, AT.date())], "s string, x double, d date")
    with pytest.raises(DataError, match=re.escape(said)):
        Spec.fit(frame, {"f": Feature.model_validate({"numeric": {"input_col": column}})})
