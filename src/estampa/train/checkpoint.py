"""One file that a training can go on from: tensors and JSON in safetensors, written whole or not at all. No pickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from estampa import files
from estampa.recipe import Recipe

FORMAT = 1
NAME = "checkpoint.safetensors"
#: Keys that do not decide whether an earlier training may be gone on with.
_FREE = ("threads", "dtype", "memory_format", "time_limit", "device")


@dataclass
class Checkpoint:
    """State at the end of an epoch: `tensors` (weights, optimiser, random states) and `state` (plain JSON)."""

    fingerprint: str
    tensors: dict[str, Tensor]
    state: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write to `folder`, replacing an earlier one at one stroke. Raises StorageError when it cannot."""
        plain = {k: t.detach().cpu().contiguous() for k, t in self.tensors.items()}
        words = {"format": str(FORMAT), "fingerprint": self.fingerprint, "state": json.dumps(self.state)}
        files.write_atomic(folder / NAME, save(plain, metadata=words))


def read(folder: Path, fingerprint: str) -> tuple[Checkpoint | None, str]:
    """The checkpoint in `folder` of the same job, or None and why there is none ("" when there never was one)."""
    path = folder / NAME
    if not path.is_file():
        return None, ""
    try:
        with safe_open(path, framework="pt") as stream:
            words = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        return None, f"the checkpoint {path} is damaged ({error})"
    if words.get("format") != str(FORMAT):
        return None, f"the checkpoint {path} has another format"
    if words.get("fingerprint") != fingerprint:
        return None, f"the checkpoint {path} belongs to another recipe or other data"
    return Checkpoint(fingerprint, tensors, json.loads(words["state"])), ""


def remove(folder: Path) -> None:
    """Remove the checkpoint, once what it was for is safe."""
    (folder / NAME).unlink(missing_ok=True)


def fingerprint(recipe: Recipe, content: str, *rows: NDArray[np.int64]) -> str:
    """One hash of what decides the weights: the recipe (but for the machine's part), the data and the rows."""
    tree = recipe.model_dump(mode="json")
    tree["train"] = {k: v for k, v in tree["train"].items() if k not in _FREE}
    for stage in ("evaluate", "search", "name", "about"):
        tree.pop(stage)
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True).encode())
    digest.update(content.encode())
    for part in rows:
        digest.update(np.ascontiguousarray(part, dtype=np.int64).tobytes() + b"|")
    return digest.hexdigest()


def random_states(own: torch.Generator) -> dict[str, Tensor]:
    """The states of every source of chance that the loop uses."""
    states = {"random.own": own.get_state(), "random.torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random.cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random(own: torch.Generator, tensors: dict[str, Tensor]) -> None:
    """Put them back."""
    own.set_state(tensors["random.own"])
    torch.set_rng_state(tensors["random.torch"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
