"""Mistyped verbs, options and arguments: exit 2 with the near match, as text and as JSON."""

from __future__ import annotations

import errno

import click
import pytest
from click.testing import CliRunner

from dataops.cli.main import Main, main
from dataops.errors import Conflict


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("jbo list", "No such command 'jbo'. Did you mean 'job'?"),
        ("job lsit", "No such command 'lsit'. (Did you mean one of: 'list', 'submit'?)"),
        ("job list --jsn", "'--json'"),
        ("--vresion", "Did you mean '--version'?"),
        ("job run", "FILE is missing"),
        ("model promote wealth@1", "--reason is missing"),
        ("policy explain people_old", "--purpose is missing: train, evaluate, score or benchmark\n"),
        ("job run jobs/people.yaml --workers 0", "--workers"),
        ("dataset add x y --zone future", "'historical', 'production'"),
        ("job run jobs/people.yaml --poll 0", "0.1<=x<=86400"),
        ("job run jobs/people.yaml --poll soon", "'soon' is not a valid number of seconds"),
    ],
)
def test_a_mistyped_call_says_what_was_meant_and_where_help_is(arguments, message, dataops, workspace, left_behind):
    called = dataops(*arguments.split())
    assert called.code == 2
    assert message in called.err
    assert "-h` explains it" in called.err
    assert called.out == ""
    assert left_behind(workspace) == []


def test_a_usage_error_is_json_where_json_was_asked_for(dataops):
    called = dataops("job", "list", "--wrokspace", "x", "--json")
    assert called.code == 2
    assert called.json["error"]["family"] == "Usage"
    assert "--workspace" in called.json["error"]["message"]


def test_a_noun_alone_shows_its_verbs(dataops):
    called = dataops("job")
    assert called.code == 2
    assert "explain" in called.err


def breaking(error: BaseException) -> Main:
    @click.command()
    @click.option("--json", is_flag=True)
    def verb(*, json: bool) -> None:
        raise error

    return Main(commands={"verb": verb})


@pytest.mark.parametrize(
    ("error", "code", "family", "message"),
    [
        (Conflict("somebody else"), 5, "Conflict", "somebody else"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/part"), 10, "Storage", "/data/part: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/data"), 10, "Storage", "/data: Permission denied"),
        (KeyboardInterrupt(), 130, "Interrupted", "stopped"),
        (ValueError("secret-value"), 1, "Unexpected", "ValueError"),
    ],
)
def test_whatever_is_raised_ends_in_a_message(error, code, family, message):
    called = CliRunner().invoke(breaking(error), ["verb", "--json"])
    assert called.exit_code == code
    assert family in called.stdout
    assert message in called.stderr
    assert "secret-value" not in called.output
    assert "Traceback" not in called.output


def test_what_was_noted_on_an_error_is_said():
    error = Conflict("no")
    error.add_note("go on like this")
    assert "go on like this" in CliRunner().invoke(breaking(error), ["verb"]).stderr


def test_errors_are_messages_also_below_another_program():
    @click.group()
    def dask() -> None:
        pass

    dask.add_command(main, "dataops")
    called = CliRunner().invoke(dask, ["dataops", "job", "list", "-w", "/nowhere/at/all"])
    assert called.exit_code == 3
    assert "is no workspace" in called.stderr
