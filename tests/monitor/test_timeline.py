"""The drawings of a watch and its lines: what is not to be relied on, cut or broken looks so."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

from estampa import page
from estampa.monitor.decide import Facts, decide
from estampa.monitor.estimate import NAME
from estampa.monitor.figures import Figure, Period, Watch
from estampa.monitor.policy import Policy
from estampa.monitor.report import headline, lines, verdict_section
from estampa.monitor.timeline import by_group, how_far, over_time
from estampa.page.style import GREY

SURE = Figure(NAME, 0.917, 0.9, 0.93, 0.88, 0.95, "estimate", False, "", math.nan)
UNSURE = replace(SURE, why="not to be relied on: r.mean typical left its range")
FAR = Figure("r.mean, typical", 2.0, 1.9, 2.1, 0.0, 1.0, "input", True, "r.mean is 2, above its range", 4.7)
JOINT = replace(FAR, name="inputs, all together, MMD", why="inputs are 25, above their range", score=12.0)


def test_an_estimate_that_is_not_to_be_relied_on_looks_so() -> None:
    assert SURE.relied
    assert not UNSURE.relied
    for draw in (over_time, by_group):
        assert GREY not in draw(["a", "b"], [SURE, SURE])
        assert draw(["a", "b"], [SURE, UNSURE]).count(f"stroke: {GREY}") == 2, "its interval and its ring"


def test_an_interval_that_goes_on_beyond_the_drawing_has_an_arrow_head() -> None:
    wide = replace(SURE, low=0.0, high=5.0)
    for draw in (over_time, by_group):
        whole, cut = draw(["a"], [SURE]), draw(["a"], [wide])
        assert cut.count("<path") == whole.count("<path") + 2


def test_lines_are_as_long_as_their_scores_and_broken_beyond_the_axis() -> None:
    near, far = how_far([FAR], [FAR, replace(FAR, score=8.4)]), how_far([replace(FAR, score=8.4)])
    assert "4.70" in near
    assert "8.40" in far
    assert _end(near) < 0.6 * _end(far)
    assert "L" not in _line(far)
    assert _line(how_far([JOINT])).count("L") == 2, "two strokes across the gap"


def _line(svg: str) -> str:
    return svg.split('<path d="')[1].split('"')[0]


def _end(svg: str) -> float:
    return float(_line(svg).rsplit("H", 1)[1])


def _watched(*figures: Figure, n: int = 500) -> Watch:
    return Watch("0de2d7149222", n, (Period("batch", None, None, n, figures),), figures, 0.01, classes=("a", "b"))


def test_no_number_stands_in_large_where_none_is_known() -> None:
    for figure, bold in ((SURE, "0.917"), (UNSURE, "not known")):
        found = _watched(FAR, figure)
        section = verdict_section(decide(found, Policy(), Facts(datetime(2026, 11, 22, tzinfo=UTC))), found)
        text = page.render("t", "l", [section], made_by={})
        assert f'<span class="value">{bold}</span>' in text
        assert 'class="stacked"' in text
        assert 'data-name="evidence"' in text
        assert ('<span class="value">0.917</span>' in text) is figure.relied
    assert any("accuracy is not known: label some objects" in line for line in lines(_watched(FAR, UNSURE)))


def test_the_farthest_is_that_of_the_drawing_and_a_single_one_is_named_beside_it() -> None:
    said = headline(_watched(FAR, JOINT))
    assert "farthest: inputs are 25, above their range (12.00 of its range); of single figures, r.mean is 2" in said
    assert "(4.70 of its range)" in said
    assert headline(_watched(FAR, n=1)).startswith("1 of 1 figures left its range on 1 object (")
