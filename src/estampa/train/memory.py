"""Keep freed memory at hand while training.

A training step frees and takes the same few hundred blocks again and again. glibc gives large ones back to the system
each time, and fresh pages are dear, above all on virtual machines: up to a third of a step was spent there.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# malloc.h of glibc
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_DEFAULTS = ((_MMAP_MAX, 65536), (_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 64 << 20), (_TOP_PAD, 128 << 10))
_KEEPING = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 << 20))


@contextmanager
def kept() -> Iterator[None]:
    """Inside, freed blocks stay with the process; afterwards they are given back. Does nothing without glibc."""
    library = _glibc()
    if library is None:
        yield
        return
    for key, value in _KEEPING:
        library.mallopt(key, value)
    try:
        yield
    finally:
        for key, value in _DEFAULTS:
            library.mallopt(key, value)
        library.malloc_trim(ctypes.c_size_t(0))


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
    except OSError:
        return None
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "malloc_trim") else None
