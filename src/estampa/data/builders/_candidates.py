"""What a candidate is made of: astrophysical sources, and the artifacts that are taken for them.

Each kind is a function of a Scene and gives a Term: pictures of the science and of the template exposure for unit
brightness, (n, side, side) float32 electrons, positive or negative. How bright it is follows later, from the
signal-to-noise ratio that the candidate is to have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from estampa.data.builders._sky import FWHM_OF_SIGMA, Array, Psf, axis, f32, point


@dataclass(frozen=True)
class Scene:
    """n candidates of one kind: where they lie, and the PSFs there."""

    random: np.random.Generator
    science: Psf
    template: Psf
    x: Array  #: of the candidate, pixels from the middle
    y: Array
    shift: Array  #: (2, n) of the template against the science exposure, in x and y, pixels
    border: Array  #: (2, n) direction of the detector's border, radians, and its distance behind the candidate, pixels
    aim: Array  #: signal-to-noise ratio that each candidate is to have
    side: int

    @property
    def n(self) -> int:
        """How many."""
        return len(self.x)

    def uniform(self, low: float, high: float) -> Array:
        """Draw (n,) float32."""
        return self.random.uniform(low, high, self.n).astype(np.float32)

    def between(self, low: float, high: float) -> Array:
        """Draw (n,) float32, even in the logarithm."""
        return f32(np.exp(self.uniform(np.log(low), np.log(high))))

    def error(self, low: float, high: float) -> Array:
        """Draw (n,) the size of an error, larger where much is to be left: no star is brighter than a full well."""
        return f32(self.between(low, high) * np.clip(np.sqrt(self.aim / 15), 0.6, 2))

    def often(self, share: float) -> Array:
        """Draw (n,) bool."""
        return self.random.random(self.n) < share

    def new(self, flux: Array | float = 1.0) -> Array:
        """Stars of `flux` (n,) where the candidates are, in the science exposure."""
        return point(self.science, self.x, self.y, flux, self.side)

    def old(self, flux: Array | float = 1.0, at: tuple[Array, Array] | None = None) -> Array:
        """Stars of `flux` (n,) where the candidates are, or `at`, in the template."""
        x, y = at or (self.x, self.y)
        return point(self.template, x + self.shift[0], y + self.shift[1], flux, self.side)

    def place(self) -> tuple[Array, Array]:
        """Distances of each pixel from each candidate along x (n, 1, side) and y (n, side, 1)."""
        return (
            axis(self.side)[None, None, :] - self.x[:, None, None],
            axis(self.side)[None, :, None] - self.y[:, None, None],
        )  # fmt: skip

    def turned(self, angle: Array) -> tuple[Array, Array]:
        """Distances along and across the direction `angle` (n,), (n, side, side) each."""
        dx, dy = self.place()
        cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
        return dx * cosine + dy * sine, dy * cosine - dx * sine


NOTHING = np.zeros((1, 1, 1), np.float32)


@dataclass(frozen=True)
class Term:
    """Pictures of unit brightness of both exposures, (n, side, side), or (1, 1, 1) zero where there is nothing."""

    science: Array
    template: Array = field(default_factory=lambda: NOTHING)


def _swapped(term: Term, swap: Array) -> Term:
    """Exchange science and template of the rows `swap`: what was in one exposure is in the other."""
    chosen, science, template = swap[:, None, None], term.science, term.template
    return Term(np.where(chosen, template, science), np.where(chosen, science, template))


# ------------------------------------------------------------------------------------------- astrophysical


def transient(scene: Scene) -> Term:
    """A new point source; one in twenty has faded away instead."""
    gone = scene.often(0.05)
    return Term(scene.new(~gone), scene.old(gone))


def variable(scene: Scene) -> Term:
    """A star of both exposures that is brighter in one of them, by 3 % to 3 times."""
    ratio = scene.between(0.3, 30)
    brighter = np.where(scene.often(0.6), ratio + 1, ratio)
    return Term(scene.new(brighter), scene.old(2 * ratio + 1 - brighter))


def moving(scene: Scene) -> Term:
    """A minor planet that moves by at most 0.6 of the seeing during the exposure."""
    way, angle = 0.6 * scene.science.fwhm * scene.uniform(0, 1) ** 2, scene.uniform(0, 2 * np.pi)
    steps = [
        point(scene.science, scene.x + at * way * np.cos(angle), scene.y + at * way * np.sin(angle), 1 / 3, scene.side)
        for at in (-0.5, 0.0, 0.5)
    ]
    return Term(steps[0] + steps[1] + steps[2])


# ------------------------------------------------------------------------------------------- bad subtractions


def dipole(scene: Scene) -> Term:
    """A star that the registration misplaces; the candidate is its positive lobe."""
    way, angle = scene.science.fwhm * scene.error(0.03, 0.3), scene.uniform(0, 2 * np.pi)
    lobe = scene.science.fwhm * scene.uniform(0.25, 0.6)
    ux, uy = np.cos(angle), np.sin(angle)
    x, y = scene.x - lobe * ux, scene.y - lobe * uy
    return Term(point(scene.science, x + way * ux, y + way * uy, 1.0, scene.side), scene.old(at=(x, y)))


def mismatch(scene: Scene) -> Term:
    """A star whose PSF is not the exposure's: narrower, wider or of another shape by some per cent."""
    wide = 1 + scene.error(0.02, 0.2) * np.where(scene.often(0.6), -1, 1)
    size, angle = scene.error(0.01, 0.08), scene.uniform(0, 2 * np.pi)
    psf = scene.science.changed(wide, size * np.cos(angle), size * np.sin(angle))
    turn, away = scene.uniform(0, 2 * np.pi), scene.science.fwhm * 0.3 * scene.uniform(0, 1)
    x, y = scene.x + away * np.cos(turn), scene.y + away * np.sin(turn)
    return Term(point(psf, x, y, 1.0, scene.side), scene.old(at=(x, y)))


def ringing(scene: Scene) -> Term:
    """A star whose template rings, as resampling and deconvolving kernels make it: ripples along rows or columns."""
    dx, dy = scene.place()
    tilt, along = scene.random.normal(0, 0.15, scene.n).astype(np.float32)[:, None, None], scene.often(0.5)
    way = np.where(along[:, None, None], dx + tilt * dy, dy + tilt * dx)
    period = np.maximum(scene.science.fwhm * scene.uniform(0.7, 1.3), 2)[:, None, None]
    wave = np.cos(2 * np.float32(np.pi) * way / period)
    strength = scene.error(0.03, 0.25) * np.where(scene.often(0.5), -1, 1).astype(np.float32)
    return Term(scene.new(), scene.old() * (1 + strength[:, None, None] * wave))


# ------------------------------------------------------------------------------------------- detector and sky


def cosmic_ray(scene: Scene) -> Term:
    """Electrons that a charged particle frees along its way: a sharp spot or track, straight or scattered."""
    angle, length = scene.uniform(0, 2 * np.pi), scene.between(0.4, 14)
    along, across = scene.turned(angle)
    begin = (-length * scene.uniform(0.1, 0.9))[:, None, None]
    bend = np.where(scene.often(0.3), scene.random.normal(0, 0.05, scene.n), 0).astype(np.float32)[:, None, None]
    width = scene.uniform(0.35, 0.65)[:, None, None]
    inside = np.clip(along - begin + 0.5, 0, 1) * np.clip(begin + length[:, None, None] - along + 0.5, 0, 1)
    across = across - bend * along * along
    track = inside * np.exp(-0.5 * (across / width) ** 2)
    track *= np.exp(0.35 * scene.random.standard_normal(track.shape, np.float32))  # energy loss fluctuates
    return _swapped(Term(track), scene.often(0.12))


def _spots(scene: Scene) -> Array:
    """One to five touching pixels about the candidate's nearest pixel; half of them smeared by resampling."""
    middle = scene.side // 2
    out: Array = np.zeros((scene.n, scene.side, scene.side), np.float32)
    row, column = (np.clip(np.rint(at).astype(int) + middle, 0, scene.side - 1) for at in (scene.y, scene.x))
    every, count = np.arange(scene.n), scene.random.integers(1, 6, scene.n)
    count[scene.often(0.5)] = 1
    for number in range(5):
        more = number < count
        out[every[more], row[more], column[more]] += scene.uniform(0.3, 1.0)[more] if number else 1.0
        step = scene.random.integers(-1, 2, (2, scene.n))
        row, column = np.clip(row + step[0], 0, scene.side - 1), np.clip(column + step[1], 0, scene.side - 1)
    smear = f32(np.where(scene.often(0.5), scene.uniform(0.1, 0.5), 0))[:, None, None]
    for way in (1, 2):
        out = (1 - smear) * out + smear * np.roll(out, 1, axis=way)
    return out


def hot_pixel(scene: Scene) -> Term:
    """Pixels with too much dark current."""
    return _swapped(Term(_spots(scene)), scene.often(0.1))


def dead_pixel(scene: Scene) -> Term:
    """Holes, also in the template: pixels that do not answer, or patches that a flat field does not mend."""
    dx, dy = scene.place()
    far = np.sqrt(dx * dx + dy * dy) / (scene.science.fwhm * scene.between(0.15, 1.0))[:, None, None]
    patch = f32(np.clip(4 - 4 * far, 0, 1)) * (1 + 0.1 * scene.random.standard_normal(far.shape, np.float32))
    hole = np.where(scene.often(0.4)[:, None, None], _spots(scene), patch)
    return _swapped(Term(-hole), scene.often(0.2))


def bad_column(scene: Scene) -> Term:
    """One to three columns (or rows) that are too bright or too dark, whole or from some row on."""
    dx, dy = scene.place()
    lying = scene.often(0.2)[:, None, None]
    across, along = np.where(lying, dy, dx), np.where(lying, dx, dy)
    width = scene.random.choice([0.5, 0.5, 1.0, 1.5], scene.n).astype(np.float32)[:, None, None]
    whole = scene.often(0.5)
    start = np.where(whole, -scene.side, -8 * scene.uniform(0, 1) ** 2)[:, None, None]
    strip = ((np.abs(across) <= width) & (along >= start)).astype(np.float32)
    strip = np.where(scene.often(0.5)[:, None, None], strip, strip[:, ::-1])
    strip *= np.where(scene.often(0.6), 1, -1).astype(np.float32)[:, None, None]
    return _swapped(Term(strip), scene.often(0.25))


def trail(scene: Scene) -> Term:
    """A satellite or aeroplane that crosses the stamp, as wide as the seeing or out of focus."""
    angle, wide = scene.uniform(0, np.pi), scene.science.fwhm / np.float32(FWHM_OF_SIGMA)
    sigma = wide * np.where(scene.often(0.25), scene.uniform(1.2, 2.5), 1)
    along, across = scene.turned(angle)
    across = across - (wide * scene.uniform(-0.8, 0.8))[:, None, None]
    line = np.exp(-0.5 * (across / sigma[:, None, None]) ** 2)
    ends = np.where(scene.often(0.15), scene.uniform(-3, 1), -4.0 * scene.side).astype(np.float32)[:, None, None]
    glint = 1 + 0.5 * np.sin(along / scene.uniform(2, 8)[:, None, None] + scene.uniform(0, 6)[:, None, None])
    line *= np.clip(along - ends, 0, 1) * np.where(scene.often(0.2)[:, None, None], glint, 1)
    return _swapped(Term(line), scene.often(0.05))


def bleed(scene: Scene) -> Term:
    """Charge of a saturated star that runs along its column, further in one exposure than in the other."""
    dx, dy = scene.place()
    lying = scene.often(0.15)[:, None, None]
    across, along = np.where(lying, dy, dx), np.where(lying, dx, dy)
    half = scene.uniform(2, 14)[:, None, None]
    width = scene.uniform(0.4, 1.4)[:, None, None]
    taper = np.clip((half - np.abs(along - scene.uniform(-6, 6)[:, None, None])) / 3, 0, 1)
    column = taper * np.exp(-(np.abs(across / width) ** 3))
    rough = 1 + 0.3 * scene.random.standard_normal(column.shape[:2], np.float32)[:, :, None]
    return _swapped(Term(f32(column * rough)), scene.often(0.3))


def edge(scene: Scene) -> Term:
    """Light that the border of the detector or of a mask leaves: a glow along it, in lumps."""
    angle, away = scene.border
    along, across = scene.turned(angle)
    depth = (across + away[:, None, None]) / scene.between(0.7, 3)[:, None, None]
    lump = np.exp(-0.5 * (along / scene.between(1.0, 8)[:, None, None]) ** 2)
    glow = np.where(depth > 0, np.exp(-np.maximum(depth, 0)), 0) * lump
    return _swapped(Term(f32(glow)), scene.often(0.3))


def ghost(scene: Scene) -> Term:
    """Part of the out-of-focus ring that a bright star's reflections make."""
    angle, radius = scene.uniform(0, 2 * np.pi), scene.between(3, 25)
    dx, dy = scene.place()
    dx = dx - (radius * np.cos(angle))[:, None, None]
    dy = dy - (radius * np.sin(angle))[:, None, None]
    far = np.sqrt(dx * dx + dy * dy)
    thick = (0.3 * scene.science.fwhm + scene.uniform(0.5, 3))[:, None, None]
    ring = np.exp(-0.5 * ((far - radius[:, None, None]) / thick) ** 2)
    disc = scene.uniform(0, 0.6)[:, None, None] / (1 + np.exp((far - radius[:, None, None]) / 0.7))
    return _swapped(Term(f32(np.maximum(ring, disc))), scene.often(0.2))


def noise(scene: Scene) -> Term:
    """A peak of the noise: random pixels about the middle whose mean is not zero, correlated over less than the PSF."""
    white = scene.random.standard_normal((scene.n, scene.side, scene.side), np.float32)
    share = scene.uniform(0, 0.7)[:, None, None]
    for way in (1, 2):
        white = white + share * (np.roll(white, 1, axis=way) + np.roll(white, -1, axis=way))
    window = scene.new()
    return Term((white * 0.6 + 1) * window / window.max(axis=(1, 2), keepdims=True) ** np.float32(0.5))


@dataclass(frozen=True)
class Kind:
    """One kind of candidate."""

    name: str
    what: str
    make: Callable[[Scene], Term]
    real: bool
    share: float  #: of its class
    brightest: float = np.inf  #: signal-to-noise ratio above which it does not occur


#: In the order of the numbers in the column `kind`.
KINDS = (
    Kind("transient", "a new point source on blank sky", transient, True, 0.36),
    Kind("host", "a new point source on a galaxy", transient, True, 0.34),
    Kind("variable", "a star that changed", variable, True, 0.22),
    Kind("moving", "a minor planet", moving, True, 0.08),
    Kind("dipole", "a star misplaced by the registration", dipole, False, 0.18),
    Kind("mismatch", "a star whose PSF was not matched", mismatch, False, 0.17),
    Kind("ringing", "a star in a template resampled badly", ringing, False, 0.07),
    Kind("cosmic_ray", "a cosmic ray, spot or track", cosmic_ray, False, 0.15),
    Kind("hot_pixel", "hot pixels", hot_pixel, False, 0.08),
    Kind("dead_pixel", "dead pixels", dead_pixel, False, 0.06, 15.0),
    Kind("bad_column", "bad columns", bad_column, False, 0.05),
    Kind("trail", "a satellite's trail", trail, False, 0.05),
    Kind("bleed", "the bleeding column of a saturated star", bleed, False, 0.04),
    Kind("edge", "the border of the detector or of a mask", edge, False, 0.05),
    Kind("ghost", "a ghost of a bright star", ghost, False, 0.04),
    Kind("noise", "a peak of the noise", noise, False, 0.06, 7.0),
)
