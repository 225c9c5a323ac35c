"""Jobs that are submitted where storage and data lie on S3: signed by who asks, run as them by a script, watched from
outside; what isn't signed is never run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataops.cli.main import main
from dataops.errors import AccessDenied
from dataops.runs.workspace import open_workspace, os_user
from dataops.scheduling.inbox import CARRIER, open_inbox
from dataops.scheduling.submissions import SubmissionState
from tests.line.far import to_s3
from tests.line.people import make_workspace
from tests.storage.s3_server import S3Server, environment

JOB = """\
name: {name}
job: prepare
input: people_old
labelled: "rich is not null"
split: {{by: hash(person_id), test: 0.25}}
output: {name}
"""
ANA = "  ana:\n    roles: [data_science]\n    keys:\n      - {{id: {key}, public_key: {public_key}}}\n"

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@dataclass(kw_only=True)
class Far:
    """A workspace on S3 whose script runs as this account, which may read nothing; `ana` holds a key here."""

    s3: S3Server
    bucket: str
    folder: Path
    people: str

    def call(self, *words: str) -> Result:
        return CliRunner().invoke(main, [*words, "-w", str(self.folder)], prog_name="dataops")

    def type(self, *words: str) -> str:
        """What a command prints."""
        done = self.call(*words)
        assert done.exit_code == 0, (words, done.output, done.stderr)
        return done.stdout

    def submit(self, name: str) -> str:
        """The id of what ana submitted."""
        (self.folder / "jobs" / f"{name}.yaml").write_text(JOB.format(name=name))
        return str(json.loads(self.type("job", "submit", f"jobs/{name}.yaml", "--json"))["submission"])

    def shown(self, submission: str) -> dict[str, object]:
        return dict(json.loads(self.type("job", "show", submission, "--json")))

    def lies_there(self) -> list[str]:
        return open_inbox(open_workspace(str(self.folder)), read_only=True)._requests.names()

    def let(self, people: str) -> None:
        (self.folder / "principals.yaml").write_text(people)


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Far]:
    base = tmp_path_factory.mktemp("far")
    folder = make_workspace(base / "people", files=1)
    script = f"principals:\n  {os_user()}: {{roles: [{CARRIER}]}}\n"
    with environment(s3_server.endpoint), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAOPS_SUBMITTING_KEYS", str(base / "own"))
        bucket = s3_server.make_bucket()
        to_s3(folder, s3_server, bucket)
        made = Far(s3=s3_server, bucket=bucket, folder=folder, people=script)
        done = CliRunner().invoke(main, ["keys", "submitting", "--json"], prog_name="dataops")
        made.people += ANA.format(**json.loads(done.stdout))
        made.let(made.people)
        yield made


@pytest.fixture(autouse=True)
def listed(far: Far) -> Iterator[None]:
    yield
    far.let(far.people)
    far.type("schedule", "run", "--once", "--quiet")  # nothing of one test waits in the next


def test_a_submission_is_signed_run_as_who_signed_it_and_over(far: Far) -> None:
    submission = far.submit("first")
    request, name = far.lies_there()[-1], far.lies_there()[0]
    assert (request, name.split(".")[:2]) == (f"{submission}.json", [submission, "by"])
    assert far.shown(submission)["principal"] == "ana"
    secret = json.loads(next(Path(far.folder.parent, "own").iterdir()).read_bytes())["secret"]
    held = b"".join(
        open_inbox(open_workspace(str(far.folder)), read_only=True)._requests.get(one) for one in far.lies_there()
    )
    assert secret.encode() not in held
    far.type("schedule", "run", "--once", "--quiet")
    shown = far.shown(submission)
    assert (shown["state"], shown["principal"]) == ("done", "ana")
    assert far.lies_there() == []
    workspace = open_workspace(str(far.folder))
    told = [entry.body for entry in workspace.audit.entries() if entry.body.get("run") == submission]
    assert [(one["event"], one.get("principal")) for one in told] == [
        ("submission", os_user()),
        ("intent", "ana"),
        ("result", None),
    ]
    assert (told[0]["submitter"], told[0]["key"]) == ("ana", next(Path(far.folder.parent, "own").iterdir()).stem)
    assert told[1]["roles"] == ["data_science"]
    assert "first" in far.type("job", "list")
    assert "publish" in far.type("job", "logs", submission)


def test_who_waits_sees_it_through_and_gets_its_exit_code(far: Far) -> None:
    (far.folder / "jobs" / "second.yaml").write_text(JOB.format(name="second"))
    words = [
        sys.executable,
        "-m",
        "dataops.cli.main",
        "job",
        "submit",
        "jobs/second.yaml",
        "--wait",
        "-w",
        str(far.folder),
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        while waiting.poll() is None:
            far.type("schedule", "run", "--once", "--quiet")
        out, err = waiting.communicate()
    assert waiting.returncode == 0, err
    assert "dataset second, snapshot 1" in out
    assert "submitted as second-" in err
    assert "publish" in err


def test_who_asked_can_have_it_stopped(far: Far) -> None:
    submission = far.submit("third")
    assert "will not be begun" in far.type("job", "cancel", submission)
    far.type("schedule", "run", "--once", "--quiet")
    assert far.shown(submission)["state"] == SubmissionState.CANCELLED
    assert far.lies_there() == []
    assert open_workspace(str(far.folder)).ledger.find(submission) is None


def test_without_a_key_that_is_listed_nothing_is_put_there(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    (far.folder / "jobs" / "fourth.yaml").write_text(JOB.format(name="fourth"))
    far.let(far.people.split("  ana:")[0])
    refused = far.call("job", "submit", "jobs/fourth.yaml")
    assert refused.exit_code == AccessDenied.exit_code
    assert "principals.yaml lists no key" in refused.stderr
    monkeypatch.setenv("DATAOPS_SUBMITTING_KEYS", str(far.folder / "nowhere"))
    refused = far.call("job", "submit", "jobs/fourth.yaml")
    assert "`dataops keys submitting` makes one" in refused.stderr
    assert far.lies_there() == []


def test_what_somebody_puts_there_unsigned_or_whose_user_is_gone_is_never_run(far: Far) -> None:
    workspace = open_workspace(str(far.folder))
    submission = far.submit("fifth")
    kept = open_inbox(workspace, read_only=True)._asked(submission).request
    unsigned = replace(
        kept, id=f"{submission[:-6]}000000", inbox=f"s3://{far.bucket}/storage/inbox", principal=os_user()
    )
    far.s3.put_raw(f"{far.bucket}/storage/inbox/{unsigned.id}.json", unsigned.to_bytes())
    far.let(far.people.split("  ana:")[0])
    said = far.call("schedule", "run", "--once")
    assert said.exit_code == 0
    assert "what nobody can be told of lies in the inbox" in said.stderr
    for one in (submission, unsigned.id):
        assert workspace.ledger.find(one) is None
        assert far.shown(one)["state"] == "submitted"
    assert workspace.store.list(f"submissions/{submission}") == workspace.store.list(f"submissions/{unsigned.id}") == []
    far.let(far.people)
    far.type("job", "cancel", submission)  # her key is listed again: it would be run
