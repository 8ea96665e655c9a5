"""The words of the pages: three languages with the same keys, numbers as each writes them, and the templates."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from estampa.serve.pages import render, words
from estampa.serve.pages.markdown import blocks
from estampa.serve.pages.words import LANGUAGES, Words, preferred, texts
from estampa.serve.problems import KINDS

ROOT = Path(render.__file__).parent
TEMPLATES = sorted((ROOT / "templates").glob("*.j2"))
SOURCES = [*TEMPLATES, *ROOT.parent.glob("*.py")]
PLACES = re.compile(r"{(\w+)}")
KEYS = re.compile(r"""f?["']([a-z]+\.(?:[a-z_{][^"'\s/(]*)?)""")


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != words.DEFAULT])
def test_every_language_says_everything_with_the_same_places(language: str) -> None:
    english, other = texts(words.DEFAULT), texts(language)
    assert english.keys() == other.keys()
    for key, text in english.items():
        assert set(PLACES.findall(text)) == set(PLACES.findall(other[key])), key
        assert text.strip() == text, key
        assert other[key].strip() == other[key] != "", key
    alike = {"flag.unreadable.text", "metric.roc_auc.name", "metric.pr_auc.name", "about.pixels"}
    same = {key for key, text in english.items() if text == other[key] and " " in text}
    assert same <= alike, "not translated"


def asked() -> set[str]:
    """Every key that code and templates name; "{...}" stands for what is put in."""
    found = {key for path in SOURCES for key in KEYS.findall(path.read_text())}
    cut = {re.sub(r"{[^}]*}?", "{}", key) for key in found if not key.endswith((".j2", ".py", ".npy"))}
    return {key + "{}" if key.endswith(".") else key for key in cut}


def matches(asked_for: str, key: str) -> bool:
    """Whether a key is one that is asked for, of one or of many."""
    pattern = ".+".join(re.escape(part) for part in asked_for.split("{}"))
    return bool(re.fullmatch(pattern + r"(\.one|\.other|_pictures|_rows)?", key))


def test_every_key_that_is_asked_for_is_there_and_none_is_left_over() -> None:
    known, wanted = texts("en"), asked()
    rooms = {key.partition(".")[0] for key in known}
    wanted = {key for key in wanted if key.partition(".")[0] in rooms}
    assert len(wanted) > 100
    missing = [key for key in wanted if not any(matches(key, one) for one in known)]
    assert not missing
    left = [one for one in known if not any(matches(key, one) for key in wanted)]
    assert not left


def test_every_kind_of_problem_has_its_words() -> None:
    assert not [kind for kind in KINDS if f"problem.kind.{kind}" not in texts("en")]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("es-MX,es;q=0.9,en;q=0.5", "es"), ("pt-BR", "pt"), ("de,fr;q=0.9", "en"), ("", "en"),
        ("en;q=0.2,pt;q=0.8", "pt"), ("*", "en"), ("es;q=0", "en"), (";;;=,q", "en"), ("es;q=x,pt;q=0.1", "pt"),
    ],
)  # fmt: skip
def test_the_browser_chooses_the_language(header: str, language: str) -> None:
    assert preferred("", "", header) == language


def test_the_control_and_the_cookie_come_first() -> None:
    assert preferred("pt", "es", "en") == "pt"
    assert preferred("xx", "es", "en") == "es"


def test_numbers_are_written_as_the_language_does() -> None:
    en, es, pt = (Words(code) for code in ("en", "es", "pt"))
    assert [t.whole(12345) for t in (en, es, pt)] == ["12,345", "12\u202f345", "12.345"]
    assert [t.number(-1234.5, 1) for t in (en, es, pt)] == ["−1,234.5", "−1\u202f234,5", "−1.234,5"]
    assert [t.number(math.nan) for t in (en, es)] == ["–", "–"]
    assert [t.percent(p) for t in (en,) for p in (0, 0.0004, 0.004, 0.5, 0.873, 0.996, 0.9999, 1)] == [
        "0\u202f%", "<\u202f0.1\u202f%", "0.4\u202f%", "50\u202f%", "87\u202f%", "99.6\u202f%", ">\u202f99.9\u202f%",
        "100\u202f%",
    ]  # fmt: skip
    assert es.chance(1.0) == ">\u202f99,9\u202f%"
    assert pt.chance(0.0) == "<\u202f0,1\u202f%"
    assert es.points(0.123) == "+12"
    assert es.points(-0.0123) == "−1,2"
    assert en.size(32 << 20) == "32\u202fMiB"
    assert es.short(0.01234) == "0,01234"


def test_typed_numbers_come_back_as_they_were() -> None:
    for code in LANGUAGES:
        t = Words(code)
        for value in (0.0, -9999.0, 17.25, 1e-7, 123456.789):
            assert t.read(t.typed(value)) == value
        assert math.isnan(t.read("  "))
        assert t.read("−3") == -3
    assert Words("es").read("17,25") == Words("es").read("17.25") == 17.25
    wrong = (("en", "17,25"), ("es", "1.234,5"), ("es", "1,2,3"), ("en", "x"), ("en", "1_000"), ("en", "inf"))
    for code, text in wrong:
        with pytest.raises(ValueError):
            Words(code).read(text)


class _Policy(HTMLParser):
    """Finds what the service's Content-Security-Policy would refuse, and links that lead out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.found += [f"{tag} {name}" for name in names if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(tag)
        for name in ("href", "src", "action", "hx-get", "hx-post"):
            if re.match(r"\w+://|//", names.get(name) or ""):
                self.found.append(f"{tag} {name}={names[name]}")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.name)
def test_templates_keep_to_the_policy(path: Path) -> None:
    parser = _Policy()
    parser.feed(path.read_text())
    assert not parser.found
    assert "|safe" not in path.read_text().replace(" ", "")


def test_what_pages_load_is_whole_and_has_its_licence() -> None:
    for name in render.FILES:
        content, kind, digest = render.static(name)
        assert content
        assert kind
        assert len(digest) == 12
    assert b"Zero-Clause BSD" in render.static("htmx.LICENSE.txt")[0]
    script = render.static("service.js")[0].decode()
    assert not re.search(r"https?://|eval\(|innerHTML|localStorage|sessionStorage|document\.cookie", script)


def test_a_card_becomes_blocks_and_nothing_in_it_is_html() -> None:
    card = (
        "# A &lt;b> card\n\nWords of\ntwo lines.\n\n- **Who:** \\|me\\|\n- **Why:** `x`\n\n| a | b |\n| --- | --- |\n"
        "| 1 | \\| |\n\n```sh\ncurl x\n```\n- bare\n"
    )
    found = blocks(card)
    assert [b.kind for b in found] == ["heading", "paragraph", "list", "table", "code", "list"]
    assert found[0].text == "A <b> card"
    assert found[1].text == "Words of two lines."
    assert found[2].rows == [["Who", "|me|"], ["Why", "x"]]
    assert found[3].rows == [["a", "b"], ["1", "|"]]
    assert found[4].text == "curl x"
    assert found[5].rows == [["", "bare"]]
    assert blocks("```\nnever closed") != []
