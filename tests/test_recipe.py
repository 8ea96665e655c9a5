"""Recipes: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from estampa import recipe
from estampa.errors import RecipeError


def write(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_an_unknown_key_is_refused_with_the_nearest_real_one(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown key 'train.epoch'\. Did you mean 'train.epochs'\?"):
        recipe.read(write(tmp_path, "[train]\nepoch = 3\n"))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.read(write(tmp_path, "[train]\nepochs = 0\nbatsh = 3\n[data]\ntest = 1.5\n"))
    for word in ("train.epochs", "greater than or equal to 1", "train.batch", "data.test", "1.5", "mine.toml"):
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["[train\n", "epochs = = 3", "\x00"])
def test_what_is_not_toml_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match="not TOML"):
        recipe.read(write(tmp_path, text))


def test_an_unknown_recipe_is_refused_with_the_nearest_real_one() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'fashion'"):
        recipe.read("fasion")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_numbers_must_be_finite(tmp_path: Path, value: str) -> None:
    with pytest.raises(RecipeError, match=r"train\.rate"):
        recipe.read(write(tmp_path, f"[train]\nrate = {value}\n"))


def test_the_written_recipe_reads_back_as_it_was(tmp_path: Path) -> None:
    first = recipe.Recipe().with_values({"train.epochs": 7, "model.name": "convnet", "model.filters": [4, 8]})
    second = recipe.read(write(tmp_path, first.to_toml()))
    assert second == first
    assert second.model.options == {"filters": [4, 8]}


def test_flags_beat_the_environment_and_the_environment_beats_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[train]\nepochs = 3\nbatch = 5\nrate = 0.5\n")
    environment = recipe.from_environment({"ESTAMPA_TRAIN_BATCH": "6", "ESTAMPA_TRAIN_RATE": "0.25", "ESTAMPA_X": "1"})
    assert environment == {"train.batch": 6, "train.rate": 0.25}
    made = recipe.read(path).with_values(environment).with_values({"train.rate": 0.125})
    assert (made.train.epochs, made.train.batch, made.train.rate) == (3, 6, 0.125)


def test_a_flag_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'training.epochs'.*Did you mean 'train.epochs'"):
        recipe.Recipe().with_values({"training.epochs": 3})


def test_values_are_read_as_toml_reads_them() -> None:
    assert [recipe.value_of(t) for t in ("3", "0.5", "true", "[1, 2]", "adam", "16,32")] == [
        3, 0.5, True, [1, 2], "adam", "16,32",
    ]  # fmt: skip


@pytest.mark.parametrize("name", recipe.shipped())
def test_every_shipped_recipe_is_sound(name: str) -> None:
    made = recipe.read(name)
    assert made.name == name
    assert made.about


def test_changing_one_key_sets_no_other() -> None:
    made = recipe.Recipe(name="mine").with_values({"train.epochs": 3})
    assert made.train.model_fields_set == {"epochs"}
    assert made.prepare.model_fields_set == set()
    again = made.with_values({"train.rate": 0.5})
    assert again.train.model_fields_set == {"epochs", "rate"}
