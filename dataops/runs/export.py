"""Export of a dataset's newest snapshot: a look at its rows whose outcome is a table of another system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dataops.datasets.access import open_inputs
from dataops.datasets.catalog import dataset_names, read_entry
from dataops.datasets.delta import Delta, Exported, export_delta, find_export
from dataops.declarations.inputs import INPUT
from dataops.errors import InvalidInput
from dataops.governance.contract import schema_of
from dataops.governance.grant import Purpose
from dataops.runs.look import look_at
from dataops.runs.workspace import Workspace
from dataops.settings import resolve_url
from dataops.storage.disk import local_folder

_TABLE_FILE = re.compile(r"_delta_log|part-.*\.parquet")  # also what an export that died left


def export_dataset(
    workspace: Workspace, name: str, url: str, *, purpose: Purpose, partition_by: Sequence[str] = ()
) -> tuple[Exported, str | None]:
    """What the Delta table at `url` holds after dataset `name` was exported to it, and a note if the look at its rows
    couldn't be signed. All columns that the policies show for `purpose` are in it.

    Raises
    ------
    NotFound, AccessDenied : as for a job's input.
    InvalidInput, Conflict : see `export_delta`; a folder that the workspace lives in, or that holds other files.
    """
    _require_outside(workspace, url)
    given = open_inputs(workspace.settings, workspace.store, workspace.reader(), {INPUT: (name, purpose)})[INPUT]
    target = Delta(
        url=url,
        dataset=name,
        snapshot=given.dataset.snapshot.number,
        effect=given.grant.effect.digest.removeprefix("sha256:")[:16],
        partition_by=tuple(partition_by),
    )
    there = find_export(target)  # what is there already needs no look
    if there is not None:
        return there, None
    columns = given.masked_columns()
    with look_at(workspace, given, what="export") as look:
        exported = export_delta(target, schema_of(columns), look.tables([column.name for column in columns]))
    return exported, look.note


def _require_outside(workspace: Workspace, url: str) -> None:
    """Nothing, unless a table at `url` would lie among what the workspace itself reads, or among other files."""
    folder = local_folder(url)
    if folder is None:  # refused where the table is opened
        return
    for what, place in _places(workspace).items():
        other = local_folder(place)
        if other is not None and _overlap(folder.resolve(), other.resolve()):
            raise InvalidInput(f"{folder} is where {what} lies, or holds it; choose a folder of the table's own")
    if folder.is_dir() and not all(_TABLE_FILE.fullmatch(entry.name) for entry in folder.iterdir()):
        raise InvalidInput(f"{folder} holds other files; choose an empty folder, or the one that holds the table")


def _places(workspace: Workspace) -> dict[str, str]:
    """What the workspace reads, and where it lies."""
    settings = workspace.settings
    declared, _ = dataset_names(settings, workspace.store)
    sources = {name: resolve_url(settings.workspace, read_entry(settings.workspace, name).url) for name in declared}
    ours = {name: getattr(settings, name) for name in ("storage", "registry", "keys", "anchors")}
    return {**{f"the {name}": place for name, place in ours.items()}, **{f"'{n}'": url for n, url in sources.items()}}


def _overlap(folder: Path, other: Path) -> bool:
    return folder.is_relative_to(other) or other.is_relative_to(folder)
