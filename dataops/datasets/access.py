"""From a person and a purpose to a dataset that may be read: the grant, bound to a snapshot and cut into units.

Whoever wants rows holds a `GovernedInput`; there is no other way to a `Source`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dataops.datasets.catalog import Dataset, is_declared, open_dataset, read_contract, read_entry
from dataops.datasets.following import Taken
from dataops.datasets.reading import Source, parse_filter
from dataops.datasets.units import Unit, plan_units
from dataops.errors import AccessDenied, Integrity, InvalidInput, NotFound, near_match
from dataops.governance.conditions import with_trees
from dataops.governance.contract import Column, Contract
from dataops.governance.grant import Grant
from dataops.governance.keys import current_key_id, require_usable
from dataops.governance.marks import mark
from dataops.governance.masking import Mask, MaskKind, output_type
from dataops.governance.policy import decide
from dataops.governance.retagging import retagged
from dataops.governance.rules import MadeFrom, Policy
from dataops.records import Record, digest
from dataops.settings import Settings
from dataops.storage.objects import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who asks and when: the operating system's user, the roles it has, and the policies that hold."""

    principal: str
    roles: tuple[str, ...]
    policies: tuple[Policy, ...]
    asked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernedInput:
    """A dataset that `grant` lets its reader read for one purpose: what a job is given.

    Attributes
    ----------
    taken : of a job that follows files as they arrive: the ones that it takes, whose units alone are in `units`.
    """

    dataset: Dataset
    grant: Grant
    source: Source
    units: tuple[Unit, ...]
    taken: Taken | None = None

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

    def lineage(self) -> Record:
        """What is kept with whatever is made from it: the data, and what the policies did to it."""
        return {
            "input": self.dataset.name,
            "input_snapshot": self.dataset.snapshot.number,
            "input_digest": self.dataset.snapshot.content_digest,
            "effect": self.grant.effect.digest,
            "policy": self.grant.policy_digest,
            "sources": [origin.record() for origin in self.made_from()],
        }

    def made_from(self) -> tuple[MadeFrom, ...]:
        """What is made from it is made from: itself under its row filters, and all that it was made from."""
        read = MadeFrom(
            dataset=self.dataset.name,
            zone=self.dataset.zone,
            filters=tuple(sorted(digest(sql) for sql in self.grant.effect.filters)),
            retention_seconds=self.dataset.contract.retention_seconds,
        )
        return tuple(dict.fromkeys([read, *origins_of(self.dataset)]))

    def granted_columns(self) -> tuple[Column, ...]:
        """The contract's columns that may be read, in its order, as they are before masking."""
        return tuple(column for column in self.dataset.contract.columns if column.name in self.grant.effect.columns)

    def masked_columns(self) -> tuple[Column, ...]:
        """The granted columns as their reader gets them: masked types, masks noted."""
        masks = self.grant.effect.columns
        return tuple(_after_mask(column, masks[column.name]) for column in self.granted_columns())

    def generalisations(self) -> tuple[tuple[str, Mask], ...]:
        """The generalising masks of the grant, by column: the ones that a feature may be made of."""
        masks = self.grant.effect.columns.items()
        return tuple((name, mask) for name, mask in masks if mask is not None and mask.kind is MaskKind.GENERALISE)

    def require_columns(self, names: Collection[str], *, where: str, beside: Collection[str] = ()) -> None:
        """Nothing, if all `names` are columns that may be read.

        Parameters
        ----------
        where : who asks, for the message.
        beside : names that the asker makes itself: among them a mistyped one may have its near match.

        Raises
        ------
        InvalidInput : names every column that the dataset hasn't.
        AccessDenied : names every column that the policies deny.
        """
        columns = [column.name for column in self.dataset.contract.columns]
        known = [*columns, *beside]
        unknown = [name for name in dict.fromkeys(names) if name not in columns]
        if unknown:
            raise InvalidInput(
                "\n".join(
                    f"{where}: no column '{name}' in dataset '{self.dataset.name}'.{near_match(name, known)}"
                    for name in unknown
                )
            )
        self.grant.require_columns(names, what=where)


def _after_mask(column: Column, mask: Mask | None) -> Column:
    column = replace(column, stored=())  # what is made of it lies flat, under its name
    if mask is None:
        return column
    applied = tuple(dict.fromkeys([*column.masks, mark(mask)]))
    return replace(column, type=output_type(mask, column.type), masks=applied, required=False)


def open_inputs(
    settings: Settings, store: Store, reader: Reader, wanted: Mapping[str, tuple[str, str]]
) -> dict[str, GovernedInput]:
    """The inputs of a job, as `reader` may read them, by the names that the job has for them.

    Parameters
    ----------
    wanted : name of the input to dataset and purpose. A dataset that is wanted for several purposes is opened once: all
        of them see one snapshot.

    Raises
    ------
    NotFound : no such dataset.
    AccessDenied : no policy allows any of it.
    """
    names = dict.fromkeys(dataset for dataset, _ in wanted.values())
    datasets = {name: open_dataset(settings, store, name) for name in names}
    return {name: govern(settings, reader, datasets[dataset], purpose) for name, (dataset, purpose) in wanted.items()}


def govern(settings: Settings, reader: Reader, dataset: Dataset, purpose: str) -> GovernedInput:
    """`dataset`, as `reader` may read it for `purpose`; classified as it and its origins are today.

    Raises
    ------
    AccessDenied : no policy allows any of it.
    InvalidInput, Integrity, NotFound : a mask needs the current key, which can't be used.
    """
    dataset = replace(dataset, contract=todays_contract(settings, dataset))
    key_id = _key_id(Path(settings.keys))
    grant = decide(
        reader.policies,
        principal=reader.principal,
        roles=reader.roles,
        purpose=purpose,
        dataset=dataset.name,
        zone=dataset.zone,
        contract=dataset.contract,
        key_id=key_id,
        at=reader.asked_at,
        made_from=origins_of(dataset),
    )
    if grant.effect.needs_key:
        require_usable(Path(settings.keys), key_id)
    source = Source(
        dataset=dataset.name,
        url=dataset.url,
        contract=with_trees(dataset.contract),
        effect=grant.effect,
        purpose=purpose,
        keys_folder=settings.keys,
        expires_at=grant.expires_at,
        parsed=tuple(parse_filter(sql) for sql in grant.effect.filters),
    )
    return GovernedInput(dataset=dataset, grant=grant, source=source, units=plan_units(dataset.snapshot.fragments))


def origins_of(dataset: Dataset) -> tuple[MadeFrom, ...]:
    """What `dataset` was made from, at any remove; nothing for a declared one.

    All manifests of the snapshot count: parts that were added later may have been read under other filters.
    """
    found: dict[MadeFrom, None] = {}
    for manifest in dataset.snapshot.manifests:
        records = manifest.lineage.get("sources")
        if records is None and "input" in manifest.lineage:  # made before sources were kept: no filter can be shown
            records = [{"dataset": manifest.lineage["input"], "zone": manifest.zone, "filters": []}]
        found.update(dict.fromkeys(MadeFrom.from_record(record) for record in records or ()))
    return tuple(found)


def todays_contract(settings: Settings, dataset: Dataset) -> Contract:
    """The contract of `dataset`; of a made one also with what the catalog's contracts say of its origins today.

    Raises
    ------
    NotFound, InvalidInput : the contract of a dataset that it was made from isn't there, or is wrong.
    """
    names = dict.fromkeys(origin.dataset for origin in origins_of(dataset))
    return retagged(dataset.contract, [_catalog_contract(settings, one) for one in names if is_declared(settings, one)])


def _catalog_contract(settings: Settings, name: str) -> Contract:
    return read_contract(settings.workspace / read_entry(settings.workspace, name).contract)


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
    return replace(given, units=units)


def totals(units: Sequence[Unit]) -> tuple[int, int]:
    """Rows and uncompressed bytes of `units`."""
    return sum(unit.rows for unit in units), sum(unit.size_bytes for unit in units)
