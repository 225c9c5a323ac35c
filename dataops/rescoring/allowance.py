"""What a run may set aside, and what it has: looked at while the run goes, and at its end.

1. Rows set aside are those that were quarantined and those that failed. Of a replay all rows were set aside once: only
   those that fail count.
2. A run fails before its end only when no row that is still to come can save it.
3. A share is one of the rows that the policies' filters let through.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from dataops.datasets.commit import UnitRecord
from dataops.declarations.rescore import ErrorBudget
from dataops.errors import ContractViolation

_SHOWN = 5


@dataclass(slots=True, kw_only=True)
class Allowance:
    """What `budget` allows of `rows` of `dataset`, and what was set aside of those that were looked at so far."""

    budget: ErrorBudget
    dataset: str
    rows: int
    replay: bool = False
    seen: int = 0
    checked: int = 0
    quarantined: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def most(self) -> int:
        """How many rows may be set aside at most: of one more the run fails, whatever becomes of the others."""
        by_rate = int(np.ceil(self.budget.max_rate * self.rows))
        while by_rate and by_rate / self.rows > self.budget.max_rate:
            by_rate -= 1
        return by_rate if self.budget.max_rows is None else min(by_rate, self.budget.max_rows)

    @property
    def aside(self) -> int:
        """Rows that count as set aside so far."""
        return self.failed if self.replay else self.quarantined + self.failed

    def add(self, record: UnitRecord) -> None:
        """Count what came of a unit."""
        receipt = record.receipt
        self.seen += receipt.read
        self.checked += receipt.read - receipt.filtered_by_policy
        self.quarantined += receipt.quarantined
        self.failed += receipt.failed
        self.reasons.update(record.failed if self.replay else record.reasons())

    def require_possible(self) -> None:
        """Nothing, while the rows that are still to come may keep what was set aside within the budget.

        Raises
        ------
        ContractViolation : they can't.
        """
        self._require(self.checked + self.rows - self.seen)

    def require_kept(self) -> None:
        """Nothing, if no more was set aside than the budget allows.

        Raises
        ------
        ContractViolation : more was; nothing may be published.
        """
        self._require(self.checked)

    def _require(self, checked: int) -> None:
        limit = self._broken_limit(checked)
        if limit is None:
            return
        name, allowed = limit
        early = "" if self.seen >= self.rows else f" (after {self.seen:,} of {self.rows:,} rows)"
        raise ContractViolation(
            f"{self._spell(checked)}{early}; errors.{name} allows {allowed}. Nothing was published: mend the data, or "
            f"raise errors.{name} in the job, and run it again; `dataops job errors` shows the rows. By reason: "
            f"{self._spell_reasons()}"
        )

    def _broken_limit(self, checked: int) -> tuple[str, str] | None:
        if self.budget.max_rows is not None and self.aside > self.budget.max_rows:
            return "max_rows", f"{self.budget.max_rows:,}"
        if checked and self.aside / checked > self.budget.max_rate:
            return "max_rate", f"{self.budget.max_rate:.3%}"
        return None

    def _spell(self, checked: int) -> str:
        what = f"{self.aside:,} of {checked:,} rows of '{self.dataset}'"
        share = f"{self.aside / checked:.3%}" if checked else "all"
        if self.replay or not self.quarantined:
            return f"{what} failed, {share}"
        if not self.failed:
            return f"{what} were quarantined, {share}"
        return f"{what} were set aside, {share} ({self.quarantined:,} quarantined, {self.failed:,} failed)"

    def _spell_reasons(self) -> str:
        named = [
            f"{reason} {rows:,}" for reason, rows in sorted(self.reasons.items(), key=lambda one: (-one[1], one[0]))
        ]
        return ", ".join([*named[:_SHOWN], *(["..."] if len(named) > _SHOWN else [])])
