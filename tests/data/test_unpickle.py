"""The reader of pickles: plain data come out whole, and nothing that is not plain data comes out, or runs."""

from __future__ import annotations

import builtins
import collections
import copyreg
import os
import pickle
import struct
import subprocess
import timeit
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa.data.sources._unpickle import unpickled
from estampa.errors import SourceError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def read(folder: Path, data: bytes) -> Any:
    (folder / "a.pkl").write_bytes(data)
    return unpickled(folder / "a.pkl")[0]


def same(one: Any, other: Any) -> bool:
    if isinstance(other, np.ndarray) and other.dtype == object:
        other = other.tolist()
    if isinstance(other, np.ndarray):
        return isinstance(one, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(other, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in other)
    return bool(one == other)


RANDOM = np.random.default_rng(0)
PLAIN: list[Any] = [
    {"a": RANDOM.normal(size=(5, 9)).astype("f4"), "b": [1, 2.5, None, True, False, "é\n'\"\\", -3, 2**70, 10**5]},
    [b"", b"x" * 5000, bytearray(b"abc"), "y" * 70000, (), {}, [[]], (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    (np.float32(3), np.int64(4), np.array(3.0), np.bool_(True)),
    collections.OrderedDict(a=1, b=np.arange(3)),
    np.asfortranarray(RANDOM.normal(size=(3, 4))),
    [np.array(["a", "bc"]), np.array([b"a", b"xyz"]), np.array([True, False]), np.arange(5, dtype=">i4")],
    [np.zeros((0, 5)), np.zeros((4, 3, 2))[::2], RANDOM.normal(size=2000), np.float16(2)],
    np.array([[1, "a"], [None, np.zeros(3)]], dtype=object),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", PLAIN, ids=range(len(PLAIN)))
def test_plain_data_come_out_as_they_went_in(tmp_path: Path, value: Any, protocol: int) -> None:
    assert same(read(tmp_path, pickle.dumps(value, protocol)), value)


def test_shared_values_and_several_pickles_in_one_file(tmp_path: Path) -> None:
    array = np.arange(4.0)
    one, two = read(tmp_path, pickle.dumps([array, array]))
    assert one is two
    (tmp_path / "b.pkl").write_bytes(b"".join(pickle.dumps(i, p) for i, p in enumerate((0, 2, 4, 5))) + b"\n")
    assert unpickled(tmp_path / "b.pkl") == [0, 1, 2, 3]


#: What Python 2.7 and numpy 1.16 wrote, with protocols 0 and 2: {'a': np.arange(3, dtype='<f4')}. Pickles of their form
#: are on every disk of that time: copy_reg names, `str` for bytes, texts as repr writes them.
PYTHON2 = {
    0: b"(dp0\nS'a'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n"
    b"(I1\n(I3\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\n"
    b"S'\\x00\\x00\\x00\\x00\\x00\\x00\\x80?\\x00\\x00\\x00@'\np15\ntp16\nbs.",
    2: b"\x80\x02}q\x00U\x01aq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87R"
    b"q\x04(K\x01K\x03\x85cnumpy\ndtype\nq\x05U\x02f4K\x00K\x01\x87Rq\x06(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff"
    b"\xffK\x00tb\x89U\x0c\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@q\x07tbs.",
}


@pytest.mark.parametrize("protocol", PYTHON2)
def test_pickles_of_python_2(tmp_path: Path, protocol: int) -> None:
    value = read(tmp_path, PYTHON2[protocol])
    assert value["a"].tolist() == [0, 1, 2]
    assert value["a"].dtype == np.float32


def test_what_the_files_of_two_numpys_call_their_modules(tmp_path: Path) -> None:
    data = pickle.dumps(np.arange(3), 2)
    old, new = (data.replace(b"numpy._core.", core) for core in (b"numpy.core.", b"numpy._core."))
    assert read(tmp_path, old).tolist() == read(tmp_path, new).tolist() == [0, 1, 2]


# ------------------------------------------------------------------------------------------------------ exploits


class Call:
    """Pickles as a call of a function: what every exploit comes down to."""

    def __init__(self, function: Any, *given: Any) -> None:
        self.function, self.given = function, given

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.given

    def __call__(self) -> None:
        """Lets a Call stand for the function of another."""


class State:
    """Pickles as an object whose state is set by BUILD."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return collections.Counter, (), self.state


def _numpy_load(marker: Path) -> Call:
    array = np.array([Call(builtins.open, str(marker), "w")], dtype=object)
    np.save(marker.with_suffix(".npy"), array, allow_pickle=True)
    return Call(np.load, str(marker.with_suffix(".npy")), None, True)


EXPLOITS: dict[str, Callable[[Path], Any]] = {
    "os.system": lambda m: Call(os.system, f"echo > {m}"),
    "builtins.eval": lambda m: Call(eval, f"open({str(m)!r}, 'w')"),
    "builtins.exec": lambda m: Call(exec, f"open({str(m)!r}, 'w')"),
    "builtins.open": lambda m: Call(open, str(m), "w"),
    "getattr of an import": lambda m: Call(Call(getattr, Call(__import__, "os"), "system"), f"echo > {m}"),
    "subprocess": lambda m: Call(subprocess.getoutput, f"echo > {m}"),
    "timeit": lambda m: Call(timeit.timeit, f"open({str(m)!r}, 'w')", "pass", timeit.default_timer, 1),
    "a method of a path": lambda m: Call(Path.touch, Call(Path, str(m))),
    "numpy.load": _numpy_load,
    "numpy.savetxt": lambda m: Call(np.savetxt, str(m), [1]),
    "numpy.testing": lambda m: Call(np.testing._private.utils.runstring, f"open({str(m)!r}, 'w')", {}),
    "the state of an object": lambda m: State({"x": Call(open, str(m), "w")}),
}
PLACES: dict[str, Callable[[Any], Any]] = {
    "bare": lambda x: x,
    "in a list": lambda x: [np.zeros(3), [x]],
    "in a tuple": lambda x: (1, (x,)),
    "in a dict": lambda x: {"temp_images": np.zeros((2, 441)), "labels": {"deeper": x}},
    "in an object array": lambda x: np.array([[1, x], [None, 2]], dtype=object),
    "in a record": lambda x: [[1.0, x, np.zeros((20, 20))]],
}


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", EXPLOITS)
def test_a_real_exploit_is_refused_and_nothing_runs(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    made = EXPLOITS[name](marker)
    pickle.loads(pickle.dumps(made))
    assert marker.exists(), "the exploit is a real one: Python's own unpickler runs it"
    marker.unlink()
    for place, put in PLACES.items():
        for protocol in PROTOCOLS:
            with pytest.raises(SourceError, match=r"asks for .*Allowed: numpy arrays.*Nothing was run") as caught:
                read(tmp_path, pickle.dumps(put(made), protocol))
            assert not marker.exists(), (place, protocol)
            assert str(tmp_path / "a.pkl") in str(caught.value)


def test_what_is_asked_for_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"asks for posix\.system, which could run code"):
        read(tmp_path, pickle.dumps(Call(os.system, "true")))
    with pytest.raises(SourceError, match=r"asks for collections\.Counter"):
        read(tmp_path, pickle.dumps(collections.Counter("a")))


RAW: dict[str, bytes] = {
    "INST": b"(S'echo > MARKER'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'echo > MARKER'\no.",
    "NEWOBJ": b"\x80\x02csubprocess\nPopen\n)\x81.",
    "NEWOBJ of what is known": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
    "NEWOBJ_EX": b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93)}\x92.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0bos.system.x\x93.",
    "a name that is no text": b"\x80\x04K\x01K\x02\x93.",
    "a known name of another module": b"cos\ndtype\n.",
    "REDUCE of a text": b"S'os.system'\n(S'echo > MARKER'\ntR.",
    "REDUCE of an array class": b"cnumpy\nndarray\n((I9\ntt R.".replace(b" ", b""),
    "BUILD of a dict": b"}(S'__class__'\nS'x'\ndb.",
    "BUILD of a list": b"](I1\nI2\ntb.",
    "SETITEM on an array": b"cnumpy\ndtype\n(S'f4'\ntRS'a'\nS'b'\ns.",
    "APPEND to a tuple": b")I1\na.",
    "a persistent id": b"Ppid\n.",
    "a persistent id on the stack": b"S'pid'\nQ.",
    "a buffer out of the file": b"\x80\x05\x97.",
    "a set": b"\x80\x04\x8f.",
    "an extension code": b"\x80\x02\x82\xf0(S'echo > MARKER'\ntR.",
    "_reconstruct of another class": b"cnumpy.core.multiarray\n_reconstruct\n(S'list'\n(I0\ntS'b'\ntR.",
    "_reconstruct of large shapes": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L999999999L\ntS'b'\ntR.",
    "a type of records": b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR.",
    "a scalar that is an object": b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'echo'\ntR.",
    "another code of bytes": b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
}


@pytest.mark.parametrize("name", RAW)
def test_every_way_to_make_an_object_is_refused(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(SourceError, match="asks for"):
        read(tmp_path, RAW[name].replace(b"MARKER", str(marker).encode()))
    assert not marker.exists()


def test_the_extension_registry_is_not_asked(tmp_path: Path) -> None:
    """Python's unpickler caches what a code stands for, and gives it without asking find_class."""
    copyreg.add_extension("posix", "system", 240)
    try:
        marker = tmp_path / "marker"
        data = RAW["an extension code"].replace(b"MARKER", str(marker).encode())
        pickle.loads(data)
        assert marker.exists()
        marker.unlink()
        with pytest.raises(SourceError, match="extension registry"):
            read(tmp_path, data)
        assert not marker.exists()
    finally:
        copyreg.remove_extension("posix", "system", 240)


# ------------------------------------------------------------------------------------------------------ bombs


def _state(shape: bytes, code: bytes = b"f4", data: bytes = b"S'abcd'\n") -> bytes:
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n" + shape
        + b"cnumpy\ndtype\n(S'" + code + b"'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n" + data + b"tb."
    )  # fmt: skip


DAMAGED: dict[str, bytes] = {
    "half a file": pickle.dumps({"a": np.arange(10000)})[:-500],
    "words": b"label,pixel0\n1,2\n",
    "no end": b"\x80\x04]",
    "an empty stack": b"\x80\x04.",
    "two values left": b"I1\nI2\n.",
    "a mark that is not there": b"I1\nt.",
    "a memo that is not there": b"g7\n.",
    "an opcode that is none": b"\xff.",
    "a length beyond the file": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"abc.",
    "a bytearray beyond the file": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.",
    "a negative length": b"T" + struct.pack("<i", -5) + b"abc.",
    "a number of a gigabyte": b"\x8b" + struct.pack("<i", 1 << 30) + b"abc.",
    "a shape that its bytes do not fill": _state(b"(L99999999999L\nt"),
    "a negative shape": _state(b"(I-1\nt"),
    "a shape of texts": _state(b"(S'1'\nt"),
    "values without a size": _state(b"(I999999\nt", b"f4", b"S''\n"),
    "objects of another number": _state(b"(I7\nt", b"O8", b"(I1\nl"),
    "objects that are no list": _state(b"(I4\nt", b"O8"),
    "objects of three axes": _state(b"(I1\nI1\nI1\nt", b"O8", b"(I1\nl"),
    "bytes that are a number": _state(b"(I1\nt", b"f4", b"I1\n"),
    "a key that is a tuple": b"})" + b"\x85" * 200_000 + b"I1\ns.",
    "a key that is an array": _state(b"(I1\nt")[:-1] + b"0}(I1\n" + _state(b"(I1\nt")[:-1] + b"I1\nd.",
    "keys that collide": b"\x80\x02}(" + b"".join(
        b"\x8a\x10" + (i * (2**61 - 1)).to_bytes(16, "little") + b"N" for i in range(1, 20_000)
    ) + b"u.",
    "copies of one text": b"X" + struct.pack("<I", 100_000) + b"a" * 100_000 + b"q\x010"
    + b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R0" * 400 + b"N.",
    "lists of a byte each": b"\x80\x04](" + b"]" * 1_500_000 + b"e.",
    "tuples in tuples": b"\x80\x04)" + b"\x85" * 1_500_000 + b".",
    "a memo of nothing": b"\x80\x04N" + b"\x94" * 1_500_000 + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_and_bombs_are_refused_without_the_memory_they_claim(tmp_path: Path, name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match="not a pickle, truncated or damaged"):
            read(tmp_path, DAMAGED[name])
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_memo_index_costs_nothing(tmp_path: Path) -> None:
    """Python's own unpickler makes a table as long as the largest index: 32 GB for these ten bytes."""
    assert read(tmp_path, b"\x80\x02K\x07r\xff\xff\xff\x7f.") == 7


@pytest.mark.parametrize(
    "deep", [b"]" * 20_000 + b"a" * 19_999 + b".", b")" + b"\x85" * 20_000 + b".", b"]q\x00h\x00a."]
)
def test_deep_and_circular_containers_are_refused(tmp_path: Path, deep: bytes) -> None:
    with pytest.raises(SourceError, match="nested more than 6 deep"):
        read(tmp_path, deep)


def test_a_list_that_holds_itself_a_thousandfold_is_followed_once(tmp_path: Path) -> None:
    laughs = b"(I1\nlp0\n0" + b"".join(b"(" + b"g%d\n" % i * 1000 + b"lp%d\n0" % (i + 1) for i in range(5)) + b"g5\n."
    value = read(tmp_path, laughs)
    assert len(value) == len(value[0]) == len(value[0][0]) == 1000
    assert value[0] is value[999]


def test_a_name_alone_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a type or a function, not only data"):
        read(tmp_path, b"(cnumpy\nndarray\nl.")


def test_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.pkl: is empty"):
        read(tmp_path, b"")


def test_any_bytes_are_read_or_refused_by_our_own_error(tmp_path: Path) -> None:
    """Ten thousand broken files: one byte of a good one is changed."""
    random = np.random.default_rng(3)
    good = [pickle.dumps([[1.0, 0, np.zeros((2, 2))], {"a": np.arange(3), "b": ["x", None]}], p) for p in PROTOCOLS]
    from estampa.data.sources._unpickle import Machine, plain

    for trial in range(10_000):
        data = bytearray(good[trial % len(good)])
        data[random.integers(len(data))] = random.integers(256)
        machine = Machine(bytes(data), "a")
        try:
            plain(machine.read(), "a", {})
        except SourceError:
            continue
