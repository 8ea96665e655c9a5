"""The Galaxy Zoo 2 class of a galaxy: the short text `gz2class`, its parts, coarser classes, and the votes behind it.

Willett et al. 2013, MNRAS 435, 2835, appendix A: the text names the most voted answer to each question on the most
voted way through the tree of questions. In short::

    A                         star or artifact
    E r|i|c                   smooth: completely round, in between, cigar-shaped
    Se r|b|n                  disk seen edge-on, its bulge rounded, boxy, none
    S [B] d|c|b|a [arms]      disk seen obliquely; B = bar; bulge none, just noticeable, obvious, dominant
                    arms: 1|2|3|4|+|? (more than four, cannot tell), then t|m|l (tight, medium, loose winding)
    (r|l|d|i|o|m|u)           after any but A: ring, lens or arc, disturbed, irregular, other, merger, dust lane

So `SBc2m` is a barred disk with a just noticeable bulge and two arms of medium winding. The paper writes one odd
feature in upper case, "Sc(I)"; its tables write them small, and so do we.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from estampa.errors import InputError, nearest

#: Letter -> meaning of each part, in the order of the answers in the tree of questions.
ROUNDNESS = {"r": "round", "i": "in between", "c": "cigar-shaped"}
EDGE_BULGE = {"r": "rounded", "b": "boxy", "n": "none"}
BULGE = {"d": "none", "c": "just noticeable", "b": "obvious", "a": "dominant"}
ARMS = {"1": "1", "2": "2", "3": "3", "4": "4", "+": "more than 4", "?": "cannot tell"}
WINDING = {"t": "tight", "m": "medium", "l": "loose"}
ODD = {
    "r": "ring",
    "l": "lens or arc",
    "d": "disturbed",
    "i": "irregular",
    "o": "other",
    "m": "merger",
    "u": "dust lane",
}
KINDS = ("artifact", "smooth", "edge-on", "disk")

#: Coarser classes: name of the folding -> its classes in order. `fold` says which gz2class goes where.
FOLDINGS: Mapping[str, tuple[str, ...]] = {
    "study12": ("A", "Ec", "Ei", "Er", "SB", "Sa", "Sb", "Sc", "Sd", "Seb", "Sen", "Ser"),
    "barred": ("barred", "unbarred"),
    "esa": ("A", "E", "S"),
}


@dataclass(frozen=True)
class Gz2Class:
    """What a gz2class says. Letters are those of the text; "" where a part does not apply or was not seen.

    InputError when parts contradict each other (a smooth galaxy with arms), naming both.
    """

    kind: str  #: one of KINDS
    roundness: str = ""  #: of a smooth galaxy: r i c
    bulge: str = ""  #: of an edge-on disk: r b n; of another disk: d c b a
    bar: bool = False
    arms: str = ""  #: number of arms: 1 2 3 4 + ?
    winding: str = ""  #: t m l, exactly where there are arms
    odd: str = ""  #: r l d i o m u

    def __post_init__(self) -> None:
        """Refuse parts that do not go together."""
        if self.kind not in KINDS:
            raise InputError(f"unknown kind {self.kind!r}", allowed=", ".join(KINDS), cure=nearest(self.kind, KINDS))
        disk = self.kind == "disk"
        bulges: Mapping[str, str] = {"edge-on": EDGE_BULGE, "disk": BULGE}.get(self.kind, {})
        _require_part("roundness", self.roundness, ROUNDNESS if self.kind == "smooth" else {}, self.kind)
        _require_part("bulge", self.bulge, bulges, self.kind)
        _require_part("arms", self.arms, {"": "", **ARMS} if disk else {}, self.kind)
        _require_part("winding", self.winding, WINDING if self.arms else {}, self.kind)
        _require_part("odd feature", self.odd, {} if self.kind == "artifact" else {"": "", **ODD}, self.kind)
        if self.bar and not disk:
            raise InputError(f"a bar, but the kind is {self.kind!r}", allowed="a bar in a disk")

    def __str__(self) -> str:
        """The text, as the published tables write it."""
        if self.kind == "artifact":
            return "A"
        begins = {"smooth": "E" + self.roundness, "edge-on": "Se", "disk": "SB" if self.bar else "S"}[self.kind]
        return begins + self.bulge + self.arms + self.winding + (f"({self.odd})" if self.odd else "")

    def words(self) -> str:
        """What the text says, for people."""
        if self.kind == "artifact":
            return "star or artifact"
        if self.kind == "smooth":
            said = f"smooth galaxy, {ROUNDNESS[self.roundness]}"
        elif self.kind == "edge-on":
            said = f"disk seen edge-on, bulge {EDGE_BULGE[self.bulge]}"
        else:
            said = f"{'barred ' if self.bar else ''}disk, bulge {BULGE[self.bulge]}"
        if self.arms:
            said += f", arms {ARMS[self.arms]}, {WINDING[self.winding]}"
        return said + (f"; odd: {ODD[self.odd]}" if self.odd else "")


def _require_part(name: str, value: str, allowed: Mapping[str, str], kind: str) -> None:
    """Refuse a letter that the part does not know; a part that knows none must be ""."""
    if value not in allowed and (value or allowed):
        raise InputError(f"{name} {value!r} of the kind {kind!r}", allowed=", ".join(filter(None, allowed)) or "none")


class _Letters:
    """A text read from left to right; what is not as the grammar says is an InputError with its position."""

    def __init__(self, text: str, where: object) -> None:
        self.text, self.where, self.at = text, where, 0

    def fail(self, wanted: str) -> InputError:
        found = repr(self.here()) if self.here() else "the end"
        place = f"{self.where}, " if str(self.where) else ""
        return InputError(
            f"is no gz2class, at character {self.at + 1}", where=f"{place}{self.text!r}", allowed=wanted, got=found
        )

    def skip(self, letter: str) -> bool:
        """Step over `letter` when it stands here."""
        found = self.text.startswith(letter, self.at)
        self.at += found
        return found

    def here(self) -> str:
        """The letter that stands here, "" at the end."""
        return self.text[self.at : self.at + 1]

    def one_of(self, part: Mapping[str, str], what: str) -> str:
        """The letter here, which must be one of the part's."""
        letter = self.here()
        if not letter or letter not in part:
            raise self.fail(f"{what}: {', '.join(part)}")
        self.at += 1
        return letter


def parse(text: str, where: object = "") -> Gz2Class:
    """Read a gz2class; spaces around it are let pass. `str` of the result is the text again.

    Raises InputError that names `where`, the text, the position and what would have been allowed there.
    """
    letters = _Letters(text.strip(), where)
    if letters.skip("A"):
        found: dict[str, str | bool] = {"kind": "artifact"}
    elif letters.skip("E"):
        found = {"kind": "smooth", "roundness": letters.one_of(ROUNDNESS, "roundness")}
    elif letters.skip("S"):
        found = _disk(letters)
    else:
        raise letters.fail("A (star or artifact), E (smooth) or S (disk)")
    odd = ""
    if found["kind"] != "artifact" and letters.skip("("):
        capital = letters.here() != letters.here().lower()
        odd = letters.one_of({letter.upper(): name for letter, name in ODD.items()} if capital else ODD, "odd feature")
        if not letters.skip(")"):
            raise letters.fail(")")
    if letters.at < len(letters.text):
        more = "an odd feature in brackets, or " if found["kind"] != "artifact" and not odd else ""
        raise letters.fail(f"{more}the end")
    return Gz2Class(**found, odd=odd.lower())  # type: ignore[arg-type]


def _disk(letters: _Letters) -> dict[str, str | bool]:
    """What stands after the S."""
    if letters.skip("e"):
        return {"kind": "edge-on", "bulge": letters.one_of(EDGE_BULGE, "bulge of an edge-on disk")}
    bar = letters.skip("B")
    bulge = letters.one_of(BULGE, "bulge" if bar else "e (edge-on), B (bar) or bulge")
    arms = winding = ""
    if letters.here() not in ("", "("):
        arms = letters.one_of(ARMS, "number of arms")
        winding = letters.one_of(WINDING, "winding of the arms")
    return {"kind": "disk", "bar": bar, "bulge": bulge, "arms": arms, "winding": winding}


def fold(galaxy: Gz2Class, name: str) -> str | None:
    """The class of a galaxy in the folding `name`, one of FOLDINGS; None where the folding has no class for it.

    `study12`: A, Er Ei Ec, Ser Seb Sen, SB for every barred disk, Sa Sb Sc Sd for the others by their bulge.
    `barred`: whether an oblique disk has a bar; smooth galaxies, edge-on disks and artifacts have no class, since
    volunteers were not asked. `esa`: smooth E, any disk S, artifact A. Odd features and arms are let go by all three.
    """
    if name not in FOLDINGS:
        raise InputError(f"unknown folding {name!r}", allowed=", ".join(FOLDINGS), cure=nearest(name, FOLDINGS))
    if name == "barred":
        return None if galaxy.kind != "disk" else "barred" if galaxy.bar else "unbarred"
    if name == "esa":
        return {"artifact": "A", "smooth": "E"}.get(galaxy.kind, "S")
    if galaxy.bar:
        return "SB"
    begins = {"artifact": "A", "smooth": "E", "edge-on": "Se", "disk": "S"}[galaxy.kind]
    return begins + galaxy.roundness + galaxy.bulge


# ---------------------------------------------------------------------------------------------- from votes

#: The 37 answers of the tree in the order of the published tables; each column is NAME + "_debiased".
ANSWERS = (
    *("t01_smooth_or_features_a01_smooth", "t01_smooth_or_features_a02_features_or_disk"),
    *("t01_smooth_or_features_a03_star_or_artifact", "t02_edgeon_a04_yes", "t02_edgeon_a05_no"),
    *("t03_bar_a06_bar", "t03_bar_a07_no_bar", "t04_spiral_a08_spiral", "t04_spiral_a09_no_spiral"),
    *("t05_bulge_prominence_a10_no_bulge", "t05_bulge_prominence_a11_just_noticeable"),
    *("t05_bulge_prominence_a12_obvious", "t05_bulge_prominence_a13_dominant", "t06_odd_a14_yes", "t06_odd_a15_no"),
    *("t07_rounded_a16_completely_round", "t07_rounded_a17_in_between", "t07_rounded_a18_cigar_shaped"),
    *("t08_odd_feature_a19_ring", "t08_odd_feature_a20_lens_or_arc", "t08_odd_feature_a21_disturbed"),
    *("t08_odd_feature_a22_irregular", "t08_odd_feature_a23_other", "t08_odd_feature_a24_merger"),
    *("t08_odd_feature_a38_dust_lane", "t09_bulge_shape_a25_rounded", "t09_bulge_shape_a26_boxy"),
    *("t09_bulge_shape_a27_no_bulge", "t10_arms_winding_a28_tight", "t10_arms_winding_a29_medium"),
    *("t10_arms_winding_a30_loose", "t11_arms_number_a31_1", "t11_arms_number_a32_2", "t11_arms_number_a33_3"),
    *("t11_arms_number_a34_4", "t11_arms_number_a36_more_than_4", "t11_arms_number_a37_cant_tell"),
)
_TASKS = {
    task: slice(min(at), max(at) + 1)
    for task in dict.fromkeys(name[:3] for name in ANSWERS)
    for at in [[i for i, name in enumerate(ANSWERS) if name.startswith(task)]]
}


def from_fractions(fractions: np.ndarray) -> list[Gz2Class]:
    """The classes that debiased vote fractions stand for, by the published rule.

    Willett et al. 2013, appendix A: from task 01 on, the answer with the largest debiased vote fraction is taken, and
    the way through the tree that it opens is followed. The paper is silent on ties. Here a bar, arms and an odd feature
    are named only where they have more votes than their absence; elsewhere the first answer of the tree wins a tie, and
    a question that nobody answered.

    Parameters
    ----------
    fractions : (n, 37), columns in the order of ANSWERS, 0 to 1.

    Raises InputError for another shape, or a fraction that is not a number.
    """
    votes = np.asarray(fractions, np.float64)
    if votes.ndim != 2 or votes.shape[1] != len(ANSWERS):
        raise InputError("not the votes of Galaxy Zoo 2", allowed=f"(n, {len(ANSWERS)}) fractions", got=votes.shape)
    if not np.isfinite(votes).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(votes))[0])
        raise InputError(f"{ANSWERS[column]} is not a number", where=f"row {row}", got=votes[row, column])
    best = {task: votes[:, at].argmax(1).tolist() for task, at in _TASKS.items()}
    for task in ("t03", "t04", "t06"):  # yes, no
        best[task] = (votes[:, _TASKS[task].start] <= votes[:, _TASKS[task].start + 1]).astype(int).tolist()
    return [_most_voted({task: answers[row] for task, answers in best.items()}) for row in range(len(votes))]


def _most_voted(best: Mapping[str, int]) -> Gz2Class:
    """One galaxy, from the number of the most voted answer to each task."""

    def letter(part: Mapping[str, str], task: str) -> str:
        return tuple(part)[best[task]]

    if best["t01"] == 2:
        return Gz2Class("artifact")
    odd = letter(ODD, "t08") if best["t06"] == 0 else ""
    if best["t01"] == 0:
        return Gz2Class("smooth", roundness=letter(ROUNDNESS, "t07"), odd=odd)
    if best["t02"] == 0:
        return Gz2Class("edge-on", bulge=letter(EDGE_BULGE, "t09"), odd=odd)
    spiral = best["t04"] == 0
    return Gz2Class(
        "disk",
        bulge=letter(BULGE, "t05"),
        bar=best["t03"] == 0,
        arms=letter(ARMS, "t11") if spiral else "",
        winding=letter(WINDING, "t10") if spiral else "",
        odd=odd,
    )


def fractions_of(columns: Mapping[str, Sequence[float] | np.ndarray]) -> np.ndarray:
    """The (n, 37) debiased fractions of a table by column name, for `from_fractions`.

    Raises InputError that names the columns that are missing.
    """
    missing = [f"{name}_debiased" for name in ANSWERS if f"{name}_debiased" not in columns]
    if missing:
        raise InputError(
            f"{len(missing)} columns of votes are missing", allowed="37 of them", got=", ".join(missing[:5])
        )
    return np.stack([np.asarray(columns[f"{name}_debiased"], np.float64) for name in ANSWERS], axis=1)
