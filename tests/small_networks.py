"""Small networks of each kind, rows whose labels they can learn, and their training."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keyfold.features.kind import FeatureOutput
from keyfold.features.matrix import Layout
from keyfold.models.torch import STREAMS, Torch
from keyfold.training.checkpoints import Checkpoints
from keyfold.training.collectives import SingleProcess
from keyfold.training.loop import Training, TrainingData
from keyfold.training.streams import StreamPlan, row_groups

SIDE = 8
OUTS = {
    "user": FeatureOutput("int", 12), "ad": FeatureOutput("int", 10), "words": FeatureOutput("int", 9, 6), "hours": FeatureOutput("int", 24, 2),
    "photo": FeatureOutput("float", length=SIDE * SIDE * 3, shape=(SIDE, SIDE, 3)), "price": FeatureOutput("double"), "noise": FeatureOutput("double"),
}  # fmt: skip
TASTE = np.random.default_rng(5).normal(size=(12, 10))
NETWORKS = {
    "wide_deep": {"wide_deep": {"embedding": 4, "hidden": [16], "dropout": 0.1}},
    "two_tower": {"two_tower": {"query": ["user", "price"], "candidate": ["ad", "words", "hours", "photo", "noise"], "size": 8}},
    "text": {"joined": {"text": {"feature": "words", "embedding": 8, "lstm": 12}, "hidden": [16]}},
    "image": {"joined": {"image": {"feature": "photo", "channels": [8, 16]}, "hidden": [16], "dropout": 0.1}},
    "both": {"joined": {"text": {"feature": "words", "embedding": 8, "lstm": 8}, "image": {"feature": "photo", "channels": [8]}}},
    "resnet50": {"joined": {"image": {"feature": "photo", "net": "resnet50"}, "hidden": []}},
}


def rows(rng, n):
    """Rows, and by network the label that it is for: who likes what, which word comes first, where a picture is bright."""
    words = np.zeros((n, 6), np.int32)
    for row, length in zip(words, rng.integers(2, 7, n), strict=True):
        row[:length] = rng.integers(3, 9, length)
        row[rng.permutation(length)[:2]] = [1, 2]
    photo = rng.random((n, SIDE, SIDE, 3), np.float32) * 0.3
    corner = rng.random(n) < 0.5
    for i in range(n):  # an upright or a lying stroke; the mean of all pixels does not tell them apart
        at = rng.integers(1, SIDE - 1)
        photo[i, :, at] += 0.7 * corner[i]
        photo[i, at, :] += 0.7 * (not corner[i])
    table = {
        "user": rng.integers(0, 12, n).astype(np.int32), "ad": rng.integers(0, 10, n).astype(np.int32), "price": rng.normal(size=n),
        "noise": rng.normal(size=n), "words": words, "hours": rng.integers(0, 24, (n, 2)).astype(np.int32), "photo": photo.reshape(n, -1),
    }  # fmt: skip
    first = (words == 1).argmax(1) < (words == 2).argmax(1)
    likes = TASTE[table["user"], table["ad"]] > 0
    return table, {
        "wide_deep": likes,
        "two_tower": likes,
        "text": first,
        "image": corner,
        "both": first ^ corner,
        "resnet50": corner,
    }


def training_data(folder):
    """Writes rows for each network, and returns their TrainingData by its name."""
    rng, plans = np.random.default_rng(0), {}
    for name in NETWORKS:
        for fold, n in (("train", 10 if name == "resnet50" else 100), ("validation", 2 if name == "resnet50" else 20)):
            streams = []
            for stream in range(STREAMS):
                table, labels = rows(rng, n)
                path = str(folder / f"{name}-{fold}-{stream}.parquet")
                made = {c: pa.array(v.tolist()) if v.ndim > 1 else v for c, v in table.items()}
                made |= {"keyfold_label": labels[name], "keyfold_order": rng.integers(-(2**63), 2**63 - 1, n)}
                pq.write_table(pa.table(made), path)
                streams.append(row_groups([path]))
            plans[name, fold] = StreamPlan(streams, Layout.of(OUTS), 3, 10)
    return {name: TrainingData(plans[name, "train"], plans[name, "validation"]) for name in NETWORKS}


def conf_of(name, **loop):
    return Torch.model_validate({"network": NETWORKS[name], "loop": loop})


def trained(data, name, folder, ranks=None, module=None, **loop):
    conf = conf_of(name, **loop)
    module = module or conf.build(data[name].train.layout, 7)
    training = Training(module, conf.loop, data[name], ranks or SingleProcess())
    told = []
    training.run(Checkpoints(folder), told.append)
    return training, told
