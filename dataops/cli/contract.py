"""``dataops contract``: contracts checked against files, and against each other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import RULE_COLUMNS, end_with, print_facts, print_json, print_table, printable, spell_limit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataops.governance.contract import Contract

_COLOURS = {"breaking": "red", "tighter": "yellow", "looser": "yellow", "compatible": "green"}


@click.group()
def contract() -> None:
    """Check contracts, see what a change means."""


@contract.command()
@click.argument("file_or_dataset")
@workspace_option
@json_option
def check(file_or_dataset: str, *, workspace: str | None, as_json: bool) -> None:
    """Check a contract's file, or a dataset against its contract.

    A file is read and shown. Of a dataset, the footers of all files are held against its contract; no row is read.
    Exits with 2 where something doesn't fit, and says what, with file and line.

    \b
    Examples:
      dataops contract check contracts/census.yaml
      dataops contract check census --json
    """
    from pathlib import Path

    from dataops.datasets.catalog import read_contract
    from dataops.datasets.fitting import fit_dataset
    from dataops.errors import InvalidInput
    from dataops.runs.workspace import open_workspace

    if file_or_dataset.endswith((".yaml", ".yml")) or Path(file_or_dataset).is_file():
        _print_contract(read_contract(Path(file_or_dataset)), {"contract": file_or_dataset}, as_json=as_json)
        return
    fitted = fit_dataset(open_workspace(workspace).settings, file_or_dataset)
    about = {"dataset": file_or_dataset, "contract": str(fitted.path), "files": fitted.files, "rows": fitted.rows}
    _print_contract(fitted.contract, about, as_json=as_json, found=fitted.found, findings=fitted.findings)
    if fitted.findings:
        listed = "\n  ".join(fitted.findings)
        end_with(InvalidInput(f"dataset '{file_or_dataset}' and {fitted.path} don't fit together:\n  {listed}"))


def _print_contract(
    read: Contract,
    about: dict[str, Any],
    *,
    as_json: bool,
    found: Mapping[str, str] | None = None,
    findings: tuple[str, ...] = (),
) -> None:
    """`found` are the types in the files of a dataset, None of a contract alone."""
    from dataops.governance.rule_words import asked

    if as_json:
        types = {} if found is None else {"found_types": dict(found)}
        asks = {rule.id: asked(rule) for rule in read.rules}
        print_json({**about, "digest": read.digest, "findings": list(findings), **types, "asks": asks, **read.record()})
        return
    print_facts({**about, "name": read.name, "version": read.version})
    click.echo("")
    _print_columns(read, found)
    click.echo("")
    rules = [
        [rule.id, asked(rule), str(rule.action), spell_limit(rule.max_rows, rule.max_percent)] for rule in read.rules
    ]
    print_table(RULE_COLUMNS, rules, empty="no rules: every row passes", rare=("tolerated",))
    if not findings:
        click.echo("\nthe contract can be executed" if found is None else "\nthe files fit the contract")


def _print_columns(read: Contract, found: Mapping[str, str] | None) -> None:
    heads = ["column", "type", *([] if found is None else ["in the files"]), "classification", "stored as"]
    rows = [
        [
            column.name,
            str(column.record()["type"]),
            *([] if found is None else [found.get(column.name)]),
            column.classification,
            ".".join(column.stored) or None,
        ]
        for column in read.columns
    ]
    print_table(heads, rows, rare=("stored as",))


@contract.command()
@click.argument("old")
@click.argument("new")
@json_option
def diff(old: str, new: str, *, as_json: bool) -> None:
    """Say what changes for readers from contract file OLD to NEW.

    Each change is breaking, tighter, looser or compatible, with the reason. Exits with 5 if one is breaking.

    \b
    Example:
      dataops contract diff contracts/census.yaml contracts/census-2.yaml
    """
    from pathlib import Path

    from dataops.datasets.catalog import read_contract
    from dataops.errors import Conflict
    from dataops.governance.contract_diff import Effect, breaks_readers, changes

    found = changes(read_contract(Path(old)), read_contract(Path(new)))
    if as_json:
        print_json(
            {"old": old, "new": new, "breaks": breaks_readers(found), "changes": [one.record() for one in found]}
        )
    elif not found:
        click.echo("no difference: both do the same")
    for change in () if as_json else found:
        word = f"{change.effect:<10}"
        shown = click.style(word, fg=_COLOURS[change.effect]) if sys.stdout.isatty() else word
        click.echo(f"{shown}  {printable(f'{change.subject}: {change.what} ({change.reason})')}")
    if not as_json and any(one.effect == Effect.LOOSER and one.subject.startswith("rule ") for one in found):
        click.echo("rows in quarantine may pass under the new one: dataops quarantine replay DATASET")
    if breaks_readers(found):
        breaking = sum(change.effect == Effect.BREAKING for change in found)
        end_with(Conflict(f"{breaking} of {len(found)} changes break readers: give them time, or a second column"))
