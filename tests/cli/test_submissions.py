"""Jobs that are left with a scheduler script: submitted, watched, cancelled, and what each step says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from dataops.records import now_utc
from dataops.runs.log import Lines
from dataops.runs.workspace import open_workspace, os_user
from dataops.scheduling.beats import Heart
from dataops.scheduling.intake import Intake, open_intake

READY = ("jobs/people.yaml", "people_ready")
SCRIPT = "0123456789ab"


def intake_of(workspace: Path) -> Intake:
    return open_intake(open_workspace(str(workspace), {}))


def inbox_of(workspace: Path) -> list[str]:
    inbox = workspace / "storage" / "inbox"
    return sorted(path.name for path in inbox.iterdir()) if inbox.is_dir() else []


@pytest.fixture
def submitted(workspace: Path, dataops) -> str:
    """The id of a submission that waits."""
    return dataops("job", "submit", *READY, "--json").json["submission"]


def end(workspace: Path, submission: str, **fields: object) -> None:
    intake = intake_of(workspace)
    assert intake.take(submission, script=SCRIPT, now=now_utc())
    assert intake.started(submission, script=SCRIPT, now=now_utc())
    assert intake.ended(submission, script=SCRIPT, now=now_utc(), **fields)  # type: ignore[arg-type]


@contextmanager
def script(workspace: Path, carry_out: Callable[[Intake, str], None]) -> Iterator[None]:
    """A scheduler script that takes the first submission that comes and does this with it."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.01):
            intake = intake_of(workspace)
            for one in intake.look(script=SCRIPT, now=now_utc()).waiting:
                assert intake.take(one.key, script=SCRIPT, now=now_utc())
                carry_out(intake, one.key)
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_job_is_left_with_the_script_and_the_answer_says_that_none_ever_looked(workspace, dataops, left_behind):
    called = dataops("job", "submit", *READY)
    assert called.code == 0, called.err
    assert "none ever looked into this inbox: `dataops schedule run` starts one" in called.out
    (name,) = inbox_of(workspace)
    assert f"submission        {name.removesuffix('.json')}" in called.out
    assert f"by                {os_user()}" in called.out
    assert left_behind(workspace) == []


def test_the_answer_says_when_a_script_last_looked_and_whether_it_is_still_there(workspace, dataops):
    store = open_workspace(str(workspace), {}).store
    with Heart(store, account="ops", version="1") as heart:
        heart.came_round(polled_at=now_utc() - timedelta(seconds=1), holds=0)
        heart._put(ended=False)
        there = dataops("job", "submit", *READY)
        assert "as ops" in there.out
        assert "runs no more" not in there.out
        assert dataops("job", "submit", *READY, "--json").json["last_polled"] is not None
    gone = dataops("job", "submit", *READY)
    assert "and runs no more: `dataops schedule run` starts one" in gone.out


@pytest.mark.parametrize(
    ("text", "arguments", "code", "message"),
    [
        ("name: x\njob: prepare\ninput: people_old\nouput: x\n", (), 2, "bad.yaml:4: ouput: "),
        ("name: x\njob: prepare\ninput: people_old\noutput: x\n", ("y",), 3, "declares no job 'y'"),
        ("name: x\njob: prepare\ninput: people_old\noutput: x\nwhere: \"d = '${date}'\"\n", (), 2, "date"),
        ("name: x\njob: prepare\ninput: people_old\noutput: x\n", ("--cluster", "other.yaml"), 3, "other.yaml"),
        ("name: x\njob: prepare\ninput: people_old\noutput: x\n", ("--cluster", "cluster/local.yaml"), 2, "no cluster"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_at_once_and_nothing_is_submitted(
    workspace, dataops, text, arguments, code, message
):
    (workspace / "bad.yaml").write_text(text)
    called = dataops("job", "submit", "bad.yaml", *arguments)
    assert called.code == code
    assert message in called.err
    assert inbox_of(workspace) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "principals.yaml").write_text("principals: {}\n"), "has no role"),
        (lambda folder: (folder / "policies" / "people.yaml").unlink(), "people_old"),
    ],
)
def test_whom_the_policies_refuse_is_told_at_once(workspace, dataops, change, message):
    change(workspace)
    called = dataops("job", "submit", *READY)
    assert called.code == 7, called.err
    assert message in called.err
    assert inbox_of(workspace) == []


def test_what_cannot_be_told_yet_is_left_to_the_run(workspace, dataops):
    called = dataops("job", "submit", "jobs/people.yaml", "people_scores")  # no model yet, and no data made
    assert called.code == 0, called.err
    (workspace / "jobs" / "late.yaml").write_text("name: late\njob: prepare\ninput: not_yet\noutput: late\n")
    assert dataops("job", "submit", "jobs/late.yaml").code == 0
    assert len(inbox_of(workspace)) == 2


def test_a_submission_is_listed_and_shown_from_the_moment_that_it_is_there(workspace, dataops, submitted):
    assert f"{submitted}  -     submitted        -  {os_user()}" in dataops("job", "list").out
    assert dataops("job", "list", "--job", "other").out == "no runs yet: `dataops job run FILE`\n"
    shown = dataops("job", "show", submitted)
    assert "state       submitted" in shown.out
    assert "submitted   20" in shown.out
    told = dataops("job", "show", submitted, "--json").json
    assert (told["run"], told["state"], told["submission"]["principal"]) == (submitted, "submitted", os_user())
    assert dataops("job", "show", f"{submitted[:-1]}x").code == 3


@pytest.mark.usefixtures("on_the_session_s_cluster")
def test_its_process_runs_it_under_its_id_and_the_run_s_result_is_its_own(workspace, dataops, submitted):
    intake = intake_of(workspace)
    refused = dataops("job", "run", "--submission", submitted)
    assert (refused.code, "no scheduler script has taken" in refused.err) == (3, True)
    intake.take(submitted, script=SCRIPT, now=now_utc())
    intake.started(submitted, script=SCRIPT, now=now_utc())
    assert " running " in dataops("job", "list").out
    ran = dataops("job", "run", "--submission", submitted, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["run"] == submitted
    intake.ended(submitted, script=SCRIPT, now=now_utc(), exit_code=ran.code, answer=ran.json)
    shown = dataops("job", "show", submitted)
    assert f"taken       {now_utc():%Y}" in shown.out
    assert "made         dataset people_ready, snapshot 1" in shown.out
    events = [one["event"] for one in dataops("audit", "show", "--json").json]
    assert events[0] == "submission"
    assert dataops("audit", "verify").code == 0
    again = dataops("job", "submit", *READY, "--json").json["submission"]
    intake.take(again, script=SCRIPT, now=now_utc())
    skipped = dataops("job", "run", "--submission", again, "--json")
    intake.ended(again, script=SCRIPT, now=now_utc(), exit_code=0, answer=skipped.json)
    assert f"nothing changed since  run {submitted}" in dataops("job", "show", again).out
    assert dataops("job", "run", "--submission", again).code == 3
    assert inbox_of(workspace) == []


def test_to_wait_is_to_see_what_it_says_and_to_end_as_it_ends(workspace, dataops):
    said = {"error": {"family": "ContractViolation", "message": "400 rows broke the contract"}}

    def carry_out(intake: Intake, name: str) -> None:
        intake.started(name, script=SCRIPT, now=now_utc())
        lines = Lines(open_workspace(str(workspace), {}).store, name)
        lines.add("  prepare      1 of 2 units\x1b[2J")
        lines.write()
        intake.ended(name, script=SCRIPT, now=now_utc(), exit_code=6, answer=said)

    with script(workspace, carry_out):
        called = dataops("job", "submit", *READY, "--wait", "--json")
    assert called.code == 6
    assert called.json == said
    assert called.err.startswith("submitted as people_ready-")
    assert "  prepare      1 of 2 units\n" in called.err
    assert called.err.endswith("error: 400 rows broke the contract\n")


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"exit_code": -9}, 11, "signal 9"),
        ({"exit_code": 130, "stopped_by": "ana"}, 130, "was cancelled by ana"),
        ({"exit_code": 1}, 1, "exit code 1"),
        ({"exit_code": 0, "answer": {"run": "gone-20260131t120000-1a2b3c"}}, 0, ""),
    ],
)
def test_to_wait_ends_with_the_exit_code_of_the_run(workspace, dataops, fields, code, message):
    def carry_out(intake: Intake, name: str) -> None:
        intake.started(name, script=SCRIPT, now=now_utc())
        intake.ended(name, script=SCRIPT, now=now_utc(), **fields)

    with script(workspace, carry_out):
        called = dataops("job", "submit", *READY, "--wait", "--quiet")
    assert called.code == code, called.err
    assert message in called.err


def test_who_stops_waiting_leaves_the_job_and_is_told_so(workspace, dataops, monkeypatch):
    def interrupted(*_: object) -> Iterator[str]:
        yield "running"
        raise KeyboardInterrupt

    monkeypatch.setattr("dataops.scheduling.watching.watch", interrupted)
    called = dataops("job", "submit", *READY, "--wait")
    (name,) = inbox_of(workspace)
    submission = name.removesuffix(".json")
    assert called.code == 130
    assert f"{submission} goes on without you" in called.err
    assert f"dataops job cancel {submission}" in called.err
    assert intake_of(workspace).state(submission).stop_asked_by is None


def test_cancelling_says_what_becomes_of_one_that_waits(workspace, dataops, submitted):
    called = dataops("job", "cancel", submitted)
    assert called.code == 0
    assert called.out.startswith(f"{submitted} waits, and will not be begun\n")
    assert "`dataops schedule run` starts one" in called.out
    assert f"stop asked for  by {os_user()}" in dataops("job", "show", submitted).out
    assert "(it was asked for before)" in dataops("job", "cancel", submitted).out
    assert len(inbox_of(workspace)) == 2  # asked for once
    intake_of(workspace).look(script=SCRIPT, now=now_utc())
    assert " cancelled " in dataops("job", "list").out


def test_cancelling_says_what_becomes_of_one_that_runs_and_of_one_that_has_ended(workspace, dataops, submitted):
    intake = intake_of(workspace)
    intake.take(submitted, script=SCRIPT, now=now_utc())
    intake.started(submitted, script=SCRIPT, now=now_utc())
    running = dataops("job", "cancel", submitted, "--json").json
    assert (running["state"], running["asked"], running["stop_asked_by"]) == ("running", True, os_user())
    assert f"{submitted} is running, and is stopped when its script looks" in dataops("job", "cancel", submitted).out
    intake.ended(submitted, script=SCRIPT, now=now_utc(), exit_code=0)
    ended = dataops("job", "cancel", submitted)
    assert ended.code == 0
    assert ended.out == f"{submitted} has ended before: it is done, and stays so\n"
    assert inbox_of(workspace) == []


def test_logs_are_what_it_said_so_far_and_with_follow_to_its_end(workspace, dataops, submitted):
    nothing = dataops("job", "logs", submitted)
    assert (nothing.code, nothing.out, "has said nothing so far" in nothing.err) == (0, "", True)
    lines = Lines(open_workspace(str(workspace), {}).store, submitted)
    for text in ("one", "two\x07"):
        lines.add(text)
    lines.write()
    assert dataops("job", "logs", submitted).out == "one\ntwo\n"
    lines.add("three")
    lines.write()
    end(workspace, submitted, exit_code=0)
    assert dataops("job", "logs", submitted, "--follow").out == "one\ntwo\nthree\n"
    told = dataops("job", "logs", submitted, "--json").json
    assert [one["lines"] for one in told] == [["one", "two"], ["three"]]
    assert dataops("job", "logs", "people_ready-20260131t120000-1a2b3c").code == 3


def test_one_that_cannot_be_read_hides_no_other(workspace, dataops, submitted):
    other = dataops("job", "submit", *READY, "--json").json["submission"]
    end(workspace, submitted, exit_code=0)
    (workspace / "storage" / "submissions" / submitted / "0000000001.json").write_bytes(b"{}")
    listed = dataops("job", "list")
    assert other in listed.out
    assert f"note: {submitted} can't be read" in listed.err
    assert submitted not in listed.out


def test_who_may_only_look_sees_them_all(workspace, dataops, submitted, monkeypatch):
    """No probe, no folder, nothing is written to look at jobs."""
    monkeypatch.setattr("dataops.storage.objects.probe", lambda _: pytest.fail("looking must not write"))
    before = sorted(path for path in workspace.rglob("*") if path.is_file())
    for verb in (("list",), ("show", submitted), ("logs", submitted)):
        assert dataops("job", *verb).code == 0
    assert sorted(path for path in workspace.rglob("*") if path.is_file()) == before


def test_an_inbox_that_one_cannot_write_says_who_makes_it(workspace, dataops, monkeypatch):
    from dataops.errors import Storage

    def closed(*_: object, **__: object) -> None:
        raise Storage("writing probe failed: Permission denied")

    monkeypatch.setattr("dataops.storage.objects.probe", closed)
    called = dataops("job", "submit", *READY)
    assert called.code == 10
    assert "chmod 1777" in called.err


def test_on_a_disk_a_signature_counts_where_it_is_asked_for(
    workspace: Path, dataops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAOPS_SUBMITTING_KEYS", str(tmp_path / "own"))
    refused = dataops("job", "submit", *READY, "--sign")
    assert refused.code == 3
    assert "`dataops keys submitting` makes one" in refused.err
    key = dataops("keys", "submitting", "--json").json
    refused = dataops("job", "submit", *READY, "--sign")
    assert refused.code == 7
    assert "principals.yaml lists no key" in refused.err
    assert inbox_of(workspace) == []
    with (workspace / "principals.yaml").open("a") as people:
        line = f"{{id: {key['key']}, public_key: {key['public_key']}}}"
        people.write(f"  bo: {{roles: [data_science], keys: [{line}]}}\n")
    signed = dataops("job", "submit", *READY, "--sign", "--json").json
    unsigned = dataops("job", "submit", *READY, "--json").json
    assert (signed["principal"], unsigned["principal"]) == ("bo", os_user())
    looked = intake_of(workspace).look(script=SCRIPT, now=now_utc())
    assert [one.key for one in looked.waiting] == [unsigned["submission"]]
    assert looked.blocked == {"bo": 1}  # this account has no role for acting as others
    assert dataops("job", "cancel", signed["submission"]).code == 7
    assert dataops("job", "cancel", signed["submission"], "--sign").code == 0
    assert intake_of(workspace).stop_asked(signed["submission"]) == "bo"
