"""Sums over Horovod's processes against plain ones, and what becomes of them where a process ends or is silent."""

from pathlib import Path

import numpy as np
import pytest
import torch

from places import ROOT

SETTINGS = {"HOROVOD_GLOO_TIMEOUT_SECONDS": "60", "PYTHONPATH": f"{ROOT / 'lib'}:{ROOT / 'tests'}:{Path(__file__).parent}"}


def tensors_of(rank):
    """Some of each type, of no and of many elements, in an order that mixes them."""
    random = torch.Generator().manual_seed(rank)
    floats = [torch.rand(n, generator=random) - 0.5 for n in (0, 1, 7, 300_001)]
    doubles = [torch.rand(3, 5, generator=random, dtype=torch.float64)]
    return [*floats, torch.tensor([2**40 + rank, -rank]), *doubles, torch.full((9,), float(rank))]


def summed():
    """What each process runs."""
    import torch

    from keyfold.training.collectives import Horovod

    torch.set_num_threads(1)
    ranks = Horovod()
    added, first, turned = tensors_of(ranks.rank), tensors_of(ranks.rank), torch.arange(6.0).reshape(2, 3).t()
    ranks.add([*added, turned])
    ranks.broadcast(first)
    for _ in range(3):  # names that were there before
        ranks.add(again := tensors_of(ranks.rank))
    assert all(torch.equal(a, b) for a, b in zip(again, added, strict=True))
    return [t.numpy() for t in added], [t.numpy() for t in first], turned.numpy()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_sum_is_that_of_all_ranks_and_has_the_same_bits_on_each(size, monkeypatch):
    import horovod

    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    found = horovod.run(summed, num_proc=size, use_gloo=True)
    given = [tensors_of(rank) for rank in range(size)]
    assert len(found) == size
    for added, first, turned in found:
        assert (turned == size * np.arange(6.0).reshape(2, 3).T).all()
        for i, of_all in enumerate(zip(*given, strict=True)):
            whole = np.sum([t.numpy().astype("float64") for t in of_all], axis=0)
            assert added[i].dtype == of_all[0].numpy().dtype
            assert added[i] == pytest.approx(whole, rel=1e-6, abs=1e-6)
            assert added[i].tobytes() == found[0][0][i].tobytes()
            assert first[i].tobytes() == of_all[0].numpy().tobytes()
