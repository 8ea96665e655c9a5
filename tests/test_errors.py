"""The error tree: one shape of message, one exit code a branch."""

from __future__ import annotations

import inspect
import re

import pytest

from estampa import errors


def test_the_message_says_whose_what_allowed_got_and_the_cure() -> None:
    error = errors.SourceError("has no label", where="a.csv row 3", allowed="cat, dog", got="'cta'", cure="Mend it.")
    assert str(error) == "a.csv row 3: has no label. Allowed: cat, dog. Got: 'cta'. Mend it."


def test_a_sentence_keeps_its_own_mark() -> None:
    assert str(errors.InputError("what is this?")) == "what is this?"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.EstampaError, 1), (errors.StorageError, 1), (errors.DownloadError, 1), (errors.InputError, 2),
        (errors.SourceError, 2), (errors.DatasetError, 2), (errors.BundleError, 2), (errors.ContractError, 2),
        (errors.RecipeError, 2), (errors.MissingExtra, 2), (errors.CheckFailed, 3), (errors.Interrupted, 130),
    ],
)  # fmt: skip
def test_exit_codes(kind: type[errors.EstampaError], code: int) -> None:
    assert kind.exit_code == code


def test_the_tree_that_is_drawn_is_the_tree_that_is() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)|^    (\w+Error)", errors.__doc__ or "", re.MULTILINE))
    names = {a or b for a, b in drawn}
    real = {n for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, errors.EstampaError)}
    assert real - {"EstampaError"} == names - {"EstampaError"}


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    error = errors.MissingExtra("train", needed_for="estampa train", module="torch")
    assert "pip install 'estampa[train]'" in str(error)


def test_the_nearest_name_is_proposed_and_nothing_when_none_is_near() -> None:
    assert errors.nearest("fasion", ["fashion", "emojis"]) == "Did you mean 'fashion'?"
    assert errors.nearest("zzzz", ["fashion", "emojis"]) == ""
