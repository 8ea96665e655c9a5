"""Builder `photometry`: a catalogue that looks like the survey's, its failures and doubts included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from estampa.data.builders import photometry
from estampa.data.builders.photometry import FAILED, simulate_photometry
from estampa.data.dataset import Dataset
from estampa.data.read import build
from estampa.errors import InputError


def test_the_catalogue_has_kinds_that_differ_doubts_and_failures() -> None:
    found = simulate_photometry(5000)
    spiral, elliptical, uncertain = (found[k] == 1 for k in ("spiral", "elliptical", "uncertain"))
    assert (spiral.astype(int) + elliptical + uncertain == 1).all()
    assert min(spiral.mean(), elliptical.mean(), uncertain.mean()) > 0.15
    measured = found["dered_g"] != 0
    red = found["dered_g"] - found["dered_r"]
    assert red[elliptical & measured].mean() > red[spiral & measured].mean() + 0.1
    whole = found["petroR50_r"] != FAILED
    concentration = found["petroR90_r"] / found["petroR50_r"]
    assert concentration[elliptical & whole].mean() > concentration[spiral & whole].mean() + 0.2
    assert 0.01 < (~whole).mean() < 0.04
    assert 0.001 < (~measured).mean() < 0.02
    assert 0.002 < np.isnan(found["mCr4_r"]).mean() < 0.03
    assert len(set(found["objid"].tolist())) == 5000
    assert int(found["objid"][0]) > 2**53


def test_the_same_seed_gives_the_same_catalogue_and_another_another() -> None:
    one, two, other = simulate_photometry(50, 3), simulate_photometry(50, 3), simulate_photometry(50, 4)
    for name in one:
        assert np.array_equal(one[name], two[name], equal_nan=one[name].dtype.kind == "f"), name
    assert not np.array_equal(one["dered_r"], other["dered_r"])


def test_the_dataset_is_what_its_csv_gives(tmp_path: Path) -> None:
    made = build("photometry", tmp_path / "a.h5", builder_options={"n": "120", "file": str(tmp_path / "a.csv")})
    read = build(tmp_path / "a.csv", tmp_path / "b.h5")
    assert np.array_equal(made.table, read.table, equal_nan=True)  # type: ignore[arg-type]
    assert made.ids.tolist() == read.ids.tolist() == simulate_photometry(120)["objid"].tolist()
    assert np.array_equal(made.labels, read.labels)
    assert made.header.roles == read.header.roles
    assert made.header.origin["simulated"] is True
    again = build("photometry", tmp_path / "a.h5", builder_options={"n": "120", "file": str(tmp_path / "a.csv")})
    assert again.content_sha256 == made.content_sha256


def test_without_a_file_nothing_is_left_beside_the_dataset(tmp_path: Path) -> None:
    made = build("photometry", tmp_path / "a.h5", builder_options={"n": "30"})
    assert isinstance(made, Dataset)
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize(
    ("options", "told"),
    [({"n": "3"}, "out of range"), ({"n": "many"}, "not a whole number"), ({"seed": "-1"}, "out of range"),
     ({"file": "a.txt"}, "ends in .csv")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options: dict[str, str], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        build("photometry", tmp_path / "a.h5", builder_options=options)
    assert set(options) <= set(photometry.OPTIONS)
