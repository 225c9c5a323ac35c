"""The strict YAML loader: text that people write to plain values, each with its line.

YAML 1.1 readers guess (``NO`` is false, ``12:30`` is 750) and let a few hundred bytes name gigabytes. A declaration
decides who sees what, so this loader reads JSON's data model in YAML's clothes and refuses the rest:

1. Bounds first: 256 kB of text, 32 levels, numbers of 64 bits. Reading stops at the first event beyond them, and
   nothing recurses deeper than 32, so hostile text costs milliseconds.
2. No anchors, no aliases, no tags: a document is a tree, and names no type.
3. No duplicate keys: the message has both lines. Keys are text.
4. Unquoted ``null``, ``true``, ``false`` and JSON numbers are what JSON says; every other scalar is the text that
   stands there (``NO``, ``yes``, ``0777``, ``12:30``, ``2024-01-01``).
5. A number whose text would be lost (``1.10`` reads as 1.1) is refused: quote it, or write the number plainly.
   A key without a value is refused too.
6. All findings of a file are raised at once (twenty at most), each as ``file:line: path: message``.
"""

from __future__ import annotations

import errno
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import yaml

from dataops.errors import InvalidInput, NotFound, Storage, near_match
from dataops.records import digest_bytes

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)

MAX_SIZE_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_FINDINGS = 20
MAX_NUMBER_LENGTH = 64
MAX_KEY_SHOWN = 64

Place = tuple[str | int, ...]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS: Mapping[str, bool | None] = {"null": None, "true": True, "false": False}
_OTHERWISE_THAN_ITEMS = (
    "indented otherwise than the items of this list: begin it where they begin, or where the keys of the item above do"
)
_OTHERWISE_THAN_KEYS = "indented otherwise than the keys beside it"
# What libyaml and PyYAML say of the commonest slips, and what they are.
_SYNTAX_HINTS: Mapping[str, str] = {
    "cannot start any token": "indent with spaces, not tabs; text that begins with @, % or ` needs quotes",
    "mapping values are not allowed": "the line is indented too far, or text with ': ' in it needs quotes",
    "did not find expected '-' indicator": _OTHERWISE_THAN_ITEMS,
    "found '<block sequence start>'": _OTHERWISE_THAN_ITEMS,
    "did not find expected key": _OTHERWISE_THAN_KEYS,
    "found '<block mapping start>'": _OTHERWISE_THAN_KEYS,
    "while scanning an alias": 'write "*" in quotes',
}
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document as plain values (dict, list, str, int, float, bool, None).

    Attributes
    ----------
    value : what the document says; mappings keep the order of the file.
    source : the file's path, as it was given, for messages.
    lines : path from the root (keys and positions from 0) -> line in the file, from 1; ``()`` is the document itself.
    digest : of the value with its mappings in the order of the file, since the order of ``derive`` matters;
        comments, quotes and layout don't change it.
    """

    value: Any
    source: str
    lines: Mapping[Place, int]
    digest: str

    def line(self, place: Place) -> int:
        """The line of `place`, or of the nearest thing around it that the file holds."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines[place]

    def where(self, place: Place = ()) -> str:
        """``file:line`` of `place`."""
        return f"{self.source}:{self.line(place)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong in a declaration: where (a path from the root) and what."""

    place: Place
    message: str


def spell(place: Place) -> str:
    """`place` as people write it: ``features.numeric.columns[2]``; safe for a terminal, long keys cut short."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_spell_key(part)}" for part in place)
    return text.removeprefix(".")


def _spell_key(key: str) -> str:
    """`key` without control characters, which a quoted key can hold by escapes."""
    shown = key if len(key) <= MAX_KEY_SHOWN else f"{key[:MAX_KEY_SHOWN]}..."
    return shown if shown.isprintable() else ascii(shown)[1:-1]


def report(document: Document, findings: Iterable[Finding]) -> list[str]:
    """One line per finding in the order of the file: ``file:line: path: message``."""
    ordered = sorted(findings, key=lambda finding: document.line(finding.place))
    return [": ".join(filter(None, (document.where(f.place), spell(f.place), f.message))) for f in ordered]


def parse_yaml(text: str, source: str) -> list[Document]:
    """The documents in `text`, in order; an empty list for a text of comments only.

    Parameters
    ----------
    text : YAML, 256 kB at most; several documents are parted by ``---``.
    source : the name for messages, usually the file's path.

    Raises
    ------
    InvalidInput : with every finding that the rules above yield, or the first syntax error.
    """
    _require_size(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")), source)
    reader = _Reader(source=source)
    try:
        documents = list(reader.documents(yaml.parse(text, Loader=_PARSER)))
    except yaml.YAMLError as error:
        raise InvalidInput("\n".join([*reader.findings, _syntax_message(error, text, source)])) from None
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise InvalidInput(f"{source}:{line}: a character that is not Unicode text; write the file as UTF-8") from None
    if reader.findings:
        raise InvalidInput("\n".join(reader.findings))
    return documents


def read_yaml(path: Path) -> list[Document]:
    """The documents in the file at `path`: see `parse_yaml`.

    Raises
    ------
    InvalidInput : not a document by the rules above; besides what `read_text` raises.
    """
    return parse_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of the file at `path`, 256 kB at most.

    Raises
    ------
    NotFound : no such file; names a similar one beside it.
    InvalidInput : not a file, too large, or not UTF-8.
    Storage : the file can't be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise NotFound(f"{path}: a symbolic link to nothing; mend it, or remove it") from None
        siblings = [sibling.name for sibling in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise NotFound(f"{path}: no such file.{near_match(path.name, siblings)}") from None
    except (IsADirectoryError, NotADirectoryError, ValueError):
        raise InvalidInput(f"{path}: not a file; expected a YAML file") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidInput(f"{str(path)[:200]}...: no file has so long a name") from None
        raise Storage(f"{path}: can't be read: {error.strerror}") from None
    _require_size(len(data), str(path))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None


def read_document(path: Path) -> Document:
    """The one document in the file at `path`.

    Raises
    ------
    InvalidInput : no document, or several; besides what `read_yaml` raises.
    """
    documents = read_yaml(path)
    if len(documents) != 1:
        raise InvalidInput(f"{path}: holds {len(documents)} documents; expected exactly one")
    return documents[0]


def validate(document: Document, model: type[M]) -> M:
    """`document` as a `model` (pydantic, ``extra="forbid"``), strictly: ``"yes"`` is no boolean, ``"1"`` no number.

    Raises
    ------
    InvalidInput : all findings at once, each with file, line, path and, for an unknown key, the near match.
    """
    from pydantic import ValidationError

    from dataops.declarations.findings import find

    try:
        return model.model_validate_json(json.dumps(document.value), strict=True)
    except ValidationError as error:
        raise InvalidInput("\n".join(report(document, find(error, model)))) from None


def parse_scalar(text: str) -> Any:
    """What unquoted `text` means: JSON's null, booleans and numbers, else `text` itself.

    Raises
    ------
    InvalidInput : a number whose text can't be kept, saying what to write.
    """
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    shown = text if len(text) <= MAX_NUMBER_LENGTH else f"{text[:12]}... ({len(text)} characters)"
    fraction, exponent = number.groups()
    value = _parse_number(text, whole=fraction is None and exponent is None)
    if value is None:
        raise InvalidInput(f"{shown} is beyond 64-bit numbers: quote it if it is text")
    if not _keeps_text(text, value, scientific=exponent is not None):
        raise InvalidInput(
            f"{shown} would be read as {value!r}: write '{shown}' in quotes if it is text, else {value!r}"
        )
    return value


def _parse_number(text: str, *, whole: bool) -> int | float | None:
    """The number, or None where 64 bits can't hold it."""
    if len(text) > MAX_NUMBER_LENGTH:
        return None
    if whole:
        integer = int(text)
        return integer if -(2**63) <= integer < 2**63 else None
    real = float(text)
    return real if math.isfinite(real) else None


def _keeps_text(text: str, value: float, *, scientific: bool) -> bool:
    """Whether `value` says all that `text` does: digits and trailing zeros, or the exact value of an exponent form."""
    written, read = Decimal(text), Decimal(repr(value))
    return written == read if scientific else written.as_tuple() == read.as_tuple()


def _require_size(size_bytes: int, source: str) -> None:
    if size_bytes > MAX_SIZE_BYTES:
        raise InvalidInput(f"{source}: more than {MAX_SIZE_BYTES // 1024} kB; split it into several files")


def _syntax_message(error: yaml.YAMLError, text: str, source: str) -> str:
    """A YAML error as ``file:line: what``, without the excerpt that PyYAML adds."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = "; ".join(filter(None, (error.context, error.problem))) or "not YAML"
        hint = next((hint for said, hint in _SYNTAX_HINTS.items() if said in problem), None)
        said = f"{hint} ({error.problem})" if hint else problem
        return f"{source}:{mark.line + 1 if mark else 1}: {said}"
    line = text.count("\n", 0, getattr(error, "position", 0) or 0) + 1
    return f"{source}:{line}: a character that YAML does not allow; write the file as UTF-8 text"


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Builds values from a stream of YAML events and gathers what is wrong on the way."""

    source: str
    findings: list[str] = field(default_factory=list)
    lines: dict[Place, int] = field(default_factory=dict)

    def documents(self, events: Iterator[Any]) -> Iterator[Document]:
        """The documents in `events`."""
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.lines = {}
                first = next(events)
                self.lines[()] = _line(first)
                value = self._value(first, events, ())
                text = "" if self.findings else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
                yield Document(
                    value=value, source=self.source, lines=self.lines, digest=digest_bytes(text.encode("utf-8"))
                )

    def _value(self, event: Any, events: Iterator[Any], place: Place) -> Any:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            self._note(line, place, "aliases (*name) are not allowed: write the value out")
            return None
        if event.anchor is not None:
            self._note(line, place, "anchors (&name) are not allowed: write the value out where it is needed")
        if event.tag is not None:
            self._note(line, place, "tags (!name) are not allowed: write plain values, in quotes if they are text")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, place)
        if len(place) >= MAX_DEPTH:
            self._stop(line, place[:3], f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, place)
        return self._mapping(events, place)

    def _scalar(self, event: Any, place: Place) -> Any:
        if not self._is_text(event, place):
            return None
        if not event.implicit[0]:
            return event.value
        if event.value == "":
            self._note(_line(event), place, "no value: write null, '' for empty text, or leave it out")
            return None
        try:
            return parse_scalar(event.value)
        except InvalidInput as error:
            self._note(_line(event), place, str(error))
            return None

    def _sequence(self, events: Iterator[Any], place: Place) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            here = (*place, len(values))
            self.lines[here] = _line(event)
            values.append(self._value(event, events, here))
        return values

    def _mapping(self, events: Iterator[Any], place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key, line = self._key(event, place), _line(event)
            here = (*place, key)
            if key in values:
                self._note(line, here, f"this key is already on line {self.lines[here]}; keep one of the two")
            self.lines.setdefault(here, line)
            values[key] = self._value(next(events), events, here)
        return values

    def _key(self, event: Any, place: Place) -> str:
        """The key's text. What is no scalar has no text to go on with: reading stops."""
        if not isinstance(event, yaml.ScalarEvent):
            self._stop(_line(event), place, "a key must be text")
        if event.anchor is not None or event.tag is not None:
            self._note(_line(event), place, "anchors and tags are not allowed on a key")
        return str(event.value) if self._is_text(event, place) else ""

    def _is_text(self, event: Any, place: Place) -> bool:
        """Whether the scalar is Unicode text: PyYAML without libyaml lets half surrogates through an escape."""
        try:
            event.value.encode("utf-8")
        except UnicodeEncodeError:
            self._note(_line(event), place, "an escape that is no Unicode character")
            return False
        return True

    def _note(self, line: int, place: Place, message: str) -> None:
        self.findings.append(": ".join(filter(None, (f"{self.source}:{line}", spell(place), message))))
        if len(self.findings) >= MAX_FINDINGS:
            raise InvalidInput("\n".join([*self.findings, f"{self.source}: {MAX_FINDINGS} findings; stopped here"]))

    def _stop(self, line: int, place: Place, message: str) -> NoReturn:
        self._note(line, place, message)
        raise InvalidInput("\n".join(self.findings))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
