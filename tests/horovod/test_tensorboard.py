"""Event files of TensorBoard."""

import torch

from keyfold.training import tensorboard
from keyfold.training.loop import EpochMetrics


def test_tensorboard_has_losses_and_parameters(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = tensorboard.tensorboard_writer(tmp_path, torch.nn.Linear(2, 1), (said := []).append)
    for epoch, held in ((0, 0.5), (1, float("nan"))):
        told(EpochMetrics(epoch, 10 * (epoch + 1), 0.7 - epoch / 10, held, (1, 1)))
    events = EventAccumulator(str(tmp_path), {"histograms": 0})
    events.Reload()
    assert [(e.step, round(e.value, 4)) for e in events.Scalars("loss/train")] == [(10, 0.7), (20, 0.6)]
    assert [e.step for e in events.Scalars("loss/validation")] == [10]
    assert [e.step for e in events.Histograms("weight")] == [10, 20] and [t.epoch for t in said] == [0, 1]
