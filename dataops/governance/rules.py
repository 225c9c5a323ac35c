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
   of the columns that it was derived from, an allowing one only if it has all of these. The name of a nested column
   stands for all its parts (``address`` for ``address.street``) in a restricting rule alone.
6. What a restricting rule leaves out means *any*: forgetting something makes it stricter.
7. A restricting rule follows data: it also concerns a request for a dataset that was *made from* one that it names, at
   any remove (`MadeFrom`). An allowing rule concerns the dataset that it names and nothing made from it.
8. Only an allowing rule can expire; from then on it is as if it weren't there. A restriction that lapsed by itself
   would give away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Self

from dataops.errors import Format
from dataops.governance.contract import UNCLASSIFIED, Column
from dataops.governance.expressions import Expression
from dataops.governance.mask import Mask
from dataops.governance.names import folded
from dataops.records import Record, digest, format_time

ANY = "*"


class RuleEffect(StrEnum):
    """What a rule does; only ``allow`` gives, the others take away."""

    ALLOW = "allow"
    DENY = "deny"
    MASK = "mask"
    FILTER = "filter"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFrom:
    """A dataset that the asked one was made from, at any remove.

    Attributes
    ----------
    filters
        Digests (`records.digest` of the SQL) of the row filters that were applied when it was read.
    retention_seconds
        How long its contract let rows be kept when it was read; None: for ever. It decides nothing about reading.
    """

    dataset: str
    zone: str
    filters: tuple[str, ...] = ()
    retention_seconds: int | None = None

    def record(self) -> Record:
        """JSON types; `from_record` reads them."""
        record: Record = {"dataset": self.dataset, "zone": self.zone, "filters": sorted(self.filters)}
        if self.retention_seconds is not None:
            record["retention_seconds"] = self.retention_seconds
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """What `record` was made from.

        Raises
        ------
        Format : not such a record.
        """
        try:
            return cls(**{**record, "filters": tuple(record["filters"])})
        except (KeyError, TypeError):
            raise Format("expected the record of a dataset that another was made from, found something else") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who wants to read what for what, and when; names as they came."""

    principal: str
    roles: tuple[str, ...]
    purpose: str
    dataset: str
    zone: str
    at: datetime
    made_from: tuple[MadeFrom, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of the policy named `policy`.

    Attributes
    ----------
    principals
        People by name, besides the roles: with both in an allowing rule either one is enough.
    classifications, names
        The columns it is about: those that one of them matches.
    mask
        Of a masking rule, without a key id: which key holds is decided with the grant.
    where
        Of a filtering rule: what a row must satisfy to be read.
    min_size
        Of a grouping rule: figures about fewer rows than this aren't shown.
    expires_at
        Of an allowing rule: the time from which on it plays no part; None: it has no end.
    reason
        Why, in the words of whoever wrote it; shown to those whom it stops.
    """

    policy: str
    id: str
    effect: RuleEffect
    roles: tuple[str, ...] = (ANY,)
    principals: tuple[str, ...] = ()
    purposes: tuple[str, ...] = (ANY,)
    zones: tuple[str, ...] = (ANY,)
    datasets: tuple[str, ...] = (ANY,)
    classifications: tuple[str, ...] = (ANY,)
    names: tuple[str, ...] = ()
    mask: Mask | None = None
    where: Expression | None = None
    min_size: int | None = None
    expires_at: datetime | None = None
    reason: str = ""

    @property
    def qualified(self) -> str:
        """``<policy>/<rule>``."""
        return f"{self.policy}/{self.id}"

    def concerns(self, request: Request) -> bool:
        """Whether the rule is about this request, as far as no column is looked at."""
        return self.concerns_dataset(request) or bool(self.ancestors(request))

    def concerns_dataset(self, request: Request) -> bool:
        """Whether it is about the asked dataset itself, not only about one that it was made from."""
        return self._concerns_reader(request) and self._names(request.dataset, request.zone)

    def ancestors(self, request: Request) -> tuple[MadeFrom, ...]:
        """The datasets that it restricts and that the asked one was made from."""
        if self.effect == RuleEffect.ALLOW or not self._concerns_reader(request):
            return ()
        return tuple(origin for origin in request.made_from if self._names(origin.dataset, origin.zone))

    def holds_at(self, moment: datetime) -> bool:
        """Whether the rule hasn't expired at `moment`: at its end itself it has."""
        return self.expires_at is None or moment < self.expires_at

    def _concerns_reader(self, request: Request) -> bool:
        return (
            self.holds_at(request.at)
            and self._names_reader(request.principal, request.roles)
            and _listed(request.purpose, self.purposes)
        )

    def _names(self, dataset: str, zone: str) -> bool:
        return _listed(zone, self.zones) and _matches(dataset, self.datasets)

    def covers(self, column: Column) -> bool:
        """Whether the rule is about this column, or about one of the classifications that it has."""
        return self.mentions(column) or bool(self.covered(column))

    def mentions(self, column: Column) -> bool:
        """Whether the rule has the column's name; of a derived one, those of the columns that it was made from."""
        listed = {folded(name) for name in self.names}
        origins = {folded(name) for name in column.origins}
        if self.effect == RuleEffect.ALLOW and origins:
            return origins <= listed
        named = {folded(column.name), *origins}
        if self.effect != RuleEffect.ALLOW:  # who restricts a nested column means all that is in it
            named |= {around for name in named for around in _around(name)}
        return not listed.isdisjoint(named)

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

    def _names_reader(self, principal: str, roles: Collection[str]) -> bool:
        """Whether it is about this person.

        An allowing rule takes a name only as it is written: user names differ by case on some systems.
        """
        if ANY in (*self.roles, *self.principals):
            return self.effect != RuleEffect.ALLOW
        if principal in self.principals:
            return True
        if self.effect != RuleEffect.ALLOW and folded(principal) in {folded(name) for name in self.principals}:
            return True
        return not {folded(role) for role in self.roles}.isdisjoint(folded(role) for role in roles)

    def record(self) -> Record:
        """The rule as JSON; lists sorted, since their order says nothing.

        What only newer rules have is a key only where it is set, so that the digests of older policies hold.
        """
        newer: Record = {}
        if self.principals:
            newer["principals"] = sorted(self.principals)
        if self.min_size is not None:
            newer["min_size"] = self.min_size
        if self.expires_at is not None:
            newer["expires_at"] = format_time(self.expires_at)
        return {
            **newer,
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


def spell_rules(rules: Sequence[Rule]) -> str:
    """``rule 'a' of policy 'p' (its reason)``, for all of them."""
    return ", ".join(
        f"rule '{rule.id}' of policy '{rule.policy}'{f' ({rule.reason})' if rule.reason else ''}" for rule in rules
    )


def spell_names(names: Sequence[str]) -> str:
    """``'a', 'b'``."""
    return ", ".join(f"'{name}'" for name in names)


def _around(name: str) -> Iterable[str]:
    """The nested columns that the part ``a.b.c`` lies in: ``a``, ``a.b``."""
    levels = name.split(".")
    return (".".join(levels[:length]) for length in range(1, len(levels)))


def _listed(name: str, listed: Iterable[str]) -> bool:
    return any(entry in (ANY, name) for entry in listed)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(folded(name), folded(pattern)) for pattern in patterns)
