"""Two more baselines of pictures: forests on principal components, and on descriptors. Bounded in rows and in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import machine
from estampa.prepare.descriptors import descriptors
from estampa.progress import Progress
from estampa.reduce.pca import fit_pca

if TYPE_CHECKING:
    from estampa.data.dataset import Dataset

SECONDS = 5.0  #: of the processor that taking descriptors may cost, about
MOST_ROWS, LEAST_ROWS = 2_000, 200  #: training rows that these forests learn from, at most and at least
COMPONENTS = 50  #: principal components at most
SIDE = 32  #: pixels a side, at most, of the pictures whose descriptors are taken
TREES = 100
#: Fits a model and answers: (model, values, labels, values to answer, classes) -> (output, remark).
Learned = Callable[[Any, np.ndarray, np.ndarray, np.ndarray, int], tuple[np.ndarray, str]]
Found = tuple[str, np.ndarray, float, str]  #: name, output, seconds, note


def featured(
    dataset: Dataset, rows: tuple[np.ndarray, np.ndarray], pixels: tuple[np.ndarray, np.ndarray], seed: int,
    learned: Learned, progress: Progress,
) -> Iterator[Found]:  # fmt: skip
    """Learn forests on components of the pixels and on descriptors of the pictures, and answer the rows to judge.

    `rows`: to learn from (n,) and to judge (m,); `pixels`: their values (n, v) and (m, v) float32, finite. At most
    2,000 rows are learned from, drawn with `seed`. Where descriptors of all rows to judge would take longer than a few
    seconds there are none, and it is said.
    """
    n = len(rows[0])
    few = np.sort(np.random.default_rng(seed).choice(n, MOST_ROWS, replace=False)) if n > MOST_ROWS else np.arange(n)
    if len(few) > 2 and np.ptp(pixels[0][few], axis=0).any():
        yield _components(dataset, rows, pixels, few, (seed, learned))
    began = time.perf_counter()
    each = _seconds_a_picture(dataset, rows[0])
    affordable = int(SECONDS / max(each, 1e-9)) - len(rows[1])
    if affordable < min(LEAST_ROWS, n):
        progress.say(f"no baseline on descriptors: those of {len(rows[1]):,} pictures take too long")
        return
    few = few[np.linspace(0, len(few) - 1, min(len(few), affordable)).astype(np.int64)]
    made = [described(dataset, part) for part in (rows[0][few], rows[1])]
    labels = np.asarray(dataset.labels)[rows[0][few]]
    output, remark = learned(_forest(dataset.task, seed), made[0], labels, made[1], len(dataset.classes))
    note = f"{made[0].shape[1]:,} numbers: oriented gradients, shape and light"
    note += _said(_small(dataset), _kept(len(few), n), remark)
    yield "forest on descriptors", output, time.perf_counter() - began, note


def _components(
    dataset: Dataset, rows: tuple[np.ndarray, np.ndarray], pixels: tuple[np.ndarray, np.ndarray], few: np.ndarray,
    how: tuple[int, Learned],
) -> Found:  # fmt: skip
    began, (seed, learned) = time.perf_counter(), how
    n, f = len(few), pixels[0].shape[1]
    wanted = None if min(n - 1, f) <= COMPONENTS else COMPONENTS
    pca = fit_pca(lambda: iter([pixels[0][few]]), n, f, wanted, passes=1, seed=seed)
    scores = [pca.transform(part.copy()) for part in (pixels[0][few], pixels[1])]
    labels = np.asarray(dataset.labels)[rows[0][few]]
    output, remark = learned(_forest(dataset.task, seed), scores[0], labels, scores[1], len(dataset.classes))
    note = f"{scores[0].shape[1]} principal components, {100 * pca.explained:.0f} % of the variance"
    note += _said(_kept(n, len(rows[0])), remark)
    return "forest on components", output, time.perf_counter() - began, note


def _said(*parts: str) -> str:
    return "".join(f", {part}" for part in parts if part)


def _kept(kept: int, rows: int) -> str:
    return f"learned from {kept:,} of {rows:,} objects" if kept < rows else ""


def _small(dataset: Dataset) -> str:
    return f"pictures reduced to {SIDE} pixels and less" if dataset.shape and max(dataset.shape[:2]) > SIDE else ""


def described(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """(n, values) float32: `prepare.descriptors` of the rows' pictures, large ones reduced first."""
    return np.concatenate([descriptors(smaller(images)) for _, images in dataset.blocks(rows, 256)])


def smaller(images: np.ndarray) -> np.ndarray:
    """(n, h, w, c), by the mean over blocks, so that no side is above SIDE; what fills no block is cut."""
    step = -(-max(images.shape[1:3]) // SIDE)
    if step == 1 or min(images.shape[1:3]) < step:
        return images
    h, w = (side // step * step for side in images.shape[1:3])
    blocks = images[:, :h, :w].reshape(len(images), h // step, step, w // step, step, -1)
    return np.asarray(blocks.mean(axis=(2, 4), dtype=np.float32))


def _seconds_a_picture(dataset: Dataset, rows: np.ndarray) -> float:
    """Processor's seconds that the descriptors of one picture cost here, reading included: a busy machine must not
    decide which baselines there are.
    """
    some = rows[: min(len(rows), 64)]
    described(dataset, some[:1])  # what is loaded once does not count
    began = time.process_time()
    described(dataset, some)
    return (time.process_time() - began) / len(some)


def _forest(task: str, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if task == "regression":
        return RandomForestRegressor(TREES, random_state=seed, n_jobs=machine.threads(), max_features=1 / 3)
    return RandomForestClassifier(TREES, random_state=seed, n_jobs=machine.threads())
