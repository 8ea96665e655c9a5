"""Pages: self-contained, linked, escaped; tables exact; pictures true to their pixels."""

from __future__ import annotations

import base64
import csv
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from estampa import page
from estampa.errors import InputError
from estampa.measure import Interval
from estampa.page import style, svg
from estampa.page.table import latex, number

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Tags(HTMLParser):
    """Collects tags, ids and links, and fails on a tag that is closed out of order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.names: set[str] = set()
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names.add(tag)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.links += [given["href"] or ""] if "href" in given else []
        self.sources += [given["src"] or ""] if "src" in given else []
        if tag == "img":
            assert given.get("alt") is not None
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def drawing() -> page.Drawn:
    with page.drawing(size=style.SMALL) as (figure, axes):
        axes.plot([0, 1, 2], [1, 0, 2])
        axes.set_xlabel("epoch")
        axes.text(1, 1, "μ & <text>")
        return page.figure(figure)


def whole() -> str:
    table = page.Table(
        ["model", "accuracy"],
        [["ours", Interval(0.9, 0.88, 0.92)], ["<script>", Interval(0.8, 0.7, 0.9)]],
        best={"accuracy": "max"},
        drawn="accuracy",
    )
    stamps = [page.Picture(np.random.default_rng(i).normal(size=(9, 9, 2)), f"n° {i}", "note") for i in range(3)]
    sections = [
        page.Section(
            "result", "Result & more", [page.Headline([("accuracy", Interval(0.9, 0.88, 0.92), "of 100")]), table]
        ),
        page.Section("figures", "Figures", [page.Figure(drawing().svg, "one"), page.Figure(drawing().svg, "two")], 3),
        page.Section("png", "PNG", [page.Figure(drawing().png, "raster"), page.Text("a <b>\n\nb"), page.Code("x < y")]),
        page.Section("pictures", "Pictures", [page.Pictures(stamps, "Stamps.", 2, ("g", "r"), pixel_scale=0.5)]),
        page.Section("rest", "Rest", [page.Details("more", [page.Facts({"a": {"b": 1}, "c": [1, 2]})])]),
        page.Section(
            "notes",
            "Notes",
            [
                page.Note("bad", "no"),
                page.Figure(page.histogram([1, 2, 900], 0, 1)),
                page.Figures([page.Figure(page.histogram([2, 1], 0, 1), "small one")], "both"),
            ],
        ),
    ]
    return page.render("A <title>", "The lead & all.", sections, made_by={"command": "estampa x", "versions": {"n": 1}})


def test_a_page_is_whole_and_needs_no_network() -> None:
    tags = Tags(whole())
    assert len(tags.ids) == len(set(tags.ids))
    inner = {link[1:] for link in tags.links if link.startswith("#")}
    assert inner <= set(tags.ids)
    assert {"result", "figures", "pictures", "made"} <= inner
    assert all(link.startswith("#") for link in tags.links)
    assert tags.sources
    assert all(source.startswith("data:image/png;base64,") for source in tags.sources)
    assert "script" not in tags.names
    assert "default-src 'none'" in whole()


def test_text_is_never_markup() -> None:
    html = whole()
    assert "A &lt;title&gt;" in html
    assert "&lt;script&gt;" in html
    assert "<b>" not in html


def test_the_same_figure_twice_keeps_its_own_clip_paths() -> None:
    html = whole()
    for used in re.findall(r"url\(#([^)]+)\)", html):
        assert html.count(f'id="{used}"') == 1
    assert len(set(re.findall(r'<clipPath id="(f\d+)-', html))) == 2


def test_figures_keep_text_as_text_and_follow_the_screen() -> None:
    drawn = drawing()
    assert ">epoch</text>" in drawn.svg
    assert style.TEXT in drawn.svg
    shown = svg.embed(drawn.svg, "f1-", 'an "alt"')
    assert f"var(--text, {style.TEXT})" in shown
    assert f"var(--series-1, {style.OKABE_ITO[0].lower()})" in shown.lower()
    assert 'aria-label="an &quot;alt&quot;"' in shown
    assert "<?xml" not in shown
    assert drawn == drawing()
    with Image.open(io.BytesIO(drawn.png)) as picture:
        assert picture.size == (style.SMALL[0] * 192, style.SMALL[1] * 192)


def test_matplotlib_gets_its_own_settings_back() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    drawing()
    assert dict(mpl.rcParams) == before


def test_the_page_imports_with_the_base_installation() -> None:
    code = (
        "import sys; import estampa.page as p;"
        "p.render('t', 'l', [p.Section('a', 'A', [p.Table(['x'], [[1]])])], made_by={});"
        "print([m for m in ('matplotlib', 'torch', 'sklearn', 'scipy', 'h5py') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_ids_of_sections_are_checked() -> None:
    for ids in (["a", "a"], ["made"], ["a b"], [""]):
        with pytest.raises(InputError, match="id must be a word"):
            page.render("t", "l", [page.Section(i, "T", []) for i in ids], made_by={})
    with pytest.raises(InputError, match="not a block"):
        page.render("t", "l", [page.Section("a", "T", ["text"])], made_by={})


def test_a_table_marks_the_best_as_printed() -> None:
    rows = [["a", 0.90004], ["b", 0.90001], ["c", 0.8], ["d", None], ["e", float("nan")]]
    shown = page.Table(["m", "x"], rows, best={"x": "max"}).shown()
    assert [row[1].best for row in shown] == [True, True, False, False, False]
    assert [row[1].text for row in shown] == ["0.900", "0.900", "0.800", "–", "not defined"]


def test_numbers_stand_right_with_the_same_decimals() -> None:
    table = page.Table(["m", "x", "n"], [["a", Interval(1, 0.5, 1.5), 2454], ["b", -0.25, 3]], decimals={"x": 2})
    assert table.sides() == ["left", "right", "right"]
    assert [[c.text for c in row] for row in table.shown()] == [["a", "1.00", "2,454"], ["b", "−0.25", "3"]]
    assert table.shown()[0][1].interval == "0.50–1.50"
    below = page.Table(["m", "x"], [["a", Interval(-0.1, -0.25, 0.5)]], decimals={"x": 2})
    assert below.shown()[0][1].interval == "−0.25 to 0.50", "no dash beside a minus"
    assert "[$-$0.25, 0.50]" in below.to_latex()


def test_bars_and_whiskers_share_one_axis() -> None:
    bars = page.Table(["m", "x"], [["a", 10], ["b", 5], ["c", None]], drawn="x").shown()
    assert [row[1].bar for row in bars] == [(0, 1, 1), (0, 0.5, 0.5), None]
    whiskers = page.Table(["m", "x"], [["a", Interval(2, 1, 3)], ["b", Interval(4, 3, 5)]], drawn="x").shown()
    assert [row[1].bar for row in whiskers] == [(0, 0.25, 0.5), (0.5, 0.75, 1)]


def test_cells_lead_to_rows_of_other_tables() -> None:
    first = page.Table(["why"], [[page.Link("g < r", "row-g")]])
    second = page.Table(["figure"], [["g"], ["r"]], ids=["row-g", "row-r"])
    text = page.render("t", "l", [page.Section("a", "A", [first, second])], made_by={})
    assert '<a href="#row-g">g &lt; r</a>' in text
    assert '<tr id="row-r">' in text
    assert first.to_csv() == "why\ng < r\n"


def test_tables_refuse_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="another number of cells"):
        page.Table(["a", "b"], [[1]])
    with pytest.raises(InputError, match="no column 'y'"):
        page.Table(["a"], [[1]], best={"y": "max"})
    with pytest.raises(InputError, match="unknown kind"):
        page.Note("worse", "x")  # type: ignore[arg-type]


def test_csv_and_latex_say_the_same() -> None:
    table = page.Table(["a_b", "x"], [["50 %", Interval(0.5, 0.25, 0.75)], ["c", -1.0]], "R & D", best={"x": "max"})
    assert list(csv.reader(io.StringIO(table.to_csv()))) == [
        ["a_b", "x", "x_low", "x_high"],
        ["50 %", "0.5", "0.25", "0.75"],
        ["c", "-1.0", "", ""],
    ]
    text = table.to_latex()
    assert r"\caption{R \& D}" in text
    assert r"a\_b & x \\" in text
    assert r"50 \% & \textbf{0.500} [0.250, 0.750] \\" in text
    assert "c & $-$1.000" in text
    assert r"\begin{tabular}{lr}" in text


@given(st.text(max_size=40))
def test_latex_has_no_bare_commands(text: str) -> None:
    bare = re.sub(r"\\(textbackslash\{\}|textasciitilde\{\}|textasciicircum\{\}|[&%$#_{}])", "", latex(text))
    assert not set(bare) & set("\\&%$#_{}~^")


def test_numbers_for_people() -> None:
    assert [number(v) for v in (1234567, -3, 0.12345, float("nan"), float("-inf"))] == [
        "1,234,567", "−3", "0.123", "not defined", "−∞",
    ]  # fmt: skip
    assert number(np.float32(0.5), 1) == "0.5"
    assert number(np.int64(1000)) == "1,000"


def decoded(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as picture:
        return np.asarray(picture)


def test_eight_bit_pictures_are_shown_as_stored() -> None:
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    (colour,) = page.picture(image)
    assert (decoded(colour.uri) == image).all()
    grey = page.picture(image, ("u", "g", "z"))
    assert [tile.name for tile in grey] == ["u", "g", "z"]
    assert all((decoded(tile.uri) == image[:, :, c]).all() for c, tile in enumerate(grey))
    assert (decoded(page.picture(image[:, :, 0])[0].uri) == image[:, :, 0]).all()


def test_other_pictures_are_stretched_and_missing_pixels_have_a_colour() -> None:
    image = np.linspace(-5, 5, 400, dtype=np.float32).reshape(20, 20)
    linear = decoded(page.picture(image, stretch="percentile")[0].uri)
    assert (linear.min(), linear.max()) == (0, 255)
    assert decoded(page.picture(image)[0].uri).mean() > linear.mean()  # asinh lifts the faint
    image[3, 4] = np.nan
    shown = decoded(page.picture(image)[0].uri)
    assert tuple(shown[3, 4]) == (204, 121, 167)
    assert (shown[0, 0] == shown[0, 0, 0]).all()


@pytest.mark.parametrize("image", [np.full((4, 4), np.nan), np.zeros((4, 4)), np.full((4, 4), 7, np.uint16)])
def test_empty_and_constant_pictures_are_shown(image: np.ndarray) -> None:
    assert decoded(page.picture(image)[0].uri).shape[:2] == (4, 4)


def test_large_pictures_are_reduced() -> None:
    (tile,) = page.picture(np.zeros((600, 300), np.uint8))
    assert (tile.width, tile.height, tile.reduced) == (128, 256, True)


def test_pictures_refuse_what_is_none() -> None:
    with pytest.raises(InputError, match="not a picture"):
        page.picture(np.zeros(4))
    with pytest.raises(InputError, match="unknown stretch"):
        page.picture(np.zeros((4, 4)), stretch="log")
    with pytest.raises(InputError, match="8-bit"):
        page.picture(np.zeros((4, 4)), stretch="stored")


def test_a_class_keeps_its_colour() -> None:
    few = page.colours(["a", "b"])
    assert few == {"a": style.OKABE_ITO[0], "b": style.OKABE_ITO[1]}
    many = page.colours([str(i) for i in range(12)], matter=["3", "7"])
    assert many["3"] == style.OKABE_ITO[0]
    assert many["7"] == style.OKABE_ITO[1]
    assert set(many.values()) == {style.GREY, *style.OKABE_ITO[:2]}


def test_text_on_a_cell_can_be_read() -> None:
    assert page.text_on((1, 1, 0.9)) == style.ON_LIGHT
    assert page.text_on((0, 0.1, 0.3, 1)) == style.ON_DARK


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_contrast_on_light_and_dark() -> None:
    css = Path(page.__path__[0], "page.css").read_text()
    light, dark = css.split("prefers-color-scheme: dark")[:2]
    for block in (light, dark.split("}")[0]):
        found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for ground in ("ground", "panel"):
            for name in ("text", "quiet", "accent", "good", "warn", "bad"):
                one, two = sorted((luminance(found[name]), luminance(found[ground])))
                assert (two + 0.05) / (one + 0.05) >= 4.5, (name, ground)


def test_a_fragment_for_notebooks_is_well_formed() -> None:
    html = page.fragment(page.Table(["a"], [[Interval(0.5, 0.4, 0.6)]]), page.Note("good", "fine"))
    Tags(html)
    assert "0.400–0.600" in html


def test_rows_of_pictures_have_heads_and_many_large_pictures_stay_small() -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    grid = page.Pictures([page.Picture(image, str(i)) for i in range(4)], "P.", 2, heads=("one", "two"), side=100)
    html = page.render("t", "l", [page.Section("a", "A", [grid])], made_by={})
    assert re.findall(r'<li class="head">(\w+)</li>', html) == ["one", "two"]
    assert html.count("data:image/jpeg;base64,") == 4
    (small,) = page.picture(image, side=100)
    assert (small.width, small.height, small.reduced) == (100, 100, True)
    assert page.picture(image[:100, :100], side=100)[0].uri.startswith("data:image/png")


def test_bars_of_several_tables_share_a_span_and_tell_their_sign() -> None:
    def drawn(rows: list[list[object]]) -> list[str]:
        table = page.Table(["name", "adds"], rows, drawn="adds", span=(-20.0, 20.0))
        html = page.render("t", "l", [page.Section("s", "s", [table])], made_by={})
        return re.findall(r'<rect class="(amount[^"]*)" x="([\d.]+)" y="3" width="([\d.]+)"', html)

    small, large = drawn([["a", 5.0], ["b", -10.0]]), drawn([["a", 20.0]])
    assert [(kind, float(x), float(w)) for kind, x, w in small] == [("amount", 80, 20), ("amount against", 40, 40)]
    assert [(kind, float(x), float(w)) for kind, x, w in large] == [("amount", 80, 80)]
