"""The pages in a real browser: every path, with nothing but loopback to be reached, and with the policy in force."""

from __future__ import annotations

import base64
import io
import math
import re
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import page_sets
import pytest
from served import npy_bytes, picture_bytes
from visits import CHROMIUM, CONTRAST, WIDTHS, Visit, launched, serving

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
SETS = ("drawings", "colours", "stamps", "values", "table")
LIGHT = picture_bytes(np.full((20, 20, 3), 250, np.uint8))
DARK = picture_bytes(np.full((9, 9, 3), 3, np.uint8))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("browser")
    with serving(**{name: getattr(page_sets, name)(folder / name / "model") for name in SETS}) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as one:
        yield one


@pytest.fixture
def visit(browser: Any, site: str) -> Iterator[Visit]:
    one = Visit(browser, site)
    yield one
    one.end()


@pytest.fixture
def plain(browser: Any, site: str) -> Iterator[Visit]:
    """A visitor without JavaScript."""
    one = Visit(browser, site, java_script_enabled=False)
    yield one
    one.end()


def given(name: str, data: bytes, kind: str = "image/png") -> dict[str, Any]:
    return {"name": name, "mimeType": kind, "buffer": data}


# ------------------------------------------------------------------ classify


def test_from_the_chooser_to_an_answer_and_what_it_hangs_on(visit: Visit) -> None:
    page = visit.go("/")
    page.get_by_role("link", name="drawings").click()
    visit.said("#answer", "The answer will stand here")
    page.locator(".presets a").nth(3).click()
    visit.said("#answer", "Most probably")
    assert page.url.endswith("/models/drawings?preset=3")
    assert page.locator(".presets a[aria-current]").count() == 1
    playwright.expect(page.locator("#status")).to_contain_text("%")
    page.get_by_role("button", name="Show what the answer hangs on").click()
    page.locator("img.map").wait_for()
    visit.said(".why", "speaks for it")
    assert page.locator("img.map").evaluate("i => i.naturalWidth") > 100
    page.go_back()
    visit.said("#answer", "The answer will stand here")


def test_files_are_chosen_one_or_many(visit: Visit) -> None:
    page = visit.go("/models/colours")
    page.set_input_files("#files", [given("sky.png", LIGHT)])
    visit.said("#answer h2", "light")
    page.set_input_files("#files", [given("a.png", DARK), given("b.png", LIGHT), given("c.png", b"no picture")])
    said = visit.said("#answer", "3 pictures")
    assert "No answer" in said
    page.get_by_role("button", name="Look closer b.png").click()
    visit.said("#answer h2", "light")


def test_a_file_is_dropped(visit: Visit) -> None:
    page = visit.go("/models/colours")
    dropped = """(zone, data) => {
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), carrier = new DataTransfer();
        carrier.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
        for (const name of ["dragenter", "dragover", "drop"])
            zone.dispatchEvent(new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: carrier }));
    }"""
    page.locator("#drop").evaluate(dropped, base64.b64encode(LIGHT).decode())
    visit.said("#answer h2", "light")
    assert page.locator("#drop.over").count() == 0


def test_a_picture_is_pasted(visit: Visit) -> None:
    page = visit.go("/models/colours")
    pasted = """(body, data) => {
        const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), carrier = new DataTransfer();
        carrier.items.add(new File([bytes], "image.png", { type: "image/png" }));
        body.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: carrier }));
    }"""
    page.locator("body").evaluate(pasted, base64.b64encode(DARK).decode())
    visit.said("#answer h2", "dark")


def test_a_face_is_drawn_with_the_mouse(visit: Visit) -> None:
    page = visit.go("/models/drawings")
    ask = page.get_by_role("button", name="Classify the drawing")
    assert ask.is_disabled()
    canvas = page.locator("#canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y, r = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, 0.28 * box["width"]
    page.mouse.move(x + r, y)
    page.mouse.down()
    for k in range(33):
        page.mouse.move(x + r * math.cos(k * math.pi / 16), y + r * math.sin(k * math.pi / 16))
    page.mouse.up()
    ask.click()
    visit.said("#answer", "Most probably")
    page.get_by_text("Details of this answer").click()
    visit.said("#answer .facts", "Your drawing")
    page.get_by_role("button", name="Undo").click()
    assert ask.is_disabled()


def test_a_line_is_drawn_with_the_keyboard(visit: Visit) -> None:
    page = visit.go("/models/drawings")
    page.locator("#canvas").focus()
    for key in ("ArrowLeft", "Space", *["ArrowRight"] * 6, "Space", "Shift+ArrowDown"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Classify the drawing").click()
    visit.said("#answer", "Most probably")
    page.get_by_role("button", name="Wipe").click()
    assert page.get_by_role("button", name="Classify the drawing").is_disabled()


BEGINS = """() => { const top = document.getElementById("answer").getBoundingClientRect().top;
    return !document.querySelector("#answer.empty") && top >= 0 && top < innerHeight * 0.6; }"""


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_an_answer_below_the_fold_is_brought_into_view(browser: Any, site: str, motion: str) -> None:
    visit = Visit(browser, site, viewport={"width": 360, "height": 640}, reduced_motion=motion)
    page = visit.go("/models/colours")
    page.set_input_files("#files", [given("sky.png", LIGHT)])
    page.wait_for_function(BEGINS)
    page = visit.go("/models/drawings")
    page.locator(".presets a").nth(2).click()
    page.wait_for_function(BEGINS)
    assert "preset=2" in page.evaluate("() => document.activeElement.getAttribute('href')"), "focus stays"
    page = visit.go("/models/drawings")
    page.locator("#canvas").click()
    page.get_by_role("button", name="Classify the drawing").click()
    page.wait_for_function(BEGINS)
    page = visit.go("/models/table")
    page.fill("#c0", "17.5")
    page.get_by_role("button", name="Classify").click()
    page.wait_for_function(BEGINS)
    visit.end()


def test_an_answer_in_sight_does_not_move_the_page(visit: Visit) -> None:
    page = visit.go("/models/colours")
    page.set_input_files("#files", [given("sky.png", LIGHT)])
    visit.said("#answer h2", "light")
    playwright.expect(page.locator("#status")).to_contain_text("light")
    assert page.evaluate("() => scrollY") == 0


def test_nothing_lies_over_the_field_in_focus(browser: Any, site: str) -> None:
    visit = Visit(browser, site, viewport={"width": 360, "height": 500}, reduced_motion="reduce")
    page = visit.go("/models/table")
    for i in range(6):
        page.locator(f"#c{i}").focus()
        over = """e => { const b = e.getBoundingClientRect();
            return [b.top + 2, b.bottom - 2].every((y) => e.contains(document.elementFromPoint(b.left + 8, y))); }"""
        assert page.locator(f"#c{i}").evaluate(over), f"c{i} is hidden"
    visit.end()


def test_errors_are_told_in_place(visit: Visit) -> None:
    page = visit.go("/models/colours?lang=es")
    page.set_input_files("#files", [given("x.png", b"no picture")])
    visit.said("#answer [role=alert]", "No se puede leer el archivo")
    page.set_input_files("#files", [given("big.png", bytes(3 << 20))])
    visit.said("#answer [role=alert]", "el límite de una solicitud")
    visit.context.set_offline(True)
    page.set_input_files("#files", [given("sky.png", LIGHT)])
    visit.said("#answer [role=alert]", "El servicio no responde")
    visit.complaints = [one for one in visit.complaints if not one.startswith("htmx:")]  # its own word for it
    visit.context.set_offline(False)
    page.set_input_files("#files", [given("sky.png", LIGHT)])
    visit.said("#answer h2", "light")


def test_a_problem_of_the_api_is_told_like_one_of_the_pages(visit: Visit) -> None:
    page = visit.go("/models/colours")
    page.locator("#give").evaluate("form => { form.dataset.limit = 1e9; }")
    page.set_input_files("#files", [given("big.png", bytes(3 << 20))])
    visit.said("#answer [role=alert]", "too large")


def test_a_row_is_typed_and_a_wrong_field_is_marked(visit: Visit) -> None:
    page = visit.go("/models/table?lang=es")
    page.locator(".samples a").first.click()
    visit.said("#answer", "Lo más probable")
    field = page.locator("#c0")
    assert re.fullmatch(r"-?\d+(,\d+)?", field.input_value())
    field.fill("mucho")
    page.get_by_role("button", name="Clasificar").click()
    visit.said("#answer [role=alert]", "mag_u")
    playwright.expect(field).to_have_attribute("aria-invalid", "true")
    playwright.expect(field).to_be_focused()
    visit.said("#r0", "No es un número")
    field.fill("17,25")
    page.get_by_role("button", name="Clasificar").click()
    visit.said("#answer", "Lo más probable")
    playwright.expect(field).not_to_have_attribute("aria-invalid", "true")
    assert "17,25" in visit.said("#answer", "La fila que se leyó")


# ------------------------------------------------------------------ batches, the model's page


def test_a_zip_file_goes_in_and_a_table_comes_out(visit: Visit) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for i in range(9):
            archive.writestr(f"{i}.png", LIGHT if i % 2 else DARK)
        for name in ("notes.txt", "readme.md", "__MACOSX/0.png"):
            archive.writestr(name, "words")
    page = visit.go("/models/colours/batch")
    page.set_input_files("#file", [given("nine.zip", stream.getvalue(), "application/zip")])
    visit.said("#chosen-file", "nine.zip")
    page.get_by_role("button", name="Classify all").click()
    visit.said("#job", "9 objects answered. 2 files in the zip are no pictures, and were passed over.")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the answers").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 10
    assert lines[1].startswith("0.png,dark,")
    page.get_by_role("button", name="Delete now").click()
    visit.said("h1", "Many pictures at once")


def test_a_batch_that_fails_says_why(visit: Visit) -> None:
    page = visit.go("/models/colours/batch")
    page.set_input_files("#file", [given("bad.zip", b"PK\x03\x04", "application/zip")])
    page.get_by_role("button", name="Classify all").click()
    visit.said("#job [role=alert]", "damaged")


@pytest.mark.parametrize("name", SETS)
def test_the_models_page(visit: Visit, name: str) -> None:
    page = visit.go(f"/models/{name}")
    page.get_by_role("link", name="About the model").click()
    visit.said("h1", name)
    page.get_by_text("The whole model card").click()
    visit.said(".card-text", "Use")


# ------------------------------------------------------------------ everybody


def test_the_language_is_kept(visit: Visit) -> None:
    page = visit.go("/models/drawings?preset=1")
    page.get_by_role("link", name="Português").click()
    visit.said("#answer", "O mais provável")
    assert page.url.endswith("?preset=1&lang=pt")
    visit.go("/")
    visit.said("h1", "Escolher um modelo")


@pytest.mark.parametrize("locale", ["es-AR", "pt-BR", "de-DE"])
def test_the_browser_says_the_language(browser: Any, site: str, locale: str) -> None:
    visit = Visit(browser, site, locale=locale)
    visit.go("/")
    visit.said("h1", {"es-AR": "Elegir un modelo", "pt-BR": "Escolher um modelo", "de-DE": "Choose a model"}[locale])
    visit.end()


def test_everything_works_without_javascript(plain: Visit) -> None:
    page = plain.go("/models/colours")
    assert not page.locator("#choose").is_visible()
    page.set_input_files("#files", [given("sky.png", LIGHT)])
    page.get_by_role("button", name="Classify").click()
    assert "light" in page.locator("#answer h2").inner_text()
    page.get_by_role("button", name="Show what the answer hangs on").click()
    assert page.locator("img.map").count() == 1
    plain.go("/models/drawings").locator(".presets a").nth(2).click()
    assert "Most probably" in page.locator("#answer").inner_text()
    assert not page.locator("canvas").is_visible()
    plain.go("/models/table").fill("#c0", "x")
    page.get_by_role("button", name="Classify").click()
    assert page.locator("#c0").get_attribute("aria-invalid") == "true"
    plain.go("/models/colours/batch").set_input_files(
        "#file", [given("a.npy", npy_bytes(np.zeros((4, 12, 12, 3), np.uint8)))]
    )
    page.get_by_role("button", name="Classify all").click()
    playwright.expect(page.locator("#job.done")).to_be_visible()  # by the page's own refresh
    assert "4 objects answered" in page.locator("#job").inner_text()


def test_the_keyboard_reaches_everything(visit: Visit) -> None:
    page = visit.go("/models/drawings")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.className") == "skip"
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("() => document.activeElement.id || document.activeElement.getAttribute('href') || ''")
        )
    assert "files" in seen
    assert "canvas" in seen
    assert len({found for found in seen if "?preset=" in found}) == 24
    page.locator(".presets a").nth(5).focus()
    page.keyboard.press("Enter")
    visit.said("#answer", "Most probably")
    assert "preset=5" in page.evaluate("() => document.activeElement.getAttribute('href')"), "focus stays where it was"


PAGES = (
    "/", "/models/drawings?preset=1", "/models/stamps?preset=0&why=1", "/models/table?preset=0",
    "/models/colours/about", "/models/colours/batch", "/models/nobody",
)  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_pages_fit_and_can_be_read(browser: Any, site: str, path: str) -> None:
    visit = Visit(browser, site, locale="es")
    page = visit.go(path)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} pixels wide at {width}"
        small = page.locator("button:visible, .button:visible, .tabs a:visible").evaluate_all(
            "all => all.filter((e) => e.getBoundingClientRect().height < 32).map((e) => e.textContent)"
        )
        assert not small, f"too small for a finger at {width}"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == [], scheme
    visit.end()


def test_headings_landmarks_and_names(visit: Visit) -> None:
    for path in PAGES:
        page = visit.go(path)
        assert page.locator("main").count() == page.locator("h1").count() == 1, path
        nameless = page.locator("button:visible, a:visible, input:visible, canvas:visible").evaluate_all(
            """all => all.filter((e) => !(e.innerText || e.getAttribute("aria-label") || e.labels?.length
                || e.querySelector("img[alt]:not([alt=''])"))).map((e) => e.outerHTML.slice(0, 120))"""
        )
        assert not nameless, path
        levels = page.locator("h1:visible, h2:visible, h3:visible").evaluate_all("all => all.map((e) => +e.tagName[1])")
        assert levels[0] == 1
        assert all(after - before <= 1 for before, after in pairwise(levels)), (path, levels)
