"""What is labelled next: a fair half drawn at random, and the uncertain and diverse ones of the other half."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estampa.monitor.candidates import CHOSEN, RANDOM, Answered, candidates
from estampa.monitor.feedback import drawn_of
from made_logs import line


def answered(name: str, output: Any = (0.5, 0.5), place: Any = (), **more: Any) -> Answered:
    return Answered.of(line(name, output=list(output), components=list(place), describe=[0.0, None], **more))


def many(n: int, seed: int = 0, width: int = 3) -> list[Answered]:
    """n answers r0, r1, ...: chances of three classes, places in three clumps."""
    draw = np.random.default_rng(seed)
    outputs = draw.dirichlet(np.ones(3), n)
    places = draw.normal(0, 0.1, (n, width)) + 10 * np.eye(3, width)[draw.integers(0, 3, n)]
    return [answered(f"r{i}", outputs[i], places[i]) for i in range(n)]


def margin(one: Answered) -> float:
    low, high = np.sort(one.output)[-2:]
    return float(high - low)


def test_half_of_all_ids_are_drawn_at_random_and_they_are_a_fair_sample() -> None:
    pool = many(1200)
    drawn = [one for one in pool if drawn_of(one.id) == RANDOM]
    assert abs(len(drawn) / 1200 - 0.5) < 0.05
    assert [drawn_of(f"r{i}", 1) for i in range(99)] != [drawn_of(f"r{i}") for i in range(99)]
    every = np.mean([margin(one) for one in pool])
    labelled: set[str] = set()
    first: list[Answered] = []
    for _ in range(100):  # the chosen ones are labelled, too, and that must not change what is drawn
        found = candidates(pool, labelled)
        first += [one.answer for one in found if one.drawn == RANDOM]
        labelled |= {one.answer.id for one in found}
    assert len({one.id for one in first}) == 100
    assert abs(np.mean([margin(one) for one in first]) - every) < 0.07
    chosen = [one for one in pool if one.id in labelled and drawn_of(one.id) == CHOSEN]
    assert np.mean([margin(one) for one in chosen]) < 0.5 * every


def test_they_come_in_turn_and_the_same_each_time() -> None:
    pool = many(400)
    found = candidates(pool, (), most=20)
    assert [one.drawn for one in found] == [RANDOM, CHOSEN] * 10
    assert len({one.answer.id for one in found}) == 20
    again = candidates(pool[::-1], (), most=20)
    assert [one.answer.id for one in again][::2] == [one.answer.id for one in found][::2]
    assert candidates(pool, (), most=20) == found
    assert candidates(pool, (), seed=7, most=20) != found
    assert all(one.drawn == drawn_of(one.answer.id) for one in found)


def test_the_most_uncertain_begins_and_the_next_are_elsewhere() -> None:
    pool = [one for one in many(400) if drawn_of(one.id) == CHOSEN]
    found = [one.answer for one in candidates(pool, (), most=3)]
    assert margin(found[0]) == min(map(margin, pool))
    clumps = {int(np.argmax(one.components)) for one in found}
    assert clumps == {0, 1, 2}
    one_clump = {one.id for one in pool if np.argmax(one.components) == 1}
    nearby = {one.id for one in pool if np.argmax(one.components) != 2}
    (after,) = candidates(pool, nearby - one_clump | set(list(one_clump)[:9]), most=1)
    assert np.argmax(after.answer.components) == 2, "what is labelled already is not asked again"


def test_values_and_rows_by_how_far_they_lie() -> None:
    draw = np.random.default_rng(3)
    values = [answered(f"v{i}", [1.0], draw.normal(0, 1, 8)) for i in range(60)]
    names = [name for name in (f"far{i}" for i in range(9)) if drawn_of(name) == CHOSEN]
    far = answered(names[0], [1.0], [30.0] * 8)
    found = [one.answer.id for one in candidates([*values, far], (), most=4) if one.drawn == CHOSEN]
    assert found[0] == far.id
    rows = [
        Answered.of(line(f"t{i}", output=[0.5, 0.5], components=[0.0] * 8, describe=[float(i), None]))
        for i in range(40)
    ]  # fmt: skip
    mine = [one for one in rows if drawn_of(one.id) == CHOSEN]
    first, second = candidates(mine, (), of_table=True, most=2)
    assert first.answer is mine[0]
    assert second.answer is mine[-1], "by the prepared features"


@pytest.mark.parametrize(
    "one",
    [
        answered("a", [None, None]), answered("a", []), answered("a", flags=["unreadable"]),
    ],
)  # fmt: skip
def test_what_has_no_answer_is_not_offered(one: Answered) -> None:
    assert candidates([one], ()) == []


def test_few_and_none() -> None:
    assert candidates([], ()) == []
    pool = [answered("a"), answered("b"), answered("c")]
    assert {one.answer.id for one in candidates(pool, (), most=9)} == {"a", "b", "c"}
    assert candidates(pool, {"a", "b", "c"}) == []
    without = [answered(f"n{i}", place=[]) for i in range(9)]
    assert len(candidates(without, (), most=9)) == 9
