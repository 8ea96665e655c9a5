"""What predict says of ids that are no key, and of columns that differ by case alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from estampa.errors import ContractError
from estampa.predict import predict
from estampa.progress import Silent
from made_tables import COLUMNS, galaxies, make


class Heard(Silent):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, line: str) -> None:
        self.warned.append(line)


def written(path: Path, heads: tuple[str, ...], ids: list[str]) -> Path:
    rows = [",".join([one, *map(repr, row)]) for one, row in zip(ids, galaxies(8, seed=5)[0].tolist(), strict=True)]
    path.write_text("\n".join([",".join(("objid", *heads)), *rows]) + "\n", encoding="utf-8")
    return path


def test_ids_that_are_replaced_are_told(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model")
    for ids, told in (
        (["g1", "g1", *(f"g{i}" for i in range(2, 8))], "objid is no key: some of its ids stand more than once"),
        (["1.23765E+18"] * 8, "objid is no key: a spreadsheet rounded its ids"),
    ):
        heard = Heard()
        predict(bundle, written(tmp_path / "a.csv", COLUMNS, ids), progress=heard)
        assert heard.warned[0].startswith(told)
        assert heard.warned[1] == "ids: numbers of the rows"
    heard = Heard()
    predict(bundle, written(tmp_path / "b.csv", COLUMNS, [f"g{i}" for i in range(8)]), progress=heard)
    assert heard.warned == []


def test_a_column_that_differs_by_case_is_named(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model")
    path = written(tmp_path / "a.csv", tuple(name.upper() for name in COLUMNS), [f"g{i}" for i in range(8)])
    with pytest.raises(ContractError, match=f"Call '{COLUMNS[0].upper()}' '{COLUMNS[0]}', as in training"):
        predict(bundle, path)
