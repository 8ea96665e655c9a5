"""The words of the pages in three languages, and numbers as each of them writes them."""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LANGUAGES = {"en": "English", "es": "Español", "pt": "Português"}
DEFAULT = "en"
_FOLDER = Path(__file__).parent / "words"
_THIN = "\N{NARROW NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
#: language -> (sign between thousands, decimal sign). Spanish: Ortografía de la lengua española 2010, VIII 2.2.
_SIGNS = {"en": (",", "."), "es": (_THIN, ","), "pt": (".", ",")}


@functools.cache
def texts(language: str) -> Mapping[str, str]:
    """Every text of a language by its dotted key, as "classify.lead"."""
    found: dict[str, str] = {}
    _flatten(tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8")), "", found)
    return found


def _flatten(tree: Mapping[str, Any], prefix: str, found: dict[str, str]) -> None:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            _flatten(value, f"{prefix}{key}.", found)
        else:
            found[prefix + key] = str(value)


def preferred(*wishes: str) -> str:
    """The first language of the pages among `wishes`, each a language or an Accept-Language header; else English."""
    for wish in wishes:
        for language in _ordered(wish):
            if language in LANGUAGES:
                return language
    return DEFAULT


def _ordered(header: str) -> list[str]:
    """Primary languages of an Accept-Language header (RFC 9110, section 12.5.4), the most wanted first."""
    wanted: list[tuple[float, str]] = []
    for part in header[:400].split(","):
        tag, _, weight = part.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight.strip() else 1.0
        except ValueError:
            quality = 0.0
        if quality > 0:
            wanted.append((-quality, tag.strip().lower().split("-")[0]))
    return [tag for _, tag in sorted(wanted, key=lambda pair: pair[0])]


class Words:
    """One language: call it with a key to get its text, and let it write numbers."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = texts(language)
        self._thousands, self._decimal = _SIGNS[language]

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key with `values` in place of its {names}; with `n`, the one for one or for more."""
        if "n" in values:
            key = f"{key}.{'one' if values['n'] == 1 else 'other'}"
            values = values | {"n": self.whole(values["n"])}
        return self._texts[key].format(**values)

    def has(self, key: str) -> bool:
        """Whether there is a text with this key."""
        return key in self._texts

    def whole(self, value: int) -> str:
        """A whole number: 12,345 or 12 345 or 12.345."""
        return f"{int(value):,}".replace(",", self._thousands).replace("-", _MINUS)

    def number(self, value: float | None, decimals: int = 3) -> str:
        """A number with so many decimals; an en dash where it is none."""
        if value is None or not math.isfinite(value):
            return "\N{EN DASH}"
        return self._signs(f"{value:,.{decimals}f}")

    def short(self, value: float | None) -> str:
        """A value for people, four digits, as short as it can be."""
        if value is None or not math.isfinite(value):
            return "\N{EN DASH}"
        text = f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
        return self._signs(text)

    def percent(self, share: float) -> str:
        """A share as a percentage, never 100 or 0 where it is only close to it: "87 %", "99.7 %", "> 99.9 %"."""
        if not math.isfinite(share):
            return "\N{EN DASH}"
        value = 100 * share
        if 0 < value < 0.1:
            return f"<{_THIN}{self._signs('0.1')}{_THIN}%"
        if 99.9 < value < 100:
            return f">{_THIN}{self._signs('99.9')}{_THIN}%"
        near = 0 < value < 1 or 99 < value < 100
        return self._signs(f"{value:.{1 if near else 0}f}") + f"{_THIN}%"

    def chance(self, probability: float) -> str:
        """A probability as a percentage; none is ever certain, whatever a float32 is rounded to."""
        return self.percent(min(max(probability, 1e-6), 1 - 1e-6))

    def points(self, share: float) -> str:
        """A signed change of a probability in percentage points: "+12" or "-0.4"."""
        decimals = 0 if abs(share) >= 0.1 else 1
        return self._signs(f"{100 * share:+.{decimals}f}")

    def size(self, count: int) -> str:
        """Bytes, in a unit that reads well."""
        value, unit = float(count), "bytes"
        for larger in ("KiB", "MiB", "GiB"):
            if value < 1024:
                break
            value, unit = value / 1024, larger
        return f"{self.number(value, 0 if unit == 'bytes' or value >= 10 else 1)}{_THIN}{unit}"

    def typed(self, value: float) -> str:
        """A value as one would type it in a form: all its digits, no sign between thousands, "" where it is none."""
        if not math.isfinite(value):
            return ""
        text = f"{value:.12g}"
        return text.replace(".", self._decimal)

    def read(self, text: str) -> float:
        """The number that was typed; NaN for an empty field. ValueError for what is no number in this language."""
        plain = text.strip().replace(_MINUS, "-").replace(_THIN, "").replace(" ", "")
        if not plain:
            return math.nan
        if self._decimal == "," and "," in plain:
            if "." in plain or plain.count(",") > 1:
                raise ValueError(text)
            plain = plain.replace(",", ".")
        if "_" in plain:
            raise ValueError(text)
        value = float(plain)
        if math.isinf(value):
            raise ValueError(text)
        return value

    def _signs(self, text: str) -> str:
        swapped = text.replace(",", "\0").replace(".", self._decimal).replace("\0", self._thousands)
        return swapped.replace("-", _MINUS)
