"""Several scheduler scripts on one directory, killed with -9 and stopped at random, under clocks that jump: every slot
is committed exactly once, none is missed inside its catch-up window, every submission comes to exactly one end.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataops.datasets.snapshot import read_snapshot
from dataops.datasets.verify import verify_dataset
from dataops.governance.audit import verify_audit
from dataops.records import now_utc
from dataops.runs.ledger import State
from dataops.runs.workspace import Workspace, open_workspace, os_user
from dataops.scheduling.book import Book, event_of
from dataops.scheduling.events import Claimed, Ended, Event, Missed, Skipped
from dataops.scheduling.inbox import Inbox, open_inbox
from dataops.scheduling.requests import Request, new_submission_id
from dataops.scheduling.slots import key_of
from dataops.scheduling.state import LastSlot
from tests.faults.driver import COMMAND, ROOT, alive, environment, wait_for
from tests.faults.theatre import LOG, OFFSET
from tests.line.people import make_workspace

HOUR = 3600.0
EVERY = {"chain": 6, "often": 2, "last": 1}
"""Hours between two slots of each schedule."""
PACKAGES = Path("/var/cache/apt/archives")
ALL = """
name: {name}
when: {{every: {every}}}
start: {start}
catch_up: {{all: 10000}}
overlap: queue
retries: {{times: 100, wait: 1s, at_most: 1s}}
steps:
"""
LAST = """
name: last
when: {{every: 1h}}
start: {start}
retries: {{times: 100, wait: 1s, at_most: 1s}}
steps: [{{job: lone, file: jobs/a.yaml}}]
"""


@dataclass(slots=True)
class Theatre:
    """A workspace, the scripts that run on it, and what is done to them."""

    folder: Path
    start: datetime
    random: random.Random
    process: subprocess.Popen[str]
    scripts: list[int] = field(default_factory=list)
    offset: float = 0.0
    furthest: float = 0.0
    submitted: list[str] = field(default_factory=list)
    killed: int = 0

    @property
    def workspace(self) -> Workspace:
        return open_workspace(str(self.folder), {})

    @property
    def inbox(self) -> Inbox:
        return open_inbox(self.workspace)

    def begin(self) -> None:
        """One script more."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("another\n")
        self.process.stdin.flush()
        self.scripts.append(int(self.process.stdout.readline()))

    def kill(self) -> None:
        """One of them, with -9; another takes its place."""
        victim = self.scripts.pop(self.random.randrange(len(self.scripts)))
        os.kill(victim, signal.SIGKILL)
        self.killed += 1
        self.begin()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """One of them does nothing meanwhile, and goes on then as if no time had passed."""
        victim = self.random.choice(self.scripts)
        os.kill(victim, signal.SIGSTOP)
        yield
        os.kill(victim, signal.SIGCONT)

    def jump(self, seconds: float) -> None:
        """The clocks of all scripts are set forward or back."""
        self.offset += seconds
        self.furthest = max(self.furthest, self.offset)
        set_clock(self.folder / OFFSET, self.offset)

    def submit(self) -> None:
        """One job more in the inbox; of some somebody wants it to stop."""
        inbox, name = self.inbox, new_submission_id("income", now_utc())
        inbox.submit(
            Request(
                id=name,
                inbox=inbox.place(),
                job="income",
                text="{}",
                source="jobs/income.yaml",
                cluster=None,
                again=False,
                principal=os_user(),
                submitted_at=now_utc(),
            )
        )
        self.submitted.append(name)
        if self.random.random() < 0.3:
            inbox.ask_to_stop(name, now=now_utc())

    def books(self) -> dict[str, Book]:
        return {name: Book(self.workspace.store, name) for name in EVERY}

    def is_quiet(self) -> bool:
        """Whether nothing is left to do."""
        now = now_utc() + timedelta(seconds=self.offset)
        for name, book in self.books().items():
            state = book.head().state
            if state is None or state.open or state.waiting_until or state.through is None:
                return False
            if now - state.through >= timedelta(hours=EVERY[name], minutes=1):
                return False
        return all(self.inbox.state(name).has_ended for name in self.submitted)


def set_clock(file: Path, offset: float) -> None:
    """What a file says of the clock, from one moment to the next."""
    new = file.with_suffix(".new")
    new.write_text(f"{offset:+.0f}\n")
    new.replace(file)


@contextmanager
def theatre(folder: Path, *, seed: int, scripts: int, faketime: Path | None = None) -> Iterator[Theatre]:
    """Scripts at work in a new workspace; at the end all of them are killed."""
    start = now_utc().replace(minute=0, second=0, microsecond=0)
    make_theatre(folder, start)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    if faketime is not None:
        told = {"FAKETIME_TIMESTAMP_FILE": str(folder / OFFSET), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
        environ |= {**told, "LD_PRELOAD": str(faketime), "THEATRE_CLOCK": "the machine's"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.theatre", str(folder), "2"],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stage = Theatre(folder, start, random.Random(seed), process)  # noqa: S311  # what to kill
    try:
        for _ in range(scripts):
            stage.begin()
        yield stage
    finally:
        for one in stage.scripts:
            os.kill(one, signal.SIGKILL)
        process.kill()
        process.communicate()


def make_theatre(folder: Path, start: datetime) -> None:
    for name in ("schedules", "commits", "attempts"):
        (folder / name).mkdir(parents=True)
    (folder / "dataops.yaml").write_text("storage: storage\n")
    (folder / "principals.yaml").write_text(f"principals:\n  {os_user()}: {{roles: [analyst]}}\n")
    set_clock(folder / OFFSET, 0)
    at = start.strftime("%Y-%m-%dT%H:%M:%SZ")
    chain = ALL.format(name="chain", every="6h", start=at)
    chain += "  - {job: ready, file: jobs/a.yaml}\n  - {job: scores, file: jobs/a.yaml, if: {changed: ready}}\n"
    often = ALL.format(name="often", every="2h", start=at) + "  - {job: brief, file: jobs/a.yaml}\n"
    (folder / "schedules/all.yaml").write_text(chain + "---\n" + often)
    (folder / "schedules/last.yaml").write_text(LAST.format(start=at))


def require_exactly_once(stage: Theatre, *, until: datetime) -> int:
    """Every slot up to then was decided once, and what was claimed is committed once; gives how many commits."""
    commits = {path.name for path in (stage.folder / "commits").iterdir()}
    wanted: set[str] = set()
    for name, book in stage.books().items():
        events = [event_of(entry) for entry in book.entries(newest_first=False)]
        claimed = [event for event in events if isinstance(event, Claimed)]
        ended = [event for event in events if isinstance(event, Ended)]
        assert len({event.key for event in claimed}) == len(claimed), name
        assert sorted(event.key for event in ended) == sorted(event.key for event in claimed), name
        assert {event.outcome for event in ended} == {"done"}, name
        passed = [event for event in events if isinstance(event, Skipped | Missed)]
        hours = range(round((until - stage.start).total_seconds() / HOUR) + 1)
        slots = [stage.start + timedelta(hours=number) for number in hours]
        slots = [slot for slot in slots if slot.timestamp() % (EVERY[name] * HOUR) == 0]
        if name != "last":
            assert [event.key for event in claimed] == [key_of(slot) for slot in slots], name
        assert len(claimed) + sum(event.count for event in passed) == len(slots), name
        runs = {(event.key, event.step): event.run for event in events if event.event == "step_begun"}
        assert len(runs) == len(claimed) * (2 if name == "chain" else 1), name
        wanted |= {str(run) for run in runs.values()}
        assert require_told(stage, name, events) > 0
    done = {name for name in stage.submitted if stage.inbox.state(name).state.value == "done"}
    assert done <= commits <= wanted | set(stage.submitted)
    assert wanted <= commits
    return len(commits)


def require_told(stage: Theatre, name: str, events: list[Event]) -> int:
    """The audit knows of each slot that was passed over, and of each takeover; gives of how many."""
    told = {body["entry"] for body in audited(stage) if body.get("schedule") == name}
    owed = {
        number
        for number, event in enumerate(events, 1)
        if event.event in ("begun", "skipped", "missed", "taken_over") and number <= max(told, default=0)
    }
    assert owed <= told, name
    return len(told)


def audited(stage: Theatre) -> list[Any]:
    return [entry.body for entry in stage.workspace.audit.entries()]


def require_one_end_each(stage: Theatre) -> None:
    """Every submission has one end; a person who asks sees it."""
    for name in stage.submitted:
        assert stage.inbox.state(name).has_ended
        entries = sorted((stage.folder / f"storage/submissions/{name}").glob("*.json"))
        events = [json.loads(path.read_text())["body"]["event"] for path in entries]
        assert events.count("ended") == 1
        assert events[-1] == "ended"


def play(stage: Theatre, *, kills: int, jumps: list[float], submissions: int, still: int) -> None:
    """Kills, jumps, stops and submissions, all mixed; back when nothing is left to do."""
    acts = ["kill"] * kills + ["jump"] * len(jumps) + ["submit"] * submissions + ["still"] * still
    stage.random.shuffle(acts)
    waiting = iter(jumps)
    for act in acts:
        time.sleep(stage.random.uniform(0, 0.4))
        match act:
            case "kill":
                stage.kill()
            case "jump":
                stage.jump(next(waiting))
            case "submit":
                stage.submit()
            case "still":
                with stage.standing_still():
                    time.sleep(1.5)
    stage.jump(stage.furthest - stage.offset + HOUR)
    wait_for(stage.is_quiet, "every slot was done", poll_seconds=0.2)


def furthest(stage: Theatre) -> datetime:
    """The last slots that scripts can have seen, whenever that was."""
    through = [state.through for book in stage.books().values() if (state := book.head().state) is not None]
    return max(one for one in through if one is not None)


def test_three_scripts_that_are_killed_do_every_slot_once(tmp_path: Path) -> None:
    with theatre(tmp_path / "w", seed=1, scripts=3) as stage:
        play(stage, kills=5, jumps=[5 * HOUR, -HOUR, 7 * HOUR], submissions=3, still=1)
    assert stage.killed == 5
    assert require_exactly_once(stage, until=furthest(stage)) > 8
    require_one_end_each(stage)


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_four_scripts_killed_fifty_times_under_clocks_that_jump(tmp_path: Path, seed: int) -> None:
    day = 24 * HOUR
    with theatre(tmp_path / "w", seed=seed, scripts=4) as stage:
        jumps = [HOUR, day, -HOUR, HOUR, -day, day, HOUR, day, -HOUR, day]
        play(stage, kills=50, jumps=jumps, submissions=25, still=4)
    assert stage.killed == 50
    assert require_exactly_once(stage, until=furthest(stage)) > 60
    require_one_end_each(stage)
    assert verify_audit(stage.workspace.audit) == []


@pytest.fixture(scope="session")
def faketime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that sets the clock of single processes wrong, as installed or as the package manager keeps it."""
    for place in Path("/usr/lib").glob("*/faketime/libfaketime.so.1"):
        return place
    packages = sorted(PACKAGES.glob("libfaketime_*.deb"))
    if not packages or shutil.which("dpkg") is None:
        pytest.skip("no libfaketime here: apt-get install --download-only libfaketime")
    folder = tmp_path_factory.mktemp("faketime")
    subprocess.run(["dpkg", "-x", str(packages[-1]), str(folder)], check=True)
    return next(folder.rglob("libfaketime.so.1"))


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_four_scripts_whose_machine_has_its_clock_set(tmp_path: Path, faketime: Path) -> None:
    """As before, with the clock of the C library: nothing in the scripts knows of it."""
    day = 24 * HOUR
    with theatre(tmp_path / "w", seed=4, scripts=4, faketime=faketime) as stage:
        play(stage, kills=50, jumps=[HOUR, day, -HOUR, -day, day, HOUR, day], submissions=15, still=3)
    assert require_exactly_once(stage, until=furthest(stage)) > 40  # of `last` as many as scripts looked in time for
    require_one_end_each(stage)


REAL = """
name: people
when: {{every: 1h}}
start: {start}
catch_up: last
steps:
  - {{job: people_ready, file: jobs/people.yaml}}
  - {{job: people_again, file: jobs/again.yaml, if: {{changed: people_ready}}}}
"""
AGAIN = "name: people_again\njob: prepare\ninput: people_ready\noutput: people_again\n"


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_scripts_with_real_jobs_that_are_killed_publish_each_once(tmp_path: Path) -> None:
    """``dataops schedule run`` itself, twice at once; what it started goes with it, and its run goes on."""
    folder = make_workspace(tmp_path / "town", files=6)
    (folder / "jobs/again.yaml").write_text(AGAIN)
    (folder / "schedules").mkdir(exist_ok=True)
    start = now_utc().replace(minute=0, second=0, microsecond=0)
    (folder / "schedules/people.yaml").write_text(REAL.format(start=start.strftime("%Y-%m-%dT%H:%M:%SZ")))
    chance, processes = random.Random(5), [real_script(folder) for _ in range(2)]  # noqa: S311
    book = Book(open_workspace(str(folder), {}).store, "people")
    try:
        for kill in range(6):
            wait_for(lambda: begun(book) > 0, "a step began", poll_seconds=0.1)
            time.sleep(chance.uniform(0.5, 6))
            victim = processes.pop(chance.randrange(2))
            family = psutil.Process(victim.pid).children(recursive=True)
            victim.kill()
            victim.wait()
            processes.append(real_script(folder))
            wait_for(lambda: not any(alive(one) for one in family), f"what script {kill} started ended")  # noqa: B023
        wait_for(lambda: ended(book) is not None, "the slot was done", poll_seconds=0.2)
        wait_for(lambda: all(heeds_terminate(one) for one in processes), "the last scripts were up", poll_seconds=0.2)
    finally:
        for one in processes:
            one.terminate()
        for one in processes:
            assert one.wait(timeout=60) == 0
    last = ended(book)
    assert last is not None
    assert (last.outcome, last.reason) == ("done", "")
    workspace = open_workspace(str(folder), {})
    assert len(workspace.ledger.ids()) == 2
    for job in ("people_ready", "people_again"):
        snapshot = read_snapshot(workspace.store, job)
        assert snapshot is not None
        assert snapshot.number == 1
        (manifest,) = snapshot.manifests
        assert workspace.ledger.state(manifest.run).state is State.DONE
        assert verify_dataset(workspace.settings, workspace.store, job).findings == ()


def real_script(folder: Path) -> subprocess.Popen[str]:
    words = [*COMMAND, "schedule", "run", "--poll", "0.5", "-w", str(folder)]
    with (folder / LOG).open("a") as log:
        return subprocess.Popen(words, env=environment(folder), stderr=log, stdout=subprocess.DEVNULL, text=True)


def heeds_terminate(process: subprocess.Popen[str]) -> bool:
    """Whether it has a handler of SIGTERM yet: while a script is being imported, the signal just ends it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def begun(book: Book) -> int:
    state = book.head().state
    return 0 if state is None else state.counts.get("claimed", 0)


def ended(book: Book) -> LastSlot | None:
    state = book.head().state
    return None if state is None else state.last
