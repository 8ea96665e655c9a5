"""Templates into HTML, and the files that pages load: each under a name that changes with its content."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import jinja2

from estampa import page
from estampa.serve.pages.words import LANGUAGES, Words

_ROOT = Path(__file__).parent
_STATIC = _ROOT / "static"
#: Name within /static/ -> the file and its media type. Nothing else is ever served from there.
FILES = {
    "page.css": (Path(page.__file__).parent / "page.css", "text/css; charset=utf-8"),
    "service.css": (_STATIC / "service.css", "text/css; charset=utf-8"),
    "service.js": (_STATIC / "service.js", "text/javascript; charset=utf-8"),
    "htmx.min.js": (_STATIC / "htmx.min.js", "text/javascript; charset=utf-8"),
    "htmx.LICENSE.txt": (_STATIC / "htmx.LICENSE.txt", "text/plain; charset=utf-8"),
    "icon.svg": (_STATIC / "icon.svg", "image/svg+xml"),
}


@functools.cache
def static(name: str) -> tuple[bytes, str, str]:
    """Content, media type and the first digits of the SHA-256 of a file; KeyError for a name that is not served."""
    path, kind = FILES[name]
    content = path.read_bytes()
    return content, kind, hashlib.sha256(content).hexdigest()[:12]


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ROOT / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def render(template: str, words: Words, root: str, **values: Any) -> str:
    """A template as HTML.

    Parameters
    ----------
    template : its name without ".html.j2".
    words : the language.
    root : the path that a proxy puts in front of the service, "" for none.
    values : what the template shows.
    """

    def asset(name: str) -> str:
        return f"{root}/static/{name}?v={static(name)[2]}"

    made = _environment().get_template(f"{template}.html.j2")
    return made.render(t=words, root=root, asset=asset, languages=LANGUAGES, **values)
