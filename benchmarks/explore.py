"""The explore race: five clusterings against their libraries' plain use, and their memory at 200,000 rows."""

from __future__ import annotations

import sys

from benchmarks.sides import lines_of

METHODS = {
    "kmeans": ("K-means", "mean squared distance to the centre"),
    "hierarchical": ("hierarchical, Ward", "mean squared distance to the cluster's mean"),
    "hdbscan": ("HDBSCAN", ""),
    "som": ("self-organising map, 3 x 4", "quantisation error"),
    "gmm": ("Gaussian mixture", "mean log-likelihood"),
}
#: What the plain use of a library cannot do with 100,000 rows here: the time or the memory that it would need.
BEYOND = {"hierarchical": "not run: 40 GB of distances", "hdbscan": "not run: n^2, 100 times the above"}
SMALL, LARGE, MOST = 10_000, 100_000, 200_000


def run(*words: object) -> dict[str, object]:
    """One fit in a process of its own."""
    return lines_of(sys.executable, "-m", "benchmarks.ours_explore", *words)[0]


def race() -> list[str]:
    """Every fit at 10,000 and 100,000 rows of 75, both ways; ours at 200,000."""
    rows = [
        "## Exploring: five clusterings of 75 features, into 12", "",
        "Twelve overlapping groups. Plain: the library as its documentation calls it. Seconds of the fit with labels; CPU",
        "seconds in brackets. The measure is the method's own, the same for both ways.", "",
        "| method | rows | plain, s | estampa, s | ratio of CPU | measure, plain | measure, estampa | peak memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    together: dict[int, float] = {}
    peak = 0.0
    for count in (SMALL, LARGE, MOST):
        for method, (name, _) in METHODS.items():
            mine = run("estampa", method, count)
            together[count] = together.get(count, 0.0) + float(mine["seconds"])  # type: ignore[arg-type]
            peak = max(peak, float(mine["peak_memory_bytes"])) if count == MOST else peak  # type: ignore[arg-type]
            beyond = count == MOST or (count == LARGE and method in BEYOND)
            theirs = None if beyond else run("plain", method, count)
            rows.append(line(name, count, theirs, mine, BEYOND.get(method, "") if count == LARGE else "not run"))
    judged = {what: run("judge", what, SMALL) for what in ("number", "stability")}
    measures = "; ".join(f"{name}: {what}" for name, what in METHODS.values() if what)
    told = (
        f"The five together: {together[SMALL]:.1f} s at {SMALL:,} rows (goal: under a minute), {together[LARGE]:.0f} s at "
        f"{LARGE:,}, {together[MOST]:.0f} s at {MOST:,}, there in {peak / 1e9:.1f} GB at most (goal: under 4 GB). The choice "
        f"of k takes {judged['number']['seconds']:.1f} s, stability of K-means {judged['stability']['seconds']:.1f} s, at "
        "any number of rows, since they look at a sample."
    )
    return [*rows, "", f"Measures: {measures}.", "", told, ""]


def line(name: str, count: int, theirs: dict[str, object] | None, mine: dict[str, object], why: str) -> str:
    """A row of the table; `why` there is no plain run."""

    def figure(value: object) -> str:
        return f"{value:.3f}" if isinstance(value, float) else ""

    def spent(record: dict[str, object]) -> str:
        return f"{record['seconds']:.1f} ({record['cpu_seconds']:.1f})"

    memory = f"{float(mine['peak_memory_bytes']) / 1e9:.2f} GB"  # type: ignore[arg-type]
    if theirs is None:
        return f"| {name} | {count:,} | {why} | {spent(mine)} | | | {figure(mine['measure'])} | {memory} |"
    ratio = float(theirs["cpu_seconds"]) / float(mine["cpu_seconds"])  # type: ignore[arg-type]
    return (
        f"| {name} | {count:,} | {spent(theirs)} | {spent(mine)} | {ratio:.1f} | {figure(theirs['measure'])} |"
        f" {figure(mine['measure'])} | {memory} |"
    )
