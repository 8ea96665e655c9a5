"""What may be left out is found where it was planted, suggested with care, ticked on a page, and left out by build."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import make
from PIL import Image, ImageFilter
from test_check import smooth

from browser import dumped
from estampa.cli import main
from estampa.data.check import check
from estampa.data.cleaning import Doubts, cleaning, joined, reason_of
from estampa.data.dataset import Dataset, DatasetWriter, Header
from estampa.data.duplicates import Twins, exact_duplicates
from estampa.data.exclude import read_exclusion
from estampa.data.findings import CheckResult
from estampa.data.quality import colourfulness, entropy_of, oddness, sharpness, standing_out
from estampa.data.read import ReadOptions, build
from estampa.errors import SourceError, StorageError


def found(result: CheckResult, kind: str) -> list[str]:
    """Ids of one kind, in order; of a ranked kind those that stand out."""
    assert result.cleaning is not None
    one = [k for k in result.cleaning.kinds if k.kind == kind]
    return [s.id for k in one for s in k.every()][: one[0].standing] if one else []


def photograph(seed: int, height: int = 60, width: int = 80) -> Image.Image:
    """A picture with shapes, edges and grain in colour."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.NEAREST)) + draw.normal(
        0, 6, (height, width, 3)
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a search engine leaves it: 120 good pictures in two classes, and one of every fault."""
    folder = tmp_path_factory.mktemp("scraped") / "set"
    for k in range(120):
        place = folder / ("cats" if k % 2 else "dogs") / f"{k:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        photograph(k).save(place)
    cats, dogs = folder / "cats", folder / "dogs"
    (cats / "copy.png").write_bytes((cats / "001.png").read_bytes())
    (cats / "copy 2.png").write_bytes((cats / "001.png").read_bytes())
    (dogs / "cat.png").write_bytes((cats / "003.png").read_bytes())
    Image.fromarray((np.asarray(photograph(5)) * 0.9 + 10).astype(np.uint8)).save(cats / "near.png")
    photograph(500).filter(ImageFilter.GaussianBlur(4)).save(cats / "blurred.png")
    photograph(501, 12, 16).save(cats / "tiny.png")
    photograph(502, 40, 400).save(dogs / "banner.png")
    photograph(503).convert("L").convert("RGB").save(dogs / "grey.png")
    Image.new("RGB", (80, 60), (200, 10, 10)).save(dogs / "plain.png")
    (dogs / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (dogs / "empty.png").write_bytes(b"")
    photograph(504).save(dogs / "moving.webp", save_all=True, append_images=[photograph(505)], lossless=True)
    (dogs / "page.html").write_text("saved by mistake")
    return folder


@pytest.fixture(scope="module")
def checked(dirty: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CheckResult, Path]:
    page = tmp_path_factory.mktemp("page") / "cleaning.html"
    return check(dirty, page=page), page


def test_every_fault_is_found_where_it_was_planted(checked: tuple[CheckResult, Path]) -> None:
    result, _ = checked
    assert found(result, "unreadable") == ["dogs/broken.jpg", "dogs/empty.png"]
    assert sorted(found(result, "exact")) == ["cats/001.png", "cats/copy 2.png", "cats/copy.png"]
    assert sorted(found(result, "label_conflict")) == ["cats/003.png", "dogs/cat.png"]
    assert sorted(found(result, "near")) == ["cats/005.png", "cats/near.png"]
    assert found(result, "small") == ["cats/tiny.png"]
    assert found(result, "shape") == ["dogs/banner.png"]
    assert found(result, "moving") == ["dogs/moving.webp"]
    assert found(result, "plain")[0] == "dogs/plain.png"
    assert "dogs/grey.png" in found(result, "colour")
    assert set(found(result, "blurred")[:2]) == {"cats/blurred.png", "cats/tiny.png"}
    assert result.cleaning is not None
    assert result.cleaning.unread == ("dogs/page.html",)


def test_only_what_loses_nothing_is_suggested(checked: tuple[CheckResult, Path]) -> None:
    result, page = checked
    assert result.cleaning is not None
    assert [name for name, _ in result.cleaning.suggested()] == [
        "dogs/broken.jpg", "dogs/empty.png", "cats/copy 2.png", "cats/copy.png",
    ]  # fmt: skip
    assert result.listed == page.with_name("cleaning-exclude.csv")
    rows = list(csv.reader(io.StringIO(result.listed.read_text())))
    assert rows[0] == ["id", "reason"]
    assert rows[1] == ["dogs/broken.jpg", "unreadable files: damaged JPEG"]
    assert rows[-1] == ["cats/copy.png", "exact copies: copy of cats/001.png"]
    record = result.to_json()
    assert record["suggested"] == 4
    assert record["cleaning"]["exact"] == 3
    assert record["listed"] == str(result.listed)


def test_build_leaves_out_what_is_listed_also_what_cannot_be_read(
    dirty: Path, checked: tuple[CheckResult, Path], tmp_path: Path
) -> None:
    result, _ = checked
    with pytest.raises(SourceError, match="could not be read"):
        build(dirty, tmp_path / "all.h5")
    clean = build(dirty, tmp_path / "clean.h5", ReadOptions(exclude=result.listed))
    assert clean.rejected == []
    assert clean.n == result.dataset.n - 2
    again = check(clean.path, listed=tmp_path / "again.csv")
    assert found(again, "exact") == []
    assert (tmp_path / "again.csv").read_text() == "id,reason\n"
    assert len(list(dirty.rglob("*.*"))) == 133, "nothing is deleted"


TICK = """
const box = (id) => [...document.querySelectorAll(".pick input")].find((b) => b.dataset.id === id);
box("cats/near.png").click(); box("dogs/cat.png").click(); box("cats/blurred.png").click();
box("cats/copy.png").click();
fetch(document.querySelector(".chosen-bar .save").href).then((r) => r.text()).then((text) => {
  document.body.dataset.out = JSON.stringify(text);
});
"""


def test_ticked_saved_and_built_without_in_a_browser(
    dirty: Path, checked: tuple[CheckResult, Path], tmp_path: Path
) -> None:
    result, page = checked
    html = dumped(page, TICK)
    match = re.search(r'data-out="([^"]*)"', html)
    assert match, html[-2000:]
    saved = tmp_path / "exclude.csv"
    saved.write_text(json.loads(unescape(match.group(1))))
    listed = [line[0] for line in csv.reader(io.StringIO(saved.read_text()))][1:]
    assert sorted(listed) == [
        "cats/blurred.png", "cats/copy 2.png", "cats/near.png", "dogs/broken.jpg", "dogs/cat.png", "dogs/empty.png",
    ]  # fmt: skip
    clean = build(dirty, tmp_path / "clean.h5", ReadOptions(exclude=saved))
    assert set(result.dataset.ids) - set(clean.ids) == set(listed) - {"dogs/broken.jpg", "dogs/empty.png"}
    assert clean.rejected == []


def test_the_page_says_it_all_without_script(checked: tuple[CheckResult, Path]) -> None:
    _, page = checked
    html = page.read_text()
    for words in (
        "Exact copies",
        "The same picture under two labels",
        "damaged JPEG",
        "cleaning-exclude.csv",
        "dogs/page.html",
        "findings.csv",
    ):
        assert words in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    pair = html[html.index('id="choices-label_conflict"') :]
    group = pair[pair.index('class="group"') : pair.index("</li>")]
    assert group.index(">cats<") < group.index(">dogs<"), "both classes side by side"


def test_a_page_of_thousands_is_capped_and_the_list_is_whole(tmp_path: Path) -> None:
    images = np.repeat(smooth(450, side=12), 2, axis=0)
    result = check(make(tmp_path / "set.h5", images, np.zeros(900, int)), near=False, page=tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    part = html[html.index('id="choices-exact"') :]
    part = part[: part.index("</figure>")]
    assert part.count('type="checkbox" disabled data-id') == 300
    assert "The first 300 of 900 are shown" in part
    assert "Also the 300 that are not shown here, all but the first of each group" in part
    assert result.cleaning is not None
    assert len(result.cleaning.suggested()) == 450
    assert len(read_exclusion(tmp_path / "page-exclude.csv", result.dataset.ids).facts) == 450


def test_suggested_copies_beyond_a_page_are_ticked_among_near_duplicates_too(tmp_path: Path) -> None:
    """What the page saves untouched is the list beside it."""
    pictures = smooth(160, side=12)
    brighter = (pictures.astype(float) * 1.06 + 3).clip(0, 255).astype(pictures.dtype)
    images = np.concatenate([pictures, pictures, brighter])
    result = check(make(tmp_path / "set.h5", images, np.zeros(480, int)), page=tmp_path / "page.html")
    assert result.cleaning is not None
    near = next(k for k in result.cleaning.kinds if k.kind == "near")
    assert len(near) > 300
    html = (tmp_path / "page.html").read_text()
    ticked = {unescape(one) for one in re.findall(r'checkbox" disabled data-id="([^"]*)"[^>]* checked', html)}
    for words in re.findall(r'<p class="rest"><label><input[^>]* checked>.*?<script[^>]*>(.*?)</script>', html):
        ticked |= {one for one, _ in json.loads(words)}
    assert ticked == {one for one, _ in result.cleaning.suggested()}


def test_the_command_on_the_page_is_one_that_a_shell_understands(tmp_path: Path) -> None:
    folder = tmp_path / "my $(date) pictures"
    for name in (" cats", "dogs "):
        (folder / name).mkdir(parents=True)
        for k in range(3):
            photograph(len(name) * 10 + k + 50 * name.startswith(" ")).save(folder / name / f"{k}.png")
    (folder / " cats" / "copy.png").write_bytes((folder / " cats" / "0.png").read_bytes())
    page = tmp_path / "page.html"
    check(folder, page=page)
    assert "estampa build 'my $(date) pictures' -o clean.h5 --exclude exclude.csv" in unescape(page.read_text())
    clean = build(folder, tmp_path / "clean.h5", ReadOptions(exclude=page.with_name("page-exclude.csv")))
    assert " cats/copy.png" not in clean.ids, "an id may begin with a blank"
    assert clean.n == 6
    spaced = tmp_path / "list.csv"
    spaced.write_text(" id , why\n  dogs /1.png , by hand\n")
    assert np.flatnonzero(read_exclusion(spaced, ["dogs /0.png", "dogs /1.png"]).rows).tolist() == [1]


def test_a_labelled_copy_and_one_of_the_test_part_are_kept(tmp_path: Path) -> None:
    images, labels = smooth(40), np.array([0, 1] * 20)
    images[30], images[31] = images[2], images[5]
    labels[2], labels[31] = -1, labels[5]
    split = np.where(np.arange(40) < 31, 1, 3).astype(np.uint8)
    made = make(tmp_path / "set.h5", images, labels, split=split, published_split=True)
    result = check(made, listed=tmp_path / "list.csv")
    assert result.cleaning is not None
    assert result.cleaning.suggested() == [
        ("object 2", "exact copies: copy of object 30"), ("object 5", "exact copies: copy of object 31"),
    ]  # fmt: skip
    assert found(result, "exact")[::2] == ["object 30", "object 31"], "what is kept stands first"


def test_ids_that_a_spreadsheet_would_run_are_guarded_and_still_found(tmp_path: Path) -> None:
    images = smooth(40)
    images[7] = images[3]
    made = make(tmp_path / "set.h5", images, None, ids=[f"=cmd {i}" for i in range(40)])
    result = check(made, listed=tmp_path / "list.csv")
    assert "'=cmd 7" in (tmp_path / "list.csv").read_text()
    chosen = read_exclusion(result.listed, made.ids)
    assert np.flatnonzero(chosen.rows).tolist() == [7]
    assert not chosen.unmatched


def test_tables_targets_and_floats_are_looked_through(tmp_path: Path) -> None:
    stamps = np.random.default_rng(0).normal(size=(60, 9, 9, 2)).astype(np.float32)
    stamps[3, 0, 0] = np.nan
    stamps[8] *= 500
    stamps[9] = stamps[4]
    target = np.linspace(0, 1, 60)
    result = check(make(tmp_path / "a.h5", stamps, target, task="regression"), page=tmp_path / "a.html")
    assert found(result, "label_conflict") == ["object 4", "object 9"], "two values for one picture"
    assert set(found(result, "odd")[:2]) == {"object 3", "object 8"}
    assert found(result, "blurred") == [], "noise is no photograph"
    header = Header(n=40, shape=None, dtype="", task="classification", classes=("a", "b"), columns=("x",))
    writer = DatasetWriter(
        tmp_path / "t.h5", header, ids=[f"n{i}" for i in range(40)], labels=np.arange(40) % 2, fingerprint="test"
    )
    writer.put_table((np.arange(40)[:, None] % 20).astype(np.float32))
    assert len(found(check(writer.finish(), page=tmp_path / "t.html"), "exact")) == 40


def test_doubts_of_a_model_stand_on_the_page(tmp_path: Path) -> None:
    made = make(tmp_path / "set.h5", smooth(40), np.array([0, 1] * 20))
    doubt = Doubts(np.array([5]), ["likely a (0.97; b 0.01)"], "A simple model agrees with 91 %.")
    result = check(made, page=tmp_path / "page.html", doubts=lambda *_: doubt)
    assert found(result, "labels") == ["object 5"]
    assert "likely a (0.97; b 0.01)" in (tmp_path / "page.html").read_text()
    weak = check(made, page=tmp_path / "weak.html", doubts=lambda *_: Doubts(np.zeros(0, np.int64), (), "Too weak."))
    assert found(weak, "labels") == []
    assert "Too weak." in (tmp_path / "weak.html").read_text()


def test_places_are_checked_before_work(tmp_path: Path) -> None:
    made = make(tmp_path / "set.h5", smooth(20), None)
    with pytest.raises(StorageError):
        check(made, listed=made.path / "list.csv")


def test_the_verb_writes_page_and_list_and_tells_the_counts(
    dirty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", str(dirty), "--page", str(tmp_path / "c.html"), "--list", str(tmp_path / "l.csv"), "--no-labels"]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert re.search(r"exact copies +3", told)
    assert f"suggested to leave out: 4, for build --exclude in {tmp_path / 'l.csv'}" in told
    assert (tmp_path / "c.html").is_file()
    assert not (tmp_path / "c-exclude.csv").exists()
    with pytest.raises(SystemExit) as end:
        main(["check", str(dirty), "--labels"])
    assert end.value.code == 2


# ---------------------------------------------------------------------------------------------- measures


def test_the_laplacian_falls_with_blur_and_not_with_contrast() -> None:
    picture = photograph(1).convert("L")
    blurred = picture.filter(ImageFilter.GaussianBlur(3))
    one, two = (np.asarray(p, np.float32) for p in (picture, blurred))
    sharp, soft, faint, flat = sharpness(np.stack([one, two, one * 0.1 + 50, np.full_like(one, 7)]))
    assert soft < sharp / 20
    assert faint == pytest.approx(sharp, rel=1e-3)
    assert np.isnan(flat)
    board = np.indices((8, 8)).sum(axis=0)[None] % 2 * np.float32(2) - 1
    assert sharpness(board)[0] == pytest.approx(64)  # each pixel less its four neighbours: 8 times itself, squared
    assert np.isnan(sharpness(np.zeros((1, 2, 9), np.float32)))[0]


def test_entropy_and_colourfulness_are_those_of_the_papers() -> None:
    grey = np.zeros((3, 8, 8), np.float32)
    grey[1, :4] = 255
    grey[2] = np.arange(64).reshape(8, 8) * 4
    assert entropy_of(grey, 0, 256).tolist() == pytest.approx([0, 1, 6])
    colour = np.zeros((2, 4, 4, 3), np.uint8)
    colour[0] = 90
    colour[1, ..., 0] = 255
    # rg = 255, yb = 127.5 everywhere: no spread, 0.3 of the length of the means
    assert colourfulness(colour).tolist() == pytest.approx([0, 0.3 * np.hypot(255, 127.5)])


def test_what_stands_out_is_far_on_its_side() -> None:
    values = np.random.default_rng(0).normal(size=500)
    values[7], values[9], values[11] = -9, 8, np.nan
    assert standing_out(values, "low")[0] == 7
    assert standing_out(values, "high")[0] == 9
    assert len(standing_out(values, "low")) <= 3
    assert standing_out(np.ones(50), "high").tolist() == []
    assert standing_out(np.array([1.0, 2.0, 99.0]), "high").tolist() == [], "too few to say"
    mostly = np.r_[np.zeros(60), 5.0]
    assert standing_out(mostly, "high").tolist() == [60]


def test_the_odd_one_is_far_and_its_statistic_is_named() -> None:
    described = np.random.default_rng(0).normal(size=(300, 3))
    described[17, 1] = 60
    away, by = oddness(described, ["mean", "deviation", "low"])
    assert int(away.argmax()) == 17
    assert by[17] == "deviation"
    assert np.isfinite(oddness(np.ones((20, 2)), ["a", "b"])[0]).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=15))
def test_sets_are_joined_over_any_number_of_steps(pairs: list[tuple[int, int]]) -> None:
    ordered = sorted({(min(p), max(p)) for p in pairs if p[0] != p[1]})
    twins = Twins(np.array(ordered, np.int64).reshape(-1, 2), np.ones(len(ordered), np.float32))
    sets = joined([], twins)
    every = [r for rows in sets for r in rows]
    assert len(every) == len(set(every))
    place = {r: k for k, rows in enumerate(sets) for r in rows}
    assert all(place[a] == place[b] for a, b in ordered)
    assert sum(len(rows) - 1 for rows in sets) <= len(ordered), "no set is larger than its pairs can hold together"


def test_cleaning_without_pictures_or_copies_is_empty(tmp_path: Path) -> None:
    made: Dataset = make(tmp_path / "set.h5", smooth(20), None)
    assert cleaning(made, (exact_duplicates(made.hashes), None), None).kinds == ()
    result = check(made, near=False, listed=tmp_path / "l.csv")
    assert result.cleaning is not None
    assert [reason_of(k.kind, s) for k in result.cleaning.kinds for s in k.every()] == []
