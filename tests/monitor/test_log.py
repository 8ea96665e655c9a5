"""Log lines made from answers, written by many, read back with suspicion."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa.bundle.session import Scores
from estampa.bundle.store import Bundle
from estampa.data.summary import describe
from estampa.errors import BundleError, InputError, StorageError
from estampa.monitor import log
from estampa.monitor.line import moment, stamp
from estampa.monitor.log import Fault, LogWriter, lines_of, read_log
from made_bundles import content_of, make, pictures
from made_logs import FORMAT_1, appending, ids, line
from made_tables import galaxies
from made_tables import make as make_of_table


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("bundle") / "model")


# ---------------------------------------------------------------------------------------------- what a line holds


def test_what_is_logged_reads_back(bundle: Bundle, tmp_path: Path) -> None:
    images = pictures(7)
    scores = bundle.score(images)
    flags = [["out_of_range"] if i == 3 else [] for i in range(7)]
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    LogWriter(tmp_path / "log").append(lines_of(bundle, images, scores, [f"r.{i}" for i in range(7)], flags))
    found = list(read_log(tmp_path / "log"))
    assert [one.id for one in found] == [f"r.{i}" for i in range(7)]
    assert {one.model for one in found} == {bundle.hash}
    assert all(before <= one.time <= datetime.now(UTC) for one in found)
    assert scores.embedding is not None
    frame = bundle.tensors("reference")["projection"]
    np.testing.assert_array_equal(np.array([f.describe for f in found], np.float32), describe(images))
    np.testing.assert_array_equal(np.array([f.output for f in found], np.float32), scores.output)
    np.testing.assert_array_equal(np.array([f.components for f in found], np.float32), scores.embedding @ frame)
    assert found[3].flags == ("out_of_range",)
    assert found[2].flags == ()


def test_a_line_of_a_table_is_what_its_reference_holds(tmp_path: Path) -> None:
    bundle = make_of_table(tmp_path / "model")
    raw, _ = galaxies(600)
    raw = raw[np.arange(600) % 5 == 3]  # the validation part
    lines = lines_of(bundle, raw, bundle.score(raw), [str(i) for i in range(len(raw))])
    kept = bundle.tensors("reference")
    np.testing.assert_array_equal(np.array([one["describe"] for one in lines], np.float32), kept["describe"])
    np.testing.assert_allclose([one["components"] for one in lines], kept["components"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.array([one["output"] for one in lines], np.float32), kept["output"])


def test_a_line_holds_nothing_else(bundle: Bundle) -> None:
    images = pictures(1)
    [made] = lines_of(bundle, images, bundle.score(images), ["r.0"], when=moment("2026-01-02T03:04:05.678Z"))
    assert list(made) == ["format", "id", "time", "model", "describe", "components", "output", "flags"]
    assert made["time"] == "2026-01-02T03:04:05.678Z"
    assert len(made["describe"]) == 10
    assert len(made["components"]) == 8


def test_a_value_is_logged_for_a_regression(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model", task="regression", classes=())
    images = pictures(3)
    scores = bundle.score(images)
    lines = lines_of(bundle, images, scores, ["a", "b", "c"])
    np.testing.assert_array_equal(np.array([one["output"] for one in lines], np.float32)[:, 0], scores.output)


def test_where_there_is_no_answer_none_is_logged(bundle: Bundle, tmp_path: Path) -> None:
    images = pictures(3)
    flags = [["unreadable:no picture: juan_perez.png"], ["invalid:u|g"], ["imputed:u"]]
    lines = lines_of(bundle, images, bundle.score(images), ["a", "b", "c"], flags)
    LogWriter(tmp_path / "log").append(lines)
    unread, invalid, good = read_log(tmp_path / "log")
    assert (unread.flags, invalid.flags, good.flags) == (("unreadable",), ("invalid:u|g",), ("imputed:u",))
    assert np.isnan([*unread.describe, *unread.components, *unread.output, *invalid.output]).all()
    assert np.isfinite([*invalid.describe, *good.output]).all()
    assert "juan" not in (tmp_path / "log").read_text()


def test_the_embedding_must_have_been_asked_for(bundle: Bundle) -> None:
    images = pictures(2)
    with pytest.raises(ValueError, match="embedding"):
        lines_of(bundle, images, bundle.score(images, wanted=("output",)), ["a", "b"])


def test_a_reference_that_does_not_fit_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = make(tmp_path / "model", thresholds={"confidence": 0.7})
    images = pictures(2)
    scores = Scores(np.ones((2, 2), np.float32), embedding=np.ones((2, 3), np.float32))
    with pytest.raises(BundleError, match="no projection that fits"):
        lines_of(other, images, scores, ["a", "b"])
    assert content_of().reference["projection"].shape == (2, 8)


def test_times_are_utc_with_milliseconds() -> None:
    told = datetime.fromisoformat("2026-11-22T14:26:06.123456-03:00")
    assert stamp(told) == "2026-11-22T17:26:06.123Z"
    assert moment(stamp(told)) == told.replace(microsecond=123000)
    for text in ("2026-11-22T17:26:06Z", "2026-11-22 17:26:06.123Z", "2026-13-22T17:26:06.123Z", "", "x" * 1000):
        with pytest.raises(ValueError):
            moment(text)


# ---------------------------------------------------------------------------------------------- bad lines


def test_a_line_of_format_1_is_read_for_ever(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"{FORMAT_1}\n")
    [found] = read_log(tmp_path / "log")
    assert (found.row, found.id, found.model, found.flags) == (1, "4f1c.0", "0de2d7149222", ("low_confidence",))
    assert found.time == datetime(2026, 11, 22, 17, 26, 6, 123000, tzinfo=UTC)
    assert found.describe[0] == 100.4
    assert np.isnan(found.describe[1])
    assert found.components == (0.5, 0, 0, 0, 0, 0, 0, -1e-07)


def changed(**more: Any) -> bytes:
    return json.dumps(line(**more)).encode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (FORMAT_1[:100].encode(), "cut in the middle"),
        (FORMAT_1[40:].encode(), "not JSON"),
        (b"\x00" * 300, "not JSON"),
        (b"\x1f\x8b\x08binary", "not JSON"),
        (b"GET / HTTP/1.1", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1, 2]", "no format number"),
        (b'{"id": "a"}', "no format number"),
        (changed(format=True), "no format number"),
        (changed(format=2), "newer estampa: format 2"),
        (changed(format=0), "no line of an estampa log of format 1"),
        (changed(picture="iVBOR"), "'picture'"),
        (changed(id=7), "texts"),
        (changed(id=""), "texts"),
        (changed(id="x" * 513), "texts"),
        (changed(time="yesterday"), "not a time"),
        (changed(time=None), "texts"),
        (changed(model="../../etc"), "not a model's hash"),
        (changed(output=0.5), "output is not a list"),
        (changed(output=["0.5"]), "output holds what is no number"),
        (changed(output=[True]), "output holds what is no number"),
        (changed(output=[10**400]), "output holds what is no number"),
        (changed(output=[[0.5]]), "output holds what is no number"),
        (FORMAT_1.replace("0.25", "NaN").encode(), "NaN is not JSON"),
        (FORMAT_1.replace("0.25", "1e999").encode(), "output holds what is no number"),
        (FORMAT_1.replace('"id":', '"id":"b","id":').encode(), "twice"),
        (changed(flags="low_confidence"), "flags"),
        (changed(flags=[1]), "flags"),
    ],
)  # fmt: skip
def test_a_foreign_line_is_named_by_its_row(text: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\n".join([FORMAT_1.encode(), b"", text, FORMAT_1.encode(), b""]))
    with pytest.raises(InputError, match=r"log, row 3: ") as told:
        list(read_log(path))
    assert why in str(told.value)
    faults: list[Fault] = []
    assert [found.row for found in read_log(path, faults.append)] == [1, 4]
    assert [fault.row for fault in faults] == [3]
    assert len(faults[0].why) < 500


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LONGEST", 1000)
    path = tmp_path / "log"
    path.write_bytes(FORMAT_1.encode() + b"\n" + b" " * 4321 + b"\n" + FORMAT_1.encode() + b"\n" + b"x" * 5000)
    faults: list[Fault] = []
    assert [found.row for found in read_log(path, faults.append)] == [1, 3]
    assert [(fault.row, fault.why) for fault in faults] == [
        (2, "longer than 1,000 bytes"),
        (4, "longer than 1,000 bytes"),
    ]


def test_an_empty_log_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\n  \n\r\n")
    assert list(read_log(tmp_path / "log")) == []


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match="not a regular file"):
            list(read_log(path))
        with pytest.raises(InputError, match="not a regular file"):
            LogWriter(path)
    with pytest.raises(InputError, match="no such log"):
        list(read_log(tmp_path / "nothing"))


# ---------------------------------------------------------------------------------------------- writing


def test_a_cut_tail_does_not_spoil_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(path)
    writer.append([line("a"), line("b"), line("c")])
    os.truncate(path, path.stat().st_size - 40)
    writer.append([line("d")])
    faults: list[Fault] = []
    assert [(found.row, found.id) for found in read_log(path, faults.append)] == [(1, "a"), (2, "b"), (4, "d")]
    assert [(fault.row, fault.why) for fault in faults] == [(3, "cut in the middle")]


def test_a_log_is_for_its_owner(tmp_path: Path) -> None:
    LogWriter(tmp_path / "new" / "log")
    assert stat.S_IMODE((tmp_path / "new" / "log").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["ñandú 🌌", 'quoted " \\ "id":"b"', "two\nlines", "lone \udc80 surrogate", "\x00"])
def test_any_id_stays_on_its_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    LogWriter(path).append([line(name), line("next")])
    assert ids(path) == [name, "next"]
    assert len(path.read_bytes().splitlines()) == 2
    assert log.forget([path], ["b"]).lines == 0
    assert log.forget([path], [name]).lines == 1
    assert ids(path) == ["next"]


def test_nothing_is_written_for_nothing(tmp_path: Path) -> None:
    assert LogWriter(tmp_path / "log").append([]) == 0
    assert (tmp_path / "log").read_bytes() == b""


def test_what_is_no_number_is_never_written(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "log")
    with pytest.raises(ValueError):
        writer.append([line("a"), line("b", output=[float("nan")])])
    assert (tmp_path / "log").read_bytes() == b""


def test_a_rotated_log_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(path)
    writer.append([line("a")])
    path.rename(tmp_path / "log.1")
    writer.append([line("b")])
    path.unlink()
    writer.append([line("c")])
    os.truncate(path, 0)  # as logrotate's copytruncate does
    writer.append([line("d")])
    writer.close()
    writer.append([line("e")])
    assert ids(tmp_path / "log.1") == ["a"]
    assert ids(path) == ["d", "e"]
    assert b"\x00" not in path.read_bytes()


def test_a_folder_that_goes_away_loses_lines_until_it_is_back(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "logs" / "log")
    (tmp_path / "logs").rename(tmp_path / "moved")
    with pytest.raises(StorageError, match="log: cannot be written"):
        writer.append([line("a"), line("b")])
    assert writer.append([line("c")]) == 0
    assert (writer.lost, writer.failing) == (3, True)
    (tmp_path / "logs").mkdir()
    assert writer.append([line("d")]) == 1
    assert (writer.lost, writer.failing) == (3, False)
    assert ids(tmp_path / "logs" / "log") == ["d"]


def test_a_name_that_leads_to_no_file_any_more_loses_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StorageError, match="log: not a regular file"):
        writer.append([line("a")])
    path.unlink()
    assert writer.append([line("b")]) == 1
    assert (writer.lost, ids(path)) == (1, ["b"])


def test_a_full_device_is_said_once() -> None:
    writer = LogWriter("/dev/full")
    with pytest.raises(StorageError, match="/dev/full: the disk is full"):
        writer.append([line()])
    assert writer.append([line(), line()]) == 0
    assert (writer.lost, writer.failing) == (3, True)


FULL = """
import resource, sys
from estampa.errors import StorageError
from estampa.monitor.log import LogWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
writer, line, told = LogWriter(sys.argv[1]), {line}, 0
for i in range(20):
    try:
        writer.append([line | {{"id": str(i)}}])
    except StorageError as error:
        told += 1
        assert "the disk is full" in str(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
lost = writer.lost
assert writer.append([line | {{"id": "room again"}}]) == 1
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
for i in range(20):
    try:
        writer.append([line | {{"id": str(i)}}])
    except StorageError:
        told += 1
print(told, lost, writer.lost)
"""


def test_a_full_disk_leaves_whole_lines_and_passes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    words = [sys.executable, "-c", FULL.format(line=repr(line())), str(path)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    told, lost, in_all = map(int, ended.stdout.split())
    found = ids(path)
    assert told == 2  # once each time that it became full
    assert 15 <= lost < 20
    assert found[: 21 - lost] == [*map(str, range(20 - lost)), "room again"]
    assert len(found) + in_all == 41  # what is not in the log was counted


def test_many_processes_and_threads_write_one_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    processes = [appending(path, str(k), 300) for k in range(3)]
    writer = LogWriter(path)

    def write(name: str) -> None:
        for i in range(100):
            writer.append([line(f"{name}-{i}"), line(f"{name}-{i}b")])

    threads = [threading.Thread(target=write, args=(name,)) for name in ("t", "u")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    found = ids(path)  # not one fault
    assert len(found) == len(set(found)) == 3 * 300 + 2 * 200
    for k in range(3):
        assert [name for name in found if name.startswith(f"{k}-")] == [f"{k}-{i}" for i in range(300)]


def test_a_fork_writes_through_a_handle_of_its_own(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "log")
    writer.append([line("parent")])
    before = writer._handle
    child = os.fork()
    if not child:
        code = 1
        try:
            writer.append([line("child")])
            code = int(writer._owner != os.getpid())
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    writer.append([line("parent again")])
    assert writer._handle == before
    assert ids(tmp_path / "log") == ["parent", "child", "parent again"]


def test_a_writer_that_is_killed_leaves_the_log_readable_and_free(tmp_path: Path) -> None:
    path = tmp_path / "log"
    process = appending(path, "k", 1_000_000)
    while not path.stat().st_size:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert LogWriter(path).append([line("after")]) == 1  # its lock went with it
    found = ids(path)
    assert found[-1] == "after"
    assert found[:-1] == [f"k-{i}" for i in range(len(found) - 1)]
