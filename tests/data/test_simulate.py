"""The simulated survey: seeded, independent of blocks, resumable, physically consistent, and not solved by a forest."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from estampa.data.builders import _candidates, _stamps, _truth, simulate
from estampa.data.builders._cameras import CAMERAS
from estampa.data.builders._sky import Galaxies, Psf, backward, forward, point
from estampa.data.builders._subtract import filters, ratio
from estampa.data.builders.simulate import KIND_NAMES, Simulated
from estampa.data.read import build
from estampa.errors import InputError


@cache
def made(camera: str = "decam", n: int = 4000) -> Simulated:
    return simulate.simulate(n, seed=5, camera=camera, channels=_stamps.CHANNELS)


def of_kind(found: Simulated, *names: str) -> np.ndarray:
    return np.isin(found.column("kind").astype(int), [KIND_NAMES.index(name) for name in names])


def psf(fwhm: float, beta: float = 3.5, e1: float = 0.0) -> Psf:
    return Psf(*(np.array([value], np.float32) for value in (fwhm, beta, e1, 0.0)))


# ------------------------------------------------------------------------------------------- the same again


def test_a_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (simulate.simulate(250, seed=seed) for seed in (5, 5, 6))
    assert first.images.tobytes() == again.images.tobytes()
    assert first.table.tobytes() == again.table.tobytes()
    assert first.images.tobytes() != other.images.tobytes()
    assert np.array_equal(first.images, made().images[:250, ..., :3], equal_nan=True), "rows do not depend on n"


def test_blocks_of_any_size_give_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build("simulate", tmp_path / "a.h5", builder_options={"n": "650"})
    monkeypatch.setattr("estampa.data.sources._base.BLOCK_BYTES", 21 * 21 * 4 * 4 * 37)
    bits = build("simulate", tmp_path / "b.h5", builder_options={"n": "650"})
    assert whole.content_sha256 == bits.content_sha256
    assert whole.table is not None
    assert np.array_equal(whole.table, np.asarray(bits.table), equal_nan=True)
    assert (tmp_path / "a.truth.csv").read_bytes() == (tmp_path / "b.truth.csv").read_bytes()
    memory = simulate.simulate(650, channels=_stamps.CHANNELS[:4])
    assert np.array_equal(whole.take(np.arange(650)), memory.images, equal_nan=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "a.truth.csv", "b.h5", "b.truth.csv"]


#: The command line itself, in blocks of 100 rows, with a pause after each so that a signal finds it in the middle.
SLOW = """
import sys, time
from estampa.data import writer
from estampa.data.sources import _base
_base.BLOCK_BYTES = 21 * 21 * 4 * 4 * 100
write = writer.DatasetWriter.write
def slowly(self, *given):
    write(self, *given)
    time.sleep(0.05)
writer.DatasetWriter.write = slowly
from estampa.cli import main
main(sys.argv[1:])
"""


def test_a_killed_build_goes_on_and_loses_no_truth(tmp_path: Path) -> None:
    output = tmp_path / "cut.h5"
    words = [sys.executable, "-c", SLOW, "build", "simulate", "-o", str(output), "--option", "n=3000", "--quiet"]
    victim = subprocess.Popen(words)
    journal, until = output.with_name("cut.h5.journal"), time.monotonic() + 60
    while time.monotonic() < until and not (journal.exists() and len(journal.read_text().splitlines()) > 4):
        assert victim.poll() is None
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert not output.exists()
    left = output.with_name("cut.h5.truth").read_bytes()
    broken = bytearray(left)
    broken[_truth.KEY_BYTES : _truth.KEY_BYTES + 8 * len(_stamps.COLUMNS)] = bytes(8 * len(_stamps.COLUMNS))
    output.with_name("cut.h5.truth").write_bytes(broken)  # a row lost with the power is made again
    resumed = build("simulate", output, builder_options={"n": "3000"})
    straight = build("simulate", tmp_path / "straight.h5", builder_options={"n": "3000"})
    assert resumed.content_sha256 == straight.content_sha256
    assert resumed.table is not None
    assert np.array_equal(resumed.table, np.asarray(straight.table), equal_nan=True)
    assert (tmp_path / "cut.truth.csv").read_bytes() == (tmp_path / "straight.truth.csv").read_bytes()


def test_the_same_again_is_opened_and_another_set_refused(tmp_path: Path) -> None:
    few = {"n": "40", "seed": "3"}
    first = build("simulate", tmp_path / "a.h5", builder_options=few)
    assert build("simulate", tmp_path / "a.h5", builder_options=few).content_sha256 == first.content_sha256
    with pytest.raises(InputError, match="exists already"):
        build("simulate", tmp_path / "a.h5", builder_options={"n": "40", "seed": "4"})


# ------------------------------------------------------------------------------------------- what it is


def test_the_dataset_says_what_it_is(tmp_path: Path) -> None:
    dataset = build("simulate", tmp_path / "a.h5", builder_options={"n": "400", "noise": "yes", "size": "25"})
    header = dataset.header
    assert (dataset.n, dataset.shape, header.dtype) == (400, (25, 25, 5), "float32")
    assert header.channels == ("science", "template", "difference", "snr_difference", "noise")
    assert (dataset.classes, header.symmetry, header.pixel_scale) == (("artifact", "real"), "d4", 0.27)
    assert header.origin["parameters"]["read_noise"] == CAMERAS["decam"].read_noise
    assert np.bincount(dataset.labels).tolist() == [200, 200]
    assert dataset.groups is not None
    groups = dataset.groups.astype(str)
    seeing = dataset.column("seeing_science")
    assert all(np.ptp(seeing[groups == group]) == 0 for group in np.unique(groups)), "an exposure has one seeing"
    assert len(np.unique(seeing)) == len(np.unique(groups)) == 10
    with (tmp_path / "a.truth.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == dataset.ids.astype(str).tolist()
    kinds = dataset.column("kind").astype(int)
    assert [row["kind"] for row in rows] == [KIND_NAMES[kind] for kind in kinds]
    assert np.allclose([float(row["snr"]) for row in rows], dataset.column("snr"), rtol=1e-6)


def test_the_share_of_reals_is_as_asked() -> None:
    for share in (0.0, 0.1, 1.0):
        found = simulate.simulate(400, real=share, size=11)
        assert abs(found.labels.mean() - share) <= 0.006
        real = np.array([kind.real for kind in _candidates.KINDS])
        assert np.array_equal(real[found.column("kind").astype(int)], found.labels == 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sede": "3"}, "Did you mean 'seed'"),
        ({"n": "0"}, "'n' is out of range"),
        ({"n": "many"}, "'n' is not a whole number"),
        ({"size": "64"}, "11 to 63 pixels"),
        ({"seed": "-1"}, "'seed' is out of range"),
        ({"real": "1.5"}, "'real' is out of range"),
        ({"real": "nan"}, "'real' is out of range"),
        ({"snr": "7"}, "not a range"),
        ({"snr": "9-4"}, "LOW below HIGH"),
        ({"snr": "4-x"}, "'snr' is not a number"),
        ({"camera": "decan"}, "Did you mean 'decam'"),
        ({"channels": "science,sky"}, "no such channel.*'sky'"),
        ({"channels": "science,science"}, "asked for twice"),
        ({"channels": "noise"}, "noise=yes"),
        ({"noise": "maybe"}, "Allowed: yes, no"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        build("simulate", tmp_path / "a.h5", builder_options=options)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------- physics


def test_a_point_source_has_its_flux_and_width() -> None:
    star = point(psf(5.0, 4.5), np.array([0.3]), np.array([-0.2]), 1000.0, 96)[0]
    assert star.sum() == pytest.approx(1000, rel=0.01)
    profile = point(psf(5.0), np.array([0.0]), np.array([0.0]), 1.0, 32)[0, 16]
    assert profile[16] / 2 == pytest.approx(np.interp(18.5, np.arange(32), profile), rel=0.05), "half at half the FWHM"
    long = point(psf(5.0, e1=0.3), np.array([0.0]), np.array([0.0]), 1.0, 32)[0]
    assert long[16, 20] > 2 * long[20, 16], "positive e1 stretches it along x"


@pytest.mark.parametrize("disc", [1.0, 0.0])
def test_half_of_a_galaxy_lies_within_its_radius(disc: float) -> None:
    one = np.ones(1, np.float32)
    galaxy = Galaxies(0 * one, 0 * one, 100 * one, 6 * one, disc * one, 0 * one, 0 * one)
    light = backward(galaxy.transform(128), 128)[0]
    steps = np.arange(128) - 64
    far = np.hypot(steps, steps[:, None])
    assert light.sum() == pytest.approx(100, rel=1e-3)
    assert light[far <= 6].sum() == pytest.approx(50, rel=0.06)
    along = -np.log(light[64, 76] / light[64, 70])
    if disc:
        assert along == pytest.approx(6 * 1.678 / 6, rel=0.03), "an exponential falls by 1.678 a half-light radius"


def test_the_transform_is_numpys() -> None:
    pictures = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)
    assert np.allclose(forward(pictures), np.fft.rfft2(pictures), atol=1e-3)
    assert np.allclose(backward(forward(pictures), 32), pictures, atol=1e-5)


@pytest.mark.parametrize("proper", [False, True])
@pytest.mark.parametrize(("new", "old"), [(5.0, 4.0), (4.0, 5.0)])
def test_stars_vanish_in_the_difference_and_a_new_one_stays(new: float, old: float, proper: bool) -> None:
    made = filters(psf(new), psf(old, 3.0), (np.array([100.0]), np.array([20.0])), proper, 48)
    star = (
        point(psf(new), np.array([1.3]), np.array([2.1]), 1e4, 48),
        point(psf(old, 3.0), np.array([1.3]), np.array([2.1]), 1e4, 48),
    )
    left = made.difference(*star)[0, 12:36, 12:36]
    assert np.abs(left).max() < 0.01 * star[0].max()
    fresh = made.difference(star[0], 0 * star[1])
    assert fresh.sum() == pytest.approx(1e4, rel=0.03), "flux is kept"
    if not proper:  # difference = science minus matched template (or matched science minus template)
        matched = made.difference(0 * star[0], -star[1]) if new >= old else star[1]
        assert np.allclose(made.difference(*star) + matched, fresh, atol=1)


@pytest.mark.parametrize("proper", [False, True])
def test_the_noise_of_each_pixel_is_right(proper: bool) -> None:
    made = filters(psf(5.0), psf(4.0), (np.array([100.0]), np.array([20.0])), proper, 32)
    random = np.random.default_rng(0)
    variance = np.full((400, 32, 32), 100, np.float32), np.full((400, 32, 32), 20, np.float32)
    variance[0][:, :, 20:] = 400  # a brighter part of the sky
    exposures = [np.sqrt(part) * random.standard_normal(part.shape, np.float32) for part in variance]
    deviations = made.difference(*exposures) / np.sqrt(made.variance(*variance))
    assert np.abs(deviations.std(axis=0) - 1).max() < 0.2
    assert deviations.std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("proper", [False, True])
def test_the_ratio_counts_noise_that_the_filters_correlate(proper: bool) -> None:
    made = filters(psf(4.0), psf(5.0), (np.array([100.0]), np.array([20.0])), proper, 32)
    random = np.random.default_rng(0)
    new, old = (level * random.standard_normal((2000, 32, 32), np.float32) for level in (10, 20**0.5))
    u, v = made.sums(made.psf)
    spread = 100 * (u**2).sum() + 20 * (v**2).sum()
    assert ratio(made.difference(new, old), made.psf, np.full(2000, spread)).std() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("camera", list(CAMERAS))
def test_blank_sky_deviates_by_one(camera: str) -> None:
    found = made(camera)
    blank = (found.column("stars") == 0) & (found.column("aside") == 0) & of_kind(found, "transient", "hot_pixel")
    border = found.images[blank][:, [0, 1, -2, -1], :, 3]
    border = border[np.isfinite(border) & (border != 0)]
    assert 1.4826 * np.median(np.abs(border)) == pytest.approx(1, abs=0.04)
    assert abs(np.median(border)) < 0.05


@pytest.mark.parametrize("camera", list(CAMERAS))
def test_the_measured_ratio_is_the_one_aimed_at(camera: str) -> None:
    found = made(camera)
    alone = (found.column("stars") == 0) & (found.column("aside") == 0) & (found.column("masked") == 0)
    pull = (found.column("snr") - found.column("snr_true"))[alone & of_kind(found, "transient")]
    assert len(pull) > 200
    assert abs(np.median(pull)) < 0.3
    assert 1.4826 * np.median(np.abs(pull - np.median(pull))) == pytest.approx(1, abs=0.3)


def test_the_ratio_channel_and_the_magnitude_mean_what_they_say() -> None:
    found = made()
    science, _, difference, ratios, noise = np.moveaxis(found.images, -1, 0)
    seen = np.isfinite(ratios) & (ratios != 0)
    assert np.allclose(difference[seen] / noise[seen], ratios[seen], rtol=1e-3, atol=1e-4)
    alone = (found.column("stars") == 0) & (found.column("aside") == 0) & (found.column("masked") == 0)
    bright = alone & of_kind(found, "transient") & (found.column("snr") > 40) & (found.column("sign") > 0)
    flux = 10 ** (-0.4 * (found.column("magnitude") - found.column("zero_point")))[bright]
    shown = difference[bright].sum(axis=(1, 2)) / flux
    assert np.median(shown) == pytest.approx(0.95, abs=0.05), "the stamp holds all but the wings"
    sky = np.median(science[bright], axis=(1, 2)) / found.column("sky")[bright]
    assert np.median(sky) == pytest.approx(1, abs=0.15)


def test_a_missing_pixel_is_left_out_of_the_ratio() -> None:
    ones, variance = np.ones((1, 3, 3)), np.array([9.0])
    assert ratio(ones, ones, variance)[0] == pytest.approx(3)
    holed = ones.copy()
    holed[0, 0, 0] = np.nan
    assert ratio(holed, ones, variance)[0] == pytest.approx(8 / np.sqrt(8))
    assert ratio(ones * np.nan, ones, variance)[0] == 0


# ------------------------------------------------------------------------------------------- what fools people


def brightest(found: Simulated, name: str, channel: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (m, 21, 21) of the difference in units of its noise, where the kind is bright and little else is there."""
    rows = of_kind(found, name) & (found.column("snr") > 15) & (found.column("aside") == 0)
    rows &= found.column("stars") <= 1
    return np.nan_to_num(found.images[rows][..., channel]), found.table[rows]


def test_every_kind_occurs_in_both_cameras() -> None:
    for camera in CAMERAS:
        counts = np.bincount(made(camera).column("kind").astype(int), minlength=len(KIND_NAMES))
        assert counts.min() > 20, dict(zip(KIND_NAMES, counts, strict=True))


def test_kinds_look_as_they_should() -> None:
    found = made(n=4000)
    middle = slice(6, 15)
    peak = {name: brightest(found, name)[0][:, middle, middle] for name in KIND_NAMES}
    lowest = {
        name: np.median(part.min(axis=(1, 2)) / part.max(axis=(1, 2))) for name, part in peak.items() if len(part)
    }
    assert lowest["dipole"] < -0.4, "two lobes of opposite sign"
    assert lowest["transient"] > -0.25, "one lobe"
    sharp = {
        name: np.median(part.max(axis=(1, 2)) / np.maximum(np.sort(part.reshape(len(part), -1))[:, -9], 1))
        for name, part in peak.items()
        if len(part)
    }
    assert sharp["hot_pixel"] > 3 * sharp["transient"], "sharper than the PSF"
    columns = brightest(found, "bad_column")[0]
    tall = np.maximum(np.median(columns, axis=1).max(axis=1), np.median(columns, axis=2).max(axis=1))
    assert np.mean(tall > 3) > 0.4, "whole columns or rows"
    edges = found.images[of_kind(found, "edge")]
    assert (np.isnan(edges[..., 2]) | (edges[..., 2] == 0)).any(axis=(1, 2)).mean() > 0.9
    assert np.isnan(edges[..., 2]).any(axis=(1, 2)).mean() > 0.4, (
        "missing pixels are NaN in most exposures, 0 in others"
    )
    trails = brightest(found, "trail")[0]
    assert np.mean((trails > 3).sum(axis=(1, 2)) > 20) > 0.8, "a trail crosses the stamp"
    dead = of_kind(found, "dead_pixel") & (found.column("sign") < 0) & (found.column("masked") == 0)
    deepest = found.images[dead][:, 8:13, 8:13, 0].min(axis=(1, 2)) / found.column("sky")[dead]
    assert np.median(deepest) < 0.6, "a hole in the science exposure"
    assert np.percentile(deepest, 5) > -2, "which a sky subtracted too much makes negative, but not by far"


def test_the_ratio_alone_tells_nothing() -> None:
    for camera in CAMERAS:
        found = made(camera)
        for share in (10, 25, 50, 75, 90):
            artifact, real = (np.percentile(found.column("snr")[found.labels == label], share) for label in (0, 1))
            assert artifact == pytest.approx(real, rel=0.25), (camera, share)


def test_a_forest_on_pixels_does_not_solve_it() -> None:
    forests = pytest.importorskip("sklearn.ensemble")
    found = made()
    pixels = np.nan_to_num(found.images[:, 3:18, 3:18, :4]).reshape(4000, -1)
    learned = np.arange(4000) < 2800
    forest = forests.RandomForestClassifier(40, min_samples_leaf=2, max_samples=0.6, random_state=0)
    forest.fit(pixels[learned], found.labels[learned])
    right = forest.predict(pixels[~learned]) == found.labels[~learned]
    snr = found.column("snr")[~learned]
    faint, bright = right[snr < 7].mean(), right[snr > 20].mean()
    assert 0.6 < faint < 0.86
    assert faint + 0.08 < bright <= 1


# ------------------------------------------------------------------------------------------- cost


def test_memory_stays_flat(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom estampa.data.read import build\n"
        "build('simulate', Path(sys.argv[1]), builder_options={'n': sys.argv[2]})\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for n in ("3000", "11000"):
        words = [sys.executable, "-c", code, str(tmp_path / f"{n}.h5"), n]
        peaks.append(int(subprocess.run(words, capture_output=True, text=True, check=True).stdout) / 1024)
    assert peaks[1] - peaks[0] < 25, f"{peaks} MiB for 21 and 78 MB of pixels"
