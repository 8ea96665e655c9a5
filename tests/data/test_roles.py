"""What columns are for: by their names, by what they hold, and as asked for."""

from __future__ import annotations

import numpy as np
import pytest

from estampa.data.record import Header
from estampa.data.roles import ColumnFacts, class_of, features_of, infer, is_unknown, role_of, with_told
from estampa.errors import DatasetError, SourceError
from estampa.recipe import DataRecipe


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("feature", "mag_u dered_g modelMag_r petroR50_r deVAB_i expRad_r lnLExp_i u-g ecc snr g_err fracDeV_r mE1_r"),
        ("ignore", "ra dec RAJ2000 run rerun camcol field plate mjd fiberid specobjid galaxy_id flags jd htmID"),
        ("leak", "redshift z_spec zErr stellar_mass votes p_el_debiased t01_smooth_or_features_a01_smooth_debiased"),
        ("leak", "total_votes nvote p_cs spec_class subclass rb label target absmag_r velDisp gz2class_derived"),
        ("weight", "weight sample_weight"),
    ],
)
def test_roles_by_name(role: str, names: str) -> None:
    for name in names.split():
        assert role_of(name)[0] == role, name


def test_z_is_a_magnitude_beside_other_bands_only() -> None:
    assert role_of("z", ["u", "g", "r", "i", "z"])[0] == "feature"
    assert role_of("z", ["mass", "z"])[0] == "leak"
    assert role_of("z_err", ["g_err", "r_err", "z_err"])[0] == "feature"
    assert role_of("z_err", ["z", "z_err"])[0] == "leak"


def columns(*names: str, **facts: dict[str, object]) -> list[ColumnFacts]:
    return [ColumnFacts(name, **{"number": True, **facts.get(name, {})}) for name in names]  # type: ignore[arg-type]


def test_ids_must_be_exact_and_unique() -> None:
    rounded = {"rounded": "1.2e+18", "number": False}
    assert infer(columns("objid", "id", "g", objid=rounded, id={"unique": True})).id == "id"
    roles = infer(columns("objid", "name", "g", objid=rounded, name={"unique": True}))
    assert (roles.id, roles.table, roles.columns["objid"].role) == ("name", ("g",), "text")
    assert "objid is no key: a spreadsheet rounded" in roles.notes[0]
    repeated = infer(columns("id", "ra", "dec", "g"))
    assert (repeated.id, repeated.position) == ("", ("ra", "dec"))


def test_a_label_that_is_asked_for_and_not_there() -> None:
    with pytest.raises(SourceError, match=r"no column 'klas'.*Did you mean 'class'"):
        infer(columns("class", "g"), label="klas")
    with pytest.raises(SourceError, match="no column 'night'"):
        infer(columns("class", "g"), group="night")


def one_hot(*names: str) -> list[ColumnFacts]:
    at = np.arange(60) % len(names)
    return [ColumnFacts(name, True, 60, True, sample=(at == i).astype(float)) for i, name in enumerate(names)]


def test_the_other_columns_of_a_one_hot_set_are_answers_too() -> None:
    names = ("spiral", "elliptical", "uncertain")
    table = [*columns("g", "r"), *one_hot(*names), *columns("i")]
    for name in names:
        roles = infer(table, label=name)
        assert roles.table == ("g", "r", *(other for other in names if other != name), "i")
        assert {n for n in roles.table if roles.columns[n].role == "leak"} == set(names) - {name}
        assert f"another answer of the set of {name}" in {one.reason for one in roles.columns.values()}
    assert infer(table, label="spiral,elliptical").columns["uncertain"].role == "leak"
    assert infer(table).columns["g"].role == "feature"
    beside = [*columns("g"), *one_hot("a", "b"), *columns("r"), *one_hot("c", "d")]
    assert infer(beside, label="a").columns["c"].role == "feature"  # a set of its own


def test_a_one_hot_set_beside_its_classes_is_a_leak() -> None:
    at = np.arange(300) % 3
    sets = [ColumnFacts(f"t{i}", True, 300, True, sample=(at == i).astype(float)) for i in range(3)]
    table = [*columns("class", "g"), *sets]
    assert with_told(infer(table), table, at).columns["t1"].role == "leak"
    other = np.roll(at, 1) * (np.arange(300) % 2)
    assert with_told(infer(table), table, other).columns["t1"].role == "feature"


def test_one_hot_columns() -> None:
    assert infer([*columns("g"), *one_hot("spiral", "elliptical", "uncertain")]).one_hot == (
        "spiral", "elliptical", "uncertain"
    )  # fmt: skip
    assert infer([*columns("g", "class"), *one_hot("a", "b")]).one_hot == ()  # a column of classes goes first
    assert infer([*columns("g"), *one_hot("band_g", "band_r")]).one_hot == ()  # a feature taken apart
    assert infer([*columns("g"), *one_hot("class_star", "class_qso")]).one_hot == ("class_star", "class_qso")
    two = infer([*one_hot("a", "b"), *columns("g"), *one_hot("c", "d")])
    assert two.one_hot == ()
    assert "a, b; c, d" in two.notes[0]
    assert infer([*one_hot("a", "b"), *columns("g")], label="b,a").one_hot == ("b", "a")
    assert class_of("class_star") == "star"
    assert is_unknown("Don't know")
    assert not is_unknown("star")


def test_a_column_that_says_the_class_in_other_words() -> None:
    labels = np.arange(300) % 3
    same = [ColumnFacts("code", True, sample=10.0 - labels), ColumnFacts("g", True, sample=np.arange(300) % 7.0)]
    assert with_told(infer(same), same, labels).columns["code"].role == "leak"
    assert with_told(infer(same), same, labels).columns["g"].role == "feature"


def test_features_of_a_recipe() -> None:
    header = Header(
        3, None, "", "classification", ("a", "b"), columns=("ra", "g", "r", "redshift"),
        roles=("ignore", "feature", "feature", "leak"),
    )  # fmt: skip
    assert features_of(header, DataRecipe()) == ("g", "r")
    assert features_of(header, DataRecipe(also=("redshift",), without=("g",))) == ("r", "redshift")
    assert features_of(header, DataRecipe(features=("redshift", "ra"))) == ("ra", "redshift")
    with pytest.raises(DatasetError, match=r"no column 'redshft', which data.also names.*Did you mean 'redshift'"):
        features_of(header, DataRecipe(also=("redshft",)))
    with pytest.raises(DatasetError, match=r"no column is left to learn from.*redshift \(leak\)"):
        features_of(header, DataRecipe(without=("g", "r")))


def test_columns_that_are_named_can_be_added_to_and_taken_from() -> None:
    header = Header(n=3, shape=None, dtype="", task="unlabelled", columns=("a", "b", "c"), roles=("feature",) * 3)
    assert features_of(header, DataRecipe(features=("c", "a"), without=("a",))) == ("c",)
    assert features_of(header, DataRecipe(features=("c",), also=("b",))) == ("b", "c")
