"""Made-up sources for the tests of the governed read and the commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataops.datasets.access import GovernedInput, open_inputs
from dataops.datasets.reading import Source
from dataops.datasets.receipt import Receipt
from dataops.datasets.snapshot import Fragment, Manifest, RowGroup
from dataops.datasets.source import read_fragments
from dataops.datasets.units import Unit, plan_units
from dataops.governance.contract import Column, Contract, Rule, RuleKind
from dataops.governance.grant import Effect
from dataops.governance.masking import Mask
from dataops.runs.workspace import Workspace
from dataops.storage.files import open_files

COLUMNS = (
    Column(name="person", type=pa.string(), classification="pii.direct"),
    Column(name="age", type=pa.int32(), classification="pii.quasi"),
    Column(name="trade", type=pa.string(), classification="work"),
    Column(name="secret", type=pa.string(), classification="sensitive.health"),
)
AGE_LIMIT = Rule(id="age-limit", kind=RuleKind.MAXIMUM, column="age", arguments={"value": 120})
TABLE = pa.table(
    {
        "person": ["ann", "bob", "cid", "dan"],
        "age": pa.array([31, 150, 17, 44], pa.int32()),
        "trade": ["smith", "baker", "smith", "clerk"],
        "secret": ["CANARY-1", "CANARY-2", "CANARY-3", "CANARY-4"],
    }
)
ASIDE = pa.table({"quarantine_rule": ["age-limit"], "age": pa.array([150], pa.int32())})


def open_one(workspace: Workspace, dataset: str, purpose: str) -> GovernedInput:
    """`dataset`, as the person at the keyboard may read it."""
    wanted = {"input": (dataset, purpose)}
    return open_inputs(workspace.settings, workspace.store, workspace.reader(), wanted)["input"]


def make_contract(*, columns: Sequence[Column] = COLUMNS, rules: Sequence[Rule] = (), name: str = "people") -> Contract:
    return Contract(name=name, version="1", columns=tuple(columns), rules=tuple(rules))


def make_rule(**changes: Any) -> Rule:
    return Rule(**{name: getattr(AGE_LIMIT, name) for name in AGE_LIMIT.__slots__} | changes)


def make_source(
    folder: Path,
    *,
    contract: Contract | None = None,
    columns: Mapping[str, Mask | None] | None = None,
    filters: Sequence[str] = (),
    keys: Path | None = None,
) -> Source:
    """The source at `folder` under a grant for all columns but the secret, if `columns` says nothing else."""
    contract = contract or make_contract()
    granted = {c.name: None for c in contract.columns if c.name != "secret"} if columns is None else columns
    return Source(
        dataset="people",
        url=str(folder),
        contract=contract,
        effect=Effect(columns=granted, filters=tuple(filters), contract_digest=contract.digest),
        purpose="train",
        keys_folder=str(keys or folder / "no-keys"),
    )


def write(path: Path, table: pa.Table = TABLE, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def units_of(folder: Path, target_bytes: int = 1 << 30) -> tuple[Unit, ...]:
    return plan_units(read_fragments(open_files(str(folder))), target_bytes)


def make_unit(number: int, rows: int) -> Unit:
    fragment = Fragment(
        path=f"part-{number}.parquet",
        size_bytes=1000,
        digest="sha256:0",
        row_groups=(RowGroup(rows=rows, size_bytes=rows * 10),),
        modified_ns=1,
    )
    return Unit(id=f"u{number:06d}", fragment=fragment, start_group=0, stop_group=1, first_row=0)


def make_receipt(unit: str = "u000000", *, passed: int = 4, quarantined: int = 0) -> Receipt:
    return Receipt(unit=unit, read=passed + quarantined, passed=passed, quarantined=quarantined)


def make_manifest(run: str, *, dataset: str = "made", rows: int = 4) -> Manifest:
    fragment = Fragment(
        path=f"runs/{run}/data/part.parquet",
        size_bytes=10,
        digest=f"sha256:{run}",
        row_groups=(RowGroup(rows=rows, size_bytes=10),),
    )
    return Manifest(
        dataset=dataset,
        run=run,
        zone="historical",
        columns=COLUMNS,
        fragments=(fragment,),
        counts={"rows": rows},
        receipts_root=None,
        lineage={},
        created_at="2026-01-31T12:00:00.000000Z",
    )
