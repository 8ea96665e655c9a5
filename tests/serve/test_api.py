"""The API: every route, every form of a body, and the same numbers as `estampa predict`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import Client, client, npy_bytes, npz_bytes, picture_bytes, problem, words_of

import made_tables
from estampa import machine
from estampa.bundle.store import Bundle
from estampa.data.record import ReadRecord
from estampa.predict import Predictions, predict
from estampa.serve.bodies import TYPES
from made_bundles import make, pictures

NPY, PREDICT = "application/x-npy", "/v1/predict"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def grey(folder: Path) -> Bundle:
    return make(folder / "grey", thresholds={"confidence": 0.55})


@pytest.fixture(scope="module")
def table(folder: Path) -> Bundle:
    return made_tables.make(folder / "table" / "model", n=200)


@pytest.fixture(scope="module")
def ask(grey: Bundle) -> Iterator[Client]:
    with client(grey) as one:
        yield one


@pytest.fixture(scope="module")
def rows(table: Bundle) -> Iterator[Client]:
    with client(models=words_of(table=table)) as one:
        yield one


def posted(one: Client, data: bytes, kind: str, path: str = PREDICT, **headers: str) -> Any:
    return one.post(path, content=data, headers={"Content-Type": kind, **headers})


def same(answers: list[dict[str, Any]], expected: Predictions, ids: bool = True) -> None:
    """That the answers are those of `estampa predict`, to the last digit."""
    assert len(answers) == len(expected)
    flags = [";".join(one["flags"]) for one in answers]
    assert flags == expected.flags.tolist()
    assert {one["model"] for one in answers} == {expected.model}
    if ids:
        assert [one["id"] for one in answers] == expected.ids.tolist()
    if expected.probabilities is None:
        found = np.array([np.nan if one["predicted"] is None else one["predicted"] for one in answers], np.float32)
        assert np.array_equal(found, expected.predicted, equal_nan=True)
        assert all("probability" not in one for one in answers)
        return
    assert [one["predicted"] or "" for one in answers] == expected.predicted.tolist()
    for one, row in zip(answers, expected.probabilities, strict=True):
        if one["predicted"] is None:
            assert one["probability"] is one["probabilities"] is None
            continue
        assert tuple(one["probabilities"]) == expected.classes
        assert np.array_equal(np.array(list(one["probabilities"].values()), np.float32), row)
        assert one["probability"] == one["probabilities"][one["predicted"]]


# ---------------------------------------------------------------------- the same numbers


@pytest.mark.parametrize(
    ("dtype", "shape", "more"),
    [
        ("uint8", (6, 5, 1), {}), ("uint8", (4, 7, 3), {"classes": ("a", "b", "c")}),
        ("uint8", (6, 5, 1), {"thresholds": {"decision": 0.3, "confidence": 0.6}}),
        ("uint16", (5, 5, 1), {}), ("float32", (6, 5, 2), {}), ("float32", (6, 5, 1), {"nan": "refuse"}),
        ("uint8", (6, 5, 1), {"task": "regression", "classes": ()}),
        ("float32", (6, 5, 1), {"task": "regression", "classes": ()}),
    ],
)  # fmt: skip
def test_pictures_get_the_numbers_of_predict(
    dtype: str, shape: tuple[int, int, int], more: dict[str, Any], tmp_path: Path
) -> None:
    bundle = make(tmp_path / "shapes" / "model", dtype=dtype, shape=shape, **more)
    images = pictures(700, shape, dtype, seed=3)  # more than one batch of the queue
    if dtype == "float32":
        images[3, 0, 0, 0], images[5], images[9] = np.nan, np.nan, 40.0
    expected = predict(bundle, images)
    with client(bundle, threads=2) as one:
        for body, kind in ((npy_bytes(images), NPY), (npz_bytes(images=images), "application/x-npz")):
            answer = posted(one, body, kind)
            assert answer.status_code == 200, answer.text[:300]
            told = answer.json()
            assert set(told) == {"request_id", "model", "name", "answers"}
            assert told["name"] == "shapes"
            same(told["answers"], expected)
        listed = images[:12].astype(object)
        listed[np.isnan(images[:12].astype(float))] = None
        same(one.post(PREDICT, json={"images": listed.tolist()}).json()["answers"], predict(bundle, images[:12]))
        single = one.post("/classify", json={"image": images[0].tolist()})
        same([single.json()], predict(bundle, images[:1]))
        threshold = bundle.thresholds.decision
        if bundle.task == "classification":
            assert single.json()["threshold"] == (threshold or (0.5 if len(bundle.classes) == 2 else None))


@pytest.mark.parametrize("invalid", ["impute", "drop"])
def test_tables_get_the_numbers_of_predict(invalid: str, tmp_path: Path) -> None:
    bundle = made_tables.make(tmp_path / "made" / "model", n=200, invalid=invalid)
    values, _ = made_tables.galaxies(300, seed=5, failed=0.1)
    values[7] = -9999
    names = made_tables.COLUMNS
    expected = predict(bundle, values)
    assert 0 < expected.bad < len(expected)
    records = [{k: None if v != v else v for k, v in zip(names, row, strict=True)} for row in values.tolist()]
    mixed = [{"other": "text", **dict(reversed(one.items()))} for one in records]
    named = np.array([tuple(row) for row in values.tolist()], [(name, "f8") for name in names])
    text = "\n".join([",".join(names), *(",".join("" if v is None else repr(v) for v in r.values()) for r in records)])
    with client(bundle) as one:
        for body in (records, mixed):
            same(one.post(PREDICT, json={"rows": body}).json()["answers"], expected)
        for array in (values, named):
            same(posted(one, npy_bytes(array), NPY).json()["answers"], expected)
        same(posted(one, npz_bytes(rows=values), "application/x-npz").json()["answers"], expected)
        same(posted(one, text.encode(), "text/csv").json()["answers"], expected, ids=False)
        same(posted(one, text.replace(",", "\t").encode(), "text/tab-separated-values").json()["answers"], expected,
             ids=False)  # fmt: skip
        good = int(np.flatnonzero(expected.predicted != "")[0])
        same([one.post("/classify", json=records[good]).json()], predict(bundle, values[[good]]), ids=False)
        told = problem(one.post("/classify", json=records[7]), "no-answer")
        assert "no valid value" in told


def test_parquet_gets_the_numbers_of_predict(rows: Client, table: Bundle, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    values, _ = made_tables.galaxies(50, seed=6)
    path = tmp_path / "galaxies.parquet"
    pq.write_table(pa.table({name: values[:, i] for i, name in enumerate(made_tables.COLUMNS)}), path)
    expected = predict(table, path)
    for kind in ("application/vnd.apache.parquet", "application/octet-stream", ""):
        same(posted(rows, path.read_bytes(), kind).json()["answers"], expected)
    form = rows.post(PREDICT, files={"files": ("stars.parquet", path.read_bytes())})
    same(form.json()["answers"], expected)


def test_fits_gets_the_numbers_of_predict(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    images = pictures(3, (8, 8, 1), "float32", seed=2)
    path = tmp_path / "one.fits"
    fits.PrimaryHDU(images[0, ..., 0]).writeto(path)
    bundle = make(tmp_path / "model", shape=(8, 8, 1), dtype="float32", read=ReadRecord(source="fits"))
    expected = predict(bundle, path)
    with client(bundle) as one:
        for kind in ("application/fits", "image/fits", "application/octet-stream"):
            answer = posted(one, path.read_bytes(), kind)
            assert answer.status_code == 200, answer.text
            same(answer.json()["answers"], expected, ids=False)
        found = problem(posted(one, picture_bytes(pictures(1)[0]), "image/png"), "media")
        assert ".npy" in found


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "tiff", "gif"])
def test_pictures_in_files_get_the_numbers_of_predict(form: str, tmp_path: Path) -> None:
    shape = (16, 16, 3)
    bundle = make(tmp_path / "model", shape=shape, read=ReadRecord(source="folder", mode="RGB", size=(16, 16)))
    files = [(f"p{i}.{form}", picture_bytes(image, form)) for i, image in enumerate(pictures(4, shape, seed=8))]
    for name, data in files:
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / name).write_bytes(data)
    expected = predict(bundle, tmp_path / "files")
    with client(bundle) as one:
        many = one.post(PREDICT, files=[("files", (name, data)) for name, data in files]).json()
        same(many["answers"], expected)
        texts = [base64.b64encode(data).decode() for _, data in files]
        body = {
            "pictures": [texts[0], f"data:image/{form};base64,{texts[1]}", *texts[2:]],
            "ids": expected.ids.tolist(),
        }
        same(one.post(PREDICT, json=body).json()["answers"], expected)
        for kind in (f"image/{form}", "application/octet-stream"):
            first = posted(one, files[0][1], kind).json()["answers"]
            assert first[0]["probabilities"] == many["answers"][0]["probabilities"]
        alone = one.post("/classify", json={"picture": texts[0], "id": "mine"}).json()
        assert alone["probabilities"] == many["answers"][0]["probabilities"]
        assert alone["id"] == "mine"


# ---------------------------------------------------------------------- what is not read, or not here


@pytest.mark.parametrize(
    ("kind", "module"), [("application/fits", "astropy"), ("application/vnd.apache.parquet", "pyarrow")]
)
def test_a_missing_extra_is_415(ask: Client, kind: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there = machine.installed
    monkeypatch.setattr(machine, "installed", lambda *names: module not in names and there(*names))
    answer = posted(ask, b"SIMPLE  = x" if module == "astropy" else b"PAR1", kind)
    assert "pip install 'estampa[" in problem(answer, "media")


@pytest.mark.parametrize(
    "kind", ["text/html", "application/xml", "application/pdf", "video/mp4", "*/*", "json", "a" * 500]
)
def test_other_types_are_415(ask: Client, kind: str) -> None:
    assert "application/json" in problem(posted(ask, b"x", kind), "media")
    problem(posted(ask, b"{}", kind, "/classify"), "media")


def test_bytes_of_no_kind_are_415(ask: Client) -> None:
    for data in (b"abc", b"\0" * 100, b"%PDF-1.7", b"MZ", b"\x7fELF"):
        problem(posted(ask, data, "application/octet-stream"), "media", "first bytes")


@pytest.mark.parametrize("kind", [*TYPES, "application/json", "application/octet-stream", "", "multipart/form-data"])
def test_an_empty_body_is_400(ask: Client, kind: str) -> None:
    problem(posted(ask, b"", kind), "not-understood")


def test_a_table_is_not_asked_with_pictures(rows: Client, ask: Client) -> None:
    png = picture_bytes(pictures(1)[0])
    problem(posted(rows, png, "image/png"), "contract", "rows of a table")
    problem(rows.post(PREDICT, json={"images": [[[1]]]}), "contract", "rows")
    problem(rows.post(PREDICT, files={"files": ("a.png", png)}), "contract")
    problem(ask.post(PREDICT, json={"rows": [{"a": 1}]}), "contract", "was fed pictures")
    named = np.zeros(2, [("a", "f4")])
    problem(posted(ask, npy_bytes(named), NPY), "contract", "named columns")


def test_wrong_shapes_types_and_scales_name_both(ask: Client, rows: Client) -> None:
    problem(posted(ask, npy_bytes(np.zeros((2, 7, 5, 1), np.uint8)), NPY), "contract", "6", "7")
    problem(posted(ask, npy_bytes(np.zeros((2, 6, 5, 3), np.uint8)), NPY), "contract")
    problem(posted(ask, npy_bytes(np.zeros((0, 6, 5, 1), np.uint8)), NPY), "contract")
    problem(posted(ask, npy_bytes(np.uint8(3)), NPY), "contract")
    problem(posted(ask, npy_bytes(np.full((1, 6, 5, 1), 0.5)), NPY), "contract", "uint8")
    problem(posted(ask, npy_bytes(np.full((1, 6, 5, 1), 256)), NPY), "contract", "255")
    problem(posted(ask, npy_bytes(np.full((1, 6, 5, 1), -1)), NPY), "contract")
    problem(posted(ask, npy_bytes(np.full((1, 6, 5, 1), 2, np.complex64)), NPY), "unreadable")
    problem(rows.post(PREDICT, json={"rows": [{"mag_u": 1}]}), "contract", "mag_g")
    problem(posted(rows, npy_bytes(np.zeros((2, 5))), NPY), "contract", "mag_u")
    problem(posted(rows, b"a,b\n1,2\n", "text/csv"), "contract", "mag_u")


def test_other_integers_and_byte_orders_are_taken(ask: Client, grey: Bundle) -> None:
    images = pictures(4, seed=9)
    expected = predict(grey, images)
    for dtype in ("<i8", ">u2", ">f4", "<f8", "<u4", ">i2"):
        same(posted(ask, npy_bytes(images.astype(dtype)), NPY).json()["answers"], expected)
    same(posted(ask, npy_bytes(images[..., 0]), NPY).json()["answers"], expected)
    same(posted(ask, npy_bytes(np.asfortranarray(images)), NPY).json()["answers"], expected)
    same(posted(ask, npy_bytes(images[0]), NPY).json()["answers"], predict(grey, images[:1]))
    same(posted(ask, npy_bytes(images[0, ..., 0]), NPY).json()["answers"], predict(grey, images[:1]))


# ---------------------------------------------------------------------- ids, flags, several models


def test_ids_come_back(ask: Client) -> None:
    images = pictures(3).tolist()
    told = ask.post(PREDICT, json={"images": images, "ids": ["ñ 1", 7, "=cmd()"]}).json()
    assert [one["id"] for one in told["answers"]] == ["ñ 1", "7", "=cmd()"]
    told = posted(ask, npz_bytes(images=pictures(3), ids=np.array([5, 6, 9])), "application/x-npz").json()
    assert [one["id"] for one in told["answers"]] == ["5", "6", "9"]
    told = posted(ask, npz_bytes(images=pictures(2), id=np.array(["a", "ñu"])), "application/x-npz").json()
    assert [one["id"] for one in told["answers"]] == ["a", "ñu"]
    for ids in ([1], "abc", [[1], [2], [3]], {"a": 1}, [None, 1, 2], [1.5, 2, 3]):
        problem(ask.post(PREDICT, json={"images": images, "ids": ids}), "not-understood", "'ids'")
    longest = ask.post(PREDICT, json={"images": images[:1], "ids": ["x" * 200]}).json()
    assert longest["answers"][0]["id"] == "x" * 200
    problem(ask.post(PREDICT, json={"images": images[:1], "ids": ["x" * 201]}), "contract", "more than 200 characters")


def test_one_bad_picture_among_good_ones_is_flagged(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model", shape=(8, 8, 1), read=ReadRecord(source="folder", mode="L", size=(8, 8)))
    good = picture_bytes(pictures(1, (8, 8, 1))[0])
    with client(bundle) as one:
        form = one.post(PREDICT, files=[("f", ("a.png", good)), ("f", ("b.png", good[:40])), ("f", ("c.png", good))])
        told = form.json()["answers"]
        assert [one["predicted"] is None for one in told] == [False, True, False]
        assert told[1]["flags"][0].startswith("unreadable:")
        problem(one.post(PREDICT, files=[("f", ("b.png", good[:40]))]), "unreadable", "b.png")
        problem(one.post(PREDICT, files=[("f", ("b.png", good[:40])), ("f", ("d.png", b"\x89PNG"))]), "unreadable", "1")
        problem(one.post(PREDICT, files=[("f", ("b.csv", b"a,b\n1,2")), ("f", ("c.png", good))]), "media", "b.csv")


def test_doubts_are_flagged(ask: Client, grey: Bundle) -> None:
    images = np.concatenate([np.full((1, 6, 5, 1), v, np.uint8) for v in (0, 128, 255)])
    told = posted(ask, npy_bytes(images), NPY).json()["answers"]
    expected = predict(grey, images)
    same(told, expected)
    assert any("low_confidence" in one["flags"] for one in told)
    assert any("out_of_range" in one["flags"] for one in told)


def test_several_models(grey: Bundle, table: Bundle) -> None:
    with client(models=words_of(grey=grey, stars=table)) as one:
        images = pictures(2)
        detail = problem(one.post(PREDICT, json={"images": images.tolist()}), "which-model", "grey", "stars", "?model=")
        assert problem(one.post("/classify", json={"image": images[0].tolist()}), "which-model") == detail
        problem(one.get("/v1/model"), "which-model")
        problem(one.get("/v1/model?model=gray"), "not-found", "grey")
        problem(one.post("/v1/predict?model=nothing", json={}), "not-found")
        problem(one.post(f"/v1/predict?model={'x' * 70}", json={}), "not-understood")
        found = one.post("/v1/predict?model=grey", json={"images": images.tolist()}).json()
        same(found["answers"], predict(grey, images))
        values, _ = made_tables.galaxies(2, failed=0)
        found = posted(one, npy_bytes(values), NPY, "/v1/predict?model=stars").json()
        same(found["answers"], predict(table, values))
        listed = one.get("/v1/models").json()["models"]
        assert [m["name"] for m in listed] == ["grey", "stars"]
        assert listed[0]["model"] == grey.hash


# ---------------------------------------------------------------------- papers and watching


def test_papers(ask: Client, grey: Bundle) -> None:
    told = ask.get("/v1/model").json()
    assert told["model"] == grey.hash
    assert told["classes"] == ["dark", "light"]
    assert told["task"] == "classification"
    assert told["contract"]
    assert told["hashes"]["model"] == grey.manifest.hashes.model
    assert told["metrics"]
    assert told["card"] == (grey.folder / "README.md").read_text()
    assert ask.post(PREDICT, json=told["example"]).status_code == 200
    assert ask.get("/v1/model?model=grey").json() == told
    assert ask.get("/version").json()["estampa"] == machine.version_of("estampa")
    assert ask.get("/healthz").json() == {"status": "ok"}
    assert ask.get("/readyz").json() == {"status": "ready", "models": {"grey": grey.hash}}


def test_the_description_holds_and_its_examples_run(ask: Client, rows: Client) -> None:
    for one in (ask, rows):
        tree = one.get("/openapi.json").json()
        assert tree["openapi"].startswith("3.1")
        assert {"/classify", "/v1/predict", "/v1/model", "/v1/models", "/healthz", "/readyz", "/metrics",
                "/version"} <= set(tree["paths"])  # fmt: skip
        count = 0
        for path in ("/classify", PREDICT):
            content = tree["paths"][path]["post"]["requestBody"]["content"]
            for shown in content["application/json"]["examples"].values():
                count += 1
                assert one.post(path, json=shown["value"]).status_code == 200
        assert count == 2


def test_counters_have_the_names_of_the_field(ask: Client) -> None:
    posted(ask, npy_bytes(pictures(3)), NPY)
    ask.get("/nothing/here")
    answer = ask.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    text = answer.text
    for name in ("estampa_requests_total", "estampa_request_duration_seconds_bucket", "estampa_predictions_total",
                 "estampa_confidence_bucket", "estampa_abstained_total", "estampa_flags_total", "estampa_model_info",
                 "estampa_model_swaps", "estampa_log_lost_total"):  # fmt: skip
        assert name in text, name
    assert 'route="/v1/predict"' in text
    assert 'route="other"' in text
    assert "/nothing/here" not in text
    assert 'model="grey"' in text
    assert 'class="dark"' in text


def test_counters_count(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model", thresholds={"confidence": 0.6})
    images = pictures(50)
    doubted = predict(bundle, images).counts["low_confidence"]
    assert 0 < doubted < 50
    with client(bundle) as one:
        posted(one, npy_bytes(images), NPY)
        text = one.get("/metrics").text
    counts = [line for line in text.splitlines() if line.startswith("estampa_predictions_total")]
    assert sum(float(line.rpartition(" ")[2]) for line in counts) == 50
    assert f'flag="low_confidence",model="m"}} {doubted}.0' in text.replace(tmp_path.name, "m")
    assert f'estampa_abstained_total{{model="m"}} {doubted}.0' in text.replace(tmp_path.name, "m")
    assert 'estampa_confidence_count{model="m"} 50.0' in text.replace(tmp_path.name, "m")
    assert 'estampa_requests_total{code="200",route="/v1/predict"} 1.0' in text


def test_json_is_read_strictly(ask: Client) -> None:
    image = pictures(1)[0].tolist()
    for body in ({}, [], None, 3, "x", {"images": [image], "rows": []}, {"pictures": []}, {"pictures": "abc"}):
        problem(ask.post(PREDICT, json=body), "not-understood")
    problem(ask.post(PREDICT, json={"images": [image], "extra": 1}), "not-understood", "'extra'")
    problem(ask.post(PREDICT, json={"images": [image], "consent": "yes"}), "not-understood", "'consent'")
    problem(ask.post(PREDICT, json={"pictures": ["no base64!"]}), "unreadable", "base64")
    problem(ask.post("/classify", json={"image": image, "picture": ""}), "not-understood")
    problem(ask.post("/classify", json={}), "not-understood")
    for text in (b"{", b'{"images": [NaN]}', b"{'images': []}", b"\xff\xfe{}", b'{"images": [1,]}', b"{} {}"):
        problem(posted(ask, text, "application/json"), "not-understood", "JSON")
