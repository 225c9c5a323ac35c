"""The documents of the project, and what tests look for in them: tables, examples, commands, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
REFERENCE = ROOT / "docs" / "reference"
_FOLDERS = ("docs", "examples", "benchmarks")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(page for folder in _FOLDERS for page in (ROOT / folder).rglob("*.md"))])

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: what stands behind its fence, and its text."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(language=found[1].strip(), text=found[2]) for found in _FENCE.finditer(page.read_text())]


def examples(page: Path, language: str = "yaml") -> list[str]:
    return [block.text for block in blocks(page) if block.language == language]


def without_blocks(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def section(page: Path, title: str) -> str:
    """The text below a heading of any level, up to the next heading."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {title!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows in `text`, heads and rules left out."""
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    ruled = {number for number, line in enumerate(lines) if set(line) <= set("| -")}
    kept = [line for number, line in enumerate(lines) if number not in ruled and number + 1 not in ruled]
    parted = (re.split(r"(?<!\\)\|", line.strip("|")) for line in kept)
    return [[cell.strip().replace("\\|", "|") for cell in cells] for cells in parted]


def spans(text: str) -> list[str]:
    """The code spans of `text`."""
    return re.findall(r"`([^`\n]+)`", text)


def commands(page: Path, program: str) -> Iterator[str]:
    """What a page types: lines of console blocks and code spans that begin with `program`."""
    lines = [
        part.strip().removeprefix("$ ")
        for block in blocks(page)
        if block.language in ("", "console", "sh", "bash", "text")
        for line in block.text.splitlines()
        for part in line.split("&&")
    ]
    for command in [*lines, *spans(without_blocks(page))]:
        if command.startswith(f"{program} "):
            yield command.partition("  #")[0]
