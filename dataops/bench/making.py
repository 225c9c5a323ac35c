"""The phase that makes the data: parts on the cluster, each once, told to a journal as they land.

1. What is made depends on scale and seed alone (`sizes`): the `digest` of all rows is the same for any number of
   workers, and says whether two results are about the same data.
2. A part counts once its line stands in the journal and its file is as large as that says. After a kill the others
   are made, and no file is trusted that has no line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dataops.bench.payments import payments
from dataops.bench.people import customers
from dataops.bench.sizes import CUSTOMERS, TABLES, Part, Size
from dataops.errors import NotFound
from dataops.records import digest
from dataops.storage.files import open_files

if TYPE_CHECKING:
    from distributed import Client

ROW_GROUP_ROWS = 125_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PartMade:
    """A part that was written.

    Attributes
    ----------
    digest : of its rows, whatever the file format makes of them.
    tests, broken : rows that the policy filters, and rows that break the contract, of all others.
    good_ids : the sum of the payments' ids that are left, below 2**64.
    """

    path: str
    rows: int
    size_bytes: int
    digest: str
    tests: int = 0
    broken: int = 0
    good_ids: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """All parts, by path."""

    parts: tuple[PartMade, ...]

    def of(self, table: str) -> tuple[PartMade, ...]:
        """The parts of `table`."""
        return tuple(part for part in self.parts if part.path.startswith(f"{table}/"))

    def rows(self, *tables: str) -> int:
        """Rows of these tables, or of all."""
        return sum(part.rows for table in tables or TABLES for part in self.of(table))

    def good_rows(self, table: str) -> int:
        """Rows of `table` that neither policy nor contract takes out."""
        return sum(part.rows - part.tests - part.broken for part in self.of(table))

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def digest(self) -> str:
        """One digest of all rows."""
        return digest([[part.path, part.rows, part.digest] for part in self.parts])


def make_part(url: str, part: Part, size: Size) -> PartMade:
    """`part`, written below `url` in place of what may lie there without a line in the journal."""
    if part.table == CUSTOMERS:
        rows = customers(np.arange(part.first_row, part.first_row + part.rows), size.seed)
        counts = {}
    else:
        made = payments(part, size)
        rows, good = made.rows, ~(made.tests | made.broken)
        ids = part.first_row + np.flatnonzero(good).astype(np.uint64)
        counts = {
            "tests": int(made.tests.sum()),
            "broken": int(made.broken.sum()),
            "good_ids": int(ids.sum(dtype=np.uint64)),
        }
    files = open_files(url)
    files.delete(part.path)
    table = pa.Table.from_batches([rows])
    size_bytes = files.write(
        part.path, lambda to: pq.write_table(table, to, row_group_size=ROW_GROUP_ROWS, compression="zstd")
    )
    return PartMade(path=part.path, rows=part.rows, size_bytes=size_bytes, digest=rows_digest(rows), **counts)


def rows_digest(rows: pa.RecordBatch) -> str:
    """``sha256:<hex>`` of the values of `rows`, which begin at the start of their buffers."""
    running = sha256(str(rows.schema.names).encode())
    for column in rows.columns:
        known = _bits(column)
        running.update(known.tobytes())
        plain = column.fill_null(_FILL[str(column.type)]) if column.null_count else column
        for buffer in plain.buffers()[1:]:
            running.update(memoryview(buffer))
    return "sha256:" + running.hexdigest()


_FILL: Mapping[str, Any] = {"string": "", "double": 0.0, "int32": 0, "int64": 0, "bool": False}


def _bits(column: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False))


def make_data(
    client: Client, url: str, size: Size, journal: Path, *, landed: Callable[[PartMade], None]
) -> tuple[Data, int]:
    """All parts of `size` below `url`, and how many rows were made just now; the others were there.

    Parameters
    ----------
    landed : told of each part as it lands.
    """
    from distributed import as_completed

    there = _sizes(url)
    known = {path: made for path, made in read_parts(journal).items() if there.get(path) == made.size_bytes}
    wanted = size.parts()
    missing = [part for part in wanted if part.path not in known]
    tasks = [client.submit(make_part, url, part, size, pure=False) for part in missing]
    with journal.open("a", encoding="utf-8") as lines:
        lines.write("\n")  # after a line that a kill cut short
        for _, made in as_completed(tasks, loop=client.loop, with_results=True):
            lines.write(json.dumps(asdict(made)) + "\n")
            lines.flush()
            known[made.path] = made
            landed(made)
    return Data(parts=tuple(known[part.path] for part in wanted)), sum(part.rows for part in missing)


def _sizes(url: str) -> dict[str, int]:
    """The files that lie below `url`, and how large they are."""
    try:
        return {found.path: found.size_bytes for found in open_files(url).list("")}
    except NotFound:
        return {}


def read_parts(journal: Path) -> dict[str, PartMade]:
    """The parts that the journal knows, by path; a line that a kill cut short counts for nothing."""
    found: dict[str, PartMade] = {}
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else ():
        try:
            made = PartMade(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[made.path] = made
    return found


def load_part(url: str, path: str) -> tuple[int, int]:
    """Rows of the file `path`, and the bytes that they are in memory: each of them is decoded, none is kept."""
    rows = held = 0
    with open_files(url).open(path) as opened:
        file = pq.ParquetFile(opened)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            rows, held = rows + table.num_rows, held + table.nbytes
    return rows, held


def load_data(client: Client, url: str, paths: Sequence[str], *, landed: Callable[[int], None]) -> tuple[int, int]:
    """Rows and decoded bytes of all files, read on the cluster.

    Parameters
    ----------
    landed : told of the rows of each file that was read.
    """
    from distributed import as_completed

    rows = held = 0
    tasks = [client.submit(load_part, url, path, pure=False) for path in paths]
    for _, (read, size) in as_completed(tasks, loop=client.loop, with_results=True):
        rows, held = rows + read, held + size
        landed(read)
    return rows, held
