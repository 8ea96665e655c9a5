"""The labelling page: what it shows and hides, how answers are drawn, and what it does not believe."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import page_sets
import pytest
from served import Client, client, npy_bytes, words_of

from estampa.bundle.store import Bundle
from estampa.monitor.feedback import drawn_of, gathered, read_feedback
from estampa.monitor.kept import Kept
from estampa.monitor.log import forget
from estampa.serve.labelling import KEYS

NPY = "application/x-npy"
PAGE = "/models/drawings/label"


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return page_sets.drawings(tmp_path_factory.mktemp("drawings") / "model")


@pytest.fixture
def ask(drawings: Bundle, tmp_path: Path) -> Iterator[Client]:
    files = {"log": tmp_path / "log", "feedback": tmp_path / "labels", "keep": tmp_path / "keep"}
    with client(models=words_of(drawings=drawings), **files) as one:
        one.headers["Accept"] = "text/html"
        yield one


def asked(
    one: Client, n: int, consent: bool = False, query: str = "", shape: tuple[int, ...] = (16, 16, 1), name: str = ""
) -> str:
    """Ask about n objects; the request's id, which may be given."""
    some = page_sets.faces(n) if shape == (16, 16, 1) else np.zeros((n, *shape), np.uint8)
    headers = {"Content-Type": NPY, "X-Estampa-Consent": str(consent).lower(), "Accept": "*/*"}
    headers |= {"X-Request-Id": name} if name else {}
    told = one.post(f"/v1/predict{query}", content=npy_bytes(some), headers=headers)
    assert told.status_code == 200, told.text
    return str(told.json()["request_id"])


def shown(text: str) -> str:
    """The id of the object that a page shows."""
    return re.search(r'name="id" value="([^"]+)">(?:<input[^>]*>)?\s*<button type="submit" name="label"', text)[1]


def say(one: Client, name: str, hx: bool = False, path: str = PAGE, **fields: str) -> Any:
    headers = {"HX-Request": "true"} if hx else {}
    files = {key: (None, value) for key, value in {"id": name, **fields}.items()}
    return one.post(path, files=files, headers=headers)


def test_random_and_chosen_ones_alternate_and_their_answers_are_hidden(ask: Client, tmp_path: Path) -> None:
    asked(ask, 40, name="request-of-40")
    page = ask.get(PAGE)
    drawn = []
    for _ in range(20):
        assert "The model said" not in page.text.split('<div class="object">')[1]
        assert "low_confidence" not in page.text
        name = shown(page.text)
        drawn.append(drawn_of(name))
        page = say(ask, name, label="full")
        assert page.history[0].status_code == 303
        assert "You said: full. " in re.sub(r"</?span>", "", page.text)
        assert re.search(r"The model said: \w+, \d+\N{NARROW NO-BREAK SPACE}%", page.text)
        assert ("Chosen because the model was unsure: not" in page.text) == (drawn[-1] == "chosen")
    assert drawn == ["random", "chosen"] * 10
    told = list(read_feedback(tmp_path / "labels"))
    assert [one.drawn for one in told] == drawn
    assert len({one.id for one in told}) == 20
    assert gathered(tmp_path / "labels", ("empty", "full")).chosen == 10
    assert "10 of 100 labels that it takes to judge the model: 10 of answers drawn at random, 0 sent" in page.text
    assert "And 10 of answers that were chosen" in page.text
    drawn_by = {one.id for one in told}
    name = next(
        one for one in (f"request-of-40.{i}" for i in range(40)) if one not in drawn_by and drawn_of(one) == "random"
    )
    given = {"id": name, "label": "empty"}
    assert ask.post("/v1/feedback", json=given).json()["stored"] == 1
    others = [
        one for one in (f"request-of-40.{i}" for i in range(40)) if one not in drawn_by and drawn_of(one) == "chosen"
    ]
    ask.post("/v1/feedback", json={"labels": [{"id": one, "label": "empty"} for one in others]})
    told_ = gathered(tmp_path / "labels", ("empty", "full"))
    assert told_.aside == len(others) > 3
    assert f"And {len(others)} that programs sent, of the half of answers" in ask.get(PAGE).text
    assert f"{len(told_.labels)} of 100 labels that it takes" in ask.get(PAGE).text


def test_nobody_picks_what_to_label(ask: Client) -> None:
    asked(ask, 9, name="request-of-9")
    first = shown(ask.get(PAGE).text)
    others = [f"request-of-9.{i}" for i in range(9) if f"request-of-9.{i}" != first]
    assert {shown(ask.get(f"{PAGE}?id={name}").text) for name in others} == {first}
    assert shown(say(ask, others[0], do="undo").text) == others[0]  # which was drawn before, or so the page says
    assert shown(ask.get(f"{PAGE}?id={others[0]}").text) == others[0]
    assert shown(ask.get(f"{PAGE}?id={others[1]}").text) == first
    page = say(ask, first, label="full", pictures="1" * 200_000)
    assert page.history[0].headers["location"] == f"{PAGE}?last={first}&pictures=1"


def test_a_forgotten_answer_is_offered_no_more(ask: Client, tmp_path: Path) -> None:
    first = f"{asked(ask, 1, consent=True)}.0"
    assert "The model said" in say(ask, first, label="full").text
    second = f"{asked(ask, 1, consent=True)}.0"
    assert shown(ask.get(PAGE).text) == second
    forget([tmp_path / "log"], [first, second], tmp_path / "keep", [tmp_path / "labels"])
    page = ask.get(f"{PAGE}?last={first}&id={second}").text
    assert "Nothing to label yet" in page
    assert "The model said" not in page
    assert "0 of 100 labels" in page
    assert not {first, second} & set(re.findall(r'value="([^"]+)"', page))


def test_without_the_option_there_is_no_page_and_no_link(drawings: Bundle, tmp_path: Path) -> None:
    with client(models=words_of(drawings=drawings), log=tmp_path / "log") as one:
        one.headers["Accept"] = "text/html"
        assert one.get(PAGE).status_code == 404
        assert PAGE not in one.get("/models/drawings").text


def test_pictures_are_shown_where_they_were_kept_and_only_then(ask: Client, drawings: Bundle, tmp_path: Path) -> None:
    assert "Nothing to label yet" in ask.get(PAGE).text
    first = asked(ask, 1)
    page = ask.get(PAGE).text
    assert "The picture was not kept" in page
    assert f"{first}.0" in page
    assert "data:image" not in page
    assert "Nothing that was kept is left" in ask.get(f"{PAGE}?pictures=1").text
    second = asked(ask, 1, consent=True)
    page = ask.get(f"{PAGE}?pictures=1").text
    assert shown(page) == f"{second}.0"
    assert "data:image" in page
    kept = Kept(tmp_path / "keep")
    for array in (np.zeros((4, 4, 1), np.uint8), np.zeros((16, 16, 1))):
        kept.forget(second)
        kept.put(f"{second}.0", array, {})
        assert "data:image" not in ask.get(f"{PAGE}?pictures=1").text
    kept.forget(second)
    say(ask, f"{second}.0", do="undo")  # so that it is shown by its id
    short = Kept(tmp_path / "keep", timedelta(seconds=1))
    short.put(f"{second}.0", page_sets.faces(1)[0], {}, now=datetime.now(UTC) - timedelta(seconds=30))
    assert "data:image" not in ask.get(f"{PAGE}?id={second}.0").text
    kept.put(f"{second}.0", page_sets.faces(1)[0], {})
    assert "data:image" in ask.get(f"{PAGE}?id={second}.0").text
    for path in (tmp_path / "keep").iterdir():
        path.write_bytes(b"damaged")
    assert "data:image" not in ask.get(f"{PAGE}?id={second}.0").text
    assert forget([tmp_path / "log"], [second], tmp_path / "keep").inputs


def test_what_is_skipped_comes_again_when_asked_and_undo_takes_back(ask: Client, tmp_path: Path) -> None:
    asked(ask, 3)
    names = []
    for _ in range(3):
        names.append(shown(ask.get(PAGE).text))
        assert "Skipped." in say(ask, names[-1], do="skip").text
    assert len(set(names)) == 3
    assert "All done" in ask.get(PAGE).text
    assert (tmp_path / "labels").read_bytes() == b""
    assert shown(say(ask, names[1], do="undo").text) == names[1]
    assert (tmp_path / "labels").read_bytes() == b""
    assert "Show the 2 skipped again" in say(ask, names[1], label="full").text
    page = say(ask, names[1], do="undo")
    assert shown(page.text) == names[1]
    assert [one.label for one in read_feedback(tmp_path / "labels")] == ["full", None]
    assert shown(say(ask, "", do="again").text) in names
    ask.cookies.set("estampa_skipped", "no base64 " * 900, path=PAGE)
    assert ask.get(PAGE).status_code == 200


def test_what_a_form_says_is_not_believed(ask: Client, drawings: Bundle, tmp_path: Path) -> None:
    name = f"{asked(ask, 2)}.0"
    for fields, status in (
        ({"label": "triangle"}, 422), ({"label": ""}, 422), ({}, 422), ({"label": "<script>alert(1)</script>"}, 422),
    ):  # fmt: skip
        told = say(ask, name, **fields)
        assert told.status_code == status
        assert "is no class of this model" in html.unescape(told.text)
        assert "<script>alert" not in told.text
    for wrong in ("../../etc/passwd", "", "x", "<b>.0", "é.0"):
        assert say(ask, wrong, label="full").status_code == 422
        assert say(ask, wrong, do="undo").status_code == 422
        assert ask.get(PAGE, params={"id": wrong, "last": wrong}).status_code == 200
        assert "<b>.0" not in ask.get(PAGE, params={"id": wrong, "last": wrong, "pictures": "<b>.0"}).text
    assert ask.post(PAGE, content=b"label=full", headers={"Content-Type": "text/plain"}).status_code == 400
    evil = ask.post(PAGE, files={"id": (None, name), "label": (None, "full")}, headers={"Origin": "http://evil"})
    assert evil.status_code == 403
    assert (tmp_path / "labels").read_bytes() == b""
    old = [f"request-of-long-ago.{i}" for i in range(9)]  # no more among the last answers that are remembered
    for name in old:
        say(ask, name, label="full")
        say(ask, name, do="undo")
    told = list(read_feedback(tmp_path / "labels"))
    assert [one.drawn for one in told] == [drawn_of(name) for name in old for _ in range(2)]
    assert {one.drawn for one in told} == {"random", "chosen"}
    assert {(one.via, one.model) for one in told} == {("page", drawings.hash)}
    name = next(one for one in old if drawn_of(one) == "chosen")
    say(ask, name, label="empty")
    assert ask.post("/v1/feedback", json={"id": name, "label": "full"}).json()["stored"] == 1
    found = gathered(tmp_path / "labels", ("empty", "full"))
    assert (found.chosen, found.labels) == (1, {}), "what the page chose stays so when a program sends it, too"


def test_a_class_that_the_model_does_not_know(ask: Client, tmp_path: Path) -> None:
    asked(ask, 4)
    first = shown(ask.get(PAGE).text)
    page = say(ask, first, new=" a comet ")
    assert "You said: a comet. " in re.sub(r"</?span>", "", page.text)
    assert "The model does not know this class." in page.text
    assert 'value="a comet" data-key="3"' in page.text  # from now on it is one to choose
    assert say(ask, shown(page.text), label="a comet").status_code == 200
    for wrong in ("", " ", "x" * 65, "a\x07"):
        assert say(ask, first, new=wrong).status_code == 422
    assert "send &#39;full&#39;" in say(ask, first, new="F ull").text
    assert "<i>" not in say(ask, first, new="<i>comet</i>").text
    assert gathered(tmp_path / "labels", ("empty", "full")).unknown == {"<i>comet</i>": 1}


def test_a_part_of_the_page_for_the_script(ask: Client) -> None:
    name = f"{asked(ask, 2)}.0"
    told = say(ask, name, hx=True, label="full")
    assert told.status_code == 200
    assert told.headers["hx-replace-url"] == f"{PAGE}?last={name}"
    assert told.text.lstrip().startswith('<section id="task"')
    assert "estampa_skipped" in told.headers["set-cookie"]
    assert "HttpOnly" in told.headers["set-cookie"]
    assert "SameSite=strict" in told.headers["set-cookie"]
    assert 'role="alert"' in say(ask, name, hx=True, label="triangle").text


def test_a_full_disk_is_told(drawings: Bundle, tmp_path: Path) -> None:
    with client(models=words_of(drawings=drawings), log=tmp_path / "log", feedback=Path("/dev/full")) as one:
        one.headers["Accept"] = "text/html"
        name = f"{asked(one, 2)}.0"
        for _ in range(2):
            told = say(one, name, label="full")
            assert told.status_code == 507
            assert "No label was stored" in told.text


def test_answers_of_other_models_stay_apart(drawings: Bundle, tmp_path: Path) -> None:
    values = page_sets.values(tmp_path / "values")
    files = {"log": tmp_path / "log", "feedback": tmp_path / "labels"}
    with client(models=words_of(drawings=drawings, values=values), **files) as one:
        one.headers["Accept"] = "text/html"
        mine = asked(one, 3, query="?model=drawings")
        theirs = asked(one, 3, query="?model=values", shape=(8, 8, 1))
        assert shown(one.get(PAGE).text).startswith(mine)
        assert "keeps nothing of what it is sent" in one.get(PAGE).text
        assert theirs in one.get("/models/values/label").text
        told = say(one, f"{theirs}.0", label="full")
        assert told.status_code == 422
        assert "is an answer of values" in told.text
        for text, status in (("much", 422), ("", 422), ("1e999", 422), ("2.5", 200)):
            assert say(one, f"{theirs}.0", path="/models/values/label", value=text).status_code == status
        assert "You said: 2.5." in one.get(f"/models/values/label?last={theirs}.0").text
    assert [told.label for told in read_feedback(tmp_path / "labels")] == [2.5]


def test_no_class_has_the_keys_of_skip_and_undo() -> None:
    assert len(KEYS) == len(set(KEYS)) == 33
    assert not {"s", "u", "0"} & set(KEYS)
