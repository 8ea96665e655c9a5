"""The hits race: the published final net as Keras trains it, ours beside it, on one simulated set."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.sides import HERE, found, lines_of, median, peers_python

SAME, FAST, FULL = "hits", "stamps-fast", "stamps"
NAMES = {
    SAME: "ours, the same net and schedule, recipe `hits`",
    FAST: "ours, recipe `stamps-fast`",
    FULL: "ours, recipe `stamps`, without simulated lessons",
}
EXPORTED = 2  #: seeds whose nets are exported and scored
EPOCHS = 15
Records = list[dict[str, object]]


def race(scratch: Path, seeds: int) -> list[str]:
    """Rows of results.md; both sides in turn, seed by seed, so that a change of the machine's speed meets both."""
    (made,) = lines_of(sys.executable, "-m", "benchmarks.hits_set", scratch)
    stamps = scratch / "hits.npz"
    keras: list[Records] = []
    ours: dict[str, list[Records]] = {recipe: [] for recipe in NAMES}
    peaks: Records = []
    for seed in range(seeds):
        scored = [] if seed < EXPORTED else ["--no-predict"]
        keras.append(lines_of(peers_python(), HERE / "peers" / "keras_hits.py", stamps, "--seed", seed, *scored))
        for recipe in NAMES:
            bundle = ["--bundle", scratch / f"{recipe}-{seed}"] if seed < EXPORTED else []
            words = [sys.executable, "-m", "benchmarks.ours_hits", stamps, recipe, "--seed", seed, *bundle]
            ours[recipe].append(lines_of(*words))
        peaks += lines_of(sys.executable, "-m", "benchmarks.peak")
    return [
        *train_rows(made, keras, ours),
        *score_rows(keras[:EXPORTED], {recipe: runs[:EXPORTED] for recipe, runs in ours.items()}),
        *peak_rows(peaks, keras, ours),
    ]


def of(runs: list[Records], key: str, **where: object) -> list[float]:
    return [found(records, key, **where) for records in runs]


def spread(values: list[float]) -> str:
    return f"{median(values):.4f} ({min(values):.4f}, {max(values):.4f})"


def train_rows(made: dict[str, object], keras: list[Records], ours: dict[str, list[Records]]) -> list[str]:
    """Accuracy and seconds from arrays in memory to final weights."""
    base, aim = median(of(keras, "seconds", trained=EPOCHS)), of(keras, "test_accuracy")
    later = median(
        [found(records, "seconds", trained=EPOCHS) - found(records, "seconds", epoch=1) for records in keras]
    )
    rows = [
        "## Stamps: the simulated hits set, arrays in memory to final weights", "",
        f"Simulated stamps of 21 x 21 x 4 (`simulate`, seed 0): {made['train']:,} to learn from, {made['held']:,} held out, whole",
        f"exposures. Raw pixels and 15 epochs of 50 a batch for Keras, as published. {len(keras)} seeds each, in turn; imports and",
        "export apart, the fit of the preparation included. `stamps-fast` was chosen on other simulated sets (docs/log.md).", "",
        "| way | parameters | held-out accuracy (median; lowest, highest) | seconds (median; lowest, highest) | share of Keras's time | imports, s |",
        "| --- | ---: | --- | --- | ---: | ---: |",
        (f"| Keras 3 on TensorFlow, the published final net, 15 epochs | 41,986 | {spread(aim)} | {seconds(of(keras, 'seconds', trained=EPOCHS))} |"
        f" 1 | {median(of(keras, 'imports')):.1f} |"),
    ]  # fmt: skip
    for recipe, runs in ours.items():
        spent = of(runs, "seconds")
        rows.append(
            f"| {NAMES[recipe]} | {of(runs, 'parameters')[0]:,.0f} | {spread(of(runs, 'test_accuracy'))} | {seconds(spent)} |"
            f" 1/{base / median(spent):.1f} | {median(of(runs, 'imports')):.1f} |"
        )
    reached, taken = median(of(ours[FAST], "test_accuracy")), median(of(ours[FAST], "seconds"))
    kept = "reached" if reached >= median(aim) and taken * 3 <= base else "not reached"
    return [
        *rows, "",
        f"Goal: Keras's accuracy in at most one third of its time: {kept} by `stamps-fast`. Without its first epoch, in which",
        f"TensorFlow traces its graph, Keras takes {later:.1f} s (then `stamps-fast`: 1/{later / taken:.1f}).", "",
    ]  # fmt: skip


def seconds(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}, {max(values):.2f})"


def score_rows(keras: list[Records], ours: dict[str, list[Records]]) -> list[str]:
    """Stamps a second of the bundle and of Keras predict; what the eight views cost and give."""
    default, large = (median(of(keras, "images_per_second", predict_batch=batch)) for batch in (32, 512))
    best = max(default, large)
    rows = [
        "## Stamps: scoring, 4,026 stamps in memory", "",
        f"Median of 5 passes, then of {len(keras)} nets.", "",
        "| way | views | held-out accuracy | stamps per second | against Keras's default | against its faster one |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        f"| Keras predict, its default batch of 32 | 1 | {median(of(keras, 'test_accuracy')):.4f} | {default:,.0f} | 1 | {default / best:.1f} |",
        f"| Keras predict, batches of 512 | 1 | the same | {large:,.0f} | {large / default:.1f} | {large / best:.1f} |",
    ]  # fmt: skip
    costs = []
    for recipe, runs in ours.items():
        rates = {"none": median(of(runs, "images_per_second", views="none"))}
        if any(record.get("views") == "d4" for record in runs[0]):
            rates["d4"] = median(of(runs, "images_per_second", views="d4"))
            costs.append(f"{rates['none'] / rates['d4']:.1f} times for `{recipe}`")
        for views, rate in rates.items():
            accuracy = median(of(runs, "one_view_accuracy" if views == "none" else "test_accuracy"))
            rows.append(
                f"| bundle of recipe `{recipe}` | {1 if views == 'none' else 8} | {accuracy:.4f} | {rate:,.0f} |"
                f" {rate / default:.1f} | {rate / best:.1f} |"
            )
    views = f" The eight views of D4 cost {', '.join(costs)}." if costs else ""
    return [*rows, "", f"Goal: at least 3 times Keras predict with one view.{views}", ""]


def peak_rows(peaks: Records, keras: list[Records], ours: dict[str, list[Records]]) -> list[str]:
    """FLOP of a stamp, and which share of the processor's matrix peak training and scoring reach."""
    most: dict[tuple[str, int], float] = {}
    for record in peaks:  # what else the machine does can only lower a peak
        key = str(record["dtype"]), int(str(record["threads"]))
        most[key] = max(most.get(key, 0.0), float(str(record["flop_per_second"])))
    all_threads = max(threads for _, threads in most)
    named = {f"{dtype}, {threads} thread{'s' * (threads > 1)}": rate for (dtype, threads), rate in most.items()}
    listed = "; ".join(f"{name}: {rate / 1e9:,.0f}" for name, rate in named.items())
    rows = [
        "## Stamps: FLOP and the processor's matrix peak", "",
        f"Best product of 2048 x 2048 matrices in torch, GFLOP/s: {listed}.",
        "FLOP of one stamp through the net once, a multiplication and an addition as two, without the preparation; a step of",
        "training counts as three times that. The share is of the peak of the threads and the number type used.", "",
        "| way | MFLOP a stamp, forward | a training step | training: GFLOP/s (threads, type) | share of peak | scoring: GFLOP/s, one view | share of peak |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]  # fmt: skip
    n, published = found(ours[SAME][0], "trained_on"), found(ours[SAME][0], "flop")
    fastest = max(median(of(keras[:EXPORTED], "images_per_second", predict_batch=b)) for b in (32, 512))
    spent = median(of(keras, "seconds", trained=EPOCHS))
    ways = [("Keras, the published net", published, EPOCHS, spent, all_threads, "float32", fastest)]
    for recipe, runs in ours.items():
        first = next(r for r in runs[0] if "recipe" in r)
        rate = median(of(runs[:EXPORTED], "images_per_second", views="none"))
        ways.append((
            f"recipe `{recipe}`", found(runs[0], "flop"), int(found(runs[0], "epochs")), median(of(runs, "seconds")),
            int(str(first["threads"])), str(first["dtype"]), rate,
        ))  # fmt: skip
    for name, flop, epochs, spent, threads, dtype, rate in ways:
        training, scoring = 3 * flop * n * epochs / spent, flop * rate
        rows.append(
            f"| {name} | {flop / 1e6:.2f} | {3 * flop / 1e6:.2f} | {training / 1e9:.1f} ({threads}, {dtype}) |"
            f" {training / most[dtype, threads]:.1%} | {scoring / 1e9:.1f} | {scoring / most['float32', all_threads]:.1%} |"
        )
    return [*rows, ""]
