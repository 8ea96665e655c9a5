"""The simulated set of the hits race, written once so that both sides read the same arrays.

    python -m benchmarks.hits_set FOLDER

Writes FOLDER/hits.h5, the Dataset that the builder `simulate` makes of 4,026 stamps of 21 x 21 x 4 (seed 0, the default
camera), and FOLDER/hits.npz: `images`, `labels`, and `held` (True for a third of the stamps). Whole exposures are held
out, so that no seeing, sky or noise of a judged stamp was learned from; as they have 40 stamps each, 1,306 are held out
where the study held out 1,329. Prints one JSON line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from estampa.data.read import build

STAMPS, HELD = 4_026, 1_329


def main() -> None:
    folder = Path(sys.argv[1])
    dataset = build("simulate", folder / "hits.h5", builder_options={"n": str(STAMPS)})
    assert dataset.groups is not None
    exposures, sizes = np.unique(dataset.groups, return_counts=True)
    order = np.random.default_rng(0).permutation(len(exposures))
    inside = order[np.cumsum(sizes[order]) <= HELD]
    held = np.isin(dataset.groups, exposures[inside])
    np.savez(folder / "hits.npz", images=dataset.take(np.arange(dataset.n)), labels=dataset.labels, held=held)
    print(json.dumps({"exposures": len(exposures), "train": int((~held).sum()), "held": int(held.sum())}))


if __name__ == "__main__":
    main()
