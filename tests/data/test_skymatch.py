"""Matching by position: on the sphere, one to one, nothing lost without being counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estampa.data.skymatch import match, read_radius
from estampa.errors import InputError, SourceError

ARCSEC = 1 / 3600


@pytest.mark.parametrize(
    ("text", "degrees"),
    [
        *(("2arcsec", 2 * ARCSEC), ("2 ARCSEC", 2 * ARCSEC), ('1.5"', 1.5 * ARCSEC), ("0.5arcmin", 0.5 / 60)),
        *(("500mas", 0.5 * ARCSEC), ("1e-3deg", 1e-3), (" 1' ", 1 / 60)),
    ],
)
def test_a_radius_has_a_unit(text: str, degrees: float) -> None:
    assert read_radius(text) == pytest.approx(degrees, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["2", "", "arcsec", "-2arcsec", "0arcsec", "2 parsec", "1.2.3arcsec", "nan deg", "2deg"]
)
def test_what_is_no_radius(text: str) -> None:
    with pytest.raises(InputError, match=r"--match-radius: is no radius.*2arcsec"):
        read_radius(text)


def test_against_every_pair_by_the_haversine_formula() -> None:
    """Sinnott 1984, Sky & Telescope 68, 158: the textbook's separation, over all pairs."""
    random = np.random.default_rng(4)
    ra2, dec2 = random.uniform(10, 10.02, 400), random.uniform(-0.01, 0.01, 400)
    ra, dec = (np.concatenate([c[:150] + random.normal(0, 2 * ARCSEC, 150), c[:20]]) for c in (ra2, dec2))
    radius = 3 * ARCSEC
    a, d, a2, d2 = (np.radians(v) for v in (ra, dec, ra2, dec2))
    half = np.sin((d[:, None] - d2) / 2) ** 2 + np.cos(d[:, None]) * np.cos(d2) * np.sin((a[:, None] - a2) / 2) ** 2
    apart = np.degrees(2 * np.arcsin(np.sqrt(half)))
    found = match(ra, dec, ra2, dec2, radius)
    nearest = apart.argmin(1)
    for i in range(len(ra)):
        rivals = np.flatnonzero((nearest == nearest[i]) & (apart.min(1) <= radius))
        wins = apart[i, nearest[i]] <= radius and i == min(rivals, key=lambda r: (apart[r, nearest[i]], r))
        assert found.index[i] == (nearest[i] if wins else -1)
        assert found.lost[i] == (apart[i].min() <= radius and not wins)
        assert found.ambiguous[i] == (wins and (apart[i] <= radius).sum() > 1)
        if wins:
            assert found.separation[i] == pytest.approx(apart[i, nearest[i]] * 3600, abs=1e-7)
    assert found.lost.any()
    assert found.ambiguous.any()
    assert (found.index < 0).any()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((359.9999, 12.0), (0.0001, 12.0)),
        ((0.0, 12.0), (360.0, 12.0)),
        ((-0.0001, -3.0), (359.9998, -3.0)),
        ((10.0, 89.9999), (190.0, 89.9999)),  # over the pole
        ((77.0, -90.0), (211.0, -90.0)),
    ],
)
def test_neither_the_poles_nor_zero_are_special(one: tuple[float, float], other: tuple[float, float]) -> None:
    found = match([one[0]], [one[1]], [other[0]], [other[1]], 2 * ARCSEC)
    assert found.index.tolist() == [0]
    assert found.separation[0] <= 0.73
    far = match([one[0]], [one[1]], [other[0]], [other[1] / 2], 2 * ARCSEC)
    assert far.index.tolist() == [-1]
    assert np.isnan(far.separation[0])


def test_one_row_is_nobodys_twice_and_the_loser_gets_no_second_choice() -> None:
    found = match([10, 10.0002], [0, 0], [10.0001, 10.0005], [0.00001, 0], 2 * ARCSEC)
    assert sorted(found.index.tolist()) == [-1, 0]
    assert found.lost.sum() == 1
    assert "1 of 2 objects" in found.note(2 * ARCSEC)
    assert "1 lost theirs to a nearer object" in found.note(2 * ARCSEC)


def test_positions_that_are_missing_match_nothing() -> None:
    found = match([np.nan, 10, 5], [0, np.inf, 5], [np.nan, 5], [0, 5], ARCSEC)
    assert found.index.tolist() == [-1, -1, 1]
    assert match([], [], [1.0], [1.0], ARCSEC).index.shape == (0,)
    assert match([1.0], [1.0], [], [], ARCSEC).index.tolist() == [-1]


def test_a_declination_beyond_the_pole_is_refused() -> None:
    with pytest.raises(SourceError, match=r"the catalogue, row 2: a declination is beyond 90.*Got: 187"):
        match([1.0], [1.0], [1.0, 12.0], [1.0, 187.0], ARCSEC)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-360, 720), st.floats(-90, 90)), min_size=1, max_size=20),
    st.floats(0, 360), st.sampled_from([0.01, 2.0, 3600.0]),
)  # fmt: skip
def test_every_object_finds_itself(positions: list[tuple[float, float]], turn: float, radius: float) -> None:
    """Whole turns of right ascension and the order of the catalogue change nothing; a row is used once at most."""
    ra, dec = np.array(positions).T
    found = match(ra, dec, ra[::-1] + 360 * np.sign(turn - 180), dec[::-1], radius * ARCSEC)
    used = found.index[found.index >= 0]
    assert len(set(used.tolist())) == len(used)
    assert ((found.index >= 0) | found.lost).all()
    assert (found.separation[found.index >= 0] < 1e-4).all()


def test_a_survey_is_matched_in_seconds() -> None:
    random = np.random.default_rng(0)
    n = 200_000
    ra, dec = random.uniform(0, 360, n), np.degrees(np.arcsin(random.uniform(-1, 1, n)))
    order = random.permutation(n)
    found = match(ra, dec + 0.5 * ARCSEC * (dec < 0), ra[order], dec[order], 2 * ARCSEC)
    assert (order[found.index[found.index >= 0]] == np.flatnonzero(found.index >= 0)).mean() > 0.999
    assert (found.index >= 0).mean() > 0.999
