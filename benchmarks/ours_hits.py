"""Our side of the hits race: arrays in memory to final weights, the held-out stamps once, then scoring.

    python -m benchmarks.ours_hits SET.npz RECIPE [--seed 0] [--bundle FOLDER]

Prints JSON lines like the Keras script's: seconds of training (the preparation's fit, the probe and all passes
counted; imports and export apart), held-out accuracy with and without the symmetric views, FLOP, stamps a second.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path


def say(**record: object) -> None:
    print(json.dumps(record), flush=True)


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("set", type=Path)
    words.add_argument("recipe")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--bundle", type=Path)
    asked = words.parse_args()
    began = time.perf_counter()
    import numpy as np

    from estampa import recipe
    from estampa.train.feed import ArraySet
    from estampa.train.fit import fit_net

    imports = time.perf_counter() - began
    with np.load(asked.set) as stored:
        images, labels, held = stored["images"], stored["labels"], stored["held"]
    stamps = ArraySet(images, labels, "classification", ("artifact", "real"))
    train, test = np.flatnonzero(~held), np.flatnonzero(held)
    chosen = recipe.read(asked.recipe)  # simulated lessons would be lessons in the very set that is judged
    chosen = chosen.with_values({"train.seed": asked.seed, "train.keep": "last", "train.pretrain": "none"})
    if chosen.prepare.symmetry == "auto":
        chosen = chosen.with_values({"prepare.symmetry": "d4"})  # as the builder simulate declares
    began = time.perf_counter()
    fitted = fit_net(stamps, chosen, train_rows=train)
    seconds = time.perf_counter() - began
    network, own = fitted.network, fitted.network.views
    reached = {}
    for name, views in (("one", "none"), ("views", own)):
        network.views = views
        reached[name] = float((fitted.predict(stamps, test).argmax(1) == labels[test]).mean())
    made = fitted.recipe.train
    say(
        recipe=asked.recipe, seed=asked.seed, seconds=seconds, test_accuracy=reached["views"],
        one_view_accuracy=reached["one"], imports=imports, parameters=fitted.parameters, epochs=made.epochs,
        dtype=made.dtype, threads=made.threads, flop=flop_of(network), trained_on=len(train),
    )  # fmt: skip
    if asked.bundle:
        for views in dict.fromkeys(("none", own)):
            network.views = views
            score(fitted, asked.set.with_suffix(".h5"), asked.bundle / views, images)


def flop_of(network: object) -> int:
    """FLOP of one stamp through the net once, a multiplication and an addition as two; the preparation is not in it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    height, width, channels = network.shape  # type: ignore[attr-defined]
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        network.body(network.prepare(torch.zeros(1, height, width, channels)))  # type: ignore[attr-defined]
    return int(counted.get_total_flops())


def score(fitted: object, source: Path, folder: Path, images: object) -> None:
    """Export with the views that the network has now, and score all stamps from the bundle: median of 5."""
    import numpy as np

    from estampa.bundle.export import bundle_from
    from estampa.data.dataset import Dataset

    dataset = Dataset.open(source)
    rows = np.arange(dataset.n)
    parts = {"train": rows[::2], "test": rows[1::2], "validation": rows[:0]}
    began = time.perf_counter()
    bundle = bundle_from(fitted, dataset, parts, {}, folder, gallery=False)  # type: ignore[arg-type]
    exported = time.perf_counter() - began
    bundle.score(images[:512])  # type: ignore[index]
    rates = []
    for _ in range(5):
        began = time.perf_counter()
        bundle.score(images, wanted=("output",))  # type: ignore[arg-type]
        rates.append(len(images) / (time.perf_counter() - began))  # type: ignore[arg-type]
    say(views=folder.name, images_per_second=sorted(rates)[2], export_seconds=exported)


if __name__ == "__main__":
    main()
