"""The probe: skipped where it does not pay, quick where it does, and recorded."""

import time

import numpy as np
import pytest
import torch
from made import bars, halves, recipe

from estampa.train import fit, probe
from estampa.train.feed import Feed
from estampa.train.fit import fit_net


def test_a_short_training_is_not_probed():
    fitted = fit_net(
        bars(),
        recipe(train__threads="auto", train__dtype="auto", train__memory_format="auto"),
        train_rows=np.arange(99),
    )
    assert any("too short a training" in line for line in fitted.decisions)
    assert isinstance(fitted.recipe.train.threads, int)
    assert fitted.recipe.train.dtype == "float32"


def test_a_long_one_is_probed_within_its_budget(monkeypatch):
    monkeypatch.setattr(probe, "WORTH_SECONDS", 0.0)
    made = recipe(train__threads="auto", train__dtype="auto", train__memory_format="auto", train__epochs=1)
    began = time.perf_counter()
    fitted = fit_net(bars(), made, train_rows=np.arange(99))
    assert time.perf_counter() - began < 4
    assert any("fastest of" in line and "ms a step of 16" in line for line in fitted.decisions)
    assert fitted.recipe.train.dtype in ("float32", "bf16")
    assert fitted.recipe.train.memory_format in ("channels_first", "channels_last")


def test_the_probe_leaves_no_trace_in_the_weights(monkeypatch):
    data, told = bars(), recipe(train__dtype="auto")
    plain = fit_net(data, told, train_rows=halves(data)[0])
    monkeypatch.setattr(probe, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(probe, "GAIN", 1e9)
    probed = fit_net(data, told, train_rows=halves(data)[0])
    for a, b in zip(plain.network.parameters(), probed.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_is_told_is_not_probed():
    fitted = fit_net(bars(), recipe(train__epochs=1, train__dtype="bf16"), train_rows=np.arange(99))
    assert any("1 thread, bf16, channels last: as told" in line for line in fitted.decisions)


def test_devices():
    assert probe.device_of("cpu") == "cpu"
    assert probe.device_of("auto") in ("cpu", "cuda", "mps")
    before = torch.get_num_threads()
    with probe.threads_set(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_a_device_that_is_not_there_is_an_error():
    from estampa.errors import InputError

    with pytest.raises(InputError, match=r"train.device.*'cuda'"):
        fit_net(bars(), recipe(train__device="cuda"), train_rows=np.arange(99))


def test_slow_steps_are_compared_warm(monkeypatch):
    """The first step of a setting prepares what the later ones find ready; of the first setting most of all."""
    clock, costs = {"now": 0.0}, iter([9.0, 2.0])
    monkeypatch.setattr(probe.time, "perf_counter", lambda: clock["now"])
    monkeypatch.setattr(probe.Optimizer, "step", lambda *_: clock.update(now=clock["now"] + next(costs)))
    data, told = bars(), recipe(data__task="classification")
    network = fit.build_network(told, data, fit.preparation_of(told).fit([data.images]))
    feed = Feed(data, np.arange(data.n), data.labels, drawing=None, device="cpu")
    setting = probe.Setting(1, "float32", "channels_last")
    assert probe._step_seconds(setting, network, feed, torch.nn.functional.cross_entropy, told) == 2.0
