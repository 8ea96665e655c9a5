"""Figures and tables that a report shows, kept so that they are written beside it too."""

from __future__ import annotations

from estampa import page
from estampa.page import Figure, Table


class Kept:
    """What a page shows, by the names of the files that are written beside it."""

    def __init__(self) -> None:
        self.figures: dict[str, page.Drawn] = {}
        self.tables: dict[str, Table] = {}

    def figure(self, name: str, drawn: page.Drawn, caption: str, alt: str) -> Figure:
        """The block that shows a drawing; figures/NAME.svg and .png are written."""
        self.figures[name] = drawn
        return Figure(drawn.svg, caption, alt)

    def table(self, name: str, table: Table) -> Table:
        """The table itself; tables/NAME.csv and .tex are written."""
        self.tables[name] = table
        return table
