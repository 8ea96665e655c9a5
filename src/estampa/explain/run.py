"""explain(): a bundle and data to pictures with their maps."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np

from estampa import files
from estampa.bundle.store import Bundle
from estampa.data.dataset import PARTS
from estampa.errors import InputError, nearest
from estampa.explain import occlusion, spots
from estampa.explain.filling import MEDIAN
from estampa.explain.occlusion import fill_pixels, occlude
from estampa.explain.picking import good, named, pick, truth_of
from estampa.explain.result import Explained
from estampa.explain.table import ExplainedTable, explain_table
from estampa.predict import predict
from estampa.predict.parts import parts_of
from estampa.predict.source import ArrayRows, Data, DatasetRows, PictureSource, open_source
from estampa.progress import SILENT, Progress

PAGE, TABLE, MAPS, SHORTCUTS = "explain.html", "explained.csv", "maps.npz", "shortcuts.html"
SHOWN, SUMMED = 24, 240  #: pictures explained by default; and for a page on shortcuts
_SCORED = 2000  #: rows of a Dataset of which pictures are chosen, drawn at random where there are more


@dataclass(frozen=True)
class How:
    """How maps are made: window, stride, fill, of as for `occlude`.

    `channels`: names or numbers of channels that get a map of their own. `grid`: regions along a side, for shortcuts.
    """

    window: int | None = None
    stride: int | None = None
    fill: str | float = MEDIAN
    of: str = occlusion.LOGIT
    channels: Sequence[str] = ()
    grid: int = 3
    seed: int = 0


class Wanted(TypedDict, total=False):
    """The fields of How, as keywords."""

    window: int | None
    stride: int | None
    fill: str | float
    of: str
    channels: Sequence[str]
    grid: int
    seed: int


def explain(
    run: Path | str | Bundle,
    data: Data,
    output: Path | str | None = None,
    *,
    n: int | None = None,
    ids: Sequence[str] = (),
    part: str = "",
    progress: Progress = SILENT,
    **how: Any,
) -> Explained | ExplainedTable:
    """Show what the answers of a run hang on: `explain_pictures`, or `explain_table` for a model of a table.

    `how`: settings of either; of maps for pictures, and `seed`. Raises InputError for settings of maps with a table.
    """
    bundle = run if isinstance(run, Bundle) else Bundle.open(run)
    if not bundle.of_table:
        return explain_pictures(bundle, data, output, n=n, ids=ids, part=part, progress=progress, **how)
    seed = int(how.pop("seed", 0))
    plain = vars(How())
    for name, value in how.items():
        if value != plain.get(name, False) and not (name == "channels" and not value):
            raise InputError(
                f"{name!r} is of maps, and a table has no pixels", where=bundle.folder,
                cure="Of a table say n, ids, part and seed.",
            )  # fmt: skip
    return explain_table(bundle, data, output, n=n, ids=ids, part=part, seed=seed, progress=progress)


def explain_pictures(
    run: Path | str | Bundle,
    data: Data,
    output: Path | str | None = None,
    *,
    n: int | None = None,
    ids: Sequence[str] = (),
    part: str = "",
    shortcuts: bool = False,
    progress: Progress = SILENT,
    **how: Unpack[Wanted],
) -> Explained:
    """Show which pixels the answers of a run hang on.

    Parameters
    ----------
    run : a run folder, a bundle's folder, or an open Bundle.
    data : a Dataset, any source that `build` reads, loose pictures, or an array (n, height, width, channels).
    output : folder for explain.html, explained.csv, maps.npz and, with `shortcuts`, shortcuts.html; None = no files.
    n : pictures (24; 240 with `shortcuts`). Where labels are known, as many wrong answers as right ones if there are;
        with `shortcuts` as many of each answer, right or wrong. Drawn with the seed.
    ids : these objects instead.
    part : of a Dataset "train", "validation", "test" or "all"; "" = the test part where there is one.
    shortcuts : also add up over each class which regions its answers lean on.
    how : see How.

    Pictures that cannot be read or answered are left out. Raises as `predict` does, and InputError for a Dataset
    without pictures, an id that is not there, settings that do not fit, shortcuts of a regression.
    """
    asked, began = How(**how), time.monotonic()
    bundle = run if isinstance(run, Bundle) else Bundle.open(run)
    if output is not None:
        files.require_writable(Path(output) / PAGE)
    if shortcuts and not bundle.classes:
        raise InputError("shortcuts are told class by class", where=bundle.folder, got="a regression")
    if not 2 <= asked.grid <= 9:
        raise InputError("no grid of regions", where="grid", allowed="2 to 9", got=asked.grid)
    source, chosen = _source(bundle, data, part, ids, asked.seed)
    scored = source.dataset if isinstance(source, DatasetRows) else data
    rows = source.rows if isinstance(source, DatasetRows) else ""
    found = predict(bundle, scored, part=rows, progress=progress)
    if chosen == "train":
        progress.warn("the model learned from these pictures: their maps may show what it remembers")
    answers = _answers(bundle, found.predicted, found.probabilities)
    truth = truth_of(source, bundle, progress)
    wanted = (SUMMED if shortcuts else SHOWN) if n is None else n
    places = named(source, ids) if ids else pick(answers, truth, max(1, wanted), alike=shortcuts, seed=asked.seed)
    places = places[good(answers[places])]
    if not len(places):
        raise InputError("there is no picture with an answer to explain", where=source.name)
    explained = explain_rows(bundle, source, places, (answers, found.probabilities, truth), asked, progress)
    spent = time.monotonic() - began
    explained.facts.update(
        {"Data": source.name, "Part": chosen, "Pictures scored": found.n, "Explained": len(places),
         "Seconds": f"{spent:.1f}, {spent / len(places):.2f} a picture"}
    )  # fmt: skip
    if output is not None:
        _write(Path(output), explained, bundle, asked.grid if shortcuts else 0)
    return explained


def explain_rows(
    bundle: Bundle,
    source: PictureSource,
    places: np.ndarray,
    answers: tuple[np.ndarray, np.ndarray | None, np.ndarray | None],
    how: How,
    progress: Progress = SILENT,
) -> Explained:
    """Make the maps of some rows of a source. `answers`: class numbers (or values), probabilities, truth, of all rows.

    `predicted` must be defined at `places`; truth is as `truth_of` gives it.
    """
    predicted, output, truth = answers
    only = _channels(bundle, how.channels)
    images = source.take(places)
    classes = predicted[places].astype(np.int64) if bundle.classes else None
    canvas = fill_pixels(bundle, how.fill, images.shape[1:])
    maps: list[np.ndarray] = []
    apart: dict[str, list[np.ndarray]] = {name: [] for name in only}
    progress.start("explaining", len(places), "pictures")
    for i in range(len(places)):
        one, own = images[i : i + 1], None if classes is None else classes[i : i + 1]
        maps.append(occlude(bundle, one, own, how.window, how.stride, how.fill, how.of))
        for name, channel in only.items():
            apart[name].append(occlude(bundle, one, own, how.window, how.stride, how.fill, how.of, channel))
        progress.advance()
    progress.finish()
    joined = np.concatenate(maps)
    trials = spots.try_out(
        bundle, images, joined, classes, canvas=canvas, decision=bundle.thresholds.decision, seed=how.seed
    )
    window, stride = how.window or occlusion.default_window(images.shape[1:])[0], how.stride
    of = "value" if classes is None else how.of
    settings = {"window": window, "stride": stride or -(-window // 2), "fill": how.fill, "of": of}
    return Explained(
        np.asarray(source.ids)[places], images, predicted[places], None if truth is None else truth[places],
        None if output is None else output[places], joined, trials, bundle.classes, settings,
        {name: np.concatenate(some) for name, some in apart.items()}, tuple(bundle.pictures.channels),
        None if source.groups is None else source.groups[places], bundle.pictures.pixel_scale,
    )  # fmt: skip


def _source(bundle: Bundle, data: Data, part: str, ids: Sequence[str], seed: int) -> tuple[PictureSource, str]:
    """The rows of which pictures are chosen, and the name of their part."""
    if part not in (*PARTS[1:], "", "all"):
        raise InputError(f"there is no part {part!r}", where="--part", allowed=", ".join((*PARTS[1:], "all")))
    source = open_source(data, bundle.pictures)
    if source.header.shape is None:
        raise InputError(
            "holds a table and no pictures: maps are of pixels", where=source.name,
            cure="What the columns of a table count for is told by permutation importance, which comes with tables.",
        )  # fmt: skip
    if not isinstance(source, DatasetRows):
        if part:
            raise InputError("only a Dataset has parts", where="--part", got=part)
        return source, "all" if isinstance(source, ArrayRows) else "all pictures"
    parts = parts_of(source.dataset, bundle)
    own = source.dataset.content_sha256 == bundle.manifest.hashes.data
    found = next((p for p in ("test", "validation") if len(parts[p]) and (own or p == "test")), "all")
    chosen = part or ("all" if ids else found)
    rows = np.arange(source.dataset.n) if chosen == "all" else parts[chosen]
    if len(rows) > _SCORED and not ids:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _SCORED, replace=False))
    return DatasetRows(source.dataset, rows if len(rows) else chosen), chosen


def _answers(bundle: Bundle, predicted: np.ndarray, probabilities: np.ndarray | None) -> np.ndarray:
    """Class numbers, -1 for a row without an answer; or values, NaN."""
    if probabilities is None:
        return np.asarray(predicted, np.float64)
    numbers = {name: c for c, name in enumerate(bundle.classes)}
    return np.array([numbers.get(str(name), -1) for name in predicted], np.int64)


def _channels(bundle: Bundle, wanted: Sequence[str]) -> dict[str, int]:
    """Names of channels -> their numbers; by name, or by number."""
    names = list(bundle.pictures.channels) or [str(i) for i in range(bundle.pictures.shape[2])]
    found = {}
    for name in wanted:
        if name in names:
            found[name] = names.index(name)
        elif name.isdigit() and int(name) < len(names):
            found[names[int(name)]] = int(name)
        else:
            raise InputError(
                f"no channel {name!r}", where="--channel", allowed=", ".join(names), cure=nearest(name, names)
            )
    return found


def seconds_a_picture(bundle: Bundle, images: np.ndarray, how: How) -> float:
    """About how long a map takes here, measured on one batch of these pictures (n, h, w, c)."""
    size = how.window or occlusion.default_window(images.shape[1:])[0]
    step = how.stride or -(-size // 2)
    count = math.prod(1 + max(0, -(-(side - size) // step)) for side in images.shape[1:3])
    batch = images[np.arange(min(count, 16)) % len(images)]
    bundle.score(batch[:1])  # loads the model
    began = time.monotonic()
    bundle.score(batch)
    return float((time.monotonic() - began) / len(batch) * count)


def _write(folder: Path, explained: Explained, bundle: Bundle, grid: int) -> None:
    """All files; the pages last."""
    from estampa.explain import pages, shortcuts

    files.write_atomic(folder / MAPS, explained.to_npz())
    files.write_atomic(folder / TABLE, explained.to_csv())
    if grid:
        files.write_atomic(folder / SHORTCUTS, shortcuts.render(explained, bundle, grid))
    files.write_atomic(folder / PAGE, pages.render(explained, bundle, SHORTCUTS if grid else ""))
