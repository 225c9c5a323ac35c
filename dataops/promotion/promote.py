"""Promotion: judge a version against the one that it would replace, leave a verdict, move the alias.

1. The verdict is on file before the alias moves, and also when it doesn't; the alias names the verdict by digest.
2. The alias moves only from the champion that was judged against. Where somebody else was faster, the candidate is
   judged anew against theirs: no promotion is lost, and none stands on a comparison that no longer holds.
3. The candidate is read whole, every byte and signature checked, before it is judged. What is champion already isn't
   moved again.
4. A person may take a refusal upon themselves (`override`); what failed stays in the verdict. A version that can't be
   loaded and called is promoted by nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from dataops.declarations.promotion import Promotion
from dataops.errors import Conflict, InvalidInput
from dataops.governance.signing import SigningKey
from dataops.promotion.evidence import Sources, beside_champion, of_candidate
from dataops.promotion.findings import Evidence, Verdict
from dataops.promotion.gates import judge
from dataops.promotion.override import Override
from dataops.promotion.verdict import tell, verdict_key, verdict_record, write_verdict
from dataops.records import Record, format_time, now_utc
from dataops.registry.aliases import CHAMPION, last_move, move, require_reason
from dataops.registry.moves import AliasMove
from dataops.registry.tombstones import require_kept
from dataops.registry.versions import LoadedVersion, Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """A promotion that went through.

    Attributes
    ----------
    moved : False where the version was the champion already.
    overridden : the verdict said no, and a person took it upon themselves.
    """

    verdict: Verdict
    verdict_digest: str
    move: AliasMove
    moved: bool
    overridden: bool = False


def promote(
    registry: Registry,
    model: str,
    version: int,
    *,
    promotion: Promotion,
    actor: str,
    reason: str,
    alias: str = CHAMPION,
    sources: Sources | None = None,
    override: Override | None = None,
    key: SigningKey | None = None,
    clock: Callable[[], datetime] = now_utc,
) -> Promoted:
    """Moves `alias` to `version` if its figures pass the gates; writes the verdict either way.

    Parameters
    ----------
    registry, model, version
        The candidate.
    promotion
        The rules of this model.
    actor, reason
        Who asks and why, for the record.
    alias
        What moves; the candidate is judged against the version that it points at.
    sources
        Where figures come from. Default: what the versions recorded of themselves, and a call in a process of its own.
    override
        Moves it also where the gates say no; it isn't recorded where they don't.
    key
        Signs the move.
    clock
        Gives the time for the verdict.

    Raises
    ------
    Conflict : refused; the message names each limit that failed, and the verdict's file. Or it is marked to be deleted.
    InvalidInput : the rules of another model, nobody or no reason given, an override without a proper end.
    NotFound, Integrity, Format : there is no such version, it can't be read or trusted, or it was exchanged meanwhile.
    """
    require_reason(actor, reason)
    if override is not None:
        override.require(clock())
    if promotion.model != model:
        raise InvalidInput(f"these are the promotion rules of {promotion.model!r}, not of {model!r}")
    asked = _Asked(
        registry=registry,
        candidate=registry.read(model, version),
        promotion=promotion,
        alias=alias,
        actor=actor,
        reason=reason,
        sources=sources or Sources(),
        override=override,
    )
    of_itself = of_candidate(asked.candidate, promotion, asked.sources)
    while True:
        require_kept(registry.store, model, version)  # else the move is refused, whoever is champion
        judged = _judge(asked, of_itself, last_move(registry, model, alias), clock())
        _require_allowed(asked, judged)
        try:
            return _moved(asked, judged, key)
        except Conflict:
            continue  # somebody else moved it: each round lost is a promotion of theirs, so all come to an end


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Who wants which version to become what, by which rules."""

    registry: Registry
    candidate: LoadedVersion
    promotion: Promotion
    alias: str
    actor: str
    reason: str
    sources: Sources
    override: Override | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A verdict on file, the champion that it was made against, and the override where it takes one that there is."""

    last: AliasMove | None
    verdict: Verdict
    digest: str
    taken: Override | None


def _judge(asked: _Asked, of_itself: Evidence, last: AliasMove | None, at: datetime) -> _Judged:
    """The verdict against the champion that `last` names, once it is written."""
    evidence = beside_champion(
        of_itself, asked.candidate, last, asked.promotion, registry=asked.registry, sources=asked.sources
    )
    verdict = judge(evidence, asked.promotion)
    taken = None if verdict.passed or verdict.unfit else asked.override
    record = verdict_record(
        verdict,
        override=None if taken is None else taken.record(asked.actor),
        actor=asked.actor,
        reason=asked.reason,
        judged_at=format_time(at),
        **_circumstances(asked, last),
    )
    return _Judged(last=last, verdict=verdict, digest=write_verdict(asked.registry, record), taken=taken)


def _require_allowed(asked: _Asked, judged: _Judged) -> None:
    if not judged.verdict.passed and judged.taken is None:
        raise Conflict(_refusal(asked.candidate, asked.alias, judged.verdict, judged.digest))


def _moved(asked: _Asked, judged: _Judged, key: SigningKey | None) -> Promoted:
    """The promotion; no move where the version is the champion already.

    Raises
    ------
    Conflict : the champion is another than was judged against.
    """
    version, last = asked.candidate.version, judged.last
    done = partial(Promoted, verdict=judged.verdict, verdict_digest=judged.digest, overridden=judged.taken is not None)
    if last is not None and last.version_digest == version.digest and last.trusted:
        return done(move=last, moved=False)
    made = move(
        asked.registry,
        version.model,
        asked.alias,
        version.version,
        version_digest=version.digest,
        actor=asked.actor,
        reason=_reason(asked.reason, judged.taken),
        verdict_digest=judged.digest,
        key=key,
        after=last,
    )
    return done(move=made, moved=True)


def _reason(reason: str, override: Override | None) -> str:
    """What the move says: an override is seen wherever moves are."""
    if override is None:
        return reason
    return f"{reason} (against its gates until {override.until:%Y-%m-%d}: {override.why})"


def _circumstances(asked: _Asked, last: AliasMove | None) -> Record:
    version = asked.candidate.version
    return {
        "model": version.model,
        "version": version.version,
        "version_digest": version.digest,
        "alias": asked.alias,
        "champion": last and {"version": last.version, "digest": last.version_digest, "generation": last.generation},
        "promotion": asked.promotion.model_dump(mode="json", by_alias=True),
    }


def _refusal(candidate: LoadedVersion, alias: str, verdict: Verdict, verdict_digest: str) -> str:
    failed = "".join(f"\n  {tell(finding.record())}" for finding in verdict.failed)
    page = f"{verdict_key(candidate.version.model, verdict_digest)}.md"
    reasons = "; ".join(verdict.reasons)
    return f"{candidate.version.reference} is not promoted to {alias}: {reasons}{failed}\nverdict: {page}"
