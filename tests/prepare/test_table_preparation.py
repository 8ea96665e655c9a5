"""Tables: failed measurements, derived columns, scale; the same answer at fit and at prediction."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estampa.errors import BundleError, ContractError, DatasetError, InputError
from estampa.prepare.derived import FORMULAS, Derived, compute, found_in
from estampa.prepare.table import STATE, TablePreparation

SDSS = (
    "mag_u", "mag_g", "mag_r", "mag_i", "mag_z", "deVRad_r", "deVAB_r", "expRad_r", "expAB_r", "petroR50_r",
    "petroR90_r", "lnLDeV_r", "lnLExp_r",
)  # fmt: skip


def sdss(n=200, seed=0):
    """Plausible photometry, (n, 13) float64."""
    rng = np.random.default_rng(seed)
    magnitudes = 17 + rng.normal(0, 1, (n, 1)) + np.array([2.0, 1.0, 0.3, 0.1, 0.0]) + rng.normal(0, 0.2, (n, 5))
    sizes = np.exp(rng.normal(0.7, 0.4, (n, 4)))
    ratios = rng.uniform(0.2, 1, (n, 2))
    likelihoods = -np.exp(rng.normal(4, 2, (n, 2)))
    return np.column_stack(
        [magnitudes, sizes[:, 0], ratios[:, 0], sizes[:, 1], ratios[:, 1], sizes[:, 2], 3 * sizes[:, 3], likelihoods]
    )


def derived_of(values, columns):
    made = found_in(columns)
    return dict(zip([m.name for m in made], compute(values, columns, made).T, strict=True))


def test_derived_columns_by_hand():
    row = np.array([[19.0, 18.0, 17.0, 16.6, 16.4, 4.0, 0.5, 2.0, 0.8, 2.0, 6.0, -10.0, -30.0]])
    found = {name: float(column[0]) for name, column in derived_of(row, SDSS).items()}
    assert found["u-g"] == pytest.approx(1.0)
    assert found["u-z"] == pytest.approx(2.6)
    assert found["concentration_r"] == pytest.approx(np.log10(3))
    assert found["log_deVRad_r"] == pytest.approx(np.log10(4))
    assert found["log_deVRad_r/expRad_r"] == pytest.approx(np.log10(2))
    assert found["log_deVAB_r/expAB_r"] == pytest.approx(np.log10(0.5 / 0.8))
    assert found["ellipticity_expAB_r"] == pytest.approx(0.2)
    assert found["surface_brightness_deVRad_r"] == pytest.approx(17 + 2.5 * np.log10(2 * np.pi * 16))
    assert found["surface_brightness_deVRad_r_ellipse"] == pytest.approx(17 + 2.5 * np.log10(2 * np.pi * 8))
    assert found["surface_brightness_petroR50_r"] == pytest.approx(17 + 2.5 * np.log10(2 * np.pi * 4))
    assert found["lnLDeV_r-lnLExp_r"] == pytest.approx(np.arcsinh(20))
    assert len([name for name in found if len(name) == 3 and "-" in name]) == 10


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        (("u", "g", "r", "i", "z"), {"u-g", "r-z"}),
        (("umag", "gmag", "rmag"), {"u-g", "u-r"}),
        (("dered_g", "dered_r"), {"g-r"}),
        (("psfMag_r", "modelMag_r"), {"psfMag_r-modelMag_r"}),
        (("u-g", "g-r", "r-i"), {"u-r", "g-i", "u-i"}),
        (("petroR50_u", "petroR50_r"), {"log_petroR50_u", "log_petroR50_u/petroR50_r"}),
        (("lnLStar_i", "lnLExp_i"), {"lnLExp_i-lnLStar_i"}),
    ],
)
def test_columns_are_found_by_the_names_that_surveys_use(columns, wanted):
    assert wanted <= {item.name for item in found_in(columns)}


@pytest.mark.parametrize(
    "columns",
    [("z", "i"), ("modelMagErr_u", "modelMagErr_g"), ("extinction_u", "extinction_g"), ("height", "weight"), ()],
)
def test_nothing_is_derived_from_errors_extinctions_and_other_tables(columns):
    assert found_in(columns) == ()


def test_a_derived_value_lacks_where_an_input_lacks_or_a_logarithm_has_no_argument():
    columns = ("mag_u", "mag_g", "petroR50_u", "petroR90_u")
    found = derived_of(np.array([[np.nan, 18.0, 0.0, 2.0], [19.0, 18.0, 1.0, 2.0]]), columns)
    assert np.isnan(found["u-g"][0])
    assert np.isnan(found["concentration_u"][0])
    assert np.isnan(found["log_petroR50_u"][0])
    assert all(np.isfinite(column[1]) for column in found.values())


def test_every_formula_can_be_written_and_a_record_read_back():
    for item in found_in(SDSS):
        assert item.kind in FORMULAS
        assert all(name in item.formula for name in item.inputs)
        assert Derived.from_json(json.loads(json.dumps(item.to_json()))) == item
    for record in (None, ["a", "exec", ["b"]], ["a", "log"], ["a", "log", [3]]):
        with pytest.raises(BundleError, match="derived"):
            Derived.from_json(record)


def test_failed_measurements_become_the_median_and_are_flagged():
    values = sdss()
    values[:6, 0] = -9999
    values[3:9, 5] = np.nan
    rule = TablePreparation.fit(values, SDSS)
    assert rule.invalid(values).sum() == 12
    prepared = rule.transform(values)
    assert prepared.dtype == np.float32
    assert np.isfinite(prepared).all()
    at = {name: i for i, name in enumerate(rule.names)}
    assert prepared[:, at["missing:mag_u"]].tolist() == [1.0] * 6 + [0.0] * 194
    assert prepared[3:9, at["missing:deVRad_r"]].tolist() == [1.0] * 6
    assert (prepared[:6, [at["mag_u"], at["u-g"]]] == 0).all()  # the median of the others, not -9999 minus something
    assert rule.fill[0] == np.median(values[6:, 0])
    assert "missing:mag_g" not in at


def test_scaled_values_are_in_robust_deviations_from_the_median_and_logarithmic_far_out():
    values = sdss(2000)
    rule = TablePreparation.fit(values, SDSS)
    prepared = rule.transform(values)
    column = prepared[:, rule.names.index("mag_r")]
    assert np.median(column) == pytest.approx(0, abs=1e-6)
    assert np.subtract(*np.percentile(np.sinh(column), (75, 25))) == pytest.approx(1.349, abs=0.01)
    wild = values[:1].copy()
    wild[0, 2] = 1e300
    assert 600 < rule.transform(wild)[0, rule.names.index("mag_r")] < 720
    assert rule.in_units(rule.names.index("mag_r"), float(column[7])) == pytest.approx(values[7, 2], abs=1e-4)


def test_columns_that_tell_nothing_are_left_out():
    values = np.column_stack([sdss(), np.full(200, -9999.0), np.full(200, 3.0), np.full(200, np.nan)])
    rule = TablePreparation.fit(values, (*SDSS, "petroR50_g", "constant", "empty"))
    assert not {"petroR50_g", "constant", "empty", "missing:empty"} & set(rule.names)
    assert {"mag_u", "u-g"} <= set(rule.names)
    again = np.column_stack([sdss(5, 1), np.ones((5, 3))])
    assert np.isfinite(rule.transform(again)).all()


def test_drop_says_which_rows_can_be_used():
    values = np.column_stack([sdss(), np.full(200, -9999.0)])
    values[[4, 9], 1] = -9999
    rule = TablePreparation.fit(values, (*SDSS, "nothing"), invalid="drop")
    assert np.flatnonzero(~rule.usable(values)).tolist() == [4, 9]  # not all rows, for the column that always fails
    assert not any(name.startswith("missing:") for name in rule.names)
    assert np.isfinite(rule.transform(values)).all()
    assert TablePreparation.fit(values, (*SDSS, "nothing")).usable(values).all()


def test_without_scale_and_derived_columns_the_numbers_are_those_of_the_file():
    values = sdss()
    rule = TablePreparation.fit(values, SDSS, derive=False, scale=False)
    assert rule.names == SDSS
    assert np.allclose(rule.transform(values), values, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from(["impute", "drop"]))
def test_state_and_record_give_the_same_features_for_any_numbers(seed, derive, how):
    rng = np.random.default_rng(seed)
    values = sdss(60, seed)
    values[rng.integers(0, 60, 12), rng.integers(0, 13, 12)] = rng.choice([-9999, np.nan, np.inf, 0, 99.99, 1e308], 12)
    rule = TablePreparation.fit(values, SDSS, invalid=how, derive=derive)
    record = json.loads(json.dumps(rule.record()))
    again = TablePreparation.from_state({k: v.copy() for k, v in rule.state().items()}, record)
    other = np.where(rng.random((40, 13)) < 0.1, -9999, sdss(40, seed + 1))
    assert np.array_equal(again.transform(other), rule.transform(other))
    assert again.names == rule.names
    assert np.isfinite(rule.transform(other)).all()
    assert np.array_equal(rule.transform(other)[7:9], rule.transform(other[7:9]))  # a row's answer is its own


def test_features_know_where_they_come_from():
    rule = TablePreparation.fit(np.vstack([sdss(), np.full((1, 13), -9999.0)]), SDSS)
    at = {name: i for i, name in enumerate(rule.names)}
    assert rule.formula(at["u-g"]) == "mag_u - mag_g"
    assert rule.inputs(at["u-g"]) == ("mag_u", "mag_g")
    assert rule.formula(at["mag_u"]) == ""
    assert rule.inputs(at["missing:mag_u"]) == ("mag_u",)
    assert "mag_u" in rule.formula(at["missing:mag_u"])
    assert rule.needed == frozenset(SDSS)


def test_wrong_tables_are_refused_by_name():
    values = sdss()
    with pytest.raises(InputError, match=r"prepare.invalid.*impute, drop"):
        TablePreparation.fit(values, SDSS, invalid="ignore")
    with pytest.raises(ContractError, match=r"another shape.*13"):
        TablePreparation.fit(values, SDSS).transform(values[:, :5])
    with pytest.raises(DatasetError, match="every row has a failed measurement"):
        TablePreparation.fit(np.zeros((0, 13)), SDSS)
    with pytest.raises(DatasetError, match="no column varies"):
        TablePreparation.fit(np.full((50, 13), -9999.0), SDSS)
    lost = np.where(np.eye(13)[np.arange(200) % 13] > 0, -9999.0, values)
    with pytest.raises(DatasetError, match=r"every row has a failed measurement.*impute"):
        TablePreparation.fit(lost, SDSS, invalid="drop")


def test_nothing_that_varies_is_said_with_how_many_rows_are_left():
    values = np.tile([18.0, 17.0], (50, 1))
    with pytest.raises(DatasetError, match=r"no column varies.*50 rows.*differ"):
        TablePreparation.fit(values, ("mag_u", "mag_g"))
    values = np.random.default_rng(0).normal(18, 1, (50, 2))
    values[1:, 0] = -9999
    with pytest.raises(DatasetError, match=r"no column varies.*1 rows without a failed measurement.*impute"):
        TablePreparation.fit(values, ("mag_u", "mag_g"), invalid="drop")


def test_damaged_state_is_refused():
    rule = TablePreparation.fit(sdss(), SDSS)
    record, state = rule.record(), rule.state()
    assert tuple(state) == STATE
    broken = [
        ({k: v for k, v in state.items() if k != "fill"}, record),
        (state | {"kept": state["kept"] + 1000}, record),
        (state | {"fill": state["fill"] * np.nan}, record),
        (state | {"factor": state["factor"].astype(np.float32)}, record),
        (state, record | {"format": 99}),
        (state, record | {"names": record["names"][:-1]}),
        (state, record | {"rules": [{"column": "mag_u", "kind": "eval", "values": [1], "why": ""}]}),
        (state, record | {"made": [["x", "difference", ["mag_u", "nowhere"]]]}),
        (state, record | {"made": [[item[0], "difference", ["mag_u"]] for item in record["made"]]}),
        (state, record | {"made": [[item[0], "sum", []] for item in record["made"]]}),
        (state, record | {"made": [[item[0], ["sum"], ["mag_u"]] for item in record["made"]]}),
    ]
    for arrays, words in broken:
        with pytest.raises(BundleError):
            TablePreparation.from_state(arrays, words)


def test_ten_thousand_columns_are_prepared_in_seconds():
    values = np.random.default_rng(0).normal(size=(300, 10_000))
    rule = TablePreparation.fit(values, [f"c{i}" for i in range(10_000)])
    assert rule.transform(values).shape == (300, 10_000)


def test_it_needs_numpy_alone():
    program = (
        "import sys, estampa.prepare.table\n"
        "print([m for m in ('sklearn', 'scipy', 'torch', 'pandas', 'pyarrow', 'astropy') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
