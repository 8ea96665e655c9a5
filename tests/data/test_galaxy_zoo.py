"""Builder galaxy_zoo: the join, the draw, the layouts, what stands beside the Dataset, and bad input."""

from __future__ import annotations

import csv
import gzip
import io
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import galaxies as made
import numpy as np
import pytest
from PIL import Image

from estampa import pixels
from estampa.cli.build import _lines
from estampa.data.builders import galaxy_zoo
from estampa.data.dataset import Dataset
from estampa.data.gz2class import FOLDINGS, fold, parse
from estampa.data.read import build
from estampa.data.split import split
from estampa.errors import EstampaError, InputError, SourceError
from estampa.progress import Silent


def make(tmp_path: Path, options: Mapping[str, str], name: str = "set.h5") -> Dataset:
    return build("galaxy_zoo", tmp_path / name, builder_options=dict(options))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_catalogue_map_and_pictures_are_joined(tmp_path: Path) -> None:
    options = made.lay(tmp_path, 24)
    dataset = make(tmp_path, options)
    assert (dataset.n, dataset.shape, dataset.classes) == (15, (40, 40, 3), FOLDINGS["study12"])
    assert (dataset.summary()["split"], dataset.header.symmetry) == ("drawn at random by the builder, seed 0", "d4")
    assert (dataset.rows("train").size, dataset.rows("test").size) == (10, 5)
    wanted = {str(row[0]): row for row in made.catalogue_rows(24)}
    asset = {str(row[0]): str(row[2]) for row in made.map_rows(24)}
    for row, name in enumerate(dataset.ids.tolist()):
        assert dataset.classes[dataset.labels[row]] == fold(parse(str(wanted[name][4])), "study12")
        assert np.allclose(dataset.table[row], [float(str(wanted[name][2])), -1.0])
        with Image.open(Path(options["images"]) / f"{asset[name]}.jpg") as picture:
            assert np.array_equal(dataset.images[row], pixels.crop_centre(np.asarray(picture), (40, 40)))
    log = rows_of(tmp_path / "set.log.csv")
    assert [line["id"] for line in log] == dataset.ids.tolist()
    assert [int(line["row"]) for line in log] == list(range(15))
    assert [line["part"] for line in log] == ["train"] * 10 + ["test"] * 5
    assert all(fold(parse(line["gz2class"]), "study12") == line["class"] for line in log)
    assert not (tmp_path / "set.missing.csv").exists()


def test_the_draw_is_the_seed_s_and_not_the_file_s(tmp_path: Path) -> None:
    first = make(tmp_path, made.lay(tmp_path / "a"), "a.h5")
    backwards = made.catalogue_rows(24)[::-1]
    second = make(tmp_path, made.lay(tmp_path / "b", catalogue=backwards), "b.h5")
    other = make(tmp_path, made.lay(tmp_path / "a") | {"seed": "1"}, "c.h5")
    assert first.ids.tolist() == second.ids.tolist()
    assert first.content_sha256 == second.content_sha256
    assert sorted(first.ids.tolist()) != sorted(other.ids.tolist())


@pytest.mark.parametrize(
    ("folding", "n", "classes"),
    [
        ("barred", 10, ("barred", "unbarred")), ("esa", 24, ("A", "E", "S")), ("none", 24, tuple(sorted(made.TEXTS))),
        ("study12", 24, FOLDINGS["study12"]),
    ],
)  # fmt: skip
def test_foldings(tmp_path: Path, folding: str, n: int, classes: tuple[str, ...]) -> None:
    options = made.lay(tmp_path, 24) | {"fold": folding, "n_train": str(n), "n_test": "0"}
    dataset = make(tmp_path, options)
    assert (dataset.n, dataset.classes, dataset.header.published_split) == (n, classes, False)
    assert (dataset.labels >= 0).all()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_pictures_in_an_archive(tmp_path: Path, kind: str) -> None:
    options = made.lay(tmp_path)
    plain = make(tmp_path, options, "plain.h5")
    shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path, "images")
    packed = make(tmp_path, options | {"images": str(tmp_path / f"packed.{kind}")}, "packed.h5")
    assert packed.content_sha256 == plain.content_sha256


def test_the_tables_may_lie_beside_the_pictures(tmp_path: Path) -> None:
    options = made.lay(tmp_path)
    (tmp_path / "gz2.csv.gz").rename(tmp_path / "gz2_hart16.csv.gz")
    (tmp_path / "map.csv").rename(tmp_path / "gz2_filename_mapping.csv")
    assert make(tmp_path, {key: options[key] for key in ("images", "n_train", "n_test", "crop")}).n == 15


def manifest(root: Path, head: str, lines: list[str]) -> dict[str, str]:
    """labels.csv beside images.tar, as the sets of real pictures are laid out."""
    root.mkdir(parents=True)
    with tarfile.open(root / "images.tar", "w") as archive:
        for i in range(6):
            member = tarfile.TarInfo(f"{'spiral' if i % 2 else 'other'}/{i}.jpg")
            data = made.jpeg(i)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (root / "labels.csv").write_text("\n".join([head, *lines]) + "\n")
    return {"images": str(root), "crop": "32"}


def test_a_folder_with_labels_and_nothing_else(tmp_path: Path) -> None:
    kinds = ["other", "spiral"]
    lines = [f"{kinds[i % 2]}/{i}.jpg,{made.ids(6)[i]},{kinds[i % 2]}" for i in range(6)]
    options = manifest(tmp_path / "set", "file,objid,label", lines)
    dataset = make(tmp_path, options)
    assert (dataset.n, dataset.classes, dataset.shape) == (6, ("other", "spiral"), (32, 32, 3))
    assert dataset.ids.tolist() == made.ids(6)
    assert not dataset.split.any()
    drawn = make(tmp_path, options | {"n_train": "3", "n_test": "2"}, "drawn.h5")
    assert (drawn.rows("train").size, drawn.rows("test").size) == (3, 2)
    with pytest.raises(InputError, match=r"folds gz2class, and there is no such column"):
        make(tmp_path, options | {"fold": "esa"}, "folded.h5")
    with pytest.raises(InputError, match=r"match-radius: there is nothing to match.*labels\.csv"):
        make(tmp_path, options | {"match-radius": "2arcsec"}, "matched.h5")


def test_a_folder_with_labels_of_gz2class(tmp_path: Path) -> None:
    lines = [f"{['other', 'spiral'][i % 2]}/{i}.jpg,{made.TEXTS[i]}" for i in range(6)]
    options = manifest(tmp_path / "set", "file,gz2class", lines) | {"fold": "esa"}
    dataset = make(tmp_path, options)
    assert [dataset.classes[i] for i in dataset.labels] == ["E", "E", "E", "S", "S", "S"]


@pytest.mark.parametrize(
    ("classes", "symmetry"),
    [(("spiral_clockwise", "spiral_anticlockwise"), "auto"), (("cw", "ccw"), "auto"), (("spiral", "bright"), "d4")],
)
def test_classes_that_wind_are_not_mirrored(tmp_path: Path, classes: tuple[str, str], symmetry: str) -> None:
    lines = [f"{['other', 'spiral'][i % 2]}/{i}.jpg,{classes[i % 2]}" for i in range(6)]
    assert make(tmp_path, manifest(tmp_path / "set", "file,label", lines)).header.symmetry == symmetry


@pytest.mark.parametrize(
    ("name", "n", "classes"), [("galaxies_gz1", 2815, 6), ("galaxies_kaggle_gz2", 1600, 2)], ids=["gz1", "kaggle"]
)
def test_the_sets_of_real_pictures(shared: Path, tmp_path: Path, name: str, n: int, classes: int) -> None:
    dataset = make(tmp_path, {"images": str(shared / name), "n_train": "60", "n_test": "20"})
    assert (dataset.n, dataset.shape) == (80, (247, 247, 3))
    assert len(dataset.classes) <= classes
    assert len(rows_of(shared / name / "labels.csv")) == n


def test_archives_of_originals_and_dataset(tmp_path: Path) -> None:
    options = made.lay(tmp_path) | {"archives": "yes"}
    dataset = make(tmp_path, options)
    originals, packed = tmp_path / "set.images.tar.gz", tmp_path / "set.tar.gz"
    with tarfile.open(originals, "r:gz") as archive:
        assert len(archive.getnames()) == 15
        name = archive.getnames()[0]
        member = archive.extractfile(name)
        assert member is not None
        assert member.read() == (tmp_path / "images" / name).read_bytes()
    with tarfile.open(packed, "r:gz") as archive:
        member = archive.extractfile("set.h5")
        assert member is not None
        assert member.read() == dataset.path.read_bytes()
    before = originals.read_bytes()
    packed.unlink()  # as after a kill before it was written: the same command completes it
    make(tmp_path, options)
    assert packed.exists()
    originals.unlink()  # as where the Dataset was built without archives at first
    make(tmp_path, options)
    assert originals.read_bytes() == before
    build("galaxy_zoo", tmp_path / "set.h5", builder_options=options, force=True)
    assert originals.read_bytes() == before


def test_built_once_and_again_when_asked_for_something_else(tmp_path: Path) -> None:
    options = made.lay(tmp_path)
    first = make(tmp_path, options)
    changed = first.path.stat().st_mtime_ns
    assert make(tmp_path, options).path.stat().st_mtime_ns == changed
    with pytest.raises(InputError, match="exists already, and was built from other data or options"):
        make(tmp_path, options | {"seed": "3"})


def test_a_stopped_build_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = made.lay(tmp_path)
    whole = make(tmp_path, options, "whole.h5")
    from estampa.data.sources import _base, folder
    from estampa.errors import Interrupted

    monkeypatch.setattr(_base, "BLOCK_BYTES", 4 * 40 * 40 * 3)
    real, count = folder.PicturesReading._decode_one, [0]

    def stopping(self: folder.PicturesReading, name: str, out: np.ndarray) -> None:
        count[0] += 1
        if count[0] == 9:
            raise KeyboardInterrupt
        real(self, name, out)

    monkeypatch.setattr(folder.PicturesReading, "_decode_one", stopping)
    with pytest.raises(Interrupted):
        make(tmp_path, options)
    assert make(tmp_path, options).content_sha256 == whole.content_sha256
    assert count[0] < 9 + 15


# ---------------------------------------------------------------------------------------------- bad input


def reasons(tmp_path: Path) -> dict[str, str]:
    return {line["id"]: line["reason"] for line in rows_of(tmp_path / "set.missing.csv")}


def test_rows_without_picture_and_pictures_without_row(tmp_path: Path) -> None:
    options = made.lay(tmp_path, 20)
    for asset in (1000, 1001):
        (tmp_path / "images" / f"{asset}.jpg").unlink()
    (tmp_path / "images" / "77.jpg").write_bytes(made.jpeg(1))
    said: list[str] = []
    galaxy_zoo.build(tmp_path / "set.h5", options, Told(said))
    assert reasons(tmp_path) == {made.ids(2)[0]: "no picture", made.ids(2)[1]: "no picture"}
    assert any("1 pictures are of no galaxy in the catalogue" in line for line in said)
    assert any("2 galaxies are missing, listed in set.missing.csv: no picture (2)" in line for line in said)


class Told:
    """A progress that keeps what is said."""

    def __init__(self, lines: list[str]) -> None:
        self.say = self.warn = lines.append

    def start(self, what: str, total: int | None, unit: str) -> None: ...
    def advance(self, count: int = 1, note: str = "") -> None: ...
    def finish(self, note: str = "") -> None: ...


def test_duplicated_objids(tmp_path: Path) -> None:
    names, catalogue, files = made.ids(24), made.catalogue_rows(24), made.map_rows(24)
    catalogue += [catalogue[0], [*catalogue[1][:4], "A", "original"]]  # one repeated, one contradicted
    files += [[names[2], "original", 1003], [names[4], "stripe82", 1005]]  # two pictures; and one in another sample
    make(tmp_path, made.lay(tmp_path, 24, catalogue=catalogue, files=files) | {"n_train": "22", "n_test": "0"})
    found = reasons(tmp_path)
    assert set(found) == {names[1], names[2]}
    assert "stands twice in the catalogue with other classes: A, Ei(o)" in found[names[1]]
    assert "the map gives several pictures: 1002, 1003" in found[names[2]]


def test_one_picture_of_two_galaxies_is_given_to_one(tmp_path: Path) -> None:
    files = made.map_rows(20)
    files[7][2] = files[3][2]
    make(tmp_path, made.lay(tmp_path, 20, files=files))
    assert reasons(tmp_path)[made.ids(20)[7]] == "its picture is another galaxy's too"


@pytest.mark.parametrize("which", ["catalogue", "map"])
def test_ids_cut_to_float_are_refused_as_a_key(tmp_path: Path, which: str) -> None:
    catalogue, files = made.catalogue_rows(24), made.map_rows(24)
    for row in catalogue if which == "catalogue" else files:
        row[0] = "5.87723E+17"
    options = made.lay(tmp_path, 24, catalogue=catalogue, files=files)
    with pytest.raises(SourceError, match=r"rounded to floating point.*--option match-radius=2arcsec"):
        make(tmp_path, options)


def test_rounded_ids_are_matched_by_position(tmp_path: Path) -> None:
    exact = make(tmp_path, made.lay(tmp_path), "exact.h5")
    catalogue = made.catalogue_rows(24)
    files = [[row[0], "original", row[2], 10 + 0.01 * i + 1e-5, -1.0] for i, row in enumerate(made.map_rows(24))]
    for row in catalogue:
        row[0] = "5.87723E+17"
    options = made.lay(tmp_path, 24, catalogue=catalogue)
    with pytest.raises(SourceError, match="no positions to match by"):
        make(tmp_path, options | {"match-radius": "2arcsec"})
    made.table(tmp_path / "map.csv", (*made.MAP, "ra", "dec"), files)
    placed = make(tmp_path, options | {"match-radius": "2arcsec"})
    assert placed.content_sha256 == exact.content_sha256


def test_ids_that_lost_their_last_digits_are_shown_with_the_cure(tmp_path: Path) -> None:
    catalogue = made.catalogue_rows(24)
    for i, row in enumerate(catalogue):
        row[0] = str(made.FIRST + 8000 * i) if i % 4 else str(made.FIRST + 8000 * i + 321)  # some were kept as text
    options = made.lay(tmp_path, 24, catalogue=catalogue)
    words = r"gz2\.csv\.gz, column 'dr7objid': these ids were rounded.*'587722981736587000'.*as text.*--option match-r"
    with pytest.raises(SourceError, match=words):
        make(tmp_path, options)


def test_ids_of_another_table_are_shown_with_the_cure(tmp_path: Path) -> None:
    catalogue = made.catalogue_rows(24)
    for i, row in enumerate(catalogue):
        row[0] = f"galaxy {i}"
    with pytest.raises(SourceError, match=r"not in the map \(24\).*'galaxy 0' there and '58.*as text.*match-radius"):
        make(tmp_path, made.lay(tmp_path, 24, catalogue=catalogue))


def test_a_draw_of_too_many_says_why_there_are_not_more(tmp_path: Path) -> None:
    catalogue = made.catalogue_rows(24)
    catalogue[5][4] = "Sx"
    options = made.lay(tmp_path, 24, catalogue=catalogue) | {"n_train": "20", "n_test": "4", "fold": "barred"}
    for name in ("1004.jpg", "1017.jpg"):
        (tmp_path / "images" / name).unlink()
    with pytest.raises(SourceError) as caught:
        make(tmp_path, options)
    told = str(caught.value)
    assert "20 training and 4 test galaxies are more than there are. Got: " in told
    assert "no picture (2)" in told
    assert "unknown gz2class (1)" in told
    assert "galaxies have no class in the folding 'barred'" in told


def test_a_position_that_is_none_is_named_with_file_and_row(tmp_path: Path) -> None:
    catalogue = made.catalogue_rows(24)
    options = made.lay(tmp_path, 24, catalogue=catalogue) | {"match-radius": "2arcsec"}
    files = [[row[0], "original", row[2], 10 + 0.01 * i, -1.0] for i, row in enumerate(made.map_rows(24))]
    files[6][4] = -99
    made.table(tmp_path / "map.csv", (*made.MAP, "ra", "dec"), files)
    with pytest.raises(SourceError, match=r"map\.csv, row 7: a declination is beyond 90.*Got: -99\..*an empty field"):
        make(tmp_path, options)
    files[6][4] = "south"
    made.table(tmp_path / "map.csv", (*made.MAP, "ra", "dec"), files)
    with pytest.raises(SourceError, match=r"map\.csv, row 7: is no declination.*'south'"):
        make(tmp_path, options)


def test_sexagesimal_positions_are_the_same_positions(tmp_path: Path) -> None:
    plain = make(tmp_path, made.lay(tmp_path), "plain.h5")
    files = []
    for i, row in enumerate(made.map_rows(24)):
        seconds = (10 + 0.01 * i) * 240  # 24 hours are 86,400 seconds, and 360 degrees
        ra = f"{int(seconds // 3600):02d}:{int(seconds % 3600 // 60):02d}:{seconds % 60:.3f}"
        files.append([row[0], "original", row[2], ra, "-01:00:00.0"])
    options = made.lay(tmp_path) | {"match-radius": "2arcsec"}
    made.table(tmp_path / "map.csv", (*made.MAP, "ra", "dec"), files)
    assert make(tmp_path, options).content_sha256 == plain.content_sha256


def test_parts_that_were_drawn_are_called_drawn_and_kept(tmp_path: Path) -> None:
    dataset = make(tmp_path, made.lay(tmp_path, 60) | {"n_train": "30", "n_test": "24", "fold": "esa"})
    assert _lines(dataset, 1.0)[-4].startswith("parts (drawn at random by the builder, seed ")
    said: list[str] = []
    progress = Silent()
    progress.say = said.append  # type: ignore[method-assign]
    result = split(dataset, progress=progress)
    assert said[0].startswith("The split drawn at random by the builder, seed ")
    assert result.totals["test"] == len(dataset.rows("test"))
    assert Dataset.open(dataset.path).rows("test").tolist() == dataset.rows("test").tolist()


def test_unknown_gz2class(tmp_path: Path) -> None:
    catalogue = made.catalogue_rows(24)
    catalogue[5][4] = "Sx"
    make(tmp_path, made.lay(tmp_path, 24, catalogue=catalogue))
    assert reasons(tmp_path) == {made.ids(6)[5]: "unknown gz2class: is no gz2class, at character 2"}
    for row in catalogue:
        row[4] = "spiral"
    with pytest.raises(SourceError, match=r"no galaxy is in the catalogue and the map.*unknown gz2class"):
        make(tmp_path, made.lay(tmp_path / "b", 24, catalogue=catalogue), "b.h5")


def test_unreadable_pictures_are_listed(tmp_path: Path) -> None:
    options = made.lay(tmp_path, 20) | {"n_train": "18", "n_test": "2"}
    data = (tmp_path / "images" / "1004.jpg").read_bytes()
    (tmp_path / "images" / "1004.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "images" / "1005.jpg").write_bytes(made.jpeg(1, side=30))
    dataset = make(tmp_path, options)
    assert dataset.n == 18
    assert reasons(tmp_path) == {
        made.ids(6)[4]: "unreadable picture: truncated JPEG",
        made.ids(6)[5]: "unreadable picture: 30x30 is smaller than the crop of 40",
    }
    assert [line["id"] for line in rows_of(tmp_path / "set.log.csv")] == dataset.ids.tolist()


def test_truncated_archives(tmp_path: Path) -> None:
    options = made.lay(tmp_path)
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "images")
    shutil.make_archive(str(tmp_path / "packed"), "tar", tmp_path, "images")
    for kind in ("zip", "tar"):
        path = tmp_path / f"packed.{kind}"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(SourceError, match=f"not a {kind} file, or truncated"):
            make(tmp_path, options | {"images": str(path)})
    table = Path(options["catalogue"])
    table.write_bytes(table.read_bytes()[:-20])
    with pytest.raises(SourceError, match="truncated or damaged gzip file"):
        make(tmp_path, options)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    options = made.lay(tmp_path)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(24):
            archive.writestr(f"{1000 + i}.jpg", bytes(1) if i else bytes(300 << 20))
    with pytest.raises(EstampaError) as caught:
        make(tmp_path, options | {"images": str(tmp_path / "bomb.zip")})
    assert "not one picture can be read" in str(caught.value)
    endless = gzip.compress(b"dr7objid," + bytes(64 << 20))
    Path(options["catalogue"]).write_bytes(endless)
    with pytest.raises(SourceError, match="a line has no end"):
        make(tmp_path, options)


@pytest.mark.parametrize("name", ["../1000.jpg", "/etc/1000.jpg"])
def test_a_member_outside_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    options = made.lay(tmp_path)
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(name, made.jpeg(0))
    with pytest.raises(SourceError, match="points outside of the archive"):
        make(tmp_path, options | {"images": str(tmp_path / "evil.zip")})


def test_two_pictures_of_one_name(tmp_path: Path) -> None:
    options = made.lay(tmp_path)
    (tmp_path / "images" / "more").mkdir()
    (tmp_path / "images" / "more" / "1003.jpg").write_bytes(made.jpeg(99))
    with pytest.raises(SourceError, match="two pictures are called '1003'"):
        make(tmp_path, options)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"fold": "study21"}, "unknown fold 'study21'.*Did you mean 'study12'"),
        ({"n_train": "many"}, "--option n_train: is no number"),
        ({"n_train": "0", "n_test": "0"}, "asks for no galaxy"),
        (
            {"n_train": "90"},
            r"are more than there are. Got: 24 galaxies with a picture and a class \(E.* Ask for at most 24",
        ),
        ({"crop": "-3"}, "--option crop: is no number"),
        ({"crop": "65"}, "every picture is smaller than --crop 65"),
        ({"dct": "quick"}, "unknown dct 'quick'"),
        ({"archives": "1"}, "unknown archives '1'"),
        ({"rate": "0"}, "--option rate: is no rate"),
        ({"match-radius": "2"}, "--option match-radius: is no radius.*As in: --option match-radius=2arcsec"),
        ({"url": "http://127.0.0.1:9/{name}.jpg"}, "names no picture"),
        ({"url": "ftp://127.0.0.1/galaxies"}, "--option url: is no address to fetch from.*https://.*'ftp://127"),
        ({"url": "ftp://127.0.0.1/{asset_id}.jpg"}, "--option url: is no address to fetch from"),
        ({"images": "nowhere"}, "--option images: there is no such file or folder"),
        ({"md": "x"}, "unknown option 'md'"),
    ],
)
def test_options_that_are_not_understood(tmp_path: Path, given: dict[str, str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        make(tmp_path, made.lay(tmp_path) | given)


@pytest.mark.parametrize(
    ("head", "row", "told"),
    [
        (("name", "gz2class"), ("1", "Er"), "no column 'dr7objid'. Allowed: dr7objid or objid"),
        (("dr7objid", "class"), ("1", "Er"), "no column 'gz2class'"),
        (made.CATALOGUE, ("1", "Er"), "row 1 has 2 fields. Allowed: 6"),
    ],
)
def test_tables_that_lack_what_is_needed(
    tmp_path: Path, head: tuple[str, ...], row: tuple[str, ...], told: str
) -> None:
    options = made.lay(tmp_path)
    made.table(tmp_path / "gz2.csv.gz", head, [row])
    with pytest.raises(SourceError, match=told):
        make(tmp_path, options)


def test_a_small_table_does_not_fill_the_memory(tmp_path: Path) -> None:
    options = made.lay(tmp_path)
    bomb = tmp_path / "bomb.csv.gz"
    with gzip.open(bomb, "wt") as stream:
        stream.write("dr7objid,gz2class\n")
        stream.writelines(f"{i}{'7' * 100_000},Er\n" for i in range(3))
    with pytest.raises(SourceError, match="row 1 has an id, class or sample without end"):
        make(tmp_path, options | {"catalogue": str(bomb)})


def test_files_that_are_not_at_hand_are_not_fetched_unasked(tmp_path: Path) -> None:
    options = made.lay(tmp_path)
    del options["map"]
    with pytest.raises(SourceError, match=r"gz2_filename_mapping.csv is not at hand.*--option url=official"):
        make(tmp_path, options)
