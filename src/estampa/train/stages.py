"""Training in stages: the head first, on features that the frozen backbone gives once; then its last blocks, or all.

A random head sends large and senseless slopes into a backbone that has learned well. So the head learns alone first:
what is frozen is the same in every epoch, and is computed once (`Cache`). Then as many blocks as the recipe says are
freed, each learning more slowly than the next one (`paces`; Howard & Ruder 2018, arXiv:1801.06146).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from estampa import machine
from estampa.errors import DatasetError, RecipeError
from estampa.models._network import DEEP, Body, Network, StagedBody, parameter_count
from estampa.prepare.augment import Augment
from estampa.recipe import PrepareRecipe, Recipe, TrainRecipe
from estampa.train.blend import require_line
from estampa.train.feed import Feed
from estampa.train.optim import Flat

#: Share of the machine's memory that cached features may take.
MEMORY_SHARE = 0.2
#: Share of the time of the head's stage that the pass for its features may take, and entries that it takes in any case.
CACHE_SHARE, LEAST_CACHED = 0.8, 64
#: Share of a time limit that the head's own stage may take where others follow.
HEAD_SHARE = 0.25


class Batch(NamedTuple):
    """What a step is given.

    images (m, h, w, c), or features (m, f) in a cached stage; targets and places in the part (m,); which are mirror
    images (m,); angles (m,) or None.
    """

    images: Tensor
    targets: Tensor
    places: Tensor
    mirrored: Tensor
    turned: Tensor | None


@dataclass(frozen=True)
class Stage:
    """A stretch of epochs in which the same parameters learn."""

    name: str
    epochs: int
    rate: float
    frozen: int = 0  #: blocks of the backbone, from the picture, that do not learn
    cached: bool = False  #: the backbone is frozen and its features are computed once
    ends: float = 1.0  #: at this share of the time limit, at the latest


def staged(body: Body) -> StagedBody:
    """The body as one whose backbone can be frozen, which a plan with more than one stage has made sure of."""
    assert isinstance(body, StagedBody)
    return body


def plan(recipe: TrainRecipe, body: Body) -> list[Stage]:
    """The stages of a recipe that is complete, for this body.

    Raises RecipeError where the body cannot be frozen, has fewer blocks than are to learn, or the keys contradict
    each other.
    """
    assert isinstance(recipe.epochs, int)
    require_line(recipe, staged=bool(recipe.head_epochs) and recipe.unfreeze != "none")
    if _plain(recipe):
        return [Stage("all", recipe.epochs, recipe.rate)]
    blocks = len(body.blocks())
    if not blocks:
        raise RecipeError(
            "this net has no backbone to train in stages", where="train",
            allowed="head_epochs 0, unfreeze 'all', rate_decay 1, keep_statistics false",
            got=f"{recipe.head_epochs}, {recipe.unfreeze!r}, {recipe.rate_decay:g}, {recipe.keep_statistics}",
            cure="Take the model 'pretrained', or leave the keys out.",
        )  # fmt: skip
    rate = recipe.rate if recipe.head_rate is None else recipe.head_rate
    if recipe.unfreeze == "none":
        if recipe.head_epochs:
            raise RecipeError(
                "nothing but the head learns, so its epochs are all there are", where="train.head_epochs",
                allowed="0 with train.unfreeze = 'none'", got=recipe.head_epochs, cure="Give them as train.epochs.",
            )  # fmt: skip
        return [Stage("head", recipe.epochs, rate, blocks, cached=True)]
    counts = _counts(recipe, blocks)[-recipe.epochs :]  # with fewer epochs than stages the first ones are left out
    begin = HEAD_SHARE if recipe.head_epochs else 0.0
    stages = [Stage("head", recipe.head_epochs, rate, blocks, True, begin)] if recipe.head_epochs else []
    lengths = [len(part) for part in np.array_split(np.arange(recipe.epochs), len(counts))]
    for number, (count, length) in enumerate(zip(counts, lengths, strict=True), 1):
        name = "all" if count == blocks else f"last {count} of {blocks} blocks"
        ends = begin + (1 - begin) * number / len(counts) if number < len(counts) else 1.0
        stages.append(Stage(name, length, recipe.rate, blocks - count, ends=ends))
    return stages


def _plain(recipe: TrainRecipe) -> bool:
    """Whether all of the net learns alike, as a net without backbone does."""
    alike = recipe.rate_decay == 1.0 and not recipe.keep_statistics
    return alike and not recipe.head_epochs and recipe.unfreeze == "all"


def _counts(recipe: TrainRecipe, blocks: int) -> list[int]:
    """How many of the last blocks learn in each stage after the head's."""
    told = recipe.unfreeze if isinstance(recipe.unfreeze, tuple) else (recipe.unfreeze,)
    counts = [blocks if count == "all" else int(count) for count in told]
    if not counts or max(counts) > blocks or any(a >= b for a, b in pairwise(counts)):
        raise RecipeError(
            "cannot unfreeze so", where="train.unfreeze", got=recipe.unfreeze,
            allowed=f"'none', 'all', a number from 1 to {blocks}, or a list of rising numbers that may end in 'all'",
        )  # fmt: skip
    return counts


def learning(body: Body, recipe: TrainRecipe) -> None:
    """Put the body in training mode; BatchNorm of the backbone stays in eval mode where the recipe says so.

    With few pictures a batch says less of what is usual than the millions that the statistics were found on.
    """
    body.train()
    if recipe.keep_statistics:
        for block in body.blocks():
            for module in block.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.eval()


def paces(flat: Flat, body: Body, decay: float) -> Tensor | None:
    """(parameters,) share of the learning rate at which each learns; None = all at the whole rate.

    1 for the head, `decay` for the backbone's last block, `decay` squared for the one before, and so on.
    """
    if decay == 1.0:
        return None
    blocks = body.blocks()
    shares = {id(p): decay ** (len(blocks) - i) for i, block in enumerate(blocks) for p in block.parameters()}
    pace = torch.ones_like(flat.vector)
    for parameter, place in flat.pieces():
        pace[place] = shares.get(id(parameter), 1.0)
    return pace


def augment_of(recipe: PrepareRecipe) -> Augment:
    """The recipe's random changes."""
    return Augment(**{f.name: getattr(recipe, f.name) for f in fields(Augment)})


def room_for(entries: int, views: int, width: int, most: float) -> tuple[torch.dtype, int]:
    """Number type and views of a cache (views, entries, width) that takes at most `most` bytes.

    float32 where that fits, else float16 (rounded to 3 digits, which features bear), else fewer views.
    """
    for kind, size in ((torch.float32, 4), (torch.float16, 2)):
        if views * entries * width * size <= most:
            return kind, views
    fewer = int(most // (entries * width * 2))
    if not fewer:
        raise DatasetError(
            f"the features of {entries:,} pictures do not fit in memory", allowed=f"{most / 1e9:.1f} GB",
            got=f"{entries * width * 2 / 1e9:.1f} GB", cure="Set train.head_epochs = 0 and train.unfreeze = 'all'.",
        )  # fmt: skip
    return torch.float16, fewer


class Cache:
    """Features of the training pictures, computed once: (views, entries, f), in the memory that there is.

    The first view is the picture as it is, the others are augmented as the recipe says; each epoch draws one of the
    views of each picture. An epoch so costs next to nothing, and sees `views` versions of a picture in all, where
    training without a cache would see a new one each time. An entry is a picture, or a turned copy of one
    (`prepare.balance = "copies"`). The views are drawn by a generator of their own, so that a training that goes on
    after an interruption finds the same ones. Where time is short there are fewer views, and where there is no time for
    one of every entry, some entries drawn at random.
    """

    def __init__(
        self, network: Network, feed: Feed, recipe: Recipe, left: Callable[[], float | None] = lambda: None
    ) -> None:
        """Run the backbone; `left()` says how many seconds that may still take, None = as many as it needs."""
        self.network, self.feed, self.left = network, feed, left
        entries, self.turned = np.arange(len(feed)), None
        if feed.copies is not None:
            order = np.argsort(feed.copies[0], kind="stable")
            entries, self.turned = feed.copies[0][order], torch.from_numpy(np.asarray(feed.copies[1])[order])
        self.all = entries
        self.chosen = np.arange(len(entries))  #: places in `all` whose features are kept
        self.features, self.mirrored = torch.zeros(0), torch.zeros(0)
        self._run(recipe)
        self.features, self.mirrored = self.features[:, self.chosen], self.mirrored[:, self.chosen]
        self.entries = torch.from_numpy(self.all[self.chosen])

    def _run(self, recipe: Recipe) -> None:
        """Make a view of every entry after the other, as many views as there is room and time for."""
        augment = augment_of(recipe.prepare)
        plain = Augment(crop=augment.crop, side=augment.side)
        random = torch.Generator().manual_seed(recipe.train.seed)
        self.network.body.eval()
        view, views = 0, recipe.train.head_views
        while view < views:
            before = self.left()
            views = self._view(view, views, augment if view else plain, random)
            view, now = view + 1, self.left()
            if now is not None and before is not None and now < before - now:  # another view would take too long
                break
        self.features, self.mirrored = self.features[:view], self.mirrored[:view]

    def _view(self, view: int, views: int, augment: Augment, random: torch.Generator) -> int:
        """Features of one view of every entry that is kept; returns for how many views there is room."""
        start, began = 0, self.left()
        for images, _ in self.feed.ordered(DEEP):
            first, last = np.searchsorted(self.all, [start, start + len(images)])
            own = self.chosen[slice(*np.searchsorted(self.chosen, [first, last]))]
            for low in range(0, len(own), DEEP):
                place = torch.from_numpy(own[low : low + DEEP])
                rows = torch.from_numpy(self.all[own[low : low + DEEP]] - start)
                angles = None if self.turned is None else self.turned[place]
                with torch.no_grad():
                    batch = _looked_at(self.network, images, rows, augment, random, angles)
                    found = staged(self.network.body).features(batch.images)
                if not len(self.features):
                    most = MEMORY_SHARE * machine.memory_total()
                    kind, views = room_for(len(self.all), views, found.shape[1], most)
                    self.features = torch.zeros(views, len(self.all), found.shape[1], dtype=kind)
                    self.mirrored = torch.zeros(views, len(self.all), dtype=torch.bool)
                    self._shorten(len(place), began, random.initial_seed())
                self.features[view, place] = found.to(self.features)
                self.mirrored[view, place] = batch.mirrored.to("cpu")
            start += len(images)
        return views

    def _shorten(self, done: int, began: float | None, seed: int) -> None:
        """Keep as many entries, drawn at random, as there is time for one view of, by what the first `done` took."""
        now = self.left()
        if began is None or now is None or now * done >= (began - now) * (len(self.all) - done):
            return
        count = min(len(self.all), max(LEAST_CACHED, int(now * done / max(began - now, 1e-9))))
        drawn = np.random.default_rng(seed).permutation(len(self.all))[:count]
        self.chosen = np.sort(drawn)

    @property
    def told(self) -> str:
        """Its size, for people."""
        views, entries, width = self.features.shape
        size = self.features.element_size() * self.features.numel()
        kind = str(self.features.dtype).removeprefix("torch.")
        few = f" ({len(self.all):,} entries would have taken too long)" if entries < len(self.all) else ""
        return f"{views} x {entries:,} x {width:,} {kind}, {size / 1e6:.1f} MB{few}"

    def batches(self, size: int, smallest: int, random: torch.Generator) -> Iterator[Batch]:
        """An epoch of batches of `size`, shuffled, a view of each; a rest of fewer than `smallest` is left out."""
        count, device = len(self.entries), self.network.centre.device
        if self.feed.drawing is None:
            order = torch.randperm(count, generator=random)
        else:
            order = self.feed.drawn(np.arange(count), random)
        view = torch.randint(len(self.features), (len(order),), generator=random)
        for start in range(0, len(order), size):
            rows, chosen = order[start : start + size], view[start : start + size]
            if len(rows) < smallest and len(order) > 1:
                continue
            places = self.entries[rows]
            features = self.features[chosen, rows].to(device, torch.float32)
            targets = self.feed.targets[places.to(self.feed.targets.device)].to(device)
            yield Batch(features, targets, places, self.mirrored[chosen, rows].to(device), None)


def _looked_at(
    network: Network, images: Tensor, rows: Tensor, augment: Augment, random: torch.Generator, turned: Tensor | None
) -> Batch:
    """A view of `rows` (m,) of stored images, prepared (m, c, h, w) for the body."""
    device = network.centre.device
    taken, mirrored = augment.gather(images, rows.to(images.device), random)
    whole = augment.warps or turned is not None
    x = augment.change(network.prepare(taken.to(device), whole=whole), random, turned, network.body.neutral)
    return Batch(x, rows, rows, mirrored, turned)


def answers_of(network: Network, feed: Feed) -> Tensor:
    """Features (n, f) float32 of each picture as it is, in the order of the rows."""
    network.body.eval()
    with torch.no_grad():
        found = [
            staged(network.body).features(network.prepare(images.to(network.centre.device)))
            for images, _ in feed.ordered(DEEP)
        ]
    return torch.cat(found).float()


def told(stages: list[Stage], recipe: TrainRecipe, body: Body) -> list[str]:
    """A sentence a stage: what is frozen, how many parameters learn, and at which rates. The body is left unfrozen."""
    if _plain(recipe):
        return []
    blocks, said = body.blocks(), []
    whole = parameter_count(body)
    for number, stage in enumerate(stages, 1):
        body.freeze(stage.frozen)
        learn = parameter_count(body)
        free = len(blocks) - stage.frozen
        plural = "s" if stage.epochs > 1 else ""
        text = f"Stage {number}, {stage.epochs} epoch{plural}: {learn:,} of {whole:,} parameters learn"
        if stage.cached:
            text += (
                f", those of the head, at rate {stage.rate:g}, on the features of {recipe.head_views} views of each "
                f"picture, computed once. The backbone's {len(blocks)} blocks are frozen, BatchNorm's statistics too."
            )
        else:
            text += ", those of the head and of "
            text += f"the last {free} of {len(blocks)} blocks" if stage.frozen else f"all {free} blocks"
            if recipe.rate_decay < 1:
                low = stage.rate * recipe.rate_decay**free
                text += f", at rate {stage.rate:g} (head), {stage.rate * recipe.rate_decay:.2g} (last block)"
                text += (
                    f" to {low:.2g} ({'first' if not stage.frozen else 'first unfrozen'} block)." if free > 1 else "."
                )
            else:
                text += f", at rate {stage.rate:g}."
            still = f"The first {stage.frozen} are" if stage.frozen > 1 else "The first one is"
            text += f" {still} frozen, BatchNorm's statistics too." if stage.frozen else ""
            text += " All of the backbone's BatchNorm keeps its statistics." if recipe.keep_statistics else ""
        said.append(text)
    body.freeze(0)
    return said
