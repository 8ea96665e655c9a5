"""Augmentation moves whole pixels, keeps what the declared symmetry keeps, and follows the seed."""

import numpy as np
import pytest
import torch

from estampa.prepare.augment import Augment
from estampa.prepare.image import area_matrix, inside


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=64, size=(5, 5), channels=2, dtype=torch.uint8):
    return torch.randint(0, 200, (n, *size, channels), generator=rng(9)).to(dtype)


def views(picture, kind):
    turns = {
        "none": [lambda p: p],
        "hflip": [lambda p: p, lambda p: p[:, ::-1]],
        "half": [lambda p: p, lambda p: p[:, ::-1], lambda p: p[::-1], lambda p: p[::-1, ::-1]],
        "d4": [lambda p, k=k, f=f: np.rot90(p[:, ::-1] if f else p, k) for k in range(4) for f in (0, 1)],
    }
    return [np.ascontiguousarray(turn(picture)) for turn in turns[kind]]


@pytest.mark.parametrize(
    ("symmetry", "size", "kind"),
    [("none", (5, 5), "none"), ("hflip", (5, 5), "hflip"), ("d4", (5, 5), "d4"), ("d4", (4, 6), "half")],
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_only_the_declared_views_appear_and_all_of_them_do(symmetry, size, kind, dtype):
    images = pictures(1, size, dtype=dtype)
    rows = torch.zeros(400, dtype=torch.int64)
    got = Augment(symmetry).gather(images, rows, rng())[0].numpy()
    wanted = views(images[0].numpy(), kind)
    seen = [sum(np.array_equal(g, w) for g in got) for w in wanted]
    assert sum(seen) == 400
    assert min(seen) > 400 / len(wanted) / 2


@pytest.mark.parametrize("channels", [1, 4])
def test_shift_is_numpy_reflection_of_whole_pixels(channels):
    images = pictures(3, (6, 7), channels)
    rows = torch.tensor([0, 1, 2] * 40)
    got = Augment(shift=2).gather(images, rows, rng())[0].numpy()
    padded = np.pad(images.numpy(), ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    offsets = set()
    for row, picture in zip(rows.tolist(), got, strict=True):
        hits = [
            (i, j) for i in range(5) for j in range(5) if np.array_equal(padded[row, i : i + 6, j : j + 7], picture)
        ]
        assert hits
        offsets.add(hits[0])
    assert len(offsets) > 15


def test_a_shift_larger_than_the_picture_stays_inside():
    got = Augment(shift=64).gather(pictures(2, (3, 1)), torch.tensor([0, 1] * 30), rng())[0]
    assert got.shape == (60, 3, 1, 2)


def test_no_change_is_a_plain_gather():
    images, rows = pictures(), torch.tensor([5, 5, 0])
    assert torch.equal(Augment().gather(images, rows, rng())[0], images[rows])


def test_the_seed_decides():
    images, rows = pictures(), torch.arange(64)
    one = Augment("d4", shift=2)
    assert torch.equal(one.gather(images, rows, rng(3))[0], one.gather(images, rows, rng(3))[0])
    assert not torch.equal(one.gather(images, rows, rng(3))[0], one.gather(images, rows, rng(4))[0])


def test_erasing_sets_one_rectangle_to_the_mean_in_all_channels():
    x = torch.ones(200, 3, 10, 20)
    y = Augment(erase=0.5).change(x, rng())
    areas = []
    for picture in y:
        gone = picture == 0
        assert torch.equal(gone[0], gone[1])
        rows, columns = int(gone[0].any(1).sum()), int(gone[0].any(0).sum())
        assert int(gone[0].sum()) == rows * columns
        assert rows <= 6
        assert columns <= 11
        areas.append(rows * columns)
    assert max(areas) > 30
    assert min(areas) < 5


def test_erased_pixels_become_what_says_nothing_to_the_net():
    x, neutral = torch.ones(50, 3, 10, 20), torch.tensor([0.25, 0.5, 0.75]).view(1, 3, 1, 1)
    black, told = Augment(erase=0.5).change(x, rng()), Augment(erase=0.5).change(x, rng(), neutral=neutral)
    gone = black == 0
    assert gone.any()
    assert torch.equal(told[~gone], x[~gone])
    assert torch.equal(told[gone], neutral.expand_as(x)[gone])


def box(n: int) -> torch.Tensor:
    grid = torch.arange(41) - 20
    return (grid[:, None].abs().maximum(grid[None].abs()) <= 8).float()[None, None].repeat(n, 1, 1, 1)


def test_aspect_trades_width_for_height_and_keeps_the_area():
    y = Augment(aspect=0.4).change(box(60), rng())[:, 0]
    tall, wide = y[:, :, 20].sum(1), y[:, 20].sum(1)
    assert (tall * wide).sub(17**2).abs().max() < 45
    ratio = wide / tall
    assert 1.2 < ratio.max() < 1.6
    assert 0.62 < ratio.min() < 0.85


def test_shear_moves_the_top_against_the_bottom_and_keeps_the_area():
    y = Augment(shear=0.5).change(box(60), rng())[:, 0]
    assert (y.sum((1, 2)) - 17**2).abs().max() < 20
    columns = torch.arange(41.0)
    lean = [float(((p[26] - p[14]) * columns).sum() / p[20].sum()) for p in y]
    assert max(lean) > 3
    assert min(lean) < -3
    assert max(map(abs, lean)) < 12 * 0.5 * 1.15


def test_an_elastic_warp_moves_pixels_by_about_its_deviation_and_keeps_the_picture():
    columns = torch.arange(41.0).repeat(41, 1)[None, None].repeat(40, 1, 1, 1)
    moved = (Augment(elastic=1.5).change(columns, rng()) - columns)[:, 0, 8:-8, 8:-8]
    assert 0.6 < float(moved.std()) < 2.0
    steps = moved.diff(dim=2).abs()
    assert float(steps.mean()) < 0.5  # neighbours move together


def test_warps_are_seeded_and_whole_pixels_stay_without_them():
    x = torch.rand(8, 1, 12, 12)
    one = Augment(rotate=10, zoom=0.2, aspect=0.2, shear=0.1, elastic=0.5)
    assert one.warps
    assert torch.equal(one.change(x, rng(3)), one.change(x, rng(3)))
    assert not torch.equal(one.change(x, rng(3)), one.change(x, rng(4)))
    assert not Augment("d4", shift=2).warps
    assert Augment("d4", shift=2).change(x, rng()) is x


@pytest.mark.parametrize("size", [(31, 31), (31, 45)])
def test_rotation_keeps_a_round_picture_inside_the_circle(size):
    rows, columns = torch.arange(size[0]) - size[0] // 2, torch.arange(size[1]) - size[1] // 2
    away = rows[:, None] ** 2 + columns[None] ** 2
    x = torch.exp(-away / 40.0)[None, None].repeat(8, 2, 1, 1)
    y = Augment(rotate=180).change(x, rng())
    assert ((y - x).abs() * (away < 14**2)).max() < 0.02


def test_rotation_turns():
    x = torch.zeros(50, 1, 21, 21)
    x[:, 0, 10, 17] = 1
    y = Augment(rotate=90).change(x, rng())
    middle = y[:, 0].flatten(1).argmax(1)
    angle = torch.atan2(middle // 21 - 10.0, middle % 21 - 10.0).rad2deg()
    assert angle.min() < -60
    assert angle.max() > 60


def test_zoom_changes_the_size_within_its_share():
    x = box(60)
    sides = Augment(zoom=0.25).change(x, rng()).sum((1, 2, 3)).sqrt()
    assert sides.min() > 17 * 0.76
    assert sides.max() < 17 * 1.31
    assert sides.max() - sides.min() > 4


def test_channels_last_memory_is_kept():
    x = torch.rand(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    y = Augment(rotate=10, zoom=0.1, erase=0.2).change(x, rng())
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_shift_is_part_of_the_warp_where_there_is_one():
    one = Augment(shift=3, rotate=1e-6)
    assert one.steps == 0
    y = one.change(box(60), rng())[:, 0]
    place = torch.arange(41.0)
    rows = (y.sum(2) * place).sum(1) / y.sum((1, 2)) - 20
    columns = (y.sum(1) * place).sum(1) / y.sum((1, 2)) - 20
    for move in (rows, columns):
        assert move.abs().max() < 3.05
        assert move.max() > 2
        assert move.min() < -2


def test_mirror_images_are_told_from_turned_ones():
    images = torch.arange(16, dtype=torch.float32).view(1, 4, 4, 1)
    got, mirrored = Augment("d4").gather(images, torch.zeros(200, dtype=torch.int64), rng())
    turned = [torch.rot90(images[0], turns, (0, 1)) for turns in range(4)]
    for picture, is_mirrored in zip(got, mirrored, strict=True):
        assert is_mirrored.item() is not any(torch.equal(picture, t) for t in turned)
    assert 60 < int(mirrored.sum()) < 140
    assert not Augment("none", shift=1).gather(images, torch.tensor([0, 0]), rng())[1].any()


def test_a_crop_is_turned_within_its_margin():
    """The crop of a turned picture: all its corners come from the picture, none from the repeated edge."""
    side, crop = 99, 69  # 69 times the root of 2 is below 99
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    from_centre = ((rows - 49.0).square() + (columns - 49.0).square()).sqrt()[None, None].repeat(20, 1, 1, 1)
    got = Augment(rotate=180, crop=crop).change(from_centre, rng())
    assert got.shape == (20, 1, crop, crop)
    wanted = from_centre[:, :, 15:84, 15:84]
    assert (got - wanted).abs().max() < 0.5  # round about the centre: a turn changes nothing


def test_a_fixed_turn_alone_is_exact():
    x = torch.rand(3, 2, 9, 9, generator=rng())
    got = Augment().change(x, rng(), torch.tensor([0.0, 90.0, 180.0]))
    torch.testing.assert_close(got[0], x[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(got[2], torch.rot90(x[2], 2, (1, 2)), atol=1e-5, rtol=0)
    quarter = [torch.rot90(x[1], k, (1, 2)) for k in (1, 3)]
    assert min((got[1] - q).abs().max() for q in quarter) < 1e-5


def test_what_comes_out_smaller_is_averaged_first():
    checks = (torch.arange(64)[:, None] + torch.arange(64)[None]).remainder(2).float()[None, None]
    got = Augment(rotate=1e-6, crop=48, side=24).change(checks.contiguous(), rng())
    assert got.shape == (1, 1, 24, 24)
    assert (got - 0.5).abs().max() < 1e-3


@pytest.mark.parametrize(("size", "crop"), [((9, 9), 4), ((9, 9), 5), ((8, 9), 3), ((10, 10), 0)])
def test_a_copy_that_is_not_turned_is_the_crop_itself(size, crop):
    """Turned by nothing, a picture is what the net sees of it later: not shifted by half a pixel, nor smoothed."""
    x = torch.rand(2, 3, *size, generator=rng())
    got = Augment(crop=crop).change(x, rng(), torch.zeros(2))
    rows, columns = inside(size, crop)[1:]
    torch.testing.assert_close(got, x[:, :, rows, columns], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("side", "crop", "to"), [(25, 17, 8), (25, 16, 8), (24, 16, 8), (25, 0, 8)])
def test_a_smaller_picture_lies_where_the_net_sees_it(side, crop, to):
    """A ramp keeps its values when it is brought to fewer pixels, whether or not they divide the picture."""
    ramp = torch.arange(side, dtype=torch.float32)
    x = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])[None]
    got = Augment(crop=crop, side=to).change(x, rng(), torch.zeros(1))
    area = torch.from_numpy(area_matrix(crop or side, to))
    rows, columns = inside((side, side), crop)[1:]
    wanted = area @ x[:, :, rows, columns] @ area.T
    inner = (..., slice(1, -1), slice(1, -1))  # the outermost may come from the repeated edge
    torch.testing.assert_close(got[inner], wanted[inner], atol=0.02, rtol=0)  # areas cut pixels, means of ramps do not
