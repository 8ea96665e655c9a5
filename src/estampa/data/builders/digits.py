"""Builder `digits`: scikit-learn's bundled handwritten digits, 1,797 grey pictures of 8 x 8, values 0 to 16.

The test part of Alpaydin & Kaynak 1998, UCI Machine Learning Repository, Optical Recognition of Handwritten Digits
(doi:10.24432/C50P49). Small enough to try everything in seconds, without network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from estampa import machine
from estampa.data.dataset import Dataset
from estampa.data.read import write_reading
from estampa.data.record import Header, ReadRecord
from estampa.data.sources._rows import RowsReading
from estampa.progress import SILENT, Progress

OPTIONS: dict[str, str] = {}
CLASSES = tuple("0123456789")
SPANISH = ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve")
ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:  # noqa: ARG001 - every builder is asked alike
    """Whether `dataset` is this bundled set: there is only one."""
    return dataset.header.origin.get("builder") == "digits"


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Write the set to the Dataset file `output`. Who wrote which digit is not known: there are no groups."""
    del options
    machine.require("train", "sklearn", needed_for="the builder digits")
    from sklearn.datasets import load_digits

    bundled = load_digits()
    images = bundled.images.astype(np.uint8)[..., None]
    header = Header(
        n=len(images),
        shape=(8, 8, 1),
        dtype="uint8",
        task="classification",
        classes=CLASSES,
        display={"en": ENGLISH, "es": SPANISH},
        channels=("ink",),
        units="0 = paper, 16 = ink in all of 4 x 4 finer pixels",
        origin={"builder": "digits", "from": "scikit-learn, sklearn.datasets.load_digits"},
        release="UCI optdigits, test part (1998)",
        licence="CC BY 4.0",
        read=ReadRecord(source="digits"),
        symmetry="none",
    )
    reading = RowsReading(
        header=header,
        ids=np.arange(len(images)).astype(str),
        labels=bundled.target.astype(np.int64),
        fingerprint="digits 1",
        fetch=lambda start, stop: (images[start:stop], {}),
    )
    return write_reading(reading, output, progress)
