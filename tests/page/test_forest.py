"""The drawing of differences: a row each, marks that differ by shape, the ends named where there is room."""

from __future__ import annotations

import math
from xml.etree import ElementTree

from estampa import page

ENDS = ("champion better", "challenger better")


def test_rows_and_marks() -> None:
    rows = [
        ("accuracy", 0.02, 0.01, 0.03, "better"),
        ("recall <a & b>", -0.05, -0.08, -0.02, "worse"),
        ("brier", 0.0, -0.01, 0.01, ""),
        ("undefined", math.nan, math.nan, math.nan, ""),
        ("no interval", 0.01, math.nan, math.nan, ""),
    ]
    text = page.forest(rows, ends=ENDS, unit="points")
    tree = ElementTree.fromstring(text)  # well formed, names escaped
    shown = ["".join(e.itertext()) for e in tree.iter() if e.tag.endswith("text")]
    assert "recall <a & b>" in shown
    assert "undefined" not in shown
    assert any(ENDS[0] in s for s in shown)
    assert any(ENDS[1] in s for s in shown)
    assert {"0", "points"} <= set(shown)
    circles = [e for e in tree.iter() if e.tag.endswith("circle")]
    assert len(circles) == 2, "only what is not beyond chance is a ring"


def test_nothing_to_draw_is_no_trouble() -> None:
    for rows in ([], [("same", 0.0, 0.0, 0.0, "")]):
        ElementTree.fromstring(page.forest(rows, ends=ENDS))
