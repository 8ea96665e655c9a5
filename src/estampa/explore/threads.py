"""One thread for small work: threads that wait for each other cost more than they give."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

#: Multiplications below which one thread does it. Where others share the processor, two threads took 15 times as long
#: for K-means of 1,000 x 3 numbers (docs/log.md).
SMALL = 50_000_000


@contextlib.contextmanager
def fit_for(work: float) -> Iterator[None]:
    """Inside, OpenMP and BLAS use one thread when `work`, in multiplications, is small; scikit-learn is needed."""
    if work >= SMALL:
        yield
        return
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
