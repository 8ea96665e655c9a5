"""The inline scripts of a page: as few as its blocks need, in one element that is allowed by its hash alone."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from estampa.page.blocks import Details, Section
from estampa.page.choose import ChosenBar
from estampa.page.scatter import Scatter

#: Block -> the file of its script; each needs cells.js before it.
_FILES = {Scatter: "scatter.js", ChosenBar: "choose.js"}


def script_of(sections: Sequence[Section]) -> str:
    """The script that the blocks of a page need, "" for none."""
    needed = {file for section in sections for file in _needed(section.blocks)}
    return script(*sorted(needed)) if needed else ""


def _needed(blocks: Sequence[Any]) -> set[str]:
    """Files of the blocks' scripts, however deep they stand."""
    found: set[str] = set()
    for block in blocks:
        found |= _needed(block.blocks) if isinstance(block, Details) else set()
        found |= {file for kind, file in _FILES.items() if isinstance(block, kind)}
    return found


@functools.cache
def script(*files: str) -> str:
    """The text of scripts, what they share before them."""
    folder = Path(__file__).parent
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in ("cells.js", *files))


def script_hash(text: str) -> str:
    """A script's hash as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
