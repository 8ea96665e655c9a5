"""Docs are tested: commands and Python in them run, generated pages are current, links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of the executed blocks: ```sh and ```python. Other fences (```text, ```bash) are for reading."""
    return BLOCK.findall(page.read_text())


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


#: Pages that take half a minute and more, whose verbs other tests run too: `make test-long` executes them.
LONG = (
    "docs/explain.md", "docs/explore.md", "docs/train.md", "docs/tutorials/characters.md",
    "docs/tutorials/galaxy-zoo.md", "docs/tutorials/service.md", "docs/tutorials/small-pictures.md",
)  # fmt: skip


def executed() -> list[Any]:
    """Every page with blocks that run, the long ones marked."""
    return [
        pytest.param(page, id=named(page), marks=[pytest.mark.long] if named(page) in LONG else [])
        for page in PAGES
        if blocks(page)
    ]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", executed())
def test_what_a_page_tells_to_run_runs(page: Path, tmp_path: Path) -> None:
    """All blocks of a page run in order in one empty folder, with the environment that a reader has."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    for language, text in blocks(page):
        words = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
        ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{named(page)}:\n{text}\n{ended.stdout[-2000:]}\n{ended.stderr[-3000:]}"


def test_generated_pages_are_current() -> None:
    words = [sys.executable, str(ROOT / "docs" / "make_reference.py"), "--check"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_the_recipe_page_gives_every_key_a_default_and_a_meaning() -> None:
    rows = re.findall(
        r"^\| `(\w+\.\w+)` \| (.+?) \| `(.+?)` \| (.*) \|$", (ROOT / "docs" / "recipe.md").read_text(), re.M
    )
    assert len(rows) > 60
    for key, allowed, default, meaning in rows:
        assert allowed, key
        assert meaning, key
        assert default != "(", key
        assert "Field(" not in default, key
    assert ("train.epochs", '"auto"') in [(key, default) for key, _, default, _ in rows]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{named(page)}: {target}"


def test_the_readme_shows_the_tree_as_it_is() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in sorted((ROOT / "src" / "estampa").iterdir()):
        if path.name not in ("__pycache__", "py.typed", "__main__.py"):
            assert re.search(rf"^\s+{re.escape(path.name)}/?\s", readme, re.MULTILINE), (
                f"{path.name} is not in the tree"
            )
