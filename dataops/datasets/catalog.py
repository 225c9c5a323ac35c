"""The catalog: names of datasets, where they lie, which zone they belong to, which contract holds.

1. A *declared* dataset has an entry ``catalog/<name>.yaml`` and a contract in the workspace; it is read where it lies.
2. A *made* dataset (the output of a prepare or rescore job) needs no entry: its manifest says its zone and columns,
   and its columns carry the classifications of what they were made from. Whoever reads it is also bound by what these
   are classified as today (`access.todays_contract`). Its contract has no snapshot's number in it: publishing the same
   columns again changes no effect, so what was done under that effect stays done.
3. Either way the dataset's contract decides which columns exist; what a contract doesn't list can't be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from dataops.datasets.arrivals import Arrived, refresh_arrivals
from dataops.datasets.snapshot import DATASETS_FOLDER, Snapshot, read_snapshot
from dataops.datasets.source import read_fragments, read_schema, record_source, refresh_source
from dataops.declarations.catalog import CatalogEntry
from dataops.declarations.catalog import read_entry as parse_entry
from dataops.declarations.loader import Document, parse_yaml, read_document, validate
from dataops.errors import AlreadyExists, Integrity, InvalidInput, NotFound, near_match
from dataops.governance.checking import table_columns_match
from dataops.governance.contract import Contract, derived_contract
from dataops.governance.draft import draft_contract
from dataops.records import require_name
from dataops.settings import Settings, resolve_url
from dataops.storage.files import open_files
from dataops.storage.objects import Store, open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One dataset as it can be read now; fragments of `snapshot` are relative to `url`."""

    name: str
    url: str
    zone: str
    contract: Contract
    snapshot: Snapshot
    declared: bool

    @property
    def lineage(self) -> Mapping[str, Any]:
        """What the newest manifest says it was made from; empty for a declared dataset."""
        return self.snapshot.manifests[-1].lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What `add_dataset` did."""

    name: str
    files: int
    rows: int
    size_bytes: int
    contract: Path
    drafted: bool


def dataset_names(settings: Settings, store: Store) -> tuple[list[str], list[str]]:
    """Names of the declared datasets, and of those made by jobs."""
    declared = sorted(path.stem for path in (settings.workspace / "catalog").glob("*.yaml"))
    keys = store.list(DATASETS_FOLDER)
    made = sorted({key.split("/")[1] for key in keys if "/snapshots/" in key} - set(declared))
    return declared, made


def require_dataset(settings: Settings, store: Store, name: str) -> None:
    """Nothing, if there is a dataset `name`.

    Raises
    ------
    NotFound : there is none, with the near match.
    """
    declared, made = dataset_names(settings, store)
    if name not in (*declared, *made):
        raise _unknown(name, declared, made)


def _unknown(name: str, declared: Sequence[str], made: Sequence[str]) -> NotFound:
    return NotFound(
        f"no dataset '{name}' in the catalog, and no job has made one.{near_match(name, [*declared, *made])}"
    )


def is_declared(settings: Settings, name: str) -> bool:
    """Whether the catalog has an entry for `name`."""
    require_name(name, "dataset")
    return (settings.workspace / "catalog" / f"{name}.yaml").is_file()


def open_dataset(settings: Settings, store: Store, name: str) -> Dataset:
    """The dataset `name` at its newest snapshot (a declared one: as its files lie there now).

    Raises
    ------
    NotFound : no such dataset, with the near match.
    InvalidInput : its entry or contract is wrong, or the files don't have the contract's columns.
    """
    if is_declared(settings, name):
        return _open_declared(settings, name, partial(refresh_source, store, name))
    snapshot = read_snapshot(store, name)
    if snapshot is None:
        raise _unknown(name, *dataset_names(settings, store))
    return _made(settings, name, snapshot)


def _made(settings: Settings, name: str, snapshot: Snapshot) -> Dataset:
    newest = snapshot.manifests[-1]
    contract = derived_contract(name, newest.columns)
    url = f"{settings.storage}/{DATASETS_FOLDER}/{name}"
    return Dataset(name=name, url=url, zone=newest.zone, contract=contract, snapshot=snapshot, declared=False)


def open_arriving(
    settings: Settings, store: Store, name: str, *, settle_seconds: float, now_ns: int
) -> tuple[Dataset, Arrived]:
    """The declared dataset `name` as far as its files arrived whole (`arrivals`), and all that lies there.

    Raises
    ------
    NotFound, InvalidInput : as `open_dataset`; a dataset that a job made doesn't arrive.
    """
    if not is_declared(settings, name):
        require_dataset(settings, store, name)
        raise InvalidInput(
            f"dataset '{name}' was made by a job; files are followed where they arrive, in the catalog's"
        )
    looked: list[Arrived] = []

    def look(url: str, zone: str, contract: Contract) -> Snapshot:
        snapshot, arrived = refresh_arrivals(
            store, name, url, zone, contract, settle_seconds=settle_seconds, now_ns=now_ns
        )
        looked.append(arrived)
        return snapshot

    return _open_declared(settings, name, look), looked[0]


def open_as_of(settings: Settings, store: Store, name: str, number: int) -> Dataset:
    """The dataset `name` as it was recorded in snapshot `number`; a declared one under today's contract.

    Raises
    ------
    NotFound : no such dataset, or no such snapshot.
    """
    if not is_declared(settings, name):
        require_dataset(settings, store, name)
        return _made(settings, name, _of_number(store, name, number))
    return _open_declared(settings, name, lambda _url, _zone, _contract: _of_number(store, name, number))


def _of_number(store: Store, name: str, number: int) -> Snapshot:
    snapshot = read_snapshot(store, name, number)
    if snapshot is None:
        raise NotFound(f"no snapshot {number}")
    return snapshot


def _open_declared(settings: Settings, name: str, look: Callable[[str, str, Contract], Snapshot]) -> Dataset:
    """The dataset, with the snapshot that `look` finds for its URL, zone and contract."""
    entry = read_entry(settings.workspace, name)
    contract = read_contract(settings.workspace / entry.contract)
    url = resolve_url(settings.workspace, entry.url)
    try:
        snapshot = look(url, entry.zone, contract)
        first = snapshot.fragments[:1]
        findings = table_columns_match(contract, read_schema(open_files(url), first)) if first else ()
    except (NotFound, Integrity) as error:
        raise type(error)(f"dataset '{name}' (catalog/{name}.yaml): {error}") from None
    if findings:
        listed = "\n  ".join(findings)
        raise InvalidInput(f"dataset '{name}' and its contract {entry.contract} don't fit together:\n  {listed}")
    return Dataset(name=name, url=url, zone=entry.zone, contract=contract, snapshot=snapshot, declared=True)


def read_entry(workspace: Path, name: str) -> CatalogEntry:
    """The catalog's entry of `name`, whose name must be its file's."""
    path = workspace / "catalog" / f"{name}.yaml"
    entry = parse_entry(path)
    if entry.name != name:
        raise InvalidInput(f"{path}: the entry's name is '{entry.name}', its file says '{name}'")
    return entry


def read_contract(path: Path) -> Contract:
    """The contract in the ODCS file at `path`."""
    return _parse_contract(read_document(path))


def _parse_contract(document: Document) -> Contract:
    from dataops.governance.odcs import parse_contract  # the standard's model: workers are told the contract

    return parse_contract(document.value, source=document.source, lines=document.lines)


def add_dataset(settings: Settings, *, name: str, url: str, zone: str, contract: str | None, draft: bool) -> Added:
    """A catalog entry for the Parquet at `url`, which stays where it is; only footers are read.

    Parameters
    ----------
    contract : an ODCS file, relative to the workspace; ``contracts/<name>.yaml`` by default.
    draft : write that contract from the footers, with guessed classifications. No policy allows them yet, so all is
        denied.

    Raises
    ------
    AlreadyExists : the entry or the contract to be drafted exists, or a job made a dataset of that name.
    NotFound : no Parquet there, or no contract and no `draft`.
    """
    require_name(name, "dataset")
    entry_path = settings.workspace / "catalog" / f"{name}.yaml"
    relative = contract or f"contracts/{name}.yaml"
    entry = yaml.safe_dump({"name": name, "url": url, "zone": zone, "contract": relative}, sort_keys=False)
    # nothing is written that couldn't be read: a path outside the workspace, a URL with credentials
    validate(parse_yaml(entry, f"entry of '{name}'")[0], CatalogEntry)
    contract_path = settings.workspace / relative
    _require_free(settings, name, entry_path)
    files = open_files(resolve_url(settings.workspace, url))
    fragments = read_fragments(files)  # first: where there are no files, a contract is no answer
    _require_contract(contract_path, draft=draft)
    schema = read_schema(files, fragments)
    text = draft_contract(name, schema, partitions=[pair[0] for pair in fragments[0].partition]) if draft else None
    parsed = read_contract(contract_path) if text is None else _parse_contract(parse_yaml(text, str(contract_path))[0])
    findings = table_columns_match(parsed, schema)
    if findings:
        listed = "\n  ".join(findings)
        raise InvalidInput(f"{contract_path} doesn't fit the files at {url}:\n  {listed}")
    if text is not None:
        _write_new(contract_path, text)
    _write_new(entry_path, entry)
    record_source(open_store(settings.storage), name, zone, parsed, fragments)
    return Added(
        name=name,
        files=len(fragments),
        rows=sum(fragment.rows for fragment in fragments),
        size_bytes=sum(fragment.size_bytes for fragment in fragments),
        contract=contract_path,
        drafted=draft,
    )


def _require_free(settings: Settings, name: str, entry_path: Path) -> None:
    if entry_path.exists():
        raise AlreadyExists(f"the catalog has a dataset '{name}' already: {entry_path}")
    made = read_snapshot(open_store(settings.storage), name)
    if made is not None and made.manifests[-1].lineage:  # an entry of that name would hide it
        raise AlreadyExists(f"run {made.manifests[-1].run} made a dataset '{name}'; give this one another name")


def _require_contract(path: Path, *, draft: bool) -> None:
    if draft and path.exists():
        raise AlreadyExists(f"{path} exists already: leave out --draft-contract to use it, or name another --contract")
    if not draft and not path.is_file():
        raise NotFound(f"no contract {path}: write one, or let --draft-contract write a draft from the footers")


def _write_new(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as opened:
        opened.write(text)
