"""Numbers, scaled and clipped, against scikit-learn and by hand."""

import re

import numpy as np
import pyarrow as pa
import pytest

from every_kind import few, fitted
from keyfold.errors import DataError
from keyfold.features.fit_plan import FitPlan
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec


def test_clip_puts_outliers_on_the_quantiles():
    xs = [*range(100), 10**6]
    conf = {"numeric": {"input_col": "x", "clip": [0.05, 0.95]}}
    _, result = fitted([(x,) for x in xs], "x int", f=conf)
    assert (result["f"].min(), result["f"].max()) == (5.0, 95.0)


def test_standard_and_minmax_are_what_scikit_learn_makes():
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    xs = [[1.5], [2.0], [10.25], [-3.0]]
    table = few(xs, "x double")
    for conf, scaler in (({"scale": "standard"}, StandardScaler()), ({"scale": "minmax", "to": [-1, 1]}, MinMaxScaler((-1, 1)))):
        spec = Spec.fit(table, {"f": Feature.model_validate({"numeric": {"input_col": "x", **conf}})})
        got = spec.arrow(table)["f"]
        assert got == pytest.approx(scaler.fit_transform(xs).ravel(), rel=1e-14)


def test_a_constant_column_is_zero_and_reported():
    table = few([(0.1,), (0.1,), (0.1,)], "x double")
    confs = {scale: {"numeric": {"input_col": "x", "scale": scale}} for scale in ("standard", "minmax", "robust")}
    plan = FitPlan.of(table, {name: Feature.model_validate(conf) for name, conf in confs.items()})
    warnings = []
    spec = plan.spec(plan.measure(table), warnings.append)
    assert [a.tolist() for a in spec.arrow(table).values()] == [[0.0, 0.0, 0.0]] * 3
    assert warnings[0] == "features.standard: column `x` has one value in the train fold; the feature is constant"
    assert len(warnings) == 3


def test_one_value_and_gaps_are_two_values():
    table = few([(0.5,), (None,), (0.5,)], "x double")
    confs = {scale: {"numeric": {"input_col": "x", "scale": scale, "missing": 0}} for scale in ("standard", "minmax", "robust")}
    plan = FitPlan.of(table, {name: Feature.model_validate(conf) for name, conf in confs.items()})
    warnings = []
    spec = plan.spec(plan.measure(table), warnings.append)
    assert [a.tolist() for a in spec.arrow(table).values()] == [[0.0, -0.5, 0.0]] * 3
    assert not warnings


RNG = np.random.default_rng(3)


UNITS = {
    "farad": (RNG.uniform(0, 1e-12, 1500), 1),
    "micros": (1764500000000000 + RNG.integers(0, 10**6, 1500), 1),
    "account": (4500000000000000 + RNG.integers(0, 10**4, 1500), 1),
    "huge": (RNG.normal(size=1500) * 1e300, 1e300),
    "tiny": (RNG.normal(size=1500) * 1e-300, 1e-300),
    "mostly": (np.where(RNG.random(1500) < 0.9, 0.0, RNG.random(1500)), 1),
}


def test_no_unit_and_no_offset_makes_a_feature_constant():
    table = pa.table({name: column for name, (column, _) in UNITS.items()})
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
    spec = Spec.fit(table, {name: Feature.model_validate(conf) for name, conf in confs.items()})
    result = spec.arrow(table)
    for name, (column, unit) in UNITS.items():
        state = spec.features[f"{name}_standard"].state
        assert state["factor"] == pytest.approx(1 / unit / (column / unit - (column / unit).mean()).std(), rel=1e-9)
        assert result[f"{name}_standard"].std() == pytest.approx(1)
        assert np.ptp(result[f"{name}_minmax"]) == pytest.approx(1)
        assert len(np.unique(result[f"{name}_robust"])) > 100
        assert len(np.unique(result[f"{name}_ranges"])) == (2 if name == "mostly" else 4)


@pytest.mark.parametrize(
    ("column", "type_", "conf", "message"),
    [
        ([2**62, 2**62 + 1], "bigint", {"scale": "standard"}, "as doubles all are 4.611686018427388e+18; subtract a constant"),
        ([0.0, 5e-324], "double", {"scale": "minmax"}, "varies from 0.0 to 5e-324, which a double cannot scale"),
        ([-1.7e308, 1.7e308], "double", {"scale": "minmax"}, "which a double cannot scale; convert it to another unit"),
        ([*[0.0] * 99, 7.0], "double", {"clip": [0.05, 0.95]}, r"quantiles [0.05, 0.95] are both 0.0, so `clip` would"),
    ],
)
def test_scaling_that_makes_a_feature_constant_is_refused(column, type_, conf, message):
    table = few([(x,) for x in column], f"x {type_}")
    with pytest.raises(DataError, match=re.escape(message)):
        Spec.fit(table, {"f": Feature.model_validate({"numeric": {"input_col": "x", **conf}})})
