"""The same bits: every kind, over whole drawn tables, on both engines and in Arrow; and the spec after its JSON."""

import datetime as dt
import decimal
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import images
from every_kind import COLUMNS, CONFS, IMAGE, TARGET, confs, rows, same, table
from keyfold.errors import DataError
from keyfold.features.kinds import KINDS
from keyfold.features.spec import Spec

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.fixture(scope="module", autouse=True)
def _image():
    IMAGE.parent.mkdir(exist_ok=True)
    IMAGE.write_bytes(images.FILES["turned"])
    yield
    shutil.rmtree(IMAGE.parent, ignore_errors=True)


DRAWN = {"drawn": rows, "partitions": st.sampled_from([1, 3]), "ansi": st.booleans()}


@settings(max_examples=4)
@given(**DRAWN)
def test_engines_and_arrow_give_the_same_bits(spark, embedded, drawn, partitions, ansi):
    check_parity(spark, embedded, drawn, partitions, ansi)


@pytest.mark.slow
@settings(max_examples=20)
@given(**DRAWN)
def test_engines_and_arrow_give_the_same_bits_of_more_tables(spark, embedded, drawn, partitions, ansi):
    check_parity(spark, embedded, drawn, partitions, ansi)


def fit_or_refusal(rows, features):
    """The spec as JSON, or the message that says why there is none."""
    try:
        return Spec.fit(rows, features, TARGET).to_json()
    except DataError as refused:
        return DataError(str(refused))


def check_parity(spark, embedded, drawn, partitions, ansi):
    frame = spark.createDataFrame(table(drawn)).repartition(partitions).sortWithinPartitions("whole")
    spark.conf.set("spark.sql.ansi.enabled", ansi)
    try:
        held = frame.localCheckpoint()  # one order of rows for both sides
        local = held.toArrow()
        fitted, other = (fit_or_refusal(rows, confs(drawn)) for rows in (held, local))
        assert str(fitted) == str(other)
        if isinstance(fitted, DataError):
            return
        spec = Spec.from_json(fitted)
        arrays = spec.arrow(local)
        same(spec, spec.transform(held).toArrow(), arrays)
        same(spec, spec.transform(embedded.frame(local), ["whole"]).to_arrow(), arrays)
        held.createOrReplaceTempView("parity")
        pure = Spec(spec.inputs, {name: fitted for name, fitted in spec.features.items() if fitted.kind.has_sql})
        same(pure, spark.sql(pure.to_sql("parity")).toArrow(), pure.arrow(held.toArrow()))
    finally:
        spark.conf.set("spark.sql.ansi.enabled", True)


def test_empty_tables_have_empty_features(spark, embedded):
    one = {c: next(iter_cell(c)) for c in COLUMNS}
    full = spark.createDataFrame(table([one, one | {"whole": 2}]))
    spec = Spec.fit(full, confs([one, one | {"whole": 2}]), TARGET)
    assert {name.rsplit("_", 1)[0] for name in spec.features} == set(KINDS)
    empty = full.where("false")
    same(spec, spec.transform(empty).toArrow(), spec.arrow(empty.toArrow()))
    same(spec, spec.transform(embedded.frame(empty.toArrow())).to_arrow(), spec.arrow(empty.toArrow()))


def iter_cell(column):
    simple = {
        "text": "a", "whole": 1, "small": 2, "real": 0.5, "single": 0.25, "flag": True, "day": dt.date(2026, 1, 1),
        "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "wall": dt.datetime(2026, 1, 1), "price": decimal.Decimal("1.5"),
        "cents": decimal.Decimal("1.50"), "photo": images.FILES["jpeg"], "file": str(IMAGE),
    }  # fmt: skip
    yield simple[column]


def test_every_kind_is_compared():
    assert set(CONFS) == set(KINDS)
