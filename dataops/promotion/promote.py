"""Promotion: judge a version against the one that it would replace, leave a verdict, move the alias.

1. The verdict is on file before the alias moves, and also when it doesn't; the alias names the verdict by digest.
2. The alias moves only from the champion that was judged against. Where somebody else was faster, the candidate is
   judged anew against theirs: no promotion is lost, and none stands on a comparison that no longer holds.
3. The candidate is read whole, every byte and signature checked, before it is judged. What is champion already isn't
   moved again.
4. A person may take a refusal upon themselves (`override`); what failed stays in the verdict.
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
from dataops.promotion.findings import Verdict
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
    candidate = registry.read(model, version)
    given = sources or Sources()
    of_itself = of_candidate(candidate, promotion, given)
    while True:
        require_kept(registry.store, model, version)  # else the move is refused, whoever is champion
        last = last_move(registry, model, alias)
        evidence = beside_champion(of_itself, candidate, last, promotion, registry=registry, sources=given)
        verdict = judge(evidence, promotion)
        taken = None if verdict.passed else override
        record = verdict_record(
            verdict,
            override=None if taken is None else taken.record(actor),
            actor=actor,
            reason=reason,
            judged_at=format_time(clock()),
            **_circumstances(candidate, last, promotion, alias=alias),
        )
        verdict_digest = write_verdict(registry, record)
        if not verdict.passed and taken is None:
            raise Conflict(_refusal(candidate, alias, verdict, verdict_digest))
        done = partial(Promoted, verdict=verdict, verdict_digest=verdict_digest, overridden=taken is not None)
        if last is not None and last.version_digest == candidate.version.digest and last.trusted:
            return done(move=last, moved=False)
        try:
            moved = move(
                registry,
                model,
                alias,
                version,
                version_digest=candidate.version.digest,
                actor=actor,
                reason=_reason(reason, taken),
                verdict_digest=verdict_digest,
                key=key,
                after=last,
            )
        except Conflict:
            continue  # somebody else moved it: each round lost is a promotion of theirs, so all come to an end
        return done(move=moved, moved=True)


def _reason(reason: str, override: Override | None) -> str:
    """What the move says: an override is seen wherever moves are."""
    if override is None:
        return reason
    return f"{reason} (against its gates until {override.until:%Y-%m-%d}: {override.why})"


def _circumstances(candidate: LoadedVersion, last: AliasMove | None, promotion: Promotion, *, alias: str) -> Record:
    champion = last and {"version": last.version, "digest": last.version_digest, "generation": last.generation}
    return {
        "model": candidate.version.model,
        "version": candidate.version.version,
        "version_digest": candidate.version.digest,
        "alias": alias,
        "champion": champion,
        "promotion": promotion.model_dump(mode="json", by_alias=True),
    }


def _refusal(candidate: LoadedVersion, alias: str, verdict: Verdict, verdict_digest: str) -> str:
    failed = "".join(f"\n  {tell(finding.record())}" for finding in verdict.failed)
    page = f"{verdict_key(candidate.version.model, verdict_digest)}.md"
    reasons = "; ".join(verdict.reasons)
    return f"{candidate.version.reference} is not promoted to {alias}: {reasons}{failed}\nverdict: {page}"
