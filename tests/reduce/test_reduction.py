"""A Reduction of a Dataset: crop, scale, back to pictures, on disk, as a Dataset, and the verb."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from estampa.cli import main
from estampa.data.dataset import Dataset, DatasetWriter, Header
from estampa.data.splitfile import write_split
from estampa.errors import ContractError, DatasetError, EstampaError, InputError, StorageError
from estampa.progress import Silent
from estampa.reduce import Reduction
from estampa.reduce.reduction import _squares
from estampa.reduce.run import reduce
from estampa.reduce.write import column_names, write_reduced


def galaxies(n: int = 60, side: int = 15, seed: int = 0) -> np.ndarray:
    """Ellipses of light at every angle, in three colours, with noise: (n, side, side, 3) uint8."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    pictures = np.empty((n, side, side, 3))
    for picture in pictures:
        angle, flat, size = draw.uniform(0, np.pi), draw.uniform(0.3, 1), draw.uniform(2, 4)
        u, v = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / flat
        light = draw.uniform(60, 200) * np.exp(-(u**2 + v**2) / (2 * size**2))
        picture[:] = 10 + light[..., None] * draw.uniform(0.5, 1, 3) + draw.normal(0, 3, (side, side, 3))
    return pictures.clip(0, 255).astype(np.uint8)


def dataset(path: Path, images: np.ndarray, train: int = 40) -> Dataset:
    """A Dataset of two classes, with groups; the first `train` rows are the train part, the rest test."""
    n = len(images)
    header = Header(
        n, images.shape[1:], str(images.dtype), "classification", ("round", "flat"), channels=("R", "G", "B"),
        origin={"from": "the test"},
    )  # fmt: skip
    split = np.where(np.arange(n) < train, 1, 3) if train else None
    ids = [f"galaxy {i}" for i in range(n)]
    writer = DatasetWriter(
        path, header, ids=ids, labels=np.arange(n) % 2, groups=np.array([f"field {i // 4}" for i in range(n)]),
        split=split, fingerprint="test",
    )  # fmt: skip
    writer.write(0, images)
    return writer.finish()


class Warned(Silent):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def made(tmp_path: Path) -> Dataset:
    return dataset(tmp_path / "g.h5", galaxies())


def test_scores_are_scaled_on_the_rows_of_the_fit(made: Dataset) -> None:
    rows = made.rows("train")
    reduction = Reduction.fit(made, rows, components=8, crop=9)
    z = reduction.transform_dataset(made)
    assert z.shape == (60, 8)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z[rows].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(z[rows].std(axis=0, ddof=1), 1, rtol=1e-4)
    images = made.take(np.arange(60))
    np.testing.assert_allclose(reduction.transform(images), z, atol=1e-5)
    np.testing.assert_allclose(reduction.transform_dataset(made, np.array([50, 3, 17])), z[[50, 3, 17]], atol=1e-5)
    # Only the train rows were looked at: other test rows leave it as it is.
    other = galaxies(60, seed=9)
    other[:40] = images[:40]
    again = Reduction.fit(dataset(made.path.with_name("o.h5"), other), rows, components=8, crop=9)
    assert again.fingerprint == reduction.fingerprint


def test_only_the_central_square_is_seen(made: Dataset) -> None:
    blocks = np.concatenate([b.copy() for b in _squares(made, np.array([5, 6, 30]), 9)])
    wanted = made.take(np.array([5, 6, 30]))[:, 3:12, 3:12].astype(np.float32)
    assert np.array_equal(blocks.reshape(wanted.shape), wanted)
    changed = made.take(np.arange(60))
    changed[:, :3] = 255
    reduction = Reduction.fit(made, components=5, crop=9)
    assert np.array_equal(reduction.transform(changed), reduction.transform(made.take(np.arange(60))))
    for crop in (16, -1):
        with pytest.raises(InputError, match=r"central square.*1 to 15 for pictures of 15 x 15"):
            Reduction.fit(made, components=5, crop=crop)


def test_pictures_come_back(made: Dataset) -> None:
    images = made.take(np.arange(60))
    whole = Reduction.fit(made, components=59)
    back = whole.inverse(whole.transform(images))
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - images).max() <= 1  # all components: every picture
    few = Reduction.fit(made, made.rows("train"), components=6)
    z = few.transform(images)
    raw = few.pca.inverse(z * few.scale + few.mean)
    rms = np.sqrt(np.mean(np.square(raw - images.reshape(60, -1).astype(np.float64))))
    found = few.judge(made, np.arange(60))
    assert found.rms == pytest.approx(rms, rel=1e-3)
    assert few.judge(made, made.rows("train")).explained == pytest.approx(few.pca.explained, rel=1e-4)
    assert few.judge(made, made.rows("test")).explained < few.pca.explained
    assert few.inverse(np.full((1, 6), 1e4, np.float32)).max() == 255  # kept in range


def test_floats_with_missing_pixels_count_them_as_the_mean(tmp_path: Path) -> None:
    images = galaxies().astype(np.float32)
    images[3, 7, 7, 0] = np.nan
    images[50] = np.nan
    made = dataset(tmp_path / "f.h5", images)
    reduction = Reduction.fit(made, made.rows("train"), components=5)
    said = Warned()
    z = reduction.transform_dataset(made, progress=said)
    assert said.lines == ["without a finite pixel, so they count as the mean picture: 1 (galaxy 50)"]
    assert np.isfinite(z).all()
    np.testing.assert_allclose(z[50], 0, atol=1e-6)  # nothing is known of it: the mean picture
    assert reduction.inverse(z).dtype == np.float32
    assert np.isfinite(reduction.judge(made, np.arange(60)).rms)


def test_fewer_components_are_those_of_a_larger_fit(made: Dataset) -> None:
    many, few = Reduction.fit(made, components=20), Reduction.fit(made, components=6)
    np.testing.assert_allclose(many.keep(6).pca.explained_ratio, few.pca.explained_ratio, rtol=1e-3)
    assert many.keep(6).transform_dataset(made).shape == (60, 6)
    with pytest.raises(InputError, match="1 to 20"):
        many.keep(21)


def test_it_is_saved_as_plain_arrays_and_read_with_care(made: Dataset, tmp_path: Path) -> None:
    reduction, path = Reduction.fit(made, components=6, crop=11, seed=4), tmp_path / "r.safetensors"
    reduction.save(path)
    again = Reduction.load(path)
    assert again.fingerprint == reduction.fingerprint
    assert (again.crop, again.seed, again.n, again.shape, again.dtype) == (11, 4, 60, (15, 15, 3), "uint8")
    assert np.array_equal(again.transform_dataset(made), reduction.transform_dataset(made))
    arrays = load_file(path)
    save_file(arrays, tmp_path / "bare.safetensors")
    (tmp_path / "text.safetensors").write_text("no arrays at all")
    for name in ("bare", "text"):
        with pytest.raises(InputError, match="is not a reduction of estampa"):
            Reduction.load(tmp_path / f"{name}.safetensors")
    head = {"format": 1, "shape": [15, 15, 3], "dtype": "uint8", "crop": 11, "n": 60, "seed": 0, "total_variance": 1.0}
    broken = arrays | {"components": arrays["components"][:, :50].copy()}
    for changed, words in ((arrays, {**head, "crop": 13}), (broken, head), (arrays, {"format": 1})):
        save_file(changed, tmp_path / "b.safetensors", {"estampa.reduction": json.dumps(words)})
        with pytest.raises(InputError, match="is a damaged reduction"):
            Reduction.load(tmp_path / "b.safetensors")
    save_file(arrays, tmp_path / "n.safetensors", {"estampa.reduction": json.dumps({**head, "format": 2})})
    with pytest.raises(InputError, match="another format"):
        Reduction.load(tmp_path / "n.safetensors")


def test_other_pictures_are_refused(made: Dataset) -> None:
    reduction = Reduction.fit(made, components=4)
    with pytest.raises(ContractError, match=r"Allowed: 15 x 15 x 3 uint8.*Got: 12 x 12 x 3 uint8"):
        reduction.transform(galaxies(3, 12))
    with pytest.raises(ContractError, match=r"Got: 15 x 15 x 3 float32"):
        reduction.transform(galaxies(3).astype(np.float32))


def test_the_reduced_dataset_keeps_everything_beside_the_pixels(made: Dataset, tmp_path: Path) -> None:
    write_split(made.path, made.split, {"made_by": "the test"})
    source = Dataset.open(made.path)
    reduction = Reduction.fit(source, source.rows("train"), components=6)
    reduced = write_reduced(source, reduction, tmp_path / "reduced.h5")
    assert reduced.shape is None
    assert reduced.header.columns == ("pc_001", "pc_002", "pc_003", "pc_004", "pc_005", "pc_006")
    assert reduced.table is not None
    assert np.array_equal(reduced.table, reduction.transform_dataset(source))
    for name in ("ids", "labels", "groups", "split"):
        assert np.array_equal(getattr(reduced, name), getattr(source, name)), name
    assert reduced.split_record == {"made_by": "the test", "carried_over": True}
    assert reduced.header.origin["reduced_from"] == source.content_sha256
    assert reduced.header.origin["reduction"] == reduction.fingerprint
    assert reduced.classes == source.classes
    assert column_names(1200)[-1] == "pc_1200"
    with pytest.raises(DatasetError, match="no images"):
        Reduction.fit(reduced, components=2)


def test_the_verb_leaves_reduction_dataset_and_report(
    made: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    words = ["reduce", str(made.path), "--components", "6", "--crop", "11", "-o", str(folder), "--json"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
    said = json.loads(capsys.readouterr().out)
    assert (said["components"], said["crop"], said["fitted_rows"], said["values"]) == (6, 11, 40, 363)
    assert said["fidelity"]["train"]["explained"] == pytest.approx(said["explained"], rel=1e-4)
    assert said["fidelity"]["test"]["n"] == 20
    reduced, reduction = Dataset.open(folder / "reduced.h5"), Reduction.load(folder / "reduction.safetensors")
    assert np.array_equal(reduced.table, reduction.transform_dataset(made))  # type: ignore[arg-type]
    page = (folder / "report.html").read_text()
    for words_shown in ("explained-variance.csv", "component 6", "from 6 numbers", "Rows that the fit has not seen"):
        assert words_shown in page
    assert (folder / "figures" / "explained-variance.svg").is_file()
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "not a new or empty folder" in capsys.readouterr().err


def test_without_parts_it_fits_on_all_and_says_so(tmp_path: Path) -> None:
    made = dataset(tmp_path / "g.h5", galaxies(30), train=0)
    found = reduce(made, tmp_path / "out")
    assert found.fitted_on.startswith("all rows")
    assert found.reduction.components == 29  # as many as there are, when none were asked for
    assert list(found.fidelity) == ["all rows"]
    with pytest.raises(InputError, match="30 components cannot be found in 30 objects"):
        reduce(made, tmp_path / "more", components=30)
    assert not (tmp_path / "more" / "reduction.safetensors").exists()
    same = dataset(tmp_path / "s.h5", np.repeat(galaxies(1), 5, axis=0), train=0)
    with pytest.raises(EstampaError, match="all objects are the same"):
        reduce(same, tmp_path / "same")


@pytest.mark.parametrize(("asked", "told"), [({"crop": 999}, "crop"), ({"components": 9999}, "components")])
def test_a_refusal_leaves_nothing_behind(made: Dataset, tmp_path: Path, asked: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        reduce(made, tmp_path / "deep" / "out", **asked)  # type: ignore[arg-type]
    assert not (tmp_path / "deep").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="its folder is a file"):
        reduce(made, tmp_path / "file" / "out")


def test_a_header_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.safetensors"
    save_file({"mean": np.zeros(3, np.float32)}, path, metadata={"estampa.reduction": "[" * 200_000})
    with pytest.raises(InputError, match="is not a reduction of estampa"):
        Reduction.load(path)
