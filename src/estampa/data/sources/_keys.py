"""Keys that join rows of two files: ids that a spreadsheet has rounded are told, and refused."""

from __future__ import annotations

import re
from collections.abc import Sequence

from estampa.errors import SourceError

_SCIENTIFIC = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?[eE][+-]?[0-9]+")
_WHOLE = re.compile(r"[+-]?[0-9]+(?:\.0*)?")
_KEPT = 15  #: decimal digits that spreadsheets keep of a number; float64 keeps 15 to 17
AS_TEXT = "Ids are kept whole as text: export the table anew, its column of ids formatted as text."
_PLACES = "Or match by position: --match-radius 2arcsec (columns ra and dec, in degrees)"
_SHORTEST = 17  #: digits of a whole number from which on a tail of zeros is no chance: 15 kept, two or more lost


class Rounded:
    """Looks for ids that went through floating point, texts a stretch at a time; see `looks_rounded`."""

    def __init__(self) -> None:
        self._scientific = ""
        self._long, self._zeros = 0, 0
        self._ends: list[str] = []  # the first two different ids that end in zeros

    def add(self, texts: Sequence[str]) -> None:
        """Take in some ids."""
        for given in texts:
            text = given.strip()
            if not self._scientific and ("e" in text or "E" in text) and _SCIENTIFIC.fullmatch(text):
                self._scientific = text
            if len(text) >= _SHORTEST and _WHOLE.fullmatch(text):
                digits = _digits(text)
                if len(digits) >= _SHORTEST:
                    self._long += 1
                    if not digits[_KEPT:].strip("0"):
                        self._zeros += 1
                        if len(self._ends) < 2 and text not in self._ends:
                            self._ends.append(text)

    @property
    def sign(self) -> str:
        """The first text that shows it, or ""."""
        zeros = self._ends[0] if len(self._ends) > 1 and 2 * self._zeros >= self._long else ""
        return self._scientific or zeros


def looks_rounded(texts: Sequence[str]) -> str:
    """The first text that shows that ids went through floating point, or "" when none does.

    Two signs are known. "1.24e+18": a whole number in scientific notation. Whole numbers of 17 digits and more of
    which half or more end in zeros beyond the 15th digit: a spreadsheet keeps 15 (two ids at least: one alone may
    end so by chance, and some may have been kept as text). Empty texts are passed over.
    """
    seen = Rounded()
    seen.add(texts)
    return seen.sign


def require_exact(texts: Sequence[str], where: object, cure: str = "") -> None:
    """Refuse ids as a key when they look rounded: different objects share one, and joining would mix them up."""
    sign = looks_rounded(texts)
    if sign:
        raise SourceError(
            "these ids were rounded to floating point, so they are no key",
            where=where,
            allowed="ids with all their digits",
            got=f"{sign!r}, as a spreadsheet leaves a number of more than {_KEPT} digits",
            cure=f"{AS_TEXT} {cure or _PLACES}",
        )


def _digits(text: str) -> str:
    return text.lstrip("+-").split(".")[0].lstrip("0")
