"""Copies of rows are told apart from rows that are equal by chance."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.conf.split import Split
from keyfold.core.names import FOLD, LABEL
from keyfold.core.row_hash import arrow_row_hash
from keyfold.dataset.copies import SHARE, CopyCounts, copy_share, count_copies, hash_parts
from keyfold.split.folds import Folds

RNG = np.random.default_rng(0)
FOLDS = Folds(Split(), ["id"], "copies")


def frame_of(engine, table, copied=0.0):
    """Rows with a key each, their folds and a label by chance where there is none; a share of them stands again under other keys."""
    table = pd.DataFrame(table)
    table[LABEL] = table.pop("y") if "y" in table else RNG.random(len(table)) < 0.3
    table = pd.concat([table, table.sample(frac=copied, random_state=1)], ignore_index=True)
    table["id"] = np.arange(len(table))
    table[FOLD] = FOLDS.numpy(pa.table({"id": table.id}))
    return engine.frame(pa.Table.from_pandas(table, preserve_index=False)), table


def share_of(engine, table, inputs, copied=0.0):
    frame, rows = frame_of(engine, table, copied)
    with np.errstate(divide="raise", invalid="raise"):
        return copy_share(count_copies(frame, int((rows[FOLD] == "train").sum()), FOLDS, inputs))


def test_what_rows_have_in_common_is_counted(engine):
    table = {"a": RNG.integers(0, 6, 400), "b": RNG.choice(["x", "y", None], 400), "c": RNG.integers(0, 4, 400) / 2}
    frame, rows = frame_of(engine, table)
    found = count_copies(frame, 300, FOLDS, ["a", "b", "c"])
    train, outside = rows[rows[FOLD] == "train"], rows[rows[FOLD] != "train"]

    def counted(*columns):
        n = train.groupby(list(columns), dropna=False).size().rename("n").reset_index()
        return sorted(outside.merge(n, "left", list(columns)).n.fillna(0).astype(int))

    assert sorted(found.features) == counted("a", "b", "c")
    assert sorted(found.labelled) == counted("a", "b", "c", LABEL)
    assert sorted(found.label) == counted(LABEL)
    assert [sorted(n) for n in found.rest] == [counted("b", "c"), counted("a", "c"), counted("a", "b")]
    assert [sorted(n) for n in found.part] == [counted("a"), counted("b"), counted("c")]
    assert [sorted(n) for n in found.near] == [counted(*some, LABEL) for some in ("bc", "ac", "ab")]


def test_parts_are_at_least_two_and_few(engine):
    frame = engine.frame(pa.table({"a": ["abcde", None], "b": ["f", None], "c": pa.array([b"gh", None])}))
    halves = [arrow_row_hash([pa.array([half, None])]) for half in ("ab", "cde")]
    assert [*zip(*halves, strict=True)] == [
        tuple(row.values()) for row in frame.compute(hash_parts(frame.types, ["a"]), []).rows()
    ]
    assert len(hash_parts(frame.types, ["c"]).types) == len(hash_parts(frame.types, ["a", "b"]).types) == 2
    assert len(hash_parts(frame.types, ["a"] * 100).types) == 12


N = 3000
COARSE = {name: RNG.integers(0, 5, N) for name in "abc"}
FINE = {"u": RNG.normal(size=N).round(3), "v": RNG.normal(size=N).round(3), "w": RNG.integers(0, 3, N)}
TRAIT = RNG.normal(size=N)
ANSWERS = {f"q{i}": np.clip(np.round(3 + 1.2 * (TRAIT + 0.35 * RNG.normal(size=N))), 1, 5) for i in range(6)}
EVENTS = {"ad": (ad := RNG.integers(0, 800, N)), "group": ad % 40, "y": RNG.random(N) < 0.02 + 0.1 * (ad % 7 == 0)}


@pytest.mark.parametrize(
    ("table", "inputs"),
    [
        (COARSE, ["a", "b", "c"]),
        (COARSE | {"y": COARSE["a"] + COARSE["b"] > 4}, ["a", "b", "c"]),
        (COARSE, ["a"]),
        (FINE, ["u", "v", "w"]),
        (FINE, ["u"]),
        (EVENTS, ["ad", "group"]),
        (ANSWERS | {"y": TRAIT + 0.5 * RNG.normal(size=N) > 0.4}, [*ANSWERS]),
        ({"n": RNG.normal(size=N).round(1)}, ["n"]),
        ({f"flag{i}": RNG.random(N) < 0.1 for i in range(14)}, [f"flag{i}" for i in range(14)]),
    ],
    ids=["coarse", "rule", "category", "fine", "number", "events", "answers", "rounded", "flags"],
)
def test_rows_that_are_alike_by_chance_are_no_copies(embedded, table, inputs):
    share, error = share_of(embedded, table, inputs)
    assert share - 2 * error < SHARE


@pytest.mark.parametrize("copied", [0.2, 1.0])
@pytest.mark.parametrize(
    ("table", "inputs"),
    [
        (FINE, ["u", "v", "w"]),
        ({"x": RNG.normal(size=N)}, ["x"]),
        ({"text": [" ".join(RNG.choice(list("abcdefghij"), 9)) for _ in range(N)]}, ["text"]),
        (COARSE | {"d": RNG.integers(0, 60, N), "e": RNG.integers(0, 60, N)}, list("abcde")),
    ],
    ids=["fine", "number", "text", "categories"],
)
def test_copies_under_other_keys_are_found(embedded, table, inputs, copied):
    share, error = share_of(embedded, table, inputs, copied)
    assert share - 2 * error > SHARE
    assert share == pytest.approx({0.2: 0.27, 1.0: 0.8}[copied], abs=0.06), "what has its copy in train"


def test_rows_drawn_again_to_balance_classes_are_found(embedded):
    y = RNG.random(N) < 0.1
    table = pd.DataFrame(FINE | {"y": y})
    more = table[table.y].sample(n=2 * N // 3, replace=True, random_state=0)
    share, error = share_of(embedded, pd.concat([table, more]), ["u", "v", "w"])
    assert share - 2 * error > SHARE


@given(st.permutations(range(6)))
def test_the_order_of_rows_is_no_matter(order):
    counts = np.array(
        [[3, 2, 9, 4, 9, 3], [0, 0, 9, 1, 3, 7], [1, 1, 1, 1, 1, 2], [2, 0, 9, 3, 3, 3], [5, 5, 9, 8, 8, 8], [1, 1, 9, 1, 1, 1]]
    )

    def of(rows):
        f, both, label, rest, part, other = rows.T
        assert (np.minimum(rest, other) >= f).all(), "rows that agree in all features agree in some"
        with np.errstate(all="raise"):
            return copy_share(CopyCounts(f, both, label, [rest, other], [part, other], [both, both], 20))

    assert of(counts[list(order)]) == pytest.approx(of(counts))


def test_nothing_alike_is_no_copy():
    none = np.zeros(3, int)
    assert copy_share(CopyCounts(none, none, none, [none, none], [none, none], [none, none], 9)) == (0.0, 0.0)
