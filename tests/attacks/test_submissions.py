"""Somebody puts things into the inbox to be taken for somebody else, to get at what only the script's account may open,
or to hold everybody up. Each is refused, runs nothing, and keeps no honest request waiting.

Users are those of files: where these are given away the tests need root, and each says so.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from distributed import Client

from dataops.cli.main import main
from dataops.datasets.snapshot import read_snapshot
from dataops.engine.connect import Connection
from dataops.errors import AccessDenied, DataopsError, Integrity, InvalidInput, NotFound
from dataops.runs.ledger import State
from dataops.runs.workspace import open_workspace, os_user
from dataops.scheduling.carrying_out import open_submission
from dataops.scheduling.inbox import CARRIER, open_inbox
from dataops.scheduling.intake import Intake, open_intake
from dataops.scheduling.lying import LOOKED_AT
from dataops.scheduling.requests import Request, Stop, new_stop_key
from dataops.scheduling.submissions import SubmissionState
from tests.attacks.test_hostile_names import SPOKEN
from tests.line.people import JOBS, make_workspace
from tests.line.running import Line

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OPS, ANA, MALLORY = os.getuid(), 4_000_001, 4_000_002
NAMES = {OPS: "ops", ANA: "ana", MALLORY: "mallory"}
PEOPLE = f"""\
principals:
  ops: {{roles: [{CARRIER}]}}
  ana: {{roles: [data_science]}}
  mallory: {{roles: [visitors]}}
"""
HERS, OTHER = "people_ready-20260131t120000-s00000a", "people_ready-20260131t120000-s00000b"
ONLY_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="gives files away")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("template") / "people", files=1)


@pytest.fixture
def folder(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace that the account `ops` runs, of which ana may read the data and mallory none."""
    folder = tmp_path / "people"
    shutil.copytree(template, folder)
    (folder / "principals.yaml").write_text(PEOPLE)
    known = pwd.getpwuid

    def named(uid: int) -> object:
        return SimpleNamespace(pw_name=NAMES[uid]) if uid in NAMES else known(uid)

    monkeypatch.setattr(pwd, "getpwuid", named)
    assert os_user() == "ops"
    return folder


@pytest.fixture
def intake(folder: Path) -> Intake:
    return open_intake(open_workspace(str(folder), {}))


def requests(folder: Path) -> Path:
    return folder / "storage" / "inbox"


def write(folder: Path, name: str, data: bytes, owner: int, mode: int = 0o644) -> Path:
    path = requests(folder) / name
    path.write_bytes(data)
    path.chmod(mode)
    os.chown(path, owner, -1)
    return path


def request(intake: Intake, **changed: object) -> Request:
    plain = Request(
        id=HERS,
        inbox=intake.place(),
        job="people_ready",
        text=JOBS,
        source="jobs/people.yaml",
        cluster=None,
        again=False,
        principal="ana",
        submitted_at=NOW,
    )
    return replace(plain, **changed)  # type: ignore[arg-type]


def put(folder: Path, intake: Intake, owner: int = ANA, **changed: object) -> Path:
    asked = request(intake, **changed)
    return write(folder, f"{asked.id}.json", asked.to_bytes(), owner)


def refused(intake: Intake, submission_id: str, family: str = "AccessDenied") -> str:
    """Why it was ended at the first look; nothing of it can be taken."""
    looked = intake.look(script="s1", now=NOW)
    assert submission_id not in [one.key for one in looked.waiting]
    (ended,) = [one for one in looked.ended if one.id == submission_id]
    assert ended.state is SubmissionState.FAILED
    assert ended.error is not None
    assert ended.error["family"] == family
    assert intake.take(submission_id, script="s1", now=NOW) is None
    with pytest.raises(DataopsError):
        intake.to_carry_out(submission_id)
    return ended.error["message"]


# Whose request it is


@ONLY_ROOT
def test_the_control_an_honest_request_is_its_owner_s(folder: Path, intake: Intake) -> None:
    put(folder, intake)
    (waiting,) = intake.look(script="s1", now=NOW).waiting
    assert (waiting.key, waiting.user) == (HERS, "ana")
    taken = intake.take(HERS, script="s1", now=NOW)
    assert taken is not None
    assert taken.principal == "ana"
    assert intake.to_carry_out(HERS).principal == "ana"


@ONLY_ROOT
@pytest.mark.parametrize("claimed", ["ana", "ops", "root", "", "ana ", "ANA", "\u0430na", f"uid {ANA}"])
def test_naming_another_principal(folder: Path, intake: Intake, claimed: str) -> None:
    put(folder, intake, MALLORY, principal=claimed)
    assert f"says that it is of '{claimed}', and 'mallory' wrote it" in refused(intake, HERS)


@ONLY_ROOT
def test_a_copy_is_its_maker_s(folder: Path, intake: Intake) -> None:
    hers = put(folder, intake)
    write(folder, f"{OTHER}.json", hers.read_bytes(), MALLORY)
    assert "moved, copied or linked" in refused(intake, OTHER)
    assert intake.state(HERS).principal == "ana"


def renamed(hers: Path, target: Path) -> None:
    hers.rename(target)


def linked(hers: Path, target: Path) -> None:
    target.hardlink_to(hers)


@ONLY_ROOT
@pytest.mark.parametrize("brought", [renamed, linked])
def test_a_request_under_another_id_keeps_its_owner_and_asks_for_nothing(
    folder: Path, intake: Intake, brought: Callable[[Path, Path], None]
) -> None:
    hers = put(folder, intake)
    brought(hers, requests(folder) / f"{OTHER}.json")
    assert f"says that it is {HERS}" in refused(intake, OTHER)


@ONLY_ROOT
@pytest.mark.parametrize("brought", [renamed, linked])
def test_a_request_from_another_workspace_s_inbox(
    folder: Path, template: Path, tmp_path: Path, intake: Intake, brought: Callable[[Path, Path], None]
) -> None:
    """There she asked for the same, under the policies of a playground."""
    playground = tmp_path / "playground"
    shutil.copytree(template, playground)
    (playground / "principals.yaml").write_text(PEOPLE)
    elsewhere = open_intake(open_workspace(str(playground), {}))
    brought(put(playground, elsewhere), requests(folder) / f"{HERS}.json")
    assert "put into another inbox" in refused(intake, HERS)


@ONLY_ROOT
@pytest.mark.parametrize("mode", [0o664, 0o666, 0o646])
def test_a_request_that_others_may_rewrite_is_nobody_s(folder: Path, intake: Intake, mode: int) -> None:
    put(folder, intake).chmod(mode)
    assert "nobody can tell who wrote it" in refused(intake, HERS, "Integrity")


@ONLY_ROOT
def test_a_request_of_a_user_without_a_name_is_of_no_principal(folder: Path, intake: Intake) -> None:
    put(folder, intake, 4_000_009)
    assert "'uid 4000009' wrote it" in refused(intake, HERS)
    put(folder, intake, 65_534, id=OTHER)
    assert "belongs to 'nobody'" in refused(intake, OTHER, "Integrity")


@ONLY_ROOT
def test_an_exchange_after_it_was_taken(folder: Path, intake: Intake) -> None:
    put(folder, intake)
    intake.take(HERS, script="s1", now=NOW)
    put(folder, intake, again=True)  # her own change, after the decision
    with pytest.raises(AccessDenied, match="not the one that was taken"):
        intake.to_carry_out(HERS)
    put(folder, intake, MALLORY, principal="mallory")
    with pytest.raises(AccessDenied, match="not the one that was taken"):
        intake.to_carry_out(HERS)
    put(folder, intake, MALLORY)
    with pytest.raises(AccessDenied, match="'mallory' wrote it"):
        intake.to_carry_out(HERS)
    put(folder, intake)
    assert intake.to_carry_out(HERS).principal == "ana"


@ONLY_ROOT
def test_a_link_to_her_request(folder: Path, intake: Intake, tmp_path: Path) -> None:
    put(folder, intake).rename(tmp_path / "hers.json")
    (requests(folder) / f"{HERS}.json").symlink_to(tmp_path / "hers.json")
    assert "symbolic link" in refused(intake, HERS, "InvalidInput")
    assert (tmp_path / "hers.json").exists()


# Who acts for whom


@ONLY_ROOT
def test_it_runs_as_its_owner_with_no_right_of_the_account_that_runs_it(folder: Path, intake: Intake) -> None:
    put(folder, intake)
    intake.take(HERS, script="s1", now=NOW)
    asked = open_submission(open_workspace(str(folder), {}), HERS)
    reader = asked.workspace.reader()
    assert (reader.principal, reader.roles) == ("ana", ("data_science",))
    told = [entry.body for entry in asked.workspace.audit.entries()]
    assert [(one["event"], one["principal"], one["submitter"], one["run"]) for one in told] == [
        ("submission", "ops", "ana", HERS)
    ]
    with pytest.raises(AccessDenied, match="'ana' has data_science"):  # also no role that she hasn't
        asked.workspace.require_steward("no")


@ONLY_ROOT
def test_who_may_read_nothing_reads_nothing_through_the_script(folder: Path, intake: Intake) -> None:
    (folder / "principals.yaml").write_text(PEOPLE.replace(f"[{CARRIER}]", f"[{CARRIER}, data_science, steward]"))
    put(folder, intake, MALLORY, principal="mallory")
    intake.take(HERS, script="s1", now=NOW)
    result = CliRunner().invoke(main, ["job", "run", "--submission", HERS, "--json", "-w", str(folder)])
    assert result.exit_code == 7, result.output
    assert "mallory" in result.output
    workspace = open_workspace(str(folder), {})
    assert workspace.ledger.ids() == []
    assert [entry.body["event"] for entry in workspace.audit.entries()] == ["submission"]
    assert not (folder / "storage" / "datasets" / "people_ready").exists()


@ONLY_ROOT
def test_a_right_that_was_taken_away_since_it_was_submitted(folder: Path, intake: Intake) -> None:
    put(folder, intake)
    intake.take(HERS, script="s1", now=NOW)
    (folder / "principals.yaml").write_text(PEOPLE.replace("ana: {roles: [data_science]}", "ana: {roles: []}"))
    workspace = open_workspace(str(folder), {})
    with pytest.raises(AccessDenied, match="'ana' has no role"):
        open_submission(workspace, HERS)
    assert list(workspace.audit.entries()) == []


@ONLY_ROOT
def test_an_account_without_the_role_carries_out_what_is_its_own_alone(folder: Path) -> None:
    (folder / "principals.yaml").write_text(PEOPLE.replace(f"[{CARRIER}]", "[data_science]"))
    workspace = open_workspace(str(folder), {})
    intake = open_intake(workspace)
    put(folder, intake)
    put(folder, intake, OPS, id=OTHER, principal="ops")
    looked = intake.look(script="s1", now=NOW)
    assert ([one.key for one in looked.waiting], looked.blocked) == ([OTHER], {"ana": 1})
    with pytest.raises(AccessDenied, match=f"'ops' may not carry out what 'ana' submitted.*'{CARRIER}'"):
        intake.take(HERS, script="s1", now=NOW)
    assert intake.state(HERS).state is SubmissionState.SUBMITTED
    open_intake(workspace)
    carrier = Intake(intake._requests, intake._store, account="ops", carriers=["ops"])
    carrier.take(HERS, script="s2", now=NOW)
    with pytest.raises(AccessDenied, match="may not carry out"):  # by hand, what another account's script took
        open_submission(workspace, HERS)


@ONLY_ROOT
def test_what_nobody_took_is_not_carried_out(folder: Path, intake: Intake) -> None:
    put(folder, intake)
    with pytest.raises(NotFound, match="no scheduler script has taken"):
        open_submission(open_workspace(str(folder), {}), HERS)


@ONLY_ROOT
def test_a_run_of_its_id_that_another_began_is_not_gone_on_with(
    folder: Path, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, intake)
    intake.take(HERS, script="s1", now=NOW)
    workspace = open_workspace(str(folder), {})
    begun = SimpleNamespace(run=SimpleNamespace(principal="mallory"), state=State.DONE)
    monkeypatch.setattr(type(workspace.ledger), "find", lambda *_: begun)
    with pytest.raises(AccessDenied, match="was begun by 'mallory', and 'ana' submitted it"):
        open_submission(workspace, HERS)


# What it leaves


@pytest.fixture
def line(folder: Path, cluster: Client) -> Line:
    return Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))


def ran(line: Line, submission_id: str, owner: int = ANA, **changed: object) -> Result:
    """What came of carrying out a submission, in this process."""
    intake = open_intake(line.workspace)
    put(line.folder, intake, owner, id=submission_id, principal=NAMES[owner], **changed)
    assert intake.take(submission_id, script="s1", now=NOW) is not None
    words = ["job", "run", "--submission", submission_id, "--quiet", "--json", "-w", str(line.folder)]
    with line._standing():
        return CliRunner().invoke(main, words)


TRAINS = """\
name: wealth
job: train
input: people_ready
target: rich
features: {numeric: {columns: [hours]}}
candidates: [{trainer: logistic}]
evaluate: {metrics: [roc_auc, log_loss]}
"""


@ONLY_ROOT
@pytest.mark.timeout(300)
def test_what_somebody_has_trained_names_them_is_unsigned_and_moves_nothing(line: Line) -> None:
    (line.folder / "principals.yaml").write_text(PEOPLE.replace(f"[{CARRIER}]", f"[{CARRIER}, data_science]"))
    line.run("people_ready")
    hers, its_own = "wealth-20260131t120000-s00000a", "wealth-20260131t120000-s00000b"
    done = ran(line, hers, job="wealth", text=TRAINS)
    assert done.exit_code == 0, done.output
    done = ran(line, its_own, OPS, job="wealth", text=TRAINS, again=True)
    assert done.exit_code == 0, done.output
    registry = line.workspace.registry
    told = [registry.read_manifest("wealth", number).lineage for number in registry.numbers("wealth")]
    assert [(one["run"], one.get("submitted_by")) for one in told] == [(hers, "ana"), (its_own, None)]
    assert registry.read("wealth", 2).signed_by
    with pytest.raises(Integrity, match="wealth@1 is not to be trusted: it is not signed"):
        registry.read("wealth", 1)
    signed = [key for key in registry.store.list("wealth") if "/signatures/" in key]
    assert [key.split("/")[2] for key in signed] == ["2"]
    assert [key for key in registry.store.list("wealth") if "/versions/" not in key and "alias" in key] == []


@ONLY_ROOT
@pytest.mark.timeout(300)
def test_nobody_replaces_what_others_read_by_submitting_a_job_of_its_name(line: Line) -> None:
    (line.folder / "principals.yaml").write_text(PEOPLE.replace("visitors", "data_science"))
    done = ran(line, HERS)
    assert done.exit_code == 0, done.output
    refused = ran(line, OTHER, MALLORY, text=JOBS.replace('where: "', "#"), again=True)
    assert refused.exit_code == 7, refused.output
    assert "'people_ready' was made by a run of 'ana', and 'mallory' submitted this" in refused.output
    workspace = line.workspace
    assert workspace.ledger.ids() == [HERS]
    snapshot = read_snapshot(workspace.store, "people_ready")
    assert snapshot is not None
    assert (snapshot.number, snapshot.manifests[-1].run) == (1, HERS)
    again = ran(line, f"{HERS[:-1]}c", again=True)  # her own she may
    assert again.exit_code == 0, again.output


# Stops


@ONLY_ROOT
@pytest.mark.parametrize("claimed", ["mallory", "ana", "ops"])
def test_somebody_else_s_stop_stops_nothing(folder: Path, intake: Intake, claimed: str) -> None:
    put(folder, intake)
    stop = Stop(id=HERS, inbox=intake.place(), principal=claimed, asked_at=NOW)
    write(folder, new_stop_key(HERS), stop.to_bytes(), MALLORY)
    write(folder, new_stop_key(HERS), b"", MALLORY)
    looked = intake.look(script="s1", now=NOW)
    assert ([one.key for one in looked.waiting], looked.ended) == ([HERS], ())
    assert intake.stop_asked(HERS) is None


@ONLY_ROOT
def test_her_stop_of_one_stops_no_other_and_hers_counts_among_a_thousand_of_others(
    folder: Path, intake: Intake
) -> None:
    put(folder, intake)
    put(folder, intake, id=OTHER)
    stop = Stop(id=HERS, inbox=intake.place(), principal="ana", asked_at=NOW)
    hers = write(folder, new_stop_key(HERS), stop.to_bytes(), ANA)
    (requests(folder) / new_stop_key(OTHER)).hardlink_to(hers)
    for _ in range(1000):
        write(folder, new_stop_key(HERS), b"{}", MALLORY)
    looked = intake.look(script="s1", now=NOW)
    assert [one.key for one in looked.waiting] == [OTHER]
    assert [(one.id, one.state, one.stop_asked_by) for one in looked.ended] == [
        (HERS, SubmissionState.CANCELLED, "ana")
    ]


@ONLY_ROOT
@pytest.mark.parametrize("was_taken", [False, True])
def test_any_account_with_the_role_stops_it_whichever_runs_the_script(
    folder: Path, intake: Intake, was_taken: bool
) -> None:
    (folder / "principals.yaml").write_text(PEOPLE.replace("[visitors]", f"[{CARRIER}]"))
    before, intake = intake, open_intake(open_workspace(str(folder), {}))
    put(folder, intake)
    if was_taken:
        intake.take(HERS, script="s1", now=NOW)
    stop = Stop(id=HERS, inbox=intake.place(), principal="mallory", asked_at=NOW)
    write(folder, new_stop_key(HERS), stop.to_bytes(), MALLORY)
    assert intake.stop_asked(HERS) == intake.state(HERS).stop_asked_by == "mallory"
    assert before.stop_asked(HERS) is None  # while the role wasn't there
    looked = intake.look(script="s1", now=NOW)
    found = looked.held if was_taken else looked.ended
    assert [(one.id, one.stop_asked_by) for one in found] == [(HERS, "mallory")]


@ONLY_ROOT
def test_who_may_not_stop_it_is_told_so(folder: Path, intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, intake)
    monkeypatch.setattr(os, "getuid", lambda: MALLORY)
    result = CliRunner().invoke(main, ["job", "cancel", HERS, "-w", str(folder)])
    assert result.exit_code == 7, result.output
    assert "is of 'ana', not of 'mallory'" in result.output
    assert [path.name for path in requests(folder).iterdir()] == [f"{HERS}.json"]


# What it could make the script's account open


@pytest.mark.parametrize(
    "cluster", ["/etc/passwd", "../evil.yaml", "evil", ".evil.yaml", "a/b.yaml", "\x00.yaml", "-w.yaml", "e\u202e.yaml"]
)
def test_a_cluster_file_of_one_s_own(folder: Path, intake: Intake, cluster: str) -> None:
    """Dask's configuration can name code to load, which would run as the script's account."""
    data = request(intake, cluster=cluster, principal="ops").to_bytes()
    (requests(folder) / f"{HERS}.json").write_bytes(data)
    assert "no cluster file of the workspace" in refused(intake, HERS, "InvalidInput")
    if cluster.isprintable() and "\x00" not in cluster:
        words = ["job", "submit", "jobs/people.yaml", "people_ready", f"--cluster={cluster}", "-w", str(folder)]
        (folder / "principals.yaml").write_text(PEOPLE.replace(CARRIER, "data_science"))
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 2, result.output
    assert list(requests(folder).iterdir()) == []


# What it could hold everybody up with


@pytest.fixture
def bomb(folder: Path, intake: Intake) -> Iterator[None]:
    """Folders in the inbox, so deep that nobody who goes down comes back."""
    deep = os.open(requests(folder), os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=deep)
        deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(deep)
    yield
    subprocess.run(["rm", "-rf", str(requests(folder) / "d")], check=True, timeout=100)


@ONLY_ROOT
@pytest.mark.timeout(240)
def test_a_flood_of_one_user_s_requests_and_stops_delays_nobody_else_s_by_a_look(folder: Path, intake: Intake) -> None:
    for number in range(3 * LOOKED_AT):
        name = f"people_ready-20260131t120000-sf{number:05x}"
        sound = request(intake, id=name, principal="mallory").to_bytes() if number % 2 else b"{}"
        write(folder, f"{name}.json", sound, MALLORY)
        write(folder, new_stop_key(HERS), b"{}", MALLORY)
        write(folder, new_stop_key(name), b"{}", ANA)
    put(folder, intake)
    put(folder, intake, id=OTHER)
    looked = intake.look(script="s1", now=NOW)
    assert [one.key for one in looked.waiting if one.user == "ana"] == [HERS, OTHER]
    assert len(looked.ended) == LOOKED_AT // 2
    assert looked.crowded == {"mallory": 2 * LOOKED_AT}


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("bomb")
def test_a_pipe_a_link_a_folder_a_bomb_of_folders_and_a_hundred_megabytes(folder: Path, intake: Intake) -> None:
    inbox = requests(folder)
    os.mkfifo(inbox / "people_ready-20260131t120000-s000001.json")
    (inbox / "people_ready-20260131t120000-s000002.json").symlink_to("/dev/zero")
    (inbox / "people_ready-20260131t120000-s000003.json").mkdir()
    with (inbox / "people_ready-20260131t120000-s000004.json").open("wb") as large:
        large.truncate(100 * 1024 * 1024)
    for number in range(300):
        (inbox / f"noise-{number}").write_bytes(b"x")
    put(folder, intake, OPS, principal="ops")
    looked = intake.look(script="s1", now=NOW)
    assert [one.key for one in looked.waiting] == [HERS]
    assert {one.id[-7:]: one.error and one.error["family"] for one in looked.ended} == {
        "s000002": "InvalidInput",
        "s000004": "Integrity",
    }
    assert looked.strange == 300
    assert intake.ids()[-1] == HERS
    again = intake.look(script="s1", now=NOW)
    assert ([one.key for one in again.waiting], again.ended) == ([HERS], ())


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
        "[" * 100_000,
        "name: people_ready\njob: !!python/object/apply:os.system [id]\n",
        "name: people_ready\njob: prepare\ninput: ${HOME}\noutput: x\n",
        "\x00",
        "",
    ],
    ids=lambda text: text[:20],
)
def test_hostile_text_fails_in_its_own_process_with_a_line(folder: Path, intake: Intake, text: str) -> None:
    (folder / "principals.yaml").write_text(PEOPLE.replace(CARRIER, f"{CARRIER}, data_science"))
    put(folder, intake, OPS, principal="ops", text=text)
    assert intake.take(HERS, script="s1", now=NOW) is not None
    result = CliRunner().invoke(main, ["job", "run", "--submission", HERS, "--json", "-w", str(folder)])
    assert result.exit_code == 2, result.output
    assert "jobs/people.yaml" in result.output
    assert not (folder / "storage" / "runs").exists()


@pytest.mark.parametrize("name", SPOKEN.values(), ids=SPOKEN)
def test_a_hostile_name_names_no_submission(name: str, folder: Path, intake: Intake) -> None:
    (folder / "principals.yaml").write_text(PEOPLE.replace(CARRIER, "data_science"))
    before = sorted(path for path in folder.rglob("*") if path.is_file())
    for verb in (
        ["job", "submit", "-w", str(folder), "--", "jobs/people.yaml", name],
        ["job", "submit", "-w", str(folder), "--", name],
        ["job", "cancel", "-w", str(folder), "--", name],
        ["job", "logs", "-w", str(folder), "--", name],
        ["job", "logs", "--follow", "-w", str(folder), "--", name],
        ["job", "show", "-w", str(folder), "--", name],
        ["job", "run", "-w", str(folder), f"--submission={name}"],
    ):
        result = CliRunner().invoke(main, verb)
        assert result.exit_code in (2, 3), (verb, result.output)
        assert "\x1b" not in result.output
        assert "a bug in dataops" not in result.output
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == before
    with pytest.raises((InvalidInput, NotFound)):
        open_inbox(open_workspace(str(folder), {})).state(name)
