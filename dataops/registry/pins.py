"""Pins: versions that nobody may delete, whatever names them or not.

1. Pins of a version are a journal: who pinned it, who took the pin away, when and why. The last entry holds.
2. A pin that came while a version was being deleted is seen by who deletes, or sees the deletion: of the two at least
   one gives way (see `garbage`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from dataops.errors import Integrity, InvalidInput, NotFound
from dataops.records import parse_time, require_name
from dataops.registry.tombstones import require_undeleted, unmark
from dataops.registry.versions import Registry
from dataops.storage.journal import Entry, Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What somebody said of a version: that it is to stay (`pinned`), or that it needn't any more."""

    model: str
    version: int
    pinned: bool
    actor: str
    reason: str
    entry: Entry

    @property
    def at(self) -> datetime:
        """When."""
        return parse_time(self.entry.written_at)


def pin(registry: Registry, model: str, version: int, *, actor: str, reason: str) -> Pin:
    """The pin that keeps the version; the one that is there already, if there is one.

    A version that was marked to be deleted is so no more.

    Raises
    ------
    NotFound : no such version.
    Conflict : it is being deleted.
    InvalidInput : nobody, or no reason.
    """
    registry.read_manifest(model, version)
    last = _last(registry, model, version)
    made = last if last is not None and last.pinned else _say(registry, model, version, actor, reason, pinned=True)
    require_undeleted(registry.store, model, version)
    unmark(registry.store, model, version)
    return made


def unpin(registry: Registry, model: str, version: int, *, actor: str, reason: str) -> Pin:
    """What says that the version needn't stay for its pin.

    Raises
    ------
    NotFound : it isn't pinned.
    InvalidInput : nobody, or no reason.
    """
    last = _last(registry, model, version)
    if last is None or not last.pinned:
        raise NotFound(f"{model}@{version} is not pinned")
    return _say(registry, model, version, actor, reason, pinned=False)


def pins(registry: Registry, model: str) -> dict[int, Pin]:
    """The pins that hold, by version."""
    prefix = f"{require_name(model, 'model')}/pins"
    names = {key.removeprefix(f"{prefix}/").split("/")[0] for key in registry.store.list(prefix)}
    found = (_last(registry, model, int(name)) for name in sorted(names) if name.isdecimal())
    return {one.version: one for one in found if one is not None and one.pinned}


def pin_history(registry: Registry, model: str, version: int) -> Iterator[Pin]:
    """All that was said of the version, oldest first."""
    return (_parse(entry, model, version) for entry in _journal(registry, model, version).entries())


def _say(registry: Registry, model: str, version: int, actor: str, reason: str, *, pinned: bool) -> Pin:
    if not (actor.strip() and reason.strip()):
        raise InvalidInput("a pin comes and goes only with a record of who and why: give it")
    body = {"model": model, "version": version, "pinned": pinned, "actor": actor, "reason": reason}
    return _parse(_journal(registry, model, version).append(body), model, version)


def _last(registry: Registry, model: str, version: int) -> Pin | None:
    entry = _journal(registry, model, version).tail()
    return None if entry is None else _parse(entry, model, version)


def _journal(registry: Registry, model: str, version: int) -> Journal:
    return Journal(registry.store, f"{require_name(model, 'model')}/pins/{version}", "pin")


def _parse(entry: Entry, model: str, version: int) -> Pin:
    body, where = entry.body, f"pin {entry.number} of {model}@{version}"
    if (body.get("model"), body.get("version")) != (model, version):
        raise Integrity(f"{where} was written for another version: the folder was moved")
    if not isinstance(body.get("pinned"), bool):
        raise Integrity(f"{where} doesn't say whether the version is to stay")
    return Pin(
        model=model,
        version=version,
        pinned=body["pinned"],
        actor=str(body.get("actor")),
        reason=str(body.get("reason")),
        entry=entry,
    )
