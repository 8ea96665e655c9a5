"""What the classify page and the chooser show, as plain records for the templates; words in the reader's language."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from estampa.bundle.store import Bundle
from estampa.page.display import Shown, stretch_name
from estampa.serve.exhibits import exhibits, large
from estampa.serve.models import Version
from estampa.serve.pages.words import Words
from estampa.serve.service import Served
from estampa.serve.sure import Remark, Sure, remarks_of, sure_of

BARS = 7  #: classes with a bar of their own; the others are folded away
MOST_FILES = 60  #: pictures that one page answers; more belong to the batch page
_AGAIN = 3 << 20  #: bytes of a picture that the page carries so that it can ask again
_AGAIN_ALL = 6 << 20  #: the same of all pictures of a page
PICTURES, ROWS = "pictures", "rows"


@dataclass(frozen=True)
class Bar:
    """A class with its share; `mark` is a threshold on the same scale."""

    name: str
    share: float
    percent: str
    best: bool = False
    mark: float | None = None


@dataclass(frozen=True)
class Neighbour:
    """A training example near an object; `same`: of the class answered, None of a regression."""

    picture: Shown
    name: str
    same: bool | None


@dataclass(frozen=True)
class Cell:
    """A column of the row that was scored; `place`: where it lies in the training range, 0 to 1."""

    name: str
    value: str
    range: str
    place: float | None
    remark: str


@dataclass(frozen=True)
class Asked:
    """Where an object came from: what to call it, its label if the data state one, and whether it is stored already."""

    name: str
    truth: int | float | None = None
    kept: bool = False


@dataclass(frozen=True)
class Answer:
    """One answer, ready to be shown."""

    name: str
    bad: bool
    predicted: str
    percent: str
    kicker: str
    said: str
    tiles: list[Shown]
    seen: str
    remarks: list[Remark]
    facts: list[tuple[str, str]]
    sure: Sure | None = None
    exemplar: Shown | None = None
    bars: list[Bar] = field(default_factory=list)
    rest: list[Bar] = field(default_factory=list)
    rest_words: str = ""
    threshold: str = ""
    truth: str = ""
    near: list[Neighbour] = field(default_factory=list)
    near_words: str = ""
    cells: list[Cell] = field(default_factory=list)
    ask: list[tuple[str, str]] = field(default_factory=list)
    why: bool = False
    map: Shown | None = None
    map_alt: str = ""
    map_words: str = ""
    reasons: list[Any] = field(default_factory=list)
    reasons_words: str = ""
    kept: bool = False


def noun_of(bundle: Bundle) -> str:
    """The key of the words for what a model classifies."""
    return ROWS if bundle.of_table else PICTURES


def class_names(bundle: Bundle, words: Words) -> tuple[str, ...]:
    """The classes as they are called in a language, as far as the bundle knows that."""
    return bundle.manifest.display.get(words.language) or tuple(name.replace("_", " ") for name in bundle.classes)


def label_name(bundle: Bundle, names: Sequence[str], words: Words, label: float) -> str:
    """A label for people: the class's name, or the number."""
    return names[int(label)] if bundle.classes else words.short(float(label))


class Viewer:
    """Makes what is shown of the answers of one version, in one language."""

    def __init__(self, version: Version, words: Words) -> None:
        self.version, self.bundle, self.words = version, version.bundle, words
        self.exhibits = exhibits(version)
        self.names = class_names(self.bundle, words)
        self.noun = noun_of(self.bundle)

    def answers(self, served: Served, asked: Sequence[Asked]) -> list[Answer]:
        """All answers of a request; with several, what only a single one needs is left out."""
        lone = len(asked) == 1
        made = [self._answer(served, i, one, lone) for i, one in enumerate(asked)]
        size = sum(len(value) for answer in made for _, value in answer.ask)
        return made if lone or size <= _AGAIN_ALL else [replace(answer, ask=[]) for answer in made]

    def _answer(self, served: Served, i: int, asked: Asked, lone: bool) -> Answer:
        t, told = self.words, served.answers[i]
        bad = told["predicted"] is None
        remarks = remarks_of(t, told["flags"], self.noun)
        row = self._row(served, i)
        tiles = [] if self.bundle.of_table or (bad and not row.any()) else large(row, self.bundle.pictures)
        predicted = "" if bad else self._predicted(told)
        percent = t.chance(told["probability"]) if not bad and self.bundle.classes else ""
        sure = None if bad else sure_of(t, self.bundle, told, self.noun, self.names)
        said = t("answer.none") if bad else f"{predicted} {percent}. {sure.word if sure else ''}"
        answer = Answer(
            asked.name, bad, predicted, percent, "" if bad else self._kicker(told), said, tiles,
            self.seen(row) if tiles else "", remarks, self._facts(told, asked), sure, kept=served.kept or asked.kept,
        )  # fmt: skip
        if bad:
            return answer
        answer = replace(answer, ask=self._again(row, asked, answer.kept), why=self.can_explain)
        if not lone:
            return answer
        bars = self._bars(told)
        kept = bars if len(bars) <= BARS + 1 else bars[:BARS]
        folded = bars[len(kept) :]
        embedding = None if served.embedding is None else served.embedding[i]
        near, near_words = self._near(embedding, told)
        return replace(
            answer, bars=kept, rest=folded, near=near, near_words=near_words, cells=self.cells(row),
            exemplar=self._exemplar(told), truth=self._truth(told, asked), threshold=self._threshold(told),
            rest_words=t("answer.rest", n=len(folded), percent=t.chance(sum(b.share for b in folded)))
            if folded else "",
        )  # fmt: skip

    # ------------------------------------------------------------------ parts of an answer

    @property
    def can_explain(self) -> bool:
        """Whether a page may ask what an answer hangs on."""
        if not self.bundle.of_table:
            return min(self.bundle.pictures.shape[:2]) >= 6
        return bool(self.bundle.classes) and self.exhibits.presets is not None and len(self.bundle.table.columns) <= 64

    def _row(self, served: Served, i: int) -> np.ndarray:
        chunk = served.inputs.chunk
        found: np.ndarray = chunk.values[i] if self.bundle.of_table else chunk.images[i]  # type: ignore[union-attr]
        return found

    def _predicted(self, told: dict[str, Any]) -> str:
        if self.bundle.classes:
            return self.names[self.bundle.classes.index(told["predicted"])]
        return self.words.short(told["predicted"])

    def _kicker(self, told: dict[str, Any]) -> str:
        if not self.bundle.classes:
            return self.words("answer.kicker_value")
        top = max(told["probabilities"].values())
        return self.words("answer.kicker" if told["probability"] >= top else "answer.kicker_threshold")

    def seen(self, row: np.ndarray) -> str:
        """Size, channels and stretch of a picture as it is shown, in words."""
        contract, t = self.bundle.pictures, self.words
        height, width, channels = contract.shape
        stretch = t(f"stretch.{stretch_name([row], 'auto')}")
        return t("answer.seen", width=width, height=height, channels=t("answer.channels", n=channels)) + " " + stretch

    def _bars(self, told: dict[str, Any]) -> list[Bar]:
        if not self.bundle.classes:
            return []
        t, shares = self.words, list(told["probabilities"].values())
        decision = self.bundle.thresholds.decision
        bars = []
        for k in sorted(range(len(shares)), key=lambda k: -shares[k]):
            best = self.bundle.classes[k] == told["predicted"]
            mark = decision if decision is not None and len(shares) == 2 and k == 1 else None
            bars.append(Bar(self.names[k], shares[k], t.chance(shares[k]), best, mark))
        return bars

    def _threshold(self, told: dict[str, Any]) -> str:
        decision = self.bundle.thresholds.decision
        if decision is None or len(self.names) != 2 or not told["threshold"]:
            return ""
        return self.words("answer.threshold", name=self.names[1], percent=self.words.percent(decision))

    def _exemplar(self, told: dict[str, Any]) -> Shown | None:
        if not self.bundle.classes:
            return None
        return self.exhibits.exemplar(self.bundle.classes.index(told["predicted"]))

    def _truth(self, told: dict[str, Any], asked: Asked) -> str:
        t = self.words
        if asked.truth is None:
            return ""
        name = label_name(self.bundle, self.names, t, asked.truth)
        if not self.bundle.classes:
            return t("truth.value", name=name)
        right = self.bundle.classes[int(asked.truth)] == told["predicted"]
        return t("truth.right" if right else "truth.wrong", name=name)

    def _near(self, embedding: np.ndarray | None, told: dict[str, Any]) -> tuple[list[Neighbour], str]:
        if embedding is None:
            return [], ""
        labels, t = self.exhibits.labels, self.words
        found = []
        for place in self.exhibits.nearest(embedding):
            name = label_name(self.bundle, self.names, t, labels[place])
            same = self.bundle.classes[int(labels[place])] == told["predicted"] if self.bundle.classes else None
            found.append(Neighbour(self.exhibits.thumb(place), name, same))
        if not found:
            return [], ""
        if not self.bundle.classes:
            return found, t("near.how")
        agree = sum(bool(n.same) for n in found)
        count = t("near.agree", agree=t.whole(agree), all=t.whole(len(found)), name=self._predicted(told))
        return found, f"{count} {t('near.how')}"

    def cells(self, row: np.ndarray) -> list[Cell]:
        """The columns of a row of a table, each within its range; [] of pictures."""
        if not self.bundle.of_table:
            return []
        t, contract = self.words, self.bundle.table
        invalid = self.bundle.preparation.invalid(row[None])[0]
        cells = []
        for column, value, failed in zip(contract.columns, row.tolist(), invalid.tolist(), strict=True):
            low, high = column.low, column.high
            span, place = t("cells.unknown"), None
            if low is not None and high is not None:
                span = t("cells.span", low=t.short(low), high=t.short(high))
                place = None if failed else min(max((value - low) / ((high - low) or 1.0), -0.02), 1.02)
            remark = ""
            if failed:
                remark = t("cells.failed")
            elif column.minimum is not None and not column.minimum <= value <= column.maximum:
                remark = t("cells.beyond")
            unit = f" {column.unit}" if column.unit else ""
            cells.append(Cell(column.name, t.short(value) + unit, span, place, remark))
        return cells

    def _again(self, row: np.ndarray, asked: Asked, kept: bool) -> list[tuple[str, str]]:
        """Hidden fields by which the page can ask about the same object: the service keeps none itself."""
        if not self.can_explain or row.nbytes > _AGAIN:
            return []
        stream = io.BytesIO()
        np.save(stream, row[None], allow_pickle=False)
        fields = [("again", base64.b64encode(stream.getvalue()).decode()), ("name", asked.name)]
        if asked.truth is not None:
            fields.append(("truth", repr(asked.truth)))
        return [*fields, ("kept", "1")] if kept else fields

    def _facts(self, told: dict[str, Any], asked: Asked) -> list[tuple[str, str]]:
        t = self.words
        facts = [(t("facts.object"), asked.name)]
        if told.get("probability") is not None:
            facts.append((t("facts.probability"), t.number(told["probability"], 6)))
        facts.append((t("facts.flags"), "; ".join(told["flags"]) or t("facts.no_flags")))
        facts.append((t("facts.model"), f"{self.bundle.manifest.name}, {told['model']}"))
        facts.append((t("facts.request"), told["request_id"]))
        return facts
