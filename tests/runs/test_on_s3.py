"""Jobs and verbs of a workspace on S3, without a cluster; with one in tests/line/test_s3.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dataops.cli.main import main
from dataops.errors import Storage
from dataops.models.predictor import BOOSTED
from dataops.registry.aliases import move
from dataops.registry.moves import MoveKind
from dataops.runs.execute import Outcome
from dataops.runs.ledger import State
from dataops.runtime import load
from dataops.storage import objects
from dataops.storage.files import open_files
from tests.line.far import to_s3
from tests.line.people import make_workspace
from tests.rescoring.examples import register
from tests.runs.offline import JOBS, SCORES, Offline
from tests.storage.s3_server import Request, S3Server, environment

FILES = 2


@dataclass(kw_only=True)
class Far:
    """A workspace in a bucket, whose scores were made once.

    Attributes
    ----------
    asked : what the first run asked of S3.
    """

    s3: S3Server
    bucket: str
    town: Offline
    outcome: Outcome
    asked: list[Request] = field(default_factory=list)

    def type(self, *words: str) -> Result:
        """What a command does."""
        return CliRunner().invoke(main, [*words, "-w", str(self.town.folder)], prog_name="dataops")

    def told(self, *words: str) -> Any:
        """What a command that goes well says as JSON."""
        done = self.type(*words, "--json")
        assert done.exit_code == 0, (words, done.output)
        return json.loads(done.stdout)

    def parts(self, run: str) -> dict[str, bytes]:
        """The bytes of a run's parts, by unit."""
        files = open_files(f"s3://{self.bucket}/storage/datasets/{SCORES}")
        found = {}
        for unit, record in self.town.line.records(SCORES, run).items():
            assert record.part is not None
            with files.open(record.part.path) as opened:
                found[unit] = opened.read()
        return found


def make_town(folder: Path, s3: S3Server) -> tuple[Offline, str]:
    make_workspace(folder, files=FILES)
    shutil.copytree(folder, folder.with_name("near"))
    bucket = s3.make_bucket()
    to_s3(folder, s3, bucket)
    town = Offline(folder=folder)
    register(town.workspace)
    town.change(JOBS, "wealth@champion", "wealth@1")
    return town, bucket


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Far]:
    with environment(s3_server.endpoint):
        town, bucket = make_town(tmp_path_factory.mktemp("far") / "town", s3_server)
        with s3_server.counting() as asked:
            outcome = town.run()
        yield Far(s3=s3_server, bucket=bucket, town=town, outcome=outcome, asked=asked)


def test_every_row_is_accounted_for_and_nothing_is_made_on_this_machine(far: Far) -> None:
    counts = far.outcome.state.result["reads"]["input"]["counts"]
    assert counts["read"] == FILES * 400
    verified = far.told("dataset", "verify", SCORES)
    assert (verified["findings"], verified["checks"]["rows in the input's footers"]) == ([], FILES * 400)
    assert far.town.findings() == ()
    assert not {"storage", "registry", "anchors", "data"} & {path.name for path in far.town.folder.iterdir()}


def test_given_one_version_the_parts_have_the_bytes_that_a_disk_has(far: Far) -> None:
    near = far.town.folder.with_name("near")
    for name in ("keys", "signers.yaml", "jobs"):
        source = far.town.folder / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, near / name, **({"dirs_exist_ok": True} if source.is_dir() else {}))
    (near / "dataops.yaml").write_text(f"registry: s3://{far.bucket}/registry\n")
    local = Offline(folder=near)
    run = local.run().state.run.id
    assert far.parts(far.outcome.state.run.id) == local.line.parts(SCORES, run)


def test_what_is_proved_of_a_disk_is_proved_of_a_bucket(far: Far) -> None:
    audit = far.told("audit", "verify")
    assert audit["findings"] == []
    assert audit["records"] >= audit["signed"] > 0
    assert "people_new" in json.dumps(far.told("lineage", "show", SCORES))
    garbage = far.told("dataset", "gc")
    assert (garbage["done"], garbage["totals"]["delete"]["files"]) == (False, 0)
    assert far.told("status")["needs_a_person"] is False
    assert far.outcome.state.run.id in json.dumps(far.told("job", "list"))


def test_work_that_is_done_is_not_done_again(far: Far) -> None:
    again = far.town.run()
    assert again.skipped
    assert again.report is None


def refusing_writes(*folders: str) -> Callable[[dict[str, Any]], tuple[str, str] | None]:
    """What an account is answered that may not write below these folders of the bucket."""

    def answer(asked: dict[str, Any]) -> tuple[str, str] | None:
        there = any(asked["PATH_INFO"].split("/")[2:3] == [folder] for folder in folders)
        writes = asked["REQUEST_METHOD"] in ("PUT", "DELETE") or "delete" in asked["QUERY_STRING"]
        return ("403 Forbidden", "AccessDenied") if writes and (there or not folders) else None

    return answer


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just begun: no store was tried out."""
    monkeypatch.setattr(objects, "_probed", set())


@pytest.mark.usefixtures("anew")
def test_a_rescore_needs_no_right_to_write_the_registry(far: Far) -> None:
    with far.s3.upsetting(refusing_writes("registry")), far.s3.counting() as asked:
        outcome = far.town.run(again=True)
    assert outcome.state.state is State.DONE
    asked_of_it = {method for method, path in asked if path.startswith(f"/{far.bucket}/registry/")}
    assert asked_of_it == {"GET"}


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize(
    "verb",
    [
        "model list", "model show wealth@1", "dataset list", f"dataset show {SCORES}", f"dataset verify {SCORES}",
        "job list", "job show RUN", "audit verify", f"lineage show {SCORES}", "status", "quarantine list",
    ],
)  # fmt: skip
def test_verbs_that_only_look_need_no_right_to_write_anywhere(far: Far, verb: str) -> None:
    with far.s3.upsetting(refusing_writes()):
        assert far.told(*verb.replace("RUN", far.outcome.state.run.id).split()) is not None


@pytest.mark.usefixtures("anew")
def test_who_may_not_write_the_registry_is_told_so_when_a_version_is_moved(far: Far) -> None:
    before = far.town.workspace.registry.store.list("")
    with far.s3.upsetting(refusing_writes("registry")):
        refused = far.type("model", "alias", "wealth@1", "beta", "--reason", "test")
    assert refused.exit_code == 10
    assert "AccessDenied; the account that runs this needs rights there" in " ".join(refused.stderr.split())
    assert far.town.workspace.registry.store.list("") == before


def test_a_report_is_written_where_somebody_says(far: Far, tmp_path: Path) -> None:
    run = far.outcome.state.run.id
    refused = far.type("job", "report", run)
    assert refused.exit_code == 2
    assert f"dataops job report {run} --standalone FILE" in " ".join(refused.stderr.split())
    assert far.type("job", "report", run, "--standalone", str(tmp_path / "page.html")).exit_code == 0
    assert SCORES in (tmp_path / "page.html").read_text()


def test_an_application_follows_promotions(far: Far) -> None:
    workspace = far.town.workspace

    def promote(version: int) -> None:
        move(
            workspace.registry, "wealth", "champion", version, actor="ana", reason="better",
            key=workspace.signing_key(), kind=MoveKind.PROMOTED,
        )  # fmt: skip

    promote(1)
    second = register(workspace, BOOSTED).version.version
    row = {"age": 40, "hours": 38.0, "trade": "smith"}
    trust = far.town.folder / "signers.yaml"
    with load(f"s3://{far.bucket}/registry", "wealth", trust=trust, every=None, app="shop") as handle:
        first = handle.predict([row])
        promote(second)
        handle.refresh()
        assert handle.serving.version.version == second
        assert list(handle.predict([row])) != list(first)
        assert "shop" in json.dumps(far.told("model", "deployed", "wealth"))


def test_nothing_is_submitted_unsigned_where_nobody_can_tell_whose_it_is(
    far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAOPS_SUBMITTING_KEYS", str(tmp_path / "none"))
    refused = far.type("job", "submit", "jobs/people.yaml", SCORES)
    assert refused.exit_code == 3
    assert "there is no key for submitting" in " ".join(refused.stderr.split())
    assert far.town.workspace.store.list("inbox") == []


def test_a_run_whose_storage_fails_leaves_nothing_that_counts_and_goes_on(far: Far) -> None:
    before = far.parts(far.outcome.state.run.id)
    failing = iter(range(1 << 20))

    def refuse(asked: dict[str, Any]) -> tuple[str, str] | None:
        of_a_unit = asked["REQUEST_METHOD"] == "PUT" and f"/datasets/{SCORES}/" in asked["PATH_INFO"]
        return ("403 Forbidden", "AccessDenied") if of_a_unit and next(failing) >= 1 else None

    with far.s3.upsetting(refuse), pytest.raises(Storage, match="AccessDenied"):
        far.town.run(again=True)
    died = far.town.runs()[-1]
    assert far.town.findings() == ()
    outcome = far.town.resume(died)
    assert far.parts(outcome.state.run.id) == before
    assert far.town.findings() == ()


def test_a_small_rescore_asks_for_little(far: Far) -> None:
    of_units = [path for _, path in far.asked if any(word in path for word in ("/data/", "/units/", "/quarantine/"))]
    assert len(of_units) <= FILES * 8, of_units
    assert len(far.asked) <= 130, far.asked
