"""The Dataset file: one HDF5 file that any HDF5 tool can read.

============== ============================== =====================================================================
`images`       (n, height, width, channels)   uint8 | uint16 | float32, contiguous, so that it can be mapped
`table`        (n, columns)                   float32 | float64; images, a table, or both
`labels`       (n,)                           int64 class index, -1 = unlabelled; or float64, NaN = unlabelled
`ids`          (n,)                           unique, fixed-length UTF-8
`groups`       (n,)                           optional: what must not be torn apart by a split
`split`        (n,)                           uint8: 0 none, 1 train, 2 validation, 3 test
`split_record` (16384,)                       how the split was made: JSON, filled with zeros
`hashes`       (n,)                           uint64: first 8 bytes, little-endian, of each row's SHA-256
============== ============================== =====================================================================

The attributes of the root hold `format` and the fields of `Header`; tuples and tables among them are JSON texts.
This file gathers the names; they live in record.py (what it says about itself), layout.py (HDF5), view.py (reading),
writer.py (writing) and splitfile.py (the one thing that is changed in place).
"""

from estampa.data.record import DTYPES, FORMAT, PARTS, Header, ReadRecord, row_digests, short_hashes
from estampa.data.splitfile import write_split
from estampa.data.view import Dataset
from estampa.data.writer import DatasetWriter, content_sha256

__all__ = [
    "DTYPES",
    "FORMAT",
    "PARTS",
    "Dataset",
    "DatasetWriter",
    "Header",
    "ReadRecord",
    "content_sha256",
    "row_digests",
    "short_hashes",
    "write_split",
]
