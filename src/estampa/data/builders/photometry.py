"""Builder `photometry`: a simulated catalogue of galaxies, with the columns of the Sloan survey's photometry.

For trying things, for tests and tutorials. It is NOT an observation: figures on it are not comparable with any
published ones. Two kinds of galaxies, elliptical and spiral, differ in colour, in how their light is concentrated and
in their axis ratio, and overlap; simulated volunteers vote on them, and an object counts as one kind from 80 % of the
votes on (Lintott et al. 2011, MNRAS 410, 166), as `uncertain` below. Some measurements failed, and say so as the survey
does: -9999 for sizes, 0 for all five magnitudes, an empty field. Every range is a round number chosen so that
distributions look like the survey's; none was fitted to it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, open_reading, write_reading
from estampa.errors import InputError
from estampa.files import require_writable, write_atomic
from estampa.progress import SILENT, Progress

OPTIONS = {
    "n": "galaxies, 20 to 1,000,000 (1200)",
    "seed": "seed of everything (0)",
    "file": "a CSV to write too, as a survey's server would give it (none)",
}
Array = NDArray[np.float64]
VERSION = 1  #: of what is simulated
BANDS = "ugriz"
VOTES = 0.8  #: share of the votes from which on a galaxy counts as of one kind
FAILED = -9999.0  #: what the survey writes where a measurement failed
SPEED_OF_LIGHT, HUBBLE = 299_792.458, 70.0  # km/s; km/s/Mpc
_LEAST, _MOST = 20, 1_000_000


def simulate_photometry(n: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Simulate a catalogue of `n` galaxies: column -> (n,) values, in the order of the CSV.

    Ids are texts; `spiral`, `elliptical` and `uncertain` are 0 or 1, one of them is 1; magnitudes are AB, radii in
    arcsec, angles in degrees. Raises InputError for a number out of range.
    """
    if not _LEAST <= n <= _MOST or seed < 0:
        raise InputError(
            "a number is out of range", where="photometry", allowed=f"n {_LEAST} to {_MOST:,}, seed 0 or more",
            got=f"n {n}, seed {seed}",
        )  # fmt: skip
    draw = np.random.default_rng(seed)
    spiral = draw.random(n) < 0.6
    redshift = np.clip(draw.gamma(5, 0.016, n), 0.01, 0.25)
    sky = {
        "objid": (587_722_952_230_174_720 + np.arange(n) * 65_537).astype(str),
        "ra": draw.uniform(110, 260, n), "dec": np.degrees(np.arcsin(draw.uniform(0, 0.85, n))), "redshift": redshift,
    }  # fmt: skip
    light = _light(spiral, redshift, draw)
    found = {**sky, **light, **_votes(spiral, light, draw)}
    _fail(found, draw)
    return found


def _light(spiral: NDArray[np.bool_], redshift: Array, draw: np.random.Generator) -> dict[str, Array]:
    """Magnitudes, sizes, shapes and profiles."""
    n = len(spiral)

    def of(of_spirals: float, of_ellipticals: float, spread: float, spread_of_spirals: float = 0.0) -> Array:
        deviation = np.where(spiral, spread_of_spirals or spread, spread)
        values: Array = np.where(spiral, of_spirals, of_ellipticals) + draw.normal(0, 1, n) * deviation
        return values

    luminous = draw.normal(0, 1, n)
    distance = SPEED_OF_LIGHT / HUBBLE * redshift * (1 + redshift / 2)  # Mpc, luminosity distance to first order
    red = -21.2 - 0.8 * luminous + 5 * np.log10(distance) + 25 + of(0.3, 0.0, 0.1)
    edge = draw.uniform(0, 1, n) ** 2  # an inclined disc is redder
    colours = {
        "g": of(0.62, 0.86, 0.05, 0.11) + 1.2 * (redshift - 0.08) + 0.12 * edge * spiral,
        "i": -of(0.33, 0.40, 0.03, 0.05) - 0.4 * (redshift - 0.08),
        "z": -of(0.58, 0.71, 0.05, 0.08) - 0.6 * (redshift - 0.08),
    }
    colours["u"] = colours["g"] + of(1.35, 1.75, 0.12, 0.2)
    magnitudes = {band: red + colours.get(band, np.zeros(n)) for band in BANDS}
    half = 10 ** (of(0.62, 0.55, 0.14) + 0.22 * luminous) / distance * 206.265  # kpc to arcsec
    blurred = np.hypot(half, 0.7)  # the seeing
    concentration = np.clip(of(2.25, 3.0, 0.22, 0.26) * half / blurred + 2.3 * (1 - half / blurred), 1.6, 4)
    ratio = np.clip(np.where(spiral, np.sqrt((1 - edge) ** 2 + 0.04), draw.beta(7, 2.2, n)), 0.05, 1)
    angle = draw.uniform(0, 180, n)
    profile = of(-1.2, 1.4, 0.9)  # above 0 the de Vaucouleurs law fits better than the exponential one
    depth = -np.abs(draw.normal(0, 60, n)) - 5
    found = {f"dered_{band}": magnitudes[band] + draw.normal(0, 0.02, n) for band in BANDS}
    found |= {"petroR50_r": blurred * np.exp(draw.normal(0, 0.03, n)), "petroR90_r": blurred * concentration}
    return found | {
        "deVRad_r": half * np.exp(draw.normal(0.15, 0.15, n)), "deVAB_r": np.clip(ratio - 0.03, 0.05, 1),
        "deVPhi_r": angle, "expRad_r": half * np.exp(draw.normal(-0.35, 0.12, n)), "expAB_r": ratio,
        "expPhi_r": np.mod(angle + draw.normal(0, 3, n), 180),
        "lnLDeV_r": depth * np.exp(-profile / 2), "lnLExp_r": depth * np.exp(profile / 2),
        "mE1_r": (1 - ratio) * np.cos(2 * np.radians(angle)), "mE2_r": (1 - ratio) * np.sin(2 * np.radians(angle)),
        "mCr4_r": of(2.2, 2.5, 0.1),
    }  # fmt: skip


def _votes(spiral: NDArray[np.bool_], light: Mapping[str, Array], draw: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Shares of the votes, and what they make of each galaxy: small ones are hard to tell."""
    plain = np.clip((np.log(light["petroR50_r"]) - 0.4) * 1.6, 0.3, 3.5)
    leaning = np.where(spiral, 1, -1) * plain + draw.normal(0, 1.1, len(spiral))
    share = 1 / (1 + np.exp(-1.6 * leaning))
    kinds = {"spiral": share >= VOTES, "elliptical": share <= 1 - VOTES}
    kinds["uncertain"] = ~(kinds["spiral"] | kinds["elliptical"])
    told = {"p_el_debiased": np.round(1 - share, 3), "p_cs_debiased": np.round(share, 3)}
    return told | {name: held.astype(np.int64) for name, held in kinds.items()}


def _fail(found: dict[str, NDArray[Any]], draw: np.random.Generator) -> None:
    """Let some measurements fail, as the survey marks them: in about three galaxies of a hundred."""
    n = len(found["ra"])
    magnitudes, sizes, moments = draw.random((3, n)) < [[0.005], [0.02], [0.01]]
    for band in BANDS:
        found[f"dered_{band}"][magnitudes] = 0.0
    for name in ("petroR50_r", "petroR90_r"):
        found[name][sizes] = FAILED
    found["mCr4_r"][moments] = np.nan


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:
    """Whether `dataset` is what `build` with these options would write, and the CSV is there."""
    origin, file = _understood(options)
    return dict(dataset.header.origin) == origin and (file is None or file.is_file())


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Simulate the catalogue into the Dataset file `output`. See OPTIONS. Raises InputError, StorageError."""
    origin, file = _understood(options)
    table = file or output.with_name(f".{output.stem}.csv")
    require_writable(table)
    write_atomic(table, as_csv(simulate_photometry(origin["n"], origin["seed"])))
    return _written(table, origin, output, progress, kept=file is not None)


def _written(table: Path, origin: dict[str, Any], output: Path, progress: Progress, *, kept: bool) -> Dataset:
    """The Dataset as it is read from the CSV, so that it is what a user's own file would give."""
    from dataclasses import replace

    reading = open_reading([table], ReadOptions(as_="table"))
    reading.header = replace(reading.header, origin=origin, licence="CC0-1.0 (simulated)")
    try:
        return write_reading(reading, output, progress)
    finally:
        if not kept:
            table.unlink(missing_ok=True)


def as_csv(columns: Mapping[str, NDArray[Any]]) -> str:
    """Columns (n,) as the text of a CSV: six decimals for fractions, an empty field for NaN."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*([_cell(v) for v in values.tolist()] for values in columns.values()), strict=True))
    return stream.getvalue()


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if np.isnan(value):
        return ""
    return str(int(value)) if value in (0.0, FAILED) else f"{value:.6f}"


def _understood(options: Mapping[str, str]) -> tuple[dict[str, Any], Path | None]:
    """Everything that the table depends on, as JSON gives it back, and the CSV's name."""
    found: dict[str, int] = {}
    for key, default in (("n", "1200"), ("seed", "0")):
        text = options.get(key, default).strip()
        try:
            found[key] = int(text)
        except ValueError:
            raise InputError(
                f"option {key!r} is not a whole number", where="photometry", got=repr(text)
            ) from None  # fmt: skip
    file = Path(options["file"]) if options.get("file") else None
    if file is not None and file.suffix != ".csv":
        raise InputError("the file's name ends in .csv", where="photometry", got=str(file))
    return {"builder": "photometry", "simulated": True, "version": VERSION, **found}, file
