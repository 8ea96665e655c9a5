"""The routes of the pages: which page answers which request, in the reader's language."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Any

import numpy as np
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from estampa.errors import EstampaError
from estampa.predict.source import Chunk
from estampa.predict.table_source import TableChunk
from estampa.serve import arrays
from estampa.serve.about import about_page
from estampa.serve.batch import Batch
from estampa.serve.bodies import files_of, form_of, from_files
from estampa.serve.drawn import canvas_of
from estampa.serve.entry import chooser_items, classify_page
from estampa.serve.frame import Frame
from estampa.serve.inputs import Inputs, Reader
from estampa.serve.labelling import Labelling
from estampa.serve.models import Model, Version
from estampa.serve.pages.render import FILES, static
from estampa.serve.pages.words import Words
from estampa.serve.problems import Problem, id_of
from estampa.serve.room import CHARGE
from estampa.serve.service import Service
from estampa.serve.shown import Fault, Stated, fault_of
from estampa.serve.views import MOST_FILES, Answer, Asked, Viewer
from estampa.serve.watched import watched_now

_FIELD = 8 << 20  #: bytes of a field of a form: a picture that the page carries to ask about it again


def routes(service: Service) -> list[BaseRoute]:
    """Every page, and what pages load."""
    site, batch, labelling = Site(service), Batch(service), Labelling(service)
    both = ("GET", "POST")
    return [
        site.route("/", site.start),
        site.route("/static/{file}", site.file),
        site.route("/models/{name}", site.classify, both),
        site.route("/models/{name}/about", site.about),
        site.route("/models/{name}/label", labelling.page, both),
        site.route("/models/{name}/batch", batch.page, both),
        site.route("/models/{name}/batch/{job}", batch.job),
        site.route("/models/{name}/batch/{job}/answers.csv", batch.answers),
        site.route("/models/{name}/batch/{job}/delete", batch.delete, ("POST",)),
    ]


class Site(Frame):
    """The pages of one service, but for those of batches."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)

    # ------------------------------------------------------------------ pages

    async def file(self, request: Request) -> Response:
        """What pages load; kept by browsers, since its address changes with its content."""
        name = request.path_params["file"]
        if name not in FILES:
            raise Problem("not-found", "No such file is served.")
        content, kind, _ = static(name)
        kept = "public, max-age=31536000, immutable" if request.query_params.get("v") else "no-cache"
        return Response(content, media_type=kind, headers={"Cache-Control": kept})

    async def start(self, request: Request) -> Response:
        """The chooser; of one model, its page."""
        models, t = self.service.models.all(), self.words(request)
        if len(models) == 1:
            asked = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"{request.scope.get('root_path', '')}/models/{models[0].name}{asked}", 303)
        return self.html(request, "chooser", t, models=await asyncio.to_thread(lambda: chooser_items(models, t)))

    async def about(self, request: Request) -> Response:
        """The model's page."""
        model, version, _ = self.picked(request)
        t = self.words(request)
        page = await asyncio.to_thread(lambda: about_page(model, version, t))
        states = await self.service.watcher.states() if self.service.watcher is not None else {}
        now = watched_now(states[model.name], version.bundle, t) if model.name in states else None
        return self.html(request, "about", t, model=model, here="about", page=page, now=now)

    async def classify(self, request: Request) -> Response:
        """The classify page, with the answer to what was chosen, sent, drawn or typed."""
        model, version, address = self.picked(request)
        t = self.words(request)
        now: dict[str, Any] = {}
        answers: list[Answer] = []
        fault: Fault | None = None
        try:
            asked = await self._asked(request, version, t, now)
            if asked is not None:
                answers = await self._answered(request, model, version, t, asked)
        except (Problem, EstampaError) as error:
            fault = fault_of(t, self.problem(request, error), id_of(request))
        limit = self.service.settings.max_body
        page = await asyncio.to_thread(lambda: classify_page(version, t, address, limit, **now))
        part = (
            "outcome"
            if request.headers.get("hx-request") and not request.headers.get("hx-history-restore-request")
            else "classify"
        )
        many = _many(t, answers) if len(answers) > 1 else None
        status = fault.status if fault else 200
        return self.html(
            request, part, t, status, model=model, here="classify", page=page, answers=answers, problem=fault,
            many=many, consent=self._consent(t),
        )  # fmt: skip

    # ------------------------------------------------------------------ what was asked

    async def _asked(
        self, request: Request, version: Version, t: Words, now: dict[str, Any]
    ) -> tuple[Inputs, list[Asked], bool, bool] | None:
        """Objects, what to call them, whether to say what the answer hangs on, and whether they may be stored; None
        where nothing was asked.
        """
        reader = Reader(version.bundle, self.service.settings, request.scope[CHARGE])
        if request.method != "POST":
            given = request.query_params.get("preset")
            return None if given is None else (*_preset(version, t, given, now), "why" in request.query_params, False)
        form = await form_of(request, _FIELD)
        try:
            agreed = form.get("consent") == "true" and not form.get("again")  # what is carried was given before
            return (*await self._sent(form, reader, version, t, now), bool(form.get("why")), agreed)
        finally:
            await form.close()

    async def _sent(
        self, form: FormData, reader: Reader, version: Version, t: Words, now: dict[str, Any]
    ) -> tuple[Inputs, list[Asked]]:
        """What a form holds: an object that was carried along, a typed row, a drawing, or files."""
        if form.get("again"):
            found: tuple[Inputs, list[Asked]] = await self.read(lambda: _again(reader, form))
            if version.bundle.of_table:
                now["row"] = found[0].chunk.values[0]  # type: ignore[union-attr]
            return found
        if version.bundle.of_table:
            return _typed(version, t, form, now)
        if form.get("drawing"):
            return _drawing(version, t, str(form["drawing"]))
        files = await _files(form, t)
        inputs = await self.read(lambda: from_files(reader, files))
        if len(inputs) > MOST_FILES:
            raise Stated("too-large", t("many.too_many", most=t.whole(MOST_FILES), count=t.whole(len(inputs))))
        names = [name for name, _ in files] if len(files) == len(inputs) else [str(i) for i in inputs.ids]
        return inputs, [Asked(name) for name in names]

    def _consent(self, t: Words) -> str:
        """What a sender may agree to: for how long an input is stored, and what for; "" where none ever is."""
        settings = self.service.settings
        if settings.keep is None:
            return ""
        hours = max(1, round(settings.retention.total_seconds() / 3600))
        time = t("classify.hours", n=hours) if hours < 48 else t("classify.days", n=round(hours / 24))
        return t("classify.consent" if settings.feedback is None else "classify.consent_labels", time=time)

    async def _answered(
        self, request: Request, model: Model, version: Version, t: Words,
        asked: tuple[Inputs, list[Asked], bool, bool],
    ) -> list[Answer]:  # fmt: skip
        inputs, objects, why, agreed = asked
        how: dict[str, Any] = {"consent": agreed, "embedding": True, "version": version}
        served = await self.service.answer(model, inputs, id_of(request), **how)
        viewer = Viewer(version, t)
        answers: list[Answer] = await asyncio.to_thread(lambda: viewer.answers(served, objects))
        if why and len(answers) == 1:
            from estampa.serve.why import explained  # a tenth of what starting imports, and seldom asked for

            answers = [await self.service.explained(lambda: explained(viewer, served, answers[0]))]
        return answers


def _preset(version: Version, t: Words, given: str, now: dict[str, Any]) -> tuple[Inputs, list[Asked]]:
    """One of the bundle's own objects."""
    presets = version.presets
    if presets is None or not given.isascii() or not given.isdigit() or int(given) >= len(presets):
        raise Stated("not-found", t("problem.not_found_cure"))
    k = int(given)
    now["chosen"] = k
    ids, truth = presets.ids[k : k + 1], presets.labels[k].item()
    if presets.rows is not None:
        now["row"] = presets.rows[k]
        return Inputs(ids, TableChunk(0, presets.rows[k : k + 1])), [Asked(str(ids[0]), truth)]
    assert presets.images is not None
    name = f"{t('classify.example', number=k + 1)} ({ids[0]})"
    return Inputs(ids, Chunk(0, presets.images[k : k + 1])), [Asked(name, truth)]


def _again(reader: Reader, form: FormData) -> tuple[Inputs, list[Asked]]:
    """An object that the page carried along, since the service keeps none."""
    try:
        data = base64.b64decode(str(form["again"]), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem("unreadable", "The object is not base64.") from error
    values = arrays.npy(data, "the object")
    contract = reader.bundle.contract
    wanted: tuple[int, ...] = (1, len(reader.bundle.table.columns)) if reader.bundle.of_table else (1, *contract.shape)
    if values.shape != wanted or values.dtype != ("float64" if reader.bundle.of_table else contract.dtype):
        raise Problem("contract", f"The object must be {' x '.join(map(str, wanted))} of the model's type.")
    try:
        truth = float(str(form["truth"])) if form.get("truth") else None
    except ValueError as error:
        raise Problem("not-understood", "The label is no number.") from error
    if truth is not None and reader.bundle.classes and not 0 <= truth < len(reader.bundle.classes):
        raise Problem("not-understood", "The label is no class of the model.")
    chunk = TableChunk(0, values) if reader.bundle.of_table else Chunk(0, values)
    return Inputs(np.array(["0"]), chunk), [Asked(str(form.get("name", ""))[:200], truth, form.get("kept") == "1")]


def _typed(version: Version, t: Words, form: FormData, now: dict[str, Any]) -> tuple[Inputs, list[Asked]]:
    """A row that was typed; Problem where a field holds no number, with the field marked in `now`."""
    columns = version.bundle.table.columns
    typed = {i: str(form.get(f"c{i}", ""))[:40] for i in range(len(columns))}
    row, faults = np.full((1, len(columns)), np.nan), {}
    for i, text in typed.items():
        try:
            row[0, i] = t.read(text)
        except ValueError:
            faults[i] = t("problem.wrong_number", example=t.number(17.5, 1))
    now.update(typed=typed, faults=faults)
    if faults:
        names = ", ".join(columns[i].name for i in faults)
        told = f"{names}. {t('problem.wrong_row_cure')}"
        raise Stated("unreadable", told, t("problem.wrong_row"), {f"c{i}": text for i, text in faults.items()})
    return Inputs(np.array(["0"]), TableChunk(0, row)), [Asked(t("classify.row_name"))]


def _drawing(version: Version, t: Words, text: str) -> tuple[Inputs, list[Asked]]:
    """What was drawn on the canvas."""
    contract = version.bundle.pictures
    canvas = canvas_of(contract, version.presets)
    if canvas is None:
        raise Problem("contract", "This model was not made of drawings.")
    return Inputs(np.array(["0"]), Chunk(0, canvas.pixels(text, contract))), [Asked(t("draw.name"))]


async def _files(form: FormData, t: Words) -> list[tuple[str, bytes]]:
    """The files of the form; none is the commonest mistake, so it is told in the reader's language."""
    if not any(getattr(value, "filename", "") for _, value in form.multi_items()):
        raise Stated("not-understood", t("problem.no_file_cure"), t("problem.no_file"))
    files = await files_of(form)
    if len(files) > MOST_FILES:
        raise Stated("too-large", t("many.too_many", most=t.whole(MOST_FILES), count=t.whole(len(files))))
    return files


def _many(t: Words, answers: list[Answer]) -> dict[str, str]:
    """Heading and tally above several answers."""
    counts: dict[str, int] = {}
    for answer in answers:
        name = t("answer.none") if answer.bad else answer.predicted
        counts[name] = counts.get(name, 0) + 1
    listed = ", ".join(f"{name}: {t.whole(count)}" for name, count in sorted(counts.items(), key=lambda c: -c[1])[:12])
    return {
        "title": t("many.title", n=len(answers)),
        "summary": listed,
        "said": t("many.said", count=t.whole(len(answers))),
    }
