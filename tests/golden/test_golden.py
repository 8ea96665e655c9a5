"""The golden gate holds, and it fails when seed, symmetry, BatchNorm or class order is broken on purpose.

Each mutation is a fault that this field's code has had. docs/golden.md has the table: which figure left which band.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gate import Trainings, bands, figures, outside, stamps, train

from estampa.bundle import export
from estampa.data.dataset import Dataset
from estampa.errors import BundleError
from estampa.models import _network
from estampa.models._network import Network
from estampa.train import fit
from estampa.train.loop import Loop

Break = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return stamps(tmp_path_factory.mktemp("golden") / "stamps.h5")


@pytest.fixture(scope="module")
def sound(data: Dataset) -> Trainings:
    return train(data)


def test_every_figure_is_in_its_band(data: Dataset, sound: Trainings, tmp_path: Path) -> None:
    found = figures(sound, data, tmp_path / "bundle")
    assert set(found) == set(bands())
    assert not outside(found)


def order_without_a_seed(patch: pytest.MonkeyPatch) -> None:
    """The loop draws its order from the clock."""
    begin = Loop.__init__

    def unseeded(self: Loop, *given: Any) -> None:
        begin(self, *given)
        self.random.seed()

    patch.setattr(Loop, "__init__", unseeded)


def one_seed_for_all(patch: pytest.MonkeyPatch) -> None:
    """The recipe's seed is not passed on."""
    completed = fit.complete

    def constant(*given: Any) -> Any:
        recipe, said = completed(*given)
        return recipe.with_values({"train.seed": 0}), said

    patch.setattr(fit, "complete", constant)


def channels_reshaped(patch: pytest.MonkeyPatch) -> None:
    """Channels are brought to the front by reshape: pixels of both are mixed."""

    def mixed(self: Network, images: torch.Tensor, *, whole: bool = False) -> torch.Tensor:
        n, height, width, channels = images.shape
        return self._scaled(images.reshape(n, channels, height, width).to(torch.float32))

    patch.setattr(Network, "prepare", mixed)


def transposed_views_are_not(patch: pytest.MonkeyPatch) -> None:
    """The views that are to be transposed stay as they are: four of the eight are missing."""
    turned = _network.view
    patch.setattr(_network, "view", lambda x, _, rows, columns: turned(x, False, rows, columns))


def one_view_only(patch: pytest.MonkeyPatch) -> None:
    """The answer is of the picture as it lies, not the mean over its views."""
    patch.setitem(_network.VIEWS, "d4", _network.VIEWS["none"])


def batchnorm_by_the_batch(patch: pytest.MonkeyPatch) -> None:
    """BatchNorm normalises by the batch at hand when the trained net answers; the export is sound."""
    honest = export.export_network

    def exported(*given: Any) -> Any:
        with pytest.MonkeyPatch.context() as sound:
            sound.setattr(Network, "eval", torch.nn.Module.eval)
            return honest(*given)

    patch.setattr(Network, "eval", lambda self: self.train(True))
    patch.setattr(export, "export_network", exported)


def classes_reversed(patch: pytest.MonkeyPatch) -> None:
    """The bundle names its columns in another order than the net has them."""
    honest = export._manifest

    def turned(*given: Any) -> dict[str, Any]:
        tree = honest(*given)
        return tree | {"classes": tuple(reversed(tree["classes"]))}

    patch.setattr(export, "_manifest", turned)


#: fault -> the figures that must leave their bands. In training: faults that are there from the start.
IN_TRAINING: dict[Break, set[str]] = {
    order_without_a_seed: {"repeat"},
    one_seed_for_all: {"seed"},
    channels_reshaped: {"symmetry"},
}
IN_ANSWERS: dict[Break, set[str]] = {
    transposed_views_are_not: {"symmetry"},
    one_view_only: {"symmetry"},
    batchnorm_by_the_batch: {"alone", "parity"},
    classes_reversed: {"accuracy", "balanced_accuracy", "log_loss", "ece"},
}


@pytest.mark.parametrize(
    ("fault", "expected"), [*IN_TRAINING.items(), *IN_ANSWERS.items()], ids=lambda v: getattr(v, "__name__", "")
)
def test_each_fault_fails_the_gate(
    fault: Break, expected: set[str], data: Dataset, sound: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault(monkeypatch)
    made = train(data) if fault in IN_TRAINING else copy.deepcopy(sound)
    left = outside(figures(made, data, tmp_path / "bundle"))
    print(f"{fault.__name__}: {left}")
    assert expected <= set(left)


def test_batchnorm_in_train_mode_is_not_exported(
    data: Dataset, sound: Trainings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Network, "eval", lambda self: self.train(True))
    with pytest.raises(BundleError, match="the exported model differs from the trained one"):
        figures(copy.deepcopy(sound), data, tmp_path / "bundle")
