"""A contract with nested columns, keys and promises, as people write it, and tables that it fits."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from dataops.governance.contract import Contract
from dataops.governance.odcs import parse_contract

ORDERS: dict[str, Any] = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "orders",
    "name": "orders",
    "version": "2.0.0",
    "status": "active",
    "roles": [
        {"role": "analyst", "access": "read"},
        {"role": "loader", "access": "write"},
        {"role": "owner", "access": "readWrite"},
    ],
    "slaProperties": [
        {"property": "retention", "value": 3, "unit": "y"},
        {"property": "freshness", "value": 36, "unit": "h", "element": "orders.placed_at"},
        {"property": "generalAvailability", "value": "2026-01-31"},
        {"property": "latency", "value": 2, "unit": "d", "customProperties": [{"property": "action", "value": "warn"}]},
    ],
    "schema": [
        {
            "name": "orders",
            "quality": [
                {"metric": "rowCount", "mustBeBetween": [1, 1000]},
                {"metric": "duplicateValues", "arguments": {"properties": ["shop", "placed_at"]}, "mustBeLessThan": 5},
            ],
            "properties": [
                {"name": "number", "logicalType": "integer", "primaryKey": True, "primaryKeyPosition": 2},
                {"name": "shop", "logicalType": "string", "primaryKey": True, "primaryKeyPosition": 1},
                {"name": "placed_at", "logicalType": "timestamp", "physicalName": "Placed At (UTC)"},
                {
                    "name": "address",
                    "logicalType": "object",
                    "required": True,
                    "classification": "pii.direct",
                    "properties": [
                        {"name": "street", "logicalType": "string", "required": True},
                        {
                            "name": "country",
                            "physicalName": "Land",
                            "logicalType": "string",
                            "classification": "public",
                        },
                    ],
                },
                {
                    "name": "items",
                    "logicalType": "array",
                    "required": True,
                    "logicalTypeOptions": {"minItems": 1, "maxItems": 3},
                    "customProperties": [{"property": "action", "value": "drop"}],
                    "items": {
                        "logicalType": "object",
                        "properties": [
                            {
                                "name": "sku",
                                "logicalType": "string",
                                "required": True,
                                "logicalTypeOptions": {"pattern": "[a-z]+"},
                            },
                            {
                                "name": "pieces",
                                "logicalType": "integer",
                                "quality": [{"id": "some", "type": "sql", "query": "items.pieces > 0"}],
                            },
                        ],
                    },
                },
                {
                    "name": "notes",
                    "logicalType": "map",
                    "map": {
                        "key": {"logicalType": "string", "classification": "work"},
                        "value": {"logicalType": "string", "classification": "sensitive.text"},
                    },
                },
                {"name": "mail", "logicalType": "string", "unique": True, "logicalTypeOptions": {"format": "email"}},
            ],
        }
    ],
}
STORED = pa.schema(
    [
        ("number", pa.int64()),
        ("shop", pa.string()),
        ("Placed At (UTC)", pa.timestamp("us")),
        ("address", pa.struct([("street", pa.string()), ("Land", pa.string())])),
        ("items", pa.list_(pa.struct([("sku", pa.string()), ("pieces", pa.int32())]))),
        ("notes", pa.map_(pa.string(), pa.string())),
        ("mail", pa.string()),
    ]
)
PROPERTIES = ("schema", 0, "properties")
NUMBER, SHOP, PLACED_AT, ADDRESS, ITEMS, NOTES, MAIL = ((*PROPERTIES, position) for position in range(7))


def parse_orders(*changes: Callable[[Any], object]) -> Contract:
    """The contract of `ORDERS` after `changes`."""
    value = copy.deepcopy(ORDERS)
    for change in changes:
        change(value)
    return parse_contract(value, source="contracts/orders.yaml", lines={(): 1})


def setting(*place: str | int, to: Any) -> Callable[[Any], object]:
    """A change that puts `to` at `place`."""

    def change(value: Any) -> None:
        for part in place[:-1]:
            value = value[part]
        value[place[-1]] = to

    return change


def removing(*place: str | int) -> Callable[[Any], object]:
    """A change that takes away what is at `place`."""

    def change(value: Any) -> None:
        for part in place[:-1]:
            value = value[part]
        del value[place[-1]]

    return change


# what a name can be in Parquet, and must not be in a contract: it could be taken for another one, or read as something
# else by what prints, parses or stores it
HOSTILE_NAMES = (
    *("", " ", "mail ", " mail", "\tmail", "mail\n", "mail\r", "mail\x00", "\x1b[2Jmail", "mail\x7f", "mail\x85"),
    *("mail\u00a0", "\u2003mail", "\ufeffmail", "ma\u200bil", "ma\u200cil", "ma\u200dil", "ma\u2060il", "ma\u00adil"),
    *(
        "mail\u202e",
        "\u2066mail\u2069",
        "mail\u0301",
        "ma\ufe0fil",
        "\uff4d\uff41\uff49\uff4c",
        "m\u0430il",
        "m\u0251il",
    ),
    *(
        "mai\u04cf",
        "\u217fail",
        "\U0001d426ail",
        "\u24dcail",
        "ma\u0131l",
        "mai\u013a",
        "\u00aa",
        "\u00df",
        "stra\u00dfe",
    ),
    *(
        "a.b",
        "a-b",
        "a b",
        "a/b",
        "../mail",
        "a\\b",
        "a:b",
        "a;b",
        "a,b",
        "a'b",
        'a"b',
        "a`b",
        "a$b",
        "a%b",
        "a=b",
        "a*",
    ),
    *("1st", "-1", "*", ".", "..", "mail;drop table", "{mail}", "[mail]", "<b>mail</b>", "$(mail)", "x" * 256),
)
