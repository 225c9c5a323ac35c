"""Promotion: judge a version against the one that it would replace, leave a verdict, move the alias.

1. The verdict is on file before the alias moves, and also when it doesn't; the alias names the verdict by digest.
2. The alias moves only from the champion that was judged against. Where somebody else was faster, the candidate is
   judged anew against theirs: no promotion is lost, and none stands on a comparison that no longer holds.
3. The candidate is read whole, every byte checked, before it is judged. What is champion already isn't moved again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dataops.declarations.promotion import Promotion
from dataops.errors import Conflict, Format, Integrity, InvalidInput, NotFound, Storage
from dataops.governance.signing import SigningKey
from dataops.models.markdown import number
from dataops.promotion.gates import Finding, Metrics, Verdict, judge
from dataops.promotion.verdict import verdict_page, verdict_record
from dataops.records import digest_bytes, encode_record, format_time, now_utc
from dataops.registry.aliases import CHAMPION, AliasMove, current, move, require_reason, version_of
from dataops.registry.versions import LoadedVersion, Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """A promotion that went through; `moved` is False where the version was the champion already."""

    verdict: Verdict
    verdict_digest: str
    move: AliasMove
    moved: bool


def recorded_metrics(version: LoadedVersion) -> Metrics:
    """The figures that a version's package carries, from its own evaluation."""
    return version.package.metrics


def promote(
    registry: Registry,
    model: str,
    version: int,
    *,
    promotion: Promotion,
    actor: str,
    reason: str,
    alias: str = CHAMPION,
    key: SigningKey | None = None,
    figures: Callable[[LoadedVersion], Metrics] = recorded_metrics,
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
    key
        Signs the move.
    figures
        The metrics of a version, asked for the candidate and the champion: to evaluate both on one pinned snapshot.
    clock
        Gives the time for the verdict.

    Raises
    ------
    Conflict : refused; the message names each limit that failed, and the verdict's file.
    InvalidInput : the rules of another model, or nobody or no reason given.
    NotFound, Integrity, Format : there is no such version, or it can't be read.
    """
    require_reason(actor, reason)
    if promotion.model != model:
        raise InvalidInput(f"these are the promotion rules of {promotion.model!r}, not of {model!r}")
    candidate = registry.read(model, version)
    ours = figures(candidate)
    while True:
        last = current(registry, model, alias)
        theirs, unreadable = _champion_figures(registry, last, candidate, figures)
        verdict = judge(ours, theirs, promotion, champion_unreadable=unreadable)
        circumstances = _circumstances(candidate, last, promotion, alias=alias)
        record = verdict_record(verdict, actor=actor, reason=reason, judged_at=format_time(clock()), **circumstances)
        verdict_digest = write_verdict(registry, record)
        if not verdict.passed:
            raise Conflict(_refusal(candidate, alias, verdict, verdict_digest))
        if last is not None and last.version_digest == candidate.version.digest:
            return Promoted(verdict=verdict, verdict_digest=verdict_digest, move=last, moved=False)
        try:
            moved = move(
                registry,
                model,
                alias,
                version,
                actor=actor,
                reason=reason,
                verdict_digest=verdict_digest,
                key=key,
                after=last,
            )
        except Conflict:
            continue  # somebody else moved it: each round lost is a promotion of theirs, so all come to an end
        return Promoted(verdict=verdict, verdict_digest=verdict_digest, move=moved, moved=True)


def _champion_figures(
    registry: Registry,
    last: AliasMove | None,
    candidate: LoadedVersion,
    figures: Callable[[LoadedVersion], Metrics],
) -> tuple[Metrics | None, str]:
    """The champion's figures, or None and, where there is a champion, why they can't be had."""
    if last is None:
        return None, ""
    if last.version_digest == candidate.version.digest:
        return figures(candidate), ""
    try:
        version_of(registry, last)
        return figures(registry.read(last.model, last.version)), ""
    except (NotFound, Integrity, Format) as error:
        return None, f"version {last.version}, {type(error).__name__}: {error}"


def _circumstances(
    candidate: LoadedVersion, last: AliasMove | None, promotion: Promotion, *, alias: str
) -> dict[str, Any]:
    champion = last and {"version": last.version, "digest": last.version_digest, "generation": last.generation}
    return {
        "model": candidate.version.model,
        "version": candidate.version.version,
        "version_digest": candidate.version.digest,
        "alias": alias,
        "champion": champion,
        "promotion": promotion.model_dump(mode="json"),
    }


def write_verdict(registry: Registry, record: dict[str, Any]) -> str:
    """The digest of a verdict's record, once it and its page are on file."""
    data = encode_record("verdict", 1, record)
    verdict_digest = digest_bytes(data)
    key = verdict_key(record["model"], verdict_digest)
    # The page first: where the record is, the page is.
    for name, content in ((f"{key}.md", verdict_page(record).encode("utf-8")), (f"{key}.json", data)):
        if not registry.store.put_if_absent(name, content):
            raise Storage(f"{name} is there with other bytes: it was changed after it was written")
    return verdict_digest


def verdict_key(model: str, verdict_digest: str) -> str:
    """Where a verdict lies in the registry, without the ``.json`` or ``.md``."""
    return f"{model}/verdicts/{verdict_digest.removeprefix('sha256:')}"


def _refusal(candidate: LoadedVersion, alias: str, verdict: Verdict, verdict_digest: str) -> str:
    failed = "".join(f"\n  {_failed(finding)}" for finding in verdict.failed)
    page = f"{verdict_key(candidate.version.model, verdict_digest)}.md"
    reasons = "; ".join(verdict.reasons)
    return f"{candidate.version.reference} is not promoted to {alias}: {reasons}{failed}\nverdict: {page}"


def _failed(finding: Finding) -> str:
    where = f"rule {finding.rule}, {finding.metric} on {finding.dataset}"
    if finding.note:
        return f"{where}: {finding.note}"
    bound = f" (here {number(finding.bound)})" if finding.bound != finding.declared else ""
    return f"{where}: {number(finding.value)}, {finding.limit} {number(finding.declared)}{bound}"
