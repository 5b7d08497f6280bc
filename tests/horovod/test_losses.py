"""Networks for classes, bands and several labels: against scikit-learn, the metrics, and themselves over any number of ranks."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from keyfold.evaluation.metrics import measure_predictions
from keyfold.features.kind import FeatureOutput
from keyfold.features.matrix import Layout
from keyfold.labels import Bands, Classes, Multilabel
from keyfold.models.blocks import one_thread
from keyfold.models.heads import Head, pack_bits
from keyfold.models.torch import STREAMS, Loop, Network, Torch
from keyfold.training.checkpoints import Checkpoints
from keyfold.training.collectives import SingleProcess
from keyfold.training.loop import Training, TrainingData
from keyfold.training.streams import Reader, StreamPlan, row_groups

OUTS = {"x": FeatureOutput("double"), "z": FeatureOutput("double")}
LABELS = {
    "classes": Classes("string", ("a", "b", "c")),
    "bands": Bands("double", (-0.5, 0.5), -9.0, 9.0, (-1.0, 0.0, 1.0)),
    "labels": Multilabel("string", tuple(f"{i:02d}" for i in range(40)), (0.5,) * 40),
}
N = 50 * STREAMS


def learnt(label, features, rng):
    """Labels as `Label.encode` returns them, with noise, and as metrics compare them."""
    if label.kind == "labels":
        has = features @ rng.normal(size=(2, label.width)) + rng.normal(size=(len(features), label.width)) > 1
        return has, has
    number = features[:, 0] - features[:, 1] / 2 + rng.normal(size=len(features))
    return np.searchsorted(label.edges if label.kind == "bands" else (-0.5, 0.5), number), number


def written(folder, fold, features, y, weight, rng):
    """The plan of rows in files."""
    cells = pa.array(pack_bits(y).tolist(), pa.list_(pa.int32())) if y.ndim > 1 else pa.array(y)
    table = pa.table(
        {"x": features[:, 0], "z": features[:, 1], "keyfold_label": cells, "keyfold_weight": weight,
         "keyfold_order": rng.integers(-(2**63), 2**63 - 1, len(features))}
    )  # fmt: skip
    paths = [str(folder / f"{fold}-{stream}.parquet") for stream in range(STREAMS)]
    for stream, path in enumerate(paths):
        pq.write_table(table.take(np.arange(stream, len(features), STREAMS)), path)
    head_cells = pack_bits(y).shape[1] if y.ndim > 1 else 1
    return StreamPlan([row_groups([path]) for path in paths], Layout.of(OUTS), 3, 10, label_cells=head_cells)


@pytest.fixture(params=LABELS)
def case(request, tmp_path):
    """A label, its rows and their training data; the last class of the validation rows is unknown in training."""
    label, rng = LABELS[request.param], np.random.default_rng(0)
    features, weight = rng.normal(size=(N, 2)).astype(np.float32).astype(np.float64), rng.choice([1.0, 2.0], N)
    y, truth = learnt(label, features, rng)
    known = y.copy()
    if label.kind == "classes":
        y[-7:] = -1
    train = written(tmp_path, "train", features, known, weight, rng)
    held_out = written(tmp_path, "validation", features, y, np.ones(N), rng)
    weights = (1.0, 2.0, 0.5) if label.kind == "classes" else ()
    return SimpleNamespace(
        label=label, features=features, y=known, weight=weight, classes=weights, truth=truth if label.kind == "bands" else y,
        data=TrainingData(train, held_out, weights, Head.of(label)),
    )  # fmt: skip


CONF = Torch.model_validate({"network": {"joined": {"hidden": []}}})  # without hidden layers: one linear layer


def regressions(case):
    """Coefficients and intercepts of scikit-learn's regression without a penalty, (k, 2) and (k)."""

    def fit(y):
        classes = dict(enumerate(case.classes)) or None
        return LogisticRegression(C=np.inf, tol=1e-6, max_iter=1000, class_weight=classes).fit(case.features, y, case.weight)

    with one_thread():
        fitted = [fit(column) for column in case.y.T] if case.y.ndim > 1 else [fit(case.y)]
    return np.concatenate([one.coef_ for one in fitted]), np.concatenate([one.intercept_ for one in fitted])


def network_of(case):
    """A network without hidden layers that has scikit-learn's parameters."""
    module = CONF.build(Layout.of(OUTS), 0, case.label.width)
    coefficients, intercepts = regressions(case)
    module.output.weight.data[:] = torch.from_numpy(coefficients)
    module.output.bias.data[:] = torch.from_numpy(intercepts)
    return module


def test_a_linear_network_is_scikit_learns_regression(case):
    module = network_of(case)
    training = Training(module, Loop(), case.data, SingleProcess())
    training._begin_stage()
    for batch in Reader(case.data.train, 0, 1).batches(0):
        training._backward(batch, torch.zeros(4, dtype=torch.float64))
    sums = [parameter.grad.abs().max().item() / N for parameter in module.output.parameters()]
    assert max(sums) < 1e-4 * (3 / case.label.width), "scikit-learn's parameters have the lowest loss"
    network = Network(module, SimpleNamespace(outs=OUTS), CONF)
    numbers = network.numbers({"x": case.features[:, 0], "z": case.features[:, 1]}, case.label)
    measured = measure_predictions(case.label, case.truth, numbers, order=np.arange(N), replicates=0)
    unweighted = Training(module, Loop(), case.data._replace(weights=()), SingleProcess())
    assert unweighted.mean_loss(case.data.validation) == pytest.approx(measured["log_loss"].value, rel=1e-5)


def module_of(case, seed):
    conf = Torch.model_validate({"network": {"wide_deep": {"hidden": [8], "dropout": 0.1}}})
    return conf.build(Layout.of(OUTS), seed, case.label.width)


def trained(case, folder, ranks=None, module=None, accumulate=1):
    loop, told = Loop(epochs=2, learning_rate=0.1, optimizer="sgd", accumulate=accumulate), []
    training = Training(module or module_of(case, 7), loop, case.data, ranks or SingleProcess())
    training.run(Checkpoints(folder), told.append)
    return training, told


def test_ranks_and_parts_of_batches_train_alike(case, together, tmp_path):
    _, told = trained(case, tmp_path / "one")
    modules = [module_of(case, 7 + rank) for rank in range(2)]  # all begin as rank 0 does
    two = together(2, lambda ranks: trained(case, tmp_path / "two", ranks, modules[ranks.rank]))
    assert told[1].validation < told[0].validation
    for _, said in [trained(case, tmp_path / "parts", accumulate=4), *two]:
        assert [each.loss for each in said] == pytest.approx([each.loss for each in told], rel=1e-4)
        assert [each.validation for each in said] == pytest.approx([each.validation for each in told], rel=1e-4)
        assert said[-1].keys == told[-1].keys


def test_a_row_has_the_same_bits_in_every_batch(case):
    conf = Torch.model_validate({"network": {"wide_deep": {"hidden": [8]}}})
    network = Network(conf.build(Layout.of(OUTS), 7, case.label.width), SimpleNamespace(outs=OUTS), conf)

    def numbers(places):
        return network.numbers({"x": case.features[places, 0], "z": case.features[places, 1]}, case.label).view(np.uint64)

    whole, mixed = numbers(np.arange(N)), np.random.default_rng(1).permutation(N)
    assert whole.shape == (N, case.label.width) and len(np.unique(whole)) > N
    assert (numbers(mixed) == whole[mixed]).all()
    assert (np.concatenate([numbers(np.arange(i, i + 1)) for i in range(20)]) == whole[:20]).all()
    assert numbers(np.arange(0)).shape == (0, case.label.width)
