"""A scanner for values that must not be there: in every form that a program is likely to give them.

1. A *token* is a text or a whole number that occurs nowhere by chance. Its *forms* are the bytes that give it away: the
   text in UTF-8 and UTF-16, backwards, as hex and base64 (at each of the three alignments that it can have within
   longer data), its plain SHA-256 and MD5 (which anyone can undo who can guess the value), a number's binary layouts.
2. A *view* is a place to look at: the bytes of a file, its name, and for Parquet every cell, every dictionary (with the
   entries that no row has), every footer's statistics and metadata, decoded.
3. All forms have eight bytes at least: each view is passed over once, looking up eight bytes at a time.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WINDOW = 8
PARQUET = b"PAR1"

Token = str | int


def text_forms(text: str) -> Iterator[tuple[str, bytes]]:
    """The forms of a text, named."""
    plain = text.encode()
    yield "utf-8", plain
    yield "utf-16-le", text.encode("utf-16-le")
    yield "utf-16-be", text.encode("utf-16-be")
    yield "reversed", plain[::-1]
    yield "hex", plain.hex().encode()
    yield "upper-case hex", plain.hex().upper().encode()
    for shift in range(3):
        yield f"base64 after {shift} bytes", inner_base64(plain, shift)
    for name in ("sha256", "md5"):
        digest = hashlib.new(name, plain)
        yield name, digest.digest()
        yield f"{name} in hex", digest.hexdigest().encode()
        yield f"{name} in base64", base64.b64encode(digest.digest()).rstrip(b"=")


def inner_base64(data: bytes, shift: int) -> bytes:
    """What base64 makes of `data` after `shift` other bytes, without characters that its neighbours share."""
    encoded = base64.b64encode(b"\0" * shift + data)
    first = -(-shift * 8 // 6)
    last = (shift + len(data)) * 8 // 6
    return encoded[first:last]


def number_forms(number: int) -> Iterator[tuple[str, bytes]]:
    """The forms of a whole number: as text, and as 64 bits."""
    yield from text_forms(str(number))
    yield "int64, little-endian", struct.pack("<q", number)
    yield "int64, big-endian", struct.pack(">q", number)
    yield "float64, little-endian", struct.pack("<d", number)
    yield "float64, big-endian", struct.pack(">d", number)


def forms(token: Token) -> Iterator[tuple[str, bytes]]:
    """The forms of `token`, each of `WINDOW` bytes at least."""
    return number_forms(token) if isinstance(token, int) else text_forms(token)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Hit:
    """A token that was found: where, in which form."""

    place: str
    form: str
    token: Token


class Scanner:
    """Looks for tokens."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._patterns: dict[int, list[tuple[bytes, str, Token]]] = {}
        for token in tokens:
            for name, pattern in forms(token):
                assert len(pattern) >= WINDOW, f"{token}: too short to be told from chance"
                self._patterns.setdefault(int.from_bytes(pattern[:WINDOW], "little"), []).append((pattern, name, token))
        self._starts = np.array(sorted(self._patterns), dtype=np.uint64)

    def look(self, place: str, data: bytes) -> set[Hit]:
        """What is found in `data`."""
        hits = set()
        for start, window in self._candidates(data):
            for pattern, name, token in self._patterns[window]:
                if data.startswith(pattern, start):
                    hits.add(Hit(place=place, form=name, token=token))
        return hits

    def _candidates(self, data: bytes) -> Iterator[tuple[int, int]]:
        if len(data) < WINDOW:
            return
        values = np.frombuffer(data, dtype=np.uint8)
        windows = np.zeros(len(values) - WINDOW + 1, dtype=np.uint64)
        for place in range(WINDOW):
            part = values[place : len(values) - WINDOW + 1 + place].astype(np.uint64)
            windows |= part << np.uint64(8 * place)
        found = np.searchsorted(self._starts, windows)
        found[found == len(self._starts)] = 0
        for start in np.flatnonzero(self._starts[found] == windows):
            yield int(start), int(windows[start])

    def look_at_file(self, path: Path, root: Path) -> set[Hit]:
        """What is found in the file at `path`: its name below `root`, its bytes, and all that Parquet holds."""
        name = path.relative_to(root).as_posix()
        data = path.read_bytes()
        hits = self.look(f"{name} (name)", name.encode()) | self.look(f"{name} (bytes)", data)
        if data.startswith(PARQUET):
            for view, content in parquet_views(data):
                hits |= self.look(f"{name} ({view})", content)
        return hits

    def look_at_tree(self, root: Path) -> set[Hit]:
        """What is found in the files below `root`."""
        return {hit for path in sorted(root.rglob("*")) if path.is_file() for hit in self.look_at_file(path, root)}


def parquet_views(data: bytes) -> Iterator[tuple[str, bytes]]:
    """All that the Parquet file in `data` says, decoded, by kind."""
    with pq.ParquetFile(io.BytesIO(data)) as opened:
        table = opened.read()
        metadata = opened.metadata
        schema = opened.schema_arrow
    for name, column in zip(table.column_names, table.columns, strict=True):
        yield f"cells of {name}", _joined(column.to_pylist())
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    with pq.ParquetFile(io.BytesIO(data), read_dictionary=texts) as opened:
        for number in range(metadata.num_row_groups):
            # a row group at a time: reading several would unify their dictionaries
            group = opened.read_row_group(number)
            for name, column in zip(group.column_names, group.columns, strict=True):
                if pa.types.is_dictionary(column.type):
                    for chunk in column.chunks:
                        yield f"dictionary of {name}", _joined(chunk.dictionary.to_pylist())
    yield "statistics", _joined(_statistics(metadata))
    yield "metadata", _joined([*(metadata.metadata or {}).items(), *(schema.metadata or {}).items(), schema, metadata])


def _statistics(metadata: pq.FileMetaData) -> Iterator[object]:
    for group in range(metadata.num_row_groups):
        for column in range(metadata.num_columns):
            statistics = metadata.row_group(group).column(column).statistics
            if statistics is not None and statistics.has_min_max:
                yield from (statistics.min, statistics.max, statistics.min_raw, statistics.max_raw)


def _joined(values: Iterable[object]) -> bytes:
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)
