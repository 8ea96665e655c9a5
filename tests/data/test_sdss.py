"""Builder sdss with a stand-in SkyServer on 127.0.0.1 that is asked by astroquery's real client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skyserver

from estampa.cli import main
from estampa.data.builders import _download, _gz_fetch
from estampa.data.builders._sdss_query import Catalogue
from estampa.data.dataset import Dataset
from estampa.data.read import build
from estampa.errors import DownloadError, EstampaError, InputError, Interrupted, SourceError

pytest.importorskip("astroquery")

N = 50


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_download, "PAUSE", 0.001)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sky() -> Iterator[skyserver.Sky]:
    with skyserver.serve(N) as state:
        yield state


def options(sky: skyserver.Sky, **more: str) -> dict[str, str]:
    return {"url": sky.url, "page": "20", "rate": "1000", "release": "17", **more}


def make(tmp_path: Path, asked: dict[str, str], name: str = "set.h5") -> Dataset:
    return build("sdss", tmp_path / name, builder_options=asked)


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "downloads" / "sdss").glob("*/*.csv"))


# ---------------------------------------------------------------------------------------------- whole builds


@pytest.mark.parametrize("release", ["7", "8", "10", "17"])
def test_a_whole_build(tmp_path: Path, sky: skyserver.Sky, release: str) -> None:
    dataset = make(tmp_path, options(sky, release=release))
    header = dataset.header
    assert header.shape is None
    assert dataset.n == N
    np.testing.assert_array_equal(dataset.table[:], skyserver.numbers(sky, header.columns))
    assert [int(name) for name in dataset.ids] == sky.columns["objid"]
    assert {-9999.0, -1000.0, 0.0} <= set(dataset.table[:].ravel().tolist())  # sentinels stay as they are
    assert header.classes == ("elliptical", "spiral")
    flags = np.array([sky.columns[name] for name in ("spiral", "elliptical")])
    np.testing.assert_array_equal(dataset.labels[:], np.where(flags[0] == 1, 1, np.where(flags[1] == 1, 0, -1)))
    assert (dataset.labels[:] == -1).sum() == sum(sky.columns["uncertain"])
    assert f"DR{release}" in header.release


def test_roles_and_units(tmp_path: Path, sky: skyserver.Sky) -> None:
    header = make(tmp_path, options(sky)).header
    role = dict(zip(header.columns, header.roles, strict=True))
    assert {role[name] for name in ("redshift", "nvote", "p_el", "p_el_debiased", "p_cs_debiased")} == {"leak"}
    assert role["ra"] == role["dec"] == "ignore"
    assert sum(one == "feature" for one in header.roles) == 19 * 5
    unit = dict(zip(header.columns, header.column_units, strict=True))
    told = [unit[name] for name in ("ra", "dered_z", "petroR50_r", "deVPhi_g", "expAB_u", "lnLStar_r", "expMag_i")]
    assert told == ["deg", "mag", "arcsec", "deg", "", "", "mag"]
    assert not {"spiral", "elliptical", "uncertain"} & set(header.columns)


@pytest.mark.parametrize("release", ["7", "17"])
def test_the_exact_queries_are_kept_in_the_dataset(tmp_path: Path, sky: skyserver.Sky, release: str) -> None:
    origin = make(tmp_path, options(sky, release=release)).header.origin
    again = [(origin["votes_release"], origin["sql"]["count"])]
    for page in origin["pages"]:
        again.append((origin["votes_release"], origin["sql"]["page"].format(**page)))
        if "photometry" in origin["sql"]:
            again.append((origin["release"], origin["sql"]["photometry"].format(**page)))
    assert again == sky.asked
    assert origin["from"] == sky.url
    assert len(origin["pages"]) == 3
    assert origin["client"].startswith("astroquery ")


def test_releases_are_asked_for_what_they_have(tmp_path: Path, sky: skyserver.Sky) -> None:
    sky.without = {7, 41}
    dataset = make(tmp_path, options(sky, release="7"))
    assert {release for release, sql in sky.asked if "zooSpec" in sql} == {17}
    assert {release for release, sql in sky.asked if "PhotoObjAll" in sql} == {7}
    assert dataset.n == N - 2  # two galaxies without photometry are left out, the others keep their own rows
    rows = [i for i in range(N) if i not in sky.without]
    np.testing.assert_array_equal(dataset.table[:], skyserver.numbers(sky, dataset.header.columns)[rows])
    assert [int(name) for name in dataset.ids] == [sky.columns["objid"][i] for i in rows]
    assert dataset.header.origin["missing"] == 2


def test_rows_and_bands(tmp_path: Path, sky: skyserver.Sky) -> None:
    dataset = make(tmp_path, options(sky, rows="30", bands="rg"))
    assert dataset.n == 30
    assert [name for name in dataset.header.columns if name.startswith("dered")] == ["dered_g", "dered_r"]
    assert [sql.split()[2] for sql in sky.pages] == ["20", "10"]


def test_ids_survive_exactly_and_as_astroquery_reads_them(tmp_path: Path, sky: skyserver.Sky) -> None:
    from astroquery.sdss import SDSS, conf

    sky.columns["objid"] = [(1 << 62) + 2 * i + 1 for i in range(N)]  # float64 keeps none of these apart
    dataset = make(tmp_path, options(sky))
    with conf.set_temp("skyserver_baseurl", sky.url):
        table = SDSS.query_sql(Catalogue(17, "r").page(1, 0, N).sql, data_release=17, cache=False)
    assert [str(name) for name in table["objid"]] == list(dataset.ids) == [str(i) for i in sky.columns["objid"]]
    np.testing.assert_array_equal(table["petroR50_r"], dataset.table[:, dataset.header.columns.index("petroR50_r")])


def test_astroquery_s_own_settings_are_the_default(tmp_path: Path, sky: skyserver.Sky) -> None:
    from astroquery.sdss import conf

    asked = options(sky, rows="5")
    del asked["url"]
    with conf.set_temp("skyserver_baseurl", sky.url):
        assert make(tmp_path, asked).n == 5
    assert len(sky.asked) == 2
    assert not list(Path(os.environ["ESTAMPA_CACHE"]).rglob("*.pickle"))


def test_contradicting_flags_are_no_label(tmp_path: Path, sky: skyserver.Sky) -> None:
    for name, value in (("spiral", 1), ("elliptical", 1), ("uncertain", 0)):
        sky.columns[name][0] = value
    for name in ("spiral", "elliptical", "uncertain"):
        sky.columns[name][1] = 0
    assert make(tmp_path, options(sky)).labels[:2].tolist() == [-1, -1]


def test_no_page_of_a_query_is_too_long() -> None:
    from urllib.parse import urlencode

    for release in (7, 17):
        catalogue = Catalogue(release, "ugriz")
        big = 588848901536743999
        for query in (catalogue.count(), catalogue.page(99, big, 20_000), catalogue.beside(99, big, big)):
            if query is not None:
                given = urlencode({"cmd": query.sql, "format": "csv", "searchtool": "SQL"})
                assert len(given) < skyserver.QUERY_LIMIT


# ---------------------------------------------------------------------------------------------- kept, resumed, paced


def test_answers_are_kept_and_asked_for_once(tmp_path: Path, sky: skyserver.Sky) -> None:
    first = make(tmp_path, options(sky))
    asked = len(sky.asked)
    assert make(tmp_path, options(sky)).content_sha256 == first.content_sha256  # the file itself is there
    assert make(tmp_path, options(sky), "other.h5").content_sha256 == first.content_sha256
    assert len(sky.asked) == asked == 4
    kept(tmp_path)[0].write_text("objid\n")  # damaged: asked for again, it alone
    assert make(tmp_path, options(sky), "third.h5").content_sha256 == first.content_sha256
    assert len(sky.asked) == asked + 1
    with pytest.raises(InputError, match="exists already"):
        make(tmp_path, options(sky, rows="7"))


@pytest.mark.parametrize("release", ["7", "17"])
def test_a_stopped_run_asks_for_no_page_twice(tmp_path: Path, sky: skyserver.Sky, release: str) -> None:
    sky.behave = ["", "", ""] + ["500"] * 9
    with pytest.raises(DownloadError, match="failed 4 times"):
        make(tmp_path, options(sky, release=release, page="10"))
    assert len(kept(tmp_path)) == 3
    assert not (tmp_path / "set.h5").exists()
    sky.behave, before = [], sky.asked[:3]
    dataset = make(tmp_path, options(sky, release=release, page="10"))
    assert dataset.n == N
    after = sky.asked[7:]
    assert not set(before) & set(after)
    assert len(set(before) | set(after)) == (11 if release == "7" else 6)


def test_killed_in_the_middle_and_on(tmp_path: Path, sky: skyserver.Sky) -> None:
    words = [sys.executable, "-m", "estampa", "build", "sdss", "-o", str(tmp_path / "a.h5"), "--json"]
    for key, value in options(sky, page="5", rate="8").items():
        words += ["--option", f"{key}={value}"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while len(sky.asked) < 5 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    journal = next((tmp_path / "cache" / "downloads" / "sdss").glob("*/journal.jsonl"))
    there = journal.read_text().count("sha256")
    assert there >= 3
    asked = len(sky.asked)
    with journal.open("a") as stream:
        stream.write('{"file": "cut sho')  # the line that a kill cuts short
    dataset = make(tmp_path, options(sky, page="5"), "a.h5")
    assert len(sky.asked) - asked == 11 - there
    make(tmp_path, options(sky, page="5"), "b.h5")
    assert len(sky.asked) - asked == 11 - there
    np.testing.assert_array_equal(dataset.table[:], skyserver.numbers(sky, dataset.header.columns))


def test_ctrl_c_and_on(tmp_path: Path, sky: skyserver.Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(pace: _gz_fetch.Pace) -> None:
        if len(sky.asked) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_gz_fetch.Pace, "wait", stop)
        with pytest.raises(Interrupted, match=r"interrupted; 20 galaxies are kept in .*Run the same command again"):
            make(tmp_path, options(sky))
    assert make(tmp_path, options(sky)).n == N
    assert len(sky.asked) == 4


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now, self.at = 100.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds
        self.at.append(self.now)


def test_the_rate_is_held_tries_included(tmp_path: Path, sky: skyserver.Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(_gz_fetch, "time", clock)
    sky.behave = ["", "500", "429"]
    make(tmp_path, options(sky, rate="0.5", page="10"))
    assert len(sky.asked) == 8
    assert np.diff(clock.at).tolist() == [2.0] * 7  # the default: one query in two seconds


# ---------------------------------------------------------------------------------------------- servers that fail


@pytest.mark.parametrize("word", ["timeout", "500", "503", "429", "half", "cut", "nothing", "empty"])
def test_what_passes_is_tried_again(tmp_path: Path, sky: skyserver.Sky, word: str) -> None:
    sky.behave = ["", "", word]
    dataset = make(tmp_path, options(sky, timeout="0.2"))
    np.testing.assert_array_equal(dataset.table[:], skyserver.numbers(sky, dataset.header.columns))
    assert len(sky.asked) == 5


def test_a_page_with_fewer_rows_is_no_end(tmp_path: Path, sky: skyserver.Sky) -> None:
    sky.behave = ["", "", "fewer"]
    dataset = make(tmp_path, options(sky))
    assert [int(name) for name in dataset.ids] == sky.columns["objid"]


STAYS = {
    "timeout": (DownloadError, r"failed 4 times\. Got: .*timed out"),
    "500": (DownloadError, r"failed 4 times\. Got: 500 Server Error"),
    "429": (DownloadError, r"failed 4 times\. Got: 429"),
    "half": (DownloadError, r"failed 4 times\. Got: the answer breaks off"),
    "cut": (DownloadError, r"failed 4 times\. Got: .*(IncompleteRead|bytes)"),
    "nothing": (DownloadError, r"failed 4 times\. Got: the answer is empty"),
    "empty": (DownloadError, r"failed 4 times\. Got: no row came, though galaxies are still due"),
    "404": (DownloadError, r"the server answers 404"),
    "html": (SourceError, r"an HTML page, where a table should be\. Got: 'Site maintenance Back soon\.'"),
    "sql": (SourceError, r"the server cannot run the query\. Got: .*Invalid object name 'zooSpec'"),
    "error_message": (SourceError, r"the server cannot run the query\. Got: .*Incorrect syntax near TOP"),
    "columns": (SourceError, r"lacking: p_el_debiased, petroR50_r; not asked for: p_elliptical, petroRad_r"),
    "text": (SourceError, r"row 2, column 'mCr4_z': no number\. Got: 'oops'"),
    "rounded": (SourceError, r"row 20: no SDSS id\. .*Got: '5\.877E\+17'"),
}


@pytest.mark.parametrize("word", list(STAYS))
def test_what_stays_is_one_clear_error_and_nothing_is_lost(tmp_path: Path, sky: skyserver.Sky, word: str) -> None:
    kind, message = STAYS[word]
    sky.behave = ["", ""] + [word] * 9
    with pytest.raises(EstampaError, match=message) as caught:
        make(tmp_path, options(sky, timeout="0.1"))
    assert isinstance(caught.value, kind)
    assert caught.value.where == f"{sky.url}, data release 17, page 2 (objid > {sky.columns['objid'][19]})"
    assert caught.value.cure
    assert len(kept(tmp_path)) == 2  # the count and page 1
    assert not (tmp_path / "set.h5").exists()
    sky.behave, asked = [], len(sky.asked)
    assert make(tmp_path, options(sky)).n == N
    assert len(sky.asked) - asked == 2


def test_a_server_of_something_else(tmp_path: Path, sky: skyserver.Sky) -> None:
    sky.behave = ["html"]
    with pytest.raises(SourceError, match=r"count of galaxies: an HTML page.*Is it SkyServer's address"):
        make(tmp_path, options(sky))
    with pytest.raises(DownloadError, match="count of galaxies: failed 4 times"):
        make(tmp_path, {**options(sky), "url": "http://127.0.0.1:9"})


def test_rows_out_of_order_are_refused(tmp_path: Path, sky: skyserver.Sky) -> None:
    ids = sky.columns["objid"]
    ids[3], ids[4] = ids[4], ids[3]
    with pytest.raises(SourceError, match=r"page 1 .*row 5: ids are not in order"):
        make(tmp_path, options(sky))
    sky.columns["objid"] = ids[:4] + ids[3:-1]
    with pytest.raises(SourceError, match=r"page 1 .*row 5: ids are not in order"):
        make(tmp_path, options(sky))


def test_the_command_line(tmp_path: Path, sky: skyserver.Sky, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["build", "sdss", "-o", str(tmp_path / "x.h5"), "--json"]
    for key, value in options(sky).items():
        words += ["--option", f"{key}={value}"]
    ended = []
    for behave in (["", "html"], ["sql"], ["half"] * 4, []):
        sky.behave = behave
        with pytest.raises(SystemExit) as left:
            main(words)
        ended.append((int(left.value.code or 0), *capsys.readouterr()))
    assert [code for code, _, _ in ended] == [2, 2, 1, 0]
    for _, out, err in ended[:3]:
        assert out == ""
        assert f"{sky.url}, data release 17, page 1 (objid > 0): " in err
        assert "Traceback" not in err
    assert json.loads(ended[3][1])["n"] == N


# ---------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("key", "value"),
    [("release", "6"), ("release", "DR7"), ("rows", "-1"), ("bands", "ugrizy"), ("bands", "rr"), ("page", "0"),
     ("rate", "0"), ("rate", "fast"), ("rate", "nan"), ("timeout", "-2"), ("url", "ftp://skyserver"), ("pages", "3")],
)  # fmt: skip
def test_options_that_are_not_understood(tmp_path: Path, sky: skyserver.Sky, key: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        make(tmp_path, {**options(sky), key: value})
    assert caught.value.exit_code == 2
    assert key in str(caught.value)
    assert not sky.asked


def test_nothing_is_asked_and_astroquery_not_loaded_at_import() -> None:
    words = "import sys, estampa.data.builders.sdss; print([m for m in ('astroquery', 'requests', 'astropy') if m in sys.modules])"  # noqa: E501
    ended = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
