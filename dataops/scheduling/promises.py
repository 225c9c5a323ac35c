"""How new things are against what was promised: datasets by their contracts, what schedules make by `promise`.

1. A contract promises in ``slaProperties``: `freshness`, `latency`, `frequency`, `updateFrequency`. All of them bound
   the age of the dataset's newest data here; what a rule of a column asks beside that, a run finds out.
2. A declared dataset is as new as its newest file, looked at where it lies; one that a job made as its newest snapshot.
3. What a schedule makes is as new as its newest slot that is done: if nothing had changed by then, it was still right.
4. Only what is promised is looked at: listing the files of all datasets is not what an operator waits for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dataops.datasets.snapshot import snapshot_journal
from dataops.declarations.catalog import read_entry as parse_entry
from dataops.declarations.jobs import WritingJob, read_jobs
from dataops.declarations.loader import read_document
from dataops.declarations.schedule_steps import JobStep
from dataops.declarations.schedules import DeclaredSchedule
from dataops.declarations.times import parse_duration
from dataops.errors import DataopsError
from dataops.records import Record, format_time, parse_time
from dataops.scheduling.state import ScheduleState
from dataops.scheduling.wording import spell_age, spell_exactly
from dataops.settings import Settings, resolve_url
from dataops.storage.files import open_files
from dataops.storage.objects import Store

_LONGEST_SHOWN = timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """One promise and what came of it.

    Attributes
    ----------
    what : ``dataset`` or ``schedule``.
    makes : of a schedule, the datasets that its steps write.
    newest : the time of the newest data; None where there is none, or it can't be told.
    allowed_seconds : how old it may be.
    began : since when there could be some; what hasn't made anything yet has that long.
    by : where that is promised: a property of a contract, or a schedule's file.
    problem : why it can't be told; None where it can.
    """

    what: str
    name: str
    newest: datetime | None
    allowed_seconds: int
    by: str
    makes: tuple[str, ...] = ()
    began: datetime | None = None
    problem: str | None = None

    def age(self, now: datetime) -> timedelta | None:
        """How old the newest data is; None where there is none."""
        return None if self.newest is None else max(timedelta(0), now - self.newest)

    def is_stale(self, now: datetime) -> bool:
        """Whether the promise is broken; what can't be told is."""
        newest = self.newest or self.began
        return newest is None or now - newest > timedelta(seconds=self.allowed_seconds)

    def says(self, now: datetime) -> str:
        """How old against how old it may be."""
        allowed = f"promised {spell_exactly(timedelta(seconds=self.allowed_seconds))} at most ({self.by})"
        age = self.age(now)
        if self.problem is not None:
            return f"can't be told: {self.problem}; {allowed}"
        return f"{'nothing yet' if age is None else f'{spell_age(min(age, _LONGEST_SHOWN))} old'}, {allowed}"

    def record(self, now: datetime) -> Record:
        """JSON values."""
        age = self.age(now)
        return {
            "what": self.what,
            "name": self.name,
            "makes": list(self.makes),
            "newest": None if self.newest is None else format_time(self.newest),
            "age_seconds": None if age is None else int(age.total_seconds()),
            "allowed_seconds": self.allowed_seconds,
            "by": self.by,
            "problem": self.problem,
            "stale": self.is_stale(now),
        }


def dataset_promises(settings: Settings, store: Store) -> Iterator[Freshness]:
    """What the contracts of the catalog's datasets promise, by the datasets' names."""
    for path in sorted((settings.workspace / "catalog").glob("*.yaml")):
        with suppress(DataopsError):  # a broken entry is told by whatever reads it
            entry = parse_entry(path)
            contract = read_document(settings.workspace / entry.contract).value
            promised = _promised(contract)
            if promised is not None:
                yield _looked_at(settings, store, entry.name, entry.url, promised)


def _promised(contract: Any) -> tuple[str, int] | None:
    """The strictest property of a contract about the age of data, and its seconds; None where it has none."""
    if not isinstance(contract, Mapping) or not contract.get("slaProperties"):
        return None
    from dataops.governance.odcs_service import promised_ages  # takes a quarter of a second to load

    return min(promised_ages(contract["slaProperties"]), key=lambda one: one[1], default=None)


def _looked_at(settings: Settings, store: Store, name: str, url: str, promised: tuple[str, int]) -> Freshness:
    newest, problem = None, None
    try:
        files = open_files(resolve_url(settings.workspace, url)).list("")
        times = [datetime.fromtimestamp(one.mtime_ns / 1e9, UTC) for one in files]
        newest = max(times, default=None) or newest_snapshot(store, name)
    except (DataopsError, OSError) as error:
        problem = str(error)
    return Freshness(
        what="dataset",
        name=name,
        newest=newest,
        allowed_seconds=promised[1],
        by=f"{promised[0]} of its contract",
        problem=problem,
    )


def newest_snapshot(store: Store, name: str) -> datetime | None:
    """When the newest snapshot of dataset `name` was recorded; None without one."""
    tail = snapshot_journal(store, name).tail()
    return None if tail is None else parse_time(tail.written_at)


def schedule_promise(declared: DeclaredSchedule, state: ScheduleState | None, *, workspace: Path) -> Freshness | None:
    """What a schedule promises of what it makes; None where it promises nothing."""
    schedule = declared.schedule
    if schedule.promise is None:
        return None
    return Freshness(
        what="schedule",
        name=schedule.name,
        newest=state.last_done_at if state is not None else None,
        began=state.since if state is not None else None,
        allowed_seconds=int(parse_duration(schedule.promise).total_seconds()),
        by=declared.file,
        makes=tuple(_made_by(declared, workspace)),
    )


def _made_by(declared: DeclaredSchedule, workspace: Path) -> list[str]:
    """The datasets that the schedule's steps write, as far as their job files say."""
    found: list[str] = []
    for step in declared.schedule.steps:
        if isinstance(step, JobStep):
            with suppress(DataopsError):  # a broken job file is told when a step of it fails
                jobs = [one for one in read_jobs(workspace / step.file) if one.job.name == step.job]
                found += [one.written.value["output"] for one in jobs if isinstance(one.job, WritingJob)]
    return list(dict.fromkeys(found))
