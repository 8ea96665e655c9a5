"""Builder `exposures`: cut-outs of science, template, difference and its signal-to-noise around catalogued positions.

One catalogue may cover many exposures: its columns `science`, `template`, `variance`, ... name files for each row,
which are opened one exposure after another and memory-mapped. The difference is science minus template, unless an image
of it is given; its variance is the sum of the variances given, as the noise of two exposures is independent. Resampling
and PSF matching are not done here: images that are not on one grid are refused.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from estampa.data.builders._catalogue import ROLES, Catalogue, read_catalogue
from estampa.data.builders._cutouts import Plane, open_plane, require_same_grid, split_extension, whole_inside
from estampa.data.dataset import Dataset
from estampa.data.read import write_reading
from estampa.data.record import Header, ReadRecord
from estampa.data.sources._base import Block, Reading, fingerprint_of, rows_per_block, stat_facts
from estampa.errors import InputError, SourceError
from estampa.files import write_atomic
from estampa.progress import SILENT, Progress

Array = NDArray[Any]
CHANNELS = ("science", "template", "difference", "snr_difference")
OPTIONS = {
    "science": "science image: FITS, FILE[1] or FILE[NAME] for an extension",
    "template": "template on the same grid",
    "variance": "variance of the science image (of the difference, when that is given whole)",
    "template_variance": "variance of the template; the two are added",
    "difference": "difference image (science minus template)",
    "mask": "image whose non-zero pixels are not used",
    "catalogue": "CSV, VOTable, FITS table or ECSV with x, y (pixels) or ra, dec (degrees)",
    "size": "pixels of a cut-out's side (21)",
    "first": "number that the catalogue gives the first pixel: 0 or 1 (0)",
    "id": "column of names", "label": "column of answers", "group": "column of what must not be torn apart",
    "classes": "the classes in the order wanted: artifact,real",
}  # fmt: skip
_NEEDED = ("science", "template", "variance")
_USE = "the builder exposures"


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:
    """Whether `dataset` was built with these options from the catalogue and images as they now are."""
    catalogue, size = _asked(options)
    return dataset.header.origin.get("key") == _Plan.of(catalogue, size, options).key


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Cut the catalogue's positions out of the images into the Dataset file `output`.

    Images (n, size, size, 4) float32 in the units of the science image, the last one in standard deviations. A pixel
    that is not finite or is masked is NaN; one whose variance is not above 0 is NaN in the last channel, and counted.
    Rows are in the catalogue's order, exposure by exposure. A position whose cut-out is not whole inside is left out
    and listed, with the reason, in NAME.off-edge.csv beside `output`.

    Raises SourceError for images or a catalogue that cannot be read or do not fit together, and when no position lies
    inside; MissingExtra without astropy; InputError for an option that is missing or out of range.
    """
    catalogue, size = _asked(options)
    plan = _Plan.of(catalogue, size, options)
    rows, off = plan.place(catalogue, size)
    listed = output.with_name(f"{output.stem}.off-edge.csv")
    if off:
        write_atomic(listed, _off_edge(catalogue, plan, off))
        progress.warn(f"{len(off):,} of {len(catalogue):,} positions are left out, listed in {listed}")
    else:
        listed.unlink(missing_ok=True)
    if not len(rows):
        raise SourceError(
            "no position's cut-out lies whole inside its image", where=options["catalogue"],
            got=f"{len(catalogue):,} positions: {next(iter(off.values()))}, ...",
            cure="Check the order of the axes, the number of the first pixel (--option first=1) and the size.",
        )  # fmt: skip
    reading = _reading(catalogue, plan, rows, size, options)
    for note in catalogue.notes:
        progress.say(note)
    made = write_reading(reading, output, progress)
    if reading.bad_variance:
        progress.say(
            f"{reading.bad_variance:,} pixels in {reading.bad_rows:,} cut-outs have a variance that is not above 0: "
            "NaN in snr_difference"
        )
    return made


@dataclass(frozen=True)
class _Exposure:
    """The files of one exposure, by role, and the catalogue's rows that lie on it."""

    files: Mapping[str, str]
    rows: Array

    @contextlib.contextmanager
    def opened(self) -> Iterator[dict[str, Plane]]:
        """Its images, all on one grid."""
        with contextlib.ExitStack() as stack:
            planes = {role: stack.enter_context(open_plane(name, _USE)) for role, name in self.files.items()}
            for role, plane in planes.items():
                if role != "science":
                    require_same_grid(planes["science"], plane)
            yield planes


@dataclass
class _Plan:
    """Which exposures are cut, and where: `x`, `y` (n,) 0-based pixels of every catalogue row, once placed."""

    exposures: list[_Exposure]
    key: str
    x: Array = field(default_factory=lambda: np.empty(0))
    y: Array = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of(cls, catalogue: Catalogue, size: int, options: Mapping[str, str]) -> _Plan:
        """Group the rows by the files that they name; options name those that hold for all rows."""
        for role in ROLES:
            if role in options and role in catalogue.files:
                raise InputError(
                    f"{role!r} is an option and a column of the catalogue", where=_USE, cure="Say it in one place."
                )
        names = [
            tuple(catalogue.files[role][row] if role in catalogue.files else options.get(role, "") for role in ROLES)
            for row in range(len(catalogue))
        ]
        members: dict[tuple[str, ...], list[int]] = {}
        for row, files in enumerate(names):
            members.setdefault(files, []).append(row)
        exposures = []
        for named, rows in members.items():
            used = {role: name for role, name in zip(ROLES, named, strict=True) if name}
            absent = [role for role in _NEEDED if role not in used]
            if absent:
                raise InputError(
                    f"no {absent[0]} image", where=f"{_USE}, row {rows[0]} of {options['catalogue']}",
                    cure=f"Name it: --option {absent[0]}=FILE.fits, or in a column {absent[0]!r} of the catalogue.",
                )  # fmt: skip
            exposures.append(_Exposure(used, np.array(rows)))
        paths = sorted({split_extension(name)[0] for exposure in exposures for name in exposure.files.values()})
        facts = stat_facts([path for path in [Path(options["catalogue"]), *paths] if path.is_file()])
        return cls(exposures, fingerprint_of("exposures", 1, size, sorted(options.items()), facts))

    def place(self, catalogue: Catalogue, size: int) -> tuple[Array, dict[int, str]]:
        """Rows to cut, exposure by exposure, and the reason for each that is left out."""
        self.x, self.y = catalogue.first.copy(), catalogue.second.copy()
        rows, off = [], {}
        for exposure in self.exposures:
            mine = exposure.rows
            with exposure.opened() as planes:
                science = planes["science"]
                if catalogue.sky:
                    self.x[mine], self.y[mine] = _to_pixels(science, catalogue.first[mine], catalogue.second[mine])
                inside = whole_inside(self.x[mine], self.y[mine], size, science.shape)
            rows.append(mine[inside])
            for row in mine[~inside]:
                lost = np.isnan(self.x[row]) or np.isnan(self.y[row])
                off[int(row)] = "position is not a number" if lost else "cut-out is not whole inside the image"
        return np.concatenate(rows), off


def _to_pixels(science: Plane, ra: Array, dec: Array) -> tuple[Array, Array]:
    """0-based pixels of sky positions in degrees; NaN where there are none."""
    from astropy.coordinates import SkyCoord

    sky = science.sky()
    if sky is None:
        raise SourceError(
            "has no WCS, so ra and dec say nothing", where=science.where, cure="Give x and y in the catalogue."
        )
    good = np.isfinite(ra) & (np.abs(dec) <= 90)
    x, y = np.full(len(ra), np.nan), np.full(len(ra), np.nan)
    x[good], y[good] = sky.world_to_pixel(SkyCoord(ra[good], dec[good], unit="deg"))
    return x, y


@dataclass(kw_only=True)
class _Cutouts(Reading):
    """Rows of the plan, cut when they are asked for; one exposure is open at a time."""

    plan: _Plan
    rows: Array
    size: int
    bad_variance: int = 0
    bad_rows: int = 0

    def blocks(self, start: int = 0, size: int | None = None) -> Iterator[Block]:
        """Yield blocks that end where an exposure ends; see Reading."""
        step, at = rows_per_block(self.header, size), 0
        for exposure in self.plan.exposures:
            mine = self.rows[np.isin(self.rows, exposure.rows)]
            first, at = at, at + len(mine)
            if at <= start or not len(mine):
                continue
            with exposure.opened() as planes:
                for begin in range(max(first, start), at, step):
                    some = mine[begin - first : begin - first + step]
                    yield Block(begin, np.stack([self._cut(planes, int(row)) for row in some]))

    def _cut(self, planes: Mapping[str, Plane], row: int) -> Array:
        """The four channels (size, size, 4) float32 of a catalogue row."""
        where = float(self.plan.x[row]), float(self.plan.y[row])
        cut = {role: plane.cut(where, self.size) for role, plane in planes.items()}
        difference = cut.get("difference", cut["science"] - cut["template"])
        variance = cut["variance"] + cut.get("template_variance", np.float32(0))
        unsound = ~np.isnan(cut["variance"]) & ~(cut["variance"] > 0)
        if "template_variance" in cut:
            unsound |= ~np.isnan(cut["template_variance"]) & ~(cut["template_variance"] > 0)
        self.bad_variance += int(unsound.sum())
        self.bad_rows += bool(unsound.any())
        variance = np.where(unsound, np.float32(np.nan), variance)
        image = np.stack([cut["science"], cut["template"], difference, difference / np.sqrt(variance)], axis=-1)
        if "mask" in cut:
            image[np.isnan(cut["mask"]) | (cut["mask"] != 0)] = np.nan
        return image.astype(np.float32)


def _reading(catalogue: Catalogue, plan: _Plan, rows: Array, size: int, options: Mapping[str, str]) -> _Cutouts:
    with open_plane(plan.exposures[0].files["science"], _USE) as science:
        units = str(science.header.get("BUNIT", "")).strip()
        sky = science.sky()
        scale = None if sky is None else float(np.sqrt(sky.proj_plane_pixel_area().to_value("arcsec2")))
    answers = catalogue.answers
    header = Header(
        n=len(rows), shape=(size, size, 4), dtype="float32", task=answers.task, classes=answers.classes,
        channels=CHANNELS, units=f"{units or 'as the science image'}; snr_difference in standard deviations",
        pixel_scale=scale, columns=catalogue.columns, symmetry="d4", read=ReadRecord(source="exposures"),
        origin={
            "builder": "exposures", "key": plan.key, "catalogue": options["catalogue"],
            "paths": [exposure.files["science"] for exposure in plan.exposures][:100], "exposures": len(plan.exposures),
            "left_out": len(catalogue) - len(rows),
        },
    )  # fmt: skip
    return _Cutouts(
        header=header, ids=catalogue.ids[rows], labels=None if answers.values is None else answers.values[rows],
        groups=None if catalogue.groups is None else catalogue.groups[rows],
        table=catalogue.values[rows] if catalogue.columns else None, fingerprint=plan.key, plan=plan,
        rows=rows, size=size,
    )  # fmt: skip


def _off_edge(catalogue: Catalogue, plan: _Plan, off: Mapping[int, str]) -> str:
    """The positions left out, as CSV: id, x, y (0-based pixels), science image, reason."""
    science = {int(row): exposure.files["science"] for exposure in plan.exposures for row in exposure.rows}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "x", "y", "science", "reason"])
    for row in sorted(off):
        writer.writerow([catalogue.ids[row], plan.x[row], plan.y[row], science[row], off[row]])
    return text.getvalue()


def _asked(options: Mapping[str, str]) -> tuple[Catalogue, int]:
    """Catalogue and size that the options name; raises InputError for one missing or out of range."""
    if "catalogue" not in options:
        raise InputError(
            "no catalogue of positions", where=_USE, cure="Name it: --option catalogue=FILE.csv, with columns x and y."
        )
    if options.get("first", "0") not in ("0", "1"):
        raise InputError(
            "option 'first' is no number of a first pixel", where=_USE, allowed="0, 1", got=options["first"]
        )
    text = options.get("size", "21")
    if not text.isdigit() or not 1 <= int(text) <= 4096:
        raise InputError("option 'size' is out of range", where=_USE, allowed="1 to 4,096 pixels", got=repr(text))
    return read_catalogue(Path(options["catalogue"]), options), int(text)
