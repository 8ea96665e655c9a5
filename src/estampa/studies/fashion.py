"""Study 2, garments: Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747), the published split of 60,000 + 10,000."""

from __future__ import annotations

from pathlib import Path

from estampa.data.dataset import Dataset
from estampa.data.read import build, open_any
from estampa.errors import InputError
from estampa.studies._table import Ledger, row_of
from estampa.studies._ways import AS_PUBLISHED, OURS, RIGHT, published, trained

LEADING = "accuracy"
DATA = "a folder with the four IDX files, or a Dataset; without --data they are found or downloaded"
ACCURACY, PARAMETERS, TEST = 0.8951, 93_322, 10_000
RECALLS = (0.847, 0.979, 0.852, 0.925, 0.786, 0.986, 0.686, 0.963, 0.982, 0.945)


def run(source: Path | None, ledger: Ledger) -> tuple[str, list[str]]:
    """Fill the ledger; return what the data are, and notes. See `studies.reproduce`."""
    progress = ledger.progress
    dataset = open_any(source, progress=progress) if source else build("fashion_mnist", progress=progress)
    _require(dataset)
    ledger.bind(dataset.content_sha256)
    recalls = dict(zip(dataset.classes, RECALLS, strict=True))
    ledger.add("published", lambda: published(ACCURACY, TEST, "15 epochs, published test part", recalls, PARAMETERS))
    plain = {"evaluate.baselines": False}
    right = {**plain, "data.validation": 0.1, "train.keep": "best"}
    ledger.add(
        "as-published",
        lambda: row_of(
            way=AS_PUBLISHED, how="15 epochs, raw pixels, no validation part",
            fault="the number of epochs was fixed without a validation part",
            **trained(ledger, "run-as-published", dataset, "fashion", plain),
        ),
    )  # fmt: skip
    ledger.add(
        "right",
        lambda: row_of(
            way=RIGHT, how="same net, epoch chosen on a validation part",
            **trained(ledger, "run-right", dataset, "fashion", right),
        ),
    )  # fmt: skip
    ledger.add(
        "ours",
        lambda: row_of(way=OURS, how="recipe pictures", **trained(ledger, "run-ours", dataset, "pictures", {})),
    )
    return f"Fashion-MNIST, {dataset.n:,} garments, test part of {TEST:,} read once by each way", []


def _require(dataset: Dataset) -> None:
    """The study's set has ten classes of 28 x 28 x 1 and a published test part of 10,000."""
    found = (len(dataset.classes), dataset.shape, len(dataset.rows("test")))
    if found != (len(RECALLS), (28, 28, 1), TEST):
        raise InputError(
            "is not Fashion-MNIST", where=dataset.path, allowed=f"10 classes, 28 x 28 x 1, {TEST:,} test objects",
            got=f"{found[0]} classes, {found[1]}, {found[2]:,} test objects", cure=f"Give {DATA}.",
        )  # fmt: skip
