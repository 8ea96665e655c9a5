"""Which galaxies a Galaxy Zoo Dataset holds: catalogue, map and pictures joined, then a seeded draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from estampa.data.builders._gz_tables import Objects
from estampa.data.gz2class import FOLDINGS, fold, parse
from estampa.data.record import PARTS
from estampa.data.skymatch import match
from estampa.data.sources._keys import AS_TEXT
from estampa.errors import InputError, SourceError

_SHOWN = 12  #: classes that a message counts
_SAMPLE = "original"  #: of the map's samples, the one that the catalogue's main part was made from


@dataclass(frozen=True)
class Missing:
    """A galaxy that is not in the Dataset, and why."""

    id: str
    asset: str
    gz2class: str
    reason: str


@dataclass(frozen=True)
class Galaxies:
    """Galaxies with a picture and a class: one entry of each list and array a galaxy."""

    ids: list[str]
    assets: list[str]  #: asset ids, or names of files, whatever the pictures are known by
    texts: list[str]  #: gz2class (or another label) as it was written
    labels: list[str]  #: class after the folding
    places: np.ndarray  #: (n, 2) float64: right ascension and declination in degrees, NaN where not known
    split: np.ndarray | None = None  #: (n,) uint8, see record.PARTS
    missing: list[Missing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    drawn: bool = False  #: `split` is our draw's; else it came with the files

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: Sequence[int] | np.ndarray) -> Galaxies:
        """Some of them, in the order of `rows`."""
        chosen = np.asarray(rows, np.int64)
        ids, assets, texts, labels = (
            [column[i] for i in chosen] for column in (self.ids, self.assets, self.texts, self.labels)
        )
        parts = None if self.split is None else self.split[chosen]
        return replace(
            self, ids=ids, assets=assets, texts=texts, labels=labels, places=self.places[chosen], split=parts
        )


def join(catalogue: Objects, files: Objects, folding: str, radius: float | None = None) -> Galaxies:
    """Give each catalogued object its class and its asset.

    By id, or within `radius` degrees by position; the id is then the map's. An object of two rows that disagree, of
    two assets, without an asset, or with a gz2class that cannot be read, is left out and listed. Raises SourceError
    when nothing is left, or no position is known to match by.
    """
    missing: list[Missing] = []
    notes: list[str] = []
    if radius is None:
        pairs = _by_id(catalogue, files, _distinct(catalogue, missing, notes), missing)
    else:  # ids may be rounded here, so that repeated ones mean nothing
        pairs = _by_place(catalogue, files, radius, missing, notes)
    ids, assets, texts, labels, kept, apart = [], [], [], [], [], 0
    owner: dict[str, str] = {}
    for row, file in pairs:
        text = catalogue.values[row]
        name = catalogue.ids[row] if radius is None else files.ids[file]
        try:
            label = text if folding == "none" else fold(parse(text), folding)
        except InputError as error:
            missing.append(Missing(name, files.values[file], text, f"unknown gz2class: {error.what}"))
            continue
        if not label:
            apart += 1
            continue
        if owner.setdefault(files.values[file], name) != name:
            missing.append(Missing(name, files.values[file], text, "its picture is another galaxy's too"))
            continue
        ids.append(name)
        assets.append(files.values[file])
        texts.append(text)
        labels.append(label)
        kept.append((catalogue.ra[row], catalogue.dec[row]))
    if apart:
        notes.append(f"{apart:,} galaxies have no class in the folding {folding!r}, and are left out")
    if not ids:
        reason = counted(missing) if missing else "no galaxy has a class"
        raise SourceError(
            "no galaxy is in the catalogue and the map", where=catalogue.path,
            got=f"{reason}; the first ids are {catalogue.ids[0]!r} there and {files.ids[0]!r} in {files.path}",
            cure=f"{AS_TEXT} Or match by position: --option match-radius=2arcsec" if radius is None
            else "A wider --option match-radius?",
        )  # fmt: skip
    return Galaxies(ids, assets, texts, labels, np.array(kept, np.float64), None, missing, notes)


def _distinct(catalogue: Objects, missing: list[Missing], notes: list[str]) -> list[int]:
    """Rows of the catalogue, one an object; objects whose rows disagree are missing."""
    said: dict[str, set[str]] = {}
    for name, text in zip(catalogue.ids, catalogue.values, strict=True):
        said.setdefault(name, set()).add(text)
    if len(said) == len(catalogue):
        return list(range(len(catalogue)))
    rows, seen, twice = [], set(), 0
    for row, name in enumerate(catalogue.ids):
        if name in seen:
            twice += 1
        elif len(said[name]) == 1:
            rows.append(row)
        else:
            classes = ", ".join(sorted(said[name]))
            missing.append(Missing(name, "", "", f"stands twice in the catalogue with other classes: {classes}"))
        seen.add(name)
    notes.append(f"{twice:,} rows of the catalogue repeat an object")
    return rows


def _by_id(catalogue: Objects, files: Objects, rows: Sequence[int], missing: list[Missing]) -> list[tuple[int, int]]:
    at: dict[str, list[int]] = {}
    for row, name in enumerate(files.ids):
        at.setdefault(name, []).append(row)
    pairs = []
    for row in rows:
        name, text = catalogue.ids[row], catalogue.values[row]
        found = at.get(name, [])
        if len(found) > 1:  # the same object stands in several samples of the map: the main one counts
            found = [i for i in found if files.samples[i] == _SAMPLE] or found
        assets = {files.values[i] for i in found}
        if len(assets) == 1:
            pairs.append((row, found[0]))
        else:
            reason = f"the map gives several pictures: {', '.join(sorted(assets))}" if assets else "not in the map"
            missing.append(Missing(name, "", text, reason))
    return pairs


def _by_place(
    catalogue: Objects, files: Objects, radius: float, missing: list[Missing], notes: list[str]
) -> list[tuple[int, int]]:
    for table in (catalogue, files):
        if not np.isfinite(table.ra).any():
            raise SourceError(
                "no positions to match by", where=table.path, allowed="columns ra and dec, in degrees",
                cure="Give a map with positions: objid, ra, dec, asset_id.",
            )  # fmt: skip
    found = match(catalogue.ra, catalogue.dec, files.ra, files.dec, radius, (catalogue.path, files.path))
    notes.append(f"matched by position: {found.note(radius)}")
    index = found.index.tolist()
    missing += [
        Missing(catalogue.ids[row], "", catalogue.values[row], "no position of the map is near")
        for row, file in enumerate(index)
        if file < 0
    ]
    return [(row, file) for row, file in enumerate(index) if file >= 0]


def with_pictures(galaxies: Galaxies, names: Collection[str]) -> Galaxies:
    """Those whose asset is one of `names`; the others are listed as missing. Raises SourceError when none is left."""
    known = set(names)
    there = np.array([asset in known for asset in galaxies.assets], bool)
    if not there.any():
        raise SourceError(
            "not one galaxy has its picture", where="images", got=f"{len(known):,} pictures, {len(there):,} galaxies",
            cure="Pictures are named by the map's asset_id, as 123.jpg: is it the map of these pictures?",
        )  # fmt: skip
    lost = [
        Missing(galaxies.ids[i], galaxies.assets[i], galaxies.texts[i], "no picture")
        for i in np.flatnonzero(~there).tolist()
    ]
    unasked = len(known - set(galaxies.assets))
    notes = [f"{unasked:,} pictures are of no galaxy in the catalogue, and are left out"] if unasked else []
    kept = galaxies.rows(np.flatnonzero(there))
    return replace(kept, missing=galaxies.missing + lost, notes=galaxies.notes + notes)


def draw(galaxies: Galaxies, n_train: int, n_test: int, seed: int) -> Galaxies:
    """A random draw without replacement: `n_train` for training, then `n_test` for the test, each sorted by id.

    The draw depends on the ids and the seed alone, not on the order of the tables. Without training or test galaxies
    there are no parts. Raises SourceError, which counts what was left out and why, when there are fewer galaxies.
    """
    if n_train + n_test > len(galaxies):
        each = ", ".join(f"{name} {count:,}" for name, count in Counter(galaxies.labels).most_common(_SHOWN))
        lost = "; ".join(filter(None, [counted(galaxies.missing), *galaxies.notes]))
        raise SourceError(
            f"{n_train:,} training and {n_test:,} test galaxies are more than there are",
            got=f"{len(galaxies):,} galaxies with a picture and a class ({each})"
            + (f"; left out are: {lost}" if lost else ""),
            cure=f"Ask for at most {len(galaxies):,} in all: --option n_train=... --option n_test=...",
        )  # fmt: skip
    by_id = np.array(sorted(range(len(galaxies)), key=lambda i: (len(galaxies.ids[i]), galaxies.ids[i])), np.int64)
    drawn = np.random.default_rng(seed).permutation(len(galaxies))[: n_train + n_test]
    parts = np.sort(drawn[:n_train]), np.sort(drawn[n_train:])
    split = np.repeat(np.array([PARTS.index("train"), PARTS.index("test")], np.uint8), [n_train, n_test])
    drawn_all = replace(galaxies, split=None).rows(by_id[np.concatenate(parts)])
    return replace(drawn_all, split=split, drawn=True) if n_train and n_test else drawn_all


def classes_of(galaxies: Galaxies, folding: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Classes in order, and the label of each galaxy (n,) int64. A folding has all its classes, seen or not."""
    classes = FOLDINGS.get(folding) or tuple(sorted(set(galaxies.labels)))
    index = {name: i for i, name in enumerate(classes)}
    return classes, np.array([index[name] for name in galaxies.labels], np.int64)


def counted(reasons: Sequence[Missing], most: int = 5) -> str:
    """How many galaxies are missing for which reason, the commonest first."""
    kinds = Counter(one.reason.partition(":")[0] for one in reasons)
    return "; ".join(f"{reason} ({count:,})" for reason, count in kinds.most_common(most))
