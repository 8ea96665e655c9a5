"""A stand-in SkyServer on 127.0.0.1: answers SQL over a made catalogue in the real format, or misbehaves on command.

Addresses, parameters and formats are those of astroquery.sdss: GET /dr7/en/tools/search/x_sql.asp?cmd=...&format=csv
(release 7: CSV alone), /dr17/en/tools/search/x_results.aspx?cmd=...&format=csv&searchtool=SQL (from release 10 on: CSV
under a line "#Table1"). Of SQL it knows what the builder asks, word by word; anything else is answered as SkyServer
answers what it cannot run.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import galaxies
import numpy as np

FIRST_ID = 587722981736579107  #: of DR7, far beyond 2^53
BANDS = "ugriz"
PHOTOMETRY = ("dered", "petroR50", "petroR90", "deVRad", "deVAB", "deVPhi", "deVMag", "expRad", "expAB", "expPhi",
              "expMag", "fracDeV", "lnLDeV", "lnLExp", "lnLStar", "mRrCc", "mE1", "mE2", "mCr4")  # fmt: skip
QUERY_LIMIT = 2048  #: characters of an address's query, as SkyServer's own
_COLUMN = re.compile(r"(?:\w\.)?(\w+)(?:\s+AS\s+(\w+))?", re.IGNORECASE)
_HTML = (
    "<html><head>\n<title>Skyserver Error</title>\n</head><body bgcolor=white>\n<h2>An error occured</h2>"
    "<H3 BGCOLOR=pink><font color=red>{}<br></font></H3></BODY></HTML>\n"
)


def catalogue(n: int, seed: int = 0) -> dict[str, list[object]]:
    """`n` galaxies: lower-case column -> values. Ellipticals are red and concentrated; sentinels are planted."""
    random = np.random.default_rng(seed)
    kind = random.choice(3, n, p=[0.3, 0.2, 0.5])  # spiral, elliptical, uncertain
    red = np.where(kind == 1, 1.0, np.where(kind == 0, 0.0, random.random(n)))
    made: dict[str, np.ndarray] = {}
    for at, band in enumerate(BANDS):
        made[f"dered_{band}"] = 18 - at * (0.3 + 0.3 * red) + random.normal(0, 0.1, n)
        for name in PHOTOMETRY[1:]:
            made[f"{name}_{band}"] = random.uniform(0.1, 0.9, n)
        made[f"petroR50_{band}"] = random.uniform(1, 4, n)
        made[f"petroR90_{band}"] = made[f"petroR50_{band}"] * (2 + red + random.normal(0, 0.1, n))
    columns: dict[str, list[object]] = {k.lower(): [round(float(v), 6) for v in values] for k, values in made.items()}
    columns["petror50_r"][0] = columns["mrrcc_u"][1] = -9999
    columns["dered_z"][2] = 0
    columns["dered_g"][3] = -1000
    columns["me1_i"][4] = None
    columns["objid"] = [FIRST_ID + 3 * i for i in range(n)]
    columns["objid8"] = [1237648702966988832 + i for i in range(n)]
    columns["ra"] = [round(float(v), 8) for v in random.uniform(0, 360, n)]
    columns["dec"] = [round(float(v), 8) for v in random.uniform(-10, 60, n)]
    columns["redshift"] = [round(float(v), 5) for v in random.uniform(0.01, 0.2, n)]
    columns["nvote"] = [int(v) for v in random.integers(20, 80, n)]
    for name in ("p_el", "p_cw", "p_acw", "p_edge", "p_dk", "p_mg", "p_cs", "p_el_debiased", "p_cs_debiased"):
        columns[name] = [round(float(v), 3) for v in random.random(n)]
    for at, name in enumerate(("spiral", "elliptical", "uncertain")):
        columns[name] = [int(v) for v in kind == at]
    return columns


@dataclass
class Sky:
    """The server's state: what it knows, what it was asked, and how it is to misbehave."""

    columns: dict[str, list[object]]
    url: str = ""
    asked: list[tuple[int, str]] = field(default_factory=list)  #: release and SQL of each request
    behave: list[str] = field(default_factory=list)  #: one word a request, taken from the front; "" = well
    without: set[int] = field(default_factory=set)  #: rows that have no photometry in DR7
    stopped: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pages(self) -> list[str]:
        """SQL of the requests for pages, in order."""
        return [sql for _, sql in self.asked if "COUNT" not in sql]


def numbers(sky: Sky, names: tuple[str, ...]) -> np.ndarray:
    """The catalogue's own numbers (n, names) float64, NaN where a value is null."""
    columns = [[np.nan if v is None else v for v in sky.columns[name.lower()]] for name in names]
    return np.array(columns, np.float64).T


def answer(sky: Sky, release: int, sql: str) -> str:
    """CSV that SkyServer gives to `sql`; ValueError with the database's words when it cannot be run."""
    columns = sky.columns
    if release == 7 and "zooSpec" in sql:
        raise ValueError("Invalid object name 'zooSpec'.")
    ids: list[int] = columns["objid"]  # type: ignore[assignment]
    head = "" if release < 10 else "#Table1\n"
    if sql.startswith("SELECT COUNT(*) AS n FROM zooSpec"):
        return f"{head}n\n{len(ids)}\n"
    found = re.fullmatch(r"SELECT (?:TOP (\d+) )?(.*) FROM (.*) WHERE (.*) ORDER BY ([\w.]+)", sql)
    if found is None:
        raise ValueError("Incorrect syntax near the keyword 'FROM'.")
    top, wanted, _, where, order = found.groups()
    assert order in ("v.dr7objid", "s.bestObjID")
    above = int(re.search(r">(\d+)", where)[1]) if ">=" not in where else int(re.search(r">=(\d+)", where)[1]) - 1
    below = re.search(r"<=(\d+)", where)
    rows = [i for i, one in enumerate(ids) if above < one <= (int(below[1]) if below else 1 << 63)]
    if "SpecObj AS s JOIN" in sql:
        rows = [i for i in rows if i not in sky.without]
    rows = rows[: int(top) if top else None]
    names = []
    for part in wanted.split(","):
        plain, alias = _COLUMN.fullmatch(part).groups()
        names.append(alias or plain)
        if names[-1].lower() not in columns:
            raise ValueError(f"Invalid column name '{plain}'.")
    lines = [",".join(names)]
    for i in rows:
        values = [columns[name.lower()][i] for name in names]
        lines.append(",".join("null" if value is None else str(value) for value in values))
    return head + "\n".join(lines) + "\n"


class _Handler(BaseHTTPRequestHandler):
    state: Sky
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        sky, parts = self.state, urlsplit(self.path)
        release = int(re.match(r"/dr(\d+)/en/tools/search/", parts.path)[1])
        given = parse_qs(parts.query)
        sql = given["cmd"][0].strip()
        with sky.lock:
            sky.asked.append((release, sql))
            word = sky.behave.pop(0) if sky.behave else ""
        assert given["format"] == ["csv"]
        assert len(parts.query) <= QUERY_LIMIT
        assert (given.get("searchtool") == ["SQL"]) == (release > 11)
        assert parts.path.endswith(
            "/x_sql.asp" if release < 10 else "/x_sql.aspx" if release == 10 else "/x_results.aspx"
        )
        try:
            text = answer(sky, release, sql)
        except ValueError as error:
            text = _HTML.format(f"SQL: {error}")
        self._send(word, text)

    def _send(self, word: str, text: str) -> None:
        sky = self.state
        lines = text.splitlines(keepends=True)
        if word == "timeout":
            sky.stopped.wait(5)
            return
        if word.isdigit():
            self._give(_HTML.format("Service Unavailable").encode(), int(word))
        elif word == "html":
            self._give(
                b"<!DOCTYPE html>\n<html><head><title>Site maintenance</title></head><body>Back soon.</body></html>"
            )
        elif word == "sql":
            self._give(_HTML.format("SQL returned the following error:<br>Invalid object name 'zooSpec'.").encode())
        elif word == "error_message":
            self._give(b'error_message\n"Incorrect syntax near TOP"\n')
        elif word == "half":  # the connection ends in the middle of a row, its length never announced
            self._give("".join(lines)[: len(text) - len(lines[-1]) // 2].encode(), length=False)
        elif word == "cut":  # less than was announced
            self._give(text.encode(), cut=True)
        elif word == "fewer":  # whole rows, but not all of them
            self._give("".join(lines[: (len(lines) + 2) // 2]).encode())
        elif word == "empty":
            self._give("".join(lines[: 2 if text.startswith("#") else 1]).encode())
        elif word == "nothing":
            self._give(b"")
        elif word == "columns":
            self._give(text.replace("p_el_debiased", "p_elliptical").replace("petroR50_r", "petroRad_r").encode())
        elif word == "text":  # a word where a number should be, in the third row
            at = 3 if text.startswith("#") else 2
            lines[at] = lines[at].rstrip("\n").rpartition(",")[0] + ",oops\n"
            self._give("".join(lines).encode())
        elif word == "rounded":  # ids as a spreadsheet leaves them
            lines[-1] = f"5.877E+17,{lines[-1].partition(',')[2]}"
            self._give("".join(lines).encode())
        else:
            self._give(text.encode())

    def _give(self, body: bytes, status: int = 200, length: bool = True, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        if length:
            self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve(n: int = 50, seed: int = 0) -> Iterator[Sky]:
    """A server that knows `n` galaxies, until the end of the `with`."""
    state = Sky(catalogue(n, seed))
    with galaxies.listening(_Handler, state):
        yield state
