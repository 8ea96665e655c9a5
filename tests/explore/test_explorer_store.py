"""The explorer on disk assigns as the one in memory; hostile and damaged folders are refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from estampa.data.dataset import Dataset
from estampa.data.read import open_any
from estampa.errors import EstampaError, InputError
from estampa.explore.clustering import cluster
from estampa.explore.features import features_of
from estampa.explore.store import FILE, Explorer
from estampa.explore.umap import Umap


def pictures(folder: Path, n: int = 60, seed: int = 0) -> Dataset:
    """Pictures of 8 x 8: a bright bar, lying or standing."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (n, 8, 8, 1)).astype(np.uint8)
    images[::2, 3:5] += 180
    images[1::2, :, 3:5] += 180
    np.savez(folder / f"bars{seed}.npz", images=images, labels=np.arange(n) % 2)
    return open_any(folder / f"bars{seed}.npz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Explorer, Dataset]:
    data = pictures(tmp_path_factory.mktemp("bars"))
    features = features_of(data, "pca", components=4)
    x = features.values
    places = x[:, :2] * 3  # stands for a UMAP: the same class, without its cost
    dense = Umap(x, places, 5, 0.1, 0)
    found = {
        "kmeans": cluster("kmeans", x, options={"clusters": 2}),
        "gmm": cluster("gmm", x, options={"clusters": 2}),
        "hdbscan": cluster("hdbscan", places, options={"smallest": 10, "neighbours": 4}),
    }
    record = {"features": features.record}
    return Explorer(features.extractor, found, {"dense": dense}, {"hdbscan": "dense"}, data.classes, record), data


@pytest.fixture
def saved(made: tuple[Explorer, Dataset], tmp_path: Path) -> Path:
    made[0].save(tmp_path / "explorer")
    return tmp_path / "explorer"


def test_a_loaded_explorer_assigns_as_the_saved_one(
    made: tuple[Explorer, Dataset], saved: Path, tmp_path: Path
) -> None:
    explorer, data = made
    again, new = Explorer.load(saved), pictures(tmp_path, seed=1)
    assert again.classes == explorer.classes
    assert again.record == json.loads(json.dumps(explorer.record))
    for source in (data, new):
        first, second = explorer.assign(source), again.assign(source)
        assert set(first) == set(second) == {"kmeans", "gmm", "hdbscan"}
        for name in first:
            assert (first[name][0] == second[name][0]).all()
            assert (first[name][1] == second[name][1]).all()
    labels = again.assign(new)["kmeans"][0]
    assert max((labels == new.labels).mean(), (labels != new.labels).mean()) == 1
    by_array = again.assign(new.take(np.arange(new.n)))
    assert (by_array["kmeans"][0] == labels).all()


def test_the_folder_holds_nothing_that_runs(saved: Path) -> None:
    suffixes = {p.suffix for p in saved.rglob("*") if p.is_file()}
    assert suffixes == {".json", ".safetensors"}
    assert not saved.with_name("explorer.part").exists()


def test_an_explorer_is_never_overwritten(made: tuple[Explorer, Dataset], saved: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        made[0].save(saved)


def test_other_pictures_are_refused(saved: Path) -> None:
    with pytest.raises(EstampaError, match=r"8 x 8 x 1|not what"):
        Explorer.load(saved).assign(np.zeros((2, 9, 9, 1), np.uint8))


def resealed(folder: Path, name: str) -> None:
    """Write the manifest's size and hash of a file anew, as an attacker would."""
    tree = json.loads((folder / FILE).read_text())
    data = (folder / name).read_bytes()
    tree["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / FILE).write_text(json.dumps(tree))


def edited(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tree = json.loads((folder / FILE).read_text())
        change(tree)
        (folder / FILE).write_text(json.dumps(tree))

    return edit


def other_arrays(folder: Path) -> None:
    """Centres of another width, resealed."""
    from safetensors.numpy import load, save

    arrays = load((folder / "kmeans.safetensors").read_bytes())
    arrays["centres"] = np.zeros((2, 9), np.float32)
    (folder / "kmeans.safetensors").write_bytes(save(arrays))
    resealed(folder, "kmeans.safetensors")


def pickled(folder: Path) -> None:
    (folder / "kmeans.safetensors").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    resealed(folder, "kmeans.safetensors")


def linked(folder: Path) -> None:
    (folder / "kmeans.safetensors").unlink()
    (folder / "kmeans.safetensors").symlink_to("/etc/hostname")


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda f: (f / FILE).unlink(), "is not an explorer"),
    "not JSON": (lambda f: (f / FILE).write_text("{"), "is not JSON"),
    "deep JSON": (lambda f: (f / FILE).write_text("[" * 100_000), "is not JSON"),
    "newer": (edited(lambda t: t.update(format=2)), "newer estampa"),
    "a key gone": (edited(lambda t: t.pop("maps")), "not an explorer's manifest"),
    "a path as a map": (edited(lambda t: t.update(maps=["../x"])), "impossible map"),
    "a path as a method": (edited(lambda t: t["clusterings"].update({"../x": {}})), "unknown method"),
    "another method": (edited(lambda t: t["clusterings"]["gmm"].update(method="os")), "unknown method"),
    "a space that there is not": (edited(lambda t: t["spaces"].update(gmm="moon")), "unknown map"),
    "a space that does not fit": (edited(lambda t: t["spaces"].update(gmm="dense")), "does not fit its map"),
    "a file too many": (lambda f: (f / "run.py").write_text("1"), "does not hold the files"),
    "a file too few": (lambda f: (f / "gmm.safetensors").unlink(), "does not hold the files"),
    "a byte changed": (lambda f: (f / "gmm.safetensors").write_bytes(b"x"), "damaged or tampered"),
    "a link": (linked, "symbolic link"),
    "a pickle": (pickled, "not a safetensors file"),
    "arrays that do not fit": (other_arrays, "do not fit each other"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_and_damaged_folders_are_refused(saved: Path, what: str) -> None:
    change, message = HOSTILE[what]
    change(saved)
    with pytest.raises(EstampaError, match=message) as caught:
        Explorer.load(saved)
    assert caught.value.exit_code == 2


def test_all_noise_is_kept_too(made: tuple[Explorer, Dataset], tmp_path: Path) -> None:
    explorer, data = made
    x = explorer.features(data)
    nothing = cluster("hdbscan", x, options={"smallest": 31})
    assert nothing.clusters == 0
    Explorer(explorer.extractor, {"hdbscan": nothing}).save(tmp_path / "empty")
    labels, _ = Explorer.load(tmp_path / "empty").assign(data)["hdbscan"]
    assert (labels == np.full(data.n, -1)).all()
