"""Features of every kind: fitted on the train part, the same again after saving; and UMAP of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import made_bundles
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.errors import BundleError, ContractError, DatasetError, InputError
from estampa.explore.extract import load_extractor
from estampa.explore.features import features_of
from estampa.explore.umap import Umap
from estampa.progress import Silent


class Said(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def warn(self, line: str) -> None:
        self.lines.append(f"warning: {line}")


def pictures(path: Path, train: int = 40, dtype: str = "uint8", n: int = 60) -> Dataset:
    images = made_bundles.pictures(n, dtype=dtype)
    header = Header(n, images.shape[1:], dtype, "classification", ("a", "b"), read=ReadRecord(source="arrays"))
    split = np.where(np.arange(n) < train, 1, 3) if train else None
    ids = [f"o{i}" for i in range(n)]
    writer = DatasetWriter(path, header, ids=ids, labels=np.arange(n) % 3 - 1, split=split, fingerprint="test")
    writer.write(0, images)
    return writer.finish()


def table(
    path: Path, columns: dict[str, np.ndarray], train: int = 40, origin: dict[str, object] | None = None
) -> Dataset:
    values = np.stack(list(columns.values()), axis=1)
    n = len(values)
    header = Header(n, None, "float32", "unlabelled", columns=tuple(columns), origin=origin or {})
    split = np.where(np.arange(n) < train, 1, 3) if train else None
    writer = DatasetWriter(path, header, ids=[f"o{i}" for i in range(n)], labels=None, split=split, fingerprint="t")
    writer.put_table(values)
    return writer.finish()


def columns(n: int = 60) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {"mag": draw.normal(20, 2, n), "size": draw.gamma(2, 3, n), "flag": np.full(n, 4.0)}


def test_pixels_become_scaled_scores_fitted_on_the_train_part(tmp_path: Path) -> None:
    made, said = pictures(tmp_path / "a.h5"), Said()
    found = features_of(made, "pca", components=5, progress=said)
    assert found.values.shape == (60, 5)
    assert np.array_equal(found.ids, made.ids)
    assert found.labels is not None
    assert np.array_equal(found.labels, made.labels)
    assert found.classes == ("a", "b")
    assert found.fitted.sum() == 40
    np.testing.assert_allclose(found.values[found.fitted].std(axis=0, ddof=1), 1, rtol=1e-3)
    assert found.explained is not None
    assert 0.3 < found.explained < 1
    assert found.inverse is not None
    assert found.inverse(found.values[:3]).shape == (3, *made_bundles.SHAPE)
    assert "fitted on 40 rows (the train part)" in said.lines[-1]
    some = features_of(made, "pca", components=5, rows=np.array([59, 2, 1, 30, 7, 8, 9]))
    assert some.ids.tolist() == ["o59", "o2", "o1", "o30", "o7", "o8", "o9"]
    assert some.fitted.tolist() == [False] + [True] * 6


def test_without_a_train_part_all_rows_are_fitted_and_that_is_said(tmp_path: Path) -> None:
    said = Said()
    found = features_of(pictures(tmp_path / "a.h5", train=0), progress=said)
    assert found.fitted.all()
    assert "no train part" in said.lines[-1]
    assert found.values.shape == (60, 30)  # as many as a picture has pixels, when none were asked for


def test_embeddings_come_from_the_model_under_its_contract(tmp_path: Path) -> None:
    made, bundle = pictures(tmp_path / "a.h5"), made_bundles.make(tmp_path / "model")
    kind = f"embedding:{tmp_path / 'model'}"
    found = features_of(made, kind)
    raw = bundle.score(made.take(np.arange(60))).embedding
    assert raw is not None
    mean, scale = raw[:40].mean(axis=0, dtype=np.float64), raw[:40].std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(found.values, (raw - mean) / scale, atol=1e-4)
    assert found.inverse is None
    assert found.explained is None
    assert found.record["model"] == bundle.hash
    with pytest.raises(ContractError, match="another type of pixel"):
        features_of(pictures(tmp_path / "f.h5", dtype="float32"), kind)
    with pytest.raises(BundleError):
        features_of(made, f"embedding:{tmp_path / 'nothing'}")
    with pytest.raises(InputError, match="belong to the features 'pca'"):
        features_of(made, kind, components=3)


def test_a_model_that_refuses_missing_pixels_says_whose(tmp_path: Path) -> None:
    images = made_bundles.pictures(60, dtype="float32")
    made_bundles.make(tmp_path / "model", dtype="float32", nan="refuse")
    images[7, 2, 2, 0] = np.nan
    header = Header(60, images.shape[1:], "float32", "unlabelled", read=ReadRecord(source="arrays"))
    writer = DatasetWriter(tmp_path / "n.h5", header, ids=[f"o{i}" for i in range(60)], labels=None, fingerprint="t")
    writer.write(0, images)
    with pytest.raises(ContractError, match=r"o7: pixels that are not finite"):
        features_of(writer.finish(), f"embedding:{tmp_path / 'model'}")


def test_columns_are_standardised_and_a_constant_one_is_left_out(tmp_path: Path) -> None:
    given, said = columns(), Said()
    given["size"][[3, 50]] = np.nan
    found = features_of(table(tmp_path / "t.h5", given), "table", progress=said)
    assert found.values.shape == (60, 2)
    assert found.labels is None
    np.testing.assert_allclose(np.nanstd(found.values[:40], axis=0), 1, atol=0.03)
    assert found.values[50, 1] == 0  # missing: the mean
    assert found.record["constant"] == ["flag"]
    assert "warning: columns left out because they do not vary: flag" in said.lines
    truth = features_of(table(tmp_path / "s.h5", columns(), origin={"truth": ["size"]}), "table", progress=said)
    assert truth.record["columns"] == ["mag"]
    assert "columns left out because they tell the answer: size" in said.lines
    with pytest.raises(DatasetError, match="no column varies"):
        features_of(table(tmp_path / "c.h5", {"flag": np.ones(20)}), "table")
    with pytest.raises(DatasetError, match="has no table"):
        features_of(pictures(tmp_path / "a.h5"), "table")
    with pytest.raises(DatasetError, match="no images"):
        features_of(table(tmp_path / "d.h5", columns()), "pca")


@pytest.mark.parametrize("kind", ["pca", "embedding", "table"])
def test_what_was_saved_gives_the_same_features(tmp_path: Path, kind: str) -> None:
    if kind == "embedding":
        made_bundles.make(tmp_path / "model")
    made = table(tmp_path / "t.h5", columns()) if kind == "table" else pictures(tmp_path / "a.h5")
    found = features_of(made, f"embedding:{tmp_path / 'model'}" if kind == "embedding" else kind)
    folder = tmp_path / "saved"
    folder.mkdir()
    found.extractor.save(folder)
    (tmp_path / "model").rename(tmp_path / "moved") if kind == "embedding" else None
    again = load_extractor(folder)
    assert np.array_equal(again.apply(made, found.rows), found.values)
    assert again.name == found.name
    (folder / "features.json").write_text("[]")
    with pytest.raises(InputError, match="the features cannot be read"):
        load_extractor(folder)


def test_other_columns_and_unknown_kinds_are_refused(tmp_path: Path) -> None:
    made = table(tmp_path / "t.h5", columns())
    found = features_of(made, "table")
    other = table(tmp_path / "o.h5", {"mag": np.arange(60.0), "colour": np.arange(60.0), "flag": np.arange(60.0)})
    with pytest.raises(ContractError, match="its columns are not those"):
        found.extractor.apply(other, np.arange(60))
    with pytest.raises(InputError, match=r"unknown features 'tabel'.*Did you mean 'table'"):
        features_of(made, "tabel")
    with pytest.raises(InputError, match="no rows are left"):
        features_of(made, "table", rows=np.array([], np.int64))


def clouds(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Three well-parted clouds in 8 dimensions, and which point is of which."""
    draw, truth = np.random.default_rng(0), np.arange(n) % 3
    return (draw.normal(0, 0.3, (n, 8)) + 5 * np.eye(3, 8)[truth]).astype(np.float32), truth


def test_new_points_lie_among_their_nearest(tmp_path: Path) -> None:
    x, truth = clouds()
    places = (10 * np.eye(3, 2)[truth] + np.random.default_rng(1).normal(0, 0.1, (60, 2))).astype(np.float32)
    made = Umap(x, places, 5, 0.1, 0)
    new, of = clouds(90)
    found = made.transform(new[60:])
    centres = np.stack([places[truth == c].mean(axis=0) for c in range(3)])
    assert (np.linalg.norm(found[:, None] - centres[None], axis=2).argmin(axis=1) == of[60:]).all()
    np.testing.assert_allclose(made.transform(x), places, atol=1e-3)  # an old point lies where it lay
    assert np.isfinite(made.transform(np.full((1, 8), 1e4, np.float32))).all()
    made.save(tmp_path / "u.safetensors")
    again = Umap.load(tmp_path / "u.safetensors")
    assert np.array_equal(again.transform(new), made.transform(new))
    with pytest.raises(ContractError, match="not what the map was made of"):
        made.transform(new[:, :5])
    (tmp_path / "u.safetensors").write_bytes(b"something else")
    with pytest.raises(InputError, match="is not a map of estampa"):
        Umap.load(tmp_path / "u.safetensors")
    with pytest.raises(InputError, match="2 dimensions cannot be made of 3 points"):
        Umap.fit(x[:3], 2)


class Told(Silent):
    """Keeps what is said and counted."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.total, self.done, self.open = 0, 0, False

    def say(self, line: str) -> None:
        self.said.append(line)

    def start(self, what: str, total: int | None, unit: str) -> None:
        self.said.append(f"{what} {unit}")
        self.total, self.open = total or 0, True

    def advance(self, count: int = 1, note: str = "") -> None:  # noqa: ARG002 - a Progress
        self.done += count

    def finish(self, note: str = "") -> None:  # noqa: ARG002 - a Progress
        self.open = False


def test_umap_says_what_it_does_and_counts_its_passes(capfd: pytest.CaptureFixture[str]) -> None:
    x, _ = clouds()
    told = Told()
    seen = Umap.fit(x, 2, 3, progress=told)
    assert "UMAP: looking for neighbours" in told.said
    assert told.said[-1] == "UMAP passes"
    assert told.done == told.total >= 200
    assert not told.open
    assert capfd.readouterr() == ("", "")  # the library prints nothing
    np.testing.assert_array_equal(seen.places, Umap.fit(x, 2, 3).places)


def test_umap_is_seeded_and_keeps_clouds_apart() -> None:
    x, truth = clouds(48)
    one, two = Umap.fit(x, 2, seed=3, neighbours=8), Umap.fit(x, 2, seed=3, neighbours=8)
    assert np.array_equal(one.places, two.places)
    gaps = np.linalg.norm(one.places[:, None] - one.places[None], axis=2) + 1e9 * np.eye(48)
    assert (truth[gaps.argmin(axis=1)] == truth).mean() > 0.95


@pytest.mark.parametrize("kept", [np.array([-1]), np.array([0.5]), np.array([], np.int64), np.array([[0]])])
def test_a_scale_that_points_elsewhere_is_refused(tmp_path, kept):
    from safetensors.numpy import save

    ones = np.ones(len(kept))
    (tmp_path / "standard.safetensors").write_bytes(save({"kept": kept, "mean": ones, "scale": ones}))
    (tmp_path / "features.json").write_text('{"kind": "table", "columns": ["a"]}')
    with pytest.raises(InputError, match="is damaged"):
        load_extractor(tmp_path)


def test_features_nested_without_end_are_refused(tmp_path):
    (tmp_path / "features.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="cannot be read"):
        load_extractor(tmp_path)


def test_a_map_nested_without_end_is_refused(tmp_path):
    from safetensors.numpy import save_file

    from estampa.explore.umap import Umap

    path = tmp_path / "umap.safetensors"
    points = np.zeros((3, 2), np.float32)
    save_file({"points": points, "places": points}, path, metadata={"estampa.umap": "[" * 200_000})
    with pytest.raises(InputError, match="is not a map of estampa"):
        Umap.load(path)
