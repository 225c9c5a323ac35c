"""Rules and policies: the values that governance people's files become, and whom and what a rule concerns. Pure.

1. A rule concerns a request when its roles, purposes, zones and datasets all do. In a list one match is enough;
   ``*`` is any.
2. Datasets and classifications are patterns (``census_*``, ``pii.*``); roles and column names are names. All compare
   `folded`: NFKC, casefold, without spaces around and invisible characters, so that no spelling slips past a rule.
3. An allowing rule must say whom: it has no ``*`` for roles, so a role nobody wrote down has nothing. It reaches a
   column that nobody classified only by its name or by the word ``unclassified``; a restricting rule does by ``*``.
4. A column made of several has all their classifications (``finance+pii.quasi``). Each of them must be allowed; one is
   enough for a rule that restricts.
5. The name of a derived column is the choice of whoever wrote the job: a restricting rule reaches it also by the names
   of the columns that it was derived from, an allowing one only if it has all of these.
6. What a restricting rule leaves out means *any*: forgetting something makes it stricter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from dataops.governance.contract import UNCLASSIFIED, Column
from dataops.governance.expressions import Expression
from dataops.governance.masking import Mask
from dataops.records import Record, digest

ANY = "*"


class RuleEffect(StrEnum):
    """What a rule does; only ``allow`` gives, the others take away."""

    ALLOW = "allow"
    DENY = "deny"
    MASK = "mask"
    FILTER = "filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who wants to read what for what; names as they came."""

    principal: str
    roles: tuple[str, ...]
    purpose: str
    dataset: str
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of the policy named `policy`.

    Attributes
    ----------
    classifications, names
        The columns it is about: those that one of them matches.
    mask
        Of a masking rule, without a key id: which key holds is decided with the grant.
    where
        Of a filtering rule: what a row must satisfy to be read.
    reason
        Why, in the words of whoever wrote it; shown to those whom it stops.
    """

    policy: str
    id: str
    effect: RuleEffect
    roles: tuple[str, ...] = (ANY,)
    purposes: tuple[str, ...] = (ANY,)
    zones: tuple[str, ...] = (ANY,)
    datasets: tuple[str, ...] = (ANY,)
    classifications: tuple[str, ...] = (ANY,)
    names: tuple[str, ...] = ()
    mask: Mask | None = None
    where: Expression | None = None
    reason: str = ""

    @property
    def qualified(self) -> str:
        """``<policy>/<rule>``."""
        return f"{self.policy}/{self.id}"

    def concerns(self, request: Request) -> bool:
        """Whether the rule is about this request, as far as no column is looked at."""
        return (
            self._has_role(request.roles)
            and _listed(request.purpose, self.purposes)
            and _listed(request.zone, self.zones)
            and _matches(request.dataset, self.datasets)
        )

    def covers(self, column: Column) -> bool:
        """Whether the rule is about this column, or about one of the classifications that it has."""
        return self.mentions(column) or bool(self.covered(column))

    def mentions(self, column: Column) -> bool:
        """Whether the rule has the column's name; of a derived one, those of the columns that it was made from."""
        listed = {folded(name) for name in self.names}
        origins = {folded(name) for name in column.origins}
        if self.effect == RuleEffect.ALLOW and origins:
            return origins <= listed
        return not listed.isdisjoint({folded(column.name), *origins})

    def covered(self, column: Column) -> frozenset[str]:
        """The classifications of `column` that the rule is about."""
        patterns = [folded(pattern) for pattern in self.classifications]
        return frozenset(
            tag
            for tag in classifications_of(column)
            if tag in patterns or (self._reaches(tag) and any(fnmatchcase(tag, pattern) for pattern in patterns))
        )

    def _reaches(self, tag: str) -> bool:
        """Whether patterns count: what nobody classified isn't given away by a ``*``."""
        return self.effect != RuleEffect.ALLOW or tag != UNCLASSIFIED

    def _has_role(self, roles: Collection[str]) -> bool:
        if ANY in self.roles:
            return self.effect != RuleEffect.ALLOW
        return not {folded(role) for role in self.roles}.isdisjoint(folded(role) for role in roles)

    def record(self) -> Record:
        """The rule as JSON; lists sorted, since their order says nothing."""
        return {
            "id": self.id,
            "effect": str(self.effect),
            "roles": sorted(self.roles),
            "purposes": sorted(self.purposes),
            "zones": sorted(self.zones),
            "datasets": sorted(self.datasets),
            "classifications": sorted(self.classifications),
            "names": sorted(self.names),
            "mask": self.mask.record() if self.mask else None,
            "where": self.where.sql if self.where else None,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules under one name. Without rules it denies everything."""

    name: str
    rules: tuple[Rule, ...]

    @property
    def digest(self) -> str:
        """Equal for policies with equal rules in any order."""
        return digest({"name": self.name, "rules": [rule.record() for rule in sorted(self.rules, key=lambda r: r.id)]})


def classifications_of(column: Column) -> frozenset[str]:
    """The classifications of `column`, folded: several where it was made of several, `UNCLASSIFIED` for none."""
    return frozenset(folded(tag) or UNCLASSIFIED for tag in column.classification.split("+"))


def folded(name: str) -> str:
    """`name` as names are compared: NFKC, casefold, no format characters (zero-width ones), no spaces around."""
    visible = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold()).strip()


def _listed(name: str, listed: Iterable[str]) -> bool:
    return any(entry in (ANY, name) for entry in listed)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(folded(name), folded(pattern)) for pattern in patterns)
