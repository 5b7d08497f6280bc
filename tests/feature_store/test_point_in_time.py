"""The point-in-time join against its definition by loops, over many entities and over one that has most of the rows."""

import datetime as dt
import random

import pytest

from keyfold.engine import spark_as_of
from keyfold.engine.embedded_frame import EmbeddedFrame
from keyfold.engine.session import temporary_settings
from keyfold.errors import DataError
from keyfold.feature_store.point_in_time import ViewRows, training_set

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def moment(rng, hours=24):
    return START + rng.randrange(hours) * HOUR


def random_rows(rng, labels, rows, entities):
    """Label rows (entity, time, number) and rows of a view (entity, valid, known, value), with NULL, ties and rows that were known late."""
    names = [None, *entities]
    label_rows = [(rng.choice([*names, "stranger"]), rng.choice([moment(rng), moment(rng), None]), n) for n in range(labels)]
    view_rows = []
    for _ in range(rows):
        valid = moment(rng)
        view_rows.append(
            (rng.choice(names), valid, valid + rng.choice([0, 0, 3, -2]) * HOUR, rng.choice([None, 0.5, 1.5, 2.5, 3.5]))
        )
    return label_rows, view_rows


def by_definition(label_rows, view_rows, ttl):
    """For each label row the value of the latest row that was valid and known."""
    found = {}
    for entity, at, number in label_rows:
        candidates = [t for t in view_rows if None not in (entity, at) and t[0] == entity and t[1] <= at and t[2] <= at]
        last = max(candidates, key=lambda t: (t[1], t[2], t[3] is not None, t[3] or 0), default=None)
        found[number] = None if last is None or (ttl is not None and last[1] < at - ttl) else last[3]
    return found


def frames(engine, label_rows, view_rows):
    labels = engine.rows(label_rows, "who string, at timestamp, number int")
    return labels, engine.rows(view_rows, "user string, valid timestamp, known timestamp, value double")


def view_of(rows, **more):
    return ViewRows("usage", rows, {"user": "who"}, "valid", {"value": "seen"}, **more)


@pytest.mark.both_engines
@pytest.mark.parametrize("entities", ["ab", "a" * 9 + "bcdefgh"])
def test_a_label_row_gets_the_latest_value_that_was_known_at_its_time(engine, entities):
    rng = random.Random(len(entities))
    label_rows, view_rows = random_rows(rng, 150, 200, entities)
    labels, rows = frames(engine, label_rows, view_rows)
    fresh = view_of(rows, known="known", ttl=5 * 3600 * 1_000_000)._replace(features={"value": "fresh"})
    joined = training_set(labels, [view_of(rows, known="known"), fresh], "at")
    assert joined.columns == ["who", "at", "number", "seen", "fresh"]
    found = joined.rows()
    assert sorted(r["number"] for r in found) == list(range(150))
    assert {r["number"]: r["seen"] for r in found} == by_definition(label_rows, view_rows, None)
    assert {r["number"]: r["fresh"] for r in found} == by_definition(label_rows, view_rows, 5 * HOUR)
    # Without `known`, rows are known at their own time.
    at_once = training_set(labels, [view_of(rows)], "at").rows()
    assert {r["number"]: r["seen"] for r in at_once} == by_definition(
        label_rows, [(e, v, v, x) for e, v, _, x in view_rows], None
    )


def test_an_entity_with_most_of_the_rows_is_cut_into_tasks_of_spark(spark_engine):
    rng = random.Random(1)
    label_rows, view_rows = random_rows(rng, 400, 400, ["giant"] * 40 + list("abcdefgh"))
    label_rows = [(e, at or moment(rng), n) for e, at, n in label_rows]
    label_rows, view_rows = ([(*t[:1], t[1] + rng.random() * HOUR, *t[2:]) for t in rows] for rows in (label_rows, view_rows))
    labels, rows = frames(spark_engine, label_rows, view_rows)
    view = view_of(rows, known="known")
    with temporary_settings(spark_engine.spark, {"spark.sql.shuffle.partitions": "16"}):
        timeline = spark_as_of._Timeline(labels.data, [view.joined], ["who"], "at")
        cuts, unknown = timeline.cuts(timeline.lines)
        cut = timeline.cut(timeline.lines, cuts)
        most = cut.where("_e0 = 'giant'").groupBy("_slice").count().agg({"count": "max"}).collect()[0][0]
        assert most <= 800 / 16 * spark_as_of._SHARE
        assert unknown == [sum(e in (None, "stranger") for e, _, _ in label_rows)]
        found = training_set(labels.data, [view], "at").collect()  # of Spark, as what was given
    assert {r.number: r.seen for r in found} == by_definition(label_rows, view_rows, None)
    assert len(found) == len(label_rows)


def test_rows_of_different_engines_are_refused(embedded):
    rows = embedded.rows([("a", START, 1)], "who string, at timestamp, number int")
    view = view_of(embedded.rows([], "user string, valid timestamp, value double"))
    assert training_set(rows, [view], "at").rows() == [{"who": "a", "at": START, "number": 1, "seen": None}]

    class Foreign(EmbeddedFrame):
        pass

    with pytest.raises(DataError, match="view `usage`: its rows and those that take its features are of different engines"):
        training_set(Foreign(rows.database, rows.recipe), [view], "at")
