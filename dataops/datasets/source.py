"""Adopting Parquet that lies somewhere already: footers are read, rows are not, nothing is moved or written there.

1. A tree's fragments are all ``*.parquet`` files below it, in the order of their paths; names that start with ``.`` or
   ``_`` are not data.
2. ``name=value`` folders are hive partitions; every file must have the same ones, since a partition column is a column.
3. All footers must agree on columns and types; what differs is named.
4. A file seen before with the same path, size and time is not opened again.
5. A footer is checked before Arrow sees it (`footer_check`): what it says of rows and places must agree with itself.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

import pyarrow as pa

from dataops.datasets.footer_check import BrokenFooter
from dataops.datasets.footer_looks import PARQUET_MAGIC, FooterLooks, arrow_footer
from dataops.datasets.snapshot import (
    Fragment,
    Manifest,
    Snapshot,
    append_snapshot,
    manifest_key,
    read_snapshot,
)
from dataops.errors import Integrity, InvalidInput, NotFound, Storage
from dataops.governance.column_types import column_type, spell_type
from dataops.governance.contract import Contract
from dataops.governance.leaves import leaves_of
from dataops.records import digest, digest_bytes, format_time, now_utc
from dataops.storage.disk import hide_values
from dataops.storage.files import DataFiles, FileStat, open_files
from dataops.storage.objects import Store
from dataops.storage.side_by_side import side_by_side

FOOTER_READERS = 8  # more take the interpreter from each other
ENCRYPTED_MAGIC = b"PARE"
_USUAL_END = 32 * 1024  # bytes that most footers have room in
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"  # the folder's name where a partition column is null


def read_fragments(files: DataFiles, known: Mapping[str, Fragment] | None = None) -> tuple[Fragment, ...]:
    """The fragments of the tree at `files`, by path.

    Parameters
    ----------
    known : fragments of an earlier look, by path; those that are unchanged are taken over.

    Raises
    ------
    NotFound : no Parquet file there.
    Integrity : a file that is not Parquet or is cut short (all of them are named).
    InvalidInput : partitions that differ between files.
    """
    found = files.list("")
    if not found:
        raise NotFound(f"no *.parquet file below {files.url}")
    earlier, looks = known or {}, FooterLooks()

    def look(stat: FileStat) -> Fragment | str:
        before = earlier.get(stat.path)
        if before is not None and (before.size_bytes, before.modified_ns) == (stat.size_bytes, stat.mtime_ns):
            return before
        try:
            return read_fragment(files, stat, looks)
        except Integrity as error:
            return str(error)

    looked = side_by_side(look, found, threads=FOOTER_READERS)
    broken = [item for item in looked if isinstance(item, str)]
    if broken:
        shown = "\n  ".join(broken[:10])
        raise Integrity(f"{len(broken)} of {len(found)} files below {files.url} can't be read as Parquet:\n  {shown}")
    fragments = tuple(item for item in looked if isinstance(item, Fragment))
    require_same_partitions(fragments)
    return fragments


def read_fragment(files: DataFiles, stat: FileStat, looks: FooterLooks | None = None) -> Fragment:
    """The file that was found as `stat`, by its footer.

    Parameters
    ----------
    looks : of many files, the same for all: what their footers share is looked at once.

    Raises
    ------
    Integrity : it isn't Parquet, or is cut short.
    """
    try:
        footer = _footer_in(files, stat.path)
        row_groups = (looks or FooterLooks()).row_groups(footer, stat.size_bytes)
    except Storage:  # says nothing about the file: trying again may help
        raise
    except BrokenFooter as error:
        raise Integrity(f"{hide_values(stat.path)}: {error} ({stat.size_bytes} bytes)") from None
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise Integrity(
            f"{hide_values(stat.path)}: {type(error).__name__} in its footer ({stat.size_bytes} bytes)"
        ) from None
    return Fragment(
        path=stat.path,
        size_bytes=stat.size_bytes,
        digest=digest_bytes(footer),
        row_groups=row_groups,
        modified_ns=stat.mtime_ns,
        partition=_partition(stat.path),
    )


def footer_digest(opened: pa.NativeFile, path: str) -> str:
    """Digest of the footer's bytes; raises as `read_footer` does."""
    return digest_bytes(read_footer(opened, path))


def read_footer(opened: pa.NativeFile, path: str) -> bytes:
    """The footer of the file `path` (Parquet format: magic, pages, footer, 4 bytes of its length, magic).

    Raises
    ------
    Integrity : the file doesn't begin and end as Parquet does.
    """
    where, size_bytes = hide_values(path), opened.size()
    _require_room(size_bytes, where)
    head, tail = _read_exactly(opened, 0, 4, where), _read_exactly(opened, size_bytes - 8, 8, where)
    length = _footer_length(size_bytes, head, tail, where)
    footer = _read_exactly(opened, size_bytes - 8 - length, length, where)
    opened.seek(0)
    return footer


def _footer_in(files: DataFiles, path: str) -> bytes:
    """What `read_footer` gives of the file, in one read where the footer is as small as most are."""
    where = hide_values(path)
    ends = files.read_ends(path, 4, _USUAL_END)
    _require_room(ends.size_bytes, where)
    if len(ends.head) != 4 or len(ends.tail) != min(_USUAL_END, ends.size_bytes):
        raise _shorter(where)
    length = _footer_length(ends.size_bytes, ends.head, ends.tail[-8:], where)
    if length + 8 <= len(ends.tail):
        return ends.tail[-8 - length : -8]
    with files.open(path) as opened:
        return read_footer(opened, path)


def _require_room(size_bytes: int, where: str) -> None:
    if size_bytes < 12:
        raise Integrity(f"{where}: {size_bytes} bytes are too few for a Parquet file")


def _footer_length(size_bytes: int, head: bytes, tail: bytes, where: str) -> int:
    if ENCRYPTED_MAGIC in (head, tail[4:]):
        raise Integrity(f"{where}: is encrypted, which can't be read here; write it again without")
    (length,) = struct.unpack("<I", tail[:4])
    if tail[4:] != PARQUET_MAGIC or length + 12 > size_bytes:
        raise Integrity(f"{where}: doesn't end as a Parquet file does (cut short, or another format)")
    if head != PARQUET_MAGIC:
        raise Integrity(f"{where}: doesn't begin as a Parquet file does")
    return int(length)


def _read_exactly(opened: pa.NativeFile, start: int, length: int, where: str) -> bytes:
    opened.seek(start)
    found = opened.read(length)
    if len(found) != length:
        raise _shorter(where)
    return bytes(found)


def _shorter(where: str) -> Integrity:
    return Integrity(f"{where}: is shorter than a moment ago")  # cut while it is read


def _partition(path: str) -> tuple[tuple[str, str], ...]:
    pairs = [folder.split("=", 1) for folder in path.split("/")[:-1] if "=" in folder]
    return tuple((unquote(name), unquote(value)) for name, value in pairs)


def require_same_partitions(fragments: Sequence[Fragment]) -> None:
    """Nothing, if all of `fragments` (one at least) lie in folders of the same partition columns.

    Raises
    ------
    InvalidInput : they don't.
    """
    first = [name for name, _ in fragments[0].partition]
    for fragment in fragments:
        names = [name for name, _ in fragment.partition]
        if names != first:
            raise InvalidInput(
                f"{fragment.shown}: its partition folders are {names}, those of {fragments[0].shown} are {first}"
            )


def read_schema(files: DataFiles, fragments: Sequence[Fragment]) -> pa.Schema:
    """The physical columns that all `fragments` share, as the first has them, partition columns (strings) last.

    Columns are found by name, also those within others: their order, whether they may be null, and how text is stored
    may differ.

    Raises
    ------
    InvalidInput : files that differ in columns or types: the first two that do are named.
    Integrity : a file whose footer isn't the one of `fragments`.
    """
    schemas = {fragment.path: _schema_of(files, fragment) for fragment in fragments}
    first_path, first = next(iter(schemas.items()))
    for file_path, schema in schemas.items():
        here, there = _columns(schema), _columns(first)
        differing = sorted({path for path, _ in here.items() ^ there.items()})
        if differing:
            places = f"{hide_values(file_path)} and {hide_values(first_path)}"
            types = (
                f"{'.'.join(one)} ({here.get(one, 'absent')} and {there.get(one, 'absent')})" for one in differing[:8]
            )
            raise InvalidInput(
                f"{places} differ in columns or types: {', '.join(types)}; "
                "write one of them anew, or make two datasets of them"
            )
    partitions = [pa.field(name, pa.string()) for name, _ in fragments[0].partition]
    return pa.schema([*first, *partitions])


def _schema_of(files: DataFiles, fragment: Fragment) -> pa.Schema:
    with files.open(fragment.path) as opened:
        footer = read_footer(opened, fragment.path)
    if digest_bytes(footer) != fragment.digest:
        raise Integrity(
            f"{fragment.shown}: its footer is another one than before, though size and time are the same; "
            "write the file anew"
        )
    return arrow_footer(footer).schema.to_arrow_schema().remove_metadata()


def _columns(schema: pa.Schema) -> dict[tuple[str, ...], str]:
    return {leaf.path: spell_type(column_type(leaf.type)) for leaf in leaves_of(schema)}


def refresh_source(store: Store, dataset: str, url: str, zone: str, contract: Contract) -> Snapshot:
    """The snapshot of a source as it lies there now; a new one is recorded only when something changed.

    Raises
    ------
    NotFound, Integrity, InvalidInput : as `read_fragments`.
    """
    before = read_snapshot(store, dataset)
    known = {fragment.path: fragment for fragment in before.fragments} if before else {}
    fragments = read_fragments(open_files(url), known)
    if before is not None and fragments == before.fragments and contract.columns == before.columns:
        return before
    return record_source(store, dataset, zone, contract, fragments)


def record_source(
    store: Store, dataset: str, zone: str, contract: Contract, fragments: tuple[Fragment, ...]
) -> Snapshot:
    """The snapshot of a source that consists of `fragments`."""
    manifest = _source_manifest(dataset, zone, contract, fragments)
    if not store.put_if_absent(manifest_key(dataset, manifest.run), manifest.to_bytes()):
        # somebody recorded the same tree a moment ago: theirs differs in nothing but the time
        manifest = Manifest.from_bytes(store.get(manifest_key(dataset, manifest.run)))
    return append_snapshot(store, manifest)


def _source_manifest(dataset: str, zone: str, contract: Contract, fragments: tuple[Fragment, ...]) -> Manifest:
    # named by its content, so that two who look at once record one manifest
    content = digest([[fragment.identity for fragment in fragments], [column.record() for column in contract.columns]])
    return Manifest(
        dataset=dataset,
        run=f"source-{content.removeprefix('sha256:')[:16]}",
        zone=zone,
        columns=contract.columns,
        fragments=fragments,
        counts={"rows": sum(fragment.rows for fragment in fragments)},
        receipts_root=None,
        lineage={},
        created_at=format_time(now_utc()),
    )
