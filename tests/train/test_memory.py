"""Memory: flat when the set does not fit, and given back after training."""

import tracemalloc

import numpy as np
import torch

from estampa.train import feed as feeding
from estampa.train import memory
from estampa.train.feed import ArraySet, Feed


class Endless(ArraySet):
    """A set of 64 MiB that is made block by block and never held."""

    @property
    def n(self):
        return 1 << 14

    def blocks(self, rows=None, size=None):  # noqa: ARG002 - as a Dataset has it
        for start in range(0, len(rows), 64):
            part = rows[start : start + 64]
            yield part, np.broadcast_to((part % 251).astype(np.uint8)[:, None, None, None], (len(part), 64, 64, 1))


def test_blocks_keep_memory_flat(monkeypatch):
    monkeypatch.setattr(feeding, "BLOCK_BYTES", 256 << 10)
    monkeypatch.setattr(feeding, "MIXED_BYTES", 4 << 20)
    data = Endless(np.zeros((1, 64, 64, 1), np.uint8), np.zeros(1 << 14, np.int64))
    feed = Feed(data, np.arange(data.n), data.labels, drawing=None, device="cpu", in_memory=False)
    seen = 0
    tracemalloc.start()
    for piece in feed.epoch(torch.Generator().manual_seed(0)):
        assert piece.images.numel() <= 4 << 20
        assert torch.equal(piece.images[:, 0, 0, 0].long(), piece.places % 251)
        seen += len(piece.order)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == data.n
    assert peak < 12 << 20  # two pieces at most are alive, of a set of 64 MiB


def test_a_set_that_does_not_fit_is_read_in_blocks(monkeypatch):
    data = ArraySet(np.zeros((10, 4, 4, 1), np.uint8), np.zeros(10, np.int64))
    monkeypatch.setattr("estampa.machine.memory_total", lambda: 401)
    assert Feed(data, np.arange(10), data.labels, drawing=None, device="cpu").in_memory
    monkeypatch.setattr("estampa.machine.memory_total", lambda: 399)
    assert not Feed(data, np.arange(10), data.labels, drawing=None, device="cpu").in_memory


def test_keeping_memory_may_be_nested_and_survives_errors():
    with memory.kept(), memory.kept():
        assert torch.ones(1 << 20).sum() == 1 << 20
    try:
        with memory.kept():
            raise ValueError
    except ValueError:
        pass
    assert torch.ones(1 << 20).sum() == 1 << 20


def test_without_glibc_nothing_is_done(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with memory.kept():
        pass
