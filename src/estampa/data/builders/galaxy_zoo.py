"""Builder `galaxy_zoo`: SDSS pictures of galaxies with their Galaxy Zoo classes, drawn at random, cut and stored.

Willett et al. 2013, MNRAS 435, 2835 (classes and votes); Hart et al. 2016, MNRAS 461, 3663 (the catalogue gz2_hart16);
pictures and file map: Zenodo record 3565489. Without options the official files are fetched, and 10,000 training and
10,000 test galaxies are drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from estampa.data.builders import _gz_files as files
from estampa.data.builders import _gz_output as beside
from estampa.data.builders._gz_manifest import of_manifest
from estampa.data.builders._gz_sample import Galaxies, Missing, classes_of, counted, draw, join, with_pictures
from estampa.data.builders._gz_tables import read_catalogue, read_map
from estampa.data.dataset import Dataset
from estampa.data.gz2class import FOLDINGS
from estampa.data.read import write_reading
from estampa.data.skymatch import read_radius
from estampa.data.sources import folder
from estampa.data.sources._base import Reading, ReadOptions, fingerprint_of, stat_facts
from estampa.data.sources._labels import Answers
from estampa.data.sources._rowplan import Plan
from estampa.data.sources._store import Store, open_store
from estampa.data.sources._tables import Measured
from estampa.errors import InputError, nearest
from estampa.progress import SILENT, Progress

#: So many pixels are kept that a crop of 174 can be turned by any angle: 174 times the root of 2, rounded up.
MARGIN = 247
DRAWN = 10_000  #: galaxies for training, and for the test
OPTIONS = {
    "images": "folder, .zip or .tar of pictures named by asset id; or a folder with labels.csv and pictures (official)",
    "catalogue": "CSV or .csv.gz with dr7objid, gz2class, ra, dec, as gz2_hart16 has (official)",
    "map": "CSV of objid and asset_id, as gz2_filename_mapping has (official)",
    "url": "where to fetch: official; a folder of the official files; or single pictures, with {asset_id}, {objid}, "
    "{ra}, {dec} in the address",
    "md5": "checksums of fetched files that publish none: NAME=MD5, parted by commas",
    "rate": "single pictures fetched a second, at most (5)",
    "n_train": f"training galaxies drawn ({DRAWN}; with labels.csv: all galaxies, undivided)",
    "n_test": f"test galaxies drawn ({DRAWN}; with labels.csv: none)",
    "seed": "of the draw (0)",
    "fold": f"classes: {', '.join(FOLDINGS)}, or none for each gz2class its own (study12)",
    "crop": f"side in pixels of the central square that is kept; 0 = the whole picture ({MARGIN})",
    "dct": "accurate, or fast: less time, pixel values that differ by up to 5 of 255 (accurate)",
    "match-radius": "match catalogue and map by position, as 2arcsec, where ids are rounded",
    "archives": "yes: also NAME.images.tar.gz (the originals) and NAME.tar.gz (the Dataset) (no)",
}
_AFTER = ("archives", "rate")  #: options that change nothing in the Dataset
#: Names that say which way a spiral winds, or on which side something is.
_SENSE = re.compile(r"clockwise|horario|(?<![a-z])(a?cw|ccw|left|right)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class _Asked:
    """The options, read."""

    n_train: int | None
    n_test: int | None
    seed: int
    fold: str  #: "" = not asked
    crop: int
    fast: bool
    rate: float
    radius: float | None
    archives: bool


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:
    """Whether `dataset` was built by this builder with the same options from the same files."""
    origin = dataset.header.origin
    return origin.get("builder") == "galaxy_zoo" and origin.get("asked") == _key(options)


def complete(dataset: Dataset, options: Mapping[str, str], progress: Progress = SILENT) -> None:
    """Write the archives of a Dataset that is there already: an earlier run was stopped, or was not asked for them."""
    asked = _read(options)
    if not asked.archives:
        return
    originals, packed = beside.archive_paths(dataset.path)
    if not originals.exists():
        _, store, names = _chosen(files.locate(options, progress), asked, progress)
        beside.archive_pictures(originals, store, names, progress)
    if not packed.exists():
        beside.archive_dataset(dataset.path, progress)


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Draw, fetch what is not at hand, decode, and write the Dataset file `output` with its log beside it.

    NAME.log.csv names each row's galaxy, part and class; NAME.missing.csv each galaxy that could not be had, with the
    reason. A run that was stopped goes on: fetched files stay in the cache, decoded rows in the unfinished file.

    Raises InputError for options, SourceError for tables and archives, DownloadError when a server fails.
    """
    asked = _read(options)
    places = files.locate(options, progress)
    galaxies, store, names = _chosen(places, asked, progress)
    for note in galaxies.notes:
        progress.say(note)
    if asked.archives:
        beside.archive_pictures(beside.archive_paths(output)[0], store, names, progress)
    reading = _reading(places, galaxies, (store, names), asked)
    reading.header = replace(reading.header, origin={**reading.header.origin, "asked": _key(options)})
    if galaxies.drawn:  # `published` keeps its test part from being dealt anew
        reading.split_record = {"drawn": True, "seed": asked.seed, "published": True}
    for note in reading.notes:
        progress.say(note)
    dataset = write_reading(reading, output, progress, skip_bad=True)
    _write_beside(dataset, galaxies, progress)
    if asked.archives:
        beside.archive_dataset(output, progress)
    return dataset


def _write_beside(dataset: Dataset, galaxies: Galaxies, progress: Progress) -> None:
    at = {name: i for i, name in enumerate(galaxies.ids)}
    missing = list(galaxies.missing)
    for name, reason in dataset.rejected:
        i = at[name]
        missing.append(Missing(name, galaxies.assets[i], galaxies.texts[i], f"unreadable picture: {reason}"))
    beside.write_log(dataset, galaxies)
    beside.write_missing(dataset.path, missing)
    if missing:
        listed = beside.missing_path(dataset.path).name
        progress.warn(f"{len(missing):,} galaxies are missing, listed in {listed}: {counted(missing)}")


def _reading(places: files.Places, galaxies: Galaxies, pictures: tuple[Store, list[str]], asked: _Asked) -> Reading:
    """The chosen galaxies as a source of pictures, with all that is known of them."""
    folding = asked.fold or ("none" if places.manifest else "study12")
    classes, labels = classes_of(galaxies, folding)
    placed = bool(np.isfinite(galaxies.places).any())
    plan = Plan(
        pictures[0], pictures[1], np.array(galaxies.ids), Answers(labels, classes, "classification"),
        split=galaxies.split, beside=Measured(("ra", "dec"), galaxies.places, []) if placed else None,
    )  # fmt: skip
    reading = folder.reading_of_plan(places.paths, plan, ReadOptions(crop=asked.crop, fast_dct=asked.fast))
    reading.header = replace(
        reading.header,
        units="display values of SDSS colour pictures, 0 to 255",
        origin={
            "builder": "galaxy_zoo", "from": places.origin, "files": [path.name for path in places.paths],
            "fold": folding, "seed": asked.seed, "missing": len(galaxies.missing),
        },
        release="Galaxy Zoo 2 (Willett et al. 2013; Hart et al. 2016)" if places.catalogue else "",
        # A galaxy has no upper side; where classes say which way it winds, a mirror changes them.
        symmetry="auto" if any(_SENSE.search(name) for name in classes) else "d4",
    )  # fmt: skip
    return reading


def _chosen(places: files.Places, asked: _Asked, progress: Progress) -> tuple[Galaxies, Store, list[str]]:
    """The galaxies of the Dataset, where their pictures lie, and the name of each one's picture there."""
    if places.manifest is not None:
        if asked.radius is not None:
            raise InputError(
                "there is nothing to match: labels.csv names each picture itself", where="--option match-radius",
                got=places.manifest, cure="Leave it out, or give --option catalogue and --option map.",
            )  # fmt: skip
        galaxies, store = of_manifest(places.manifest, asked.fold)
        galaxies = with_pictures(galaxies, store.names)
        if (asked.n_train, asked.n_test) != (None, None):
            galaxies = draw(galaxies, asked.n_train or 0, asked.n_test or 0, asked.seed)
        return galaxies, store, galaxies.assets
    assert places.catalogue is not None
    assert places.map is not None
    numbers = (DRAWN, DRAWN)
    if (asked.n_train, asked.n_test) != (None, None):
        numbers = (asked.n_train or 0, asked.n_test or 0)
    catalogue, assets = read_catalogue(places.catalogue, asked.radius is None), read_map(places.map, exact=True)
    galaxies = join(catalogue, assets, asked.fold or "study12", asked.radius)
    if places.images is None:
        galaxies = draw(galaxies, *numbers, asked.seed)
        galaxies, store = files.fetch_single(galaxies, places, asked.rate, progress)
        return galaxies, store, [f"{asset}.jpg" for asset in galaxies.assets]
    store = open_store(places.images)
    known = files.by_stem(store)
    galaxies = draw(with_pictures(galaxies, known), *numbers, asked.seed)
    return galaxies, store, [known[asset] for asset in galaxies.assets]


# ---------------------------------------------------------------------------------------------- options


def _key(options: Mapping[str, str]) -> str:
    """What tells another request: the options that count, and the files at hand that they name."""
    named = [Path(options[key]) for key in ("images", "catalogue", "map") if key in options]
    return fingerprint_of(
        sorted((key, value) for key, value in options.items() if key not in _AFTER),
        stat_facts([path for path in named if path.exists()]),
    )


def _read(options: Mapping[str, str]) -> _Asked:
    """Read the options; InputError for what is not understood."""
    folding, dct = options.get("fold", ""), options.get("dct", "accurate")
    for key, value, allowed in (
        ("fold", folding, ("", *FOLDINGS, "none")), ("dct", dct, ("accurate", "fast")),
        ("archives", options.get("archives", "no"), ("yes", "no")),
    ):  # fmt: skip
        if value not in allowed:
            raise InputError(
                f"unknown {key} {value!r}", where=f"--option {key}", allowed=", ".join(filter(None, allowed)),
                cure=nearest(value, allowed),
            )  # fmt: skip
    n_train, n_test = _whole(options, "n_train"), _whole(options, "n_test")
    if (n_train, n_test) != (None, None) and not (n_train or 0) + (n_test or 0):
        raise InputError("asks for no galaxy", where="--option n_train", allowed="at least one")
    radius = options.get("match-radius", "")
    return _Asked(
        n_train, n_test, _whole(options, "seed") or 0, folding, _crop(options), dct == "fast", _rate(options),
        read_radius(radius, "--option match-radius") if radius else None, options.get("archives") == "yes",
    )  # fmt: skip


def _whole(options: Mapping[str, str], key: str) -> int | None:
    text = options.get(key, "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 9:
        raise InputError("is no number of that kind", where=f"--option {key}", allowed="0 and above", got=repr(text))
    return int(text)


def _crop(options: Mapping[str, str]) -> int:
    crop = _whole(options, "crop")
    return MARGIN if crop is None else crop


def _rate(options: Mapping[str, str]) -> float:
    text = options.get("rate", "5")
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1000:
        raise InputError("is no rate", where="--option rate", allowed="above 0, at most 1000 a second", got=repr(text))
    return rate
