"""What the command line prints: tables for people, JSON for programs, errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

_CONTROL = {code: f"\\x{code:02x}" for code in [*range(0x20), *range(0x7F, 0xA0)] if code != ord("\n")}


def printable(text: object) -> str:
    """`text` without characters that a terminal would obey."""
    return str(text).translate(_CONTROL)


def print_json(value: Any) -> None:
    """`value` as indented JSON on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "nothing yet") -> None:
    """`rows` under `columns` on stdout, numbers to the right; `empty` where there are none."""
    if not rows:
        click.echo(empty)
        return
    cells = [[_cell(value) for value in row] for row in rows]
    right = [all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(columns))]
    widths = [max(len(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]

    def line(values: Sequence[str]) -> str:
        aligned = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return "  ".join(aligned).rstrip()

    click.echo(click.style(line(columns), bold=True) if sys.stdout.isatty() else line(columns))
    for values in cells:
        click.echo(line(values))


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, a line each, on stdout."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        first, *rest = printable(value).split("\n")
        click.echo(f"{name.ljust(width)}  {first}")
        for more in rest:
            click.echo(f"{'':{width}}  {more}")


def print_error(family: str, message: str, *, as_json: bool) -> None:
    """An error on stderr; as JSON on stdout too, where JSON was asked for."""
    if as_json:
        print_json({"error": {"family": family, "message": message}})
    click.echo(f"{click.style('error', fg='red') if sys.stderr.isatty() else 'error'}: {printable(message)}", err=True)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return printable(value)
