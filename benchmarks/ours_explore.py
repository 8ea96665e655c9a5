"""One fit of the explore race, in a process of its own.

    python -m benchmarks.ours_explore WAY METHOD ROWS [--features 75] [--seed 0]

WAY is `estampa`, or `plain`: the method's library as its own documentation calls it, with the same number of clusters
(scikit-learn's KMeans and GaussianMixture, fastcluster.linkage on the rows with scipy's fcluster, hdbscan.HDBSCAN with
the same sizes, MiniSom with ten passes of its `train`). WAY `judge`, METHOD `number` or `stability`, times the choice
of k and the stability of K-means. The rows are twelve overlapping groups. Prints one JSON line: seconds, CPU seconds,
peak memory, clusters, and how well the fit did by the method's own measure (computed alike for both ways).
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

CLUSTERS, NEIGHBOURS, PASSES = 12, 10, 10
GRID = (3, 4)


def rows_of(n: int, features: int, seed: int) -> np.ndarray:
    """(n, features) float32: twelve normal groups whose centres lie as far apart as they are wide."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 1, (CLUSTERS, features))
    return (centres[random.integers(0, CLUSTERS, n)] + random.normal(0, 1, (n, features))).astype(np.float32)


def plain(method: str, x: np.ndarray, seed: int) -> tuple[float, np.ndarray, float | None]:
    """Seconds, labels and the own measure of the library's plain use."""
    if method == "kmeans":
        from sklearn.cluster import KMeans

        began = time.perf_counter()
        model = KMeans(CLUSTERS, random_state=seed).fit(x)
        return time.perf_counter() - began, model.labels_, float(model.inertia_) / len(x)
    if method == "gmm":
        from sklearn.mixture import GaussianMixture

        began = time.perf_counter()
        mixture = GaussianMixture(CLUSTERS, random_state=seed).fit(x)
        labels = mixture.predict(x)
        return time.perf_counter() - began, labels, float(mixture.score(x))
    if method == "hierarchical":
        import fastcluster
        from scipy.cluster.hierarchy import fcluster

        began = time.perf_counter()
        labels = fcluster(fastcluster.linkage(x, "ward"), CLUSTERS, "maxclust") - 1
        return time.perf_counter() - began, labels, within(x, labels)
    if method == "hdbscan":
        from hdbscan import HDBSCAN

        began = time.perf_counter()
        dense = HDBSCAN(min_cluster_size=max(10, len(x) // 100), min_samples=NEIGHBOURS).fit(x)
        return time.perf_counter() - began, dense.labels_, None
    from minisom import MiniSom

    began = time.perf_counter()
    som = MiniSom(*GRID, x.shape[1], random_seed=seed)
    som.train(x, PASSES * len(x))
    labels = np.array([GRID[1] * r + c for r, c in map(som.winner, x)])
    return time.perf_counter() - began, labels, float(som.quantization_error(x))


def within(x: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared distance to the own cluster's mean."""
    total = sum(float(((x[labels == c] - x[labels == c].mean(axis=0)) ** 2).sum()) for c in np.unique(labels))
    return total / len(x)


def ours(method: str, x: np.ndarray, seed: int) -> tuple[float, np.ndarray, float | None]:
    """The same of estampa's."""
    from estampa.explore.clustering import cluster

    began = time.perf_counter()
    made = cluster(
        method, x, options={"neighbours": NEIGHBOURS} if method == "hdbscan" else {"clusters": CLUSTERS}, seed=seed
    )
    seconds, evidence = time.perf_counter() - began, made.evidence
    measure: dict[str, Any] = {
        "kmeans": lambda: float(evidence["inertia"]) / len(x), "gmm": lambda: evidence["log_likelihood"],
        "hierarchical": lambda: within(x, made.labels), "hdbscan": lambda: None,
        "som": lambda: evidence["quantisation_error"],
    }  # fmt: skip
    return seconds, made.labels, measure[method]()


def judge(what: str, x: np.ndarray, seed: int) -> tuple[float, np.ndarray, float | None]:
    """Seconds of the choice of k, or of the stability of K-means."""
    from estampa.explore import number, quality

    began = time.perf_counter()
    if what == "number":
        value = float(number.choose(x, seed=seed).number)
    else:
        value = quality.stability(x, "kmeans", options={"clusters": CLUSTERS}, seed=seed).value
    return time.perf_counter() - began, np.zeros(1, int), value


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("way", choices=["estampa", "plain", "judge"])
    words.add_argument("method")
    words.add_argument("rows", type=int)
    words.add_argument("--features", type=int, default=75)
    words.add_argument("--seed", type=int, default=0)
    asked = words.parse_args()
    import fastcluster  # noqa: F401 - imports are not what is timed
    import hdbscan  # noqa: F401
    import minisom  # noqa: F401
    import sklearn.cluster
    import sklearn.mixture

    from estampa import machine

    x = rows_of(asked.rows, asked.features, asked.seed)
    sklearn.cluster.KMeans(2, n_init=1).fit(x[:100])  # threads are started
    cpu = time.process_time()
    seconds, labels, value = {"estampa": ours, "plain": plain, "judge": judge}[asked.way](asked.method, x, asked.seed)
    record = {
        "way": asked.way, "method": asked.method, "rows": asked.rows, "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu, "peak_memory_bytes": machine.peak_memory(),
        "clusters": int(labels.max()) + 1, "noise": float((labels < 0).mean()), "measure": value,
    }  # fmt: skip
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
