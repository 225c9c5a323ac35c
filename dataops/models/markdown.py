"""Text from elsewhere made safe inside a Markdown page: model cards and verdicts are read by people who trust them.

1. Whatever was not written in this package passes through `plain` before it stands on a page.
2. No text can leave its cell or its line, become a link, an image or HTML, or turn the reading direction. (It always
   stands after a label or in a cell, never where a line begins and a dash would start a list.)
3. A character that isn't shown is written as its code point, never left out: a page must not hide what a name holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# `_` stays as it is: inside words it is no markup, and column names are full of it.
_MARKUP = re.compile(r"([\\`*\[\]|~#!])")


def plain(text: object) -> str:
    """`text` on one line, with nothing in it that Markdown, HTML or a terminal would act upon."""
    line = " ".join(part for part in re.split(r"[ \t\r\n]+", str(text)) if part)
    shown = "".join(char if char.isprintable() else f"U+{ord(char):04X}" for char in line)
    return _MARKUP.sub(r"\\\1", shown).replace("&", "&amp;").replace("<", "&lt;")


def number(value: object) -> str:
    """A figure for a page: a count with its thousands apart, a float with six digits, ``n/a`` for none.

    Six, because a refusal must not read "0.9000, at least 0.9000".
    """
    if value is None:
        return "n/a"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return plain(value)
    return f"{value:,d}" if isinstance(value, int) else f"{value:.6g}"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; its cells are Markdown already (`plain` or `number`)."""
    lines = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]
