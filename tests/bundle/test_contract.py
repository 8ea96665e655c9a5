"""What the model was fed against what it is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estampa.bundle.contract import (
    InputContract,
    check_header,
    check_scale,
    contract_of,
    extremes,
    measure_range,
    out_of_range,
)
from estampa.data.record import Header, ReadRecord
from estampa.errors import ContractError
from made_bundles import pictures

SHAPE = (12, 10, 3)
FOLDER = ReadRecord(source="folder", mode="RGB", size=(12, 10), fit="pad")


def header(**changes: object) -> Header:
    base = Header(
        9, SHAPE, "uint8", "classification", ("a", "b"), channels=("g", "r", "i"), units="nJy", pixel_scale=0.2,
        read=FOLDER,
    )  # fmt: skip
    return replace(base, **changes)


def contract(images: np.ndarray | None = None, **changes: object) -> InputContract:
    seen = pictures(300, SHAPE) if images is None else images
    return contract_of(header(dtype=str(seen.dtype), **changes), measure_range(seen))


def test_it_comes_back_from_json() -> None:
    ours = contract()
    assert InputContract.model_validate_json(ours.model_dump_json()) == ours
    assert ours.read_record == FOLDER


def test_what_was_fed_is_accepted() -> None:
    check_header(contract(), header(), "x")
    check_header(contract(), header(channels=(), units="", pixel_scale=None, read=ReadRecord(source="arrays")), "x")
    check_header(contract(), header(channels=("green", "red", "infrared")), "x")


@pytest.mark.parametrize(
    ("change", "ours", "theirs"),
    [
        ({"shape": (12, 10, 1), "channels": ("g",)}, "12 x 10 x 3 uint8", "12 x 10 x 1 uint8"),
        ({"shape": (24, 10, 3)}, "12 x 10 x 3", "24 x 10 x 3"),
        ({"dtype": "float32"}, "x 3 uint8", "x 3 float32"),
        ({"channels": ("i", "r", "g")}, "channels g, r, i", "channels i, r, g"),
        ({"units": "Jy"}, "'nJy'", "'Jy'"),
        ({"pixel_scale": 0.4}, "0.2", "0.4"),
        ({"read": replace(FOLDER, fit="stretch")}, "'pad'", "'stretch'"),
        ({"read": replace(FOLDER, mode="L")}, "'RGB'", "'L'"),
        ({"read": replace(FOLDER, crop=8)}, "not 0", "crop 8"),
        ({"shape": None, "dtype": ""}, "12 x 10 x 3", "no images"),
    ],
)
def test_another_input_is_refused_naming_both_sides(change: dict[str, object], ours: str, theirs: str) -> None:
    with pytest.raises(ContractError) as caught:
        check_header(contract(), header(**change), "set.h5")
    message = str(caught.value)
    assert message.startswith("set.h5: ")
    assert ours in message
    assert theirs in message
    assert caught.value.exit_code == 2


UNIT = pictures(400, SHAPE, "float32")
BYTES = UNIT * 255
COUNTS = np.round(BYTES)


@pytest.mark.parametrize("n", [1, 3, 8, 200])
@pytest.mark.parametrize(
    ("fed", "given_"), [(COUNTS, UNIT), (UNIT, COUNTS), (BYTES, UNIT), (UNIT, BYTES), (COUNTS, UNIT * 257 * 65535)]
)
def test_another_scale_is_caught(fed: np.ndarray, given_: np.ndarray, n: int) -> None:
    check_scale(contract(fed), fed[:n], "x")
    with pytest.raises(ContractError, match=r"another scale.*Allowed: values from .*Got: values from"):
        check_scale(contract(fed), given_[:n].astype(np.float32), "x")


def test_small_integers_for_large_ones_are_caught_in_a_set() -> None:
    masks = (pictures(50, SHAPE) > 60).astype(np.uint8)
    with pytest.raises(ContractError, match="smaller"):
        check_scale(contract(), masks, "x")


def test_signed_values_for_unsigned_are_caught() -> None:
    with pytest.raises(ContractError, match="below"):
        check_scale(contract(UNIT), UNIT[:40] * 2 - 1, "x")


@pytest.mark.parametrize("fed", [COUNTS, BYTES, UNIT, COUNTS.astype(np.uint8)])
def test_a_single_dark_or_bright_picture_is_not_refused(fed: np.ndarray) -> None:
    ours, ordinary = contract(fed), fed[:1].astype(np.float64)
    for picture in (
        ordinary * 0,
        ordinary * 0.1,
        np.full_like(ordinary, fed.max()),
        np.minimum(ordinary * 3, fed.max()),
    ):
        check_scale(ours, np.round(picture).astype(fed.dtype) if fed.max() > 1 else picture.astype(fed.dtype), "x")
    many = fed[:100].copy()
    many[7] = 0
    many[8] = fed.max()
    check_scale(ours, many, "x")


def test_black_frames_have_no_say() -> None:
    blank = np.zeros((50, *SHAPE), np.uint8)
    check_scale(contract(), blank, "x")
    seen = np.concatenate([blank, pictures(50, SHAPE)])
    check_scale(contract(seen), pictures(50, SHAPE), "x")


def test_fluxes_that_span_decades_are_one_scale() -> None:
    draw = np.random.default_rng(0)
    fluxes = (10 ** draw.uniform(-2, 4, (500, 1, 1, 1)) * draw.uniform(0, 1, (500, *SHAPE))).astype(np.float32)
    ours = contract(fluxes)
    faint = fluxes[fluxes.max(axis=(1, 2, 3)) < 0.5][:20]
    check_scale(ours, faint, "x")
    with pytest.raises(ContractError, match="larger"):
        check_scale(ours, fluxes * 1e9, "x")


def test_missing_pixels_do_not_upset_the_range() -> None:
    holes = UNIT.copy()
    holes[::3, ::2] = np.nan
    holes[5] = np.inf
    ours = contract(holes)
    assert np.isfinite([*ours.range.low, *ours.range.high, *ours.range.peaks]).all()
    check_scale(ours, holes[:50], "x")
    low, high = extremes(holes)
    assert np.isfinite(low).all()
    assert (high[5] == 0).all()


def test_far_pictures_are_marked() -> None:
    ours = contract(UNIT)
    some = UNIT[:4].copy()
    some[1] += 5
    some[2] -= 5
    some[3] *= 0.01
    np.testing.assert_array_equal(out_of_range(ours, some), [False, True, True, True])
    assert not out_of_range(contract(), pictures(50, SHAPE)).any()


@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint8", "float32"]), st.integers(1, 40))
def test_data_like_the_training_data_are_never_refused(seed: int, dtype: str, n: int) -> None:
    ours = contract(pictures(200, SHAPE, dtype))
    check_scale(ours, pictures(n, SHAPE, dtype, seed), "x")
