"""The one HTML skeleton: every report, contact sheet and comparison is built with it.

A page is a list of `Section`, a section a list of blocks; `render` makes one self-contained file of them. Importing
this needs the base installation only; `figure`, `drawing` and `apply` need matplotlib when they are called.
"""

from estampa.page.blocks import (
    Code,
    Details,
    Downloads,
    Facts,
    Figure,
    Figures,
    Headline,
    Note,
    Picture,
    Pictures,
    Section,
    Text,
)
from estampa.page.choose import Choice, Choices, ChosenBar
from estampa.page.display import picture
from estampa.page.drawn import Drawn, figure
from estampa.page.forest import forest
from estampa.page.kept import Kept
from estampa.page.render import fragment, render
from estampa.page.scatter import Colouring, Scatter
from estampa.page.sprites import thumbnail
from estampa.page.style import OKABE_ITO, apply, colours, drawing, text_on
from estampa.page.svg import histogram
from estampa.page.table import Link, Table

__all__ = [
    "OKABE_ITO",
    "Choice",
    "Choices",
    "ChosenBar",
    "Code",
    "Colouring",
    "Details",
    "Downloads",
    "Drawn",
    "Facts",
    "Figure",
    "Figures",
    "Headline",
    "Kept",
    "Link",
    "Note",
    "Picture",
    "Pictures",
    "Scatter",
    "Section",
    "Table",
    "Text",
    "apply",
    "colours",
    "drawing",
    "figure",
    "forest",
    "fragment",
    "histogram",
    "picture",
    "render",
    "text_on",
    "thumbnail",
]
