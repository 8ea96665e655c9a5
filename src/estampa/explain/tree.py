"""A decision tree as a person follows it: questions in the columns' own units, and who is behind each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa import page
from estampa.explain.reasons import format_value
from estampa.page import style

LEVELS = 4  #: questions after one another that are drawn
_LEAF = -1


@dataclass(frozen=True)
class Tree:
    """A binary tree; node 0 is the root.

    Attributes
    ----------
    left, right : (nodes,) the next node where the question is answered yes, and no; -1 at a leaf.
    feature : (nodes,) number of the feature asked for. `at` : (nodes,) the value that divides, in the feature's unit.
    shares : (nodes, k) of the classes, as weighted in training. `objects` : (nodes,) learned from behind the node.
    names, units : of the features. `formulas` : how a derived feature is had, "" for a column.
    classes : names.
    weighted : whether classes were given weights, so that shares are not those of the objects.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    at: np.ndarray
    shares: np.ndarray
    objects: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]
    formulas: tuple[str, ...]
    classes: tuple[str, ...]
    weighted: bool = False

    @property
    def leaves(self) -> int:
        """How many answers there are."""
        return int((self.left == _LEAF).sum())

    @property
    def depth(self) -> int:
        """Most questions on the way to an answer."""
        return max(level for _, level in self.walk())

    def walk(self, levels: int | None = None) -> Iterator[tuple[int, int]]:
        """(node, level) from the root on, "yes" first; no deeper than `levels`."""
        waiting = [(0, 0)]
        while waiting:
            node, level = waiting.pop()
            yield node, level
            if self.left[node] != _LEAF and (levels is None or level < levels):
                waiting += [(int(self.right[node]), level + 1), (int(self.left[node]), level + 1)]

    def question(self, node: int) -> str:
        """What is asked: "g - r ≤ 0.72"."""
        name = self.names[self.feature[node]]
        if name.startswith("missing:"):
            return f"{name.removeprefix('missing:')} measured?"
        unit = f" {self.units[self.feature[node]]}" if self.units[self.feature[node]] else ""
        return f"{name} ≤ {format_value(float(self.at[node]))}{unit}?"

    def answer(self, node: int) -> str:
        """The class that a node stands for, with its share."""
        c = int(self.shares[node].argmax())
        return f"{self.classes[c]} {100 * self.shares[node, c]:.0f} %"

    def used(self) -> list[str]:
        """Derived features that the tree asks for, each with how it is had."""
        asked = sorted({int(self.feature[n]) for n, _ in self.walk() if self.left[n] != _LEAF})
        return [f"{self.names[f]} = {self.formulas[f]}" for f in asked if self.formulas[f]]

    def lines(self, levels: int | None = None) -> list[str]:
        """The tree as indented text; what lies deeper than `levels` is counted."""
        found, word = [], {0: ""}
        for node, level in self.walk(levels):
            start, n = f"{'    ' * level}{word[node]}", f"{int(self.objects[node]):,}"
            if self.left[node] == _LEAF:
                found.append(f"{start}{self.answer(node)}  ({n})")
            elif levels is not None and level >= levels:
                found.append(f"{start}{self.answer(node)}, and more questions  ({n})")
            else:
                found.append(f"{start}{self.question(node)}  ({n})")
                word |= {int(self.left[node]): "yes: ", int(self.right[node]): "no: "}
        return found


def tree_of(
    estimator: Any,
    names: Sequence[str],
    classes: Sequence[str],
    *,
    units: Sequence[str] = (),
    formulas: Sequence[str] = (),
    in_units: Callable[[int, float], float] | None = None,
) -> Tree:
    """The tree of a fitted scikit-learn `DecisionTreeClassifier` on features `names`.

    `classes`: all names; those that the estimator has not seen have share 0. `in_units(feature, value)` brings a
    prepared value back to its column's unit.
    """
    inner = estimator.tree_
    asked = inner.children_left != _LEAF
    at = np.array(
        [
            in_units(int(f), float(t)) if in_units is not None and a else float(t)
            for f, t, a in zip(inner.feature, inner.threshold, asked, strict=True)
        ]
    )
    own = np.asarray(inner.value)[:, 0]
    shares = np.zeros((len(own), len(classes)))
    shares[:, np.asarray(estimator.classes_, np.int64)] = own / np.maximum(own.sum(axis=1, keepdims=True), 1e-300)
    blank = [""] * len(names)
    return Tree(
        np.asarray(inner.children_left), np.asarray(inner.children_right), np.asarray(inner.feature), at, shares,
        np.asarray(inner.n_node_samples), tuple(names), tuple(units or blank), tuple(formulas or blank),
        tuple(classes), estimator.class_weight is not None,
    )  # fmt: skip


def draw(tree: Tree, levels: int = LEVELS) -> page.Drawn:
    """The tree from left to right, at most `levels` questions deep; upper branches are "yes".

    Under each node a bar of the classes' shares and the number of objects that it was learned from.
    """
    shown = list(tree.walk(levels))
    ends = [n for n, level in shown if tree.left[n] == _LEAF or level == levels]
    deepest = max(level for _, level in shown)
    height = {node: float(i) for i, node in enumerate(ends)}
    for node, _ in reversed(shown):
        if node not in height:
            height[node] = (height[int(tree.left[node])] + height[int(tree.right[node])]) / 2
    colours = page.colours(tree.classes)
    size = (max(4.0, 2.0 * (deepest + 1)), 0.62 * len(ends) + 0.75)
    with style.drawing(size=size) as (fig, axis):
        axis.set_axis_off()
        for node, level in shown:
            y = height[node]
            if node not in ends:
                for child, word in ((int(tree.left[node]), "yes"), (int(tree.right[node]), "no")):
                    bend = [level + 0.76, level + 0.84, level + 0.84, level + 0.98]
                    axis.plot(
                        bend, np.array([y, y, height[child], height[child]]) + 0.07, color=style.QUIET, linewidth=1
                    )
                    axis.annotate(
                        word, (level + 0.85, height[child] + 0.07), (1, 2), textcoords="offset points", fontsize=9,
                        color=style.QUIET,
                    )  # fmt: skip
            _node(axis, tree, (node, level, y), colours, ended=node in ends)
        axis.set_xlim(-0.03, deepest + 0.98)
        axis.set_ylim(len(ends) - 0.45, -0.62)
        handles = [_patch(colours[c]) for c in tree.classes if colours[c] != style.GREY]
        names = [c for c in tree.classes if colours[c] != style.GREY]
        axis.legend(handles, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=min(4, len(names)), fontsize=10)
        return page.figure(fig)


def _patch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour)


def _node(axis: Any, tree: Tree, place: tuple[int, int, float], colours: dict[str, str], *, ended: bool) -> None:
    """One node's text and its bar."""
    node, level, y = place
    leaf = tree.left[node] == _LEAF
    text = (tree.answer(node) if leaf else f"{tree.answer(node)} …") if ended else tree.question(node)
    axis.text(level, y - 0.08, text, ha="left", va="bottom", fontsize=9.5, fontweight="bold" if ended else "normal")
    start = float(level)
    for name, share in zip(tree.classes, tree.shares[node], strict=True):
        axis.barh(y + 0.07, 0.5 * share, left=start, height=0.14, color=colours[name])
        start += 0.5 * share
    axis.text(level + 0.53, y + 0.08, f"{int(tree.objects[node]):,}", va="center", fontsize=9, color=style.QUIET)
