"""What came out: pictures, their maps, and what becomes of the answers."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from estampa import page
from estampa.explain import spots
from estampa.plain import csv_safe, table

_LINES = 24


@dataclass(frozen=True)
class Explained:
    """n pictures with their maps.

    Attributes
    ----------
    ids : (n,) str. `images` : (n, h, w, c) as stored.
    predicted : (n,) class numbers, or values. `truth` : the same, -1 (NaN) = not known; None = no labels at all.
    output : (n, k) probabilities; None for a regression.
    maps : (n, h, w) float32, see `occlude`. `by_channel` : channel's name -> the maps of that channel alone.
    trials : what becomes of the answers when the most important pixels are hidden, or left alone.
    classes, channels : names; `groups` : (n,) or None.
    settings : window, stride, fill, of: how the maps were made.
    facts : what was explained, in words for people. `pixel_scale` of the pictures.
    """

    ids: np.ndarray
    images: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray | None
    output: np.ndarray | None
    maps: np.ndarray
    trials: spots.Trials
    classes: tuple[str, ...]
    settings: dict[str, Any]
    by_channel: dict[str, np.ndarray] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    pixel_scale: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Pictures."""
        return len(self.ids)

    @property
    def right(self) -> np.ndarray:
        """(n,) bool: the answer is the known truth."""
        found: np.ndarray = self._known & np.asarray(self.predicted == self.truth)
        return found

    @property
    def wrong(self) -> np.ndarray:
        """(n,) bool: the truth is known, and another."""
        found: np.ndarray = self._known & np.asarray(self.predicted != self.truth)
        return found

    @property
    def _known(self) -> np.ndarray:
        if self.truth is None or not self.classes:
            return np.zeros(self.n, bool)
        known: np.ndarray = self.truth >= 0
        return known

    @cached_property
    def p(self) -> np.ndarray:
        """(n,) probability of the answer; the value of a regression."""
        if self.output is None:
            return np.asarray(self.predicted, np.float64)
        found: np.ndarray = self.output[np.arange(self.n), self.predicted]
        return found

    @cached_property
    def concentration(self) -> np.ndarray:
        """(n,) share of the importance that lies in the most important twentieth of the picture."""
        return spots.concentration(self.maps)

    def name(self, answer: Any) -> str:
        """A class by name, a value as text; "" for what is not known."""
        if self.classes:
            return self.classes[int(answer)] if answer >= 0 else ""
        return f"{float(answer):.4g}" if math.isfinite(answer) else ""

    def hidden(self, i: int) -> tuple[str, float]:
        """What is answered to picture i when its spot is hidden, and the probability of the first answer then."""
        at = spots.SHARES.index(spots.SPOT)
        return self.name(self.trials.hidden.answer[i, at]), float(self.trials.hidden.p[i, at])

    def records(self) -> list[dict[str, Any]]:
        """One record a picture.

        id, truth, predicted, p (regression: none), y and x (pixel of the map's highest place, from the top left),
        concentration, hidden (what is answered without the spot) and p_hidden (of the first answer, then).
        """
        places = spots.peaks(self.maps)
        found = []
        for i in range(self.n):
            answer, p = self.hidden(i)
            record = {
                "id": str(self.ids[i]),
                "truth": self.name(self.truth[i]) if self.truth is not None else "",
                "predicted": self.name(self.predicted[i]),
                "p": float(self.p[i]),
                "y": int(places[i, 0]),
                "x": int(places[i, 1]),
                "concentration": float(self.concentration[i]) if np.isfinite(self.concentration[i]) else None,
                "hidden": answer,
                "p_hidden": p,
            }
            found.append(record if self.classes else {k: v for k, v in record.items() if k not in ("p", "p_hidden")})
        return found

    def headline(self) -> str:
        """What was explained, in a line."""
        kinds = f": {int(self.right.sum())} right, {int(self.wrong.sum())} wrong" if self._known.any() else ""
        return f"{self.n:,} pictures explained{kinds}"

    def to_json(self) -> dict[str, Any]:
        """Plain values; maps stay in their file."""
        known = self._known.any()
        return {
            "n": self.n,
            "right": int(self.right.sum()) if known else None,
            "wrong": int(self.wrong.sum()) if known else None,
            **self.settings,
            "objects": self.records(),
        }

    def lines(self) -> list[str]:
        """For a terminal: the headline, then picture by picture."""
        cells = []
        for r in self.records()[:_LINES]:
            sure = [f"{100 * r['p']:.0f} %", f"{100 * r['p_hidden']:.0f} %"] if self.classes else []
            cells.append([r["id"], r["truth"], r["predicted"], *sure[:1], r["hidden"], *sure[1:]])
        head = ["id", "truth", "answer", *(["p"] if self.classes else []), "spot hidden"]
        shown = table([*head, *(["p then"] if self.classes else [])], cells, right=[3, 5] if self.classes else [])
        rest = [f"... and {self.n - _LINES:,} more in the table"] if self.n > _LINES else []
        return [self.headline(), "", *shown, *rest]

    def to_csv(self) -> str:
        """The records as CSV; names that a spreadsheet would run are guarded."""
        out, records = io.StringIO(), self.records()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(records[0])
        for record in records:
            writer.writerow([_cell(v) for v in record.values()])
        return out.getvalue()

    def to_npz(self) -> bytes:
        """The maps as an .npz file: ids, predicted, truth (names or values), maps, maps_<channel>, and settings."""
        out = io.BytesIO()
        names = {"predicted": self.predicted} if self.truth is None else {
            "predicted": self.predicted, "truth": self.truth
        }  # fmt: skip
        told = {k: np.array([self.name(a) for a in v]) if self.classes else v for k, v in names.items()}
        parts = {f"maps_{name}": maps for name, maps in self.by_channel.items()}
        made = {k: np.asarray(v) for k, v in self.settings.items()}
        arrays: dict[str, Any] = {"ids": self.ids.astype(np.str_), "maps": self.maps, **parts, **told, **made}
        np.savez_compressed(out, **arrays)
        return out.getvalue()

    def _repr_html_(self) -> str:
        from estampa.explain.pages import grid

        return page.fragment(page.Text(self.headline()), grid(self, np.arange(min(self.n, 12)), ""))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else csv_safe(str(value))
