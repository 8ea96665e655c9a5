"""The builder `characters`: drawn heads that look alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from estampa.data.builders import characters
from estampa.data.read import build, open_any
from estampa.errors import InputError, StorageError


def test_the_same_options_draw_the_same_pictures_and_another_seed_others(tmp_path: Path) -> None:
    first = build("characters", tmp_path / "a.h5", builder_options={"each": "4", "size": "48"})
    again = build("characters", tmp_path / "b.h5", builder_options={"each": "4", "size": "48"})
    other = build("characters", tmp_path / "c.h5", builder_options={"each": "4", "size": "48", "seed": "1"})
    assert first.content_sha256 == again.content_sha256
    assert first.content_sha256 != other.content_sha256
    assert first.shape == (48, 48, 3)
    assert np.bincount(first.labels).tolist() == [4] * 5


def test_a_picture_depends_on_its_row_alone(tmp_path: Path) -> None:
    few = build("characters", tmp_path / "few.h5", builder_options={"each": "2", "size": "32"})
    many = build("characters", tmp_path / "many.h5", builder_options={"each": "5", "size": "32"})
    assert np.array_equal(few.hashes, many.hashes[: few.n])


def test_pictures_are_written_a_folder_per_class_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "sisters"
    made = build("characters", tmp_path / "made.h5", builder_options={"each": "3", "size": "32", "folder": str(folder)})
    files = sorted(folder.glob("*/*.jpg"))
    assert len(files) == made.n == 15
    sizes = set()
    for path in files:
        with Image.open(path) as picture:
            sizes.add(picture.size)
    assert len(sizes) > 10, "sizes are mixed"
    read = open_any(folder)
    assert read.classes == characters.CLASSES
    with pytest.raises(StorageError, match="not empty"):
        build("characters", tmp_path / "x.h5", builder_options={"each": "3", "folder": str(folder)})


@pytest.mark.parametrize(("key", "text"), [("each", "0"), ("size", "31"), ("size", "wide"), ("sise", "40")])
def test_an_option_out_of_range_or_unknown_is_refused(tmp_path: Path, key: str, text: str) -> None:
    with pytest.raises(InputError, match=key):
        build("characters", tmp_path / "x.h5", builder_options={key: text})


def test_each_sister_can_be_told_without_her_ornament(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same head, drawn as each of the five without ornaments, differs in hair and fringe, and only there."""
    monkeypatch.setattr(characters, "WORN", 0.0)
    for number in range(6):
        drawn = [np.asarray(characters.draw(sister, np.random.default_rng([7, number])), int) for sister in range(5)]
        for first in range(5):
            for second in range(first):
                changed = (np.abs(drawn[first] - drawn[second]) > 25).any(2).mean()
                assert 0.004 < changed < 0.4, (number, first, second)
