"""Image subtraction: the filters of an exposure, the difference, its noise, and the signal-to-noise ratio.

Every subtraction here is linear: difference = A * science - B * template (convolutions), with filters A and B of the
whole exposure, made from its mean PSFs, as pipelines do. A stamp whose own PSF or position deviates keeps a residual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estampa.data.builders._sky import Array, Psf, at_origin, backward, f32, forward

REGULAR = 3e-5  #: power, relative to the PSF's, below which a frequency is not amplified any more


@dataclass(frozen=True)
class Filters:
    """Of m exposures. Transforms are (m, side, side // 2 + 1) complex64.

    Methods take pictures of stamps, (m k, side, side), the k of the first exposure first.
    """

    science: Array  #: A
    template: Array  #: B
    science_square: Array  #: transform of the square of A's kernel, which noise variance is convolved with
    template_square: Array
    psf: Array  #: (m, side, side) float32: what a point source becomes in the difference, at the middle pixel
    side: int

    def difference(self, science: Array, template: Array) -> Array:
        """A * science - B * template, (m k, side, side)."""
        return self._joined(self.science, science, -self.template, template)

    def variance(self, science: Array, template: Array) -> Array:
        """Variance of each pixel of the difference from that of the two exposures, (m k, side, side)."""
        return self._joined(self.science_square, science, self.template_square, template)

    def _joined(self, a: Array, science: Array, b: Array, template: Array) -> Array:
        waves, others = forward(science), forward(template)
        for part, factor in ((waves, a), (others, b)):
            grouped = part.reshape(len(a), -1, *a.shape[1:])  # a view
            grouped *= factor[:, None]
        waves += others
        return backward(waves, self.side)

    def sums(self, window: Array) -> tuple[Array, Array]:
        """Pictures u, v (m, side, side) so that sum(window * difference) = sum(u * science) - sum(v * template).

        So the variance of that sum is sum(u^2 * V_science) + sum(v^2 * V_template), whatever the filters correlate, and
        what a source of unknown brightness adds to it needs no transform.
        """
        waves = forward(window)
        return backward(np.conj(self.science) * waves, self.side), backward(np.conj(self.template) * waves, self.side)


def summed(weight: Array, pictures: Array) -> Array:
    """Sum of `weight` (m, side, side) times each of `pictures` (m k, side, side), by exposure: (m k,) float32."""
    grouped = np.ascontiguousarray(pictures).reshape(len(weight), -1, weight[0].size)
    sums: Array = np.matmul(grouped, weight.reshape(len(weight), -1, 1))
    return sums.reshape(-1)


def filters(science: Psf, template: Psf, noise: tuple[Array, Array], proper: bool, side: int) -> Filters:
    """Filters of exposures from their mean PSFs and the variances (science, template) of an empty pixel, each (n,).

    Matching (Alard & Lupton 1998, ApJ 503, 325: one kernel makes the sharper exposure's PSF the other's; here it is
    the regularised ratio of the PSFs' transforms), or, with `proper`, the optimal symmetric form of Zackay, Ofek &
    Gal-Yam 2016 (ApJ 830, 27, eq. 13): (P_r N - P_n R) / sqrt(s_n^2 |P_r|^2 + s_r^2 |P_n|^2), here scaled so that flux
    is kept (their eq. 15).
    """
    new, reference = at_origin(science, side), at_origin(template, side)
    if proper:
        new_noise, reference_noise = (f32(part)[:, None, None] for part in noise)
        power = new_noise * np.abs(reference) ** 2 + reference_noise * np.abs(new) ** 2
        root = np.sqrt((new_noise + reference_noise) / power)
        a, b = reference * root, new * root
    else:
        softer = (science.fwhm >= template.fwhm)[:, None, None]  # then the template is convolved
        sharp, broad = np.where(softer, reference, new), np.where(softer, new, reference)
        kernel = broad * np.conj(sharp) / (np.abs(sharp) ** 2 + REGULAR)
        kernel /= kernel[:, :1, :1]
        one = np.ones_like(kernel)
        a, b = np.where(softer, one, kernel), np.where(softer, kernel, one)
    a, b = a.astype(np.complex64), b.astype(np.complex64)
    psf = np.fft.fftshift(backward(a * new, side), axes=(1, 2))
    return Filters(a, b, _square(a, side), _square(b, side), psf, side)


def _square(transform: Array, side: int) -> Array:
    return forward(backward(transform, side) ** 2)


def ratio(difference: Array, psf: Array, variance: Array) -> Array:
    """Signal-to-noise ratio of a point source in the middle of each stamp, (n,) float64: sum(P D) / sigma.

    P (n, size, size) is the PSF of the difference D (n, size, size), `variance` (n,) that of the sum over a whole
    stamp. Pixels that are NaN are left out, and the variance is lowered by their share in the sum of P^2.
    """
    seen = np.isfinite(difference)
    above = np.sum(np.where(seen, psf * difference, 0), axis=(1, 2), dtype=np.float64)
    share = np.sum(np.where(seen, psf**2, 0), axis=(1, 2), dtype=np.float64) / np.sum(psf**2, axis=(1, 2))
    found: Array = above / np.sqrt(np.maximum(variance * share, 1e-30))
    return found
