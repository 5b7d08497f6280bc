"""The join that never sees the future: against its definition by loops, over many entities and over one that has most of the rows."""

import datetime as dt
import json
import random

import pytest

from keyfold.conf.use_case import load_conf, parse_conf
from keyfold.conf.views import ViewSource
from keyfold.errors import ConfError, DataError
from keyfold.feature_store import point_in_time, table, views
from keyfold.feature_store.point_in_time import ViewRows, training_set
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring import job
from keyfold.tracking.registry import Registered
from places import ROOT

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def moment(rng, hours=24):
    return START + rng.randrange(hours) * HOUR


def made_up(rng, labels, rows, entities):
    """Label rows (entity, time, number) and rows of a view (entity, valid, known, value), with gaps, ties and late knowledge."""
    some = [None, *entities]
    asked = [(rng.choice([*some, "stranger"]), rng.choice([moment(rng), moment(rng), None]), n) for n in range(labels)]
    told = []
    for _ in range(rows):
        valid = moment(rng)
        told.append((rng.choice(some), valid, valid + rng.choice([0, 0, 3, -2]) * HOUR, rng.choice([None, 0.5, 1.5, 2.5, 3.5])))
    return asked, told


def by_definition(asked, told, ttl):
    """For each label row the value of the latest row that was there and known."""
    found = {}
    for entity, at, number in asked:
        stand = [t for t in told if None not in (entity, at) and t[0] == entity and t[1] <= at and t[2] <= at]
        last = max(stand, key=lambda t: (t[1], t[2], t[3] is not None, t[3] or 0), default=None)
        found[number] = None if last is None or (ttl is not None and last[1] < at - ttl) else last[3]
    return found


def frames(spark, asked, told):
    labels = spark.createDataFrame(asked, "who string, at timestamp, number int")
    return labels, spark.createDataFrame(told, "user string, valid timestamp, known timestamp, value double")


def known(rows, **more):
    return ViewRows("usage", rows, {"user": "who"}, "valid", {"value": "seen"}, **more)


@pytest.mark.parametrize("entities", ["ab", "a" * 9 + "bcdefgh"])
def test_every_label_row_gets_what_stood_and_was_known_at_its_time(spark, entities):
    rng = random.Random(len(entities))
    asked, told = made_up(rng, 150, 200, entities)
    labels, rows = frames(spark, asked, told)
    hours = 5 * 3600 * 1_000_000
    joined = training_set(
        labels, [known(rows, known="known"), known(rows, known="known", ttl=hours)._replace(features={"value": "fresh"})], "at"
    )
    assert joined.columns == ["who", "at", "number", "seen", "fresh"]
    found = joined.collect()
    assert sorted(r.number for r in found) == list(range(150))
    assert {r.number: r.seen for r in found} == by_definition(asked, told, None)
    assert {r.number: r.fresh for r in found} == by_definition(asked, told, 5 * HOUR)
    # Without a time of knowledge, rows are known at their own time.
    at_once = training_set(labels, [known(rows)], "at")
    assert {r.number: r.seen for r in at_once.collect()} == by_definition(asked, [(e, v, v, x) for e, v, _, x in told], None)


def test_an_entity_with_most_of_the_rows_is_cut_into_tasks(spark):
    rng = random.Random(1)
    asked, told = made_up(rng, 400, 400, ["giant"] * 40 + list("abcdefgh"))
    asked = [(e, at or moment(rng), n) for e, at, n in asked]
    asked, told = ([(*t[:1], t[1] + rng.random() * HOUR, *t[2:]) for t in some] for some in (asked, told))
    labels, rows = frames(spark, asked, told)
    before = spark.conf.get("spark.sql.shuffle.partitions")
    try:
        spark.conf.set("spark.sql.shuffle.partitions", "16")
        view = known(rows, known="known")
        timeline = point_in_time._Timeline(labels, [view], ["who"], "at")
        cut = timeline.cut(timeline.lines, timeline.cuts(timeline.lines, print))
        most = cut.where("_e0 = 'giant'").groupBy("_slice").count().agg({"count": "max"}).collect()[0][0]
        assert most <= 800 / 16 * point_in_time._SHARE
        found = training_set(labels, [view], "at").collect()
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
    assert {r.number: r.seen for r in found} == by_definition(asked, told, None)
    assert len(found) == len(asked)


# --- views as tables, and use cases that take from them ---

USAGE = {
    "name": "usage",
    "data": {
        "columns": {"user": "string", "day": "date", "known": "timestamp", "calls": "double"},
        "key": ["user", "day"], "time": "day", "period": "day",
    },
    "features": {
        "calls_2": {"windowed": {"input_col": "calls", "over": "2 rows", "take": "sum", "current": True}},
        "calls_all": {"windowed": {"input_col": "calls", "over": "all", "take": "max"}},
    },
    "view": {"created": "known", "ttl": "3 days", "owner": "data@telecom.example", "description": "calls of a customer"},
}  # fmt: skip
CHURN = {
    "name": "churn",
    "data": {
        "columns": {"customer": "string", "asked": "date", "left": "boolean"}, "key": ["customer", "asked"], "time": "asked",
        "period": "day", "label": "left", "views": [{"table": "usage.features", "entity": {"user": "customer"}}],
    },
    "features": {"calls_2": {"numeric": {"input_col": "calls_2", "missing": 0}}},
}  # fmt: skip
NAMES = "abcdef"


def day(number):
    return (START + dt.timedelta(number)).date()


def usage(number, late=""):
    """Rows of a day; those of `late` were known two days after."""
    rng = random.Random(number)
    return [
        f"{u},{day(number)},{day(number + 2 * (u in late))} 00:00:00Z,{rng.randrange(9)}"
        for u in NAMES
        if rng.random() < 0.8 or u in late
    ]


def offered(spark, folder, **more):
    run = Run(parse_conf(USAGE | {"data": USAGE["data"] | {"source": str(folder)}} | more), spark)
    ingest(run)
    table.offer_view(run)
    return run


def taking(spark, folder, **data):
    run = Run(parse_conf(CHURN | {"data": CHURN["data"] | {"source": str(folder)} | data}), spark)
    ingest(run)
    with run.job("features"):
        table.update_feature_table(run)
    return run


def write(folder, name, header, lines):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join([header, *lines, ""]))


@pytest.fixture
def folders(tmp_path):
    for number in (0, 1, 2):
        write(tmp_path / "usage", f"{number}.csv", "user,day,known,calls", usage(number, late="b"))
        asked = [f"{u},{day(number)},{'true' if u < 'c' else 'false'}" for u in NAMES]
        write(tmp_path / "asked", f"{number}.csv", "customer,asked,left", asked)
    return tmp_path / "usage", tmp_path / "asked"


def seen(run):
    rows = run.featured.read().select("customer", "asked", "calls_2", "calls_all")
    return {(r.customer, r.asked): (r.calls_2, r.calls_all) for r in rows.collect()}


def expected(spark, run, view):
    """All rows at once, by the join alone."""
    known = views.read_view(view.featured, ViewSource(table="usage.features", entity={"user": "customer"}))
    rows = training_set(run.rows.read(), [known], "asked").select("customer", "asked", "calls_2", "calls_all")
    return {(r.customer, r.asked): (r.calls_2, r.calls_all) for r in rows.collect()}


def test_a_view_says_what_it_is_and_use_cases_take_what_was_known(spark, home, folders):
    view = offered(spark, folders[0])
    said = views.view_description(view.featured)
    assert said[:5] == (["user"], "day", "keyfold_known", 3 * 86_400_000_000, ["calls_2", "calls_all"])
    assert (said.owner, said.description) == ("data@telecom.example", "calls of a customer")
    version = view.featured.version()
    offered(spark, folders[0])
    assert view.featured.version() == version
    rows = {(r.user, r.day): r for r in view.featured.read().collect()}
    for (user, at), row in rows.items():  # `calls_2` looks at the row before, too, and `calls_all` at all of them
        before = [rows[user, d].known for d in (day(n) for n in range(3)) if (user, d) in rows and d <= at]
        assert row.keyfold_known == max(before)

    run = taking(spark, folders[1])
    found = seen(run)
    assert len(found) == 18
    assert found == expected(spark, run, view)
    assert found["b", day(0)] == found["b", day(1)] == (None, None)  # known two days later
    assert found["b", day(2)] == (rows["b", day(0)].calls_2, None)
    taken = run.featured.version()
    taking(spark, folders[1])
    assert run.featured.version() == taken

    # A further day of the view changes nothing before it; a late row of that day does that day alone.
    write(folders[0], "3.csv", "user,day,known,calls", usage(3))
    offered(spark, folders[0])
    taking(spark, folders[1])
    assert run.featured.version() == taken
    write(folders[1], "3.csv", "customer,asked,left", [f"{u},{day(3)},true" for u in NAMES])
    taking(spark, folders[1])
    write(folders[0], "4.csv", "user,day,known,calls", [f"late,{day(3)},{day(3)} 00:00:00Z,7"])
    view = offered(spark, folders[0])
    run = taking(spark, folders[1])
    assert [p[-2:] for p in next(run.featured.commits()).metadata["keyfold_period"]] == ["04"]
    assert seen(run) == expected(spark, run, view)


def test_a_model_answers_only_for_views_of_its_definition(spark, home, folders):
    offered(spark, folders[0])
    run = taking(spark, folders[1])
    learnt = Registered("churn", "3", "", {"keyfold.manifest": "0", "keyfold.views": json.dumps(table.view_digests(run))})
    job._refuse_other_views(run, learnt)
    offered(spark, folders[0], view=USAGE["view"] | {"owner": "somebody else"})
    job._refuse_other_views(run, learnt)
    before = table.view_digests(run)["usage.features"]
    other = {
        "calls_2": USAGE["features"]["calls_2"],
        "calls_all": {"windowed": {"input_col": "calls", "over": "all", "take": "min"}},
    }
    offered(spark, folders[0], features=other)
    now = table.view_digests(run)["usage.features"]
    assert now != before
    with pytest.raises(DataError, match=rf"(?s){before}.*{now}.*train again"):
        job._refuse_other_views(run, learnt)


def test_faults_of_views_are_sentences(spark, home, folders):
    offered(spark, folders[0])
    with pytest.raises(DataError, match=r"no table `usage.fetures`.*did you mean `features`"):
        taking(spark, folders[1], views=["usage.fetures"])
    with pytest.raises(DataError, match=r"`usage.rows` is no feature view; run `features`"):
        taking(spark, folders[1], views=["usage.rows"])
    with pytest.raises(DataError, match=r"the rows have no column `user`"):
        taking(spark, folders[1], views=["usage.features"])
    with pytest.raises(DataError, match=r"entity has no column `usr`.*did you mean `user`"):
        taking(spark, folders[1], views=[{"table": "usage.features", "entity": {"usr": "customer"}}])
    with pytest.raises(DataError, match=r"its entity `user` is string, and `asked` of the rows date"):
        taking(spark, folders[1], views=[{"table": "usage.features", "entity": {"user": "asked"}}])
    write(folders[1], "3.csv", "customer,asked,left", [f"stranger,{day(3)},true"])
    view = {"table": "usage.features", "entity": {"user": "customer"}}
    with pytest.raises(
        DataError, match=r"1 rows have an entity .customer. that view `usage.features` does not know; it is `unknown: error`"
    ):
        taking(spark, folders[1], views=[view | {"unknown": "error"}])
    with pytest.raises(DataError, match=r"view `usage.features`: column `calls_2` is one of view `usage.features`, too; rename"):
        taking(spark, folders[1], views=[view, view])
    with pytest.raises(DataError, match=r"view.features: table `usage.features` has no column `cals_2`.*did you mean `calls_2`"):
        offered(spark, folders[0], view={"features": ["cals_2"]})
    write(folders[0], "9.csv", "user,day,known,calls", ["a,2024-02-02,,1"])
    with pytest.raises(
        DataError, match=r"view.created: `known` is NULL in 1 rows of `usage.rows`; every row needs the time at which it was"
    ):
        offered(spark, folders[0])
    plain = USAGE | {"name": "plain", "data": USAGE["data"] | {"source": str(folders[0])}, "features": {}}
    for created, said in (
        ("known", r"`known` is NULL in 1 rows of `plain.rows`"),
        ("calls", r"created: `calls` takes date, timestamp"),
    ):
        run = Run(parse_conf(plain | {"view": {"created": created, "features": ["calls"]}}), spark)
        ingest(run)
        with run.job("features"), pytest.raises(DataError, match=said):
            table.update_feature_table(run)
    for name, other in (("a", "b"), ("b", "a")):
        said = {
            "name": name,
            "data": {"key": ["k"], "time": "t", "views": [str(folders[0].parent / f"{other}.yaml")]},
            "view": {},
        }
        (folders[0].parent / f"{name}.yaml").write_text(json.dumps(said))
    with pytest.raises(ConfError, match=r"data.views: churn takes from a takes from b takes from a, which is a circle"):
        taking(spark, folders[1], views=[str(folders[0].parent / "a.yaml")])
    with pytest.raises(ConfError, match=r"`views` need `time`"):
        parse_conf(CHURN | {"data": {"key": ["customer"], "views": ["usage.features"]}})


def test_rows_have_windows_and_views_beside_one_another(spark, home, folders):
    view = offered(spark, folders[0])
    mine = {"windowed": {"input_col": "left", "over": "all", "take": "count"}}
    made = CHURN | {"data": CHURN["data"] | {"source": str(folders[1])}, "features": {"asked_before": mine}}
    run = Run(parse_conf(made), spark)
    ingest(run)
    with run.job("features"):
        table.update_feature_table(run)
    assert seen(run) == expected(spark, run, view)
    counts = {(r.customer, r.asked): r.asked_before for r in run.featured.read().collect()}
    assert counts == {(u, day(n)): n for u in NAMES for n in range(3)}
    again = Run(parse_conf(made | {"features": {"calls_2": mine}}), spark)
    with (
        again.job("features"),
        pytest.raises(DataError, match=r"features.calls_2: a view of data.views has a column of this name"),
    ):
        table.update_feature_table(again)


def test_churn_takes_its_usage_from_a_view(spark, home):
    root = ROOT
    feature = "features.usage_change={numeric: {input_col: data_change, missing: 0}}"
    views_ = f"data.views=[{root}/conf/usage.yaml]"
    small = ["data.source.customers=300", "data.source.months=3", views_, feature]
    run = Run(load_conf(root / "conf/churn.yaml", small), spark)
    ingest(run)
    with run.job("features"):
        table.update_feature_table(run)
    rows = run.featured.read().toPandas().sort_values(["customer_id", "month"])
    wanted = rows.groupby("customer_id").data_gb.pct_change(fill_method=None)
    assert len(rows) == run.rows.read().count() and wanted.notna().sum() > 400
    assert rows.data_change.to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-12, nan_ok=True)
    assert table.view_digests(run).keys() == {"usage.features"}
