"""Labels with a neutral answer: votes, ranges and columns as classes, on every engine alike; what cannot be learnt is a sentence."""

from collections import Counter
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.conf.label import LabelConf
from keyfold.conf.use_case import parse_conf
from keyfold.core.names import FOLD, LABEL, PERIOD
from keyfold.dataset import fit_neutral
from keyfold.dataset.fit_features import SPECS, fit_features
from keyfold.dataset.labelled_rows import labelled_rows
from keyfold.errors import ConfError, DataError
from keyfold.labels import Neutral
from keyfold.runtime.run import Run

N = 300
VOTES = [["no", "yes", "neutral"], [True, False], [1, 2, 3]]


def table(**more):
    draw = np.random.default_rng(0)
    raters = {f"r{i}": draw.choice(["no", "yes"], N) for i in (1, 2, 3)}
    columns = {"id": range(N), "x": draw.random(N), **raters, "stars": draw.integers(1, 6, N), "price": draw.random(N)}
    return pa.table(columns | {"flag": draw.random(N) < 0.5, "kind": draw.choice(["a", "b", "c"], N), PERIOD: ["all"] * N} | more)


def run_of(engine, label, estimator="LogisticRegression", **more):
    conf = {
        "name": "neutral", "data": {"key": ["id"]}, "label": label, "features": {"x": {"numeric": {"input_col": "x"}}},
        "train": {"model": {"sklearn": {"estimator": f"sklearn.linear_model.{estimator}"}}},
    }  # fmt: skip
    run = Run(parse_conf(conf), engine)
    run.rows.replace(engine.frame(table(**more)), PERIOD, {"all": N})
    return run


def of_votes(row, needed=3):
    (name, n), *_ = Counter(row[rater] for rater in ("r1", "r2", "r3")).most_common()
    return name if n >= needed else "neutral"


VOTED = {"neutral": {"votes": ["r1", "r2", "r3"]}}
LABELS = {
    "votes": (VOTED, of_votes),
    "majority": ({"neutral": {"votes": ["r1", "r2", "r3"], "agreement": 0.67}}, None),
    "stars": (
        {"column": "stars", "positive": {"above": 3}, "neutral": {"between": [3, 3]}},
        lambda row: "neutral" if row["stars"] == 3 else "above 3" if row["stars"] > 3 else "below 3",
    ),
    "price": (
        {"column": "price", "neutral": {"between": [0.25, 0.5]}},
        lambda row: "below 0.25" if row["price"] < 0.25 else "above 0.5" if row["price"] > 0.5 else "neutral",
    ),
    "flag": ({"column": "flag", "positive": True, "neutral": {"abstain": 0.9}}, lambda row: str(row["flag"]).lower()),
    "kind": ({"column": "kind", "neutral": {"abstain": 0.5}}, lambda row: row["kind"]),
    "above": (
        {"column": "stars", "positive": {"above": 3}, "neutral": {"abstain": 0.8}},
        lambda row: "above 3" if row["stars"] > 3 else "not above 3",
    ),
}  # fmt: skip


@pytest.mark.both_engines
@pytest.mark.parametrize("kind", ["votes", "price"])
def test_each_engine_gives_a_row_the_same_class(engine, home, kind):
    check_classes(engine, kind)


@pytest.mark.parametrize("kind", ["stars", "flag", "kind", "above"])
def test_each_row_has_its_class(embedded, home, kind):
    check_classes(embedded, kind)


def check_classes(engine, kind):
    label, class_of = LABELS[kind]
    found = labelled_rows(run_of(engine, label))
    rows, codes = table().to_pylist(), found.rows.select(["id", FOLD, LABEL]).sort(["id"]).rows()
    classes = [class_of(row) for row in rows]
    assert isinstance(found.label, Neutral) and found.label.abstain == label["neutral"].get("abstain")
    names = sorted({*classes} - {"neutral"})
    assert found.label.classes == tuple(names if found.label.abstain else [*names, "neutral"]) and found.label.answers == tuple(
        names
    )
    assert [found.label.classes[row[LABEL]] for row in codes] == classes
    assert found.counts == Counter((row[FOLD], name) for row, name in zip(codes, classes, strict=True))


def test_rows_on_which_enough_raters_agree_have_a_class(embedded, home):
    with pytest.raises(
        DataError, match=r"none of 2\d\d rows of the train fold is neutral, since at least 67% of the raters agree on each"
    ):
        labelled_rows(run_of(embedded, LABELS["majority"][0]))


def test_a_row_without_a_vote_is_not_labelled(embedded, home):
    votes = table()["r2"].to_pylist()
    found = labelled_rows(run_of(embedded, VOTED, r2=[None, *votes[1:]]))
    assert sum(found.counts.values()) == N - 1


@given(st.data(), st.sampled_from(VOTES), st.integers(2, 5), st.integers(0, 20), st.floats(0.51, 1))
def test_votes_are_counted_as_by_hand(data, names, raters, rows, agreement):
    columns = [data.draw(st.lists(st.sampled_from([*names, None]), min_size=rows, max_size=rows)) for _ in range(raters)]
    type_ = pa.array(names).type
    batch = pa.record_batch({f"r{i}": pa.array(votes, type_) for i, votes in enumerate(columns)})
    conf = LabelConf.model_validate({"neutral": {"votes": batch.schema.names, "agreement": agreement}})
    (found,), (majority,) = fit_neutral._classes(conf, batch), fit_neutral._majority(conf, batch)
    for votes, name, most in zip(zip(*columns, strict=True), found.to_pylist(), majority.to_pylist(), strict=True):
        ranked = Counter(str(vote).lower() for vote in votes).most_common()
        if None in votes:
            assert name is None and most is None
            continue
        assert name == (ranked[0][0] if round(ranked[0][1] / raters, 2) >= agreement else "neutral")
        assert most == (None if len(ranked) > 1 and ranked[1][1] == ranked[0][1] else ranked[0][0])


@given(
    st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=20),
    st.integers(-3, 3),
    st.integers(0, 3),
    st.sampled_from([int, float, Decimal]),
)
def test_numbers_in_a_closed_range_are_neutral(values, low, width, kind):
    type_ = {int: pa.int64(), float: pa.float64(), Decimal: pa.decimal128(9, 2)}[kind]
    batch = pa.record_batch({"y": pa.array([None if value is None else kind(value) for value in values], type_)})
    conf = LabelConf.model_validate({"column": "y", "neutral": {"between": [low, low + width]}})
    (found,) = fit_neutral._classes(conf, batch)
    side = {-1: f"below {low}", 0: "neutral", 1: f"above {low + width}"}
    assert found.to_pylist() == [None if v is None else side[int(v > low + width) - int(v < low)] for v in values]


@pytest.mark.parametrize(
    ("label", "more", "error", "message"),
    [
        (VOTED, {name: ["no"] * N for name in ("r1", "r2", "r3")}, DataError, "none of .* rows of the train fold is neutral, since at least 100%"),
        (VOTED, {"r1": ["no"] * N, "r2": ["no"] * N}, DataError, "`r1`, `r2`, `r3` has only `no` as a class besides `neutral` in the train fold"),
        (VOTED, {"r1": ["neutral"] * N, "r2": ["neutral"] * N}, DataError, "has none as a class besides `neutral`"),
        (VOTED | {"positive": "yes"}, {"r1": ["maybe"] * N, "r2": ["maybe"] * N, "r3": ["maybe"] * (N - 9) + ["yes", "no", "x"] * 3},
         DataError, "label.positive: `yes` must be one of two classes, and `r1`, `r2`, `r3` has maybe; correct the others"),
        (VOTED | {"positive": "yess"}, {}, DataError, r"has no, yes; .* \(did you mean `yes`\?\)"),
        (VOTED, {"r2": [1] * N}, DataError, "label.neutral.votes: `r1` is string, and `r2` is bigint; all raters must name the same classes"),
        (VOTED, {"r1": [0.5] * N}, DataError, "label: `r1` is double, and must be text, a boolean or an integer"),
        ({"column": "kind", "neutral": {"between": [3, 3]}}, {}, DataError, r"`kind` is string, and must be a number .*columns: \{kind: double\}"),
        ({"column": "stars", "neutral": {"between": [7, 9]}}, {}, DataError, "rows of the train fold is neutral, since no `stars` is from 7 to 9; take another range"),
        ({"column": "stars", "neutral": {"between": [1, 3]}}, {}, DataError, "rows of the train fold is `below 1`"),
        ({"column": "price", "neutral": {"between": [0.2, 0.3]}}, {"price": [float("nan"), *[0.25] * (N - 1)]}, DataError,
         "`price` is not a finite number in 1 of 300 rows; correct it, or make it unknown"),
        ({"column": "kind", "neutral": {"abstain": 0.3}}, {}, ConfError, "the most probable of 3 classes has at least the probability 0.333"),
        ({"column": "kind", "positive": "a", "neutral": {"abstain": 0.9}}, {}, DataError, "`a` must be one of two classes, and `kind` has a, b, c"),
        ({"column": "kind", "neutral": {"abstain": 0.9}}, {"kind": ["a", "b", "neutral"] * (N // 3)}, DataError, "has a class `neutral`, which is what a declined row gets"),
        ({"column": "kind", "neutral": {"abstain": 0.9}}, {"kind": ["a"] * N}, DataError, "has only `a` as a class"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_is_a_sentence_and_nothing_is_committed(embedded, home, label, more, error, message):
    run = run_of(embedded, label, **more)
    with pytest.raises(error, match=message):
        fit_features(run)
    assert not run.table(SPECS).exists() and error.exit_code == (2 if error is ConfError else 3)
