"""Builder `simulate`: a simulated difference-imaging survey, real transients and what is taken for them.

Stamps of science, template and difference images of candidates, half of them artifacts, whose signal-to-noise ratios
are spread alike in both classes. What is simulated, with which parameters and from which sources: docs/simulator.md.
They are NOT observations: figures on them are not comparable with any published ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from estampa.data.builders._cameras import CAMERAS
from estampa.data.builders._candidates import KINDS
from estampa.data.builders._stamps import BATCH, CHANNELS, COLUMNS, FIELD, VERSION, Survey, labels_of, make
from estampa.data.builders._truth import Truth
from estampa.data.dataset import Dataset
from estampa.data.read import write_reading
from estampa.data.record import Header, ReadRecord
from estampa.data.sources._rows import RowsReading
from estampa.errors import InputError, nearest
from estampa.progress import SILENT, Progress

OPTIONS = {
    "n": "stamps (4000)",
    "size": "pixels of a side, 11 to 63 (21)",
    "seed": "seed of everything (0)",
    "camera": f"{' or '.join(CAMERAS)} (decam)",
    "real": "share of the class real (0.5)",
    "snr": "signal-to-noise ratios, LOW-HIGH (4-100)",
    "channels": f"some of {','.join(CHANNELS[:4])} (all four)",
    "noise": "yes: the noise of each pixel of the difference as one more channel (no)",
}
CLASSES = ("artifact", "real")
SPANISH = ("artefacto", "real")
KIND_NAMES = tuple(kind.name for kind in KINDS)  #: in the order of the column `kind`
_LARGEST = 100_000_000


@dataclass(frozen=True)
class Simulated:
    """Simulated stamps of n candidates."""

    images: np.ndarray  #: (n, size, size, channels) float32; ADU, but for the ratio `snr_difference`
    labels: np.ndarray  #: (n,) int64, 0 artifact, 1 real
    table: np.ndarray  #: (n, columns) float64, the truth; docs/simulator.md describes every column
    columns: tuple[str, ...]  #: names of the table's columns
    groups: np.ndarray  #: (n,) texts: the exposure

    def column(self, name: str) -> np.ndarray:
        """(n,) float64: one column of the table, as "snr"."""
        return self.table[:, self.columns.index(name)]


def simulate(
    n: int,
    *,
    seed: int = 0,
    channels: Sequence[str] = ("science", "template", "difference"),
    size: int = 21,
    camera: str = "decam",
    real: float = 0.5,
    snr: tuple[float, float] = (4.0, 100.0),
) -> Simulated:
    """Simulate `n` stamps in memory.

    Parameters
    ----------
    n : stamps; the first rows are the same for every `n`.
    seed : of everything.
    channels : any of science, template, difference, snr_difference, noise, in the order wanted.
    size : pixels of a side; the candidate is at pixel (size // 2, size // 2), give or take its column `x` and `y`.
    camera : "decam" (0.27 arcsec per pixel) or "ztf" (1.01 arcsec per pixel).
    real : share of the class real, 0 to 1.
    snr : lowest and highest signal-to-noise ratio aimed at; most are near the lowest.

    Raises InputError for a value out of range.
    """
    survey = _checked(n, Survey(seed=seed, size=size, camera=camera, real=real, snr=snr), tuple(channels))
    images = np.empty((n, size, size, len(channels)), np.float32)
    table = np.empty((n, len(COLUMNS)))
    for number in range(-(-n // BATCH)):
        rows = slice(number * BATCH, min(n, (number + 1) * BATCH))
        images[rows], table[rows] = _rows(survey, number, channels, rows.stop - rows.start)
    return Simulated(images, _labels(survey, n), table, COLUMNS, _groups(n))


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:
    """Whether `dataset` is what `build` with these options would write."""
    n, survey, channels = _understood(options)
    return dict(dataset.header.origin) == _origin(n, survey, channels)


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Simulate the set into the Dataset file `output`, and its truth table into NAME.truth.csv. See OPTIONS.

    Groups are exposures. A build that was killed goes on where it stopped. Raises InputError, StorageError.
    """
    n, survey, channels = _understood(options)
    header = Header(
        n=n, shape=(survey.size, survey.size, len(channels)), dtype="float32", task="classification", classes=CLASSES,
        display={"es": SPANISH}, channels=channels,
        units="ADU" + (", snr_difference: standard deviations" if "snr_difference" in channels else ""),
        pixel_scale=CAMERAS[survey.camera].pixel_scale, origin=_origin(n, survey, channels), release="",
        licence="CC0-1.0 (simulated)", read=ReadRecord(source="simulate"), columns=COLUMNS, symmetry="d4",
    )  # fmt: skip
    ids, groups = np.char.zfill(np.arange(n).astype(str), 8), _groups(n)
    with contextlib.closing(Truth(output, n, COLUMNS, key=str(sorted(header.origin.items())))) as truth:

        def batch(number: int) -> np.ndarray:
            rows = slice(number * BATCH, min(n, (number + 1) * BATCH))
            images, truth.table[rows] = _rows(survey, number, channels, rows.stop - rows.start)
            return images

        last: dict[int, np.ndarray] = {}

        def fetch(start: int, stop: int) -> tuple[np.ndarray, dict[int, str]]:
            parts = []
            for number in range(start // BATCH, -(-stop // BATCH)):
                if number not in last:
                    last.clear()
                    last[number] = batch(number)
                first = number * BATCH
                parts.append(last[number][max(start - first, 0) : stop - first])
            if stop == n:
                for number in {row // BATCH for row in truth.absent()}:
                    batch(number)
                truth.write_csv(ids, groups, {"kind": KIND_NAMES})
            return np.concatenate(parts), {}

        reading = RowsReading(
            header=header, ids=ids, labels=_labels(survey, n), groups=groups, table=truth.table,
            fingerprint=f"simulate {VERSION}", fetch=fetch,
        )  # fmt: skip
        dataset = write_reading(reading, output, progress)
        truth.remove()
    return dataset


def _rows(survey: Survey, number: int, channels: Sequence[str], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` rows of a batch: images of `channels`, and the truth."""
    batch = make(survey, number)
    return batch.images[:count, ..., [CHANNELS.index(name) for name in channels]], batch.truth[:count]


def _labels(survey: Survey, n: int) -> np.ndarray:
    return np.concatenate([labels_of(survey, number)[0] for number in range(-(-n // BATCH))])[:n]


def _groups(n: int) -> np.ndarray:
    return np.char.add("exposure-", np.char.zfill((np.arange(n) // FIELD).astype(str), 6))


def _origin(n: int, survey: Survey, channels: tuple[str, ...]) -> dict[str, object]:
    """Everything that the pixels depend on, as JSON gives it back."""
    return {
        "builder": "simulate", "simulated": True, "version": VERSION, "n": n, **asdict(survey),
        "snr": list(survey.snr), "channels": list(channels),
        "parameters": {**asdict(CAMERAS[survey.camera]), "coadd": list(CAMERAS[survey.camera].coadd)},
        "kinds": list(KIND_NAMES), "truth": ["kind"],
    }  # fmt: skip


# ------------------------------------------------------------------------------------------- options


def _understood(options: Mapping[str, str]) -> tuple[int, Survey, tuple[str, ...]]:
    """Number of stamps, survey and channels that `options` ask for; InputError where they say nothing sensible."""
    for key in options:
        if key not in OPTIONS:
            raise InputError(
                f"unknown option {key!r}", where="simulate", allowed=", ".join(OPTIONS), cure=nearest(key, OPTIONS)
            )
    n, seed, size = (_number(options, *what) for what in (("n", "4000"), ("seed", "0"), ("size", "21")))
    real = _number(options, "real", "0.5", whole=False)
    low, dash, high = options.get("snr", "4-100").partition("-")
    if not dash:
        raise InputError("option 'snr' is not a range", where="simulate", allowed="LOW-HIGH, as 4-100", got=low)
    snr = _number({"snr": low}, "snr", "", whole=False), _number({"snr": high}, "snr", "", whole=False)
    noise = options.get("noise", "no")
    if noise not in ("yes", "no"):
        raise InputError("option 'noise' is not understood", where="simulate", allowed="yes, no", got=noise)
    channels = tuple(name.strip() for name in options.get("channels", ",".join(CHANNELS[:4])).split(","))
    if CHANNELS[4] in channels:
        raise InputError("the noise is not one of the channels", where="simulate", cure="Use noise=yes.")
    channels += CHANNELS[4:] if noise == "yes" else ()
    survey = Survey(seed=int(seed), size=int(size), camera=options.get("camera", "decam"), real=real, snr=snr)
    return int(n), _checked(int(n), survey, channels), channels


def _number(options: Mapping[str, str], key: str, default: str, whole: bool = True) -> float:
    text = options.get(key, default).strip()
    try:
        return int(text) if whole else float(text)
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise InputError(f"option {key!r} is not {kind}", where="simulate", got=repr(text)) from None


def _checked(n: int, survey: Survey, channels: tuple[str, ...]) -> Survey:
    """`survey` when it can be simulated, else InputError."""
    low, high = survey.snr
    rules: tuple[tuple[str, bool, object, object], ...] = (
        ("n", 1 <= n <= _LARGEST, f"1 to {_LARGEST:,}", n),
        ("size", 11 <= survey.size <= 63, "11 to 63 pixels", survey.size),
        ("seed", survey.seed >= 0, "0 or more", survey.seed),
        ("real", 0 <= survey.real <= 1, "0 to 1", survey.real),
        ("snr", 1 <= low < high <= 10_000, "LOW-HIGH within 1 and 10,000, LOW below HIGH", f"{low:g}-{high:g}"),
    )  # fmt: skip
    for name, good, allowed, got in rules:
        if not good:
            raise InputError(f"option {name!r} is out of range", where="simulate", allowed=allowed, got=got)
    if survey.camera not in CAMERAS:
        cure = nearest(survey.camera, CAMERAS)
        raise InputError("no such camera", where="simulate", allowed=", ".join(CAMERAS), got=survey.camera, cure=cure)
    for name in channels:
        if name not in CHANNELS:
            raise InputError("no such channel", where="simulate", allowed=", ".join(CHANNELS), got=repr(name))
    if len(set(channels)) != len(channels):
        raise InputError("a channel is asked for twice", where="simulate", got=", ".join(channels))
    return survey
