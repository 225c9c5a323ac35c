"""Join jobs: governed datasets, joined, deduplicated or aggregated, become a snapshot of a new one.

1. Columns, types and grants are checked before a row is read (`join_plan`).
2. What is small is given to every worker; of what is large rows go by the hash of their keys (`exchange`). Rows and the
   sum of their keys' hashes are compared after each step: if one is lost or comes twice, nothing is published.
3. The rows of the main input come out in their order, and what one found in the order of its dataset. So equal inputs
   give equal bytes, whatever the number of workers, or how rows travelled.
4. A run that is resumed takes up each step where it stopped.
5. The output is the raw data of whatever is prepared from it: a model carries no join.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from dataops.datasets.access import GovernedInput
from dataops.datasets.commit import UnitRecord, committed_units
from dataops.datasets.publish import publish, require_within_thresholds
from dataops.datasets.receipt import Receipt, merge_receipts
from dataops.datasets.snapshot import Fragment, Manifest, RowGroup, Snapshot
from dataops.datasets.units import Unit
from dataops.declarations.inputs import INPUT
from dataops.engine.tasks import Task
from dataops.engine.work import Work
from dataops.errors import DataopsError, Integrity
from dataops.preparation.exchange import Exchange, Step, Tally, require_conserved, total
from dataops.preparation.join_context import JoinContext
from dataops.preparation.join_groups import group_bucket, hand_on_groups
from dataops.preparation.join_names import look_at_names, settle_bucket
from dataops.preparation.join_plan import JoinPlan, join_declaration
from dataops.preparation.join_tasks import join_unit, look_at_main, match_bucket, read_joined
from dataops.records import Record, merkle_root
from dataops.storage.objects import open_store

Reads = Mapping[str, Mapping[str, Any]]


def run_join(
    plan: JoinPlan, inputs: Mapping[str, GovernedInput], work: Work, *, storage: str
) -> tuple[Manifest, Snapshot, Reads]:
    """The published output of the job, and what was read, by the run's name of the input.

    Raises
    ------
    ContractViolation : more rows break a rule than it allows, or a key stands twice where one was expected.
    Integrity : rows were lost or came twice on their way.
    """
    exchange = Exchange(storage=storage, dataset=plan.job.output, run=work.run, seed=plan.seed)
    joining = _Joining(plan=plan, inputs=inputs, work=work, exchange=exchange)
    units, records = joining.records()
    reads = joining.reads(records)
    with work.phase("publish"):
        manifest, snapshot = publish(
            open_store(storage),
            dataset=plan.job.output,
            run=work.run,
            zone=inputs[INPUT].dataset.zone,
            columns=plan.columns,
            units=units,
            records={record.unit: record for record in records},
            lineage=join_lineage(plan, inputs),
        )
    with suppress(DataopsError):  # what is left over harms nobody, and `garbage` finds it
        exchange.remove()
    return manifest, snapshot, reads


def join_lineage(plan: JoinPlan, inputs: Mapping[str, GovernedInput]) -> Record:
    """What the manifest says of where the output came from: the main input as ever, and all inputs by their names."""
    each = {name: given.lineage() for name, given in inputs.items()}
    sources = [source for one in each.values() for source in one.pop("sources")]
    return {
        "kind": "join",
        **each[INPUT],
        "sources": [one for place, one in enumerate(sources) if one not in sources[:place]],
        "inputs": each,
        "join": join_declaration(plan),
    }


@dataclass(slots=True, kw_only=True)
class _Joining:
    """A join being done: its steps one after the other, each over all units or buckets.

    Attributes
    ----------
    context : what is known so far.
    steps : what each phase left.
    """

    plan: JoinPlan
    inputs: Mapping[str, GovernedInput]
    work: Work
    exchange: Exchange
    steps: dict[str, list[Step]] = field(default_factory=dict)
    context: JoinContext = field(init=False)

    def __post_init__(self) -> None:
        self.context = JoinContext(plan=self.plan, exchange=self.exchange, units=len(self.units))

    @property
    def units(self) -> tuple[Unit, ...]:
        """Of the main input."""
        return self.inputs[INPUT].units

    def records(self) -> tuple[list[Unit], list[UnitRecord]]:
        """All units that make up the output, and their records."""
        for place in range(len(self.plan.joins)):
            self._read_joined(place)
        job = self.plan.job
        by_key = [place for place, one in enumerate(self.plan.joins) if one.buckets]
        if self.units and (by_key or job.deduplicate):
            self._do("keys", look_at_main, self.units)
        if self.units and job.deduplicate:
            self._settle(None, self.plan.buckets)
        for place in by_key:
            self._match(place)
        if job.group_by:
            return self._grouped()
        done = committed_units(open_store(self.exchange.storage), job.output, self.exchange.run)
        records = self.work.map_units("join", join_unit, self.context, self.units, done=done)
        self._require_arrived(records)
        return list(self.units), records

    def reads(self, records: Sequence[UnitRecord]) -> Reads:
        """What was read of each input, if its rows broke no rule more often than allowed."""
        receipts = {INPUT: [record.receipt for record in records]}
        for place, one in enumerate(self.plan.joins):
            receipts[one.name] = _receipts(self.steps[f"read-{place + 1}"])
        for name, some in receipts.items():
            require_within_thresholds(self.inputs[name], some)
        return {
            name: {"counts": merge_receipts(some), "receipts_root": merkle_root(one.digest for one in some)}
            for name, some in receipts.items()
        }

    def _read_joined(self, place: int) -> None:
        joined = self.plan.joins[place]
        units = self.inputs[joined.name].units
        if joined.buckets and joined.join.deduplicate:
            self._do(f"names-{place + 1}", look_at_names, units, place)
            self._settle(place, joined.buckets)
        self._do(f"read-{place + 1}", read_joined, units, place)
        settled = f"settle-{place + 1}"
        if settled in self.steps:
            self._require_conserved(settled, self.steps[f"read-{place + 1}"])
            _require_same_reading(self.steps[f"names-{place + 1}"], _receipts(self.steps[f"read-{place + 1}"]))

    def _settle(self, place: int | None, buckets: int) -> None:
        what = "main" if place is None else str(place + 1)
        units = len(self.units) if place is None else len(self.inputs[self.plan.joins[place].name].units)
        context = self.context
        self.context = replace(context, units=units)
        self._do(f"settle-{what}", settle_bucket, _buckets(buckets), place)
        self.context = replace(self.context, units=context.units)
        self._require_conserved(f"names-{what}", self.steps[f"settle-{what}"])

    def _match(self, place: int) -> None:
        if not self.units:
            return
        phase = f"match-{place + 1}"
        self._do(phase, match_bucket, _buckets(self.plan.joins[place].buckets), place)
        for before in (f"keys-{place + 1}", f"read-{place + 1}"):
            self._require_conserved(before, self.steps[phase])

    def _grouped(self) -> tuple[list[Unit], list[UnitRecord]]:
        job, storage = self.plan.job, self.exchange.storage
        done = committed_units(open_store(storage), job.output, self.exchange.run)
        records = self.work.map_units("hand on", hand_on_groups, self.context, self.units, done=done)
        self._require_arrived(records)
        self._know({"groups": tuple(record.summary["handed_on"] for record in records)}, {})
        buckets = _buckets(self.plan.buckets) if records else []
        grouped = self.work.map_units("aggregate", group_bucket, self.context, buckets, done=done)
        written, arrived = (
            total(Tally.from_record(one.summary["groups"]) for one in some) for some in (records, grouped)
        )
        self._require("groups", written, arrived)
        return [*self.units, *buckets], [*records, *grouped]

    def _do(self, phase: str, task: Task, units: Sequence[Unit], place: int | None = None) -> None:
        """The steps of `phase`, which the next ones may look at."""
        context = replace(self.context, place=place)
        steps: list[Step] = self.work.map_units(phase, task, context, units, done=self.exchange.done(phase))
        self.steps[phase] = steps
        names = dict.fromkeys([phase, *(name for step in steps for name in step.paths)])
        paths = {name: tuple(step.paths[name] for step in steps if name in step.paths) for name in names}
        tallies = {name: total(step.tallies[name] for step in steps if name in step.tallies) for name in names}
        self._know(paths, tallies)

    def _know(self, paths: Mapping[str, tuple[str, ...]], tallies: Mapping[str, Tally]) -> None:
        known = self.context
        self.context = replace(known, paths={**known.paths, **paths}, tallies={**known.tallies, **tallies})

    def _require_conserved(self, phase: str, readers: Sequence[Step]) -> None:
        """Nothing, if the rows that `phase` wrote are those that the `readers` got."""
        self._require(phase, self.context.tallies[phase], total(step.tallies[phase] for step in readers))

    def _require(self, phase: str, written: Tally, read: Tally) -> None:
        require_conserved(f"step {phase}", written, read)
        self.work.emit("exchange_checked", step=phase, rows=written.rows, hashes=written.record()[1])

    def _require_arrived(self, records: Sequence[UnitRecord]) -> None:
        """Nothing, if units got all that was found for them, and read the very rows whose keys were looked at."""
        arrived = [record.summary.get("arrived", {}) for record in records]
        for phase in dict.fromkeys(name for one in arrived for name in one):
            got = total(Tally.from_record(one[phase]) for one in arrived if phase in one)
            self._require(phase, self.context.tallies[phase], got)
        if "keys" in self.steps:
            _require_same_reading(self.steps["keys"], [record.receipt for record in records])


def _require_same_reading(steps: Sequence[Step], receipts: Sequence[Receipt]) -> None:
    for first, second in zip(_receipts(steps), receipts, strict=True):
        passed = second.passed + second.filtered_by_job
        if replace(second, passed=passed, filtered_by_job=0, made=None) != first:
            raise Integrity(
                f"unit {first.unit}: {first.passed} of {first.read} rows were let through when it was read for its "
                f"keys, {passed} of {second.read} when it was read again; start a new run"
            )


def _receipts(steps: Sequence[Step]) -> list[Receipt]:
    return [step.receipt for step in steps if step.receipt is not None]


def _buckets(count: int) -> list[Unit]:
    """Buckets as units of work, which read no row of a dataset."""
    fragment = Fragment(path="exchange", size_bytes=0, digest="", row_groups=(RowGroup(rows=0, size_bytes=0),))
    return [
        Unit(id=f"x{number:06d}", fragment=fragment, start_group=0, stop_group=1, first_row=0)
        for number in range(count)
    ]
