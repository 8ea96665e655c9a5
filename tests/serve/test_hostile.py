"""Bodies that are meant to do harm: each gets a clear 4xx, soon, within a stated memory; the service answers on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
from hostile import MEBI, Body, file_names, form, part
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import Client, Running, client, npy_bytes, npz_bytes, picture_bytes, problem, running, words_of

import made_tables
from estampa.data.record import ReadRecord
from estampa.serve.problems import KINDS, MEDIA
from made_bundles import make, pictures

#: What the process that gets all of them may grow by, one at a time: sixteen times its largest body.
ROOM = 512 * MEBI
SECONDS = 30.0  #: for an answer, on a busy machine
#: Bodies that are read all the same: damage that the decoder cannot see, or that does not matter.
READ = ("spoiled", "tiff of a vast strip", "a vast strip", "fits of 300,000 cards")
#: Bodies that take seconds.
SLOW = (
    "fits of 300,000 cards", "fits whose head never ends", "fits in a gzip bomb", "json of other keys of 30 MiB",
    "json of zeros of 30 MiB", "json of fractions of 30 MiB", "parquet of 20 million", "jpeg of 80 scans",
    "npz of 50,000 members", "parquet of a vast text", "parquet of vast lists", "csv of one line of 30 MiB",
    "fits of 1,000 extensions", "form of 9,999 files", "parquet of 5,000",
)  # fmt: skip
FAMILIES = ("pictures", "npys", "npzs", "jsons", "texts", "fitses", "parquets", "forms")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    folder = tmp_path_factory.mktemp("hostile")
    photos, fits = ReadRecord(source="folder", mode="RGB", size=(32, 32)), ReadRecord(source="fits")
    return words_of(
        stamps=make(folder / "stamps" / "model"),
        photos=make(folder / "photos" / "model", shape=(32, 32, 3), read=photos),
        table=made_tables.make(folder / "table" / "model", n=200),
        fits=make(folder / "fits" / "model", shape=(8, 8, 1), dtype="float32", read=fits),
    )


@pytest.fixture(scope="module")
def service(models: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(*models, folder=tmp_path_factory.mktemp("running")) as one:
        yield one


@pytest.fixture(scope="module")
def ask(models: tuple[str, ...]) -> Iterator[Client]:
    with client(models=models) as one:
        yield one


def judged(service: Running, body: Body) -> int:
    """Send it; its status, after a look at all that a client is told."""
    data = body.made()
    began = time.monotonic()
    status, answer = service.ask("POST", f"/v1/predict?model={body.model}", data, body.kind)
    told = json.loads(answer)
    assert time.monotonic() - began < SECONDS, body.name
    if status == 200:
        assert any(word in body.name for word in READ), body.name
        return status
    assert 400 <= status < 500, (body.name, told)
    kind = told["type"].rpartition("#")[2]
    assert KINDS[kind].status == status, body.name
    assert told["detail"].endswith((".", "?", "!")), (body.name, told)
    assert 20 < len(told["detail"]) < 1500, (body.name, told)
    for hidden in ("/tmp", "request-", "Traceback", "site-packages", "object at 0x"):
        assert hidden not in told["detail"], (body.name, told)
    return status


def sent(service: Running, family: str, wanted: Callable[[str], bool]) -> int:
    """Send a family's bodies one after another; how many."""
    pytest.importorskip("astropy")
    pytest.importorskip("pyarrow")
    count, before = 0, service.peak()
    for body in getattr(hostile, family)():
        if wanted(body.name):
            judged(service, body)
            count += 1
    good = service.ask("POST", "/v1/predict?model=stamps", npy_bytes(pictures(2)), "application/x-npy")
    assert good[0] == 200
    assert service.get("/healthz")[0] == 200
    grown = service.peak() - before
    print(f"{family}: {count} bodies, memory grew by {grown / MEBI:.0f} MiB")
    assert grown < ROOM, f"{grown / MEBI:.0f} MiB"
    assert not [line for line in service.lines() if line["level"] == "error"], service.text()[-3000:]
    return count


def is_slow(name: str) -> bool:
    return any(name.startswith(word) for word in SLOW)


@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_bodies(service: Running, family: str) -> None:
    assert sent(service, family, lambda name: not is_slow(name)) > 20


@pytest.mark.long
def test_hostile_bodies_that_take_seconds(service: Running) -> None:
    assert sum(sent(service, family, is_slow) for family in FAMILIES) == 17


def test_nothing_was_written_elsewhere(service: Running) -> None:
    for name in ("/tmp/owned", "/tmp/owned.png", "/tmp/owned.npy"):
        assert not Path(name).exists()


# ---------------------------------------------------------------------- names, and damage by chance


@pytest.mark.parametrize("name", file_names())
def test_names_of_files_are_only_names(ask: Client, name: str) -> None:
    png = picture_bytes(pictures(1)[0])
    for suffix in (b"", b".png"):
        told = file_names()[name] + suffix
        body = form(part(file=told, data=png), part(file=b"other.png", data=png))
        kind = {"Content-Type": "multipart/form-data; boundary=edge"}
        answer = ask.post("/v1/predict?model=stamps", content=body, headers=kind)
        if answer.status_code != 200:
            problem(answer)
            continue
        found = answer.json()["answers"][0]["id"]
        assert len(found) <= 200
        assert found.isprintable()
        assert "/" not in found
        assert "\\" not in found
        assert "x-owned" not in answer.headers


def bodies() -> dict[str, tuple[str, str, bytes]]:
    """A good body of each kind: model, content type, bytes."""
    values, _ = made_tables.galaxies(3, failed=0)
    rows = [dict(zip(made_tables.COLUMNS, row, strict=True)) for row in values.tolist()]
    text = "\n".join([",".join(made_tables.COLUMNS), *(",".join(map(repr, row.values())) for row in rows)])
    photo = pictures(1, (40, 40, 3))[0]
    return {
        "npy": ("stamps", "application/x-npy", npy_bytes(pictures(2))),
        "npz": ("stamps", "application/x-npz", npz_bytes(images=pictures(2), ids=np.array(["a", "b"]))),
        "json": ("stamps", "application/json", json.dumps({"images": pictures(1).tolist(), "ids": ["a"]}).encode()),
        "rows": ("table", "application/json", json.dumps({"rows": rows}).encode()),
        "csv": ("table", "text/csv", text.encode()),
        "form": ("stamps", "multipart/form-data; boundary=edge", form(part(data=picture_bytes(pictures(1)[0])))),
        **{f: ("photos", f"image/{f}", picture_bytes(photo, f)) for f in ("png", "jpeg", "webp", "gif", "tiff")},
    }


GOOD = bodies()
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "drop", "double"]), st.floats(0, 1), st.binary(min_size=1, max_size=9)
    ),
    min_size=1, max_size=4,
)  # fmt: skip


def changed(data: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    """A body with some of its bytes changed."""
    for how, where, new in changes:
        at = int(where * len(data))
        if how == "flip":
            data = data[:at] + new + data[at + len(new) :]
        elif how == "cut":
            data = data[:at]
        elif how == "insert":
            data = data[:at] + new + data[at:]
        elif how == "drop":
            data = data[:at] + data[at + len(new) :]
        else:
            data = data[:at] + data[at // 2 :]
    return data


@pytest.mark.parametrize("kind", GOOD)
def test_bodies_that_were_changed(ask: Client, kind: str) -> None:
    model, media, data = GOOD[kind]
    post = partial(ask.post, f"/v1/predict?model={model}", headers={"Content-Type": media})
    assert post(content=data).status_code == 200

    @settings(max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(CHANGES)
    def run(changes: list[tuple[str, float, bytes]]) -> None:
        understood(post(content=changed(data, changes)))

    run()


JSONS = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None, database=None,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    st.sampled_from(["/classify", "/v1/predict"]), st.sampled_from(["stamps", "photos", "table", "fits"]),
    st.sampled_from(["image", "images", "picture", "pictures", "rows", "consent", "ids", "mag_u", "x"]), JSONS, JSONS,
)  # fmt: skip
def test_any_json(ask: Client, path: str, model: str, key: str, value: Any, other: Any) -> None:
    understood(ask.post(f"{path}?model={model}", json={key: value, "ids": other}))
    understood(ask.post(f"{path}?model={model}", json=value))


def understood(answer: Any) -> None:
    """That it was answered, or refused with a reason."""
    if answer.status_code == 200:
        told = answer.json()
        assert told.get("answers") or told["predicted"] is not None
        return
    assert answer.headers["content-type"] == MEDIA, answer.text[:300]
    assert 400 <= answer.status_code < 500, answer.text
    problem(answer)


def test_many_small_pictures_do_not_become_gigabytes(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model", shape=(64, 64, 3), read=ReadRecord(source="folder", mode="RGB", size=(64, 64)))
    tiny = picture_bytes(np.zeros((1, 1, 1), np.uint8))
    with client(bundle, max_body=MEBI) as one:
        body = form(*[part(file=b"%d.png" % i, data=tiny) for i in range(700)])
        kind = {"Content-Type": "multipart/form-data; boundary=edge"}
        problem(one.post("/v1/predict", content=body, headers=kind), "too-large", "700", "estampa predict")
