"""Collisions: the counts of plain Python, the expectation of random throws, the advised number of buckets, and the job."""

import datetime as dt
import decimal
import random
import re
from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.conf.use_case import parse_conf
from keyfold.dataset import collisions
from keyfold.dataset.collisions import Collisions, SharedBucket
from keyfold.dataset.fit_features import fit_features
from keyfold.dataset.page_sections import collisions_section
from keyfold.engine.columns import col, lit
from keyfold.engine.spark_frame import SparkFrame
from keyfold.features.kind import FeatureInput
from keyfold.features.kinds import Feature
from keyfold.features.spec import Spec
from keyfold.runtime.run import Run

COLUMNS = {
    "text": pa.string(),
    "whole": pa.int64(),
    "small": pa.int32(),
    "flag": pa.bool_(),
    "day": pa.date32(),
    "at": pa.timestamp("us", "UTC"),
    "wall": pa.timestamp("us"),
    "price": pa.decimal128(38, 18),
    "cents": pa.decimal128(9, 2),
}
INSTANTS = [dt.datetime(1969, 12, 31, 23, 59, 59), dt.datetime(2026, 3, 29, 2, 30), dt.datetime(2026, 3, 29, 2, 30, 0, 1)]
CELLS = {
    "text": ["", " ", "NULL", "a", "A", "é", "e\u0301", "x × y", "x" * 90, "x" * 91],
    "whole": [0, 1, -1, 2**53 + 1, -(2**61), 7, 8, 9],
    "small": [0, 1, -(2**31), 5, 6],
    "flag": [True, False],
    "day": [dt.date(1, 1, 1), dt.date(1970, 1, 1), dt.date(2026, 10, 31), dt.date(9999, 12, 31)],
    "at": [at.replace(tzinfo=dt.UTC) for at in INSTANTS],
    "wall": INSTANTS,
    "price": [decimal.Decimal(d) for d in ("0", "0.0000000001", "1.5", "-100")],
    "cents": [decimal.Decimal(d) for d in ("0", "1.50", "1.51", "-7")],
}
rows = st.lists(st.fixed_dictionaries({c: st.sampled_from([None, *cells]) for c, cells in CELLS.items()}), max_size=120)
CONFS = {
    f"of {c}": {"hashed": {"input_col": c, "num_buckets": n}}
    for c, n in zip(COLUMNS, (7, 5, 3, 2, 4, 3, 3, 4, 1000), strict=True)
}
CONFS |= {
    "pair": {"crossed": {"input_cols": ["text", "whole"], "num_buckets": 30}},
    "turned": {"crossed": {"input_cols": ["whole", "text"], "num_buckets": 30}},
    "three": {"crossed": {"input_cols": ["day", "wall", "flag"], "num_buckets": 20}},
    "word": {"one_hot": {"input_col": "text"}},
    "of features": {"crossed": {"input_cols": [{"feature": "word"}, {"feature": "of whole"}, "cents"], "num_buckets": 50}},
    "exact": {"crossed": {"input_cols": [{"feature": "word"}, {"feature": "of whole"}], "num_buckets": "exact"}},
    "bag": {"text": {"input_col": "text", "num_buckets": 9}},
}
COUNTED = [name for name in CONFS if name not in ("word", "exact", "bag")]


def fitted(frame, confs):
    return Spec.fit(frame, {name: Feature.model_validate(conf) for name, conf in confs.items()})


def oracle(spec, name, table):
    """The same of Arrow's buckets and Python's values."""
    arrays = spec.arrow(table)
    kind = spec.features[name].kind
    inputs = [arrays[c.feature].tolist() if isinstance(c, FeatureInput) else table[c].to_pylist() for c in kind.inputs()]
    buckets = defaultdict(Counter)
    for bucket, value in zip(arrays[name].tolist(), zip(*inputs, strict=True), strict=True):
        if bucket:
            buckets[bucket][value] += 1
    shared = {b: values for b, values in buckets.items() if len(values) > 1}
    loud = sorted(shared, key=lambda b: (max(shared[b].values()) - shared[b].total(), b))[:3]
    return Collisions(
        name,
        kind.num_buckets,
        sum(values.total() for values in buckets.values()),
        sum(map(len, buckets.values())),
        len(buckets),
        sum(map(len, shared.values())),
        sum(values.total() for values in shared.values()),
        [pair(shared[b]) for b in loud],
    )


def pair(values):
    first, second = sorted(((tuple(map(written, value)), n) for value, n in values.items()), key=lambda v: (-v[1], v[0]))[:2]
    return SharedBucket(" × ".join(first[0]), first[1], " × ".join(second[0]), second[1])


def written(value):
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, dt.datetime):
        return value.replace(tzinfo=None).isoformat(" ").rstrip("0" if value.microsecond else "")
    return str(value)[:80]


def table_of(drawn):
    return pa.table({c: pa.array([row[c] for row in drawn], type_) for c, type_ in COLUMNS.items()})


def check_counts(frame, table):
    spec = fitted(frame, CONFS)
    assert collisions.measure_collisions(frame, spec) == [oracle(spec, name, table) for name in COUNTED]


@settings(max_examples=15)
@given(drawn=rows)
def test_counts_and_pairs_are_those_of_plain_python(embedded, drawn):
    table = table_of(drawn)
    check_counts(embedded.frame(table), table)


def test_spark_counts_them_in_any_partition(spark_engine):
    draw = random.Random(0)
    table = table_of([{c: draw.choice([None, *cells]) for c, cells in CELLS.items()} for _ in range(120)])
    check_counts(SparkFrame(spark_engine.frame(table).data.repartition(3)), table)


def test_without_values_nothing_collides(engine):
    schema = "text string, nothing string"
    confs = {c: {"hashed": {"input_col": c, "num_buckets": 8}} for c in ("text", "nothing")}
    for rows_, wanted in (([], 0), ([("a", None), (None, None), ("a", None)], 2)):
        spec = fitted(engine.rows(rows_, schema), confs)
        text, nothing = collisions.measure_collisions(engine.rows(rows_, schema), spec)
        assert text[2:] == (wanted, wanted // 2, wanted // 2, 0, 0, [])
        assert nothing[2:] == (0, 0, 0, 0, 0, [])
        assert (nothing.observed, nothing.expected, nothing.expected_share, nothing.advised()) == (0, 0, 0, 2)


def test_text_that_a_collation_holds_for_equal_is_two_values(spark):
    frame = spark.sql("SELECT x COLLATE UTF8_LCASE AS x FROM VALUES ('a'), ('A'), ('a') AS t(x)")
    spec = fitted(frame, {"f": {"hashed": {"input_col": "x", "num_buckets": 2}}})
    assert collisions.measure_collisions(SparkFrame(frame), spec) == [
        Collisions("f", 2, 3, 2, 1, 2, 3, [SharedBucket("a", 2, "A", 1)])
    ]


@pytest.mark.parametrize(("values", "reads"), [(40, 2), (1, 1)])
def test_rows_are_read_once_to_count_and_once_for_pairs(spark, values, reads):
    counted = spark.sparkContext.accumulator(0)

    def seen(batches):
        for batch in batches:
            counted.add(batch.num_rows)
            yield batch

    held = spark.range(200).selectExpr(f"id % {values} AS a", "0L AS b")
    spec = fitted(held, {c: {"hashed": {"input_col": c, "num_buckets": 4}} for c in "ab"})
    collisions.measure_collisions(SparkFrame(held.mapInArrow(seen, held.schema)), spec)
    assert counted.value == 200 * reads


# --- chance ---


def known(values, num_buckets=2):
    return Collisions("f", num_buckets, values, values, values, 0, 0)


@pytest.mark.parametrize(("values", "num_buckets"), [(2, 11), (30, 41), (200, 101), (5, 2), (50, 3)])
def test_expected_collisions_are_those_of_random_throws(values, num_buckets):
    thrown = np.random.default_rng(0).integers(1, num_buckets, (4000, values))
    thrown.sort(axis=1)
    rises = np.diff(thrown, axis=1) > 0
    first, last = np.pad(rises, ((0, 0), (1, 0)), constant_values=True), np.pad(rises, ((0, 0), (0, 1)), constant_values=True)
    for found, throws in (
        (known(values, num_buckets).expected, (~first).sum(axis=1)),
        (known(values, num_buckets).expected_share, (~(first & last)).mean(axis=1)),
    ):
        assert found == pytest.approx(throws.mean(), abs=max(4 * throws.std() / 4000**0.5, 1e-12))


@pytest.mark.parametrize(
    ("values", "num_buckets"), [(0, 2), (1, 2), (1, 50), (2, 2), (2, 2**31 - 1), (1000, 10**9), (5000, 8192)]
)
def test_expected_is_the_binomial_formula(values, num_buckets):
    m = num_buckets - 1
    exact = values - m * (1 - (1 - Fraction(1, m)) ** values)
    assert known(values, num_buckets).expected == pytest.approx(float(exact), rel=1e-6, abs=0)


@pytest.mark.parametrize("target", [0.001, 0.01, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("values", [2, 3, 10, 77, 1000])
def test_advice_is_the_fewest_buckets_under_the_target(values, target):
    def share(num_buckets):
        return 1 - (1 - Fraction(1, num_buckets - 1)) ** (values - 1)

    advised = known(values).advised(target)
    assert share(advised) <= Fraction(target) < share(advised - 1)


def test_advice_ends_where_buckets_do():
    assert known(1).advised() == known(0).advised() == 2
    assert known(2).advised(1 - 2**-53) == 3
    assert known(21_582_000).advised() == pytest.approx(2**31, rel=1e-3)
    assert known(21_584_000).advised() is None


# --- the job ---

RAW = {
    "name": "t",
    "label": "y",
    "data": {"key": ["id"]},
    "split": {"share": {"train": 0.5, "validation": 0, "test": 0.5}},
    "features": {
        "city": {"hashed": {"input_col": "city", "num_buckets": 16}},
        "few": {"hashed": {"input_col": "z", "num_buckets": 1000}},
        "kind": {"one_hot": {"input_col": "z"}},
    },
}


def rows_of_cities(engine, first=0, city="<b>"):
    ids = range(first, first + 400)
    cities = [f"{city}{i % 20}" for i in ids]
    return engine.frame(pa.table({"id": ids, "city": cities, "y": [i % 2 == 0 for i in ids], "z": [i % 4 < 2 for i in ids]}))


def a_run(engine, **more):
    run = Run(parse_conf(RAW | more), engine)
    if not run.rows.exists():
        run.rows.append(rows_of_cities(engine))
    return run


def told(run):
    return [section for job in run.jobs for section in job.sections if section.title == "Collisions"]


def test_the_job_reports_and_keeps_its_counts(engine, home, monkeypatch):
    run = a_run(engine)
    spec, found = fit_features(run)
    wanted = collisions.measure_collisions(found.rows.where(col("keyfold_fold") == lit("train")), spec)
    (section,) = told(run)
    assert section == collisions_section(wanted)
    kept = run.table("keyfold.collisions").frame().sort(["feature"]).rows()
    assert [(r["spec_digest"], r["run_id"], r["feature"], r["values"], r["collisions"]) for r in kept] == [
        (spec.digest, run.jobs[-1].run_id, c.feature, c.values, c.observed) for c in wanted
    ]
    assert [(r["expected"], r["advised_buckets"]) for r in kept] == [(c.expected, c.advised()) for c in wanted]
    assert {r["feature"]: r["rows"] for r in kept} == dict.fromkeys(["city", "few"], found.count_in("train"))

    monkeypatch.setattr(collisions, "measure_collisions", None)  # the second time they are read
    again = a_run(engine)
    fit_features(again)
    assert told(again) == [section]
    assert "collisions" not in [step.name for step in again.jobs[-1].steps]
    assert run.table("keyfold.collisions").frame().count() == 2


def test_other_rows_are_counted_anew(engine, home):
    run = a_run(engine)
    fit_features(run)
    run.rows.append(rows_of_cities(engine, 400, "new"))
    again = a_run(engine)
    fit_features(again)
    assert told(again) != told(run)
    assert run.table("keyfold.collisions").frame().count() == 4


@pytest.mark.parametrize("more", [{"report": {"collisions": False}}, {"features": {"kind": RAW["features"]["kind"]}}])
def test_nothing_is_counted_unless_it_is_wanted_and_hashed(engine, home, more):
    run = a_run(engine, **more)
    fit_features(run)
    assert told(run) == []
    assert not run.table("keyfold.collisions").exists()


def test_the_section_has_numbers_a_picture_and_pairs():
    few = Collisions("few", 1024, 10, 3, 3, 0, 0)
    city = Collisions("city", 8192, 154_191, 5000, 3783, 2223, 66_319, [SharedBucket("<b>", 467, "Bonn", 222)])
    html = collisions_section([few, city]).html
    cells = re.findall(r"<td[^>]*>(.*?)</td>", html)
    assert cells[:8] == ["city", "8,192", "5,000", "3,783", "1,217", "1,258", "43.01%", "497,398"]
    assert cells[8:16] == ["few", "1,024", "3", "3", "0", "0.002932", "0.00%", "201"]
    assert cells[16:] == ["city", "&lt;b&gt;", "467", "Bonn", "222"]
    assert ">expected by chance<" in html
    assert ">44.5%<" in html
    assert "The two most frequent values" not in collisions_section([few]).html
    assert '<td class="n">–</td>' in collisions_section([few._replace(values=10**8, occupied=1023)]).html
