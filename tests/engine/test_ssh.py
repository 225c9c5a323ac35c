"""Hosts by SSH, as far as that needs no server: the words of the command, what agents are told, what is refused."""

from __future__ import annotations

import pytest

from dataops.declarations.clusters import AddressFile, LocalFile, SshFile, read_cluster
from dataops.declarations.templates import template_folder
from dataops.engine.certs import new_certificates, only
from dataops.engine.profile import ALWAYS, dask_config
from dataops.engine.ssh import FORWARD_TRIES, _dashboard, command, common_order, start
from dataops.errors import Compute, InvalidInput
from dataops.records import now_utc


def ssh_file(**keys: object) -> SshFile:
    return SshFile.model_validate({"kind": "ssh", "hosts": ("node1", "node2"), **keys})


def test_what_logs_in_asks_nothing_and_trusts_no_unknown_host() -> None:
    words = command(ssh_file(), "node1")
    assert words[0] == "ssh"
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes"} <= set(words)
    assert words[-3:-1] == ["--", "node1"]
    assert words[-1].startswith("exec ")
    assert words[-1].endswith(" -m dataops.engine.agent")


def test_a_login_is_as_the_file_says() -> None:
    words = command(ssh_file(user="me", port=2222, key="/k/id", known_hosts="/k/known", python="/opt/a b/python"), "n")
    assert words[words.index("-l") + 1] == "me"
    assert words[words.index("-p") + 1] == "2222"
    assert words[words.index("-i") + 1] == "/k/id"
    assert 'UserKnownHostsFile="/k/known"' in words
    assert "exec '/opt/a b/python' -m dataops.engine.agent" in words


def test_short_cuts_leave_an_ssh_where_it_is() -> None:
    words = command(ssh_file(abandoned_seconds=80), "node1")
    assert {"ServerAliveInterval=10", "ServerAliveCountMax=8"} <= set(words)


def test_a_life_line_is_no_connection_that_others_share() -> None:
    """With ``ControlMaster auto`` in people's own settings an agent would end with the first `ssh` of theirs."""
    assert {"ControlMaster=no", "ControlPath=none"} <= set(command(ssh_file(), "node1"))


@pytest.mark.parametrize("ended", ["exec cat", "exit 255", "echo of a login; exec cat"])
def test_a_dashboard_is_shown_where_it_is_forwarded_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    tried: list[list[str]] = []

    def login(_: SshFile) -> list[str]:
        tried.append([])
        return ["sh", "-c", ended]

    monkeypatch.setattr("dataops.engine.ssh._login", login)
    with _dashboard(ssh_file(), "node1", 8787) as shown:
        assert str(shown).startswith("http://127.0.0.1:") == ("cat" in ended)
        assert "cat" in ended or "on node1, port 8787" in str(shown)
    assert len(tried) == (1 if "cat" in ended else FORWARD_TRIES)


def test_each_role_gets_its_own_certificate_and_no_other() -> None:
    certs = new_certificates(at=now_utc())
    assert set(only(certs, "worker")) == {"ca.pem", "worker.pem", "worker.key"}
    assert only({}, "worker") == {}


def test_values_of_the_environment_are_no_part_of_dasks_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of mine")
    order = common_order(ssh_file(environment=("SECRET",)))
    assert order["environment"] == {"SECRET": "of mine"}
    assert "of mine" not in str(order["config"])


def test_a_variable_that_is_not_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET", raising=False)
    with pytest.raises(InvalidInput, match="SECRET: not set here"):
        common_order(ssh_file(environment=("SECRET",)))


def test_without_ssh_nothing_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Compute, match="install an OpenSSH client"), start(ssh_file(), ssh_file().score):
        pass


def test_hosts_that_do_not_answer_are_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dataops.engine.ssh.command", lambda _, host: ["sh", "-c", f"echo {host} is away >&2; exit 255"]
    )
    with (
        pytest.raises(Compute, match="node1: node1 is away; node2: node2 is away"),
        start(ssh_file(), ssh_file().score),
    ):
        pass


def test_silence_is_loss_sooner_on_an_unreliable_network() -> None:
    reliable, unreliable = dask_config(ssh_file()), dask_config(ssh_file(network="unreliable"))
    key = "distributed.comm.timeouts.tcp"
    assert (reliable[key], unreliable[key]) == ("30s", "12s")
    assert dask_config(LocalFile()) == dict(ALWAYS)
    own = AddressFile(kind="address", address="tcp://127.0.0.1:1", config={key: "45s"})
    assert dask_config(own)[key] == "45s"


def test_files_that_are_shipped_leave_it_to_us_when_a_task_is_given_up() -> None:
    """`handing_out` finds the unit that kills workers by it, and `connect` says after how many."""
    files = sorted((template_folder() / "cluster").glob("*.yaml"))
    assert "local.yaml" in [path.name for path in files]
    assert [path.name for path in files if "distributed.scheduler.allowed-failures" in read_cluster(path).config] == []
