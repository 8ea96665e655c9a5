"""What a run is: how it is planned, kept, timed, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from estampa import page
from estampa.evaluate import tables
from estampa.evaluate.judge import Judgement
from estampa.plain import counted
from estampa.recipe import Recipe

if TYPE_CHECKING:
    from estampa.models._network import LayerRow


@dataclass(frozen=True)
class Habits:
    """How a run is kept, apart from what is learned: thumbnails, bad files, the words it was started with."""

    gallery: bool = True  #: keep thumbnails and a few whole objects of the data in the bundle
    skip_bad: bool = False  #: leave out unreadable pictures instead of stopping
    follow_test: bool = False  #: draw the test part's curve too, as some studies do; nothing is chosen by it
    decided: tuple[str, ...] = ()  #: what was decided before, as where the data came from
    command: str = ""  #: how to repeat the run; "" = spelled from the recipe


@dataclass(frozen=True)
class Plan:
    """What would be trained: `estampa train --dry-run`."""

    recipe: Recipe
    layers: list[LayerRow]
    shape: tuple[int, ...]  #: height, width, channels; of a table, the columns that are learned from
    outputs: int
    decisions: list[str] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        return sum(row.parameters for row in self.layers)

    def to_json(self) -> dict[str, Any]:
        """{"model": {"name", "parameters", "layers"}, "recipe", ...}."""
        rows = [
            {
                "name": r.name,
                "kind": r.kind,
                "shape": list(r.shape),
                "parameters": r.parameters,
                "statistics": r.statistics,
            }
            for r in self.layers
        ]
        return {
            "model": {
                "name": self.recipe.model.name,
                "parameters": self.parameters,
                "layers": rows,
                "counted": counted(self.parameters, self.layers),
            },
            "input": list(self.shape),
            "outputs": self.outputs,
            "decisions": self.decisions,
            "recipe": self.recipe.model_dump(mode="json"),
        }

    def _repr_html_(self) -> str:
        rows = [[r.name, r.kind, " x ".join(map(str, r.shape)), r.parameters] for r in self.layers]
        return page.fragment(page.Table(["layer", "kind", "output shape", "parameters"], rows))


@dataclass(frozen=True)
class Run:
    """A finished run: where it is, and what it came to."""

    folder: Path
    judgement: Judgement
    part: str
    seconds: float

    @property
    def headline(self) -> str:
        """The answer in one line, with its interval and the part that it was measured on."""
        return f"{self.judgement.headline()} ({self.part} part)"

    def to_json(self) -> dict[str, Any]:
        """The judgement, and where things are."""
        return {
            "run": str(self.folder),
            "model": str(self.folder / "model"),
            "report": str(self.folder / "report.html"),
            "part": self.part,
            "seconds": self.seconds,
            **self.judgement.to_json(),
        }

    def lines(self) -> list[str]:
        """Headline, places, the next command."""
        return [
            "", self.headline, "",
            f"report  {self.folder / 'report.html'}",
            f"model   {self.folder / 'model'}",
            f"next    estampa predict {self.folder} NEW_DATA -o predictions.csv",
        ]  # fmt: skip

    def _repr_html_(self) -> str:
        where = page.Facts({"report": str(self.folder / "report.html"), "model": str(self.folder / "model")})
        return page.fragment(page.Text(self.headline), tables.metrics(self.judgement), where)
