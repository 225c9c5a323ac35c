"""Drafting a contract for files that have none: their columns, with classifications guessed from the names. Pure.

1. A guess may only err to the strict side: any word of a name that hints at a person counts.
2. A draft gives nobody anything: policies allow by classification, and none is written here.
3. The draft is text that `parse_contract` reads, every name in quotes.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise

import pyarrow as pa

from dataops.errors import InvalidInput
from dataops.governance.column_types import column_type, logical_type, spell_type
from dataops.governance.contract import UNCLASSIFIED
from dataops.governance.names import name_findings

_HEADER = """\
# Drafted from the files' columns; read it before anybody uses it. Every classification is a guess from the name alone.
# Nobody can read any of this until a policy allows it: all is denied until then. Columns that are not listed here
# can't be read at all.
"""

# classification -> words that hint at it; the first that matches holds
_HINTS: Mapping[str, Collection[str]] = {
    "pii.direct": (
        *("email", "mail", "ssn", "phone", "telephone", "mobile", "fax", "name", "firstname", "lastname", "surname"),
        *("forename", "username", "birth", "birthday", "birthdate", "dob", "passport", "licence", "license", "iban"),
        *("address", "street", "ip", "card", "person", "customer", "patient", "user", "member", "employee", "latitude"),
        *("longitude", "lat", "lon", "lng", "photo", "signature", "login"),
    ),
    "sensitive": (
        *("race", "ethnic", "ethnicity", "hispanic", "religion", "health", "diagnosis", "disease", "disability"),
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
    InvalidInput : names that no contract can hold, or no column that one can.
    """
    if findings := name_findings(schema.names):
        raise InvalidInput("\n".join(f"dataset '{name}': {finding}" for finding in findings.values()))
    if all(logical_type(column.type) is None for column in schema):
        raise InvalidInput(f"dataset '{name}': none of its {len(schema)} columns is flat, so there is nothing to read")
    quoted = _quoted(name)
    lines = [
        *("apiVersion: v3.1.0", "kind: DataContract", f"id: {quoted}", f"name: {quoted}", 'version: "1.0.0"'),
        *("status: draft", "schema:", f"  - name: {quoted}", "    properties:"),
        *(line for column in schema for line in _column_lines(column, partitioned=column.name in partitions)),
    ]
    return _HEADER + "\n".join(lines) + "\n"


def guess_classification(name: str) -> str:
    """The classification that a column's name hints at."""
    words = _words(name)
    return next((guess for guess, hints in _HINTS.items() if not words.isdisjoint(hints)), UNCLASSIFIED)


def _quoted(text: str) -> str:
    """`text` in double quotes, as JSON and YAML both read it (JSON's escapes of rare letters are not YAML's)."""
    return json.dumps(text, ensure_ascii=False)


def _words(name: str) -> set[str]:
    """The words of ``first_name``, ``firstName``, ``FIRST NAME2``, singly and in pairs (``zip code``)."""
    plain = unicodedata.normalize("NFKC", name)
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain)
    words = re.findall(r"[^\W\d_]+", spaced.casefold())
    return {*words, *(left + right for left, right in pairwise(words)), plain.casefold()}


def _column_lines(column: pa.Field, *, partitioned: bool) -> Iterator[str]:
    quoted = _quoted(column.name)
    logical = logical_type(column.type)
    if logical is None:
        yield f"      # {quoted} is {_quoted(str(column.type))[1:-1]}: not a flat column, so it can't be read"
        return
    yield f"      - name: {quoted}"
    yield f"        logicalType: {logical}"
    yield f"        physicalType: {_quoted(spell_type(column_type(column.type)))}"
    if partitioned:
        yield "        partitioned: true"
    yield f"        classification: {guess_classification(column.name)}"
