"""The columns in an Open Data Contract Standard file, down to the leaves of nested ones. Pure.

1. A name is a plain ASCII identifier; ``physicalName`` says what the files call it, whatever that is. No two names, and
   no two names of the files, may be taken for one another.
2. ``properties`` (object), ``items`` (array) and ``map`` are walked down to their leaves, each a column with its dotted
   name. A leaf without a classification has that of what is around it.
3. A column's type is its physicalType (Arrow's, Parquet's or SQL's name), else its logicalType's; both must agree.
4. Only leaves are ever read: ``required`` of an object can be told only by a leaf that is required too, and a required
   leaf only where all objects around it are required.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from open_data_contract_standard.model import SchemaObject, SchemaProperty

from dataops.errors import InvalidInput, near_match
from dataops.governance.column_types import LOGICAL_TYPES, logical_type, parse_type
from dataops.governance.contract import UNCLASSIFIED, Column
from dataops.governance.findings import Findings, Place
from dataops.governance.leaves import MAP_PARTS
from dataops.governance.names import folded, identifier_finding

MAX_LEVELS = 16
NO_POSITION = -1  # what the standard has where a column has none

# the key of what is below a property -> the logicalType of such properties
_NESTED: Mapping[str, str] = {"properties": "object", "items": "array", "map": "map"}
_OF_LEAVES = ("unique", "primaryKey", "partitioned", "enum", "quality")
_NUMBER_FORMATS: Mapping[str, str] = {
    **{f"{sign}{bits}": f"{'u' if sign == 'u' else ''}int{bits}" for sign in "iu" for bits in (8, 16, 32, 64)},
    "f32": "float32",
    "f64": "float64",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadColumn:
    """A column, with what the file says of it.

    Attributes
    ----------
    place, written : the property that is the leaf.
    lists : the arrays and maps whose first leaf it is, which speak of whole lists: place, dotted name, property.
    """

    place: Place
    written: SchemaProperty
    column: Column
    lists: tuple[tuple[Place, str, SchemaProperty], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What is around a property: names, names of the files, and what they say for all below."""

    names: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    lists: int = 0
    levels: int = 0
    required: bool = True
    optional: str = ""  # the nearest object that isn't required
    classification: str | None = None
    description: str = ""

    @property
    def name(self) -> str:
        return ".".join(self.names)

    def into(self, one: SchemaProperty, name: str | None = None) -> _Around:
        """The same with the name of `one`, or with `name` (of a part of a map)."""
        own = name or one.name or ""
        names, stored = (*self.names, own), (*self.stored, name or _stored_name(one))
        return replace(self, names=names, stored=stored)


def read_columns(table: SchemaObject, findings: Findings) -> Iterator[ReadColumn]:
    """The columns of `table` in the order of the file; what can't be read goes to `findings`."""
    yield from _read_all(table.properties or [], ("schema", 0, "properties"), _Around(), findings)


def _read_all(
    properties: Sequence[SchemaProperty], place: Place, around: _Around, findings: Findings
) -> Iterator[ReadColumn]:
    _check_names(properties, place, findings)
    for position, one in enumerate(properties):
        yield from _read(one, (*place, position), around.into(one), findings)


def _check_names(properties: Sequence[SchemaProperty], place: Place, findings: Findings) -> None:
    written: dict[str, str] = {}
    stored: dict[str, str] = {}
    for position, one in enumerate(properties):
        here, name = (*place, position), one.name or ""
        if finding := identifier_finding(name):
            findings.add(here, finding)
        elif folded(name) in written:
            findings.add(here, f"column {name!r} can't be told from column {written[folded(name)]!r}")
        written.setdefault(folded(name), name)
        path = folded(_stored_name(one))
        if path in stored and stored[path] != name:
            findings.add((*here, "physicalName"), f"column {stored[path]!r} is that of the files already")
        stored.setdefault(path, name)


def _read(one: SchemaProperty, place: Place, around: _Around, findings: Findings) -> Iterator[ReadColumn]:
    if one.classification is not None and not one.classification.strip():
        findings.add((*place, "classification"), f"empty: write a word, or leave it out ({UNCLASSIFIED})")
    if one.encryptedName:
        findings.add((*place, "encryptedName"), "encryption by column isn't supported; use a policy's pseudonym")
    if one.enum is not None and not one.enum:
        findings.add(
            (*place, "enum"), "lists no value, so that no row could pass: list those that may be, or leave it out"
        )
    if one.primaryKeyPosition not in (None, NO_POSITION) and not one.primaryKey:
        reason = "a place in a key that the column isn't part of: write primaryKey: true too, or leave it out"
        findings.add((*place, "primaryKeyPosition"), reason)
    if one.required and not around.required:
        reason = f"required below {around.optional!r}, which isn't: require both, or neither"
        findings.add((*place, "required"), reason)
    below = [key for key in _NESTED if getattr(one, key)]
    around = replace(
        around,
        levels=around.levels + 1,
        classification=one.classification or around.classification,
        description=one.description or around.description,
    )
    if around.levels > MAX_LEVELS:
        findings.add(place, f"nested deeper than {MAX_LEVELS} levels")
    elif len(below) > 1:
        findings.add(place, f"{' and '.join(below)} exclude one another")
    elif below:
        yield from _read_nested(one, below[0], place, around, findings)
    elif one.logicalType in _NESTED.values():
        key = next(key for key, name in _NESTED.items() if name == one.logicalType)
        findings.add(place, f"'{key}' is missing: list what is below, each part with a type and a classification")
    else:
        yield _leaf(one, place, around, findings)


def _read_nested(
    one: SchemaProperty, key: str, place: Place, around: _Around, findings: Findings
) -> Iterator[ReadColumn]:
    if one.logicalType not in (None, _NESTED[key]):
        findings.add((*place, "logicalType"), f"with '{key}' it is {_NESTED[key]}")
    for wrong in _OF_LEAVES:
        if getattr(one, wrong):
            findings.add((*place, wrong), f"belongs to a column with values: write it below '{key}'")
    if key == "properties":
        yield from _read_object(one, place, around, findings)
        return
    inside = replace(around, lists=around.lists + 1, required=True, optional="")
    if one.items:
        parts = list(_read(one.items, (*place, "items"), inside, findings))
    else:
        parts = list(_read_map(one, place, inside, findings))
    if around.lists:
        for asked in (key for key in ("required", "logicalTypeOptions") if getattr(one, key)):
            findings.add((*place, asked), "can't be asked of a list within a list: both are read as one")
    elif parts:
        parts[0] = replace(parts[0], lists=((place, around.name, one),))
    yield from parts


def _read_object(one: SchemaProperty, place: Place, around: _Around, findings: Findings) -> Iterator[ReadColumn]:
    for option in one.logicalTypeOptions or {}:
        findings.add((*place, "logicalTypeOptions", option), "objects aren't checked as such: write rules of the parts")
    is_item = bool(place) and place[-1] in ("items", *MAP_PARTS)
    if not (one.required or is_item):
        around = replace(around, required=False, optional=around.optional or around.name)
    if one.required and not any(part.required for part in one.properties or []):
        reason = "no part of it is required, and only parts are read: say which one must be there"
        findings.add((*place, "required"), reason)
    yield from _read_all(one.properties or [], (*place, "properties"), around, findings)


def _read_map(one: SchemaProperty, place: Place, around: _Around, findings: Findings) -> Iterator[ReadColumn]:
    for part in MAP_PARTS:
        inner = getattr(one.map, part)
        if inner is not None:
            yield from _read(inner, (*place, "map", part), around.into(inner, part), findings)
    if one.map is None or (one.map.key is None and one.map.value is None):
        findings.add((*place, "map"), "'key' and 'value' are missing: list what can be read")


def _stored_name(one: SchemaProperty) -> str:
    """What the files call it, which may be nothing at all."""
    return one.physicalName if one.physicalName is not None else one.name or ""


def _leaf(one: SchemaProperty, place: Place, around: _Around, findings: Findings) -> ReadColumn:
    for key in ("unique", "primaryKey", "partitioned"):
        if around.lists and getattr(one, key):
            findings.add((*place, key), "can't be asked of what is inside a list")
    if one.partitioned and len(around.names) > 1:
        findings.add((*place, "partitioned"), "a partition is a column of its own, not a part of one")
    kind = _type(one, place, findings)
    return ReadColumn(
        place=place,
        written=one,
        column=Column(
            name=around.name,
            type=pa.list_(kind) if around.lists else kind,
            required=bool(one.required or one.primaryKey),
            classification=around.classification or UNCLASSIFIED,
            partitioned=bool(one.partitioned),
            description=around.description,
            stored=() if around.stored == (around.name,) else around.stored,
        ),
    )


def _type(one: SchemaProperty, place: Place, findings: Findings) -> pa.DataType:
    said = _type_of_format(one, place, findings)
    logical, physical = one.logicalType, one.physicalType or said
    if logical is None and physical is None:
        findings.add(place, "a column needs a logicalType or a physicalType")
        return pa.null()
    if logical is not None and logical not in LOGICAL_TYPES:
        known = [*LOGICAL_TYPES, *_NESTED.values()]
        findings.add((*place, "logicalType"), f"{logical!r} is no type of a column.{near_match(logical, known)}")
        return pa.null()
    if physical is None:
        kind = LOGICAL_TYPES[str(logical)]
        return pa.timestamp("us", "UTC") if _options(one).get("timezone") is True else kind
    try:
        kind = parse_type(physical)
    except InvalidInput as error:
        findings.add((*place, "physicalType"), str(error))
        return pa.null()
    if pa.types.is_list(kind):
        findings.add((*place, "physicalType"), "a list is written as logicalType array, with 'items'")
        return pa.null()
    if said is not None and kind != parse_type(said):
        findings.add((*place, "logicalTypeOptions", "format"), f"says {said}, the physicalType says {physical}")
    # a number may be stored whole; everything else must say the same twice
    agreeing = {logical_type(kind), "number"} if logical_type(kind) == "integer" else {logical_type(kind)}
    if logical is not None and logical not in agreeing:
        findings.add((*place, "physicalType"), f"{physical} is no physical type of logicalType {logical}")
    return kind


def _type_of_format(one: SchemaProperty, place: Place, findings: Findings) -> str | None:
    """The physicalType that ``format`` says for a number (``i32``)."""
    wanted = _options(one).get("format")
    if wanted is None or one.logicalType not in ("integer", "number"):
        return None
    if wanted not in _NUMBER_FORMATS:
        here = (*place, "logicalTypeOptions", "format")
        findings.add(here, f"no format of a number that can be read.{near_match(str(wanted), _NUMBER_FORMATS)}")
        return None
    return _NUMBER_FORMATS[wanted]


def _options(one: SchemaProperty) -> Mapping[str, Any]:
    return one.logicalTypeOptions or {}
