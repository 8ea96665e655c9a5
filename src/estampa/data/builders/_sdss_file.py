"""A catalogue at hand in place of SkyServer: SDSS's columns under their own names or others that are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from estampa.data.builders._sdss_answer import refuse_html
from estampa.data.builders._sdss_columns import KNOWN, role_of, unit_of
from estampa.data.read import open_reading
from estampa.data.sources._base import Block, Reading, ReadOptions
from estampa.errors import SourceError
from estampa.files import sha256_of

#: Other names of known columns, in lower case. A `mag_u` ... `mag_z` keeps its name: its kind is not known.
NAMES: Mapping[str, str] = MappingProxyType({
    "votes": "nvote", "nvotes": "nvote", "n_votes": "nvote", "total_votes": "nvote",
    "z_spec": "redshift", "zspec": "redshift", "spec_z": "redshift", "specz": "redshift",
    "raj2000": "ra", "dej2000": "dec", "ra_deg": "ra", "dec_deg": "dec",
})  # fmt: skip
_LOWER = {name.lower(): name for name in KNOWN}


@dataclass(kw_only=True)
class _Named(Reading):
    """Another reading of a table alone under a header of our own; columns are in the same order."""

    inner: Reading

    def blocks(self, start: int = 0, size: int | None = None) -> Iterator[Block]:
        """See Reading."""
        return self.inner.blocks(start, size)

    def table_blocks(
        self, start: int = 0, size: int | None = None, names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, np.ndarray, dict[int, str]]]:
        """See Reading."""
        own = self.inner.header.columns
        return self.inner.table_blocks(start, size, None if names is None else [own[i] for i in self.places(names)])


def of_file(path: Path, release: int | None) -> Reading:
    """Read a CSV, Parquet, FITS, VOTable or ECSV catalogue; known columns get SDSS's names, roles and units.

    Raises SourceError for a file that is not there, an HTML page that was saved in a table's place, a table that breaks
    off or cannot be read; MissingExtra where a format's package is not installed.
    """
    if not path.is_file():
        raise SourceError("there is no such catalogue", where=path)
    with path.open("rb") as stream:
        start = stream.read(20_000).decode("utf-8", "replace")
    refuse_html(start, path, "Fetch the table again: what was saved is a server's message.")
    reading = open_reading([path], ReadOptions(as_="table"))
    header = reading.header
    if header.shape is not None:
        raise SourceError("holds pictures, where a catalogue should be", where=path)
    renamed = _renamed(header.columns)
    told = {old: new for old, new in zip(header.columns, renamed, strict=True) if old != new}
    roles, units = header.roles or ("feature",) * len(renamed), header.column_units or ("",) * len(renamed)
    named = replace(
        header,
        columns=renamed,
        roles=tuple(role_of(new) if new in KNOWN else role for new, role in zip(renamed, roles, strict=True)),
        column_units=tuple(unit or unit_of(new) for new, unit in zip(renamed, units, strict=True)),
        release="" if release is None else f"SDSS DR{release}; Galaxy Zoo 1 table 2",
        origin={**header.origin, "builder": "sdss", "sha256": sha256_of(path), "names": told},
    )
    names = ", ".join(f"{old} is {new}" for old, new in told.items())
    return _Named(
        header=named, ids=reading.ids, labels=reading.labels, groups=reading.groups, split=reading.split, inner=reading,
        fingerprint=reading.fingerprint,
        notes=[*reading.notes, *([f"{path.name}: columns under other names: {names}"] if told else [])],
    )  # fmt: skip


def _renamed(columns: tuple[str, ...]) -> tuple[str, ...]:
    """SDSS's names of the columns that are known, case aside; a name that is taken is not given twice."""
    taken, found = set(columns), []
    for own in columns:
        lower = own.strip().lower()
        name = _LOWER.get(NAMES.get(lower, lower), own)
        found.append(name if name == own or name not in taken else own)
        taken.add(found[-1])
    return tuple(found)
