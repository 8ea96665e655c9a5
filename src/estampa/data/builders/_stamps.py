"""Stamps of the simulated survey, a batch of exposures at a time: a seed and a batch's number always give the same."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from estampa.data.builders._cameras import CAMERAS, Camera
from estampa.data.builders._candidates import KINDS, Scene, Term, bad_column, cosmic_ray, hot_pixel, trail
from estampa.data.builders._sky import Array, Galaxies, Psf, at_origin, backward, f32, point, shifts
from estampa.data.builders._subtract import Filters, filters, ratio, summed

VERSION = 1  #: of the pixels: raised when the same options give others
FIELD = 40  #: stamps of one exposure
FIELDS = 5  #: exposures of a batch, which is made at once
BATCH = FIELD * FIELDS
MARGIN = 11  #: pixels that an exposure is larger than its stamp, so that filters see what lies around
CHANNELS = ("science", "template", "difference", "snr_difference", "noise")
COLUMNS = (
    *("seeing_science", "seeing_template", "kind", "snr", "snr_true", "magnitude", "x", "y", "sign", "host"),
    *("sky", "noise_science", "noise_template", "noise_difference", "coadd", "shift_x", "shift_y", "stars"),
    *("aside", "masked", "zero_point"),
)
REAL = np.array([kind.real for kind in KINDS])
EDGE, HOST = (next(i for i, kind in enumerate(KINDS) if kind.name == name) for name in ("edge", "host"))


@dataclass(frozen=True)
class Survey:
    """What is simulated. `real` is the share of the class real, `snr` the range of signal-to-noise ratios."""

    seed: int = 0
    size: int = 21
    camera: str = "decam"
    real: float = 0.5
    snr: tuple[float, float] = (4.0, 100.0)

    @property
    def side(self) -> int:
        """Pixels of the side of the exposures that stamps are cut from: even, and quick to transform."""
        least = self.size + MARGIN
        return next(n for n in range(least + least % 2, 2 * least, 2) if _smooth(n))


@dataclass(frozen=True)
class Batch:
    """BATCH rows: pixels (BATCH, size, size, channels) float32 and the truth (BATCH, columns) float64."""

    images: Array
    truth: Array


@dataclass(frozen=True)
class _Exposures:
    """Science and template exposures, one value a stamp; levels in electrons of the science exposure."""

    science: Psf
    template: Psf
    filters: Filters  #: of each exposure, not of each stamp
    sums: tuple[Array, Array]  #: of each exposure, see Filters.sums: for its PSF within the stamp
    deviation: Array  #: of an empty pixel of the difference
    sky: Array
    noise: Array  #: (2, n) variance of an empty pixel, science and template
    reach: Array  #: flux whose signal-to-noise ratio is 1 on blank sky
    coadd: Array
    crowd: Array  #: expected stars of a stamp and its surroundings
    blank: Array  #: what missing pixels hold: NaN or 0


def _smooth(number: int) -> bool:
    for prime in (2, 3, 5):
        while number % prime == 0:
            number //= prime
    return number == 1


def labels_of(survey: Survey, batch: int) -> tuple[Array, Array, Array]:
    """Labels (BATCH,) int64, 1 = real; kinds (BATCH,), indices of KINDS; signal-to-noise ratios aimed at (BATCH,)."""
    random = np.random.default_rng([survey.seed, batch, 0])
    turn = random.permutation(BATCH) + random.random()  # nearly the asked share in every batch
    labels = (turn / BATCH < survey.real).astype(np.int64)
    low, high = survey.snr
    aim = low * (high / low) ** (random.random(BATCH) ** 2)
    kinds = np.empty(BATCH, np.int64)
    limits = sorted({0.0, np.inf, *(kind.brightest for kind in KINDS)})
    for least, most in itertools.pairwise(limits):
        for label in (0, 1):
            rows = np.flatnonzero((labels == label) & (aim >= least) & (aim < most))
            share = np.array([kind.share * (kind.real == label and kind.brightest >= most) for kind in KINDS])
            kinds[rows] = random.choice(len(KINDS), len(rows), p=share / share.sum())
    return labels, kinds, aim


def make(survey: Survey, batch: int) -> Batch:
    """Make one batch of `survey`, all channels."""
    camera, side = CAMERAS[survey.camera], survey.side
    _, kinds, aim = labels_of(survey, batch)
    random = np.random.default_rng([survey.seed, batch, 1])
    exposures = _expose(camera, random, side, survey.size)
    scene = _scene(camera, exposures, aim, random, side)
    sky_science, sky_template, stars, host = _field(camera, exposures, scene, kinds, random)
    term = _candidates(scene, kinds)
    bright, sign, expected, flux = _brightness(camera, term, aim, exposures, (sky_science, sky_template))
    sky_science += bright[:, None, None] * term.science
    sky_template += bright[:, None, None] * term.template
    scale = f32(random.normal(1, 0.005, BATCH))
    sky_template *= scale[:, None, None]
    aside = _aside(sky_science, scene, exposures, random)
    *pictures, spread = _observe(camera, exposures, (sky_science, sky_template), random)
    science, template, difference, variance = (_cut(picture, survey.size) for picture in pictures)
    difference += _background(exposures, random, survey.size)
    difference *= sign[:, None, None]
    missing = _missing(scene, kinds, survey.size, random)
    for number, picture in enumerate((science, template, difference, variance)):
        gone = missing[1] if number == 1 else missing[0]
        picture[gone] = np.nan
    snr = ratio(difference, np.repeat(_cut(exposures.filters.psf, survey.size), FIELD, axis=0), spread)
    images = _channels(camera, science, template, difference, variance)
    holes = np.isnan(images) & (exposures.blank == 0)[:, None, None, None]
    images[holes] = 0
    flux = np.where(REAL[kinds], bright, flux)
    truth = {
        "seeing_science": exposures.science.fwhm * camera.pixel_scale,
        "seeing_template": exposures.template.fwhm * camera.pixel_scale,
        "kind": kinds, "snr": snr, "snr_true": expected, "x": scene.x, "y": scene.y, "sign": sign, "host": host,
        "magnitude": camera.zero_point - 2.5 * np.log10(np.maximum(flux, 1e-9)),
        "sky": exposures.sky / camera.gain, "coadd": exposures.coadd, "shift_x": scene.shift[0],
        "noise_science": np.sqrt(exposures.noise[0]) / camera.gain,
        "noise_template": np.sqrt(exposures.noise[1]) / camera.gain,
        "noise_difference": exposures.deviation / camera.gain,
        "shift_y": scene.shift[1], "stars": stars, "aside": aside, "masked": missing[0].mean(axis=(1, 2)),
        "zero_point": np.full(BATCH, camera.zero_point - 2.5 * np.log10(camera.gain)),
    }  # fmt: skip
    return Batch(images, np.stack([np.asarray(truth[name], np.float64) for name in COLUMNS], axis=1))


# ------------------------------------------------------------------------------------------- exposures


def _expose(camera: Camera, random: np.random.Generator, side: int, size: int) -> _Exposures:
    """Draw FIELDS pairs of exposures, and make the filters that subtract them."""
    seeing = camera.seeing * np.exp(random.normal(0, camera.seeing_spread, FIELDS)) / camera.pixel_scale
    seeing = np.clip(seeing, 1.6, side / 4)
    older = np.clip(seeing * np.exp(random.normal(-0.12, 0.13, FIELDS)), 1.6, side / 4)
    science, template = (_psf(width, random) for width in (seeing, older))
    coadd = random.integers(camera.coadd[0], camera.coadd[1] + 1, FIELDS)
    sky = camera.sky * np.exp(random.normal(0, camera.sky_spread, (2, FIELDS)))
    noise = sky + camera.read_noise**2
    noise[1] /= coadd
    made = filters(science, template, (noise[0], noise[1]), camera.proper, side)
    empty = np.ones((FIELDS, side, side), np.float32)
    variance = made.variance(empty * noise[0][:, None, None], empty * noise[1][:, None, None]).mean(axis=(1, 2))
    reach = np.sqrt(variance / np.sum(made.psf**2, axis=(1, 2)))
    rows = np.repeat(np.arange(FIELDS), FIELD)
    crowd = np.exp(random.normal(-0.3, 0.8, FIELDS))
    blank = np.where(random.random(FIELDS) < 0.7, np.nan, 0.0)
    window = _window(made.psf, size)
    return _Exposures(
        science.take(rows), template.take(rows), made, made.sums(window),
        np.sqrt(variance)[rows], f32(sky[0][rows]), f32(noise[:, rows]),
        f32(reach[rows]), coadd[rows], crowd[rows], blank[rows],
    )  # fmt: skip


def _psf(width: Array, random: np.random.Generator) -> Psf:
    count = len(width)
    size, angle = np.minimum(random.rayleigh(0.03, count), 0.15), random.uniform(0, 2 * np.pi, count)
    beta = random.uniform(2.5, 4.5, count)
    return Psf(*(f32(part) for part in (width, beta, size * np.cos(angle), size * np.sin(angle))))


def _scene(camera: Camera, exposures: _Exposures, aim: Array, random: np.random.Generator, side: int) -> Scene:
    """Where candidates lie and how their PSFs, and the registration there, deviate from their exposures'."""
    fainter = 0.25 + exposures.science.fwhm / 2.35 / aim  # centroids of faint sources scatter more
    x, y = np.clip(random.normal(0, fainter, (2, BATCH)), -1.5, 1.5)
    wobble = random.normal(0, 1, (6, BATCH))
    return Scene(
        random=random,
        science=exposures.science.changed(1 + 0.01 * wobble[0], 0.006 * wobble[1], 0.006 * wobble[2]),
        template=exposures.template.changed(1 + 0.005 * wobble[3], 0.003 * wobble[4], 0.003 * wobble[5]),
        x=f32(x), y=f32(y),
        shift=f32(random.normal(0, camera.registration, (2, BATCH))), aim=aim,
        border=f32(np.stack([random.integers(0, 4, BATCH) * np.pi / 2, random.uniform(0.5, 6, BATCH)])),
        side=side,
    )  # fmt: skip


def _some(scene: Scene, rows: Array) -> Scene:
    return Scene(
        scene.random, scene.science.take(rows), scene.template.take(rows), scene.x[rows], scene.y[rows],
        scene.shift[:, rows], scene.border[:, rows], scene.aim[rows], scene.side,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------- the sky


def _field(
    camera: Camera, exposures: _Exposures, scene: Scene, kinds: Array, random: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Stars and galaxies beside the candidate in both exposures, how many stars, and which stamps have a host."""
    side = scene.side
    science, template = np.zeros((2, BATCH, side, side), np.float32)
    stars = random.poisson(exposures.crowd)
    for number in range(int(stars.max())):
        rows = np.flatnonzero(stars > number)
        x, y = random.uniform(-side / 2, side / 2, (2, len(rows)))
        # Numbers rise by 0.32 dex a magnitude: cumulative counts as flux to the power -0.8.
        flux = exposures.reach[rows] * 1.5 * np.minimum(random.random(len(rows)) ** -1.25, 1e5)
        here = _some(scene, rows)
        science[rows] += point(here.science, x, y, flux, side)
        template[rows] += here.old(flux, at=(f32(x), f32(y)))
    near = (kinds == HOST) | ((random.random(BATCH) < 0.25) & ~REAL[kinds])
    rows = np.flatnonzero(near | (random.random(BATCH) < 0.2))
    science_light, template_light = _galaxies(camera, exposures, _some(scene, rows), rows, near[rows])
    science[rows] += science_light
    template[rows] += template_light
    return science, template, stars, near


def _galaxies(camera: Camera, exposures: _Exposures, scene: Scene, rows: Array, near: Array) -> tuple[Array, Array]:
    """One galaxy for each of `rows`, through both PSFs; those `near` have the candidate within their light."""
    random, side = scene.random, scene.side
    radius = np.maximum(scene.between(0.35, 2.5) / camera.pixel_scale, 0.3)
    away = np.where(
        near, 0.8 * (radius + 1) * np.abs(random.normal(0, 1, scene.n)), random.uniform(3, side / 2, scene.n)
    )
    turn, size, angle = scene.uniform(0, 2 * np.pi), 0.45 * scene.uniform(0, 1), scene.uniform(0, 2 * np.pi)
    waves = Galaxies(
        *(f32(part) for part in (
            scene.x + away * np.cos(turn), scene.y + away * np.sin(turn), exposures.reach[rows] * scene.between(3, 400),
            radius, scene.often(0.65), size * np.cos(angle), size * np.sin(angle),
        ))
    ).transform(side)  # fmt: skip
    seen = at_origin(scene.template, side) * shifts(scene.shift[0], scene.shift[1], side)
    return backward(waves * at_origin(scene.science, side), side), backward(waves * seen, side)


def _candidates(scene: Scene, kinds: Array) -> Term:
    """Pictures of every candidate for unit brightness, by its kind."""
    science, template = np.zeros((2, BATCH, scene.side, scene.side), np.float32)
    for number, kind in enumerate(KINDS):
        rows = np.flatnonzero(kinds == number)
        if len(rows):
            term = kind.make(_some(scene, rows))
            science[rows] = term.science
            template[rows] = term.template
    return Term(science, template)


def _brightness(
    camera: Camera, term: Term, aim: Array, exposures: _Exposures, light: tuple[Array, Array]
) -> tuple[Array, Array, Array, Array]:
    """Brightness at which each candidate has the signal-to-noise ratio `aim`, as far as it can be so bright.

    Also the sign of its difference, the ratio that follows, and the flux of a point source that would leave as much.
    Signal and variance of the difference summed with its PSF are linear in the brightness f, f s and v + f w, so that
    f s / sqrt(v + f w) = aim is a quadratic equation in f.
    """
    new, old = exposures.sums
    signal = (summed(new, term.science) - summed(old, term.template)).astype(np.float64)
    new, old = new**2, old**2
    even = exposures.noise[0] * np.repeat(new.sum(axis=(1, 2)), FIELD)
    even += exposures.noise[1] * np.repeat(old.sum(axis=(1, 2)), FIELD)
    fixed = np.maximum(even + summed(new, light[0]) + summed(old, light[1]) / exposures.coadd, 1e-3)
    own = summed(new, np.maximum(term.science, 0)) + summed(old, np.maximum(term.template, 0)) / exposures.coadd
    square = np.maximum(signal**2, 1e-12)
    half = aim**2 * own / (2 * square)
    bright = np.minimum(half + np.sqrt(half**2 + aim**2 * fixed / square), _most(camera, term, exposures.sky))
    left = np.abs(signal) * bright
    flux = left / np.repeat(np.sum(exposures.filters.psf**2, axis=(1, 2)), FIELD)
    return f32(bright), np.where(signal < 0, -1, 1).astype(np.float32), left / np.sqrt(fixed + bright * own), flux


def _most(camera: Camera, term: Term, sky: Array) -> Array:
    """The most that a candidate can have: a full well, or for holes half more than the sky, (BATCH,)."""
    highest = np.maximum(term.science, term.template).max(axis=(1, 2), initial=1e-9)
    deepest = -np.minimum(term.science, term.template).min(axis=(1, 2), initial=-1e-9)
    most: Array = np.minimum(camera.full_well / highest, 1.5 * sky / deepest)
    return most


def _aside(science: Array, scene: Scene, exposures: _Exposures, random: np.random.Generator) -> Array:
    """Put what also happens on good stamps beside the candidate; which stamps have some, (BATCH,) bool."""
    touched = np.zeros(BATCH, bool)
    for make_term, share in ((cosmic_ray, 0.04), (hot_pixel, 0.025), (bad_column, 0.015), (trail, 0.006)):
        rows = np.flatnonzero(random.random(BATCH) < share)
        if not len(rows):
            continue
        some = _some(scene, rows)
        away, turn = random.uniform(4, scene.side / 2, len(rows)), random.uniform(0, 2 * np.pi, len(rows))
        there = Scene(
            random, some.science, some.template, f32(away * np.cos(turn)), f32(away * np.sin(turn)),
            some.shift, some.border, some.aim, some.side,
        )  # fmt: skip
        term = make_term(there)
        strength = np.sqrt(exposures.noise[0][rows]) * there.between(3, 60)
        science[rows] += strength[:, None, None] * term.science
        touched[rows] = True
    return touched


# ------------------------------------------------------------------------------------------- what is observed


def _observe(
    camera: Camera, exposures: _Exposures, light: tuple[Array, Array], random: np.random.Generator
) -> tuple[Array, Array, Array, Array, Array]:
    """Science, template, difference and its variance, electrons, from the light above the sky in both exposures.

    The last is the variance (BATCH,) of the difference summed with the PSF.
    """
    well, ones = np.float32(camera.full_well), np.ones(BATCH, np.float32)
    new, new_variance = _noisy(light[0], exposures, 0, ones, random, well)
    old, old_variance = _noisy(light[1], exposures, 1, f32(exposures.coadd), random, well)
    spread = summed(exposures.sums[0] ** 2, new_variance) + summed(exposures.sums[1] ** 2, old_variance)
    difference = exposures.filters.difference(new, old)
    variance = exposures.filters.variance(new_variance, old_variance)
    np.maximum(variance, 1e-3, out=variance)
    level = f32(random.normal(1, 0.02, BATCH)) * exposures.sky
    new += exposures.sky[:, None, None]
    old += level[:, None, None]
    return np.minimum(new, well), np.minimum(old, well), difference, variance, spread


def _noisy(
    light: Array, exposures: _Exposures, which: int, coadd: Array, random: np.random.Generator, well: np.float32
) -> tuple[Array, Array]:
    """`light` above the sky, up to the full well, with noise; and the variance of that noise.

    Photon noise is drawn from a normal distribution: with a hundred electrons of sky and more, a Poisson one differs
    by a skewness of about 0.1.
    """
    sky = exposures.sky[:, None, None]
    light += sky
    np.minimum(light, well, out=light)
    variance: Array = np.maximum(light, 0)
    if which:
        variance /= coadd[:, None, None]
    variance += f32(exposures.noise[which] - exposures.sky / coadd)[:, None, None]
    np.maximum(variance, 0.01, out=variance)
    noise = random.standard_normal(light.shape, np.float32)
    noise *= np.sqrt(variance)
    noise += light
    noise -= sky
    return noise, variance


def _background(exposures: _Exposures, random: np.random.Generator, side: int) -> Array:
    """What the background's subtraction leaves: an offset and a slope, a small part of the noise."""
    scale = np.sqrt(exposures.noise[0])[:, None, None]
    offset, across, along = f32(random.normal(0, 1, (3, BATCH, 1, 1)))
    ramp = (np.arange(side, dtype=np.float32) - side // 2) / side
    left: Array = scale * (0.05 * offset + 0.15 * (across * ramp[None, None, :] + along * ramp[None, :, None]))
    return left


def _missing(scene: Scene, kinds: Array, size: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Pixels beyond the detector's border or masked, of science and difference, of template: (BATCH, size, size)."""
    dx, dy = scene.place()
    cosine, sine = (np.round(part)[:, None, None] for part in (np.cos(scene.border[0]), np.sin(scene.border[0])))
    beyond = _cut(dy * cosine - dx * sine < -scene.border[1][:, None, None], size)
    # A mask over a bright star is a rectangle that reaches in from one side.
    place = (np.arange(size) + 0.5) / size
    depth, begin, span = (random.uniform(low, high, (BATCH, 1)) for low, high in ((0.05, 0.4), (-0.4, 1.0), (0.3, 1.4)))
    mask = (place < depth)[:, :, None] & ((place > begin) & (place < begin + span))[:, None, :]
    mask = np.where((random.random(BATCH) < 0.5)[:, None, None], mask, mask[:, ::-1])
    mask = np.where((random.random(BATCH) < 0.5)[:, None, None], mask, mask.swapaxes(1, 2))
    mask &= (random.random(BATCH) < 0.035)[:, None, None]
    new = np.where((kinds == EDGE)[:, None, None], beyond, mask)
    return new, new & (random.random(BATCH) < 0.75)[:, None, None]


def _window(psf: Array, size: int) -> Array:
    """`psf` within the stamp, zero around it."""
    out, start = np.zeros_like(psf), psf.shape[-1] // 2 - size // 2
    inner = slice(start, start + size)
    out[:, inner, inner] = psf[:, inner, inner]
    return out


def _cut(pictures: Array, size: int) -> Array:
    """The middle (n, size, size), so that pixel size // 2 is the middle one, copied."""
    start = pictures.shape[-1] // 2 - size // 2
    return pictures[:, start : start + size, start : start + size].copy()


def _channels(camera: Camera, science: Array, template: Array, difference: Array, variance: Array) -> Array:
    """CHANNELS on the last axis, in ADU but for the ratio."""
    deviation = np.sqrt(variance)
    gain = np.float32(1 / camera.gain)
    return np.stack(
        [science * gain, template * gain, difference * gain, difference / deviation, deviation * gain], axis=-1
    ).astype(np.float32, copy=False)
