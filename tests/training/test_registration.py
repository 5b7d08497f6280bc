"""What a registered version records of its training. Models that were registered before have the same tags."""

import json
from types import SimpleNamespace

import pyarrow as pa
import pytest

from keyfold.conf.use_case import parse_conf
from keyfold.core.digests import digest
from keyfold.core.names import FOLD, LABEL
from keyfold.dataset.leakage_gates import Gate
from keyfold.engine.table_versions import TableVersion
from keyfold.evaluation.intervals import Metric
from keyfold.training import registration
from keyfold.training.arrays import ArrayRows
from keyfold.training.registration import TrainingResult
from keyfold.training.trials import Trial, TuningResult
from keyfold.training.warm_start import StartParameters
from shop_model import shop_model

TRAINED = {"model": {"sklearn": {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"C": 2}}}, "seed": 7}
CONF = parse_conf({"name": "shop", "label": "y", "data": {"key": ["id", "day"]}, "train": TRAINED})
FIXED = {
    "keyfold.run_id": "r", "keyfold.name": "shop", "keyfold.rows": "['t', 3]", "keyfold.table": "shop.rows", "keyfold.seed": "7",
    "keyfold.conf_digest": CONF.digest, "keyfold.test_few": "1", "keyfold.sampled": "0.25", "keyfold.roc_auc": "0.8",
    "keyfold.label": '{"column":"y"}', "keyfold.folds": digest({"salt": "split:shop"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return shop_model()


@pytest.fixture
def recorded(model, monkeypatch):
    """Registers a training of the shop; the log that goes to MLflow."""
    monkeypatch.setattr(registration.training_runs, "register", lambda name, model, log: log)

    def register(*, period=None, tuned=None, warm_start=None, imputations=None):
        folds = {FOLD: ["train"] * 4 + ["test"] * 3, LABEL: [True, True, False, False, True, False, False]}
        run = SimpleNamespace(
            conf=CONF, period=period, featured=SimpleNamespace(name="shop.rows", path=None), step=lambda name: pytest.MonkeyPatch.context(),
        )  # fmt: skip
        rows = SimpleNamespace(
            version=TableVersion("t", 3),
            periods=["2026-09", "2026-10"],
            imputations=imputations,
            label=model.label,
            folds=SimpleNamespace(identity={"salt": "split:shop"}),
        )
        context = SimpleNamespace(run=run, rows=rows, run_id="r", train=CONF.train, spec=model.spec, warm_start=warm_start)
        measured = {"test": {"roc_auc": Metric(0.8, 0.7, 0.9)}}
        gates = [Gate("shares", True, "fine")]
        result = TrainingResult(
            model, CONF.train, ArrayRows(pa.table(folds), model.spec, model.label), 0.25, gates, tuned, measured, []
        )
        return registration.register_result(context, "shop", result)

    return register


def test_a_version_has_the_tags_that_later_jobs_read(recorded):
    log = recorded()
    assert log.tags == FIXED
    assert (log.run_name(4), log.table.name, log.table.version, log.trials) == ("shop v4 2026-10", "shop.rows", 3, [])
    assert log.params == {"estimator": "sklearn.linear_model.LogisticRegression", "C": 2, "rows": 4}
    assert recorded(period="2026-08").run_name(4) == "shop v4 2026-08"


def test_a_search_a_start_and_imputations_have_tags_of_their_own(recorded):
    trials = [Trial(1, {"params.C": 2}, 0.9, "COMPLETE", ""), Trial(0, {"params.C": 1}, 0.8, "COMPLETE", "")]
    log = recorded(
        tuned=TuningResult(CONF.train.model, "roc_auc", trials, {}), warm_start=StartParameters("models:/a/1", "d1"),
        imputations=SimpleNamespace(digest="d2", to_json=lambda: "[]"),
    )  # fmt: skip
    added = {"keyfold.tuned": '{"params.C":2}', "keyfold.start": "models:/a/1, d1", "keyfold.bridge": "d2"}
    assert log.tags == FIXED | added
    assert [(trial.place, trial.metrics) for trial in log.trials] == [(1, {"roc_auc": 0.9}), (0, {"roc_auc": 0.8})]


def test_the_files_of_a_run_can_be_read_back(recorded, model):
    files = recorded().files
    assert {*files} == {"spec.json", "conf.yaml", "environment.json", "gates.json"}
    assert files["spec.json"] == model.spec.to_json() and "name: shop" in files["conf.yaml"]
    assert json.loads(files["gates.json"]) == [{"name": "shares", "holds": True, "seen": "fine", "offending": [], "advice": ""}]
    assert "keyfold" in json.loads(files["environment.json"])


def test_the_description_names_what_is_predicted_for_which_key(recorded):
    assert recorded().description.startswith(
        "Use case `shop`: probability that `y` is True, one prediction per `id` and `day`.\n"
    )
