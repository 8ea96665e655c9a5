"""Columns of SDSS photometry and Galaxy Zoo votes: their names, units, meanings, and what each is for.

Names, units and meanings are those of the schema of SDSS's PhotoObjAll and zooSpec (Galaxy Zoo 1 table 2: Lintott et
al. 2011, MNRAS 410, 166).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

BANDS = "ugriz"
CLASSES = ("elliptical", "spiral")
FLAGS = ("spiral", "elliptical", "uncertain")  #: of Galaxy Zoo 1: one of them is 1 in each row
#: Of each band: name in PhotoObjAll without _u ... _z, and unit.
QUANTITIES: Mapping[str, str] = MappingProxyType({
    "dered": "mag",  # model magnitude corrected for extinction
    "petroR50": "arcsec",  # radius of half the Petrosian flux
    "petroR90": "arcsec",
    "deVRad": "arcsec",  # de Vaucouleurs fit: half-light radius
    "deVAB": "",  # its axis ratio b/a
    "deVPhi": "deg",  # its position angle, from north through east
    "deVMag": "mag",
    "expRad": "arcsec",  # exponential fit
    "expAB": "",
    "expPhi": "deg",
    "expMag": "mag",
    "fracDeV": "",  # weight of the de Vaucouleurs part in the sum of both
    "lnLDeV": "",  # ln(likelihood) of each fit, and of a star
    "lnLExp": "",
    "lnLStar": "",
    "mRrCc": "pixel2",  # adaptive moments: <r^2> + <c^2>, ellipticities, fourth moment
    "mE1": "",
    "mE2": "",
    "mCr4": "",
})  # fmt: skip
PLACES: Mapping[str, str] = MappingProxyType({"ra": "deg", "dec": "deg"})
VOTES = ("nvote", "p_el", "p_cw", "p_acw", "p_edge", "p_dk", "p_mg", "p_cs", "p_el_debiased", "p_cs_debiased")


def photometry(bands: str = BANDS) -> tuple[str, ...]:
    """Names of the measured columns in these bands, as PhotoObjAll has them."""
    return tuple(f"{name}_{band}" for name in QUANTITIES for band in bands)


#: Every column that has a name, a unit and a role here.
KNOWN = frozenset((*PLACES, "redshift", *VOTES, *photometry(), *(f"mag_{band}" for band in BANDS)))


def unit_of(name: str) -> str:
    """Unit of a column of `photometry`, `PLACES`, or a magnitude of another kind; "" where none is known.

    A `mag_u` ... `mag_z` is in magnitudes, whichever kind its table means by it.
    """
    stem, _, band = name.rpartition("_")
    if band in BANDS and len(band) == 1:
        return "mag" if stem == "mag" else QUANTITIES.get(stem, "")
    return PLACES.get(name, "")


def role_of(name: str) -> str:
    """What a column is for: votes and the redshift tell the answer (leak), a position is none of the galaxy's looks."""
    if name in PLACES:
        return "ignore"
    return "leak" if name in VOTES or name == "redshift" else "feature"


def labels_of(flags: np.ndarray, names: Sequence[str] = FLAGS) -> tuple[np.ndarray, int]:
    """Labels (n,) int64, indices into CLASSES, -1 = unlabelled; and how many rows' flags contradict each other.

    `flags` (n, 3) are 0 or 1, columns as in `names`. A galaxy is of a class when that flag alone is 1; an uncertain
    one has no label, nor has one with no flag or several.
    """
    on = {name: flags[:, i] == 1 for i, name in enumerate(names)}
    labels = np.full(len(flags), -1, np.int64)
    alone = sum(column.astype(np.int64) for column in on.values()) == 1
    for index, name in enumerate(CLASSES):
        labels[on[name] & alone] = index
    return labels, int((~alone).sum())
