"""What is inferred from the data, and what is refused before any work."""

from types import SimpleNamespace

import numpy as np
import pytest
from made import bars, brightness, recipe

from estampa import measure
from estampa.errors import DatasetError, EstampaError, RecipeError
from estampa.recipe import Recipe, read, shipped
from estampa.train.choose import complete, labelled_rows
from estampa.train.feed import ArraySet


def large():
    """Bars in pictures of 20 x 20."""
    small = bars()
    return ArraySet(small.images.repeat(2, axis=1).repeat(2, axis=2), small.labels, "classification", small.classes)


def test_pictures_too_small_for_the_net_for_few_keep_the_default_net_without_its_warps():
    made, said = complete(Recipe(), bars())
    assert made.model.name == read("pictures").model.name
    assert made.prepare.rotate == made.prepare.shift == 0
    assert any("too small" in line for line in said)


def test_nothing_told_gives_the_default_recipe_whole_and_reasons():
    made, said = complete(Recipe(), large())
    assert made.model.name == read("pictures").few.values["model.name"]
    assert any("few" in line for line in said)
    assert made.data.task == "classification"
    assert isinstance(made.train.epochs, int)
    assert isinstance(made.train.batch, int)
    assert made.train.loss == "crossentropy"
    assert made.train.monitor == "accuracy"
    assert made.prepare.symmetry == "none"
    assert made.prepare.balance == "none"
    text = "\n".join(said)
    for word in ("Recipe 'pictures'", "Classification into 3 classes", "not declared", "for 160 objects"):
        assert word in text


def test_completing_twice_changes_nothing_more():
    made, _ = complete(Recipe(), bars())
    again, said = complete(made, bars())
    assert again == made
    assert said == []


def test_what_is_told_stays():
    own = Recipe().with_values({"train.epochs": 3, "prepare.shift": 0, "train.seed": 9})
    made, _ = complete(own, bars())
    assert (made.train.epochs, made.prepare.shift, made.train.seed) == (3, 0, 9)
    assert made.train.optimizer == read("pictures").train.optimizer  # what was not told is the default recipe's


def test_regression():
    made, said = complete(Recipe(), brightness())
    assert (made.data.task, made.train.loss, made.train.monitor) == ("regression", "mse", "mse")
    assert "Regression: the labels are numbers." in said


def test_uneven_classes_get_weights_and_a_fair_metric():
    data = bars(300)
    rows = np.concatenate([np.flatnonzero(data.labels == 0)[:10], np.flatnonzero(data.labels == 1)])
    made, said = complete(recipe(), data, rows)
    assert made.prepare.balance == "weights"
    assert made.train.monitor == "balanced_accuracy"
    assert any("times the smallest" in line for line in said)
    assert complete(recipe(prepare__balance="none"), data, rows)[0].prepare.balance == "none"


def test_a_declared_symmetry_is_taken():
    class Header:
        symmetry = "d4"

    data = bars()
    data.header = Header()
    made, said = complete(recipe(), data)
    assert made.prepare.symmetry == "d4"
    assert "Symmetry d4: declared by the data." in said


@pytest.mark.parametrize("n", [1, 2, 30, 1000, 100_000])
def test_length_suits_the_number_of_objects(n):
    data = ArraySet(np.zeros((n + 1, 2, 2, 1), np.uint8), np.arange(n + 1) % 2, "classification", ("a", "b"))
    made, _ = complete(recipe(train__epochs="auto", train__batch="auto"), data)
    assert 8 <= made.train.epochs <= 200
    assert 16 <= made.train.batch <= 256


def test_labelled_rows():
    data = ArraySet(np.zeros((4, 2, 2, 1), np.uint8), np.array([0, -1, 1, -1]), "classification", ("a", "b"))
    assert labelled_rows(data, None).tolist() == [0, 2]
    assert labelled_rows(data, np.array([2, 1])).tolist() == [2]
    values = ArraySet(data.images, np.array([0.5, np.nan, -3, np.inf]), "regression")
    assert labelled_rows(values, None).tolist() == [0, 2]


def test_one_class_only_is_refused():
    data = bars()
    with pytest.raises(DatasetError, match=r"1 class among the .* objects.*at least two"):
        complete(recipe(), data, np.flatnonzero(data.labels == 1))


def test_no_labels_are_refused():
    data = bars()
    data.labels[:] = -1
    with pytest.raises(DatasetError, match="no labelled object"):
        complete(recipe(), data)
    data.task = "unlabelled"
    with pytest.raises(DatasetError, match=r"has no labels.*--label"):
        complete(recipe(), data)


@pytest.mark.parametrize(("changes", "told"), [
    ({"train__monitor": "acuracy"}, r"no metric 'acuracy'.*Did you mean 'accuracy'"),
    ({"train__monitor": "mse"}, "no metric 'mse' for classification"),
    ({"train__loss": "mse"}, "the loss is not for this task"),
    ({"data__task": "regression"}, "the recipe's task is not that of the data"),
    ({"model": {"name": "convnt"}}, r"no model 'convnt'.*Did you mean 'convnet'"),
    ({"data__outputs": 7}, r"another number of outputs.*Allowed: 7.*Got: 3"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_cure(changes, told):
    with pytest.raises(RecipeError, match=told):
        complete(recipe(**changes), bars())


def test_an_unknown_model_option_names_the_nearest():
    from estampa.train.fit import fit_net

    with pytest.raises(EstampaError, match=r"unknown key 'filtres'.*Did you mean 'filters'"):
        fit_net(bars(), recipe(model__filtres=[3]), train_rows=np.arange(20))


def test_labels_out_of_range_are_refused():
    from estampa.train.fit import fit_net

    data = bars()
    data.labels[5] = 3
    with pytest.raises(DatasetError, match=r"a label is 3.*0\.\.2"):
        fit_net(data, recipe(), train_rows=np.arange(20))


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_open_with_command_cost_and_score(name):
    from estampa.recipe import RECIPES

    lines = [line for line in (RECIPES / f"{name}.toml").read_text().splitlines() if line.startswith("#")]
    assert lines[0].startswith("# estampa train DATA")
    assert lines[1].startswith("# Cost: ")
    assert lines[2].startswith("# Score: ")
    made = read(name)
    assert made.name == name
    assert made.about
    assert made.train.monitor == "auto" or made.train.monitor in measure.known()


def test_what_is_told_holds_for_few_objects_too():
    told = read("pictures").with_values({"train.rate": 0.5, "prepare.rotate": 1.0, "model.dropout_dense": 0.1})
    made, _ = complete(told, large())
    assert (made.train.rate, made.prepare.rotate, made.model.options["dropout_dense"]) == (0.5, 1.0, 0.1)
    assert made.prepare.shear == read("pictures").few.values["prepare.shear"]
    assert made.few == Recipe().few


def test_a_model_that_is_named_is_kept_for_few_objects():
    made, _ = complete(read("pictures").with_values({"model.name": "picturenet"}), bars())
    assert made.model.name == "picturenet"
    assert "dropout_dense" not in made.model.options


def test_many_objects_leave_the_settings_for_few_alone():
    told = read("pictures").with_values({"few.below": 3})
    made, said = complete(told, bars())
    assert made.model.name == "picturenet"
    assert made.prepare.rotate == 0
    assert not any("few" in line for line in said)
    again, _ = complete(made, bars())
    assert again == made


def measured(channels=(), dtype="float32", low=-20.0, high=900.0, side=12, task="classification"):
    """Random pixels with a header."""
    random = np.random.default_rng(0)
    images = random.uniform(low, high, (40, side, side, 3)).astype(dtype)
    labels = np.arange(40) % 2 if task == "classification" else random.random(40)
    made = ArraySet(images, labels, task, ("a", "b") if task == "classification" else ())
    made.header = SimpleNamespace(channels=channels, symmetry="auto", origin={})
    return made


@pytest.mark.parametrize(
    ("data", "model", "symmetry"),
    [
        ({"channels": ("science", "template", "difference")}, "stampnet", "d4"),
        ({"channels": ("science", "template", "difference"), "low": 0.0, "high": 1.0}, "stampnet", "d4"),
        ({}, "stampnet", "none"),
        ({"low": 0.0, "high": 1.0}, "picturenet", "none"),
        ({"low": 0.0, "high": 255.0, "dtype": "uint8"}, "picturenet", "none"),
        ({"side": 6}, "picturenet", "none"),
        ({"task": "regression"}, "picturenet", "none"),
    ],
)
def test_measured_pixels_are_taken_for_stamps_and_pictures_for_pictures(data, model, symmetry):
    made, said = complete(Recipe(), measured(**data))
    assert (made.model.name, made.prepare.symmetry) == (model, symmetry)
    assert said[0].startswith("Recipe '")
