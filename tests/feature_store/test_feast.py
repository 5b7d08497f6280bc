"""Feast over the repository that keyfold writes: its point-in-time join gives the same rows, and its online store the same values."""

import datetime as dt
import importlib
import subprocess
import sys
import warnings

import pytest

from keyfold.engine.tables import Tables
from keyfold.errors import DataError
from keyfold.feature_store import feast as feast_repository
from keyfold.feature_store import views
from keyfold.feature_store.point_in_time import training_set
from places import ROOT
from usage_view import NAMES, START, USAGE, offered, usage, write

feast = pytest.importorskip("feast")
FEATURES = ["usage_features:calls_2", "usage_features:calls_all"]


@pytest.fixture(scope="module")
def store(spark, tmp_path_factory):
    """A view with late rows, its table, and the store that Feast makes of the files."""
    folder = tmp_path_factory.mktemp("feast")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("KEYFOLD_HOME", str(folder / "state"))
        for number in (0, 1, 2):
            write(folder / "usage", f"{number}.csv", "user,day,known,calls", usage(number, late="b"))
        view = offered(spark, folder / "usage", view=USAGE["view"] | {"ttl": "1 day"})
        (folder / "repository").mkdir()
        for name, text in feast_repository.repository_files([view.featured], "tests").items():
            (folder / "repository" / name).write_text(text)
        patch.syspath_prepend(str(folder / "repository"))
        patch.setitem(sys.modules, "views", None)
        del sys.modules["views"]
        written = importlib.import_module("views")
        made = feast.FeatureStore(str(folder / "repository"))
        made.apply([written.user_entity, written.usage_features_view])
        yield view.featured, made
        sys.modules.pop("views")
        spark.conf.unset("spark.sql.parser.quotedRegexColumnNames")  # Feast turns it on


def labels(spark, *hours):
    asked = [
        (u, START + h * dt.timedelta(hours=1), n) for n, (u, h) in enumerate((u, h) for u in [*NAMES, "stranger"] for h in hours)
    ]
    return spark.createDataFrame(asked, "user string, event_timestamp timestamp, number int")


def ours(labels, known):
    found = training_set(labels, [known], "event_timestamp")
    return {r.number: (r.calls_2, r.calls_all) for r in found.collect()}


def theirs(store, labels, **how):
    found = store.get_historical_features(labels, FEATURES, **how).to_spark_df()
    return {r.number: (r.calls_2, r.calls_all) for r in found.collect()}


def test_feast_gives_the_same_training_rows(spark, store):
    table, feasts = store
    asked, known = labels(spark, 0, 30, 47, 49, 72, 73), views.read_view(table)
    found = ours(asked, known)
    assert sum(values != (None, None) for values in found.values()) > 15
    assert theirs(feasts, asked, filter_by_created_timestamp=True) == found


def test_feast_without_created_timestamps_joins_rows_that_were_not_known_yet(spark, store):
    table, feasts = store
    asked, known = labels(spark, 1, 25), views.read_view(table)
    plain, found = theirs(feasts, asked), ours(asked, known)
    assert plain == ours(asked, known._replace(known=None))
    differs = {n for n in found if plain[n] != found[n]}
    late = {r.number for r in asked.where("user = 'b'").collect()}
    assert differs == late
    assert {found[n] for n in late} == {(None, None)}


def test_the_online_store_has_the_values_of_the_batch(spark, store):
    table, feasts = store
    end = START + dt.timedelta(days=2)
    feasts.materialize(START - dt.timedelta(days=9), end)
    online = feasts.get_online_features(FEATURES, [{"user": u} for u in NAMES]).to_dict()
    rows = {(r.user, r.day): (r.calls_2, r.calls_all) for r in table.read().collect()}
    last = {u: max(d for user, d in rows if user == u) for u in NAMES}
    assert [*zip(online["calls_2"], online["calls_all"], strict=True)] == [rows[u, last[u]] for u in online["user"]]


def test_columns_that_feast_cannot_hold_are_refused(embedded, home, tmp_path):
    write(tmp_path / "usage", "0.csv", "user,day,known,calls", usage(0))
    windows = {"calls-of-all": USAGE["features"]["calls_all"]}
    view = offered(embedded, tmp_path / "usage", features=windows)
    with pytest.raises(
        DataError, match=r"view `usage.features`: Feast cannot take a column `calls-of-all`: names are of letters"
    ):
        feast_repository.repository_files([view.featured], "tests")
    with pytest.raises(DataError, match=r"`usage.rows` is not a feature view"):
        feast_repository.repository_files([Tables(embedded, home).table("usage.rows")], "tests")


def test_the_job_writes_the_files(store, tmp_path):
    job = ROOT / "jobs/feast.py"
    done = subprocess.run([sys.executable, str(job), "usage.features"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "feast/feature_store.yaml\nfeast/views.py\n"), done.stderr
    compile((tmp_path / "feast/views.py").read_text(), "views.py", "exec")
