"""SkyServer, asked through astroquery: paced, retried, and each whole answer kept with its checksum.

The folder of answers is a cache and the state of a stopped run in one: an answer is a file written whole, and a line
of the journal names its query, release and SHA-256. A query that the journal knows, and whose file is as it says, is
not asked again. astroquery's own cache stays off: it is made of pickles.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from estampa import machine
from estampa.data.builders._download import persistent, require_http
from estampa.data.builders._gz_fetch import Pace
from estampa.data.builders._sdss_answer import Answer, answer_of, refuse_error
from estampa.data.builders._sdss_query import Query
from estampa.data.read import cache_folder
from estampa.data.sources._base import fingerprint_of
from estampa.errors import SourceError
from estampa.files import locked, sha256_of, storage_errors, write_atomic
from estampa.progress import SILENT, Progress


class SkyServer:
    """One server and its kept answers.

    Parameters
    ----------
    address : "https://..." without the data release; "" = astroquery's own setting (astroquery.sdss.conf).
    rate : queries a second at most; SkyServer allows 60 a minute.
    timeout : seconds without an answer; 0 = astroquery's own setting.

    Raises MissingExtra without astroquery, InputError for an address that is none.
    """

    def __init__(self, address: str, rate: float, timeout: float = 0, progress: Progress = SILENT) -> None:
        machine.require("astro", "astroquery", needed_for="asking SkyServer")
        from astroquery.sdss import SDSSClass, conf

        self.address = (address or str(conf.skyserver_baseurl)).rstrip("/")
        require_http(self.address, "--option url" if address else "astroquery.sdss.conf.skyserver_baseurl")
        self.folder = cache_folder().parent / "downloads" / "sdss" / fingerprint_of(self.address)[:16]
        self.asked = 0  #: queries that the server was sent, tries included
        self._client: Any = SDSSClass()
        self._timeout = timeout or float(conf.timeout)
        self._pace, self._progress = Pace(rate), progress
        self._journal = self.folder / "journal.jsonl"
        self._known: dict[str, str] = {}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the kept answers: another run that wants them waits. `ask` is for inside of it."""
        with locked(self._journal):
            self._known = self._read_journal()
            yield

    def ask(self, query: Query, due: bool = False) -> Answer:
        """The answer, kept or asked for.

        `due` says that a row at least must come. Timeouts, answers that break off or then have no row, and the statuses
        429 and 500 to 599 are tried again, with growing pauses, then are a DownloadError; what is no table is a
        SourceError at once. Both name the server and the page.
        """
        where = f"{self.address}, data release {query.release}, {query.name}"
        kept = self._kept(query)
        if kept is not None:
            return answer_of(kept, query, where)
        text, answer = persistent(where, lambda: self._once(query, due, where), self._progress)
        self._keep(query, text, len(answer.values))
        return answer

    def _once(self, query: Query, due: bool, where: str) -> tuple[str, Answer]:
        """One try: the text of an answer that is whole, and what it says."""
        from astroquery.sdss import conf

        self._pace.wait()
        self.asked += 1
        with conf.set_temp("skyserver_baseurl", self.address):
            response = self._client.query_sql_async(
                query.sql, timeout=self._timeout, data_release=query.release, cache=False
            )
        try:
            text = response.content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise SourceError("the answer is no text in UTF-8", where=where, got=str(error)) from error
        if response.status_code >= 400:
            refuse_error(text, where)
            response.raise_for_status()
        if not text.endswith("\n") and not {"Content-Length", "Transfer-Encoding"} & set(response.headers):
            raise EOFError("the answer breaks off, without the end of its last line")
        answer = answer_of(text, query, where)
        if len(answer.values) < due:
            raise EOFError("no row came, though galaxies are still due")
        return text, answer

    # ------------------------------------------------------------------------------------------ what is kept

    def _name(self, query: Query) -> str:
        return f"{fingerprint_of(query.release, query.sql)[:32]}.csv"

    def _kept(self, query: Query) -> str | None:
        """An earlier answer to the same query, when its file has the checksum that the journal states."""
        path = self.folder / self._name(query)
        if path.name not in self._known or not path.is_file() or sha256_of(path) != self._known[path.name]:
            return None
        return path.read_bytes().decode("utf-8")

    def _keep(self, query: Query, text: str, rows: int) -> None:
        path = self.folder / self._name(query)
        with storage_errors(path):
            write_atomic(path, text)
            checksum = sha256_of(path)
            line = {"file": path.name, "sha256": checksum, "release": query.release, "sql": query.sql, "rows": rows}
            with self._journal.open("a", encoding="utf-8") as stream:
                stream.write(f"\n{json.dumps(line)}\n")  # a line of its own, whatever a kill left before it
                stream.flush()
                os.fsync(stream.fileno())
        self._known[path.name] = checksum

    def _read_journal(self) -> dict[str, str]:
        """File -> SHA-256 of every line that is whole; a kill may have cut the last one short."""
        known = {}
        lines = self._journal.read_text("utf-8", "replace").splitlines() if self._journal.is_file() else []
        for text in filter(None, lines):
            try:
                line = json.loads(text)
                known[Path(line["file"]).name] = str(line["sha256"])
            except (ValueError, KeyError, TypeError):
                continue
        return known
