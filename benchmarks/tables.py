"""The race of tables: a forest's bundle against scikit-learn, a million rows of Parquet, a catalogue read and split."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.ours_tables import TREES
from benchmarks.sides import lines_of, median

ROWS, FEW, MANY = 251_000, 100_000, 1_000_000
TURNS = 3
OURS = (sys.executable, "-m", "benchmarks.ours_tables")


def race(scratch: Path) -> list[str]:
    """Rows of results.md. Both sides run in this very environment: scikit-learn and numpy are the same."""
    run = trained(scratch)
    rows = [*score_rows(lines_of(*OURS, "score", run / "model")[0])]
    rows += million_rows(scratch, run)
    csv = scratch / "catalogue.csv"
    lines_of(*OURS, "csv", csv, ROWS)  # each in a process of its own: a child's peak memory begins with its parent's
    sides: dict[str, list[dict[str, object]]] = {"pandas": [], "build": []}
    for turn in range(TURNS):
        for way, records in sides.items():
            target = scratch / f"{way}{turn}.{'npz' if way == 'pandas' else 'h5'}"
            records.extend(lines_of(*OURS, way, csv, target))
            target.unlink()
    return [*rows, *read_rows(sides)]


def trained(scratch: Path) -> Path:
    """A run of a forest on a simulated catalogue, without a search; by commands, so that this process stays small."""
    learned, run = scratch / "learned.h5", scratch / "forest"
    told = {"model.name": "forest", "model.trees": TREES, "model.leaf": 2, "evaluate.resamples": 100}
    for words in (
        ["build", "photometry", "-o", learned, "--option", "n=12000", "--option", "seed=1"],
        ["train", learned, "-o", run, "--no-baselines", *(x for k, v in told.items() for x in ("--set", f"{k}={v}"))],
    ):
        subprocess.run([sys.executable, "-m", "estampa", *map(str, words), "--quiet"], check=True)
    return run


def score_rows(found: dict[str, object]) -> list[str]:
    singles, many = found["singles"], found["many"]
    assert isinstance(singles, dict)
    assert isinstance(many, dict)
    rows = [
        f"## Tables: a forest of {found['trees']} trees, its bundle against scikit-learn", "",
        f"Simulated catalogue, {found['threads']} threads on both sides. Ours takes raw columns and prepares them; scikit-learn is",
        "given prepared ones. Medians, in one process.", "",
        "| what | way | seconds | ratio |", "| --- | --- | ---: | ---: |",
    ]  # fmt: skip
    best = min(singles["one job"], singles["all jobs"])
    for name, seconds in (
        ("scikit-learn, n_jobs=1", singles["one job"]),
        ("scikit-learn, all jobs", singles["all jobs"]),
    ):
        rows.append(f"| one row | {name} | {seconds:.5f} | {best / seconds:.2f} |")
    rows.append(f"| one row | ours | {singles['ours']:.6f} | {best / singles['ours']:.0f} |")
    rows.append(f"| {found['rows']:,} rows | scikit-learn, all jobs | {many['scikit-learn']:.2f} | 1 |")
    rows.append(f"| {found['rows']:,} rows | ours | {many['ours']:.2f} | {many['scikit-learn'] / many['ours']:.2f} |")
    return [*rows, "", "Goals: one row at least 50 times, many rows at least 0.8 times.", ""]


def million_rows(scratch: Path, run: Path) -> list[str]:
    """Parquet to predictions at two sizes: memory must not follow the rows."""
    rows = [
        "### A million rows of Parquet to a CSV of answers", "",
        "| rows | seconds | rows per second | peak memory |", "| ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for n in (FEW, MANY):
        lines_of(*OURS, "parquet", scratch / f"{n}.parquet", n)
        found = lines_of(*OURS, "predict", run, scratch / f"{n}.parquet", scratch / f"{n}.csv")[0]
        seconds, peak = float(found["seconds"]), float(found["peak_memory_bytes"])  # type: ignore[arg-type]
        rows.append(f"| {n:,} | {seconds:.1f} | {n / seconds:,.0f} | {peak / 1e6:.0f} MB |")
        (scratch / f"{n}.csv").unlink()
    return [*rows, ""]


def read_rows(sides: dict[str, list[dict[str, object]]]) -> list[str]:
    rows = [
        f"### {ROWS:,} rows of CSV read, cleaned and split", "",
        "pandas drops rows with failed values and saves an npz; ours keeps every row, infers each column's role, hashes each object,",
        f"ties equal ones, and writes a Dataset with its parts. Medians of {TURNS}, in turn.", "",
        "| way | rows kept | seconds | ratio | peak memory |", "| --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    base = median([float(r["seconds"]) for r in sides["pandas"]])  # type: ignore[arg-type]
    for way, name in (("pandas", "pandas and scikit-learn"), ("build", "estampa build and split")):
        seconds = median([float(r["seconds"]) for r in sides[way]])  # type: ignore[arg-type]
        peak = median([float(r["peak_memory_bytes"]) for r in sides[way]])  # type: ignore[arg-type]
        kept = sides[way][0]["rows"]
        rows.append(f"| {name} | {kept:,} | {seconds:.1f} | {base / seconds:.2f} | {peak / 1e6:.0f} MB |")
    return [*rows, ""]
