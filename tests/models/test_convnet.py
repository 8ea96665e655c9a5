"""The nets of the five studies: exact counts, Keras's shapes, padding, initial weights and flattening."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from estampa import recipe
from estampa.errors import RecipeError
from estampa.models import convnet
from estampa.models._network import parameter_count
from estampa.models.convnet import Options
from estampa.train.fit import build_body, layers_of

PUBLISHED = {
    "hits": ((21, 21, 4), 2, 41_986),
    "fashion": ((28, 28, 1), 10, 93_322),
    "emojis": ((32, 32, 1), 5, 121_669),
    "navigability": ((20, 20, 4), 1, 60_833),
    "characters-cnn": ((100, 75, 3), 15, 197_505),
    "characters-cnn-regularised": ((100, 75, 3), 15, 301_625),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_counts_are_exact(name):
    shape, outputs, count = PUBLISHED[name]
    made = recipe.read(name)
    assert made.data.shape == shape
    assert made.data.outputs == outputs
    body = build_body(made, shape, outputs)
    assert parameter_count(body) == count
    assert sum(row.parameters for row in layers_of(made, shape, outputs)) == count
    assert body(torch.zeros(2, shape[2], *shape[:2])).shape == (2, outputs)


def test_the_first_hits_net_has_one_convolution_of_four_filters():
    rows = layers_of(recipe.read("hits-first"), (21, 21, 4), 2)
    assert [(r.kind, r.shape) for r in rows] == [
        ("Conv2D", (19, 19, 4)), ("Flatten", (1444,)), ("Dense", (32,)), ("Dense", (32,)), ("Dense", (2,)),
    ]  # fmt: skip


def test_the_summary_reads_as_keras_prints_it():
    rows = layers_of(recipe.read("characters-cnn"), (100, 75, 3), 15)
    assert [(r.name, r.kind, r.shape, r.parameters) for r in rows] == [
        ("conv2d", "Conv2D", (98, 73, 10), 280),
        ("max_pooling2d", "MaxPooling2D", (49, 36, 10), 0),
        ("conv2d_1", "Conv2D", (47, 34, 10), 910),
        ("max_pooling2d_1", "MaxPooling2D", (23, 17, 10), 0),
        ("flatten", "Flatten", (3910,), 0),
        ("dense", "Dense", (50,), 195_550),
        ("dense_1", "Dense", (15,), 765),
    ]


def test_the_regularised_net_drops_after_each_pooling():
    kinds = [r.kind for r in layers_of(recipe.read("characters-cnn-regularised"), (100, 75, 3), 15)]
    assert kinds == [*["Conv2D", "MaxPooling2D", "Dropout"] * 2, "Flatten", *["Dense"] * 4]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_summary_is_true(name):
    shape, outputs, _ = PUBLISHED[name]
    made = recipe.read(name)
    body = build_body(made, shape, outputs).eval()
    body.seen = shape[:2]  # the rows and columns that pooling drops, computed all the same
    shapes = []
    kinds = (torch.nn.Conv2d, torch.nn.MaxPool2d, torch.nn.Linear)
    for module in body.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda _, __, o: shapes.append(tuple(o.shape[1:])))
    body(torch.zeros(1, shape[2], *shape[:2]))
    told = [r.shape for r in layers_of(made, shape, outputs) if r.kind in ("Conv2D", "MaxPooling2D", "Dense")]
    assert [(*s[1:], s[0]) if len(s) == 3 else s for s in shapes] == told


@pytest.mark.parametrize("side", range(12, 34))
@pytest.mark.parametrize("after", [(1, 2), (1,), (2, 3), ()])
def test_rows_that_pooling_drops_are_left_out_without_a_trace(side, after):
    torch.manual_seed(side)
    options = Options(filters=(2, 3, 2), kernel=(3, 2, 3), pool_after=after, dense=())
    try:
        body = convnet.build(options, (side, side + 1, 1), 3)
    except RecipeError:
        assert side < 20
        return
    x = torch.rand(2, 1, side, side + 1)
    got = body(x)
    changed = x.clone()
    changed[:, :, body.seen[0] :] = 9
    changed[:, :, :, body.seen[1] :] = 9
    body.seen = (side, side + 1)
    torch.testing.assert_close(body(x), got)
    torch.testing.assert_close(body(changed), got)


def test_the_fashion_net_reads_26_of_28_rows():
    assert build_body(recipe.read("fashion"), (28, 28, 1), 10).seen == (26, 26)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "elu", "gelu", "linear"])
def test_pooling_before_a_rising_activation_changes_nothing(activation):
    torch.manual_seed(0)
    body = convnet.build(Options(filters=(4,), pool_after=(1,), dense=(), conv_activation=activation), (9, 9, 1), 2)
    conv = next(m for m in body.modules() if isinstance(m, torch.nn.Conv2d))
    rise = getattr(F, activation) if activation != "linear" else (lambda z: z)
    x = torch.randn(3, 1, 9, 9)
    h = F.max_pool2d(rise(F.conv2d(x, conv.weight, conv.bias)), 2)
    torch.testing.assert_close(body.embed(x), h.permute(0, 2, 3, 1).flatten(1))


def test_no_convolution_is_a_multilayer_perceptron():
    options = Options(filters=(), pool_after=(), dense=(128, 32))
    body = convnet.build(options, (28, 28, 1), 10)
    assert parameter_count(body) == 785 * 128 + 129 * 32 + 33 * 10
    assert [r.kind for r in convnet.summary(options, (28, 28, 1), 10)] == ["Flatten", "Dense", "Dense", "Dense"]


def test_output_is_plain_torch_with_channels_last_flattening():
    torch.manual_seed(0)
    body = convnet.build(Options(dense_activation="tanh"), (28, 28, 2), 10).eval()
    x = torch.rand(3, 2, 28, 28)
    c1, c2, c3 = (m for m in body.modules() if isinstance(m, torch.nn.Conv2d))
    d1, d2 = (m for m in body.modules() if isinstance(m, torch.nn.Linear))
    h = F.max_pool2d(F.relu(F.conv2d(x, c1.weight, c1.bias)), 2)
    h = F.max_pool2d(F.relu(F.conv2d(h, c2.weight, c2.bias)), 2)
    h = F.relu(F.conv2d(h, c3.weight, c3.bias))
    flat = h.numpy(force=True).transpose(0, 2, 3, 1).reshape(3, -1)
    e = torch.tanh(torch.from_numpy(flat) @ d1.weight.T + d1.bias)
    torch.testing.assert_close(body.embed(x), e)
    torch.testing.assert_close(body(x), e @ d2.weight.T + d2.bias)


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_same_padding_puts_the_odd_row_below_and_right_as_keras(kernel):
    options = Options(filters=(1,), kernel=kernel, padding="same", pool_after=(), dense=(), conv_activation="linear")
    body = convnet.build(options, (7, 8, 1), 2)
    conv = next(m for m in body.modules() if isinstance(m, torch.nn.Conv2d))
    x = torch.rand(1, 1, 7, 8)
    before, after = (kernel - 1) // 2, kernel // 2  # SAME in TensorFlow: pad_total // 2 before, the rest after
    assert before + after == kernel - 1
    padded = np.pad(x.numpy()[0, 0], (before, after))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel))
    wanted = (windows * conv.weight.numpy(force=True)[0, 0]).sum((2, 3))
    np.testing.assert_allclose(body.embed(x).numpy(force=True).reshape(7, 8), wanted, atol=1e-5)


def test_weights_begin_glorot_uniform_and_biases_at_zero():
    torch.manual_seed(0)
    body = convnet.build(Options(), (28, 28, 1), 10)
    for module in body.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            w = module.weight.detach()
            area = w[0, 0].numel() if w.ndim == 4 else 1
            limit = (6 / (area * (w.shape[0] + w.shape[1]))) ** 0.5
            assert w.abs().max() <= limit
            if w.numel() > 500:
                assert w.std() == pytest.approx(limit / 3**0.5, rel=0.1)
            assert not module.bias.any()


def test_the_penalty_is_keras_l2():
    body = convnet.build(Options(dense=(5, 4), l2_dense=0.01, l2_conv=0.1), (28, 28, 1), 10)
    kernels = [m.weight for m in body.modules() if isinstance(m, torch.nn.Conv2d)]
    dense = [m.weight for m in body.modules() if isinstance(m, torch.nn.Linear)][:-1]
    wanted = 0.1 * sum((w**2).sum() for w in kernels) + 0.01 * sum((w**2).sum() for w in dense)
    torch.testing.assert_close(body.penalty(), wanted)
    assert convnet.build(Options(), (28, 28, 1), 10).penalty() is None


def test_widths_scale_every_layer():
    options = Options(filters=(32, 32, 64, 64), padding="same", pool_after=(), dense=(64,), widths=16)
    rows = convnet.summary(options, (21, 21, 4), 2)
    assert [r.shape[-1] for r in rows if r.kind == "Conv2D"] == [8, 8, 16, 16]
    assert [r.shape[-1] for r in rows if r.kind == "Dense"] == [16, 2]
    assert parameter_count(convnet.build(options, (21, 21, 4), 2)) == sum(r.parameters for r in rows)


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(RecipeError, match="nothing is left of a picture of 8 x 8 after convolution 2"):
        convnet.build(Options(), (8, 8, 1), 2)
    with pytest.raises(RecipeError, match="2 kernels for 3 convolutions"):
        convnet.build(Options(kernel=(3, 3)), (28, 28, 1), 2)
    with pytest.raises(RecipeError, match=r"pooling after convolution 4.*1\.\.3"):
        convnet.build(Options(pool_after=(4,)), (28, 28, 1), 2)
