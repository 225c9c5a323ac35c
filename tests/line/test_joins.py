"""Join jobs on workers: verified, explained, told to lineage and audit, bound by what restricts their inputs; the same
bytes for any workers, however rows travel, and when a worker dies on the way.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from distributed import Client

from dataops.datasets.snapshot import read_snapshot
from dataops.datasets.verify import verify_dataset
from dataops.declarations.jobs import find_job
from dataops.engine.connect import Connection
from dataops.errors import AccessDenied, Conflict
from dataops.governance.audit import verify_audit
from dataops.preparation import join_plan
from dataops.runs.explain import explain_job
from dataops.runs.ledger import State
from dataops.runs.lineage import read_events_of
from dataops.runs.quarantine import held_rows
from dataops.runs.replay import plan_replay
from tests.datasets.examples import open_one
from tests.governance.openlineage import require_openlineage
from tests.line.running import Line, standing_cluster
from tests.line.voyages import make_port
from tests.preparation.test_join import PARTED

FILE = "jobs/port.yaml"
JOBS = ("sailings", "loud", "newest", "by_port")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    folder = make_port(tmp_path_factory.mktemp("port") / "port")
    return Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))


@pytest.fixture(scope="module")
def runs(port: Line) -> dict[str, str]:
    """The run of each job."""
    return {job: port.run(job, file=FILE).state.run.id for job in JOBS}


@pytest.mark.parametrize("job", JOBS)
def test_output_can_be_verified(port: Line, runs: dict[str, str], job: str) -> None:
    assert runs[job]
    verified = verify_dataset(port.workspace.settings, port.workspace.store, job)
    assert not verified.findings
    assert verified.checks["rows in the input's footers"] == 720
    if job in ("loud", "by_port"):
        assert verified.checks["rows in the parts (made of them)"] == len(port.rows(job))


def test_run_tells_what_it_read_of_every_input(port: Line, runs: dict[str, str]) -> None:
    state = port.workspace.ledger.state(runs["sailings"])
    assert state.state is State.DONE
    counts = {name: read["counts"]["read"] for name, read in state.result["reads"].items()}
    assert counts == {"input": 720, "join:1:weather": 750, "join:2:ships": 33, "join:3:voyages": 720}
    assert not verify_audit(port.workspace.audit)


def test_same_work_is_not_done_again(port: Line, runs: dict[str, str]) -> None:
    outcome = port.run("sailings", file=FILE)
    assert outcome.skipped
    assert outcome.state.run.id == runs["sailings"]


def test_rows_that_go_by_key_come_to_the_same_bytes(port: Line, runs: dict[str, str]) -> None:
    with patch.multiple(join_plan, **PARTED):
        again = port.run("sailings", again=True, file=FILE).state.run.id
    assert port.parts("sailings", again) == port.parts("sailings", runs["sailings"])
    checked = [one for one in port.workspace.ledger.state(again).events if one["event"] == "exchange_checked"]
    assert len(checked) == 9


def test_lineage_names_each_input_and_where_columns_come_from(port: Line, runs: dict[str, str]) -> None:
    events = list(read_events_of(port.workspace.store, runs["sailings"]))
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    for event in events:
        require_openlineage(event)
    assert {one["name"] for one in events[-1]["inputs"]} == {"voyages", "weather", "ships"}
    (output,) = events[-1]["outputs"]
    fields = output["facets"]["columnLineage"]["fields"]
    assert _uses(fields["crew"]) == {("voyages", "crew", "IDENTITY")}
    assert _uses(fields["built"]) == {
        ("ships", "built", "IDENTITY"),
        ("ships", "name", "TRANSFORMATION"),
        ("voyages", "ship", "TRANSFORMATION"),
    }
    assert ("weather", "seen_at", "TRANSFORMATION") in _uses(fields["wind"])
    assert ("voyages", "crew", "AGGREGATION") in _uses(fields["mean_crew"])
    filters = {one["field"] for one in output["facets"]["columnLineage"]["dataset"]}
    assert filters == {"port", "crew", "voyage_id", "name"}  # by the policy's filter and the contracts' rules


def _uses(field: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (one["name"], one["field"], how["subtype"]) for one in field["inputFields"] for how in one["transformations"]
    }


def test_explain_says_what_would_be_made_and_how_rows_travel(port: Line) -> None:
    declared = find_job(port.folder / FILE, "sailings")
    told = explain_job(port.workspace, declared.job, source=declared.document.source)
    assert told["refused"] is None
    assert [one["input"] for one in told["inputs"]] == ["input", "join:1:weather", "join:2:ships", "join:3:voyages"]
    made = {one["column"]: one for one in told["output"]["columns"]}
    assert made["wind"]["made_of"] == ["weather.wind", "port", "sails_at"]
    assert made["built"]["classification"] == "pii.quasi+public"
    assert [one["buckets"] for one in told["output"]["joins"]] == [0, 0, 0]
    with patch.multiple(join_plan, **PARTED):
        parted = explain_job(port.workspace, declared.job, source=declared.document.source)
    assert [one["buckets"] for one in parted["output"]["joins"]] == [3, 3, 3]


def test_rows_that_were_set_aside_are_not_replayed_alone(port: Line, runs: dict[str, str]) -> None:
    held = next(one for one in held_rows(port.workspace, "voyages") if one.run == runs["newest"])
    with pytest.raises(Conflict, match="joined datasets"):
        plan_replay(port.workspace, held)


def test_what_restricts_a_joined_dataset_restricts_the_output(tmp_path: Path, cluster: Client) -> None:
    folder = make_port(tmp_path / "port")
    line = Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))
    line.run("sailings", file=FILE)
    assert open_one(line.workspace, "sailings", "train").units
    policy = folder / "policies/port.yaml"
    policy.write_text(
        policy.read_text() + "  - {id: old, effect: filter, roles: [data_science], purposes: [train],\n"
        "     zones: [historical], datasets: [ships], where: 'built < 1970'}\n"
    )
    with pytest.raises(AccessDenied):
        open_one(line.workspace, "sailings", "train")


@pytest.mark.faults
@pytest.mark.parametrize("workers", [1, 3])
def test_with_workers(port: Line, runs: dict[str, str], tmp_path: Path, workers: int) -> None:
    folder = make_port(tmp_path / "port")
    with standing_cluster(workers) as connection, patch.multiple(join_plan, **PARTED):
        line = Line(folder=folder, connection=connection)
        for job in ("sailings", "newest"):
            run = line.run(job, file=FILE).state.run.id
            assert line.parts(job, run) == port.parts(job, runs[job])


@pytest.mark.faults
def test_worker_that_is_killed_on_the_way_changes_nothing(port: Line, runs: dict[str, str], tmp_path: Path) -> None:
    folder = make_port(tmp_path / "port")
    killed: list[bool] = []
    with standing_cluster(2) as connection, patch.multiple(join_plan, **PARTED):
        line = Line(folder=folder, connection=connection)
        pid = next(iter(connection.client.run(os.getpid).values()))

        def kill() -> None:
            os.kill(pid, signal.SIGKILL)
            killed.append(read_snapshot(line.workspace.store, "sailings") is None)

        with _once(lambda: any(folder.rglob("exchange/read-3-*.json")), kill):
            run = line.run("sailings", file=FILE).state.run.id
    assert killed == [True]
    assert line.parts("sailings", run) == port.parts("sailings", runs["sailings"])
    assert not verify_dataset(line.workspace.settings, line.workspace.store, "sailings").findings


@contextmanager
def _once(holds: Callable[[], bool], deed: Callable[[], None]) -> Iterator[None]:
    """While entered, another thread does `deed` as soon as `holds`."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            if holds():
                deed()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_run_that_was_cut_off_goes_on(port: Line, runs: dict[str, str], tmp_path: Path) -> None:
    folder = make_port(tmp_path / "port")
    line = Line(folder=folder, connection=port.connection)
    with patch.multiple(join_plan, **PARTED):
        with patch("dataops.preparation.join.publish", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            line.run("sailings", file=FILE)
        (run,) = line.workspace.ledger.ids()
        left = sorted(folder.rglob("exchange/*"))
        assert left
        assert line.resume(run).state.state is State.DONE
    assert line.parts("sailings", run) == port.parts("sailings", runs["sailings"])
    assert not any(path.exists() for path in left)
