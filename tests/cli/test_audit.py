"""``audit verify`` and ``audit show``: what was done to the audit, and who read what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataops.governance.audit import record_event, record_intent, record_result
from dataops.runs.audit import announced, sign_audit
from dataops.runs.workspace import open_workspace


@pytest.fixture
def audited(workspace: Path) -> Path:
    """A workspace with three readings and an event in its signed audit; the third reading has no result."""
    opened = open_workspace(str(workspace), {})
    for number, (person, dataset) in enumerate([("ada", "people_old"), ("bo", "people_new"), ("ada", "people_new")]):
        record_intent(
            opened.audit,
            run=f"run-{number}",
            principal=person,
            roles=["data_science"],
            purpose="train",
            dataset=dataset,
            snapshot="sha256:0",
            effect_digest="sha256:1",
            policy_digest="sha256:2",
        )
        if number < 2:
            record_result(
                opened.audit,
                run=f"run-{number}",
                dataset=dataset,
                outcome="done",
                counts={"read": 4000, "passed": 4000},
                receipts_root="sha256:3",
                purpose="train",
            )
    record_event(opened.audit, "expired", principal="ada", dataset="people_scores", rows=7)
    assert sign_audit(opened) is None
    return workspace


def records(folder: Path) -> list[Path]:
    return sorted((folder / "storage" / "audit").glob("*.json"))


class TestVerify:
    def test_an_empty_audit_is_whole(self, workspace, dataops):
        called = dataops("audit", "verify")
        assert called.code == 0
        assert "nothing was read yet" in called.out
        assert dataops("audit", "verify", "--json").json["warnings"] == []

    def test_an_open_reading_is_a_warning(self, audited, dataops):
        called = dataops("audit", "verify", "--json")
        assert called.code == 0
        assert (called.json["records"], called.json["signed"]) == (6, 6)
        assert [(one["kind"], one["number"]) for one in called.json["warnings"]] == [("open", 5)]
        assert "whole" in dataops("audit", "verify").out

    def test_what_was_altered_is_told_by_kind_and_number(self, audited, dataops):
        record = records(audited)[1]
        record.write_text(record.read_text().replace("done", "gone"))
        called = dataops("audit", "verify", "--json")
        assert called.code == 8
        assert [(one["kind"], one["number"]) for one in called.json["findings"]] == [("altered", 2)]
        assert called.json["records"] is None
        assert "the audit is not as it was written" in called.err
        text = dataops("audit", "verify")
        assert text.code == 8
        assert "altered: record 2 of audit was altered" in text.err
        assert "whole" not in text.out

    def test_an_end_that_was_cut_off_is_told_by_the_anchors(self, audited, dataops):
        for path in [*records(audited)[3:], *(audited / "storage/audit/checkpoints").iterdir()]:
            path.unlink()
        called = dataops("audit", "verify", "--json")
        assert called.code == 8
        assert [one["kind"] for one in called.json["findings"]] == ["truncated", "missing"]

    def test_records_that_nobody_signed_for_are_a_warning(self, audited, dataops):
        record_event(open_workspace(str(audited), {}).audit, "tested")
        called = dataops("audit", "verify", "--json")
        assert called.code == 0
        assert (called.json["records"], called.json["signed"]) == (7, 6)
        assert [one["kind"] for one in called.json["warnings"]] == ["open", "unsigned_tail"]

    def test_anchors_on_a_disk_that_is_away_are_a_warning(self, audited, dataops):
        (audited / "anchors").rename(audited / "away")
        called = dataops("audit", "verify", "--json")
        assert called.code == 0
        assert [one["kind"] for one in called.json["warnings"]] == ["unanchored", "open"]
        assert not (audited / "anchors").exists(), "who only looks makes nothing"

    def test_a_revoked_key_no_longer_vouches(self, audited, dataops):
        path = audited / "signers.yaml"
        path.write_text(path.read_text().replace("}", ", revoked: 2020-01-01}"))
        called = dataops("audit", "verify", "--json")
        assert called.code == 8
        assert [one["kind"] for one in called.json["findings"]] == ["revoked_signer"]
        path.write_text(path.read_text().replace("revoked: 2020-01-01", "revokd: 2020-01-01"))
        called = dataops("audit", "verify")
        assert called.code == 2
        assert "signers.yaml:" in called.err
        assert "revoked" in called.err


class TestShow:
    def numbers(self, dataops, *options: str) -> list[int]:
        return [one["number"] for one in dataops("audit", "show", "--json", *options).json]

    def test_an_empty_audit_says_so(self, workspace, dataops):
        assert dataops("audit", "show").out.strip() == "nothing was read yet"
        assert dataops("audit", "show", "--json").json == []
        assert dataops("audit", "show", "--person", "ada").out.strip() == "nothing"

    def test_lists_who_read_what_for_what_with_what_outcome(self, audited, dataops):
        out = dataops("audit", "show").out.splitlines()
        assert len(out) == 5
        assert out[0].split() == ["time", "person", "roles", "what", "about", "rows", "outcome", "run"]
        assert out[1].split()[2:] == [
            "ada",
            "data_science",
            "read",
            "to",
            "train",
            "people_old",
            "4,000",
            "done",
            "run-0",
        ]
        assert out[3].split()[2:] == ["ada", "data_science", "read", "to", "train", "people_new", "-", "open", "run-2"]
        assert out[4].split()[2:] == ["ada", "-", "expired", "people_scores", "7", "-", "-"]

    def test_a_promotion_is_a_line_that_says_of_which_version_and_what_came_of_it(self, workspace, dataops):
        opened = open_workspace(str(workspace), {})
        with (
            pytest.raises(KeyError),
            announced(opened, "model_promote", {"model": "income", "version": 2, "reason": "spring"}),
        ):
            raise KeyError
        with announced(opened, "model_rollback", {"model": "income", "alias": "champion"}):
            record_event(opened.audit, "key_rotated", principal="ada", kind="signing", key="signer-1")
        with announced(opened, "model_alias", {"model": "income", "alias": "spring", "version": 2, "reason": "x"}):
            pass
        rows = [" ".join(line.split()[3:]) for line in dataops("audit", "show").out.splitlines()[1:]]
        assert rows == [
            "- model promote income@2 - failed -",
            "- model rollback income@champion - done -",
            "- key rotated signer-1 - - -",
            "- model alias income@2 as spring - done -",
        ]

    def test_every_record_is_shown_where_events_are_asked_for(self, audited, dataops):
        out = dataops("audit", "show", "--events").out.splitlines()
        assert len(out) == 7
        assert out[0].split()[:3] == ["number", "event", "time"]
        assert out[2].split()[4:] == [
            "ada",
            "data_science",
            "read",
            "to",
            "train",
            "people_old",
            "4,000",
            "done",
            "run-0",
        ]
        assert [line.split()[0] for line in dataops("audit", "show", "--event", "result").out.splitlines()[1:]] == [
            "2", "4",
        ]  # fmt: skip

    def test_a_reading_is_shown_if_a_record_of_it_is_of_the_time(self, audited, dataops):
        assert len(dataops("audit", "show", "--since", "1h").out.splitlines()) == 5
        assert dataops("audit", "show", "--since", "2999-01-01").out == "nothing\n"

    @pytest.mark.parametrize(
        ("options", "numbers"),
        [
            ([], [1, 2, 3, 4, 5, 6]),
            (["--person", "bo"], [3, 4]),
            (["--dataset", "people_new"], [3, 4, 5]),
            (["--run", "run-0"], [1, 2]),
            (["--event", "result"], [2, 4]),
            (["--person", "ada", "--event", "intent"], [1, 5]),
            (["--since", "1h"], [1, 2, 3, 4, 5, 6]),
            (["--since", "2999-01-01"], []),
            (["--until", "2020-01-01"], []),
            (["--until", "2999-01-01T00:00:00Z", "--since", "7d"], [1, 2, 3, 4, 5, 6]),
        ],
    )
    def test_only_what_was_asked_for(self, audited, dataops, options, numbers):
        assert self.numbers(dataops, *options) == numbers

    def test_json_has_the_records_themselves(self, audited, dataops):
        (shown,) = dataops("audit", "show", "--event", "expired", "--json").json
        stored = json.loads(records(audited)[5].read_text())
        assert shown == {"number": 6, "written_at": stored["written_at"], **stored["body"]}

    @pytest.mark.parametrize("time", ["yesterday", "1.2.2026", "7w", "2026-01-31T12:00"])
    def test_a_time_that_is_none_is_refused(self, audited, dataops, time):
        called = dataops("audit", "show", "--since", time)
        assert called.code == 2
        assert "--since: expected a" in called.err
        assert called.out == ""

    def test_a_damaged_audit_is_not_shown_as_whole(self, audited, dataops):
        record = records(audited)[1]
        record.write_text(record.read_text().replace("done", "gone"))
        assert dataops("audit", "show").code == 8
