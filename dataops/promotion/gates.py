"""Gates: may this version replace that one? Decided from figures and rules alone.

1. Every rule is judged and reported, also when the first one fails; their order decides nothing.
2. Whoever sets no rule is not gated, and what is not gated is not promoted.
3. Without a champion nothing can be lost against it: what is relative is skipped, and the absolute limits decide; at
   least one has to.
4. What can't be judged fails; only what there is too little of to judge (a small slice) is skipped, and the verdict
   says so.
5. A limit that is tightened turns no refusal into a pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dataops.declarations.promotion import Promotion, Rule, kind_of
from dataops.promotion.findings import Evidence, Finding, Outcome, Verdict
from dataops.promotion.kinds import KINDS


def judge(evidence: Evidence, promotion: Promotion) -> Verdict:
    """The verdict on a candidate with this evidence, by these rules; one that names no dataset is about `HOLDOUT`."""
    findings = tuple(
        finding for index, rule in enumerate(promotion.rules, start=1) for finding in _judge(index, rule, evidence)
    )
    passed = any(f.passed for f in findings) and not any(f.outcome is Outcome.FAILED for f in findings)
    return Verdict(passed=passed, findings=findings, reasons=tuple(_reasons(findings, evidence)))


def _judge(index: int, rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    kind = kind_of(rule)
    for finding in KINDS[kind](rule, evidence):
        yield replace(finding, rule=index, kind=kind)


def _reasons(findings: tuple[Finding, ...], evidence: Evidence) -> Iterator[str]:
    if not findings:
        yield "no rules: not gated, so not promoted"
        return
    if evidence.champion_unreadable:
        yield f"the champion can't be read ({evidence.champion_unreadable}): limits relative to it fail"
    elif evidence.champion is None:
        yield "no champion yet: absolute limits decide"
    failed = sum(finding.outcome is Outcome.FAILED for finding in findings)
    held = sum(finding.passed for finding in findings)
    skipped = len(findings) - failed - held
    if failed:
        yield f"{failed} of {len(findings)} limits failed"
    elif held == 0:
        yield "no limit could be judged: not gated, so not promoted; set a minimum or a maximum"
    else:
        yield f"{held} of {len(findings)} limits held{f', {skipped} could not be judged' if skipped else ''}"
