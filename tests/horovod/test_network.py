"""A network from the conf to the predictions: like any other model."""

import json
import re
import shutil

import pytest
from deltalake import DeltaTable

from keyfold.conf.use_case import load_conf
from keyfold.dataset.fit_features import fit_features
from keyfold.engine.columns import col, count_rows
from keyfold.engine.home import home as state
from keyfold.errors import ConfError, DataError
from keyfold.ingestion.job import ingest
from keyfold.models.model import Model
from keyfold.runtime.run import Run
from keyfold.scoring import job
from keyfold.tracking import registry
from keyfold.training import network
from keyfold.training.context import TrainingContext
from keyfold.training.job import train
from keyfold.training.promotion import promote_or_keep
from places import ROOT

SMALL = [
    "data.source.rows=6000", "report.without=[]", "features.user.hashed.num_buckets=512", "release={}",
    "train.model={torch: {network: {wide_deep: {embedding: 4, hidden: [16]}}, loop: "
    "{epochs: 3, batch_size: 240, learning_rate: 0.01, patience: 3}}}", "train.rebalance={weights: balanced, correct: false}",
]  # fmt: skip


def made(engine, *more):
    return Run(load_conf(ROOT / "conf/ads.yaml", [*SMALL, *more]), engine)


def labelled(run):
    return run.rows.frame().where(~col("clicked").is_null()).to_arrow()


def unlabelled(run):
    return run.rows.frame().where(col("clicked").is_null()).to_arrow().sort_by("impression_id")


def test_a_network_is_trained_registered_and_answers_like_any_model(embedded, home, tmp_path, capsys):
    run = made(embedded)
    ingest(run)
    version = promote_or_keep(run, train(run))
    said = capsys.readouterr().err
    assert ("epoch 3 of 3: loss " in said and not (state() / "checkpoints").exists()) or not list(
        (state() / "checkpoints").iterdir()
    )
    model = Model.load(registry.fetch_model(version, tmp_path / "model"))
    rows = labelled(run)
    found = model.predict(rows)["probability"].to_numpy()
    label = rows["clicked"].to_numpy()
    assert found[label].mean() > found[~label].mean() + 0.03
    job.score(run, version)
    answered = run.predictions.frame().to_arrow().sort_by("impression_id")
    alone = model.predict(unlabelled(run))
    assert len(answered) and set(answered["status"].to_pylist()) == {"scored"}
    assert answered["probability"].to_numpy().tobytes() == alone["probability"].to_numpy().tobytes(), "the batches were others"
    import mlflow

    served = mlflow.pyfunc.load_model(f"models:/ads/{version.version}")
    frame = unlabelled(run).slice(0, 5).to_pandas()
    assert served.predict(frame[served.metadata.get_input_schema().input_names()]).probability.notna().all()
    needed = mlflow.artifacts.load_text(f"models:/ads/{version.version}/requirements.txt").split()
    assert {"torch", "safetensors"} < {line.partition("==")[0] for line in needed}
    assert "torch" in json.loads(registry.read_text(version, "environment.json"))
    logged = mlflow.get_run(version.mlflow_run_id).data
    assert logged.params["network"] == "wide_deep" and logged.params["batch_size"] == "240" and "test_roc_auc" in logged.metrics
    losses = mlflow.MlflowClient().get_metric_history(version.mlflow_run_id, "validation_loss")
    assert [f"{m.value:.4f}" for m in losses] == re.findall(r"validation ([0-9.]+)", said) and losses[0].step * 3 == losses[
        2
    ].step

    # What was trained once is found again; another network takes the same table of features.
    again = made(embedded)
    assert train(again).version == version.version
    table = run.table("ads.examples")
    before = table.version()
    assert {f"train-{i:02d}" for i in range(12)} < set(next(table.commits()).metadata["keyfold_stream"])
    counts = {"train": 0, "validation": 0}
    for row in table.frame().group(["keyfold_stream"], n=count_rows()).rows():
        counts[row["keyfold_stream"].rpartition("-")[0]] += row["n"]
    assert counts["train"] == logged_rows(logged) and counts["validation"] > 0
    other = made(embedded, "train.model.torch.loop.epochs=1")
    assert train(other).version != version.version and table.version() == before

    # Rows that were taken away behind its back are missed.
    DeltaTable(str(table.path)).delete("keyfold_stream = 'train-03'")
    third = made(embedded, "train.model.torch.loop.epochs=2")
    train(third)  # the commit is not the last one any more: it is made anew
    assert table.version().version > before.version + 1


def logged_rows(logged):
    return int(logged.params["rows"])


def parameters(engine, folder, *more):
    """The parameters of a network that one rank trained on an engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYFOLD_HOME", str(folder))
        run = made(engine, *more)
        ingest(run)
        spec, found = fit_features(run)
        with run.job("train") as job:
            job.run_id = "one"
            trained, history = network.train_network(TrainingContext(run, job, spec, found), run.conf.train.model.torch)
    return {name: tensor.numpy().tobytes() for name, tensor in trained.module.state_dict().items()}, history


def test_engines_train_the_same_network(spark_engine, embedded, tmp_path, made_state):
    small = ["data.source.rows=2000", "train.model.torch.loop.epochs=2"]
    ours, theirs = (parameters(engine, made_state(tmp_path / engine.name), *small) for engine in (spark_engine, embedded))
    assert ours == theirs and len(ours[1]) == 2


def test_a_killed_training_goes_on(embedded, home, monkeypatch, capsys):
    from keyfold.training import loop

    run = made(embedded)
    ingest(run)
    spec, found = fit_features(run)
    with run.job("train") as job:
        context, conf = TrainingContext(run, job, spec, found), run.conf.train.model.torch
        job.run_id = "whole"
        whole, history = network.train_network(context, conf)
        job.run_id = "killed"
        end, calls = loop.Training._end_epoch, []

        def dies(self, *given):
            end(self, *given)
            calls.append(given[0].wait())
            raise KeyboardInterrupt

        monkeypatch.setattr(loop.Training, "_end_epoch", dies)
        with pytest.raises(KeyboardInterrupt):
            network.train_network(context, conf)
        monkeypatch.setattr(loop.Training, "_end_epoch", end)
        capsys.readouterr()
        again, rest = network.train_network(context, conf)
    said = capsys.readouterr().err
    assert "resumes from " in said and "epoch 1 of 3" not in said and "epoch 2 of 3" in said
    assert rest == history and [told.epoch for told in rest] == [0, 1, 2]
    for (name, tensor), (_, other) in zip(whole.module.state_dict().items(), again.module.state_dict().items(), strict=True):
        assert tensor.numpy().tobytes() == other.numpy().tobytes(), name


@pytest.mark.slow
def test_a_networks_parameters_are_tried_and_a_killed_trial_goes_on(embedded, home, monkeypatch, capsys):
    from keyfold.training import loop

    tune = "train.tune={search: grid, over: {loop.learning_rate: [0.01, 0.000001, 0.03]}, metric: roc_auc}"
    run, calls, end = made(embedded, tune), [], loop.Training._end_epoch
    ingest(run)

    def dies(self, *given):
        end(self, *given)
        calls.append(self.conf.learning_rate)
        if calls == [0.01, 0.01, 0.01, 0.03, 0.03]:  # of the second trial none comes here: it was ended in its first epoch
            given[0].wait()
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.Training, "_end_epoch", dies)
    with pytest.raises(KeyboardInterrupt):
        train(run)
    calls.append("again")
    capsys.readouterr()
    version = train(made(embedded, tune))
    said = capsys.readouterr().err
    assert "2 of 3 trials were done before" in said and "resumes from " in said
    trials = [line.split(":")[1].split()[0] for line in said.splitlines() if " of 3: " in line and "trial " in line]
    best = registry.client().get_run(version.mlflow_run_id).data.params["learning_rate"]
    assert calls[6:] == [0.03] + [float(best)] * 3 and trials == ["roc_auc"]
    assert json.loads(version.tags["keyfold.tuned"]) == {"loop.learning_rate": float(best)} and best != "1e-06"
    below = registry.client().search_runs(
        [registry.client().get_run(version.mlflow_run_id).info.experiment_id],
        f"tags.mlflow.parentRunId = '{version.mlflow_run_id}'",
    )
    states = {r.data.params["loop.learning_rate"]: r.data.tags["keyfold.state"] for r in below}
    assert states == {"0.01": "COMPLETE", "1e-06": "PRUNED", "0.03": "COMPLETE"}
    assert not list((state() / "checkpoints").iterdir())


def test_faults_are_sentences(embedded, home):
    with pytest.raises(ConfError, match=r"report.without trains the model several times"):
        train(made(embedded, "report.without=[[ad]]"))
    with pytest.raises(ConfError, match=r"batch_size must be a multiple of 12.*\(got 100\)"):
        train(made(embedded, "train.model.torch.loop.batch_size=100"))
    with pytest.raises(ConfError, match=r"train.ranks must be one of 1, 2, 3, 4, 6, 12, so that .*\(got 5\)"):
        train(made(embedded, "train.ranks=5"))
    with pytest.raises(ConfError, match=r"accumulate must divide the 12 streams of a process \(got 5\)"):
        train(made(embedded, "train.model.torch.loop.accumulate=5"))
    run = made(embedded)
    ingest(run)
    with pytest.raises(
        ConfError, match=r"parameters and batches of 240 rows .* would take [\d,]+ GiB, and this machine has \d+; lower"
    ):
        train(made(embedded, "train.model.torch.network.wide_deep.embedding=100000000"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "memory_limit", lambda: 2**20)  # a container's limit
        with pytest.raises(ConfError, match="and this machine has 0; lower"):
            train(run)
    version = train(run)
    folder = registry.fetch_model(version, home / "model")
    (folder / "network.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"is damaged or incomplete"):
        Model.load(folder)
    shutil.rmtree(folder)
    assert json.loads(registry.read_text(version, "spec.json"))["contract"] == 1
