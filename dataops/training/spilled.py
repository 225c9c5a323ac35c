"""Encoded parts on a worker's disk, for data larger than the memory of all workers: read again for each pass.

1. A part lies in a file of its own in the worker's local directory, which is private and wiped with the cluster; its
   file goes when nobody needs the part any more.
2. A part that travels takes its rows along and is written again where it arrives: nothing hangs on shared disks.
3. Plain reads, no memory map: pages of a mapped file count as memory that the worker holds, and Dask would stop it.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataops.errors import Storage
from dataops.features.encoder import Encoded, Encoder
from dataops.training.boosting_room import WorkerRoom
from dataops.training.parts import EncodedPart, place_units

HELD_SHARE = 0.2
"""Of a worker's memory, how much of it parts may take: beside them are the process, and what is made of rows."""
_FOLDER = "encoded-parts"
_FLOAT = np.dtype(np.float32)
_BY_ROW: dict[str, np.dtype[Any]] = {"weight": _FLOAT, "groups": np.dtype(np.uint8), "ranks": np.dtype(np.uint32)}
"""What a part may have of each row, beside values and target, in the order of the file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class SpilledPart:
    """A part whose rows lie in a file: values, targets and, where there are any, weights, groups and ranks.

    Parameters
    ----------
    path : of the file, which is this part's own.
    n_columns, n_numeric : of the encoded rows.
    by_row : which of `_BY_ROW` there are.
    """

    path: str
    rows: int
    n_columns: int
    n_numeric: int
    by_row: tuple[str, ...]

    def __sizeof__(self) -> int:
        return 1024  # of memory; what lies on the disk is none

    def __reduce__(self) -> tuple[Callable[..., SpilledPart], tuple[EncodedPart]]:
        return spill_part, (self.load(),)

    def load(self) -> EncodedPart:
        """The part, in memory.

        Raises
        ------
        Storage : the file is gone, or shorter than it was.
        """
        try:
            with Path(self.path).open("rb") as file:
                values = np.fromfile(file, _FLOAT, self.rows * self.n_columns)
                target = np.fromfile(file, _FLOAT, self.rows)
                by_row: dict[str, Any] = {name: np.fromfile(file, _BY_ROW[name], self.rows) for name in self.by_row}
        except OSError as error:
            raise Storage(f"an encoded part can't be read from this worker's disk: {error.strerror}") from None
        short = any(len(found) != self.rows for found in (target, *by_row.values()))
        if short or len(values) != self.rows * self.n_columns:
            raise Storage("an encoded part on this worker's disk is shorter than it was written")
        encoded = Encoded(values=values.reshape(self.rows, self.n_columns), n_numeric=self.n_numeric, unknown={})
        return EncodedPart(encoded=encoded, target=target, **by_row)


def needs_disk(workers: Sequence[WorkerRoom], rows: Sequence[int], encoder: Encoder, *, weighted: bool) -> str | None:
    """Why encoded parts have to lie on disk, in words; None where `workers` can hold them.

    Parameters
    ----------
    rows : of each part.
    """
    limits = [worker.limit for worker in workers if worker.limit]
    if not limits:
        return None
    held = dict.fromkeys(map(str, range(len(workers))), 0)
    for unit, worker in place_units(rows, list(held)).items():
        held[worker] += rows[unit]
    row_bytes = _FLOAT.itemsize * (len(encoder.numeric) + len(encoder.categorical) + 1 + weighted)
    most = max(held.values()) * row_bytes
    if most <= HELD_SHARE * min(limits):
        return None
    taken, there = (f"{size / 2**20:,.0f} MB" for size in (most, min(limits)))
    return (
        f"encoded rows take {row_bytes} bytes each, {taken} on one worker of {there}: they lie on the workers' disks, "
        "and each pass reads them again"
    )


def spill_part(part: EncodedPart, folder: str | None = None) -> SpilledPart:
    """`part` without slices, written below `folder`: without one, the local directory of this worker.

    Raises
    ------
    Storage : it can't be written, as where the disk is full.
    """
    home = Path(folder or _local_directory()) / _FOLDER
    there = {name: getattr(part, name) for name in _BY_ROW}
    by_row = {name: (values, _BY_ROW[name]) for name, values in there.items() if values is not None}
    path = None
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        number, path = tempfile.mkstemp(suffix=".part", dir=home)
        with os.fdopen(number, "wb") as file:
            for array, kind in ((part.encoded.values, _FLOAT), (part.target, _FLOAT), *by_row.values()):
                np.ascontiguousarray(array, kind).tofile(file)
    except OSError as error:
        if path is not None:
            Path(path).unlink(missing_ok=True)
        raise Storage(f"an encoded part can't be written to this worker's disk: {error.strerror}") from None
    spilled = SpilledPart(
        path=path,
        rows=part.rows,
        n_columns=part.encoded.values.shape[1],
        n_numeric=part.encoded.n_numeric,
        by_row=tuple(by_row),
    )
    weakref.finalize(spilled, _unlink, path)
    return spilled


def _unlink(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _local_directory() -> Any:
    from distributed import get_worker

    try:
        return get_worker().local_directory
    except ValueError:  # no worker: a part that came to a driver
        return tempfile.gettempdir()
