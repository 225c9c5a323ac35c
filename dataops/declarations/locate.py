"""Lines for findings that were made against data, long after the file was read: ``file: ...`` -> ``file:line: ...``.

Whoever plans a job knows its values, not its file. A finding says what it is about, by a path (``derive.late: ...``)
or in quotes (``no column 'trda'``), and the document knows the line of either.

1. Only a line of the message that starts with the document's source is a finding about it; all else stays as it is.
   What the document names and nobody has (`NotFound`) is about it as well.
2. A path narrows where a quoted name is looked for; the first quoted name that the file holds there decides.
3. What can't be found gets no line: none is better than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from dataops.declarations.loader import Document, Place, spell
from dataops.errors import DataopsError, NotFound

_QUOTED = re.compile(r"'([^'\n]+)'")


def locate(document: Document, message: str) -> str:
    """`message` with the line of the file in each finding about `document` that says what it is about."""
    return "\n".join(_located(document, line) for line in message.split("\n"))


@contextmanager
def located(document: Document) -> Iterator[None]:
    """Errors about `document` get its lines."""
    try:
        yield
    except DataopsError as error:
        message = locate(document, str(error))
        if message == str(error) and isinstance(error, NotFound):
            message = _named_by(document, message)
        if message == str(error):
            raise
        again = type(error)(message)
        for note in getattr(error, "__notes__", ()):
            again.add_note(note)
        raise again from None


def _named_by(document: Document, message: str) -> str:
    start = f"{document.source}: "
    line, *more = message.split("\n")
    found = _located(document, f"{start}{line}")
    return message if found.startswith(start) else "\n".join([found, *more])


def _located(document: Document, line: str) -> str:
    start = f"{document.source}: "
    if not line.startswith(start):
        return line
    said = line.removeprefix(start)
    within = _path_of(document, said)
    # after "Did you mean" stand names that the file doesn't hold in this place
    names = _QUOTED.findall(said.partition(" Did you mean")[0])
    place = next((found for name in names if (found := _find(document, name, within)) is not None), within)
    return f"{document.where(place)}: {said}" if place else line


def _path_of(document: Document, said: str) -> Place:
    """The longest path of the document that `said` starts with; ``()`` for none."""
    paths = [place for place in document.lines if place and re.match(rf"{re.escape(spell(place))}(?![\w.\[])", said)]
    return max(paths, key=len, default=())


def _find(document: Document, name: str, within: Place) -> Place | None:
    """The first place at or below `within` whose key is `name`, or whose text holds it as a word."""
    word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
    for place in sorted(document.lines, key=lambda place: document.lines[place]):
        if place[: len(within)] != within or not place:
            continue
        value = _value(document, place)
        if place[-1] == name or (isinstance(value, str) and word.search(value)):
            return place
    return None


def _value(document: Document, place: Place) -> object:
    value = document.value
    for part in place:
        value = value[part]
    return value
