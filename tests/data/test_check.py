"""What spoils a result is found, said, shown, and refused where it is ours."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import make, noise
from PIL import Image

from estampa.cli import main
from estampa.data.check import CheckResult, check, near_across
from estampa.data.dataset import Dataset, write_split
from estampa.data.duplicates import agreement, exact_duplicates, near_duplicates, shrink, thumbnails
from estampa.data.read import build
from estampa.data.split import split
from estampa.errors import CheckFailed, StorageError

LABELS = np.array([0, 1] * 40)


def smooth(n: int, seed: int = 0, side: int = 28) -> np.ndarray:
    """Different 8-bit pictures with shapes and some grain, like photographs."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (n, 7, 7), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC)) for c in coarse]
    return np.clip(np.stack(large) + draw.normal(0, 6, (n, side, side)), 0, 255).astype(np.uint8)[..., None]


def jpeg(image: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image[:, :, 0]).save(stream, "JPEG", quality=90)
    return np.asarray(Image.open(stream))[:, :, None]


def kinds(result: CheckResult) -> dict[str, str]:
    return {f.kind: f.severity for f in result.findings}


def finding(result: CheckResult, kind: str) -> np.ndarray:
    return next(f.rows for f in result.findings if f.kind == kind)


def test_sound_data_have_no_findings(tmp_path: Path) -> None:
    make(tmp_path / "set.h5", smooth(80), LABELS)
    split(tmp_path / "set.h5")
    result = check(Dataset.open(tmp_path / "set.h5"))
    assert result.findings == ()
    assert not result.refused
    assert len(result.near_across) == 0


def test_copies_across_our_split_are_refused_and_across_a_published_one_reported(tmp_path: Path) -> None:
    images = noise(80)
    images[70] = images[3]
    parts = np.repeat([1, 3], [60, 20]).astype(np.uint8)
    ours = make(tmp_path / "ours.h5", images, LABELS)
    write_split(ours.path, parts, {"seed": 0})
    result = check(Dataset.open(ours.path))
    assert kinds(result)["exact_across"] == "refuse"
    assert finding(result, "exact_across").tolist() == [3, 70]
    assert result.near_across.tolist() == [70]
    with pytest.raises(CheckFailed, match=r"object 3 \(row 3\), object 70 \(row 70\)"):
        result.require_sound()
    theirs = make(tmp_path / "theirs.h5", images, LABELS, split=parts, published_split=True)
    result = check(theirs)
    assert kinds(result)["exact_across"] == "warn"
    result.require_sound()


def test_our_own_split_never_tears_copies(tmp_path: Path) -> None:
    images = noise(80)
    images[40:80] = images[:40]
    make(tmp_path / "set.h5", images, LABELS)
    split(tmp_path / "set.h5")
    assert "exact_across" not in kinds(check(Dataset.open(tmp_path / "set.h5")))


def test_torn_groups_are_refused(tmp_path: Path) -> None:
    made = make(tmp_path / "set.h5", noise(80), LABELS, groups=[f"drawer {i // 8}" for i in range(80)])
    write_split(made.path, np.repeat([1, 3], [60, 20]).astype(np.uint8), {"seed": 0})
    result = check(Dataset.open(made.path))
    assert kinds(result)["group_torn"] == "refuse"
    assert finding(result, "group_torn").tolist() == list(range(56, 64))


def test_near_duplicates_are_found_and_the_leaking_rows_told(tmp_path: Path) -> None:
    images = smooth(80)
    images[71] = jpeg(images[1])
    images[72] = np.clip(images[2] * 0.8 + 12, 0, 255)
    images[73] = np.clip(images[3] + np.random.default_rng(1).normal(0, 3, images[3].shape), 0, 255)
    made = make(tmp_path / "set.h5", images, LABELS)
    write_split(made.path, np.repeat([1, 2, 3], [60, 5, 15]).astype(np.uint8), {"seed": 0})
    dataset = Dataset.open(made.path)
    result = check(dataset)
    assert result.near is not None
    assert sorted(map(tuple, result.near.pairs.tolist())) == [(1, 71), (2, 72), (3, 73)]
    assert (result.near.correlation > 0.89).all()
    assert kinds(result) == {"near_across": "warn", "near": "note"}
    assert result.near_across.tolist() == near_across(dataset).tolist() == [71, 72, 73]
    assert check(dataset, near=False).near is None


def test_an_exact_copy_of_a_near_twin_leaks_too(tmp_path: Path) -> None:
    images = smooth(80)
    images[70] = images[75] = jpeg(images[5])
    made = make(tmp_path / "set.h5", images, LABELS)
    write_split(made.path, np.repeat([1, 3], [60, 20]).astype(np.uint8), {"seed": 0})
    assert near_across(Dataset.open(made.path)).tolist() == [70, 75]


def test_twins_of_many_are_found_and_no_stranger(tmp_path: Path) -> None:
    images = smooth(2000)
    images[1000:1200] = [jpeg(i) for i in images[:200]]
    twins = near_duplicates(make(tmp_path / "set.h5", images, None))
    found, planted = set(map(tuple, twins.pairs.tolist())), {(i, 1000 + i) for i in range(200)}
    assert found <= planted
    assert len(found) >= 196  # an encoder may take more than a fifth of the detail of a grainy picture


def test_a_drawing_that_differs_in_a_pixel_is_a_twin(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    images = (draw.random((50, 32, 32, 1)) < 0.15).astype(np.uint8)
    images[40] = images[4]
    images[40, 5, 5] ^= 1
    assert near_duplicates(make(tmp_path / "set.h5", images, None)).pairs.tolist() == [[4, 40]]


def test_two_bright_stars_are_not_twins_but_a_rescaled_copy_is() -> None:
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:21, :21] - 10
    star = 1000 * np.exp(-(x**2 + y**2) / 8)
    one, two = (star + draw.normal(0, 1, star.shape) for _ in range(2))
    stack = np.stack([one, one])[..., None].astype(np.float32)
    other = np.stack([two, one * 3.1 + 40])[..., None].astype(np.float32)
    score = agreement(shrink(stack, 64), shrink(other, 64), eight_bit=False)
    assert score[0] == 0
    assert score[1] > 0.999


def test_all_channels_must_agree() -> None:
    draw = np.random.default_rng(0)
    one, two = draw.normal(size=(2, 1, 16, 16, 2)).astype(np.float32)
    two[..., 0] = one[..., 0]
    assert agreement(one, two, eight_bit=False)[0] == 0
    two[..., 1] = one[..., 1]
    assert agreement(one, two, eight_bit=False)[0] > 0.99


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 8), max_size=40))
def test_exact_duplicates_are_the_sets_of_equal_hashes(values: list[int]) -> None:
    hashes = np.array(values, np.uint64)
    sets = [s.tolist() for s in exact_duplicates(hashes)]
    expected = [[i for i, v in enumerate(values) if v == value] for value in dict.fromkeys(values)]
    assert sets == [s for s in expected if len(s) > 1]


def test_thumbnails_survive_missing_huge_and_constant_pictures() -> None:
    images = np.random.default_rng(0).normal(size=(4, 20, 20, 2)).astype(np.float32)
    images[0, 3, 3] = np.nan
    images[1, 4:8] = -np.finfo(np.float32).max
    images[2] = 7
    images[3] = np.nan
    thumbs, contrast = thumbnails(images)
    assert np.isfinite(thumbs).all()
    assert contrast.tolist() == [True, True, False, False]


def test_missing_fill_and_constant_pixels_are_named(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(80, 9, 9, 2)).astype(np.float32)
    images[4, 0, 0, 1] = np.nan
    images[5, 1] = np.inf
    images[6, 2, 2, 0] = -np.finfo(np.float32).max
    images[7] = 3
    result = check(make(tmp_path / "set.h5", images, LABELS))
    assert finding(result, "missing_pixels").tolist() == [4, 5]
    assert finding(result, "fill_values").tolist() == [6]
    assert finding(result, "constant").tolist() == [7]
    assert result.survey is not None
    assert result.survey.missing_pixels == 19
    assert (np.abs([*result.survey.low, *result.survey.high]) < 10).all()
    assert (result.survey.histograms.sum(axis=1) == [80 * 81 - 10, 80 * 81 - 10]).all()


def test_empty_stamps_and_dead_channels_are_told(tmp_path: Path) -> None:
    """Build takes them, for they were measured so; check tells them, and training can be refused or go on."""
    images = np.random.default_rng(0).normal(size=(80, 9, 9, 3)).astype(np.float32)
    images[..., 2] = 0
    images[3] = np.nan
    images[5, ..., 0] = 7
    images[6, ..., 1] = np.nan
    np.savez(tmp_path / "set.npz", images=images, label=LABELS, channels=["science", "template", "difference"])
    dataset = build(tmp_path / "set.npz", tmp_path / "set.h5")
    assert dataset.n == 80
    result = check(dataset)
    assert finding(result, "empty").tolist() == [3]
    assert finding(result, "flat_channel").tolist() == [5, 6]
    assert "constant" not in {f.kind for f in result.findings}
    told = {f.kind: f.message for f in result.findings}
    assert "channel 'difference' has one value in every object" in told["constant_channel"]
    assert "(science 1, template 1): 5 (row 5), 6 (row 6)" in told["flat_channel"]
    assert "1 picture without one measured pixel: 3 (row 3)" in told["empty"]


def test_labels_and_ids_are_looked_at(tmp_path: Path) -> None:
    images = noise(100)
    images[50] = images[2]
    labels = np.array([0] * 90 + [1] * 5 + [-1] * 5)
    labels[50] = 1
    ids = [f"n{i}" for i in range(98)] + ["A", "a"]
    result = check(make(tmp_path / "set.h5", images, labels, ids=ids))
    found = kinds(result)
    assert found == {
        "label_conflict": "warn", "exact": "note", "unlabelled": "note", "small_class": "warn", "imbalance": "note",
        "similar_ids": "note",
    }  # fmt: skip
    assert finding(result, "label_conflict").tolist() == [2, 50]
    assert finding(result, "similar_ids").tolist() == [98, 99]


def test_the_contact_sheet_shows_findings_examples_and_values(tmp_path: Path) -> None:
    images = smooth(80)
    images[79] = images[0]
    made = make(tmp_path / "set.h5", images, LABELS, pixel_scale=0.5, channels=("g",))
    page = tmp_path / "sheet.html"
    result = check(made, page=page)
    html = page.read_text()
    for words in ('id="label-conflict"', 'id="examples"', 'id="values"', "a: 8 of 40, chosen at random", "spaced"):
        assert words in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert result._repr_html_().count("<table>") == 2
    with pytest.raises(StorageError):
        check(made, page=made.path / "sheet.html")


def test_sets_without_labels_targets_and_tables_are_checked(tmp_path: Path) -> None:
    check(make(tmp_path / "none.h5", noise(20), None), page=tmp_path / "none.html")
    target = np.linspace(0, 1, 20)
    result = check(make(tmp_path / "target.h5", noise(20), target, task="regression"), page=tmp_path / "target.html")
    assert "objects" in result.classes_table().rows[0]


def test_the_verb_reports_and_exits_three_on_a_leak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = noise(80)
    images[70] = images[3]
    made = make(tmp_path / "set.h5", images, LABELS)
    with pytest.raises(SystemExit) as end:
        main(["check", str(made.path), "--json"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["findings"][-1]["kind"] == "exact"
    write_split(made.path, np.repeat([1, 3], [60, 20]).astype(np.uint8), {"seed": 0})
    with pytest.raises(SystemExit) as end:
        main(["check", str(made.path), "--no-near", "--page", str(tmp_path / "sheet.html")])
    assert end.value.code == 3
    told = capsys.readouterr()
    assert "REFUSED" in told.out
    assert "object 70 (row 70)" in told.err
    assert (tmp_path / "sheet.html").is_file()
