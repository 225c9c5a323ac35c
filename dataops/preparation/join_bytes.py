"""How much memory some columns of a dataset take at most, as far as footers tell of all of them. Pure.

1. A number, date or time takes its width in every row. Whatever is left of the bytes of all columns is text and the
   like, and any one such column may have all of it. Of text that repeats footers tell what its dictionary takes, so
   once it is spelled out in every row it may take more than is told.
2. A mask that makes text of a value makes as long a text in every row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa

from dataops.datasets.row_groups import CODE_BYTES
from dataops.governance.contract import Column

_STORED_BYTES = 4  # of a number in a file, at least: footers count so
_MASKED_BYTES = 64  # of a hash or a pseudonym


def bytes_at_most(
    columns: Sequence[Column], read: Mapping[str, Column], names: Collection[str], *, rows: int, size: int
) -> int:
    """Bytes of the columns `names` in memory, at most.

    Parameters
    ----------
    columns : all that the dataset has.
    read : those that may be read, as their reader gets them.
    names : among those.
    rows, size : rows, and bytes of all columns once decoded, as footers tell.
    """
    widths = {column.name: _width(column.type) for column in columns}
    found = rows * sum(widths[name] or 0 for name in names)
    texts = [name for name in names if not _width(read[name].type)]
    masked = sum(read[name].masks != column.masks for column in columns if (name := column.name) in texts)
    if any(not widths[name] for name in texts):
        left = size - rows * sum(width or 0 for width in widths.values())
        found += max(left, rows * CODE_BYTES * len(texts))
    return found + rows * _MASKED_BYTES * masked


def _width(type_: pa.DataType) -> int | None:
    """Bytes of a value; None where values are as long as they are."""
    if pa.types.is_boolean(type_):
        return 1
    return max(_STORED_BYTES, type_.bit_width // 8) if pa.types.is_primitive(type_) else _decimal_width(type_)


def _decimal_width(type_: pa.DataType) -> int | None:
    return type_.bit_width // 8 if pa.types.is_decimal(type_) else None
