"""From a person and a purpose to a dataset that may be read: the grant, bound to a snapshot and cut into units.

Whoever wants rows holds a `GovernedInput`; there is no other way to a `Source`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataops.datasets.catalog import Dataset, open_dataset
from dataops.datasets.scan import Source
from dataops.datasets.units import Unit, plan_units
from dataops.errors import AccessDenied, Integrity, NotFound
from dataops.governance.contract import Column
from dataops.governance.grant import Grant
from dataops.governance.keys import current_key_id
from dataops.governance.policy import decide
from dataops.governance.rules import Policy
from dataops.records import Record
from dataops.settings import Settings
from dataops.storage.objects import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who asks: the operating system's user, the roles it has, and the policies that hold."""

    principal: str
    roles: tuple[str, ...]
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernedInput:
    """A dataset that `grant` lets its reader read for one purpose: what a job is given."""

    dataset: Dataset
    grant: Grant
    source: Source
    units: tuple[Unit, ...]

    def pinned(self) -> Record:
        """What the run's record keeps of it: enough to see later what was read, under which rules."""
        return {
            "dataset": self.dataset.name,
            "snapshot": self.dataset.snapshot.number,
            "content_digest": self.dataset.snapshot.content_digest,
            "grant": self.grant.record(),
            "units": len(self.units),
            "rows": totals(self.units)[0],
        }

    def granted_columns(self) -> tuple[Column, ...]:
        """The contract's columns that may be read, in its order, as they are before masking."""
        return tuple(column for column in self.dataset.contract.columns if column.name in self.grant.effect.columns)


def open_input(settings: Settings, store: Store, reader: Reader, name: str, purpose: str) -> GovernedInput:
    """`name`, as `reader` may read it for `purpose`, at its newest snapshot.

    Raises
    ------
    NotFound : no such dataset.
    AccessDenied : no policy allows any of it.
    """
    dataset = open_dataset(settings, store, name)
    return govern(settings, reader, dataset, purpose)


def govern(settings: Settings, reader: Reader, dataset: Dataset, purpose: str) -> GovernedInput:
    """`dataset`, as `reader` may read it for `purpose`."""
    grant = decide(
        reader.policies,
        principal=reader.principal,
        roles=reader.roles,
        purpose=purpose,
        dataset=dataset.name,
        zone=dataset.zone,
        contract=dataset.contract,
        key_id=_key_id(Path(settings.keys)),
    )
    source = Source(
        dataset=dataset.name,
        url=dataset.url,
        contract=dataset.contract,
        effect=grant.effect,
        purpose=purpose,
        keys_folder=settings.keys,
    )
    return GovernedInput(dataset=dataset, grant=grant, source=source, units=plan_units(dataset.snapshot.fragments))


def _key_id(folder: Path) -> str | None:
    try:
        return current_key_id(folder)
    except NotFound:  # no keys: a policy that needs one says so when it decides
        return None


def require_same(given: GovernedInput, pinned: Mapping[str, Any], units: tuple[Unit, ...]) -> GovernedInput:
    """`given` with the `units` that its run froze, if it still is what the run pinned.

    Raises
    ------
    Integrity : the data changed since.
    AccessDenied : the policy or the contract has another effect by now.
    """
    name = given.dataset.name
    if given.dataset.snapshot.content_digest != pinned["content_digest"]:
        raise Integrity(f"dataset '{name}' changed since the run was planned; start a new run to read it as it is now")
    if given.grant.effect.digest != pinned["grant"]["effect"]["digest"]:
        raise AccessDenied(
            f"what the policies let you read of dataset '{name}' changed since the run was planned; start a new run"
        )
    return GovernedInput(dataset=given.dataset, grant=given.grant, source=given.source, units=units)


def totals(units: Sequence[Unit]) -> tuple[int, int]:
    """Rows and decoded bytes of `units`."""
    return sum(unit.rows for unit in units), sum(unit.size_bytes for unit in units)
