"""Classes that a mirror exchanges, found by their names or told."""

import pytest

from estampa.errors import RecipeError
from estampa.prepare.mirror import exchange, pairs_by_name


@pytest.mark.parametrize(
    ("classes", "pairs"),
    [
        (("edge_on", "spiral_anticlockwise", "spiral_clockwise"), {("spiral_clockwise", "spiral_anticlockwise")}),
        (("CW", "ACW", "edge"), {("CW", "ACW")}),
        (("Spiral (counter-clockwise)", "Spiral (clockwise)"), {("Spiral (clockwise)", "Spiral (counter-clockwise)")}),
        (("espiral horária", "antihorario", "horario"), {("horario", "antihorario")}),
        (("left hand", "right hand", "left foot"), {("right hand", "left hand")}),
        (("cw spiral", "clockwise spiral", "ccw spiral"), set()),
        (("spiral", "elliptical", "bright"), set()),
        (("clockwise", "leftover"), set()),
    ],
)
def test_pairs_are_names_that_differ_in_the_sense_alone(classes, pairs):
    assert set(pairs_by_name(classes)) == pairs


def test_exchange_is_its_own_inverse():
    order = exchange(("a", "b", "c", "d"), (("a", "d"),))
    assert order.tolist() == [3, 1, 2, 0]
    assert order[order].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("pairs", [(("a", "x"),), (("a", "b"), ("b", "c")), (("a", "a"),)])
def test_wrong_pairs_are_refused(pairs):
    with pytest.raises(RecipeError, match=r"prepare\.mirrored"):
        exchange(("a", "b", "c"), pairs)
