"""What an Open Data Contract Standard file promises about the whole dataset: how new, how long kept, for whom. Pure.

1. ``slaProperties``: ``freshness`` and ``latency`` are rules of the age of the newest row (by the column that
   ``element`` names) or of the newest file; ``retention`` counts from when rows were published. Other properties of the
   standard are let through and do nothing.
2. Lengths of time are in ``unit``: s, min, h, d (a day has 24 hours), w, months (30 days), y (365 days). ``m`` alone is
   refused: it means minutes to some and months to others, and data is deleted by it.
3. ``roles`` whose access is to read are those of which a reader needs one. Where roles are named and none of them may
   read, nobody may.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from open_data_contract_standard.model import OpenDataContractStandard, Role
from open_data_contract_standard.model import ServiceLevelAgreementProperty as Promise
from pydantic import ValidationError

from dataops.errors import near_match
from dataops.governance.contract import Action, Rule, RuleKind
from dataops.governance.findings import Findings, Place
from dataops.governance.odcs_actions import DATASET_ACTIONS, Placed, read_action

_AGES = ("freshness", "latency")
_HOW_OFTEN = (*_AGES, "frequency", "updateFrequency")  # what bounds the age of the newest data, judged by a run or not
_RETENTION = "retention"
_EXECUTED = (*_AGES, _RETENTION)
# what the standard knows besides (its "periodic table"), and promises to people, not to readers of files
_KNOWN = (
    _RETENTION,
    *("availability", "throughput", "errorRate", "generalAvailability", "endOfSupport", "endOfLife", "frequency"),
    *("timeOfAvailability", "timeToDetect", "timeToNotify", "timeToRepair", "support", "schedule", "updateFrequency"),
)
_SECONDS: Mapping[str, int] = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86_400),
    **dict.fromkeys(("mo", "month", "months"), 30 * 86_400),
    **dict.fromkeys(("y", "yr", "year", "years"), 365 * 86_400),
}
_MAX_SECONDS = 1000 * _SECONDS["y"]
_READING = ("read", "readwrite", "read-write", "read_write", "rw", "all", "admin")
_OTHER_ACCESS = ("write",)


def read_roles(roles: Sequence[Role] | None, findings: Findings) -> tuple[str, ...] | None:
    """The roles of which a reader needs one: with none in it nobody may read; None: the contract doesn't say."""
    if roles is None:
        return None
    if not roles:
        findings.add(("roles",), "names no role: list those that may read, or leave it out")
    found = []
    for position, one in enumerate(roles):
        place: Place = ("roles", position)
        access = (one.access or "read").strip().lower()
        if not one.role or not one.role.strip():
            findings.add(place, "'role' is missing")
        elif access in _READING:
            found.append(one.role)
        elif access not in _OTHER_ACCESS:
            known = near_match(access, [*_READING, *_OTHER_ACCESS])
            findings.add((*place, "access"), f"unknown access: read, readWrite or write.{known}")
    return tuple(dict.fromkeys(found))


def read_retention(standard: OpenDataContractStandard, tables: Sequence[str], findings: Findings) -> int | None:
    """How many seconds rows may be kept; None where nothing is said."""
    found = [(place, one) for place, one in _promises(standard) if one.property == _RETENTION]
    for place, one in found:
        element = one.element or standard.slaDefaultElement
        if element is not None and element not in tables:
            reason = "retention counts from when rows were published, not by a column: leave out the element"
            findings.add((*place, "element"), reason)
    if len(found) > 1:
        findings.add(found[1][0], "retention is promised twice")
    return _seconds(*found[0], findings) if found else None


def read_ages(
    standard: OpenDataContractStandard, tables: Sequence[str], columns: Sequence[str], findings: Findings
) -> Iterator[Placed]:
    """The rules of how new the dataset must be."""
    for place, one in _promises(standard):
        if one.property in _AGES:
            element = one.element or standard.slaDefaultElement
            column = _column(element, tables, columns, (*place, "element"), findings)
            action = read_action(
                one.customProperties, place, findings, only=True, allowed=DATASET_ACTIONS, otherwise=Action.FAIL
            )
            rule = Rule(
                id=one.id or f"{column or 'row'}.{one.property}",
                kind=RuleKind.FRESHNESS,
                column=column,
                arguments={"column": column, "max_age_seconds": _seconds(place, one, findings)},
                action=action,
                description=one.description or "",
            )
            yield (*place, "element") if one.element else place, rule
        elif one.property not in _KNOWN and get_close_matches(one.property or "", _EXECUTED):  # a slip, not another one
            findings.add((*place, "property"), f"unknown property.{near_match(one.property or '', _EXECUTED)}")


def promised_ages(properties: object) -> list[tuple[str, int]]:
    """How old data may become by ``slaProperties`` as they stand in a file: the property and its seconds.

    What isn't said as the standard has it is left out: reading the contract tells of it.
    """
    found = []
    for one in properties if isinstance(properties, list) else []:
        if isinstance(one, Mapping) and one.get("property") in _HOW_OFTEN:
            findings = Findings(source="", lines={})
            try:
                seconds = _seconds((), Promise.model_validate(dict(one)), findings)
            except ValidationError:
                continue
            found += [(str(one["property"]), seconds)] if seconds else []
    return found


def _promises(standard: OpenDataContractStandard) -> Iterator[tuple[Place, Promise]]:
    for position, one in enumerate(standard.slaProperties or []):
        yield ("slaProperties", position), one


def _column(
    element: str | None, tables: Sequence[str], columns: Sequence[str], place: Place, findings: Findings
) -> str | None:
    """The column that `element` names, with or without the table before it; None for the table itself."""
    if element is None or element in tables:
        return None
    for name in (element, *(element.removeprefix(f"{table}.") for table in tables)):
        if name in columns:
            return name
    several = " One element a promise." if "," in element else ""
    findings.add(place, f"unknown column {element!r}.{several}{near_match(element, columns)}")
    return None


def _seconds(place: Place, one: Promise, findings: Findings) -> int:
    if one.valueExt is not None:
        findings.add((*place, "valueExt"), "one value is enough: leave it out")
    unit = (one.unit or "").strip().lower()
    if unit == "m":
        findings.add((*place, "unit"), "'m' means minutes to some and months to others: write min or months")
        return 0
    if unit not in _SECONDS:
        known = near_match(unit, _SECONDS)
        findings.add(
            (*place, "unit") if one.unit else place, f"expected a unit of time: s, min, h, d, w, months or y.{known}"
        )
        return 0
    value = one.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        findings.add((*place, "value"), "expected a number above 0")
        return 0
    if value * _SECONDS[unit] > _MAX_SECONDS:
        findings.add((*place, "value"), "more than 1,000 years")
        return 0
    return math.floor(value * _SECONDS[unit])
