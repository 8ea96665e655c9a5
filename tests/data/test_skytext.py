"""Positions as catalogues write them: decimal degrees and sexagesimal."""

from __future__ import annotations

import numpy as np
import pytest

from estampa.data.skytext import column_of_degrees, degrees
from estampa.errors import SourceError


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("188.736", "ra", 188.736), (" -1.5e1 ", "dec", -15.0), ("12:34:56.7", "ra", 188.73625),
        ("12 34 56.7", "ra", 188.73625),
        ("12h34m56.7s", "ra", 188.73625), ("188d44m10.5s", "ra", 188.73625), ("-01:02:03", "dec", -1.0341666667),
        ("-00:30:00", "dec", -0.5), ("+12 30 00", "dec", 12.5), ("-12d30m00s", "dec", -12.5),
    ],
)  # fmt: skip
def test_what_is_understood(text: str, kind: str, value: float) -> None:
    assert degrees(text, kind, "a.csv") == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("text", ["", "  ", "NaN", "n/a", "--", "null"])
def test_what_is_not_known(text: str) -> None:
    assert np.isnan(degrees(text, "dec", "a.csv"))


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("187:30:00", "ra", r"hours from 0 to below 24.*as 187d30m00s"),
        ("24:00:00", "ra", "hours from 0 to below 24"),
        ("-01:00:00", "ra", "hours from 0"),
        ("12:60:00", "dec", "minutes and seconds below 60"),
        ("12:00:61", "ra", "minutes and seconds below 60"),
        ("12h00m00s", "dec", "a declination in hours"),
        ("12:34", "ra", "is no right ascension"),
        ("north", "dec", "is no declination.*Got: 'north'"),
    ],
)
def test_what_is_refused_with_its_row(text: str, kind: str, told: str) -> None:
    with pytest.raises(SourceError, match=f"a.csv, row 2: .*{told}"):
        column_of_degrees(["1.0", text], kind, "a.csv")
