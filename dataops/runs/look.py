"""A look at a dataset's rows outside of any job: by one grant, audited and signed as a run's reading is.

1. The intent is written before the first row is read; if it can't be, nothing is read.
2. The result says how many rows were read, also of a look that failed halfway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from dataops.datasets.access import GovernedInput
from dataops.datasets.receipt import Receipt, merge_receipts
from dataops.datasets.scan import read_unit
from dataops.governance.audit import record_result
from dataops.records import merkle_root, now_utc
from dataops.runs.audit import announce, signed
from dataops.runs.ledger import new_run_id
from dataops.runs.workspace import Workspace


@dataclass(slots=True, kw_only=True)
class Look:
    """An announced look at one dataset; `note` says, after it, what kept it from being signed."""

    given: GovernedInput
    receipts: list[Receipt] = field(default_factory=list)
    note: str | None = None

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """`columns` of each unit, governed."""
        for unit in self.given.units:
            read = read_unit(self.given.source, unit, columns)
            self.receipts.append(read.receipt)
            yield read.table


@contextmanager
def look_at(workspace: Workspace, given: GovernedInput, *, what: str) -> Iterator[Look]:
    """A look at `given` that the audit knows of under an id that begins with `what`.

    Raises
    ------
    Storage : the intent can't be written.
    """
    reading = new_run_id(what, now_utc())
    announce(workspace, reading, given.pinned())
    look, outcome = Look(given=given), "failed"
    with signed(workspace) as signing:
        try:
            yield look
            outcome = "done"
        finally:
            record_result(
                workspace.audit,
                run=reading,
                dataset=given.dataset.name,
                purpose=given.grant.purpose,
                outcome=outcome,
                counts=merge_receipts(look.receipts),
                receipts_root=merkle_root(receipt.digest for receipt in look.receipts) if look.receipts else None,
            )
    look.note = signing.note
