"""Several files as the channels of one object: NAME_g.fits, NAME_r.fits, NAME_i.fits."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from estampa.data.sources._picture import Unreadable
from estampa.data.sources._store import Store
from estampa.errors import SourceError

#: Endings of names that people give to bands and to the pictures of an alert, in the order they are stacked.
BANDS = (
    *("fuv", "nuv", "u", "g", "r", "i", "z", "y", "b", "v", "j", "h", "k", "ks", "w1", "w2", "w3", "w4"),
    *("sci", "science", "new", "ref", "template", "tmpl", "diff", "difference", "sub", "snr", "var", "mask"),
)
_MOST = 16  #: files of one object
_Parts = tuple[str, str]  # object and band
_ENDING = re.compile(r"^(?P<base>.+)[_\-.](?P<band>[A-Za-z0-9]{1,12})$")


@dataclass
class Objects(Store):
    """Objects of a store: one file each, or one for each channel. `names` are those of the objects, sorted."""

    store: Store
    bands: tuple[str, ...]  #: endings of the files of one object, in stacking order; () = one file an object
    files: dict[str, tuple[str, ...]]  #: object -> its files; "NAME (no BAND)" stands for one that is not there

    def __post_init__(self) -> None:
        self.path, self.suffixes, self.names = self.store.path, self.store.suffixes, sorted(self.files)

    def read(self, name: str, count: int = -1) -> bytes:
        """See Store; of an object with several files this is the first."""
        return self.store.read(self.files_of(name)[0], count)

    def files_of(self, name: str) -> tuple[str, ...]:
        """Files of an object, one for each band; raises Unreadable when one is not there."""
        files = self.files.get(name)
        if files is None:
            raise Unreadable("file not found")
        absent = [band for band, file in zip(self.bands, files, strict=False) if not file]
        if absent:
            raise Unreadable(f"no file for {', '.join(absent)}")
        return files

    def facts(self) -> list[object]:
        """See Store."""
        return [self.bands, *self.store.facts()]

    def close(self) -> None:
        """See Store."""
        self.store.close()


def objects_of(store: Store, wanted: Sequence[str] = (), single: bool = False) -> Objects:
    """Group the files of a store to objects.

    Files are channels when all names end in `_BAND` (or -BAND, .BAND) and either all bands are known ones (BANDS), or
    two objects or more share the same two endings or more, with a letter in each: `stamp_1.fits`, `stamp_2.fits` are
    two objects. Known bands come first, in the order of BANDS, then the others by name. `wanted` are the bands of a
    training set, whose order is kept; `single` = every file is an object.

    Raises SourceError when `wanted` bands are not there.
    """
    alone = Objects(store, (), {name: (name,) for name in store.names})
    if single:
        return alone
    split = {name: _split(name, store.suffixes) for name in store.names}
    spelled = Counter(parts[1] for parts in split.values() if parts)
    if wanted:
        if not {_plain(band) for band in wanted} & {_plain(band) for band in spelled}:
            raise SourceError(
                "the model was fed several files for each object, which are not here", where=store.path,
                allowed=", ".join(f"NAME_{band}" for band in wanted), got=", ".join(store.names[:3]),
            )  # fmt: skip
        order = list(wanted)
    elif not _are_bands(split, {_plain(band) for band in spelled}):
        return alone
    else:
        usual = {_plain(band): band for band, _ in reversed(spelled.most_common())}
        order = sorted(usual.values(), key=lambda band: (_rank(band), band))
    return Objects(store, tuple(order), _grouped(split, [_plain(band) for band in order], store))


def _grouped(split: dict[str, _Parts | None], order: Sequence[str], store: Store) -> dict[str, tuple[str, ...]]:
    """Object -> its file of each band, "" where there is none.

    A file that belongs to no object (which only happens where a model says what the bands are) is an object without any
    file: so it is a row, and named as unreadable. Raises SourceError for two files of one object and band.
    """
    grouped: dict[str, dict[str, str]] = defaultdict(dict)
    for name, parts in split.items():
        band = _plain(parts[1]) if parts else ""
        if parts and band in order:
            if band in grouped[parts[0]]:
                raise SourceError(
                    f"two files are band {band!r} of one object", where=store.path,
                    got=f"{grouped[parts[0]][band]}, {name}", cure="Keep one of them.",
                )  # fmt: skip
            grouped[parts[0]][band] = name
    for name, parts in split.items():
        base = parts[0] if parts else name
        if base not in grouped:
            grouped[base] = {}
    return {base: tuple(found.get(band, "") for band in order) for base, found in grouped.items()}


def _split(name: str, suffixes: Sequence[str]) -> _Parts | None:
    """Object and band of a file's name, or None."""
    folder, slash, _ = name.rpartition("/")
    found = _ENDING.match(bare_name(name, suffixes))
    return (folder + slash + found["base"], found["band"]) if found else None


def bare_name(name: str, suffixes: Sequence[str]) -> str:
    """A file's name without its folder and ending."""
    last = name.rpartition("/")[2]
    ending = max((s for s in suffixes if last.lower().endswith(s)), key=len, default="")
    return last[: len(last) - len(ending)]


def _plain(band: str) -> str:
    """A band as it is compared: known ones in lower case, since people write g and G."""
    return band.lower() if band.lower() in BANDS else band


def _are_bands(split: dict[str, _Parts | None], bands: set[str]) -> bool:
    if None in split.values() or not 2 <= len(bands) <= _MOST:
        return False
    objects = len({parts[0] for parts in split.values() if parts})
    if all(band.lower() in BANDS for band in bands):
        return len(split) > objects
    lettered = all(re.search("[A-Za-z]", band) for band in bands)
    return lettered and objects > 1 and len(split) > 0.9 * objects * len(bands)


def _rank(band: str) -> int:
    return BANDS.index(band.lower()) if band.lower() in BANDS else len(BANDS)
