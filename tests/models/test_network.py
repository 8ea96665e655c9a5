"""The network: preparation in the graph, views, outputs."""

import numpy as np
import pytest
import torch
from export import check_export

from estampa.models import convnet
from estampa.models._network import Body, Network, asinh, view
from estampa.prepare.image import ImagePreparation


def network(x, *, task="classification", views="none", output="softmax", rule=None, outputs=3, exchange=None):
    rule = (rule or ImagePreparation()).fit([x])
    torch.manual_seed(1)
    options = convnet.Options(filters=(4,), pool_after=(1,), dense=(6,), output=output)
    body = convnet.build(options, rule.shape(x.shape[1:]), outputs)
    return Network(
        body, shape=x.shape[1:], dtype=str(x.dtype), task=task, rule=rule.to_record(), constants=rule.constants(),
        views=views, exchange=exchange,
    ).eval(), rule  # fmt: skip


def pixels(dtype="float32", size=(9, 9)):
    return (np.random.default_rng(0).random((8, *size, 2)) * 200).astype(dtype)


@pytest.mark.parametrize("nan", ["zero", "median", "refuse"])
@pytest.mark.parametrize("stretch", ["linear", "asinh"])
@pytest.mark.parametrize("scale", ["raw", "unit", "standard"])
def test_the_graph_prepares_as_numpy_does(nan, stretch, scale):
    x = pixels()
    net, rule = network(x, rule=ImagePreparation(nan, stretch, scale))
    x[0, 0, 0, 0], x[1, 1, 1, 1] = np.nan, -np.inf
    got = net.prepare(torch.from_numpy(x)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(got, rule.apply(x), rtol=1e-5, atol=1e-5)
    assert np.isnan(got).any() == (nan == "refuse")


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_own_scale_and_mask_follow_the_scaled_channels(dtype):
    x = pixels(dtype)
    net, rule = network(x, rule=ImagePreparation(stretch="asinh", local=True, mask=True))
    if dtype == "float32":
        x[0, 0, 0, 0], x[1, 1, 1, 1], x[2, ..., 0] = np.nan, -np.inf, np.nan
    got = net.prepare(torch.from_numpy(x)).permute(0, 2, 3, 1).numpy()
    assert got.shape[3] == rule.channels(2) == 5
    np.testing.assert_allclose(got, rule.apply(x), rtol=1e-4, atol=1e-4)
    missing = ~np.isfinite(x.astype(np.float64))
    np.testing.assert_array_equal(got[..., 4], missing.any(3))
    assert (got[..., 2:4][missing] == 0).all()


@pytest.mark.parametrize("rule", [{"crop": 6}, {"crop": 7, "side": 4}, {"side": 5}, {"crop": 6, "side": 6}])
@pytest.mark.parametrize("local", [False, True])
def test_the_crop_and_its_size_are_numpys(rule, local):
    x = pixels(size=(9, 9))
    net, rule = network(x, rule=ImagePreparation(local=local, **rule))
    got = net.prepare(torch.from_numpy(x)).permute(0, 2, 3, 1).numpy()
    assert got.shape[1:] == rule.shape(x.shape[1:])
    np.testing.assert_allclose(got, rule.apply(x), rtol=1e-4, atol=1e-4)
    assert net.prepare(torch.from_numpy(x), whole=True).shape[2:] == (9, 9)


def test_area_means_of_a_whole_factor_are_block_means():
    x = pixels(size=(8, 8))
    rule = ImagePreparation(crop=6, side=3).fit([x])
    plain = ImagePreparation().fit([x[:, 1:7, 1:7]]).apply(x[:, 1:7, 1:7])
    wanted = plain.reshape(len(x), 3, 2, 3, 2, 2).mean((2, 4))
    np.testing.assert_allclose(rule.apply(x), wanted, rtol=1e-4, atol=1e-5)


def test_mirrored_classes_are_put_back_before_the_mean():
    x = pixels(size=(8, 8))
    net, _ = network(x, views="d4", exchange=[1, 0, 2])
    alone, _ = network(x)
    images = torch.from_numpy(x)
    wanted = 0
    for turns in range(4):
        for mirrored in (False, True):
            seen = torch.rot90(images.flip(2) if mirrored else images, turns, (1, 2))
            logits = alone(seen.contiguous())[1]
            wanted = wanted + (logits[:, [1, 0, 2]] if mirrored else logits) / 8
    torch.testing.assert_close(net(images)[1], wanted, rtol=1e-4, atol=1e-5)
    answer, other = net(images)[0], net(images.flip(2))[0]
    torch.testing.assert_close(other, answer[:, [1, 0, 2]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_probabilities_sum_to_one_and_belong_to_the_logits(dtype):
    x = pixels(dtype)
    net, _ = network(x)
    net.temperature.fill_(2.5)
    output, logits, embedding = net(torch.from_numpy(x))
    torch.testing.assert_close(output, logits.softmax(1))
    torch.testing.assert_close(logits * 2.5, net.raw(net.prepare(torch.from_numpy(x)))[0])
    assert embedding.shape == (8, 6)
    assert net.output_names == ("output", "logits", "embedding")


def test_two_sigmoids_are_divided_by_their_sum_even_when_both_vanish():
    x = pixels()
    net, _ = network(x, output="sigmoid", outputs=2)
    output, logits, _ = net(torch.from_numpy(x))
    p = logits.sigmoid()
    torch.testing.assert_close(output, p / p.sum(1, keepdim=True))
    tiny = net.finish(torch.tensor([[-500.0, -501.0]]))
    torch.testing.assert_close(tiny.sum(1), torch.ones(1))
    assert tiny[0, 0] > tiny[0, 1]


def test_a_regression_answers_in_the_targets_unit():
    x = pixels()
    net, _ = network(x, task="regression", output="linear", outputs=1)
    net.target_mean.fill_(10)
    net.target_deviation.fill_(3)
    output, _ = net(torch.from_numpy(x))
    assert output.shape == (8,)
    torch.testing.assert_close(output, net.raw(net.prepare(torch.from_numpy(x)))[0][:, 0] * 3 + 10)
    assert net.output_names == ("output", "embedding")


@pytest.mark.parametrize(("views", "size", "turns"), [
    ("hflip", (9, 9), [(False, False, True)]),
    ("d4", (9, 9), [(True, False, False), (False, True, False), (True, True, False), (False, True, True)]),
    ("d4", (9, 11), [(False, True, False), (False, False, True), (False, True, True)]),
])  # fmt: skip
def test_the_mean_over_views_does_not_change_with_the_view(views, size, turns):
    x = pixels("uint8", size)
    net, _ = network(x, views=views)
    straight = net(torch.from_numpy(x))
    for turn in turns:
        turned = view(torch.from_numpy(x).permute(0, 3, 1, 2), *turn).permute(0, 2, 3, 1)
        for a, b in zip(straight, net(turned), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_a_body_must_be_filled_in():
    with pytest.raises(NotImplementedError):
        Body()(torch.zeros(1))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_other_stored_types_export_too(dtype, tmp_path):
    body = convnet.build(convnet.Options(filters=(4,), pool_after=(1,), output="sigmoid"), (20, 20, 2), 2)
    check_export(body, dtype, tmp_path, views="none", stretch="linear")


def test_our_asinh_is_the_inverse_hyperbolic_sine_up_to_its_bound():
    x = np.concatenate([[0.0], np.geomspace(1e-9, 1e18, 400)]).astype(np.float32)
    x = np.concatenate([-x, x])
    got = asinh(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, np.arcsinh(x.astype(np.float64)), rtol=2e-6, atol=2e-7)
    assert torch.isfinite(asinh(torch.tensor([1e38, -1e38]))).all()
