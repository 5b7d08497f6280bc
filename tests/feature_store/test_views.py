"""Views as tables, and use cases that take columns from them."""

import json

import pytest

from keyfold.conf.use_case import load_conf, parse_conf
from keyfold.conf.views import ViewSource
from keyfold.errors import ConfError, DataError
from keyfold.feature_store import table, views
from keyfold.feature_store.point_in_time import training_set
from keyfold.ingestion.job import ingest
from keyfold.runtime.run import Run
from keyfold.scoring import job
from keyfold.tracking.registry import Registered
from places import ROOT
from usage_view import CHURN, NAMES, USAGE, day, offered, taking, usage, write


@pytest.fixture
def folders(tmp_path):
    for number in (0, 1, 2):
        write(tmp_path / "usage", f"{number}.csv", "user,day,known,calls", usage(number, late="b"))
        asked = [f"{u},{day(number)},{'true' if u < 'c' else 'false'}" for u in NAMES]
        write(tmp_path / "asked", f"{number}.csv", "customer,asked,left", asked)
    return tmp_path / "usage", tmp_path / "asked"


def seen(run):
    return answers(run.featured.frame())


def answers(rows):
    return {(r["customer"], r["asked"]): (r["calls_2"], r["calls_all"]) for r in rows.rows()}


def expected(run, view):
    """All rows at once, by the join alone."""
    known = views.read_view(view.featured, ViewSource(table="usage.features", entity={"user": "customer"}))
    return answers(training_set(run.rows.frame(), [known], "asked"))


def test_a_view_describes_itself_and_use_cases_join_what_was_known(engine, home, folders):
    view = offered(engine, folders[0])
    said = views.view_description(view.featured)
    assert said[:5] == (["user"], "day", "keyfold_known", 3 * 86_400_000_000, ["calls_2", "calls_all"])
    assert (said.owner, said.description) == ("data@telecom.example", "calls of a customer")
    version = view.featured.version()
    offered(engine, folders[0])
    assert view.featured.version() == version
    rows = {(r["user"], r["day"]): r for r in view.featured.frame().rows()}
    for (user, at), row in rows.items():  # `calls_2` looks at the row before, too, and `calls_all` at all of them
        before = [rows[user, d]["known"] for d in (day(n) for n in range(3)) if (user, d) in rows and d <= at]
        assert row["keyfold_known"] == max(before)

    run = taking(engine, folders[1])
    found = seen(run)
    assert len(found) == 18
    assert found == expected(run, view)
    assert found["b", day(0)] == found["b", day(1)] == (None, None)  # known two days later
    assert found["b", day(2)] == (rows["b", day(0)]["calls_2"], None)
    taken = run.featured.version()
    taking(engine, folders[1])
    assert run.featured.version() == taken

    # A further day of the view changes nothing before it; a late row of that day does that day alone.
    write(folders[0], "3.csv", "user,day,known,calls", usage(3))
    offered(engine, folders[0])
    taking(engine, folders[1])
    assert run.featured.version() == taken
    write(folders[1], "3.csv", "customer,asked,left", [f"{u},{day(3)},true" for u in NAMES])
    taking(engine, folders[1])
    write(folders[0], "4.csv", "user,day,known,calls", [f"late,{day(3)},{day(3)} 00:00:00Z,7"])
    view = offered(engine, folders[0])
    run = taking(engine, folders[1])
    assert [p[-2:] for p in next(run.featured.commits()).metadata["keyfold_period"]] == ["04"]
    assert seen(run) == expected(run, view)


def test_a_model_answers_only_for_views_of_its_definition(engine, home, folders):
    offered(engine, folders[0])
    run = taking(engine, folders[1])
    learnt = Registered("churn", "3", "", {"keyfold.manifest": "0", "keyfold.views": json.dumps(table.view_digests(run))})
    job._refuse_other_views(run, learnt)
    offered(engine, folders[0], view=USAGE["view"] | {"owner": "somebody else"})
    job._refuse_other_views(run, learnt)
    before = table.view_digests(run)["usage.features"]
    other = {
        "calls_2": USAGE["features"]["calls_2"],
        "calls_all": {"windowed": {"input_col": "calls", "over": "all", "take": "min"}},
    }
    offered(engine, folders[0], features=other)
    now = table.view_digests(run)["usage.features"]
    assert now != before
    with pytest.raises(DataError, match=rf"(?s){before}.*{now}.*train again"):
        job._refuse_other_views(run, learnt)


def test_faults_of_views_are_refused_with_sentences(engine, home, folders):
    offered(engine, folders[0])
    with pytest.raises(DataError, match=r"no table `usage.fetures`.*did you mean `features`"):
        taking(engine, folders[1], views=["usage.fetures"])
    with pytest.raises(DataError, match=r"`usage.rows` is not a feature view; run `features`"):
        taking(engine, folders[1], views=["usage.rows"])
    with pytest.raises(DataError, match=r"the rows have no column `user`"):
        taking(engine, folders[1], views=["usage.features"])
    with pytest.raises(DataError, match=r"entity has no column `usr`.*did you mean `user`"):
        taking(engine, folders[1], views=[{"table": "usage.features", "entity": {"usr": "customer"}}])
    with pytest.raises(DataError, match=r"its entity `user` is string, and `asked` of the rows date"):
        taking(engine, folders[1], views=[{"table": "usage.features", "entity": {"user": "asked"}}])
    write(folders[1], "3.csv", "customer,asked,left", [f"stranger,{day(3)},true"])
    view = {"table": "usage.features", "entity": {"user": "customer"}}
    with pytest.raises(
        DataError, match=r"1 rows have an entity .customer. that view `usage.features` does not have; it is `unknown: error`"
    ):
        taking(engine, folders[1], views=[view | {"unknown": "error"}])
    with pytest.raises(DataError, match=r"view `usage.features`: column `calls_2` is one of view `usage.features`, too; rename"):
        taking(engine, folders[1], views=[view, view])
    with pytest.raises(DataError, match=r"view.features: table `usage.features` has no column `cals_2`.*did you mean `calls_2`"):
        offered(engine, folders[0], view={"features": ["cals_2"]})
    write(folders[0], "9.csv", "user,day,known,calls", ["a,2024-02-02,,1"])
    with pytest.raises(
        DataError, match=r"view.created: `known` is NULL in 1 rows of `usage.rows`; every row needs the time at which it was"
    ):
        offered(engine, folders[0])
    plain = USAGE | {"name": "plain", "data": USAGE["data"] | {"source": str(folders[0])}, "features": {}}
    for created, said in (
        ("known", r"`known` is NULL in 1 rows of `plain.rows`"),
        ("calls", r"created: `calls` takes date, timestamp"),
    ):
        run = Run(parse_conf(plain | {"view": {"created": created, "features": ["calls"]}}), engine)
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
    with pytest.raises(ConfError, match=r"data.views: churn takes from a takes from b takes from a, which is a cycle"):
        taking(engine, folders[1], views=[str(folders[0].parent / "a.yaml")])
    with pytest.raises(ConfError, match=r"`views` need `time`"):
        parse_conf(CHURN | {"data": {"key": ["customer"], "views": ["usage.features"]}})


def test_rows_have_windows_and_views_side_by_side(engine, home, folders):
    view = offered(engine, folders[0])
    mine = {"windowed": {"input_col": "left", "over": "all", "take": "count"}}
    made = CHURN | {"data": CHURN["data"] | {"source": str(folders[1])}, "features": {"asked_before": mine}}
    run = Run(parse_conf(made), engine)
    ingest(run)
    with run.job("features"):
        table.update_feature_table(run)
    assert seen(run) == expected(run, view)
    counts = {(r["customer"], r["asked"]): r["asked_before"] for r in run.featured.frame().rows()}
    assert counts == {(u, day(n)): n for u in NAMES for n in range(3)}
    again = Run(parse_conf(made | {"features": {"calls_2": mine}}), engine)
    with (
        again.job("features"),
        pytest.raises(DataError, match=r"features.calls_2: a view of data.views has a column of this name"),
    ):
        table.update_feature_table(again)


def test_churn_takes_its_usage_from_a_view(engine, home):
    root = ROOT
    feature = "features.usage_change={numeric: {input_col: data_change, missing: 0}}"
    views_ = f"data.views=[{root}/conf/usage.yaml]"
    small = ["data.source.customers=300", "data.source.months=3", views_, feature]
    run = Run(load_conf(root / "conf/churn.yaml", small), engine)
    ingest(run)
    with run.job("features"):
        table.update_feature_table(run)
    rows = run.featured.frame().to_arrow().to_pandas().sort_values(["customer_id", "month"])
    wanted = rows.groupby("customer_id").data_gb.pct_change(fill_method=None)
    assert len(rows) == run.rows.frame().count() and wanted.notna().sum() > 400
    assert rows.data_change.to_numpy() == pytest.approx(wanted.to_numpy(), rel=1e-12, nan_ok=True)
    assert table.view_digests(run).keys() == {"usage.features"}
