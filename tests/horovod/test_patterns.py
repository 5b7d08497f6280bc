"""Patterns of training, each by its conf: useful overfitting, one batch, transfer learning, and embeddings as a table."""

import re
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import roc_auc_score

from keyfold.conf.use_case import load_conf
from keyfold.errors import ConfError, DataError
from keyfold.features.kind import FeatureOutput
from keyfold.features.matrix import Layout
from keyfold.features.spec import Spec
from keyfold.ingestion.job import ingest
from keyfold.jobs.embeddings import embedding_vectors, write_embeddings
from keyfold.models.torch import STREAMS, Network, Torch
from keyfold.runtime.run import Run
from keyfold.tracking import registry
from keyfold.training.checkpoints import Checkpoints
from keyfold.training.collectives import SingleProcess
from keyfold.training.job import train
from keyfold.training.loop import Training, TrainingData
from keyfold.training.one_batch import memorize_one_batch
from keyfold.training.promotion import promote_or_keep
from keyfold.training.streams import StreamPlan, row_groups
from places import ROOT


def made(engine, conf, *more):
    return Run(load_conf(ROOT / f"conf/{conf}.yaml", more), engine)


# --- useful overfitting ---


def test_a_whole_domain_is_memorized_or_an_error(embedded, home, capsys):
    small = ["data.source.rows=1900", "train.model.torch.loop.epochs=40", "train.model.torch.loop.learning_rate=0.01"]
    run = made(embedded, "hft", *small)
    ingest(run)
    version = train(run)
    said = re.search(r"loss (\S+) over all rows; the floor is 0, a constant reaches (\S+)", capsys.readouterr().err)
    assert float(said[1]) < 0.01 * float(said[2])
    assert "Generalisation was not tested" in run.write_report().read_text()
    assert promote_or_keep(run, version) == version  # nothing was measured that a bar could be set for
    with pytest.raises(DataError, match=r"train.overfit: the loss is \S+, its floor 0, .*more epochs"):
        train(made(embedded, "hft", *small, "train.model.torch.loop.epochs=1", "train.model.torch.loop.learning_rate=0.0001"))
    assert len(registry._versions("hft")) == 1


@pytest.mark.slow
def test_one_batch_is_memorized_or_an_error(embedded, home, capsys):
    small, dropout = "data.source.rows=1900", "train.model.torch.network.wide_deep.dropout=0.5"
    run = made(embedded, "hft", small, "train.overfit=false", dropout, "train.model.torch.loop.clip=0.00001")
    ingest(run)
    memorize_one_batch(run)  # without what would hold it back
    said = capsys.readouterr().err
    assert re.search(r"one batch of (1[89]|2[0-4])\d rows: loss \S+ after 1 step, \S+ after \d+; the floor is 0", said)
    with pytest.raises(DataError, match=r"the network cannot memorize one batch"):
        memorize_one_batch(made(embedded, "hft", small, "train.model.torch.loop.learning_rate=1.0e-9"))
    memorize_one_batch(
        made(
            embedded,
            "hft",
            small,
            "train.overfit=false",
            "train.model={sklearn: {estimator: sklearn.tree.DecisionTreeRegressor}}",
        )
    )
    assert re.search(r"metrics on the 1,900 rows that it was trained on: .*r2 1\b", capsys.readouterr().err)
    assert not registry._versions("hft")


# --- transfer learning ---


def pictures(folder, n, size=24):
    """Lying or upright strokes, red or blue: four classes, a folder each."""
    rng = np.random.default_rng(1)
    for colour, name in ((0, "red"), (2, "blue")):
        for upright in (True, False):
            at = folder / f"{name}_{'upright' if upright else 'lying'}"
            at.mkdir(parents=True)
            for i in range(n):
                image = rng.integers(0, 90, (size, size, 3), np.uint8)
                place = rng.integers(2, size - 2)
                image[(slice(None), place) if upright else (place, slice(None))] += np.eye(3, dtype=np.uint8)[colour] * 160
                PIL.Image.fromarray(image).save(at / f"{i}.png")
    (folder / "labels.csv").write_text("not,a,picture\n")


@pytest.mark.slow
def test_a_network_begins_as_a_registered_one(embedded, home, tmp_path, capsys):
    pictures(tmp_path / "p", 30)
    loop = "train.model.torch.loop={epochs: 2, batch_size: 24, learning_rate: 0.01}"
    base = [f"data.source={tmp_path}/p/red*/*.png", "label.positive=red_lying", "release={}", loop]
    fine = [
        f"data.source={tmp_path}/p/blue*/*.png",
        "label.positive=blue_lying",
        "split.share={train: 0.5, validation: 0.2, test: 0.3}",
    ]
    stage = "train.model.torch.loop={batch_size: 24, stages: [{trains: output, epochs: 1, learning_rate: 0.1}]}"
    run = made(embedded, "flowers", *fine, stage)
    ingest(run)
    with pytest.raises(DataError, match=r"there is no model `models:/flowers_base@champion`: no version"):
        train(run)
    first = made(embedded, "flowers_base", *base)
    ingest(first)
    taken = promote_or_keep(first, train(first))
    capsys.readouterr()
    version = train(made(embedded, "flowers", *fine, stage))
    assert (
        "starts from 8 tensors of flowers_base version 1; newly initialised: output.weight, output.bias"
        in capsys.readouterr().err
    )

    def tensors(version, name):
        folder = registry.fetch_model(version, tmp_path / name)
        return Network.load(folder, Spec.from_json((folder / "spec.json").read_text())).module.state_dict()

    before, after = tensors(taken, "before"), tensors(version, "after")
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"output.weight", "output.bias"}
    assert train(made(embedded, "flowers", *fine, stage)) == version
    other = made(embedded, "flowers_base", *base, "train.seed=1")
    promote_or_keep(other, train(other))
    assert train(made(embedded, "flowers", *fine, stage)) != version, "the champion is another one now"
    assert train(made(embedded, "flowers", *fine, stage, "train.model.torch.start.model=flowers_base/1")) == version
    rows = run.rows.frame().to_arrow().sort_by("path")
    assert set(rows["folder"].to_pylist()) == {"blue_lying", "blue_upright"} and rows.num_rows == 60
    name = rows["path"][7].as_py()
    assert rows["image"][7].as_py() == (tmp_path / "p" / name).read_bytes()


def test_what_was_learnt_of_other_flowers_helps_with_few_photographs(tmp_path):
    import os

    there = os.environ.get("KEYFOLD_TEST_DATA")
    if not there:
        pytest.skip("KEYFOLD_TEST_DATA is not set")
    side, rng = 32, np.random.default_rng(0)
    layout = Layout.of({"photo": FeatureOutput("float", length=side * side * 3, shape=(side, side, 3))})
    network = {"joined": {"image": {"feature": "photo", "channels": [16, 32, 64]}, "hidden": [32]}}

    def photographs(*names):
        files = [f for name in names for f in sorted(Path(there, "images_flowers", name).glob("*.jpg"))]
        images = (PIL.Image.open(f).resize((side, side), PIL.Image.Resampling.BILINEAR) for f in files)
        pixels = np.stack([np.asarray(image, np.float32).reshape(-1) / np.float32(255) for image in images])
        return pixels, np.array([f.parent.name == names[0] for f in files])

    def learnt(x, y, seed, each, first=None, **loop):
        at, streams = tmp_path / f"{rng.integers(10**9)}", []
        at.mkdir()
        for stream in range(STREAMS):
            table = pa.table({"photo": pa.array(list(x[stream::STREAMS])), "keyfold_label": y[stream::STREAMS]})
            order = pa.array(rng.integers(-(2**62), 2**62, table.num_rows))
            pq.write_table(table.append_column("keyfold_order", order), at / f"{stream}.parquet")
            streams.append(row_groups([str(at / f"{stream}.parquet")]))
        conf = Torch.model_validate({"network": network, "loop": loop})
        module, plan = conf.build(layout, seed), StreamPlan(streams, layout, seed, each)
        module.load_state_dict(first or {}, strict=False)
        none = plan._replace(streams=[[] for _ in range(STREAMS)])
        Training(module, conf.loop, TrainingData(plan, none), SingleProcess()).run(
            Checkpoints(at / "checkpoints"), lambda _: None
        )
        return module.eval()

    base = learnt(*photographs("rose", "sunflower"), 0, 4, epochs=20, learning_rate=0.002, warm_up=0.1, decay="cosine")
    first = {name: tensor for name, tensor in base.state_dict().items() if not name.startswith("output")}
    x, y = photographs("tulip", "dandelion")
    stages = [("output", 5, 0.01), ("top", 10, 0.003), ("all", 10, 0.0005)]
    stages = [dict(zip(("trains", "epochs", "learning_rate"), stage, strict=True)) for stage in stages]
    found = {"from others": [], "from nothing": []}
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(y))
        few, rest = order[:24], order[24:]
        modules = {
            "from others": learnt(x[few], y[few], seed, 2, first, stages=stages),
            "from nothing": learnt(x[few], y[few], seed, 2, epochs=25, learning_rate=0.002),
        }
        for name, module in modules.items():
            with torch.no_grad():
                said = module(torch.zeros(len(rest), 0, dtype=torch.int32), torch.from_numpy(x[rest]))
            found[name].append(roc_auc_score(y[rest], said.numpy()))
    assert np.mean(found["from others"]) > np.mean(found["from nothing"]) + 0.03, found


# --- indices that mean something ---


@pytest.mark.slow
def test_vectors_are_a_table_and_indices_mean_the_same_or_are_refused(embedded, home, tmp_path, capsys):
    small = [
        "data.source.rows=3000", "report={collisions: false}", "release={}", "features.user.hashed.num_buckets=64", "features.keyword.hashed.num_buckets=32",
        "features.ad.hashed.num_buckets=32", "features.group_ad.crossed.num_buckets=16", "train.ranks=1",
        "train.model={torch: {network: {wide_deep: {embedding: 3, hidden: [4]}}, loop: {batch_size: 600}}}",
    ]  # fmt: skip
    run = made(embedded, "ads_network", *small)
    with pytest.raises(DataError, match=r"`ads_network` has no champion"):
        write_embeddings(run)
    ingest(run)
    version = promote_or_keep(run, train(run))
    write_embeddings(run)
    folder = registry.fetch_model(version, tmp_path / "model")
    network = Network.load(folder, Spec.from_json((folder / "spec.json").read_text()))
    table = run.table("ads_network.embeddings").frame().sort(["feature", "bucket"]).to_arrow()
    weight, begins = network.module.vectors.table.weight.detach().numpy(), network.module.vectors.begins
    assert set(table["feature"].to_pylist()) == set(begins)
    for feature, (begin, many) in begins.items():
        some = table.filter(pa.compute.equal(table["feature"], feature))
        assert some["bucket"].to_pylist() == list(range(many))
        assert np.array_equal(np.array(some["vector"].to_pylist(), np.float32), weight[begin : begin + many])
    devices = table.filter(pa.compute.equal(table["feature"], "device"))["value"].to_pylist()
    assert devices[:2] == [None, None] and {"phone", "tablet"} < set(devices[2:])
    assert embedding_vectors(network).num_rows == table.num_rows
    before = run.table("ads_network.embeddings").version()
    write_embeddings(made(embedded, "ads_network", *small))
    assert "the vectors of ads_network version 1 are in" in capsys.readouterr().err
    assert run.table("ads_network.embeddings").version() == before
    with pytest.raises(ConfError, match=r"embeddings need a network"):
        write_embeddings(made(embedded, "ads"))
    other = ["train.register_as=other", "train.model.torch.start={model: ads_network}"]
    train(made(embedded, "ads_network", *small, *other))
    assert "starts from 4 tensors of ads_network version 1" in capsys.readouterr().err
    renamed = tmp_path / "renamed.yaml"
    renamed.write_text((ROOT / "conf/ads_network.yaml").read_text().replace("  keyword: ", "  words: "))
    again = [option.replace("features.keyword", "features.words") for option in small]
    train(Run(load_conf(renamed, [*again, *other]), embedded))  # tables of one size, whose rows are of other features
    assert re.search(
        r"starts from 2 tensors .*; newly initialised: .*vectors.table.weight, .*wide.weight", capsys.readouterr().err
    )
    with pytest.raises(DataError, match=r"feature `ad` is not defined as in ads_network version 1.*other values"):
        train(made(embedded, "ads_network", *small, *other, "features.ad.hashed.num_buckets=31"))
