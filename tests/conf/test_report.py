"""The section `report`: the features that a model is trained without, the variants that it is compared with, the importance of features."""

import pytest

from keyfold.conf.importance import Importance
from keyfold.conf.report import remaining_features
from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError
from small_conf import faults, raw


def crossed():
    conf = raw("features.x.crossed", {"input_cols": ["a", {"feature": "city"}], "num_buckets": 4})
    conf["features"]["n"] = {"numeric": {"input_col": "n"}}
    return conf


def test_a_feature_that_another_takes_is_left_out_with_it_or_not_at_all():
    made = crossed() | {"report": {"without": [["city"]]}}
    assert faults(made) == ["report.without.0: feature `x` takes `city`; leave out both, or neither"]
    parse_conf(made | {"report": {"without": [["city", "x"]]}})


def test_the_other_features_remain():
    kinds = {name: feature.kind for name, feature in parse_conf(crossed()).features.items()}
    assert remaining_features(kinds, ["n"]) == ["city", "x"] and remaining_features(kinds, ["x"]) == ["city", "n"]
    assert remaining_features(kinds, ["city", "x"]) == ["n"]
    with pytest.raises(ConfError, match=r"feature `x` takes `city`; leave out both, or neither"):
        remaining_features(kinds, ["city", "n"])


# --- variants ---

FOREST = {"sklearn": {"estimator": "sklearn.ensemble.RandomForestRegressor"}}
TORCH = {"torch": {"network": {"wide_deep": {"hidden": [4]}}}}


def compared(of="left", more=None, /, name="other", **variant):
    """A conf with a variant; `of` is its label, and `more` has further options of its training."""
    conf = crossed() | {"label": of, "report": {"compare": {name: variant}}}
    return conf | {"train": conf["train"] | (more or {})}


def test_a_variant_is_the_conf_with_some_options_replaced():
    label = {"column": "left", "bands": [1, 2], "take": "median", "interval": 0.8}
    raw_conf = compared(
        label,
        {"seed": 3, "tune": {"search": "grid", "over": {"params.C": [1]}}},
        label={"bands": None, "take": None},
        train={"model": FOREST},
        without=["city", "x"],
    )
    conf = parse_conf(raw_conf)
    variant = conf.variants["other"]
    assert (variant.label.bands, variant.label.take, variant.label.interval) == (None, "mean", 0.8)
    assert variant.train.model.sklearn.estimator.endswith("RandomForestRegressor") and not variant.train.tune
    assert (variant.train.seed, list(variant.features), variant.report.compare) == (3, ["n"], {})
    assert conf.train.tune and conf.label.bands == [1, 2] and len(conf.features) == 3
    assert parse_conf(conf.model_dump(mode="json", exclude_defaults=True)) == conf


BANDS = {"column": "left", "bands": [1, 2]}


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        (compared(), ": must replace an option of `label` or `train`, or leave features out (got neither)"),
        (compared(without=["cty"]), ".without: there is no feature `cty` (did you mean `city`?)"),
        (compared(without=["city"]), ".without: feature `x` takes `city`; leave out both, or neither"),
        (compared(label={"column": "right"}), ".label: the name 'column' is none of bands, take, interval, transform, calibrate or threshold"),
        (compared(train={"rebalance": {"majority": 2}}), ".train.rebalance.majority must be 1 or less (got 2)"),
        (compared(train={"rebalance": {"smote": {}}}), ": train.rebalance.smote draws rows between others, so features must be numbers"),
        (compared(train={"model": None}), ".train: must have either `model` or `models` (got neither)"),
        (compared(BANDS, label={"bands": [2, 1]}), ".label: `bands` must be edges in ascending order"),
        (compared(BANDS, train={"model": FOREST}), ".train.model is a regressor, and a classifier learns bands; write `label: {bands: null}`"),
        (compared(BANDS, label={"bands": None, "interval": 0.9}), ".label.interval is for a label that is a number, and this model is a cl"),
        (compared(BANDS, label={"bands": None}), ": the model predicts bands, and this variant two classes, classes or several labels; models"),
        (compared(train={"model": FOREST}), ": the model predicts two classes, classes or several labels, and this variant a number; models"),
        (compared(train={"model": TORCH}), " trains a model on rows in memory, which only scikit-learn models and ensembles support"),
        (compared(train={"seed": 1}, name="model"), ": `model` is the name of the model that variants are compared with; choose another"),
    ],
)  # fmt: skip
def test_a_variant_that_is_no_use_case_or_cannot_be_compared_is_refused(conf, sentence):
    (name,) = conf["report"]["compare"]
    (fault,) = faults(conf)
    assert fault.startswith(f"report.compare.{name}{sentence}"), fault


def test_all_faults_of_all_variants_are_listed():
    conf = compared(label={"calibrate": "no"}, train={"seed": "x"})
    conf["report"]["compare"]["more"] = {"train": {"seed": 0.5}}
    assert [fault.partition(" must")[0] for fault in faults(conf)] == [
        "report.compare.other.label.calibrate",
        "report.compare.other.train.seed",
        "report.compare.more.train.seed",
    ]


@pytest.mark.parametrize("section", ["label", "train"])
def test_variants_are_of_a_model(section):
    conf = compared(train={"seed": 1})
    del conf[section]
    assert faults(conf) == [f"report.compare has variants of the model, and the conf has no section `{section}`"]


def test_a_validation_fold_that_a_variant_needs_is_asked_for():
    conf = compared(label={"calibrate": "sigmoid"}) | {"split": {"share": {"train": 0.8, "validation": 0, "test": 0.2}}}
    assert faults(conf) == [
        "report.compare.other: label.calibrate is fitted on the validation fold, and split.share.validation is 0"
    ]


# --- importance ---


def test_importance_is_a_switch_or_a_section():
    given = {"true": True, "section": {}, "more": {"metric": "log_loss", "repeats": 2}, "false": False, "null": None}
    read = {name: parse_conf(raw("report.importance", value)).report.importance for name, value in given.items()}
    assert read == {"true": Importance(), "section": Importance(), "more": Importance(metric="log_loss", repeats=2), "false": None, "null": None}  # fmt: skip
    assert "importance" not in parse_conf(raw()).dumped["report"], "confs without it keep their run ids"


@pytest.mark.parametrize(
    ("conf", "fault"),
    [
        (raw("report.importance", {"metric": "rmse"}), "report.importance.metric must be `roc_auc`, "),
        (raw("report.importance", "yes"), "report.importance must be "),
        (raw("report.importance.repeats", 0), "report.importance.repeats must be "),
        (
            raw("report.importance", True) | {"train": None},
            "report.importance is about a model, and the conf has no section `train`",
        ),
    ],
)
def test_importance_that_cannot_be_measured_is_refused(conf, fault):
    (sentence,) = faults(conf)
    assert sentence.startswith(fault), sentence
