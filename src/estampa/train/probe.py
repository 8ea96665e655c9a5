"""Which threads, number type and memory order this net trains fastest with here, found by a few steps of each.

On small pictures the answer is not to be had from a table: two threads may lose to one, and bfloat16 may be three
times slower or twice as fast as float32, depending on the processor, the layer shapes and what else is running.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from estampa import machine
from estampa.errors import InputError
from estampa.models._network import Network
from estampa.recipe import Recipe
from estampa.train import stages
from estampa.train.feed import Feed
from estampa.train.losses import Loss
from estampa.train.optim import Flat, Optimizer

#: A training predicted to be shorter than this (seconds) is not worth a probe.
WORTH_SECONDS = 15.0
#: What the probe may cost in all, seconds, or as a share of the training if that is more.
BUDGET_SECONDS = 1.5
BUDGET_SHARE = 0.02
#: Another setting must be this many times as fast to be chosen over float32 with all threads.
GAIN = 1.1


@dataclass(frozen=True)
class Setting:
    """How the net is computed."""

    threads: int
    dtype: str
    memory_format: str

    def __str__(self) -> str:
        plural = "s" if self.threads > 1 else ""
        return f"{self.threads} thread{plural}, {self.dtype}, {self.memory_format.replace('_', ' ')}"


def device_of(name: str) -> str:
    """The device behind "auto": cuda, else mps, else cpu. Raises InputError for one that is not there."""
    there = [d for d, found in (("cuda", torch.cuda), ("mps", torch.backends.mps)) if found.is_available()] + ["cpu"]
    if name == "auto":
        return there[0]
    if name not in there:
        raise InputError("no such device here", where="train.device", allowed=", ".join(there), got=repr(name))
    return name


@contextmanager
def threads_set(count: int) -> Iterator[None]:
    """Use `count` threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose(network: Network, feed: Feed, loss: Loss, recipe: Recipe) -> tuple[Recipe, str]:
    """The recipe with `threads`, `dtype` and `memory_format` filled in, and why. What is set in it stays."""
    train = recipe.train
    start = Setting(
        1 if train.threads == "auto" else train.threads,  # several may only be waiting for each other
        "float32" if train.dtype == "auto" else train.dtype,
        "channels_last" if train.memory_format == "auto" else train.memory_format,
    )
    best, reason = start, "as told"
    if "auto" in (train.threads, train.dtype, train.memory_format):
        if feed.device != "cpu":
            best, reason = replace(start, dtype=_accelerated(train.dtype)), f"usual on {feed.device}"
        else:
            best, reason = _race(start, network, feed, loss, recipe)
    changes = {"train.threads": best.threads, "train.dtype": best.dtype, "train.memory_format": best.memory_format}
    return recipe.with_values(changes, "probe"), f"Computes with {best}: {reason}."


def _accelerated(dtype: str) -> str:
    if dtype != "auto":
        return dtype
    return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def _race(start: Setting, network: Network, feed: Feed, loss: Loss, recipe: Recipe) -> tuple[Setting, str]:
    """Greedy: number type, then threads, then memory order, each kept when it is faster by GAIN."""
    train = recipe.train
    assert isinstance(train.batch, int)
    assert isinstance(train.epochs, int)
    if all(stage.cached for stage in stages.plan(train, network.body)):
        threads = machine.threads() if train.threads == "auto" else train.threads
        return replace(start, threads=threads), "the backbone is computed once, and the head is small"
    steps = train.epochs * feed.steps(train.batch, 1)
    began = time.perf_counter()
    best_seconds = _step_seconds(start, network, feed, loss, recipe)
    best, tried = start, 1
    if best_seconds * steps < WORTH_SECONDS:
        return start, "too short a training to look for better"
    budget = max(BUDGET_SECONDS, BUDGET_SHARE * best_seconds * steps)
    for change in _changes(recipe):
        setting = replace(best, **change)
        if time.perf_counter() - began > budget:
            break
        if setting == best:
            continue
        seconds = _step_seconds(setting, network, feed, loss, recipe)
        tried += 1
        if seconds * GAIN < best_seconds:
            best, best_seconds = setting, seconds
    spent = time.perf_counter() - began
    return best, f"fastest of {tried} tried in {spent:.1f} s, {best_seconds * 1e3:.1f} ms a step of {train.batch}"


def _changes(recipe: Recipe) -> Iterator[dict[str, Any]]:
    train = recipe.train
    features = machine.processor()["features"]
    fast = {"avx512_bf16", "amx_bf16", "bf16"} & set(features if isinstance(features, list) else ())
    if train.dtype == "auto" and fast:
        yield {"dtype": "bf16"}
    if train.threads == "auto":
        yield {"threads": machine.threads()}
    if train.memory_format == "auto":
        yield {"memory_format": "channels_first"}


def _step_seconds(setting: Setting, network: Network, feed: Feed, loss: Loss, recipe: Recipe) -> float:
    """Least seconds of three steps, after one to warm up, on a copy of the net."""
    assert isinstance(recipe.train.batch, int)
    images, targets = feed.sample(recipe.train.batch)
    body = copy.deepcopy(network.body)
    body.freeze(stages.plan(recipe.train, network.body)[-1].frozen)
    stages.learning(body, recipe.train)
    flat = Flat(body, half=setting.dtype == "bf16", channels_last=setting.memory_format == "channels_last")
    optimizer = Optimizer(flat, recipe.train)
    taken = []
    with threads_set(setting.threads):
        for _ in range(4):
            began = time.perf_counter()
            x = network.prepare(images)
            if not flat.channels_last:
                x = x.contiguous()
            flat.clear()
            loss(flat.answer(x), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step(recipe.train.rate)
            taken.append(time.perf_counter() - began)
            if len(taken) > 1 and sum(taken) > BUDGET_SECONDS / 2:  # the first prepares what others find ready
                break
    return min(taken[1:] or taken)
