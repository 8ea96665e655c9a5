"""The model card as blocks for a template: the few forms of Markdown that `bundle.card` writes, and plain paragraphs.

A card may be filled in by hand, so nothing in it is taken for HTML: the template escapes every text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_FACT = re.compile(r"- \*\*(.+?):?\*\*:?\s*(.*)")
_RULE = re.compile(r"\|?[\s:|-]+\|?")


@dataclass
class Block:
    """A piece of a card.

    `kind`: "heading", "paragraph", "list" (rows of name and value), "table" (the first row is its head) or "code".
    """

    kind: str
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)


def blocks(card: str) -> list[Block]:
    """The blocks of a card, in order."""
    found: list[Block] = []
    code: list[str] | None = None
    for line in card.splitlines():
        if line.startswith("```"):
            if code is not None:
                found.append(Block("code", "\n".join(code)))
            code = [] if code is None else None
        elif code is not None:
            code.append(line)
        else:
            _take(line.strip(), found)
    if code:
        found.append(Block("code", "\n".join(code)))
    return [block for block in found if block.text or block.rows]


def _take(line: str, found: list[Block]) -> None:
    """Add a line to the last block, or begin a new one."""
    if not line:
        found.append(Block("paragraph"))
    elif line.startswith("#"):
        found.append(Block("heading", _plain(line.lstrip("#"))))
    elif line.startswith("- "):
        fact = _FACT.fullmatch(line)
        _rows_of("list", found).append([_plain(part) for part in (fact.groups() if fact else ("", line[2:]))])
    elif line.startswith("|"):
        rows = _rows_of("table", found)
        if not (len(rows) == 1 and _RULE.fullmatch(line)):
            rows.append([_plain(cell) for cell in re.split(r"(?<!\\)\|", line.strip("|"))])
    else:
        if not found or found[-1].kind != "paragraph":
            found.append(Block("paragraph"))
        found[-1].text = f"{found[-1].text} {_plain(line)}".strip()


def _rows_of(kind: str, found: list[Block]) -> list[list[str]]:
    if not found or found[-1].kind != kind:
        found.append(Block(kind))
    return found[-1].rows


def _plain(text: str) -> str:
    """A text without the signs of Markdown: cards escape bars, backslashes and `<`, and mark names with ` and **."""
    text = text.strip().replace("&lt;", "<").replace("**", "").replace("`", "")
    return re.sub(r"\\([|\\])", r"\1", text)
