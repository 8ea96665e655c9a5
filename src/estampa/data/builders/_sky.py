"""The simulated sky: exposures with a seeing and a PSF each, point sources and galaxies seen through it.

All pictures of one call are (n, side, side) float32, axis order row, column; positions are pixels from the middle
pixel, index side // 2, x along columns and y along rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Array = np.ndarray
SOFT = 0.6  #: pixels, standard deviation
FWHM_OF_SIGMA = 2.3548200450309493  #: 2 sqrt(2 ln 2)


def f32(values: Array | float) -> Array:
    """`values` as float32."""
    return np.asarray(values, np.float32)


@dataclass(frozen=True)
class Psf:
    """Elliptical Moffat profiles, one for each of n pictures; each field is (n,) float32.

    Moffat 1969, A&A 3, 455: I(r) = (b - 1) / (pi a^2) (1 + (r / a)^2)^-b. They are effective PSFs in the sense of
    Anderson & King 2000 (PASP 112, 1360): the response of the pixel is part of them, so they are evaluated at the
    middle of each pixel.
    """

    fwhm: Array  #: pixels, geometric mean of both axes
    beta: Array
    e1: Array  #: ellipticity (1 - q) / (1 + q) times cos 2 theta
    e2: Array  #: and times sin 2 theta

    def take(self, rows: Array) -> Psf:
        """Those of `rows`."""
        return Psf(self.fwhm[rows], self.beta[rows], self.e1[rows], self.e2[rows])

    def changed(self, width: Array | float = 1.0, e1: Array | float = 0.0, e2: Array | float = 0.0) -> Psf:
        """Wider by the factor `width`, with `e1` and `e2` added to the ellipticity."""
        return Psf(f32(self.fwhm * width), self.beta, f32(self.e1 + e1), f32(self.e2 + e2))

    def shape(self) -> tuple[Array, Array, Array, Array]:
        """Coefficients (xx, 2xy, yy) of the radius in units of a, squared, and the height of a unit flux."""
        scale = 2.0 * np.sqrt(2.0 ** (1.0 / self.beta) - 1.0) / self.fwhm  # 1 / a
        norm = scale**2 / np.maximum(1.0 - self.e1**2 - self.e2**2, 0.05)
        square = 1.0 + self.e1**2 + self.e2**2
        height = (self.beta - 1.0) / np.pi * scale**2
        return norm * (square - 2 * self.e1), norm * (-4 * self.e2), norm * (square + 2 * self.e1), height


def axis(side: int) -> Array:
    """(side,) float32: distance of each pixel from the middle one."""
    return np.arange(side, dtype=np.float32) - side // 2


def point(psf: Psf, x: Array, y: Array, flux: Array | float, side: int) -> Array:
    """Point sources of `flux` at (x, y), each (n,): (n, side, side) float32."""
    xx, xy, yy, height = (f32(part) for part in psf.shape())
    dx = axis(side)[None, :] - f32(x)[:, None]
    dy = axis(side)[None, :] - f32(y)[:, None]
    out: Array = dx[:, None, :] * dy[:, :, None]
    out *= xy[:, None, None]
    out += (xx[:, None] * dx * dx)[:, None, :]
    out += (np.float32(1) + yy[:, None] * dy * dy)[:, :, None]
    np.log(out, out=out)
    out *= -psf.beta[:, None, None]
    np.exp(out, out=out)
    out *= f32(flux * height)[:, None, None]
    return out


def at_origin(psf: Psf, side: int) -> Array:
    """Transforms of point sources of unit flux at the origin: (n, side, side // 2 + 1) complex64."""
    zero = np.zeros(len(psf.fwhm), np.float32)
    return forward(np.fft.ifftshift(point(psf, zero, zero, 1.0, side), axes=(1, 2)))


@dataclass(frozen=True)
class Galaxies:
    """Galaxies, each field (n,) float32: a round-number family of exponential discs and de Vaucouleurs spheroids."""

    x: Array
    y: Array
    flux: Array
    radius: Array  #: that holds half of the light, pixels
    disc: Array  #: 1 = exponential disc, 0 = spheroid
    e1: Array
    e2: Array

    def transform(self, side: int) -> Array:
        """Their Fourier transform without any PSF, (n, side, side // 2 + 1) complex64.

        Spergel 2010, ApJS 191, 58, eq. 2: 1 / (1 + (k r / c)^2)^(1 + v) with v = 0.5, c = 1.678 for the exponential
        disc (exact) and v = -0.6, c = 0.548 (his closest to de Vaucouleurs), r the half-light radius. Their cusps
        are softened by SOFT, which a grid of pixels could not carry.
        """
        ky, kx = frequencies(side)
        disc = self.disc > 0
        power = np.where(disc, 1.5, 0.4).astype(np.float32)
        unit = self.radius / np.where(disc, 1.678, 0.548)
        # A profile that is stretched in pixels is squeezed in frequency: the same matrix, inverted.
        norm = unit**2 / np.maximum(1.0 - self.e1**2 - self.e2**2, 0.05)
        square = 1.0 + self.e1**2 + self.e2**2
        xx, xy, yy = norm * (square + 2 * self.e1), norm * 4 * self.e2, norm * (square - 2 * self.e1)
        out: Array = f32(xy)[:, None, None] * (ky[:, None] * kx[None, :])
        out += (f32(xx)[:, None] * kx * kx)[:, None, :]
        out += (np.float32(1) + f32(yy)[:, None] * ky * ky)[:, :, None]
        np.log(out, out=out)
        out *= -power[:, None, None]
        np.exp(out, out=out)
        out *= f32(np.exp(-0.5 * SOFT**2 * (ky[:, None] ** 2 + kx[None, :] ** 2)))
        out *= f32(self.flux)[:, None, None]
        moved: Array = out * shifts(self.x + side // 2, self.y + side // 2, side)
        return moved


def frequencies(side: int) -> tuple[Array, Array]:
    """Angular frequencies of rows (side,) and columns (side // 2 + 1,), float32, radians per pixel."""
    return f32(2 * np.pi * np.fft.fftfreq(side)), f32(2 * np.pi * np.fft.rfftfreq(side))


def shifts(x: Array, y: Array, side: int) -> Array:
    """Factors that move pictures by (x, y) pixels: (n, side, side // 2 + 1) complex64; `side` is even.

    At the highest frequency only the cosine is real, so only it is kept: else small sources leave stripes.
    """
    ky, kx = frequencies(side)
    along_x = np.exp(np.complex64(-1j) * f32(x)[:, None] * kx)
    along_y = np.exp(np.complex64(-1j) * f32(y)[:, None] * ky)
    along_x[:, -1], along_y[:, side // 2] = along_x[:, -1].real, along_y[:, side // 2].real
    moved: Array = along_y[:, :, None] * along_x[:, None, :]
    return moved


def forward(pictures: Array) -> Array:
    """Real Fourier transform over both axes, as numpy.fft.rfft2: (n, side, side) to (n, side, side // 2 + 1).

    By two products with the transform's matrix, which for small sides is several times faster.
    """
    side = pictures.shape[-1]
    turn, rows = _matrices(side)
    waves = (f32(pictures).reshape(-1, side) @ rows).view(np.complex64)
    both: Array = np.matmul(turn, waves.reshape(*pictures.shape[:-1], side // 2 + 1))
    return both


@lru_cache(maxsize=8)
def _matrices(side: int) -> tuple[Array, Array]:
    """Matrix of the transform, and its first half for real rows with real and imaginary parts side by side."""
    turn = np.exp(-2j * np.pi / side * np.outer(np.arange(side), np.arange(side))).astype(np.complex64)
    return turn, np.ascontiguousarray(turn[:, : side // 2 + 1]).view(np.float32)


def backward(transforms: Array, side: int) -> Array:
    """Inverse of `forward`: (n, side, side) float32."""
    return np.fft.irfft2(transforms, s=(side, side), axes=(1, 2))
