"""Source hdf5: files of other programs, sound and hostile."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from estampa.bundle.contract import contract_of, measure_range
from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, build, open_any, open_reading
from estampa.data.sources import dataset as datasets
from estampa.data.sources import hdf5
from estampa.errors import InputError, SourceError
from estampa.predict.source import open_source

N = 30
IMAGES = np.random.default_rng(0).normal(size=(N, 8, 8)).astype(np.float32)


def h5(path: Path, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name.replace("__", "/"), data=values)
    return path


@pytest.mark.parametrize("packing", [{}, {"chunks": (7, 8, 8)}, {"compression": "gzip", "shuffle": True}])
def test_images_labels_ids_groups_and_columns(tmp_path: Path, packing: dict[str, object]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data/images", data=IMAGES, **packing)
        file["data/labels"] = np.arange(N) % 2
        file["candid"] = np.arange(N) + 1_003_321_121_015_010_000
        file["objectId"] = np.array([f"ZTF{i // 2}" for i in range(N)], "S8")
        file["snr"] = np.linspace(3, 9, N)
        file["pair"] = np.zeros((N, 2))
        file["name"] = np.array(["a"] * N, dtype=h5py.string_dtype())
        file["again"] = h5py.SoftLink("/data/images")
        file["loop"] = file["/"]
    dataset = build(tmp_path / "a.h5", tmp_path / "out.h5")
    assert dataset.shape == (8, 8, 1)
    np.testing.assert_array_equal(dataset.images[..., 0], IMAGES)
    assert dataset.classes == ("0", "1")
    assert dataset.ids[0] == "1003321121015010000"
    assert dataset.summary()["groups"] == N // 2
    assert dataset.header.columns == ("snr",)
    np.testing.assert_array_equal(dataset.column("snr"), np.linspace(3, 9, N))
    notes = open_reading([tmp_path / "a.h5"]).notes
    assert any("name is left out: values of varying length" in note for note in notes)


def test_several_arrays_of_images_are_channels(tmp_path: Path) -> None:
    path = h5(tmp_path / "a.hdf5", science=IMAGES, template=IMAGES + 1, kind=np.arange(N) % 3)
    reading = open_reading([path], ReadOptions(label="kind"))
    assert (reading.header.shape, reading.header.channels) == ((8, 8, 2), ("science", "template"))
    assert np.array_equal(next(reading.blocks()).images[..., 1], IMAGES + 1)
    assert len(reading.header.classes) == 3
    flat = h5(tmp_path / "b.h5", science=IMAGES.reshape(N, 64), labels=np.arange(N) % 2)
    assert open_reading([flat], ReadOptions(reshape=(8, 8, 1))).header.shape == (8, 8, 1)
    with pytest.raises(SourceError, match=r"no array is called 'kinds'.*Did you mean 'kind'"):
        open_reading([path], ReadOptions(label="kinds"))


def test_it_is_read_in_blocks(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=np.ones((24_000, 64, 64), np.uint8), chunks=(100, 64, 64), compression=1)
    reading = open_reading([tmp_path / "a.h5"])
    tracemalloc.start()
    rows = sum(len(block.images) for block in reading.blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 24_000
    assert peak < 64 << 20, "some blocks of 16 MiB, not the 98 MB of all"


def test_the_verbs_take_it_where_they_take_a_dataset(tmp_path: Path) -> None:
    """What begins like HDF5 need not be a Dataset: it is built in passing, as any other source."""
    path = h5(tmp_path / "a.h5", images=IMAGES, labels=np.arange(N) % 2)
    assert isinstance(open_any(path), Dataset)
    assert open_any(path).n == N
    contract = contract_of(open_any(path).header, measure_range(IMAGES[..., None]))
    assert len(open_source(path, contract)) == N


def test_what_it_claims(tmp_path: Path) -> None:
    foreign, ours = h5(tmp_path / "a.h5", images=IMAGES), build(h5(tmp_path / "b.h5", x=IMAGES), tmp_path / "c.h5").path
    options = ReadOptions()
    assert hdf5.is_mine([foreign], options) is None
    assert "not a Dataset" in str(datasets.is_mine([foreign], options))
    assert datasets.is_mine([ours], options) is None
    assert "is a Dataset" in str(hdf5.is_mine([ours], options))
    with pytest.raises(SourceError, match="several HDF5 files"):
        open_reading([foreign, h5(tmp_path / "d.h5", images=IMAGES)])


# ------------------------------------------------------------------------------------------------------ hostile


def _external_link(path: Path) -> None:
    h5(path.with_name("secret.h5"), x=IMAGES)
    with h5py.File(path, "a") as file:
        file["deep/er/link"] = h5py.ExternalLink("secret.h5", "/x")


def _external_storage(path: Path) -> None:
    path.with_name("secret.bin").write_bytes(bytes(IMAGES.nbytes))
    with h5py.File(path, "a") as file:
        file.create_dataset(
            "more", IMAGES.shape, "f4", external=[(str(path.with_name("secret.bin")), 0, IMAGES.nbytes)]
        )


def _virtual(path: Path) -> None:
    layout = h5py.VirtualLayout(IMAGES.shape, "f4")
    layout[...] = h5py.VirtualSource(str(path.with_name("secret.h5")), "x", IMAGES.shape)
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("more", layout)


def _dangling(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["more"] = h5py.SoftLink("/not/there")


def _missing_filter(path: Path) -> None:
    """Another filter's number is put in the file: that of Blosc, which PyTables writes."""
    with h5py.File(path, "a") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((N, 8, 8))
        plan.set_filter(h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FLAG_OPTIONAL)
        del file["images"]
        space = h5py.h5s.create_simple(IMAGES.shape)
        made = h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_FLOAT, space, plan)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, IMAGES)
    data = bytearray(path.read_bytes())
    at = data.find(b"fletcher32") - 8  # a filter's message: number, length of its name, flags, values, name
    assert data[at] == h5py.h5z.FILTER_FLETCHER32
    data[at : at + 2] = (32001).to_bytes(2, "little")
    path.write_bytes(bytes(data))


def _objects(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["labels"]
        file["labels"] = np.array(["real"] * N, dtype=h5py.string_dtype())


def _ragged(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["images"]
        made = file.create_dataset("images", (N, 8), dtype=h5py.vlen_dtype(np.float32))
        made[0, 0] = np.zeros(3, np.float32)


def _records(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["labels"]
        file["labels"] = np.zeros(N, [("snr", "f4"), ("mag", "f4")])


def _huge(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["images"]
        file.create_dataset("images", (10**12, 64, 64), "f4", chunks=(1, 64, 64))


def _bomb(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["images"]
        file.create_dataset("images", (100_000, 64, 64), "f4", chunks=(1, 64, 64), compression=9)
        file["images"][0] = 1


def _chunk(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["images"]
        file.create_dataset("images", (N, 20_000, 20_000), "f4", chunks=(1, 18_000, 18_000), compression=1)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4000])


def _words(path: Path) -> None:
    path.write_text("not HDF5 at all")


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "an external link": (_external_link, r"'deep/er/link' is a link to another file, 'secret\.h5'"),
    "external storage": (_external_storage, r"'more' has its values in another file"),
    "a virtual dataset": (_virtual, r"'more' has a virtual dataset"),
    "a dangling link": (_dangling, r"'more' is a link to '/not/there', which is not there"),
    "a filter that is not installed": (_missing_filter, r"packed with a filter that is not installed.*32001.*h5repack"),
    "objects": (_objects, r"labels: values of varying length or references"),
    "ragged pictures": (_ragged, r"images: values of varying length"),
    "records": (_records, r"labels: records with the fields snr, mag"),
    "a huge claimed shape": (_huge, r"claims 16,384,000,000,000,000 bytes, and 0 are stored"),
    "a bomb": (_bomb, r"claims 1,638,400,000 bytes, and \d+ are stored"),
    "a chunk of more than a gigabyte": (_chunk, r"more than 1 GiB to unpack for one row"),
    "truncated": (_truncated, r"truncated"),
    "words": (_words, r"is not a readable HDF5 file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    make, message = HOSTILE[name]
    path = h5(tmp_path / "a.h5", images=IMAGES, labels=np.arange(N) % 2)
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        build(path, tmp_path / "out.h5")
    assert "a.h5" in str(caught.value)
    assert not (tmp_path / "out.h5").exists()


def test_damage_inside_a_chunk_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("images", data=IMAGES, chunks=(5, 8, 8), compression=4)
        chunk = made.id.get_chunk_info(2)
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    (tmp_path / "a.h5").write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"a\.h5: images: damaged or truncated"):
        build(tmp_path / "a.h5", tmp_path / "out.h5")
