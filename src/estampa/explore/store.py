"""The fitted explorer as a folder: features, maps and clusterings, which assign new data.

::

    explorer/
      features/                 what makes the numbers: a reduction, a copy of a bundle, or a scale
      map-NAME.safetensors      a UMAP in which clusters were found, or which is looked at
      METHOD.safetensors        the arrays of one clustering
      explorer.json             format number, classes, spaces, settings, size and SHA-256 of every file; written last

Nothing in it is ever executed: safetensors and JSON only. Files from outside are hostile until read: links, strangers,
other sizes or hashes, impossible bounds and arrays that cannot belong together are refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estampa import parts
from estampa.bundle import audit
from estampa.bundle.store import pack, plain
from estampa.data.dataset import Dataset
from estampa.errors import BundleError, InputError
from estampa.explore.clustering import METHODS, Clustering
from estampa.explore.extract import Extractor, PcaFeatures, load_extractor
from estampa.explore.umap import Umap
from estampa.files import require_writable, sha256_of, storage_errors, sync_folder, write_atomic
from estampa.progress import SILENT, Progress

FORMAT = 1
FILE, FEATURES = "explorer.json", "features"
_LIMIT = 16 << 20  #: bytes of explorer.json
_AGAIN = "Explore the data again; do not use this folder."
Assigned = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Explorer:
    """What assigns new data to clusters that were found.

    Attributes
    ----------
    extractor : makes the features of any object.
    clusterings : method -> its clusters.
    maps : name -> a UMAP of the features.
    spaces : method -> the map in which its clusters live; a method that is not named lives in the features.
    classes : class names of the data that were explored; empty without classes.
    record : how it was made, as JSON holds it.
    """

    extractor: Extractor
    clusterings: Mapping[str, Clustering]
    maps: Mapping[str, Umap] = field(default_factory=dict)
    spaces: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def features(self, data: Dataset | np.ndarray, progress: Progress = SILENT) -> np.ndarray:
        """Features (m, f) of a Dataset, or of pictures (m, h, w, c) where they are made of pixels.

        Raises ContractError when the data are not what the features were fitted on.
        """
        if isinstance(data, Dataset):
            return self.extractor.apply(data, np.arange(data.n), progress)
        if isinstance(self.extractor, PcaFeatures):
            return self.extractor.reduction.transform(data)
        raise InputError("needs a Dataset", where=self.extractor.name, got=f"an array {np.shape(data)}")

    def assign(self, data: Dataset | np.ndarray, *, progress: Progress = SILENT) -> Assigned:
        """For each method the clusters (m,) int64, -1 = noise, and strengths (m,) of new data; see `features`."""
        x = self.features(data, progress)
        placed = {name: self.maps[name].transform(x) for name in set(self.spaces.values())}
        return {
            name: made.assign(placed[self.spaces[name]] if name in self.spaces else x)
            for name, made in self.clusterings.items()
        }

    # ------------------------------------------------------------------------------------------ on disk

    def save(self, folder: Path | str) -> None:
        """Write it whole or not at all: into `folder`.part, explorer.json last, then renamed.

        Raises InputError when `folder` exists, StorageError when the disk is full.
        """
        folder = Path(folder)
        require_writable(folder)
        if os.path.lexists(folder):
            raise InputError("exists already", where=folder, cure="Choose another folder.")
        part = folder.with_name(folder.name + ".part")
        with storage_errors(folder):
            shutil.rmtree(part, ignore_errors=True)
            (part / FEATURES).mkdir(parents=True)
        self.extractor.save(part / FEATURES)
        for name, made in self.maps.items():
            made.save(part / f"map-{name}.safetensors")
        told: dict[str, Any] = {}
        for name, clustering in self.clusterings.items():
            arrays, told[name] = clustering.state()
            write_atomic(part / f"{name}.safetensors", pack(arrays))
        entries = {
            p.relative_to(part).as_posix(): {"size": p.stat().st_size, "sha256": sha256_of(p)}
            for p in sorted(part.rglob("*"))
            if p.is_file()
        }
        tree = {
            "format": FORMAT, "classes": list(self.classes), "maps": sorted(self.maps), "spaces": dict(self.spaces),
            "clusterings": told, "record": dict(self.record), "files": entries,
        }  # fmt: skip
        write_atomic(part / FILE, json.dumps(plain(tree), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        with storage_errors(folder):
            part.rename(folder)
            sync_folder(folder.parent)

    @classmethod
    def load(cls, folder: Path | str) -> Explorer:
        """Read what `save` wrote; InputError or BundleError when it is incomplete, damaged, newer, or no explorer."""
        folder = Path(folder)
        tree = _manifest(folder)
        _check_files(folder, tree["files"])
        maps = {str(name): Umap.load(folder / f"map-{name}.safetensors") for name in tree["maps"]}
        made: dict[str, Clustering] = {}
        for name, told in tree["clusterings"].items():
            if name not in parts.names(METHODS) or not isinstance(told, dict) or told.get("method") != name:
                raise InputError(f"names an unknown method {name!r}", where=folder / FILE, cure=_AGAIN)
            path = folder / f"{name}.safetensors"
            made[name] = Clustering.from_state(audit.tensors(_bytes(path, audit.FILE_LIMIT), path), told)
        extractor = load_extractor(folder / FEATURES)
        spaces = {str(k): str(v) for k, v in tree["spaces"].items()}
        _check_spaces(folder, made, maps, spaces)
        return cls(extractor, made, maps, spaces, tuple(map(str, tree["classes"])), tree["record"])


def _manifest(folder: Path) -> dict[str, Any]:
    """explorer.json, with every key of the kind that it must be."""
    path = folder / FILE
    if not os.path.lexists(path):
        raise InputError(
            "is not an explorer", where=folder, got=f"no {FILE}, which is written last",
            cure="`estampa explore DATA -o DIR` makes one, in DIR/explorer.",
        )  # fmt: skip
    try:
        tree = json.loads(_bytes(path, _LIMIT).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError("is not JSON", where=path, got=str(error), cure=_AGAIN) from error
    number = tree.get("format") if isinstance(tree, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise InputError(
            "was written by a newer estampa", where=path, allowed=f"format {FORMAT} or older", got=f"format {number}",
            cure="Update with: pip install --upgrade estampa.",
        )  # fmt: skip
    kinds = {"classes": list, "maps": list, "spaces": dict, "clusterings": dict, "record": dict, "files": dict}
    if number != FORMAT or any(not isinstance(tree.get(key), kind) for key, kind in kinds.items()):
        raise InputError("is not an explorer's manifest", where=path, cure=_AGAIN)
    if any(not isinstance(name, str) or not name.isidentifier() for name in tree["maps"]):
        raise InputError("names an impossible map", where=path, got=tree["maps"], cure=_AGAIN)
    found: dict[str, Any] = tree
    return found


def _check_files(folder: Path, entries: Mapping[str, Any]) -> None:
    """The folder holds exactly the files that the manifest lists, none a link, each of its size and hash."""
    present = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise InputError("is a symbolic link, which an explorer never holds", where=path, cure=_AGAIN)
        if not path.is_dir():
            present[path.relative_to(folder).as_posix()] = path
    present.pop(FILE, None)
    if set(present) != set(entries):
        odd = sorted(set(present) ^ set(entries))
        raise InputError(
            f"does not hold the files that {FILE} lists", where=folder, got=", ".join(odd[:5]), cure=_AGAIN
        )
    for name, entry in entries.items():
        path = present[name]
        said = (entry.get("size"), entry.get("sha256")) if isinstance(entry, dict) else None
        if not path.is_file() or (path.stat().st_size, sha256_of(path)) != said:
            raise InputError("is damaged or tampered with", where=path, got="another size or SHA-256", cure=_AGAIN)


def _check_spaces(
    folder: Path, made: Mapping[str, Clustering], maps: Mapping[str, Umap], spaces: Mapping[str, str]
) -> None:
    """Every clustering has the width of the space that it lives in, every map that of the features."""
    widths = {m.points.shape[1] for m in maps.values()}
    for name, clustering in made.items():
        space = spaces.get(name)
        if space is not None and space not in maps:
            raise InputError(f"names an unknown map {space!r}", where=folder / FILE, cure=_AGAIN)
        if space is None:
            widths.add(clustering.centres.shape[1])
        elif clustering.centres.shape[1] != maps[space].dims:
            raise InputError(f"{name} does not fit its map", where=folder, cure=_AGAIN)
    if len(widths) > 1 or set(spaces) - set(made):
        raise InputError("its parts do not fit each other", where=folder / FILE, cure=_AGAIN)


def _bytes(path: Path, limit: int) -> bytes:
    """The bytes of a regular file; what a bundle's audit refuses is refused in this folder's name."""
    try:
        return audit.read_regular(path, limit)
    except BundleError as error:
        raise InputError(error.what.replace("a bundle", "an explorer"), where=path, cure=_AGAIN) from error
