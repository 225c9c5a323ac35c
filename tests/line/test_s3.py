"""The whole line with its data, storage, registry and anchors on S3, on an embedded cluster, as people run it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from dataops.cli.main import main
from dataops.runs.execute import Outcome
from dataops.runs.ledger import State
from dataops.runs.promotion import promote_version
from dataops.storage.files import open_files
from tests.line.far import to_s3
from tests.line.people import JOBS, make_workspace
from tests.line.running import Line, standing_cluster
from tests.storage.s3_server import S3Server, environment

ONE_TRAINER = JOBS.replace("  - {trainer: xgboost, params: {rounds: 15, max_depth: 3}}\n", "")
NIGHTLY = """\
name: nightly
when: {every: 1h}
start: 2026-01-01
catch_up: last
steps:
  - {job: people_nightly, file: jobs/nightly.yaml}
"""
NIGHTLY_JOB = """\
name: people_nightly
job: prepare
input: people_old
labelled: "rich is not null"
split: {by: hash(person_id), test: 0.25}
output: people_nightly
"""
FILES = 2

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@dataclass(kw_only=True)
class Far:
    """A workspace whose data, storage, registry and anchors are on S3, its line run once."""

    s3: S3Server
    bucket: str
    line: Line
    outcomes: dict[str, Outcome]

    @property
    def folder(self) -> Path:
        return self.line.folder

    def type(self, *words: str) -> str:
        """What a command prints."""
        done = CliRunner().invoke(main, [*words, "-w", str(self.folder)], prog_name="dataops")
        assert done.exit_code == 0, (words, done.output, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Far]:
    folder = make_workspace(tmp_path_factory.mktemp("far") / "people", files=FILES)
    (folder / "jobs" / "people.yaml").write_text(ONE_TRAINER)
    shutil.copytree(folder, folder.with_name("near"))
    with environment(s3_server.endpoint):
        bucket = s3_server.make_bucket()
        to_s3(folder, s3_server, bucket)
        with standing_cluster(2) as connection:
            made = Far(s3=s3_server, bucket=bucket, line=Line(folder=folder, connection=connection), outcomes={})
            for job in ("people_ready", "wealth"):
                made.outcomes[job] = made.line.run(job)
            promote_version(made.line.workspace, "wealth", 1, reason="test")
            made.outcomes["people_scores"] = made.line.run("people_scores")
            yield made


def test_every_row_is_accounted_for_and_nothing_is_written_on_this_machine(far: Far) -> None:
    counts = far.outcomes["people_scores"].state.result["reads"]["input"]["counts"]
    assert counts["read"] == FILES * 400
    assert not {"storage", "registry", "anchors", "data"} & {path.name for path in far.folder.iterdir()}


def test_given_one_version_the_parts_have_the_bytes_that_a_disk_has(far: Far) -> None:
    near = far.folder.with_name("near")
    (near / "dataops.yaml").write_text(f"registry: s3://{far.bucket}/registry\n")
    shutil.copytree(far.folder / "keys", near / "keys", dirs_exist_ok=True)
    shutil.copy(far.folder / "signers.yaml", near / "signers.yaml")
    local = Line(folder=near, connection=far.line.connection)
    run = local.run("people_scores").state.run.id
    parts = local.parts("people_scores", run)
    records = far.line.records("people_scores", far.outcomes["people_scores"].state.run.id)
    assert len(parts) == len(records) == FILES
    files = open_files(f"s3://{far.bucket}/storage/datasets/people_scores")
    for unit, record in records.items():
        assert record.part is not None
        with files.open(record.part.path) as opened:
            assert opened.read() == parts[unit]


def test_what_is_proved_on_a_disk_is_proved_there(far: Far) -> None:
    audit = json.loads(far.type("audit", "verify", "--json"))
    assert audit["findings"] == []
    assert audit["records"] >= audit["signed"] >= 2 * len(far.outcomes)  # of each run an intent and a result
    verified = json.loads(far.type("dataset", "verify", "people_scores", "--json"))
    run = far.outcomes["people_scores"].state.run.id
    assert ([one["run"] for one in verified["runs"]], verified["findings"]) == ([run], [])
    assert verified["checks"]["rows in the input's footers"] == FILES * 400
    assert "people_old" in far.type("lineage", "show", "people_scores")
    garbage = json.loads(far.type("dataset", "gc", "--json"))
    assert (garbage["done"], garbage["totals"]["delete"]["files"]) == (False, 0)
    assert json.loads(far.type("status", "--json"))["needs_a_person"] is False
    assert run in far.type("job", "list")


def test_a_scheduler_script_runs_a_slot(far: Far) -> None:
    (far.folder / "schedules").mkdir(exist_ok=True)
    (far.folder / "schedules" / "nightly.yaml").write_text(NIGHTLY)
    (far.folder / "jobs" / "nightly.yaml").write_text(NIGHTLY_JOB)
    before = set(far.line.workspace.ledger.ids())
    far.type("schedule", "run", "--once")
    (run,) = set(far.line.workspace.ledger.ids()) - before
    found = far.line.workspace.ledger.state(run)
    assert (found.run.job, found.state) == ("people_nightly", State.DONE)
    assert "nightly" in far.type("schedule", "list")
