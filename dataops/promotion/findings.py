"""What gates are judged by and what they find: figures of two versions in, one finding per limit out.

1. Evidence is figures alone. What could not be had is None, with the reason in words beside it.
2. A finding says what was measured, on what, its value, the limit and the champion's value: nothing else is needed to
   see why it went as it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeAlias

from dataops.declarations.promotion import CallableLimits, ImpactLimits, RealisedLimits
from dataops.records import Record

Metrics: TypeAlias = Mapping[str, Any]
"""Figures in the shape of a package's metrics."""


class Outcome(StrEnum):
    """What became of a limit; SKIPPED: there is nothing to judge, and the verdict says so."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What became of loading a version and predicting its golden rows in a process of its own.

    Attributes
    ----------
    failed : why it can't be loaded or called, in words; "" if it can, or if `missed` says why nobody knows.
    missed : which limit ended the call, in words; "" if none did.
    compared : whether its answers were held against those that it gave when it was registered; False: it has none.
    rows : golden rows that it predicted; without golden rows, rows made up likewise.
    seconds : of a processor, until it had predicted them, from before it was loaded.
    memory_mb : what it took beside the libraries that read it.
    ms_per_row : of a call with one row, the median.
    """

    failed: str = ""
    missed: str = ""
    compared: bool = True
    rows: int = 0
    seconds: float | None = None
    memory_mb: float | None = None
    ms_per_row: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a rescore counted of the candidate, which it scored beside the champion.

    Attributes
    ----------
    figures : see `dataops.rescoring.impact.impact_figures`.
    age : since the run began; None: nobody knows.
    psi : population stability index by column, the score's among them; None where drift wasn't told.
    unknown : why it wasn't.
    """

    run: str
    figures: Mapping[str, Any]
    age: timedelta | None = None
    psi: Mapping[str, float] | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What an evaluate job measured of the candidate on outcomes that came later.

    Attributes
    ----------
    rows : how many were judged; where there is a champion, rows that both scored in one pass.
    candidate, champion : figures by metric on those rows; champion: None where there is none.
    age : since the run began; None: nobody knows.
    """

    run: str
    rows: int
    candidate: Metrics
    champion: Metrics | None = None
    age: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that a promotion is decided by, beside its rules.

    Attributes
    ----------
    candidate, champion : figures of both; None: there is no champion.
    champion_unreadable : why the figures of a champion that is there can't be had.
    incomparable : why figures of both say nothing of each other, though both are there.
    is_champion : the candidate is the champion already.
    sources : columns and types that the candidate reads, as its feature program names them.
    classifications : classes that it carries.
    learned_from : classes of all columns that it learned from; None: nobody here knows.
    called : by the limits that it was called under.
    impacts, realised : by what asks for them; a text says why there are none.
    """

    candidate: Metrics
    champion: Metrics | None = None
    champion_unreadable: str = ""
    incomparable: str = ""
    is_champion: bool = False
    sources: tuple[tuple[str, str], ...] = ()
    classifications: tuple[str, ...] = ()
    learned_from: frozenset[str] | None = None
    called: Mapping[CallableLimits, Called] = field(default_factory=dict)
    impacts: Mapping[ImpactLimits, Measured | str] = field(default_factory=dict)
    realised: Mapping[RealisedLimits, Judged | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One limit, judged.

    Attributes
    ----------
    rule, kind
        The place of its rule in the promotion file, from 1, and the key that tells the rule's kind; 0 for what every
        version has to show, whatever the file says.
    metric, dataset
        What was measured, on what; None where that is the version itself.
    slice, rows
        The column and the value that the rows have, None for all of them; how many rows there are, where that is known.
    limit, declared
        The limit by its key in the rule, and its number.
    bound
        The number that the value was held against; that of a limit relative to the champion comes from its value.
    value, champion
        The figures of the candidate and of the champion, None where there is none.
    confidence, gain, low
        Of a limit that asks how sure a gain is: how sure; by how much the candidate is better, negative if it is worse;
        the end that the gain doesn't fall below as surely.
    outcome, note
        How it went, and why, where the numbers don't say it.
    """

    rule: int = 0
    kind: str = "metric"
    metric: str
    dataset: str | None = None
    slice: tuple[str, str] | None = None
    rows: int | None = None
    limit: str
    declared: float
    bound: float | None = None
    value: float | None = None
    champion: float | None = None
    confidence: float | None = None
    gain: float | None = None
    low: float | None = None
    outcome: Outcome
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether it was judged and held."""
        return self.outcome is Outcome.PASSED

    def record(self) -> Record:
        """The finding as JSON types."""
        found: Record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        sliced = None if self.slice is None else {"column": self.slice[0], "value": self.slice[1]}
        return {**found, "slice": sliced, "outcome": str(self.outcome)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """May it be promoted: the findings, and in words what decided; `unfit`: no person may promote it either."""

    passed: bool
    findings: tuple[Finding, ...]
    reasons: tuple[str, ...]
    unfit: bool = False

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The limits that didn't hold."""
        return tuple(finding for finding in self.findings if finding.outcome is Outcome.FAILED)
