"""What every model in models/ must do."""

import pytest
import torch

from estampa import parts
from estampa.models._network import Body, parameter_count
from estampa.recipe import Record

MODELS = parts.names("models")
SHAPES = [(28, 28, 1), (21, 30, 4)]


@pytest.fixture(params=MODELS)
def module(request):
    if request.param == "pretrained":
        pytest.importorskip("timm", reason="the extra 'pretrained' is not installed")
    return parts.load("models", request.param)


def options(module):
    """The model's defaults; of a pretrained net a tiny backbone, without weights."""
    tiny = {"backbone": "test_efficientnet", "weights": "none"} if module.__name__.endswith(".pretrained") else {}
    return module.Options(**tiny)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("outputs", [1, 7])
def test_body_embeds_and_answers(module, shape, outputs):
    assert issubclass(module.Options, Record)
    body = module.build(options(module), shape, outputs).eval()
    assert isinstance(body, Body)
    x = torch.rand(3, shape[2], *shape[:2])
    e = body.embed(x)
    assert e.ndim == 2
    torch.testing.assert_close(body(x), body.head(e))
    assert body(x).shape == (3, outputs)
    assert body.output_kind in ("softmax", "sigmoid", "linear")


@pytest.mark.parametrize("shape", SHAPES)
def test_summary_counts_what_the_body_has(module, shape):
    body = module.build(options(module), shape, 5)
    rows = module.summary(options(module), shape, 5)
    assert sum(r.parameters for r in rows) == parameter_count(body)
    assert rows[-1].shape == (5,)
    assert len({r.name for r in rows}) == len(rows)


def test_one_seed_gives_one_net(module):
    def made(seed):
        torch.manual_seed(seed)
        return torch.cat([p.detach().flatten() for p in module.build(options(module), (28, 28, 1), 3).parameters()])

    assert torch.equal(made(1), made(1))
    assert not torch.equal(made(1), made(2))


def test_pictures_of_a_batch_do_not_touch_each_other(module):
    body = module.build(options(module), (28, 28, 1), 3).eval()
    x = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(body(x)[1:2], body(x[1:2]), atol=1e-5, rtol=1e-5)


def test_gradient_reaches_every_parameter(module):
    torch.manual_seed(0)
    body = module.build(options(module), (28, 28, 1), 3).train()
    body(torch.randn(16, 1, 28, 28)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in body.parameters() if p.requires_grad)


def test_every_option_is_documented_in_docs(module):
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    missing = [key for key in module.Options.model_fields if f"`{key}`" not in text]
    assert not missing


def test_the_network_exports_with_a_free_batch(module, tmp_path):
    from export import check_export

    check_export(module.build(options(module), (20, 20, 2), 3), "uint8", tmp_path)
