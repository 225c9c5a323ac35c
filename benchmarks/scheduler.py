"""How many slots of schedules, and how many submitted jobs, a scheduler script decides in a second.

    python benchmarks/scheduler.py            # 200 slots, 100 submissions, five turns
    python benchmarks/scheduler.py --quick    # 40 and 20, two turns

1. The scheduler script is the real one, over a workspace on disk with journals, beats and the audit. Its clock is
   turned on, and its steps are played: processes that are done as soon as they are begun. So what is measured is what a
   decision costs, and nothing of the jobs.
2. ``slots``: hourly slots that nobody did, caught up one after another; of one schedule, or of ten, a tenth each.
   ``submit``: requests laid into the inbox. ``carry out``: those, taken, begun and ended. ``nothing due``: a look of a
   script that finds nothing to do, at its start and its end.
3. Before a figure counts every slot and every submission has ended as done, once. ``null`` is one schedule again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from history import arguments, write_record
from measuring import Spread, end_on_signal, require, seconds
from scored_sets import NARROW, data_of, make_workspace

from dataops.records import now_utc
from dataops.runs.workspace import Workspace
from dataops.scheduling.book import Book, event_of
from dataops.scheduling.floor import Limits, VirtualClock
from dataops.scheduling.inbox import open_inbox
from dataops.scheduling.loop import Scheduler
from dataops.scheduling.submitting import submit
from dataops.scheduling.working import Result, StepCommand

SLOTS, SUBMISSIONS, TURNS = 200, 100, 5
QUICK, QUICK_TURNS = 5, 2
ROWS = 20_000
START = datetime(2026, 3, 1, tzinfo=UTC)
MANY = 10
SCHEDULE = """\
name: {name}
when: {{every: 1h}}
start: 2026-03-01T01:00:00Z
catch_up: all
steps: [{{job: scores, file: jobs/jobs.yaml}}]
"""
NULL = "slots, one schedule, once more"


@dataclass(frozen=True, slots=True)
class Played:
    """A step that is done as soon as it is begun."""

    result: Result

    def poll(self) -> Result | None:
        return self.result

    def stop(self) -> None:
        pass


@dataclass(slots=True)
class Player:
    """Starts steps that do nothing, and knows which."""

    runs: list[str] = field(default_factory=list)

    def start(self, command: StepCommand) -> Played:
        self.runs.append(command.run)
        return Played(Result(exit_code=0, answer={"run": command.run, "result": {}}))


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "scheduler", quick="a fifth of all, two turns")
    parser.add_argument("--turns", type=int, default=None, help="default: 5, with --quick 2")
    given = parser.parse_args()
    share, turns = (QUICK, given.turns or QUICK_TURNS) if given.quick else (1, given.turns or TURNS)
    slots, submissions = SLOTS // share, SUBMISSIONS // share
    counts = {"slots, one schedule": slots, NULL: slots, f"slots, {MANY} schedules": slots // MANY * MANY}
    counts |= {"submit": submissions, "carry out": submissions, "nothing due": 1}
    phases: dict[str, list[float]] = {name: [] for name in counts}
    for turn in range(turns):
        for name, schedules in (("slots, one schedule", 1), (NULL, 1), (f"slots, {MANY} schedules", MANY)):
            phases[name].append(caught_up(schedules, slots // schedules))
        for name, took in submitted(submissions).items():
            phases[name].append(took)
        print(f"turn {turn + 1} checked: every slot and every submission is done, once", flush=True)
    rates = {f"{name}, a second": Spread.of([counts[name] / one for one in found]) for name, found in phases.items()}
    for name, one in rates.items():
        print(f"{name:<42}{one.median:10.1f} ({one.min:.1f} to {one.max:.1f})")
    again = zip(phases.pop(NULL), phases["slots, one schedule"], strict=True)
    ratios = {"null: one schedule/one schedule": Spread.of([one / other for one, other in again])}
    record = {"question": "scheduler", "quick": given.quick, "counts": counts}
    write_record(given.record, record, ratios, phases=phases, figures=rates)


def caught_up(schedules: int, slots: int) -> float:
    """Seconds of a script that comes when so many slots of each schedule are due."""
    with tempfile.TemporaryDirectory(prefix="dataops-scheduler-") as folder:
        workspace = make_workspace(Path(folder), NARROW, data_of(NARROW, ROWS))
        (Path(folder) / "schedules").mkdir(exist_ok=True)
        names = [f"hourly-{number}" for number in range(schedules)]
        for name in names:
            (Path(folder) / "schedules" / f"{name}.yaml").write_text(SCHEDULE.format(name=name))
        player, clock = Player(), VirtualClock(START)
        come_round(workspace, player, clock)  # the schedules are known
        clock.at += timedelta(hours=slots)
        took = seconds(lambda: come_round(workspace, player, clock))
        for name in names:
            events = [event_of(entry) for entry in Book(workspace.store, name).entries()]
            ended: list[Any] = [event for event in events if event.event == "ended"]
            require({str(event.outcome) for event in ended} == {"done"}, f"{name}: every slot is done")
            require(len({event.key for event in ended}) == len(ended) == slots, f"{name}: {slots} slots, each once")
        require(len(set(player.runs)) == len(player.runs) == schedules * slots, "a run for each slot")
    return took


def submitted(count: int) -> Mapping[str, float]:
    """Seconds of submitting so many jobs, of carrying them out, and of finding nothing to do."""
    with tempfile.TemporaryDirectory(prefix="dataops-scheduler-") as folder:
        workspace = make_workspace(Path(folder), NARROW, data_of(NARROW, ROWS))
        job = json.dumps({"name": "ready", "job": "prepare", "input": "rows_history", "output": "ready"})
        (Path(folder) / "jobs" / "ready.yaml").write_text(job)
        player, clock = Player(), VirtualClock(now_utc())
        come_round(workspace, player, clock)
        inbox, ids = open_inbox(workspace), []

        def submit_all() -> None:
            for number in range(count):
                now = clock.at + timedelta(milliseconds=number)
                file = Path(folder) / "jobs" / "ready.yaml"
                ids.append(submit(workspace, inbox, file, None, cluster=None, again=True, now=now).id)

        took = {"submit": seconds(submit_all)}
        clock.at += timedelta(minutes=1)
        took["carry out"] = seconds(lambda: come_round(workspace, player, clock))
        states = {str(inbox.state(one).state) for one in ids}
        require(states == {"done"}, f"every submission is done, not {', '.join(sorted(states))}")
        require(len(set(player.runs)) == len(player.runs) == count, "each submission was begun once")
        took["nothing due"] = seconds(lambda: come_round(workspace, player, clock))
        require(len(player.runs) == count, "nothing was begun again")
    return took


def come_round(workspace: Workspace, player: Player, clock: VirtualClock) -> None:
    """A script comes, does what is due, and goes."""
    script = Scheduler(
        workspace.settings.workspace,
        clock=clock,
        start=lambda _store, _folder: player,
        log=lambda _line: None,
        limits=Limits(at_once=10, per_user=10),
        poll_seconds=0.01,
        accept_clock=True,
    )
    with script:
        done = script.once()
    require(done.exit_code == 0, f"{done.failed} failed; {done.broken} {done.troubled}")


if __name__ == "__main__":
    main()
