"""Drafting a contract for files that have none: their columns, with classifications guessed from the names. Pure.

1. A guess may only err to the strict side: any word of a name that hints at a person counts, for a part of a nested
   column also those of the names around it.
2. A draft gives nobody anything: policies allow by classification, and none is written here.
3. The draft is text that `parse_contract` reads, every name in quotes. A name that no contract can have gets a plain
   one, and stays as physicalName.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

import pyarrow as pa

from dataops.errors import InvalidInput
from dataops.governance.column_types import column_type, logical_type, spell_type
from dataops.governance.contract import UNCLASSIFIED
from dataops.governance.leaves import MAP_PARTS, is_list, leaves_of, twin_findings
from dataops.governance.names import folded, identifier

_HEADER = """\
# Drafted from the files' columns; read it before anybody uses it. Every classification is a guess from the name alone.
# Nobody can read any of this until a policy allows it: all is denied until then. Columns that are not listed here
# can't be read at all.
"""

# Words that begin so speak of somebody's health, whatever a name of a person stands beside them.
_HEALTH = ("sick", "health", "diagnos", "disab", "medic")

# classification -> words that hint at it; the first that matches holds
_HINTS: Mapping[str, Collection[str]] = {
    "pii.direct": (
        *("email", "mail", "ssn", "phone", "telephone", "mobile", "fax", "name", "firstname", "lastname", "surname"),
        *("forename", "username", "birth", "birthday", "birthdate", "dob", "passport", "licence", "license", "iban"),
        *("address", "street", "ip", "card", "person", "customer", "patient", "user", "member", "employee", "latitude"),
        *("longitude", "lat", "lon", "lng", "photo", "signature", "login"),
    ),
    "sensitive": (
        *("race", "ethnic", "ethnicity", "hispanic", "religion", "disease"),
        *("sexual", "orientation", "political", "party", "union", "genetic", "biometric", "pregnant", "criminal"),
        *("salary", "income", "wage", "wages", "credit", "debt", "password", "secret", "token"),
    ),
    "pii.quasi": (
        *("age", "sex", "gender", "zip", "zipcode", "postal", "postcode", "city", "county", "marital", "education"),
        *("occupation", "job", "employer", "nationality", "citizenship", "citizen", "household", "family", "children"),
        *("veteran", "language", "residence"),
    ),
}


def draft_contract(name: str, schema: pa.Schema, *, partitions: Collection[str] = ()) -> str:
    """An Open Data Contract Standard file, as YAML text, for files of `schema`.

    Parameters
    ----------
    name
        Of the dataset.
    schema
        Of the files, partition columns included.
    partitions
        The columns whose values stand in the folders' names.

    Raises
    ------
    InvalidInput : names that can't be told from one another, or no column that a contract can hold.
    """
    if findings := twin_findings(schema):
        raise InvalidInput("\n".join(f"dataset '{name}': {finding}" for finding in findings))
    if all(logical_type(column_type(leaf.type)) is None for leaf in leaves_of(schema)):
        raise InvalidInput(f"dataset '{name}': none of its {len(schema)} columns holds anything that can be read")
    quoted = _quoted(name)
    lines = [
        *("apiVersion: v3.1.0", "kind: DataContract", f"id: {quoted}", f"name: {quoted}", 'version: "1.0.0"'),
        *("status: draft", "schema:", f"  - name: {quoted}", "    properties:"),
        *_property_lines(list(schema), "      ", (), partitions),
    ]
    return _HEADER + "\n".join(lines) + "\n"


def guess_classification(name: str) -> str:
    """The classification that a column's name hints at."""
    words = _words(name)
    if any(word.startswith(_HEALTH) for word in words):
        return "sensitive.health"
    return next((guess for guess, hints in _HINTS.items() if not words.isdisjoint(hints)), UNCLASSIFIED)


def _quoted(text: str) -> str:
    """`text` in double quotes as YAML reads it: JSON, with what may not stand in YAML as it is escaped too."""
    return "".join(_escaped(character) for character in json.dumps(text, ensure_ascii=False))


def _escaped(character: str) -> str:
    if character.isprintable() or ord(character) < 0x7F:
        return character
    return f"\\u{ord(character):04x}" if ord(character) <= 0xFFFF else f"\\U{ord(character):08x}"


def _words(name: str) -> set[str]:
    """The words of ``first_name``, ``firstName``, ``FIRST NAME2``, singly and in pairs (``zip code``)."""
    plain = unicodedata.normalize("NFKC", name)
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain)
    words = re.findall(r"[^\W\d_]+", spaced.casefold())
    return {*words, *(left + right for left, right in pairwise(words)), plain.casefold()}


def _property_lines(
    fields: Sequence[pa.Field], indent: str, above: tuple[str, ...], partitions: Collection[str] = ()
) -> Iterator[str]:
    """A list of properties, for the columns of the table or the fields of a struct."""
    taken: set[str] = set()
    plain = {field.name for field in fields if identifier(field.name) == field.name}
    for field in fields:
        path = (*above, field.name)
        if not _is_readable(field.type):
            yield f"{indent}# {_quoted(field.name)} is {_quoted(str(field.type))[1:-1]}: it can't be read"
            continue
        # a name made up must not take the one that another column has
        others = {folded(one) for one in plain - {field.name}} | taken
        name = identifier(field.name, others)
        taken.add(folded(name))
        yield f"{indent}- name: {_quoted(name)}"
        if name != field.name:
            yield f"{indent}  physicalName: {_quoted(field.name)}"
        if field.name in partitions and not above:
            yield f"{indent}  partitioned: true"
        yield from _type_lines(field.type, f"{indent}  ", path)


def _type_lines(kind: pa.DataType, indent: str, path: tuple[str, ...]) -> Iterator[str]:
    """What a property says of its type, and of what is below it."""
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_struct(kind):
        yield f"{indent}logicalType: object"
        yield f"{indent}properties:"
        yield from _property_lines(list(kind), f"{indent}  ", path)
    elif pa.types.is_map(kind):
        yield f"{indent}logicalType: map"
        yield f"{indent}map:"
        for part, inner in zip(MAP_PARTS, (kind.key_type, kind.item_type), strict=True):
            if _is_readable(inner):
                yield f"{indent}  {part}:"
                yield from _type_lines(inner, f"{indent}    ", path)
    elif is_list(kind):
        yield f"{indent}logicalType: array"
        yield f"{indent}items:"
        yield from _type_lines(kind.value_type, f"{indent}  ", path)
    else:
        yield f"{indent}logicalType: {logical_type(kind)}"
        yield f"{indent}physicalType: {_quoted(spell_type(column_type(kind)))}"
        yield f"{indent}classification: {guess_classification(' '.join(path))}"


def _is_readable(kind: pa.DataType) -> bool:
    """Whether a contract can say what is in columns of type `kind`, at least in part."""
    return any(logical_type(column_type(leaf.type)) for leaf in leaves_of(pa.schema([("column", kind)])))
