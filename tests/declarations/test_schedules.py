from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.declarations.schedule_steps import DriftIf, FigureIf, Freeze, PromoteStep, kind_of, name_of
from dataops.declarations.schedules import (
    NOT_DIGESTED,
    CronWhen,
    Schedule,
    read_schedules,
    schedule_digest,
    schedule_from_record,
    schedule_record,
    when_digest,
)
from dataops.declarations.times import end_of, parse_moment
from dataops.errors import Format, InvalidInput
from dataops.records import canonical_bytes
from tests.scheduling.scheduled import at

NIGHTLY = """\
name: nightly
owner: flights team
when: {cron: "30 2 * * *", time_zone: America/New_York}
start: 2026-01-01T00:00:00Z
end: 2026-12-31
catch_up: {all: 10}
overlap: queue
deadline: 6h
jitter: 5m
retries: {times: 2, wait: 1m, at_most: 1h}
promise: 24h
on_failure: {command: [notify, --team, flights], webhook: "https://example.org/x"}
steps:
  - {job: scores, file: jobs/nightly.yaml}
  - {job: realised, file: jobs/nightly.yaml, if: {changed: scores}}
  - job: late
    file: jobs/nightly.yaml
    if: {figure: {job: realised, model: late, metric: roc_auc, below: 0.66, min_rows: 500}}
  - {job: late, file: jobs/nightly.yaml, if: {drift: {job: scores, psi: 0.25}}}
  - {challenge: late, if: {changed: late}}
  - {promote: late, cool_down: 3d, freeze: [{from: 2026-12-20, to: 2027-01-05}]}
  - {guard: late, job: realised, metric: roc_auc, minimum: 0.62, max_loss: 0.05, within: 7d, min_rows: 500}
  - {job: rescore_all, file: jobs/nightly.yaml, if: promoted}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "schedules").mkdir()
    return tmp_path


def read(workspace: Path, text: str = NIGHTLY) -> Schedule:
    (workspace / "schedules" / "nightly.yaml").write_text(text)
    found = read_schedules(workspace)
    assert not found.broken
    return found.schedules["nightly"].schedule


def declared(**keys: Any) -> Schedule:
    steps = [{"job": "a", "file": "jobs/a.yaml"}]
    return Schedule.model_validate({"name": "s", "when": {"every": "1h"}, "steps": steps, **keys})


def findings(workspace: Path, text: str) -> str:
    (workspace / "schedules" / "bad.yaml").write_text(text)
    return read_schedules(workspace).broken["schedules/bad.yaml"]


# What is read


def test_a_schedule_is_read_with_all_that_it_says(workspace: Path) -> None:
    schedule = read(workspace)
    assert isinstance(schedule.when, CronWhen)
    assert schedule.when.time_zone == "America/New_York"
    assert [kind_of(step) for step in schedule.steps] == ["job"] * 4 + ["challenge", "promote", "guard", "job"]
    assert [name_of(step) for step in schedule.steps[-4:]] == [
        "challenge:late",
        "promote:late",
        "guard:late",
        "rescore_all",
    ]
    assert isinstance(schedule.steps[2].condition, FigureIf)
    assert isinstance(schedule.steps[3].condition, DriftIf)
    assert schedule.steps[-1].condition == "promoted"
    promote = schedule.steps[5]
    assert isinstance(promote, PromoteStep)
    assert (promote.version, promote.rules) == ("challenger", "jobs/promotion.yaml")
    assert (schedule.starts_at, schedule.ends_at) == (at("00:00"), parse_moment("2026-12-31T23:59:59Z"))


def test_overlap_is_skip_by_the_clock_and_queue_for_occasions() -> None:
    assert declared().overlapping == "skip"
    assert declared(when={"snapshot": "flights"}).overlapping == "queue"
    assert declared(when={"promoted": "late"}, overlap="skip").overlapping == "skip"
    assert declared(when={"drift": {"job": "scores", "psi": 0.1}}).by_clock is False


def test_a_freeze_covers_its_last_day() -> None:
    freeze = Freeze.model_validate({"from": "2026-12-20", "to": "2027-01-05"})
    times = ["2026-12-19T23:59:59", "2026-12-20T00:00:00", "2027-01-05T23:59:59", "2027-01-06T00:00:00"]
    assert [freeze.covers(at(time)) for time in times] == [False, True, True, False]
    hours = Freeze.model_validate({"from": "2026-12-20T10:00:00+01:00", "to": "2026-12-20T10:30:00Z"})
    assert [hours.covers(at(f"2026-12-20T{time}")) for time in ("08:59:59", "09:00:00", "10:29:59", "10:30:00")] == [
        False,
        True,
        True,
        False,
    ]


def test_a_moment_has_a_zone_or_is_a_day_in_utc() -> None:
    assert parse_moment("2026-01-01T02:00+02:00") == at("00:00")
    assert (parse_moment("2026-01-01"), end_of("2026-01-01")) == (at("00:00"), at("02 00:00"))
    assert end_of("2026-01-01T00:00:00Z") == at("00:00")
    for text in (
        "2026-01-01T00:00:00",
        "2026-13-01",
        "20260101",
        "today",
        "2026-01-01T00:00:00.5Z",
        "0001-01-01T00:00+10:00",
    ):
        with pytest.raises(InvalidInput, match="expected a date"):
            parse_moment(text)


@pytest.mark.parametrize("text", ["9999-12-31", "9999-12-31T23:59:59Z", "3000-01-01", "1899-12-31"])
def test_a_moment_is_of_a_year_that_can_be_reckoned_with(text: str) -> None:
    with pytest.raises(InvalidInput, match="of the years 1900 to 2999"):
        parse_moment(text)
    assert end_of("2999-12-31").year == 3000


@pytest.mark.parametrize(
    "lines",
    [
        "when: {every: 1h}\nstart: 2026-01-01\nend: 9999-12-31\nsteps: [{job: a, file: jobs/a.yaml}]\n",
        "when: {every: 1h}\nend: 9999-12-31\nsteps: [{job: a, file: jobs/a.yaml}]\n",
        "when: {every: 1h}\nsteps: [{promote: late, freeze: [{from: 2026-12-20, to: 9999-12-31}]}]\n",
        "when: {every: 1h}\ndeadline: 999999999d\nsteps: [{job: a, file: jobs/a.yaml}]\n",
    ],
)
def test_times_beyond_reckoning_break_their_own_file_alone(workspace: Path, lines: str) -> None:
    (workspace / "schedules" / "a.yaml").write_text(NIGHTLY)
    (workspace / "schedules" / "b.yaml").write_text(f"name: far\n{lines}")
    found = read_schedules(workspace)
    assert list(found.schedules) == ["nightly"]
    assert list(found.broken) == ["schedules/b.yaml"]
    assert "expected" in found.broken["schedules/b.yaml"]
    assert "bug" not in found.broken["schedules/b.yaml"]


def test_a_bug_in_reading_a_file_breaks_that_file_alone_and_quotes_nothing(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Freeze) -> None:
        raise OverflowError("a value of the file")

    monkeypatch.setattr(Freeze, "check", fail)
    (workspace / "schedules" / "a.yaml").write_text(NIGHTLY)
    steps = "steps: [{job: a, file: jobs/a.yaml}]"
    (workspace / "schedules" / "b.yaml").write_text(f"name: other\nwhen: {{every: 1h}}\n{steps}\n")
    found = read_schedules(workspace)
    assert list(found.schedules) == ["other"]
    assert "a bug in dataops, please report it: OverflowError" in found.broken["schedules/a.yaml"]
    assert "a value" not in found.broken["schedules/a.yaml"]


def test_schedules_of_all_files_are_read_and_a_broken_file_fails_its_own_alone(workspace: Path) -> None:
    steps = "steps: [{job: a, file: jobs/a.yaml}]"
    (workspace / "schedules" / "a.yaml").write_text(
        f"name: one\nwhen: {{every: 1h}}\n{steps}\n---\nname: two\nwhen: {{snapshot: flights}}\n{steps}\n"
    )
    (workspace / "schedules" / "b.yml").write_text(f"name: three\nwhen: {{evry: 1h}}\n{steps}\n")
    (workspace / "schedules" / "c.yaml").write_text(f"name: one\nwhen: {{every: 2h}}\n{steps}\n")
    (workspace / "schedules" / "d.yaml").write_text("# none\n")
    (workspace / "schedules" / "e.txt").write_text("name: [")
    found = read_schedules(workspace)
    assert {name: one.file for name, one in found.schedules.items()} == {
        "one": "schedules/a.yaml",
        "two": "schedules/a.yaml",
    }
    assert set(found.broken) == {"schedules/b.yml", "schedules/c.yaml", "schedules/d.yaml"}
    assert "when.evry: unknown key. Did you mean 'every'?" in found.broken["schedules/b.yml"]
    assert "a schedule 'one' is already declared in" in found.broken["schedules/c.yaml"]
    assert "a.yaml:1" in found.broken["schedules/c.yaml"]
    assert "declares no schedule" in found.broken["schedules/d.yaml"]


def test_a_workspace_without_schedules_has_none(tmp_path: Path) -> None:
    found = read_schedules(tmp_path)
    assert (found.schedules, found.broken) == ({}, {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('when: {crom: "0 0 * * *"}', "when.crom: unknown key. Did you mean 'cron'?"),
        ('when: {cron: "0 0 * * * *"}', "expected five fields, minute hour day month weekday"),
        ('when: {cron: "61 0 * * *"}', "when.cron: '61 0 * * *' is no cron line: bad minute"),
        ('when: {cron: "0 0 31 2 *"}', "is no cron line: bad day-of-month"),
        ('when: {cron: "5-5/10 0 * * *"}', "'5-5/10' is a range of one: write '5'"),
        ('when: {cron: "0 0 * * *", time_zone: America/New_Yrk}', "Did you mean 'America/New_York'?"),
        ('when: {cron: "0 0 * * *", every: 6h}', "when.every: unknown key"),
        ("when: {every: 0h}", "when.every: expected a whole number and s, m, h or d"),
        ("when: {every: 6h, from: 2026-01-01T00:00:00}", "when.from: expected a date like"),
        ("when: {every: 6}", "when.every: expected text, found the number 6"),
        ("when: {drift: {job: a}}", "when.drift.psi: a required key is missing"),
        ("when: {snapshot: Flights}", "can't name a dataset"),
        ("catch_up: lst", "catch_up: expected 'none' or 'last' or 'all' or a mapping"),
        ("catch_up: {all: 0}", "catch_up.all: expected a number of at least 1"),
        ("overlap: que", "Did you mean 'queue'?"),
        ("deadline: 6 hours", "deadline: expected a whole number and s, m, h or d"),
        ("retries: {times: -1}", "retries.times: expected a number of at least 0"),
        ("retries: {tims: 1}", "retries.tims: unknown key. Did you mean 'times'?"),
        ("start: 2026-01-02\nend: 2026-01-01", "end: 2026-01-01 is not after start 2026-01-02: no slot would come"),
        ("jitter: 2h\ndeadline: 1h", "jitter: 2h is no shorter than the deadline of 1h: slots would be missed"),
        ("jitter: 60m\ndeadline: 1h", "jitter: 60m is no shorter than the deadline of 1h"),
        ("on_failure: {}", "on_failure: tells nobody: set command or webhook"),
        ("on_failure: {command: []}", "on_failure.command: expected a list of at least 1"),
        ('on_failure: {webhook: "https://ana:secret@example.org"}', "on_failure.webhook: holds credentials"),
        ('on_failure: {webhook: "ftp://example.org"}', "expected a URL that begins with https://"),
        ("paused: yes", "paused: expected true or false"),
        ("catch_up: all\noverlap: replace", "catch_up: replace lets nothing but the newest slot run"),
        ("when: {snapshot: flights}\ncatch_up: none", "catch_up: occasions that happened while no script ran"),
    ],
)
def test_a_key_that_means_nothing_is_refused_with_its_place(workspace: Path, line: str, message: str) -> None:
    when = "" if line.startswith("when") else "when: {every: 1h}\n"
    text = f"name: s\n{when}{line}\nsteps: [{{job: a, file: jobs/a.yaml}}]\n"
    said = findings(workspace, text)
    assert message in said
    assert "schedules/bad.yaml:" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{jb: a, file: a.yaml}", "steps[0].jb: unknown key. Did you mean 'job'?"),
        ("{job: a}", "steps[0].file: a required key is missing"),
        ("{job: a, file: /etc/passwd}", "steps[0].file: expected the path of a file below the workspace"),
        ("{job: a, file: ../a.yaml}", "steps[0].file: expected the path of a file below the workspace"),
        ("{gard: m, job: a, metric: roc_auc, minimum: 1}", "steps[0].gard: unknown key. Did you mean 'guard'?"),
        ("{guard: m, job: a, metric: roc_auc}", "steps[0]: guards nothing: set minimum, maximum or max_loss"),
        ("{guard: m, job: a, metric: roc_auk, minimum: 0}", "Did you mean 'roc_auc'?"),
        ("{guard: m, job: a, metric: rmse, minimum: 2, maximum: 1}", "any champion would be rolled back"),
        ("{promote: m, version: 01}", "steps[0].version: "),
        (
            "{promote: m, freeze: [{from: 2026-02-01, to: 2026-01-01}]}",
            "steps[0].freeze[0].to: 2026-01-01 is not after",
        ),
        ("{promote: m, cooldown: 3d}", "steps[0].cooldown: unknown key. Did you mean 'cool_down'?"),
        ("{challenge: m, alias: 3}", "steps[0].alias: expected text"),
        ("{job: a, file: a.yaml, if: promotd}", "steps[0].if: expected 'promoted' or 'refused'"),
        ("{job: a, file: a.yaml, if: {changed: a}}", "steps[0].if.changed: no earlier step runs job 'a'"),
        ("{job: a, file: a.yaml, if: {chnged: b}}", "steps[0].if.chnged: unknown key. Did you mean 'changed'?"),
        (
            "{job: a, file: a.yaml, if: {figure: {job: b, model: m, metric: roc_auc}}}",
            "steps[0].if.figure: set below or above, one of them",
        ),
        ("{job: a, file: --cluster=x.yaml}", "steps[0].file: begins with a dash"),
        ("{promote: m, rules: -r.yaml}", "steps[0].rules: begins with a dash"),
        ("{job: a, file: a.yaml, condition: promoted}", "steps[0].condition: unknown key"),
    ],
)
def test_a_step_that_means_nothing_is_refused_with_its_place(workspace: Path, step: str, message: str) -> None:
    said = findings(workspace, f"name: s\nwhen: {{every: 1h}}\nsteps:\n- {step}\n")
    assert message in said
    assert "bad.yaml:4: " in said


@pytest.mark.parametrize("word", ["rolled_back", "promoted", "refused"])
def test_a_condition_on_a_word_needs_a_step_that_can_have_done_it(workspace: Path, word: str) -> None:
    text = f"name: s\nwhen: {{every: 1h}}\nsteps:\n- {{challenge: m}}\n- {{job: a, file: a.yaml, if: {word}}}\n"
    said = "bad.yaml:5: steps[1].if: no earlier step promotes or guards a model: nothing can have been"
    assert f"{said} {word}" in findings(workspace, text)


# Records and digests


def test_a_schedule_comes_back_from_its_record(workspace: Path) -> None:
    for schedule in (read(workspace), declared(), declared(when={"drift": {"job": "a", "psi": 0.1}})):
        record = json.loads(canonical_bytes(schedule_record(schedule)))
        assert schedule_from_record(record) == schedule
        assert schedule_digest(schedule_from_record(record)) == schedule_digest(schedule)


@pytest.mark.parametrize("spoil", [{"later": 1}, {"steps": []}, {"when": {"sunrise": "here"}}])
def test_a_record_that_is_not_known_is_refused(spoil: dict[str, Any]) -> None:
    with pytest.raises(Format):
        schedule_from_record({**schedule_record(declared()), **spoil})


def test_the_digest_is_of_what_a_slot_does_and_when() -> None:
    one = declared()
    for same in (
        {"owner": "ana"},
        {"paused": True},
        {"promise": "1d"},
        {"on_failure": {"webhook": "https://example.org"}},
        {"catch_up": "last"},
        {"retries": {"times": 0}},
        {"when": {"every": "1h", "from": "1970-01-01"}},
    ):
        assert schedule_digest(declared(**same)) == schedule_digest(one), same
    others = [
        {"name": "t"},
        {"when": {"every": "2h"}},
        {"catch_up": "all"},
        {"overlap": "queue"},
        {"deadline": "1h"},
        {"jitter": "1m"},
        {"retries": {"times": 1}},
        {"start": "2026-01-01"},
        {"end": "2026-01-01"},
        {"steps": [{"job": "a", "file": "jobs/b.yaml"}]},
    ]
    digests = {schedule_digest(declared(**other)) for other in others}
    assert len(digests - {schedule_digest(one)}) == len(others)
    assert {key for other in others for key in other} | NOT_DIGESTED == set(Schedule.model_fields)


def test_the_digest_of_the_times_is_of_the_times_alone() -> None:
    one = when_digest(declared())
    assert when_digest(declared(name="t", catch_up="all", start="2026-01-01")) == one
    assert when_digest(declared(when={"every": "2h"})) != one


@given(st.text(max_size=30))
def test_no_text_for_a_cron_line_ends_otherwise_than_read_or_refused(text: str) -> None:
    try:
        line = CronWhen(cron=text).cron
    except ValueError:
        return
    assert len(line.split()) == 5


@given(st.lists(st.text("0123456789*/-,LW#SUNMONFRI ", max_size=8), min_size=5, max_size=5))
def test_no_fields_of_a_cron_line_end_otherwise_than_read_or_refused(fields: list[str]) -> None:
    try:
        CronWhen(cron=" ".join(fields))
    except ValueError:
        return


@pytest.mark.parametrize(
    "written",
    [
        "on_failure: https://example.org/canary",
        "on_failure:\n  webhook:https://example.org/canary",
        "on_failure: [HTTPS://example.org/canary]",
        "on_failure: {webhook:https://example.org/canary}",
        "https://example.org/canary: yes",
        "webhook: https://example.org/canary",
        "on_failure: {webhook: 'https://ana:canary@example.org'}",
        "on_failure: {webhook: 'https://[canary'}",
        "paused: https://example.org/canary",
    ],
)
def test_what_is_said_of_a_webhook_in_a_wrong_place_holds_no_url(tmp_path: Path, written: str) -> None:
    (tmp_path / "schedules").mkdir()
    minimal = "name: a\nwhen: {every: 1h}\nsteps: [{job: a, file: jobs/a.yaml}]\n"
    (tmp_path / "schedules" / "a.yaml").write_text(f"{minimal}{written}\n")
    (said,) = read_schedules(tmp_path).broken.values()
    assert "a.yaml:" in said
    assert "canary" not in said
