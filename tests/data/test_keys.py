"""Ids that a spreadsheet has rounded are told from whole ones."""

from __future__ import annotations

import numpy as np
import pytest

from estampa.data.sources._keys import looks_rounded, require_exact
from estampa.errors import SourceError


@pytest.mark.parametrize("ids", [["1.24e+18", "7"], ["", "1,24E+18"], ["5.87731E+17"], ["588017703996096547", "6e17"]])
def test_scientific_notation_is_seen(ids: list[str]) -> None:
    assert looks_rounded(ids) in ids


def test_digits_lost_by_a_spreadsheet_are_seen() -> None:
    whole = [str(587722984435351614 + 1009 * i) for i in range(50)]
    assert looks_rounded(whole) == ""
    assert looks_rounded([text[:15] + "000" for text in whole]) == "587722984435351000"
    assert looks_rounded([text[:15] + "000.0" for text in whole])
    mixed = [text if i % 3 == 0 else text[:15] + "000" for i, text in enumerate(whole)]  # some cells were text
    assert looks_rounded(mixed) == mixed[1]
    assert looks_rounded([f"{float(text):.5e}" for text in whole])


@pytest.mark.parametrize(
    "ids",
    [
        *([], [""], ["ZTF18abc", "ZTF19xyz"], ["1", "20", "300"], ["100000000000000000"], ["12e", "e12", "1e", "M31"]),
        ["587722984435351000", "587722984435351614"],
    ],
)
def test_what_is_whole(ids: list[str]) -> None:
    assert looks_rounded(ids) == ""


def test_they_are_refused_as_a_key_with_the_cure() -> None:
    with pytest.raises(
        SourceError, match=r"a\.csv: these ids were rounded.*Got: '1\.24e\+18'.*as text.*--match-radius 2arcsec"
    ):
        require_exact(["1.24e+18"], "a.csv")
    require_exact(np.array(["1237650000000000001"]).tolist(), "a.csv")
