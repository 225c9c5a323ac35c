"""Heartbeats: which application serves which version of a model, said by the applications themselves.

::

    <model>/heartbeats/<app>@<host>/<process>-<n>.json

1. A process that serves a model puts a record under its own name and number, then deletes the one before: nothing is
   ever overwritten, and the highest number is what holds. Who reads between the two sees the newer one.
2. A heartbeat is a claim of whoever may write there, for people and for what may be deleted. Nothing is loaded, and
   nothing promoted, because of one.
3. A process says how often it beats. One that is late is silent: gone, cut off, or stuck. One that was killed takes
   nothing away: `forgotten_keys` says what is left of it once nobody asks any more.
4. Where a heartbeat lies says whose it is. One that says otherwise in it isn't one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Self

from dataops.errors import Format, Integrity, InvalidInput, NotFound
from dataops.records import Record, decode_record, encode_record, format_time, parse_time, require_name
from dataops.storage.objects import Store

FOLDER = "heartbeats"
MAX_HEARTBEAT_BYTES = 8192
LATE = 3
"""A process is silent that did not beat for so many of its own intervals."""
FORGOTTEN = timedelta(days=30)
"""How long after its last heartbeat a silent process is forgotten."""

_LONGEST = 366 * 86_400  # seconds from one heartbeat to the next
_PROCESS = re.compile(r"([0-9a-f]{12})-(\d{10})\.json")
_NO_HOST = re.compile(r"[^a-z0-9.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What one process says: it serves `version` of `model` by this generation of `alias`, since `since`.

    Attributes
    ----------
    app, host, process : which application, on which machine; 12 hex digits that no other process has.
    at, every : when it said so, and after how many seconds it will again at the latest.
    error : why it does not serve what the alias names now; None where nothing is wrong.
    """

    app: str
    host: str
    process: str
    model: str
    alias: str
    version: int
    version_digest: str
    generation: int
    since: datetime
    at: datetime
    every: float
    error: str | None

    def silent(self, now: datetime) -> bool:
        """Whether it should have beaten again long before `now`."""
        return now - self.at > timedelta(seconds=LATE * self.every)

    def to_bytes(self) -> bytes:
        """The heartbeat as a record."""
        body: Record = {field.name: getattr(self, field.name) for field in fields(self)}
        return encode_record("heartbeat", 1, {**body, "since": format_time(self.since), "at": format_time(self.at)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The heartbeat that `to_bytes` wrote.

        Raises
        ------
        Format : it didn't.
        """
        record = decode_record(data, "heartbeat", 1)
        try:
            texts = {name: str(record[name]) for name in ("app", "host", "process", "model", "alias", "version_digest")}
            return cls(
                **texts,
                version=int(record["version"]),
                generation=int(record["generation"]),
                since=parse_time(record["since"]),
                at=parse_time(record["at"]),
                every=_seconds(record["every"]),
                error=None if record["error"] is None else str(record["error"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Format(f"not a heartbeat: {type(error).__name__} while reading it") from None


def heartbeat_key(app: str, host: str, process: str, number: int) -> str:
    """Where heartbeat `number` of a process lies below the folder of its model's heartbeats."""
    return f"{require_name(app, 'application')}@{host_name(host)}/{process}-{number:010d}.json"


def host_name(host: str) -> str:
    """`host` as a key can hold it."""
    return _NO_HOST.sub("-", host.lower()).strip("-.")[:100] or "unknown"


def read_heartbeats(store: Store, model: str) -> list[Heartbeat]:
    """The last heartbeat of each process that serves `model`, by application, host and process.

    Parameters
    ----------
    store : that of the registry.
    """
    beats = [_read(store, keys[-1], model) for keys in _processes(store, model)]
    return sorted((beat for beat in beats if beat is not None), key=lambda beat: (beat.app, beat.host, beat.process))


def forgotten_keys(store: Store, model: str, *, now: datetime) -> list[str]:
    """Where all heartbeats lie of the processes that are silent for longer than `FORGOTTEN`."""
    found: list[str] = []
    for keys in _processes(store, model):
        beat = _read(store, keys[-1], model)
        if beat is not None and beat.silent(now) and now - beat.at >= FORGOTTEN:
            found += keys
    return found


def _processes(store: Store, model: str) -> list[list[str]]:
    """Where the heartbeats of each process that served `model` lie, the newest last."""
    folder = f"{require_name(model, 'model')}/{FOLDER}"
    found: dict[tuple[str, str], list[str]] = {}
    for key in sorted(store.list_with_links(folder)):  # numbers have ten digits
        place, _, name = key.removeprefix(f"{folder}/").rpartition("/")
        if (process := _PROCESS.fullmatch(name)) is not None:
            found.setdefault((place, process[1]), []).append(key)
    return list(found.values())


def converged(beats: Iterable[Heartbeat], *, alias: str, generation: int, now: datetime) -> bool:
    """Whether every process that follows `alias` and isn't silent serves `generation` of it, without an error."""
    heard = [beat for beat in beats if beat.alias == alias and not beat.silent(now)]
    return all(beat.generation == generation and beat.error is None for beat in heard)


def served_versions(beats: Iterable[Heartbeat], *, after: datetime) -> set[int]:
    """The versions that were served by a heartbeat not older than `after`: they must not be deleted."""
    return {beat.version for beat in beats if beat.at >= after}


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST:
        raise ValueError("every")
    return float(value)


def _read(store: Store, key: str, model: str) -> Heartbeat | None:
    """The heartbeat under `key`; None for one that was deleted by now, or isn't one, or isn't of this place: its writer
    proves nothing.
    """
    try:
        beat = Heartbeat.from_bytes(store.get_at_most(key, MAX_HEARTBEAT_BYTES))
        number = int(key.removesuffix(".json").rpartition("-")[2])
        place = f"{model}/{FOLDER}/{heartbeat_key(beat.app, beat.host, beat.process, number)}"
    except (NotFound, Format, Integrity, InvalidInput):
        return None
    return beat if (beat.model, place) == (model, key) else None
