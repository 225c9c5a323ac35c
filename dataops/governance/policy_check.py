"""Policies judged against a workspace: what can't work, and what is unlikely to be meant. Pure.

1. An *error* stops somebody from what a rule was to give, or spoils a job: masks that collide, row filters that can't
   be applied, masks that destroy a key or a target. A *warning* is a rule that does nothing, or soon does nothing.
2. Judged by `policy.decide` itself, in every situation that can arise (`policy_world`): what a check says can't differ
   from what a run meets.
3. All findings at once, in the order of files and lines, each with its place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from dataops.errors import AccessDenied, near_match
from dataops.governance.contract import UNCLASSIFIED, Column, Contract
from dataops.governance.grant import Grant, Verdict
from dataops.governance.names import folded
from dataops.governance.policy import decide
from dataops.governance.policy_reach import find_overruled, find_shadowed, find_unreachable
from dataops.governance.policy_uses import find_destroyed
from dataops.governance.policy_world import (
    FindingKind,
    PolicyFinding,
    Severity,
    Situation,
    World,
    finding_at,
    situations_by_rule,
    situations_of,
    spell_names,
    spell_rule,
)
from dataops.governance.rules import Policy, Rule, RuleEffect, classifications_of
from dataops.records import format_time

SOON = timedelta(days=30)

_PROBE = "(probe)"  # allows all, so that only the rules in question decide; no policy file can have the name


def check_policies(world: World) -> tuple[PolicyFinding, ...]:
    """What is wrong with the policies of `world`, sorted by file and line."""
    situations = situations_of(world)
    found = [
        *find_unreachable(world, situations),
        *find_shadowed(world),
        *find_overruled(world, situations),
        *find_collisions(world, situations),
        *find_unusable_filters(world, situations),
        *find_destroyed(world, situations),
        *find_expiries(world),
        *find_contract_gaps(world, situations),
    ]
    return sort_findings(found)


def sort_findings(findings: Sequence[PolicyFinding]) -> tuple[PolicyFinding, ...]:
    """`findings` in the order of files and lines, each once."""
    return tuple(sorted(dict.fromkeys(findings), key=lambda one: (one.source, one.line or 0, one.kind, one.message)))


def find_collisions(world: World, situations: Sequence[Situation]) -> Iterator[PolicyFinding]:
    """Columns that an allow gives and that are denied because their masks can't be applied or don't agree."""
    found: dict[tuple[tuple[Rule, ...], str], list[str]] = {}
    judged: dict[tuple[str, str, tuple[str, ...]], str | None] = {}
    for situation in situations:
        for column, rules in _masked(situation):
            key = (situation.dataset.name, column.name, tuple(rule.qualified for rule in rules))
            if key not in judged:
                reason = judged[key] = _refused_mask(world, situation, column, rules)
                if reason:
                    found.setdefault((rules, reason), []).append(f"{situation.dataset.name}.{column.name}")
    for (rules, reason), columns in found.items():
        message = f"{spell_names(columns)} would be allowed, and can't be read: {reason}"
        yield finding_at(world.place(rules[0], "mask"), Severity.ERROR, FindingKind.COLLISION, message)


def _masked(situation: Situation) -> Iterator[tuple[Column, tuple[Rule, ...]]]:
    """The columns that are allowed and not denied, with the mask rules that cover them."""
    if not any(rule.effect == RuleEffect.MASK for rule in situation.rules):
        return
    for column in situation.columns:
        rules = situation.covering(column, RuleEffect.MASK)
        allowed = situation.covering(column, RuleEffect.ALLOW) and not situation.covering(column, RuleEffect.DENY)
        if rules and allowed:
            yield column, rules


def _refused_mask(world: World, situation: Situation, column: Column, rules: Sequence[Rule]) -> str | None:
    """Why the masks of `rules` deny `column`, if they do.

    Asked of `decide` with a second column that no mask covers, so that there is always one left to read.
    """
    beside = Column(name=_PROBE, type=column.type, classification=_PROBE)
    narrowed = [replace(rule, classifications=tuple(sorted(rule.covered(column)))) for rule in rules]
    contract = Contract(name=situation.dataset.name, version="1", columns=(column, beside))
    decision = _ask(world, situation, narrowed, contract).decision(column.name)
    return decision.reason if decision.verdict == Verdict.DENIED else None


def find_unusable_filters(world: World, situations: Sequence[Situation]) -> Iterator[PolicyFinding]:
    """Row filters that can't be applied to a dataset that they concern: requests for it are refused."""
    by_rule = situations_by_rule(situations)
    for rule in world.rules:
        if rule.effect != RuleEffect.FILTER:
            continue
        met: dict[str, list[Situation]] = {}
        for situation in by_rule.get(rule.qualified, []):
            if situation.dataset.contract is not None:
                met.setdefault(situation.dataset.name, []).append(situation)
        for name, found in met.items():
            stopped = [one for one in found if any(other.effect == RuleEffect.ALLOW for other in one.rules)]
            if reason := _refused_filter(world, (stopped or found)[0], rule):
                severity = Severity.ERROR if stopped else Severity.WARNING
                message = f"every request for dataset '{name}' that it concerns is refused: {reason}"
                yield finding_at(world.place(rule, "where"), severity, FindingKind.FILTER, message)


def _refused_filter(world: World, situation: Situation, rule: Rule) -> str | None:
    """Why the row filter of `rule` has the request refused, if it has: asked of `decide` with all columns allowed."""
    contract = situation.dataset.contract
    if contract is None:
        return None
    try:
        _ask(world, situation, [rule], replace(contract, roles=None))
    except AccessDenied as error:
        return " ".join(line.strip() for line in str(error).splitlines() if line.startswith("  ")) or str(error)
    return None


def _ask(world: World, situation: Situation, rules: Sequence[Rule], contract: Contract) -> Grant:
    """The decision in `situation` if there were `rules` and beside them a rule that allows everything."""
    request = situation.request
    names = [name for column in contract.columns for name in (column.name, *column.origins)]
    everything = Rule(
        policy=_PROBE,
        id="everything",
        effect=RuleEffect.ALLOW,
        roles=(),
        principals=(request.principal,),
        names=tuple(names),
        classifications=(),
    )
    policies = [
        Policy(name=name, rules=tuple(rule for rule in rules if rule.policy == name))
        for name in sorted({rule.policy for rule in rules})
    ]
    return decide(
        [*policies, Policy(name=_PROBE, rules=(everything,))],
        principal=request.principal,
        roles=request.roles,
        purpose=request.purpose,
        dataset=request.dataset,
        zone=request.zone,
        contract=contract,
        key_id=world.key_id,
        at=world.at,
        made_from=request.made_from,
    )


def find_expiries(world: World) -> Iterator[PolicyFinding]:
    """Allowances that have ended, or end within `SOON`."""
    for rule in world.rules:
        if rule.expires_at is None or rule.expires_at > world.at + SOON:
            continue
        ended = not rule.holds_at(world.at)
        when = format_time(rule.expires_at)
        message = f"{spell_rule(rule)} {f'expired at {when}: it allows nothing' if ended else f'expires at {when}'}"
        yield finding_at(world.place(rule, "expires"), Severity.WARNING, FindingKind.EXPIRY, message)


def find_contract_gaps(world: World, situations: Sequence[Situation]) -> Iterator[PolicyFinding]:
    """Columns that nobody classified and no rule allows, and roles that a contract asks for and nobody has."""
    allowed = {
        (situation.dataset.name, column.name)
        for situation in situations
        for column in situation.columns
        if UNCLASSIFIED in classifications_of(column) and situation.covering(column, RuleEffect.ALLOW)
    }
    held = {role for roles in world.principals.values() for role in roles}
    seen: set[tuple[str, str]] = set()
    for dataset in world.datasets.values():
        contract = dataset.contract
        if contract is None or not dataset.source:
            continue
        denied = [column for column in contract.columns if (dataset.name, column.name) not in allowed]
        for message in (*_unclassified(denied), *_unheld(contract, held)):
            if (dataset.source, message) not in seen:  # several datasets may have one contract
                seen.add((dataset.source, message))
                yield finding_at((dataset.source, dataset.line), Severity.WARNING, FindingKind.CONTRACT, message)


def _unclassified(columns: Sequence[Column]) -> Iterator[str]:
    names = [column.name for column in columns if UNCLASSIFIED in classifications_of(column)]
    if names:
        are, them = ("is", "it") if len(names) == 1 else ("are", "them")
        why = "no pattern reaches what nobody classified"
        yield f"{spell_names(names)} {are} {UNCLASSIFIED}, and no rule allows {them}: {why}"


def _unheld(contract: Contract, held: Collection[str]) -> Iterator[str]:
    if contract.roles == ():
        yield f"contract '{contract.name}' names roles, and none of them has access to read: nobody may read it"
    known = {folded(role) for role in held}
    for role in contract.roles or ():
        if folded(role) not in known:
            near = near_match(role, held)
            yield f"contract '{contract.name}' gives access to role '{role}', which no principal has.{near}"
