"""What is asked of timm: which backbones there are, how they are made, and what they consist of.

A backbone is made with random weights, always (`pretrained=False`): timm never goes to the network here. Weights come
from files, see `_weights`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from estampa import machine
from estampa.errors import RecipeError, nearest

EXTRA = "pretrained"


def timm() -> Any:
    """The library; MissingExtra, naming the extra to install, where it is not there."""
    machine.require(EXTRA, "timm", "torchvision", needed_for="a pretrained net")
    import timm as library

    return library


@functools.cache
def known() -> frozenset[str]:
    """Names of all architectures."""
    return frozenset(timm().list_models())


@functools.cache
def facts(backbone: str) -> dict[str, Any]:
    """What timm says of a backbone, "architecture" or "architecture.tag": input size, statistics, hub file, licence.

    Raises RecipeError for a name that timm does not have, with the nearest one that it has.
    """
    library = timm()
    architecture, _, tag = backbone.partition(".")
    if architecture not in known():
        raise RecipeError(
            f"no backbone {backbone!r}", where="model.backbone", allowed=f"a name of timm {library.__version__}",
            cure=nearest(architecture, known()),
        )  # fmt: skip
    tags = [name.partition(".")[2] for name in library.list_pretrained(architecture)]
    if tag and tag not in tags:
        raise RecipeError(
            f"{architecture} has no weights {tag!r}", where="model.backbone", allowed=", ".join(tags) or "none",
            cure=nearest(tag, tags),
        )  # fmt: skip
    found: dict[str, Any] = library.get_pretrained_cfg(backbone).to_dict()
    return {**found, "architecture": architecture, "tag": found.get("tag") or ""}


def make(backbone: str, channels: int, *, side: int = 0, classes: int = 0) -> nn.Module:
    """The backbone with random weights: (n, channels, h, w) to pooled features (n, f), or to logits of `classes`.

    `side` is for those that take pictures of one size only. Raises RecipeError where timm cannot make it so.
    """
    said = facts(backbone)
    asked: dict[str, Any] = {"in_chans": channels, "num_classes": classes}
    if said.get("fixed_input_size") and side:
        asked["img_size"] = side
    try:
        made: nn.Module = timm().create_model(said["architecture"], pretrained=False, **asked)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise RecipeError(
            f"timm cannot make {said['architecture']}", where="model.backbone",
            allowed="a backbone that takes pictures and pools their features",
            got=f"{type(error).__name__}: {error}", cure="Take another, as tf_efficientnet_lite0.",
        ) from error  # fmt: skip
    return made


def outline(backbone: str, channels: int, *, side: int = 0, classes: int = 0) -> nn.Module:
    """The same without any values: shapes and counts only."""
    with torch.device("meta"):
        return make(backbone, channels, side=side, classes=classes).eval()


def fixed_side(backbone: str) -> int:
    """Side in pixels of the only pictures that the backbone takes; 0 = any size."""
    said = facts(backbone)
    return int(said["input_size"][-1]) if said.get("fixed_input_size") else 0


class Part(nn.ModuleList):
    """Modules that follow each other in a backbone and are frozen together. It holds them; it is not to be called."""

    def __init__(self, name: str, modules: list[nn.Module]) -> None:
        super().__init__(modules)
        self.name = name
        self.kind = _kind(modules)


def parts_of(net: nn.Module) -> list[Part]:
    """The parts of a backbone from the picture on: the stem, each stage (or residual block), what comes after.

    A container whose members are containers themselves gives a part a member; neighbours outside such containers give
    one together. What is a parameter of the net itself, as the place codes of a transformer, goes with the first part.
    """
    found: list[Part] = []
    loose: list[tuple[str, nn.Module]] = []

    def close() -> None:
        if loose:
            found.append(Part(loose[0][0], [module for _, module in loose]))
            loose.clear()

    for name, child in net.named_children():
        if not any(True for _ in child.parameters()):
            continue
        members = [(k, m) for k, m in child.named_children() if any(True for _ in m.parameters())]
        deep = isinstance(child, nn.Sequential | nn.ModuleList) and all(
            any(True for _ in m.children()) for _, m in members
        )
        if deep:
            close()
            found += [Part(f"{name}_{k}", [m]) for k, m in members]
        else:
            loose.append((name, child))
    close()
    for name, parameter in net.named_parameters(recurse=False):
        found[0].register_parameter(name, parameter)
    return found


def _kind(modules: list[nn.Module]) -> str:
    """In words: what a summary calls it."""
    inner = [m for m in modules if not _normalises(m)]
    inner = list(inner[0].children()) if len(inner) == 1 and isinstance(inner[0], nn.Sequential) else inner
    names = [type(m).__name__.replace("Conv2d", "Conv2D").removesuffix("Same") for m in inner if not _normalises(m)]
    names = [n for n in names if n != "Identity"] or [type(modules[0]).__name__]
    words = [f"{name} x {names.count(name)}" if names.count(name) > 1 else name for name in dict.fromkeys(names)]
    return ", ".join(words[:3])


def _normalises(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__


def statistics_of(module: nn.Module) -> int:
    """Values that normalisation keeps and nobody trains: running means and variances. Counters are not counted."""
    return sum(b.numel() for name, b in module.named_buffers() if name.endswith(("running_mean", "running_var")))


def sizes_after(net: nn.Module, parts: list[Part], picture: tuple[int, int, int]) -> Iterator[tuple[int, ...]]:
    """Shape after each part (channels last where it is a map), then of the pooled features, for a meta `net`.

    Raises RecipeError for pictures too small for it, and where it does not pool.
    """
    shapes: dict[int, tuple[int, ...]] = {}
    hooks = []
    for number, part in enumerate(parts):

        def keep(_: nn.Module, __: Any, out: Any, number: int = number) -> None:
            out = out[0] if isinstance(out, tuple | list) else out
            shapes[number] = tuple(out.shape[1:])

        hooks += [module.register_forward_hook(keep) for module in part]
    try:
        with torch.inference_mode():
            pooled: Tensor = net(torch.zeros(1, picture[2], *picture[:2], device="meta"))
    except RuntimeError as error:
        raise RecipeError(
            "the backbone cannot take pictures so small", where="model.backbone", got=f"{picture[0]} x {picture[1]}",
            cure="Set model.side to more, as 96, or take another backbone, as tf_efficientnet_lite0.",
        ) from error  # fmt: skip
    if pooled.ndim != 2:
        raise RecipeError(
            "the backbone gives no pooled features", where="model.backbone", allowed="one vector a picture",
            got=" x ".join(map(str, pooled.shape[1:])), cure="Take another, as tf_efficientnet_lite0.",
        )  # fmt: skip
    for hook in hooks:
        hook.remove()
    for number in range(len(parts)):
        shape = shapes.get(number, ())
        yield (shape[1], shape[2], shape[0]) if len(shape) == 3 else shape
    yield tuple(pooled.shape[1:])
