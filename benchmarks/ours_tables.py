"""One side of the race of tables, in a process of its own; every catalogue is simulated (builder `photometry`).

    python -m benchmarks.ours_tables csv OUT ROWS             a simulated catalogue as CSV; or `parquet`
    python -m benchmarks.ours_tables score FOLDER             a forest's bundle against scikit-learn, equal threads
    python -m benchmarks.ours_tables predict RUN PARQUET OUT  rows of a Parquet file to a CSV of answers
    python -m benchmarks.ours_tables build CSV OUT            a CSV read, cleaned (counted) and split, by estampa
    python -m benchmarks.ours_tables pandas CSV OUT           the same by pandas and scikit-learn

Prints one JSON line each: seconds, peak memory, rows.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine

TREES, LEARNED, SCORED, SINGLE = 300, 8_000, 100_000, 300
TURNS = 5


def made(n: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    """A simulated catalogue: raw columns (n, c) float64, their names, and labels (n,), -1 = uncertain."""
    from estampa.data.builders.photometry import simulate_photometry

    columns = simulate_photometry(n)
    told = ("objid", "ra", "dec", "redshift", "p_el_debiased", "p_cs_debiased", "spiral", "elliptical", "uncertain")
    names = [name for name in columns if name not in told]
    labels = np.where(columns["uncertain"] == 1, -1, columns["spiral"])
    return np.stack([columns[name] for name in names], axis=1), names, labels


def timed(work: Callable[[], object], turns: int = TURNS) -> float:
    """Median seconds of `turns` runs, after one to warm up."""
    work()
    found = []
    for _ in range(turns):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def score(folder: Path) -> dict[str, Any]:
    """A forest of 300 trees: raw rows through the bundle, preparation included; prepared rows through scikit-learn."""
    from sklearn.ensemble import RandomForestClassifier

    from estampa.bundle.store import Bundle

    bundle = Bundle.open(folder)
    values, names, labels = made(SCORED + LEARNED)
    order = [names.index(column.name) for column in bundle.contract.columns]
    raw = np.ascontiguousarray(values[:SCORED, order])
    preparation = bundle.preparation
    known = np.flatnonzero(labels[SCORED:] >= 0) + SCORED
    prepared = preparation.transform(raw)
    forest = RandomForestClassifier(TREES, min_samples_leaf=2, random_state=0, n_jobs=machine.threads())
    forest.fit(preparation.transform(values[known][:, order]), labels[known])
    single = RandomForestClassifier(TREES, min_samples_leaf=2, random_state=0, n_jobs=1).fit(
        preparation.transform(values[known][:, order]), labels[known]
    )

    def one_by_one(answer: Callable[[np.ndarray], object], rows: np.ndarray) -> Callable[[], None]:
        def run() -> None:
            for i in range(SINGLE):
                answer(rows[i : i + 1])

        return run

    singles = {
        "ours": timed(one_by_one(bundle.score, raw)) / SINGLE,
        "one job": timed(one_by_one(single.predict_proba, prepared), 3) / SINGLE,
        "all jobs": timed(one_by_one(forest.predict_proba, prepared), 1) / SINGLE,
    }
    many = {
        "ours": timed(lambda: bundle.score(raw)),
        "scikit-learn": timed(lambda: forest.predict_proba(prepared)),
    }
    return {"singles": singles, "many": many, "rows": SCORED, "threads": machine.threads(), "trees": TREES}


def predict(run: Path, parquet: Path, out: Path) -> dict[str, Any]:
    from estampa.predict import predict as answers

    began = time.perf_counter()
    found = answers(run, parquet, out)
    return {"rows": found.n, "seconds": time.perf_counter() - began, "peak_memory_bytes": machine.peak_memory()}


def build(source: Path, out: Path) -> dict[str, Any]:
    from estampa.data.read import build as built
    from estampa.data.split import split

    began = time.perf_counter()
    dataset = built(source, out)
    split(dataset, test=0.1, validation=0.1, seed=0)
    seconds = time.perf_counter() - began
    return {"rows": dataset.n, "seconds": seconds, "peak_memory_bytes": machine.peak_memory()}


def pandas(source: Path, out: Path) -> dict[str, Any]:
    """What a notebook does: read, drop rows with failed values, class from the flags, split 80 / 10 / 10, save."""
    import pandas as pd
    from sklearn.model_selection import train_test_split

    began = time.perf_counter()
    table = pd.read_csv(source, dtype={"objid": str})
    features = [name for name in table.columns if name.startswith(("dered", "petro", "deV", "exp", "lnL", "mE", "mC"))]
    table[features] = table[features].replace([-9999.0, 0.0, np.inf, -np.inf], np.nan)
    table = table[table["uncertain"] == 0].dropna(subset=features)
    labels = table["spiral"].to_numpy()
    rest, test = train_test_split(np.arange(len(table)), test_size=0.1, stratify=labels, random_state=0)
    train, validation = train_test_split(rest, test_size=1 / 9, stratify=labels[rest], random_state=0)
    values = table[features].to_numpy(np.float64)
    np.savez(out, values=values, labels=labels, ids=table["objid"].to_numpy(str), train=train, validation=validation,
             test=test)  # fmt: skip
    seconds = time.perf_counter() - began
    return {"rows": len(table), "seconds": seconds, "peak_memory_bytes": machine.peak_memory()}


def csv(out: Path, rows: str) -> dict[str, Any]:
    from estampa.data.builders.photometry import as_csv, simulate_photometry

    out.write_text(as_csv(simulate_photometry(int(rows))))
    return {"rows": int(rows)}


def parquet(out: Path, rows: str) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values, names, _ = made(int(rows))
    table = {"objid": pa.array([f"{i:012d}" for i in range(int(rows))])}
    table |= {name: pa.array(values[:, i]) for i, name in enumerate(names)}
    pq.write_table(pa.table(table), out, row_group_size=50_000)
    return {"rows": int(rows)}


def main() -> None:
    way, *words = sys.argv[1:]
    paths = [word if word.isdigit() else Path(word) for word in words]
    work: dict[str, Callable[..., dict[str, Any]]] = {
        "csv": csv, "parquet": parquet, "score": score, "predict": predict, "build": build, "pandas": pandas,
    }  # fmt: skip
    print(json.dumps({"way": way, **work[way](*paths)}), flush=True)


if __name__ == "__main__":
    main()
