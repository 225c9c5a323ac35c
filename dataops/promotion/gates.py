"""Gates: may this version replace that one? Decided from figures and rules alone.

1. Every rule is judged and reported, also when the first one fails; their order decides nothing.
2. Whoever sets no rule is not gated, and what is not gated is not promoted.
3. Without a champion nothing can be lost against it: what is relative is skipped, and the absolute limits decide; at
   least one has to.
4. What can't be judged fails; only what there is too little of to judge (a small slice) is skipped, and the verdict
   says so.
5. A limit that is tightened turns no refusal into a pass.
6. Whatever the rules say, a version has to load and predict. One that can't is unfit: no person promotes it either. One
   that was ended by a limit is refused, and a person may know better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dataops.declarations.promotion import CallableRule, Promotion, Rule, kind_of
from dataops.promotion.findings import Evidence, Finding, Outcome, Verdict
from dataops.promotion.kinds import KINDS, failed_call, uncalled


def judge(evidence: Evidence, promotion: Promotion) -> Verdict:
    """The verdict on a candidate with this evidence, by these rules; one that names no dataset is about `HOLDOUT`."""
    by_rules = [
        finding for index, rule in enumerate(promotion.rules, start=1) for finding in _judge(index, rule, evidence)
    ]
    findings = (*by_rules, *_uncalled(evidence, promotion))
    passed = any(f.passed for f in findings) and not any(f.outcome is Outcome.FAILED for f in findings)
    unfit = any(called.failed for called in evidence.called.values())
    return Verdict(passed=passed, findings=findings, reasons=tuple(_reasons(findings, evidence)), unfit=unfit)


def _judge(index: int, rule: Rule, evidence: Evidence) -> Iterator[Finding]:
    kind = kind_of(rule)
    for finding in KINDS[kind](rule, evidence):
        yield replace(finding, rule=index, kind=kind)


def _uncalled(evidence: Evidence, promotion: Promotion) -> Iterator[Finding]:
    """What calling it came to where no rule asks for that: nothing is said of one that can be called."""
    asked = {rule.callable for rule in promotion.rules if isinstance(rule, CallableRule)}
    for limits, called in evidence.called.items():
        if limits not in asked and (why := uncalled(called)):
            yield replace(failed_call(limits, why), kind="callable")


def _reasons(findings: Sequence[Finding], evidence: Evidence) -> Iterator[str]:
    if not any(finding.rule for finding in findings):
        yield "no rules: not gated, so not promoted"
    elif evidence.champion_unreadable:
        yield f"the champion can't be read ({evidence.champion_unreadable}): limits relative to it fail"
    elif evidence.champion is None:
        yield "no champion yet: absolute limits decide"
    if any(called.failed for called in evidence.called.values()):
        yield "it can't be loaded and called, which no override changes"
    if findings:
        yield _counted(findings)


def _counted(findings: Sequence[Finding]) -> str:
    """How many limits failed or held, in words."""
    failed = sum(finding.outcome is Outcome.FAILED for finding in findings)
    held = sum(finding.passed for finding in findings)
    skipped = len(findings) - failed - held
    if failed:
        return f"{failed} of {len(findings)} limits failed"
    if held == 0:
        return "no limit could be judged: not gated, so not promoted; set a minimum or a maximum"
    return f"{held} of {len(findings)} limits held{f', {skipped} could not be judged' if skipped else ''}"
