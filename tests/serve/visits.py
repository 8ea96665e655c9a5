"""A visitor with a browser: what the tests of pages in Chromium share."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from served import until, words_of

from estampa.serve.app import create_app
from estampa.serve.settings import Settings

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = (360, 768, 1440)
#: Texts of a page whose contrast with what lies behind them is too weak, with the ratio.
CONTRAST = """() => {
    const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
    const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    const light = (c) => [.2126, .7152, .0722].reduce((sum, weight, i) => sum + weight * linear(c[i] / 255), 0);
    const ground = (node) => { for (let n = node; n; n = n.parentElement) {
        const c = rgb(getComputedStyle(n).backgroundColor);
        if (c.length < 4 || c[3] > .5) return c;
    } return [255, 255, 255]; };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), weak = [];
    const unseen = "script, template, noscript, .hidden, :disabled";
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
        if (!text || !node.checkVisibility() || node.closest(unseen)) continue;
        const [a, b] = [light(rgb(getComputedStyle(node).color)), light(ground(node))];
        const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
        if (ratio < 4.5) weak.push([text.slice(0, 40), ratio.toFixed(2)]);
    }
    return weak;
}"""


@contextlib.contextmanager
def serving(settings: Mapping[str, Any] | None = None, **sets: Any) -> Iterator[str]:
    """The address of a service of these bundles, in a thread of this process; `settings` as in Settings."""
    with tempfile.TemporaryDirectory() as scratch:
        told = {"scratch": Path(scratch), "quiet": True, "max_body": 2 << 20, **(settings or {})}
        app = create_app(Settings(bundles=words_of(**sets), **told))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
        thread = threading.Thread(target=server.run)
        thread.start()
        until(lambda: server.started, 20, "the service does not start")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


@contextlib.contextmanager
def launched() -> Iterator[Any]:
    """Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as found:
        one = found.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield one
        one.close()


class Visit:
    """A visitor with a browser of their own; what it asked elsewhere, and what it complained of."""

    def __init__(self, browser: Any, site: str, **how: Any) -> None:
        self.site, self.elsewhere, self.complaints = site, [], []
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, "locale": "en", **how})
        self.context.route("**/*", self._only_here)
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)

    def _only_here(self, route: Any) -> None:
        if route.request.url.startswith((self.site, "data:", "blob:")):
            route.continue_()
        else:
            self.elsewhere.append(route.request.url)
            route.abort()

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def go(self, path: str) -> Any:
        self.page.goto(self.site + path)
        return self.page

    def said(self, selector: str, words: str) -> str:
        """Wait until a place says these words; all that it says."""
        from playwright.sync_api import expect

        place = self.page.locator(selector)
        expect(place).to_contain_text(words)
        return str(place.inner_text())

    def end(self) -> None:
        self.context.close()
        assert not self.elsewhere, "something was asked of the network"
        assert not self.complaints
