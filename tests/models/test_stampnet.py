"""Our own net for stamps."""

import pytest
import torch
from export import check_export

from estampa.errors import RecipeError
from estampa.models import stampnet


def net(shape=(21, 21, 4), **options):
    torch.manual_seed(0)
    return stampnet.build(stampnet.Options(**options), shape, 2).eval()


@pytest.mark.parametrize("shape", [(21, 21, 4), (20, 20, 3), (63, 63, 1), (8, 9, 2), (30, 30, 7)])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 1, "stem": 3}, {"depth": (2, 0, 1), "widths": 24, "dropout": 0.0}, {"fine": 6}]
)
def test_the_summary_is_what_is_built(shape, options):
    made = net(shape, **options)
    rows = stampnet.summary(stampnet.Options(**options), shape, 2)
    assert sum(r.parameters for r in rows) == sum(p.numel() for p in made.parameters() if p.requires_grad)
    x = torch.randn(2, shape[2], *shape[:2])
    embedding = made.embed(x)
    assert embedding.shape == (2, next(r.shape[0] for r in rows if r.kind == "Concatenate"))
    assert made.head(embedding).shape == (2, 2)
    maps = [r.shape for r in rows if r.kind == "Conv2D"]
    assert made.features(x).shape[1:] == (maps[-1][2], *maps[-1][:2])


def test_weights_serve_stamps_of_any_size():
    small, large = net((21, 21, 3)), net((63, 63, 3))
    large.load_state_dict(small.state_dict())
    assert torch.isfinite(large(torch.randn(2, 3, 63, 63))).all()


def test_the_centre_is_read_apart_from_the_rest():
    made = net((63, 63, 1))
    centred, aside = torch.zeros(1, 1, 63, 63), torch.zeros(1, 1, 63, 63)
    centred[..., 30:33, 30:33], aside[..., 14:17, 14:17] = 50, 50
    a, b = made.embed(centred)[0], made.embed(aside)[0]
    half = len(a) // 2
    torch.testing.assert_close(a[half:], b[half:])  # the maximum does not ask where
    assert (a[:half] - b[:half]).abs().max() > 0.1


def test_faults_are_named():
    with pytest.raises(RecipeError, match="at least 8"):
        net((7, 21, 1))
    with pytest.raises(RecipeError, match="depths for 3 stages"):
        net(depth=(1, 1))


@pytest.mark.parametrize("views", ["none", "d4"])
def test_it_exports(tmp_path, views):
    check_export(stampnet.build(stampnet.Options(), (20, 20, 2), 3), "float32", tmp_path, views=views)
