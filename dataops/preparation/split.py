"""Splits by the hash of keys: a row keeps its side as data grows, whatever unit or run it comes in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

SPLIT_COLUMN = "split"
TRAIN, TEST = "train", "test"
_BETWEEN, _NULL = "\x1f", "\x00"  # characters that no key's text needs: they keep ("a", "bc") apart from ("ab", "c")


def assign_split(keys: Sequence[pa.ChunkedArray], *, test: float) -> pa.Array:
    """``train`` or ``test`` for each row: ``test`` where BLAKE2b-64 of the keys' text, as a fraction of 2**64, is
    below `test`.

    Equal keys get equal sides; null is a key of its own.
    """
    texts = [key.cast(pa.string()) for key in keys]
    joined = pc.binary_join_element_wise(*texts, _BETWEEN, null_handling="replace", null_replacement=_NULL)
    codes = joined.combine_chunks().dictionary_encode()
    sides = [TEST if _fraction(value) < test else TRAIN for value in codes.dictionary.to_pylist()]
    return pa.array(sides, pa.string()).take(codes.indices)


def _fraction(value: str) -> float:
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest(), "big") / 2**64
