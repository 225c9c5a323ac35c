"""Open Data Contract Standard 3 files to contracts. Pure.

1. `open_data_contract_standard` holds the standard's fields; a key that it doesn't have is refused with its near match.
   What the standard has and dataops neither acts on nor is misled by (teams, prices, servers ...) is let through.
2. What dataops can't execute is refused, never skipped: encrypted names, other engines' checks, text about quality.
3. Every finding has file and line, and all are raised at once.

The parts: `odcs_columns` reads columns and types, `odcs_rules` what is said of them, `odcs_quality` quality checks,
`odcs_service` promises about the whole dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject
from pydantic import BaseModel, ValidationError

from dataops.errors import InvalidInput, near_match
from dataops.governance.conditions import require_executable
from dataops.governance.contract import Contract, Rule, schema_of
from dataops.governance.draft import draft_contract
from dataops.governance.expression_tree import RefusedError
from dataops.governance.findings import Findings, Place
from dataops.governance.odcs_columns import read_columns
from dataops.governance.odcs_rules import MAX_SHOWN, read_primary_key, read_rules
from dataops.governance.odcs_service import read_ages, read_retention, read_roles

__all__ = ["draft_contract", "parse_contract"]

_KIND = "DataContract"
# what pydantic calls a mismatch -> what would have been right
_EXPECTED: Mapping[str, str] = {
    "bool_type": "true or false",
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
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
            wrong = _mismatch(one["type"], one["msg"], value, place)
            findings.add(place, f"unknown key.{near_match(str(place[-1]), known)}" if unknown else wrong)
        findings.require_none()
        raise
    for place, message in _unknown_keys(standard, value, ()):
        findings.add(place, message)
    return standard


def _mismatch(kind: str, message: str, value: Any, place: Place) -> str:
    """What was expected at `place`, and what is found there, where it is a short word or a number."""
    if kind not in _EXPECTED:
        return message
    for part in place:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):  # pydantic's own label: a member of a union
            return f"expected {_EXPECTED[kind]}"
    match value:
        case None | bool():
            found = {None: "null", True: "true", False: "false"}[value]
        case int() | float():
            found = f"the number {value}"
        case str():
            found = repr(value) if len(value) <= MAX_SHOWN else f"a text of {len(value)} characters"
        case _:
            found = "a mapping" if isinstance(value, Mapping) else "a list"
    return f"expected {_EXPECTED[kind]}, found {found}"


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
    if standard.schema_ is None:
        findings.add((), "'schema' is missing: a list with the one table")
        findings.require_none()
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
    read = list(read_columns(table, findings))
    findings.require_none()
    columns = tuple(one.column for one in read)
    tables = [name for name in (table.name, table.physicalName) if name]
    key = read_primary_key(read, findings)
    placed = [
        *read_rules(read, key, table, findings),
        *read_ages(standard, tables, [column.name for column in columns], findings),
    ]
    _check_rules(placed, schema_of(columns), findings)
    return Contract(
        name=standard.name or table.name or str(standard.id),
        version=str(value["version"]),
        columns=columns,
        rules=tuple(rule for _place, rule in placed),
        roles=read_roles(standard.roles, findings),
        retention_seconds=read_retention(standard, tables, findings),
        primary_key=key,
    )


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
