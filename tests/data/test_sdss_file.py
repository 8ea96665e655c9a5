"""Builder sdss from a catalogue at hand: the same as from the server, and what is no catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skyserver

from estampa.data.dataset import Dataset
from estampa.data.read import build
from estampa.errors import InputError, SourceError

pytest.importorskip("astroquery")


@pytest.fixture
def sky(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[skyserver.Sky]:
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    with skyserver.serve(50) as state:
        yield state


def make(tmp_path: Path, asked: dict[str, str], name: str = "set.h5") -> Dataset:
    return build("sdss", tmp_path / name, builder_options=asked)


OWN = {"nvote": "votes", "p_el_debiased": "P_EL_DEBIASED", "dered_r": "mag_r", "petroR50_r": "petror50_r"}
WANTED = ("ra", "dec", "redshift", "nvote", "p_el_debiased", "dered_r", "petroR50_r", "petroR90_r", "deVAB_r")


def write_catalogue(path: Path, sky: skyserver.Sky) -> Path:
    """The made galaxies as a file, some columns under other names."""
    from astropy.table import Table

    columns = {"OBJID": sky.columns["objid"]}
    columns |= {OWN.get(name, name): [np.nan if v is None else v for v in sky.columns[name.lower()]] for name in WANTED}
    columns |= {name: sky.columns[name] for name in ("spiral", "elliptical", "uncertain")}
    if path.suffix == ".parquet":
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table(columns), path)
    else:
        kind = {".csv": "ascii.csv", ".fits": "fits", ".vot": "votable"}[path.suffix]
        Table(columns).write(path, format=kind)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".fits", ".vot"])
def test_a_file_gives_what_the_server_gives(tmp_path: Path, sky: skyserver.Sky, suffix: str) -> None:
    path = write_catalogue(tmp_path / f"galaxies{suffix}", sky)
    dataset = make(tmp_path, {"file": str(path), "release": "9"})
    asked = make(tmp_path, {"url": sky.url, "rate": "1000", "release": "17"}, "asked.h5")
    names = tuple("mag_r" if name == "dered_r" else name for name in WANTED)
    assert dataset.header.columns == names
    assert list(dataset.ids) == list(asked.ids)  # beyond 2^53, exactly
    shown = [np.array(d.header.classes)[d.labels[:]] for d in (dataset, asked)]
    known = asked.labels[:] >= 0
    np.testing.assert_array_equal(dataset.labels[:] >= 0, known)
    np.testing.assert_array_equal(shown[0][known], shown[1][known])
    np.testing.assert_array_equal(dataset.table[:], skyserver.numbers(sky, WANTED))
    role = dict(zip(names, dataset.header.roles, strict=True))
    assert [role[name] for name in ("ra", "redshift", "nvote", "p_el_debiased")] == ["ignore", "leak", "leak", "leak"]
    assert {role[name] for name in names[5:]} == {"feature"}
    unit = dict(zip(names, dataset.header.column_units, strict=True))
    assert [unit[name] for name in ("mag_r", "petroR50_r", "dec")] == ["mag", "arcsec", "deg"]
    assert dataset.header.origin["names"] == {
        "votes": "nvote",
        "P_EL_DEBIASED": "p_el_debiased",
        "petror50_r": "petroR50_r",
    }
    assert dataset.header.release == "SDSS DR9; Galaxy Zoo 1 table 2"
    assert make(tmp_path, {"file": str(path), "release": "9"}).content_sha256 == dataset.content_sha256


def test_half_a_votable(tmp_path: Path, sky: skyserver.Sky) -> None:
    path = write_catalogue(tmp_path / "half.vot", sky)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match=r"half\.vot: cannot be read as votable, or truncated"):
        make(tmp_path, {"file": str(path)})
    assert not (tmp_path / "set.h5").exists()


@pytest.mark.parametrize("name", ["saved.csv", "saved.vot", "saved.parquet"])
def test_an_html_page_saved_as_a_table(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(
        "\n<html><head><title>Skyserver Error</title></head><body>Row limit, sorry</body></html>"
    )
    message = r"an HTML page, where a table should be\. Got: 'Skyserver Error Row limit, sorry'\. Fetch the table again"
    with pytest.raises(SourceError, match=message) as caught:
        make(tmp_path, {"file": str(tmp_path / name)})
    assert caught.value.where == str(tmp_path / name)


def test_a_file_and_the_server_s_options(tmp_path: Path, sky: skyserver.Sky) -> None:
    path = write_catalogue(tmp_path / "a.csv", sky)
    with pytest.raises(InputError, match=r"option rows: is for SkyServer"):
        make(tmp_path, {"file": str(path), "rows": "5"})
    with pytest.raises(SourceError, match="there is no such catalogue"):
        make(tmp_path, {"file": str(tmp_path / "none.csv")})


def test_a_row_that_cannot_be_read_is_left_out_by_name(tmp_path: Path, sky: skyserver.Sky) -> None:
    path = write_catalogue(tmp_path / "a.csv", sky)
    lines = path.read_text().splitlines()
    fields = lines[8].split(",")
    lines[8] = ",".join([*fields[:7], "=SUM(A1:A9)", *fields[8:]])
    path.write_text("\n".join(lines) + "\n")
    dataset = make(tmp_path, {"file": str(path)})
    assert dataset.n == 49
    assert [name for name, _ in dataset.rejected] == [fields[0]]
    assert fields[0] not in list(dataset.ids)


def test_real_photometry(tmp_path: Path, shared: Path) -> None:
    dataset = make(tmp_path, {"file": str(shared / "sdss_gz1_photometry" / "galaxies.csv")})
    assert dataset.n == 4000
    counts = dataset.summary()["classes"]
    assert counts == {"elliptical": 355, "spiral": 1090}
    role = dict(zip(dataset.header.columns, dataset.header.roles, strict=True))
    leaks = {name for name, one in role.items() if one == "leak"}
    assert leaks == {"redshift", "stellar_mass", "nvote", "p_el_debiased", "p_cs_debiased"}
    assert {name for name, one in role.items() if one == "feature"} == {
        *(f"mag_{band}" for band in "ugriz"), "deVRad_r", "deVAB_r", "expRad_r", "expAB_r",
    }  # fmt: skip
