"""Casts of text: kernels over Arrow give what Spark's own casts give, bit for bit."""

import os
import re

import cast_texts as texts
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

import catalyst_casts as catalyst
from keyfold.core.arrays import single_chunk
from keyfold.readers import casts
from keyfold.readers.typed_rows import RowTypes, TextColumn, cast_rows

COMMA, SPACES = casts.TextFormat(decimal=",", thousands="."), casts.TextFormat(thousands=" ")
BERLIN, NEW_YORK, LORD_HOWE, APIA = (
    casts.TextFormat(zone=zone) for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia")
)
FORMS = [
    ("date", "dd.MM.yyyy"), ("date", "yyyyMMdd"), ("date", "d/M/yy"), ("date", "d. MMMM yyyy"), ("date", "MMM d, yyyy"), ("date", "dMyyyy"),
    ("date", "yyyy'年'M月d日"), ("date", "yyyy-MM-dd HH"), ("timestamp", "dd.MM.yyyy HH:mm:ss"), ("timestamp", "dd/MM/yyyy HH:mm Z"),
    ("timestamp", "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"), ("timestamp", "M/d/yyyy h:mm:ss a"), ("timestamp", "yyyyMMddHHmmss"), ("timestamp", "yyyyMMddHHmmssSSS"),
    ("timestamp", "dd.MM.yyyy H:m:s.S"), ("timestamp", "yyyy-MM-dd HH:mmX"), ("timestamp", "yyyy-MM-dd HH:mmxx"), ("timestamp", "yyyy-MM-dd hh:mm"),
    ("timestamp_ntz", "dd.MM.yyyy HH:mm"), ("timestamp_ntz", "yyyy-MM-dd HH:mm:ss a"), ("timestamp_ntz", "d.M.yyyy H 'Uhr'"), ("timestamp_ntz", "yyyy-MM-dd a"),
    ("timestamp_ntz", "HH ss yyyy-MM-dd"), ("timestamp_ntz", "yyyy-MM-dd yyyy"),
]  # fmt: skip
PLAIN = casts.TextFormat()
# Texts, type, how text writes values, and the form of dates and times.
COLUMNS = [
    (texts.flag, "boolean", PLAIN, None),
    *((texts.number, type_, PLAIN, None) for type_ in ("tinyint", "smallint", "int", "bigint")),
    *((texts.number, type_, format_, None) for type_ in ("bigint", "double", "decimal(12,2)") for format_ in (COMMA, SPACES)),
    *((texts.real, type_, PLAIN, None) for type_ in ("float", "double")),
    *((texts.number, f"decimal({p},{s})", PLAIN, None) for p, s in ((10, 2), (38, 0), (38, 38), (5, 5), (1, 0), (38, 10), (18, 17))),
    (texts.day, "date", PLAIN, None),
    *((texts.time, "timestamp", format_, None) for format_ in (PLAIN, BERLIN, NEW_YORK, LORD_HOWE, APIA, casts.TextFormat(zone="+02:00"))),
    (texts.time, "timestamp_ntz", BERLIN, None),
    *((texts.formed(form), type_, BERLIN, form) for type_, form in FORMS),
]  # fmt: skip


def of_catalyst(frame, columns):
    """What Spark makes of text columns `c0`, `c1`, …"""
    made = []
    for i, (_, type_, format_, form) in enumerate(columns):
        text = catalyst.iso_text(F.col(f"c{i}"), type_, form) if form else F.col(f"c{i}")
        value = catalyst.cast_text(text, type_, format_)
        faults = catalyst.clock_faults({f"c{i}": text}, format_.zone) if type_ == "timestamp" else {}
        wrong = F.when(value.isNull() & (catalyst.trim(F.col(f"c{i}")) != ""), catalyst.why_not("`a`", text, type_, "b"))
        made += [value, wrong, *faults.values(), *([text] if form else [])]
    return frame.select(*(c.alias(f"_{i}") for i, c in enumerate(made))).toArrow().columns


def of_kernels(table, columns):
    made = []
    for i, (_, type_, format_, form) in enumerate(columns):
        types = RowTypes([TextColumn("a", type_, form, "a", "b")], format_)
        rows = cast_rows([table[f"c{i}"]], types, pa.nulls(table.num_rows, pa.string()))
        faults = [
            pc.replace_substring(fault, "`a`", f"`c{i}`") if pa.types.is_string(fault.type) else fault for fault in rows.faults
        ]
        made += [*rows.values, rows.reason, *faults]
        made += [casts.cast_column(single_chunk(table[f"c{i}"]), type_, form, format_).text] if form else []
    return made


def names(columns):
    for i, (_, type_, format_, form) in enumerate(columns):
        told = f"c{i}: {type_} {form or ''} {format_}"
        yield from [
            (i, f"{told}: {what}")
            for what in (
                "value",
                "reason",
                *(["fault"] * (type_ == "timestamp" and 1 + bool(format_.zone))),
                *(["iso"] if form else []),
            )
        ]


def bits(array):
    array = pa.array(array) if not isinstance(array, pa.ChunkedArray) else single_chunk(array)
    if pa.types.is_floating(array.type):
        return array.view(pa.int64() if array.type == pa.float64() else pa.int32())
    return (
        array.view(pa.int64())
        if pa.types.is_timestamp(array.type)
        else array.view(pa.int32())
        if pa.types.is_date(array.type)
        else array
    )


def same(spark, table, columns):
    wanted, found = of_catalyst(spark.createDataFrame(table), columns), of_kernels(table, columns)
    for (i, told), a, b in zip(names(columns), map(bits, wanted), map(bits, found), strict=True):
        differs = pc.or_(pc.xor(a.is_null(), b.is_null()), pc.fill_null(pc.not_equal(a, b), False))
        if pc.any(differs).as_py():
            rows = np.flatnonzero(differs.to_numpy(zero_copy_only=False))
            shown = [(table[f"c{i}"][int(row)].as_py(), a[int(row)].as_py(), b[int(row)].as_py()) for row in rows[:8]]
            raise AssertionError(f"{told}: {len(rows)} of {len(a)} differ (text, Spark's, ours): {shown}")


def generated(columns, n, seed):
    return pa.table({f"c{i}": pa.array(texts.texts(kind, n, f"{seed}.{i}"), pa.string()) for i, (kind, *_) in enumerate(columns)})


def test_kernels_cast_as_spark_does(spark):
    same(spark, generated(COLUMNS, 400, os.environ.get("KEYFOLD_SEED", "1")), COLUMNS)


DRAWN = [
    *((texts.DRAWN_NUMBERS, type_, PLAIN, None) for type_ in ("bigint", "double", "decimal(20,6)")), (texts.DRAWN_NUMBERS, "double", COMMA, None),
    *((texts.DRAWN_TIMES, type_, BERLIN, None) for type_ in ("date", "timestamp", "timestamp_ntz")),
    (texts.DRAWN_TIMES, "timestamp", BERLIN, "dd.MM.yyyy HH:mm:ss"),
]  # fmt: skip


@settings(max_examples=6)
@given(st.lists(st.tuples(texts.DRAWN_NUMBERS, texts.DRAWN_TIMES), min_size=1, max_size=12))
def test_kernels_cast_drawn_texts_as_spark_does(spark, rows):
    drawn = dict(zip((texts.DRAWN_NUMBERS, texts.DRAWN_TIMES), zip(*rows, strict=True), strict=True))
    same(spark, pa.table({f"c{i}": pa.array(drawn[kind], pa.string()) for i, (kind, *_) in enumerate(DRAWN)}), DRAWN)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("type_", ["boolean", "int", "float", "double", "decimal", "date", "timestamp", "timestamp_ntz"])
def test_kernels_cast_a_million_texts_of_a_type_as_spark_does(spark, compiled, type_, part):
    columns = [column for column in COLUMNS if re.sub("tiny|small|big|[(].*", "", column[1]) == type_]
    for seed in range(5 * part, 5 * part + 5):
        same(spark, generated(columns, 50_000 // len(columns) + 1, f"long {seed}"), columns)
