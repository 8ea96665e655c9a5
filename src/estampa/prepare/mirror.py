"""Classes that exchange places in the mirror: a spiral that winds clockwise is seen to wind the other way.

A symmetry says which mirrors and turns leave a picture one of its own class. Some classes are not left but exchanged,
pair by pair: then a mirrored picture is as good an example as any, of the other class.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estampa.errors import RecipeError, nearest

Pairs = tuple[tuple[str, str], ...]
#: Words for the two senses of what a mirror exchanges, in English, Spanish and Portuguese.
SENSES = {
    "turn": (
        ("clockwise", "cw", "horario"),
        ("anticlockwise", "counterclockwise", "acw", "ccw", "antihorario"),
    ),
    "hand": (
        ("right", "righthanded", "dextral", "derecha", "direita"),
        ("left", "lefthanded", "sinistral", "izquierda", "esquerda"),
    ),
}
_AGAINST = ("anti", "counter")  #: written apart from their word as often as not


def pairs_by_name(classes: Sequence[str]) -> Pairs:
    """Pairs of classes whose names differ in one word only, that of the sense, as clockwise and anticlockwise.

    Two classes that claim one place ("cw spiral", "clockwise spiral") tell nothing, and are left out.
    """
    senses: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
    for name in classes:
        words = _words(name)
        for kind, both in SENSES.items():
            for sign, known in enumerate(both):
                for place in [i for i, word in enumerate(words) if word in known]:
                    key = (*words[:place], f"<{kind}>", *words[place + 1 :])
                    senses.setdefault(key, ([], []))[sign].append(name)
    return tuple((a[0], b[0]) for a, b in senses.values() if len(a) == len(b) == 1)


def exchange(classes: Sequence[str], pairs: Pairs) -> NDArray[np.int64]:
    """For each class the number of the one that it becomes in the mirror, (classes,) int64; itself where no pair says.

    Raises RecipeError for a name that is no class, and for a class that stands in two pairs.
    """
    order = np.arange(len(classes))
    for first, second in pairs:
        for name in (first, second):
            if name not in classes:
                raise RecipeError(
                    f"no class {name!r}", where="prepare.mirrored", allowed=", ".join(classes),
                    cure=nearest(name, list(classes)),
                )  # fmt: skip
            if order[classes.index(name)] != classes.index(name) or first == second:
                raise RecipeError(f"class {name!r} stands in it twice", where="prepare.mirrored", allowed="once")
        a, b = classes.index(first), classes.index(second)
        order[a], order[b] = b, a
    return order


def _words(name: str) -> list[str]:
    """Words of a class name, lower case, without accents; "anti clockwise" is one word, as is "counter-clockwise"."""
    plain: Any = unicodedata.normalize("NFKD", name.lower())
    words = re.findall(r"[a-z]+|[0-9]+", "".join(c for c in plain if not unicodedata.combining(c)))
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _AGAINST:
            joined[-1] += word
        else:
            joined.append(word)
    return joined
