"""What a run says of models that were judged by outcomes: each on the rows that it scored, and two of them compared.

1. A version of fewer judged rows than the policies show figures about is named without figures.
2. Two versions are compared on the rows that both scored, in one pass each time: the very same rows.
3. All figures are about the rows of companies (who scored a part together), or of several of them. Where one company
   has some judged rows, but fewer than may be shown, nothing is compared: two figures would tell of its rows. A metric
   that would tell of too few rows of one company isn't compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from dataops.declarations.metrics import REALISED
from dataops.records import Record
from dataops.training.evaluate import report
from dataops.training.outcome_join import Joined, Measured
from dataops.training.tasks import Measures, judge_of

_HIDDEN = "rows that some versions scored together are fewer than the policies show figures about"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """A model version by which rows were scored; `name` is the one that it had in the job, `OWN` or a challenger's."""

    name: str
    model: str
    version: int
    digest: str


def version_figures(
    joined: Joined, found: Sequence[Mapping[str, Scorer]], measures: Measures, least: int
) -> dict[str, Any]:
    """How well each version did, under ``versions``; under ``unjudged`` those of fewer than `least` judged rows, or of
    none, beside others that have enough; under ``compared`` each two that scored the same rows.

    Raises
    ------
    AccessDenied : no version has enough.
    """
    names = dict.fromkeys(name for one in found for name in one)
    known = dict.fromkeys(one[name] for name in names for one in found if name in one)
    models = joined.models
    measured: dict[Scorer, Measured] = {scorer: models[scorer] for scorer in known if scorer in models}
    enough = {scorer: one for scorer, one in measured.items() if one.judged >= max(1, least)}
    shown = enough or dict([max(measured.items(), key=lambda pair: pair[1].judged)])
    versions = [
        {
            **_named(scorer, measured),
            "scored": one.scored,
            "judged": one.judged,
            "metrics": {REALISED: report(one.evaluation, measures.names, min_group_size=least, points=measures.points)},
        }
        for scorer, one in shown.items()
    ]
    unjudged = [{**_named(one, measured), "scored": measured[one].scored} for one in measured if one not in shown]
    return {
        "versions": versions,
        **({"unjudged": unjudged} if unjudged else {}),
        **_compared(joined, list(measured), measures, least),
    }


def _named(scorer: Scorer, all_: Mapping[Scorer, Measured]) -> Record:
    """How a result names `scorer`: with its version, where others had its name in the job at other times."""
    name = scorer.name or "own"
    alone = sum(one.name == scorer.name for one in all_) == 1
    return {
        "candidate": name if alone else f"{name} ({scorer.model}@{scorer.version})",
        "model": scorer.model,
        "version": scorer.version,
        "digest": scorer.digest,
    }


def _compared(joined: Joined, scorers: Sequence[Scorer], measures: Measures, least: int) -> dict[str, Any]:
    """Under ``compared`` each two versions that scored rows together, on those; under ``not_compared`` why none are."""
    companies = [_by_digest(company) for company in joined.together.values()]
    sizes = [next(iter(one.values())).judged for one in companies if one]
    if any(0 < size < least for size in sizes):
        return {"not_compared": _HIDDEN}
    asked = _told_of_all(companies, replace(measures, least=least))
    versions = {one.digest: one for one in scorers}
    rising = sorted(versions, key=lambda digest: (versions[digest].version, digest))
    pairs = ((one, other, _shared(companies, one, other)) for one, other in combinations(rising, 2))
    compared = [
        {
            "judged": shared[one].judged,
            "versions": [
                {
                    "model": versions[digest].model,
                    "version": versions[digest].version,
                    "digest": digest,
                    "overall": report(
                        replace(shared[digest].evaluation, slices={}),
                        asked.names,
                        min_group_size=least,
                        points=asked.points,
                    )["overall"],
                }
                for digest in (one, other)
            ],
        }
        for one, other, shared in pairs
        if shared and shared[one].judged
    ]
    return {"compared": compared}


def _told_of_all(companies: Sequence[Mapping[str, Measured]], measures: Measures) -> Measures:
    """Those of `measures` that may be told of each company: figures of several are compared with those of all."""
    evaluations = [one.evaluation for company in companies for one in company.values()]
    if not evaluations:
        return measures
    return judge_of(evaluations[0].task).told(measures, (one.overall for one in evaluations))


def _by_digest(company: Mapping[Any, Measured]) -> dict[str, Measured]:
    """What each version of a company came to: one that scored under two names gave the same scores under both."""
    return {scorer.digest: measured for scorer, measured in company.items()}


def _shared(companies: Sequence[Mapping[str, Measured]], one: str, other: str) -> dict[str, Measured]:
    """What both versions came to on the rows that they scored together; {} where there are none."""
    shared: dict[str, Measured] = {}
    for company in companies:
        if one in company and other in company:
            shared = {digest: company[digest].with_rows(shared.get(digest)) for digest in (one, other)}
    return shared
