"""Every error that dataops raises on purpose: one root, families by what a caller does about it.

::

    DataopsError                    exit code
    ├── InvalidInput                2   a file, name or argument is wrong: mend it and call again
    ├── NotFound                    3   what was named does not exist
    ├── AlreadyExists               4   what was to be made exists
    ├── Conflict                    5   somebody else changed it first: read again, decide again
    ├── ContractViolation           6   the data breaks its contract beyond what was allowed
    ├── AccessDenied                7   a policy says no, or says nothing
    ├── Integrity                   8   stored bytes are not what their record says
    ├── Format                      9   a record or file of a format or version that we don't read
    ├── Storage                    10   the store or disk failed; trying again may help
    └── Compute                    11   the cluster or a task failed

Rules: a message says what happened with names and counts, what was expected and what to do next; it never holds a
row's value, a secret, or a URL with credentials. Every error survives pickling, since it crosses processes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeVar


class DataopsError(Exception):
    """Root of the families; `exit_code` is what the command line returns for it.

    `may_pass`: the same may go well later, though nobody mends anything.
    """

    exit_code = 1
    may_pass = False


class InvalidInput(DataopsError, ValueError):
    """A file, name or argument is wrong: mend it and call again."""

    exit_code = 2


class NotFound(DataopsError, LookupError):
    """What was named does not exist."""

    exit_code = 3


class AlreadyExists(DataopsError):
    """What was to be made exists."""

    exit_code = 4


class Conflict(DataopsError):
    """Somebody else changed it first: read again and decide again."""

    exit_code = 5


class ContractViolation(DataopsError):
    """The data breaks its contract beyond what was allowed."""

    exit_code = 6


class AccessDenied(DataopsError):
    """A policy says no, or says nothing."""

    exit_code = 7


class Integrity(DataopsError):
    """Stored bytes are not what their record says."""

    exit_code = 8


class Format(DataopsError):
    """A record or file of a format or version that this release does not read."""

    exit_code = 9


class Storage(DataopsError, OSError):
    """The store or disk failed; trying again may help."""

    exit_code = 10
    may_pass = True


class Compute(DataopsError):
    """The cluster or a task on it failed."""

    exit_code = 11
    may_pass = True
    cluster_lost = False  # whether it is gone as a whole: on another one the same may go well at once


E = TypeVar("E", bound=DataopsError)


def passing(error: E) -> E:
    """`error`, of which may pass what mostly doesn't in its family: another was first, a file changed meanwhile."""
    error.may_pass = True
    return error


def near_match(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, else all of them.

    Parameters
    ----------
    name : what was asked for.
    known : the names that exist.

    Returns
    -------
    ``" Did you mean 'x'?"``, ``" Known: a, b."`` (twelve at most), or ``""`` where nothing is known.
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name.casefold(), [known_name.casefold() for known_name in names], n=1, cutoff=0.6)
    if near:
        return f" Did you mean '{next(n for n in names if n.casefold() == near[0])}'?"
    if not names:
        return ""
    listed = ", ".join(names[:12])
    return f" Known: {listed}{f' and {len(names) - 12} more' if len(names) > 12 else ''}."
