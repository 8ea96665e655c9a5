"""What people see of a table's explanations, as blocks of a page: of a run's report, and of `estampa explain`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from estampa import machine, page
from estampa.explain import drawings, tree
from estampa.explain.dependence import Dependence
from estampa.explain.importance import Importance, Lost
from estampa.explain.reasons import SHOWN, Reason, Reasons, format_value, points
from estampa.page import Kept, Table
from estampa.plain import numbered

_TOLD = 12  #: classes whose recall has a column of its own
PAPERS = {
    "importance": "Breiman, L. 2001, Random Forests, Mach. Learn. 45, 5",
    "reliance": "Fisher, A., Rudin, C., Dominici, F. 2019, All Models are Wrong, but Many are Useful: Learning a "
    "Variable's Importance by Studying an Entire Class of Prediction Models Simultaneously, J. Mach. Learn. Res. 20, "
    "177",
    "dependence": "Friedman, J. H. 2001, Greedy Function Approximation: A Gradient Boosting Machine, Ann. Stat. 29, "
    "1189",
    "curves": "Goldstein, A., Kapelner, A., Bleich, J., Pitkin, E. 2015, Peeking Inside the Black Box: Visualizing "
    "Statistical Learning with Plots of Individual Conditional Expectation, J. Comput. Graph. Stat. 24, 44",
    "reasons": "Štrumbelj, E., Kononenko, I. 2014, Explaining Prediction Models and Individual Predictions with "
    "Feature Contributions, Knowl. Inf. Syst. 41, 647",
}


def drawable() -> bool:
    """Whether figures can be drawn here: without matplotlib there are tables alone."""
    return machine.installed("matplotlib")


def told(found: Importance) -> str:
    """The columns that count, in a sentence."""
    sure = [lost for lost in found.columns if lost.sure]
    if not found.columns or not (sure or any(lost.sure for lost in found.groups)):
        return "No column alone costs balanced accuracy beyond chance when it is shuffled."
    parts = [f"{lost.name} {_spelled(lost)}" for lost in sure[:3]]
    text = f"Shuffling {numbered(len(sure), 'column')} of {len(found.columns)} costs balanced accuracy beyond chance"
    text += f": {', '.join(parts)}{' and others' if len(sure) > 3 else ''}." if sure else "."
    joined = next((lost for lost in found.groups if lost.sure), None)
    if joined is not None:
        text += f" Together, {joined.name} cost {_spelled(joined)}."
    return text


def _spelled(lost: Lost) -> str:
    d = lost.drop
    return f"{d.value:.3f} [{d.low:.3f}, {d.high:.3f}]".replace("-", "\N{MINUS SIGN}")


def importance(found: Importance, classes: Sequence[str], kept: Kept) -> list[Any]:
    """What the columns count for: sentence, figure, table."""
    groups = (
        " Squares, orange: columns that correlate (by ranks, 0.8 and more) shuffled together, so that one cannot "
        "stand in for another." if found.groups else ""
    )  # fmt: skip
    caption = (
        f"Drop of balanced accuracy (now {found.base:.3f}) when a column is shuffled among the judged objects, mean of "
        f"{found.repeats}, with 95 % bootstrap interval. Filled: above 0 beyond chance, all columns "
        f"considered.{groups} A column that others repeat loses little alone."
    )
    blocks: list[Any] = [page.Text(told(found)), *(page.Note("note", line) for line in found.notes)]
    table = kept.table("importance", importance_table(found, classes))
    if not drawable():
        return [*blocks, table]
    drawn = kept.figure("importance", drawings.importance(found), caption, "Importance of the columns")
    return [*blocks, drawn, page.Details("Every column, log loss and each class", [table])]


def importance_table(found: Importance, classes: Sequence[str]) -> Table:
    """A row a column, then a row a group."""
    named = classes if len(classes) <= _TOLD else ()
    columns = ["column", "drop", "log loss", *(f"recall of {c}" for c in named)]
    rows = [
        [lost.name, lost.drop, lost.rise, *(lost.recall[c] for c in range(len(named)))]
        for lost in (*found.columns, *found.groups)
    ]
    caption = (
        f"{found.n:,} objects, each column shuffled {found.repeats} times. Drop: of balanced accuracy; log loss: how "
        "much it rises, nats; recall: how much of each class's is lost. Beside values 95 % bootstrap intervals over "
        "objects."
    )
    return Table(columns, rows, caption=caption, drawn="drop")


def dependence(found: Sequence[Dependence], classes: Sequence[str], kept: Kept) -> list[Any]:
    """How answers follow the columns, a small figure each."""
    if not found or not drawable():
        return []
    shown = drawings.shown_classes(found, classes)
    figures = [
        kept.figure(
            f"dependence_{number}", drawings.dependence(one, classes, shown), "", f"Partial dependence on {one.column}"
        )
        for number, one in enumerate(found, 1)
    ]
    band = (
        f"Line: mean probability of {classes[shown[0]]} over {len(found[0].curves)} objects when the column alone is "
        "set to the value below; thin lines: single objects; band: 80 % of them. Where single lines part from the "
        "mean, the column counts in company of others." if len(shown) == 1 else
        f"Mean probability of the classes over {len(found[0].curves)} objects when the column alone is set to the "
        "value below."
    )  # fmt: skip
    caption = (
        f"{band} Ticks at the foot: the data (2 % to 98 %). Where columns correlate, the ends ask of objects that do "
        "not exist."
    )
    return [page.Figures(figures, caption)]


def reasons(found: Sequence[Reasons], classes: Sequence[str], kept: Kept) -> list[Any]:
    """Wrong answers, then right ones, then those of which the truth is not known, a table each."""
    kinds = {
        "wrong": [r for r in found if r.truth >= 0 and r.truth != r.answer],
        "right": [r for r in found if r.truth == r.answer],
        "not known": [r for r in found if r.truth < 0],
    }
    blocks: list[Any] = []
    span = span_of(found)
    for some in kinds.values():
        for one in some:
            blocks += [page.Text(verdict(one, classes)), one_reason(one, span)]
    if found:
        kept.table("reasons", every_reason(found, classes))
    return blocks


def verdict(one: Reasons, classes: Sequence[str]) -> str:
    """One object's answer beside the truth, and how far it is from that of typical objects."""
    sign = "" if one.truth < 0 else ("✓ " if one.truth == one.answer else "✗ ")
    other = f", is {classes[one.truth]}" if one.truth >= 0 and one.truth != one.answer else ""
    return (
        f"{sign}{one.id}: {classes[one.answer]} {100 * one.p:.0f} %{other}. Typical objects have "
        f"{100 * one.usual:.0f} %; the columns add {points(one.p - one.usual)}:"
    )


def one_reason(one: Reasons, span: tuple[float, float] | None = None) -> Table:
    """One object's strongest reasons, the rest in a row; bars within `span`, see `span_of`."""
    rows = [_row(r) for r in one.reasons[:SHOWN]]
    rest = one.reasons[SHOWN:]
    if rest:
        rows.append([f"{numbered(len(rest), 'other')} together", "", "", 100 * sum(r.effect for r in rest)])
    return Table(["column", "value", "typical", "adds, points"], rows, decimals=1, drawn="adds, points", span=span)


def span_of(found: Sequence[Reasons]) -> tuple[float, float] | None:
    """Least and greatest bar over all objects, in points, so that bars of different objects can be compared."""
    bars = [0.0]
    for one in found:
        bars += [100 * r.effect for r in one.reasons[:SHOWN]] + [100 * sum(r.effect for r in one.reasons[SHOWN:])]
    return (min(bars), max(bars)) if max(bars) > min(bars) else None


def _row(r: Reason) -> list[Any]:
    value = ", ".join("not measured" if bad else format_value(v) for v, bad in zip(r.values, r.missing, strict=True))
    return [r.name, value, ", ".join(format_value(v) for v in r.typical), 100 * r.effect]


def every_reason(found: Sequence[Reasons], classes: Sequence[str]) -> Table:
    """All reasons of all objects, a row each: what the CSV holds."""
    columns = ["id", "truth", "predicted", "p", "usual", "column", "value", "typical", "effect", "error"]
    rows = [
        [
            one.id, classes[one.truth] if one.truth >= 0 else None, classes[one.answer], one.p, one.usual, r.name,
            *([r.values[0], r.typical[0]] if len(r.values) == 1 else [None, None]), r.effect, r.error,
        ]
        for one in found
        for r in one.reasons
    ]  # fmt: skip
    plain = [[None if isinstance(c, float) and math.isnan(c) else c for c in row] for row in rows]
    return Table(columns, plain, decimals=4)


def how_reasons() -> str:
    """What reasons are, for a page."""
    return (
        "A reason is the Shapley value of a column for the probability of the answer, by sampling orders: the columns "
        "of a typical object of the training part are replaced by this object's, one after another in random order, "
        "and what each step adds is the column's; the mean over 64 orders (32, forwards and backwards). So the "
        "reasons of an object add up to its probability minus that of typical objects. Columns that correlate are "
        "replaced together. A reason says what this model uses, not what makes the class."
    )


def tree_blocks(found: tree.Tree, kept: Kept) -> list[Any]:
    """The tree drawn, and written down whole."""
    deeper = found.depth > tree.LEVELS
    caption = (
        f"{numbered(found.leaves, 'answer')} after at most {numbered(found.depth, 'question')}; from left to right, "
        "the upper branch is yes. Bars: shares of the classes"
        + (", weighted as in training" if found.weighted else "")
        + "; numbers: objects learned from."
        + (f" Drawn to {tree.LEVELS} questions; … stands for more, written below." if deeper else "")
    )
    blocks: list[Any] = []
    if drawable():
        blocks.append(kept.figure("tree", tree.draw(found), caption, "The decision tree"))
    if found.used():
        blocks.append(page.Text(f"Derived: {'; '.join(found.used())}."))
    lines = found.lines()
    cut = lines if len(lines) <= 400 else [*found.lines(6), "(to 6 questions)"]
    return [*blocks, page.Details("The whole tree in words", [page.Code("\n".join(cut))])]
