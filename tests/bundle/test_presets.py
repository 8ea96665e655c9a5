"""Objects travel in a bundle to be tried on it, as the model takes them, and the example of a request with them."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import made_tables
from estampa.bundle import example
from estampa.bundle.audit import REQUEST_LIMIT
from estampa.bundle.manifest import REQUEST
from estampa.bundle.presets import MOST, MOST_BYTES, Presets, chosen
from estampa.bundle.store import Bundle, pack
from estampa.data.record import ReadRecord
from estampa.errors import BundleError
from made_bundles import make, pictures


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("pictures") / "model")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return made_tables.make(tmp_path_factory.mktemp("table") / "model")


@pytest.fixture
def folder(whole: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole.folder, tmp_path / "model"))


def test_images_are_those_that_were_stored(whole: Bundle) -> None:
    presets = whole.presets()
    assert presets is not None
    assert presets.images is not None
    assert presets.rows is None
    seen = pictures(64)
    assert len(presets) == MOST
    for image, label, name in zip(presets.images, presets.labels, presets.ids, strict=True):
        row = int(name.split()[1])
        np.testing.assert_array_equal(image, seen[row])
        assert label == row % 2
    assert np.bincount(presets.labels).tolist() == [12, 12]
    assert np.isfinite(whole.score(presets.inputs).output).all()


def test_rows_are_raw_and_of_the_validation_part(table: Bundle) -> None:
    presets = table.presets()
    assert presets is not None
    assert presets.rows is not None
    values, labels = made_tables.galaxies(600)
    rows = np.array([int(name[1:]) for name in presets.ids])
    np.testing.assert_array_equal(presets.rows, values[rows])
    np.testing.assert_array_equal(presets.labels, labels[rows])
    assert set(presets.ids) <= set(table.held("validation")[0])
    assert np.bincount(presets.labels).tolist() == [12, 12]


def test_rows_that_get_no_answer_are_no_presets(tmp_path: Path) -> None:
    bundle = made_tables.make(tmp_path / "model", invalid="drop")
    presets = bundle.presets()
    assert presets is not None
    assert len(presets) == MOST
    assert np.isfinite(bundle.score(presets.inputs).output).all()


def test_pictures_that_get_no_answer_are_no_presets(tmp_path: Path) -> None:
    seen = pictures(64, dtype="float32")
    seen[1::2, 0, 0, 0] = np.nan  # all of one class
    seen[4] = np.nan
    zeroed = make(tmp_path / "a", dtype="float32", seen=seen).presets()
    refusing = make(tmp_path / "b", dtype="float32", seen=seen, nan="refuse").presets()
    assert zeroed is not None
    assert refusing is not None
    assert np.bincount(zeroed.labels).tolist()[1] == 12
    assert set(refusing.labels) == {0}
    assert np.isfinite(refusing.inputs).all()


@pytest.mark.parametrize(("size", "count"), [(1, MOST), (MOST_BYTES // 10, 10), (MOST_BYTES, 1), (MOST_BYTES + 1, 0)])
def test_fewer_are_kept_of_large_pictures(size: int, count: int) -> None:
    labels = np.arange(1000) % 3
    rows = chosen(labels, 3, size)
    assert len(rows) == count
    assert np.ptp(np.bincount(labels[rows], minlength=3)) <= 1


def test_a_class_with_few_objects_gives_all_it_has() -> None:
    labels = np.r_[np.zeros(500, int), 1, 1, 2]
    assert np.bincount(labels[chosen(labels, 3, 8)]).tolist() == [21, 2, 1]


def test_of_a_regression_the_labels_are_values(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model", classes=(), task="regression")
    presets = bundle.presets()
    assert presets is not None
    assert presets.labels.dtype == np.float32
    assert len(example.request(bundle)["images"]) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.zeros((24, 6, 6, 1), np.uint8)}, {"images": np.zeros((24, 6, 5, 1), np.uint16)},
        {"images": np.zeros((23, 6, 5, 1), np.uint8)}, {"labels": np.zeros((24, 2), np.int64)},
        {"ends": np.zeros(3, np.int64)}, {"images": None}, {"ids": np.full(400, 255, np.uint8)},
    ],
)  # fmt: skip
def test_presets_that_contradict_the_contract_are_refused(folder: Path, change: dict[str, Any]) -> None:
    arrays = Bundle.open(folder).tensors("presets") | change
    (folder / "presets.safetensors").write_bytes(pack({k: v for k, v in arrays.items() if v is not None}))
    resign(folder)
    with pytest.raises(BundleError, match=r"presets"):
        Bundle.open(folder).presets()


# ------------------------------------------------------------------------------------------------ the example


def of_json(bundle: Bundle, body: dict[str, Any]) -> np.ndarray:
    """The images or rows of a body, as who answers reads them."""
    if "rows" in body:
        return np.array([[row[name] for name in bundle.table.column_names] for row in body["rows"]], np.float64)
    if "pictures" in body:
        return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(p)))) for p in body["pictures"]])
    return np.array(body["images"], np.float64).astype(bundle.contract.dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_request_holds_two_presets_to_the_last_bit(tmp_path: Path, dtype: str) -> None:
    seen = pictures(64, dtype=dtype)
    if dtype == "float32":
        seen[:, 2, 3] = np.nan
    bundle = make(tmp_path / "model", dtype=dtype, seen=seen)
    body, presets = json.loads((bundle.folder / REQUEST).read_text()), bundle.presets()
    assert presets is not None
    assert example.request(bundle) == body
    assert set(body) == {"images", "ids"}
    rows = [presets.ids.tolist().index(name) for name in body["ids"]]
    np.testing.assert_array_equal(of_json(bundle, body), presets.inputs[rows])
    assert sorted(presets.labels[rows]) == [0, 1]
    assert example.classify(bundle) == {"image": body["images"][0]}


def test_the_request_of_a_table_names_columns(table: Bundle) -> None:
    body, presets = example.request(table), table.presets()
    assert presets is not None
    assert set(body) == {"rows", "ids"}
    assert list(body["rows"][0]) == list(table.table.column_names)
    rows = [presets.ids.tolist().index(name) for name in body["ids"]]
    np.testing.assert_array_equal(of_json(table, body), presets.inputs[rows])
    assert example.classify(table) == body["rows"][0]


def test_large_pictures_are_png(tmp_path: Path) -> None:
    shape = (200, 180, 3)
    seen = pictures(4, (20, 18, 3)).repeat(10, axis=1).repeat(10, axis=2)
    bundle = make(tmp_path / "model", shape=shape, seen=seen)
    body, presets = example.request(bundle), bundle.presets()
    assert presets is not None
    assert set(body) == {"pictures", "ids"}
    np.testing.assert_array_equal(of_json(bundle, body), presets.inputs[[0, 1]])
    assert (bundle.folder / REQUEST).stat().st_size < example.SHORT
    assert example.classify(bundle) == {"picture": body["pictures"][0]}


def test_a_picture_that_reading_would_cut_is_no_png(tmp_path: Path) -> None:
    """A model of the middle of larger pictures takes its own pixels as lists alone."""
    seen = pictures(4, (20, 18, 3)).repeat(10, axis=1).repeat(10, axis=2)
    read = ReadRecord(source="folder", mode="RGB", crop=400, size=(200, 180))
    bundle = make(tmp_path / "model", shape=(200, 180, 3), seen=seen, read=read)
    assert set(example.request(bundle)) == {"images", "ids"}
    assert len(example.request(bundle)["ids"]) == 1
    assert example.SHORT < (bundle.folder / REQUEST).stat().st_size < REQUEST_LIMIT


def test_of_two_objects_that_are_long_together_one_is_kept(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model", shape=(200, 200, 1), dtype="uint16", seen=pictures(4, (200, 200, 1), "uint16"))
    assert len(example.request(bundle)["images"]) == 1
    assert (bundle.folder / REQUEST).stat().st_size < example.SHORT


def test_what_json_cannot_hold_has_no_example(tmp_path: Path) -> None:
    seen = np.zeros((4, 400, 400, 1), np.float32)
    seen[:] = np.float32(np.pi)
    bundle = make(tmp_path / "model", shape=(400, 400, 1), dtype="float32", seen=seen)
    assert REQUEST not in bundle.manifest.files
    assert example.request(bundle) == example.classify(bundle) == {}
    assert "application/x-npy" in example.curl(bundle)[0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_without_presets_values_are_made_up_and_it_is_said(tmp_path: Path, dtype: str) -> None:
    bundle = make(tmp_path / "model", dtype=dtype, presets=False)
    assert bundle.presets() is None
    assert "presets.safetensors" not in bundle.manifest.files
    body = json.loads((bundle.folder / REQUEST).read_text())
    assert "Made up" in body["about"]
    images, pixels = of_json(bundle, body), bundle.pictures.range
    assert images.min() >= min(pixels.minimum)
    assert images.max() <= max(pixels.maximum)
    assert images.max() > 0.5 * max(pixels.high)
    assert np.isfinite(bundle.score(images).output).all()
    assert "to try it on:** none" in (bundle.folder / "README.md").read_text()


def test_without_presets_a_table_has_values_between_low_and_high(tmp_path: Path) -> None:
    bundle = made_tables.make(tmp_path / "model", gallery=False)
    assert bundle.presets() is None
    rows = of_json(bundle, example.request(bundle))
    low, high = (np.array([getattr(c, k) for c in bundle.table.columns]) for k in ("low", "high"))
    assert ((rows > low) & (rows < high)).all()
    assert "Made up" in example.request(bundle)["about"]


def test_an_older_bundle_opens_and_makes_its_example_up() -> None:
    bundle = Bundle.open(Path(__file__).parent / "formats" / "1")
    assert REQUEST not in bundle.manifest.files
    assert bundle.presets() is None
    body = example.request(bundle)
    assert "Made up" in body["about"]
    assert np.isfinite(bundle.score(of_json(bundle, body)).output).all()


# ------------------------------------------------------------------------------------------------ hostile until read


def resign(folder: Path) -> None:
    path = folder / "bundle.json"
    tree = json.loads(path.read_text())
    for name in tree["files"]:
        data = (folder / name).read_bytes()
        tree["files"][name] = {"size": len(data), "sha256": sha256(data).hexdigest()}
    path.write_text(json.dumps(tree))


def refused(folder: Path, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        Bundle.open(folder)


@pytest.mark.parametrize("name", ["other.json", ".hidden", "request.json.bak"])
def test_another_file_beside_the_example_is_refused(folder: Path, name: str) -> None:
    (folder / "examples" / name).write_text("{}")
    refused(folder, f"examples/{name}")


def test_a_folder_within_the_examples_is_refused(folder: Path) -> None:
    (folder / "examples" / "deeper").mkdir()
    refused(folder, "examples/deeper")


def test_an_empty_folder_of_examples_is_refused_where_none_is_listed(folder: Path) -> None:
    tree = json.loads((folder / "bundle.json").read_text())
    del tree["files"][REQUEST]
    (folder / "bundle.json").write_text(json.dumps(tree))
    refused(folder, "does not list")
    (folder / REQUEST).unlink()
    refused(folder, "does not list")
    (folder / "examples").rmdir()
    assert Bundle.open(folder).presets() is not None


def test_links_are_refused(folder: Path) -> None:
    (folder / "examples").rename(folder.parent / "elsewhere")
    (folder / "examples").symlink_to(folder.parent / "elsewhere")
    refused(folder, "symbolic link")
    (folder / "examples").unlink()
    (folder / "examples").mkdir()
    (folder / REQUEST).symlink_to(folder.parent / "elsewhere" / "request.json")
    refused(folder, "symbolic link")
    (folder / REQUEST).unlink()
    os.mkfifo(folder / REQUEST)
    refused(folder, "not a regular file")


def test_a_file_in_the_place_of_the_folder_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "examples")
    (folder / "examples").write_text("{}")
    refused(folder, "not a folder")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("[]", "not the example"),
        ("{}", "not the example"),
        ('{"images": [], "ids": []}', "not the example"),
        ('{"images": [[1]], "ids": ["a", "b"]}', "not the example"),
        ('{"images": [[1]], "ids": [1]}', "not the example"),
        ('{"images": [[1]]}', "not the example"),
        ('{"images": [1], "ids": ["a"]}', "not the example"),
        ('{"rows": [{"a": 1}], "ids": ["a"]}', "not the example"),
        ('{"images": [[1]], "pictures": ["x"], "ids": ["a"]}', "not the example"),
        ('{"images": [[1]], "ids": ["a"], "url": "http://example.org"}', "not the example"),
        ('{"images": [[1]], "ids": ["a"], "about": 3}', "not the example"),
        ('{"images": [[NaN]], "ids": ["a"]}', "NaN"),
        ('{"images": [[1]], "images": [[1]], "ids": ["a"]}', "twice"),
        ('{"images": ' + "[" * 100_000, "not valid JSON"),
        (" " * (REQUEST_LIMIT + 1), "too large"),
    ],
)
def test_what_is_no_example_is_refused(folder: Path, text: str, words: str) -> None:
    (folder / REQUEST).write_text(text)
    resign(folder)
    refused(folder, words)


# ------------------------------------------------------------------------------------------------ the command lines


@pytest.fixture(scope="module")
def echo() -> Any:
    """A server that keeps what it is sent."""
    got: list[tuple[str, str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.kept()

        def do_GET(self) -> None:
            self.kept()

        def kept(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            got.append((self.command, self.path, self.headers.get("Content-Type", ""), body))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    server.server_close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("kind", ["pictures", "large", "table", "names"])
def test_the_lines_send_the_example(echo: Any, whole: Bundle, table: Bundle, tmp_path: Path, kind: str) -> None:
    url, got = echo
    bundle = {"pictures": whole, "table": table}.get(kind)
    if kind == "large":
        bundle = make(tmp_path / "model", shape=(60, 60, 1), seen=pictures(8, (60, 60, 1)))
    if kind == "names":
        columns = ("it's", '"$HOME"', "`id`", "a b;\\", "ñ\nö", "ab")
        bundle = made_tables.make(tmp_path / "model", columns=columns)
    assert bundle is not None
    got.clear()
    lines = example.curl(bundle, url + "/")
    for line in lines:
        subprocess.run(["bash", "-ec", "set -o pipefail; " + line], cwd=bundle.folder, check=True, timeout=20)
    assert [(verb, path) for verb, path, *_ in got] == [
        ("POST", "/classify"), ("POST", "/v1/predict"), ("GET", "/v1/model"),
    ]  # fmt: skip
    assert [kind for *_, kind, _ in got[:2]] == ["application/json"] * 2
    assert json.loads(got[0][3]) == example.classify(bundle)
    assert json.loads(got[1][3]) == example.request(bundle)
    card = (bundle.folder / "README.md").read_text()
    for line in example.curl(bundle):
        assert line in card.splitlines()


def test_the_card_says_what_travels(table: Bundle, whole: Bundle) -> None:
    assert "24 objects of the validation part with their labels" in (table.folder / "README.md").read_text()
    assert "## Ask it as a service" in (whole.folder / "README.md").read_text()


def test_presets_of_nothing_are_none() -> None:
    some = Presets(np.arange(3), np.array(["a", "b", "c"]), rows=np.zeros((3, 2)))
    assert some.kept(np.zeros(3, bool)) is None
    part = some.kept(np.array([2]))
    assert part is not None
    assert part.ids.tolist() == ["c"]
