"""One file from the network: resumed, retried, and kept only when its checksum is the published one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from estampa import machine
from estampa.errors import DownloadError, InputError
from estampa.files import storage_errors
from estampa.progress import SILENT, Progress

TRIES = 4
TIMEOUT = 30  #: seconds without an answer
PAUSE = 0.5  #: seconds before the second try; doubled for each further one
LONGEST = 60.0  #: seconds that a server may ask to be left alone for
_BLOCK = 1 << 16
T = TypeVar("T")


def require_http(url: str, where: str) -> None:
    """Refuse an address that is no http or https at once: no try would help. InputError."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https") or not rest:
        raise InputError(
            "is no address to fetch from", where=where, allowed="http://... or https://...", got=repr(url),
            cure="Fetch it yourself and name the files, or give the address of a web server.",
        )  # fmt: skip


def download(
    url: str,
    name: str,
    checksum: str,
    folder: Path,
    progress: Progress = SILENT,
    *,
    cure: str = "Try again later, or give another address with --option url=...",
) -> Path:
    """Return the path of `name` in `folder`, fetched from `url` unless it is there with the right checksum.

    What an interrupted download left is kept as `NAME.partial` and continued, when the server can. Raises
    DownloadError, with `cure`, when the server refuses or stays silent, or when the checksum (MD5 in hexadecimal, or
    "sha256:" and that) is wrong: then nothing of it is kept, and an earlier file stays. Without a checksum ("", none is
    published) the length that the server announced must have come.
    """
    machine.require("train", "pooch", needed_for=f"downloading {name}")
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.partial"

    def fetch(address: str, output: str | Path, _: Any) -> None:
        _fetch(address, partial, progress)
        with storage_errors(folder):
            partial.replace(output)

    kind, _, digest = checksum.rpartition(":")
    wanted = f"{kind or 'md5'}:{digest}" if digest else None
    try:
        found = pooch.retrieve(url, known_hash=wanted, fname=name, path=folder, downloader=fetch)
    except ValueError as error:  # pooch's word for a wrong checksum; it has removed the file
        raise DownloadError(
            "what came is not what was published",
            where=url,
            allowed=f"{(kind or 'md5').upper()} {digest}",
            got=str(error).rstrip("."),
            cure=cure,
        ) from error
    return Path(found)


def _fetch(url: str, partial: Path, progress: Progress) -> None:
    """Bring `partial` to the whole file, in up to TRIES tries that each go on where the last one stopped."""
    try:
        persistent(url, lambda: _continue(url, partial, progress), progress)
    except Refused:
        partial.unlink(missing_ok=True)
        raise


class Refused(DownloadError):  # noqa: N818 - an answer
    """The server answered, and will not give it: no further try would help."""


def persistent(url: str, once: Callable[[], T], progress: Progress = SILENT) -> T:
    """What `once` gives, in up to TRIES tries with growing pauses between; DownloadError, or Refused at a refusal."""
    import requests

    for number in range(1, TRIES + 1):
        try:
            return once()
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            if status < 500 and status != 429:
                raise Refused(f"the server answers {status}", where=url, cure="Check the address") from error
            problem: Exception = error
            waits = retry_after(error.response)
        except (requests.RequestException, EOFError) as error:
            problem, waits = error, 0.0
        if number < TRIES:
            progress.say(f"{url}: {type(problem).__name__}, try {number + 1} of {TRIES}")
            time.sleep(max(waits, PAUSE * 2 ** (number - 1)))
    raise DownloadError(
        f"failed {TRIES} times", where=url, got=str(problem), cure="What came is kept; run it again to go on"
    ) from problem


def retry_after(response: Any) -> float:
    """Seconds that a server asks to be left alone for (RFC 9110, 10.2.3), at most LONGEST; 0 when it does not say."""
    text = "" if response is None else response.headers.get("Retry-After", "")
    return min(float(text), LONGEST) if text.isdecimal() else 0.0


def _continue(url: str, partial: Path, progress: Progress) -> None:
    import requests

    there = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:  # what is there is as long as the file or longer: begin again
            partial.unlink()
            raise EOFError("the partial file was not a part of it")
        response.raise_for_status()
        resumed = response.status_code == 206
        length = int(response.headers.get("Content-Length", -1))
        total = length + (there if resumed else 0) if length >= 0 else None
        progress.start(f"fetching {partial.stem}", total, "bytes")
        try:
            with storage_errors(partial), partial.open("ab" if resumed else "wb") as stream:
                _copy(response, stream, progress)
        finally:
            progress.finish()
    if total is not None and partial.stat().st_size < total:
        raise EOFError(f"{partial.stat().st_size:,} of {total:,} bytes came")


def _copy(response: Any, stream: IO[bytes], progress: Progress) -> None:
    for block in response.iter_content(_BLOCK):
        stream.write(block)
        progress.advance(len(block))
