"""reduce(): pictures in; the fitted reduction, the reduced Dataset and a report out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine, page
from estampa.data.dataset import Dataset
from estampa.data.read import Source, open_any
from estampa.files import require_new_folder, require_writable
from estampa.progress import SILENT, Progress
from estampa.reduce.reduction import Fidelity, Reduction
from estampa.reduce.report import write_report
from estampa.reduce.write import write_reduced

REDUCTION, REDUCED, REPORT = "reduction.safetensors", "reduced.h5", "report.html"


@dataclass(frozen=True)
class Reduced:
    """What `reduce` left: where it is, and how much of the pictures it holds."""

    folder: Path
    reduction: Reduction
    n: int
    fitted_on: str
    fidelity: dict[str, Fidelity]  #: of each part that there is
    seconds: dict[str, float]
    peak_memory: int

    @property
    def headline(self) -> str:
        """The answer in one line."""
        values = len(self.reduction.pca.mean)
        held = "; ".join(f"{100 * found.explained:.2f} % of {part}" for part, found in self.fidelity.items())
        return f"{values:,} values became {self.reduction.components}, which hold {held} (share of the variance)."

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        made = self.reduction
        return {
            "folder": str(self.folder), "reduction": str(self.folder / REDUCTION),
            "reduced": str(self.folder / REDUCED), "report": str(self.folder / REPORT), "n": self.n,
            "fitted_on": self.fitted_on, "fitted_rows": made.n, "components": made.components, "crop": made.crop,
            "values": len(made.pca.mean), "explained": made.pca.explained,
            "explained_ratio": made.pca.explained_ratio.tolist(), "seed": made.seed,
            "fidelity": {part: found.to_json() for part, found in self.fidelity.items()},
            "seconds": self.seconds, "peak_memory_bytes": self.peak_memory,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For people."""
        return [
            self.headline,
            f"reduced    {self.folder / REDUCED}",
            f"reduction  {self.folder / REDUCTION}",
            f"report     {self.folder / REPORT}",
        ]

    def _repr_html_(self) -> str:
        return page.fragment(page.Text(self.headline), page.Facts({"report": str(self.folder / REPORT)}))


def reduce(
    source: Source | Dataset,
    output: Path | str,
    *,
    components: int | None = None,
    crop: int = 0,
    seed: int = 0,
    command: str = "",
    progress: Progress = SILENT,
) -> Reduced:
    """Fit principal components on the train part, write every row's scores as a Dataset, and report.

    Parameters
    ----------
    source : a Dataset, or anything that `build` reads.
    output : a folder that is new or empty; `reduction.safetensors`, `reduced.h5` and `report.html` are put into it.
    components : None = 75, or as many as the train part has.
    crop : side of the central square that is looked at; 0 = the whole picture.

    Without a train part the fit is on all rows, and that is said. Memory does not grow with the number of rows beyond
    their scores. Raises InputError, DatasetError, SourceError (the data), StorageError (the place), MissingExtra.
    """
    machine.require("train", "matplotlib", needed_for="reduce")
    folder = Path(output)
    require_new_folder(folder)
    dataset = source if isinstance(source, Dataset) else open_any(source, progress=progress)
    rows, fitted_on = training_rows(dataset)
    progress.say(f"{dataset.n:,} objects; components are fitted on {len(rows):,} ({fitted_on})")
    seconds, began = {}, time.monotonic()
    reduction = Reduction.fit(dataset, rows, components=components, crop=crop, seed=seed, progress=progress)
    seconds["fit"], began = time.monotonic() - began, time.monotonic()
    require_writable(folder / REDUCTION)
    write_reduced(dataset, reduction, folder / REDUCED, progress)
    seconds["transform"], began = time.monotonic() - began, time.monotonic()
    parts = {part: dataset.rows(part) for part in ("train", "validation", "test")}
    parts = {part: found for part, found in parts.items() if len(found)} or {"all rows": rows}
    fidelity = {part: reduction.judge(dataset, found, progress) for part, found in parts.items()}
    seconds["measure"] = time.monotonic() - began
    made = Reduced(folder, reduction, dataset.n, fitted_on, fidelity, seconds, machine.peak_memory())
    write_report(made.headline, dataset, reduction, _facts(made, dataset, command), fidelity, folder)
    reduction.save(folder / REDUCTION)  # last: it marks the folder as finished
    return made


def training_rows(dataset: Dataset) -> tuple[np.ndarray, str]:
    """Rows that may be learned from: the train part, or all rows where there is none; and which, in words."""
    rows = dataset.rows("train")
    if len(rows):
        return rows, "the train part"
    return np.arange(dataset.n), "all rows: there is no train part, so no row is left that the fit has not seen"


def _facts(made: Reduced, dataset: Dataset, command: str) -> dict[str, Any]:
    described = machine.describe()
    reduction = made.reduction
    return {
        "command": command,
        "Fitted on": f"{reduction.n:,} rows ({made.fitted_on})",
        "Looked at": " x ".join(map(str, reduction.seen)) + f" {reduction.dtype}",
        "Method": "randomised subspace iteration (Halko, Martinsson & Tropp 2011), Rayleigh-Ritz at the end",
        "Seed": str(reduction.seed),
        "Seconds": [f"{stage}: {seconds:,.1f}" for stage, seconds in made.seconds.items()],
        "Peak memory": f"{made.peak_memory / 2**20:,.0f} MiB",
        "Data hash": dataset.content_sha256,
        "Reduction hash": reduction.fingerprint,
        "Versions": f"estampa {machine.version_of('estampa')}, Python {described['python']}, "
        f"numpy {machine.version_of('numpy')}; {described['threads']} threads",
    }
