"""Names of columns, datasets and roles: how they are compared, and which ones a column may have. Pure.

1. All names compare `folded`, here, in policies and in files, so that no spelling slips past a rule.
2. Parquet allows ``ssn``, ``SSN``, ``ssn`` in full-width letters and ``ssn`` twice side by side; a policy on one would
   miss the others: files with such columns are refused (`name_findings`).
3. A contract's names are plain ASCII identifiers (`identifier_finding`), so that none looks like another one. A file's
   name that isn't one is mapped to one by ``physicalName``. Names that begin with ``quarantine_`` are those of the
   columns that say why a row was set aside: no contract has them.
4. The leaf of a nested column is named by its dotted path: ``address.street``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence

MAX_NAME_LENGTH = 255
RESERVED_PREFIX = "quarantine_"

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def folded(name: str) -> str:
    """`name` as names are compared: NFKC, casefold, no format characters (zero-width ones), no spaces around."""
    visible = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold()).strip()


def name_findings(names: Sequence[str]) -> Mapping[int, str]:
    """What is wrong with column names, by position: odd characters, and names that a reader takes for one another."""
    findings: dict[int, str] = {}
    seen: dict[str, str] = {}
    for position, name in enumerate(names):
        if not name or name != name.strip() or len(name) > MAX_NAME_LENGTH or not name.isprintable():
            findings[position] = (
                f"{name!r} can't name a column: empty, too long, blank at an end, or with hidden characters"
            )
        elif folded(name) in seen:
            findings[position] = f"column {name!r} can't be told from column {seen[folded(name)]!r}"
        seen.setdefault(folded(name), name)
    return findings


def identifier_finding(name: str) -> str | None:
    """Why `name` can't be a name in a contract; None where it can."""
    if _is_reserved(name):
        return (
            f"{name!r} can't name a column in a contract: '{RESERVED_PREFIX}' begins the names of what is kept with "
            "rows that are set aside; write the files' name as physicalName, and another one as name"
        )
    if _IDENTIFIER.fullmatch(name) and len(name) <= MAX_NAME_LENGTH:
        return None
    return (
        f"{name!r} can't name a column in a contract: letters a to z, digits and '_' can, not starting with a digit, "
        f"{MAX_NAME_LENGTH} characters at most; write the files' name as physicalName, and a plain one as name"
    )


def identifier(name: str, taken: Collection[str] = ()) -> str:
    """A plain ASCII identifier for `name`, which no folded name of `taken` equals."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_") if not _IDENTIFIER.fullmatch(name) else name
    usable = bool(words) and not words[0].isdigit() and not _is_reserved(words)
    wanted = (words if usable else f"column_{words}".rstrip("_"))[: MAX_NAME_LENGTH - 8]
    free, number = wanted, 1
    while folded(free) in taken:
        number += 1
        free = f"{wanted}_{number}"
    return free


def _is_reserved(name: str) -> bool:
    return folded(name).startswith(RESERVED_PREFIX)
