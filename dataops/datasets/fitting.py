"""Whether files and their contract fit: all footers are read, no rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dataops.datasets.catalog import read_contract, read_entry
from dataops.datasets.source import read_fragments, read_schema
from dataops.governance.checking import table_columns_match
from dataops.governance.column_types import spell_type
from dataops.governance.contract import Contract
from dataops.governance.leaves import leaves_of
from dataops.settings import Settings, resolve_url
from dataops.storage.files import open_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A contract beside the files of its dataset.

    Attributes
    ----------
    found : column of the contract -> type in the files; a column that isn't there has none.
    findings : why the files can't be read under the contract; empty where they can.
    """

    contract: Contract
    path: Path
    files: int
    rows: int
    found: Mapping[str, str]
    findings: tuple[str, ...]


def fit_dataset(settings: Settings, name: str) -> Fitted:
    """The contract of the declared dataset `name`, held against every file's footer.

    Raises
    ------
    NotFound : no such entry, no contract, no file.
    InvalidInput : the entry or the contract can't be read, or files differ among themselves.
    """
    entry = read_entry(settings.workspace, name)
    path = settings.workspace / entry.contract
    contract = read_contract(path)
    files = open_files(resolve_url(settings.workspace, entry.url))
    fragments = read_fragments(files)
    schema = read_schema(files, fragments)
    stored = {leaf.path: spell_type(leaf.type) for leaf in leaves_of(schema)}
    return Fitted(
        contract=contract,
        path=path,
        files=len(fragments),
        rows=sum(fragment.rows for fragment in fragments),
        found={column.name: stored[column.path] for column in contract.columns if column.path in stored},
        findings=tuple(table_columns_match(contract, schema)),
    )
