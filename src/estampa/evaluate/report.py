"""The report of a run: one HTML file, with its figures and tables also as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from estampa import files, measure, page
from estampa.data.splitfile import drawn_by
from estampa.evaluate import plots, report_table, tables
from estampa.evaluate.evidence import Evidence, worst_mistakes
from estampa.evaluate.judge import spelled, words
from estampa.evaluate.methods import methods
from estampa.evaluate.report_calibration import abstention, calibration
from estampa.evaluate.report_operating import by_columns, operating
from estampa.evaluate.report_pictures import answers, maps
from estampa.page import Kept, Section, Table
from estampa.plain import counted, numbered

_SHOWN_PROBABILITIES = 2


def write_report(folder: Path, evidence: Evidence) -> Path:
    """Write report.html, metrics.json, figures/*.svg and *.png, tables/*.csv and *.tex into `folder`.

    Returns the path of the report. Raises StorageError when the place cannot be written.
    """
    files.require_writable(folder / "report.html")
    kept = Kept()
    sections = [section for section in _sections(evidence, kept) if section.blocks]
    sections.append(_downloads(kept))
    text = page.render(_title(evidence), lead(evidence), sections, made_by=_made_by(evidence))
    kept.save(folder)
    files.write_atomic(folder / "report.html", text)
    record = json.dumps(evidence.to_json(), ensure_ascii=False, allow_nan=False, indent=1)
    files.write_atomic(folder / "metrics.json", record + "\n")  # last: it marks the run as finished
    return folder / "report.html"


def _title(evidence: Evidence) -> str:
    same = evidence.name.casefold() == evidence.data_name.casefold()
    return evidence.name if same else f"{evidence.name} on {evidence.data_name}"


def lead(evidence: Evidence) -> str:
    """The answer in one sentence: the leading metric with its interval, beside the baselines'."""
    judgement = evidence.judgement
    found = judgement.metrics[judgement.leading]
    where = f"{judgement.n:,} {evidence.part} objects {evidence.seen()}"
    others = "; ".join(
        _beside(b.name, b.judgement.metrics[judgement.leading], judgement.task) for b in evidence.baselines
    )
    tail = f". On the same objects: {others}." if others else "."
    if judgement.task == "regression":
        return f"{words(judgement.leading).capitalize()} {spelled(found)} on {where}{tail}"
    if judgement.uneven:
        plain = _percent(judgement.metrics["accuracy"])
        tail = f", each class counting alike; {plain} of all answers are right{tail}"
        return f"Balanced accuracy {_percent(found)} on {where}{tail}"
    return f"{_percent(found)} of the answers to {where} are right{tail}"


def _percent(found: Any) -> str:
    if np.isnan(found.low):
        return f"{100 * found.value:.1f} %"
    return f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _beside(name: str, found: Any, task: str) -> str:
    return f"{name} {spelled(found) if task == 'regression' else _percent(found)}"


def _sections(evidence: Evidence, kept: Kept) -> Iterator[Section]:
    yield Section("result", "Result", _result(evidence, kept))
    yield Section("data", "What was learned from what", _data(evidence))
    yield Section("training", "Training", _training(evidence, kept))
    if evidence.judgement.task == "regression":
        yield Section("errors", "Answers and errors", _regression(evidence, kept))
    else:
        yield Section("confusion", "What is taken for what", _confusion(evidence, kept))
        yield Section("classes", "Class by class", _classes(evidence, kept))
        yield Section("calibration", "Can the probabilities be trusted?", calibration(evidence, kept))
        yield Section("abstention", "When it may stay silent", abstention(evidence, kept))
    yield Section("operating", "At work: misses and false alarms", operating(evidence, kept))
    yield Section("slices", "For which objects", by_columns(evidence, kept))
    yield Section("answers", "Answers drawn at random", answers(evidence))
    yield Section("mistakes", "Worst mistakes", _mistakes(evidence, kept))
    yield Section("maps", "What answers hang on", maps(evidence))
    yield from report_table.sections(evidence, kept)
    yield Section("twins", "Near duplicates", _twins(evidence, kept))
    yield Section("symmetry", "Mirrors and turns", _symmetry(evidence))
    yield Section("folds", "Cross-validation", _folds(evidence, kept))
    yield Section("model", "The model", _model(evidence, kept))
    yield Section("methods", "Methods and references", _methods(evidence))


def _result(evidence: Evidence, kept: Kept) -> list[Any]:
    judgement = evidence.judgement
    wanted: tuple[str, ...] = ("accuracy", "balanced_accuracy", "roc_auc", "macro_f1", "rmse", "r2", "spearman")
    if judgement.uneven:
        wanted = ("balanced_accuracy", "macro_f1", "accuracy")
    first = sorted(wanted, key=lambda name: name != judgement.leading)
    items = [(words(m), judgement.metrics[m], "") for m in first if m in judgement.metrics]
    blocks: list[Any] = [page.Headline(items[:3])]
    blocks += [page.Note("warn", line) for line in evidence.warnings]
    blocks += report_table.uneven_note(evidence)
    if evidence.baselines:
        spent = evidence.seconds.get("training")
        method = evidence.table.method if evidence.table is not None else ""
        name = f"{evidence.name} ({method})" if method else evidence.name
        table = tables.versus(name, judgement, evidence.baselines, evidence.leads(), spent)
        blocks.append(kept.table("baselines", table))
    blocks.append(page.Details("Every metric", [kept.table("metrics", tables.metrics(judgement))]))
    return blocks


def _data(evidence: Evidence) -> list[Any]:
    data, header = evidence.dataset, evidence.dataset.header
    facts: dict[str, Any] = {"Data set": evidence.data_name}
    facts["Objects"] = [f"{part}: {n:,}" for part, n in evidence.counts.items() if n]
    if data.shape is not None:
        height, width, channels = data.shape
        many = "" if channels == 1 else "s"
        facts["Image"] = f"{height} x {width} pixels, {channels} channel{many}, {data.dtype}"
    if header.columns:
        facts["Table"] = f"{len(header.columns)} columns"
    if header.channels:
        facts["Channels"] = ", ".join(header.channels)
    if data.classes:
        facts["Classes"] = ", ".join(data.classes)
    if data.groups is not None:
        facts["Groups"] = f"{len(np.unique(np.asarray(data.groups))):,}, kept whole across parts"
    published = "came with the data" if header.published_split else "made by estampa, stratified and seeded"
    facts["Split"] = drawn_by(data.split_record) or published
    facts |= {_WORDS.get(k, str(k).capitalize()): v for k, v in header.origin.items() if _tellable(k, v)}
    facts |= {k: v for k, v in (("Release", header.release), ("Licence", header.licence)) if v}
    if data.rejected:
        facts["Left out"] = f"{len(data.rejected):,} unreadable, named in the data set file"
    facts["Content SHA-256"] = data.content_sha256
    return [page.Facts(facts)]


_WORDS = {"paths": "Files", "cite": "To cite", "url": "Address"}


def _tellable(key: str, value: Any) -> bool:
    """Whether an entry of the Dataset's origin is told: text, numbers, and short lists of them."""
    short = (
        isinstance(value, (list, tuple)) and len(value) <= 8 and all(isinstance(v, (str, int, float)) for v in value)
    )
    return key != "name" and bool(value) and (short or isinstance(value, (str, int, float)))


def _training(evidence: Evidence, kept: Kept) -> list[Any]:
    if not evidence.history:
        return []
    metric = evidence.monitor.removeprefix("validation_")
    if metric in ("", "auto", "loss"):
        metric = measure.METRICS[evidence.judgement.task][0]
    drawn = plots.training(evidence.history, evidence.kept_epoch, metric)
    stopped = f" How it ended: {evidence.stopped}." if evidence.stopped else ""
    caption = (
        f"Loss and {words(metric)} after each epoch. The dashed line marks epoch {evidence.kept_epoch}, whose weights "
        f"were kept. A validation curve that turns away from the training curve shows memorising.{stopped}"
    )
    return [kept.figure("training", drawn, caption, "Training curves")]


def _regression(evidence: Evidence, kept: Kept) -> list[Any]:
    output = np.asarray(evidence.output, float).reshape(evidence.judgement.n, -1)[:, 0]
    drawn = plots.regression(evidence.truth, output)
    caption = (
        "Left: answer against truth; on the grey line they are equal. Right: the error against the truth; a slope "
        "means that extremes are drawn to the middle."
    )
    return [kept.figure("regression", drawn, caption, "Answers against truth, and errors")]


def _confusion(evidence: Evidence, kept: Kept) -> list[Any]:
    judgement = evidence.judgement
    assert judgement.confusion is not None
    off = judgement.confusion.copy()
    np.fill_diagonal(off, 0)
    caption = "Rows are truth, columns are answers, in declared order. Colour and upper number: per cent of the row; "
    caption += "lower number: objects."
    if off.max() > 0:
        r, c = np.unravel_index(int(off.argmax()), off.shape)
        caption += (
            f" Most frequent confusion: {judgement.classes[r]} taken for {judgement.classes[c]}, {off[r, c]:,} times."
        )
    kept.table("confusion", tables.confusion(judgement))
    return [kept.figure("confusion", plots.confusion(judgement), caption, "Confusion matrix")]


def _classes(evidence: Evidence, kept: Kept) -> list[Any]:
    judgement = evidence.judgement
    blocks: list[Any] = [kept.table("classes", tables.per_class(judgement, ("precision", "recall", "f1")))]
    if np.ndim(evidence.output) == 2 and np.isfinite(judgement.metrics["roc_auc"].value):
        if len(judgement.classes) > 2:  # of two, the ROC curve stands with the working points
            drawn = plots.roc(judgement, evidence.truth, np.asarray(evidence.output, float))
            many = len(judgement.classes) > 5
            named = "the five weakest are named, the others grey" if many else "each class is named"
            caption = (
                f"ROC curve of each class against the rest; {named}. Dots: the answers as given, by largest "
                "probability. Grey line: chance."
            )
            blocks.append(kept.figure("roc", drawn, caption, "ROC curves"))
        areas = kept.table("areas", tables.per_class(judgement, ("roc_auc", "pr_auc")))
        blocks.append(page.Details("Areas under the curves, class by class", [areas]))
    return blocks


def _mistakes(evidence: Evidence, kept: Kept) -> list[Any]:
    places = worst_mistakes(evidence)
    data = evidence.dataset
    if not len(places):
        return [page.Note("good", f"No mistake among {evidence.judgement.n:,} objects.")]
    if data.shape is None:
        return [report_table.mistakes(evidence, places, kept)]
    truth, output, said = evidence.truth, np.asarray(evidence.output, float), evidence.predicted
    images = np.concatenate([image for row in evidence.rows[places] for _, image in data.blocks(np.array([row]))])
    ids = np.asarray(data.ids)[evidence.rows[places]]
    items = []
    for place, image, name in zip(places, images, ids, strict=True):
        label, chances = _mistake(evidence, truth[place], output[place], said[place])
        items.append(page.Picture(image, label, f"{name}: {chances}"))
    regression = evidence.judgement.task == "regression"
    kind = "largest error first" if regression else "least probability of the true class first"
    caption = (
        f"The {numbered(len(items), 'worst mistake')}, {kind}; id and {'numbers' if regression else 'probabilities'} "
        "below. Some may be wrong labels rather than wrong answers."
    )
    header = data.header
    tiles = 1 if data.shape[2] in (1, 3) else data.shape[2]
    grid = page.Pictures(
        items, caption, columns=None if tiles == 1 else max(1, 6 // tiles), channels=header.channels,
        pixel_scale=header.pixel_scale,
    )  # fmt: skip
    return [grid]


def _mistake(evidence: Evidence, truth: Any, output: np.ndarray, said: Any) -> tuple[str, str]:
    """Label and numbers of one mistake: the truth, what it was taken for, the largest probabilities."""
    if evidence.judgement.task == "regression":
        value = float(np.ravel(output)[0])
        texts = f"{value:.3g} for {truth:.3g}", f"error {value - truth:+.3g}"
        return texts[0].replace("-", "\N{MINUS SIGN}"), texts[1].replace("-", "\N{MINUS SIGN}")
    names = evidence.judgement.classes
    if np.ndim(output) == 0:
        return f"{names[int(truth)]}, taken for {names[int(output)]}", "no probabilities"
    order = np.argsort(-output, kind="stable")[:_SHOWN_PROBABILITIES]
    listed = [int(c) for c in order] + ([int(truth)] if int(truth) not in order else [])
    chances = ", ".join(f"{names[c]} {output[c]:.3f}" for c in listed)
    return f"{names[int(truth)]}, taken for {names[int(said)]}", chances


def _twins(evidence: Evidence, kept: Kept) -> list[Any]:
    if evidence.twins is None:
        return []
    apart = evidence.apart()
    if apart is None:
        if evidence.twins.any():
            return [page.Note("warn", "Every judged object has a near twin in the training part.")]
        if evidence.part != "test":  # near twins are sought between training and test only
            return []
        return [page.Note("good", "No judged object looks nearly the same as one in the training part.")]
    return [kept.table("near_twins", tables.twins(evidence.judgement, apart))]


def _symmetry(evidence: Evidence) -> list[Any]:
    found = evidence.consistency
    if found is None:
        return []
    names = {"hflip": "mirrored left to right", "d4": "mirrored and turned by quarter turns"}
    facts = {"Declared symmetry": f"{found.symmetry}: pictures {names[found.symmetry]} keep their label"}
    if np.isfinite(found.same.value):
        facts["Answer stays under every view"] = f"{_percent(found.same)} of {found.n:,} objects"
        facts["Mean change of the probabilities"] = f"{spelled(found.shift, 4)} (0 none, 1 all)"
    else:
        facts["Mean change of the answer"] = f"{spelled(found.shift, 4)} over {found.n:,} objects"
    return [page.Facts(facts)]


def _folds(evidence: Evidence, kept: Kept) -> list[Any]:
    found = evidence.crossval
    if found is None:
        return []
    name = found.judgement.leading
    values = [np.nan if r["metrics"][name] is None else r["metrics"][name] for r in found.per_fold]
    drawn = plots.folds(values, found.judgement.metrics[name], name)
    caption = (
        f"{words(name).capitalize()} of each fold; line and band: all held-out answers together, with 95 % interval."
    )
    times = f", dealt {found.repeats} times" if found.repeats > 1 else ""
    lines = f"{found.folds} folds{times}: {found.judgement.headline()}."
    table = kept.table("folds", tables.folds(found))
    return [page.Text(lines), kept.figure("folds", drawn, caption, "Folds"), page.Details("Fold by fold", [table])]


def _model(evidence: Evidence, kept: Kept) -> list[Any]:
    blocks: list[Any] = [page.Text(evidence.about)] if evidence.about else []
    if evidence.layers:
        rows = [[r.name, r.kind, " x ".join(map(str, r.shape)), int(r.parameters)] for r in evidence.layers]
        total = f"{counted(evidence.parameters, evidence.layers)}." if evidence.parameters is not None else ""
        table = Table(["layer", "kind", "output", "parameters"], rows, caption=total, align={"output": "right"})
        blocks.append(kept.table("layers", table))
    if evidence.decisions:
        blocks.append(page.Details("What was decided, and why", [page.Text("\n\n".join(evidence.decisions))]))
    if evidence.trials and (evidence.table is None or not evidence.table.method):
        columns = list(evidence.trials[0])
        rows = [[trial.get(c) for c in columns] for trial in evidence.trials]
        caption = "Every setting tried, judged on the validation part only."
        blocks.append(page.Details("Search", [kept.table("search", Table(columns, rows, caption=caption))]))
    if evidence.recipe:
        blocks.append(page.Details("The complete recipe", [page.Code(evidence.recipe)]))
    return blocks


def _methods(evidence: Evidence) -> list[Any]:
    text, papers = methods(evidence)
    return [page.Text(text), page.Text("\n\n".join(f"[{i}] {paper}." for i, paper in enumerate(papers, 1)))]


def _downloads(kept: Kept) -> Section:
    text = "Every table of this page, as CSV and as LaTeX (booktabs). Figures are beside this file as SVG and PNG."
    return Section("tables", "Tables to take away", [page.Text(text), kept.downloads()])


def _made_by(evidence: Evidence) -> dict[str, Any]:
    facts: dict[str, Any] = {"command": evidence.command} if evidence.command else {}
    if evidence.date:
        facts["Date"] = evidence.date
    facts["Seconds"] = [f"{stage}: {seconds:,.1f}" for stage, seconds in evidence.seconds.items()]
    if evidence.peak_memory:
        facts["Peak memory"] = f"{evidence.peak_memory / 2**20:,.0f} MiB"
    machine = evidence.machine
    if machine:
        processor = machine.get("processor", {})
        features = ", ".join(processor.get("features", []))
        memory = f"{machine.get('memory_bytes', 0) / 2**30:.1f} GiB"
        facts["Machine"] = [
            f"{processor.get('model', '')}, {machine.get('threads')} threads, {memory}",
            f"{machine.get('system')}{', ' + features if features else ''}",
        ]
        versions = {"python": machine.get("python"), **machine.get("versions", {})}
        facts["Versions"] = ", ".join(f"{k} {v}" for k, v in versions.items())
    facts |= {f"{what} hash": value for what, value in evidence.hashes.items()}
    return {k: v for k, v in facts.items() if v}
