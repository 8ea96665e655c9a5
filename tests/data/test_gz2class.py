"""The grammar of gz2class, its foldings, and the rule from votes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estampa.data import gz2class
from estampa.data.gz2class import ANSWERS, Gz2Class, fold, fractions_of, from_fractions, parse
from estampa.errors import InputError

odd = st.sampled_from(["", *gz2class.ODD])
smooth = st.builds(Gz2Class, st.just("smooth"), roundness=st.sampled_from([*gz2class.ROUNDNESS]), odd=odd)
edge_on = st.builds(Gz2Class, st.just("edge-on"), bulge=st.sampled_from([*gz2class.EDGE_BULGE]), odd=odd)
arms = st.tuples(st.sampled_from([*gz2class.ARMS]), st.sampled_from([*gz2class.WINDING])) | st.just(("", ""))
disk = st.builds(
    lambda bulge, bar, arms, odd: Gz2Class("disk", "", bulge, bar, *arms, odd),
    st.sampled_from([*gz2class.BULGE]), st.booleans(), arms, odd,
)  # fmt: skip
galaxies = st.just(Gz2Class("artifact")) | smooth | edge_on | disk


@given(galaxies)
def test_every_record_comes_back_from_its_text(galaxy: Gz2Class) -> None:
    assert parse(str(galaxy)) == galaxy
    assert galaxy.words()


@given(st.text(alphabet="AESBeabcdrin1234+?tml()oumx ", max_size=10))
def test_a_text_is_read_back_as_it_was_or_refused(text: str) -> None:
    said = ""
    try:
        read = str(parse(text))
    except InputError as error:
        read, said = text.strip(), str(error)
    assert read == text.strip()
    assert not said or "is no gz2class, at character" in said


@pytest.mark.parametrize(
    ("text", "galaxy"),
    [
        ("Er", Gz2Class("smooth", roundness="r")),
        ("SBc2m", Gz2Class("disk", bulge="c", bar=True, arms="2", winding="m")),
        ("Seb", Gz2Class("edge-on", bulge="b")),
        ("Sc(I)", Gz2Class("disk", bulge="c", odd="i")),  # the paper's own example, in its spelling
        ("A", Gz2Class("artifact")),
        ("Sa+t(u)", Gz2Class("disk", bulge="a", arms="+", winding="t", odd="u")),
    ],
)
def test_examples(text: str, galaxy: Gz2Class) -> None:
    assert parse(text) == galaxy


@pytest.mark.parametrize(
    ("text", "at", "told"),
    [
        ("", 1, "Got: the end"),
        ("Xr", 1, "Allowed: A (star or artifact), E (smooth) or S (disk). Got: 'X'"),
        ("Eq", 2, "Allowed: roundness: r, i, c. Got: 'q'"),
        ("Sed", 3, "Allowed: bulge of an edge-on disk: r, b, n. Got: 'd'"),
        ("SBx", 3, "Allowed: bulge: d, c, b, a. Got: 'x'"),
        ("Sc5t", 3, "Allowed: number of arms: 1, 2, 3, 4, +, ?"),
        ("Sc2", 4, "Allowed: winding of the arms: t, m, l. Got: the end"),
        ("Sc2t(x)", 6, "Allowed: odd feature: r, l, d, i, o, m, u. Got: 'x'"),
        ("Sc2t(r", 7, "Allowed: )"),
        ("Sc2tm", 5, "Allowed: an odd feature in brackets, or the end"),
        ("A(o)", 2, "Allowed: the end"),
        ("nan", 1, "Got: 'n'"),
    ],
)
def test_an_unknown_text_is_refused_where_it_goes_wrong(text: str, at: int, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, "catalogue.csv, row 7")
    assert f"catalogue.csv, row 7, {text!r}: is no gz2class, at character {at}." in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"kind": "spiral"}, "unknown kind 'spiral'"),
        ({"kind": "smooth"}, "roundness '' of the kind 'smooth'. Allowed: r, i, c"),
        ({"kind": "smooth", "roundness": "r", "bar": True}, "a bar, but the kind is 'smooth'"),
        ({"kind": "artifact", "odd": "r"}, "odd feature 'r' of the kind 'artifact'. Allowed: none"),
        ({"kind": "disk", "bulge": "c", "arms": "2"}, "winding '' of the kind 'disk'. Allowed: t, m, l"),
        ({"kind": "disk", "bulge": "c", "winding": "t"}, "winding 't'"),
        ({"kind": "edge-on", "bulge": "a"}, "bulge 'a' of the kind 'edge-on'. Allowed: r, b, n"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(parts: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as caught:
        Gz2Class(**parts)  # type: ignore[arg-type]
    assert told in str(caught.value)


@given(galaxies)
def test_a_folding_gives_its_own_classes(galaxy: Gz2Class) -> None:
    for name, classes in gz2class.FOLDINGS.items():
        found = fold(galaxy, name)
        assert found in classes or (found is None and name == "barred")


@pytest.mark.parametrize(
    ("text", "study12", "barred", "esa"),
    [
        ("A", "A", None, "A"), ("Er(o)", "Er", None, "E"), ("Sen(u)", "Sen", None, "S"),
        ("SBa2t(r)", "SB", "barred", "S"), ("Sd?l", "Sd", "unbarred", "S"), ("Sb", "Sb", "unbarred", "S"),
    ],
)  # fmt: skip
def test_foldings(text: str, study12: str, barred: str | None, esa: str) -> None:
    assert [fold(parse(text), name) for name in ("study12", "barred", "esa")] == [study12, barred, esa]


def test_an_unknown_folding_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown folding 'study21'.*Did you mean 'study12'"):
        fold(parse("A"), "study21")


def test_the_strings_of_a_real_table(shared: Path) -> None:
    with (shared / "gz2_votes_table5" / "gz2class_derived_counts.csv").open(newline="") as stream:
        texts = [row["gz2class"] for row in csv.DictReader(stream)]
    assert len(texts) == 386
    assert [str(parse(text)) for text in texts] == texts


# ---------------------------------------------------------------------------------------------- votes


def votes(**given: float) -> np.ndarray:
    """One galaxy's fractions, by the number of the answer: a01=0.7."""
    row = np.zeros((1, len(ANSWERS)))
    for answer, value in given.items():
        row[0, [f"_{answer}_" in name for name in ANSWERS].index(True)] = value
    return row


DISK = {"a02": 0.8, "a01": 0.2, "a05": 0.9, "a04": 0.1, "a15": 1.0, "a11": 0.7}


@pytest.mark.parametrize(
    ("given_votes", "text"),
    [
        ({"a03": 0.6, "a01": 0.4, "a14": 1.0, "a19": 1.0}, "A"),
        ({"a01": 0.6, "a02": 0.4, "a17": 0.5, "a14": 0.7, "a15": 0.3, "a24": 0.4, "a23": 0.3}, "Ei(m)"),
        ({"a02": 0.9, "a04": 0.7, "a05": 0.3, "a27": 0.8, "a15": 1.0}, "Sen"),
        ({**DISK, "a06": 0.6, "a07": 0.4, "a08": 0.9, "a32": 0.6, "a29": 0.5}, "SBc2m"),
        ({**DISK, "a07": 1.0, "a09": 1.0, "a32": 0.6}, "Sc"),
        ({**DISK, "a06": 0.5, "a07": 0.5, "a08": 0.5, "a09": 0.5, "a15": 0.5, "a14": 0.5, "a19": 1.0}, "Sc"),
        ({"a01": 0.5, "a02": 0.5, "a16": 0.5, "a17": 0.5, "a15": 1.0}, "Er"),
    ],
)
def test_the_most_voted_way_through_the_tree(given_votes: dict[str, float], text: str) -> None:
    assert [str(galaxy) for galaxy in from_fractions(votes(**given_votes))] == [text]


def test_wrong_votes_are_refused() -> None:
    with pytest.raises(InputError, match=r"Allowed: \(n, 37\) fractions. Got: \(2, 36\)"):
        from_fractions(np.zeros((2, 36)))
    with pytest.raises(InputError, match=r"row 0: t04_spiral_a08_spiral is not a number"):
        from_fractions(votes(a08=np.nan))
    with pytest.raises(InputError, match=r"36 columns of votes are missing.*t01_smooth_or_features_a02"):
        fractions_of({"t01_smooth_or_features_a01_smooth_debiased": [0.1]})


def test_the_rule_on_a_real_table(shared: Path) -> None:
    """Every difference to the derived column there is a tie at "anything odd?", which it takes for a yes."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(shared / "gz2_votes_table5" / "gz2_table5_debiased.parquet").to_pydict()
    fractions, derived = fractions_of(table), [parse(text) for text in table["gz2class_derived"]]
    differ = [i for i, ours in enumerate(from_fractions(fractions)) if ours != derived[i]]
    yes, no = (ANSWERS.index(f"t06_odd_{answer}") for answer in ("a14_yes", "a15_no"))
    assert len(derived) == 15_810
    assert len(differ) == 65
    assert all(fractions[i, yes] == fractions[i, no] and derived[i].odd for i in differ)
