"""Receipts: what became of the rows of a unit, so that no row is lost unseen.

1. ``read = passed + filtered + dropped + quarantined + failed``: a receipt that doesn't add up can't be made.
2. A receipt holds counts and names of rules, never a value.
3. Rows fail where a model is applied, and seldom: a receipt without any has no key for them, so that receipts of
   releases that knew none have the digests that they had.
4. A row that passed is a row of the output. Where a join or a count makes more or fewer of them, `made` says how many,
   and only there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dataops.errors import Integrity
from dataops.records import Record, digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of the rows of one unit. `broken` counts rows by contract rule (a row may break several), `failed`
    those that broke no rule and that no model could score; `made` are rows of the output, None where it is one for each
    that passed.
    """

    unit: str
    read: int
    passed: int
    filtered_by_policy: int = 0
    filtered_by_job: int = 0
    dropped: int = 0
    quarantined: int = 0
    failed: int = 0
    broken: Mapping[str, int] = field(default_factory=dict)
    made: int | None = None

    def __post_init__(self) -> None:
        filtered = self.filtered_by_policy + self.filtered_by_job
        accounted = self.passed + filtered + self.dropped + self.quarantined + self.failed
        if accounted != self.read:
            raise Integrity(f"unit {self.unit}: {self.read} rows were read but {accounted} are accounted for")

    def with_filtered_by_job(self, rows: int) -> Receipt:
        """The receipt after the job's own conditions set aside `rows` of the rows that had passed."""
        return replace(self, passed=self.passed - rows, filtered_by_job=self.filtered_by_job + rows)

    @property
    def written(self) -> int:
        """Rows of the output."""
        return self.passed if self.made is None else self.made

    def with_made(self, rows: int) -> Receipt:
        """The receipt where the rows that passed became `rows` of the output."""
        return replace(self, made=None if rows == self.passed else rows)

    def with_failed(self, rows: int) -> Receipt:
        """The receipt after `rows` of the rows that had passed couldn't be scored."""
        return replace(self, passed=self.passed - rows, failed=self.failed + rows)

    def record(self) -> Record:
        """JSON types; `from_record` reads them."""
        record: Record = {
            "unit": self.unit,
            "read": self.read,
            "passed": self.passed,
            "filtered_by_policy": self.filtered_by_policy,
            "filtered_by_job": self.filtered_by_job,
            "dropped": self.dropped,
            "quarantined": self.quarantined,
            "broken": dict(sorted(self.broken.items())),
        }
        record |= {"failed": self.failed} if self.failed else {}
        return record if self.made is None else {**record, "made": self.made}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Receipt:
        """The receipt that `record` was made from.

        Raises
        ------
        Integrity : its rows don't add up.
        """
        return cls(**record)

    @property
    def digest(self) -> str:
        """Digest of the record: a leaf of the run's Merkle root."""
        return digest(self.record())


COUNTED = ("read", "passed", "filtered_by_policy", "filtered_by_job", "dropped", "quarantined")


def merge_receipts(receipts: Sequence[Receipt]) -> dict[str, int]:
    """Row counts of all `receipts` together, by the names in `COUNTED`, ``broken:<rule>`` for each rule that was
    broken, ``failed`` where a row did, and ``made`` where not as many rows came out as passed.
    """
    totals = {name: sum(getattr(receipt, name) for receipt in receipts) for name in COUNTED}
    if failed := sum(receipt.failed for receipt in receipts):
        totals["failed"] = failed
    if any(receipt.made is not None for receipt in receipts):
        totals["made"] = sum(receipt.written for receipt in receipts)
    for rule in sorted({rule for receipt in receipts for rule in receipt.broken}):
        totals[f"broken:{rule}"] = sum(receipt.broken.get(rule, 0) for receipt in receipts)
    return totals


def spell_rows(counts: Mapping[str, int]) -> str:
    """What became of rows: ``10 read = 8 passed + 0 filtered + 2 quarantined``, and what was dropped, failed or made of
    those that passed, if any.

    `counts` are those of `merge_receipts`, or have both kinds of filtered rows together as ``filtered``.
    """
    filtered = counts["filtered"] if "filtered" in counts else counts["filtered_by_policy"] + counts["filtered_by_job"]
    parts = [f"{counts['passed']:,} passed", f"{filtered:,} filtered"]
    if counts["dropped"]:
        parts.append(f"{counts['dropped']:,} dropped")
    parts.append(f"{counts['quarantined']:,} quarantined")
    if counts.get("failed"):
        parts.append(f"{counts['failed']:,} failed")
    made = f", {counts['made']:,} made of those that passed" if "made" in counts else ""
    return f"{counts['read']:,} read = {' + '.join(parts)}{made}"
