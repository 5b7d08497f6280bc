"""Fitting does not depend on the order or layout of rows, and its numbers are right."""

import collections
import decimal
import math
import random
import re
import sys
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.core import exact_sums, quantiles
from keyfold.core.types import sql_cast
from keyfold.errors import ConfError, DataError
from keyfold.features import fitting
from keyfold.features.fit_plan import FitPlan
from keyfold.features.inputs import feature_order
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec

SIZES = st.sampled_from([1e-320, 1e-300, 1e-13, 1.0, 1e15, 1e300])
numbers = st.lists(
    st.one_of(
        st.floats(-1e300, 1e300),
        st.builds(lambda x, size, off: x * size + off, st.floats(-1, 1), SIZES, st.sampled_from([0.0, 1.0, 4.5e15, 2.0**62])),
        st.integers(-(2**62), 2**62).map(float),
        st.decimals(-(10**6), 10**6, places=4).map(float),
        st.sampled_from([5e-324, sys.float_info.max, -sys.float_info.max, -0.0]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=300)
@given(numbers, st.integers(0, 40))
def test_sums_are_exact_and_those_of_parts_add_up(xs, cut):
    whole, *parts = (exact_sums.limb_sums(np.array(some)) for some in (xs, xs[:cut], xs[cut:]))
    wanted = {"x": sum(map(Fraction, xs)), "xx": sum(Fraction(x) ** 2 for x in xs)}
    assert {name: exact_sums.exact_total(whole, name) for name in wanted} == wanted
    assert {name: sum(exact_sums.exact_total(part, name) for part in parts) for name in wanted} == wanted
    assert all(abs(limb) < 2**31 for limb in whole.values())


@given(st.fractions(min_value=0), st.integers(-1200, 1200))
def test_the_root_is_correctly_rounded(square, power):
    square *= Fraction(2) ** power
    found = exact_sums.rounded_sqrt(square)
    below, above = ((Fraction(found) + Fraction(math.nextafter(found, to))) / 2 for to in (-math.inf, math.inf))
    assert max(below, 0) ** 2 <= square <= above**2


@settings(max_examples=3)
@given(st.lists(numbers, min_size=1, max_size=3), st.data())
def test_statistics_are_those_of_fractions_in_any_layout(spark, parts, data):
    """Through Spark, of doubles, of integers and of decimals; and those of parts add up."""
    rows = [
        (x, int(x) if abs(x) < 2**63 else None, decimal.Decimal(repr(x % 1e6)).quantize(decimal.Decimal("0.0001")))
        for some in parts
        for x in some
    ]
    schema = "x double, i bigint, d decimal(20,4)"
    values = {c: sql_cast(f, f, c) for c, f in (("x", "double"), ("i", "bigint"), ("d", "decimal"))}
    cut = data.draw(st.integers(0, len(rows)))
    found = [
        fitting.measure_statistics(spark.createDataFrame(some, schema).repartition(2), values, [])
        for some in (data.draw(st.permutations(rows)), rows[:cut], rows[cut:])
    ]
    for table in (found[0], fitting.merge_statistics(found[1:])):
        for n, column in enumerate(values):
            xs = [Fraction(float(row[n])) for row in rows if row[n] is not None]
            stats = fitting.Statistics(table).numbers(column)
            if xs:
                mean = sum(xs) / len(xs)
                assert stats["mean"] == float(mean)
                assert stats["deviation"] == exact_sums.rounded_sqrt(sum((x - mean) ** 2 for x in xs) / len(xs))
                assert (stats["count"], stats["min"], stats["max"]) == (len(xs), min(xs), max(xs))
                assert stats["varies"] == (len({row[n] for row in rows} - {None}) > 1)


def counts_of(counted):
    """Rows by value, in no order: tiny negative numbers become 0.0 and may be counted apart from it."""
    counts = collections.Counter()
    for value, amount in zip(*counted[:2], strict=True):
        counts[float(value)] += int(amount)
    return counts


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60), st.integers(1, 59), st.sampled_from([3, 20, 100]))
def test_counts_for_quantiles_are_cut_alike_in_any_parts(xs, at, most):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "_MOST", most)
        whole, *parts = (quantiles.count_numbers(np.array(some)) for some in (xs, xs[:at], xs[at:]) if some)
        values, amounts = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        merged = quantiles.shorten_counts(values, amounts, min(part[2] for part in parts))
    assert counts_of(merged) == counts_of(whole)
    assert merged[2] == whole[2]
    found = quantiles.quantiles_at(*whole[:2], [0.0, 0.25, 1.0])
    assert found == pytest.approx(np.quantile(xs, [0, 0.25, 1], method="inverted_cdf"), rel=2**-8)
    if len(set(xs)) <= most:
        assert found == np.quantile(xs, [0, 0.25, 1], method="inverted_cdf").tolist()


def test_the_spec_is_the_same_for_any_layout(spark):
    rng = random.Random(0)
    rows = [(rng.choice([None, 1e15, -1e15, 1.0]) or rng.gauss(3, 1e-3), rng.choice("abcdé"), i) for i in range(2000)]
    features = {
        "x": Feature.model_validate({"numeric": {"input_col": "x", "scale": "standard"}}),
        "c": Feature.model_validate({"one_hot": {"input_col": "c"}}),
    }
    digests = set()
    for partitions in (1, 3, 7):
        rng.shuffle(rows)
        digests.add(Spec.fit(spark.createDataFrame(rows, "x double, c string, i int").repartition(partitions), features).digest)
    assert len(digests) == 1


def test_standard_and_minmax_are_what_scikit_learn_makes(spark):
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    xs = [[1.5], [2.0], [10.25], [-3.0]]
    frame = spark.createDataFrame(xs, "x double")
    for conf, scaler in (({"scale": "standard"}, StandardScaler()), ({"scale": "minmax", "to": [-1, 1]}, MinMaxScaler((-1, 1)))):
        spec = Spec.fit(frame, {"f": Feature.model_validate({"numeric": {"input_col": "x", **conf}})})
        got = spec.arrow(frame.toArrow())["f"]
        assert got == pytest.approx(scaler.fit_transform(xs).ravel(), rel=1e-14)


def test_a_constant_column_is_zero_and_told(spark):
    frame = spark.createDataFrame([(0.1,), (0.1,), (0.1,)], "x double")
    confs = {scale: {"numeric": {"input_col": "x", "scale": scale}} for scale in ("standard", "minmax", "robust")}
    plan = FitPlan.of(frame, {name: Feature.model_validate(conf) for name, conf in confs.items()})
    told = []
    spec = plan.spec(plan.measure(frame), told.append)
    assert [a.tolist() for a in spec.arrow(frame.toArrow()).values()] == [[0.0, 0.0, 0.0]] * 3
    assert told[0] == "features.standard: column `x` has one value in the train fold; the feature is constant"
    assert len(told) == 3


def test_one_value_and_gaps_are_two_values(spark):
    frame = spark.createDataFrame([(0.5,), (None,), (0.5,)], "x double")
    confs = {scale: {"numeric": {"input_col": "x", "scale": scale, "missing": 0}} for scale in ("standard", "minmax", "robust")}
    plan = FitPlan.of(frame, {name: Feature.model_validate(conf) for name, conf in confs.items()})
    told = []
    spec = plan.spec(plan.measure(frame), told.append)
    assert [a.tolist() for a in spec.arrow(frame.toArrow()).values()] == [[0.0, -0.5, 0.0]] * 3
    assert not told


def test_vocabulary_order_is_by_count_then_by_bytes(spark):
    frame = spark.createDataFrame([(c,) for c in ["b", "b", "a", "a", "z", "é", None, "rare"]], "c string")
    spec = Spec.fit(frame, {"f": Feature.model_validate({"one_hot": {"input_col": "c", "max_categories": 4}})})
    assert spec.features["f"].state["vocabulary"] == ["a", "b", "rare", "z"]
    assert spec.arrow(frame.toArrow())["f"].tolist() == [3, 3, 2, 2, 5, 1, 0, 4]


RNG = np.random.default_rng(3)
UNITS = {
    "farad": (RNG.uniform(0, 1e-12, 1500), 1),
    "micros": (1764500000000000 + RNG.integers(0, 10**6, 1500), 1),
    "account": (4500000000000000 + RNG.integers(0, 10**4, 1500), 1),
    "huge": (RNG.normal(size=1500) * 1e300, 1e300),
    "tiny": (RNG.normal(size=1500) * 1e-300, 1e-300),
    "mostly": (np.where(RNG.random(1500) < 0.9, 0.0, RNG.random(1500)), 1),
}


def test_no_unit_and_no_offset_makes_a_feature_constant(spark):
    frame = spark.createDataFrame(pa.table({name: column for name, (column, _) in UNITS.items()})).repartition(3)
    confs = {
        f"{name}_{what}": {kind: {"input_col": name, **conf}}
        for name in UNITS
        for what, kind, conf in (
            ("standard", "numeric", {"scale": "standard"}),
            ("minmax", "numeric", {"scale": "minmax"}),
            ("robust", "numeric", {"scale": "robust"}),
            ("ranges", "bucketized", {"num_buckets": 4}),
        )
    }
    spec = Spec.fit(frame, {name: Feature.model_validate(conf) for name, conf in confs.items()})
    found = spec.arrow(frame.toArrow())
    for name, (column, unit) in UNITS.items():
        state = spec.features[f"{name}_standard"].state
        assert state["factor"] == pytest.approx(1 / unit / (column / unit - (column / unit).mean()).std(), rel=1e-9)
        assert found[f"{name}_standard"].std() == pytest.approx(1)
        assert np.ptp(found[f"{name}_minmax"]) == pytest.approx(1)
        assert len(np.unique(found[f"{name}_robust"])) > 100
        assert len(np.unique(found[f"{name}_ranges"])) == (2 if name == "mostly" else 4)


@pytest.mark.parametrize(
    ("column", "type_", "conf", "said"),
    [
        ([2**62, 2**62 + 1], "bigint", {"scale": "standard"}, "as doubles all are 4.611686018427388e+18; subtract a constant"),
        ([0.0, 5e-324], "double", {"scale": "minmax"}, "varies from 0.0 to 5e-324, which a double cannot scale"),
        ([-1.7e308, 1.7e308], "double", {"scale": "minmax"}, "which a double cannot scale; convert it to another unit"),
        ([*[0.0] * 99, 7.0], "double", {"clip": [0.05, 0.95]}, r"quantiles [0.05, 0.95] are both 0.0, so `clip` would"),
    ],
)
def test_what_would_be_constant_is_refused(spark, column, type_, conf, said):
    frame = spark.createDataFrame([(x,) for x in column], f"x {type_}")
    with pytest.raises(DataError, match=re.escape(said)):
        Spec.fit(frame, {"f": Feature.model_validate({"numeric": {"input_col": "x", **conf}})})


def test_an_unseen_value_is_its_own_or_an_error(spark):
    seen, new = spark.createDataFrame([("a",)], "c string"), spark.createDataFrame([("b",)], "c string")
    own, error = (
        Spec.fit(seen, {"f": Feature.model_validate({"one_hot": {"input_col": "c", "handle_unseen": h}})})
        for h in ("own", "error")
    )
    assert own.arrow(new.toArrow())["f"].tolist() == [r[0] for r in own.transform(new).collect()] == [1]
    with pytest.raises(DataError, match=r"not there at fitting.* b"):
        error.arrow(new.toArrow())
    with pytest.raises(Exception, match=r"not there at fitting.* b"):
        error.transform(new).collect()


def test_features_that_take_features_stand_in_order():
    crossed = Feature.model_validate({"crossed": {"input_cols": ["x", {"feature": "b"}], "num_buckets": 9}}).kind
    hashed = Feature.model_validate({"hashed": {"input_col": "x", "num_buckets": 9}}).kind
    assert feature_order({"a": crossed, "b": hashed}) == ["b", "a"]
    with pytest.raises(ConfError, match=r"takes itself: a → a"):
        feature_order(
            {
                "a": crossed.model_copy(
                    update={"input_cols": crossed.input_cols[:1] + [crossed.input_cols[1].model_copy(update={"feature": "a"})]}
                )
            }
        )


def test_a_damaged_spec_is_a_sentence():
    with pytest.raises(DataError, match="damaged"):
        Spec.from_json('{"contract": 1}')
    with pytest.raises(DataError, match="contract version 2; this keyfold has 1"):
        Spec.from_json('{"contract": 2}')
