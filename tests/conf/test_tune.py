"""The section `train.tune`: values that the model cannot have are refused, and what a search depends on is pinned."""

import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.errors import ConfError
from tuning import TORCH, TPE, raw_conf


@pytest.mark.parametrize(
    ("tune", "sentence"),
    [
        ({"over": {"params.C": 3}}, "train.tune.over.params.C must be a list or a mapping with `low` or `high` (got 3)"),
        ({"over": {"params.C": {"low": 1}}}, "train.tune.over.params.C.high is missing"),
        ({"over": {"params.C": {"low": 3, "high": 2}}}, "train.tune.over.params.C: low must be less than high (got 3 and 2)"),
        ({"over": {"params.C": {"low": 0, "high": 2, "log": True}}}, "low must be more than 0 with log (got 0)"),
        ({"over": {}}, "train.tune: over must name a parameter"),
        ({"over": {"params.C": []}}, "train.tune: over.params.C must have a value"),
        ({"over": {"params.C": {"low": 1, "high": 2}}, "search": "grid"}, "over.params.C: a grid needs a list of values"),
        ({"search": "grid", "trials": 3}, "leave out trials"),
        ({"over": {"params.c": [1]}}, "over.params.c: train.model.sklearn: sklearn.linear_model.LogisticRegression has no parameter `c` (did you mean `C`?)"),
        ({"over": {"C": [1], "params.d": [1]}}, "train.tune.over.C: a parameter of a scikit-learn model is `params.<name>`; train.tune.over.params.d: "),
        ({"metric": "rmse"}, "train.tune.metric must be `roc_auc`, `pr_auc`, `lift_top_decile`, `log_loss`, `brier`, `accuracy`, `balanced_accuracy`, `precision`, `recall`, `f1` or `calibration_error` with this model (got `rmse`)"),
        ({"over": {"loop.learning_rate": [0.1, -1]}}, "train.tune.over.loop.learning_rate: train.model.torch.loop.learning_rate must be more than 0 (got -1)"),
        ({"over": {"loop.rate": [1]}}, "train.tune.over.loop.rate: train.model.torch.loop.rate is not an option"),
        ({"over": {"network.wide_deep.embedding": {"low": 1.0, "high": 4}}}, "embedding must be a whole number (got 2.854)"),
        ({"over": {"network.wide_deep.embedding": {"low": 0, "high": 4}}}, "embedding must be 1 or more (got 0)"),
        ({"over": {"loop.batch_size": [100]}}, "batch_size must be a multiple of 12"),
        ({"over": {"loss": ["squared_error"]}}, "train.tune.over.loss: with 'squared_error' the model no longer predicts the same kind of label"),
        ({"over": {"loop.clip": [1]}, "parallel": 2}, "train.tune.parallel is for scikit-learn models"),
    ],
)  # fmt: skip
def test_what_cannot_be_tried_is_refused_with_its_path(tune, sentence):
    network = any(path.startswith(("loop", "net", "loss")) for path in tune.get("over", {}))
    with pytest.raises(ConfError) as caught:
        parse_conf(raw_conf({"search": "random", "over": {"params.C": [1]}} | tune, model=TORCH if network else None))
    assert sentence in str(caught.value)


def test_what_of_a_search_depends_on_ranks_and_on_trials_at_once_is_pinned():
    assert parse_conf(raw_conf()).train.prunes_trials is parse_conf(raw_conf(TPE)).train.prunes_trials is None
    network = TPE | {"over": {"loop.clip": [1]}}
    early = [parse_conf(raw_conf(network, model=TORCH, train={"ranks": ranks})).train.prunes_trials for ranks in (1, 3)]
    assert early == [True, False]
    assert parse_conf(raw_conf(TPE | {"parallel": 3})).train.trials_at_once == 3
    assert parse_conf(raw_conf(TPE | {"parallel": 3, "search": "random"})).train.trials_at_once is None


@pytest.mark.parametrize(
    ("label", "metric", "refused"),
    [
        ({"column": "y", "separator": ","}, "micro_f1", False),
        ({"column": "y", "separator": ","}, "roc_auc", True),
        ("y", "micro_f1", False),  # `y` may be an array
        ({"column": "y", "bands": [1]}, "crps", False),
        ({"column": "y", "positive": "yes"}, "micro_f1", True),
    ],
)
def test_the_metric_is_one_of_the_label(label, metric, refused):
    conf = raw_conf(TPE | {"metric": metric}) | {"label": label}
    if refused:
        with pytest.raises(ConfError, match=r"train\.tune\.metric must be"):
            parse_conf(conf)
    else:
        assert parse_conf(conf).train.tune.metric == metric
