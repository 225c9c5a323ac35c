"""Numbers, times and names as people read them.

1. Every number is written the same way everywhere: thousands separators, as many digits as tell something.
2. Names come from users. `visible` shows what would steer how the text around it is read; `plain` also breaks up what
   bokeh would typeset as a formula, with a typesetter that we don't carry: ``$$ $$``, ``\\[ \\]``, ``\\( \\)``.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from decimal import ROUND_UP, Decimal

LONGEST_LABEL = 34
_HARMLESS = "\n\u200c\u200d"  # the joiners are part of how some scripts and signs are written
_WORD_JOINER = "\u2060"  # not seen, and not a place to break a line


def count(number: float) -> str:
    """``1,234,567``."""
    return f"{number:,.0f}"


def short_count(number: int) -> str:
    """A count that fits above a bar: exact below a million, else ``1.2M`` or ``3.4G``."""
    if number < 1_000_000:
        return count(number)
    return f"{number / 1e6:.1f}M" if number < 1_000_000_000 else f"{number / 1e9:,.1f}G"


def percent(part: float, whole: float) -> str:
    """``12.3%``; what is neither nothing nor all never reads ``0%`` or ``100%``."""
    share = 100 * part / whole if whole else 0.0
    if part in (0, whole):
        return f"{share:.0f}%"
    if share < 0.01:
        return "< 0.01%"
    if share > 99.99:
        return "> 99.99%"
    return f"{share:.2f}%" if share < 1 or share > 99 else f"{share:.1f}%"


def duration(seconds: float) -> str:
    """``0.04 s``, ``12.3 s``, ``3 min 5 s``, ``2 h 10 min``."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{count(whole // 3600)} h {whole % 3600 // 60} min"


def size(size_bytes: int) -> str:
    """``512 bytes``, ``1.4 kB``, ``12.0 MB``, ``3.2 GB``, in powers of 1,000."""
    if size_bytes < 1000:
        return f"{size_bytes} bytes"
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1000:.1f} kB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 1_000_000_000 else f"{size_bytes / 1e9:,.1f} GB"


def metric(value: float) -> str:
    """``0.9473``."""
    return f"{value:.4f}"


def bound(value: float) -> str:
    """An error bound: ``0.0000041``, rounded up to two digits so that it stays one."""
    exact = Decimal(value)
    last = Decimal(1).scaleb(min(exact.adjusted() - 1, -2))
    return f"{exact.quantize(last, ROUND_UP):f}" if exact else "0"


def moment(text: str) -> str:
    """``2026-01-31 12:00:00 UTC`` from a record's time; any other text as it is."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def metric_name(name: str) -> str:
    """``ROC AUC`` for ``roc_auc``."""
    return {"roc_auc": "ROC AUC"}.get(name, name.replace("_", " "))


def visible(text: str) -> str:
    """`text` with a mark in place of each character that isn't seen but steers what is: controls, reversals of the
    reading direction, line separators, halves of characters. Line feeds stay.
    """
    return "".join("\ufffd" if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _HARMLESS


def plain(name: str) -> str:
    """`name` as a chart's label: one short line that nothing is read into."""
    line = visible(name).replace("\n", " ").strip() or "(empty)"
    short = line if len(line) <= LONGEST_LABEL else line[: LONGEST_LABEL - 1] + "…"
    return re.sub(r"\$(?=\$)|\\(?=[\[\]()])", lambda found: found.group() + _WORD_JOINER, short)
