"""The verb: pictures, pages, tables, shortcuts; without torch and without network."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from estampa.bundle.store import Bundle
from estampa.cli import application
from estampa.data.dataset import Dataset, DatasetWriter, Header
from estampa.errors import InputError
from estampa.explain import explain, regions, spots
from estampa.explain.brief import brief
from estampa.explain.overlay import overlay
from estampa.explain.picking import pick
from estampa.explain.shortcuts import leanings
from made_bundles import make, pictures


def labelled(folder: Path, n: int = 40) -> Dataset:
    """Pictures told by brightness, some labels wrong."""
    images = pictures(n)
    labels = (images.mean(axis=(1, 2, 3)) > 70).astype(np.int64)
    labels[::7] = 1 - labels[::7]
    header = Header(n, images.shape[1:], "uint8", "classification", ("dark", "light"))
    writer = DatasetWriter(folder / "set.h5", header, ids=[f"o{i}" for i in range(n)], labels=labels, fingerprint="x")
    writer.write(0, images)
    return writer.finish()


def run(*words: object) -> Result:
    return CliRunner().invoke(application("explain"), ["explain", *map(str, words)])


def test_pictures_with_maps_right_and_wrong_apart(bundle: Bundle, tmp_path: Path) -> None:
    data = labelled(tmp_path)
    found = explain(bundle, data, tmp_path / "out", n=12)
    assert found.n == 12
    assert found.maps.shape == (12, 6, 5)
    assert found.wrong.sum() + found.right.sum() == 12
    assert found.wrong.sum() >= 3
    text = (tmp_path / "out" / "explain.html").read_text()
    assert 'id="wrong"' in text
    assert 'id="right"' in text
    assert "✗" in text
    assert "<script" not in text
    with (tmp_path / "out" / "explained.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [r["id"] for r in rows] == found.ids.tolist()
    assert {r["predicted"] for r in rows} <= {"dark", "light"}
    with np.load(tmp_path / "out" / "maps.npz") as kept:
        np.testing.assert_array_equal(kept["maps"], found.maps)
        assert kept["ids"].tolist() == found.ids.tolist()
    assert "pictures explained" in found._repr_html_()


def test_command_and_shortcuts(bundle: Bundle, tmp_path: Path) -> None:
    data, out = labelled(tmp_path), tmp_path / "out"
    ended = run(bundle.folder, data.path, "--n", 30, "-o", out, "--shortcuts", "--json", "-q")
    assert ended.exit_code == 0, ended.stderr
    record = json.loads(ended.stdout)
    assert record["n"] == len(record["objects"]) == 30
    told = record["shortcuts"]["classes"]
    for one in told.values():
        assert sum(r["value"] for r in one["regions"].values()) == pytest.approx(1)
    assert (out / "shortcuts.html").read_text().count("Answers for") >= 1
    again = run(bundle.folder, data.path, "-o", out, "--id", "o3", "--window", 2, "--of", "probability", "-q")
    assert "o3" in again.stdout
    assert run(bundle.folder, data.path, "-o", out, "--id", "o99").exit_code == 2


def test_loose_pictures_without_torch_and_without_network(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "loose"
    folder.mkdir()
    for i, image in enumerate(pictures(5)):
        Image.fromarray(image[..., 0]).save(folder / f"{i}.png")
    (folder / "bad.png").write_bytes(b"no picture")
    program = (
        "import socket, sys\n"
        "for name in ('torch', 'sklearn', 'scipy', 'matplotlib', 'onnx'): sys.modules[name] = None\n"
        "def refuse(*_, **__): raise AssertionError('network')\n"
        "socket.socket = refuse\n"
        "import estampa\n"
        f"found = estampa.explain({str(bundle.folder)!r}, {str(folder)!r}, {str(tmp_path / 'out')!r}, shortcuts=True)\n"
        "print(found.n)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "5"
    assert (tmp_path / "out" / "shortcuts.html").is_file()


def test_stamps_show_every_channel_and_a_map_of_one(tmp_path: Path) -> None:
    names = ("science", "template", "difference", "snr")
    bundle = make(tmp_path / "model", shape=(8, 8, 4), dtype="float32", channels=names)
    images = pictures(6, (8, 8, 4), "float32")
    images[0, 2, 2] = np.nan
    found = explain(bundle, images, tmp_path / "out", channels=["snr", "0"])
    assert list(found.by_channel) == ["snr", "science"]
    assert found.truth is None
    assert np.isfinite(found.maps).all()
    text = (tmp_path / "out" / "explain.html").read_text()
    for name in (*names, "map of snr", "map of science"):
        assert f">{name}<" in text
    with pytest.raises(InputError, match="no channel"):
        explain(bundle, images, channels=["r"])


def test_a_regression_has_maps_but_no_shortcuts(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model", classes=(), task="regression", dtype="float32")
    found = explain(bundle, pictures(4, dtype="float32"), tmp_path / "out")
    assert found.settings["of"] == "value"
    assert "changes the value by" in (tmp_path / "out" / "explain.html").read_text()
    with pytest.raises(InputError, match="class by class"):
        explain(bundle, pictures(4, dtype="float32"), shortcuts=True)


def test_a_table_is_told_where_its_answer_comes_from(bundle: Bundle, tmp_path: Path) -> None:
    header = Header(3, None, None, "unlabelled", columns=("a",))
    writer = DatasetWriter(tmp_path / "t.h5", header, ids=["a", "b", "c"], labels=None, fingerprint="x")
    writer.put_table(np.ones((3, 1), np.float32))
    with pytest.raises(InputError, match="permutation importance"):
        explain(bundle, writer.finish())


def test_few_maps_for_the_report_within_a_bound_of_time(bundle: Bundle, tmp_path: Path) -> None:
    data = labelled(tmp_path)
    rows = np.arange(data.n)
    output = bundle.score(data.take(rows)).output
    found = brief(bundle, data, rows, output)
    assert found.explained is not None
    assert found.explained.n == 16
    assert not found.why
    none = brief(bundle, data, rows, output, seconds=0)
    assert none.explained is None
    assert "estampa explain" in none.why


def test_half_of_the_pictures_are_wrong_answers_where_there_are_so_many() -> None:
    answers, truth = np.array([0] * 50 + [1] * 50), np.array([0] * 95 + [1] * 5)
    chosen = pick(answers, truth, 20)
    assert (answers[chosen] != truth[chosen]).sum() == 10
    assert len(set(chosen)) == 20
    assert np.bincount(answers[pick(answers, truth, 20, alike=True)]).tolist() == [10, 10]
    np.testing.assert_array_equal(pick(answers, truth, 20), chosen)
    assert len(pick(np.array([0, -1, 1]), None, 20)) == 2


def test_a_spot_is_the_most_important_part_and_nothing_against_the_class() -> None:
    maps = np.full((2, 10, 10), -1.0, np.float32)
    maps[0, 2:4, 3:6] = 5
    found = spots.spots(maps, 0.05)
    assert found[0].sum() == 5
    assert found[0, 2:4, 3:6].sum() == 5
    assert not found[1].any()
    assert spots.concentration(maps)[0] == pytest.approx(5 / 6)
    assert np.isnan(spots.concentration(maps)[1])
    assert spots.peaks(maps)[0].tolist() == [2, 4]


def test_hiding_the_spot_turns_the_answer_and_leaving_it_alone_keeps_it() -> None:
    def corner(images: np.ndarray) -> np.ndarray:
        p = (images[:, :4, :4].astype(float).max(axis=(1, 2, 3)) > 200) * 0.9 + 0.05
        return np.stack([1 - p, p], axis=1)

    images = np.full((8, 16, 16, 1), 90, np.uint8)
    images[:, 1:3, 1:3] = 255
    maps = np.zeros((8, 16, 16), np.float32)
    maps[:, :4, :4] = 1
    said = np.ones(8, np.int64)
    tried = spots.try_out(corner, images, maps, said, canvas=np.full((16, 16, 1), 90.0, np.float32))
    assert tried.turned(said, "hidden", 0.1).all()
    assert not tried.turned(said, "alone", 0.1).any()
    assert tried.turned(said, "random", 0.1).mean() < 0.5
    assert tried.turned(said, "chance", 0.1).mean() > 0.5


def test_regions_hold_all_of_the_importance_and_intervals_their_mean() -> None:
    draw = np.random.default_rng(0)
    maps = draw.normal(size=(30, 11, 7))
    maps[:, :3, :2] += 4
    found = regions.shares(maps, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    told = regions.means(found)
    assert regions.names(3)[int(np.argmax([t.value for t in told]))] == "upper left"
    assert all(t.low <= t.value <= t.high for t in told)
    assert regions.evenly((9, 9), 3).tolist() == pytest.approx([1 / 9] * 9)
    assert regions.evenly((11, 7), 5).sum() == pytest.approx(1)
    assert np.isnan(regions.means(found[:1])[0].low)


def test_leanings_are_of_the_answers_given(bundle: Bundle, tmp_path: Path) -> None:
    found = explain(bundle, labelled(tmp_path), n=30, shortcuts=True)
    told = leanings(found, 3)
    assert sum(len(one.places) for one in told) == 30
    for one in told:
        assert (found.predicted[one.places] == bundle.classes.index(one.name)).all()
        assert 0 <= one.turned.low <= one.turned.value <= one.turned.high <= 1


@pytest.mark.parametrize("ground", [0, 255])
def test_colours_show_on_black_and_on_white(ground: int) -> None:
    image, importance = np.full((40, 60, 1), ground, np.uint8), np.zeros((40, 60))
    importance[:, :20], importance[:, 40:] = 1, -1
    shown = overlay(image, importance, 1.0, spot=importance > 0).astype(int)
    left, middle, right = (shown[shown.shape[0] // 2, round(x * shown.shape[1])] for x in (0.15, 0.5, 0.85))
    assert np.abs(left - middle).max() > 60
    assert np.abs(right - middle).max() > 60
    assert left[0] > left[2] + 60  # orange
    assert right[2] > right[0] + 60  # blue
