"""Plain text for terminals."""

from __future__ import annotations

from estampa.plain import counted, duration, folded, table


def test_durations_as_people_write_them() -> None:
    assert [duration(s) for s in (0.04, 9.94, 38.2, 125, 4320)] == [
        "0.0 s",
        "9.9 s",
        "38 s",
        "2 min 05 s",
        "1 h 12 min",
    ]


def test_names_that_differ_by_case_or_blanks_alone() -> None:
    assert folded(" D ark\t") == folded("dark") == "dark"
    assert folded("STRASSE") == folded("Straße")
    assert folded("dark") != folded("darker")


def test_tables_align_numbers_right() -> None:
    assert table(["name", "n"], [["a", "5"], ["long", "1234"]], right=[1]) == ["name     n", "a        5", "long  1234"]


def test_both_counts_of_parameters_are_said() -> None:
    from types import SimpleNamespace

    rows = [
        SimpleNamespace(kind="Normalization", parameters=0, statistics=7),
        SimpleNamespace(kind="Conv2D", parameters=1_000, statistics=64),
    ]
    assert counted(1_000, rows) == (
        "1,000 trainable parameters; 1,071 as Keras counts, "
        "with 64 running statistics and 7 values of input normalisation"
    )
    assert counted(900, rows).startswith("900 trainable parameters of 1,000; 1,071 as")
    assert counted(5, [SimpleNamespace(kind="Dense", parameters=5)]) == "5 trainable parameters"
