"""The transfer race: a head on a frozen backbone, with features computed once or in each epoch; scoring beside eager."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.sides import HERE, found, lines_of, median

REAL = HERE.parents[1] / "shared" / "data" / "quintuplets-heads"
AIM, SIDE, SCORED = 0.95, 160, 224
MOST_SEEDS = 3
HELD = 5  #: one picture in so many is of the validation part
Records = list[dict[str, object]]


def race(scratch: Path, seeds: int) -> list[str]:
    """Rows of results.md; the two sides in turn, seed by seed. Both run in this very environment: torch is the same."""
    what = make_set(scratch / "transfer.npz", SIDE)
    ours: Records = []
    plain: Records = []
    for seed in range(seeds):
        words = (scratch / "transfer.npz", "--aim", AIM, "--seed", seed)
        plain += lines_of(sys.executable, HERE / "peers" / "timm_frozen.py", *words)
        ours += lines_of(sys.executable, "-m", "benchmarks.ours_transfer", words[0], "train", *words[1:])
    make_set(scratch / "scored.npz", SCORED, most=20)
    scored = lines_of(sys.executable, "-m", "benchmarks.ours_transfer", scratch / "scored.npz", "score")
    return [*train_rows(what, plain, ours), *score_rows(scored)]


def make_set(target: Path, side: int, most: int = 0) -> str:
    """Write pictures (n, side, side, 3), labels and which are held out; returns what they are. `most` of each class."""
    import numpy as np

    from estampa.data.read import ReadOptions, build

    scratch = target.with_suffix(".h5")
    if REAL.is_dir():
        what = "heads of five cartoon sisters (quintuplets-heads)"
        dataset = build(REAL, scratch, ReadOptions(size=(side, side)), skip_bad=True)
    else:
        what = "DRAWN heads of five sisters (builder `characters`; the real ones were not at hand)"
        dataset = build("characters", scratch, builder_options={"size": str(side), "each": str(most or 400)})
    rows, labels = np.arange(dataset.n), np.asarray(dataset.labels, np.int64)
    if most:
        rows = np.concatenate([rows[labels == k][:most] for k in range(len(dataset.classes))])
    held = np.zeros(len(rows), bool)
    for k in range(len(dataset.classes)):
        own = np.random.default_rng(0).permutation(np.flatnonzero(labels[rows] == k))
        held[own[: len(own) // HELD]] = True
    np.savez(target, images=dataset.take(rows), labels=labels[rows], held=held)
    scratch.unlink()
    return f"{(~held).sum():,} {what}, {held.sum():,} more to judge on, {side} x {side} pixels"


def spread(records: Records, key: str) -> str:
    values = [found([record], key) for record in records]
    return f"{median(values):.1f} ({min(values):.1f}, {max(values):.1f})"


def train_rows(what: str, plain: Records, ours: Records) -> list[str]:
    """Time to the accuracy aimed at; a seed in which one side does not reach it is said, not left out in silence."""
    rows = [
        f"## Transfer learning: pictures in memory to {AIM:.0%} validation accuracy, backbone frozen", "",
        f"{what}.",
        "EfficientNet-Lite0 frozen, head of 128, dropout 0.2, Adam at 0.001, batches of 32, one view of each picture, float32, channels",
        f"last, one thread on both sides; {len(plain)} seeds in turn, median (lowest, highest). Reading of weights and validation after",
        "each epoch are counted, imports are not.", "",
        "| way | epochs to the aim | processor seconds | seconds by the clock | ratio (processor) |",
        "| --- | --- | --- | --- | ---: |",
    ]  # fmt: skip
    both = [(p, o) for p, o in zip(plain, ours, strict=True) if p["epoch"] and o["epoch"]]
    if not both:
        best = [max(found([r], "accuracy") for r in side) for side in (plain, ours)]
        return [*rows, "", f"The aim was not reached: at best {best[0]:.4f} (plain) and {best[1]:.4f} (ours).", ""]
    sides = {
        "plain PyTorch + timm, the whole net forward in each epoch": [p for p, _ in both],
        "ours, features computed once, recipe `characters-frozen`": [o for _, o in both],
    }
    base = median([found([p], "cpu_seconds") for p, _ in both])
    for name, records in sides.items():
        ratio = base / median([found([r], "cpu_seconds") for r in records])
        epochs = spread(records, "epoch").replace(".0", "")
        rows.append(
            f"| {name} | {epochs} | {spread(records, 'cpu_seconds')} | {spread(records, 'seconds')} | {ratio:.1f} |"
        )
    missed = len(plain) - len(both)
    said = f" In {missed} more seeds a side did not reach the aim." if missed else ""
    return [*rows, "", f"Goal: at least 5.{said}", ""]


def score_rows(scored: Records) -> list[str]:
    """Milliseconds a picture of eager torch and of the bundle."""
    rows = [
        f"## Transfer learning: scoring at {SCORED} x {SCORED}, EfficientNet-Lite0, one thread", "",
        "Processor milliseconds a picture, stored pixels to probabilities: median (lowest, highest) of turns.", "",
        "| way | batch | ms a picture | ratio |", "| --- | ---: | --- | ---: |",
    ]  # fmt: skip
    for size in dict.fromkeys(record["batch"] for record in scored):
        these = [record for record in scored if record["batch"] == size]
        base = min(found([r], "median") for r in these if str(r["way"]).startswith("eager"))
        for record in these:
            value, low, high = (found([record], key) for key in ("median", "least", "most"))
            rows.append(f"| {record['way']} | {size} | {value:.1f} ({low:.1f}, {high:.1f}) | {base / value:.2f} |")
    return [
        *rows,
        "",
        "The ratio is against the faster of the two memory orders of eager torch. Goal: at least 1.5.",
        "",
    ]
