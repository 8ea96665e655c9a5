"""Every shipped recipe's net can be built for small pictures, or the recipe states which pictures it is for."""

import numpy as np
import pytest

from estampa import parts
from estampa.recipe import check_options, read, shipped
from estampa.train.choose import complete
from estampa.train.feed import ArraySet

CLASSES = ("a", "b", "c")


def pictures(side, channels, n=6):
    """n pictures without content, two of each class."""
    return ArraySet(np.zeros((n, side, side, channels), np.uint8), np.arange(n) % 3, "classification", CLASSES)


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize(
    "name",  # of pictures, those that were made for no size of their own
    [
        name
        for name in shipped()
        if read(name).data.shape is None and read(name).prepare.crop in (0, "auto") and not read(name).search.methods
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 12, 16, 28, 64])
def test_the_net_fits_small_pictures(name, side, channels, few):
    recipe = read(name)
    if recipe.model.name == "pretrained":
        pytest.importorskip("timm", reason="the extra 'pretrained' is not installed")
        recipe = recipe.with_values({"model.weights": "none", "model.backbone": "tf_efficientnet_lite0"})
    if recipe.few.below:
        recipe = recipe.with_values({"few.below": 7 if few else 1})
    data = pictures(side, channels)
    if recipe.data.task == "regression":
        data = ArraySet(data.images, data.labels / 2, "regression")
    recipe, said = complete(recipe, data)
    outputs = len(data.classes) or 1
    assert any("are few" in line for line in said) is (few and bool(read(name).few.below))
    model = parts.load("models", recipe.model.name)
    layers = model.summary(check_options(model.Options, recipe.model.options, name), (side, side, channels), outputs)
    assert tuple(layers[-1].shape) == (outputs,)


@pytest.mark.parametrize("name", [name for name in shipped() if read(name).data.shape is not None])
def test_the_net_fits_the_pictures_that_its_recipe_states(name):
    recipe = read(name)
    outputs = recipe.data.outputs or 5
    if recipe.model.name == "pretrained":
        pytest.importorskip("timm", reason="the extra 'pretrained' is not installed")
    model = parts.load("models", recipe.model.name)
    options = check_options(model.Options, recipe.model.options, name)
    layers = model.summary(options, recipe.data.shape, outputs)
    assert tuple(layers[-1].shape) == (outputs,)
