"""What the pictures' files say that a Dataset of one shape no longer does: size, frames, and what nobody reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from estampa.data.sources._base import Reading
from estampa.data.sources._picture import SUFFIXES, Unreadable
from estampa.data.sources._store import Folder
from estampa.data.sources.folder import PicturesReading, head_in
from estampa.progress import SILENT, Progress

_BESIDE = (".csv", ".txt", ".md", ".json", ".tar", ".zip")  #: manifests, notes and archives: they belong there
_MOST = 10_000  # names of files that nobody reads


@dataclass(frozen=True)
class RawFiles:
    """Facts of the files behind a Dataset, by id."""

    sizes: dict[str, tuple[int, int]]  #: id -> height, width in pixels, upright; only of readable files
    moving: tuple[str, ...]  #: ids of files with several frames or pages, of which the first is read
    unread: tuple[str, ...]  #: names of files in the folder that no build reads


def look_at_files(reading: Reading, paths: Sequence[Path], progress: Progress = SILENT) -> RawFiles | None:
    """Look at the header of each picture's file; None for sources that are not files of pictures."""
    if not isinstance(reading, PicturesReading):
        return None
    sizes, moving = {}, []
    progress.start("headers of the files", len(reading.names), "files")
    for name, key in zip(reading.names, map(str, reading.ids), strict=True):
        progress.advance()
        try:
            head = head_in(reading.store, name)
        except Unreadable:
            continue  # it stands among the rejected rows, with its reason
        sizes[key] = (head.height, head.width)
        if head.moving:
            moving.append(key)
    progress.finish()
    folder = paths[0] if len(paths) == 1 and isinstance(reading.store, Folder) and paths[0].is_dir() else None
    return RawFiles(sizes, tuple(moving), () if folder is None else unread_files(folder))


def unread_files(folder: Path) -> tuple[str, ...]:
    """Names, relative to `folder`, of files below it that are neither pictures that we read nor tables and notes."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        known = (*SUFFIXES, *_BESIDE, "thumbs.db", ".ini")
        strange = [n for n in sorted(names) if not n.startswith(".") and not n.lower().endswith(known)]
        found += [str(Path(root, name).relative_to(folder)) for name in strange]
        if len(found) >= _MOST:
            break
    return tuple(found[:_MOST])
