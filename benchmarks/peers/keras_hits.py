"""The published final net of the HiTS study, as Keras trains it, on a set that our side wrote; our own script.

Prints JSON lines: one per epoch while training, then the held-out accuracy, then images per second of `predict`.
Raw pixels, missing ones (NaN) 0; one-hot labels, binary cross-entropy, RMSprop, batches of 50, as published. The
kernel is not stated in the study: 2 x 2 gives the published number of parameters.

    python keras_hits.py SET.npz [--epochs 15] [--seed 0] [--no-predict]
"""

from __future__ import annotations

import argparse
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


def published_net() -> keras.Model:
    layers = keras.layers
    net = keras.Sequential([keras.Input((21, 21, 4))])
    for filters in (32, 32, 64, 64):
        net.add(layers.Conv2D(filters, 2, padding="same", activation="relu"))
        net.add(layers.MaxPooling2D(2))
    net.add(layers.Flatten())
    for _ in range(3):
        net.add(layers.Dense(64, activation="sigmoid"))
    net.add(layers.Dense(2, activation="sigmoid"))
    net.compile("rmsprop", "binary_crossentropy", metrics=["categorical_accuracy"])
    assert net.count_params() == 41_986
    return net


def say(**record: object) -> None:
    print(json.dumps(record), flush=True)


class EveryEpoch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        accuracy = (logs or {})["categorical_accuracy"]
        say(epoch=epoch + 1, seconds=time.perf_counter() - self.began, train_accuracy=accuracy)


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("set", type=Path)
    words.add_argument("--epochs", type=int, default=15)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--no-predict", action="store_true")
    asked = words.parse_args()
    keras.utils.set_random_seed(asked.seed)
    with np.load(asked.set) as stored:
        images, labels, held = stored["images"], stored["labels"], stored["held"]
    x, test_x, y, test_y = images[~held], images[held], labels[~held], labels[held]
    net = published_net()
    began = time.perf_counter()
    x = np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)
    net.fit(x, np.eye(2, dtype="float32")[y], batch_size=50, epochs=asked.epochs, verbose=0, callbacks=[EveryEpoch()])
    seconds = time.perf_counter() - began
    test_x = np.nan_to_num(test_x, nan=0.0, posinf=0.0, neginf=0.0)
    accuracy = float((net.predict(test_x, batch_size=512, verbose=0).argmax(1) == test_y).mean())
    say(trained=asked.epochs, seconds=seconds, test_accuracy=accuracy, imports=IMPORTED, keras=keras.__version__)
    if not asked.no_predict:
        score(net, np.nan_to_num(images, nan=0.0, posinf=0.0, neginf=0.0))
    say(peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def score(net: keras.Model, images: np.ndarray) -> None:
    """Images per second of `predict` on all stamps, NaN already replaced."""
    for batch in (32, 512):
        net.predict(images[:batch], batch_size=batch, verbose=0)
        rates = []
        for _ in range(5):
            began = time.perf_counter()
            net.predict(images, batch_size=batch, verbose=0)
            rates.append(len(images) / (time.perf_counter() - began))
        say(predict_batch=batch, images_per_second=sorted(rates)[2])


if __name__ == "__main__":
    main()
