"""Several labels a row: which there are, which are rare, and their codes, from texts, arrays and columns."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keyfold.conf.label import LabelConf
from keyfold.core.names import FOLD
from keyfold.dataset.fit_multilabel import fit_multilabel, label_codes
from keyfold.engine import engine as engines
from keyfold.errors import DataError
from keyfold.labels import Multilabel

NAMES = ["a", "b", "c d", "ü", "x;y", "3"]
names = st.lists(st.one_of(st.sampled_from(NAMES), st.sampled_from(["", " ", " a ", "b\t", "other"]), st.none()), max_size=6)
lists = st.lists(st.one_of(st.none(), names), min_size=1, max_size=30)


def expected(row, known):
    return None if row is None else {name.strip() for name in row if name} & set(known)


def decoded(codes, labels):
    """The labels of each row, by the path that estimators learn from."""
    there = [code is not None for code in codes.to_pylist()]
    y = iter(Multilabel("string", tuple(labels), (0.5,) * len(labels)).measured(pa.chunked_array([codes.drop_null()])))
    return [{labels[code] for code in np.flatnonzero(next(y))} if known else None for known in there]


@given(lists, st.integers(0, 5))
@example([None, ["a"], []], 1)
def test_codes_of_an_array_are_its_labels(rows, start):
    batch = pa.record_batch({"t": pa.array(rows, pa.list_(pa.string()))}).slice(start)
    (codes,) = label_codes(LabelConf(column="t"), sorted(NAMES), batch)
    assert decoded(codes, sorted(NAMES)) == [expected(row, NAMES) for row in rows[start:]]


@pytest.mark.parametrize("separator", [",", ";", " | ", "."])
@given(lists, st.integers(0, 5))
def test_codes_of_a_text_are_its_labels(separator, rows, start):
    rows = [row and [name for name in row if name is not None and separator.strip() not in name] for row in rows]
    texts = [None if row is None else separator.join(row) for row in rows]
    batch = pa.record_batch({"t": pa.array(texts, pa.string())}).slice(start)
    (codes,) = label_codes(LabelConf(column="t", separator=separator), sorted(NAMES), batch)
    assert decoded(codes, sorted(NAMES)) == [expected(row, NAMES) for row in rows[start:]]


@given(
    st.lists(st.tuples(*[st.sampled_from([True, False])] * 3), max_size=20), st.sampled_from([pa.bool_(), pa.int8(), pa.int64()])
)
def test_codes_of_columns_are_the_columns(rows, type_):
    columns = {name: pa.array([row[i] for row in rows], pa.bool_()).cast(type_) for i, name in enumerate("cab")}
    (codes,) = label_codes(LabelConf(columns=["c", "a", "b"]), list("abc"), pa.record_batch(columns))
    assert decoded(codes, list("abc")) == [{name for name, has in zip("cab", row, strict=True) if has} for row in rows]


@pytest.mark.parametrize("type_", [pa.int32(), pa.int64()])
def test_a_column_of_other_numbers_is_refused(type_):
    batch = pa.record_batch({"a": pa.array([0, 1, 2], type_), "b": pa.array([0, 1, 1], type_)})
    with pytest.raises(DataError, match=r"`a` must be 0 or 1 \(got 2\)"):
        label_codes(LabelConf(columns=["a", "b"]), ["a", "b"], batch)


def fit(rows, folds=None, said=None, **conf):
    table = pa.table({"t": pa.array(rows, pa.list_(pa.string())), FOLD: folds or ["train"] * len(rows)})
    label = LabelConf(column="t", **conf)
    return fit_multilabel(label, "string", engines.embedded().frame(table), (said if said is not None else []).append)


@given(st.lists(names, min_size=1, max_size=40), st.integers(1, 4))
def test_labels_are_those_with_enough_rows_of_the_train_fold(rows, least):
    counts = Counter(name for row in rows for name in expected(row, [*NAMES, "other"]))
    frequent = sorted(name for name, n in counts.items() if n >= least)
    if len(frequent) < 2:
        with pytest.raises(DataError):
            fit(rows, min_frequency=least)
    else:
        assert fit(rows, min_frequency=least).labels == tuple(frequent)


def test_a_pool_takes_what_is_rare_and_what_only_other_folds_have():
    said = []
    rows = [["a", "b"]] * 5 + [["rare"], ["(other)"], ["new", "b"]]
    label = fit(rows, ["train"] * 7 + ["test"], said, min_frequency=2, rare="pool")
    assert label.labels == ("a", "b", "(other)")
    assert said == ["label: 2 of 4 labels have fewer than 2 rows of the train fold and are pooled as `(other)`: (other), rare"]
    batch = pa.record_batch({"t": pa.array(rows, pa.list_(pa.string()))})
    (codes,) = label_codes(LabelConf(column="t", rare="pool"), label.labels, batch)
    assert codes.to_pylist() == ["0,1"] * 5 + ["2", "2", "1,2"]


def test_labels_that_only_other_folds_have_are_reported():
    said = []
    fit([["a"], ["b"], ["new"], ["new", "newer"]], ["train", "train", "test", "validation"], said)
    assert said == [
        "WARNING: 2 labels of 3 rows of other folds are not in the train fold (new, newer); they are never predicted, and metrics leave "
        "them out"
    ]


@pytest.mark.parametrize(
    ("rows", "conf", "message"),
    [
        ([[], [" "]], {}, "no row of the train fold has a label in `t`"),
        ([["a"], ["b"]], {"min_frequency": 2}, "no row of the train fold has a label in `t` that is frequent enough"),
        ([["a"], []], {}, "has only the label `a` in `t`; there must be two or more"),
        ([[f"l{i}"] for i in range(1001)], {}, "`t` has 1,001 labels, of at most 1,000; raise label.min_frequency"),
    ],
)
def test_labels_that_cannot_be_learnt_are_a_sentence(rows, conf, message):
    with pytest.raises(DataError, match=message):
        fit(rows, **conf)
