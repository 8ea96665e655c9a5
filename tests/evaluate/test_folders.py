"""A folder per class, judged by a model: classes keep the model's numbers, whatever folders are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from estampa.bundle.store import Bundle
from estampa.data.read import ReadOptions, build, open_any
from estampa.data.record import ReadRecord
from estampa.errors import InputError
from estampa.evaluate.evaluation import evaluate
from estampa.predict import predict
from estampa.progress import Progress
from made_bundles import make

CLASSES = ("ichika", "miku", "nino")  # the stand-in answers the first for dark pictures, the last for light ones
DARK, LIGHT = 40, 220


class Heard(Progress):
    """A Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    record = ReadRecord(source="folder", mode="L", size=(6, 5))
    return make(tmp_path / "model", classes=CLASSES, read=record, channels=("grey",))


def lay(folder: Path, **classes: int) -> Path:
    """Six pictures in each of some folders, about so light."""
    for name, light in classes.items():
        (folder / name).mkdir(parents=True)
        for i in range(6):
            value = np.random.default_rng([light, i]).integers(light - 30, light + 30, (9, 8), dtype=np.uint8)
            Image.fromarray(value).save(folder / name / f"{i}.png")
    return folder


@pytest.mark.parametrize("there", [{"ichika": DARK, "nino": LIGHT}, {"nino": LIGHT}])
def test_a_missing_folder_moves_no_class(bundle: Bundle, tmp_path: Path, there: dict[str, int]) -> None:
    """Counted anew, nino would be class 1 or 0 where miku or ichika has no folder, and every answer would be wrong."""
    folder = lay(tmp_path / "new", **there)
    found = evaluate(bundle, folder, resamples=100)
    assert found.n == 6 * len(there)
    assert found.metrics["accuracy"].value == 1.0
    answers = predict(bundle, folder)
    for name, c in zip(answers.ids.tolist(), answers.predicted.tolist(), strict=True):
        assert c == name.split("/")[0]


def test_a_dataset_of_fewer_classes_is_matched_by_name(bundle: Bundle, tmp_path: Path) -> None:
    folder = lay(tmp_path / "new", nino=LIGHT)
    alone = build(folder, tmp_path / "alone.h5", ReadOptions(size=(6, 5), mode="L"))
    named = build(folder, tmp_path / "named.h5", ReadOptions(size=(6, 5), mode="L", classes=CLASSES))
    assert (alone.labels[0], named.labels[0]) == (0, 2)
    for dataset in (alone, named):
        assert evaluate(bundle, dataset, resamples=100).metrics["accuracy"].value == 1.0


def test_a_folder_that_is_no_class_of_the_model_is_named_and_not_judged(bundle: Bundle, tmp_path: Path) -> None:
    folder = lay(tmp_path / "new", ichika=DARK, yotsuba=LIGHT)
    heard = Heard()
    found = evaluate(bundle, folder, resamples=100, progress=heard)
    assert found.n == 6
    assert "6 pictures in folders that are no class of the model: yotsuba" in heard.said
    assert len(predict(bundle, folder)) == 12
    with pytest.raises(InputError, match="there is nothing to judge"):
        evaluate(bundle, lay(tmp_path / "other", yotsuba=LIGHT), resamples=100)


def test_accents_stored_in_another_form_are_the_same_class(tmp_path: Path) -> None:
    record = ReadRecord(source="folder", mode="L", size=(6, 5))
    bundle = make(tmp_path / "model", classes=("gata", "gató"), read=record, channels=("grey",))
    dataset = open_any(lay(tmp_path / "new", gató=LIGHT), ReadOptions(record=record, classes=bundle.classes))
    assert dataset.labels.tolist() == [1] * 6
