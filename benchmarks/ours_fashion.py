"""Our side of the Fashion-MNIST race: arrays in memory to final weights, then the test part once, then scoring.

    python -m benchmarks.ours_fashion FOLDER_OF_IDX_FILES RECIPE [--seed 0] [--bundle FOLDER]

Prints JSON lines like the Keras script's: seconds of training (imports and export apart), test accuracy, images/s.
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
    words.add_argument("folder", type=Path)
    words.add_argument("recipe")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--bundle", type=Path)
    asked = words.parse_args()
    began = time.perf_counter()
    import numpy as np

    from estampa import recipe
    from estampa.bundle.export import bundle_from
    from estampa.data.read import build
    from estampa.train.fit import ArraySet, fit_net

    imports = time.perf_counter() - began
    dataset = build(asked.folder, None)
    train, test = dataset.rows("train"), dataset.rows("test")
    images, labels = dataset.take(train), dataset.labels[train]
    held = ArraySet(images, labels, "classification", dataset.classes)
    chosen = recipe.read(asked.recipe).with_values({"train.seed": asked.seed, "train.keep": "last"})
    if chosen.prepare.symmetry == "auto":
        chosen = chosen.with_values({"prepare.symmetry": "hflip"})  # as the builder fashion_mnist declares
    began = time.perf_counter()
    fitted = fit_net(held, chosen, train_rows=np.arange(len(images)))
    seconds = time.perf_counter() - began
    accuracy = float((fitted.predict(dataset, test).argmax(1) == dataset.labels[test]).mean())
    say(
        recipe=asked.recipe, seed=asked.seed, seconds=seconds, test_accuracy=accuracy, imports=imports,
        parameters=fitted.parameters, epochs=fitted.recipe.train.epochs, dtype=fitted.recipe.train.dtype,
        threads=fitted.recipe.train.threads,
    )  # fmt: skip
    if not asked.bundle:
        return
    began = time.perf_counter()
    parts = {"train": train, "test": test, "validation": train[:0]}
    bundle = bundle_from(fitted, dataset, parts, {}, asked.bundle, gallery=False)
    say(export_seconds=time.perf_counter() - began)
    pictures = dataset.take(test)
    bundle.score(pictures[:512])
    rates = []
    for _ in range(5):
        began = time.perf_counter()
        bundle.score(pictures, wanted=("output",))
        rates.append(len(pictures) / (time.perf_counter() - began))
    say(predict_batch="bundle", images_per_second=sorted(rates)[2])


if __name__ == "__main__":
    main()
