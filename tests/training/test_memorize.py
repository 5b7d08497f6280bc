"""Useful overfitting: the floor of the loss, and options that contradict it."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from keyfold.conf.use_case import load_conf
from keyfold.errors import ConfError, DataError
from keyfold.features.kind import FeatureOutput
from keyfold.features.matrix import Layout
from keyfold.models.heads import Head, pack_bits
from keyfold.training.memorize import MemorizedLoss, check_memorized, check_overfit, loss_floor
from keyfold.training.page_sections import memorize_section
from keyfold.training.streams import Cells, StreamBatch
from places import ROOT


def test_the_floor_is_the_loss_of_the_best_answer_for_each_combination():
    rng = np.random.default_rng(0)
    state, weight = rng.integers(0, 5, 400), rng.choice([0.0, 1.0, 2.5], 400).astype(np.float32)
    label = (rng.random(400) < 0.1 + 0.2 * state).astype(np.float32)
    label[state == 3] = 1  # one answer is right for all of them

    def batches_of(y):
        for part in np.array_split(np.arange(400), 3):
            pixels = np.stack([state[part] % 2, state[part] // 2], 1).astype(np.float32)
            rows = Cells.empty(
                len(part), Layout.of({"state": FeatureOutput("int", 5), "pixels": FeatureOutput("float", length=2)})
            )
            rows.indices[:, 0], rows.numbers[:], rows.label[:], rows.weight[:] = state[part], pixels, y[part], weight[part]
            yield StreamBatch(rows, (len(part), 0))

    weighed = weight * np.where(label > 0, 3, 1)
    share = np.array([np.average(label[state == s], weights=weighed[state == s]) for s in range(5)])
    floor = loss_floor(batches_of(label), Head(), (1.0, 3.0))
    assert floor[0] == pytest.approx(log_loss(label, share[state], sample_weight=weighed))
    assert floor[1] == pytest.approx(log_loss(label, np.full(400, np.average(label, weights=weighed)), sample_weight=weighed))
    y = rng.normal(size=400).astype(np.float32) + state
    means = np.array([np.average(y[state == s], weights=weight[state == s]) for s in range(5)])
    floor = loss_floor(batches_of(y.astype(np.float32)), Head("number"))
    assert floor[0] == pytest.approx(np.average((y - means[state]) ** 2, weights=weight), rel=1e-6)
    assert MemorizedLoss(floor[0] + 0.009 * (floor[1] - floor[0]), *floor).is_near and not MemorizedLoss(floor[1], *floor).is_near
    assert MemorizedLoss(0.005, 0.0, 0.0).is_near and not MemorizedLoss(0.02, 0.0, 0.0).is_near, "all labels are one"
    assert MemorizedLoss(0.504, 0.5, 0.5).is_near and not MemorizedLoss(0.51, 0.5, 0.5).is_near, "features tell nothing"


def test_the_floors_of_classes_and_of_several_labels():
    rng = np.random.default_rng(1)
    state, weight = rng.integers(0, 3, 300), rng.choice([0.0, 1.0, 2.5], 300).astype(np.float32)
    code = (state + rng.integers(0, 2, 300)) % 4
    has = rng.random((300, 40)) < 0.2 + 0.1 * state[:, None]
    layout = Layout.of({"state": FeatureOutput("int", 3)})

    def floor_of(head, into, *weights):
        rows = Cells.empty(300, layout, head.label_cells)
        rows.indices[:, 0], rows.weight[:] = state, weight
        into(rows)
        return loss_floor([StreamBatch(rows.part(a, a + 100), (100, 0)) for a in (0, 100, 200)], head, *weights)

    def means(values, weight):
        return np.stack([np.average(values[state == s], axis=0, weights=weight[state == s]) for s in range(3)])[state]

    factors = (1.0, 2.0, 3.0, 0.5)
    weighed = weight * np.take(factors, code)
    floor = floor_of(Head("classes", 4), lambda rows: np.copyto(rows.label, code), factors)
    assert floor[0] == pytest.approx(log_loss(code, means(np.eye(4)[code], weighed), sample_weight=weighed), rel=1e-6)
    everywhere = np.tile(np.average(np.eye(4)[code], axis=0, weights=weighed), (300, 1))
    assert floor[1] == pytest.approx(log_loss(code, everywhere, sample_weight=weighed), rel=1e-6)
    floor = floor_of(Head("labels", 40), lambda rows: np.copyto(rows.label_bits, pack_bits(has)))
    shares = means(has, weight)
    each = [log_loss(has[:, i], shares[:, i], sample_weight=weight) for i in range(40)]
    assert floor[0] == pytest.approx(np.mean(each), rel=1e-6)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (r"which dropout would prevent.*\(got 0.1\)", "train.model.torch.network.wide_deep.dropout=0.1"),
        ("which weight_decay would prevent", "train.model.torch.loop.weight_decay=0.1"),
        ("which patience would prevent", "train.model.torch.loop.patience=2"),
        ("none can be held out: set split.share to", "split.share={train: 0.9, validation: 0, test: 0.1}"),
        ("train.overfit holds out no row on which release.promote_if", "release.promote_if={r2: {at_least: 0.5}}"),
        ("train.overfit holds out no row on which trials", "train.tune={search: grid, over: {loop.epochs: [1, 2]}}"),
        ("train.overfit is for networks", "train.model={sklearn: {estimator: sklearn.linear_model.Ridge}}"),
    ],
)
def test_options_that_contradict_overfitting_are_refused(words, option):
    with pytest.raises(ConfError, match=words):
        check_overfit(load_conf(ROOT / "conf/hft.yaml", [option]))


def test_a_loss_far_from_the_floor_is_an_error():
    check_memorized(MemorizedLoss(0.5, 0.5, 1.0))
    with pytest.raises(DataError, match=r"the loss is 0.6, its floor 0.5, and a constant reaches 1; more epochs"):
        check_memorized(MemorizedLoss(0.6, 0.5, 1.0))
    assert "Generalisation was not tested" in memorize_section(MemorizedLoss(0.6, 0.5, 1.0)).html
