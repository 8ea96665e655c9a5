"""Pictures fetched one by one: paced, retried, and kept only when they are whole.

A picture is in the folder when it was decoded to its end; what a server cut off, or wrote in a picture's place, is
never left under a picture's name. So a run that was stopped goes on with those that are not there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from estampa import machine
from estampa.data.builders import _download
from estampa.data.builders._download import retry_after
from estampa.data.sources._picture import Unreadable, decode
from estampa.errors import DownloadError, Interrupted
from estampa.files import storage_errors, write_atomic
from estampa.progress import SILENT, Progress

WORKERS = 4
DEADLINE = 120.0  #: seconds for one picture: a server that sends a byte now and then is given up, too
MOST_BYTES = 1 << 24
MOST_PIXELS = 64_000_000
GIVE_UP = 20  #: pictures in a row without any answer: the server is gone


@dataclass
class Pace:
    """Lets at most `rate` requests a second begin, whoever asks; and none once it is `stopped`."""

    rate: float
    stopped: bool = False
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        """Sleep until it is one's turn."""
        with self._lock:
            now = time.monotonic()
            mine = max(now, self._next)
            self._next = mine + 1 / self.rate
        time.sleep(mine - now)
        self.check()

    def check(self) -> None:
        """Raise when the work was stopped."""
        if self.stopped:
            raise _NotHad("stopped")


class _NotHad(Exception):  # noqa: N818 - never leaves this file: it becomes a reason in the list of missing galaxies
    """Why a picture could not be had; `silent`: no answer came at all."""

    def __init__(self, reason: str, silent: bool = False) -> None:
        super().__init__(reason)
        self.silent = silent


def fetch_pictures(wanted: Mapping[str, str], folder: Path, rate: float, progress: Progress = SILENT) -> dict[str, str]:
    """Bring every picture into `folder`; gives the reason for each one that could not be had.

    Parameters
    ----------
    wanted : file name -> address.
    rate : requests a second at most, over all threads.

    Raises DownloadError when the server gives no answer for 20 pictures in a row, StorageError when the disk is full,
    Interrupted on Ctrl-C; what came is kept.
    """
    machine.require("train", "requests", needed_for="fetching pictures")
    folder.mkdir(parents=True, exist_ok=True)
    open_ = {name: url for name, url in wanted.items() if not (folder / name).is_file()}
    pace, reasons, silent, done = Pace(rate), dict[str, str](), 0, len(wanted) - len(open_)
    pool = ThreadPoolExecutor(WORKERS, "fetch")
    progress.start("fetching pictures", len(wanted), "pictures")
    progress.advance(done)
    todo = iter(open_.items())
    running: dict[Future[None], str] = {}
    try:
        while True:
            while len(running) < 2 * WORKERS and (item := next(todo, None)):
                running[pool.submit(_fetch, item[1], folder / item[0], pace)] = item[0]
            if not running:
                return reasons
            for task in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(task)
                error = task.exception()
                if error is not None and not isinstance(error, _NotHad):
                    raise error
                silent = silent + 1 if error is not None and error.silent else 0
                if error is not None:
                    reasons[name] = str(error)
                if silent >= GIVE_UP:
                    raise DownloadError(
                        f"the server gives no answer ({GIVE_UP} pictures in a row)", where=wanted[name],
                        got=str(error), cure="What came is kept; run it again to go on",
                    )  # fmt: skip
                done += 1
                progress.advance()
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; {done - len(reasons):,} of {len(wanted):,} pictures are there", where=folder,
            cure="Run the same command again to go on from there.",
        ) from None  # fmt: skip
    finally:
        pace.stopped = True
        pool.shutdown(wait=True, cancel_futures=True)
        progress.finish()


def _fetch(url: str, target: Path, pace: Pace) -> None:
    """Write one whole picture to `target`, in up to TRIES tries; raises _NotHad with the last try's reason."""
    import requests

    problem = _NotHad("not tried")
    for number in range(_download.TRIES):
        pace.wait()
        waits = 0.0
        try:
            data = _get(url, pace)
            decode(data, "RGB", MOST_PIXELS)
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            problem = _NotHad(f"the server answers {status}")
            if status < 500 and status != 429:
                raise problem from error
            waits = retry_after(error.response)
        except requests.Timeout:
            problem = _NotHad("the server stalls", silent=True)
        except (requests.exceptions.ChunkedEncodingError, EOFError):
            problem = _NotHad("the download broke off")
        except requests.RequestException as error:
            problem = _NotHad(f"no connection ({type(error).__name__})", silent=True)
        except Unreadable as error:
            problem = _NotHad(f"what came is no whole picture: {error}")
        else:
            with storage_errors(target):
                write_atomic(target, data)
            return
        if number + 1 < _download.TRIES:
            time.sleep(max(waits, _download.PAUSE * 2**number))
    raise problem


def _get(url: str, pace: Pace) -> bytes:
    """The body of an answer, whole by its announced length; requests.Timeout after DEADLINE seconds in all."""
    import requests

    ends = time.monotonic() + DEADLINE
    received = bytearray()
    with requests.get(url, headers={"Accept-Encoding": "identity"}, stream=True, timeout=_download.TIMEOUT) as answer:
        answer.raise_for_status()
        for block in _blocks(answer):
            received += block
            pace.check()
            if len(received) > MOST_BYTES:
                raise _NotHad(f"more than {MOST_BYTES >> 20} MiB for one picture")
            if time.monotonic() > ends:
                raise requests.Timeout(f"not there after {DEADLINE:.0f} s")
        announced = answer.headers.get("Content-Length", "")
    if announced.isdecimal() and len(received) < int(announced):
        raise EOFError(f"{len(received):,} of {int(announced):,} bytes came")
    return bytes(received)


def _blocks(answer: Any) -> Any:
    """Pieces as they come: `iter_content` would wait for a full block, which a trickle never fills."""
    import requests
    import urllib3

    read = getattr(answer.raw, "read1", answer.raw.read)  # urllib3 1 has no read1
    try:
        while block := read(1 << 16):
            yield block
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.Timeout(str(error)) from error
    except urllib3.exceptions.HTTPError as error:
        raise EOFError(str(error)) from error
