"""The labelling page: one answered object at a time, the model's own answer hidden until a label is given."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

import numpy as np
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from estampa.data.summary import STATISTICS
from estampa.errors import InputError
from estampa.measure import decide
from estampa.monitor.candidates import CHOSEN, Answered, candidates
from estampa.monitor.feedback import PAGE, Label, drawn_of
from estampa.monitor.policy import LeastPolicy
from estampa.page.display import Shown
from estampa.serve.bodies import form_of
from estampa.serve.exhibits import large
from estampa.serve.feedback import OFF, Desk, Standing, checked, id_of_answer, require_own
from estampa.serve.frame import Frame
from estampa.serve.models import Model, Version
from estampa.serve.pages.words import Words
from estampa.serve.problems import Problem, id_of
from estampa.serve.service import Service
from estampa.serve.shown import Stated, fault_of
from estampa.serve.views import Cell, Viewer, class_names, noun_of

KEYS = "123456789abcdefghijklmnopqrtvwxyz"  #: of the classes in their order; s skips, u undoes
_COOKIE, _UNDONE, _HOURS = "estampa_skipped", "estampa_undone", 12
_MARK = 6  #: bytes by which a skipped answer is remembered in the reader's browser
_NEWS = 20  #: classes that the model does not know and that have a button
_SKIPPED = 300  #: of them, the newest


@dataclass(frozen=True)
class Task:
    """An object to label; `told`: what the log tells of one that was not kept."""

    id: str
    facts: list[tuple[str, str]]
    tiles: list[Shown]
    seen: str
    cells: list[Cell]
    told: list[tuple[str, str]]

    @property
    def kept(self) -> bool:
        """Whether there is something to look at."""
        return bool(self.tiles or self.cells)


@dataclass(frozen=True)
class Said:
    """What became of the object before: the label, what the model had answered, and whether they agree."""

    id: str
    lines: list[str]
    agree: bool | None


@dataclass(frozen=True)
class LabelPage:
    """The page; `empty`: the key of why there is nothing to label."""

    address: str
    noun: str
    question: str
    task: Task | None
    said: Said | None
    choices: list[tuple[str, str, str]]
    pictures: bool
    keeps: bool
    skipped: int
    count: str
    besides: list[str]
    share: float
    empty: str


class Labelling(Frame):
    """The labelling page of each model of a service."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)

    async def page(self, request: Request) -> Response:
        """The next object, or what the form says of this one and then the next."""
        model, version, address = self.picked(request)
        desk, t = self.service.desk, self.words(request)
        if desk is None:
            raise Problem("not-found", OFF)
        asked = {key: request.query_params.get(key, "")[:200] for key in ("id", "last")}
        asked["pictures"] = "1" if request.query_params.get("pictures") else ""
        if _mark(asked["id"]).hex() != request.cookies.get(_UNDONE):
            asked["id"] = ""  # nobody picks what to label: it is drawn, or it was, and is undone
        skipped, fault, changed = _skipped(request), None, request.method == "POST"
        if changed:
            form = await form_of(request)
            try:
                asked, skipped = await self._told(form, desk, model, version, t, skipped)
            except Problem as problem:
                fault = fault_of(t, problem, id_of(request))
                asked = {
                    "id": str(form.get("id", ""))[:200],
                    "last": "",
                    "pictures": "1" if form.get("pictures") else "",
                }
            finally:
                await form.close()
        partly = bool(request.headers.get("hx-request")) and not request.headers.get("hx-history-restore-request")
        where = f"{address}/label" + (f"?{urlencode(kept)}" if (kept := {k: v for k, v in asked.items() if v}) else "")
        if changed and fault is None and not partly:
            answer: Response = RedirectResponse(where, 303, {"Cache-Control": "no-store"})
        else:
            view = _View(self.service, desk, version, t, skipped)
            page = await self.read(lambda: view.page(f"{address}/label", asked))
            status = fault.status if fault else 200
            answer = self.html(
                request, "task" if partly else "label", t, status, model=model, here="label", page=page, problem=fault
            )
            if partly:
                answer.headers["HX-Replace-Url"] = where
        if changed and fault is None:
            kept_ = {_COOKIE: base64.urlsafe_b64encode(b"".join(skipped)).decode()}
            if asked.get("id"):
                kept_[_UNDONE] = _mark(asked["id"]).hex()
            for cookie, value in kept_.items():
                answer.set_cookie(
                    cookie, value, _HOURS * 3600, path=f"{address}/label",
                    samesite="strict", httponly=True, secure=request.url.scheme == "https",
                )  # fmt: skip
        return answer

    async def _told(
        self, form: FormData, desk: Desk, model: Model, version: Version, t: Words, skipped: list[bytes]
    ) -> tuple[dict[str, str], list[bytes]]:
        """Do what a form says; what to show next, and what is skipped by then. Raises Problem."""
        pictures, what = "1" if form.get("pictures") else "", str(form.get("do", ""))
        if what == "again":
            return {"pictures": pictures}, []
        name = id_of_answer(form.get("id"))
        others = [one for one in skipped if one != _mark(name)]
        if what == "skip":
            return {"last": name, "pictures": pictures}, [*others, _mark(name)][-_SKIPPED:]
        if what == "undo":
            await self.read(lambda: _withdraw(desk, version, name))
            return {"id": name, "pictures": pictures}, others

        def work() -> None:
            labels: dict[str, Label] = {name: _label(form, desk, version, t)}
            require_own(labels, model, self.service.models, desk)
            desk.take(version, labels, PAGE, drawn_of(name))

        await self.read(work)
        return {"last": name, "pictures": pictures}, others


def _label(form: FormData, desk: Desk, version: Version, t: Words) -> Label:
    """The label that a form holds; Problem where it is none."""
    if version.bundle.classes and "new" in form:
        return checked(version, str(form["new"]), new=True)
    if version.bundle.classes:
        label = str(form.get("label", ""))
        return checked(version, label, new=label in desk.standing(version).counts.news)
    try:
        value = t.read(str(form.get("value", ""))[:40])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Stated("label", t("problem.wrong_number", example=t.number(17.5, 1)))
    return value


def _withdraw(desk: Desk, version: Version, name: str) -> None:
    """Take back what was said of an answer, if anything was."""
    desk.refresh()
    if desk.label(name) is not None:
        desk.take(version, {name: None}, PAGE, drawn_of(name))


def _mark(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=_MARK).digest()


def _skipped(request: Request) -> list[bytes]:
    """Marks of what this reader has skipped, the oldest first."""
    try:
        data = base64.b64decode(request.cookies.get(_COOKIE, "")[:8000], b"-_", validate=True)
    except (binascii.Error, ValueError):
        return []
    return [data[i : i + _MARK] for i in range(0, len(data) - _MARK + 1, _MARK)][-_SKIPPED:]


class _View:
    """Makes the page for one reader. It reads files: to be used in a thread."""

    def __init__(self, service: Service, desk: Desk, version: Version, t: Words, skipped: Sequence[bytes]) -> None:
        self.service, self.desk, self.version, self.t = service, desk, version, t
        self.bundle, self.skipped = version.bundle, set(skipped)
        self.names, self.noun = class_names(version.bundle, t), noun_of(version.bundle)

    def page(self, address: str, asked: dict[str, str]) -> LabelPage:
        """The page with an object that is `asked` for by its id, else the next one."""
        t, keep = self.t, self.service.keep
        self.desk.refresh()
        standing, recent = self.desk.standing(self.version), self.desk.recent(self.version)
        pictures = bool(asked.get("pictures")) and keep is not None
        kept = set(keep.ids(datetime.now(UTC))) if pictures and keep is not None else None
        task, missed = self._next(asked.get("id", ""), recent, standing, kept)
        empty = "" if task else "none" if not recent else "unkept" if kept is not None and not missed else "done"
        least = LeastPolicy().labels
        enough = "label.count" if standing.fair < least else "label.enough"
        had = standing.counts
        counts = {"count": standing.fair, "needed": least, "random": had.random, "given": had.given}
        return LabelPage(
            address, self.noun, t(f"classify.title.{self.noun}" if self.bundle.classes else "classify.title_value"),
            task, self._said(asked.get("last", "")),
            self._choices(standing),
            pictures, keep is not None, missed, t(enough, **{name: t.whole(n) for name, n in counts.items()}),
            [t(f"label.{what}", n=n) for what, n in (("chosen", had.chosen), ("aside", had.aside)) if n],
            min(standing.fair / least, 1.0), empty,
        )  # fmt: skip

    def _choices(self, standing: Standing) -> list[tuple[str, str, str]]:
        """What to choose from: value, name, key; classes that the model does not know stand last."""
        news = standing.counts.news
        often = sorted(news, key=lambda name: -news[name])[:_NEWS]
        listed = [
            *zip(self.bundle.classes, self.names, strict=True), *((name, name) for name in news if name in often),
        ]  # fmt: skip
        return [(value, name, KEYS[k : k + 1]) for k, (value, name) in enumerate(listed if self.names else ())]

    def _next(
        self, wanted: str, recent: Sequence[Answered], standing: Standing, kept: set[str] | None
    ) -> tuple[Task | None, int]:
        """The object to show, and how many that could be were skipped."""
        if wanted:
            found = next((one for one in recent if one.id == wanted), None)
            if found is not None and found.id not in standing.ids:
                return self._task(found), 0
        left = [one for one in recent if one.id not in standing.ids and (kept is None or one.id in kept)]
        missed = {one.id for one in left if _mark(one.id) in self.skipped}
        pool = [one for one in recent if kept is None or one.id in kept or one.id in standing.ids]
        found_ = candidates(pool, standing.ids | missed, of_table=self.bundle.of_table)
        ordered = sorted(found_, key=lambda one: one.drawn != standing.counts.turn)
        return (self._task(ordered[0].answer) if ordered else None), len(missed)

    def _task(self, answer: Answered) -> Task:
        t, row = self.t, self._row(answer)
        facts = [(t("label.id"), answer.id), (t("label.time"), answer.time[:19].replace("T", " ") + " UTC")]
        # What the model thought of its answer stays hidden with it.
        flags = [flag for flag in answer.flags if flag != "low_confidence"]
        facts.append((t("facts.flags"), "; ".join(flags) or t("facts.no_flags")))
        if row is not None:
            viewer = Viewer(self.version, t)
            tiles = [] if self.bundle.of_table else large(row, self.bundle.pictures)
            return Task(answer.id, facts, tiles, viewer.seen(row) if tiles else "", viewer.cells(row), [])
        if self.bundle.of_table:
            named = list(self.bundle.preparation.names)
        else:
            count, names = self.bundle.pictures.shape[2], self.bundle.pictures.channels
            channels = [f"{name}, " for name in names or ([""] if count == 1 else map(str, range(1, count + 1)))]
            named = [f"{name}{what}".removeprefix(", ") for name in channels for what in STATISTICS]
        told = [(name, t.short(float(value))) for name, value in zip(named, answer.describe, strict=True)]
        return Task(answer.id, facts, [], "", [], told)

    def _row(self, answer: Answered) -> np.ndarray | None:
        """What the model was fed, where it was kept by consent, and the time has not come."""
        if self.service.keep is None:
            return None
        try:
            found = self.service.keep.read(answer.id)
        except InputError:  # nothing kept, or no more, or damaged: then it cannot be shown
            return None
        contract = self.bundle.contract
        wanted: tuple[int, ...] = (len(self.bundle.table.columns),) if self.bundle.of_table else contract.shape
        good = found.array.shape == wanted and found.expires > datetime.now(UTC)
        good &= found.array.dtype == ("float64" if self.bundle.of_table else contract.dtype)
        return found.array if good else None

    def _said(self, name: str) -> Said | None:
        """What is told of the object before."""
        t, answer = self.t, self.desk.answer(name) if name else None
        if answer is None or answer.model != self.version.hash:
            return None
        given = self.desk.label(name)
        if given is None:
            return Said(name, [t("label.skipped")], None) if _mark(name) in self.skipped else None
        label, drawn = given
        lines = [t("label.yours", label=self._name(label))]
        agree = None
        if not np.isfinite(answer.output).all():
            lines.append(t("label.silent"))
        elif self.bundle.classes:
            k = int(decide(answer.output[None], self.bundle.thresholds.decision)[0])
            agree = self.bundle.classes[k] == label
            lines.append(t("label.models", answer=self.names[k], percent=t.chance(float(answer.output[k]))))
            differs = "label.differ" if label in self.bundle.classes else "label.unknown"
            lines.append(t("label.agree" if agree else differs))
        else:
            lines.append(t("label.value", answer=t.short(float(answer.output[0]))))
        if drawn == CHOSEN:
            lines.append(t("label.was_chosen"))
        return Said(name, lines, agree)

    def _name(self, label: Any) -> str:
        if isinstance(label, str):
            return self.names[self.bundle.classes.index(label)] if label in self.bundle.classes else label
        return self.t.short(float(label))
