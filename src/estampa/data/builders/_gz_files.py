"""Where the files of a Galaxy Zoo Dataset lie: at hand, or fetched from the official addresses or another one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from string import Formatter

from estampa import machine
from estampa.data.builders import _download
from estampa.data.builders._gz_fetch import fetch_pictures
from estampa.data.builders._gz_sample import Galaxies, Missing
from estampa.data.read import cache_folder
from estampa.data.sources._base import fingerprint_of
from estampa.data.sources._rowplan import find_manifest
from estampa.data.sources._store import Files, Store
from estampa.errors import DownloadError, InputError, SourceError
from estampa.progress import SILENT, Progress

CATALOGUE, MAP, IMAGES = "gz2_hart16.csv.gz", "gz2_filename_mapping.csv", "images_gz2.zip"
RECORD = "https://zenodo.org/api/records/3565489"  #: says the MD5 sums that Zenodo publishes
OFFICIAL = {
    CATALOGUE: f"https://gz2hart.s3.amazonaws.com/{CATALOGUE}",
    MAP: f"https://zenodo.org/records/3565489/files/{MAP}?download=1",
    IMAGES: f"https://zenodo.org/records/3565489/files/{IMAGES}?download=1",
}
FIELDS = ("asset_id", "objid", "ra", "dec")  #: that the address of single pictures may name


@dataclass(frozen=True)
class Places:
    """Paths of the files, all of them there. `manifest` stands for catalogue and map both."""

    images: Path | None = None  #: None = single pictures are fetched from `single`
    catalogue: Path | None = None
    map: Path | None = None
    manifest: Path | None = None
    single: str = ""  #: address of one picture, with fields in braces
    origin: str = "files at hand"

    @property
    def paths(self) -> list[Path]:
        """Those that are there, for messages and facts."""
        return [path for path in (self.images, self.catalogue, self.map, self.manifest) if path is not None]


def locate(options: Mapping[str, str], progress: Progress = SILENT) -> Places:
    """Find the files that `options` name, and fetch what is not at hand.

    What is not named is looked for beside the pictures under its official name. It is fetched only when an address is
    given, or nothing at all is named (then from the official addresses). Raises SourceError for what is not there.
    """
    named = {key: Path(options[key]) for key in ("images", "catalogue", "map") if key in options}
    for key, path in named.items():
        if not path.exists():
            raise SourceError("there is no such file or folder", where=f"--option {key}", got=path)
    images, url = named.get("images"), options.get("url", "")
    if url and url != "official":
        _download.require_http(url, "--option url")
    if images is not None and "catalogue" not in named and images.is_dir() and (manifest := find_manifest(images)):
        return Places(images=images, manifest=manifest)
    single = url if "{" in url else ""
    if single:
        _require_fields(single)
    base = "" if single else url
    around = [] if images is None else [images if images.is_dir() else images.parent, images.parent]
    found: dict[str, Path | None] = {
        CATALOGUE: named.get("catalogue") or _beside(around, (CATALOGUE, CATALOGUE.removesuffix(".gz"))),
        MAP: named.get("map") or _beside(around, (MAP,)),
        IMAGES: images,
    }
    lacking = [name for name, path in found.items() if path is None and not (name == IMAGES and single)]
    if lacking and named and not url:
        raise SourceError(
            f"{lacking[0]} is not at hand", where=", ".join(map(str, named.values())),
            cure="Name it with --option catalogue=..., map=... or images=..., or fetch it: --option url=official",
        )  # fmt: skip
    fetched = _fetch(lacking, base, options.get("md5", ""), progress)
    found |= fetched
    origin = f"{base or 'official addresses'}: {', '.join(fetched)}" if fetched else "files at hand"
    return Places(found[IMAGES], found[CATALOGUE], found[MAP], None, single, single or origin)


def _beside(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def _require_fields(url: str) -> None:
    try:
        asked = {name for _, name, _, _ in Formatter().parse(url) if name is not None}
    except ValueError as error:
        raise InputError("not understood", where="--option url", got=f"{url!r} ({error})") from error
    if not asked or asked - set(FIELDS) or not asked & {"asset_id", "objid", "ra"}:
        raise InputError(
            "names no picture", where="--option url", allowed=", ".join(f"{{{name}}}" for name in FIELDS), got=repr(url)
        )


def _fetch(names: Sequence[str], base: str, md5: str, progress: Progress) -> dict[str, Path]:
    """Fetch official files into the cache, from `base` or their own addresses; checked where a sum is known."""
    if not names:
        return {}
    sums = _sums(md5)
    folder = cache_folder().parent / "downloads" / "galaxy-zoo"
    if base and base != "official":
        folder /= fingerprint_of(base)[:16]
        addresses = {name: f"{base.rstrip('/')}/{name}" for name in names}
    else:
        addresses = {name: OFFICIAL[name] for name in names}
        if any("zenodo" in url for url in addresses.values()):
            sums = published(RECORD) | sums
    for name in names:
        progress.say(f"{name}: " + ("checked by its MD5 sum" if sums.get(name) else "no checksum is published"))
    return {name: _download.download(addresses[name], name, sums.get(name, ""), folder, progress) for name in names}


def _sums(text: str) -> dict[str, str]:
    """Read --option md5, "NAME=MD5,NAME=MD5"."""
    found = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or len(value) != 32 or set(value.lower()) - set("0123456789abcdef"):
            raise InputError(
                "not understood", where="--option md5", allowed="NAME=MD5, 32 hexadecimal digits", got=repr(part)
            )
        found[name.strip()] = value.lower()
    return found


def published(record: str) -> dict[str, str]:
    """File name -> MD5 that Zenodo's record states (`files[].checksum`, "md5:..."). Raises DownloadError."""
    machine.require("train", "requests", needed_for="downloading Galaxy Zoo 2")
    import requests

    try:
        answer = requests.get(record, timeout=_download.TIMEOUT)
        answer.raise_for_status()
        files = json.loads(answer.text)["files"]
        return {f["key"]: f["checksum"].removeprefix("md5:") for f in files if f["checksum"].startswith("md5:")}
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError(
            "the published checksums could not be had", where=record, got=str(error),
            cure="Try again later, or fetch the files yourself and name them with --option",
        ) from error  # fmt: skip


def by_stem(store: Store) -> dict[str, str]:
    """Asset id -> name in the store, wherever in folders it stands. SourceError when two have one name."""
    found: dict[str, str] = {}
    for name in store.names:
        stem = PurePosixPath(name).stem
        if found.setdefault(stem, name) != name:
            raise SourceError(f"two pictures are called {stem!r}", where=store.path, got=f"{found[stem]}, {name}")
    return found


def fetch_single(
    galaxies: Galaxies, places: Places, rate: float, progress: Progress = SILENT
) -> tuple[Galaxies, Store]:
    """Fetch the picture of each galaxy; those that could not be had are listed as missing, with the reason."""
    folder = cache_folder().parent / "downloads" / "galaxy-zoo" / f"pictures-{fingerprint_of(places.single)[:16]}"
    wanted = {}
    for name, asset, (ra, dec) in zip(galaxies.ids, galaxies.assets, galaxies.places.tolist(), strict=True):
        file = f"{asset}.jpg"
        if PurePosixPath(file).name != file or file.startswith(".") or "\\" in file or "\0" in file:
            raise SourceError(f"the asset id {asset!r} is no name of a file", where=places.map)
        wanted[file] = places.single.format(asset_id=asset, objid=name, ra=ra, dec=dec)
    reasons = fetch_pictures(wanted, folder, rate, progress)
    if len(reasons) == len(wanted):
        raise DownloadError("not one picture could be had", where=places.single, got=next(iter(reasons.values())))
    there = [i for i, asset in enumerate(galaxies.assets) if f"{asset}.jpg" not in reasons]
    lost = [
        Missing(galaxies.ids[i], galaxies.assets[i], galaxies.texts[i], reasons[f"{galaxies.assets[i]}.jpg"])
        for i in sorted(set(range(len(galaxies))) - set(there))
    ]
    kept = galaxies.rows(there)
    store = Files([folder / f"{asset}.jpg" for asset in kept.assets])
    store.sound = True  # each was decoded to its end before it was kept
    return replace(kept, missing=galaxies.missing + lost), store
