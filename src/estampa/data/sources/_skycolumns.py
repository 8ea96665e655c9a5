"""Where cut-outs lie on the sky, as columns beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from estampa.data.sources._fitsfile import Sky
from estampa.data.sources._tables import Measured

SKY = ("ra", "dec", "position_angle")  #: columns of the WCS, degrees
SAME_SCALE = 0.01  #: share by which pixel scales may differ and still be one


def sky_columns(skies: Sequence[Sky | None]) -> tuple[float | None, Measured | None, list[str]]:
    """Common pixel scale (arcsec), the columns of the WCS, and what is to be said about them."""
    known = [sky for sky in skies if sky is not None]
    if not known:
        return None, None, []
    missing = (np.nan,) * 4
    values = np.array([missing if s is None else (s.ra, s.dec, s.angle, s.scale) for s in skies])
    scales = np.array([sky.scale for sky in known])
    middle = float(np.median(scales))
    notes = (
        [f"{len(skies) - len(known)} of {len(skies)} cut-outs have no celestial WCS"] if len(known) < len(skies) else []
    )
    mirrored = sum(sky.mirrored for sky in known)
    if 0 < mirrored < len(known):
        notes.append(
            f"{mirrored} cut-outs are mirrored on the sky and {len(known) - mirrored} are not: where handedness "
            "matters (spirals), they do not show the same thing"
        )
    if np.abs(scales / middle - 1).max() <= SAME_SCALE:
        return float(f"{middle:.6g}"), Measured(SKY, values[:, :3], []), notes
    notes.append(f"pixel scales from {scales.min():.4g} to {scales.max():.4g} arcsec: they are the column pixel_scale")
    return None, Measured((*SKY, "pixel_scale"), values, []), notes
