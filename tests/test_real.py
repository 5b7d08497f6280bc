"""Real tables: telecom customers, with the conf that `init` makes of them unaided; ads and films, with crosses that are measured."""

import hashlib
import os
import statistics
from pathlib import Path

import deltalake
import pandas as pd
import pyarrow as pa
import pytest

from keyfold.conf import yaml
from keyfold.conf.use_case import parse_conf
from keyfold.core.names import PERIOD
from keyfold.dataset import leakage_gates
from keyfold.dataset.labelled_rows import labelled_rows
from keyfold.errors import PromiseError
from keyfold.features.spec import Spec
from keyfold.ingestion.job import ingest
from keyfold.profiling.draft_conf import draft_conf
from keyfold.runtime.run import Run
from keyfold.scoring.job import score
from keyfold.tracking import registry
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep

DATA = os.environ.get("KEYFOLD_TEST_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="KEYFOLD_TEST_DATA names no folder of real data")


@pytest.fixture
def raw():
    path = str(Path(DATA) / "churn_telco/telco-customer-churn-by-IBM.csv")
    return yaml.parse_yaml(draft_conf(path, ["customerID"], "Churn"))


def test_init_and_pipeline_score_every_customer(engine, home, raw):
    assert raw["data"]["columns"]["TotalCharges"] == "double"
    run = Run(parse_conf(raw), engine)
    ingest(run)
    score(run, promote_or_keep(run, train(run)))
    rows = deltalake.DeltaTable(str(run.rows.path)).to_pandas()
    found = deltalake.DeltaTable(str(run.predictions.path)).to_pandas()
    assert rows.TotalCharges.isna().sum() == 11
    assert len(found) == found.customerID.nunique() == 7043
    assert set(found.status) == {"scored"}
    assert registry.find_version("models:/" + raw["name"] + "@champion")


@pytest.mark.slow
def test_the_conf_of_init_makes_a_good_model_whatever_the_salt(spark, home, raw):
    ingest(Run(parse_conf(raw), spark))
    areas = []
    for salt in range(2):
        other = Run(parse_conf(raw | {"split": {"salt": str(salt)}}), spark)
        areas.append(float(train(other).tags["keyfold.roc_auc"]))
    print("test ROC AUC over two salts:", areas, statistics.mean(areas))
    assert statistics.mean(areas) >= 0.835


# --- gates ---

READ = {
    "incomes": ("fairness_adult/adult.csv.gz", {}, ["income-per-year", "fnlwgt"]),
    "houses": ("housing_california/housing.csv", {}, ["median_house_value"]),
    "messages": ("sms_spam/sms.tsv", {"sep": "\t", "quoting": 3, "names": ["kind", "text"], "header": None}, ["kind"]),
    "reviews": ("reviews_alexa/amazon_alexa_3150.tsv", {"sep": "\t"}, ["feedback", "rating", "date"]),
}


def gates_of(engine, name, key="content", again=0.0):
    """The gates of a table's columns but for the label, which stands first, and some others; its rows have their digest as key, or a number."""
    path, how, (label, *others) = READ[name]
    table = pd.read_csv(Path(DATA) / path, **how)
    table = pd.concat([table, table.sample(frac=again, random_state=0)], ignore_index=True)
    columns = [c for c in table if c not in (label, *others)]
    digests = table.astype(str).agg("|".join, axis=1).map(lambda row: hashlib.sha256(row.encode()).hexdigest()[:32])
    copy = digests.groupby(digests).cumcount() + 1
    table["content_key"] = digests + "-" + (copy if key == "content" else pd.Series(range(len(table)))).astype(str)
    table["row"], table[PERIOD] = range(len(table)), "all"
    numbers = {c: {"numeric": {"input_col": c, "missing": 0}} for c in table[columns].select_dtypes("number")}
    features = {c: {"hashed": {"input_col": c, "num_buckets": 64}} for c in columns} | numbers
    classes = table[label].nunique() == 2
    estimator = f"sklearn.linear_model.{'LogisticRegression' if classes else 'Ridge'}"
    positive = {"positive": table[label].value_counts().index.tolist()[-1]} if classes else {}
    conf = {
        "name": name, "label": {"column": label} | positive, "data": {"key": key if key == "content" else [key]}, "features": features,
        "train": {"model": {"sklearn": {"estimator": estimator}}},
    }  # fmt: skip
    run = Run(parse_conf(conf), engine)
    run.rows.replace(engine.frame(pa.Table.from_pandas(table, preserve_index=False)), PERIOD, {"all": len(table)})
    return leakage_gates.check_gates(run, labelled_rows(run))


@pytest.mark.parametrize("name", READ)
def test_honest_tables_pass_the_gates(engine, home, name):
    found = gates_of(engine, name)
    assert all(gate.holds for gate in found)
    assert {"identical rows across folds", "columns that give the label away"} <= {gate.name for gate in found}


def test_copied_rows_under_other_keys_do_not_pass(engine, home):
    with pytest.raises(
        PromiseError, match=r"identical rows across folds: .* of 4,\d\d\d rows outside train .*, about 1[34]\.\d\d% more"
    ):
        gates_of(engine, "houses", key="row", again=0.1)


# --- crosses, measured ---

FILMS = [
    "unknown", "action", "adventure", "animation", "childrens", "comedy", "crime", "documentary", "drama", "fantasy", "noir",
    "horror", "musical", "mystery", "romance", "scifi", "thriller", "war", "western",
]  # fmt: skip
LOGISTIC = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": 0.3, "solver": "newton-cg"}}


def measured(spark, conf):
    """The pipeline to its end: the predictions, and the metrics of the model."""
    run = Run(parse_conf(conf | {"train": {"model": {"sklearn": LOGISTIC}}}), spark)
    ingest(run)
    version = train(run)
    score(run, promote_or_keep(run, version))
    found = deltalake.DeltaTable(str(run.predictions.path)).to_pandas()
    return found, registry.client().get_run(version.mlflow_run_id).data.metrics


def gain(metrics, features):
    return [metrics[f"test_without_{features}_roc_auc_gain{part}"] for part in ("_low", "", "_high")]


def hashed(column):
    return {"hashed": {"input_col": column, "num_buckets": 512}}


@pytest.mark.slow
def test_ads_of_which_most_columns_have_gaps(spark, home):
    ads = pd.read_csv(Path(DATA) / "ctr_criteo/criteo_sample.txt", dtype=str)
    ads.to_csv(home / "ads.csv", index_label="impression")
    numbers, names = [f"I{i}" for i in range(1, 14)], [f"C{i}" for i in range(1, 27)]
    features = {c: {"bucketized": {"input_col": c, "num_buckets": 5}} for c in numbers} | {c: hashed(c) for c in names}
    features["C1_C9"] = {"crossed": {"input_cols": ["C1", "C9"], "num_buckets": 512}}
    conf = {
        "name": "criteo",
        "data": {
            "source": str(home / "ads.csv"), "columns": dict.fromkeys(numbers, "double"), "key": ["impression"],
        },
        "label": {"column": "label", "positive": "1"},
        "split": {"share": {"train": 0.6, "validation": 0, "test": 0.4}},
        "features": features,
        "report": {"without": [["C1_C9"], names[1:8] + names[9:]]},
    }  # fmt: skip
    found, metrics = measured(spark, conf)
    assert len(found) == 200 and set(found.status) == {"scored"}
    low, value, high = gain(metrics, "C1_C9")
    area = [metrics[f"test_roc_auc{part}"] for part in ("_low", "", "_high")]
    print("test ROC AUC and what the cross gains:", area, low, value, high)
    assert low <= 0 <= high, "so few rows tell nothing of a cross, and the interval says so"


def films(home):
    """Ratings with the user's age and the film's genre, as the source of a conf: is it 4 or 5?"""
    folder = Path(DATA) / "movielens_100k"
    ratings = pd.read_csv(folder / "u.data", sep="\t", names=["user_id", "film_id", "rating", "at"])
    film = pd.read_csv(folder / "u.item", sep="|", encoding="latin-1", header=None)
    first = film.iloc[:, 5:24].to_numpy().argmax(1)
    genres = pd.DataFrame({"film_id": film[0], "genre": [FILMS[i] for i in first]})
    rows = ratings.merge(pd.read_csv(folder / "u.user", sep="|"), on="user_id").merge(genres, on="film_id")
    rows = rows.assign(liked=rows.rating >= 4, user_genre=rows.user_id.astype(str) + " " + rows.genre)
    rows[["user_id", "film_id", "age", "genre", "user_genre", "liked"]].to_csv(home / "films.csv", index=False)
    integers = dict.fromkeys(("user_id", "film_id", "age"), "bigint")
    return {
        "name": "films",
        "data": {
            "source": str(home / "films.csv"), "columns": integers | {"liked": "boolean"}, "key": ["user_id", "film_id"],
        },
        "label": {"column": "liked", "positive": True},
        "split": {"share": {"train": 0.7, "validation": 0, "test": 0.3}},
    }  # fmt: skip


@pytest.mark.slow
def test_films_that_a_user_likes_by_genre(spark, home):
    conf = films(home) | {
        "features": {
            "user": {"hashed": {"input_col": "user_id", "num_buckets": 8192}},
            "film": {"hashed": {"input_col": "film_id", "num_buckets": 8192}},
            "age_group": {"bucketized": {"input_col": "age", "boundaries": [18, 25, 35, 45, 56]}},
            "genre": {"one_hot": {"input_col": "genre"}},
            "age_genre": {"crossed": {"input_cols": [{"feature": "age_group"}, {"feature": "genre"}], "num_buckets": "exact"}},
            "user_genre": {"crossed": {"input_cols": ["user_id", "genre"], "num_buckets": 65536}},
        },
        "report": {"without": [["age_genre"], ["user_genre"], ["user", "user_genre"]]},
    }
    found, metrics = measured(spark, conf)
    assert len(found) == 100_000 and set(found.status) == {"scored"}
    gains = {features: gain(metrics, features) for features in ("age_genre", "user_genre", "user.user_genre")}
    print("test ROC AUC and what features gain:", metrics["test_roc_auc"], gains)
    assert metrics["test_roc_auc"] > 0.76
    assert gains["user_genre"][0] > 0
    assert gains["user.user_genre"][0] > 0.05
    assert abs(gains["age_genre"][1]) < 0.002, "what the user and the film tell already"


@pytest.mark.slow
def test_films_by_how_often_they_are_liked(spark, home, monkeypatch):
    names = {"user": "user_id", "film": "film_id", "user_genre": "user_genre"}
    conf = films(home) | {"features": {name: {"target_encoded": {"input_col": column}} for name, column in names.items()}}
    out_of_fold = measured(spark, conf)[1]["test_roc_auc"]
    monkeypatch.setattr(Spec, "out_of_fold", lambda spec, part: spec)
    own_label_seen = measured(spark, conf | {"name": "leaky", "split": conf["split"] | {"salt": "films"}})[1]["test_roc_auc"]
    print("test ROC AUC, out of fold and not:", out_of_fold, own_label_seen)
    assert out_of_fold > 0.755
    assert own_label_seen < out_of_fold - 0.005
