"""The pages as a client without a browser gets them: what they say, in which language, and that they say it whole."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import page_sets
import pytest
from served import Client, client, npy_bytes, picture_bytes, problem, words_of

from estampa.bundle.store import Bundle
from estampa.predict import predict
from estampa.serve import site
from estampa.serve.about import counts_of
from estampa.serve.drawn import canvas_of
from estampa.serve.pages.words import Words
from estampa.serve.problems import Problem
from estampa.serve.sure import level_of, remarks_of, sure_of
from estampa.train.calibrate import _left

MULTI = ("drawings", "colours", "stamps", "values", "table")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("pages")
    return {name: getattr(page_sets, name)(folder / name / "model") for name in MULTI}


@pytest.fixture(scope="module")
def ask(sets: dict[str, Bundle]) -> Iterator[Client]:
    with client(models=words_of(**sets)) as one:
        yield one


def text(html: str) -> str:
    """What a reader reads of a page."""
    bare = re.sub(r"<(script|style|template)\b.*?</\1>", " ", html, flags=re.DOTALL)
    bare = re.sub(r"<[^>]+>", " ", bare)
    for code, sign in (("&#39;", "'"), ("&#34;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        bare = bare.replace(code, sign)
    return " ".join(bare.replace("\u202f", " ").split())


def said(answer: Any, *words: str) -> str:
    """That a page came, whole, and says these words; its text."""
    assert answer.headers["content-type"].startswith("text/html"), answer.text[:300]
    assert answer.headers["cache-control"] == "no-store"
    found = text(answer.text)
    for word in words:
        assert word in found, (word, found[:3000])
    return found


def sent(ask: Client, model: str, *files: tuple[str, bytes], **form: Any) -> Any:
    """A form of the classify page."""
    parts = [("files", (called, data)) for called, data in files] or [("none", (None, ""))]
    headers = form.pop("headers", {})
    return ask.post(f"/models/{model}", files=parts, data=form, headers=headers)


# ------------------------------------------------------------------ every page


def test_the_chooser_names_every_model_and_what_it_answers(ask: Client) -> None:
    found = said(ask.get("/"), "5 models", "empty or full", "dark, dim light or light", "Estimates a number", "90 %")
    for name in MULTI:
        assert name in found
    assert ask.get("/").text.count("data:image/png") >= 7


def test_one_model_alone_is_not_chosen(sets: dict[str, Bundle]) -> None:
    with client(models=words_of(only=sets["colours"])) as one:
        answer = one.get("/?lang=es", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/models/only?lang=es")
        assert "All models" not in said(one.get("/"), "What does this picture show?")


@pytest.mark.parametrize("name", MULTI)
@pytest.mark.parametrize("page", ["", "/about", "/batch", "?preset=0"])
@pytest.mark.parametrize("language", ["en", "es", "pt"])
def test_every_page_stands_in_every_language(ask: Client, name: str, page: str, language: str) -> None:
    answer = ask.get(f"/models/{name}{page}", headers={"Accept-Language": f"{language}-XX,{language};q=0.9"})
    assert answer.status_code == 200
    assert f'<html lang="{language}">' in answer.text
    assert answer.headers["content-language"] == language
    found = said(answer)
    assert Words(language)("tabs.about") in found
    assert not re.findall(r"\{\w+\}", found), "a place was not filled"
    ids = re.findall(r'\bid="([^"]+)"', re.sub(r"<template.*?</template>", "", answer.text, flags=re.DOTALL))
    assert len(ids) == len(set(ids)), "an id stands twice"
    for label in re.findall(r'(?:aria-labelledby|aria-describedby|for)="([^"]+)"', answer.text):
        assert label in ids, f"{label} leads nowhere"
    assert not re.findall(r"<img(?![^>]*\balt=)", answer.text), "a picture without words"


def test_the_control_keeps_the_language_and_the_page(ask: Client) -> None:
    answer = ask.get("/models/drawings?preset=1&lang=pt")
    assert "preset=1&amp;lang=es" in answer.text
    assert "estampa_language=pt" in answer.headers["set-cookie"]
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "samesite=lax" in answer.headers["set-cookie"].lower()
    assert '<html lang="pt">' in ask.get("/", headers={"Cookie": "estampa_language=pt"}).text
    ask.cookies.clear()
    assert '<html lang="en">' in ask.get("/", headers={"Cookie": "estampa_language=../x"}).text


def test_classes_are_called_as_the_data_set_calls_them(ask: Client) -> None:
    said(ask.get("/models/drawings?preset=0&lang=es"), "vacía", "llena", "El conjunto de datos dice: vacía")
    said(ask.get("/models/drawings/about?lang=es"), "vacía empty")
    said(ask.get("/models/colours?preset=0&lang=pt"), "dim light")
    ask.cookies.clear()


def test_unknown_addresses_are_told_on_a_page(ask: Client) -> None:
    for path in (
        "/models/nobody",
        "/models/drawings?preset=99",
        "/models/drawings?preset=x",
        "/models/drawings/batch/x",
    ):
        assert ask.get(path).status_code == 404
        said(ask.get(path))
    assert ask.get("/static/../words.py").status_code == 404
    assert ask.get("/static/words.py").status_code == 404


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_browser_is_told_every_problem_on_a_page(
    ask: Client, sets: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(site, "about_page", broken)
    answer = ask.get("/models/drawings/about?lang=es", headers=BROWSER)
    assert answer.status_code == 500
    assert "secret" not in said(answer, "Algo salió mal aquí", answer.headers["x-request-id"], "Al inicio")
    ask.cookies.clear()
    assert problem(ask.get("/models/drawings/about"), "internal")
    assert problem(ask.get("/models/drawings/about", headers={**BROWSER, "HX-Request": "true"}), "internal")
    answer = ask.get("/nothing", headers=BROWSER)
    assert answer.status_code == 404
    said(answer, "There is no such page")
    with client(sets["drawings"], token="a-token-of-a-test-0123456789", max_body=2000) as locked:
        answer = locked.get("/", headers=BROWSER)
        assert (answer.status_code, "Basic" in answer.headers["www-authenticate"]) == (401, True)
        said(answer, "A token is needed", "as password")
        style = re.search(r'href="(/static/service.css[^"]*)"', answer.text)[1]
        assert locked.get(style).status_code == 200, "the page has its style"
        known = {"Authorization": "Bearer a-token-of-a-test-0123456789", **BROWSER}
        answer = locked.post("/models/model", content=bytes(3000), headers=known)
        assert answer.status_code == 413
        said(answer, "This is too large")


def test_what_pages_load_is_kept_by_its_content(ask: Client) -> None:
    page = ask.get("/models/drawings").text
    links = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(links) == 5
    for link in links:
        answer = ask.get(link)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


def test_a_proxy_may_serve_it_below_a_path(sets: dict[str, Bundle]) -> None:
    with client(models=words_of(a=sets["drawings"], b=sets["table"]), root_path="/stamps") as one:
        page = one.get("/stamps/models/a?preset=0").text
        links = re.findall(r'(?:href|src|action|hx-get|hx-post)="(/[^"]*)"', page)
        assert len(links) > 20
        assert all(link.startswith("/stamps/") for link in links)
        assert one.get("/stamps/", follow_redirects=False).status_code == 200


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_every_page_says_alike_what_is_stored(sets: dict[str, Bundle], tmp_path: Path, log: bool, keep: bool) -> None:
    how = ({"log": tmp_path / "log.jsonl"} if log else {}) | ({"keep": tmp_path / "kept"} if keep else {})
    with client(models=words_of(a=sets["drawings"], b=sets["table"]), **how) as one:
        for path in ("/", "/models/a", "/models/a/about", "/models/a/batch", "/docs", "/models/nobody", "/nothing"):
            answer = one.get(path, headers=BROWSER)
            foot = text(re.search(r"<footer>.*</footer>", answer.text, re.DOTALL)[0])
            assert ("only where you agree" in foot, "is not stored" in foot) == (keep, not keep), path
            assert ("A line of numbers about each answer is kept" in foot) is log, path
            assert "15 minutes" in foot
            assert ('href="/docs"' in answer.text) is (path != "/docs"), path
            assert ('class="languages"' in answer.text) is (path != "/docs"), path
        answer = one.get("/docs?lang=es", headers=BROWSER)
        assert '<html lang="en">' in answer.text
        assert "set-cookie" not in answer.headers
        assert "is not stored" in said(answer) or keep
        said(one.get("/models/a/batch"), "Nothing of a batch is ever kept longer")


def test_consent_is_asked_for_only_where_it_is_kept_and_is_passed_on(
    ask: Client, sets: dict[str, Bundle], tmp_path: Path
) -> None:
    assert 'name="consent"' not in ask.get("/models/drawings").text + ask.get("/models/table").text
    folder = tmp_path / "kept"
    with client(models=words_of(a=sets["drawings"], b=sets["table"]), keep=folder, retention=timedelta(days=3)) as one:
        page = one.get("/models/a").text
        assert page.count('type="checkbox" name="consent"') == 2, "for files, and for a drawing"
        assert "checked" not in page
        said(one.get("/models/b"), "may be stored here for 3 days")
        drawing = page_sets.ink(page_sets.faces(1)[0][..., 0])
        said(sent(one, "a", drawing=drawing), "What you gave is not stored.")
        assert not list(folder.rglob("*.npz"))
        answer = sent(one, "a", drawing=drawing, consent="true")
        said(answer, "What you gave is stored for a time")
        said(sent(one, "b", c0="17.5", c1="16", c2="15", c3="3", c4="7", c5="0.5", consent="true"), "is stored")
        said(sent(one, "a", ("x.npy", npy_bytes(page_sets.faces(2))), consent="true"), "2 pictures")
        assert len(list(folder.rglob("*.npz"))) == 4
        carried = dict(re.findall(r'name="(again|name|kept)" value="([^"]*)"', answer.text))
        said(sent(one, "a", **carried, consent="true", why="1"), "What you gave is stored for a time")
        assert len(list(folder.rglob("*.npz"))) == 4, "what is carried along is not stored twice"


@pytest.mark.parametrize(
    ("language", "agreed", "shown"),
    [
        ("en", "for 3 days, shown to the people who label here, and used to train models.", "is shown to the people"),
        ("es", "mostrar a quienes etiquetan aquí y usar para entrenar modelos", "se muestra a quienes etiquetan"),
        ("pt", "ser mostrado a quem rotula aqui e ser usado para treinar modelos", "é mostrado a quem rotula"),
    ],
)
def test_consent_names_what_is_done_where_labels_are_taken(
    language: str, agreed: str, shown: str, sets: dict[str, Bundle], tmp_path: Path
) -> None:
    with client(
        models=words_of(a=sets["drawings"]), keep=tmp_path / "kept", retention=timedelta(days=3),
        log=tmp_path / "log", feedback=tmp_path / "labels",
    ) as one:  # fmt: skip
        page = one.get(f"/models/a?lang={language}")
        said(page, agreed)
        said(page, shown)
        assert "used to train models" in one.get("/openapi.json").text
        said(one.get("/docs"), "shown to the people who label here, and used to train models")


# ------------------------------------------------------------------ answers


def test_an_example_is_answered_as_predict_does(ask: Client, sets: dict[str, Bundle]) -> None:
    for name in ("drawings", "colours", "stamps", "table"):
        presets = sets[name].presets()
        assert presets is not None
        expected = predict(sets[name], presets.inputs)
        names = [n.replace("_", " ") for n in sets[name].classes]
        for k in range(3):
            found = said(ask.get(f"/models/{name}?preset={k}"), "The data set says")
            predicted = names[sets[name].classes.index(expected.predicted[k])]
            probability = (
                expected.probabilities[k].max()
                if name != "stamps"
                else expected.probabilities[k][names.index(predicted)]
            )
            assert f"{predicted} {Words('en').chance(float(probability))}".replace("\u202f", " ") in found
            assert f"{probability:.6f}" in found


def test_an_uploaded_picture_is_brought_to_size_and_answered(ask: Client) -> None:
    pixels = np.full((30, 40, 3), 250, np.uint8)
    found = said(
        sent(ask, "colours", ("sky <b>.png", picture_bytes(pixels))), "light", "As the model sees it: 12 × 12 pixels",
        "sky <b>.png", "Of 100 pictures answered like this", "nearest training examples",
        "Show what the answer hangs on",
    )  # fmt: skip
    assert "The data set says" not in found
    assert "<b>" not in sent(ask, "colours", ("sky <b>.png", picture_bytes(pixels))).text


def test_arrays_are_read_too(ask: Client, sets: dict[str, Bundle]) -> None:
    presets = sets["stamps"].presets()
    assert presets is not None
    said(sent(ask, "stamps", ("x.npy", npy_bytes(presets.images[:1]))), "science", "difference", "From 60 % on")
    said(sent(ask, "stamps", ("x.npy", npy_bytes(presets.images[:5]))), "5 pictures")
    answer = sent(ask, "stamps", ("x.png", picture_bytes(np.zeros((9, 9, 1), np.uint8))))
    assert answer.status_code == 415
    said(answer, "This kind of file is not read here")


def test_several_pictures_stand_side_by_side(ask: Client) -> None:
    files = [(f"{i}.png", picture_bytes(np.full((5, 5, 3), 40 * i, np.uint8))) for i in range(6)]
    answer = sent(ask, "colours", *files, ("bad.png", b"nonsense"))
    said(answer, "7 pictures", "No answer: 1", "bad.png", "Look closer", "It cannot be read. not a picture")
    again = re.findall(r'name="again" value="([^"]+)"', answer.text)
    assert len(again) == 6
    said(sent(ask, "colours", again=again[0], name="0.png"), "dark", "0.png", "All classes")


def test_too_many_pictures_belong_to_the_batch_page(ask: Client) -> None:
    one = picture_bytes(np.zeros((3, 3, 3), np.uint8))
    answer = sent(ask, "colours", *[(f"{i}.png", one) for i in range(61)])
    assert answer.status_code == 413
    said(answer, "up to 60 files", "Many at once")


def test_what_cannot_be_answered_says_why(ask: Client) -> None:
    for files, status, words in (
        ([("x.png", b"nonsense")], 422, ["The file cannot be read", "x.png"]),
        ([("x.npy", npy_bytes(np.zeros((3, 3, 3), np.uint8)))], 422, ["not what the model was made for"]),
        ([], 400, ["No file was chosen", "Choose a file first"]),
    ):
        answer = sent(ask, "colours", *files)
        assert answer.status_code == status
        said(answer, *words)
    spanish = sent(ask, "colours", ("x.png", b"nonsense"), headers={"Accept-Language": "es"})
    said(spanish, "No se puede leer el archivo")
    assert '<p lang="en" class="detail">' in spanish.text


def test_a_drawing_is_answered(ask: Client, sets: dict[str, Bundle]) -> None:
    drawing = page_sets.faces(2)[1]
    expected = predict(sets["drawings"], drawing[None]).predicted[0]
    found = said(sent(ask, "drawings", drawing=page_sets.ink(drawing[..., 0])), "Your drawing")
    assert f"Most probably a typical one {expected}" in found
    for bad in ("", "x", "AAAA", base64.b64encode(bytes(256)).decode()):
        assert sent(ask, "drawings", drawing=bad).status_code in (400, 422)
    assert sent(ask, "colours", drawing=page_sets.ink(drawing[..., 0])).status_code == 422


def test_a_canvas_is_offered_for_drawings_alone(ask: Client, sets: dict[str, Bundle]) -> None:
    for name in MULTI:
        assert ("<canvas" in ask.get(f"/models/{name}").text) is (name == "drawings")
    bundle = sets["drawings"]
    canvas = canvas_of(bundle.pictures, bundle.presets())
    assert canvas is not None
    assert (canvas.width, canvas.dark, canvas.whole, canvas.low, canvas.high) == (16, True, True, 0, 1)
    ink = np.zeros((16, 16))
    ink[3] = 1
    ink[4] = 0.4  # not ink: the set knows ink and paper alone
    stored = canvas.pixels(page_sets.ink(ink), bundle.pictures)
    assert stored.dtype == np.uint8
    assert stored[0, :, :, 0].sum(axis=1).tolist() == [0, 0, 0, 16, *[0] * 12]
    with pytest.raises(Problem, match="empty"):
        canvas.pixels(page_sets.ink(np.zeros((16, 16))), bundle.pictures)


def test_a_typed_row_is_answered_in_the_readers_numbers(ask: Client, sets: dict[str, Bundle]) -> None:
    row = sets["table"].presets().rows[0]  # type: ignore[union-attr, index]
    expected = predict(sets["table"], row[None])
    for language in ("en", "es"):
        typed = {f"c{i}": Words(language).typed(float(v)) for i, v in enumerate(row)}
        answer = sent(ask, "table", headers={"Accept-Language": language}, **typed)
        found = said(answer, expected.predicted[0], f"{Words(language).number(float(expected.probabilities.max()), 6)}")
        assert "mag_g" in found
        assert all(f'value="{value}"' in answer.text for value in typed.values() if value)


def test_fields_without_a_number_are_marked(ask: Client) -> None:
    answer = sent(ask, "table", c0="x", c1="1.5", c2="", headers={"Accept-Language": "es"})
    assert answer.status_code == 422
    said(answer, "Algunos campos no tienen un número", "mag_u")
    assert 'aria-invalid="true"' in answer.text
    assert "data-fields=" in answer.text
    assert 'value="1.5"' in answer.text, "what was typed stays"


def test_a_row_of_nothing_gets_no_answer(ask: Client) -> None:
    said(sent(ask, "table"), "No answer", "It cannot be answered")


def test_what_was_imputed_or_lies_outside_is_said(ask: Client, sets: dict[str, Bundle]) -> None:
    row = sets["table"].presets().rows[0].copy()  # type: ignore[union-attr, index]
    row[np.isnan(row)], row[0], row[3] = 15.0, np.nan, 1e6
    typed = {f"c{i}": Words("en").typed(float(v)) for i, v in enumerate(row)}
    found = said(
        sent(ask, "table", **typed), "Measurements are missing or failed.", "mag_u", "Unlike the training data."
    )
    assert "Not to be relied on." in found
    assert "beyond all training values" in found


def test_a_regression_says_its_value(ask: Client) -> None:
    found = said(ask.get("/models/values?preset=1"), "Estimated value", "The data set says: 0")
    assert "other class" not in found


def test_what_an_answer_hangs_on(ask: Client, sets: dict[str, Bundle]) -> None:
    page = ask.get("/models/drawings?preset=1&why=1")
    said(page, "What the answer hangs on", "speaks for it", "explains the model, not the object")
    assert 'class="map"' in page.text
    carried = re.search(r'name="again" value="([^"]+)"', ask.get("/models/drawings?preset=1").text)
    assert carried
    posted = sent(ask, "drawings", again=carried[1], name="mine", truth="1", why="1")
    assert (
        re.search(r'class="map" src="([^"]+)"', posted.text)[1] == re.search(r'class="map" src="([^"]+)"', page.text)[1]
    )
    said(posted, "mine", "The data set says: full")
    said(ask.get("/models/table?preset=1&why=1"), "What the answer hangs on", "adds to the probability of", "typically")
    said(ask.get("/models/values?preset=1&why=1"), "What the answer hangs on")


def test_a_carried_object_is_looked_at_like_any_other(ask: Client) -> None:
    for again in (
        "x",
        base64.b64encode(b"\x93NUMPY").decode(),
        base64.b64encode(npy_bytes(np.zeros((1, 2, 2, 1)))).decode(),
    ):
        assert sent(ask, "drawings", again=again).status_code == 422
    whole = base64.b64encode(npy_bytes(page_sets.faces(1))).decode()
    for truth in ("x", "9", "nan"):
        assert sent(ask, "drawings", again=whole, truth=truth).status_code == 400


def test_a_piece_alone_is_sent_to_the_script(ask: Client) -> None:
    piece = ask.get("/models/drawings?preset=0", headers={"HX-Request": "true"})
    assert "<html" not in piece.text
    assert piece.text.strip().startswith('<section id="answer"')
    assert "HX-Request" in piece.headers["vary"]


# ------------------------------------------------------------------ how sure, and the model's page


def test_words_for_how_sure_rest_on_probability_and_thresholds(sets: dict[str, Bundle]) -> None:
    drawings, colours = sets["drawings"], sets["colours"]
    assert [level_of(colours, p) for p in (0.99, 0.97, 0.9, 0.7, 0.5)] == ["high", "high", "fair", "low", "none"]
    assert level_of(drawings, 0.54) == "none"
    told = {"predicted": "empty", "probability": 0.54, "probabilities": {"empty": 0.54, "full": 0.46}, "flags": []}
    sure = sure_of(Words("en"), drawings, told, "pictures", ("empty", "full"))
    assert sure is not None
    assert "below 55\u202f%" in sure.sentence
    assert "Of 100 pictures answered like this, about 54" in sure.sentence
    told |= {"flags": ["out_of_range"], "probability": 0.999}
    assert sure_of(Words("en"), drawings, told, "pictures", ("empty", "full")).word == "Not to be relied on."  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "decision", "level", "says"),
    [
        (None, "", "high", "about 99"), (0.02, "", "high", "off by 2.0 points"), (0.05, "", "fair", "off by 5.0"),
        (0.1, "", "low", "off by 10.0"), (0.02, "small", "fair", "not calibrated"),
        (None, "small", "low", "not calibrated"),
        (0.05, "small", "low", "off by 5.0"), (0.3, "end", "low", "off by 30.0"), (0.01, "asked", "fair", "calibrated"),
    ],
)  # fmt: skip
def test_words_are_weaker_where_percentages_are_not_good(
    sets: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch, error: float | None, decision: str, level: str, says: str
) -> None:
    manifest = sets["colours"].manifest
    made = {
        "small": _left(12, "12 validation objects, and 100 are needed").sentence,
        "end": "Temperature 10. This is the end of the range that is searched (0.1 to 10): trust no probability.",
    }
    known = {} if error is None else {"ece": {"value": error}}
    changed = manifest.model_copy(
        update={
            "metrics": {**manifest.metrics, "metrics": known},
            "decisions": (made.get(decision, "Temperature 1.200, found on 400 validation objects."),),
            "recipe": {"train": {"calibrate": decision != "asked"}},
        }
    )
    monkeypatch.setattr(sets["colours"], "manifest", changed)
    names = sets["colours"].classes
    shares = dict(zip(names, (0.99, 0.006, 0.004), strict=True))
    told = {"predicted": names[0], "probability": 0.99, "probabilities": shares, "flags": []}
    for language in ("en", "es", "pt"):
        sure = sure_of(Words(language), sets["colours"], told, "pictures", names)
        assert sure is not None
        assert sure.level == level
        assert sure.word == Words(language)(f"sure.word.{level}")
    told_in = sure_of(Words("en"), sets["colours"], told, "pictures", names)
    assert says in told_in.sentence + told_in.basis
    assert ("Of 100 pictures" in told_in.sentence) is (level == "high")


@pytest.mark.parametrize(("missing", "level"), [(1, "high"), (2, "low"), (3, "none"), (6, "none")])
def test_words_are_weaker_where_measurements_are_missing(sets: dict[str, Bundle], missing: int, level: str) -> None:
    bundle = sets["table"]
    flags = ["imputed:" + "|".join(bundle.table.column_names[:missing])]
    names = bundle.classes
    shares = dict(zip(names, (0.98, 0.02), strict=True))
    told = {"predicted": names[0], "probability": 0.98, "probabilities": shares, "flags": flags}
    sure = sure_of(Words("en"), bundle, told, "rows", names)
    assert sure is not None
    assert sure.level == level
    assert (f"{missing} of the 6 measurements" in sure.sentence) is (missing > 1)
    assert (sure.word == "Not to be relied on.") is (missing > 2)


def test_examples_of_a_table_say_their_class(ask: Client, sets: dict[str, Bundle]) -> None:
    presets = sets["table"].presets()
    assert presets is not None
    found = said(ask.get("/models/table"))
    for i in range(len(presets)):
        assert f"{presets.ids[i]} {sets['table'].classes[int(presets.labels[i])]}" in found


def test_every_flag_has_words() -> None:
    flags = [
        "out_of_range",
        "not_finite",
        "imputed:a|b",
        "invalid:c",
        "unreadable:size 3x3",
        "low_confidence",
        "new_flag",
    ]
    found = remarks_of(Words("en"), flags, "pictures")
    assert [r.kind for r in found] == ["warn", "warn", "warn", "bad", "bad", "warn"]
    assert "a, b" in found[2].text
    assert found[4].text == "size 3x3"
    assert found[5].title == "new_flag"


def test_the_models_page_states_its_figures_with_intervals(ask: Client) -> None:
    said(
        ask.get("/models/colours/about"),
        "90 % of 14 test examples were answered correctly (95 % interval 80 % to 95 %)",
        "Accuracy 90 % 80 % to 95 %", "Which classes it confuses", "12 × 12 pixels, 3 channels, uint8",
        "are brought to this size", "The whole model card",
    )  # fmt: skip
    said(ask.get("/models/stamps/about"), "“real” from 60 % on", "science, difference")
    said(ask.get("/models/table/about"), "6 columns", "mag_u")


@pytest.mark.parametrize("figure", ["accuracy", "mae"])
def test_figures_without_intervals_are_told_without(ask: Client, figure: str) -> None:
    metrics = ask.service.models.pick("colours").version.bundle.manifest.metrics
    given = metrics["metrics"]
    metrics["metrics"] = {figure: {"value": 1.0, "low": None, "high": None}}
    try:
        answer = ask.get("/models/colours/about")
        assert answer.status_code == 200
        said(answer, "14 test examples", "(no interval)", "There are no intervals")
        assert "95 % intervals:" not in text(answer.text).partition("The whole model card")[0]
    finally:
        metrics["metrics"] = given


def test_the_confusion_matrix_is_that_of_the_bundle_or_counted_on_its_reference(sets: dict[str, Bundle]) -> None:
    counts, part = counts_of(sets["colours"])  # type: ignore[misc]
    assert part == "validation"
    assert counts.sum() == 64
    assert counts[:, 0].sum() == 64, "its reference gives every class the same share, and the first is answered"
    assert counts_of(sets["values"]) is None
    bundle = sets["colours"]
    given = [[5, 1, 0], [0, 4, 0], [2, 0, 2]]
    bundle.manifest.metrics["confusion"] = given
    try:
        counts, part = counts_of(bundle)  # type: ignore[misc]
        assert counts.tolist() == given
        assert part == "test"
    finally:
        del bundle.manifest.metrics["confusion"]
