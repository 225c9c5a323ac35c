"""Looking at many footers: of files of one writer and one schema, all but the row groups is the same, byte for byte.

1. The first footers are read in full: by `footer_check`, then by Arrow. Of those that both accept the bytes before and
   behind the row groups are remembered.
2. A footer of the same bytes around row groups as writers write them (`footer_pattern`) is one that Arrow accepts too,
   and its row groups are checked by the same rules (`check_groups`).
3. Any other footer is read in full. So what is found doesn't depend on what was looked at before, only its speed does.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.compact import Fields
from dataops.datasets.footer_check import StoredLeaf, check_footer, check_groups
from dataops.datasets.footer_pattern import end_of_schema, path_bytes, read_groups
from dataops.datasets.row_groups import row_groups_of, widths_of
from dataops.datasets.snapshot import RowGroup

PARQUET_MAGIC = b"PAR1"
READ_IN_FULL = 100  # before anything is remembered: the patterns take as long to make as this many footers
MOST_HEADS = 8  # that are tried
MOST_TAILS = 64


def arrow_footer(footer: bytes) -> pq.FileMetaData:
    """Arrow's view of exactly these bytes: what is looked at is what was checked."""
    whole = b"".join([PARQUET_MAGIC, footer, struct.pack("<I", len(footer)), PARQUET_MAGIC])
    return pq.read_metadata(pa.BufferReader(whole))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """The bytes of a footer up to its number of rows; `tails` are those behind its row groups that Arrow accepts."""

    written: bytes
    leaves: Sequence[StoredLeaf]
    paths: Sequence[bytes]
    widths: Sequence[int]
    tails: set[bytes] = field(default_factory=set)


class FooterLooks:
    """A look at many footers, in any number of threads.

    Parameters
    ----------
    read_in_full : so many are, before anything is remembered.
    """

    def __init__(self, read_in_full: int = READ_IN_FULL) -> None:
        self._heads: dict[bytes, _Head] = {}
        self._read_in_full = read_in_full

    def row_groups(self, footer: bytes, size_bytes: int) -> tuple[RowGroup, ...]:
        """The row groups of a file of `size_bytes` with this footer, if Arrow takes it.

        Raises
        ------
        BrokenFooter : a footer that its file can't have.
        ArrowException, OSError, UnicodeError : Arrow's, for a footer that it doesn't understand.
        """
        for head in tuple(self._heads.values()):
            if not footer.startswith(head.written):
                continue
            found = read_groups(footer, len(head.written), head.paths)
            if found is None or footer[found.end :] not in head.tails:
                continue
            check_groups(found.groups, head.leaves, found.rows, size_bytes - len(footer) - 8)
            return tuple(_row_group(group, head.widths) for group in found.groups)
        leaves = check_footer(footer, size_bytes)
        metadata = arrow_footer(footer)
        metadata.schema.to_arrow_schema()  # what it has to say against the columns is said now
        self._remember(footer, leaves, metadata)
        return row_groups_of(metadata)

    def _remember(self, footer: bytes, leaves: Sequence[StoredLeaf], metadata: pq.FileMetaData) -> None:
        self._read_in_full -= 1
        end, paths = end_of_schema(footer), [path_bytes(leaf.path) for leaf in leaves]
        if self._read_in_full >= 0 or end is None:
            return
        usual = [path for path in paths if path is not None]
        found = read_groups(footer, end, usual) if len(usual) == len(paths) else None
        if found is None:
            return
        if footer[:end] not in self._heads and len(self._heads) < MOST_HEADS:
            self._heads[footer[:end]] = _Head(
                written=footer[:end], leaves=leaves, paths=usual, widths=widths_of(metadata)
            )
        head = self._heads.get(footer[:end])
        if head is not None and len(head.tails) < MOST_TAILS:
            head.tails.add(footer[found.end :])


def _row_group(group: Fields, widths: Sequence[int]) -> RowGroup:
    """What `row_groups_of` gives of the same bytes."""
    columns = [chunk[3] for chunk in group[1]]
    sizes = (max(meta[6], meta[5] * width) for meta, width in zip(columns, widths, strict=True))
    return RowGroup(rows=group[3], size_bytes=sum(sizes))
