"""``dataops model`` sign, verify, rollback, alias, champion --at, pin, unpin, gc; and what the audit knows of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dataops.records import now_utc
from dataops.registry.aliases import move
from dataops.registry.heartbeats import Heartbeat, heartbeat_key
from dataops.registry.moves import MoveKind
from dataops.registry.versions import Registry
from dataops.runs import models
from dataops.runs import workspace as workspace_module
from dataops.runs.keys import KeyKind, rotate_key
from dataops.runs.workspace import Workspace, open_workspace, os_user
from tests.line.people import give_roles
from tests.registry.examples import make_metrics, make_package

RULES = "model: wealth\nrules: [{metric: roc_auc, minimum: 0.8}]\n"
WHY = ("--reason", "because")


@pytest.fixture
def opened(workspace: Path) -> Workspace:
    """A workspace with four signed versions of the model wealth."""
    opened = open_workspace(str(workspace), {})
    for number in range(4):
        package = make_package("a", make_metrics(0.9 + number * 1e-9))
        opened.registry.register("wealth", package, at=now_utc(), key=opened.signing_key())
    (workspace / "jobs" / "promotion.yaml").write_text(RULES)
    return opened


@pytest.fixture
def promote(opened: Workspace) -> Callable[..., None]:
    def promote(*versions: int) -> None:
        for version in versions:
            move(
                opened.registry,
                "wealth",
                "champion",
                version,
                actor="ana",
                reason=f"to {version}",
                key=opened.signing_key(),
            )

    return promote


def audited(opened: Workspace, event: str) -> list[dict[str, Any]]:
    return [dict(one.body) for one in opened.audit.entries() if one.body["event"] == event]


def test_a_rollback_says_where_it_went_and_the_audit_knows_before_and_after(opened, promote, dataops):
    promote(1, 2)
    back = dataops("model", "rollback", "wealth", "--reason", "too many rejections", "--json")
    assert back.code == 0, back.err
    assert {name: back.json[name] for name in ("version", "kind", "before", "generation", "verdict", "signature")} == {
        "version": "wealth@1",
        "kind": "rolled_back",
        "before": "wealth@2",
        "generation": 3,
        "verdict": None,
        "signature": "good",
    }
    (before,), (after,) = audited(opened, "model_rollback"), audited(opened, "model_rollback_result")
    assert (before["principal"], before["reason"], before["model"]) == (os_user(), "too many rejections", "wealth")
    assert (after["version"], after["generation"], after["outcome"]) == (1, 3, "done")
    assert dataops("audit", "verify").code == 0
    assert "rolled_back" in dataops("model", "history", "wealth").out
    again = dataops("model", "rollback", "wealth", *WHY)
    assert again.code == 3
    assert "no other version was promoted before" in again.err
    assert audited(opened, "model_rollback_result")[-1]["outcome"] == "failed"


def test_who_was_champion_at_a_time(opened, promote, dataops):
    promote(1, 2)
    first, second = dataops("model", "history", "wealth", "--json").json
    assert dataops("model", "champion", "wealth", "--at", first["since"], "--json").json == first
    assert dataops("model", "champion", "wealth", "--at", "2099-01-01", "--json").json == second
    assert dataops("model", "champion", "wealth", "--json").json == second
    early = dataops("model", "champion", "wealth", "--at", "2020-01-31")
    assert early.code == 3
    assert "wealth had no champion by then" in early.err
    assert dataops("model", "champion", "wealth", "--at", "yesterday").code == 2


def test_any_other_alias_is_set_by_hand_and_the_champion_is_not(opened, dataops):
    done = dataops("model", "alias", "wealth@2", "challenger", *WHY, "--json")
    assert done.code == 0, done.err
    assert (done.json["alias"], done.json["version"], done.json["kind"], done.json["before"]) == (
        "challenger",
        "wealth@2",
        "set",
        None,
    )
    assert dataops("model", "alias", "wealth@3", "challenger", *WHY).out.splitlines()[0].split() == [
        "challenger",
        "moved",
        "from",
        "wealth@2",
    ]
    refused = dataops("model", "alias", "wealth@2", "champion", *WHY)
    assert refused.code == 2
    assert "`dataops model promote` moves it" in refused.err
    for reference, name, code in (("wealth@9", "shadow", 3), ("wealth@1", "3", 2), ("wealth@1", "../x", 2)):
        assert dataops("model", "alias", reference, name, *WHY).code == code
    assert sorted(path.name for path in (Path(opened.settings.registry) / "wealth/aliases").iterdir()) == ["challenger"]
    assert [one["alias"] for one in audited(opened, "model_alias")][:2] == ["challenger", "challenger"]


def test_what_nobody_signed_is_listed_as_such_refused_and_healed_by_signing(opened, promote, dataops):
    unsigned = Registry(opened.registry.store)
    unsigned.register("wealth", make_package("other"), at=now_utc())
    move(unsigned, "wealth", "champion", 5, actor="eve", reason="mine")
    listed = dataops("model", "list", "--json").json
    assert [one["fault"] and one["fault"].partition(":")[0] for one in listed] == [
        None,
        None,
        None,
        None,
        "wealth@5 is not to be trusted",
    ]
    assert listed[4]["aliases"] == ["champion"]
    assert "not usable" in dataops("model", "list").out
    for verb in ("champion", "show"):
        refused = dataops("model", verb, "wealth")
        assert refused.code == 8
        assert "it is not signed" in refused.err
        assert "`dataops model history wealth` shows who made it" in refused.err
    promoted = dataops("model", "promote", "wealth@5", *WHY)
    assert promoted.code == 8
    history = dataops("model", "history", "wealth")
    assert history.code == 0
    assert history.out.splitlines()[1].endswith("unsigned")
    moves = dataops("model", "history", "wealth", "--json").json
    blind = dataops("model", "sign", "wealth")
    assert blind.code == 8
    assert "`dataops model history wealth`" in blind.err
    assert audited(opened, "model_sign") == []
    assert dataops("model", "history", "wealth", "--json").json == moves
    healed = dataops("model", "sign", "wealth@5", "--json")
    assert healed.code == 0, healed.err
    assert (healed.json["version"], healed.json["vouched_for"]) == ("wealth@5", None)
    assert dataops("model", "champion", "wealth").code == 8
    assert dataops("model", "promote", "wealth@5", *WHY).code == 0
    assert dataops("model", "champion", "wealth", "--json").json["version"] == "wealth@5"
    assert dataops("model", "verify", "wealth").code == 0
    (said,) = audited(opened, "model_sign_result")
    assert (said["model"], said["version_digest"], said["outcome"]) == ("wealth", healed.json["digest"], "done")


def test_after_a_rotation_what_is_needed_is_signed_again_and_outlives_the_revocation(opened, dataops):
    assert dataops("model", "promote", "wealth@1", *WHY).code == 0
    old = opened.signing_key().key_id
    new = rotate_key(opened, KeyKind.SIGNING)
    for reference, vouched in (("wealth@2", None), ("wealth", {"alias": "champion", "generation": 2})):
        done = dataops("model", "sign", reference, "--json")
        assert done.code == 0, done.err
        assert (done.json["key"], done.json["vouched_for"]) == (new, vouched)
    again = dataops("model", "sign", "wealth", "--json")
    assert again.json["vouched_for"] == {"alias": "champion", "generation": 2}
    signers = opened.settings.workspace / "signers.yaml"
    lines = signers.read_text().splitlines()
    revoked = [line[:-1] + ", revoked: 2020-01-01}" if old in line else line for line in lines]
    signers.write_text("\n".join(revoked) + "\n")
    refused = dataops("model", "show", "wealth@3")
    assert refused.code == 8
    assert "was revoked by then" in refused.err
    assert dataops("model", "champion", "wealth", "--json").json["signed_by"] == new
    assert dataops("model", "verify").code == 8
    for reference in ("wealth@3", "wealth@4"):
        assert dataops("model", "sign", reference).code == 0
    whole = dataops("model", "verify", "--json")
    assert whole.code == 0
    assert whole.json["findings"] == []
    assert all("revoked" in one["message"] for one in whole.json["warnings"])
    assert dataops("model", "show", "wealth").out.startswith("# Model card")


def test_without_a_signing_key_nothing_is_signed_and_nothing_moves(opened, promote, dataops):
    promote(1, 2)
    for path in Path(opened.settings.keys).glob("signer-*.json"):
        path.unlink()
    assert dataops("model", "sign", "wealth@1").code == 3
    refused = dataops("model", "rollback", "wealth", *WHY)
    assert refused.code == 8
    assert "there is no signing key here" in refused.err
    assert len(dataops("model", "history", "wealth", "--json").json) == 2


def test_a_key_that_comes_with_the_environment_signs_and_is_not_handed_on(opened, promote, dataops, monkeypatch):
    promote(1, 2)
    (path,) = Path(opened.settings.keys).glob("signer-*.json")
    monkeypatch.setenv("DATAOPS_SIGNING_KEY", path.read_text())
    path.unlink()
    workspace_module.take_signing_key.cache_clear()
    try:
        back = dataops("model", "rollback", "wealth", *WHY, "--json")
        assert back.code == 0, back.err
        assert back.json["signed_by"] == path.stem
        assert "DATAOPS_SIGNING_KEY" not in os.environ
        assert dataops("model", "rollback", "wealth", *WHY).code == 3  # still signs; there is nothing to go back to
        assert dataops("audit", "verify", "--json").json["warnings"] == []
        workspace_module.take_signing_key.cache_clear()
        monkeypatch.setenv("DATAOPS_SIGNING_KEY", "rubbish")
        refused = dataops("model", "list")
        assert refused.code == 2
        assert "DATAOPS_SIGNING_KEY: expected the content of a signing key" in refused.err
        assert "rubbish" not in refused.err
        assert "DATAOPS_SIGNING_KEY" not in os.environ
        assert dataops("model", "list").code == 2  # it isn't done without from then on
    finally:
        workspace_module.take_signing_key.cache_clear()


def test_a_workspace_without_signers_asks_for_no_signatures(opened, dataops):
    (opened.settings.workspace / "signers.yaml").unlink()
    Registry(opened.registry.store).register("wealth", make_package("other"), at=now_utc())
    assert dataops("model", "show", "wealth@5").code == 0
    whole = dataops("model", "verify", "wealth@5", "--json")
    assert whole.code == 0
    assert whole.json["signatures"] == "not asked for: no signers.yaml"


def test_verify_names_every_damage_and_exits_with_8(opened, promote, dataops):
    promote(1)
    whole = dataops("model", "verify")
    assert whole.code == 0
    assert "whole: every byte is what was registered" in whole.out
    folder = Path(opened.settings.registry) / "wealth/versions"
    for number in (1, 3):
        path = folder / str(number) / "model.json"
        path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6"))
    broken = dataops("model", "verify", "--json")
    assert broken.code == 8
    assert [one["place"] for one in broken.json["findings"]] == ["wealth@1", "wealth@3"]
    assert "another SHA-256" in broken.err
    assert dataops("model", "verify", "wealth@2").code == 0
    assert dataops("model", "verify", "wealth@champion").code == 8
    for reference in ("wealth@9", "wealht", "wealth@shadow"):
        assert dataops("model", "verify", reference).code == 3


def test_pins_keep_and_gc_takes_what_nobody_needs_in_two_calls(opened, promote, dataops, monkeypatch):
    promote(1, 4)
    pinned = dataops("model", "pin", "wealth@2", "--reason", "the annual report", "--json")
    assert (pinned.json["version"], pinned.json["pinned"], pinned.json["by"]) == ("wealth@2", True, os_user())
    monkeypatch.setattr("dataops.records.now_utc", lambda: now_utc() + timedelta(days=10))
    call = ("model", "gc", "wealth", "--keep", "1", "--json")
    dry = dataops(*call)
    assert dry.code == 0, dry.err
    assert (dry.json["done"], dry.json["marked"]) == (False, [3])
    said = dataops("model", "gc", "wealth", "--keep", "1").out
    assert "wealth@3  would be marked, to be deleted after 7 days" in said
    assert said.endswith("Dry run: --yes does it.\n")
    assert dataops(*call, "--grace", "1m").code == 2
    refused = dataops(*call, "--yes")
    assert refused.code == 7
    assert not (Path(opened.settings.registry) / "wealth/tombstones").exists()
    give_roles(opened.settings.workspace, "data_science", "steward")
    monkeypatch.setattr("dataops.records.now_utc", now_utc)
    first = models.collect_versions(
        opened, "wealth", keep=1, grace=timedelta(days=7), at=now_utc() + timedelta(days=10), do=True
    )
    assert [one.version for one in first.collection.marked] == [3]
    late = dataops("model", "alias", "wealth@3", "shadow", *WHY)
    assert late.code == 5
    assert "to be deleted" in late.err
    done = models.collect_versions(
        opened, "wealth", keep=1, grace=timedelta(days=7), at=now_utc() + timedelta(days=20), do=True
    )
    assert [one.version for one in done.collection.deleted] == [3]
    gone = dataops("model", "show", "wealth@3")
    assert gone.code == 3
    assert "It was deleted at" in gone.err
    assert [one["version"] for one in dataops("model", "list", "--json").json] == ["wealth@1", "wealth@2", "wealth@4"]
    assert dataops("model", "verify").code == 0
    assert [one["deleted"] for one in audited(opened, "model_gc_result")] == [[], [3]]
    assert dataops("model", "unpin", "wealth@2", *WHY).code == 0
    assert dataops("model", "unpin", "wealth@2", *WHY).code == 3
    assert [one["event"] for one in (entry.body for entry in opened.audit.entries()) if "pin" in one["event"]] == [
        "model_pin",
        "model_pin_result",
        "model_unpin",
        "model_unpin_result",
        "model_unpin",
        "model_unpin_result",
    ]


def test_processes_that_are_silent_are_shown_with_for_how_long_and_go_in_the_end(opened, promote, dataops):
    promote(1)
    now, digest = now_utc(), opened.registry.find("wealth", 1).digest
    for number, age in enumerate((timedelta(0), timedelta(hours=5, minutes=7), timedelta(days=31, hours=1))):
        beat = Heartbeat(
            app="shop",
            host="web-1",
            process=f"{number:012x}",
            model="wealth",
            alias="champion",
            version=1,
            version_digest=digest,
            generation=1,
            since=now - age,
            at=now - age,
            every=60.0,
            error=None,
        )
        key = f"wealth/heartbeats/{heartbeat_key(beat.app, beat.host, beat.process, 1)}"
        assert opened.registry.store.put_if_absent(key, beat.to_bytes())
    shown = dataops("model", "deployed", "wealth").out
    assert "serves it" in shown
    assert "silent for 5 hours" in shown
    assert "silent for 31 days" in shown
    listed = dataops("model", "deployed", "wealth", "--json").json["applications"]
    assert [one["silent_seconds"] and one["silent_seconds"] // 3600 for one in listed] == [None, 5, 745]
    give_roles(opened.settings.workspace, "data_science", "steward")
    said = dataops("model", "gc", "wealth", "--keep", "4").out
    assert "1 heartbeats of processes that are silent for 30 days would be deleted\nDry run" in said
    done = dataops("model", "gc", "wealth", "--keep", "4", "--yes", "--json")
    assert (done.json["heartbeats"], done.json["deleted"]) == (1, [])
    assert "31 days" not in dataops("model", "deployed", "wealth").out
    assert audited(opened, "model_gc_result")[0]["heartbeats"] == 1


def test_a_run_that_is_not_done_keeps_the_version_that_it_scores_with(opened, promote, monkeypatch):
    promote(1)

    run = SimpleNamespace(
        model={"model": "wealth", "version": 2},
        challengers={"next": {"model": "wealth", "version": 3}, "other": {"model": "health", "version": 1}},
        created_at="2099-01-31T12:00:00.000000Z",
    )
    monkeypatch.setattr(type(opened.ledger), "ids", lambda _: ["r-1"])
    monkeypatch.setattr(type(opened.ledger), "state", lambda *_: SimpleNamespace(run=run, events=[], state="begun"))
    found = models.collect_versions(
        opened, "wealth", keep=1, grace=timedelta(days=1), at=now_utc() + timedelta(days=10), do=False
    )
    assert found.collection.kept == {
        1: "champion: points at it",
        2: "run r-1 uses it",
        3: "run r-1 uses it",
        4: "of the newest 1",
    }


def test_a_kind_of_move_is_shown_for_old_and_new(opened, promote, dataops):
    promote(1)
    move(
        opened.registry,
        "wealth",
        "champion",
        2,
        actor="ana",
        reason="by hand",
        kind=MoveKind.SET,
        key=opened.signing_key(),
    )
    lines = dataops("model", "history", "wealth").out.splitlines()
    assert lines[0].split() == ["generation", "version", "kind", "since", "by", "reason"]
    assert [line.split()[2] for line in lines[1:]] == ["promoted", "set"]
