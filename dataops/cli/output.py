"""What the command line prints: results on stdout as tables or as one JSON document, errors on stderr.

1. Where JSON was asked for, stdout holds one JSON document and nothing else, also when the verb fails.
2. Nothing that a terminal would obey is printed, whatever a file or a name holds.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

from dataops.errors import DataopsError

RULE_COLUMNS = ("rule", "asks", "if broken", "tolerated")

_CONTROL = {code: f"\\x{code:02x}" for code in [*range(0x20), *range(0x7F, 0xA0)] if code != ord("\n")}


def printable(text: object) -> str:
    """`text` without characters that a terminal would obey."""
    return str(text).translate(_CONTROL)


def print_json(value: Any) -> None:
    """`value` as indented JSON on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    empty: str = "nothing yet",
    rare: Collection[str] = (),
) -> None:
    """`rows` under `columns` on stdout, numbers to the right; `empty` where there are none.

    Columns in `rare` are left out where they hold nothing in every row.
    """
    if not rows:
        click.echo(empty)
        return
    kept = [i for i, name in enumerate(columns) if name not in rare or any(row[i] is not None for row in rows)]
    columns, rows = [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]
    columns = [printable(name) for name in columns]
    cells = [[_cell(value).replace("\n", " ") for value in row] for row in rows]
    right = [all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    widths = [max(_width(line[i]) for line in [list(columns), *cells]) for i in range(len(columns))]

    def line(values: Sequence[str]) -> str:
        blanks = [" " * (width - _width(value)) for value, width in zip(values, widths, strict=True)]
        aligned = (b + v if r else v + b for v, b, r in zip(values, blanks, right, strict=True))
        return "  ".join(aligned).rstrip()

    click.echo(click.style(line(columns), bold=True) if sys.stdout.isatty() else line(columns))
    for values in cells:
        click.echo(line(values))


def print_note(note: str | None) -> None:
    """`note` on stderr: what was asked for is done, and something beside it went wrong; None: nothing did."""
    if note:
        click.echo(f"note: {printable(note)}", err=True)


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, a line each, on stdout."""
    names = {name: printable(name) for name in facts}
    width = max((_width(name) for name in names.values()), default=0)
    for name, value in facts.items():
        first, *rest = _cell(value).split("\n")
        click.echo(f"{names[name]}{' ' * (width - _width(names[name]))}  {first}")
        for more in rest:
            click.echo(f"{'':{width}}  {more}")


def print_error(family: str, message: str, *, as_json: bool, may_pass: bool = False) -> None:
    """An error on stderr; as JSON on stdout too, where JSON was asked for, which says so if it may pass by itself."""
    if as_json:
        print_json({"error": {"family": family, "message": message, **({"may_pass": True} if may_pass else {})}})
    click.echo(f"{click.style('error', fg='red') if sys.stderr.isatty() else 'error'}: {printable(message)}", err=True)


def end_with(error: DataopsError) -> None:
    """Ends the verb, whose result is printed already, with `error` on stderr and the exit code of its family."""
    print_error(type(error).__name__, str(error), as_json=False)
    click.get_current_context().exit(error.exit_code)


def headline(metrics: Mapping[str, Any], metric: str | None) -> str:
    """A version's figures in a line: `metric`, or each report's first, on each dataset; ``-`` where it is undefined."""
    figures = []
    for dataset, report in metrics.items():
        name = metric or next(iter(report["overall"]), "")
        value = report["overall"].get(name)
        figures.append(f"{name} {'-' if value is None else format(value, '.4f')} on {dataset}")
    return ", ".join(figures)


def spell_limit(max_rows: int | None, max_percent: float | None) -> str | None:
    """How many rows may break a rule before the run fails: ``5 rows``, ``1.5 percent``; None: any number."""
    if max_percent is not None:
        return f"{max_percent:.6g} percent"
    return None if max_rows is None else f"{max_rows:,} row{'' if max_rows == 1 else 's'}"


def spell_bytes(size_bytes: float) -> str:
    """A size for people: ``348 kB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:,.0f} {unit}" if unit == "bytes" or size_bytes >= 100 else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} TB"


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}"
    return printable(value)


def _width(text: str) -> int:
    """Columns that `text` takes in a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(bool(unicodedata.combining(character)) for character in text)
