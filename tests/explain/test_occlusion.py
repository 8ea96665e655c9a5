"""Maps point at what the answer hangs on, and agree with an independent implementation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from estampa.bundle.store import Bundle
from estampa.data.summary import describe
from estampa.errors import InputError
from estampa.explain import occlude
from estampa.explain.filling import own_mean, surface, typical
from estampa.explain.occlusion import default_window, values_of
from estampa.explain.spots import peaks
from made_bundles import make, pictures
from planted import PATCH, Net, exported, planted, trained


def on_patch(maps: np.ndarray, places: np.ndarray) -> float:
    """Share of the maps whose highest place lies on the patch."""
    found = peaks(maps) - places
    return float(((found >= 0) & (found < PATCH)).all(axis=1).mean())


def test_the_map_points_at_the_patch_that_alone_carries_the_class(patched: Bundle) -> None:
    images, labels, places = planted(90, 2)
    assert (patched.score(images).output.argmax(axis=1) == labels).mean() >= 0.95
    images, labels, places = (a[labels < 2] for a in (images, labels, places))
    # as large as the patch: a larger window takes the answer away wherever it touches, and its map is wider
    maps = occlude(patched, images, labels, window=PATCH, stride=1)
    assert on_patch(maps, places) >= 0.9
    assert maps.dtype == np.float32
    around = occlude(patched, images[:30], labels[:30], window=6, stride=2, fill="around")
    assert on_patch(around, places[:30]) >= 0.5  # by chance: 0.03
    probability = occlude(patched, images[:30], labels[:30], window=PATCH, stride=1, of="probability")
    assert on_patch(probability, places[:30]) >= 0.9
    assert np.abs(probability).max() <= 1


def test_the_map_of_a_net_taught_on_shuffled_labels_does_not_point_at_the_patch(tmp_path: Path) -> None:
    images, labels, _ = planted(1500, 1)
    shuffled = np.random.default_rng(5).permutation(labels)
    net = exported(trained(images, shuffled, 60), tmp_path / "model", images)
    held, label, places = planted(90, 2)
    held, places = held[label < 2], places[label < 2]
    assert on_patch(occlude(net, held, window=PATCH, stride=1), places) < 0.35


def test_the_map_of_a_model_that_ignores_the_patch_points_elsewhere() -> None:
    def corner(images: np.ndarray) -> np.ndarray:
        p = images[:, :6, :6].astype(float).mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - p, p], axis=1)

    images, _, places = planted(40, 3)
    away = (places > 6).all(axis=1)
    maps = occlude(corner, images[away], fill=0, window=6, stride=3, classes=np.ones(int(away.sum()), int))
    assert on_patch(maps, places[away]) == 0
    assert (peaks(maps) < 6).all()
    assert not maps[:, 12:, 12:].any()


@pytest.mark.parametrize(("window", "stride"), [((6, 6), (3, 3)), ((5, 7), (4, 3)), ((24, 24), (24, 24))])
def test_agrees_with_captum(patched: Bundle, window: tuple[int, int], stride: tuple[int, int]) -> None:
    attr = pytest.importorskip("captum.attr")
    images, labels, _ = planted(6, 4)
    inner = trained(*planted(1500, 1)[:2])

    def odds(x: torch.Tensor) -> torch.Tensor:
        p = Net(inner)(x.to(torch.uint8))[1].double().softmax(1)
        return p.log() - torch.log1p(-p)

    x = torch.from_numpy(images).float()
    y = torch.from_numpy(labels)
    with torch.inference_mode():
        theirs = attr.Occlusion(odds).attribute(
            x, sliding_window_shapes=(*window, 3), strides=(*stride, 3), baselines=128, target=y
        )
    ours = occlude(patched, images, labels, window, stride, fill=128)
    np.testing.assert_allclose(ours, theirs[..., 0].numpy(), atol=1e-3, rtol=1e-3)


def test_windows_cut_at_the_edge_are_averaged_by_hand() -> None:
    def total(images: np.ndarray) -> np.ndarray:
        return images.astype(np.float64).sum(axis=(1, 2, 3))

    image = np.arange(15, dtype=np.float32).reshape(1, 3, 5, 1)
    got = occlude(total, image, window=2, stride=2, fill=0)[0]
    # windows start at rows 0 and 2, columns 0, 2 and 4; each pixel lies in one window
    by_hand = np.array([[12, 12, 20, 20, 13], [12, 12, 20, 20, 13], [21, 21, 25, 25, 14]])
    np.testing.assert_allclose(got, by_hand)
    overlapping = occlude(total, image, window=2, stride=1, fill=0)[0]
    assert overlapping[1, 1] == np.mean([0 + 1 + 5 + 6, 1 + 2 + 6 + 7, 5 + 6 + 10 + 11, 6 + 7 + 11 + 12])


def test_a_regression_tells_the_change_of_its_value(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model", classes=(), task="regression", dtype="float32")
    images = pictures(3, dtype="float32")
    maps = occlude(bundle, images, fill=0.0, window=2, stride=1)
    assert np.isfinite(maps).all()
    assert (np.abs(maps) > 0).any()
    with pytest.raises(InputError, match="no classes"):
        occlude(bundle, images, np.zeros(3, int))


def test_missing_pixels_are_hidden_like_others_and_never_spread() -> None:
    def known(images: np.ndarray) -> np.ndarray:
        p = np.nanmean(images, axis=(1, 2, 3)) if images.size else np.zeros(0)
        return np.stack([1 - p, p], axis=1)

    images = pictures(2, (12, 12, 2), "float32")
    images[:, 3:7, 3:7] = np.nan
    images[1, :, :, 1] = np.nan
    for fill in ("around", 0.5):
        assert np.isfinite(occlude(known, images, fill=fill)).all()
    seen = []

    def spy(some: np.ndarray) -> np.ndarray:
        seen.append(some)
        return known(some)

    occlude(spy, images[:1], window=4, stride=4, fill="around")
    hidden = np.concatenate(seen[1:])
    assert not np.isnan(hidden[4, 4:7, 4:7]).any()  # the middle window: what was missing is hidden too
    assert np.isnan(hidden[0, 4:7, 4:7]).all()  # another one leaves it missing


def test_one_channel_alone() -> None:
    def second(images: np.ndarray) -> np.ndarray:
        return images[..., 1].astype(float).mean(axis=(1, 2))

    images = pictures(2, (8, 8, 3))
    whole = occlude(second, images, fill=0, window=3)
    np.testing.assert_allclose(occlude(second, images, fill=0, window=3, channel=1), whole)
    assert not occlude(second, images, fill=0, window=3, channel=0).any()
    with pytest.raises(InputError, match="no such channel"):
        occlude(second, images, channel=3)


def test_what_stands_in_place_is_smooth_and_knows_nothing_of_what_was_hidden() -> None:
    y, x = np.mgrid[:32, :32].astype(np.float32)
    ramp = (2 * y + 3 * x + 5)[None, ..., None]
    hidden = np.zeros((1, 32, 32), bool)
    hidden[0, 10:18, 12:20] = True
    spoiled = ramp.copy()
    spoiled[hidden] = 1e6
    filled = surface(spoiled, hidden)
    np.testing.assert_array_equal(filled[~hidden], ramp[~hidden])
    assert np.abs(filled - ramp)[hidden].max() < 0.1 * np.ptp(ramp)
    np.testing.assert_array_equal(filled, surface(ramp, hidden))
    assert not surface(np.ones((1, 4, 4, 1), np.float32), np.ones((1, 4, 4), bool)).any()


def test_a_channel_without_a_measured_pixel_is_given_none() -> None:
    images = np.ones((1, 4, 4, 2), np.float32)
    images[..., 1] = np.nan
    hidden = np.zeros((1, 4, 4), bool)
    hidden[0, :2, :2] = True
    filled = surface(images, hidden)
    assert (filled[..., 0] == 1).all()
    assert np.isnan(filled[..., 1]).all()
    found = describe(np.concatenate([np.full((3, 4, 4, 2), 7, np.float32), images, images, images, images]))
    tensors = {"describe": found}
    shape = SimpleNamespace(shape=(4, 4, 2))
    kept = SimpleNamespace(pictures=shape, tensors=lambda name: tensors if name == "reference" else {})
    np.testing.assert_array_equal(typical(kept), [1, 7])  # of the three that have the channel, not 0
    tensors["describe"] = found[3:]
    np.testing.assert_array_equal(typical(kept), [1, np.nan])


def test_means_leave_missing_pixels_out(bundle: Bundle) -> None:
    images = np.full((1, 2, 2, 2), 4, np.float32)
    images[0, 0, 0, 0] = np.nan
    images[..., 1] = np.inf
    np.testing.assert_array_equal(own_mean(images).ravel(), [4, np.nan])
    middle = np.sort(pictures(64).reshape(64, -1), axis=1)[:, 14]  # of 30 pixels, the nearest rank
    np.testing.assert_allclose(typical(bundle), [np.median(middle)], atol=0.5)


def test_odds_do_not_saturate(patched: Bundle) -> None:
    images, labels, _ = planted(20, 6)
    scores = patched.score(images)
    odds = values_of(scores, labels)
    np.testing.assert_allclose(1 / (1 + np.exp(-odds)), values_of(scores, labels, "probability"), atol=1e-6)
    assert np.isfinite(odds).all()


def test_defaults_and_what_is_refused(patched: Bundle) -> None:
    assert default_window((224, 224)) == (37, 19)
    assert default_window((300, 150)) == (35, 18)
    assert default_window((1, 1)) == (1, 1)
    images, labels, _ = planted(2, 7)
    for wrong in ({"window": 40}, {"stride": 9}, {"stride": 0}, {"fill": "black"}, {"of": "odds"}, {"fill": [1, 2]}):
        with pytest.raises(InputError):
            occlude(patched, images, labels, **wrong)
    with pytest.raises(InputError):
        occlude(patched, images, np.array([0, 3]))
    with pytest.raises(InputError):
        occlude(patched, images[0])
    with pytest.raises(InputError, match="only a bundle"):
        occlude(lambda x: np.zeros((len(x), 2)), images, fill="median")
