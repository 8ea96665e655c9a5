"""Real data for the proof of watching: models trained on a part of each set, and objects that none of it has seen.

Fashion-MNIST: the model learns from a part of the training part, the published test part is watched. ZTF stamps and
the SDSS table: half of the objects are kept away from the Dataset altogether, alerts of one object on one side.
"""

from __future__ import annotations

import csv
import gzip
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from estampa import Bundle

FASHION = Path("/usr/share/datasets/fashion-mnist")
LEARNED, OBJECTS = 14_000, 4_500  #: pictures and rows that go into a Dataset, validation part included
BANDS = ("u", "g", "r", "i", "z")


@dataclass
class Case:
    """A model, and objects that neither trained it nor are in its reference.

    Attributes
    ----------
    name : of the data.
    bundle : learned from all classes.
    raw : (n, h, w, c) pictures or (n, columns) rows.
    labels : (n,) class numbers.
    lacking, lacked : a model that was trained without one class, and that class's name; None where there is none.
    strangers : objects of another survey, in the same shape; None where there are none.
    """

    name: str
    bundle: Bundle
    raw: np.ndarray
    labels: np.ndarray
    lacking: Bundle | None = None
    lacked: str = ""
    strangers: np.ndarray | None = None


def estampa(*words: object) -> None:
    """A command, as a user would type it; its words go to our stderr."""
    subprocess.run([sys.executable, "-m", "estampa", *map(str, words), "--quiet"], check=True, stdout=sys.stderr)


def trained(folder: Path, name: str, sources: Sequence[Path], validation: float, recipe: Sequence[str]) -> Bundle:
    """Build, split and train; an earlier run in `folder` is taken as it is."""
    run = folder / name
    if not (run / "model" / "bundle.json").exists():
        built = folder / f"{name}.h5"
        built.unlink(missing_ok=True)
        estampa("build", *sources, "-o", built)
        estampa("split", built, "--test", 0, "--validation", validation)
        estampa("train", built, "-o", run, "--no-baselines", "--no-gallery", *recipe)
    return Bundle.open(run)


# ---------------------------------------------------------------------------------------------------------- the sets


def fashion(folder: Path) -> Case:
    """Ten classes of 28 x 28, one channel, 8 bits; the lacking model has never seen a bag."""
    learned, names = _idx("train")
    held, labels = _idx("t10k")
    draw = np.random.default_rng(0).permutation(len(learned))[:LEARNED]
    words = np.array(["top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"])
    made = []
    for name, kept in (("fashion", draw), ("fashion-no-bag", draw[names[draw] != 8])):
        source = folder / f"{name}.npz"
        np.savez(source, images=learned[kept], labels=words[names[kept]])
        recipe = ["--recipe", "pictures-fast", "--set", "prepare.symmetry=hflip"]
        made.append(trained(folder, name, [source], 0.15, recipe))
    places = np.array([made[0].classes.index(word) for word in words.tolist()])
    return Case("Fashion-MNIST", made[0], held, places[labels], made[1], "bag")


def _idx(part: str) -> tuple[np.ndarray, np.ndarray]:
    images = np.frombuffer(
        gzip.decompress((FASHION / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    )
    labels = np.frombuffer(gzip.decompress((FASHION / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return images.reshape(-1, 28, 28, 1), labels.astype(np.int64)


def ztf(folder: Path, data: Path) -> Case:
    """Real and bogus, 21 x 21, science, template, difference; strangers are stamps in Rubin's format."""
    images = np.load(data / "ztf_stamps" / "ztf_stamps_21.npz")
    rows = list(csv.DictReader((data / "ztf_stamps" / "ztf_alerts.csv").open(encoding="utf-8")))
    labels = images["label"].astype(np.int64)
    objects = np.array([row["objectId"] for row in rows])
    names = np.unique(objects)
    known = np.isin(objects, np.random.default_rng(0).permutation(names)[: len(names) // 2])
    learned, held = np.flatnonzero(known & (labels >= 0)), np.flatnonzero(~known & (labels >= 0))
    source = folder / "ztf.npz"
    words = np.array(["bogus", "real"])
    kept = {"images": images["images"][learned], "labels": words[labels[learned]], "groups": objects[learned]}
    np.savez(source, **kept, channels=np.array(["science", "template", "difference"]))
    recipe = ["--recipe", "stamps-fast", "--set", "train.epochs=12"]
    bundle = trained(folder, "ztf", [source], 0.4, recipe)
    places = np.array([bundle.classes.index(word) for word in words.tolist()])
    other = np.load(data / "lsst_format_stamps" / "lsst_format_stamps_30.npz")["images"][:, :, 4:25, 4:25]
    raw = images["images"][held].transpose(0, 2, 3, 1)
    return Case("ZTF stamps", bundle, raw, places[labels[held]], strangers=other.transpose(0, 2, 3, 1))


def sdss(folder: Path, data: Path) -> Case:
    """Stars, galaxies and quasars by five magnitudes; the lacking model has never seen a quasar."""
    rows = list(csv.DictReader((data / "sdss_star_galaxy_qso" / "skyserver_10000.csv").open(encoding="utf-8")))
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    learned, held = [rows[i] for i in order[:OBJECTS]], [rows[i] for i in order[OBJECTS:]]
    made = []
    for name, kept in (("sdss", learned), ("sdss-no-quasar", [r for r in learned if r["class"] != "QSO"])):
        source = folder / f"{name}.csv"
        lines = [",".join(row[column] for column in (*BANDS, "class")) for row in kept]
        source.write_text("\n".join([",".join((*BANDS, "class")), *lines]) + "\n", encoding="utf-8")
        recipe = ["--set", "model.name=forest", "--set", "prepare.invalid=impute"]
        made.append(trained(folder, name, [source], 0.4, recipe))
    columns = made[0].table.column_names
    raw = np.array([[float(row[column]) for column in columns] for row in held])
    labels = np.array([made[0].classes.index(row["class"]) for row in held])
    return Case("SDSS table", made[0], raw, labels, made[1], "QSO")
