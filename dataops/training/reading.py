"""From governed units to what trainers and evaluation take: summaries on the way, encoded parts in worker memory.

1. A dataset with a ``split`` column is parted by it. Else every fifth row of a file, by its place in the file, is held
   out:
   the same rows for every trainer, run and policy.
2. Rows without a target, or with one that their task can't take, are set aside and counted (`filtered_by_job`), as are
   those of the other side.
3. Parts are made by pure tasks: a lost worker costs their recomputation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataops.datasets.reading import Source
from dataops.datasets.receipt import Receipt, merge_receipts
from dataops.datasets.scan import GovernedRead, read_unit
from dataops.datasets.units import Unit
from dataops.declarations.metrics import Task
from dataops.engine.code import code_identity, require_code
from dataops.engine.tasks import Failure, attempt
from dataops.engine.telling import UNITS, size_of
from dataops.engine.work import Work
from dataops.features.columns import Floats
from dataops.features.encoder import Encoder, OutOfFold, encode
from dataops.features.fitting import Asked
from dataops.features.making import with_made
from dataops.features.steps import RowSteps
from dataops.features.summary import Summary, summarise
from dataops.features.target import FOLDS, Outcomes
from dataops.governance.expressions import Expression, evaluate, evaluate_predicate
from dataops.preparation.split import TEST
from dataops.records import merkle_root
from dataops.training.failures import cluster_failures, told_failure
from dataops.training.grouping import BY_PLACE, Grouping, count_hours, groups_by, hours_of
from dataops.training.groups import Groups, row_groups, row_ranks
from dataops.training.parts import EncodedPart, PartsOnCluster, as_is
from dataops.training.spilled import SpilledPart, spill_part
from dataops.training.tasks import judge_of

if TYPE_CHECKING:
    from distributed import Client, Future

HOLDOUT_EVERY = 5
_GROUP, _RANK = "\0group", "\0rank"  # no column is called so


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """How rows of a unit become rows to learn from, or to be judged on.

    Attributes
    ----------
    steps : row-wise preparation in front; none for prepared data.
    labelled : rows whose outcome is known.
    side : ``train``, ``test``, or None for all rows.
    split_column : the column that says the side; None: by place in the file.
    target, weight, slices : what is read beside the features.
    task : what the target is; rows whose target it can't take are set aside.
    grouped, ranked : whether each row's group and rank are told: see `dataops.training.groups`.
    grouping : what the group of a row hangs on.
    """

    source: Source
    read: tuple[str, ...]
    target: Expression
    steps: RowSteps = field(default_factory=RowSteps)
    labelled: Expression | None = None
    side: str | None = None
    split_column: str | None = None
    weight: str | None = None
    slices: tuple[str, ...] = ()
    grouped: bool = False
    ranked: bool = False
    grouping: Grouping = BY_PLACE
    task: Task = Task.BINARY


def select_rows(selection: Selection, unit: Unit) -> tuple[pa.Table, np.ndarray, Receipt]:
    """The selected rows of `unit`, their targets (float32), and what became of the others."""
    read = read_unit(selection.source, unit, selection.read, encoded=True)
    if selection.grouped:
        read = _with_groups(read, unit, selection.grouping)
    if selection.ranked:
        ranks = pa.array(row_ranks(unit.fragment.digest, read.places.in_file()))
        read = replace(read, table=read.table.append_column(_RANK, ranks))
    table = _one_side(selection, read)
    table, _ = selection.steps.apply(table)
    if selection.labelled is not None:
        table = table.filter(evaluate_predicate(selection.labelled, table))
    target = target_values(selection.target, table)
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        values = target.to_numpy(zero_copy_only=False).astype(np.float32)
    known = target.is_valid().to_numpy(zero_copy_only=False) & judge_of(selection.task).known_target(values)
    if not known.all():
        table, values = table.filter(pa.array(known)), values[known]
    receipt = read.receipt.with_filtered_by_job(read.table.num_rows - table.num_rows)
    return table, values, receipt


def _with_groups(read: GovernedRead, unit: Unit, grouping: Grouping) -> GovernedRead:
    """`read` with the group of each row as a column."""
    by_place = not grouping.columns
    groups = row_groups(unit.fragment.digest, read.places.in_file()) if by_place else groups_by(grouping, read.table)
    return replace(read, table=read.table.append_column(_GROUP, pa.array(groups)))


def _one_side(selection: Selection, read: GovernedRead) -> pa.Table:
    if selection.side is None:
        return read.table
    if selection.split_column is not None:
        return read.table.filter(pc.equal(read.table.column(selection.split_column), selection.side))
    held_out = read.places.in_file() % HOLDOUT_EVERY == HOLDOUT_EVERY - 1
    return read.table.filter(pa.array(held_out if selection.side == TEST else ~held_out))


def target_values(target: Expression, table: pa.Table) -> pa.Array:
    """The target of each row of `table`, float64 (n_rows,), null where it isn't known."""
    values = evaluate(target, table)
    numbers = values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values
    return numbers.cast(pa.float64(), safe=False).combine_chunks()


def count_times(selection: Selection, unit: Unit) -> dict[int, int]:
    """The selected rows of `unit` by the hour of the time that they are grouped by."""
    table, _, _ = select_rows(selection, unit)
    return count_hours(hours_of(table.column(selection.grouping.time)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryContext:
    """What a worker needs to summarise units."""

    selection: Selection
    asked: Asked


def summarise_unit(context: SummaryContext, unit: Unit) -> tuple[Summary, Receipt]:
    """The summary of the features of the selected rows, and the receipt."""
    asked, by_target = context.asked, bool(context.asked.targets)
    table, target, receipt = select_rows(replace(context.selection, grouped=by_target), unit)
    outcomes = Outcomes(target=target, folds=_folds(table)) if by_target else None
    return summarise(with_made(table, asked.made), asked.numeric, asked.categorical, asked.targets, outcomes), receipt


def _folds(table: pa.Table) -> Groups:
    """The part of the training rows that each row is in: by its group, as in the summary so when it is encoded."""
    groups: Groups = table.column(_GROUP).to_numpy()
    return groups % np.uint8(FOLDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartContext:
    """What a worker needs to encode units.

    Attributes
    ----------
    by_fold : of training rows, what they look up by their part of the rows; see `OutOfFold`. Any others have none.
    spill : whether parts go to the disk of the worker that makes them, without slices; see `spilled`.
    """

    selection: Selection
    encoder: Encoder
    by_fold: Mapping[str, Floats] = field(default_factory=dict)
    spill: bool = False


def encode_unit(context: PartContext, unit: Unit) -> tuple[EncodedPart, Receipt]:
    """The selected rows of `unit`, encoded, and the receipt."""
    selection = context.selection
    table, target, receipt = select_rows(replace(selection, grouped=selection.grouped or bool(context.by_fold)), unit)
    out_of_fold = OutOfFold(folds=_folds(table), values=context.by_fold) if context.by_fold else None
    weight = None if selection.weight is None else _numbers(table.column(selection.weight))
    part = EncodedPart(
        encoded=encode(context.encoder, table, out_of_fold),
        target=target,
        weight=weight,
        slices={name: table.column(name).combine_chunks() for name in selection.slices},
        groups=table.column(_GROUP).to_numpy() if selection.grouped else None,
        ranks=table.column(_RANK).to_numpy() if selection.ranked else None,
    )
    return part, receipt


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """The column's numbers, float32 (n_rows,): the nearest that there are, null as not a number."""
    numbers: np.ndarray = column.cast(pa.float32(), safe=False).to_numpy()
    return numbers


def encode_or_raise(
    code: Mapping[str, str], context: PartContext, unit: Unit
) -> tuple[EncodedPart | SpilledPart, Receipt]:
    """`encode_unit`, raising only our own errors, which hold no values; `Compute` where other `code` would do it."""
    require_code(code)
    outcome = attempt(encode_unit, context, unit)
    if isinstance(outcome, Failure):
        raise outcome.error() from None
    part, receipt = outcome
    return spill_part(part) if context.spill else part, receipt


def load_parts(
    work: Work, phase: str, context: PartContext, units: Sequence[Unit], placed: Mapping[str, str] | None = None
) -> tuple[PartsOnCluster, list[Receipt]]:
    """The units, encoded and held in worker memory, and their receipts; `placed`: see `submit_parts`.

    Raises
    ------
    Compute : workers were lost again and again.
    """
    from distributed import as_completed

    client = work.client
    with work.phase(phase, total=len(units), rows=sum(unit.rows for unit in units)) as shown:
        parts, told = submit_parts(client, f"{work.run}-{phase.replace(' ', '-')}", context, units, placed)
        receipts = dict(zip(told, units, strict=True))
        found: dict[str, Receipt] = {}
        with cluster_failures(phase):
            for future in as_completed(receipts, loop=client.loop):
                found[receipts[future].id] = _receipt(future, phase)
                shown.count(found[receipts[future].id])
                shown.advance(1, receipts[future].rows)
    ordered = [found[unit.id] for unit in units]
    rows = tuple(receipt.passed for receipt in ordered)
    task = context.selection.task
    return PartsOnCluster(client=client, futures=parts, rows=rows, encoder=context.encoder, task=task), ordered


def _receipt(future: Future[Any], phase: str) -> Receipt:
    if future.status == "error":
        raise told_failure(future.exception(), what=phase)
    receipt: Receipt = future.result()
    return receipt


def submit_parts(
    client: Client, keys: str, context: PartContext, units: Sequence[Unit], placed: Mapping[str, str] | None = None
) -> tuple[tuple[Future[Any], ...], list[Future[Any]]]:
    """Futures of the encoded units and of their receipts, in the order of units.

    Parameters
    ----------
    keys : what the keys of the tasks begin with.
    placed : the worker on which a unit is to be encoded, by the unit's id; another is taken if that one is gone.
    """
    from dask import annotate

    placed = placed or {}
    held = client.submit(as_is, context, key=f"{keys}-context", pure=False)
    task = partial(encode_or_raise, code_identity())
    read, parts, receipts = [], [], []
    for unit in units:
        where = {"workers": [placed[unit.id]], "allow_other_workers": True} if unit.id in placed else {}
        with annotate(**{UNITS: size_of((unit,))}):
            read.append(client.submit(task, held, unit, key=f"{keys}-{unit.id}", pure=False, **where))
        # the part and the receipt are futures of their own: one stays where it is, the other comes home
        parts.append(client.submit(itemgetter(0), read[-1], key=f"{keys}-{unit.id}-part", pure=False, **where))
        receipts.append(client.submit(itemgetter(1), read[-1], key=f"{keys}-{unit.id}-receipt", pure=False))
    return tuple(parts), receipts


def read_figures(receipts: Sequence[Receipt]) -> Mapping[str, Any]:
    """What a run's result says of one reading: merged counts and the receipts' Merkle root."""
    return {
        "counts": merge_receipts(receipts),
        "receipts_root": merkle_root(receipt.digest for receipt in receipts),
    }
