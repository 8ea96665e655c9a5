"""The processor's matrix peak as torch reaches it: the best of many products of 2048 x 2048 matrices.

    python -m benchmarks.peak

Prints one JSON line per number type and number of threads: FLOP a second.
"""

from __future__ import annotations

import json
import time

import torch

from estampa import machine

SIDE, SECONDS = 2048, 1.5


def peak(threads: int, dtype: torch.dtype) -> float:
    torch.set_num_threads(threads)
    a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    best, ends = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < ends:
        began = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    return 2 * SIDE**3 / best


def main() -> None:
    for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        for threads in dict.fromkeys((1, machine.threads())):
            print(json.dumps({"dtype": name, "threads": threads, "flop_per_second": peak(threads, dtype)}), flush=True)


if __name__ == "__main__":
    main()
