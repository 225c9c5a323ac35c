"""Partitioned files: records of fixed size, cut into numbered parts of which each can be read alone.

How workers hand work to one another without the driver or Dask in between: each writes one file, whose parts are what
the next ones take. Only between the steps of one run on one kind of machine: nothing that lasts has this form.

The file: the offsets of the parts (int64, one more than parts), then the records, part by part.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

import numpy as np

from dataops.storage.files import DataFiles

_OFFSET = np.dtype("<i8")
_RADIX_PARTS = 1 << 16  # up to here NumPy sorts by counting instead of comparing


def write_partitioned(files: DataFiles, path: str, records: np.ndarray, part: np.ndarray, parts: int) -> None:
    """The new file `path` with `records` (n,), each in the part that `part` (integers, n) says, 0 to `parts` - 1."""
    small = part.astype(np.uint16) if parts <= _RADIX_PARTS else part
    order = np.argsort(small, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(part, minlength=parts))]).astype(_OFFSET)
    data = records[order].tobytes()

    def write(sink: IO[bytes]) -> None:
        sink.write(offsets.tobytes())
        sink.write(data)

    files.write(path, write)


def read_parts(files: DataFiles, paths: Iterable[str], number: int, *, dtype: np.dtype, parts: int) -> np.ndarray:
    """The records of part `number` of each of the files `paths`, one after the other."""
    found = [_read_part(files, path, number, dtype, parts) for path in paths]
    return np.concatenate(found) if found else np.empty(0, dtype)


def _read_part(files: DataFiles, path: str, number: int, dtype: np.dtype, parts: int) -> np.ndarray:
    with files.open(path) as opened:
        opened.seek(number * _OFFSET.itemsize)
        start, stop = np.frombuffer(opened.read(2 * _OFFSET.itemsize), _OFFSET)
        opened.seek((parts + 1) * _OFFSET.itemsize + int(start) * dtype.itemsize)
        return np.frombuffer(opened.read(int(stop - start) * dtype.itemsize), dtype)
