"""What stands beside a Galaxy Zoo Dataset: the log of its rows, the list of missing galaxies, the two archives."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from estampa.data.builders._gz_sample import Galaxies, Missing
from estampa.data.dataset import Dataset
from estampa.data.record import PARTS
from estampa.data.sources._picture import Unreadable
from estampa.data.sources._store import Store
from estampa.files import storage_errors, sync_folder, write_atomic
from estampa.plain import csv_safe
from estampa.progress import SILENT, Progress

_LEVEL = 1  #: of gzip: JPEGs hardly shrink, at any level


def log_path(dataset: Path) -> Path:
    """NAME.log.csv beside NAME.h5."""
    return dataset.with_suffix(".log.csv")


def missing_path(dataset: Path) -> Path:
    """NAME.missing.csv beside NAME.h5."""
    return dataset.with_suffix(".missing.csv")


def archive_paths(dataset: Path) -> tuple[Path, Path]:
    """NAME.images.tar.gz with the original pictures, and NAME.tar.gz with the Dataset."""
    return dataset.with_suffix(".images.tar.gz"), dataset.with_suffix(".tar.gz")


def write_log(dataset: Dataset, galaxies: Galaxies) -> None:
    """Write the log: the id of each row of the Dataset, its row, part, class, gz2class (or label) and picture."""
    at = {name: i for i, name in enumerate(galaxies.ids)}
    lines = []
    for row, name in enumerate(dataset.ids.tolist()):
        i = at[str(name)]
        part = PARTS[int(dataset.split[row])]
        lines.append([name, str(row), part, galaxies.labels[i], galaxies.texts[i], galaxies.assets[i]])
    _write(log_path(dataset.path), ("id", "row", "part", "class", "gz2class", "picture"), lines)


def write_missing(dataset: Path, missing: Sequence[Missing]) -> None:
    """Write every galaxy that is not in the Dataset with the reason; no file where none is missing."""
    if missing:
        lines = ([one.id, one.asset, one.gz2class, one.reason] for one in missing)
        _write(missing_path(dataset), ("id", "picture", "gz2class", "reason"), lines)
    else:
        missing_path(dataset).unlink(missing_ok=True)


def _write(path: Path, head: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head)
    table.writerows([csv_safe(field) for field in line] for line in lines)
    write_atomic(path, text.getvalue())


def archive_pictures(target: Path, store: Store, names: Sequence[str], progress: Progress = SILENT) -> None:
    """Write the original pictures as they came to a .tar.gz, in the order given, dates left out.

    An unreadable one is left out: the build lists it.
    """
    progress.start(f"archiving {len(names):,} pictures", len(names), "pictures")
    with _archive(target) as archive:
        for name in names:
            try:
                data = store.read(name)
            except Unreadable:
                continue
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            archive.members = []  # type: ignore[attr-defined]  # it would keep a kilobyte of each
            progress.advance()
    progress.finish()


def archive_dataset(dataset: Path, progress: Progress = SILENT) -> None:
    """Write the Dataset to NAME.tar.gz."""
    target = archive_paths(dataset)[1]
    progress.say(f"archiving {dataset.name}")
    with _archive(target) as archive, dataset.open("rb") as stream:
        member = tarfile.TarInfo(dataset.name)
        member.size = dataset.stat().st_size
        archive.addfile(member, stream)


@contextlib.contextmanager
def _archive(target: Path) -> Iterator[tarfile.TarFile]:
    """A new .tar.gz that gets its name when it is whole; the same members give the same bytes."""
    part = target.with_name(target.name + ".part")
    with storage_errors(target):
        try:
            with (
                part.open("wb") as raw,
                gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w") as archive,
            ):
                yield archive
            part.replace(target)
            sync_folder(target.parent)
        finally:
            part.unlink(missing_ok=True)
