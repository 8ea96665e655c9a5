"""The one look of figures, and the one palette.

Figures are drawn dark on nothing (no background), with the ink colours below. On a page these exact colours follow the
reader's light or dark screen (`svg.py`); in a file, and in the PNG, they stay as they are here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from estampa import machine

#: Okabe & Ito (2008), "Color Universal Design": eight colours that people with any colour vision tell apart.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
SEQUENTIAL, DIVERGING = "cividis", "RdBu"
TEXT, QUIET, LINE, GROUND = (
    "#1b2430",
    "#5a6675",
    "#d9e0e8",
    "#fefefe",
)  # GROUND: the page behind; pure white stays white
GREY = "#98a2ae"  # what is there for comparison only
ON_LIGHT, ON_DARK = "#101418", "#ffffff"  # text on a filled cell: these two never follow the screen
WIDE, SQUARE, SMALL = (8.0, 5.0), (5.5, 5.5), (4.0, 2.5)  # inches

_RC: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": QUIET,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": TEXT,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlecolor": TEXT,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "figure.figsize": WIDE,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "image.cmap": SEQUENTIAL,
    "image.interpolation": "nearest",
    "legend.frameon": False,
    "legend.labelcolor": TEXT,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "patch.linewidth": 0,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "estampa",
    "text.color": TEXT,
    "xtick.color": QUIET,
    "xtick.labelcolor": TEXT,
    "xtick.major.size": 3,
    "ytick.color": QUIET,
    "ytick.labelcolor": TEXT,
    "ytick.major.size": 3,
}


@contextlib.contextmanager
def apply() -> Iterator[None]:
    """Draw in this style inside the `with`; matplotlib's own settings come back after it.

    Raises MissingExtra when matplotlib is not installed.
    """
    machine.require("train", "matplotlib", needed_for="drawing figures")
    import matplotlib as mpl
    from cycler import cycler

    with mpl.rc_context({**_RC, "axes.prop_cycle": cycler(color=list(OKABE_ITO))}):
        yield


@contextlib.contextmanager
def drawing(rows: int = 1, columns: int = 1, size: tuple[float, float] = WIDE, **options: Any) -> Iterator[Any]:
    """Yield (figure, axes) to draw on, in this style, without pyplot's global state.

    `axes` is one Axes, or an array of them, as `Figure.subplots` returns; `options` go to it. `size` in inches.
    """
    with apply():
        from matplotlib.figure import Figure

        figure = Figure(figsize=size)
        yield figure, figure.subplots(rows, columns, **options)


def colours(names: Sequence[str], *, matter: Sequence[str] = ()) -> dict[str, str]:
    """Colour of each class, in declared order, the same through a whole report.

    Up to eight classes have a colour each; of more, those in `matter` (at most seven) have one and the others are grey.
    """
    if len(names) <= len(OKABE_ITO):
        return dict(zip(names, OKABE_ITO, strict=False))
    kept = [name for name in names if name in set(matter)][: len(OKABE_ITO) - 1]
    chosen = dict(zip(kept, OKABE_ITO, strict=False))
    return {name: chosen.get(name, GREY) for name in names}


def text_on(colour: Sequence[float]) -> str:
    """Return the readable text colour on a filled cell; `colour` is (red, green, blue, ...) in 0..1.

    By relative luminance (WCAG 2.2): the one of the two with the larger contrast.
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return ON_DARK if (1.05 / (luminance + 0.05)) > ((luminance + 0.05) / 0.057) else ON_LIGHT
