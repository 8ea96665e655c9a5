"""Likely wrong labels: what a model that has not seen an object says against the label that it was given.

Confident learning (Northcutt, Jiang & Chuang 2021, J. Artif. Intell. Res. 70, 1373) as cleanlab has it, on the
out-of-fold probabilities of `crossval`. Nothing is changed or deleted: a page to look at, and a list for people to
shorten, which `estampa build --exclude` honours.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import files, machine, page
from estampa.errors import InputError
from estampa.evaluate.crossval import crossval
from estampa.evaluate.evidence import data_name
from estampa.evaluate.judge import Judgement
from estampa.plain import csv_safe, table
from estampa.progress import SILENT, Progress

if TYPE_CHECKING:
    from estampa.bundle.store import Bundle
    from estampa.data.dataset import Dataset
    from estampa.recipe import Recipe

PAGE, LIST = "labels.html", "wrong-labels.csv"
FOLDS = 5
_SHOWN, _LINES = 240, 20
_PAPER = (
    "Northcutt, C. G., Jiang, L., Chuang, I. L. 2021, Confident Learning: Estimating Uncertainty in Dataset Labels, "
    "J. Artif. Intell. Res. 70, 1373"
)


@dataclass(frozen=True)
class LabelCheck:
    """Labels that are likely wrong, the likeliest first.

    Attributes
    ----------
    rows : (m,) row numbers in the Dataset.
    given, likely : (m,) class numbers: the label, and what the model takes the object for.
    p_given, p_likely : (m,) out-of-fold probabilities of the two.
    n, folds, grouped : labelled objects looked at, folds, whether groups were kept whole.
    judgement : of all out-of-fold answers against the labels as given.
    """

    rows: np.ndarray
    given: np.ndarray
    likely: np.ndarray
    p_given: np.ndarray
    p_likely: np.ndarray
    n: int
    folds: int
    grouped: bool
    judgement: Judgement

    def records(self, dataset: Dataset) -> list[dict[str, Any]]:
        """One record an object: id, given, likely, p_given, p_likely."""
        ids, names = np.asarray(dataset.ids)[self.rows], self.judgement.classes
        columns = zip(ids, self.given, self.likely, self.p_given, self.p_likely, strict=True)
        return [
            {"id": str(i), "given": names[g], "likely": names[k], "p_given": float(p), "p_likely": float(q)}
            for i, g, k, p, q in columns
        ]

    def headline(self) -> str:
        """The answer in one line."""
        share = f" ({100 * len(self.rows) / self.n:.1f} %)" if self.n else ""
        return f"{len(self.rows):,} of {self.n:,} labels{share} are likely wrong; look at them before you leave any out"

    def to_json(self, dataset: Dataset) -> dict[str, Any]:
        """Plain values: {"n", "found", "folds", "grouped", "labels": [...], "out_of_fold": the judgement}."""
        return {
            "n": self.n,
            "found": len(self.rows),
            "folds": self.folds,
            "grouped": self.grouped,
            "labels": self.records(dataset),
            "out_of_fold": self.judgement.to_json(),
        }

    def lines(self, dataset: Dataset) -> list[str]:
        """For a terminal: the headline, then the likeliest."""
        cells = [
            [r["id"], r["given"], r["likely"], f"{r['p_given']:.4f}", f"{r['p_likely']:.4f}"]
            for r in self.records(dataset)
        ]
        shown = table(["id", "given", "likely", "p(given)", "p(likely)"], cells[:_LINES], right=[3, 4])
        rest = [f"... and {len(cells) - _LINES:,} more in the list"] if len(cells) > _LINES else []
        return [self.headline(), *(["", *shown, *rest] if cells else [])]


def check_labels(
    dataset: Dataset,
    recipe: Recipe,
    *,
    folds: int = FOLDS,
    seed: int = 0,
    progress: Progress = SILENT,
    fit: Callable[..., Any] | None = None,
) -> LabelCheck:
    """Find labels that are likely wrong, among all labelled objects whatever their part.

    The recipe is refitted `folds` times, groups kept whole, so that every object is judged by a model that has learned
    neither from it nor from its group. How many labels are wrong is the calibrated estimate of confident learning (the
    sum off the diagonal of the joint distribution of given and true labels); those are taken whose given label has the
    least probability, and of them those where another class is likelier. A weak model doubts labels that are right.

    Raises InputError for anything but classes, and what `crossval` raises; MissingExtra without cleanlab.
    """
    machine.require("train", "cleanlab", needed_for="estampa evaluate --labels-check")
    if dataset.task != "classification":
        raise InputError(
            "labels are checked for classes only", where=dataset.path, allowed="classification", got=dataset.task,
            cure="For a numeric target, look at the largest errors in the run's report.",
        )  # fmt: skip
    found = crossval(dataset, recipe, folds, seed=seed, progress=progress, fit=fit)
    given = np.asarray(dataset.labels)[found.rows].astype(np.int64)
    output = np.asarray(found.output[0], np.float64)
    doubted = _doubted(given, output)
    likely = output[doubted].argmax(axis=1)
    return LabelCheck(
        found.rows[doubted], given[doubted], likely, output[doubted, given[doubted]],
        output[doubted, likely], len(given), folds, found.grouped, found.judgement,
    )  # fmt: skip


def _doubted(given: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Places of the labels that are likely wrong, the least probable label first."""
    from cleanlab.count import num_label_issues
    from cleanlab.rank import get_label_quality_scores

    present = np.unique(given)  # cleanlab wants classes without a gap
    dense = np.searchsorted(present, given)
    chances = output[:, present]
    chances = chances / np.maximum(chances.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    count = num_label_issues(dense, chances, estimation_method="off_diagonal_calibrated")
    order = np.argsort(get_label_quality_scores(dense, chances, method="self_confidence"), kind="stable")[:count]
    doubted: np.ndarray = order[output[order].argmax(axis=1) != given[order]]
    return doubted


def write_labels(folder: Path, found: LabelCheck, dataset: Dataset, made_by: dict[str, Any]) -> tuple[Path, Path]:
    """Write the page and the list into `folder`; returns their paths.

    The list has the columns id, given, likely, p_given, p_likely; ids and names that a spreadsheet would run are
    guarded, and `estampa build --exclude` takes the guard off. Raises StorageError when the place cannot be written.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["id", "given", "likely", "p_given", "p_likely"])
    for r in found.records(dataset):
        names = [csv_safe(r[k]) for k in ("id", "given", "likely")]
        writer.writerow([*names, f"{r['p_given']:.6f}", f"{r['p_likely']:.6f}"])
    files.require_writable(folder / PAGE)
    files.write_atomic(folder / LIST, out.getvalue())
    files.write_atomic(folder / PAGE, _page(found, dataset, made_by))
    return folder / PAGE, folder / LIST


def _page(found: LabelCheck, dataset: Dataset, made_by: dict[str, Any]) -> str:
    sections = [
        page.Section("labels", "The labels in doubt", [*_advice(found), *_pictures(found, dataset)]),
        page.Section("pairs", "What was taken for what", [_pairs(found)] if len(found.rows) else []),
        page.Section("how", "How they were found", [page.Text(_how(found))]),
    ]
    return page.render(
        f"Likely wrong labels in {data_name(dataset)}",
        found.headline() + ".",
        [s for s in sections if s.blocks],
        made_by=made_by,
    )


def _advice(found: LabelCheck) -> list[Any]:
    right = found.judgement.metrics["accuracy"]
    blocks: list[Any] = []
    if not len(found.rows):
        return [page.Note("good", f"No label is in doubt among {found.n:,}.")]
    if right.value < 0.9:
        blocks.append(
            page.Note(
                "warn",
                f"The model agrees with only {100 * right.value:.1f} % of the labels, so most of these doubts may be "
                "its own mistakes. A better model doubts fewer labels that are right.",
            )
        )
    text = (
        f"Look at each, and keep in {LIST} only the ids whose label is wrong indeed; the command below leaves those "
        "out. Nothing has been changed. To leave out, unseen, what the model finds hard makes its score rise and its "
        "use fall."
    )
    command = f"estampa build SOURCE -o clean.h5 --exclude {LIST}"
    return [*blocks, page.Text(text), page.Code(command)]


def _pictures(found: LabelCheck, dataset: Dataset) -> list[Any]:
    if dataset.shape is None or not len(found.rows):
        return []
    records = found.records(dataset)[:_SHOWN]
    images = [image for row in found.rows[:_SHOWN] for _, block in dataset.blocks(np.array([row])) for image in block]
    items = [
        page.Picture(
            image,
            f"given {r['given']}, likely {r['likely']}",
            f"{r['id']}: {r['given']} {r['p_given']:.3f}, {r['likely']} {r['p_likely']:.3f}",
        )
        for image, r in zip(images, records, strict=True)
    ]
    more = f" The first {_SHOWN:,} of {len(found.rows):,}; all are in {LIST}." if len(found.rows) > _SHOWN else ""
    caption = (
        "Least probable label first: the label as given, what a model that has not seen the object takes it for, the "
        f"object's id and both probabilities.{more}"
    )
    tiles = 1 if dataset.shape[2] in (1, 3) else dataset.shape[2]
    header = dataset.header
    return [
        page.Pictures(
            items,
            caption,
            columns=6 if tiles == 1 else max(1, 6 // tiles),
            channels=header.channels,
            pixel_scale=header.pixel_scale,
        )
    ]


def _pairs(found: LabelCheck) -> page.Table:
    names = found.judgement.classes
    pairs, counts = np.unique(np.stack([found.given, found.likely], axis=1), axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    total = {row["class"]: row["n"] for row in found.judgement.per_class}
    rows = [
        [names[g], names[k], int(c), c / total[names[g]]] for (g, k), c in zip(pairs[order], counts[order], strict=True)
    ]
    return page.Table(
        ["given", "likely", "labels", "share of the given class"], rows,
        caption="How often a label is in doubt for which other class.",
    )  # fmt: skip


def _how(found: LabelCheck) -> str:
    whole = "groups and objects of equal content kept whole" if found.grouped else "objects of equal content together"
    return (
        f"The recipe was trained anew in each of {found.folds} folds ({whole}), and every object was answered by the "
        "model that had not seen it. Confident learning estimates from these probabilities how many labels are wrong; "
        "so many are taken, those with the least probability of the given label first, where another class is likelier."
        f"\n\nThe out-of-fold answers agree with the labels as given: {found.judgement.headline()}.\n\n{_PAPER}."
    )


def recipe_of(bundle: Bundle) -> Recipe:
    """The complete recipe that a bundle was made with."""
    from estampa.recipe import parse

    return parse(bundle.manifest.recipe, str(bundle.folder))


def made_by(command: str, recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """How a check was made, for the end of its page."""
    versions = machine.describe()["versions"]
    assert isinstance(versions, dict)
    used = {k: versions[k] for k in ("estampa", "torch", "cleanlab") if versions.get(k)}
    return {
        "command": command,
        "Recipe": recipe.name,
        "Data": [str(dataset.path), dataset.content_sha256],
        "Versions": ", ".join(f"{k} {v}" for k, v in used.items()),
    }
