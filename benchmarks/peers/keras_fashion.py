"""The published way on Fashion-MNIST, as its authors' Keras code does it; our own script.

Prints JSON lines: one per epoch while training, then the test accuracy, then images per second of `predict`.

    python keras_fashion.py FOLDER_OF_IDX_FILES [--epochs 15] [--seed 0] [--save FILE] [--predict-only FILE]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

BEGAN = time.perf_counter()
import keras  # noqa: E402
import numpy as np  # noqa: E402

IMPORTED = time.perf_counter() - BEGAN


def idx(folder: Path, stem: str) -> np.ndarray:
    with gzip.open(folder / f"{stem}.gz") as stream:
        raw = stream.read()
    dimensions = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def published_net() -> keras.Model:
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    assert net.count_params() == 93_322
    return net


def say(**record: object) -> None:
    print(json.dumps(record), flush=True)


class EveryEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        say(epoch=epoch + 1, seconds=time.perf_counter() - self.began, train_accuracy=(logs or {})["accuracy"])


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("folder", type=Path)
    words.add_argument("--epochs", type=int, default=15)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--save", type=Path)
    words.add_argument("--predict-only", type=Path)
    asked = words.parse_args()
    keras.utils.set_random_seed(asked.seed)
    test_x, test_y = idx(asked.folder, "t10k-images-idx3-ubyte"), idx(asked.folder, "t10k-labels-idx1-ubyte")
    test_x = test_x[..., None].astype("float32")
    if asked.predict_only:
        net = keras.models.load_model(asked.predict_only)
    else:
        x, y = idx(asked.folder, "train-images-idx3-ubyte"), idx(asked.folder, "train-labels-idx1-ubyte")
        x = x[..., None].astype("float32")
        net = published_net()
        began = time.perf_counter()
        net.fit(x, y, batch_size=32, epochs=asked.epochs, verbose=0, callbacks=[EveryEpoch()])
        seconds = time.perf_counter() - began
        accuracy = float((net.predict(test_x, batch_size=512, verbose=0).argmax(1) == test_y).mean())
        say(trained=asked.epochs, seconds=seconds, test_accuracy=accuracy, imports=IMPORTED, keras=keras.__version__)
        if asked.save:
            net.save(asked.save)
    for batch in (32, 512):
        net.predict(test_x[:batch], batch_size=batch, verbose=0)
        rates = []
        for _ in range(5):
            began = time.perf_counter()
            net.predict(test_x, batch_size=batch, verbose=0)
            rates.append(len(test_x) / (time.perf_counter() - began))
        say(predict_batch=batch, images_per_second=sorted(rates)[2])
    say(peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
