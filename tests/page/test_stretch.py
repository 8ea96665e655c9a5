"""Pictures of few grey levels are shown over their full range, together with the others of their grid."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from estampa import page


def grey(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_ink_of_0_and_1_is_shown_black_and_white() -> None:
    drawing = np.zeros((8, 8, 1), np.uint8)
    drawing[2:5, 3] = 1
    assert np.array_equal(grey(page.picture(drawing)[0].uri), drawing[..., 0] * 255)


def test_ordinary_8_bit_pictures_are_shown_as_stored() -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 3
    assert np.array_equal(grey(page.picture(picture)[0].uri), picture[..., 0])


def test_one_bright_picture_keeps_its_whole_grid_as_stored() -> None:
    dark, bright = np.full((4, 4, 1), 9, np.uint8), np.full((4, 4, 1), 200, np.uint8)
    both = page.Pictures([page.Picture(dark), page.Picture(bright)])
    text = page.render("t", "l", [page.Section("a", "A", [both])], made_by={})
    assert "Values as stored." in text
    alone = page.render("t", "l", [page.Section("a", "A", [page.Pictures([page.Picture(dark)])])], made_by={})
    assert "from 0 (black) to its largest value (white)" in alone
