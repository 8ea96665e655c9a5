"""Boxes to tick: seen without script, alive with it; the list that is saved holds what is ticked, and survives."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
from test_page import Tags

from browser import dumped
from estampa import page
from estampa.page import scripts

IDS = ["a", "=b", 'c"d', "</script>e", "f"]


def written(tmp_path: Path, *, more: Any = ()) -> Path:
    def one(k: int, reason: str = "copy", *, ticked: bool = False) -> page.Choice:
        return page.Choice(
            IDS[k], page.Picture(np.full((8, 8, 3), 40 * k, np.uint8), f"class {k}", IDS[k]), reason, ticked
        )

    copies = page.Choices(
        "exact", [[one(0), one(1, ticked=True)], [one(2), one(3, ticked=True)]], "Copies.",
        rest=[("x", "copy, not <shown>"), ("y", "copy")], rest_words="Also the 2 that are not shown", rest_ticked=True,
    )  # fmt: skip
    alone = page.Choices("blurred", [[one(1, "blurred")], [one(4, "blurred")]], "Blurred.", side=144)
    bare = page.Choices("bad", [[page.Choice("g.jpg", None, "empty file", True)]])
    bar = page.ChosenBar("exclude.csv", "estampa-test", "The list lies beside.")
    sections = [page.Section("clean", "Clean", [bar, copies]), page.Section("more", "More", [alone, bare, *more])]
    path = tmp_path / "page.html"
    path.write_text(page.render("T", "l", sections, made_by={}), encoding="utf-8")
    return path


def test_without_script_the_boxes_show_what_is_suggested(tmp_path: Path) -> None:
    html = written(tmp_path).read_text()
    tags = Tags(html)
    assert len(tags.ids) == len(set(tags.ids))
    assert "The list lies beside." in html
    boxes = re.findall(r'<input type="checkbox"[^>]*>', html)
    assert len(boxes) == 8
    assert all("disabled" in box for box in boxes)
    assert sum(" checked" in box for box in boxes) == 4
    assert "</script>e" not in html
    assert "not <shown>" not in html
    assert 'class="chosen-bar" role="region" aria-label="What is ticked" hidden' in html
    assert "Tick all but the first of each group" in html


def test_a_page_has_the_scripts_that_it_needs_and_no_other(tmp_path: Path) -> None:
    html = written(tmp_path).read_text()
    assert scripts.script("choose.js") in html
    assert ".plot" not in scripts.script("choose.js")
    assert f"script-src '{scripts.script_hash(scripts.script('choose.js'))}'" in html
    dots = page.Scatter(np.zeros((1, 2)), ["a"], [page.Colouring("k", np.array([0]), ["k"])])
    both = written(tmp_path, more=[page.Details("map", [dots])]).read_text()
    assert scripts.script("choose.js", "scatter.js") in both


DRIVE = """
const out = {}, all = (s) => [...document.querySelectorAll(s)], find = (s) => document.querySelector(s);
const count = () => find(".chosen-bar .count").textContent;
const text = () => fetch(find(".chosen-bar .save").href).then((r) => r.text());
const box = (id) => all(".pick input").filter((b) => b.dataset.id === id);
(async () => {
  out.shown = !find(".chosen-bar").hidden; out.file = find(".chosen-bar .save").download;
  out.first = count(); out.csv = await text();
  out.twins = box("=b").map((b) => b.checked);
  box("=b")[1].click(); out.unticked = [count(), ...box("=b").map((b) => b.checked)];
  find("#choices-exact .untick").click(); out.none = count(); out.tally = find("#choices-exact .tally").textContent;
  find("#choices-exact .tick").click(); out.all = count();
  find("#choices-blurred .tick").click(); out.more = count();
  find("#choices-exact .rest input").click(); out.rest = count();
  out.kept = localStorage.getItem("estampa-test"); out.last = await text();
  const boxes = all("#choices-blurred .pick input"); boxes[0].focus();
  boxes[0].dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
  out.focus = document.activeElement.dataset.id;
  find(".chosen-bar .reset").click(); out.reset = count(); out.gone = localStorage.getItem("estampa-test");
  document.body.dataset.out = JSON.stringify(out);
})();
"""


def driven(path: Path, script: str) -> dict[str, Any]:
    html = dumped(path, script)
    found = re.search(r'data-out="([^"]*)"', html)
    assert found, html[-2000:]
    return dict(json.loads(unescape(found.group(1))))


def test_ticks_count_save_and_return_in_a_browser(tmp_path: Path) -> None:
    out = driven(written(tmp_path), DRIVE)
    assert out["shown"]
    assert out["file"] == "exclude.csv"
    assert out["first"] == "5"
    assert list(csv.reader(io.StringIO(out["csv"]))) == [
        ["id", "reason"], ["'=b", "copy"], ["</script>e", "copy"], ["g.jpg", "empty file"], ["x", "copy, not <shown>"],
        ["y", "copy"],
    ]  # fmt: skip
    assert out["twins"] == [True, True]  # the same id in two parts is one choice
    assert out["unticked"] == ["4", False, False]
    assert out["none"] == "3"
    assert out["tally"] == "0 of 4 ticked"
    assert out["all"] == "5"
    assert out["more"] == "6"
    assert out["rest"] == "4"
    assert json.loads(out["kept"]) == {"ticked": ["=b", "</script>e", "f", "g.jpg"], "rests": []}
    assert [line[0] for line in csv.reader(io.StringIO(out["last"]))] == ["id", "'=b", "</script>e", "f", "g.jpg"]
    assert out["focus"] == "f"
    assert out["reset"] == "5"
    assert out["gone"] is None


KEPT = 'localStorage.setItem("estampa-test", JSON.stringify({ticked: ["f"], rests: []}));'
REFUSED = 'Object.defineProperty(window, "localStorage", {get() { throw new Error("no"); }});'
READ = """
const one = document.querySelectorAll(".pick input")[0]; one.click();
document.body.dataset.out = JSON.stringify({count: document.querySelector(".count").textContent,
  told: document.querySelector(".told").textContent});
"""


def test_ticks_survive_a_reload_and_a_browser_that_keeps_nothing(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_text()
    path.write_text(whole.replace("<header>", f"<script>{KEPT}</script><header>"))
    out = driven(path, READ.replace("one.click();", ""))
    assert out == {"count": "1", "told": "As you left it."}
    path.write_text(whole.replace("<header>", f"<script>{REFUSED}</script><header>"))
    out = driven(path, READ)
    assert out == {"count": "6", "told": "This browser keeps nothing: save before you leave."}


def test_the_policy_lets_the_script_run(tmp_path: Path) -> None:
    html = dumped(written(tmp_path))
    assert '<html lang="en" class="choosing">' in html
    assert '<strong class="count">5</strong>' in html
