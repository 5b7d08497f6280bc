"""Scoring on both engines by a model that was fitted without one: predictions, refusals, quarantined rows and actions."""

import json
from collections import Counter
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import DataError
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.scoring.outcomes import Outcomes
from keyfold.tracking import registry
from keyfold.tracking.training_runs import TrainingLog, register
from shop_model import shop_model

ROWS = [  # key, day of February, city, plan
    *((i, f"k{i % 3}", 1 + i % 20, "abcd"[i % 4], i % 7) for i in range(300)),
    *((i, "same", day, "a", day) for i, days in ((900, (1, 3, 2)), (901, (5, 5))) for day in days),
    (None, "k", 1, "a", 1), (7, None, 1, "a", 1),
]  # fmt: skip


def conf(**score):
    kinds = {name: {"hashed": {"input_col": name, "num_buckets": n}} for name, n in (("city", 16), ("plan", 8))}
    data = {"table": "shop.visits", "key": ["id", "part"], "time": "seen", "period": "month"}
    score = {"max_quarantine": 0.1} | score
    model = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
    return parse_conf({"name": "shop", "data": data, "features": kinds, "train": {"model": model}, "score": score})


def visits(rows, month=2):
    ids, parts, days, cities, plans = zip(*rows, strict=True)
    seen = pa.array([datetime(2026, month, day, tzinfo=UTC) for day in days], pa.timestamp("us", "UTC"))
    return pa.table({"id": pa.array(ids, pa.int64()), "part": parts, "seen": seen, "city": cities, "plan": plans})


@pytest.fixture
def scored(engine, home):
    """Scores a period of a table, and gives the run."""
    registry.promote(register("shop", shop_model(), TrainingLog("shop")))
    table = pa.concat_tables([visits(ROWS), visits(ROWS[:9], 1)])
    Run(conf(), engine).rows.append(engine.frame(table))

    def scored(period=None, **options):
        run = Run(conf(**options), engine, period)
        score(run)
        return run

    return scored


def by_key(run):
    return {(row["id"], row["part"]): row for row in run.predictions.frame().rows()}


@pytest.mark.parametrize(
    ("engine", "keep"), [("embedded", "none"), ("embedded", "latest"), ("spark_engine", "latest")], indirect=["engine"]
)
def test_each_key_is_scored_or_refused_once(scored, keep):
    run = scored(keep=keep)
    found = by_key(run)
    whole = {row[:2]: row for row in ROWS[:300]} | ({(900, "same"): ROWS[301]} if keep == "latest" else {})
    expected = shop_model().predict(visits([*whole.values()]))
    assert len(found) == run.predictions.frame().count() == 302
    for key, prediction, probability in zip(whole, *(array.to_pylist() for array in expected.values()), strict=True):
        row = found.pop(key)
        assert (row["status"], row["prediction"], row["probability"]) == ("scored", prediction, probability)
        assert row["fold"] in ("train", "validation", "test") and row["reason"] is None
        assert (row["period"], row["model"], row["model_version"]) == ("2026-02", "shop", 1)
    assert {key: (row["status"], row["reason"]) for key, row in found.items()} == {
        (key, "same"): ("quarantined", f"the key occurs {n} times in the period")
        for key, n in ((900, 3), (901, 2))[keep == "latest" :]
    }
    quarantined = Counter((row["reason"], json.loads(row["raw"])["id"]) for row in run.quarantine.frame().rows())
    twice = "the key occurs more than once in the period"
    assert quarantined == {
        ("the key is NULL", None): 1, ("the key is NULL", 7): 1, (twice, 900): 2 if keep == "latest" else 3, (twice, 901): 2,
    }  # fmt: skip
    outcomes = Outcomes.of(run.predictions, "2026-02", 307)
    probabilities = expected["probability"].to_pylist()
    assert outcomes.mean == pytest.approx(sum(probabilities) / len(probabilities), rel=1e-15)
    assert outcomes.histogram.tolist() == [sum(min(int(p * 20), 19) == i for p in probabilities) for i in range(20)]
    assert run.predictions.frame().types["model_version"] == "int"


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_a_second_run_does_nothing_and_another_period_leaves_the_first_as_it_was(scored):
    actions = {"call": {"top": 0.1}, "nobody": {"over": 0.9999}}
    first = scored(keep="latest", actions=actions)
    version = first.predictions.version()
    assert scored(keep="latest", actions=actions).jobs[-1].status == "done before"
    assert first.predictions.version() == version
    ranked = sorted(by_key(first).values(), key=lambda r: (-(r["probability"] or 0), r["id"], r["part"]))
    called = first.table("shop.call").frame().rows()
    assert [(r["id"], r["part"], r["probability"]) for r in called] == [
        (r["id"], r["part"], r["probability"]) for r in ranked[:30]
    ]
    assert first.table("shop.nobody").frame().count() == 0
    assert [len(first.table(f"shop.{name}").history()) for name in actions] == [2, 2], "made, and its purpose set"
    january = scored("2026-01", keep="latest")
    assert january.jobs[-1].counts["scored"] == 9
    assert len(by_key(first)) == 302
    february = scored("2026-02", keep="latest")
    assert february.jobs[-1].status == "done before" and "against 2026-01" in february.jobs[-1].sections[-1].html


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_too_many_refusals_leave_the_period_as_it_was(scored):
    with pytest.raises(DataError, match=r"7 of 307 rows cannot be scored.*2.3%, and score.max_quarantine is 1.0%"):
        scored(max_quarantine=0.01)
    with pytest.raises(DataError, match=r"has no row with a key in period 2026-07 \(its periods: 2026-02, 2026-01\)"):
        scored("2026-07")
