"""What is taken of a message that anybody on a cluster may have sent: values of the right kind, within bounds.

Pure. A value of another kind counts as none: no text, no number, nothing in a mapping.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

MOST_NAMES = 200  # of rules among the counts
MOST_PARAMS = 50
LONGEST_ID = 200  # of runs; what a name has at most, too
LONGEST_TEXT = 2000
LARGEST_COUNT = 2**53  # exact as a float: sums stay numbers
LARGEST_NUMBER = 1e100
LARGEST_FIGURES = 500_000  # characters of JSON, about


def text(value: Any, longest: int = LONGEST_TEXT) -> str:
    """The beginning of `value`, if it is text."""
    return value[:longest] if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """`value`, if it is a number of a size that can be reckoned with."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and -LARGEST_NUMBER <= value <= LARGEST_NUMBER else None


def count(value: Any) -> int:
    """`value` as how many there are of something."""
    return min(LARGEST_COUNT, max(0, int(number(value) or 0)))


def mapping(value: Any) -> Mapping[str, Any]:
    """`value`, if it is a mapping; its values are as they were sent."""
    return value if isinstance(value, Mapping) else {}


def several(value: Any) -> tuple[Any, ...]:
    """The items of `value`: Dask hands on a list that was sent as a tuple."""
    return tuple(value) if isinstance(value, list | tuple) else ()


def counts(value: Any) -> Mapping[str, int]:
    """Rows by name."""
    return {text(name, LONGEST_ID): count(rows) for name, rows in itertools.islice(mapping(value).items(), MOST_NAMES)}


def params(value: Any) -> Mapping[str, str | float]:
    """A trial's parameters: texts and numbers by name."""
    return {
        text(name, LONGEST_ID): text(one, LONGEST_ID) if isinstance(one, str) else number(one) or 0
        for name, one in itertools.islice(mapping(value).items(), MOST_PARAMS)
    }


def figures(value: Any) -> Mapping[str, Any]:
    """A run's figures; of those that are too large the parts, and of its result the parts, that fit, smallest first."""
    found = mapping(value)
    if _size(found, LARGEST_FIGURES) <= LARGEST_FIGURES:
        return found
    result = mapping(found.get("result"))
    parts = [("", name, one) for name, one in found.items() if name != "result"]
    parts += [("result", name, one) for name, one in result.items()]
    room, kept = LARGEST_FIGURES, set()
    for size, place, name in sorted((_size({name: one}, room), place, str(name)) for place, name, one in parts):
        room -= size
        if room < 0:
            break
        kept.add((place, name))
    fitting = {name: one for name, one in result.items() if ("result", str(name)) in kept}
    return {**{name: one for name, one in found.items() if ("", str(name)) in kept}, "result": fitting}


def _size(value: Any, most: int) -> int:
    """About how long `value` is as JSON; what is beyond `most` isn't looked at any more."""
    size, waiting = 0, [value]
    while waiting and size <= most:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
        size += len(one) + 4 if isinstance(one, str | bytes) else 8
    return size
