"""Rows handed from worker to worker through files, by the hash of their keys: nothing is lost on the way, or twice.

1. A task writes one file, whose record batches are numbered parts; the next ones read one part of all files. No driver
   and no Dask in between: rows that Dask moves have been seen to get lost.
2. Which part a row goes to depends on its key alone, under a hash that the data itself decide: nobody can write keys
   that all meet in one part. Rows of a part stand in the order of the units and of the rows in them.
3. Rows and the sum of their keys' hashes are counted by who writes and by who reads, and compared: `Tally`.
4. What a task wrote is a record, put if absent: the first complete attempt counts, the others remove their file, and a
   run that is resumed goes on with what is there. All of it is removed once the output is published.
5. Files hold what the policies gave, masked, and lie where the output's own parts do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import pairwise
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataops.datasets.commit import EXCHANGE_FOLDER, open_storage, run_folder
from dataops.datasets.receipt import Receipt
from dataops.errors import Integrity, NotFound, Storage
from dataops.governance.hashing import keyed_hashes
from dataops.records import decode_record, encode_record, new_nonce
from dataops.storage.files import DataFiles
from dataops.storage.objects import Store

Parts = npt.NDArray[np.int64]

_WORD = 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many rows, and the sum of the hashes of their keys modulo 2**64."""

    rows: int = 0
    hashes: int = 0

    def plus(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(rows=self.rows + other.rows, hashes=(self.hashes + other.hashes) % _WORD)

    def record(self) -> list[Any]:
        """As JSON, which has no numbers of 64 bits."""
        return [self.rows, f"{self.hashes:016x}"]

    @classmethod
    def from_record(cls, record: Sequence[Any]) -> Tally:
        """The tally that `record` was made from."""
        return cls(rows=int(record[0]), hashes=int(record[1], 16))


def total(tallies: Iterable[Tally]) -> Tally:
    """All of `tallies` together."""
    found = Tally()
    for one in tallies:
        found = found.plus(one)
    return found


def require_conserved(what: str, written: Tally, read: Tally) -> None:
    """Nothing, if the rows that were read are those that were written.

    Raises
    ------
    Integrity : with both counts.
    """
    if written != read:
        why = "are not the same" if written.rows == read.rows else "were lost or came twice"
        raise Integrity(
            f"{what}: {written.rows} rows were handed on, {read.rows} arrived, and rows {why}; nothing was published"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Where a run's tasks leave rows for one another.

    Parameters
    ----------
    storage : URL. dataset : the output. run : its run.
    seed : of the hash; equal for equal inputs and declarations.
    """

    storage: str
    dataset: str
    run: str
    seed: str

    @property
    def folder(self) -> str:
        """Relative to the storage."""
        return f"{run_folder(self.dataset, self.run)}/{EXCHANGE_FOLDER}"

    @property
    def files(self) -> DataFiles:
        """The data files of the storage."""
        return open_storage(self.storage)[1]

    @property
    def store(self) -> Store:
        """The records of the storage."""
        return open_storage(self.storage)[0]

    def hashes(self, keys: Sequence[pa.ChunkedArray]) -> npt.NDArray[np.uint64]:
        """Of each row's key, uint64 (n_rows,)."""
        secret = blake2b(self.seed.encode(), digest_size=32).digest()
        return keyed_hashes(keys, key=secret)

    def tally(self, keys: Sequence[pa.ChunkedArray], counts: npt.NDArray[np.int64] | None = None) -> Tally:
        """Of all rows with `keys`, each of them once, or as often as `counts` says."""
        hashes = self.hashes(keys)
        if counts is None:
            return _tally(hashes)
        return replace(_tally(hashes * counts.astype(np.uint64)), rows=int(counts.sum()))

    def by_key(self, keys: Sequence[pa.ChunkedArray], parts: int) -> tuple[Parts, Tally]:
        """The part of each row, 0 to `parts` - 1, and all of them counted."""
        hashes = self.hashes(keys)
        return ((hashes >> np.uint64(32)) * np.uint64(parts) >> np.uint64(32)).astype(np.int64), _tally(hashes)

    def write(self, name: str, table: pa.Table, part: Parts, parts: int) -> str:
        """The path of a new file with the rows of `table`, each in its `part`, in the order that they have."""
        order = np.argsort(part, kind="stable")
        ordered = table.take(pa.array(order)).combine_chunks() if parts > 1 else table.combine_chunks()
        edges = np.concatenate([[0], np.cumsum(np.bincount(part, minlength=parts))])
        return self.write_parts(
            name, ordered.schema, (ordered.slice(int(start), int(stop - start)) for start, stop in pairwise(edges))
        )

    def write_parts(self, name: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> str:
        """The path of a new file with the rows of each of `tables` as a part; they are asked for one by one."""
        path = f"{self.folder}/{name}-{new_nonce()}.arrow"

        def write(sink: IO[bytes]) -> None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            with pa.ipc.new_file(sink, schema, options=options) as writer:
                for table in tables:
                    writer.write_batch(_batch(table.combine_chunks()))

        self.files.write(path, write)
        return path

    def read(self, paths: Sequence[str], part: int, schema: pa.Schema | None = None) -> pa.Table:
        """The rows of `part` of each of the files `paths`, one after the other; of no files none, as `schema` says."""
        batches = []
        for path in paths:
            try:
                with self.files.open(path) as opened:
                    batches.append(pa.ipc.open_file(opened).get_batch(part))
            except (NotFound, pa.ArrowInvalid):
                raise Integrity(
                    f"run {self.run}: {path.rpartition('/')[2]}, which workers handed rows on in, is gone or damaged; "
                    "start a new run"
                ) from None
        return pa.Table.from_batches(batches, schema if not batches else None).combine_chunks()

    def put(self, step: Step) -> Step:
        """The record of what a task left: `step`, or that of the attempt that came first (the file is deleted then)."""
        data = step.to_bytes()
        key = self._key(step.phase, step.unit)
        if self.store.put_if_absent(key, data):
            return step
        for path in step.paths.values():
            self.files.delete(path)
        return Step.from_bytes(self.store.get(key))

    def earlier(self, phase: str, unit: str) -> Step | None:
        """What another attempt left already."""
        try:
            return Step.from_bytes(self.store.get(self._key(phase, unit)))
        except NotFound:
            return None

    def done(self, phase: str) -> dict[str, Step]:
        """What was left by tasks of `phase`, by unit."""
        start = f"{self.folder}/{phase}-"
        keys = [key for key in self.store.list(self.folder) if key.startswith(start) and key.endswith(".json")]
        steps = [Step.from_bytes(self.store.get(key)) for key in keys]
        return {step.unit: step for step in steps}

    def remove(self) -> None:
        """Nothing is left of it; what can't be removed `garbage` finds later. Records go first: one that is there
        speaks of files that are.
        """
        for key in sorted(self.store.list(self.folder), key=lambda key: (not key.endswith(".json"), key)):
            try:
                self.files.delete(key)
            except Storage:
                return

    def _key(self, phase: str, unit: str) -> str:
        return f"{self.folder}/{phase}-{unit}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one task of `phase` left.

    Attributes
    ----------
    paths : the files that it wrote, by what they are for.
    tallies : rows by what they were counted for.
    receipt : of the reading, where it read a dataset.
    """

    phase: str
    unit: str
    paths: Mapping[str, str] = field(default_factory=dict)
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    receipt: Receipt | None = None

    def to_bytes(self) -> bytes:
        """The stored record."""
        return encode_record(
            "exchange",
            1,
            {
                "phase": self.phase,
                "unit": self.unit,
                "paths": dict(self.paths),
                "tallies": {name: tally.record() for name, tally in self.tallies.items()},
                "receipt": self.receipt and self.receipt.record(),
            },
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Step:
        """The record stored in `data`."""
        body = decode_record(data, "exchange", 1)
        return cls(
            phase=body["phase"],
            unit=body["unit"],
            paths=body["paths"],
            tallies={name: Tally.from_record(record) for name, record in body["tallies"].items()},
            receipt=Receipt.from_record(body["receipt"]) if body["receipt"] else None,
        )


def _tally(hashes: npt.NDArray[np.uint64]) -> Tally:
    return Tally(rows=len(hashes), hashes=int(np.add.reduce(hashes, dtype=np.uint64)) if len(hashes) else 0)


def _batch(rows: pa.Table) -> pa.RecordBatch:
    batches = rows.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=rows.schema)
