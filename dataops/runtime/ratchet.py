"""The ratchet: the highest generation of an alias that a reader ever saw; it follows none that is lower.

1. Whoever can write the registry, or serve an old copy of it, could bring back a version that was rolled back, and its
   signatures would still be good. So the reader remembers by itself, where the registry's writers can't reach.
2. What was seen is kept before it is followed, also when the version then can't be loaded: seen is seen.
3. A generation is named by its digest too: another entry of the same number is another history, and refused.
4. Kept are records under the number of their generation, so that of several processes with one folder none forgets
   what another saw.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from dataops.errors import Format, Integrity, NotFound, Storage
from dataops.records import decode_record, encode_record, format_time, now_utc, require_name
from dataops.registry.moves import AliasMove
from dataops.storage.objects import Store

_MAX_RECORD_BYTES = 4096
_TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A generation and the digest of its entry."""

    generation: int
    digest: str


class Ratchet:
    """What was seen of `alias` of `model`: in memory, and in `store` where one is given."""

    __slots__ = ("_alias", "_model", "_seen", "_store")

    def __init__(self, model: str, alias: str, store: Store | None = None) -> None:
        self._model, self._alias = require_name(model, "model"), require_name(alias, "alias")
        self._store = store
        self._seen: Seen | None = None

    def seen(self) -> Seen | None:
        """The highest generation that was seen by any process that keeps it here; None before the first.

        Raises
        ------
        Integrity : what is kept is no such record: it is no reason to begin anew.
        Storage : it can't be read.
        """
        for _ in range(_TRIES):
            newest = max(self._kept(), default=0)
            if newest <= (self._seen.generation if self._seen else 0):
                return self._seen
            with suppress(NotFound):  # by now another process saw a later one, and deleted this
                self._seen = self._read(newest)
        raise Storage(f"which generation of {self._folder} was seen can't be told: what is listed there isn't there")

    def advance(self, move: AliasMove) -> None:
        """`move` is seen now, and kept.

        Raises
        ------
        Integrity : a later generation was seen, or another one of this number.
        Storage : it can't be kept, and must not be followed.
        """
        self._require_later(move)
        seen = Seen(generation=move.generation, digest=move.entry.digest)
        if self._store is not None and self._seen != seen:
            body = {"model": self._model, "alias": self._alias, "generation": seen.generation, "digest": seen.digest}
            record = encode_record("seen", 1, {**body, "at": format_time(now_utc())})
            if not self._store.put_if_absent(self._key(seen.generation), record):
                self._require_later(move)  # another process saw one of this number just now: the same, one hopes
            for number in self._kept():
                if number < seen.generation:
                    self._store.delete(self._key(number))
        self._seen = seen

    def _require_later(self, move: AliasMove) -> None:
        seen = self.seen()
        if seen is None:
            return
        if move.generation < seen.generation:
            raise Integrity(
                f"the registry says generation {move.generation} of {self._model}@{self._alias}, but generation "
                f"{seen.generation} was seen before: an older copy of it, or somebody took moves away. Nothing "
                f"older is followed. If you took it back yourself, {self._reset()}"
            )
        if move.generation == seen.generation:
            self._require_same(move, seen)

    def _require_same(self, move: AliasMove, seen: Seen) -> None:
        if move.entry.digest != seen.digest:
            raise Integrity(
                f"generation {move.generation} of {self._model}@{self._alias} is another one than was seen before: its "
                f"history was written anew. Nothing of it is followed. If you did so yourself, {self._reset()}"
            )

    def _reset(self) -> str:
        if self._store is None:
            return "start the application anew"
        return f"delete {self._folder} in {self._store.url} and start the application anew"

    @property
    def _folder(self) -> str:
        return f"{self._model}/{self._alias}"

    def _key(self, generation: int) -> str:
        return f"{self._folder}/{generation:010d}.json"

    def _kept(self) -> list[int]:
        """The numbers of what is kept."""
        keys = self._store.list(self._folder) if self._store is not None else []
        stems = [key.rpartition("/")[2].removesuffix(".json") for key in keys]
        return [int(stem) for stem in stems if stem.isdecimal()]

    def _read(self, generation: int) -> Seen:
        assert self._store is not None  # noqa: S101 - only what `_kept` found there is read
        data = self._store.get_at_most(self._key(generation), _MAX_RECORD_BYTES)
        try:
            record = decode_record(data, "seen", 1)
        except Format:
            record = {}
        said = tuple(record.get(name) for name in ("model", "alias", "generation"))
        if said != (self._model, self._alias, generation) or not isinstance(record.get("digest"), str):
            raise Integrity(
                f"{self._key(generation)} in {self._store.url} does not say which generation was seen: it was altered. "
                f"If you know why, {self._reset()}"
            )
        return Seen(generation=generation, digest=record["digest"])
