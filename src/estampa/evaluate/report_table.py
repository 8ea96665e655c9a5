"""The report's sections on tables: columns, search, importance, dependence, tree, reasons, the unlabelled, fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from estampa import page
from estampa.evaluate import plots_table
from estampa.evaluate.evidence import Evidence
from estampa.evaluate.fusion import COMPARED, FUSED, NET, TABLE, Fusion
from estampa.evaluate.judge import spelled, words
from estampa.evaluate.table_evidence import TableEvidence, Uncertain
from estampa.explain import sections as shown
from estampa.explain.reasons import format_value
from estampa.measure import Interval
from estampa.page import Kept, Section, Table
from estampa.plain import numbered

_RULE = (
    "The rule: the simplest method whose difference to the best one is not beyond chance on objects that were not "
    "learned from (paired bootstrap over the held-out answers of the folds and of the validation part). The judged "
    "part had no say."
)
_MOST_COLUMNS = 60  #: of which the table of columns shows a row


def sections(evidence: Evidence, kept: Kept) -> list[Section]:
    """All sections of a model of a table, in order; empty ones have no blocks."""
    found = evidence.table
    if found is None:
        return []
    names = evidence.judgement.classes
    return [
        Section("columns", "The columns", columns(found, kept)),
        Section("search", "The search and the choice", search(found, kept)),
        Section("importance", "What the columns count for", _importance(found, names, kept)),
        Section("dependence", "How answers follow the columns", _dependence(found, names, kept)),
        Section("tree", "The tree", shown.tree_blocks(found.tree, kept) if found.tree is not None else []),
        Section("reasons", "Reasons for single answers", _reasons(found, names, kept)),
        Section("unlabelled", "Objects without a label", unlabelled(found.uncertain, names, kept)),
        Section("fusion", "Pictures and table together", fusion(found.fusion, kept)),
    ]


def columns(found: TableEvidence, kept: Kept) -> list[Any]:
    """Each column with its role, unit and range, and what failed in it by rule."""
    if not found.columns:
        return []
    read = [c for c in found.columns if c.role == "learned from"]
    leaks = [c.name for c in found.columns if c.role == "tells the answer"]
    text = f"{numbered(len(read), 'column')} of {len(found.columns)} {'is' if len(read) == 1 else 'are'} learned from"
    derived = len(found.names) - sum(name in {c.name for c in read} for name in found.names)
    text += f"; {numbered(derived, 'feature')} more derived from them." if derived else "."
    if leaks:
        text += f" Left out, since they tell the answer: {', '.join(leaks)}."
    blocks: list[Any] = [page.Text(text)]
    if told := _failed(found):
        blocks.append(page.Text(told))
    order = ("learned from", "weight", "left out", "kept aside", "tells the answer")
    ranked = sorted(found.columns, key=lambda c: order.index(c.role) if c.role in order else len(order))
    rows = [
        [c.name, c.role, c.unit or None, _plain(c.low), _plain(c.median), _plain(c.high), _rules(c.invalid)]
        for c in ranked
    ]
    caption = (
        "All rows. Smallest, median and largest of the values that were measured; then what was not, by rule and how "
        "often: missing is an empty field or NaN, the others are values that surveys write where a measurement failed, "
        "or that are impossible."
    )
    titles = ["column", "role", "unit", "smallest", "median", "largest", "not measured"]
    align = dict.fromkeys(("smallest", "median", "largest"), "right")
    whole = kept.table("columns", Table(titles, rows, caption=caption, align=align))  # type: ignore[arg-type]
    if len(rows) <= _MOST_COLUMNS:
        blocks.append(whole)
    else:
        first = Table(titles, rows[:_MOST_COLUMNS], caption=caption, align=align)  # type: ignore[arg-type]
        blocks += [first, page.Note("note", f"{_MOST_COLUMNS} of {len(rows)} columns; all are in the file below.")]
    made = [
        f"{n} = {f}" for n, f in zip(found.names, found.formulas, strict=False) if f and not n.startswith("missing:")
    ]
    if made:
        blocks.append(page.Details("Derived features", [page.Text("\n\n".join(made))]))
    return blocks


def _failed(found: TableEvidence) -> str:
    """How many rows have a failed measurement, by part, and what became of them."""
    parts = [f"{bad:,} of {n:,} {part}" for part, (bad, n) in found.failed.items() if bad]
    if found.dropped:
        bad, n = found.failed.get("labelled", (0, 0))
        return f"Left out, as a measurement failed in a column that is learned from: {bad:,} of {n:,} labelled objects."
    if not parts:
        return (
            "No object that was used has a failed measurement in a column that is learned from." if found.failed else ""
        )
    return (
        f"Objects with a failed measurement in a column that is learned from: {', '.join(parts)}. The median of the "
        "training part stands in its place, and a feature of its own says so."
    )


def _rules(counts: Mapping[str, int]) -> str | None:
    return ", ".join(f"{rule} ({n:,})" for rule, n in counts.items()).replace("-", "\N{MINUS SIGN}") or None


def _plain(value: float) -> str | None:
    return format_value(value) if np.isfinite(value) else None


def search(found: TableEvidence, kept: Kept) -> list[Any]:
    """Every setting tried with score and spread, and which method was chosen by what rule."""
    blocks: list[Any] = []
    if found.choice:
        blocks.append(page.Text(str(found.choice[0].get("sentence") or f"Chosen: {found.method}.")))
    if len(found.choice) > 1:
        blocks.append(page.Text(_RULE))
        blocks.append(kept.table("choice", _choice(found.choice, found.method)))
    good = [t for t in found.trials if t.get("score") is not None]
    if good:
        drawn = plots_table.search(good, found.method, found.metric)
        metric = words(found.metric)
        caption = (
            f"{metric[0].upper()}{metric[1:]} of every setting in folds of the training part, best first within its "
            "method; whiskers: standard deviation over the folds. Settings beside one another are draws from wide "
            "ranges: how far they lie apart is what tuning can give."
        )
        blocks.append(kept.figure("search", drawn, caption, "Every setting that was tried"))
    if found.trials:
        rows = [[t.get("number"), t.get("method"), _values(t.get("values")), t.get("score"), t.get("spread"),
                 t.get("seconds"), t.get("error") or None] for t in found.trials]  # fmt: skip
        titles = ["number", "method", "values", "score", "spread", "seconds", "error"]
        metric = words(found.metric)
        caption = (
            f"Score: {metric} of the answers of all folds of the training part together; spread: standard deviation "
            "of the folds' own."
        )
        table = kept.table(
            "settings", Table(titles, rows, caption=caption, decimals={"score": 4, "spread": 4, "seconds": 1})
        )
        blocks.append(page.Details(f"All {len(rows):,} settings", [table]))
    return blocks


def _choice(rows: Sequence[Mapping[str, Any]], method: str) -> Table:
    """What the choice rule saw, method by method: the chosen one, then the others from the best on."""
    titles = ["method", "score", "difference to the best", "values"]
    cells = [
        [
            f"{row.get('method')}{' (chosen)' if row.get('method') == method else ''}", _cell(row.get("score")),
            _cell(row.get("difference")), _values(row.get("values")),
        ]
        for row in rows
    ]  # fmt: skip
    caption = (
        "Each method at its best setting, on held-out objects; the difference to the best with its paired 95 % "
        "bootstrap interval. Where that interval holds 0, the simpler method is good enough."
    )
    return Table(titles, cells, caption=caption, decimals=4)


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Interval.from_json(dict(value))
    if isinstance(value, (list, tuple)) and len(value) == 3:
        return Interval(*(float(v) for v in value))
    return value


def _values(values: Any) -> str | None:
    if not isinstance(values, Mapping):
        return None if values is None else str(values)
    return ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()) or "as they are"


def _importance(found: TableEvidence, names: Sequence[str], kept: Kept) -> list[Any]:
    return shown.importance(found.importance, names, kept) if found.importance is not None else []


def _dependence(found: TableEvidence, names: Sequence[str], kept: Kept) -> list[Any]:
    return shown.dependence(found.dependence, names, kept)


def _reasons(found: TableEvidence, names: Sequence[str], kept: Kept) -> list[Any]:
    if not found.reasons:
        return []
    wrong = sum(r.truth != r.answer for r in found.reasons)
    right = numbered(len(found.reasons) - wrong, "right answer")
    lead = f"{numbered(wrong, 'wrong answer')} and {right}, drawn at random."
    more = page.Code("estampa explain RUN DATA --id ID -o explain", "Reasons for any other object")
    told = page.Details("How reasons are had", [page.Text(shown.how_reasons())])
    return [page.Text(lead), *shown.reasons(found.reasons, names, kept), told, more]


def unlabelled(found: Uncertain | None, names: Sequence[str], kept: Kept) -> list[Any]:
    """Objects without a label: counted, scored, and how sure the model is of them beside the judged ones."""
    if found is None:
        return []
    share = found.n / max(found.of, 1)
    text = (
        f"{found.n:,} of {found.of:,} objects ({100 * share:.0f} %) have no label: nobody, or not enough of those who "
        "looked, could say what they are. They were neither learned from nor judged, so every figure of this page is "
        "of the easier rest."
    )
    if not len(found.output):
        return [page.Text(text), page.Note("note", "None of them can be answered: their measurements failed.")]
    said = ", ".join(f"{name} {100 * p:.0f} %" for name, p in zip(names, found.answered, strict=True))
    text += (
        f" Scored all the same, the answers are: {said}. {100 * found.unsure(found.output):.0f} % of them have no "
        f"probability of 0.8 or more; of the judged objects {100 * found.unsure(found.beside):.0f} %."
    )
    caption = (
        "How often each probability is given: filled, objects without a label; line, the judged objects. A model that "
        "is as sure of what people could not tell as of the rest says more than is known."
    )
    drawn = plots_table.unlabelled(found, names)
    return [page.Text(text), kept.figure("unlabelled", drawn, caption, "Probabilities of objects without a label")]


def fusion(found: Fusion | None, kept: Kept) -> list[Any]:
    """Net, model of the table, and both together on the same objects."""
    if found is None:
        return []
    metrics = [m for m in COMPARED if m in found.judgements[FUSED].metrics]
    rows = [[found.about[k], *(j.metrics[m] for m in metrics)] for k, j in found.judgements.items()]
    n = found.judgements[FUSED].n
    caption = f"The same {n:,} objects for all three, with 95 % bootstrap intervals."
    best: Any = {words(m): "min" if m == "log_loss" else "max" for m in metrics}
    first = kept.table("fusion", Table(["model", *(words(m) for m in metrics)], rows, caption=caption, best=best))
    net, table = found.about[NET], found.about[TABLE]
    pairs = {
        f"{FUSED} - {NET}": f"both minus {net}",
        f"{FUSED} - {TABLE}": f"both minus {table}",
        f"{NET} - {TABLE}": f"{net} minus {table}",
    }
    cells = [[said, *(found.differences[pair][m] for m in metrics)] for pair, said in pairs.items()]
    caption = (
        "Differences from resamples that both share; where an interval leaves out 0, the difference is beyond chance. "
        "Of log loss a negative difference is better."
    )
    second = kept.table(
        "fusion_differences", Table(["difference", *(words(m) for m in metrics)], cells, caption=caption)
    )
    return [page.Text(f"{found.headline()} {_weight(found)}"), first, second, *_curve(found, kept)]


def _weight(found: Fusion) -> str:
    how = (
        f"chosen on {found.chosen_on:,} validation objects by log loss" if found.chosen_on else
        "a half, as too few validation objects are there to choose it on"
    )  # fmt: skip
    return (
        f"Together: probabilities proportional to p(pictures)^w p(table)^(1 - w), with w = {found.weight:.3f}, {how}. "
        f"Both give one answer to {100 * found.agree:.0f} % of the judged objects; on {100 * found.both_wrong:.1f} % "
        "both err, which no fusion can mend."
    )


def _curve(found: Fusion, kept: Kept) -> list[Any]:
    if not found.chosen_on:
        return []
    drawn = plots_table.weights(found)
    caption = (
        "Log loss of the validation part by the weight of the net: left the table alone, right the pictures alone."
    )
    return [
        page.Details("How the weight was chosen", [kept.figure("fusion_weight", drawn, caption, "Weight of the net")])
    ]


def mistakes(evidence: Evidence, places: np.ndarray, kept: Kept) -> Table:
    """The worst mistakes of a table as rows: id, truth, answer, and the probabilities of both."""
    names, output = evidence.judgement.classes, np.asarray(evidence.output, float)
    ids, truth, said = np.asarray(evidence.dataset.ids)[evidence.rows[places]], evidence.truth, evidence.predicted
    if evidence.judgement.task == "regression":
        values = output.reshape(evidence.judgement.n, -1)[:, 0]
        rows: list[list[Any]] = [
            [str(i), truth[p], values[p], values[p] - truth[p]] for i, p in zip(ids, places, strict=True)
        ]
        return kept.table("mistakes", Table(["id", "truth", "answer", "error"], rows, "The largest errors first."))
    rows = [
        [str(name), names[int(truth[p])], names[int(said[p])], output[p, int(truth[p])], output[p, int(said[p])]]
        for name, p in zip(ids, places, strict=True)
    ]
    caption = "Least probability of the true class first. Some may be wrong labels rather than wrong answers."
    return kept.table("mistakes", Table(["id", "truth", "answer", "p(truth)", "p(answer)"], rows, caption))


def uneven_note(evidence: Evidence) -> list[Any]:
    """Of uneven classes, the classes in front: each one's recall and F1 beside how often it occurs."""
    judgement = evidence.judgement
    if not judgement.uneven or not judgement.per_class:
        return []
    counts = ", ".join(f"{row['class']} {row['n']:,}" for row in judgement.per_class[:8])
    worst = min(judgement.per_class, key=lambda row: row["recall"].value)
    text = (
        f"The classes are uneven ({counts}), so balanced accuracy and macro F1 stand first: in both each class counts "
        f"alike. Least is found of {worst['class']}: recall {spelled(worst['recall'])}."
    )
    return [page.Text(text)]
