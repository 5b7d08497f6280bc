"""The parity certificate: issued by an engine, computed again in Arrow where the model is loaded."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

import images
from every_kind import TARGET, confs, table
from keyfold.conf.use_case import parse_conf
from keyfold.core import hashing
from keyfold.core.types import ARROW
from keyfold.errors import DataError, PromiseError
from keyfold.features.certificate import Certificate, bits_differ
from keyfold.features.spec import FittedFeature, Spec


@pytest.fixture(scope="module", params=["spark_engine", "embedded"])
def issued(request):
    """A spec of every kind, and its certificate, of each engine."""
    engine = request.getfixturevalue(request.param)
    at = dt.datetime(2026, 3, 29, 1, 30)
    ordinary = {
        "photo": images.FILES["jpeg"],
        "file": None,
        "text": "An ad",
        "flag": True,
        "day": at.date(),
        "at": at.replace(tzinfo=dt.UTC),
        "wall": at,
    }
    rows = [
        ordinary | dict.fromkeys(("whole", "small"), i) | dict.fromkeys(("real", "single"), i / 7)
        | {c: Decimal(i) / 100 for c in ("price", "cents")}
        for i in range(30)
    ]  # fmt: skip
    spec = Spec.fit(engine.frame(table(rows)), confs(rows), TARGET)
    return spec, Certificate.issue(engine, spec)


def test_it_holds_if_nothing_changed(issued, tmp_path):
    spec, certificate = issued
    certificate.save(tmp_path)
    Certificate.load(tmp_path).check(Spec.from_json(spec.to_json()))
    assert certificate.rows.num_rows > 12
    for column, family in spec.inputs.items():
        values = certificate.rows[column]
        assert values.type == ARROW[family]
        assert values.null_count, column
        assert (values.null_count < len(values)) == (column != "file"), "no path, for another machine need not have the file"


def test_a_row_by_itself_has_the_features_of_the_batch(issued):
    spec, certificate = issued
    whole, rows = spec.arrow(certificate.rows), certificate.rows
    alone = [spec.arrow(rows.slice(i, 1)) for i in range(rows.num_rows)]
    for name, values in whole.items():
        parts = [each[name] for each in alone]
        joined = pa.concat_arrays(parts) if isinstance(values, pa.Array) else np.concatenate(parts)
        assert not bits_differ(values, joined).any(), name


def test_a_timestamp_without_zone_is_not_an_instant(engine):
    conf = parse_conf({"name": "x", "data": {"key": ["t"]}, "features": {"t": {"hashed": {"input_col": "t", "num_buckets": 8}}}})
    spec = Spec.fit(engine.rows([(dt.datetime(2026, 3, 29, 1, 30),)], "t timestamp_ntz"), conf.features)
    Certificate.issue(engine, spec).check(spec)


def test_other_bits_name_the_feature_and_the_row(issued):
    spec, certificate = issued
    changed = {
        "hashed_2": ("salt", "hashed:other"),
        "one_hot_0": ("vocabulary", ["", *spec.features["one_hot_0"].state["vocabulary"]]),
        "bucketized_0": ("boundaries", [17.0]),
        "numeric_0": ("shift", 0.25),
        "target_encoded_0": ("values", [0.25] * len(spec.features["target_encoded_0"].state["values"])),
    }
    for name, (key, value) in changed.items():
        kind, state = spec.features[name]
        other = Spec(spec.inputs, spec.features | {name: FittedFeature(kind, state | {key: value})})
        with pytest.raises(PromiseError, match=rf"features.{name} is computed differently here .* row \d+ of the certificate"):
            certificate.check(other)


def test_an_environment_with_other_results_is_refused(issued, monkeypatch):
    spec, certificate = issued
    monkeypatch.setattr(hashing, "reduce", lambda hashes, n: (hashes % n + n) % n)
    with pytest.raises(PromiseError, match="score with the environment of the model"):
        certificate.check(spec)


def test_a_damaged_certificate_is_reported(issued, tmp_path):
    from keyfold.models.model import Model

    _, certificate = issued
    certificate.save(tmp_path)
    (tmp_path / "certified_rows.arrow").write_bytes(b"ARROW1 and no more")
    with pytest.raises(pa.ArrowInvalid):
        Certificate.load(tmp_path)
    with pytest.raises(DataError, match="damaged or incomplete"):
        Model.load(tmp_path)
