"""explore() whole: the page, the files beside it, new data assigned, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from estampa.cli import main
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.errors import InputError
from estampa.explore import gather, plots, report
from estampa.explore.compare import Ways, compare, read_ways
from estampa.explore.exploration import Exploration, Settings
from estampa.explore.run import assign, explore, read_clusters, read_methods
from estampa.measure import Interval

CLASSES = ("disc", "bar", "none")
QUICK = Settings(components=6, clusters=3, map="first")


def images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 20, 20, 3) discs, bars and plain noise, and which is which."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:20, :20] - 9.5
    truth = np.arange(n) % 3
    shapes = np.stack([np.exp(-(x**2 + y**2) / 18), np.exp(-(y**2) / 4 - x**2 / 200), np.zeros((20, 20))])
    light = shapes[truth] * rng.uniform(0.8, 1, n)[:, None, None] * 180
    noisy = light[..., None] * [1, 0.8, 0.6] + rng.uniform(0, 40, (n, 20, 20, 3))
    return noisy.astype(np.uint8), truth


def written(path: Path, n: int = 90, labels: bool = True, seed: int = 0, dtype: str = "uint8") -> Dataset:
    pixels, truth = images(n, seed)
    pixels = pixels.astype(dtype)
    if dtype == "float32":
        pixels[0, :3] = np.nan
    header = Header(
        n, pixels.shape[1:], dtype, "classification" if labels else "unlabelled", CLASSES if labels else (),
        channels=("r", "g", "b"), read=ReadRecord(source="arrays"),
    )  # fmt: skip
    ids = ["=1+1", *(f"object {i}" for i in range(1, n))]
    known = np.where(np.arange(n) % 10 == 9, -1, truth) if labels else None
    writer = DatasetWriter(path, header, ids=ids, labels=known, fingerprint=f"test {seed}")
    writer.write(0, pixels)
    return writer.finish()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exploration]:
    folder = tmp_path_factory.mktemp("explored")
    data = written(folder / "set.h5")
    return folder / "out", explore(data, folder / "out", QUICK, command="estampa explore set.h5")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_page_tells_every_method_and_every_part(made: tuple[Path, Exploration]) -> None:
    folder, found = made
    html = (folder / "report.html").read_text()
    ids = re.findall(r'<h2 id="([^"]+)"', html)
    assert ids[:2] == ["result", "map"]
    assert {"kmeans", "hierarchical", "hdbscan", "som", "gmm", "strange", "features", "terms", "tables"} <= set(ids)
    for words in ("adjusted Rand index", "U-matrix", "Dendrogram with the cut", "Minimum spanning tree", "known class",
                  "Davies-Bouldin", "estampa explore set.h5", "of 30 members", "Condensed tree"):  # fmt: skip
        assert words in html, words
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert "://" not in re.sub(r"http://www.w3.org", "", html)
    assert len(html) < 3e6
    assert found.found["kmeans"].agreement["ari"].value > 0.9  # three shapes that nobody can confuse


def test_beside_the_page_lie_its_figures_tables_and_the_record(made: tuple[Path, Exploration]) -> None:
    folder, found = made
    for name in ("kmeans_classes", "hierarchical_dendrogram", "som_u_matrix", "hdbscan_sizes"):
        assert (folder / "figures" / f"{name}.svg").read_text().startswith("<?xml")
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    table = rows_of(folder / "tables" / "comparison.csv")
    assert [row["method"] for row in table] == [one.title for one in found.found.values()]
    assert float(table[0]["ARI_low"]) <= float(table[0]["ARI"]) <= float(table[0]["ARI_high"])
    record = json.loads((folder / "exploration.json").read_text())
    assert record["n"] == 90
    assert record["methods"]["kmeans"]["sizes"] == [30, 30, 30]
    assert record["methods"]["kmeans"]["ari"]["value"] == pytest.approx(found.found["kmeans"].agreement["ari"].value)


def test_assignments_hold_every_object_and_no_formula(made: tuple[Path, Exploration]) -> None:
    folder, found = made
    rows = rows_of(folder / "assignments.csv")
    assert list(rows[0])[:5] == ["id", "row", "class", "kmeans", "kmeans_strength"]
    assert rows[0]["id"] == "'=1+1"
    assert [int(row["row"]) for row in rows] == list(range(90))
    assert rows[9]["class"] == ""
    assert rows[1]["class"] == "bar"
    labels = found.found["kmeans"].clustering.labels
    assert [int(row["kmeans"]) for row in rows] == (labels + 1).tolist()
    noise = found.found["hdbscan"].clustering.labels < 0
    assert [row["hdbscan"] == "-1" for row in rows] == noise.tolist()


def test_new_data_are_assigned_as_the_old_were(made: tuple[Path, Exploration], tmp_path: Path) -> None:
    folder, _ = made
    same = tmp_path / "same.csv"
    assert assign(folder, folder.parent / "set.h5", same) == 90
    old, again = rows_of(folder / "assignments.csv"), rows_of(same)
    assert [row["kmeans"] for row in again] == [row["kmeans"] for row in old]
    written(tmp_path / "new.h5", 12, labels=False, seed=5)
    words = ["explore", str(folder), "--assign", str(tmp_path / "new.h5"), "-o", str(tmp_path / "new.csv"), "-q"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
    fresh = rows_of(tmp_path / "new.csv")
    assert len({row["kmeans"] for row in fresh}) == 3
    assert [fresh[i]["kmeans"] for i in range(3)] == [fresh[i]["kmeans"] for i in range(3, 6)]


def test_without_labels_and_pictures_the_rest_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, (40, 4)), rng.normal(8, 1, (40, 4))]).astype(np.float32)
    header = Header(80, None, "float32", "unlabelled", columns=("u", "g", "r", "i"))
    writer = DatasetWriter(tmp_path / "t.h5", header, ids=[f"o{i}" for i in range(80)], labels=None, fingerprint="t")
    writer.put_table(values)
    asked = Settings(features="table", clusters=2, methods=("kmeans", "gmm"), map="first")
    found = explore(writer.finish(), tmp_path / "out", asked)
    html = (tmp_path / "out" / "report.html").read_text()
    assert not found.labelled
    assert "hold together best" in html
    assert "purity" not in html.split('id="terms"')[0]
    assert "<img" not in html
    assert rows_of(tmp_path / "out" / "assignments.csv")[0]["class"] == ""
    assert sorted(found.found["kmeans"].clustering.sizes) == [40, 40]


def test_pictures_of_numbers_with_missing_pixels(tmp_path: Path) -> None:
    data = written(tmp_path / "f.h5", 40, labels=False, dtype="float32")
    truth = np.arange(40) % 3
    found = gather.gather(data, np.arange(40), 12, {"x": truth}, most=2, places=np.array([0, 7]))
    assert found.means["x"].shape == (2, 12, 12, 3)
    inside = data.images[:, 4:16, 4:16]  # type: ignore[index]
    np.testing.assert_allclose(found.means["x"][1], inside[truth == 1].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.means["x"][0], np.nanmean(inside[truth == 0], axis=0), rtol=1e-5)
    assert found.thumbs.shape == (2, 12, 12, 3)


def test_members_are_the_nearest_and_the_farthest() -> None:
    x = np.array([[0.0], [1], [2], [10], [12]])
    (near, far), (other, none) = gather.members(x, np.array([0, 0, 0, 1, 1]), np.array([[0.4], [12.0]]), 2, 2)
    assert near.tolist() == [0, 1]
    assert far.tolist() == [2]
    assert other.tolist() == [4, 3]
    assert not len(none)


def test_the_mean_of_a_cluster_is_shown_beside_its_members(made: tuple[Path, Exploration]) -> None:
    folder, _ = made
    html = (folder / "report.html").read_text()
    heads = re.findall(r'<li class="head">([^<]+)</li>', html)
    assert heads[:3] == [f"Cluster {k}: 30 objects, 100 % {name}" for k, name in _commonest(folder)]


def _commonest(folder: Path) -> list[tuple[str, str]]:
    rows = rows_of(folder / "tables" / "kmeans_clusters.csv")
    return [(row["cluster"], row["commonest class"]) for row in rows]


def test_many_classes_are_gathered() -> None:
    counts = np.arange(60).reshape(3, 20)
    shown, names = plots.gathered(counts, [f"c{i}" for i in range(20)])
    assert names[-1] == "others"
    assert (shown.sum(axis=1) == counts.sum(axis=1)).all()
    assert len(names) == plots.MOST_CLASSES


def test_a_clustering_of_chance_is_called_so(made: tuple[Path, Exploration]) -> None:
    _, found = made
    one = found.found["kmeans"]
    for stability, words in ((0.03, "do not build on them"), (0.3, "give other clusters"), (0.9, "nearly the same")):
        told = replace(found, found={"kmeans": replace(one, stability=stability)})
        assert words in report._sentence(told, told.found["kmeans"])
        assert ("not stable" in report.lead(told)) == (stability < 0.2)


def test_with_one_known_class_nothing_is_said_of_agreement(made: tuple[Path, Exploration]) -> None:
    _, found = made
    assert found.features.labels is not None
    one = replace(found, features=replace(found.features, labels=np.where(found.features.labels < 0, -1, 0)))
    agreement = {name: Interval(np.nan, np.nan, np.nan) for name in ("ari", "nmi", "homogeneity", "purity")}
    one = replace(one, found={name: replace(each, agreement=agreement) for name, each in one.found.items()})
    assert "almost entirely" not in report.lead(one)
    assert "hold together best" in report.lead(one)
    assert "almost entirely" not in report._sentence(one, one.found["kmeans"])


def test_few_objects_of_noise_are_not_called_none() -> None:
    assert [report._share(part) for part in (0.0, 0.001, 0.02)] == ["0 %", "less than 1 %", "2 %"]


def test_words_for_agreement() -> None:
    words = [report.agreement_words(v) for v in (-0.1, 0.05, 0.2, 0.5, 0.7, 0.9)]
    assert words == ["hardly at all", "hardly at all", "weakly", "partly", "well", "almost entirely"]


def test_ways_to_look_are_compared(tmp_path: Path) -> None:
    assert read_ways("crop=0, 10; components=2,4") == Ways((0, 10), (2, 4), ("pca",))
    assert read_ways("features=table").all() == [("table", 0, None)]
    rows = compare(written(tmp_path / "c.h5", 60), read_ways("crop=0,10;components=2,4"), clusters=3)
    assert [(row["crop"], row["components"]) for row in rows] == [(None, 2), (None, 4), (10, 2), (10, 4)]
    assert all(0 < row["explained"] <= 1 and row["ARI"].low <= row["ARI"].value for row in rows)
    assert rows[0]["explained"] < rows[1]["explained"]
    alone = compare(Dataset.open(tmp_path / "c.h5"), read_ways("crop=10;components=2"), clusters=3)[0]
    for figure in ("explained", "silhouette"):  # fitted once for both numbers, and the same as a fit of its own
        assert rows[2][figure] == pytest.approx(alone[figure], rel=0.01)
    assert rows[2]["seconds"] == rows[3]["seconds"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_ways("crops=3"), "Did you mean 'crop'"),
        (lambda: read_ways("crop=x"), "whole numbers"),
        (lambda: read_ways("crop="), "nothing is given"),
        (
            lambda: read_ways(" ; "),
            "names no other way to look. Allowed: KEY=VALUE,VALUE;KEY=VALUE of crop, components",
        ),
        (lambda: read_ways("crop=96;crop=64,32"), "'crop' is given twice. Got: 96 and 64,32. Name all values at once"),
        (lambda: read_clusters("1"), "auto, or 2 or more"),
        (lambda: read_methods("kmean"), "Did you mean 'kmeans'"),
    ],
)
def test_wrong_words_are_refused(call, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=re.escape(message)):
        call()


def test_what_cannot_be_explored_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(tmp_path / "s.h5", 12)
    monkeypatch.delattr(sys.modules[read_clusters.__module__], "features_of")  # the work begins with it
    with pytest.raises(InputError, match="too few objects to explore"):
        explore(data, tmp_path / "few", replace(QUICK, clusters=40))
    for ways, message in (
        ("crop=999", "crop is more than a picture has"),
        ("crop=4;components=3,900", "more components than can be found"),
        ("features=pca,tabel", "Did you mean 'table'"),
        ("features=embedding", "unknown features 'embedding'"),
    ):
        with pytest.raises(InputError, match=message):
            explore(data, tmp_path / "ways", replace(QUICK, clusters=None, compare=ways))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(InputError, match="not a new or empty folder"):
        explore(data, tmp_path / "full", QUICK)
    assert not (tmp_path / "few").exists()  # a refusal leaves nothing behind
    assert not (tmp_path / "ways").exists()
    with pytest.raises(InputError, match="Did you mean 'umap'"):
        explore(data, tmp_path / "m", replace(QUICK, map="umpa"))
    with pytest.raises(InputError, match="not a finished exploration"):
        assign(tmp_path, data, tmp_path / "x.csv")
    with pytest.raises(InputError, match=r"must end in \.csv"):
        assign(tmp_path, data, tmp_path / "x.txt")


@pytest.mark.parametrize(
    "words",
    [
        ["--crop", "64"], ["--features", "picture"], ["--clusters", "many"], ["--compare", "x=1"],
        ["--assign", "new.h5", "--crop", "3"], ["--compare", ""], ["--components", "900"], ["--features", "table"],
    ],
)  # fmt: skip
def test_wrong_use_ends_with_one_message_and_code_2(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "s.h5", 12)
    with pytest.raises(SystemExit) as ended:
        main(["explore", str(tmp_path / "s.h5"), "-o", str(tmp_path / "out"), *words])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.strip().splitlines()[-1].startswith("estampa: ")
    assert not (tmp_path / "out").exists()


def test_json_prints_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "s.h5", 40)
    words = ["explore", str(tmp_path / "s.h5"), "-o", str(tmp_path / "out"), "--components", "4", "--clusters", "3"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--methods", "kmeans", "--map", "first", "--json"])
    assert not ended.value.code
    record = json.loads(capsys.readouterr().out)
    assert record["methods"]["kmeans"]["clusters"] == 3
    assert Path(record["report"]).is_file()


def test_ctrl_c_ends_with_130_and_nothing_that_looks_whole(tmp_path: Path) -> None:
    written(tmp_path / "s.h5", 3000)
    words = [sys.executable, "-m", "estampa", "explore", str(tmp_path / "s.h5"), "-o", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*words, "--methods", "gmm"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    line = process.stderr.readline()  # it works
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, line + rest
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert not (tmp_path / "out" / "exploration.json").exists()
