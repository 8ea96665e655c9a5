"""Arrays as they come in a request: .npy and .npz bodies, and nested lists of JSON. Nothing is unpickled."""

from __future__ import annotations

import ast
import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from estampa.serve.archive import listed_zip
from estampa.serve.problems import Problem

_MAGIC = b"\x93NUMPY"
_HEAD_MOST = 4096  #: bytes of a header: NumPy's own take some hundred
_KINDS = "biuf"
_IDS = ("id", "ids")  #: of an .npz: may be texts
_SIDE = 1 << 63  #: no axis is as long
_MEMBERS = 16  #: of an .npz
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  #: that NumPy writes; others set aside what a header asks for
_LAST = 0x10FFFF  #: of Unicode


def npy(data: bytes, what: str = "the body", kinds: str = _KINDS) -> np.ndarray:
    """The array of an .npy file, a view of `data` where the byte order is this machine's; Problem where it is none.

    `kinds` are the letters of the types that are taken.

    The shape and type that the header announces must be those of the bytes that follow, so that nothing is set aside
    for what never comes.
    """
    if data[:6] != _MAGIC or len(data) < 10 or data[6] not in (1, 2, 3):
        raise Problem("unreadable", f"{what} is no .npy file: it does not begin as one.")
    wide = data[6] > 1
    start = 12 if wide else 10
    length = int.from_bytes(data[8:start], "little")
    if length > _HEAD_MOST or len(data) < start + length:
        raise Problem("unreadable", f"{what} is a truncated or damaged .npy file: its header is not whole.")
    dtype, shape, fortran = _header(data[start : start + length], what, kinds)
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if count * dtype.itemsize != len(data) - start - length:
        raise Problem(
            "unreadable", f"{what} is a truncated or damaged .npy file: its header announces "
            f"{' x '.join(map(str, shape)) or '1'} values of {dtype}, {count * dtype.itemsize:,} bytes; "
            f"{len(data) - start - length:,} came.",
        )  # fmt: skip
    if dtype.kind == "U" and (np.frombuffer(data, f"{dtype.str[0]}u4", -1, start + length) > _LAST).any():
        raise Problem("unreadable", f"{what} holds what is no text.")
    values = np.frombuffer(data, dtype, count, start + length).reshape(shape, order="F" if fortran else "C")
    return values if dtype.isnative else values.astype(dtype.newbyteorder("="))


@lru_cache(maxsize=256)
def _header(text: bytes, what: str, allowed: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Type, shape and order; kept, since a client sends the same header again and again."""
    try:
        found = ast.literal_eval(text.decode("latin-1").strip())
        shape, fortran = tuple(found["shape"]), bool(found["fortran_order"])
        described = found["descr"]
        fields = described if isinstance(described, list) else [("", described)]
        plain = all(isinstance(f, tuple) and len(f) == 2 and isinstance(f[1], str) for f in fields)
        dtype = np.dtype(described) if plain else None
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise Problem("unreadable", f"{what} is a damaged .npy file: its header cannot be read.") from error
    kinds = (
        [dtype[name].kind for name in dtype.names]
        if dtype is not None and dtype.names
        else [getattr(dtype, "kind", "")]
    )
    if dtype is None or not set(kinds) <= set(allowed):
        raise Problem(
            "unreadable", f"{what} holds no numbers: allowed are integers, floats and booleans, without objects."
        )
    if len(shape) > 8 or not all(
        isinstance(side, int) and not isinstance(side, bool) and 0 <= side < _SIDE for side in shape
    ):
        raise Problem("unreadable", f"{what} is a damaged .npy file: {shape!r:.80} is no shape.")
    return dtype, shape, fortran


def npz(data: bytes, most: int, charge: Callable[[int], None] = lambda _: None) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, at most `most` bytes of them; Problem where it is none, or a bomb.

    `charge` is told how many bytes there are before they are unpacked.
    """
    found: dict[str, np.ndarray] = {}
    try:
        with listed_zip(io.BytesIO(data), _MEMBERS) as archive:
            entries = archive.infolist()
            if len(entries) > _MEMBERS:
                raise Problem("too-large", f"The .npz file has {len(entries)} members; allowed are {_MEMBERS}.")
            size = sum(entry.file_size for entry in entries)
            if size > most:
                raise Problem("too-large", f"The .npz file unpacks to more than {most:,} bytes.")
            charge(size)
            if any(entry.compress_type not in _METHODS for entry in entries):
                raise Problem("unreadable", "The .npz file is packed in a way that NumPy does not write.")
            for entry in entries:
                with archive.open(entry) as stream:
                    unpacked = stream.read(entry.file_size + 1)
                name, kinds = entry.filename.removesuffix(".npy"), _KINDS
                if name in _IDS:
                    kinds += "U"
                found[name] = npy(unpacked, f"{entry.filename[:80]!r} in the .npz file", kinds)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        raise Problem("unreadable", "The .npz file is damaged or truncated.") from error
    return found


def only(arrays: Mapping[str, np.ndarray], *names: str) -> np.ndarray:
    """The array called by one of `names`, or the only one besides the ids; Problem where that does not decide."""
    for name in names:
        if name in arrays:
            return arrays[name]
    others = [name for name in arrays if name not in _IDS]
    if len(others) != 1:
        listed = ", ".join(sorted(map(repr, arrays)))[:200] or "nothing"
        raise Problem("unreadable", f"The .npz file must hold an array called {names[0]!r}; it holds {listed}.")
    return arrays[others[0]]


def listed(value: Any, what: str) -> np.ndarray:
    """Nested lists of numbers as an array; null is NaN. Problem where they are ragged or hold anything else."""
    try:
        values = np.array(value)
        if values.dtype == object:
            flat = values.reshape(-1).tolist()
            if any(isinstance(v, (list, dict)) for v in flat):
                raise Problem("unreadable", f"{what} is ragged: its rows are not of one length.")
            if not all(v is None or (isinstance(v, (int, float)) and not isinstance(v, bool)) for v in flat):
                raise Problem("unreadable", f"{what} holds what is no number. Allowed: numbers, and null for NaN.")
            values = values.astype(np.float64)
    except (ValueError, OverflowError) as error:
        raise Problem("unreadable", f"{what} is ragged, or holds a number that is out of range.") from error
    if values.dtype.kind not in "iuf":
        raise Problem("unreadable", f"{what} holds what is no number. Allowed: numbers, and null for NaN.")
    return values


def stored(values: np.ndarray, dtype: str, what: str) -> np.ndarray:
    """Numbers as the model's pixel type; Problem where anything but the end of a float would be lost by it."""
    wanted = np.dtype(dtype)
    if values.dtype == wanted:
        return values
    if wanted.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(wanted)
    whole = values if values.dtype.kind in "iub" else np.rint(values)
    info = np.iinfo(wanted)
    with np.errstate(invalid="ignore"):
        good = bool(((whole == values) & (values >= info.min) & (values <= info.max)).all())
    if not good:
        raise Problem(
            "contract", f"{what}: the model was fed {dtype}, whole numbers from {info.min} to {info.max}. Hand in the "
            f"pixels as they are stored; the model does its own scaling.",
        )  # fmt: skip
    return np.asarray(whole.astype(wanted))
