"""Policies: from the text of a policy file to a decision about every column. Pure.

How a request is decided, always in this order, whatever the order of rules and files:

1. An unknown purpose or zone is refused. So is a reader without any of the roles that the contract names, if it names
   some.
2. Rules that don't concern the request (`rules.Rule.concerns`) play no part: other people, purposes, zones, datasets;
   an allow that has expired. A restricting rule concerns a dataset also by what it was made from, an allow doesn't.
3. A column that a ``deny`` rule covers is denied. Deny wins over everything.
4. A column that no ``allow`` rule covers is denied: no policy, no rule, a classification that no rule knows.
5. A column that ``mask`` rules cover is masked as they ask, unless its stored values carry that mask already
   (`marks.carries`). A mask that says nothing about the value (drop, null, redact, constant, in this order) stands in
   for all others. Two different masks that both show something of it, two different constants, a mask that can't take
   the column's type, a pseudonym without a key: denied, also where another mask would stand in, since one more rule
   must give nothing.
6. If no column is left, the request is refused.
7. Row filters are applied, or were when the dataset was made, or the request is refused (`row_filters`).
8. The largest ``min_size`` of all ``group`` rules is the smallest group that figures may be about.

So one more restriction, one allow less, or a later time never shows anybody more. No rule is stronger by its place, its
file or how closely it names something: ties are equal rules, and all of them are named as deciding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from dataops.errors import AccessDenied, InvalidInput, near_match
from dataops.governance.contract import UNCLASSIFIED, Column, Contract
from dataops.governance.grant import ColumnDecision, Effect, Grant, Purpose, Verdict, Zone, who
from dataops.governance.marks import chosen_mask, mask_finding, pending_masks
from dataops.governance.masking import Mask, MaskKind
from dataops.governance.names import folded
from dataops.governance.policy_file import parse_policy
from dataops.governance.row_filters import applied_filters, require_filtered_before
from dataops.governance.rules import (
    ANY,
    MadeFrom,
    Policy,
    Request,
    Rule,
    RuleEffect,
    classifications_of,
    spell_names,
    spell_rules,
)
from dataops.records import digest, format_time

__all__ = ["MadeFrom", "Policy", "decide", "parse_policy"]


def decide(
    policies: Sequence[Policy],
    *,
    principal: str,
    roles: Collection[str],
    purpose: str,
    dataset: str,
    zone: str,
    contract: Contract,
    key_id: str | None = None,
    at: datetime,
    made_from: Sequence[MadeFrom] = (),
) -> Grant:
    """What `principal` may read of `dataset` for `purpose`.

    Parameters
    ----------
    policies
        All that hold, in any order, each under its own name.
    principal, roles
        Who asks, and the roles of that person.
    purpose, zone
        One of `Purpose`, one of `Zone`.
    dataset, contract
        What is asked for; columns that the contract doesn't list don't exist here.
    key_id
        The current key, by which pseudonyms are made; None where there is none.
    at
        The time of the request: what has expired by then plays no part.
    made_from
        What the dataset was made from, at any remove.

    Raises
    ------
    AccessDenied : an unknown purpose or zone, a role that the contract asks for, a filter that can't be applied or
        wasn't when the dataset was made, or no column that may be read: says why.
    InvalidInput : two policies of one name (a message could not say which one decided).
    """
    _require_own_names(policies)
    request = Request(
        principal=principal,
        roles=tuple(sorted(set(roles))),
        purpose=purpose,
        dataset=dataset,
        zone=zone,
        at=at,
        made_from=tuple(made_from),
    )
    _require_known(request)
    _require_contract_role(request, contract)
    rules = _concerning(request, policies)
    decisions = _decide_columns(contract, rules, purpose, key_id)
    _require_any(request, decisions, rules, policies)
    require_filtered_before(request, rules)
    return Grant(
        principal=principal,
        roles=request.roles,
        purpose=purpose,
        dataset=dataset,
        zone=zone,
        decisions=decisions,
        effect=_effect(request, decisions, rules, contract),
        policy_digest=digest(sorted(policy.digest for policy in policies)),
        expires_at=_expiry(decisions, rules, contract),
    )


def _require_own_names(policies: Sequence[Policy]) -> None:
    names = [policy.name for policy in policies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"more than one policy is named {spell_names(twice)}: give each file a name of its own")


def _require_known(request: Request) -> None:
    asked = f"{who(request.principal, request.roles)} may not read dataset '{request.dataset}'"
    if request.purpose not in set(Purpose):
        raise AccessDenied(f"{asked}: no purpose is called '{request.purpose}'.{near_match(request.purpose, Purpose)}")
    if request.zone not in set(Zone):
        raise AccessDenied(f"{asked}: no zone is called '{request.zone}'.{near_match(request.zone, Zone)}")


def _require_contract_role(request: Request, contract: Contract) -> None:
    if contract.roles is None:
        return
    asked = f"{who(request.principal, request.roles)} may not read dataset '{request.dataset}': its contract"
    if not contract.roles:
        raise AccessDenied(
            f"{asked} '{contract.name}' names roles, and none of them has access to read. "
            "Ask the dataset's owner to give it to yours."
        )
    needed = {folded(role) for role in contract.roles}
    if needed.isdisjoint(folded(role) for role in request.roles):
        raise AccessDenied(
            f"{asked} '{contract.name}' gives access to the roles {spell_names(sorted(contract.roles))} only. "
            "Ask whoever keeps principals.yaml for one of them, or the dataset's owner to name yours."
        )


def _concerning(request: Request, policies: Sequence[Policy]) -> list[Rule]:
    """The rules that play a part, by name."""
    found = (rule for policy in policies for rule in policy.rules if rule.concerns(request))
    return sorted(found, key=lambda rule: rule.qualified)


def _decide_columns(
    contract: Contract, rules: Sequence[Rule], purpose: str, key_id: str | None
) -> tuple[ColumnDecision, ...]:
    alike: dict[str, list[str]] = {}
    for column in contract.columns:
        alike.setdefault(folded(column.name), []).append(column.name)
    return tuple(
        _decide_column(column, rules, sorted(alike[folded(column.name)]), purpose, key_id)
        for column in contract.columns
    )


def _decide_column(
    column: Column, rules: Sequence[Rule], alike: Sequence[str], purpose: str, key_id: str | None
) -> ColumnDecision:
    covering = {effect: [r for r in rules if r.effect == effect and r.covers(column)] for effect in RuleEffect}
    if len(alike) > 1:
        return _denied(
            column, [], f"{len(alike)} columns of the contract read the same ({', '.join(map(ascii, alike))})"
        )
    if denying := covering[RuleEffect.DENY]:
        return _denied(column, denying, f"denied by {spell_rules(denying)}")
    allowing = covering[RuleEffect.ALLOW]
    if finding := _allow_finding(column, allowing):
        return _denied(column, [], finding)
    if masking := covering[RuleEffect.MASK]:
        return _decide_mask(column, masking, purpose, key_id)
    return ColumnDecision(
        column=column.name,
        verdict=Verdict.VISIBLE,
        rules=_qualified(allowing),
        classification=column.classification,
        reason=f"allowed by {spell_rules(allowing)}",
    )


def _allow_finding(column: Column, allowing: Sequence[Rule]) -> str | None:
    """Why `allowing` isn't enough, if so. Of a column made of several, every classification must be allowed."""
    if not allowing:
        return "no rule allows it"
    if any(rule.mentions(column) for rule in allowing):
        return None
    left = classifications_of(column).difference(*(rule.covered(column) for rule in allowing))
    return f"no rule allows {spell_names(sorted(left))}, which it was made of" if left else None


def _denied(column: Column, rules: Sequence[Rule], reason: str) -> ColumnDecision:
    return ColumnDecision(
        column=column.name,
        verdict=Verdict.DENIED,
        rules=_qualified(rules),
        classification=column.classification,
        reason=reason,
    )


def _decide_mask(column: Column, rules: Sequence[Rule], purpose: str, key_id: str | None) -> ColumnDecision:
    asked = [(rule, _bound(rule.mask, purpose, key_id)) for rule in rules if rule.mask is not None]
    finding = mask_finding(column, asked)
    if finding:
        return _denied(column, rules, f"{finding}: {spell_rules(rules)}")
    pending = pending_masks(column, asked)
    chosen = chosen_mask(pending or [mask for _, mask in asked])
    deciding = [rule for rule, mask in asked if mask == chosen]
    return ColumnDecision(
        column=column.name,
        verdict=Verdict.MASKED,
        mask=chosen,
        is_stored=not pending,
        rules=_qualified(deciding),
        classification=column.classification,
        reason=f"masked ({chosen}) by {spell_rules(deciding)}",
    )


def _bound(mask: Mask, purpose: str, key_id: str | None) -> Mask:
    """`mask` with the key that holds for this request: it differs by purpose, so that purposes can't be joined."""
    if mask.kind != MaskKind.PSEUDONYM or key_id is None:
        return mask
    return replace(mask, key_id=key_id, purpose=purpose)


def _effect(request: Request, decisions: Sequence[ColumnDecision], rules: Sequence[Rule], contract: Contract) -> Effect:
    return Effect(
        columns=_columns(decisions),
        filters=applied_filters(request, rules, contract),
        contract_digest=contract.digest,
        min_group_size=max((rule.min_size for rule in rules if rule.min_size is not None), default=1),
    )


def _columns(decisions: Sequence[ColumnDecision]) -> Mapping[str, Mask | None]:
    return {
        decision.column: None if decision.is_stored else decision.mask for decision in decisions if decision.readable
    }


def _expiry(decisions: Sequence[ColumnDecision], rules: Sequence[Rule], contract: Contract) -> str | None:
    """The first moment at which a column that is readable now would no longer be; None: there is none.

    Only allowing rules expire, so it is the first expiry after which those that are left don't allow all that is read.
    """
    allowing = [rule for rule in rules if rule.effect == RuleEffect.ALLOW]
    read = [column for column, decided in zip(contract.columns, decisions, strict=True) if decided.readable]
    for moment in sorted({rule.expires_at for rule in allowing if rule.expires_at is not None}):
        left = [rule for rule in allowing if rule.holds_at(moment)]
        if any(_allow_finding(column, [rule for rule in left if rule.covers(column)]) for column in read):
            return format_time(moment)
    return None


def _require_any(
    request: Request, decisions: Sequence[ColumnDecision], rules: Sequence[Rule], policies: Sequence[Policy]
) -> None:
    if any(decision.readable for decision in decisions):
        return
    asked = (
        f"{who(request.principal, request.roles)} may read nothing of dataset '{request.dataset}' ({request.zone}) "
        f"for purpose '{request.purpose}'"
    )
    if not policies:
        raise AccessDenied(
            f"{asked}: there is no policy yet, and what no rule allows is denied. Write one in policies/"
        )
    if not any(rule.effect == RuleEffect.ALLOW for rule in rules):
        raise AccessDenied(
            f"{asked}: no policy allows any of it to these roles for this purpose in this zone."
            f"{_unknown_roles(request, policies)} "
            "Ask whoever keeps the policies for a rule that does."
        )
    reasons: dict[str, list[str]] = {}
    for decision in decisions:
        reasons.setdefault(decision.reason, []).append(decision.column)
    listed = "\n".join(f"  {', '.join(columns)}: {reason}" for reason, columns in reasons.items())
    if any(folded(decision.classification) == UNCLASSIFIED for decision in decisions):
        listed += (
            f"\n('*' doesn't reach columns that are {UNCLASSIFIED}: classify them, or allow '{UNCLASSIFIED}' by name)"
        )
    raise AccessDenied(f"{asked}:\n{listed}\nAsk whoever keeps the policies for a rule that allows what you need.")


def _unknown_roles(request: Request, policies: Sequence[Policy]) -> str:
    """A sentence for each role of the reader that no policy speaks of, with its near match."""
    spoken_of = {role for policy in policies for rule in policy.rules for role in rule.roles} - {ANY}
    known = {folded(role) for role in spoken_of}
    unknown = [role for role in request.roles if folded(role) not in known]
    return "".join(f" No rule speaks of role '{role}'.{near_match(role, spoken_of)}" for role in unknown)


def _qualified(rules: Sequence[Rule]) -> tuple[str, ...]:
    return tuple(rule.qualified for rule in rules)
