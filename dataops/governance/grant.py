"""Grants: what one person may see of one dataset for one purpose, and why. Values; `policy.decide` makes them.

1. A grant has one decision per column of the contract: visible, masked or denied, the rules that decided, and the
   reason in words that the person can act on.
2. Its *effect* is what it does to data: columns with their masks, row filters, the contract. Two people with the same
   effect see the same bytes, so an effect knows no person, no snapshot and no expiry, and work is reused by its digest.
3. A column that isn't in the effect isn't decoded. No grant, no effect, no read.
4. A record of a grant names keys by their id. It never holds one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from dataops.errors import AccessDenied, Format, Integrity, NotFound, near_match
from dataops.governance.mask import Mask, MaskKind
from dataops.records import Record, digest

_SHOWN_NAMES = 12


class Purpose(StrEnum):
    """What data is read for."""

    TRAIN = "train"
    EVALUATE = "evaluate"
    SCORE = "score"
    BENCHMARK = "benchmark"


class Zone(StrEnum):
    """Where data comes from: kept, or from what runs now."""

    HISTORICAL = "historical"
    PRODUCTION = "production"


class Verdict(StrEnum):
    """What a policy says about a column."""

    VISIBLE = "visible"
    MASKED = "masked"
    DENIED = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDecision:
    """What was decided about one column.

    Attributes
    ----------
    mask
        Of a masked column, also where the stored values carry it already.
    is_stored
        Whether they do: then nothing is put on.
    rules
        The rules that decided, each ``<policy>/<rule>``, sorted; none where no rule allows the column.
    reason
        In words: ``denied by rule 'a' of policy 'p': <its reason>``.
    """

    column: str
    verdict: Verdict
    mask: Mask | None = None
    is_stored: bool = False
    rules: tuple[str, ...] = ()
    classification: str = ""
    reason: str = ""

    @property
    def readable(self) -> bool:
        """Whether the column, masked or not, reaches its reader."""
        return self.verdict != Verdict.DENIED and (self.mask is None or self.mask.kind != MaskKind.DROP)

    def record(self) -> Record:
        """The decision as JSON."""
        return {
            "column": self.column,
            "verdict": str(self.verdict),
            "mask": self.mask.record() if self.mask else None,
            "rules": list(self.rules),
            "classification": self.classification,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a grant does to data.

    Attributes
    ----------
    columns
        Name -> mask to apply (None: as stored), in the contract's order. What isn't here isn't read.
    filters
        SQL predicates, sorted; a row must satisfy all. They may look at columns that aren't in `columns`.
    contract_digest
        Of the contract that the columns were judged by.
    min_group_size
        Figures about fewer rows than this aren't shown; 1 shows all.
    """

    columns: Mapping[str, Mask | None]
    filters: tuple[str, ...]
    contract_digest: str
    min_group_size: int = 1

    @property
    def needs_key(self) -> bool:
        """Whether a mask can't be applied without the current key."""
        return any(mask is not None and mask.needs_key for mask in self.columns.values())

    @property
    def digest(self) -> str:
        """Equal for equal effects, whoever has them and whenever."""
        return digest(self._body())

    def record(self) -> Record:
        """The effect as JSON, with its digest."""
        return {**self._body(), "digest": self.digest}

    def _body(self) -> Record:
        columns = [[name, mask.record() if mask else None] for name, mask in self.columns.items()]
        body = {"columns": columns, "filters": list(self.filters), "contract_digest": self.contract_digest}
        # no key where no rule asks for it: what was done under older effects stays done
        return {**body, "min_group_size": self.min_group_size} if self.min_group_size > 1 else body

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The effect that `record` holds.

        Raises
        ------
        Format : not the record of an effect.
        Integrity : the record is not what its digest says.
        """
        try:
            masks = {name: Mask.from_record(mask) if mask is not None else None for name, mask in record["columns"]}
            effect = cls(
                columns=masks,
                filters=tuple(record["filters"]),
                contract_digest=record["contract_digest"],
                min_group_size=record.get("min_group_size", 1),
            )
            recorded = record["digest"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Format(f"not the record of an effect: {type(error).__name__}") from None
        if effect.digest != recorded:
            raise Integrity(f"the record of an effect was altered: its digest is {effect.digest}, not {recorded}")
        return effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A positive decision: `principal` may read what `effect` leaves of `dataset`, for `purpose`.

    Attributes
    ----------
    expires_at
        Time (`records.format_time`) from which on a column of the effect could no longer be read; None: there is none.
    """

    principal: str
    roles: tuple[str, ...]
    purpose: str
    dataset: str
    zone: str
    decisions: tuple[ColumnDecision, ...]
    effect: Effect
    policy_digest: str
    expires_at: str | None = None

    def decision(self, column: str) -> ColumnDecision:
        """The decision about `column`.

        Raises
        ------
        NotFound : the contract has no such column.
        """
        for decision in self.decisions:
            if decision.column == column:
                return decision
        near = near_match(column, [decision.column for decision in self.decisions])
        raise NotFound(f"the contract of dataset '{self.dataset}' has no column '{column}'.{near}")

    def require_columns(self, names: Iterable[str], *, what: str) -> None:
        """Nothing, if all `names` reach the reader.

        Parameters
        ----------
        names
            Columns that are wanted.
        what
            Who wants them, for the message: ``job 'income', features``.

        Raises
        ------
        AccessDenied : names every column that doesn't, the rule that denies it or that none allows it, and what to do.
        """
        findings = self._missing(list(dict.fromkeys(names)))
        if not findings:
            return
        asked = f"{what} asks for {_count(findings)} of dataset '{self.dataset}' ({self.zone})"
        person = who(self.principal, self.roles)
        listed = "\n".join(f"  {column}: {reason}" for column, reason in findings)
        raise AccessDenied(
            f"{asked} that {person} may not read for purpose '{self.purpose}':\n{listed}\n{self._next_step()}"
        )

    def require_masks(self, names: Iterable[str], repeated: Collection[tuple[str, Mask]], *, what: str) -> None:
        """Nothing, if each of `names` reaches the reader unmasked or under a mask that is `repeated` anyway.

        A model that learnt from a column would silently take a mask that it never saw for values: constants and unknown
        categories look like data.

        Parameters
        ----------
        names
            Columns that a model reads.
        repeated
            Column and mask: what the model puts in front of its features itself.
        what
            Who wants them, for the message.

        Raises
        ------
        AccessDenied : names every column with its mask.
        """
        masks = {name: self.effect.columns.get(name) for name in dict.fromkeys(names)}
        findings = [
            f"{name} ({mask}): {self.decision(name).reason}"
            for name, mask in masks.items()
            if mask is not None and (name, mask) not in repeated
        ]
        if findings:
            listed = "\n".join(f"  {finding}" for finding in findings)
            raise AccessDenied(
                f"{what} learnt from {_count(findings)} of dataset '{self.dataset}' ({self.zone}) without a mask that "
                f"{who(self.principal, self.roles)} gets for purpose '{self.purpose}':\n{listed}\n"
                "Train under the same masks, or ask whoever keeps the policies to mask alike for both purposes."
            )

    def _missing(self, names: Sequence[str]) -> list[tuple[str, str]]:
        known = {decision.column: decision for decision in self.decisions}
        found = []
        for name in names:
            decision = known.get(name)
            if decision is None:
                found.append((name, f"not a column of the contract.{near_match(name, known)}"))
            elif not decision.readable:
                found.append((f"{name} ({decision.classification or 'no classification'})", decision.reason))
        return found

    def _next_step(self) -> str:
        readable = [decision.column for decision in self.decisions if decision.readable]
        shown = ", ".join(readable[:_SHOWN_NAMES])
        more = f" and {len(readable) - _SHOWN_NAMES} more" if len(readable) > _SHOWN_NAMES else ""
        return (
            f"Leave them out (you may read {shown}{more}), or ask whoever keeps the policies for a rule that allows "
            "them.\n"
            "`dataops job explain` shows every column with its rule."
        )

    def record(self) -> Record:
        """The grant as JSON, for the run's record."""
        return {
            "principal": self.principal,
            "roles": list(self.roles),
            "purpose": self.purpose,
            "dataset": self.dataset,
            "zone": self.zone,
            "decisions": [decision.record() for decision in self.decisions],
            "effect": self.effect.record(),
            "policy_digest": self.policy_digest,
            "expires_at": self.expires_at,
        }


def who(principal: str, roles: Iterable[str]) -> str:
    """The person and the roles in a message: ``'ana' (roles: analyst)``."""
    return f"'{principal}' (roles: {', '.join(sorted(roles)) or 'none'})"


def _count(findings: Sequence[object]) -> str:
    return f"{len(findings)} column{'' if len(findings) == 1 else 's'}"
