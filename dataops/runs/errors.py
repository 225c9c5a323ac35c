"""Rows of a rescore that came to no score: counted for everybody, shown by place, reason and key to who may read them.

1. Counting opens no error file. Showing rows is a look at them by a grant of today, audited like any other.
2. Rows of a run that its output's newest snapshot holds are shown under the grant for that output: a key that it denies
   isn't read, one that it masks is masked. Its row filters hold for error rows too; where these lack a column that a
   filter looks at, no row is shown.
3. Rows of any other run (it failed, hasn't ended, or a newer one took its place) are values of its input, as the grant
   of that time gave them: shown to who has a grant of the very same effect today.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow.parquet as pq

from dataops.datasets.access import GovernedInput, govern
from dataops.datasets.catalog import open_dataset
from dataops.datasets.commit import committed_units
from dataops.datasets.error_rows import ERROR_UNIT, PLACE
from dataops.datasets.snapshot import DATASETS_FOLDER, Fragment, read_snapshot
from dataops.datasets.units import plan_units
from dataops.declarations.inputs import INPUT
from dataops.errors import AccessDenied, InvalidInput
from dataops.governance.contract import Column
from dataops.governance.expressions import parse_expression
from dataops.governance.grant import Purpose
from dataops.governance.masking import Mask, MaskKind
from dataops.rescoring.figures import merge_reasons
from dataops.runs.ledger import Run
from dataops.runs.look import Look, look_at
from dataops.runs.workspace import Workspace
from dataops.storage.files import open_files

FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRows:
    """What became of the rows of `run` that came to no score.

    Attributes
    ----------
    reasons : all of them, by reason.
    told : how many of them the error files tell; runs of earlier releases have none.
    rows : the first of those, each with its file, place, reason, and the keys that its reader may see.
    hidden : why its reader may see none of them; None where he may.
    note : what kept the look from being signed; None where nothing did.
    """

    run: str
    dataset: str
    reasons: Mapping[str, int]
    told: int
    rows: tuple[Mapping[str, Any], ...] = ()
    hidden: str | None = None
    note: str | None = None


def error_rows_of(workspace: Workspace, run_id: str, *, limit: int) -> ErrorRows:
    """The rows of `run_id` that came to no score, the first `limit` of them shown to who may see them.

    Raises
    ------
    NotFound : no such run.
    InvalidInput : it scores nothing.
    """
    run = workspace.ledger.read(run_id)
    if run.model is None:
        raise InvalidInput(f"run {run_id} is a {run.kind}: only a rescore tells which rows came to no score")
    output = run.declaration["output"]
    done = [record for _, record in sorted(committed_units(workspace.store, output, run_id).items())]
    told = {record.errors.path: record for record in done if record.errors is not None}
    fragments = [record.errors for record in told.values() if record.errors is not None]
    counted = ErrorRows(
        run=run_id, dataset=output, reasons=merge_reasons(done), told=sum(one.rows for one in fragments)
    )
    if not fragments:
        return counted
    try:
        given = _given(workspace, run, fragments)
    except AccessDenied as denied:
        return replace(counted, hidden=str(denied))
    units = {path: record.unit for path, record in told.items()}
    with look_at(workspace, given, what="errors") as look:
        rows = tuple(islice(_rows(look, units, _files(workspace, run)), limit))
    return replace(counted, rows=rows, note=look.note)


def _rows(look: Look, units: Mapping[str, str], files: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """The error rows, unit by unit; `units` by error file, `files` of the input by unit."""
    names = list(look.given.source.effect.columns)
    for part, table in zip(look.given.units, look.tables(names), strict=True):
        unit = units[part.fragment.path]
        for row in table.to_pylist():
            # a unit that was linked had another name in the run that did it; a key of our own names gives way
            own = {FILE: files.get(unit), ERROR_UNIT: unit}
            yield {**own, **{name: value for name, value in row.items() if name not in own}}


def _files(workspace: Workspace, run: Run) -> dict[str, str]:
    """The file of each unit, without values of partition columns."""
    return {unit.id: unit.fragment.shown for unit in workspace.ledger.plan(run.id, INPUT)}


def _given(workspace: Workspace, run: Run, fragments: Sequence[Fragment]) -> GovernedInput:
    """The error files of `run`, as their reader may see them."""
    output = run.declaration["output"]
    url = f"{workspace.settings.storage}/{DATASETS_FOLDER}/{output}"
    keys = _keys(url, fragments[0])
    snapshot = read_snapshot(workspace.store, output)
    if snapshot is not None and run.id in [manifest.run for manifest in snapshot.manifests]:
        given = _govern(workspace, output)
        columns, masks = _of_output(given, keys)
        filters = given.grant.effect.filters
    else:
        given = _govern(workspace, run.inputs[INPUT]["dataset"])
        columns, masks, filters = _of_input(given, run, keys), dict.fromkeys(keys), ()
    place = [Column(name=field.name, type=field.type) for field in PLACE]
    contract = replace(given.source.contract, columns=(*place, *columns), rules=(), primary_key=())
    effect = replace(given.source.effect, columns={**dict.fromkeys(PLACE.names), **masks}, filters=filters)
    source = replace(given.source, dataset=output, url=url, contract=contract, effect=effect)
    return replace(given, source=source, units=plan_units(fragments))


def _govern(workspace: Workspace, dataset: str) -> GovernedInput:
    opened = open_dataset(workspace.settings, workspace.store, dataset)
    return govern(workspace.settings, workspace.reader(), opened, Purpose.SCORE)


def _keys(url: str, fragment: Fragment) -> list[str]:
    """The key columns of an error file, by its footer."""
    with open_files(url).open(fragment.path) as opened:
        return [name for name in pq.read_schema(opened).names if name not in PLACE.names]


def _of_output(given: GovernedInput, keys: Sequence[str]) -> tuple[list[Column], dict[str, Mask | None]]:
    """The columns `keys` as the output has them, and those that its reader may see, with their masks."""
    columns = [column for column in given.dataset.contract.columns if column.name in keys]
    looked_at = {name for text in given.grant.effect.filters for name in parse_expression(text, where="filter").columns}
    lacking = sorted(looked_at - {column.name for column in columns})
    if lacking:
        raise AccessDenied(
            f"you may see some rows of dataset '{given.dataset.name}' by their column '{lacking[0]}', which rows that "
            "came to no score haven't"
        )
    granted = given.grant.effect.columns
    # what is rare is known of the output's rows alone
    shown = {name: granted[name] for name in keys if name in granted and not _is_rare(granted[name])}
    return columns, shown


def _is_rare(mask: Mask | None) -> bool:
    return mask is not None and mask.kind is MaskKind.RARE


def _of_input(given: GovernedInput, run: Run, keys: Sequence[str]) -> list[Column]:
    """The columns `keys` as the run wrote them, if its reader of today would see the same."""
    if given.grant.effect.digest != run.inputs[INPUT]["grant"]["effect"]["digest"]:
        raise AccessDenied(
            f"run {run.id} isn't part of dataset '{run.declaration['output']}', and what it read of "
            f"'{given.dataset.name}' was granted otherwise than it is to you today"
        )
    return [column for column in given.masked_columns() if column.name in keys]
