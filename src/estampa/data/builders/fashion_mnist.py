"""Builder `fashion_mnist`: Zalando's 70,000 articles of clothing, grey, 28 x 28, ten classes, published split.

Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747; https://github.com/zalandoresearch/fashion-mnist, MIT licence. The files
of the Debian package dataset-fashion-mnist are used where they are installed, else the four files are fetched from
the official address and checked against the published MD5 sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from estampa.data.builders._download import download, require_http
from estampa.data.dataset import Dataset
from estampa.data.read import cache_folder, write_reading
from estampa.data.sources import idx
from estampa.data.sources._base import ReadOptions
from estampa.errors import SourceError
from estampa.progress import SILENT, Progress

OPTIONS = {
    "folder": "folder that holds the four files (those that Debian installs, when they are there)",
    "url": "address of the folder to fetch the four files from (the official one)",
}
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
OFFICIAL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
SPANISH = (
    *("Camiseta", "Pantalón", "Suéter", "Vestido", "Abrigo"),
    *("Sandalia", "Camisa", "Zapatilla", "Bolso", "Botín"),
)


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:  # noqa: ARG001 - every builder is asked alike
    """Whether `dataset` is this published set: it does not change, wherever its files came from."""
    return dataset.header.origin.get("builder") == "fashion_mnist" and dataset.n == 70_000


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Write the set to the Dataset file `output`: train and test as published, no validation part.

    Raises DownloadError, or SourceError when the files in `folder` are not those of Fashion-MNIST.
    """
    folder, origin = _files(options, progress)
    reading = idx.read([folder], ReadOptions(classes=CLASSES))
    if reading.header.n != 70_000 or not reading.header.published_split or reading.labels is None:
        raise SourceError("not Fashion-MNIST", where=folder, allowed="60,000 and 10,000 images", got=reading.header.n)
    reading.header = replace(
        reading.header,
        display={"en": CLASSES, "es": SPANISH},
        channels=("grey",),
        units="0 = ground, 255 = brightest",
        origin={"builder": "fashion_mnist", **origin},
        release="1.0 (2017)",
        licence="MIT",
        symmetry="hflip",
    )
    return write_reading(reading, output, progress)


def _files(options: Mapping[str, str], progress: Progress) -> tuple[Path, dict[str, str]]:
    """Folder of the four files, and where they came from."""
    if "folder" in options:
        folder = Path(options["folder"])
        absent = [name for name in MD5 if not (folder / name).is_file()]
        if absent:
            raise SourceError("a file of Fashion-MNIST is missing", where=folder, got=", ".join(absent))
        return folder, {"from": "files at hand"}
    if "url" not in options and all((INSTALLED / name).is_file() for name in MD5):
        return INSTALLED, {"from": "Debian package dataset-fashion-mnist"}
    base = options.get("url", OFFICIAL).rstrip("/") + "/"
    require_http(base, "--option url")
    folder = cache_folder().parent / "downloads" / "fashion-mnist"
    for name, md5 in MD5.items():
        download(base + name, name, md5, folder, progress)
    return folder, {"from": base}
