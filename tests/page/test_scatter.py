"""The map: seen without script, alive with it; its pictures, its selection and its CSV are the right ones."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_page import Tags

from browser import dumped
from estampa import page
from estampa.errors import InputError
from estampa.page import scatter, scripts, sprites

IDS = ["=bad", 'a"b,c', "</script><b>", "d", "e", "f"]
POINTS = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5], [0.5, 0.9]], float)


def block(**changed: object) -> page.Scatter:
    thumbs = np.stack([np.full((16, 16, 3), 40 * i, np.uint8) for i in range(5)])
    given: dict[str, object] = {
        "points": POINTS,
        "ids": IDS,
        "colourings": [
            page.Colouring("cluster", np.array([0, 0, 1, 1, -1, 9]), [f"k{i}" for i in range(10)], "noise", True),
            page.Colouring("class", np.array([1, 0, 1, 0, 1, -1]), ["round", "<flat>"], "no label"),
        ],
        "pictures": thumbs,
        "picture_of": np.array([0, 1, 2, 3, 4, -1]),
        "caption": "Six & more.",
        "axes": ("first", "second"),
    }
    return page.Scatter(**(given | changed))  # type: ignore[arg-type]


def written(tmp_path: Path) -> Path:
    path = tmp_path / "map.html"
    path.write_text(page.render("T", "l", [page.Section("map", "Map", [block()])], made_by={}), encoding="utf-8")
    return path


def test_without_script_it_is_a_picture_with_a_key(tmp_path: Path) -> None:
    html = written(tmp_path).read_text()
    Tags(html)
    assert html.count('class="none"') == 2  # the points and their entry in the key
    assert html.count("h0") >= 6 + 4
    assert ">k9<" in html.replace(" ", "")
    assert 'class="c2 square"' in html  # the tenth category: second colour, another shape
    assert "</script><b>" not in html
    assert html.count("<script") == 2


def test_only_a_page_with_a_map_has_a_script_and_only_that_one(tmp_path: Path) -> None:
    allowed = scripts.script_hash(scripts.script("scatter.js"))
    assert f"script-src '{allowed}'" in written(tmp_path).read_text()
    plain = page.render("T", "l", [page.Section("a", "A", [page.Text("x")])], made_by={})
    assert "script" not in plain
    inside = page.render("T", "l", [page.Section("a", "A", [page.Details("more", [block()])])], made_by={})
    assert scripts.script("scatter.js") in inside


def test_the_data_hold_every_point_once() -> None:
    record = json.loads(scatter.data(block()))
    assert record["ids"] == IDS
    placed = np.reshape(record["points"], (-1, 2)) / 10
    assert placed.min() >= 0
    assert (placed <= [scatter.WIDTH, scatter.HEIGHT]).all()
    assert placed[0].tolist() == [18, scatter.HEIGHT - 18]  # the second axis points upwards
    assert record["ways"][1]["codes"] == [1, 0, 1, 0, 1, -1]
    assert block(points=np.zeros((6, 2))).placed().tolist() == [[4300, 3000]] * 6


@pytest.mark.parametrize("side", [16, 40])
def test_sheets_keep_each_picture_in_its_cell(side: int) -> None:
    thumbs = np.stack(
        [np.full((side, side, 3), i % 250, np.uint8) for i in range(sprites._COLUMNS * sprites._ROWS + 3)]
    )
    laid = sprites.sheets(thumbs)
    assert len(laid.uris) == 2
    for k in (0, 1, sprites._COLUMNS, 499, 502):
        sheet, at = divmod(k, laid.columns * laid.rows)
        with Image.open(io.BytesIO(base64.b64decode(laid.uris[sheet].split(",")[1]))) as picture:
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        y, x = at // laid.columns * laid.height, at % laid.columns * laid.width
        cell = pixels[y : y + side, x : x + side]
        assert np.abs(cell - k % 250).max() <= (0 if side <= 32 else 6)


def test_thumbnails_of_any_picture() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (174, 100, 3), dtype=np.uint8)
    assert page.thumbnail(colour).shape == (64, 37, 3)
    assert (page.thumbnail(colour[:20, :20]) == colour[:20, :20]).all()
    assert page.thumbnail(np.random.default_rng(0).normal(size=(21, 21, 4)).astype(np.float32)).shape == (21, 84, 3)


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(InputError, match="not a map"):
        block(points=np.full((6, 2), np.nan))
    with pytest.raises(InputError, match="codes do not fit"):
        block(colourings=[page.Colouring("x", np.array([0, 0, 0, 0, 0, 3]), ["a"])])
    with pytest.raises(InputError, match="needs a colouring"):
        block(colourings=[])
    with pytest.raises(InputError, match="belong together"):
        block(picture_of=None)


DRIVE = """
Element.prototype.setPointerCapture = () => {};
const plot = document.querySelector(".plot"), box = plot.getBoundingClientRect(), out = {};
const find = (s) => document.querySelector(s);
const at = (kind, x, y, more) => plot.dispatchEvent(new PointerEvent(kind, {clientX: box.left + x * box.width,
  clientY: box.top + y * box.height, bubbles: true, pointerType: "mouse", ...more}));
const ids = () => [...document.querySelectorAll(".list strong")].map((n) => n.textContent);
at("pointermove", 0.5, 0.5);
out.tip = find(".tip").textContent; out.sprite = find(".tip .sprite").style.backgroundPosition;
at("pointermove", 0.5, 0.131);
out.bare = find(".tip .sprite") === null;
at("pointerleave", 0, 0); out.gone = find(".tip").hidden;
at("pointerdown", 0.98, 0.97); at("pointerup", 0.98, 0.97); out.clicked = ids();
at("pointerdown", 0.02, 0.6);
for (const [x, y] of [[0.01, 0.999], [0.999, 0.999], [0.999, 0.6]]) at("pointermove", x, y);
at("pointerup", 0.999, 0.6); out.lassoed = ids();
out.file = find(".save").download; out.faded = document.querySelectorAll(".dots .faded").length;
const asked = fetch(find(".save").href).then((r) => r.text()).then((t) => { out.csv = t; });
const press = (key) => plot.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
asked.then(() => {
  press("Escape"); out.cleared = ids();
  press("ArrowRight"); press("ArrowRight"); press("Enter"); out.keyed = ids(); out.said = find(".status").textContent;
  const ways = find(".ways"); ways.value = 1; ways.dispatchEvent(new Event("change"));
  out.key = [...document.querySelectorAll(".key button")].map((n) => n.textContent);
  document.querySelectorAll(".key button")[2].click(); out.category = ids();
  document.body.dataset.out = JSON.stringify(out);
});
"""


def test_hover_click_lasso_and_keys_in_a_browser(tmp_path: Path) -> None:
    html = dumped(written(tmp_path), DRIVE)
    found = re.search(r'data-out="([^"]*)"', html)
    assert found, html[-2000:]
    out = json.loads(unescape(found.group(1)))
    assert out["tip"] == "ecluster: noiseclass: <flat>"
    assert out["sprite"] == "-640px 0px"  # the fifth picture of the sheet, ten times its 16 pixels
    assert out["bare"]
    assert out["gone"]
    assert out["clicked"] == ['a"b,c']
    assert out["lassoed"] == ["=bad", 'a"b,c']
    assert out["faded"] >= 3
    assert out["file"] == "selected.csv"
    assert list(csv.reader(io.StringIO(out["csv"]))) == [
        ["id", "cluster", "class"], ["'=bad", "k0", "<flat>"], ['a"b,c', "k0", "round"],
    ]  # fmt: skip
    assert out["cleared"] == []
    assert out["keyed"] == ['a"b,c']
    assert out["key"] == ["no label 1", "round 2", "<flat> 3"]
    assert out["category"] == ["=bad", "</script><b>", "e"]


def test_the_policy_of_the_page_lets_its_script_run(tmp_path: Path) -> None:
    html = dumped(written(tmp_path))
    assert '<figure class="scatter live"' in html
    assert "Hover to look" in html
