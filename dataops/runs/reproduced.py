"""What came of training a version again: how near it is, and what is not as it was. Pure but for which code runs here.

1. ``bit-equal``: feature program and model are the same bytes. ``metric-equal``: they aren't, and every metric on the
   same rows is within `WITHIN` of what it was. Else ``different``.
2. What differs is said in words, without a value that a policy's filter names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dataops.declarations.metrics import Metric
from dataops.engine.code import code_identity, library_versions
from dataops.governance.grant import Effect
from dataops.models.package import Package
from dataops.records import digest, digest_bytes

if TYPE_CHECKING:
    from dataops.training.train import Training

WITHIN = 0.001
"""How far a metric may be from what it was, as a share of it, to count as equal."""

_METRICS = frozenset(map(str, Metric))


class Verdict(StrEnum):
    """How near training again came."""

    BIT_EQUAL = "bit-equal"
    METRIC_EQUAL = "metric-equal"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """What came of training a version again.

    Attributes
    ----------
    reading : the id that the audit knows it by.
    trained_by : the run that made the version.
    not_as_it_was : in words, by what it is: ``data``, ``policy``, ``code``, ``libraries``, ``cluster``.
    figures : dataset -> metric -> ``then``, ``now``; nothing where nothing was trained.
    digests : of ``program`` and ``model``, ``then`` and ``now``.
    note : what kept the audit from being signed.
    """

    version: str
    reading: str
    trained_by: str
    verdict: Verdict
    not_as_it_was: Mapping[str, str]
    figures: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    digests: Mapping[str, Mapping[str, str]]
    note: str | None = None

    @property
    def trained(self) -> bool:
        """Whether there was anything to train on."""
        return bool(self.digests)


def other_code(package: Package) -> dict[str, str]:
    """In words, what differs of the code and the libraries; nothing where nothing does."""
    code, now = package.lineage["code"], code_identity()
    if code["digest"] == now["digest"]:
        return {}
    then, here = package.lineage.get("libraries"), library_versions()
    if then is None:
        return {"code": f"the code or a library differs (dataops {code['version']} then, {now['version']} now)"}
    other = [
        f"{name} {then.get(name, 'not on record')} then, {here.get(name, 'not installed')} now"
        for name in sorted({*then, *here})
        if then.get(name) != here.get(name)
    ]
    if other:
        return {
            "libraries": ", ".join(other),
            "code": f"may differ, too (dataops {code['version']} then, {now['version']} now)",
        }
    return {"code": f"differs (dataops {code['version']} then, {now['version']} now)"}


def effect_changes(then: Effect, now: Effect) -> list[str]:
    """In words, how two effects differ; nothing of a value that a filter names."""
    if then.digest == now.digest:
        return []
    changes = [f"column '{name}' is denied now" for name in then.columns if name not in now.columns]
    changes += [f"column '{name}' was denied then" for name in now.columns if name not in then.columns]
    changes += [
        f"column '{name}' is masked by {now.columns[name] or 'nothing'}, then by {mask or 'nothing'}"
        for name, mask in then.columns.items()
        if name in now.columns and now.columns[name] != mask
    ]
    if then.filters != now.filters:
        changes.append("other row filters")
    if then.contract_digest != now.contract_digest:
        changes.append("another contract")
    if then.min_group_size != now.min_group_size:
        changes.append(f"groups of {now.min_group_size} rows at least, then of {then.min_group_size}")
    return changes or ["columns in another order"]


def compared(package: Package, training: Training, told: Reproduced) -> Reproduced:
    """`told`, with how near the one candidate of `training` came to `package`."""
    (again,) = training.candidates
    digests = {
        "program": {"then": digest(package.program.record()), "now": digest(training.program.record())},
        "model": {"then": digest_bytes(package.model), "now": digest_bytes(again.fitted.model)},
    }
    figures = {
        dataset: {
            metric: {"then": report["overall"].get(metric), "now": again.metrics[dataset]["overall"].get(metric)}
            for metric in report["overall"]
            if metric in _METRICS  # how exact a figure is counted stands beside it, and is none
        }
        for dataset, report in package.metrics.items()
        if dataset in again.metrics
    }
    if all(one["then"] == one["now"] for one in digests.values()):
        verdict = Verdict.BIT_EQUAL
    elif _same_rows(package.metrics, again.metrics) and all(
        _near(**figure) for one in figures.values() for figure in one.values()
    ):
        verdict = Verdict.METRIC_EQUAL
    else:
        verdict = Verdict.DIFFERENT
    return replace(told, verdict=verdict, figures=figures, digests=digests)


def _same_rows(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether both were judged on the same rows, as far as that is on record."""
    return then.keys() == now.keys() and all(
        then[name].get(key) in (None, now[name].get(key)) for name in then for key in ("snapshot", "selection", "rows")
    )


def _near(*, then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    return abs(then - now) <= WITHIN * max(abs(then), abs(now))
