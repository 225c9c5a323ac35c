"""Evidence: the figures that a promotion is decided by, gathered from the registry and from whoever knows the rest.

1. Gathering decides nothing: what can't be had is handed on with the reason.
2. What concerns the candidate alone is gathered once, what concerns the champion each time that the champion changed.
3. A candidate is always called: under the limits of the rules, without one under the defaults. Of all else only what a
   rule asks for is gathered: nobody waits for a rescore that no rule looks at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from dataops.declarations.promotion import (
    CallableLimits,
    CallableRule,
    ImpactLimits,
    ImpactRule,
    Promotion,
    RealisedLimits,
    RealisedRule,
)
from dataops.errors import Format, Integrity, NotFound
from dataops.promotion.calling import call_version
from dataops.promotion.findings import Called, Evidence, Judged, Measured, Metrics
from dataops.registry.aliases import version_of
from dataops.registry.moves import AliasMove
from dataops.registry.versions import LoadedVersion, Registry

ImpactSource: TypeAlias = Callable[[ImpactLimits, LoadedVersion, AliasMove], Measured | str]
RealisedSource: TypeAlias = Callable[[RealisedLimits, LoadedVersion, AliasMove | None], Judged | str]
_NO_RUNS = "no runs are known here: promote in the workspace whose job it is"


def recorded_metrics(version: LoadedVersion) -> Metrics:
    """The figures that a version's package carries, from its own evaluation."""
    return version.package.metrics


def _no_impact(_limits: ImpactLimits, _candidate: LoadedVersion, _champion: AliasMove) -> Measured | str:
    return _NO_RUNS


def _no_realised(_limits: RealisedLimits, _candidate: LoadedVersion, _champion: AliasMove | None) -> Judged | str:
    return _NO_RUNS


def _unknown_classes(_candidate: LoadedVersion) -> frozenset[str] | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where evidence comes from.

    Attributes
    ----------
    figures : the metrics of a version, asked for the candidate and the champion: to evaluate both on one snapshot.
    impact : what a rescore counted of the candidate beside the champion, or why nobody did.
    realised : what an evaluate job measured of the candidate and the champion on the same rows, or why nobody did.
    learned_from : classes of all columns that a version learned from; None where nobody knows.
    call : loads a version in a process of its own, and predicts.
    """

    figures: Callable[[LoadedVersion], Metrics] = recorded_metrics
    impact: ImpactSource = _no_impact
    realised: RealisedSource = _no_realised
    learned_from: Callable[[LoadedVersion], frozenset[str] | None] = _unknown_classes
    call: Callable[[LoadedVersion, CallableLimits], Called] = call_version


def of_candidate(candidate: LoadedVersion, promotion: Promotion, sources: Sources) -> Evidence:
    """What is known of the candidate alone."""
    asked = dict.fromkeys(rule.callable for rule in promotion.rules if isinstance(rule, CallableRule))
    return Evidence(
        candidate=sources.figures(candidate),
        sources=candidate.package.program.sources,
        classifications=candidate.manifest.classifications,
        learned_from=sources.learned_from(candidate),
        called={limits: sources.call(candidate, limits) for limits in asked or (CallableLimits(),)},
    )


def beside_champion(
    evidence: Evidence,
    candidate: LoadedVersion,
    last: AliasMove | None,
    promotion: Promotion,
    *,
    registry: Registry,
    sources: Sources,
) -> Evidence:
    """`evidence` with what is known of the champion that `last` names, and of both together."""
    judged = dict.fromkeys(rule.realised for rule in promotion.rules if isinstance(rule, RealisedRule))
    if last is None:
        return replace(evidence, realised={limits: sources.realised(limits, candidate, None) for limits in judged})
    if last.trusted and last.version_digest == candidate.version.digest:
        return replace(evidence, champion=evidence.candidate, is_champion=True)
    asked = dict.fromkeys(rule.impact for rule in promotion.rules if isinstance(rule, ImpactRule))
    if not last.trusted:
        why = f"generation {last.generation}, {last.words}"
        nothing = f"the champion can't be read ({why})"
        return replace(
            evidence,
            champion_unreadable=why,
            impacts=dict.fromkeys(asked, nothing),
            realised=dict.fromkeys(judged, nothing),
        )
    evidence = replace(
        evidence,
        impacts={limits: sources.impact(limits, candidate, last) for limits in asked},
        realised={limits: sources.realised(limits, candidate, last) for limits in judged},
    )
    try:
        version_of(registry, last)
        champion = registry.read(last.model, last.version)
        return replace(evidence, champion=sources.figures(champion), incomparable=_other_target(candidate, champion))
    except (NotFound, Integrity, Format) as error:
        return replace(evidence, champion_unreadable=f"version {last.version}, {type(error).__name__}: {error}")


def _other_target(candidate: LoadedVersion, champion: LoadedVersion) -> str:
    """Why figures of the two say nothing of each other: they predict something else; "" where they don't."""
    ours, theirs = (one.manifest.lineage.get("target") for one in (candidate, champion))
    if ours is None or theirs is None or ours == theirs:
        return ""
    return f"the champion predicts something else ({theirs}, here {ours}): another target is a model of another name"
