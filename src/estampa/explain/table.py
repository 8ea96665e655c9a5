"""explain() of a bundle of a table: what its columns count for, how answers follow them, and reasons for single ones.

All of it asks the bundle, on ONNX Runtime alone; figures need matplotlib, and without it there are the tables.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estampa import files, machine, page
from estampa.bundle.store import Bundle
from estampa.data.dataset import PARTS
from estampa.errors import InputError
from estampa.explain import sections
from estampa.explain.asking import Score, Units
from estampa.explain.dependence import Dependence, dependence
from estampa.explain.importance import Importance, Permuting, importance
from estampa.explain.picking import named, pick, truth_of
from estampa.explain.reasons import Reasons, reasons
from estampa.measure import decide
from estampa.page import Kept
from estampa.plain import numbered, table
from estampa.predict.parts import parts_of, rows_in
from estampa.predict.source import Data, open_table
from estampa.predict.table_source import DatasetTable, TableSource
from estampa.progress import SILENT, Progress

PAGE, TABLE = "explain.html", "explained.csv"
SHOWN = 8  #: objects whose reasons are told by default
FOLLOWED = 6  #: columns whose partial dependence is drawn
FEWEST = 20  #: objects with a label from which on importance is measured
_SCORED = 2000  #: rows that are looked at, spread evenly


@dataclass(frozen=True)
class ExplainedTable:
    """What the answers of a model of a table hang on.

    `importance` is None where too few objects have a label; `dependence` empty where single objects were asked for.
    `facts`: what was explained, in words for people.
    """

    classes: tuple[str, ...]
    reasons: tuple[Reasons, ...]
    importance: Importance | None = None
    dependence: tuple[Dependence, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    learned: str = ""  #: what was left out as the model learned from it, or that it was not; "" = it saw none of it

    @property
    def n(self) -> int:
        """Objects with reasons."""
        return len(self.reasons)

    def headline(self) -> str:
        """The answer in a sentence, after what was left out."""
        return f"{self.learned} {self._answer()}".strip()

    def _answer(self) -> str:
        if self.importance is not None:
            return sections.told(self.importance)
        return f"Reasons for the answers to {numbered(self.n, 'object')}."

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "n": self.n, "learned": self.learned,
            "importance": None if self.importance is None else self.importance.to_json(),
            "dependence": [d.to_json() for d in self.dependence],
            "objects": [r.to_json(self.classes) for r in self.reasons],
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For a terminal: columns by importance, then object by object."""
        lines = [self.headline(), ""]
        if self.importance is not None:
            rows = [
                [lost.name, f"{lost.drop.value:+.4f}", f"[{lost.drop.low:+.4f}, {lost.drop.high:+.4f}]"]
                for lost in (*self.importance.columns[:12], *self.importance.groups[:4])
            ]
            lines += [*table(["shuffled", "drop", "95 % interval"], rows, right=[1, 2]), ""]
        return lines + [r.sentence(self.classes) for r in self.reasons]

    def _repr_html_(self) -> str:
        kept = Kept()
        blocks = [] if self.importance is None else [sections.importance_table(self.importance, self.classes)]
        return page.fragment(page.Text(self.headline()), *blocks, *sections.reasons(self.reasons, self.classes, kept))


def explain_table(
    bundle: Bundle,
    data: Data,
    output: Path | str | None = None,
    *,
    n: int | None = None,
    ids: Sequence[str] = (),
    part: str = "",
    seed: int = 0,
    progress: Progress = SILENT,
) -> ExplainedTable:
    """Show what the answers of a table's model hang on.

    Parameters
    ----------
    bundle, data : columns are found by name, as `predict` finds them.
    output : folder for explain.html, explained.csv and the figures and tables beside them; None = no files.
    n : objects whose reasons are told (8), half of them wrong answers where labels are known and there are so many.
    ids : the reasons of these objects alone: columns are not shuffled.
    part : of a Dataset "train", "validation", "test" or "all"; "" = the test part where there is one.

    At most 2,000 objects are looked at. Where neither `part` nor `ids` is said, objects that the model learned from,
    and those that chose it, are left out as long as there are others; what was done stands in `learned`. An object
    that `predict` gives no answer has no reasons. Typical objects are those of the training part, where `data` is the
    Dataset that the model learned from; else those of the validation part that the bundle keeps, as the model reads
    them. Raises as `predict` does, and InputError for an id that is not there, or where nothing can be answered.
    """
    began, contract = time.monotonic(), bundle.table
    if output is not None:
        files.require_writable(Path(output) / PAGE)
    source, chosen = _source(bundle, data, part, ids)
    columns, preparation = contract.column_names, bundle.preparation
    places, values, learned = _looked_at(bundle, source, ids, bool(part))
    if learned:
        progress.warn(learned)
    scored = _score(bundle)
    found = scored(values)
    known = truth_of(source, bundle, progress)
    truth = np.full(len(places), -1) if known is None else known[places]
    ranked, followed = (None, []) if ids else _ranked(bundle, source, (places, values, truth), seed, progress)
    answers = decide(found, bundle.thresholds.decision)
    shown = np.arange(len(places)) if ids else pick(answers, truth, SHOWN if n is None else max(1, n), seed=seed)
    typical, of = _typical(bundle, source)
    told = reasons(
        scored, values[shown], typical, columns, units=_tied(ranked, columns), invalid=preparation.invalid,
        known=(np.asarray(source.ids)[places[shown]], answers[shown], truth[shown]), seed=seed,
    )  # fmt: skip
    facts = {
        "Data": source.name, "Part": chosen, "Objects looked at": len(values), "Typical objects": of,
        "Seconds": f"{time.monotonic() - began:.1f}",
    }  # fmt: skip
    explained = ExplainedTable(bundle.classes, tuple(told), ranked, tuple(followed), facts, learned)
    if output is not None:
        write(Path(output), explained, bundle)
    return explained


def _ranked(
    bundle: Bundle, source: TableSource, some: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int, progress: Progress
) -> tuple[Importance | None, list[Dependence]]:
    """What the columns count for, where enough objects have a label, and how answers follow them.

    `some`: places in the source, raw values, class numbers (-1: no label) of the objects.
    """
    places, values, truth = some
    columns, invalid, scored = bundle.table.column_names, bundle.preparation.invalid, _score(bundle)
    ranked, judged = None, truth >= 0
    if _enough(truth):
        groups = None if source.groups is None else np.asarray(source.groups)[places][judged]
        how = Permuting(decision=bundle.thresholds.decision, seed=seed)
        ranked = importance(
            scored, values[judged], truth[judged], columns, groups=groups, invalid=invalid, how=how, progress=progress
        )
    if len(values) < FEWEST:
        return ranked, []
    wanted = ranked.order[:FOLLOWED] if ranked is not None else columns[:FOLLOWED]
    units = [column.unit for column in bundle.table.columns]
    return ranked, dependence(scored, values, columns, wanted, units=units, invalid=invalid, seed=seed)


def _looked_at(
    bundle: Bundle, source: TableSource, ids: Sequence[str], asked: bool
) -> tuple[np.ndarray, np.ndarray, str]:
    """Places in the source and raw values of the objects that are explained, and what the model has seen of them.

    `asked`: a part was named, and is taken whole. Raises InputError where there is no object with an answer.
    """
    learned, chose = rows_in(source, bundle, "train"), rows_in(source, bundle, "validation")
    if ids:
        some, values = _answered(bundle, source, named(source, ids))
        names = np.asarray(source.ids)[some[learned[some]]].tolist()
        if len(some) == len(ids):
            return some, values, f"The model has learned from {', '.join(map(str, names))}." if names else ""
    none = np.zeros(len(source), bool)
    for out in [] if ids else [none] if asked else [learned | chose, learned, none]:
        left = np.flatnonzero(~out)
        if not len(left):
            continue
        spread = np.linspace(0, len(left) - 1, min(len(left), _SCORED)).astype(np.int64)
        some, values = _answered(bundle, source, left[spread])
        if len(some):
            return some, values, _seen(out, learned, chose, some)
    raise InputError(
        "an object without an answer has no reasons" if ids else "there is no object with an answer to explain",
        where=source.name, cure="`estampa predict` says why in the column flags.",
    )  # fmt: skip


def _seen(out: np.ndarray, learned: np.ndarray, chose: np.ndarray, some: np.ndarray) -> str:
    """What was left out, or that objects which are explained were learned from, in a sentence."""
    kinds = [(learned & out, "that the model learned from"), (chose & out & ~learned, "of its validation part")]
    told = [f"{numbered(int(kind.sum()), 'object')} {what}" for kind, what in kinds if kind.any()]
    if told:
        return f"Left out: {' and '.join(told)}; explained on {numbered(int((~out).sum()), 'other')}."
    seen = int(learned[some].sum())
    if not seen:
        return ""
    which = "These are objects" if seen == len(some) else f"{seen:,} of these {len(some):,} are objects"
    return f"{which} that the model has learned from: columns may count for what it remembers."


def _answered(bundle: Bundle, source: TableSource, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of the places whose objects `predict` gives an answer, and their raw values."""
    values = source.take_rows(places)
    good = ~bundle.preparation.unanswered(values)
    good[good] = np.isfinite(_score(bundle)(values[good])).all(axis=1) if good.any() else good[good]
    return places[good], values[good]


def _score(bundle: Bundle) -> Score:
    def score(values: np.ndarray) -> np.ndarray:
        return bundle.score(values, wanted=("output",)).output

    return score


def _enough(truth: np.ndarray) -> bool:
    known = truth[truth >= 0]
    return len(known) >= FEWEST and len(np.unique(known)) > 1


def _source(bundle: Bundle, data: Data, part: str, ids: Sequence[str]) -> tuple[TableSource, str]:
    """The rows that are looked at, and the name of their part."""
    if part not in (*PARTS[1:], "", "all"):
        raise InputError(f"there is no part {part!r}", where="--part", allowed=", ".join((*PARTS[1:], "all")))
    source = open_table(data, bundle.table)
    if not isinstance(source, DatasetTable):
        if part:
            raise InputError("only a Dataset has parts", where="--part", got=part)
        return source, "all rows"
    parts = parts_of(source.dataset, bundle)
    own = source.dataset.content_sha256 == bundle.manifest.hashes.data
    there = next((p for p in ("test", "validation") if len(parts[p]) and (own or p == "test")), "all")
    chosen = part or ("all" if ids else there)
    rows = np.arange(source.dataset.n) if chosen == "all" else parts[chosen]
    return DatasetTable(source.dataset, rows if len(rows) else chosen, bundle.table), chosen


def _tied(found: Importance | None, columns: Sequence[str]) -> Units:
    """Columns that are replaced together."""
    if found is None:
        return ()
    names = list(columns)
    return tuple(tuple(names.index(name) for name in lost.columns) for lost in found.groups)


def _typical(bundle: Bundle, source: TableSource) -> tuple[np.ndarray, str]:
    """Raw rows (b, columns) that stand for what the model learned from, and what they are."""
    if isinstance(source, DatasetTable) and source.dataset.content_sha256 == bundle.manifest.hashes.data:
        rows = parts_of(source.dataset, bundle)["train"]
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SCORED)).astype(np.int64)]
        return DatasetTable(source.dataset, rows, bundle.table).take_rows(np.arange(len(rows))), "of the training part"
    features = bundle.tensors("reference")["describe"]
    return from_features(bundle, features), "of the validation part that the bundle keeps, as the model reads them"


def from_features(bundle: Bundle, features: np.ndarray) -> np.ndarray:
    """Raw columns (n, columns) float64 that give prepared features (n, k): measurements that failed are medians."""
    preparation = bundle.preparation
    values = np.tile(preparation.fill[: len(preparation.columns)], (len(features), 1))
    for f, place in enumerate(preparation.kept):
        if place < len(preparation.columns):
            values[:, place] = preparation.restored(f, features[:, f])
    return values


def write(folder: Path, explained: ExplainedTable, bundle: Bundle) -> None:
    """All files; the page last."""
    kept = Kept()
    text = render(explained, bundle, kept)
    kept.save(folder)
    files.write_atomic(folder / TABLE, sections.every_reason(explained.reasons, explained.classes).to_csv())
    files.write_atomic(folder / PAGE, text)


def render(explained: ExplainedTable, bundle: Bundle, kept: Kept) -> str:
    """The whole page; what it shows is put into `kept`."""
    names = explained.classes
    found = []
    if explained.importance is not None:
        blocks = sections.importance(explained.importance, names, kept)
        found.append(page.Section("importance", "What the columns count for", blocks))
    if blocks := sections.dependence(explained.dependence, names, kept):
        found.append(page.Section("dependence", "How answers follow the columns", blocks))
    if not sections.drawable():
        found.append(page.Section("figures", "Figures", [page.Note("note", "Figures need the extra `train`.")]))
    told = sections.reasons(explained.reasons, names, kept)
    found.append(page.Section("reasons", "Reasons for single answers", told))
    papers = [f"{paper}." for paper in sections.PAPERS.values()]
    how = [page.Text(sections.how_reasons()), page.Text("\n\n".join(papers))]
    found.append(page.Section("reading", "How to read it", how))
    versions = machine.describe()["versions"]
    assert isinstance(versions, dict)
    used = ", ".join(f"{k} {versions[k]}" for k in ("estampa", "onnxruntime") if versions.get(k))
    made = {"Model": f"{bundle.manifest.name}, {bundle.hash}", **explained.facts, "Versions": used}
    title = f"What the answers of {bundle.manifest.name} hang on"
    return page.render(title, explained.headline(), found, made_by=made)
