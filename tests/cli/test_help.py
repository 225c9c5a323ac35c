"""Every verb explains itself, with examples that the command line itself takes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest

from dataops.cli.main import main

VERBS = {
    *("demo", "bench", "init", "status", "audit verify", "audit show"),
    *(f"keys {verb}" for verb in ("init", "list", "submitting", "rotate")),
    *(f"job {verb}" for verb in ("run", "list", "show", "resume", "report", "compare", "explain", "errors")),
    *(f"job {verb}" for verb in ("submit", "cancel", "logs")),
    *(f"dataset {verb}" for verb in ("add", "list", "show", "verify", "export", "expire", "gc")),
    *(f"contract {verb}" for verb in ("check", "diff")),
    *(f"schedule {verb}" for verb in ("run", "list", "plan", "backfill", "pause", "resume", "stop", "why")),
    *(f"policy {verb}" for verb in ("check", "explain")),
    *(f"cluster {verb}" for verb in ("certs", "check", "start", "status", "stop")),
    *(f"lineage {verb}" for verb in ("show", "export")),
    *(f"quarantine {verb}" for verb in ("list", "show", "replay")),
    *(
        f"model {verb}"
        for verb in ("list", "show", "champion", "promote", "history", "impact", "realised", "reproduce")
    ),
    *(f"model {verb}" for verb in ("rollback", "alias", "sign", "verify", "pin", "unpin", "gc", "deployed", "guard")),
}


def walk(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        here = f"{path} {name}".strip()
        if isinstance(command, click.Group):
            yield from walk(command, here)
        else:
            yield here, command


COMMANDS = dict(walk(main))


def test_the_verbs_are_those_that_are_promised():
    assert set(COMMANDS) == VERBS


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_verb_explains_itself_and_takes_json(verb, dataops):
    help_ = dataops(*verb.split(), "--help")
    assert help_.code == 0
    assert "Example" in help_.out
    assert "--json" in help_.out
    assert dataops(*verb.split(), "-h").out == help_.out


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_the_examples_of_a_verb_parse(verb):
    lines = [line.strip() for line in (COMMANDS[verb].help or "").splitlines()]
    calls = [call.strip() for line in lines if line.startswith("dataops ") for call in line.split("&&")]
    examples = [call for call in calls if call.startswith("dataops ")]
    assert any(example.startswith(f"dataops {verb}") for example in examples)
    for example in examples:
        arguments = shlex.split(example)[1:]
        name = next(known for known in COMMANDS if arguments[: known.count(" ") + 1] == known.split())
        COMMANDS[name].make_context(name, arguments[name.count(" ") + 1 :])


@pytest.mark.parametrize(
    "noun", ["", *sorted(name for name, one in main.commands.items() if isinstance(one, click.Group))]
)
def test_lists_of_verbs_say_each_in_one_whole_line(noun, dataops):
    listed = dataops(*noun.split(), "--help").out.partition("Commands:")[2]
    assert listed
    assert "..." not in listed


def test_every_family_of_errors_has_its_exit_code_in_the_help(dataops):
    from dataops.errors import DataopsError

    out = " ".join(dataops("--help").out.split())
    for family in DataopsError.__subclasses__():
        assert f" {family.exit_code} " in out
