"""A run that ends leaves a signed checkpoint of the audit; one that can't be signed is said and undoes nothing."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from dataops.errors import Integrity
from dataops.governance.audit_chain import Kind
from dataops.runs import execute
from dataops.runs.audit import check_audit
from dataops.runs.ledger import State
from tests.line.running import Line


def _checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoints/*"))


def _kinds(town: Line) -> list[Kind]:
    return [one.kind for one in check_audit(town.workspace).findings]


def test_a_run_that_is_done_is_signed_for_in_both_places(town: Line) -> None:
    assert town.run("people_ready").state.state is State.DONE
    state = check_audit(town.workspace)
    assert (state.records, state.signed, state.findings) == (2, 2, ())
    assert _checkpoints(town.storage / "audit") == _checkpoints(town.folder / "anchors") == ["0000000002.json"]
    assert "note" not in town.said.getvalue()


def test_a_run_that_failed_is_signed_for_as_well(town: Line) -> None:
    with (
        patch.object(execute, "run_prepare", side_effect=Integrity("what went wrong")),
        pytest.raises(Integrity, match="what went wrong"),
    ):
        town.run("people_ready")
    state = check_audit(town.workspace)
    assert (state.records, state.signed, state.findings) == (2, 2, ())


def test_without_a_key_the_run_is_done_and_the_audit_says_what_is_unsigned(town: Line) -> None:
    next((town.folder / "keys").glob("signer-*")).unlink()
    assert town.run("people_ready").state.state is State.DONE
    assert "no checkpoint of the audit was signed: no signing key" in town.said.getvalue()
    assert "keys init" in town.said.getvalue()
    assert _kinds(town) == [Kind.UNSIGNED_TAIL]
    assert _checkpoints(town.storage / "audit") == []


def test_with_its_anchors_away_the_run_is_done_and_the_copy_is_missed(town: Line) -> None:
    (town.folder / "anchors").write_text("a file where a disk should be")
    assert town.run("people_ready").state.state is State.DONE
    assert "was not copied to the anchors" in town.said.getvalue()
    assert _kinds(town) == [Kind.UNANCHORED]
    assert check_audit(town.workspace).signed == 2


def test_an_audit_begun_anew_gets_no_signature(town: Line) -> None:
    town.run("people_ready")
    for path in [path for path in (town.storage / "audit").rglob("*") if path.is_file()]:
        path.unlink()
    town.run("people_ready", again=True)
    assert "record 2 of the audit is not the one that its checkpoint knows" in town.said.getvalue()
    assert _checkpoints(town.storage / "audit") == []
    assert _kinds(town) == [Kind.MISSING, Kind.FORKED]


def test_nothing_is_read_on_top_of_an_altered_record(town: Line) -> None:
    town.run("people_ready")
    last = town.storage / "audit/0000000002.json"
    last.write_text(last.read_text().replace("done", "gone"))
    with pytest.raises(Integrity, match="was altered"):
        town.run("people_ready", again=True)
    assert len(list((town.storage / "audit").glob("*.json"))) == 2
    assert _checkpoints(town.folder / "anchors") == ["0000000002.json"]
    assert _kinds(town) == [Kind.ALTERED, Kind.OPEN]
