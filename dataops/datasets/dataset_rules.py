"""Rules of the dataset as a whole: enough rows, and new enough. Pure.

1. Rows are counted by the footers: before any row filter, as the files are delivered.
2. Age is that of the newest value of the rule's column (of the rows that the row filters let through), or of the newest
   file; at the moment that the run was planned for, so that resuming a run doesn't change its verdict.
3. Where there is no time at all, nothing shows that the data is new: the rule is broken.
4. A finding names counts and what is allowed, never the time itself: it is a row's value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dataops.datasets.snapshot import Snapshot
from dataops.governance.contract import Contract, Rule, RuleKind
from dataops.records import parse_time

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRule:
    """A rule of the dataset that it breaks, and how."""

    rule: Rule
    finding: str


def broken_by_rows(contract: Contract, rows: int) -> list[BrokenRule]:
    """The rules about the number of rows that a dataset of `rows` breaks."""
    found = []
    for rule in contract.dataset_rules:
        if rule.kind is RuleKind.ROW_COUNT:
            least, most = rule.arguments.get("minimum"), rule.arguments.get("maximum")
            if (least is not None and rows < least) or (most is not None and rows > most):
                found.append(BrokenRule(rule=rule, finding=f"it has {rows} rows, {_bounds(least, most)}"))
    return found


def _bounds(least: int | None, most: int | None) -> str:
    if least is None or most is None:
        return f"at least {least} are expected" if most is None else f"at most {most} are allowed"
    return f"{least} are expected" if least == most else f"{least} to {most} are expected"


def broken_by_age(
    contract: Contract, *, at: datetime, newest_file: datetime | None, newest: Mapping[str, int | None]
) -> list[BrokenRule]:
    """The rules about age that a dataset breaks at the moment `at`.

    Parameters
    ----------
    newest_file : time of the newest file.
    newest : newest time of each column that a rule names, in microseconds since 1970 UTC.
    """
    now = (at - _EPOCH) // timedelta(microseconds=1)
    of_files = None if newest_file is None else (newest_file - _EPOCH) // timedelta(microseconds=1)
    found = []
    for rule in contract.dataset_rules:
        if rule.kind is not RuleKind.FRESHNESS:
            continue
        column = rule.arguments.get("column")
        time = of_files if column is None else newest[column]
        allowed = rule.arguments["max_age_seconds"]
        if time is None or now - time > allowed * 10**6:
            found.append(BrokenRule(rule=rule, finding=_too_old(column, known=time is not None, allowed=allowed)))
    return found


def _too_old(column: str | None, *, known: bool, allowed: float) -> str:
    of = "its newest file" if column is None else f"the newest value of column '{column}'"
    if known:
        return f"{of} is older than {_spoken(allowed)}, which is the most that is allowed"
    return f"{of} may be {_spoken(allowed)} old at most, and there is none"


def _spoken(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} seconds"


def newest_file(snapshot: Snapshot) -> datetime | None:
    """When the newest file of `snapshot` was changed; of parts that we made, when their manifest was; None without
    files.
    """
    times = [one.modified_ns for one in snapshot.fragments if one.modified_ns is not None]
    if times:
        return _EPOCH + timedelta(microseconds=max(times) // 1000)
    return parse_time(snapshot.manifests[-1].created_at) if snapshot.manifests else None
