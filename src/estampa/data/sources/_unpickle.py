"""A reader of pickles that can run nothing: a stack machine of its own, which knows plain containers and numpy arrays.

Python's unpickler imports whatever name a file states and calls it. Here no name is ever imported: a few are known
(`_pickled_values.NAMES`), each stands for a function there, and every other one is refused before anything is made of
it. The values are None, truth values, numbers, texts, bytes, lists, tuples, dicts with plain keys, and numpy arrays of
numbers, texts or, up to two axes, of such values. Protocols 0 to 5 are read, of Python 2 too (its `str` is taken as
latin-1).

The opcodes are those of Lib/pickletools.py of Python 3.14. Numbers in a file are claims: a length beyond the end of the
file, a memo index, a shape that its bytes do not fill or a value that would cost far more memory than the file has
bytes are refused, not believed. Arrays are views of the mapped file wherever their bytes lie in it unescaped.
"""

from __future__ import annotations

import codecs
import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from estampa.data.sources._pickled_values import NAMES, Array, Dtype, Known, fill, values_of
from estampa.errors import SourceError

_SMALL = 4096  #: bytes up to which raw data are copied into an object of their own; longer ones stay views
_LONGEST_LINE = 1 << 28  #: of protocol 0, where a whole array is one line
_CONTAINER = 64  #: bytes that a list, dict, tuple or memo entry is counted for
_MOST_UNFOLDED = 24  #: bytes of copies and containers for a byte of the file; a list of numpy's numbers takes 14
_DEEPEST = 6  #: containers in containers that `plain` follows
_ALLOWED = "numpy arrays, numbers, texts, lists, tuples and dicts"
_CURE = "Nothing was run. Where you trust its maker, save its arrays there with numpy.savez and build from that."


class Machine:
    """Reads the pickles of one file, one after the other."""

    def __init__(self, data: bytes | mmap.mmap, where: object) -> None:
        self.data, self.view, self.where = data, memoryview(data), where
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self._budget = _MOST_UNFOLDED * len(data) + (1 << 20)  #: bytes that copies and containers may take

    def read(self) -> Any:
        """The next object, with arrays as `Array`; SourceError when it is refused or damaged."""
        self.stack, self.marks, self.memo = [], [], {}
        data, table, end = self.data, _TABLE, len(self.data)
        try:
            while True:
                if self.at >= end:
                    raise EOFError("it ends before its end mark")
                code = data[self.at]
                self.at += 1
                if code == _STOP:
                    (value,) = self.stack
                    return value
                step = table[code]
                if step is None:
                    raise ValueError(f"no opcode {code:#04x}")
                step(self)
        except _DAMAGE as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise SourceError(
                "not a pickle, truncated or damaged", where=self.where, got=f"{reason}, at byte {self.at}"
            ) from error

    # -------------------------------------------------------------------------------------- bytes of the file

    def take(self, count: int) -> memoryview:
        """The next bytes, as a view; EOFError when the file has fewer."""
        if count < 0 or self.at + count > len(self.data):
            raise EOFError(f"{count} bytes are announced and {len(self.data) - self.at} are there")
        self.at += count
        return self.view[self.at - count : self.at]

    def number(self, form: str) -> Any:
        """One number of a `struct` form."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> bytes:
        """Bytes up to the end of the line."""
        end = self.data.find(b"\n", self.at)
        if end < 0 or end - self.at > _LONGEST_LINE:
            raise EOFError("a line has no end")
        begin, self.at = self.at, end + 1
        return bytes(self.view[begin:end])

    def raw(self, count: int) -> bytes | memoryview:
        """Raw bytes: an object of their own when they are few, else a view of the file."""
        view = self.take(count)
        return bytes(view) if count <= _SMALL else view

    def text2(self, count: int) -> str | memoryview:
        """A `str` of Python 2: a text when it is short, else bytes, as arrays have them."""
        view = self.take(count)
        return str(view, "latin-1") if count <= _SMALL else view

    def pay(self, count: int) -> None:
        """Account for a copy of `count` bytes; ValueError when a small file asks for too many."""
        self._budget -= count
        if self._budget < 0:
            raise ValueError("it unfolds to far more than its size")

    def push_container(self, value: Any) -> None:
        """Push a new container, and account for it: one byte of the file makes some hundred of memory."""
        self.pay(_CONTAINER)
        self.stack.append(value)

    # -------------------------------------------------------------------------------------- stack

    def marked(self) -> list[Any]:
        """Values above the last mark, taken off the stack."""
        mark = self.marks.pop()
        if mark > len(self.stack):
            raise IndexError("a mark above the stack")
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def refuse(self, name: str) -> NoReturn:
        """Raise the SourceError for what is asked for and not known."""
        raise SourceError(
            f"its pickle asks for {name[:200]}, which could run code", where=self.where, allowed=_ALLOWED, cure=_CURE
        )

    def name(self, module: Any, name: Any) -> None:
        """Push what a name stands for here; every name that is not known is refused."""
        known = NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            self.refuse(f"{module!s:.100}.{name!s:.100}")
        self.stack.append(known)

    def reduce(self) -> None:
        """Call, with the tuple on top of the stack, what a known name stands for."""
        given = self.stack.pop()
        made = self.stack.pop()
        if not (isinstance(made, Known) and made.make is not None and isinstance(given, tuple)):
            self.refuse("a call of something that is no known name")
        self.stack.append(made.make(self, given))

    def build(self) -> None:
        """Set the state of the array or type below the top of the stack."""
        state = self.stack.pop()
        what = self.stack[-1]
        if isinstance(what, Dtype):
            what.setstate(state)
        elif isinstance(what, Array) and isinstance(state, tuple) and len(state) in (4, 5):
            what.values = values_of(self, *state[-4:])
        else:
            self.refuse(f"the state of a {type(what).__name__} to be set")

    def extend(self, values: list[Any]) -> None:
        """Append values to the list on top of the stack."""
        target = self.stack[-1]
        if not isinstance(target, list):
            self.refuse(f"a {type(target).__name__} to be appended to")
        target.extend(values)

    def update(self, pairs: list[Any]) -> None:
        """Put key, value, key, value, ... in the dict on top of the stack."""
        target = self.stack[-1]
        if not isinstance(target, dict):
            self.refuse(f"a {type(target).__name__} to be given items")
        fill(target, pairs[0::2], pairs[1::2])


# ------------------------------------------------------------------------------------------------------ opcodes

_STOP = ord(".")
_DAMAGE = (
    EOFError, IndexError, KeyError, ValueError, TypeError, OverflowError, MemoryError, struct.error, AttributeError,
)  # fmt: skip


def _string(m: Machine) -> str:
    """A quoted `str` of Python 2, as repr writes it."""
    line = m.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("a text without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")  # type: ignore[no-any-return, union-attr, unused-ignore]


def _int(m: Machine) -> int | bool:
    line = m.line()
    return line == b"01" if line in (b"00", b"01") else int(line)


def _long(m: Machine, count: int) -> int:
    if count > 1024:
        raise ValueError(f"a number of {count} bytes")
    return int.from_bytes(m.take(count), "little", signed=True)


def _push(read: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    return lambda m: m.stack.append(read(m))


def _put(read: Callable[[Machine], int]) -> Callable[[Machine], None]:
    def step(m: Machine) -> None:
        m.pay(_CONTAINER)
        m.memo[read(m)] = m.stack[-1]

    return step


def _last(count: int) -> Callable[[Machine], None]:
    def step(m: Machine) -> None:
        if len(m.stack) < count:
            raise IndexError("too few values on the stack")
        m.pay(_CONTAINER)
        m.stack[-count:] = [tuple(m.stack[-count:])]

    return step


def _dict(m: Machine) -> None:
    pairs = m.marked()
    m.push_container({})
    m.update(pairs)


def _pair(m: Machine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    m.update([key, value])


def _append(m: Machine) -> None:
    value = m.stack.pop()
    m.extend([value])


def _global(m: Machine) -> None:
    module, name = m.line().decode("latin-1"), m.line().decode("latin-1")
    m.name(module, name)


def _stack_global(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    m.name(module, name)


def _pop(m: Machine) -> None:
    if m.marks and m.marks[-1] == len(m.stack):
        m.marks.pop()
    else:
        m.stack.pop()


def _refuse(what: str) -> Callable[[Machine], None]:
    return lambda m: m.refuse(what)


def _inst(m: Machine) -> None:
    m.refuse(f"an instance of {m.line().decode('latin-1')}.{m.line().decode('latin-1')}")


_STEPS: dict[int, Callable[[Machine], Any]] = {
    ord("("): lambda m: m.marks.append(len(m.stack)),
    ord("0"): _pop,
    ord("1"): lambda m: m.marked(),
    ord("2"): lambda m: m.stack.append(m.stack[-1]),
    ord("N"): _push(lambda m: None),  # noqa: ARG005
    0x88: _push(lambda m: True),  # noqa: ARG005
    0x89: _push(lambda m: False),  # noqa: ARG005
    ord("I"): _push(_int),
    ord("J"): _push(lambda m: m.number("<i")),
    ord("K"): _push(lambda m: m.number("<B")),
    ord("M"): _push(lambda m: m.number("<H")),
    ord("L"): _push(lambda m: int(m.line().removesuffix(b"L"))),
    0x8A: _push(lambda m: _long(m, m.number("<B"))),
    0x8B: _push(lambda m: _long(m, m.number("<i"))),
    ord("F"): _push(lambda m: float(m.line())),
    ord("G"): _push(lambda m: m.number(">d")),
    ord("S"): _push(_string),
    ord("T"): _push(lambda m: m.text2(m.number("<i"))),
    ord("U"): _push(lambda m: m.text2(m.number("<B"))),
    ord("V"): _push(lambda m: m.line().decode("raw-unicode-escape")),
    ord("X"): _push(lambda m: str(m.take(m.number("<I")), "utf-8", "surrogatepass")),
    0x8C: _push(lambda m: str(m.take(m.number("<B")), "utf-8", "surrogatepass")),
    0x8D: _push(lambda m: str(m.take(m.number("<Q")), "utf-8", "surrogatepass")),
    ord("B"): _push(lambda m: m.raw(m.number("<I"))),
    ord("C"): _push(lambda m: m.raw(m.number("<B"))),
    0x8E: _push(lambda m: m.raw(m.number("<Q"))),
    0x96: _push(lambda m: m.raw(m.number("<Q"))),
    ord(")"): _push(lambda m: ()),  # noqa: ARG005
    ord("]"): lambda m: m.push_container([]),
    ord("}"): lambda m: m.push_container({}),
    ord("t"): lambda m: m.push_container(tuple(m.marked())),
    ord("l"): lambda m: m.push_container(m.marked()),
    ord("d"): _dict,
    0x85: _last(1),
    0x86: _last(2),
    0x87: _last(3),
    ord("a"): _append,
    ord("e"): lambda m: m.extend(m.marked()),
    ord("s"): _pair,
    ord("u"): lambda m: m.update(m.marked()),
    ord("g"): _push(lambda m: m.memo[int(m.line())]),
    ord("h"): _push(lambda m: m.memo[m.number("<B")]),
    ord("j"): _push(lambda m: m.memo[m.number("<I")]),
    ord("p"): _put(lambda m: int(m.line())),
    ord("q"): _put(lambda m: int(m.number("<B"))),
    ord("r"): _put(lambda m: int(m.number("<I"))),
    0x94: _put(lambda m: len(m.memo)),
    ord("c"): _global,
    0x93: _stack_global,
    ord("R"): lambda m: m.reduce(),
    ord("b"): lambda m: m.build(),
    0x80: lambda m: m.take(1),
    0x95: lambda m: m.take(8),
    ord("i"): _inst,
    ord("o"): _refuse("an instance of a class (OBJ)"),
    0x81: _refuse("a new object of a class (NEWOBJ)"),
    0x92: _refuse("a new object of a class (NEWOBJ_EX)"),
    ord("P"): _refuse("a persistent id"),
    ord("Q"): _refuse("a persistent id"),
    **dict.fromkeys((0x82, 0x83, 0x84), _refuse("a code of the extension registry")),
    **dict.fromkeys((0x8F, 0x90, 0x91), _refuse("a set")),
    **dict.fromkeys((0x97, 0x98), _refuse("a buffer that is not in the file")),
}
_TABLE = [_STEPS.get(code) for code in range(256)]


def unpickled(path: Path) -> list[Any]:
    """Every object that was pickled into a file, in plain containers and numpy arrays; see the top of this file.

    Raises SourceError, and makes nothing, when one asks for anything else, is nested too deeply, or is damaged.
    """
    with path.open("rb") as stream:
        if not path.stat().st_size:
            raise SourceError("is empty", where=path)
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    machine, found = Machine(mapped, path), []
    while machine.at < len(mapped) and mapped[machine.at : machine.at + 64].strip():
        found.append(plain(machine.read(), path, {}))
    return found


def plain(value: Any, where: object, seen: dict[int, Any], depth: int = 0) -> Any:
    """`value` with numpy arrays in place of `Array`; each container is followed once, however often it is met."""
    if isinstance(value, Array):
        value = value.values
    if isinstance(value, (Known, Dtype)):
        raise SourceError("its pickle holds a type or a function, not only data", where=where, allowed=_ALLOWED)
    if not isinstance(value, (list, tuple, dict)):
        return value
    if id(value) in seen:
        return seen[id(value)][0]
    if depth >= _DEEPEST:
        raise SourceError(f"containers are nested more than {_DEEPEST} deep", where=where, allowed=_ALLOWED)
    if isinstance(value, dict):
        made: Any = {key: plain(item, where, seen, depth + 1) for key, item in value.items()}
    else:
        made = [plain(item, where, seen, depth + 1) for item in value]
    seen[id(value)] = (made, value)  # the value is kept too: a number of a dead object would be given again
    return made
