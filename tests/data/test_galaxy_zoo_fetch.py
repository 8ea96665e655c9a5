"""Builder galaxy_zoo with a server on 127.0.0.1 that drops, truncates, delays, stalls and errs."""

from __future__ import annotations

import csv
import hashlib
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import galaxies as made
import pytest

from estampa.data.builders import _download, _gz_fetch, _gz_files
from estampa.data.builders._gz_fetch import Pace, fetch_pictures
from estampa.data.builders._gz_files import CATALOGUE, IMAGES, MAP, locate, published
from estampa.data.dataset import Dataset
from estampa.data.read import build
from estampa.data.sources._picture import decode
from estampa.errors import DownloadError, InputError

pytest.importorskip("requests")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_download, "PAUSE", 0.001)
    monkeypatch.setattr(_download, "TIMEOUT", 0.3)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[made.Server]:
    with made.serve({f"/{1000 + i}.jpg": made.jpeg(i) for i in range(24)}) as state:
        yield state


def options_for(tmp_path: Path, server: made.Server) -> dict[str, str]:
    options = made.lay(tmp_path) | {"url": server.url + "/{asset_id}.jpg", "rate": "1000"}
    del options["images"]
    return options


def make(tmp_path: Path, options: dict[str, str], name: str = "set.h5") -> Dataset:
    return build("galaxy_zoo", tmp_path / name, builder_options=options)


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "downloads" / "galaxy-zoo").glob("pictures-*/*"))


def test_single_pictures_are_fetched_once(tmp_path: Path, server: made.Server) -> None:
    options = options_for(tmp_path, server)
    dataset = make(tmp_path, options)
    local = make(tmp_path, made.lay(tmp_path), "local.h5")
    assert dataset.content_sha256 == local.content_sha256
    assert len(server.asked) == 15
    make(tmp_path, options, "again.h5")
    assert len(server.asked) == 15


def test_a_server_that_misbehaves_is_asked_again(tmp_path: Path, server: made.Server) -> None:
    for i, words in enumerate((["drop"], ["cut"], ["late"], ["stall"], ["503", "429"], ["short"], ["page"], ["drop", "cut", "503"])):  # fmt: skip  # noqa: E501
        server.behave[f"/{1000 + i}.jpg"] = words
    wanted = {f"{1000 + i}.jpg": f"{server.url}/{1000 + i}.jpg" for i in range(24)}
    assert fetch_pictures(wanted, tmp_path / "in", 1000) == {}
    for i in range(24):
        assert (tmp_path / "in" / f"{1000 + i}.jpg").read_bytes() == made.jpeg(i)
    assert len(list((tmp_path / "in").iterdir())) == 24


def test_what_never_comes_is_listed_with_the_reason_and_never_kept(
    tmp_path: Path, server: made.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gz_fetch, "DEADLINE", 0.4)
    told = {
        "404": "the server answers 404", "503": "the server answers 503", "drop": "no connection",
        "cut": "the download broke off", "short": "what came is no whole picture: truncated JPEG",
        "page": "what came is no whole picture: not a picture", "stall": "the server stalls",
        "trickle": "the server stalls",
    }  # fmt: skip
    options = options_for(tmp_path, server) | {"n_train": "20", "n_test": "4"}
    for i, word in enumerate(told):
        server.behave[f"/{1000 + i}.jpg"] = [word] * 9
    dataset = make(tmp_path, options)
    assert dataset.n == 24 - len(told)
    with (tmp_path / "set.missing.csv").open(newline="") as stream:
        lines = {line["picture"]: line["reason"] for line in csv.DictReader(stream)}
    assert len(lines) == len(told)
    for i, reason in enumerate(told.values()):
        assert reason in lines[str(1000 + i)]
    kept = cached(tmp_path)
    assert len(kept) == 24 - len(told)
    for path in kept:
        decode(path.read_bytes(), "RGB", 10**6)
    assert server.asked.count("/1000.jpg") == 1  # 404 is an answer: not asked again
    assert server.asked.count("/1001.jpg") == _download.TRIES


def test_a_server_that_is_gone_is_given_up(tmp_path: Path, server: made.Server) -> None:
    server.behave["*"] = ["drop"] * 10_000
    with pytest.raises(DownloadError, match="the server gives no answer"):
        fetch_pictures({f"{i}.jpg": f"{server.url}/{i}.jpg" for i in range(200)}, tmp_path / "in", 1000)
    assert len(server.asked) < 200 * _download.TRIES
    assert not list((tmp_path / "in").iterdir())


def test_not_one_picture(tmp_path: Path, server: made.Server) -> None:
    server.files.clear()
    with pytest.raises(DownloadError, match=r"not one picture could be had.*answers 404"):
        make(tmp_path, options_for(tmp_path, server))


def test_requests_are_paced(tmp_path: Path, server: made.Server) -> None:
    wanted = {f"{1000 + i}.jpg": f"{server.url}/{1000 + i}.jpg" for i in range(12)}
    began = time.monotonic()
    fetch_pictures(wanted, tmp_path / "in", rate=40)
    assert time.monotonic() - began >= 11 / 40
    pace = Pace(1000)
    pace.stopped = True
    with pytest.raises(_gz_fetch._NotHad, match="stopped"):
        pace.wait()


def test_a_stopped_fetch_goes_on_with_what_is_not_there(
    tmp_path: Path, server: made.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gz_fetch, "GIVE_UP", 3)
    options = options_for(tmp_path, server)
    server.behave["*"] = [""] * 6 + ["drop"] * 1000
    with pytest.raises(DownloadError) as caught:
        make(tmp_path, options | {"n_train": "24", "n_test": "0"})
    assert "no answer" in str(caught.value)
    there, asked = len(cached(tmp_path)), len(server.asked)
    assert there > 0
    server.behave.clear()
    assert make(tmp_path, options | {"n_train": "24", "n_test": "0"}).n == 24
    assert len(server.asked) - asked == 24 - there


def test_an_asset_that_is_no_name_of_a_file(tmp_path: Path, server: made.Server) -> None:
    files = made.map_rows(24)
    for row in files:
        row[2] = f"../{row[2]}"
    options = options_for(tmp_path, server)
    made.table(tmp_path / "map.csv", made.MAP, files)
    with pytest.raises(InputError, match="is no name of a file"):
        make(tmp_path, options)


# ---------------------------------------------------------------------------------------------- the official files


@pytest.fixture
def official(tmp_path: Path) -> Iterator[made.Server]:
    """The three official files, small, in one folder of a server."""
    made.lay(tmp_path / "made")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in sorted((tmp_path / "made" / "images").iterdir()):
            archive.write(path, f"images/{path.name}")
    files = {
        f"/data/{CATALOGUE}": (tmp_path / "made" / "gz2.csv.gz").read_bytes(),
        f"/data/{MAP}": (tmp_path / "made" / "map.csv").read_bytes(),
        f"/data/{IMAGES}": (tmp_path / "images.zip").read_bytes(),
    }
    with made.serve(files) as state:
        yield state


NUMBERS = {"n_train": "10", "n_test": "5", "crop": "40"}


def test_all_three_files_are_fetched(tmp_path: Path, official: made.Server) -> None:
    official.behave = {f"/data/{MAP}": ["503"], f"/data/{IMAGES}": ["cut", "drop", "stall"]}
    dataset = make(tmp_path, NUMBERS | {"url": f"{official.url}/data"})
    assert dataset.content_sha256 == make(tmp_path, made.lay(tmp_path), "local.h5").content_sha256
    assert dataset.header.origin["from"].startswith(official.url)


def test_a_wrong_checksum_is_refused_and_nothing_kept(tmp_path: Path, official: made.Server) -> None:
    good = hashlib.md5(official.files[f"/data/{MAP}"]).hexdigest()
    options = NUMBERS | {"url": f"{official.url}/data", "md5": f"{MAP}={good}, {IMAGES}={'0' * 32}"}
    with pytest.raises(DownloadError, match="what came is not what was published"):
        make(tmp_path, options)
    assert not list((tmp_path / "cache").rglob(IMAGES + "*"))
    with pytest.raises(InputError, match="--option md5: not understood"):
        make(tmp_path, options | {"md5": "images_gz2.zip"})


def test_without_options_the_official_addresses_are_asked(
    tmp_path: Path, official: made.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The addresses themselves cannot be asked here: what is asked of them is, with their host exchanged."""
    assert all(url.startswith("https://") for url in _gz_files.OFFICIAL.values())
    sums = {name: "md5:" + hashlib.md5(official.files[f"/data/{name}"]).hexdigest() for name in (MAP, IMAGES)}
    record = {"files": [{"key": name, "checksum": value} for name, value in sums.items()]}
    official.files["/api"] = json.dumps(record).encode()
    monkeypatch.setattr(_gz_files, "RECORD", f"{official.url}/api")
    addresses = {name: f"{official.url}/data/{name}?zenodo" for name in (CATALOGUE, MAP, IMAGES)}
    monkeypatch.setattr(_gz_files, "OFFICIAL", addresses)
    places = locate({})
    assert [path.name for path in places.paths] == [IMAGES, CATALOGUE, MAP]
    official.files["/api"] = json.dumps({"files": [{"key": MAP, "checksum": "md5:" + "0" * 32}]}).encode()
    for path in places.paths:
        path.unlink()
    with pytest.raises(DownloadError, match="what came is not what was published"):
        locate({})


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"files": [{"key": 1}]}'])
def test_published_checksums_that_cannot_be_had(official: made.Server, answer: bytes) -> None:
    official.files["/api"] = answer
    with pytest.raises(DownloadError, match="the published checksums could not be had"):
        published(f"{official.url}/api")
