"""The labelling page in a real browser: a key for each answer, and nothing of the model's before one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import page_sets
import pytest
from served import npy_bytes
from visits import CHROMIUM, CONTRAST, WIDTHS, Visit, launched, serving

import made_tables
from estampa.monitor.feedback import Given, read_feedback

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
SETS = ("drawings", "values", "table")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("label")


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    """A service that was asked about some objects of each set, the first eight with consent."""
    settings = {"log": folder / "log", "feedback": folder / "labels", "keep": folder / "keep"}
    rows = {
        "drawings": page_sets.faces(12), "table": made_tables.galaxies(5, seed=3)[0],
        "values": np.random.default_rng(0).integers(0, 255, (12, 8, 8, 1), np.uint8),
    }  # fmt: skip
    sets = {name: getattr(page_sets, name)(folder / name / "model") for name in SETS}
    with serving(settings, **sets) as address:
        for name, some in rows.items():
            for part, consent in ((some[:8], "true"), (some[8:], "false")):
                if not len(part):
                    continue
                headers = {"Content-Type": "application/x-npy", "X-Estampa-Consent": consent}
                asked = httpx.post(f"{address}/v1/predict?model={name}", content=npy_bytes(part), headers=headers)
                assert asked.status_code == 200
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


def given(folder: Path) -> list[Given]:
    return list(read_feedback(folder / "labels"))


def pressed(page: Any, key: str) -> None:
    """Press a key and wait for what comes of it."""
    before = page.locator("#task").evaluate("e => { e.dataset.old = 1; }")
    page.keyboard.press(key)
    page.locator("#task:not([data-old]):not(.htmx-request):not(.htmx-settling)").wait_for()
    assert before is None


def test_by_keyboard_alone(visit: Visit, folder: Path) -> None:
    before = len(given(folder))
    page = visit.go("/models/drawings")
    page.get_by_role("link", name="Label", exact=True).click()
    page.get_by_role("link", name="Show only those whose picture was kept").click()
    visit.said("#task", "shown after yours")
    assert page.locator(".seen img").evaluate("i => i.naturalWidth") > 0
    assert "The model said" not in page.content()
    first = page.locator(".known dd").first.inner_text()
    pressed(page, "2")
    visit.said(".before", "You said: full. The model said:")
    playwright.expect(page.locator("#status")).to_contain_text("You said: full")
    second = page.locator(".known dd").first.inner_text()
    assert second != first
    pressed(page, "s")
    visit.said(".before", "Skipped.")
    pressed(page, "u")
    assert page.locator(".known dd").first.inner_text() == second
    pressed(page, "1")
    visit.said(".before", "You said: empty.")
    pressed(page, "u")
    pressed(page, "2")
    for _ in range(6):
        pressed(page, "1")
    visit.said(".empty", "Nothing that was kept is left to label")
    told = given(folder)[before:]
    assert [one.label for one in told] == ["full", "empty", None, "full", *["empty"] * 6]
    assert [one.id for one in told][:4] == [first, second, second, second]
    assert {one.drawn for one in told} == {"random", "chosen"}
    assert {one.via for one in told} == {"page"}
    page.keyboard.press("1")
    page.keyboard.press("Control+u")
    assert len(given(folder)) == before + len(told)
    visit.said(".standing", "of 100 labels that it takes")


def test_what_is_none_of_the_classes_is_named(visit: Visit, folder: Path) -> None:
    page = visit.go("/models/drawings/label")
    pressed_before = len(given(folder))
    page.keyboard.press("0")
    playwright.expect(page.locator("#new")).to_be_focused()
    page.keyboard.type("us 1")  # no keys, but what is typed
    pressed(page, "Enter")
    visit.said(".before", "You said: us 1.")
    visit.said(".before", "The model does not know this class.")
    pressed(page, "u")
    assert [one.label for one in given(folder)][pressed_before:] == ["us 1", None]


def test_values_are_typed(visit: Visit, folder: Path) -> None:
    page = visit.go("/models/values/label?lang=es&pictures=1")
    playwright.expect(page.locator("#value")).to_be_focused()
    page.keyboard.type("17,5")
    pressed(page, "Enter")
    visit.said(".before", "Usted dijo: 17,5. El modelo dijo:")
    playwright.expect(page.locator("#value")).to_be_focused()
    pressed(page, "u")  # no number holds one
    visit.said(".before", "después de la suya")
    page.keyboard.type("x")
    pressed(page, "Enter")
    visit.said("#task [role=alert]", "Se escribe así: 17,5")
    assert [one.label for one in given(folder)][-2:] == [17.5, None]


def test_without_javascript(browser: Any, site: str, folder: Path) -> None:
    plain = Visit(browser, site, java_script_enabled=False)
    page = plain.go("/models/table/label")
    for _ in range(5):
        page.get_by_role("button", name="kind1").click()
        assert "You said: kind1" in page.locator(".before").inner_text()
    assert "All done" in page.locator("#task").inner_text()
    assert "last=" in page.url
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Skip").click()
    assert "Skipped" in page.locator(".before").inner_text()
    page.get_by_role("button", name="Show the 1 skipped again").click()
    page.get_by_role("button", name="kind0").click()
    plain.end()
    mine = [one.label for one in given(folder) if one.label in ("kind0", "kind1", None)][-7:]
    assert mine == [*["kind1"] * 5, None, "kind0"]


@pytest.mark.parametrize("path", ["drawings/label", "drawings/label?pictures=1", "values/label", "table/label"])
def test_it_fits_and_can_be_read(browser: Any, site: str, path: str) -> None:
    visit = Visit(browser, site, locale="pt")
    page = visit.go(f"/models/{path}")
    assert page.locator("h1").count() == 1
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == [], scheme
    visit.end()


def test_a_service_that_is_gone_is_told(visit: Visit) -> None:
    page = visit.go("/models/values/label")
    visit.context.set_offline(True)
    page.fill("#value", "3")
    page.keyboard.press("Enter")
    visit.said("#task [role=alert]", "The service does not answer")
    visit.complaints = [one for one in visit.complaints if not one.startswith("htmx:")]  # its own word for it
    visit.context.set_offline(False)
    pressed(page, "Enter")
    visit.said(".before", "You said: 3.")
