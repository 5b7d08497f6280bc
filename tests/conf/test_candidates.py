"""`train.models`: what is refused when the conf is read, and what the rest of the package sees of candidates."""

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.runtime.job_identity import conf_parts
from small_conf import faults, raw

LINEAR = {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression"}}
TREES = {"sklearn": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier"}}
RIDGE = {"sklearn": {"estimator": "sklearn.linear_model.Ridge"}}
TORCH = {"torch": {"network": {"wide_deep": {"hidden": [4]}}}}
BOTH = {"linear": LINEAR, "trees": TREES}
STAGE = {"features": ["city"], "model": LINEAR}
CASCADE = {"cascade": {"stages": {"first": STAGE | {"exit": {"precision_at_least": 0.9}}, "last": STAGE}}}
TUNED = {"ensemble": {"vote": {"members": BOTH, "weights": "tuned"}}}


def of(train, **more):
    return raw("train", train) | more


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ({}, "train: must have either `model` or `models` (got neither)"),
        ({"model": LINEAR, "models": BOTH}, "train: must have either `model` or `models` (got both)"),
        ({"models": {"linear": LINEAR}}, "train.models must be a list of 2 or more"),
        ({"models": {"linear": LINEAR, "ridge": RIDGE}},
         "train: candidates must predict the same: models.linear predicts classes, models.ridge numbers"),
        ({"models": {"linear": LINEAR, "net": TORCH}}, "train: models.net must be a scikit-learn model or an ensemble of them; a network is "),
        ({"models": {"linear": LINEAR, "stages": CASCADE}}, "train: models.stages must be a scikit-learn model or an ensemble of them; a cascade "),
        ({"models": {"linear": LINEAR, "trees": {"sklearn": {"estimator": "sklearn.ensemble.HistGradientBosting"}}}},
         "train.models.trees.sklearn: there is no estimator `sklearn.ensemble.HistGradientBosting`"),
        ({"models": BOTH, "tune": {"search": "grid", "over": {"params.C": [1]}}},
         "train: `tune` searches the parameters of one model: write `model` with one of the candidates in place of `models`"),
        ({"model": LINEAR, "choose_by": "log_loss"}, "train: `choose_by` chooses among `models`; leave it out"),
        ({"models": BOTH, "choose_by": "rmse"}, "train.choose_by must be `roc_auc`, "),
        ({"models": BOTH | {"vote": TUNED}},
         "train.models.vote: weights of members are tuned on the validation fold, on which train.models are chosen; write `weights: equal`"),
    ],
)  # fmt: skip
def test_what_no_model_can_be_chosen_of_is_refused(train, sentence):
    (fault,) = faults(of(train))
    assert fault.startswith(sentence)


@pytest.mark.parametrize(
    ("split", "refused"),
    [
        ({"share": {"train": 0.8, "validation": 0, "test": 0.2}}, "split.share.validation is 0"),
        ({"time": {"test": "2026-01-01"}}, "split.time.validation is not set"),
        ({"share": {"train": 0.8, "validation": 0, "test": 0.2}, "folds": 3}, ""),
        ({"time": {"validation": "2025-12-01", "test": "2026-01-01"}}, ""),
    ],
)
def test_candidates_need_rows_that_are_held_out(split, refused):
    conf = of({"models": BOTH}, split=split, data={"source": "customers.csv", "key": ["id"], "time": "at"})
    if refused:
        assert faults(conf) == [
            f"train.models are chosen on the validation fold, and {refused}; give it rows, or set split.folds"
        ]
    else:
        parse_conf(conf)


def test_the_identity_of_a_conf_with_one_model_has_none_of_the_options():
    kept = conf_parts(parse_conf(of({"model": LINEAR})), "train")["train"]
    assert next(iter(kept)) == "model" and not kept.keys() & {"single", "models", "choose_by"}
    assert "model" not in conf_parts(parse_conf(of({"models": BOTH})), "train")["train"]


def test_a_candidate_takes_the_place_of_all():
    train = parse_conf(of({"models": BOTH, "choose_by": "roc_auc", "seed": 3})).train
    one = train.with_model(train.models["trees"])
    assert one == parse_conf(of({"model": TREES, "seed": 3})).train
    assert list(train.candidates) == ["models.linear", "models.trees"] and list(one.candidates) == ["model"]


def test_variants_are_of_the_candidate_that_is_chosen_or_of_their_own_model():
    compare = {"own": {"train": {"model": LINEAR}}, "seeded": {"train": {"seed": 2}}}
    conf = parse_conf(of({"models": BOTH, "choose_by": "roc_auc"}, report={"compare": compare}))
    own, seeded = (conf.variants[name].train for name in compare)
    assert (
        list(own.candidates) == ["model"]
        and own.choose_by is None
        and list(seeded.candidates) == ["models.linear", "models.trees"]
    )
