"""What masks do to jobs: keys that no longer name anything, targets that are no longer what is to be predicted. Pure.

1. A split key, and a kept column that names a row, must stay unique: of the masks only a pseudonym leaves them so.
2. A target or a weight must not be masked at all: a model would learn the mask. What a prepare job reads must not be
   denied.
3. What holds for everybody who may read the data is an error; what holds for some of them is a warning, since the
   others can run the job.
4. A mask that the stored values carry already was judged where it was applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dataops.errors import near_match
from dataops.governance.contract import Column, Contract, RuleKind
from dataops.governance.grant import ColumnDecision, Purpose
from dataops.governance.masking import MaskKind
from dataops.governance.policy_world import (
    ColumnUse,
    FindingKind,
    PolicyFinding,
    Severity,
    Situation,
    Use,
    World,
    finding_at,
    spell_names,
)

_ONE_VALUE = frozenset({MaskKind.DROP, MaskKind.NULL, MaskKind.REDACT, MaskKind.CONSTANT})
_STILL_UNIQUE = frozenset({MaskKind.PSEUDONYM})
_ALL_OR_NONE = frozenset({Use.COLUMN, Use.KEY})


def find_destroyed(world: World, situations: Sequence[Situation]) -> Iterator[PolicyFinding]:
    """Masks that take from a job what it needs of a column, and jobs that nobody could run."""
    read: dict[tuple[str, Purpose], list[Situation]] = {}
    for situation in situations:
        read.setdefault((situation.dataset.name, situation.purpose), []).append(situation)
    seen: set[tuple[str, str, Purpose]] = set()
    for use in world.uses:
        dataset = world.datasets.get(use.dataset)
        if dataset is None or dataset.contract is None:
            continue
        granted = [one for one in read.get((use.dataset, use.purpose), []) if one.grant is not None]
        if granted:
            yield from _of_use(use, dataset.contract, granted)
        elif (key := (use.job, use.dataset, use.purpose)) not in seen:
            seen.add(key)
            message = f"job '{use.job}' reads dataset '{use.dataset}' for '{use.purpose}', and nobody may"
            yield finding_at(use.place, Severity.WARNING, FindingKind.JOB, message)


def _of_use(use: ColumnUse, contract: Contract, granted: Sequence[Situation]) -> Iterator[PolicyFinding]:
    columns = {column.name: column for column in contract.columns}
    unique = unique_columns(contract)
    for name in use.columns:
        if name not in columns:
            if use.use in _ALL_OR_NONE:
                message = f"job '{use.job}' reads '{name}', and dataset '{use.dataset}' has no such column."
                near = near_match(name, columns)
                yield finding_at(use.place, Severity.ERROR, FindingKind.JOB, f"{message}{near}")
            continue
        harmed: dict[str, list[Situation]] = {}
        for situation in granted:
            if harm := _harm(use, columns[name], situation, unique):
                harmed.setdefault(harm, []).append(situation)
        count = sum(len(found) for found in harmed.values())
        for harm, found in harmed.items():
            # who may read other columns can still train on them; a prepare or join job reads all of its own or none
            lighter = use.use == Use.FEATURE or (" is denied" in harm and use.use not in _ALL_OR_NONE)
            grave = count == len(granted) and not lighter
            readers = "" if count == len(granted) else f", for {_readers(found)}"
            message = f"job '{use.job}' reads '{name}' of dataset '{use.dataset}' as {use.use}, {harm}{readers}"
            yield finding_at(use.place, Severity.ERROR if grave else Severity.WARNING, FindingKind.JOB, message)
    yield from _unjoinable(use, columns, granted, unique)


def unique_columns(contract: Contract) -> frozenset[str]:
    """The columns that the contract says name a row, alone or together with others."""
    unique = [rule for rule in contract.rules if rule.kind == RuleKind.UNIQUE]
    return frozenset([*contract.primary_key, *(name for rule in unique for name in rule.arguments.get("columns", ()))])


def _harm(use: ColumnUse, column: Column, situation: Situation, unique: frozenset[str]) -> str | None:
    """What is wrong with the column as it is seen in `situation`, for this use."""
    decision = situation.grant.decision(column.name) if situation.grant else None
    if decision is None or decision.is_stored:
        return None
    if decision.mask is None:
        return None if decision.readable else f"and it is denied: {decision.reason}"
    consequence = _consequence(use.use, decision.mask.kind, named=column.name in unique)
    if consequence is None:
        return None
    rules = " and ".join(f"'{rule}'" for rule in decision.rules)
    return f"and it is masked ({decision.mask}) by {rules}: {consequence}"


def _consequence(use: Use, kind: MaskKind, *, named: bool) -> str | None:
    """What a mask of `kind` does to a column in this use; `named`: the contract says that it names a row."""
    blurred = kind not in _STILL_UNIQUE
    consequences = {
        Use.TARGET: "a model would learn the mask",
        Use.WEIGHT: "a model would learn the mask",
        Use.SPLIT: "keys that differ become one" if blurred else None,
        Use.KEY: "keys that differ become one" if blurred else None,
        Use.KEEP: "it names a row no longer, so scores can't be joined by it" if named and blurred else None,
        Use.FEATURE: "every row has the same" if kind in _ONE_VALUE else None,
        Use.COLUMN: None,
    }
    if kind == MaskKind.DROP:
        return "nothing of it is read, so the job is refused"
    if use == Use.SPLIT and kind in _ONE_VALUE:
        return "all rows have one key, so all are on one side"
    return consequences[use]


def _unjoinable(
    use: ColumnUse, columns: Mapping[str, Column], granted: Sequence[Situation], unique: frozenset[str]
) -> Iterator[PolicyFinding]:
    """Kept columns of which each is masked so that none can name a row, where the contract names no key."""
    kept = [name for name in use.columns if name in columns]
    if use.use != Use.KEEP or not kept or unique & set(kept):
        return
    if all(_blurred(_seen(situation, name)) for situation in granted for name in kept):
        message = (
            f"job '{use.job}' keeps {spell_names(kept)} of dataset '{use.dataset}', all of them masked so that rows "
        )
        yield finding_at(use.place, Severity.WARNING, FindingKind.JOB, f"{message}can't be told apart by them")


def _seen(situation: Situation, name: str) -> ColumnDecision | None:
    return situation.grant.decision(name) if situation.grant else None


def _blurred(decision: ColumnDecision | None) -> bool:
    if decision is None or decision.mask is None or decision.is_stored:
        return False
    return decision.mask.kind not in _STILL_UNIQUE


def _readers(found: Sequence[Situation]) -> str:
    names = dict.fromkeys(one.subject.principal for one in found)
    return spell_names(list(names))
