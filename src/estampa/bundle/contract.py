"""What the model was fed: the input contract that travels with it, and the check of new data against it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from statistics import median
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from estampa.data.record import Header, ReadRecord
from estampa.errors import ContractError
from estampa.recipe import Record

#: A set counts as being on another scale when its typical peak differs from training's by this factor ...
SET_FACTOR = 20.0
#: ... and a set of fewer than FEW pictures only when its peak is this factor beyond every training picture's.
FEW, FEW_FACTOR = 8, 50.0
#: Rows looked at to measure a range: enough for a 1 % quantile, a moment's work.
SAMPLE = 4096

Numbers = tuple[float, ...]


class PixelRange(Record):
    """Which values the training pictures' pixels had. Measured on at most `SAMPLE` training rows, finite pixels only.

    A picture's peak is its largest absolute pixel value over all channels; constant pictures have no say in `peaks`.
    """

    low: Numbers  #: 0.1 % quantile of each channel
    high: Numbers  #: 99.9 % quantile of each channel
    minimum: Numbers  #: of each channel
    maximum: Numbers  #: of each channel
    peaks: tuple[float, float, float, float, float]  #: 0, 1, 50, 99 and 100 % quantile of the pictures' peaks
    whole: bool  #: every value was a whole number


class InputContract(Record):
    """What one row of input is. Shapes are height, width, channels."""

    shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    dtype: Literal["uint8", "uint16", "float32"]
    channels: tuple[str, ...] = ()  #: names in order; () = not named
    units: str = ""
    pixel_scale: float | None = None
    nan: Literal["refuse", "zero", "median"] = "zero"  #: what the graph does with a pixel that is not finite
    range: PixelRange
    read: dict[str, Any]  #: ReadRecord.to_json(): how files become pixels

    @field_validator("read")
    @classmethod
    def _readable(cls, value: dict[str, Any]) -> dict[str, Any]:
        return ReadRecord.from_json(value).to_json()

    @cached_property
    def read_record(self) -> ReadRecord:
        """How files become pixels, to be replayed by `data.read.open_reading`."""
        return ReadRecord.from_json(self.read)

    def words(self) -> str:
        """The contract in a few words: "28 x 28 x 1 uint8"."""
        return describe(self.shape, self.dtype, self.channels)


def describe(shape: tuple[int, ...] | None, dtype: object, channels: Iterable[str] = ()) -> str:
    """Name an input, height x width x channels: "28 x 28 x 3 uint8 (channels r, g, b)"."""
    names = ", ".join(channels)
    size = " x ".join(map(str, shape)) if shape else "no images"
    return f"{size} {dtype}".rstrip() + (f" (channels {names})" if names else "")


def contract_of(header: Header, pixels: PixelRange, nan: str = "zero") -> InputContract:
    """The contract of a model trained on a Dataset with this header and these values."""
    if header.shape is None:
        raise ContractError("a model of pictures needs images; this Dataset holds a table alone")
    return InputContract.model_validate(
        {
            "shape": header.shape, "dtype": header.dtype, "channels": header.channels, "units": header.units,
            "pixel_scale": header.pixel_scale, "nan": nan, "range": pixels, "read": header.read.to_json(),
        }
    )  # fmt: skip


def measure_range(images: np.ndarray) -> PixelRange:
    """The range of images (n, height, width, channels); the first `SAMPLE` rows count, so hand in a fair sample."""
    rows = images[:SAMPLE]
    finite = np.isfinite(rows)
    values = [rows[..., c][finite[..., c]].astype(np.float64) for c in range(rows.shape[3])]
    values = [v if len(v) else np.zeros(1) for v in values]
    low, high = zip(*(np.quantile(v, (0.001, 0.999)) for v in values), strict=True)
    peaks = _voting_peaks(rows)
    p0, p1, p50, p99, p100 = map(float, np.quantile(peaks if len(peaks) else np.zeros(1), (0, 0.01, 0.5, 0.99, 1)))
    return PixelRange(
        low=tuple(map(float, low)), high=tuple(map(float, high)),
        minimum=tuple(float(v.min()) for v in values), maximum=tuple(float(v.max()) for v in values),
        peaks=(p0, p1, p50, p99, p100), whole=all(_whole(v) for v in values),
    )  # fmt: skip


def check_header(contract: InputContract, header: Header, where: object) -> None:
    """Raise ContractError, naming both sides, when data with this header are not what the model was fed."""
    faults = []
    got = describe(header.shape, header.dtype, header.channels)
    if header.shape is None:
        faults.append("no images")
    else:
        if header.shape[2] != contract.shape[2]:
            faults.append("another number of channels")
        if header.shape[:2] != contract.shape[:2]:
            faults.append("another size")
        if header.dtype != contract.dtype:
            faults.append("another type of pixel")
    if not faults and _reordered(contract.channels, header.channels):
        faults.append("the channels in another order")
    if contract.units and header.units and contract.units != header.units:
        faults.append(f"pixels in {header.units!r}, not in {contract.units!r}")
    if contract.pixel_scale and header.pixel_scale and abs(header.pixel_scale / contract.pixel_scale - 1) > 0.02:
        faults.append(f"a pixel scale of {header.pixel_scale:g}, not of {contract.pixel_scale:g}")
    faults += _other_reading(contract.read_record, header.read)
    if faults:
        raise ContractError(
            f"this is not what the model was fed: {'; '.join(faults)}", where=where, allowed=contract.words(), got=got,
            cure=_cure(contract, header),
        )  # fmt: skip


def _reordered(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether both sides name the same channels in another order; other names alone prove nothing."""
    return ours != theirs and sorted(ours) == sorted(theirs)


def _other_reading(ours: ReadRecord, theirs: ReadRecord) -> list[str]:
    """Where two sets were both made from pictures that were resized, but by another rule."""
    if not (ours.mode and theirs.mode and (ours.size or theirs.size)):
        return []
    names = ("mode", "crop", "fit", "resample") if ours.size and theirs.size else ("crop",)
    return [
        f"pictures read with {name} {getattr(theirs, name)!r}, not {getattr(ours, name)!r}"
        for name in names
        if getattr(ours, name) != getattr(theirs, name)
    ]


def _cure(contract: InputContract, header: Header) -> str:
    if header.shape is None:
        return "Hand in pictures, or arrays of pixels."
    height, width, channels = contract.shape
    if header.shape == (channels, height, width) != contract.shape:
        return "The channels come last: height x width x channels."
    if header.shape[2] != channels:
        return "Hand in the same channels in the same order."
    if header.dtype != contract.dtype:
        return "Hand in the pixels as they are stored; the model does its own scaling."
    if header.shape[:2] != contract.shape[:2]:
        if contract.read_record.crop and not contract.read_record.size:
            return f"Build the set with --crop {height}, or hand in the pictures themselves."
        return f"Build the set with --size {height}x{width}, or hand in the pictures themselves."
    return "Build the set as the training set was built, or hand in the pictures themselves."


def check_scale(contract: InputContract, images: np.ndarray, where: object) -> None:
    """Raise ContractError when a sample of the data is on another scale than the training pictures.

    `images` (n, h, w, c): a fair sample, some hundreds. The rule compares peaks (a picture's largest absolute value)
    of pictures that are not constant, so that black frames have no say:

    - 8 pictures or more: refused when the median peak is more than 20 times training's median peak or less than a
      twentieth of it, and more than half of the pictures lie beyond training's 1 % or 99 % quantile of peaks; or
      when more than half reach below anything seen in training by a quarter of its span (-1..1 for 0..1).
    - fewer pictures of floats: refused when the median peak is 50 times beyond every training picture's; or when the
      model was fed whole numbers and these are fractions up to 1, or the reverse. Of integers: never refused, since
      the pixel type has spoken already.
    """
    peaks = _voting_peaks(images)
    if not len(peaks):
        return
    few = len(peaks) < FEW
    fault = _few_fault(contract, images, peaks) if few else _set_fault(contract, images, peaks)
    if fault:
        pixels = contract.range
        raise ContractError(
            f"the pixel values are on another scale than the model was fed ({fault})", where=where,
            allowed=f"values from {min(pixels.low):g} to {max(pixels.high):g}, a picture's peak typically "
            f"{pixels.peaks[2]:g}",
            got=f"values from {_finite(images).min():g} to {_finite(images).max():g}, a picture's peak typically "
            f"{float(np.median(peaks)):g}",
            cure="Hand in the pixels in the unit of the training set; the model does its own scaling.",
        )  # fmt: skip


def _set_fault(contract: InputContract, images: np.ndarray, peaks: np.ndarray) -> str:
    _, low, middle, high, _ = contract.range.peaks
    typical = float(np.median(peaks))
    if typical * SET_FACTOR < middle and np.mean(peaks < low) > 0.5:
        return f"{middle / max(typical, 1e-300):.3g} times smaller"
    if typical > middle * SET_FACTOR and np.mean(peaks > high) > 0.5:
        return f"{typical / max(middle, 1e-300):.3g} times larger"
    least, most = np.array(contract.range.minimum), np.array(contract.range.maximum)
    lows, _ = extremes(images)
    if np.mean((lows < least - 0.25 * (most - least)).any(axis=1)) > 0.5:
        return "below anything seen in training"
    return ""


def _few_fault(contract: InputContract, images: np.ndarray, peaks: np.ndarray) -> str:
    if contract.dtype != "float32":
        return ""
    least, *_, most = contract.range.peaks
    typical = median(peaks.tolist())  # of fewer than 8 numbers; numpy's takes as long as the rest of this check
    if typical * FEW_FACTOR < least:
        return "far smaller than any training picture"
    if contract.range.whole and most > 20 and typical <= 1.0 and not _whole(_finite(images)):
        return "far smaller than any training picture"
    if typical > most * FEW_FACTOR or (most <= 1.001 and typical > 20 and _whole(_finite(images))):
        return "far larger than any training picture"
    return ""


def extremes(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest finite value of each picture and channel, two (n, c) arrays; 0 where none is finite."""
    planes = images.reshape(len(images), -1, images.shape[3]).transpose(0, 2, 1)
    planes = np.ascontiguousarray(planes)  # numpy crawls over a short last axis
    low, high = planes.min(axis=2), planes.max(axis=2)
    if images.dtype.kind != "f" or (np.isfinite(low).all() and np.isfinite(high).all()):  # a NaN would be in both
        return low, high
    finite = np.isfinite(planes)
    low = np.where(finite, planes, np.inf).min(axis=2)
    high = np.where(finite, planes, -np.inf).max(axis=2)
    empty = ~finite.any(axis=2)
    return np.where(empty, 0, low), np.where(empty, 0, high)


def out_of_range(contract: InputContract, images: np.ndarray) -> np.ndarray:
    """Which pictures lie far from what training had, (n,) bool; they are scored all the same, and flagged.

    A channel reaches below or above training's values by more than their whole span, or the peak is less than a
    quarter of the faintest training picture's.
    """
    low, high = (side.astype(np.float64) for side in extremes(images))
    least, most = np.array(contract.range.minimum), np.array(contract.range.maximum)
    span = np.maximum(most - least, 1e-12)
    peak = np.maximum(np.abs(low), np.abs(high)).max(axis=1)
    far: np.ndarray = ((low < least - span) | (high > most + span)).any(axis=1) | (4 * peak < contract.range.peaks[0])
    return far


def _voting_peaks(images: np.ndarray) -> np.ndarray:
    """Largest absolute finite value of each picture that is not constant, float64."""
    low, high = (side.astype(np.float64) for side in extremes(images))
    varies = (high > low).any(axis=1)
    peaks: np.ndarray = np.maximum(np.abs(low), np.abs(high)).max(axis=1)[varies]
    return peaks


def _finite(values: np.ndarray) -> np.ndarray:
    finite = values[np.isfinite(values)]
    return finite if finite.size else np.zeros(1, values.dtype)


def _whole(values: np.ndarray) -> bool:
    return values.dtype.kind != "f" or bool((values == np.round(values)).all())
