"""Pictures with a tick box each, in groups, and the bar that counts what is ticked and saves it as a list.

Without script the boxes show what is suggested and cannot be changed; the page says where that list lies as a file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from estampa.page.blocks import Picture


@dataclass(frozen=True)
class Choice:
    """One thing that can be ticked.

    Parameters
    ----------
    id : what the list names it by; the same id in several places is ticked in all of them at once.
    picture : its pixels with the lines below; None = only its id and `reason` are shown.
    reason : why, for the list.
    ticked : whether it is ticked from the start.
    """

    id: str
    picture: Picture | None
    reason: str
    ticked: bool = False


@dataclass(frozen=True)
class Choices:
    """Things to tick, those that belong together in one group.

    Parameters
    ----------
    name : a word of its own on the page.
    groups : the groups, in order; a group of one stands without a frame.
    caption : what they are.
    rest : (id, reason) of what is not shown and can be ticked by one box.
    rest_words : what that box says.
    rest_ticked : whether it is ticked from the start.
    channels, stretch, pixel_scale, scale_unit, side : as of `Pictures`.
    """

    name: str
    groups: Sequence[Sequence[Choice]]
    caption: str = ""
    rest: Sequence[tuple[str, str]] = ()
    rest_words: str = ""
    rest_ticked: bool = False
    channels: Sequence[str] = ()
    stretch: str = "auto"
    pixel_scale: float | None = None
    scale_unit: str = "″"
    side: int | None = None

    @property
    def items(self) -> list[Picture]:
        """Every picture, in order."""
        return [one.picture for group in self.groups for one in group if one.picture is not None]

    @property
    def grouped(self) -> bool:
        """Whether some belong together."""
        return any(len(group) > 1 for group in self.groups)

    @property
    def rest_data(self) -> str:
        """`rest` as JSON that can stand inside a <script> element."""
        return script_json([list(pair) for pair in self.rest])


@dataclass(frozen=True)
class ChosenBar:
    """The bar at the foot of the screen: how many are ticked, save, copy, back to the suggestions. One a page.

    Parameters
    ----------
    file : name of the CSV file (id, reason) that the ticked ones are saved as.
    key : what the ticks are kept under in the browser: it must name the data and the findings.
    without : what to say where there is no script: where the suggestions lie.
    """

    file: str
    key: str
    without: str

    @property
    def data(self) -> str:
        """What the script reads."""
        return script_json({"file": self.file, "key": self.key})


def script_json(value: Any) -> str:
    """JSON that can stand inside a <script> element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
