"""Optimisers against their formulas and against torch; the flat vector; schedules."""

import math

import pytest
import torch

from estampa.models import convnet
from estampa.recipe import TrainRecipe
from estampa.train.optim import Flat, Optimizer, orthogonal, rate_at


def body(seed=0):
    torch.manual_seed(seed)
    return convnet.build(convnet.Options(filters=(4, 6), pool_after=(1,), dense=(5,)), (10, 10, 2), 3)


def slopes(net, seed):
    torch.manual_seed(seed)
    net(torch.randn(7, 2, 10, 10)).square().mean().backward()


def train(optimizer, steps=5, **more):
    net = body()
    flat = Flat(net, half=False, channels_last=True)
    mover = Optimizer(flat, TrainRecipe(optimizer=optimizer, **more))
    for step in range(steps):
        flat.clear()
        slopes(net, step)
        mover.step(0.01)
    flat.release()
    return net


def by_hand(rule, steps=5):
    """Each parameter moved by `rule(state, parameter, gradient, step)`."""
    net = body()
    states = [{} for _ in net.parameters()]
    for step in range(steps):
        net.zero_grad()
        slopes(net, step)
        with torch.no_grad():
            for state, p in zip(states, net.parameters(), strict=True):
                rule(state, p, p.grad, step + 1)
    return net


def same(one, two):
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=2e-5)


def keras_adam(state, p, g, t, b2=0.999):
    m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    v = state["v"] = b2 * state.get("v", 0) + (1 - b2) * g * g
    p -= 0.01 * math.sqrt(1 - b2**t) / (1 - 0.9**t) * m / (v.sqrt() + 1e-7)


def keras_rmsprop(state, p, g, t):
    v = state["v"] = 0.9 * state.get("v", 0) + 0.1 * g * g
    p -= 0.01 * g / (v + 1e-7).sqrt()


def test_adam_is_keras_adam():
    same(train("adam"), by_hand(keras_adam))


def test_rmsprop_is_keras_rmsprop():
    same(train("rmsprop"), by_hand(keras_rmsprop))


def test_adamw_shrinks_kernels_only():
    def rule(state, p, g, t):
        if p.ndim > 1:
            p *= 1 - 0.01 * 0.1
        keras_adam(state, p, g, t, 0.99)

    same(train("adamw", weight_decay=0.1), by_hand(rule))


def test_sgd_is_torchs_nesterov():
    net = body()
    reference = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.8, nesterov=True)
    for step in range(5):
        net.zero_grad()
        slopes(net, step)
        reference.step()
    same(train("sgd", momentum=0.8), net)


def test_muon_moves_convolutions_orthogonally_and_the_rest_by_adamw():
    net, before = train("muon", steps=1), body()
    moved = {
        name: a.detach() - b.detach() for (name, a), b in zip(net.named_parameters(), before.parameters(), strict=True)
    }
    kernels = [v for v in moved.values() if v.ndim == 4]
    assert len(kernels) == 2
    for kernel in kernels:
        singular = torch.linalg.svdvals(kernel.reshape(len(kernel), -1)) / 0.01
        assert singular.min() > 0.4
        assert singular.max() < 1.4
    rest = torch.cat([v.flatten() for v in moved.values() if v.ndim < 4]).abs()
    torch.testing.assert_close(rest[rest > 0], torch.full_like(rest[rest > 0], 0.003), atol=1e-4, rtol=0.05)


def test_muon_takes_the_hidden_layers_of_a_perceptron():
    net = convnet.build(convnet.Options(filters=(), pool_after=(), dense=(5, 4)), (4, 4, 1), 3)
    flat = Flat(net, half=False, channels_last=True)
    mover = Optimizer(flat, TrainRecipe(optimizer="muon"))
    assert [tuple(p.shape) for p, _ in mover._matrices] == [(5, 16), (4, 5)]


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16)])
def test_newton_schulz_brings_singular_values_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape), steps=8))
    assert values.max() < 1.3
    assert values.median() > 0.6


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_flat_vector_holds_the_net(half, channels_last):
    net, before = body(), body()
    flat = Flat(net, half=half, channels_last=channels_last)
    assert flat.vector.numel() == sum(p.numel() for p in before.parameters())
    x = torch.rand(2, 2, 10, 10)
    got = net(x.bfloat16() if half else x).float()
    torch.testing.assert_close(got, before(x), atol=3e-2 if half else 1e-6, rtol=3e-2 if half else 1e-6)
    conv = next(m for m in net.modules() if isinstance(m, torch.nn.Conv2d))
    assert conv.weight.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert conv.weight.dtype == (torch.bfloat16 if half else torch.float32)
    flat.release()
    for a, b in zip(net.parameters(), before.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.is_contiguous()
        assert a.grad is None


def test_one_cycle_climbs_straight_and_falls_to_nearly_nothing():
    recipe = TrainRecipe(rate=2.0, schedule="onecycle", warmup=0.25)
    assert rate_at(recipe, 0.125) == pytest.approx(1.0)
    assert rate_at(recipe, 0.25) == pytest.approx(2.0)
    assert rate_at(recipe, 0.625) == pytest.approx(1.0)
    assert rate_at(recipe, 1.0) == pytest.approx(0.02)
    assert rate_at(TrainRecipe(rate=2.0, schedule="onecycle", warmup=0), 0.0) == pytest.approx(2.0)
    assert rate_at(TrainRecipe(rate=2.0), 0.9) == 2.0
