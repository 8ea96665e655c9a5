"""Right ascensions and declinations as catalogues write them: decimal degrees, or sexagesimal."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from estampa.errors import SourceError

#: Texts that say that a position is not known, in lower case.
_UNKNOWN = ("", "nan", "na", "n/a", "none", "null", "--", "?")
_SIXTY = re.compile(
    r"([+-]?)(\d{1,3})(?::|\s+|([hd°])\s*)(\d{1,2})(?::|\s+|[m'′]\s*)(\d{1,2}(?:\.\d*)?)\s*(?:s|\"|″)?", re.IGNORECASE
)
_CURE = "An unknown position is an empty field."
KINDS = {
    "ra": "degrees, or hours as 12:34:56.7 (12 34 56.7, 12h34m56.7s)",
    "dec": "-90 to 90 degrees, as a number or as -01:02:03.4",
}


def degrees(text: str, kind: str, where: object) -> float:
    """Degrees of one field; NaN where it is empty or says that nothing is known.

    Parameters
    ----------
    text : "188.7361", or sexagesimal: three numbers parted by colons, spaces or unit letters.
    kind : "ra" or "dec". A sexagesimal right ascension is in hours (1 h = 15 degrees), as catalogues of stars and
        galaxies write it, unless it says d for degrees; a declination is in degrees.
    where : file and row, for the message.

    Raises SourceError for what is neither, for minutes or seconds of 60 and more, and for sexagesimal hours from 24 on.
    """
    plain = text.strip()
    if plain.lower() in _UNKNOWN:
        return math.nan
    try:
        value = float(plain)
    except ValueError:
        return _sixty(plain, kind, where)
    return value if math.isfinite(value) else math.nan


def column_of_degrees(texts: Sequence[str], kind: str, where: object) -> np.ndarray:
    """Degrees (n,) float64 of a column, NaN where nothing is known; SourceError names the row (the first is 1)."""
    return np.array([degrees(text, kind, f"{where}, row {row}") for row, text in enumerate(texts, 1)], np.float64)


def _sixty(text: str, kind: str, where: object) -> float:
    found = _SIXTY.fullmatch(text)
    if found is None:
        raise SourceError(f"is no {_name(kind)}", where=where, allowed=KINDS[kind], got=repr(text), cure=_CURE)
    sign, whole, unit, minutes, seconds = found.groups()
    hours = kind == "ra" and (unit or "h").lower() == "h"
    if kind == "dec" and (unit or "").lower() == "h":
        raise SourceError("a declination in hours", where=where, allowed=KINDS[kind], got=repr(text))
    if int(minutes) >= 60 or float(seconds) >= 60 or (hours and (int(whole) >= 24 or sign == "-")):
        allowed = "minutes and seconds below 60" + (", hours from 0 to below 24" if hours else "")
        cure = "Degrees are written as a number, or as 187d30m00s." if hours and int(whole) >= 24 else ""
        raise SourceError(f"is no {_name(kind)}", where=where, allowed=allowed, got=repr(text), cure=cure)
    value = int(whole) + int(minutes) / 60 + float(seconds) / 3600
    return (-1.0 if sign == "-" else 1.0) * value * (15.0 if hours else 1.0)


def _name(kind: str) -> str:
    return "right ascension" if kind == "ra" else "declination"
