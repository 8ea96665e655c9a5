"""What the few names that a pickle may state stand for: functions of this file that make arrays, bytes and dicts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import numpy as np

_MOST_KEYS = 4096  #: of one dict: keys that are made to collide cost their number squared
_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,5}|O[48]?)")
_PLAIN_KEYS = (str, int, float, bytes, type(None))


class Machine(Protocol):
    """Who reads the pickle."""

    def pay(self, count: int) -> None:
        """Account for a copy of `count` bytes; ValueError when a small file asks for too many."""
        ...

    def refuse(self, name: str) -> NoReturn:
        """Raise the SourceError for what is asked for and not known."""
        ...


class Dtype:
    """The type of an array's values as a pickle states it; filled in by `setstate`."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code.lstrip("<>=|"), code[0] if code[0] in "<>" else "="

    def setstate(self, state: Any) -> None:
        """State of numpy.dtype: (version, byte order, subdtype, names, fields, size, alignment, flags)."""
        if not isinstance(state, tuple) or len(state) < 7 or state[1] not in ("<", ">", "=", "|"):
            raise ValueError("not the state of a type of values")
        if any(part is not None for part in state[2:5]):
            raise ValueError("arrays of records")
        self.order = state[1] if state[1] in ("<", ">") else "="

    @property
    def objects(self) -> bool:
        """Whether the values are objects."""
        return self.code[0] == "O"

    def numpy(self) -> np.dtype[Any]:
        """The numpy type of plain values."""
        return np.dtype(self.order + self.code) if self.code != "b1" else np.dtype(bool)


class Array:
    """An array to be: `numpy` makes it empty and then sets its state, which is checked here."""

    def __init__(self) -> None:
        self.values: Any = np.empty(0, np.int8)


class Known:
    """What a known name stands for. `make` gives the value of a call; None where the name is only passed on."""

    def __init__(self, make: Callable[[Machine, tuple[Any, ...]], Any] | None = None) -> None:
        self.make = make


def fill(target: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
    """Put items in a dict; ValueError for keys that are not plain, and for too many: colliding ones cost a square."""
    if len(target) + len(keys) > _MOST_KEYS:
        raise ValueError(f"a dict of more than {_MOST_KEYS} entries")
    for key, value in zip(keys, values, strict=True):
        if not isinstance(key, _PLAIN_KEYS):
            raise TypeError("a dict with keys that are neither texts nor numbers")
        target[key] = value


def _bytes_of(machine: Machine, data: Any) -> bytes | memoryview:
    """Raw bytes of an array: as they are, or a text of Python 2, one character a byte."""
    if isinstance(data, str):
        machine.pay(len(data))
        return data.encode("latin-1")
    if not isinstance(data, (bytes, memoryview)):
        raise TypeError(f"an array whose bytes are a {type(data).__name__}")
    return data


def values_of(machine: Machine, shape: Any, dtype: Any, fortran: Any, data: Any) -> Any:
    """Array of a stated shape and type, whose bytes must be exactly as many as these need.

    An array of objects is a list of values that this machine made, one a row; of two axes, a list of such lists.
    """
    if not isinstance(dtype, Dtype) or not isinstance(shape, tuple) or len(shape) > 8:
        raise ValueError("not the state of an array")
    if not all(type(side) is int and 0 <= side < 1 << 48 for side in shape):
        raise ValueError(f"an array of shape {shape}")
    count = math.prod(shape)
    if dtype.objects:
        if not isinstance(data, list) or len(data) != count or len(shape) not in (1, 2):
            raise ValueError(f"an array of {shape} Python objects")
        machine.pay(16 * count)
        width = shape[-1]
        if len(shape) == 1:
            return list(data)
        return [data[i :: shape[0]] if fortran else data[i * width : (i + 1) * width] for i in range(shape[0])]
    raw, kind = _bytes_of(machine, data), dtype.numpy()
    if len(raw) != count * kind.itemsize:
        raise ValueError(f"an array of shape {shape}, {kind}, with {len(raw)} bytes")
    flat = np.frombuffer(raw, kind) if count else np.zeros(0, kind)
    return flat.reshape(shape, order="F" if fortran else "C")


def _reconstruct(machine: Machine, given: tuple[Any, ...]) -> Array:
    kind, shape, _ = given
    if kind is not _NDARRAY or shape != (0,):
        machine.refuse("an array of another class or shape than numpy writes")
    return Array()


def _dtype(machine: Machine, given: tuple[Any, ...]) -> Dtype:
    code = given[0]
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        machine.refuse(f"values of type {code!s:.40}")
    return Dtype(code)


def _scalar(machine: Machine, given: tuple[Any, ...]) -> Any:
    dtype, data = given
    if not isinstance(dtype, Dtype) or dtype.objects:
        machine.refuse("a number that is an object")
    return values_of(machine, (1,), dtype, False, data)[0]


def _frombuffer(machine: Machine, given: tuple[Any, ...]) -> Array:
    data, dtype, shape, order = given
    if not isinstance(dtype, Dtype) or dtype.objects or order not in ("C", "F"):
        machine.refuse("an array of objects from raw bytes")
    array = Array()
    array.values = values_of(machine, shape, dtype, order == "F", data)
    return array


def _encode(machine: Machine, given: tuple[Any, ...]) -> bytes:
    text, code = given
    if not isinstance(text, str) or code not in ("latin1", "latin-1"):
        machine.refuse(f"bytes in the code {code!s:.40}")
    machine.pay(len(text))
    return text.encode("latin-1")


def _raw_bytes(machine: Machine, given: tuple[Any, ...]) -> bytes | memoryview:
    return _bytes_of(machine, given[0]) if given else b""


def _ordered(machine: Machine, given: tuple[Any, ...]) -> dict[Any, Any]:
    pairs = list(given[0]) if given else []
    machine.pay(64 * len(pairs))
    made: dict[Any, Any] = {}
    fill(made, [key for key, _ in pairs], [value for _, value in pairs])
    return made


_NDARRAY = Known()
#: The names that are known, and what each stands for here.
NAMES: dict[tuple[str, str], Known] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Known(_dtype),
    ("_codecs", "encode"): Known(_encode),
    ("collections", "OrderedDict"): Known(_ordered),
    **{(core + ".multiarray", "_reconstruct"): Known(_reconstruct) for core in ("numpy.core", "numpy._core")},
    **{(core + ".multiarray", "scalar"): Known(_scalar) for core in ("numpy.core", "numpy._core")},
    **{(core + ".numeric", "_frombuffer"): Known(_frombuffer) for core in ("numpy.core", "numpy._core")},
    **{(home, name): Known(_raw_bytes) for home in ("builtins", "__builtin__") for name in ("bytes", "bytearray")},
}
