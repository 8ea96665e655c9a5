"""The light of simulated galaxies as colour pictures of a sky survey show it. Arrays in, arrays out; no files.

Lengths are in units of the galaxy's R90, the radius that holds nine tenths of its light, as in the pictures of Galaxy
Zoo 2, whose pixel is 0.02 R90 (Willett et al. 2013, MNRAS 435, 2835, section 2). Brightness profiles: Sersic 1963 with
the constant of Ciotti & Bertin 1999 (A&A 352, 447, equation 18); spiral arms: logarithmic, of one to four arms, pitch 9
to 34 degrees. Colours: the asinh composition of Lupton et al. 2004 (PASP 116, 133). Every range below is a round number
chosen so that the pictures look like the survey's; none was fitted to labelled galaxies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
KINDS = ("elliptical", "disc", "edge_on", "spiral_anticlockwise", "spiral_clockwise", "merger", "artifact")
#: Share of each kind, in the order of KINDS.
SHARES = (0.2, 0.12, 0.16, 0.16, 0.16, 0.12, 0.08)
VERSION = 1  #: of what is simulated: figures of another version are of other pictures
BATCH = 64  #: galaxies drawn together: each batch has random numbers of its own
_SIGMA = 1 / 2.3548  # standard deviation of a Gaussian, in full widths at half maximum


@dataclass(frozen=True)
class Frame:
    """Pictures of `size` pixels a side that show `width` R90 of sky."""

    size: int
    width: float

    @property
    def pixel(self) -> float:
        """R90 per pixel."""
        return self.width / self.size

    def grid(self) -> tuple[Array, Array]:
        """Give x (to the right) and y (downwards) of the pixels' centres, (1, size, size) float32, 0 in the middle."""
        axis = ((np.arange(self.size) + 0.5) * self.pixel - self.width / 2).astype(np.float32)
        return axis[None, None, :], axis[None, :, None]


def kinds_of(seed: int, number: int) -> NDArray[np.int64]:
    """The kinds of batch `number`, (BATCH,), places in KINDS."""
    return np.random.default_rng([seed, number, 0]).choice(len(KINDS), BATCH, p=SHARES).astype(np.int64)


def draw_batch(seed: int, number: int, frame: Frame) -> NDArray[np.uint8]:
    """The pictures of batch `number`, (BATCH, size, size, 3) uint8; see `draw`."""
    return draw(kinds_of(seed, number), frame, np.random.default_rng([seed, number, 1]))


def draw(kinds: Array, frame: Frame, random: np.random.Generator) -> NDArray[np.uint8]:
    """Pictures (m, size, size, 3) uint8, red, green, blue, of galaxies of these `kinds` (m,), places in KINDS.

    An arm that winds clockwise leads, followed outwards from the centre, clockwise round it as the picture is seen.
    """
    m = len(kinds)
    x, y = frame.grid()
    grown = _per_object(np.exp(random.normal(0.25, 0.25, m)))  # a measured R90 is not the true one
    light = _main(kinds, x / grown, y / grown, random)
    light += _companions(kinds, x / grown, y / grown, random)
    light += _field(m, frame, random)
    blur = np.exp(random.uniform(np.log(0.09), np.log(0.4), m))  # seeing of 1.3 arcsec on galaxies of R90 3 to 15
    light = _blurred(light, blur * _SIGMA / frame.pixel)
    brightness = np.exp(random.uniform(np.log(4), np.log(30), m))
    light *= brightness.astype(np.float32)[:, None, None, None]
    light += _artifacts(kinds, frame, random)
    return _photographed(light, blur * _SIGMA / frame.pixel, random)


def _per_object(values: Array) -> Array:
    return np.asarray(values, np.float32)[:, None, None]


def _turned(x: Array, y: Array, angle: Array, ratio: Array) -> tuple[Array, Array, Array]:
    """Coordinates along the major axis and, stretched by 1 / ratio, along the minor one; and the radius in them."""
    cosine, sine = _per_object(np.cos(angle)), _per_object(np.sin(angle))
    along = x * cosine + y * sine
    across = (y * cosine - x * sine) / _per_object(ratio)
    return along, across, np.hypot(along, across)


def _sersic(radius: Array, half: Array, index: Array) -> Array:
    """Sersic's profile, 1 at the half-light radius."""
    n = np.asarray(index, np.float64)
    b = 2 * n - 1 / 3 + 4 / (405 * n)
    power = np.log(np.maximum(radius, 1e-3) / _per_object(half)) * _per_object(1 / n)
    profile: Array = np.exp(-_per_object(b) * (np.exp(power) - 1))
    return profile


def _main(kinds: Array, x: Array, y: Array, random: np.random.Generator) -> Array:
    """The galaxy in the middle: light (m, size, size, 3) with a mean of about 1 within its half-light radius."""
    m = len(kinds)

    def of(*names: str) -> Array:
        return np.isin(kinds, [KINDS.index(name) for name in names])

    spiral, edge, round_ = of("spiral_anticlockwise", "spiral_clockwise"), of("edge_on"), of("elliptical")
    spheroid = round_ | (of("merger") & (random.random(m) < 0.5))
    inclined = np.cos(random.uniform(0, 1.15, m))
    ratio = np.where(spheroid, random.uniform(0.45, 1, m), np.where(edge, random.uniform(0.1, 0.28, m), inclined))
    angle = random.uniform(0, 2 * np.pi, m)
    x = x - _per_object(random.normal(0, 0.02, m))
    y = y - _per_object(random.normal(0, 0.02, m))
    along, across, radius = _turned(x, y, angle, ratio)
    share = np.where(edge, random.uniform(0.02, 0.3, m), np.where(spiral, random.beta(1.5, 4, m), random.beta(2, 2, m)))
    share = np.where(spheroid, 1.0, share)
    disc = _sersic(radius, np.full(m, 0.45), random.uniform(0.8, 1.1, m))
    arms = _arms(np.where(spiral, 1.0, 0.0), kinds == KINDS.index("spiral_clockwise"), along, across, random)
    clumps = _smooth_noise(disc.shape, 0.02 * disc.shape[1] + 0.6, random)
    clumpy = np.where(spiral, random.uniform(0, 0.5, m), np.where(edge, random.uniform(0, 0.25, m), 0))
    disc = disc * arms * np.exp(_per_object(clumpy) * clumps)
    disc *= 1 - _dust(edge, across, ratio, random)
    bulge_ratio = np.where(spheroid, ratio, np.maximum(ratio, random.uniform(0.6, 1, m)))
    half = np.where(spheroid, random.uniform(0.33, 0.42, m), random.uniform(0.07, 0.18, m))
    bulge = _sersic(_turned(x, y, angle, bulge_ratio)[2], half, np.where(spheroid, random.uniform(2, 5, m), 1.8))
    bulge *= _per_object(
        np.where(spheroid, 1.0, np.minimum(4, share / (1 - np.minimum(share, 0.9)) * (0.25 / half) ** 2))
    )
    bulge += _bar(spiral & (random.random(m) < 0.3), along, across, random)
    old = _colours(random, m, 0.9, 0.12)
    young = _colours(random, m, np.where(spiral, 0.4, 0.55), 0.25)
    light = (
        disc[..., None] * young[:, None, None] * _per_object(~spheroid)[..., None]
        + bulge[..., None] * old[:, None, None]
    )
    dimmed = np.where(of("artifact"), random.choice([0.0, 0.05, 0.3, 1.0], m), 1.0)
    return np.asarray(light * _per_object(dimmed)[..., None], np.float32)


def _arms(there: Array, clockwise: Array, along: Array, across: Array, random: np.random.Generator) -> Array:
    """What a disc's light is multiplied by, about 1 on average."""
    m = len(there)
    count = random.choice([1, 2, 3, 4], m, p=[0.1, 0.6, 0.2, 0.1])
    pitch = np.radians(random.uniform(9, 34, m))
    strength = random.uniform(0.5, 1.6, m) * there
    radius = np.maximum(np.hypot(along, across), 1e-2)
    azimuth = np.arctan2(across, along)  # grows clockwise as seen, as y points down
    winding = np.log(radius) * _per_object(np.where(clockwise, 1, -1) / np.tan(pitch))
    start = random.uniform(0, 2 * np.pi, m)
    phase = _per_object(count) * (azimuth - winding) + _per_object(start)
    sharp = random.uniform(0.7, 3, m)
    crest = ((1 + np.cos(phase)) / 2) ** _per_object(sharp)
    uneven = 1 + _per_object(random.uniform(0, 0.5, m)) * np.cos(azimuth + _per_object(start))
    inner = _per_object(random.uniform(0.08, 0.25, m))
    envelope = 1 / (1 + np.exp(-(radius - inner) / 0.05))
    arms: Array = 1 + _per_object(strength) * envelope * (crest * uneven - 0.45)
    return np.asarray(np.maximum(arms, np.float32(0.02)))


def _bar(there: Array, along: Array, across: Array, random: np.random.Generator) -> Array:
    """A straight bar through the centre, at an angle of its own to the major axis."""
    m = len(there)
    angle, length = random.uniform(0, np.pi, m), random.uniform(0.15, 0.35, m)
    u, v, _ = _turned(along, across, angle, np.ones(m))
    bar: Array = np.exp(-((u / _per_object(length)) ** 4) - (v / _per_object(0.28 * length)) ** 2)
    return bar * _per_object(there * random.uniform(0.5, 2, m))


def _dust(edge: Array, across: Array, ratio: Array, random: np.random.Generator) -> Array:
    """Share of the light that a lane along the middle takes from some discs seen from the edge."""
    depth = edge * (random.random(len(edge)) < 0.4) * random.uniform(0.2, 0.6, len(edge))
    height = across * _per_object(ratio)
    lane: Array = _per_object(depth) * np.exp(-((height / 0.03) ** 2))
    return lane


def _companions(kinds: Array, x: Array, y: Array, random: np.random.Generator) -> Array:
    """The other galaxy of a merger, close by, with the arc of stars that the two have drawn out."""
    m = len(kinds)
    there = _per_object(kinds == KINDS.index("merger"))
    away, side = random.uniform(0.25, 1.1, m), random.uniform(0, 2 * np.pi, m)
    dx, dy = away * np.cos(side), away * np.sin(side)
    angle, ratio = random.uniform(0, np.pi, m), random.uniform(0.35, 1, m)
    _, _, radius = _turned(x - _per_object(dx), y - _per_object(dy), angle, ratio)
    other = _sersic(radius, random.uniform(0.15, 0.4, m), random.uniform(0.9, 4, m))
    other *= _per_object(random.uniform(0.4, 1.6, m))
    span = random.uniform(0.5, 1.2, m)
    u, v, ring = _turned(x - _per_object(dx / 2), y - _per_object(dy / 2), side, random.uniform(0.4, 1, m))
    bent = np.abs(np.arctan2(v, u) - _per_object(random.uniform(-1, 1, m)))
    tail = np.exp(-(((ring - _per_object(span)) / 0.09) ** 2)) * np.exp(
        -((bent / _per_object(random.uniform(0.4, 1.3, m))) ** 2)
    )
    tail *= _per_object(random.uniform(0, 0.5, m))
    light = other[..., None] * _colours(random, m, 0.7, 0.25)[:, None, None]
    light += tail[..., None] * _colours(random, m, 0.4, 0.2)[:, None, None]
    return np.asarray(light * there[..., None], np.float32)


def _field(m: int, frame: Frame, random: np.random.Generator) -> Array:
    """Stars and small galaxies that happen to lie in the picture, added pixel by pixel before the blur."""
    light = np.zeros((m, frame.size, frame.size, 3), np.float32)
    counts = random.poisson(0.11 * frame.width**2, m)
    owner = np.repeat(np.arange(m), counts)
    rows, columns = random.integers(0, frame.size, (2, len(owner)))
    far = np.hypot(rows - frame.size / 2, columns - frame.size / 2) * frame.pixel > 0.5
    owner, rows, columns = owner[far], rows[far], columns[far]
    flux = np.minimum(random.pareto(1.0, len(owner)) + 0.3, 60) * 0.012 / frame.pixel**2
    np.add.at(light, (owner, rows, columns), flux[:, None] * _colours(random, len(owner), 0.6, 0.5))
    return light


def _artifacts(kinds: Array, frame: Frame, random: np.random.Generator) -> Array:
    """What spoils a picture, over a galaxy that may still be seen: a bright star, a trail, a flooded ground.

    In units of the sky's noise, (m, size, size, 3).
    """
    m = len(kinds)
    there = kinds == KINDS.index("artifact")
    which = np.where(there, random.integers(0, 3, m), -1)
    x, y = frame.grid()
    aside = np.where(random.random(m) < 0.5, 0.0, random.uniform(0, 0.45 * frame.width, m))
    angle = random.uniform(0, 2 * np.pi, m)
    u, v = x - _per_object(aside * np.cos(angle)), y - _per_object(aside * np.sin(angle))
    width = _per_object(random.uniform(0.06, 0.25, m))
    star = 60 * np.exp(-0.5 * (np.hypot(u, v) / width) ** 2) + 6 / (1 + (np.hypot(u, v) / (3 * width)) ** 2)
    reach = _per_object(random.uniform(0.2, 1.2, m))
    star += 25 * (np.exp(-np.abs(u) / reach - (v / 0.03) ** 2) + np.exp(-np.abs(v) / reach - (u / 0.03) ** 2))
    trail = 40 * np.exp(-((_turned(u, v, angle + 0.7, np.ones(m))[1] / 0.04) ** 2))
    flood = np.full((1, frame.size, frame.size), 1.0) + 0.5 * np.tanh((u * 1.5) / reach)
    light = np.zeros((m, frame.size, frame.size, 3), np.float32)
    for number, (shape, spread) in enumerate(((star, 0.5), (trail, 0.9), (flood * 12, 0.7))):
        tint = np.exp(random.normal(0, spread, (m, 3)))
        strength = np.exp(random.normal(0, 0.7, m)) * (which == number)
        light += shape[..., None] * (tint * strength[:, None]).astype(np.float32)[:, None, None]
    return light


def _colours(random: np.random.Generator, m: int, red: Any, spread: float) -> Array:
    """(m, 3) red, green, blue light of stars, from `red` = 0, young and blue, to 1, old and yellow."""
    age = np.clip(np.asarray(red) + random.normal(0, spread, m), -0.2, 1.4)
    return np.stack([0.85 + 0.45 * age, np.ones(m), 1.15 - 0.6 * age], axis=1).astype(np.float32)


def _blurred(light: Array, sigma: Array) -> Array:
    """Each picture (m, size, size, c) blurred by a Gaussian of its own `sigma` (m,), pixels; the edges wrap round."""
    size = light.shape[1]
    planes = np.ascontiguousarray(light.transpose(0, 3, 1, 2))
    down, across = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    square = (down**2 + across**2).astype(np.float32)
    kernel = np.exp(-2 * np.float32(np.pi) ** 2 * square[None] * _per_object(sigma) ** 2)[:, None]
    blurred = np.fft.irfft2(np.fft.rfft2(planes) * kernel, s=(size, size))
    return np.ascontiguousarray(blurred.astype(np.float32).transpose(0, 2, 3, 1))


def _smooth_noise(shape: tuple[int, ...], sigma: float, random: np.random.Generator) -> Array:
    """Noise with deviation 1 and a length of `sigma` pixels, (m, size, size)."""
    noise = _blurred(random.standard_normal((*shape, 1), dtype=np.float32), np.full(shape[0], sigma))[..., 0]
    smooth: Array = noise / max(float(noise.std()), 1e-6)
    return smooth


def _photographed(light: Array, sigma: Array, random: np.random.Generator) -> NDArray[np.uint8]:
    """Sky noise, correlated as in pictures that were enlarged, then the asinh colour composition, 8 bits."""
    m = len(light)
    grain = np.maximum(sigma * 0.55, 0.3)  # the camera's pixel is about a third of the seeing's width
    noise = _blurred(random.standard_normal(light.shape, dtype=np.float32), grain)
    noise /= np.maximum(noise.std(axis=(1, 2), keepdims=True), 1e-6)
    tint = np.where(random.random(m) < 0.06, random.uniform(0.5, 4, m), 0)[:, None] * random.uniform(0.3, 1, (m, 3))
    light = light + noise + tint.astype(np.float32)[:, None, None]
    total = np.maximum(light.mean(axis=3, keepdims=True), 1e-3)
    shown = np.arcsinh(total * 0.3) / total / 4.6
    level = np.clip(light * shown, 0, None)
    level /= np.maximum(level.max(axis=3, keepdims=True), 1)  # a colour too bright keeps its hue
    return np.asarray(np.round(level * 255), np.uint8)
