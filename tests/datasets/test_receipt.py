"""Receipts: they add up whatever became of rows, and those of older releases keep their digests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.receipt import Receipt, merge_receipts, spell_rows
from dataops.errors import Integrity
from tests.datasets.examples import make_receipt

COUNTS = st.integers(0, 10**9)
KINDS = ("passed", "filtered_by_policy", "filtered_by_job", "dropped", "quarantined", "failed")


@given(st.tuples(*[COUNTS] * len(KINDS)))
def test_rows_of_all_kinds_add_up_and_are_kept(counts: tuple[int, ...]) -> None:
    receipt = Receipt.from_record({"unit": "u", "read": sum(counts), **dict(zip(KINDS, counts, strict=True))})
    assert Receipt.from_record(receipt.record()) == receipt
    merged = merge_receipts([receipt, receipt])
    assert merged["read"] == sum(merged.get(kind, 0) for kind in KINDS) == 2 * receipt.read


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_too_many_is_no_receipt(kind: str) -> None:
    with pytest.raises(Integrity, match="3 rows were read but 4 are accounted for"):
        Receipt.from_record({"unit": "u", "read": 3, "passed": 3} | {kind: 4 if kind == "passed" else 1})


def test_rows_that_fail_had_passed() -> None:
    receipt = make_receipt(passed=4, quarantined=1).with_failed(3)
    assert (receipt.read, receipt.passed, receipt.failed) == (5, 1, 3)
    assert spell_rows(merge_receipts([receipt])) == "5 read = 1 passed + 0 filtered + 1 quarantined + 3 failed"


def test_a_receipt_without_failed_rows_is_written_as_it_was_before_there_were_any() -> None:
    receipt = make_receipt()
    assert "failed" not in receipt.record()
    assert "failed" not in merge_receipts([receipt])
    assert make_receipt().with_failed(0).digest == receipt.digest
