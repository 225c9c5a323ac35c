"""``keys``: made once, listed without a secret, rotated."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from dataops.declarations.signers import read_signers
from dataops.governance.keys import current_key_id
from dataops.governance.signing import current_signing_key
from dataops.runs.workspace import open_workspace

KINDS = ["pseudonym", "signing"]


def files(workspace: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (workspace / "keys").iterdir()}


def secrets_of(workspace: Path) -> list[str]:
    return [json.loads(data)["secret"] for data in files(workspace).values()]


def test_a_new_workspace_has_one_of_each_kind_and_trusts_its_signer(workspace, dataops):
    listed = dataops("keys", "list", "--json").json
    assert [(one["kind"], one["current"], one["here"], one["trusted"]) for one in listed] == [
        ("pseudonym", True, True, None),
        ("signing", True, True, "yes"),
    ]
    assert [one.id for one in read_signers(workspace)] == [current_signing_key(workspace / "keys")]


def test_init_makes_nothing_where_there_is_one_of_each(workspace, dataops):
    before = files(workspace)
    called = dataops("keys", "init")
    assert called.code == 4
    assert "`dataops keys list`" in called.err
    assert "rotate" not in called.err  # a new pseudonym key breaks joins with what there is
    assert files(workspace) == before


@pytest.mark.parametrize("kind", KINDS)
def test_init_makes_what_is_missing(workspace, dataops, kind):
    gone = next((workspace / "keys").glob("key-*" if kind == "pseudonym" else "signer-*"))
    gone.unlink()
    made = dataops("keys", "init", "--json").json["made"]
    assert list(made) == [kind]
    assert len(files(workspace)) == 2
    assert len(read_signers(workspace)) == (1 if kind == "pseudonym" else 2)


def test_init_makes_both_where_there_is_no_folder(workspace, dataops):
    (workspace / "keys").rename(workspace / "gone")
    (workspace / "signers.yaml").unlink()
    made = dataops("keys", "init", "--json").json["made"]
    assert list(made) == KINDS
    assert all(path.stat().st_mode & 0o077 == 0 for path in [workspace / "keys", *(workspace / "keys").iterdir()])
    assert [one.id for one in read_signers(workspace)] == [made["signing"]]


@pytest.mark.parametrize("kind", KINDS)
def test_rotation_makes_a_private_key_that_is_current_and_keeps_the_older(workspace, dataops, kind):
    before = files(workspace)
    made = dataops("keys", "rotate", "--kind", kind, "--json").json
    now = files(workspace)
    assert set(now) - set(before) == {f"{made['key']}.json"}
    assert before.items() <= now.items()
    assert (workspace / "keys" / f"{made['key']}.json").stat().st_mode & 0o077 == 0
    current = current_key_id if kind == "pseudonym" else current_signing_key
    assert current(workspace / "keys") == made["key"]


def test_a_rotated_signing_key_is_trusted_at_once_and_the_older_one_goes_on_being(workspace, dataops):
    dataops("keys", "rotate", "--kind", "pseudonym")  # its event is signed by the older key
    dataops("keys", "rotate", "--kind", "signing")  # and this one's by the newer
    assert len(list((workspace / "anchors/checkpoints").iterdir())) == 2
    called = dataops("audit", "verify", "--json")
    assert called.code == 0
    assert (called.json["signed"], called.json["warnings"]) == (2, [])
    shown = dataops("audit", "show", "--json").json
    assert [(one["event"], one["kind"]) for one in shown] == [("key_rotated", kind) for kind in KINDS]


def test_rotation_needs_a_key_and_a_kind(workspace, dataops):
    for path in (workspace / "keys").iterdir():
        path.unlink()
    called = dataops("keys", "rotate", "--kind", "signing")
    assert called.code == 3
    assert "keys init" in called.err
    assert dataops("keys", "rotate").code == 2
    assert files(workspace) == {}


def test_no_verb_prints_a_secret_and_no_other_file_holds_one(workspace, dataops):
    said = ""
    for call in (["rotate", "--kind", "signing"], ["rotate", "--kind", "pseudonym"], ["list"], ["init"]):
        for options in ([], ["--json"]):
            called = dataops("keys", *call, *options)
            said += called.out + called.err
    assert len(secrets_of(workspace)) == 6
    others = [path for path in workspace.rglob("*") if path.is_file() and path.parent.name != "keys"]
    held = said.encode() + b"".join(path.read_bytes() for path in others)
    for secret in secrets_of(workspace):
        assert secret[:16].encode() not in held
        assert bytes.fromhex(secret) not in held


def test_a_signers_file_that_is_wrong_is_told_before_a_key_is_made(workspace, dataops):
    (workspace / "signers.yaml").write_text("signer: []\n")
    before = files(workspace)
    called = dataops("keys", "rotate", "--kind", "signing")
    assert called.code == 2
    assert "signers" in called.err
    assert files(workspace) == before


def test_keys_that_others_may_open_are_told(workspace, dataops):
    (workspace / "keys").chmod(0o755)
    for verb in (["list"], ["rotate", "--kind", "signing"]):
        called = dataops("keys", *verb)
        assert called.code == 2
        assert "chmod 700" in called.err


def test_a_signer_of_somebody_else_and_a_key_that_nobody_lists_are_told_apart(workspace, dataops):
    listed = (workspace / "signers.yaml").read_text()
    (workspace / "signers.yaml").unlink()
    dataops("keys", "rotate", "--kind", "signing")
    text = (workspace / "signers.yaml").read_text() + listed.splitlines()[-1].replace("}", ", revoked: 2026-01-31}\n")
    (workspace / "signers.yaml").write_text(text)
    first = current_signing_key(workspace / "keys")
    (workspace / "keys" / f"{first}.json").unlink()
    facts = {one["id"]: one for one in dataops("keys", "list", "--json").json if one["kind"] == "signing"}
    assert [(one["here"], one["trusted"]) for one in facts.values()] == [
        (True, "revoked 2026-01-31 00:00"),
        (False, "yes"),
    ]
    assert open_workspace(str(workspace), {}).settings.keys in dataops("keys", "rotate", "--kind", "pseudonym").out


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own folder of keys for submitting."""
    monkeypatch.setenv("DATAOPS_SUBMITTING_KEYS", str(tmp_path / "own"))
    return tmp_path / "own"


def test_a_key_for_submitting_is_made_once_in_its_user_s_own_folder_and_shown_without_its_secret(
    workspace, dataops, own
):
    first, again = dataops("keys", "submitting"), dataops("keys", "submitting")
    (path,) = own.iterdir()
    secret = json.loads(path.read_bytes())["secret"]
    public = json.loads(path.read_bytes())["public_key"]
    assert first.out == again.out
    assert f"- {{id: {path.stem}, public_key: {public}}}" in first.out
    assert secret not in first.out + first.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(files(workspace)) == 2
    own.chmod(0o755)
    refused = dataops("keys", "submitting")
    assert refused.code == 2
    assert "may be opened by others" in refused.err


def test_a_new_key_for_submitting_is_used_once_it_is_listed(workspace, dataops, own):
    path = workspace / "principals.yaml"
    lines = path.read_text()
    old = dataops("keys", "submitting", "--json").json
    entry = "    keys:\n      - {{id: {key}, public_key: {public_key}}}\n"
    path.write_text(lines.replace("{roles: [", "\n    roles: [").replace("]}", "]") + entry.format(**old))
    new = dataops("keys", "submitting", "--new", "--json").json
    listed = [one for one in dataops("keys", "list", "--json").json if one["kind"] == "submitting"]
    assert [(one["id"], one["current"], one["here"], one["trusted"]) for one in listed] == [
        (old["key"], True, True, "yes"),
        (new["key"], False, True, "not listed"),
    ]
    with path.open("a") as file:
        file.write("      - {{id: {key}, public_key: {public_key}}}\n".format(**new))
    listed = [one for one in dataops("keys", "list", "--json").json if one["kind"] == "submitting"]
    assert [one["current"] for one in listed] == [False, True]
