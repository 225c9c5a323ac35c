"""What changes for readers from one contract to another. Pure.

Every change has one effect:

* ``breaking``: who read the dataset before may not be able to, or gets something else under the same name;
* ``tighter``: rows that were let through are set aside, kept less long, or let a run fail;
* ``looser``: rows come that could not come before;
* ``compatible``: readers see no difference.

1. Columns and rules are found by name and id. A column under another name at the same place in the files was renamed.
2. A type that holds all values of the former one is wider; another logical type, or a narrower one, breaks: files that
   were written can't be read as it.
3. Where a rule's change can't be compared, it counts as tighter: rows that passed may not any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dataops.governance.column_types import casts_losslessly, element_logical_type, logical_type, spell_type
from dataops.governance.contract import SEVERITY, Action, Column, Contract, Rule, RuleKind
from dataops.governance.rule_words import asked, difference
from dataops.records import Record


class Effect(StrEnum):
    """What a change means for readers, the gravest first."""

    BREAKING = "breaking"
    TIGHTER = "tighter"
    LOOSER = "looser"
    COMPATIBLE = "compatible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two contracts.

    Attributes
    ----------
    subject : what changed: ``column 'age'``, ``rule 'age.minimum'``, ``retention`` ...
    what : from what to what.
    reason : why it has its effect.
    """

    effect: Effect
    subject: str
    what: str
    reason: str

    def record(self) -> Record:
        """The change in JSON types."""
        return {"effect": str(self.effect), "subject": self.subject, "change": self.what, "reason": self.reason}


_LOWER_BOUNDS = (RuleKind.MINIMUM, RuleKind.EXCLUSIVE_MINIMUM, RuleKind.MIN_LENGTH, RuleKind.MIN_ITEMS)
_UPPER_BOUNDS = (RuleKind.MAXIMUM, RuleKind.EXCLUSIVE_MAXIMUM, RuleKind.MAX_LENGTH, RuleKind.MAX_ITEMS)
_SETS_ASIDE = "rows that passed may be set aside"
_LETS_IN = "rows that were set aside may come"


def changes(old: Contract, new: Contract) -> tuple[Change, ...]:
    """All differences from `old` to `new`, the gravest first; none if both do the same."""
    found = [
        *_column_changes(old, new),
        *_rule_changes(old, new),
        *_role_changes(old.roles, new.roles),
        *_retention_changes(old.retention_seconds, new.retention_seconds),
    ]
    if old.primary_key != new.primary_key:
        what = f"{_listed(old.primary_key)} -> {_listed(new.primary_key)}"
        found.append(
            _change(Effect.BREAKING, "primary key", what, "other columns name a row: joins and replays go by it")
        )
    if found and old.version == new.version:
        reason = "readers can't tell the two by their version: raise it"
        found.append(_change(Effect.COMPATIBLE, "version", f"{new.version} in both", reason))
    order = list(Effect)
    return tuple(sorted(found, key=lambda change: order.index(change.effect)))


def breaks_readers(found: Iterable[Change]) -> bool:
    """Whether one of the changes is breaking."""
    return any(change.effect == Effect.BREAKING for change in found)


def _change(effect: Effect, subject: str, what: str, reason: str) -> Change:
    return Change(effect=effect, subject=subject, what=what, reason=reason)


def _column_changes(old: Contract, new: Contract) -> Iterator[Change]:
    before = {column.name: column for column in old.columns}
    after = {column.name: column for column in new.columns}
    added = {column.path: column for name, column in after.items() if name not in before}
    for name, column in before.items():
        if name in after:
            yield from _same_column(column, after[name])
        elif column.path in added:
            renamed = added.pop(column.path)
            what = f"renamed to '{renamed.name}'"
            yield _change(
                Effect.BREAKING, f"column '{name}'", what, "jobs, models and policies ask for the former name"
            )
            yield from _same_column(column, renamed)
        else:
            yield _change(Effect.BREAKING, f"column '{name}'", "removed", "who reads it is refused")
    for column in added.values():
        what = f"added, {spell_type(column.type)}, {column.classification}"
        yield _change(Effect.COMPATIBLE, f"column '{column.name}'", what, "nobody reads it yet")


def _same_column(old: Column, new: Column) -> Iterator[Change]:
    subject = f"column '{new.name}'"
    if old.type != new.type:
        yield _type_change(subject, old, new)
    if old.classification != new.classification:
        what = f"classification {old.classification} -> {new.classification}"
        yield _change(
            Effect.BREAKING, subject, what, "policies decide anew who may read it: see `dataops policy check`"
        )
    if old.path != new.path and old.name == new.name:
        what = f"in the files {'.'.join(old.path)} -> {'.'.join(new.path)}"
        yield _change(Effect.COMPATIBLE, subject, what, "its name stays; files must be written so")
    if old.partitioned != new.partitioned:
        what = "partition -> column of the files" if old.partitioned else "column of the files -> partition"
        yield _change(Effect.COMPATIBLE, subject, what, "readers see a column either way; files must be written so")


def _type_change(subject: str, old: Column, new: Column) -> Change:
    what = f"type {spell_type(old.type)} -> {spell_type(new.type)}"
    same = (logical_type(old.type), element_logical_type(old.type)) == (
        logical_type(new.type),
        element_logical_type(new.type),
    )
    if same and casts_losslessly(old.type, new.type):
        return _change(Effect.LOOSER, subject, what, "wider: values come that didn't fit before")
    if same:
        return _change(Effect.BREAKING, subject, what, "narrower: files that hold the former type can't be read")
    return _change(Effect.BREAKING, subject, what, "another type of values under the same name")


def _rule_changes(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = ({rule.id: rule for rule in contract.rules} for contract in (old, new))
    gone = {column.name for column in old.columns} - {column.name for column in new.columns}
    for name, rule in before.items():
        if name in after and after[name].kind == rule.kind:
            yield from _same_rule(rule, after[name])
        elif rule.column not in gone:  # with the column its rules go: nothing to add
            yield _change(Effect.LOOSER, f"rule '{name}'", f"removed: {asked(rule)}", _LETS_IN)
    for name, rule in after.items():
        if name not in before or before[name].kind != rule.kind:
            effect = Effect.COMPATIBLE if _is_of_new_column(rule, old) else Effect.TIGHTER
            reason = "its column is new" if effect == Effect.COMPATIBLE else _consequence(rule)
            yield _change(effect, f"rule '{name}'", f"added: {asked(rule)}, action {rule.action}", reason)


def _is_of_new_column(rule: Rule, old: Contract) -> bool:
    known = {column.name for column in old.columns}
    return rule.column is not None and rule.column not in known and rule.action == Action.WARN


def _consequence(rule: Rule) -> str:
    words = {
        Action.WARN: "rows that break it are counted",
        Action.FAIL: "a run fails that didn't",
    }
    return words.get(rule.action, _SETS_ASIDE)


def _same_rule(old: Rule, new: Rule) -> Iterator[Change]:
    subject = f"rule '{new.id}'"
    if old.arguments != new.arguments or old.column != new.column:
        wider = _is_wider(old, new)
        effect, reason = (Effect.LOOSER, _LETS_IN) if wider else (Effect.TIGHTER, _SETS_ASIDE)
        if not (wider and _is_wider(new, old)):  # else the same in another order
            yield _change(effect, subject, difference(old, new), reason)
    if old.action != new.action:
        stricter = SEVERITY.index(new.action) > SEVERITY.index(old.action)
        effect, reason = (
            (Effect.TIGHTER, _consequence(new)) if stricter else (Effect.LOOSER, "less happens to such rows")
        )
        yield _change(effect, subject, f"action {old.action} -> {new.action}", reason)
    for unit in ("max_rows", "max_percent"):
        before, after = getattr(old, unit), getattr(new, unit)
        if before != after:
            tighter = after is not None and (before is None or after < before)
            effect, reason = (
                (Effect.TIGHTER, "a run fails earlier") if tighter else (Effect.LOOSER, "a run fails later")
            )
            yield _change(effect, subject, f"{unit} {_shown(before)} -> {_shown(after)}", reason)


def _is_wider(old: Rule, new: Rule) -> bool:
    """Whether all that `old` lets through, `new` does: known for bounds and lists of values alone."""
    compare = _WIDER.get(new.kind)
    return compare is not None and old.column == new.column and compare(old.arguments, new.arguments)


def _at_most(low: Any, high: Any) -> bool:
    """Whether `low` is at most `high`, numbers or dates as text; what can't be compared isn't."""
    both_text = isinstance(low, str) and isinstance(high, str)
    both_numbers = isinstance(low, int | float) and isinstance(high, int | float)
    return bool((both_text or both_numbers) and low <= high)


def _holds_all(values: Sequence[Any], others: Sequence[Any]) -> bool:
    return all(value in values for value in others)


def _range_holds(wider: Mapping[str, Any], narrower: Mapping[str, Any]) -> bool:
    least = wider["minimum"] is None or _at_most(wider["minimum"], narrower["minimum"])
    most = wider["maximum"] is None or _at_most(narrower["maximum"], wider["maximum"])
    return least and most


_WIDER: Mapping[RuleKind, Callable[[Mapping[str, Any], Mapping[str, Any]], bool]] = {
    **dict.fromkeys(_LOWER_BOUNDS, lambda before, after: _at_most(after["value"], before["value"])),
    **dict.fromkeys(_UPPER_BOUNDS, lambda before, after: _at_most(before["value"], after["value"])),
    RuleKind.VALID_VALUES: lambda before, after: _holds_all(after["values"], before["values"]),
    RuleKind.NOT_MISSING: lambda before, after: _holds_all(before["values"], after["values"]),
    # with more columns fewer rows are equal
    RuleKind.UNIQUE: lambda before, after: _holds_all(after["columns"], before["columns"]),
    RuleKind.ROW_COUNT: lambda before, after: _range_holds(after, before),
    RuleKind.FRESHNESS: lambda before, after: (
        before["column"] == after["column"] and _at_most(before["max_age_seconds"], after["max_age_seconds"])
    ),
}


def _role_changes(old: Sequence[str] | None, new: Sequence[str] | None) -> Iterator[Change]:
    before, after = (None if roles is None else set(roles) for roles in (old, new))
    if before == after:
        return
    what = " -> ".join("anybody" if roles is None else _listed(roles, "nobody") for roles in (old, new))
    if after is not None and (before is None or before - after):
        reason = "a reader without one of them is refused" if after else "nobody may read it any more"
        yield _change(Effect.BREAKING, "roles", what, reason)
    else:
        yield _change(Effect.LOOSER, "roles", what, "more people may read it, if policies allow")


def _retention_changes(old: int | None, new: int | None) -> Iterator[Change]:
    if old == new:
        return
    what = f"{_duration(old)} -> {_duration(new)}"
    if new is not None and (old is None or new < old):
        yield _change(Effect.TIGHTER, "retention", what, "rows are deleted earlier")
    else:
        yield _change(Effect.LOOSER, "retention", what, "rows are kept longer")


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return "without end"
    return f"{seconds / 86_400:.4g} days" if seconds >= 86_400 else f"{seconds} s"


def _listed(names: Sequence[str], otherwise: str = "none") -> str:
    return ", ".join(names) or otherwise


def _shown(limit: float | None) -> str:
    return "no limit" if limit is None else f"{limit:.4g}"
