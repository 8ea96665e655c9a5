"""Every error that estampa raises on purpose.

::

    EstampaError                 exit 1   something failed
    ├── InputError               exit 2   wrong use or wrong data; the message says what to change
    │   ├── RecipeError          a recipe: unknown key, value out of range
    │   ├── SourceError          files handed to `build`, `train`, `predict`: unreadable, hostile, ambiguous
    │   ├── DatasetError         a Dataset file: damaged, not one, or not fit for the job
    │   ├── BundleError          a bundle: incomplete, damaged, tampered with, newer than this estampa
    │   ├── ContractError        data that is not what the model was fed in training
    │   ├── WeightsError         pretrained weights: not at hand, damaged, or of another architecture
    │   └── MissingExtra         a verb needs an optional part of the installation
    ├── StorageError             exit 1   the disk is full, or a place cannot be written
    ├── DownloadError            exit 1   a download failed or its checksum is wrong
    ├── CheckFailed              exit 3   a leak, a gate (`--require`) or a drift check says no
    └── Interrupted              exit 130 stopped by the user; what was done is saved

Messages have one shape: whose, what, what is allowed, what came, the cure::

    recipe.toml: unknown key 'train.epoch'. Allowed: epochs, batch, ... Did you mean 'train.epochs'?
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EstampaError(Exception):
    """Something failed. `exit_code` is what the command line returns.

    Parameters
    ----------
    what : what is wrong, as a clause without a final stop.
    where : whose fault: a file, a row, a key. Comes first in the message.
    allowed : what would have been accepted.
    got : what came instead.
    cure : the next move, as a sentence.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, where: object = "", allowed: object = "", got: object = "", cure: str = ""
    ) -> None:
        self.what, self.where, self.allowed, self.got, self.cure = what, str(where), str(allowed), str(got), cure
        sentences = [f"{self.where}: {what}" if self.where else what]
        if self.allowed:
            sentences.append(f"Allowed: {self.allowed}")
        if self.got:
            sentences.append(f"Got: {self.got}")
        if cure:
            sentences.append(cure)
        super().__init__(" ".join(s if s.endswith((".", "?", "!")) else s + "." for s in sentences))


class InputError(EstampaError):
    """Wrong use or wrong data."""

    exit_code = 2


class RecipeError(InputError):
    """A recipe holds an unknown key or a value out of range."""


class SourceError(InputError):
    """A file that was handed in cannot be read, is hostile, or is ambiguous."""


class DatasetError(InputError):
    """A Dataset file is damaged, is not one, or does not fit the job."""


class BundleError(InputError):
    """A bundle is incomplete, damaged, tampered with, or newer than this estampa."""


class ContractError(InputError):
    """Data is not what the model was fed in training. The message names both sides."""


class WeightsError(InputError):
    """Pretrained weights are not at hand, are damaged, are not those that were published, or fit another net."""


class MissingExtra(InputError):  # noqa: N818 - reads as what it is
    """A verb needs an optional part of the installation."""

    def __init__(self, extra: str, *, needed_for: str, module: str) -> None:
        super().__init__(
            f"needs the package {module!r}, which is not installed",
            where=needed_for,
            cure=f"Install it with: pip install 'estampa[{extra}]'",
        )


class StorageError(EstampaError):
    """The disk is full, or a place cannot be written."""


class DownloadError(EstampaError):
    """A download failed, or what came is not what was published."""


class CheckFailed(EstampaError):  # noqa: N818 - a verdict, not a fault
    """A check said no: a leak, a gate, a drift."""

    exit_code = 3


class Interrupted(EstampaError):  # noqa: N818 - not a fault
    """Stopped by the user; what was done is saved."""

    exit_code = 130


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'x'?" for the known name nearest to `name`, or "" when none is near."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else ""
