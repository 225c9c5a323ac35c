"""Export of a dataset's newest snapshot: a look at its rows whose outcome is a table of another system."""

from __future__ import annotations

from collections.abc import Sequence

from dataops.datasets.access import open_inputs
from dataops.datasets.delta import Delta, Exported, export_delta, find_export
from dataops.declarations.jobs import INPUT
from dataops.governance.contract import schema_of
from dataops.governance.grant import Purpose
from dataops.runs.look import look_at
from dataops.runs.workspace import Workspace


def export_dataset(
    workspace: Workspace, name: str, url: str, *, purpose: Purpose, partition_by: Sequence[str] = ()
) -> tuple[Exported, str | None]:
    """What the Delta table at `url` holds after dataset `name` was exported to it, and a note if the look at its rows
    couldn't be signed. All columns that the policies show for `purpose` are in it.

    Raises
    ------
    NotFound, AccessDenied : as for a job's input.
    InvalidInput, Conflict : see `export_delta`.
    """
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
