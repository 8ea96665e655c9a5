"""The batch page: a file in, how far it is, a table of answers out."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import Any

from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from estampa.bundle.store import Bundle
from estampa.files import storage_errors
from estampa.predict.output import Table, writer_of
from estampa.serve.archive import passed_over
from estampa.serve.frame import Frame
from estampa.serve.inputs import named
from estampa.serve.jobs import MINUTES, Jobs, State
from estampa.serve.pages.words import Words
from estampa.serve.problems import Problem, id_of
from estampa.serve.service import Service
from estampa.serve.shown import Fault, Stated, fault_of
from estampa.serve.views import Bar, class_names, noun_of

_BLOCK = 1 << 20
_SHOWN = 8  #: classes that the end of a job lists
_PASSED = "passed"  #: in the address of a job's page: how many files of its zip file are no pictures
_SUFFIXES = {
    "pictures": (".zip", ".npy", ".npz", ".fits", ".fit"),
    "rows": (".csv", ".tsv", ".parquet", ".fits", ".fit"),
}


@dataclass(frozen=True)
class JobShown:
    """A job as its page tells it."""

    id: str
    state: str
    going: bool
    title: str
    said: str
    words: str
    share: float | None
    kept: str
    query: str = ""  #: of its page's address
    detail_language: str = ""
    counts: list[Bar] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)


class Batch(Frame):
    """The pages of batches."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.jobs = Jobs(service.settings, events=service.events)
        service.closers.append(self.jobs.close)

    async def page(self, request: Request) -> Response:
        """The form; a file that was sent becomes a job, whose page is shown next."""
        model, version, address = self.picked(request)
        t = self.words(request)
        fault: Fault | None = None
        if request.method == "POST":
            try:
                name, passed = await self._begin(request, t)
            except Problem as problem:
                fault = fault_of(t, problem, id_of(request))
            else:
                return RedirectResponse(f"{address}/batch/{name}" + (f"?{_PASSED}={passed}" if passed else ""), 303)
        noun = noun_of(version.bundle)
        return self.html(
            request, "batch", t, fault.status if fault else 200, model=model, here="batch", noun=noun, job=None,
            address=f"{address}/batch", limit=self.service.settings.max_upload, accept=",".join(_SUFFIXES[noun]),
            columns=", ".join(version.bundle.table.column_names) if version.bundle.of_table else "",
            sample=_sample(version.bundle), problem=fault, minutes=MINUTES,
        )  # fmt: skip

    async def _begin(self, request: Request, t: Words) -> tuple[str, int]:
        """Take the file of the form on; the job's id, and how many files of a zip file are no pictures."""
        model, version, _ = self.picked(request)
        form = await _form(request, self.service.settings.scratch)
        try:
            upload = _upload(form, t)
            allowed = _SUFFIXES[noun_of(version.bundle)]
            suffix = PurePosixPath(str(upload.filename).lower()).suffix
            if suffix not in allowed:
                raise Stated("media", t("batch.wrong_kind", allowed=", ".join(allowed)))

            passed = 0

            def fill(path: Path) -> None:
                nonlocal passed
                with path.open("xb") as stream:
                    shutil.copyfileobj(upload.file, stream, _BLOCK)
                passed = passed_over(path) if suffix == ".zip" else 0

            called = named(str(upload.filename))
            return await asyncio.to_thread(self.jobs.begin, model.name, version, fill, called), passed
        except Problem as problem:
            if problem.kind != "busy":
                raise
            raise Stated("busy", t("problem.many_jobs_cure"), t("problem.many_jobs")) from problem
        finally:
            await form.close()

    def _state(self, request: Request, t: Words) -> State:
        model, _, _ = self.picked(request)
        state = self.jobs.state(request.path_params["job"])
        if state is None or state.model != model.name:
            raise Stated("not-found", t("problem.no_job_cure"), t("problem.no_job"))
        return state

    async def job(self, request: Request) -> Response:
        """How far a job is; a piece of the page when the page itself asks."""
        model, version, address = self.picked(request)
        t = self.words(request)
        try:
            state = await asyncio.to_thread(self._state, request, t)
        except Problem:
            if not request.headers.get("hx-request"):
                raise
            state = State(request.path_params["job"], model.name, state="stopped")
        noun = noun_of(version.bundle)
        part = "job" if request.headers.get("hx-request") else "batch"
        told = request.query_params.get(_PASSED, "")
        passed = int(told) if told.isascii() and told.isdigit() and len(told) < 6 else 0
        shown = _shown(state, version.bundle, t, passed)
        return self.html(
            request, part, t, model=model, here="batch", noun=noun, job=shown, address=f"{address}/batch", problem=None
        )

    async def answers(self, request: Request) -> Response:
        """The table of answers."""
        t = self.words(request)
        state = await asyncio.to_thread(self._state, request, t)
        path = self.jobs.answers(state.id)
        if path is None:
            raise Stated("not-found", t("problem.no_job_cure"), t("problem.no_job"))
        return FileResponse(path, media_type="text/csv; charset=utf-8", filename=f"answers-{state.model}.csv")

    async def delete(self, request: Request) -> Response:
        """Delete a job and all that belongs to it."""
        t = self.words(request)
        state = await asyncio.to_thread(self._state, request, t)
        await asyncio.to_thread(self.jobs.delete, state.id)
        return RedirectResponse(f"{self.picked(request)[2]}/batch", 303)


async def _form(request: Request, folder: Path) -> FormData:
    """The form, a large file of it in `folder`. Raises Problem, and StorageError where the disk is full."""
    parser = _Spooled(Headers(raw=request.headers.raw), request.stream(), max_files=1, max_fields=4)
    parser.folder = folder
    try:
        with storage_errors(folder):
            return await parser.parse()
    except ClientDisconnect as error:
        raise Problem("not-understood", "The connection was closed before the file had arrived.") from error
    except (MultiPartException, KeyError, ValueError) as error:
        text = getattr(error, "message", "") or "it has no boundary, or is cut"
        raise Problem("not-understood", f"The form cannot be read: {text}") from error


class _Spooled(MultiPartParser):
    """Puts what does not fit in memory where all else of the service lies, not into the system's folder."""

    folder = Path()

    def on_headers_finished(self) -> None:
        """The head of a part is whole; its file is made here."""
        super().on_headers_finished()
        upload = self._current_part.file
        if upload is not None:
            upload.file.close()  # Starlette's own, still empty
            held = SpooledTemporaryFile(max_size=self.spool_max_size, dir=str(self.folder))  # noqa: SIM115 - closed with the form
            upload.file = held  # type: ignore[assignment]
            self._files_to_close_on_error[-1] = held


def _upload(form: FormData, t: Words) -> UploadFile:
    for _, value in form.multi_items():
        if isinstance(value, UploadFile) and value.filename:
            return value
    raise Stated("not-understood", t("problem.no_file_cure_batch"), t("problem.no_file"))


def _sample(bundle: Bundle) -> str:
    """The head of the table that comes back."""
    return writer_of("csv", Table(bundle.classes, bundle.hash), False).head().decode().strip()


def _shown(state: State, bundle: Bundle, t: Words, passed: int) -> JobShown:
    words: dict[str, Any] = {"title": t("job.failed"), "words": state.problem, "share": None}
    if state.state == "waiting":
        words = {"title": t("job.waiting"), "words": t("job.waiting_words"), "share": None}
    elif state.state == "reading":
        words = {"title": t("job.working"), "words": t("job.reading"), "share": None}
    elif state.state == "working":
        told = t("job.progress", done=t.whole(state.done), total=t.whole(state.total))
        words = {"title": t("job.working"), "words": told, "share": state.done / max(state.total, 1)}
    elif state.state == "done":
        said = t("job.done_words", n=state.total - state.bad)
        said += " " + t("job.bad", n=state.bad) if state.bad else ""
        said += " " + t("job.passed", n=passed) if passed else ""
        words = {"title": t("job.done"), "words": said, "share": 1.0}
    elif state.state in ("lost", "stopped"):
        words["words"] = t(f"job.{state.state}" if state.state == "lost" else "problem.no_job_cure")
        words["title"] = t("job.failed" if state.state == "lost" else "job.stopped")
    ends = time.strftime("%H:%M", time.gmtime(state.ends))
    kept = t("job.kept_going") if state.going else t("job.kept", time=ends) if state.state == "done" else ""
    names = dict(zip(bundle.classes, class_names(bundle, t), strict=True))
    total = max(sum(state.classes.values()), 1)
    often = list(state.classes.items())[:_SHOWN]
    counts = [Bar(names.get(name, name), count / total, t.whole(count)) for name, count in often]
    flags = [f"{_flag(name, t)}: {t.whole(count)}" for name, count in state.flags.items()]
    language = "en" if state.state == "failed" and t.language != "en" else ""
    return JobShown(
        state.id, state.state, state.going, said=f"{words['title']}. {words['words']}", kept=kept,
        query=f"?{_PASSED}={passed}" if passed else "", detail_language=language, counts=counts, flags=flags, **words,
    )  # fmt: skip


def _flag(name: str, t: Words) -> str:
    """A flag in words."""
    return t(f"flag.{name}.title").rstrip(".") if t.has(f"flag.{name}.title") else name
