"""Salts and fitted specs as they have been since 0.1: models and folds rest on them, so no name in the code may change one."""

import json

import pyarrow as pa
import pytest

from keyfold.conf.split import Split
from keyfold.conf.use_case import parse_conf
from keyfold.core.digests import digest
from keyfold.dataset.imputation import Imputation
from keyfold.features.fit_plan import FitPlan
from keyfold.features.fitting import Target
from keyfold.features.kinds import KINDS
from keyfold.features.spec import Spec
from keyfold.split.folds import Folds

ROWS = pa.table(
    {
        "key": pa.array([1, 2, 3, 4, 5, 6], pa.int64()),
        "city": ["Oslo", "Rome", "Oslo", None, "Ålesund", "Rome"],
        "plan": pa.array([1, 2, 1, 2, None, 3], pa.int64()),
        "charge": [9.5, 20.0, 9.5, None, 41.25, 13.0],
        "note": ["late bill", "no signal", "late, late", None, "", "bill"],
        "day": pa.array([20000, 20010, 20020, 20030, None, 20050], pa.int32()).cast(pa.date32()),
        "calls_before": [1.0, 2.5, None, 4.0, 0.5, 3.0],
        "photo": pa.array([None] * 6, pa.binary()),
        "part": pa.array([0, 1, 2, 3, 4, 5], pa.int64()),
        "`left`": [True, False, True, False, False, True],
    }
)
FEATURES = {
    "hashed": {"hashed": {"input_col": "city", "num_buckets": 64}},
    "hashed_other": {"hashed": {"input_col": "city", "num_buckets": 64, "salt": "other"}},
    "crossed": {"crossed": {"input_cols": ["city", "plan"], "num_buckets": 128}},
    "crossed_exact": {"crossed": {"input_cols": [{"feature": "one_hot"}, {"feature": "bucketized"}], "num_buckets": "exact"}},
    "one_hot": {"one_hot": {"input_col": "city"}},
    "one_hot_hashed": {"one_hot": {"input_col": "city", "min_frequency": 2, "handle_unseen": {"hashed": 8}}},
    "index": {"index": {"input_col": "plan", "handle_unseen": {"hashed": 8}, "min_frequency": 2}},
    "text": {"text": {"input_col": "note", "num_buckets": 64, "ngrams": 2, "length": 4}},
    "text_known": {"text": {"input_col": "note", "max_tokens": 3, "length": 4}},
    "bucketized": {"bucketized": {"input_col": "charge", "num_buckets": 3}},
    "numeric": {"numeric": {"input_col": "charge", "scale": "standard", "missing": "mean"}},
    "derived": {"numeric": {"input_col": {"log": "charge"}, "missing": 0}},
    "date_parts": {"date_parts": {"input_col": "day", "parts": ["day_of_week", "month"]}},
    "found": {"found": {"input_col": "note", "patterns": ["characters", "words"]}},
    "target_encoded": {"target_encoded": {"input_col": "city", "folds": 2}},
    "calls_before": {"windowed": {"input_col": "calls", "over": "2 rows", "take": "mean", "missing": "mean"}},
    "image": {"image": {"input_col": "photo", "size": [1, 1]}},
}
CONF = {"name": "salts", "data": {"source": "x.csv", "key": ["key"], "time": "day"}, "features": FEATURES}


@pytest.fixture(scope="module", params=["spark_engine", "embedded"])
def spec(request):
    rows, features = request.getfixturevalue(request.param).frame(ROWS), parse_conf(CONF).features
    return FitPlan.of(rows, features, Target("`left`", "part")), Spec.fit(rows, features, Target("`left`", "part"))


def test_every_kind_is_here_and_states_its_own_salt(spec):
    _, fitted = spec
    assert {type(kind) for kind, _ in fitted.features.values()} == {*KINDS.values()}
    prefixes = {}
    for kind, state in fitted.features.values():
        if "salt" in state:
            prefixes[type(kind)] = vars(type(kind))["salt_prefix"]  # its own: one that is inherited is another kind's
    assert len({*prefixes.values()}) == len(prefixes), "no two kinds share one"


def test_salts(spec):
    _, fitted = spec
    assert {name: state["salt"] for name, (_, state) in fitted.features.items() if "salt" in state} == {
        "hashed": "hashed:hashed",
        "hashed_other": "hashed:other",
        "crossed": "crossed:crossed",
        "one_hot": "onehot:one_hot",
        "one_hot_hashed": "onehot:one_hot_hashed",
        "index": "index:index",
        "text": "text:text",
    }


def test_specs_and_their_values(spec):
    _, fitted = spec
    kinds = {name: digest(json.loads(Spec({}, {name: feature}).to_json())) for name, feature in fitted.features.items()}
    assert kinds == {
        "hashed": "5042deb6f400a124795312acc4af51c3",
        "hashed_other": "590e495da47967d52bdf2311335d8ae0",
        "crossed": "59594f0215f43c1cb29ff89955bb41da",
        "crossed_exact": "fd6b5bab326afc8dc828152c9f6d4a92",
        "one_hot": "8f54b7bf81907156498aa2f5d785b079",
        "one_hot_hashed": "28076cb228338904a02d563668d1f7f2",
        "index": "2d74ea6660e5c0fc14362c11d1ef6db8",
        "text": "22a749887c3987cec2118a1789ca7cc5",
        "text_known": "d1c83f210d33fe1847cbd3be5b44c4b5",
        "bucketized": "1ed9898b32dd06d882a655a4b1378522",
        "numeric": "306d7f4fb2229cde9564007f55b2b15a",
        "derived": "5367a30b5c25c2e66cf366479dfe0491",
        "date_parts": "ad30f612d232884a188f9791484c358b",
        "found": "c89e3c7c8a057d223547934ba700e42e",
        "target_encoded": "b8f2d9b2c46e6b75b702833f219e3658",
        "calls_before": "040dd2b439e7d88250a925d2682081b8",
        "image": "5056bb52633e91b7a10063c882f98d96",
    }
    values = {name: digest(array.tolist()) for name, array in fitted.arrow(ROWS).items()}
    assert values == {
        "hashed": "74ff697297ad3ceda0c68ec4a0cf6cf5",
        "hashed_other": "ebde98eea7b294c642c69a9585400ea2",
        "crossed": "9a2fd474b76b4068d04e75b3c4e46828",
        "crossed_exact": "36c67e17a01c9e31b629f1d747ebcc92",
        "one_hot": "8f1e66da0a793637fa20b7e1c971f2b6",
        "one_hot_hashed": "5b162074dc879c8c283a380209b268d6",
        "index": "f8fdbb5a88b6f818bdf4a980a8b7bab8",
        "text": "827432deb751488929d47c34679a2731",
        "text_known": "d1c58e38585fd69998842c7b70a72bb5",
        "bucketized": "7d256026fef41197b5fb65fb569f35cb",
        "numeric": "aa53b0d9879b198b87b4f7492053ceaa",
        "derived": "ee77918a37469275ff03827a35b3a670",
        "date_parts": "c75b76f6922da7dc4ed1a83538b37e85",
        "found": "471605f5ba67a8990712035f82b565dc",
        "target_encoded": "140bb66642ab5bc341e5d2366f201b00",
        "calls_before": "80cbcf3e442639aa993a40edb7f418a1",
        "image": "bd2961682c33c2eb3f7cfabf24d0ab42",
    }


def test_names_of_cached_statistics(spec):
    plan, _ = spec
    assert digest(plan.statistics_names) == "46bbc2ac3e2073829dc3752950794254", "the repr of `Tokens` is part of them"


def test_folds_and_stand_ins(engine):
    rows, folds = engine.frame(ROWS), Folds(Split(), ["key"], "salts")
    assert digest(folds.identity) == "6073d95ad39ab7858749456fa5cc858a"
    numbers = Folds(Split(), ["n"], "salts").numpy(pa.table({"n": pa.array(range(60), pa.int64())}))
    assert "".join(fold[0] for fold in numbers) == "tttvtttttttttttttttttttvttttvttvtttttttttttttvttttttttttttvt"
    parts = folds.add_part(rows, "part").sort(["key"]).rows()
    assert [row["part"] for row in parts] == [470317, 458511, 57484, 43843, 362990, 157901], "the salt out_of_fold:split:salts"
    assert Imputation("card", "mean", [], [], []).salt == "bridge:card"
