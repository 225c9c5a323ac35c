"""What is to be served next: the version that an alias names, read and checked where that is another one than before.

1. Generations only go up (`ratchet`), and what was seen is kept before the version is read.
2. A version that was refused isn't read again at each look, which would keep disk and network busy for nothing: 1, 3, 7
   and up to `MOST_SKIPPED` looks are left out, until the alias moves on or other keys are trusted. The alias itself is
   read at each look, and who asks by hand doesn't wait.
3. A storage that fails refuses nothing: its version is tried again at the next look.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataops.errors import NotFound, Storage
from dataops.records import now_utc
from dataops.registry.aliases import current, require_follows
from dataops.registry.moves import AliasMove
from dataops.registry.trust import Trust, TrustFile
from dataops.registry.versions import Registry
from dataops.runtime.ratchet import Ratchet
from dataops.runtime.serving import Serving, load_serving

MOST_SKIPPED = 31
"""Looks in a row that don't read a refused version: at one look in 30 s, a quarter of an hour."""


@dataclass(slots=True, kw_only=True)
class _Refused:
    """The version of an alias's entry that can't be served, how often it was tried, and looks to be skipped yet."""

    entry: str
    trust: Trust
    error: Exception
    tries: int
    skip: int


class Following:
    """What `alias` of `model` names, by the reader's own trust."""

    def __init__(
        self,
        registry: Registry,
        model: str,
        alias: str,
        *,
        signers: TrustFile | None,
        ratchet: Ratchet,
        threads: int,
    ) -> None:
        self._registry, self._model, self._alias = registry, model, alias
        self._signers, self._ratchet, self._threads = signers, ratchet, threads
        self._refused: _Refused | None = None

    def next(self, serving: Serving | None, *, patient: bool = False) -> Serving:
        """What is to be served: `serving` itself where the alias did not move.

        With `patient`, a version that was refused may not be read again: its error is raised once more.

        Raises
        ------
        NotFound, Integrity, Format, Storage, Compute : what is named now can't be served.
        """
        if self._signers is not None:  # a key that was revoked or added there counts from this look on
            self._registry = Registry(self._registry.store, self._signers.read())
        move = self._newest()
        if serving is not None and serving.move.entry.digest == move.entry.digest:
            self._refused = None
            return serving
        refused = self._refusal_of(move)
        if patient and refused is not None and refused.skip:
            refused.skip -= 1
            raise refused.error
        return self._load(move, tries=1 if refused is None else refused.tries + 1)

    def _newest(self) -> AliasMove:
        move = current(self._registry, self._model, self._alias)
        if move is None:
            raise NotFound(f"{self._model}@{self._alias} names no version: promote one, or ask for another alias")
        seen = self._ratchet.seen()
        if seen is not None and move.generation > seen.generation:
            require_follows(self._registry, move, generation=seen.generation, digest=seen.digest)
        self._ratchet.advance(move)
        return move

    def _refusal_of(self, move: AliasMove) -> _Refused | None:
        refused = self._refused
        same = refused is not None and refused.entry == move.entry.digest and refused.trust is self._registry.trust
        return refused if same else None

    def _load(self, move: AliasMove, *, tries: int) -> Serving:
        try:
            loaded = load_serving(self._registry, move, since=now_utc(), threads=self._threads)
        except Storage:
            raise
        except Exception as error:
            self._refused = _Refused(
                entry=move.entry.digest,
                trust=self._registry.trust,
                error=error,
                tries=tries,
                skip=min(2**tries - 1, MOST_SKIPPED),
            )
            raise
        self._refused = None
        return loaded
