"""Features of a pretrained backbone, for who has trained nothing yet."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from estampa.data.dataset import Dataset
from estampa.data.read import build
from estampa.errors import InputError
from estampa.explore.extract import load_extractor
from estampa.explore.features import features_of
from estampa.models import _backbones, _weights, pretrained

pytest.importorskip("timm", reason="the extra 'pretrained' is not installed")
TINY = "test_efficientnet"


@pytest.fixture
def at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of the tiny net in the cache, as if they had been fetched."""
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    path = _weights.folder() / f"{TINY}.r160_in1k.safetensors"
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    save_file(_backbones.make(TINY, 3, classes=1000).state_dict(), path)
    _weights.record_path(path).write_text(json.dumps({"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))


@pytest.fixture
def pictures(tmp_path: Path) -> Dataset:
    """Without labels: exploring needs none."""
    images = np.random.default_rng(0).integers(0, 256, (24, 100, 60, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    return build(tmp_path / "a.npz", tmp_path / "a.h5")


def test_they_are_the_backbone_s_own_saved_and_loaded(at_hand: None, pictures: Dataset, tmp_path: Path) -> None:
    found = features_of(pictures, f"embedding:{TINY}")
    assert found.values.shape[0] == 24
    assert f"backbone {TINY}" in found.name
    body = pretrained.build(pretrained.Options(backbone=TINY, hidden=0), (100, 60, 3), 1).eval()
    with torch.inference_mode():
        x = torch.from_numpy(np.array(pictures.images)).permute(0, 3, 1, 2) / 255
        expected = body.features(x).numpy()
    standard = (expected - expected.mean(0)) / expected.std(0)
    np.testing.assert_allclose(found.values, standard[:, expected.std(0) > 1e-6], atol=2e-3)
    (tmp_path / "kept").mkdir()
    found.extractor.save(tmp_path / "kept")
    again = load_extractor(tmp_path / "kept").apply(pictures, np.arange(5, 9))
    np.testing.assert_array_equal(again, found.values[5:9])


def test_a_name_that_is_neither_a_run_nor_a_backbone_is_refused(pictures: Dataset) -> None:
    with pytest.raises(InputError, match="no_such_net"):
        features_of(pictures, "embedding:no_such_net")


def test_without_weights_it_says_how_to_come_by_them(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "empty"))
    with pytest.raises(InputError, match="estampa fetch weights resnet18"):
        features_of(pictures, "embedding:resnet18")
