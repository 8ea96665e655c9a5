"""Cameras that the simulated survey is taken with: published figures of two survey instruments, rounded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Camera:
    """What an exposure's pixels depend on. Levels are in electrons of one science exposure.

    Seeing, sky and coadd are medians over exposures, spread lognormally by the shares given.
    """

    pixel_scale: float  #: arcsec per pixel
    gain: float  #: electrons per ADU
    read_noise: float  #: electrons, root mean square
    full_well: float  #: electrons at which a pixel saturates
    seeing: float  #: full width at half maximum, arcsec
    seeing_spread: float  #: of its natural logarithm
    sky: float  #: electrons per pixel
    sky_spread: float  #: of its natural logarithm
    zero_point: float  #: magnitude of a source that gives one electron
    coadd: tuple[int, int]  #: exposures that a template is the mean of, fewest and most
    proper: bool  #: subtracted by the proper rule of Zackay et al. 2016, else by matching one PSF to the other
    registration: float  #: pixels, error of the registration in each axis


CAMERAS = {
    # DECam, as for HiTS: Flaugher et al. 2015 (AJ 150, 150); g band, 87 s; Foerster et al. 2016 (ApJ 832, 155).
    "decam": Camera(
        pixel_scale=0.27, gain=4.0, read_noise=7.0, full_well=130_000.0, seeing=1.3, seeing_spread=0.2, sky=110.0,
        sky_spread=0.4, zero_point=30.1, coadd=(3, 12), proper=False, registration=0.07,
    ),
    # ZTF: Bellm et al. 2019 (PASP 131, 018002), Dekany et al. 2020 (PASP 132, 038001), Masci et al. 2019 (PASP 131,
    # 018003); 30 s. The pixels undersample the PSF and the pipeline subtracts by the proper rule.
    "ztf": Camera(
        pixel_scale=1.01, gain=6.0, read_noise=10.0, full_well=300_000.0, seeing=2.0, seeing_spread=0.15, sky=900.0,
        sky_spread=0.6, zero_point=28.2, coadd=(10, 40), proper=True, registration=0.10,
    ),
}  # fmt: skip
