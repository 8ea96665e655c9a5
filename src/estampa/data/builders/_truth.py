"""The truth table of a set while it is built: in a file, so that memory stays flat and a killed build goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from estampa.files import storage_errors

KEY_BYTES = 64
_ROWS = 10_000  #: of a table written at once


class Truth:
    """`table` (n, columns) float64, mapped to `OUTPUT.truth`; rows that were never filled begin with 0.

    An earlier file is taken over when it was begun with the same `key`. The first column must never be 0.
    """

    def __init__(self, output: Path, n: int, columns: Sequence[str], key: str) -> None:
        self.path = output.with_name(output.name + ".truth")
        self.csv = output.with_name(output.stem + ".truth.csv")
        self.columns = tuple(columns)
        digest = hashlib.sha256(f"{n} {self.columns} {key}".encode()).hexdigest().encode()
        size = KEY_BYTES + n * len(self.columns) * 8
        with storage_errors(self.path):
            if not self._begun(digest, size):
                with self.path.open("wb") as stream:
                    stream.write(digest)
                    stream.truncate(size)
        mapped = np.memmap(self.path, np.float64, "r+", KEY_BYTES, (n, len(self.columns)))
        self.table: np.ndarray = mapped.view(np.ndarray)

    def _begun(self, digest: bytes, size: int) -> bool:
        if not self.path.exists() or self.path.stat().st_size != size:
            return False
        with self.path.open("rb") as stream:
            return stream.read(KEY_BYTES) == digest

    def absent(self) -> list[int]:
        """Rows that are not filled: those whose values were lost although an earlier run wrote their pixels."""
        return np.flatnonzero(self.table[:, 0] == 0).tolist()

    def write_csv(self, ids: np.ndarray, groups: np.ndarray, names: Mapping[str, Sequence[str]]) -> None:
        """Write OUTPUT's stem + .truth.csv: id, group and every column; codes of the columns `names` by their names."""
        part = self.csv.with_name(self.csv.name + ".part")
        form = ",".join(["%s"] * 2 + ["%s" if name in names else "%.9g" for name in self.columns]) + "\n"
        coded = {self.columns.index(name): texts for name, texts in names.items()}
        with storage_errors(self.csv):
            with part.open("w", encoding="utf-8") as stream:
                stream.write(",".join(["id", "group", *self.columns]) + "\n")
                for start in range(0, len(ids), _ROWS):
                    rows = slice(start, start + _ROWS)
                    lines: list[list[object]] = self.table[rows].tolist()
                    for line in lines:
                        for at, texts in coded.items():
                            line[at] = texts[int(str(line[at]).partition(".")[0])]
                    whole = zip(ids[rows].tolist(), groups[rows].tolist(), lines, strict=True)
                    stream.writelines(form % (name, group, *line) for name, group, line in whole)
            part.replace(self.csv)

    def remove(self) -> None:
        """Take the file away: the Dataset holds the table now."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let the file go; it stays for the next run unless it was removed."""
        del self.table
