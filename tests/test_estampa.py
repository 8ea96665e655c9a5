"""The public names of the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

import estampa


@pytest.mark.parametrize("name", estampa.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(estampa, name)
    assert callable(value)
    assert value.__doc__


def test_a_verb_stays_a_function_when_its_room_is_imported_first() -> None:
    program = (
        "import importlib, estampa\n"
        "for room in ('predict', 'train.fit', 'evaluate.judge'):\n    importlib.import_module('estampa.' + room)\n"
        "print([type(getattr(estampa, v)).__name__ for v in ('predict', 'train', 'evaluate')])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "['function', 'function', 'function']"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        estampa.tarin  # noqa: B018


def test_dir_lists_the_public_names() -> None:
    assert dir(estampa) == sorted(estampa.__all__)
