"""Open Data Contract Standard 3 files to contracts. Pure.

1. `open_data_contract_standard` holds the standard's fields; a key that it doesn't have is refused with its near match.
   What the standard has and dataops neither acts on nor is misled by (teams, prices, servers ...) is let through.
2. What dataops can't execute is refused, never skipped: nested columns, uniqueness, text formats, other metrics.
3. A column's type is its physicalType (Arrow's, Parquet's or SQL's name), else its logicalType's; both must agree.
4. Every finding has file and line, and all are raised at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty
from pydantic import BaseModel, ValidationError

from dataops.errors import InvalidInput, near_match
from dataops.governance.checking import require_executable
from dataops.governance.column_types import LOGICAL_TYPES, logical_type, parse_type
from dataops.governance.contract import UNCLASSIFIED, Column, Contract, Rule
from dataops.governance.draft import draft_contract
from dataops.governance.expression_tree import RefusedError
from dataops.governance.findings import Findings, Place
from dataops.governance.names import name_findings
from dataops.governance.odcs_rules import read_rules

__all__ = ["draft_contract", "parse_contract"]

_KIND = "DataContract"
_NOT_EXECUTED = {
    "unique": "uniqueness isn't checked: dataops checks row by row; leave it out",
    "encryptedName": "encryption by column isn't supported; use a policy's pseudonym",
    "items": "nested columns aren't supported: leave the column out, and nobody can read it",
    "properties": "nested columns aren't supported: leave the column out, and nobody can read it",
    "map": "nested columns aren't supported: leave the column out, and nobody can read it",
}


def parse_contract(value: Mapping[str, Any], *, source: str, lines: Mapping[Place, int]) -> Contract:
    """The contract in one YAML document.

    Parameters
    ----------
    value
        The document: JSON types only.
    source
        The file's name, for messages.
    lines
        Where each value stands: path of keys and positions -> line, from 1.

    Raises
    ------
    InvalidInput : all findings, one to a line, each beginning with ``<source>:<line>:``.
    """
    findings = Findings(source=source, lines=lines)
    standard = _standard(value, findings)
    findings.require_none()
    table = _table(standard, findings)
    findings.require_none()
    contract = _contract(standard, table, value, findings)
    findings.require_none()
    return contract


def _standard(value: Any, findings: Findings) -> OpenDataContractStandard:
    if not isinstance(value, Mapping):
        findings.add((), "expected a mapping: an Open Data Contract Standard document")
        findings.require_none()
    try:
        standard = OpenDataContractStandard.model_validate(value, strict=True)
    except ValidationError as error:
        for one in error.errors(include_input=False, include_url=False):
            known = [field.alias or name for name, field in OpenDataContractStandard.model_fields.items()]
            unknown = one["type"] == "extra_forbidden"
            place = tuple(one["loc"])
            findings.add(place, f"unknown key.{near_match(str(place[-1]), known)}" if unknown else one["msg"])
        findings.require_none()
        raise
    for place, message in _unknown_keys(standard, value, ()):
        findings.add(place, message)
    return standard


def _unknown_keys(model: BaseModel, raw: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, str]]:
    """Keys below the first level, which the standard's own model ignores: a mistyped `classification` must not pass."""
    fields = {field.alias or name: name for name, field in type(model).model_fields.items()}
    for key, value in raw.items():
        here = (*place, key)
        if key not in fields:
            yield here, f"unknown key.{near_match(str(key), fields)}"
            continue
        read = getattr(model, fields[key])
        if isinstance(read, BaseModel):
            yield from _unknown_keys(read, value, here)
        elif isinstance(read, list):
            for position, item in enumerate(read):
                if isinstance(item, BaseModel):
                    yield from _unknown_keys(item, value[position], (*here, position))


def _table(standard: OpenDataContractStandard, findings: Findings) -> SchemaObject:
    if standard.kind != _KIND:
        findings.add(("kind",), f"expected {_KIND}")
    if not (standard.apiVersion or "").startswith("v3."):
        findings.add(("apiVersion",), "expected a version 3 of the Open Data Contract Standard, such as v3.1.0")
    for key in ("id", "version"):
        if not getattr(standard, key):
            findings.add((), f"'{key}' is missing")
    tables = standard.schema_ or []
    if len(tables) != 1:
        findings.add(("schema",), f"expected one table, found {len(tables)}: a dataset has a contract of its own")
        findings.require_none()
    if not tables[0].properties:
        findings.add(("schema", 0), "'properties' is missing: list the columns")
    return tables[0]


def _contract(
    standard: OpenDataContractStandard, table: SchemaObject, value: Mapping[str, Any], findings: Findings
) -> Contract:
    below: Place = ("schema", 0, "properties")
    properties = table.properties or []
    for position, message in name_findings([one.name or "" for one in properties]).items():
        findings.add((*below, position), message)
    columns = tuple(_column(one, (*below, position), findings) for position, one in enumerate(properties))
    findings.require_none()
    placed = list(read_rules(table, findings))
    _check_rules(placed, pa.schema([(column.name, column.type) for column in columns]), findings)
    return Contract(
        name=standard.name or table.name or str(standard.id),
        version=str(value["version"]),
        columns=columns,
        rules=tuple(rule for _place, rule in placed),
    )


def _column(one: SchemaProperty, place: Place, findings: Findings) -> Column:
    for key, reason in _NOT_EXECUTED.items():
        if getattr(one, key):
            findings.add((*place, key), reason)
    if one.physicalName not in (None, one.name):
        findings.add(
            (*place, "physicalName"), "a column can't be renamed here: use the files' name, or derive one in a job"
        )
    if one.classification is not None and not one.classification.strip():
        findings.add((*place, "classification"), f"empty: write a word, or leave it out ({UNCLASSIFIED})")
    return Column(
        name=one.name or "",
        type=_type(one, place, findings),
        required=bool(one.required or one.primaryKey),
        classification=one.classification or UNCLASSIFIED,
        partitioned=bool(one.partitioned),
        description=one.description or "",
    )


def _type(one: SchemaProperty, place: Place, findings: Findings) -> pa.DataType:
    logical, physical = one.logicalType, one.physicalType
    if logical is None and physical is None:
        findings.add(place, "a column needs a logicalType or a physicalType")
        return pa.null()
    if logical is not None and logical not in LOGICAL_TYPES:
        findings.add(
            (*place, "logicalType"), f"{logical!r} is no type of a flat column.{near_match(logical, LOGICAL_TYPES)}"
        )
        return pa.null()
    if physical is None:
        kind = LOGICAL_TYPES[str(logical)]
        return pa.timestamp("us", "UTC") if (one.logicalTypeOptions or {}).get("timezone") is True else kind
    try:
        kind = parse_type(physical)
    except InvalidInput as error:
        findings.add((*place, "physicalType"), str(error))
        return pa.null()
    # a number may be stored whole; everything else must say the same twice
    agreeing = {logical_type(kind), "number"} if logical_type(kind) == "integer" else {logical_type(kind)}
    if logical is not None and logical not in agreeing:
        findings.add((*place, "physicalType"), f"{physical} is no physical type of logicalType {logical}")
    return kind


def _check_rules(placed: list[tuple[Place, Rule]], schema: pa.Schema, findings: Findings) -> None:
    first: dict[str, str] = {}
    for place, rule in placed:
        if rule.id in first:
            findings.add(place, f"the rule at {first[rule.id]} has the id '{rule.id}' too: give each its own")
        first.setdefault(rule.id, findings.where(place))
        try:
            require_executable(rule, schema)
        except (RefusedError, InvalidInput) as error:
            findings.add(place, str(error))
