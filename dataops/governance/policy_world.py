"""What policies are judged against: the people, datasets and jobs of a workspace, and every request they could make.

1. A *subject* is a person of ``principals.yaml``; people whom no rule can tell apart are one. A role that rules name
   and nobody has is a subject of its own, so that policies can be checked where the people aren't listed.
2. A *situation* is one subject, one purpose and one dataset, with the rules that concern it (`Rule.concerns`).
   What holds in every situation holds for everybody.
3. A dataset that a job file promises and nobody has made yet has names of columns and nothing else: a rule that says
   one of them isn't mistyped, and no decision is made about it.
4. Decisions about columns are made as if every row filter could be applied: whether it can is a finding of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from dataops.errors import AccessDenied
from dataops.governance.contract import Column, Contract
from dataops.governance.grant import Grant, Purpose
from dataops.governance.names import folded
from dataops.governance.policy import decide
from dataops.governance.rules import ANY, MadeFrom, Policy, Request, Rule, RuleEffect

Place = tuple[str, int | None]


class Severity(StrEnum):
    """Whether something can't work, or is only unlikely to be meant."""

    ERROR = "error"
    WARNING = "warning"


class FindingKind(StrEnum):
    """What a check found."""

    UNREADABLE = "unreadable"  # a file that can't be read
    UNREACHABLE = "unreachable"  # no dataset, nobody, no column
    SHADOWED = "shadowed"  # another rule says the same, or more
    OVERRULED = "overruled"  # another rule always decides
    COLLISION = "collision"  # masks that deny the column which they were to show
    FILTER = "filter"  # a row filter that can't be applied: the whole request is refused
    JOB = "job"  # a mask that destroys what a job uses
    EXPIRY = "expiry"  # an allowance that has ended, or ends soon
    CONTRACT = "contract"  # unclassified columns, roles that nobody has
    TEST = "test"  # a policy test that fails


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFinding:
    """One thing that a check found, at a line of a file (None: the file as a whole)."""

    severity: Severity
    kind: FindingKind
    source: str
    line: int | None
    message: str

    @property
    def where(self) -> str:
        """``file:line``."""
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDataset:
    """A dataset that policies may speak of.

    Attributes
    ----------
    contract : None where a job will make it and hasn't yet.
    promised : names of the columns that it will have, where a job will make it.
    made_from : the datasets that it was made from, with the filters that were applied.
    source : the file to be named where the contract is at fault; empty for a dataset that a job makes.
    line : of the contract in that file.
    """

    name: str
    zone: str
    contract: Contract | None = None
    promised: tuple[str, ...] = ()
    made_from: tuple[MadeFrom, ...] = ()
    source: str = ""
    line: int | None = None


class Use(StrEnum):
    """What a job does with a column."""

    SPLIT = "split key"
    TARGET = "target"
    WEIGHT = "weight"
    KEEP = "kept column"
    FEATURE = "feature"
    KEY = "join key"  # or the time that a join is as of
    COLUMN = "column"  # that a prepare or join job passes on, or makes others of


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnUse:
    """Columns of a dataset that `job` reads for a purpose, and what for; `place` is the line that says so."""

    job: str
    dataset: str
    purpose: Purpose
    use: Use
    columns: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that a check looks at.

    Attributes
    ----------
    principals : user -> roles.
    places : (``policy/rule``, key) -> where it stands; the key "" is the rule itself.
    key_id : the current key of pseudonyms, None for none.
    at : the time of the check.
    """

    policies: tuple[Policy, ...]
    principals: Mapping[str, tuple[str, ...]]
    datasets: Mapping[str, KnownDataset]
    uses: tuple[ColumnUse, ...] = ()
    places: Mapping[tuple[str, str], Place] = field(default_factory=dict)
    key_id: str | None = None
    at: datetime

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of all policies, in the order of the files."""
        return tuple(rule for policy in self.policies for rule in policy.rules)

    def place(self, rule: Rule, key: str = "") -> Place:
        """Where the rule's `key` stands, or the rule."""
        whole = self.places.get((rule.qualified, ""), (f"policy '{rule.policy}'", None))
        return self.places.get((rule.qualified, key), whole)

    def decide(self, *, principal: str, roles: tuple[str, ...], purpose: str, dataset: KnownDataset) -> Grant:
        """The decision about the whole `dataset`, which has a contract.

        Raises
        ------
        AccessDenied : says why.
        """
        return decide(
            self.policies,
            principal=principal,
            roles=roles,
            purpose=purpose,
            dataset=dataset.name,
            zone=dataset.zone,
            contract=dataset.contract or Contract(name=dataset.name, version="1", columns=()),
            key_id=self.key_id,
            at=self.at,
            made_from=dataset.made_from,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Somebody who asks, for all who are alike."""

    principal: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One request that somebody could make, and the rules that concern it.

    Attributes
    ----------
    grant : what `decide` says where no row filter stands in the way; None where it refuses or the dataset isn't there.
    """

    subject: Subject
    purpose: Purpose
    dataset: KnownDataset
    request: Request
    rules: tuple[Rule, ...]
    grant: Grant | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """The dataset's columns, none where nobody made it yet."""
        return self.dataset.contract.columns if self.dataset.contract else ()

    def covering(self, column: Column, effect: RuleEffect) -> tuple[Rule, ...]:
        """The rules of this effect that cover `column`."""
        return tuple(rule for rule in self.rules if rule.effect == effect and rule.covers(column))


def subjects_of(world: World) -> tuple[Subject, ...]:
    """Who could ask: one for all people whom no rule can tell apart, and one for each role that nobody has."""
    named = {name for rule in world.rules for name in rule.principals}
    alike: dict[tuple[frozenset[str], str], Subject] = {}
    for user, roles in world.principals.items():
        key = (frozenset(map(folded, roles)), user if user in named else "")
        alike.setdefault(key, Subject(principal=user, roles=tuple(sorted(roles))))
    held = {folded(role) for roles in world.principals.values() for role in roles}
    spoken = {role for rule in world.rules for role in rule.roles if role != ANY}
    nobody = [Subject(principal=f"anyone with role {role}", roles=(role,)) for role in sorted(spoken)]
    return (*alike.values(), *(subject for subject in nobody if folded(subject.roles[0]) not in held))


def situations_of(world: World) -> tuple[Situation, ...]:
    """Every request that somebody of `world` could make, decided."""
    unfiltered = [
        replace(policy, rules=tuple(rule for rule in policy.rules if rule.effect != RuleEffect.FILTER))
        for policy in world.policies
    ]
    without_filters = replace(world, policies=tuple(unfiltered))
    return tuple(
        _decided(world, without_filters, subject, purpose, dataset)
        for subject in subjects_of(world)
        for dataset in world.datasets.values()
        for purpose in Purpose
    )


def _decided(
    world: World, without_filters: World, subject: Subject, purpose: Purpose, dataset: KnownDataset
) -> Situation:
    request = Request(
        principal=subject.principal,
        roles=subject.roles,
        purpose=purpose,
        dataset=dataset.name,
        zone=dataset.zone,
        at=world.at,
        made_from=dataset.made_from,
    )
    rules = tuple(rule for rule in world.rules if rule.concerns(request))
    found = Situation(subject=subject, purpose=purpose, dataset=dataset, request=request, rules=rules)
    if dataset.contract is None or not any(rule.effect == RuleEffect.ALLOW for rule in rules):
        return found
    try:
        grant = without_filters.decide(
            principal=subject.principal, roles=subject.roles, purpose=purpose, dataset=dataset
        )
    except AccessDenied:
        return found
    return replace(found, grant=grant)


def situations_by_rule(situations: Iterable[Situation]) -> Mapping[str, list[Situation]]:
    """The situations that each rule concerns, by the rule's qualified name."""
    found: dict[str, list[Situation]] = {}
    for situation in situations:
        for rule in situation.rules:
            found.setdefault(rule.qualified, []).append(situation)
    return found


def spell_rule(rule: Rule) -> str:
    """A rule in a message: ``rule 'adults' of policy 'people'``."""
    return f"rule '{rule.id}' of policy '{rule.policy}'"


def spell_names(names: Sequence[str]) -> str:
    """Names in a message: ``'a', 'b'``, six at most."""
    shown = ", ".join(f"'{name}'" for name in names[:6])
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"


def finding_at(place: Place, severity: Severity, kind: FindingKind, message: str) -> PolicyFinding:
    """A finding at `place`."""
    return PolicyFinding(severity=severity, kind=kind, source=place[0], line=place[1], message=message)
