"""Two specs on the same rows: what differs is found, counted and told; the sample is always the same."""

import re

import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.engine.tables import Tables
from keyfold.errors import DataError
from keyfold.features.spec import Spec
from keyfold.jobs import spec_diff

FEATURES = {
    "same": {"one_hot": {"input_col": "c"}},
    "moved": {"hashed": {"input_col": "c", "num_buckets": 50}},
    "few": {"bucketized": {"input_col": "x", "boundaries": [10]}},
    "bag": {"text": {"input_col": "c", "num_buckets": 90}},
    "cross": {"crossed": {"input_cols": [{"feature": "few"}, "c.d"], "num_buckets": 1000}},
}
OTHER = FEATURES | {
    "moved": {"hashed": {"input_col": "c", "num_buckets": 60}},
    "few": {"bucketized": {"input_col": "x", "boundaries": [12]}},
    "bag": {"text": {"input_col": "c", "num_buckets": 80}},
}


TABLE = pa.table({
    "id": range(300), "c": [None if i % 10 == 0 else f"c{i % 7}" for i in range(300)], "x": [float(i % 20) for i in range(300)],
    "c.d": pa.array([i % 3 for i in range(300)], pa.int32()), "list": [[i] for i in range(300)],
})  # fmt: skip


@pytest.fixture
def rows(engine):
    return engine.frame(TABLE)


def fitted(rows, features):
    raw = {"name": "t", "data": {"key": ["id"]}, "features": features}
    return Spec.fit(rows, parse_conf(raw).features)


def test_each_feature_that_differs_is_counted_and_no_other(rows):
    a, b = fitted(rows, FEATURES), fitted(rows, OTHER | {"new": {"numeric": {"input_col": "x"}}})
    found = {d.feature: d for d in spec_diff.compare_specs(rows, a, b)}
    table = TABLE
    before, after = a.arrow(table), b.arrow(table)
    assert found.keys() == FEATURES.keys()
    assert {name: d.rows for name, d in found.items()} == dict.fromkeys(FEATURES, 300)
    assert found["same"][2:] == (0, "", "", "")
    few = [10 <= x < 12 for x in table["x"].to_pylist()]
    assert found["few"].changed == sum(few) == 30
    assert found["few"][3:] == ('{"x": 10.0}', "2", "1")
    for name in ("moved", "cross"):
        assert found[name].changed == (before[name] != after[name]).sum() > 0
    assert found["bag"].changed == 270
    assert found["cross"].changed == 30
    assert '"x": 10.0, "c.d": ' in found["cross"].inputs


def test_what_is_told(rows):
    a, b = (
        fitted(rows, FEATURES),
        fitted(rows, {n: f for n, f in OTHER.items() if n != "same"} | {"new": {"numeric": {"input_col": "x"}}}),
    )
    lines = spec_diff.describe_differences(spec_diff.compare_specs(rows, a, b), a, b).split("\n")
    assert re.match(r'moved: 270 of 300 rows \(90.00%\), 50 → 60 columns; such as {"c": "c\d"}: \d+ → \d+$', lines[0])
    assert [line.split(":")[0] for line in lines[:-3]] == ["moved", "bag", "few", "cross"]
    assert lines[-3:] == ["only in A: same", "only in B: new", "0 of 4 features that both have are equal on all 300 rows"]
    assert (
        spec_diff.describe_differences(spec_diff.compare_specs(rows.head(0), a, a), a, a)
        == "5 of 5 features that both have are equal on all 0 rows"
    )


@pytest.mark.both_engines
def test_a_sample_is_of_the_rows_and_not_of_their_order(rows, embedded):
    ids = {row["id"] for row in spec_diff.sample_rows(rows, 60).rows()}
    assert 30 < len(ids) < 90
    assert {row["id"] for row in spec_diff.sample_rows(rows.sort(["x"]), 60).rows()} == ids
    assert {row["id"] for row in spec_diff.sample_rows(embedded.frame(TABLE), 60).rows()} == ids
    assert spec_diff.sample_rows(rows, 300).count() == 300


def test_rows_that_a_spec_refuses_are_told(rows):
    a = fitted(rows, FEATURES)
    with pytest.raises(DataError, match="the table has no column `x`"):
        spec_diff.compare_specs(rows.drop("x"), a, a)


def test_specs_are_found_by_file_and_by_the_beginning_of_a_digest(embedded, home, tmp_path):
    tables = Tables(embedded, home)
    a, b = fitted(TABLE, FEATURES), fitted(TABLE, OTHER)
    kept = embedded.rows([(s.digest, s.to_json()) for s in (a, a, b)], "digest string, spec string")
    tables.table(spec_diff.SPECS).append(kept)
    for spec in (a, b):
        assert spec_diff.find_spec(tables, spec.digest[:8]).digest == spec.digest
    (tmp_path / "spec.json").write_text(a.to_json(), "utf-8")
    assert spec_diff.find_spec(tables, str(tmp_path / "spec.json")).digest == a.digest
    with pytest.raises(DataError, match=r"2 specs begin with ``: \w+, \w+; give a file"):
        spec_diff.find_spec(tables, "")
    with pytest.raises(DataError, match=r"there is no spec `zz`; give a file, models:/…, or a digest of keyfold.specs"):
        spec_diff.find_spec(tables, "zz")
