"""What may be set aside: a run fails early only where its end can't be another, and always at its end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.datasets.commit import UnitRecord
from dataops.datasets.receipt import Receipt
from dataops.declarations.rescore import ErrorBudget
from dataops.errors import ContractViolation
from dataops.rescoring.allowance import Allowance

COUNTS = st.tuples(st.integers(0, 50), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
BUDGETS = st.builds(ErrorBudget, max_rate=st.floats(0, 1), max_rows=st.one_of(st.none(), st.integers(0, 30)))


def record(passed: int, filtered: int = 0, quarantined: int = 0, failed: int = 0) -> UnitRecord:
    receipt = Receipt(
        unit="u",
        read=passed + filtered + quarantined + failed,
        passed=passed,
        filtered_by_policy=filtered,
        quarantined=quarantined,
        failed=failed,
    )
    aside = {"age": quarantined} if quarantined else {}
    reasons = {"TypeError": failed} if failed else {}
    return UnitRecord(
        unit="u", attempt="a", receipt=receipt, part=None, quarantine=None, summary={}, set_aside=aside, failed=reasons
    )


def allowance(rows: int, *records: UnitRecord, replay: bool = False, **budget: Any) -> Allowance:
    made = Allowance(budget=ErrorBudget.model_validate(budget), dataset="people", rows=rows, replay=replay)
    for one in records:
        made.add(one)
    return made


def refusal(check: Any) -> str | None:
    try:
        check()
    except ContractViolation as error:
        return str(error)
    return None


@given(budget=BUDGETS, units=st.lists(COUNTS, min_size=1, max_size=8))
def test_a_run_that_fails_early_would_have_failed_at_its_end(
    budget: ErrorBudget, units: list[tuple[int, int, int, int]]
) -> None:
    records = [record(*counts) for counts in units]
    rows = sum(one.receipt.read for one in records)
    made = Allowance(budget=budget, dataset="people", rows=rows)
    early = []
    for one in records:
        made.add(one)
        early.append(refusal(made.require_possible) is not None)
    end = refusal(made.require_kept) is not None
    assert early == sorted(early)
    assert early[-1] == end


@given(budget=BUDGETS, rows=st.integers(1, 10_000))
def test_the_most_that_may_be_set_aside_is_exact(budget: ErrorBudget, rows: int) -> None:
    most = Allowance(budget=budget, dataset="people", rows=rows).most
    for aside, fails in ((most, False), (most + 1, True)):
        if aside <= rows:
            made = Allowance(budget=budget, dataset="people", rows=rows)
            made.add(record(rows - aside, failed=aside))
            assert (refusal(made.require_kept) is not None) is fails


def test_messages_say_how_many_what_is_allowed_and_why() -> None:
    quarantined = allowance(100, record(60, 20, 20), max_rate=0.1)
    with pytest.raises(
        ContractViolation, match=r"^20 of 80 rows of 'people' were quarantined, 25.000%; errors.max_rate"
    ):
        quarantined.require_kept()
    failed = allowance(100, record(60, 20, 0, 20), max_rate=1.0, max_rows=3)
    with pytest.raises(
        ContractViolation, match=r"20 of 80 rows .* failed, .*max_rows allows 3\..*By reason: TypeError 20"
    ):
        failed.require_kept()
    both = allowance(100, record(60, 20, 15, 5))
    with pytest.raises(
        ContractViolation, match=r"set aside, 25.000% \(15 quarantined, 5 failed\); .* rule:age 15, Type"
    ):
        both.require_kept()
    with pytest.raises(ContractViolation, match=r"\(after 10 of 100 rows\); errors.max_rate allows 0.000%"):
        allowance(100, record(9, 0, 1)).require_possible()


def test_of_a_replay_only_rows_that_fail_count() -> None:
    allowance(10, record(0, 0, 10), replay=True).require_kept()
    with pytest.raises(ContractViolation, match=r"1 of 10 rows of 'people' failed, 10.000%.*By reason: TypeError 1$"):
        allowance(10, record(0, 0, 9, 1), replay=True).require_kept()


def test_no_row_needs_no_allowance() -> None:
    allowance(0).require_possible()
    allowance(0).require_kept()
    assert allowance(0).most == 0
