"""That something was forgotten, told to services that run: they hold some of what they read in memory."""

from __future__ import annotations

import os
from pathlib import Path

from estampa.errors import StorageError

NAME = ".estampa-forgotten"  #: beside the files that were changed; a byte for each time, nothing of what


def epoch_of(path: Path) -> tuple[int, int]:
    """What changes whenever something was forgotten from a file beside `path`, rotated ones too."""
    try:
        facts = _beside(path).stat()
    except OSError:  # nothing was forgotten there yet
        return 0, 0
    return facts.st_ino, facts.st_size


def tell(path: Path) -> None:
    """Let services that read files beside `path` begin anew at their next look. Raises StorageError."""
    place = _beside(path)
    try:
        handle = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.write(handle, b".")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StorageError(
            "what was forgotten is gone from the files, but a running service could not be told", where=place,
            got=error.strerror or str(error), cure="Start it anew: it may hold the answers in memory.",
        ) from error  # fmt: skip


def _beside(path: Path) -> Path:
    return Path(os.path.realpath(path)).parent / NAME
