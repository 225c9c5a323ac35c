"""``dataops demo`` as a person sees it: the story, the files, the commands that it prints, a second run."""

from __future__ import annotations

import json
import re

import pytest

# the fixture runs the whole demo
pytestmark = pytest.mark.timeout(1500)


def test_the_story_is_told_step_by_step(census_demo):
    print(f"the demo took {census_demo.seconds:.0f} s")  # noqa: T201  # told, not asserted
    steps = [line.split()[0] for line in census_demo.said.splitlines() if re.search(r"\d s$", line)]
    assert steps == ["fetch", "workspace", "prepare", "train", "promote", "rescore"]
    assert "is champion now, generation 1" in census_demo.said


def test_every_row_is_accounted_for_and_some_are_in_quarantine(census_demo):
    lines = re.findall(r"([\d,]+) read = ([\d,]+) passed \+ ([\d,]+) filtered \+ ([\d,]+) quar", census_demo.said)
    assert len(lines) == 2
    for line in lines:
        read, passed, filtered, quarantined = (int(number.replace(",", "")) for number in line)
        assert read == passed + filtered + quarantined
        assert quarantined > 0
    assert list((census_demo.folder / "storage" / "quarantine").rglob("*.parquet"))


def test_the_report_is_where_it_says(census_demo):
    path = re.search(r"Report of the last run: (\S+)", census_demo.said)
    assert path is not None
    assert "income_scores" in (census_demo.here / path[1]).read_text()


def test_the_printed_commands_work_as_printed(census_demo):
    commands = [line.strip() for line in census_demo.said.partition("Look around:\n")[2].splitlines()]
    assert len(commands) == 5
    for command in commands:
        done = census_demo.type(command)
        assert done.returncode == 0, (command, done.stderr)
        assert done.stdout.strip(), command
        assert done.stderr == "", command


def test_a_second_run_does_nothing_and_says_so(census_demo):
    before = json.loads(census_demo.type("dataops job list -w demo --json").stdout)
    again = census_demo.type("dataops demo --quiet")
    assert again.returncode == 0, again.stderr
    assert "Nothing was left to do." in again.stdout
    assert again.stdout.count("done before: ") == 3
    assert "was champion already, generation 1" in again.stdout
    assert json.loads(census_demo.type("dataops job list -w demo --json").stdout) == before
    assert again.stderr == ""


def test_the_audit_is_whole(census_demo):
    verified = json.loads(census_demo.type("dataops audit verify -w demo --json").stdout)
    assert verified["findings"] == []
    assert verified["warnings"] == []
