"""Figures and tables that a report shows, kept so that they are written beside it too."""

from __future__ import annotations

from pathlib import Path

from estampa import files
from estampa.page.blocks import Downloads, Figure
from estampa.page.drawn import Drawn
from estampa.page.table import Table


class Kept:
    """What a page shows, by the names of the files that are written beside it."""

    def __init__(self) -> None:
        self.figures: dict[str, Drawn] = {}
        self.tables: dict[str, Table] = {}

    def figure(self, name: str, drawn: Drawn, caption: str, alt: str) -> Figure:
        """The block that shows a drawing; figures/NAME.svg and .png are written."""
        self.figures[name] = drawn
        return Figure(drawn.svg, caption, alt)

    def table(self, name: str, table: Table) -> Table:
        """The table itself; tables/NAME.csv and .tex are written."""
        self.tables[name] = table
        return table

    def downloads(self) -> Downloads:
        """Every table, as CSV and as LaTeX, inside the page."""
        items = []
        for name, table in self.tables.items():
            items += [
                (f"{name}.csv", "text/csv", table.to_csv()),
                (f"{name}.tex", "application/x-tex", table.to_latex()),
            ]
        return Downloads(items)

    def save(self, folder: Path) -> None:
        """Write tables/*.csv and *.tex, figures/*.svg and *.png into `folder`.

        Raises StorageError when the place cannot be written.
        """
        for part in ("tables", "figures"):
            files.require_writable(folder / part / "x")
        for name, table in self.tables.items():
            files.write_atomic(folder / "tables" / f"{name}.csv", table.to_csv())
            files.write_atomic(folder / "tables" / f"{name}.tex", table.to_latex())
        for name, drawn in self.figures.items():
            files.write_atomic(folder / "figures" / f"{name}.svg", drawn.svg)
            files.write_atomic(folder / "figures" / f"{name}.png", drawn.png)
