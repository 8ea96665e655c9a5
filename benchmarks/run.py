"""Speed and memory against the peers, side by side in one run; writes benchmarks/results.md.

    python -m benchmarks.run [--keras-seeds 2] [--seeds 5] [--only train,million,folder,galaxies,hits,pca,explore,transfer,tables,serve,endurance,watch] [--keep FOLDER]

Ratios count, not absolute times: machines differ, and this one may be shared. Each side runs as a process of its own,
the peers in an environment of their own (benchmarks/.peers), one after the other. `million` needs `train` before it.
What was not asked for keeps the section that an earlier run wrote; every section says when and where it was run.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import sys
import tempfile
from pathlib import Path

from benchmarks import endurance, explore, galaxies, hits, pca, serve, tables, transfer, watch
from benchmarks.sides import HERE, found, lines_of, median, peers_python

RESULTS = HERE / "results.md"
PARTS = (
    "train",
    "million",
    "folder",
    "galaxies",
    "hits",
    "pca",
    "explore",
    "transfer",
    "tables",
    "serve",
    "endurance",
    "watch",
)  #: in the order of results.md
FASHION = Path("/usr/share/datasets/fashion-mnist")
FAST, OURS = "fashion-fast", "pictures-fast"
PICTURES, SIDE = 3000, 424


def train(scratch: Path, seeds: int, keras_seeds: int) -> list[str]:
    """From arrays in memory to final weights: Keras's 15 epochs, our schedule for the same net, our net."""
    keras, ours = [], {FAST: [], OURS: []}
    for seed in range(max(seeds, keras_seeds)):  # in turn, so that a change of the machine's speed meets both
        if seed < keras_seeds:
            keras.append(lines_of(
                peers_python(), HERE / "peers" / "keras_fashion.py", FASHION, "--seed", seed, "--save", scratch / "net.keras"
            ))  # fmt: skip
        for recipe in (FAST, OURS):
            if seed < seeds:
                bundle = ["--bundle", scratch / recipe] if seed == 0 else []
                words = [sys.executable, "-m", "benchmarks.ours_fashion", FASHION, recipe, "--seed", seed, *bundle]
                ours[recipe].append(lines_of(*words))
    base = median([found(k, "seconds", trained=15) for k in keras])
    accuracy = [found(k, "test_accuracy") for k in keras]
    rows = [
        "## Training: Fashion-MNIST, 60,000 pictures, arrays in memory to final weights", "",
        "Imports and export apart. Schedules were fixed beforehand on a part cut from the training part; the test part",
        f"(10,000) is read once a run. Medians; Keras {keras_seeds} seeds, ours {seeds}.", "",
        "| way | test accuracy (median; lowest, highest) | seconds | share of Keras's time | imports, s | export, s |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        (f"| Keras 3 on TensorFlow, the published 15 epochs | {median(accuracy):.4f} ({min(accuracy):.4f}, {max(accuracy):.4f}) |"
        f" {base:.1f} | 1 | {median([found(k, 'imports') for k in keras]):.1f} | |"),
    ]  # fmt: skip
    names = {
        FAST: "ours, the same net (93,322 parameters), recipe `fashion-fast`",
        OURS: "ours, recipe `pictures-fast`",
    }
    for recipe, made in ours.items():
        seconds, reached = median([found(m, "seconds") for m in made]), [found(m, "test_accuracy") for m in made]
        rows.append(
            f"| {names[recipe]} | {median(reached):.4f} ({min(reached):.4f}, {max(reached):.4f}) | {seconds:.1f} |"
            f" 1/{base / seconds:.1f} | {median([found(m, 'imports') for m in made]):.1f} |"
            f" {found(made[0], 'export_seconds'):.1f} |"
        )
    rows += ["", "Goals: 0.8951 in at most 1/8 of Keras's time; 0.935 within that time.", ""]
    return [*rows, *score_rows(keras[0], ours[FAST][0])]


def score_rows(keras: list[dict[str, object]], ours: list[dict[str, object]]) -> list[str]:
    """Scoring of the same net: the bundle on ONNX Runtime against Keras predict."""
    best = max(found(keras, "images_per_second", predict_batch=b) for b in (32, 512))
    default = found(keras, "images_per_second", predict_batch=32)
    mine = found(ours, "images_per_second")
    return [
        "## Scoring: the same net, 10,000 pictures, median of 5", "",
        "| way | images per second | ratio |", "| --- | ---: | ---: |",
        f"| Keras predict, its default batch of 32 | {default:,.0f} | 1 |",
        f"| Keras predict, the faster of 32 and 512 | {best:,.0f} | {best / default:.1f} |",
        f"| estampa bundle | {mine:,.0f} | {mine / default:.1f} (against the faster one: {mine / best:.1f}) |", "",
        "Goal: at least 3 times Keras predict.", "",
    ]  # fmt: skip


def million(scratch: Path) -> list[str]:
    """A million pictures from a Dataset to a CSV."""
    made = lines_of(sys.executable, "-m", "benchmarks.million", scratch / FAST, scratch)[0]
    for name in ("million.h5", "million.csv"):
        (scratch / name).unlink(missing_ok=True)
    return [
        "## A million pictures: Dataset to predictions.csv", "",
        "| rows | seconds | images per second | growth of resident memory |", "| ---: | ---: | ---: | ---: |",
        (f"| {made['rows']:,} | {made['seconds']:.0f} | {made['images_per_second']:,.0f} |"
        f" {made['resident_growth'] / 1e6:.0f} MB |"), "",
        "Goal: under 300 MB.", "",
    ]  # fmt: skip


def make_folder(folder: Path) -> None:
    """JPEGs like survey cut-outs: smooth light, a few sources, noise; two classes."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(PICTURES):
        target = folder / f"class{number % 2}"
        target.mkdir(parents=True, exist_ok=True)
        picture = random.normal(12, 4, (SIDE, SIDE, 3))
        for _ in range(6):
            cy, cx, width = *random.uniform(0, SIDE, 2), random.uniform(2, 40)
            light = random.uniform(20, 220) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * width**2))
            picture += light[..., None] * random.uniform(0.4, 1, 3)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(target / f"{number:05d}.jpg", quality=90)


def folder(scratch: Path) -> list[str]:
    """A folder of JPEGs to HDF5, with and without resize, by CPU seconds a picture."""
    make_folder(scratch / "jpegs")
    rows = [
        f"## Building: {PICTURES:,} JPEGs of {SIDE} x {SIDE} to one file", "",
        "Pictures per core and second: pictures divided by CPU seconds. Medians of 3, in turn.", "",
        "| way | resize | pictures per core and second | ratio | pictures per second (wall) | peak memory |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    rates: dict[tuple[str, str], float] = {}
    for size in ("", "128x128"):
        made: dict[str, list[dict[str, object]]] = {"Pillow + h5py loop": [], "estampa build": []}
        for turn in range(3):
            for name in made:
                target = scratch / f"out{turn}.h5"
                sized = ["--size", size] if size else []
                words = (
                    [peers_python(), HERE / "peers" / "pillow_loop.py"]
                    if name.startswith("Pillow")
                    else [sys.executable, "-m", "benchmarks.ours_folder"]
                )
                made[name] += lines_of(*words, scratch / "jpegs", target, *sized)
                target.unlink()
        for name, records in made.items():
            rate = PICTURES / median([float(r["cpu_seconds"]) for r in records])  # type: ignore[arg-type]
            wall = PICTURES / median([float(r["seconds"]) for r in records])  # type: ignore[arg-type]
            peak = median([float(r["peak_memory_bytes"]) for r in records])  # type: ignore[arg-type]
            rates[name, size] = rate
            ratio = rate / rates["Pillow + h5py loop", size]
            rows.append(
                f"| {name} | {size or 'none'} | {rate:,.0f} | {ratio:.1f} | {wall:,.0f} | {peak / 1e6:.0f} MB |"
            )
    spent = {name: 1 / rates[name, "128x128"] - 1 / rates[name, ""] for name, _ in rates}
    share = {name: max(0.0, s) * rates[name, "128x128"] for name, s in spent.items()}
    told = ", ".join(f"{name} {v:.0%}" for name, v in share.items())
    return [
        *rows,
        "",
        f"Share of the resize in the time of a resized picture: {told}. Goal: at least 2 without resize.",
        "",
    ]


def told(load: float) -> str:
    """Where and when a section was run, one line."""
    from estampa import machine

    described = machine.describe()
    processor, versions = described["processor"], described["versions"]
    assert isinstance(processor, dict)
    assert isinstance(versions, dict)
    ours = ", ".join(f"{name} {versions[name]}" for name in ("estampa", "numpy", "torch", "onnxruntime"))
    peers = ", ".join((HERE / "peers" / "requirements.txt").read_text().split())
    return (
        f"*{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}; {processor['model']} ({', '.join(processor['features'])}), "
        f"{described['threads']} threads, {described['memory_bytes'] / 2**30:.0f} GiB, {platform.system()}; "  # type: ignore[operator]
        f"load when it began {load:.2f}; ours: Python {platform.python_version()}, {ours}; peers: {peers}.*"
    )


def sections(text: str) -> dict[str, str]:
    """What an earlier run wrote, by part."""
    pieces = re.split(r"^<!-- part: (\w+) -->\n", text, flags=re.MULTILINE)
    return {name: body.strip() for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}


def write(name: str, lines: list[str], load: float) -> None:
    """Put one part's section into results.md; the others stay."""
    kept = sections(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    heading, *rest = "\n".join(lines).strip().split("\n")
    kept[name] = "\n".join([heading, "", told(load), *rest])
    whole = ["# Benchmarks\n\n*Written by `make bench`. Ratios count, not absolute times.*\n"]
    whole += [f"<!-- part: {part} -->\n{kept[part]}\n" for part in PARTS if part in kept]
    RESULTS.write_text("\n".join(whole), encoding="utf-8")
    print(kept[name], flush=True)


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--seeds", type=int, default=5)
    words.add_argument("--keras-seeds", type=int, default=2, help="of Fashion-MNIST; the hits race takes --seeds")
    words.add_argument("--only", default=",".join(PARTS))
    words.add_argument("--keep", type=Path)
    asked = words.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = asked.keep or Path(temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        ways = {
            "train": lambda: train(scratch, asked.seeds, asked.keras_seeds),
            "million": lambda: million(scratch),
            "folder": lambda: folder(scratch),
            "galaxies": lambda: galaxies.race(scratch),
            "hits": lambda: hits.race(scratch, asked.seeds),
            "pca": lambda: pca.race(scratch),
            "explore": explore.race,
            "tables": lambda: tables.race(scratch),
            "serve": lambda: serve.race(scratch),
            "endurance": lambda: endurance.trial(scratch),
            "watch": lambda: watch.race(scratch),
            "transfer": lambda: transfer.race(scratch, min(asked.seeds, transfer.MOST_SEEDS)),
        }
        for name in (part for part in PARTS if part in asked.only.split(",")):
            if name in ("train", "million") and not FASHION.is_dir():
                print(f"{name} is left out: Debian's package dataset-fashion-mnist is not installed.", file=sys.stderr)
                continue
            load = os.getloadavg()[0]
            write(name, ways[name](), load)


if __name__ == "__main__":
    main()
