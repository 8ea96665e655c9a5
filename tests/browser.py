"""A page opened in headless Chromium, with a script of the test's own run in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def dumped(page: Path, script: str = "", size: tuple[int, int] = (1200, 1400)) -> str:
    """The page's HTML once its scripts have run; the test is skipped where Chromium is not installed.

    With `script`, which runs last, a copy of the page without its security policy is opened; without, the page itself.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    if script:
        text = _POLICY.sub("", page.read_text(encoding="utf-8"))
        page = page.with_name("driven-" + page.name)
        page.write_text(text.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    words = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
        "--virtual-time-budget=4000", f"--user-data-dir={page.parent / 'profile'}",
        f"--window-size={size[0]},{size[1]}", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    ended = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    return ended.stdout
