"""Two writers of one run over one store, each doing every unit in an order of its own, one of them killed now and then:
the first complete part of each unit wins, the manifest is published once, and nobody sees anything else.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from dataops.datasets.snapshot import read_manifest, read_snapshot, snapshot_journal
from dataops.models.predictor import BOOSTED
from dataops.rescoring.run import run_rescore
from dataops.storage.objects import Store, open_store
from tests.datasets.examples import open_one
from tests.faults.driver import ROOT
from tests.faults.dying import Death, Moment, Step, begun, of_a_unit
from tests.faults.writer import OrderedWork
from tests.rescoring.examples import make_job, make_plan, register
from tests.runs.offline import Offline

FILES = 5
OUTPUT = "scores"
KILLED_EVERY = 20  # runs, one writer is


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder where writers find their work, and what they have to come to: each unit's digest."""

    folder: Path
    digests: dict[str, str]

    @property
    def store(self) -> Store:
        return open_store(str(self.folder / "storage"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("overlapping")
    town = Offline.make(folder / "town", files=FILES)
    workspace, given = town.workspace, open_one(town.workspace, "people_new", "score")
    plan = make_plan(given, register(workspace, BOOSTED), job=make_job(errors={"max_rate": 0.1}))
    registry = workspace.settings.registry
    (folder / "work").write_bytes(pickle.dumps((plan, given, registry)))
    alone = folder / "alone"
    run_rescore(plan, given, OrderedWork(run="run-0").work, storage=str(alone), registry=registry)
    return Place(folder=folder, digests=digests(open_store(str(alone)), alone, "run-0"))


def digests(store: Store, storage: Path, run: str) -> dict[str, str]:
    """By unit, the digest of the part that the manifest of `run` names, which is that of its bytes."""
    found = {}
    for fragment in read_manifest(store, OUTPUT, run).fragments:
        data = (storage / "datasets" / OUTPUT / fragment.path).read_bytes()
        assert fragment.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert fragment.size_bytes == len(data)
        unit = Path(fragment.path).name.split("-")[1]
        assert unit not in found
        found[unit] = fragment.digest
    return found


@contextmanager
def writer(place: Place) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.writer", str(place.folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[str], run: str, seed: int, deaths: list[Death]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"run": run, "seed": seed, "deaths": [asdict(one) for one in deaths]}) + "\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> str:
    """What a writer came to; "" if it died."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def death(choice: random.Random) -> Death:
    """Of a writer, at a unit or where the run is published."""
    if choice.random() < 0.3:
        return Death(step=choice.choice([Step.MANIFEST, Step.SNAPSHOT]), moment=choice.choice(list(Moment)))
    return of_a_unit(choice, most=FILES)


def write_together(place: Place, runs: range) -> None:
    """Each of `runs` by two writers at once; the one that is killed is followed by another, which does it again."""
    with ExitStack() as stack:
        writers = [stack.enter_context(writer(place)) for _ in range(2)]
        for number in runs:
            choice, run = random.Random(number), f"run-{number}"  # noqa: S311
            deaths = [death(choice)] if number % KILLED_EVERY == 1 else []
            print("run", number, *deaths)  # noqa: T201
            for place_of, process in enumerate(writers):
                tell(process, run, 2 * number + place_of, deaths if place_of == number // KILLED_EVERY % 2 else [])
            said = [heard(process) for process in writers]
            for place_of in [one for one, digest in enumerate(said) if not digest]:
                assert deaths
                writers[place_of] = stack.enter_context(writer(place))
                tell(writers[place_of], run, number, [])
                said[place_of] = heard(writers[place_of])
            assert len(set(said)) == 1
            assert all(said)
            require_once(place, run)


def require_once(place: Place, run: str) -> None:
    """Each unit was begun at least twice, and is published once, as it is without another writer."""
    snapshot = read_snapshot(place.store, OUTPUT)
    assert snapshot is not None
    assert [manifest.run for manifest in snapshot.manifests] == [run]
    assert digests(place.store, place.folder / "storage", run) == place.digests
    counts = snapshot.manifests[0].counts
    assert sum(fragment.rows for fragment in snapshot.fragments) == counts["passed"]
    times = Counter(begun(place.folder / "marks" / run))
    assert len(times) == FILES
    assert min(times.values()) >= 2


def require_published_once(place: Place, runs: range) -> None:
    """Every run came to be the newest in one snapshot, and in no other."""
    listed = [
        [one["run"] for one in entry.body["manifests"]] for entry in snapshot_journal(place.store, OUTPUT).entries()
    ]
    assert listed == [[f"run-{number}"] for number in runs]


def test_two_writers_and_one_that_is_killed_come_to_what_one_comes_to(place: Place) -> None:
    runs = range(1, 12)
    write_together(place, runs)
    require_published_once(place, runs)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_five_hundred_runs_of_two_writers(place: Place) -> None:
    before = len(list(snapshot_journal(place.store, OUTPUT).entries()))
    runs = range(1000, 1500)
    write_together(place, runs)
    assert len(list(snapshot_journal(place.store, OUTPUT).entries())) == before + len(runs)
