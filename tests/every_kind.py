"""Confs, drawn rows and comparisons of every kind of feature."""

import datetime as dt
import math
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

import images
from keyfold.core.derived import Derived
from keyfold.engine.arrow_types import arrow_schema
from keyfold.features.fitting import Target
from keyfold.features.kinds import KINDS, Feature
from keyfold.features.spec import Spec

IMAGE = Path(tempfile.gettempdir(), f"keyfold tests {os.getpid()}", "a photo.png")
COLUMNS = {
    "text": pa.string(),
    "whole": pa.int64(),
    "small": pa.int32(),
    "real": pa.float64(),
    "single": pa.float32(),
    "flag": pa.bool_(),
    "day": pa.date32(),
    "at": pa.timestamp("us", "UTC"),
    "wall": pa.timestamp("us"),
    "price": pa.decimal128(38, 18),
    "cents": pa.decimal128(9, 2),
    "photo": pa.binary(),
    "file": pa.string(),
}
HASHED = [c for c in COLUMNS if c not in ("real", "single", "photo", "file")]
NUMBERS = ["whole", "small", "real", "single", "flag", "price", "cents"]
DERIVED = [
    {"ratio": ["real", "whole"]}, {"ratio": ["cents", "price"]}, {"ratio": ["single", "flag"]},
    {"log": "real"}, {"log": "price"}, {"log": "small", "plus": 1}, {"log": "whole", "plus": 0.5},
    {"difference": ["at", "wall"]}, {"difference": ["day", "at"], "unit": "seconds"}, {"age": "day", "at": "wall"},
]  # fmt: skip
# Of each kind, the confs that parity is shown for; a kind without any fails the suite.
CONFS = {
    "hashed": [
        {"input_col": c, "num_buckets": n} for c, n in zip(HASHED, (2, 3, 1000, 2**31 - 1, 64, 7, 9, 1024, 11), strict=False)
    ],
    "crossed": [
        {"input_cols": ["text", "whole"], "num_buckets": 1000},
        {"input_cols": ["whole", "text"], "num_buckets": 1000},
        {"input_cols": ["day", "flag", "price", {"feature": "one_hot_0"}], "num_buckets": 2**31 - 1},
        {"input_cols": [{"feature": "one_hot_0"}, {"feature": "date_parts_5"}, {"feature": "index_0"}], "num_buckets": "exact"},
    ],
    "one_hot": [{"input_col": c, "max_categories": 3} for c in HASHED]
    + [{"input_col": "text", "max_categories": 2, "handle_unseen": {"hashed": 7}}],
    "index": [{"input_col": c, "min_frequency": 2} for c in HASHED],
    "bucketized": [{"input_col": c, "num_buckets": 4} for c in (*NUMBERS, {"log": "real"}, {"age": "day", "at": "at"})]
    + [{"input_col": c, "boundaries": [-1.5, 0, 0.1, 1e9]} for c in NUMBERS],
    "windowed": [
        {"input_col": "x", "column": c, "over": "1 row", "take": "last", "scale": "standard"} for c in ("real", "whole")
    ],
    "date_parts": [{"input_col": c, "cyclic": cyclic} for c in ("at", "wall") for cyclic in (False, True)]
    + [{"input_col": "day", "parts": ["day_of_week", "day_of_month", "month"]}]
    + [
        {"input_col": c, "parts": [part]}
        for c in ("at", "wall", "day")
        for part in ("day_of_week", "day_of_month", "month", "hour")
        if (c, part) != ("day", "hour")
    ],
    "text": [
        {"input_col": "text", "tokens": tokens, "ngrams": ngrams, "lower": lower, **size, **length}
        for tokens, ngrams, lower in (("words", 1, True), ("words", 3, False), ("characters", 2, True))
        for size in ({"num_buckets": 50}, {"max_tokens": 4})
        for length in ({}, {"length": 5})
    ]
    + [{"input_col": "text", "max_tokens": 4, "weights": "tfidf"}],
    "numeric": [{"input_col": c, "scale": "standard"} for c in NUMBERS]
    + [{"input_col": c, "scale": "minmax", "to": [-1, 1], "missing": 0.5} for c in NUMBERS]
    + [{"input_col": c, "scale": "robust"} for c in NUMBERS]
    + [{"input_col": c, "scale": "minmax", "clip": [0.1, 0.9]} for c in NUMBERS]
    + [{"input_col": "real"}]
    + [{"input_col": c, "missing": 0.5} for c in DERIVED]
    + [{"input_col": {"log": "whole"}, "scale": "standard"}, {"input_col": DERIVED[-1], "scale": "robust"}],
    "found": [
        {"input_col": "text", "words": ["ad", "àé", "a b"]},
        {"input_col": "text", "values": ["", "ß", "x" * 40]},
        {"input_col": "text", "patterns": ["characters"]},
        {
            "input_col": "text",
            "patterns": ["words", "digits", "capitals", "shouted", "exclamations", "urls", "emails", "money", "phones"],
        },
    ],
    "target_encoded": [{"input_col": c, "smoothing": s} for c, s in zip(HASHED, (0, 0.1, 1, 10, 1e9, 3, 2, 5, 7), strict=True)],
    "image": [
        {"input_col": column, "size": size, "mode": mode}
        for column in ("photo", "file")
        for size, mode in (([3, 2], "rgb"), ([7, 11], "gray"), ([1, 1], "gray"))
    ],
}
TARGET = Target("positive", "part")
instants = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1))
spring = st.integers(0, 7200).map(lambda s: dt.datetime(2026, 3, 29, 0, 30) + dt.timedelta(seconds=s))
texts = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "\0",
            "a\0b",
            "An ad, two Ads: AN AD!",
            "ΣÀÉ Ж Ünïcode-wörds",
            "é",
            "e\u0301",
            "👩‍👩‍👧",
            "ß",
            "İ",
            "x" * 40,
            "longer than thirty-two bytes, as text is",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)
LARGE = st.floats(-8e307, 8e307).filter(lambda x: x == 0 or abs(x) > 1e-290)
doubles = st.one_of(
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e-290, 1e300, 0.1, 1.0, 1 - 2**-53, 1 + 2**-52, 2**0.5]),
    st.floats(-(2.0**61), 2.0**61),
    LARGE,
)
CELLS = {
    "text": texts,
    "whole": st.one_of(st.sampled_from([2**53 + 1, -(2**61), 0]), st.integers(-(2**63), 2**63 - 1)),
    "small": st.integers(-(2**31), 2**31 - 1),
    "real": doubles,
    "single": st.floats(-(2.0**60), 2.0**60, width=32),
    "flag": st.booleans(),
    "day": st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)),
    "at": st.one_of(instants, spring).map(lambda t: t.replace(tzinfo=dt.UTC)),
    "wall": st.one_of(instants, spring),
    "price": st.decimals(-(10**18), 10**18, places=18, allow_nan=False),
    "cents": st.decimals(-(10**6), 10**6, places=2, allow_nan=False),
    "photo": st.sampled_from(list(images.FILES.values())),
    "file": st.sampled_from([str(IMAGE), IMAGE.as_uri(), f"file:{IMAGE}"]),
}
rows = st.lists(st.fixed_dictionaries({c: st.one_of(st.none(), cell) for c, cell in CELLS.items()}), min_size=1, max_size=40)


def table(drawn):
    columns = {c: pa.array([row[c] for row in drawn], type_) for c, type_ in COLUMNS.items()}
    target = {"positive": [bool(row["flag"]) for row in drawn], "part": [(row["whole"] or 0) % 1_000_000 for row in drawn]}
    return pa.table(columns | target)


def confs(drawn):
    """The features that can be fitted: a number column needs one number, and target encoding rows of two parts."""
    result = {}
    for kind in KINDS:
        for i, conf in enumerate(CONFS[kind]):
            if kind == "target_encoded":
                possible = len({(row["whole"] or 0) % 1_000_000 % 5 for row in drawn}) > 1
            elif kind in ("numeric", "bucketized", "windowed"):
                values = cells_of(drawn, conf.get("column", conf["input_col"]))
                possible = "boundaries" in conf or can_be_scaled([v for v in values if finite(v)], conf.get("clip", (0, 1)))
            else:
                possible = True
            if possible:
                result[f"{kind}_{i}"] = Feature.model_validate({kind: conf})
    return result


def cells_of(drawn, column):
    if isinstance(column, str):
        return [row[column] for row in drawn]
    derived, columns = Derived.model_validate(column), table(drawn)
    return derived.of({c: columns[c].combine_chunks() for c in derived.columns}, "f").to_pylist()


def can_be_scaled(values, clip):
    """Whether there are values, and neither rounding to doubles nor clipping makes them all equal."""
    if len(set(values)) < 2:
        return bool(values)
    low, high = np.quantile(np.array(values, float), clip, method="inverted_cdf")
    return low < high


def finite(value):
    return value is not None and math.isfinite(value)


def same(spec, spark_table, arrays):
    for name, got in spec.arrays(spark_table).items():
        array, out = arrays[name], spec.outs[name]
        if out.length is None:
            assert got.to_pylist() == array.to_pylist(), name
            continue
        assert got.dtype == array.dtype == np.dtype({"int": np.int32, "double": np.float64, "float": np.float32}[out.type]), name
        assert got.shape == array.shape, name
        assert got.tobytes() == array.tobytes(), (name, got, array)
        assert out.type != "int" or not got.size or 0 <= got.min() <= got.max() < out.width, name


def few(rows, columns):
    """A few rows as a table; `columns` as `name type, name type`."""
    schema = arrow_schema(columns)
    return pa.table(
        [pa.array(cells, field.type) for cells, field in zip(zip(*rows, strict=True), schema, strict=True)], schema=schema
    )


def fitted(rows, columns, **features):
    """The spec of a few rows, and their features."""
    table = few(rows, columns)
    spec = Spec.fit(table, {name: Feature.model_validate(conf) for name, conf in features.items()})
    return spec, spec.arrow(table)
