"""Replaying quarantine: rows that a run set aside, read again under today's contract and policy; those that pass now
are added to what that run made, exactly once.

1. A replay is a run of the same job: same declaration, same model version, a grant of today, intents, receipts, report.
   It reads exactly the rows that wait under one run, and nothing else.
2. It *takes* that run's quarantine when its manifest comes into a snapshot: of several at once one wins. What doesn't
   pass waits under the replay's own run, for the next replay. One that frees no row takes nothing.
3. What it adds must be of the kind of what is there: columns, masks and preparation are those of the run, else the job
   has to be run again.
4. A row is found by its place, in a file that changed since by its primary key, if no two rows had the same key when
   they were set aside. What can't be found surely is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord
from dataops.datasets.quarantine import key_rule
from dataops.datasets.snapshot import Fragment, Manifest, read_manifest
from dataops.datasets.units import Unit
from dataops.declarations.inputs import INPUT
from dataops.declarations.join import JoinJob
from dataops.engine.progress import Progress
from dataops.errors import Conflict, Integrity, NotFound
from dataops.preparation.prepare import PreparePlan
from dataops.records import digest
from dataops.rescoring.plan import ScorePlan
from dataops.runs.execute import Options, Outcome, start_run
from dataops.runs.finish import finish_published, half_done_replays
from dataops.runs.kinds import columns_of_another_kind
from dataops.runs.ledger import State, job_of
from dataops.runs.planning import Planned, applies_same_models, job_of_run, plan_job, with_quarantine
from dataops.runs.quarantine import Held, HeldState, find_held, held_rows, quarantine_records
from dataops.runs.workspace import Workspace

AGAIN = "`dataops job run` makes the dataset anew"
SHOWN = 5


def replay_quarantine(
    workspace: Workspace, dataset: str, *, run: str | None = None, options: Options, progress: Progress
) -> Outcome | None:
    """The replay of the newest rows of `dataset` that wait, or of those of `run`; None where nothing waits.

    A replay that was published, and died before its end was on record, is brought to its end first; it is the outcome
    where nothing else waits.

    Raises
    ------
    NotFound : no such dataset, or no rows of `run` in quarantine.
    Conflict : rows that can't be found again, another kind of output than what is there, or another replay was first.
    """
    held = held_rows(workspace, dataset)
    finished = _finish_half_done(workspace, held, progress)
    chosen = _chosen(held, run)
    if chosen is None:
        return finished
    _say_begun(workspace, chosen, progress)
    planned = plan_replay(workspace, chosen)
    return start_run(workspace, planned, options=options, progress=progress)


def _finish_half_done(workspace: Workspace, held: Sequence[Held], progress: Progress) -> Outcome | None:
    """The newest of the replays that were published and hadn't ended; those whose end can't be told stand in nobody's
    way, since what they took is taken.
    """
    finished = None
    for run, manifest in half_done_replays(workspace, [one.output for one in held]):
        try:
            finished = finish_published(workspace, run, manifest, progress)
            progress.say(f"{run.job}: run {run.id} had published its rows and not ended; it is done now")
        except (NotFound, Integrity) as error:
            progress.say(f"{run.job}: run {run.id} published its rows, and its end can't be recorded: {error}")
    return finished


def _say_begun(workspace: Workspace, held: Held, progress: Progress) -> None:
    """Replays of the same rows that published nothing: they aren't waited for, nor gone on with under today's rules."""
    for run_id in workspace.ledger.ids():
        if job_of(run_id) != job_of(held.run):
            continue
        with suppress(NotFound):  # cleared away meanwhile
            found = workspace.ledger.state(run_id)
            if found.run.replay_of == held.run and found.state is not State.DONE:
                progress.say(
                    f"{found.run.job}: run {run_id} began to replay these rows and published nothing ({found.state}); "
                    "they are replayed anew, and whichever run publishes first takes them"
                )


def _chosen(held: Sequence[Held], run: str | None) -> Held | None:
    """The rows to replay; those of `run`, or what the replays since left of them."""
    if run is None:
        waiting = [one for one in held if one.state is HeldState.WAITING]
        return max(waiting, key=lambda one: one.since) if waiting else None
    one = find_held(held, run)
    if one.state is HeldState.REPLAYED and one.by is not None:
        left = [other for other in held if other.run == one.by]
        return _chosen(held, one.by) if left else None
    if one.state is HeldState.REPLACED:
        raise Conflict(
            f"run {run} is no part of '{one.output}' any more: a newer run made '{one.output}' anew, or it expired. "
            "`dataops quarantine list` says what waits"
        )
    if one.state is HeldState.UNPUBLISHED:
        raise Conflict(
            f"run {run} published nothing that its rows could be added to; `dataops job resume {run}` ends it, "
            f"or {AGAIN}"
        )
    return one


def plan_replay(workspace: Workspace, held: Held) -> Planned:
    """The job of the run that set `held` aside, over those rows alone, checked as a job is before it runs.

    Raises
    ------
    AccessDenied, InvalidInput : as for a job.
    Conflict : see `replay_quarantine`.
    """
    run = workspace.ledger.read(held.run)
    job = job_of_run(run)
    if isinstance(job, JoinJob):
        raise Conflict(f"run {run.id} joined datasets, and single rows of it can't be joined anew; {AGAIN}")
    planned = plan_job(workspace, job, workspace.open_inputs(job), source=run.source)
    if not applies_same_models(planned, run):
        raise Integrity(f"run {run.id} used a model version that has other contents by now; {AGAIN}")
    given = planned.inputs[INPUT]
    _require_same_kind(read_manifest(workspace.store, held.output, held.run), planned)
    records = quarantine_records(workspace, held.output, held.run)
    units = replay_units(
        workspace.ledger.plan(held.run, INPUT), records, given, keys_broken=_broken_keys(workspace, held, given)
    )
    inputs = {INPUT: with_quarantine(workspace, replace(given, units=units, taken=None))}
    return replace(planned, inputs=inputs, replay_of=held.run)


def _require_same_kind(manifest: Manifest, planned: Planned) -> None:
    """Nothing, if what `planned` makes can stand beside the rows of `manifest`."""
    plan = planned.plan
    assert isinstance(plan, PreparePlan | ScorePlan)  # noqa: S101  # a train job sets nothing aside
    if differing := columns_of_another_kind(plan.columns, manifest.columns):
        raise Conflict(
            f"what run {manifest.run} made of {', '.join(differing[:SHOWN])} would be made otherwise today: contract, "
            f"policy or keys changed since. Rows of both kinds can't be one dataset; {AGAIN}"
        )
    if isinstance(plan, PreparePlan) and digest(plan.declaration()) != manifest.lineage["preparation_digest"]:
        raise Conflict(f"run {manifest.run} prepared its rows otherwise than it would today; {AGAIN}")


def _broken_keys(workspace: Workspace, held: Held, given: GovernedInput) -> int:
    """Rows that broke the primary key in the run that read the whole data, or in a replay since."""
    rule, broken = key_rule(given.dataset.contract), 0
    run: str | None = held.run
    while rule is not None and run is not None:
        manifest = read_manifest(workspace.store, held.output, run)
        broken, run = broken + manifest.counts.get(f"broken:{rule.id}", 0), manifest.replay_of
    return broken


def replay_units(
    planned: Sequence[Unit], records: Sequence[UnitRecord], given: GovernedInput, *, keys_broken: int
) -> tuple[Unit, ...]:
    """For each unit that set rows aside one that reads those rows, from the files as they are now.

    Parameters
    ----------
    planned : the units of the run that set them aside.
    records : what those units left; each with a quarantine file.
    keys_broken : rows of that run that broke the primary key: with any, no row can be named by it.

    Raises
    ------
    Conflict : files that went away, or changed without a key to find their rows by; all are named.
    """
    units = {unit.id: unit for unit in planned}
    there = {fragment.path: fragment for fragment in given.dataset.snapshot.fragments}
    key = given.dataset.contract.primary_key if key_rule(given.dataset.contract) and not keys_broken else ()
    found: list[Unit] = []
    lost: dict[str, None] = {}
    for record in records:
        unit = _replayed(units[record.unit], record.quarantine, there, key)
        if unit is None:
            lost[units[record.unit].fragment.shown] = None
        else:
            found.append(unit)
    if lost:
        raise Conflict(_lost(given, list(lost), keys_broken=keys_broken))
    return tuple(found)


def _replayed(unit: Unit, aside: Fragment | None, there: Mapping[str, Fragment], key: tuple[str, ...]) -> Unit | None:
    fragment = there.get(unit.fragment.path)
    if fragment is not None and fragment.identity == unit.fragment.identity:
        return replace(unit, aside=aside, aside_key=())
    if fragment is None or not key:
        return None
    whole = len(fragment.row_groups)  # the rows may lie in any row group by now
    return Unit(id=unit.id, fragment=fragment, start_group=0, stop_group=whole, first_row=0, aside=aside, aside_key=key)


def _lost(given: GovernedInput, lost: Sequence[str], *, keys_broken: int) -> str:
    contract = given.dataset.contract
    shown = ", ".join(lost[:SHOWN]) + (f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else "")
    reason = "rows are found again in a changed file by the contract's primary key"
    if key_rule(contract) is None:
        reason += f", and contract '{contract.name}' has none"
    elif keys_broken:
        reason += f", and {keys_broken} rows of that run had a key that another row had"
    else:
        reason += ", and there is no such file any more"
    return f"dataset '{given.dataset.name}': {shown} changed or went away since the run: {reason}. {AGAIN}"
