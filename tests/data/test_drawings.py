"""The simulated drawings: seeded, one hand a person, resumable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from estampa.data.builders import drawings
from estampa.errors import InputError


def test_a_seed_draws_the_same_set_and_another_seed_another(tmp_path: Path) -> None:
    few = {"people": "3", "each": "2"}
    first = drawings.build(tmp_path / "a.h5", few)
    again = drawings.build(tmp_path / "b.h5", few)
    other = drawings.build(tmp_path / "c.h5", {**few, "seed": "1"})
    assert first.content_sha256 == again.content_sha256
    assert first.content_sha256 != other.content_sha256


def test_it_is_a_balanced_set_of_ink_on_paper_grouped_by_person(tmp_path: Path) -> None:
    made = drawings.build(tmp_path / "a.h5", {"people": "4", "each": "5"})
    assert (made.n, made.shape, made.classes) == (100, (32, 32, 1), drawings.CLASSES)
    assert np.bincount(made.labels).tolist() == [20] * 5
    assert made.groups is not None
    assert len(set(made.groups.tolist())) == 4
    images = made.take(np.arange(made.n))
    assert set(np.unique(images)) == {0, 1}
    share = images.mean(axis=(1, 2, 3))
    assert share.min() > 0.02
    assert share.max() < 0.6
    assert made.header.origin["simulated"] is True
    assert made.header.display["es"][2] == "popó"


def test_people_draw_differently_and_a_person_alike(tmp_path: Path) -> None:
    made = drawings.build(tmp_path / "a.h5", {"people": "6", "each": "10"})
    images = made.take(np.arange(made.n)).astype(float)
    assert made.groups is not None
    ink = np.array([images[made.groups == g].mean() for g in sorted(set(made.groups.tolist()))])
    within = np.mean([images[made.groups == g].mean(axis=(1, 2, 3)).std() for g in set(made.groups.tolist())])
    assert ink.std() > within


@pytest.mark.parametrize(
    ("options", "words"),
    [({"poeple": "3"}, "Did you mean 'people'"), ({"each": "0"}, "not a count"), ({"seed": "x"}, "not a count")],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        drawings.build(tmp_path / "a.h5", options)
    assert not (tmp_path / "a.h5").exists()
