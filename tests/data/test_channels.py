"""Several files as the channels of one object: found by their names, and nothing dropped without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from estampa.data.sources._channels import Objects, objects_of
from estampa.data.sources._picture import Unreadable
from estampa.data.sources._store import Folder
from estampa.errors import SourceError


def objects(folder: Path, *names: str, wanted: tuple[str, ...] = ()) -> Objects:
    for name in names:
        (folder / name).touch()
    return objects_of(Folder(folder, (".fits", ".fit")), wanted)


def test_bands_in_both_cases_are_one_band(tmp_path: Path) -> None:
    found = objects(tmp_path, "a_G.fits", "a_r.fits", "b_g.fits", "b_R.fits", "c_g.fits", "c_r.fits")
    assert [band.lower() for band in found.bands] == ["g", "r"]
    assert found.files_of("b") == ("b_g.fits", "b_R.fits")
    again = objects(tmp_path, wanted=("r", "G"))
    assert again.bands == ("r", "G")
    assert again.files_of("a") == ("a_r.fits", "a_G.fits")


@pytest.mark.parametrize("other", ["a-g.fits", "a_g.fit", "a_G.fits"])
def test_two_files_of_one_band_are_refused(tmp_path: Path, other: str) -> None:
    with pytest.raises(SourceError, match=r"two files are band 'g' of one object"):
        objects(tmp_path, "a_g.fits", "a_r.fits", "b_g.fits", "b_r.fits", other)


def test_files_that_are_no_band_of_the_model_are_rows_that_are_named(tmp_path: Path) -> None:
    found = objects(tmp_path, "a_g.fits", "a_r.fits", "a_u.fits", "b_u.fits", "plain.fits", wanted=("g", "r"))
    assert found.names == ["a", "b", "plain.fits"]
    assert found.files_of("a") == ("a_g.fits", "a_r.fits")
    for name in ("b", "plain.fits"):
        with pytest.raises(Unreadable, match="no file for g, r"):
            found.files_of(name)
    with pytest.raises(SourceError, match="several files for each object"):
        objects(tmp_path, wanted=("z",))
