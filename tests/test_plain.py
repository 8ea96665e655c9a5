"""Plain text for terminals."""

from __future__ import annotations

from estampa.plain import duration, table


def test_durations_as_people_write_them() -> None:
    assert [duration(s) for s in (0.04, 9.94, 38.2, 125, 4320)] == [
        "0.0 s",
        "9.9 s",
        "38 s",
        "2 min 05 s",
        "1 h 12 min",
    ]


def test_tables_align_numbers_right() -> None:
    assert table(["name", "n"], [["a", "5"], ["long", "1234"]], right=[1]) == ["name     n", "a        5", "long  1234"]
