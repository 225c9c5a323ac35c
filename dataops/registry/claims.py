"""Claims: which number a package has in the registry, the same for every attempt to register it.

1. A number belongs to whoever puts its claim; numbers only go up.
2. The package's content says which number it has: who registers the same again goes on where the first stopped.
"""

from __future__ import annotations

from datetime import datetime

from dataops.errors import NotFound
from dataops.records import decode_record, encode_record, format_time, new_nonce, parse_time
from dataops.storage.objects import Store

CLAIM = "claim.json"


def claim(store: Store, model: str, content: str, at: datetime) -> tuple[int, datetime]:
    """The number and time of the version that is to hold the package of digest `content`."""
    key = content_key(model, content)
    try:
        data = store.get(key)
    except NotFound:
        number = _claim_number(store, model, content)
        data = encode_record("model-content", 1, {"version": number, "claimed_at": format_time(at)})
        if not store.put_if_absent(key, data):  # somebody registers the same package now: go on with their number
            data = store.get(key)
    record = decode_record(data, "model-content", 1)
    return int(record["version"]), parse_time(record["claimed_at"])


def content_key(model: str, content: str) -> str:
    """Where it stands which number a package of this content digest has."""
    return f"{model}/contents/{content.removeprefix('sha256:')}.json"


def numbers_with(store: Store, model: str, name: str) -> list[int]:
    """The numbers of the version folders of `model` that hold the file `name`, ascending."""
    parts = (key.split("/") for key in store.list_with_links(f"{model}/versions"))
    return sorted(int(part[2]) for part in parts if len(part) == 4 and part[3] == name and part[2].isdecimal())


def _claim_number(store: Store, model: str, content: str) -> int:
    # The listing only says where to begin: a stale one costs a few attempts, never a number taken twice.
    number = max(numbers_with(store, model, CLAIM), default=0) + 1
    data = encode_record("model-claim", 1, {"content": content, "nonce": new_nonce()})
    while not store.put_if_absent(f"{model}/versions/{number}/{CLAIM}", data):
        number += 1
    return number
