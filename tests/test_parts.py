"""The folder is the registry."""

from __future__ import annotations

import pytest

from estampa import parts
from estampa.errors import InputError


def test_names_are_the_files_of_the_folder() -> None:
    assert "convnet" in parts.names("models")
    assert all(not n.startswith("_") for n in parts.names("models"))


def test_an_unknown_name_is_refused_with_the_nearest_before_anything_is_imported() -> None:
    with pytest.raises(InputError, match=r"models: unknown name 'convnt'\..*Did you mean 'convnet'"):
        parts.load("models", "convnt")


@pytest.mark.parametrize("name", ["os", "../errors", "_network", "convnet.os", ""])
def test_a_name_from_a_file_can_import_nothing_else(name: str) -> None:
    with pytest.raises(InputError, match="unknown name"):
        parts.load("models", name)
