"""Stages with a real backbone: frozen stays frozen, in weights and running means."""

import numpy as np
import pytest
import torch

from estampa.recipe import read
from estampa.train.feed import ArraySet
from estampa.train.fit import fit_net

pytest.importorskip("timm", reason="the extra 'pretrained' is not installed")

TINY = {
    "model.backbone": "tf_efficientnet_lite0", "model.weights": "none", "model.side": 32, "train.batch": 8,
    "train.threads": 1, "train.dtype": "float32", "train.memory_format": "channels_last",
}  # fmt: skip


def pictures(n=24):
    random = np.random.default_rng(0)
    labels = np.arange(n) % 2
    images = random.integers(0, 120, (n, 32, 32, 3)) + labels[:, None, None, None] * np.array([100, 0, 0])
    return ArraySet(images.astype(np.uint8), labels.astype(np.int64), "classification", ("grey", "red"))


def trained(**changes):
    told = read("pictures-pretrained").with_values({**TINY, **{k.replace("__", "."): v for k, v in changes.items()}})
    return fit_net(pictures(), told, train_rows=np.arange(16), validation_rows=np.arange(16, 24))


def backbones(*fits):
    return [dict(fit.network.body.net.state_dict()) for fit in fits]


def test_a_frozen_backbone_is_the_same_after_any_number_of_epochs():
    few, many = (
        trained(train__unfreeze="none", train__head_epochs=0, train__epochs=epochs, train__keep_statistics=False)
        for epochs in (1, 12)
    )
    first, last = backbones(few, many)
    assert any(name.endswith("running_mean") for name in first)
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert not torch.equal(few.network.body.output.weight, many.network.body.output.weight)


def test_both_stages_of_the_default_for_colour_pictures():
    fitted = trained(train__epochs=1, train__head_epochs=2)
    assert [row["stage"] for row in fitted.history] == [1, 1, 2]
    assert fitted.recipe.train.unfreeze == "all"
    assert fitted.recipe.prepare.symmetry == "hflip"
    said = "\n".join(fitted.decisions)
    assert "Symmetry hflip" in said
    assert "Stage 2, 1 epoch:" in said
    assert "of all" in said.partition("Stage 2")[2]
    few = "\n".join(trained(train__epochs=1, train__head_epochs=1, train__unfreeze=5).decisions)
    assert "The first 4 are frozen" in few


@pytest.mark.parametrize("backbone", ["test_convnext", "test_vit", "test_mambaout", "test_resnet"])
@pytest.mark.parametrize("unfreeze", [2, "all"])
def test_any_backbone_learns_in_bfloat16(backbone, unfreeze):
    """Scales of ConvNeXt and the place codes of transformers stay float32: what they meet turns float32 as well."""
    told = {"model__backbone": backbone, "model__side": 0, "train__dtype": "bf16", "train__unfreeze": unfreeze}
    fitted = trained(train__head_epochs=0, train__epochs=1, **told)
    assert {p.dtype for p in fitted.network.body.parameters()} == {torch.float32}
    assert np.isfinite(fitted.history[0]["train_loss"])
