"""Rules, columns and requests that the tests of policies are made of."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from dataops.governance.contract import Column, Contract, derived_contract
from dataops.governance.expressions import parse_expression
from dataops.governance.grant import Grant
from dataops.governance.mask import Mask, MaskKind
from dataops.governance.policy import decide
from dataops.governance.rules import MadeFrom, Policy, Rule, RuleEffect

AT = datetime(2026, 3, 1, tzinfo=UTC)
KEY_ID = "key-20260131t120000000000z-0123456789ab"


def column(name: str, type_: pa.DataType, classification: str, masks: tuple[str, ...] = ()) -> Column:
    return Column(name=name, type=type_, required=False, classification=classification, masks=masks)


COLUMNS = (
    column("person_id", pa.string(), "pii.direct"),
    column("age", pa.int64(), "pii.quasi"),
    column("race", pa.string(), "sensitive.race"),
    column("wage", pa.float64(), "finance"),
    column("note", pa.string(), ""),
)
CONTRACT = derived_contract("census", COLUMNS)
WIDER_CONTRACT = derived_contract("census", [*COLUMNS, column("share", pa.float64(), "finance+pii.quasi")])

BANDS = Mask(kind=MaskKind.GENERALISE, width=5.0)
WIDER = Mask(kind=MaskKind.GENERALISE, width=10.0)
NULL, DROP, REDACT = (Mask(kind=kind) for kind in (MaskKind.NULL, MaskKind.DROP, MaskKind.REDACT))
CONSTANT = Mask(kind=MaskKind.CONSTANT, value=0.0)
PSEUDONYM = Mask(kind=MaskKind.PSEUDONYM, domain="person")


def rule(name: str, effect: RuleEffect, **fields: Any) -> Rule:
    where = fields.pop("where", None)
    expression = parse_expression(where, where="test") if where else None
    return Rule(policy="p", id=name, effect=effect, where=expression, **fields)


def allow(name: str = "all", **fields: Any) -> Rule:
    return rule(name, RuleEffect.ALLOW, **{"roles": ("analyst",), **fields})


def deny(name: str, **fields: Any) -> Rule:
    return rule(name, RuleEffect.DENY, **fields)


def masks(name: str, mask: Mask, **fields: Any) -> Rule:
    return rule(name, RuleEffect.MASK, mask=mask, **fields)


def only(*names: str) -> dict[str, Any]:
    return {"names": names, "classifications": ()}


def group(name: str, min_size: int, **fields: Any) -> Rule:
    return rule(name, RuleEffect.GROUP, min_size=min_size, **fields)


def ask(
    *rules: Rule,
    principal: str = "ana",
    roles: Collection[str] = ("analyst",),
    purpose: str = "train",
    zone: str = "historical",
    dataset: str = "census",
    contract: Contract = CONTRACT,
    key_id: str | None = KEY_ID,
    at: datetime = AT,
    made_from: Sequence[MadeFrom] = (),
) -> Grant:
    return decide(
        [Policy(name="p", rules=rules)],
        principal=principal,
        roles=roles,
        purpose=purpose,
        dataset=dataset,
        zone=zone,
        contract=contract,
        key_id=key_id,
        at=at,
        made_from=made_from,
    )


def seen(grant: Grant) -> dict[str, Mask | None]:
    return dict(grant.effect.columns)
