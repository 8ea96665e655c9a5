"""Measurements that a table holds between the lines: colours, concentration, ellipticity, surface brightness.

Columns are found by name. A band is the last letter of a name (`mag_u`, `dered_g`, `modelMag_r`, `petroR50_i`), the
whole name (`u`, `g`, `r`, `i`, `z`, `y`), or stands before `mag` as in VizieR (`umag`). Errors and extinctions are no
magnitudes. What is derived, with m a magnitude, r a half-light radius in arcsec and q an axis ratio b / a:

- colour `u-g`: m_u - m_g, of every two bands of one kind of magnitude (pairs of neighbours first); from colours that
  are columns themselves (`u-g`, `g-r`) the sums (`u-r`);
- `psfMag-modelMag` in one band: light outside the point-spread function, which tells galaxies from stars (Strauss et
  al. 2002, AJ 124, 1810, section 3.1);
- concentration log10(R90 / R50) of the Petrosian radii (Strateva et al. 2001, AJ 122, 1861, section 4);
- size log10 r; of two fitted profiles log10(r_deV / r_exp) and log10(q_deV / q_exp); of one radius in neighbouring
  measured bands the logarithm of the ratio;
- the change from band to band of the fourth adaptive moment (`m4_u`, `mCr4_u`) and of the concentration, which differ
  where a galaxy's light of one colour lies elsewhere than that of another;
- ellipticity 1 - q;
- surface brightness m + 2.5 log10(2 pi r^2), mag / arcsec^2, the mean within the half-light radius (Blanton et al.
  2001, AJ 121, 2358, section 3.2), and for fitted profiles the same within the ellipse, m + 2.5 log10(2 pi q r^2);
- log-likelihood ratios lnLDeV - lnLExp, lnLDeV - lnLStar, lnLExp - lnLStar (SDSS's fits of three profiles) as
  arcsinh, since they range from 0.1 to 100,000.

A derived value is NaN where one of its inputs is, or where a logarithm has no argument.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estampa.errors import BundleError

Array = NDArray[Any]
BANDS = "ugrizy"
#: How each kind is computed from its columns, as words for reports.
FORMULAS = {
    "difference": "{0} - {1}",
    "sum": "the sum of {0}",
    "log": "log10({0})",
    "log_ratio_change": "log10({0} / {1}) - log10({2} / {3})",
    "log_ratio": "log10({0} / {1})",
    "ellipticity": "1 - {0}",
    "surface_brightness": "{0} + 2.5 log10(2 pi {1}^2)",
    "surface_brightness_ellipse": "{0} + 2.5 log10(2 pi {1}^2 {2})",
    "arcsinh_difference": "arcsinh({0} - {1})",
}
_NO_MAGNITUDE = re.compile(r"err|^e_|sigma|extinction|^a_|ivar|flag", re.IGNORECASE)
_MAGNITUDE = re.compile(r"mag|^m$|dered", re.IGNORECASE)
_COLOUR = re.compile(rf"([{BANDS}])\s?-\s?([{BANDS}])")


@dataclass(frozen=True)
class Derived:
    """One derived measurement: its name, how it is computed, and the names of the columns that it needs."""

    name: str
    kind: str
    inputs: tuple[str, ...]

    @property
    def formula(self) -> str:
        """In words, for people: "mag_u - mag_g"."""
        shown = (" + ".join(self.inputs),) if self.kind == "sum" else self.inputs
        return FORMULAS[self.kind].format(*shown)

    def to_json(self) -> list[Any]:
        """Plain types."""
        return [self.name, self.kind, list(self.inputs)]

    @classmethod
    def from_json(cls, record: Any) -> Derived:
        """Read back what `to_json` wrote; BundleError for an unknown kind or anything else."""
        try:
            name, kind, inputs = record
        except (TypeError, ValueError):
            name, kind, inputs = "", "", ()
        fits = kind in FORMULAS and len(inputs) >= 1 and (kind == "sum" or len(inputs) == _needed(kind))
        if not fits or not all(isinstance(text, str) for text in (name, *inputs)):
            raise BundleError("holds a derived column that is not one", got=repr(record)[:80])
        return cls(name, kind, tuple(inputs))


def _needed(kind: str) -> int:
    """How many columns a formula reads."""
    return 1 + max(int(place) for place in re.findall(r"\{(\d)\}", FORMULAS[kind]))


def found_in(columns: Sequence[str]) -> tuple[Derived, ...]:
    """What can be derived from columns of these names, in a fixed order, but for names that are columns already."""
    families = _families(columns)
    magnitudes = {stem: bands for stem, bands in families.items() if _is_magnitude(stem)}
    found = [
        *_colours(magnitudes), *_sums(columns), *_extended(magnitudes), *_concentrations(families),
        *_shapes(families), *_brightness(families, magnitudes), *_likelihoods(families),
    ]  # fmt: skip
    taken, unique = set(columns), []
    for item in found:
        if item.name not in taken:
            taken.add(item.name)
            unique.append(item)
    return tuple(unique)


def compute(values: Array, columns: Sequence[str], made: Sequence[Derived]) -> NDArray[np.float64]:
    """(n, len(made)) float64 from (n, columns) float64 in which failed measurements are NaN."""
    place = {name: i for i, name in enumerate(columns)}
    result = np.empty((len(values), len(made)))
    with np.errstate(all="ignore"):
        for number, item in enumerate(made):
            result[:, number] = _value(item.kind, [values[:, place[name]] for name in item.inputs])
    result[~np.isfinite(result)] = np.nan
    return result


def _value(kind: str, inputs: list[Array]) -> Array:
    first = inputs[0]
    if kind == "difference":
        value = first - inputs[1]
    elif kind == "sum":
        value = np.sum(inputs, axis=0)
    elif kind == "log":
        value = np.log10(first)
    elif kind == "log_ratio":
        value = np.log10(first) - np.log10(inputs[1])
    elif kind == "log_ratio_change":
        value = np.log10(first) - np.log10(inputs[1]) - np.log10(inputs[2]) + np.log10(inputs[3])
    elif kind == "ellipticity":
        value = 1 - first
    elif kind == "arcsinh_difference":
        value = np.arcsinh(first - inputs[1])
    else:
        area = 2 * np.pi * inputs[1] ** 2
        value = first + 2.5 * np.log10(area if kind == "surface_brightness" else area * inputs[2])
    return np.asarray(value)


def _families(columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Columns by what they measure: {"mag": {"u": "mag_u", "g": "mag_g"}}; bare bands have the stem ""."""
    families: dict[str, dict[str, str]] = {}
    for name in columns:
        stem, band = _parsed(name)
        if band:
            families.setdefault(stem, {}).setdefault(band, name)
    order = {band: i for i, band in enumerate(BANDS)}
    return {stem: dict(sorted(bands.items(), key=lambda item: order[item[0]])) for stem, bands in families.items()}


def _parsed(name: str) -> tuple[str, str]:
    """What a column measures, and its band; ("", "") where its name ends in none."""
    if name.lower() in BANDS and len(name) == 1:
        return "", name.lower()
    stem, _, band = name.rpartition("_")
    if stem and len(band) == 1 and band in BANDS:
        return stem, band
    if len(name) == 4 and name[0] in BANDS and name.endswith("mag"):
        return "mag", name[0]
    return "", ""


def _is_magnitude(stem: str) -> bool:
    return not stem or bool(_MAGNITUDE.search(stem) and not _NO_MAGNITUDE.search(stem))


def _like(families: dict[str, dict[str, str]], word: str) -> dict[str, str]:
    """The bands of the first family whose stem is `word`, in any case and without underscores."""
    for stem, bands in families.items():
        if stem.lower().replace("_", "") == word:
            return bands
    return {}


def _neighbours_first(bands: Sequence[str]) -> list[tuple[str, str]]:
    pairs = list(itertools.combinations(range(len(bands)), 2))
    return [(bands[i], bands[j]) for i, j in sorted(pairs, key=lambda pair: (pair[1] - pair[0], pair[0]))]


def _colours(magnitudes: dict[str, dict[str, str]]) -> Iterator[Derived]:
    for number, (stem, bands) in enumerate(magnitudes.items()):
        if not stem and len(bands) < 3:
            continue  # a lone column "i" or "z" is no magnitude
        for blue, red in _neighbours_first(list(bands)):
            name = f"{blue}-{red}" if number == 0 else f"{stem}:{blue}-{red}"
            yield Derived(name, "difference", (bands[blue], bands[red]))


def _sums(columns: Sequence[str]) -> Iterator[Derived]:
    """Colours of bands further apart from those of neighbours: u-g and g-r give u-r."""
    steps = {m.groups(): name for name in columns if (m := _COLOUR.fullmatch(name))}
    after = {blue: red for blue, red in steps}  # noqa: C416 - one step from each band
    for blue in BANDS:
        walked: list[str] = []
        band = blue
        while band in after and len(walked) < len(BANDS):
            walked.append(steps[band, after[band]])
            band = after[band]
            if len(walked) > 1:
                yield Derived(f"{blue}-{band}", "sum", tuple(walked))


def _extended(magnitudes: dict[str, dict[str, str]]) -> Iterator[Derived]:
    point = _like(magnitudes, "psfmag")
    for other in ("modelmag", "cmodelmag", "petromag"):
        whole = _like(magnitudes, other)
        for band in point:
            if band in whole:
                yield Derived(f"{point[band]}-{whole[band]}", "difference", (point[band], whole[band]))


def _concentrations(families: dict[str, dict[str, str]]) -> Iterator[Derived]:
    half, most = _like(families, "petror50"), _like(families, "petror90")
    for band in half:
        if band in most:
            yield Derived(f"concentration_{band}", "log_ratio", (most[band], half[band]))
    both = [band for band in half if band in most]
    for blue, red in itertools.pairwise(both):
        inputs = (most[blue], half[blue], most[red], half[red])
        yield Derived(f"concentration_{blue}-{red}", "log_ratio_change", inputs)
    for word in ("m4", "mcr4"):
        for blue, red in itertools.pairwise(_like(families, word).values()):
            yield Derived(f"{blue}-{red}", "difference", (blue, red))


def _shapes(families: dict[str, dict[str, str]]) -> Iterator[Derived]:
    for word in ("petror50", "petror90", "petrorad", "devrad", "exprad"):
        sizes = _like(families, word)
        for name in sizes.values():
            yield Derived(f"log_{name}", "log", (name,))
        for (_, blue), (_, red) in itertools.pairwise(sizes.items()):
            yield Derived(f"log_{blue}/{red}", "log_ratio", (blue, red))
    for word in ("devab", "expab"):
        for name in _like(families, word).values():
            yield Derived(f"ellipticity_{name}", "ellipticity", (name,))
    for first, second in (("devrad", "exprad"), ("devab", "expab")):
        a, b = _like(families, first), _like(families, second)
        for band in a:
            if band in b:
                yield Derived(f"log_{a[band]}/{b[band]}", "log_ratio", (a[band], b[band]))


def _brightness(families: dict[str, dict[str, str]], magnitudes: dict[str, dict[str, str]]) -> Iterator[Derived]:
    for word, own, ratio in (
        ("petror50", "petromag", ""),
        ("devrad", "devmag", "devab"),
        ("exprad", "expmag", "expab"),
    ):
        light = _like(magnitudes, own) or next((bands for stem, bands in magnitudes.items() if stem != "psfMag"), {})
        axes = _like(families, ratio) if ratio else {}
        for band, size in _like(families, word).items():
            if band not in light:
                continue
            yield Derived(f"surface_brightness_{size}", "surface_brightness", (light[band], size))
            if band in axes:
                inputs = (light[band], size, axes[band])
                yield Derived(f"surface_brightness_{size}_ellipse", "surface_brightness_ellipse", inputs)


def _likelihoods(families: dict[str, dict[str, str]]) -> Iterator[Derived]:
    for first, second in itertools.combinations(("lnldev", "lnlexp", "lnlstar"), 2):
        a, b = _like(families, first), _like(families, second)
        for band in a:
            if band in b:
                yield Derived(f"{a[band]}-{b[band]}", "arcsinh_difference", (a[band], b[band]))
