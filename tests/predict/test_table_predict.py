"""Rows of tables to answers: columns by name from every kind of file, doubts as flags, memory flat."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from estampa.bundle.store import Bundle
from estampa.cli import application
from estampa.data.dataset import Dataset
from estampa.errors import ContractError, InputError, SourceError
from estampa.predict import predict, read_predictions
from estampa.predict.source import open_table
from made_bundles import make as make_of_pictures
from made_bundles import pictures
from made_tables import COLUMNS, UNITS, dataset, galaxies, make

N = 300
SHUFFLED = ("ab", "petroR90", "mag_g", "mag_u", "petroR50", "mag_r")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("run") / "model")


@pytest.fixture(scope="module")
def raw() -> np.ndarray:
    return galaxies(N, seed=5)[0]


@pytest.fixture(scope="module")
def answers(bundle: Bundle, raw: np.ndarray) -> np.ndarray:
    found = predict(bundle, raw).probabilities
    assert found is not None
    return found


def write_csv(
    path: Path, raw: np.ndarray, names: tuple[str, ...] = COLUMNS, ids: bool = True, **more: list[str]
) -> Path:
    """A CSV with the columns `names` (others by `more`), NaN as an empty field."""
    columns = {name: ["" if np.isnan(v) else repr(float(v)) for v in raw[:, COLUMNS.index(name)]] for name in names}
    columns |= more
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*(["objid"] if ids else []), *columns])
        for i in range(len(raw)):
            writer.writerow([*([f"g{i}"] if ids else []), *(texts[i] for texts in columns.values())])
    return path


def structured(raw: np.ndarray, names: tuple[str, ...] = COLUMNS) -> np.ndarray:
    made = np.zeros(len(raw), [(name, "f8") for name in names])
    for name in names:
        made[name] = raw[:, COLUMNS.index(name)]
    return made


def as_parquet(path: Path, raw: np.ndarray) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({name: raw[:, COLUMNS.index(name)] for name in SHUFFLED} | {"note": ["x"] * len(raw)})
    parquet.write_table(table, path, row_group_size=70)
    return path


def as_astropy(path: Path, raw: np.ndarray) -> Path:
    from astropy.table import Table

    table = Table({name: raw[:, COLUMNS.index(name)] for name in SHUFFLED})
    for name, unit in zip(COLUMNS, UNITS, strict=True):
        if unit:
            table[name].unit = unit
    table.write(path, format="votable" if path.suffix == ".vot" else "fits")
    return path


def as_npy(path: Path, raw: np.ndarray) -> Path:
    np.save(path, structured(raw, SHUFFLED))
    return path


def as_csv(path: Path, raw: np.ndarray) -> Path:
    return write_csv(path, raw, SHUFFLED, ra=[str(i / 7) for i in range(len(raw))])


def as_dataset(path: Path, raw: np.ndarray) -> Path:
    order = [COLUMNS.index(name) for name in SHUFFLED]
    units = tuple(UNITS[i] for i in order)
    return dataset(path, raw[:, order], None, columns=SHUFFLED, column_units=units).path


# ------------------------------------------------------------------------------------------------ columns by name


@pytest.mark.parametrize(
    ("write", "name"),
    [(as_csv, "t.csv"), (as_parquet, "t.parquet"), (as_astropy, "t.fits"), (as_astropy, "t.vot"), (as_npy, "t.npy"),
     (as_dataset, "t.h5")],
)  # fmt: skip
def test_shuffled_columns_of_any_file_give_the_same_bits(
    bundle: Bundle, raw: np.ndarray, answers: np.ndarray, tmp_path: Path, write: Any, name: str
) -> None:
    found = predict(bundle, write(tmp_path / name, raw), tmp_path / "p.csv")
    assert (found.n, found.bad) == (N, 0)
    np.testing.assert_array_equal(found.probabilities, answers)


def test_arrays_are_found_by_name_too(bundle: Bundle, raw: np.ndarray, answers: np.ndarray) -> None:
    np.testing.assert_array_equal(predict(bundle, structured(raw, SHUFFLED)).probabilities, answers)
    scores = bundle.score(raw)
    np.testing.assert_array_equal(scores.output, answers)
    with pytest.raises(ContractError, match=r"without names.*\(n, 6\).*\(300, 5\)"):
        predict(bundle, raw[:, :5])
    texts = np.zeros(3, [(name, "U3") for name in COLUMNS])
    with pytest.raises(ContractError, match="'mag_u' does not hold numbers"):
        predict(bundle, texts)
    with pytest.raises(InputError, match="at least one row"):
        predict(bundle, raw[:0])


def test_ids_of_the_file_are_kept(bundle: Bundle, raw: np.ndarray, tmp_path: Path) -> None:
    found = predict(bundle, write_csv(tmp_path / "t.csv", raw), tmp_path / "p.csv")
    assert found.ids[:2].tolist() == ["g0", "g1"]


def test_a_missing_column_is_named(bundle: Bundle, raw: np.ndarray, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", raw, COLUMNS[:3] + COLUMNS[4:])
    with pytest.raises(ContractError, match=r"t.csv: the column 'petroR50'.*is missing.*Did you mean 'petroR90'"):
        predict(bundle, path, tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()
    ended = CliRunner().invoke(
        application("predict"), ["predict", str(bundle.folder), str(path), "-o", str(tmp_path / "p.csv")]
    )
    assert ended.exit_code == 2


def test_another_unit_is_refused(bundle: Bundle, raw: np.ndarray, tmp_path: Path) -> None:
    units = ("mag", "mag", "mag", "deg", "arcsec", "")
    other = dataset(tmp_path / "t.h5", raw, None, column_units=units)
    with pytest.raises(ContractError, match=r"'petroR50' is in another unit.*arcsec.*Got: deg"):
        predict(bundle, other)


def test_pictures_are_no_table_and_a_table_no_pictures(bundle: Bundle, raw: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ContractError):
        predict(bundle, pictures(9))
    of_pictures = make_of_pictures(tmp_path / "m" / "model")
    data = dataset(tmp_path / "t.h5", raw, None)
    with pytest.raises(ContractError, match="this is not what the model was fed: no images"):
        predict(of_pictures, data)


# ------------------------------------------------------------------------------------------------ doubts


def test_imputed_columns_are_named(bundle: Bundle) -> None:
    rows, _ = galaxies(20, seed=9, failed=0)
    rows[3, 0] = -9999
    rows[4, [1, 3]] = np.nan
    rows[5, 2] = 60.0
    rows[6] = np.nan
    found = predict(bundle, rows)
    expected = {3: "imputed:mag_u", 4: "imputed:mag_g|petroR50", 5: "out_of_range", 6: "invalid:no valid value"}
    assert {i: f for i, f in enumerate(found.flags) if f} == expected
    assert found.bad == 1
    assert found.predicted[6] == ""
    assert found.counts == {"imputed": 2, "invalid": 1, "out_of_range": 1}
    assert found.failed == {"no valid value": 1}
    assert found.flag_words() == "2 imputed, 1 invalid (no valid value: 1), 1 out_of_range"


def test_a_row_without_a_valid_value_needs_no_repair_and_one_that_cannot_be_read_does(
    bundle: Bundle, tmp_path: Path
) -> None:
    rows, _ = galaxies(20, seed=9, failed=0)
    rows[6] = -9999
    path, target = write_csv(tmp_path / "t.csv", rows), tmp_path / "p.csv"
    asked = ["predict", str(bundle.folder), str(path), "-o", str(target), "--json"]
    ended = CliRunner().invoke(application("predict"), asked)
    assert ended.exit_code == 0
    assert "1 row has no answer, as measurements failed" in ended.stderr
    assert json.loads(ended.stdout)["failed"] == {"no valid value": 1}
    assert target.read_text().splitlines()[7].split(",")[1:5] == ["", "", "", "invalid:no valid value"]
    lines = path.read_text().splitlines()
    lines[3] = ",".join(["bright" if k == 2 else cell for k, cell in enumerate(lines[3].split(","))])
    path.write_text("\n".join(lines) + "\n")
    ended = CliRunner().invoke(application("predict"), asked)
    assert ended.exit_code == 1
    assert "1 row has no answer; the flag unreadable" in ended.stderr


def test_a_model_that_drops_answers_no_row_with_a_failure(tmp_path: Path) -> None:
    ours = make(tmp_path / "run" / "model", invalid="drop")
    rows, _ = galaxies(20, seed=9, failed=0)
    rows[3, 0], rows[4, 4] = -9999, np.nan
    found = predict(ours, rows, tmp_path / "p.csv")
    assert found.bad == 2
    assert found.flags[[3, 4]].tolist() == ["invalid:mag_u", "invalid:petroR90"]
    back = read_predictions(tmp_path / "p.csv")
    assert back.bad == 2
    assert back.predicted[3] == ""
    assert np.isnan(back.probabilities[3]).all()
    ended = CliRunner().invoke(
        application("predict"),
        ["predict", str(ours.folder), str(write_csv(tmp_path / "t.csv", rows)), "-o", str(tmp_path / "q.csv")],
    )
    assert ended.exit_code == 0
    assert "2 rows have no answer, as measurements failed" in ended.stderr


def test_text_in_a_number_is_a_bad_row(bundle: Bundle, raw: np.ndarray, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", raw)
    lines = path.read_text().splitlines()
    cells = lines[8].split(",")
    cells[3] = "bright"
    lines[8] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    found = predict(bundle, path, tmp_path / "p.csv")
    assert found.bad == 1
    assert found.flags[7].startswith("unreadable:")
    assert "bright" in found.flags[7]
    assert found.predicted[7] == ""
    assert found.predicted[8] != ""


def test_no_rows_are_an_error(bundle: Bundle, raw: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no rows"):
        predict(bundle, write_csv(tmp_path / "t.csv", raw[:0]), tmp_path / "p.csv")


def test_a_formula_in_an_id_is_refused(bundle: Bundle, raw: np.ndarray, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", raw[:5], ids=False, objid=["=1+1", "@x", "a", "b", "c"])
    with pytest.raises(SourceError, match="a formula in place of an id"):
        predict(bundle, path, tmp_path / "p.csv")


# ------------------------------------------------------------------------------------------------ parts, rows, threads


def test_parts_and_threads(bundle: Bundle, tmp_path: Path) -> None:
    values, labels = galaxies(500, seed=4)
    data = dataset(tmp_path / "t.h5", values, labels)
    one = predict(bundle, data, part="test", threads=1)
    four = predict(bundle, data, part="test", threads=4)
    assert one.n == 100
    np.testing.assert_array_equal(one.probabilities, four.probabilities)
    assert one.ids[0] == "g4"


def test_a_source_knows_labels_and_single_rows(bundle: Bundle, tmp_path: Path) -> None:
    values, labels = galaxies(500, seed=4)
    source = open_table(dataset(tmp_path / "t.h5", values, labels), bundle.table)
    np.testing.assert_array_equal(source.labels, labels)
    np.testing.assert_array_equal(source.take_rows(np.array([400, 3])), values[[400, 3]])
    read = open_table(write_csv(tmp_path / "t.csv", values), bundle.table)
    np.testing.assert_array_equal(read.take_rows(np.array([400, 3])), values[[400, 3]])


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from estampa.errors import Interrupted
    from estampa.predict import run, table_source

    monkeypatch.setattr(run, "_CHUNK_TABLE", 1)
    values, _ = galaxies(40_000, seed=4)
    path = as_npy(tmp_path / "t.npy", values)
    predict(bundle, path, tmp_path / "whole.csv")
    chunks = table_source.ReadingTable.table_chunks

    def stopped(self: Any, start: int, size: int) -> Any:
        for chunk in chunks(self, start, size):
            if chunk.start > 0:
                raise KeyboardInterrupt
            yield chunk

    monkeypatch.setattr(table_source.ReadingTable, "table_chunks", stopped)
    with pytest.raises(Interrupted, match="16,384 of 40,000 rows"):
        predict(bundle, path, tmp_path / "p.csv")
    monkeypatch.setattr(table_source.ReadingTable, "table_chunks", chunks)
    said: list[str] = []

    class Spoken:
        def __getattr__(self, name: str) -> Any:
            return lambda *words: said.append(str(words[0])) if name == "say" else None

    predict(bundle, path, tmp_path / "p.csv", progress=Spoken())  # type: ignore[arg-type]
    assert "goes on after 16,384" in said[0]
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


LEAN = """
import sys
from estampa.predict import predict
found = predict(sys.argv[1], sys.argv[2], sys.argv[3])
heavy = [m for m in ("torch", "sklearn", "scipy", "onnx", "skl2onnx", "matplotlib") if m in sys.modules]
assert not heavy, heavy
from estampa.machine import peak_memory
print(found.n, peak_memory())
"""


def lean(bundle: Bundle, data: Path, out: Path) -> tuple[int, int]:
    words = [sys.executable, "-c", LEAN, str(bundle.folder), str(data), str(out)]
    n, peak = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return int(n), int(peak)


def test_scoring_imports_nothing_heavy_and_memory_stays_flat(bundle: Bundle, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    values, _ = galaxies(20_000, seed=4)
    peaks = {}
    for times in (1, 10):
        with parquet.ParquetWriter(
            tmp_path / f"{times}.parquet", pa.schema([(name, pa.float64()) for name in COLUMNS])
        ) as writer:
            for _ in range(times):
                writer.write_table(pa.table(dict(zip(COLUMNS, values.T, strict=True))))
        n, peaks[times] = lean(bundle, tmp_path / f"{times}.parquet", tmp_path / f"{times}.csv")
        assert n == 20_000 * times
    assert peaks[10] < peaks[1] + (60 << 20)


def test_a_dataset_of_predictions_is_readable(bundle: Bundle, raw: np.ndarray, tmp_path: Path) -> None:
    data: Dataset = dataset(tmp_path / "t.h5", raw, None)
    for name in ("p.csv", "p.jsonl", "p.parquet"):
        found = predict(bundle, data, tmp_path / name)
        np.testing.assert_array_equal(read_predictions(tmp_path / name).predicted, found.predicted)
