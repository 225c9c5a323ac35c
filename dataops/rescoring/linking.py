"""Linking, decided: which units of a rescore were scored before under the very same conditions, why others weren't.

1. A unit's record depends on its rows and on the `Basis` of the run, on nothing else: not on the unit's number, the
   workers, the time, or other units. So where both are equal, the record of before is the record of now.
2. Rows are the same where file, range of row groups, and the rows that a survey found to repeat a key are.
3. The newest run that scored a unit so is taken. What is there of it (part, quarantine, errors) is looked at by
   `dataops.runs.linking`: a unit whose files aren't all there is scored again, and so is one with rows that failed.
4. A unit that isn't linked says why, by comparing with the newest run that scored its rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from dataops.datasets.access import GovernedInput
from dataops.datasets.units import Unit
from dataops.models.predictor import Kernel
from dataops.records import Record, digest
from dataops.rescoring.plan import ScorePlan


class Reason(StrEnum):
    """Why a unit is scored, or isn't."""

    SCORED_BEFORE = "scored before"  # it is linked
    NEW_ROWS = "new rows"
    NEW_MODEL = "new model"
    NEW_PREDICTOR = "new predictor"
    NEW_POLICY = "new policy"
    NEW_COLUMNS = "new columns"
    NEW_CODE = "new code"
    NEW_SURVEY = "new survey"
    FAILED_BEFORE = "failed before"  # some of its rows
    MISSING = "missing"
    ASKED_AGAIN = "asked again"


COMPONENTS: Mapping[str, Reason] = {
    "model": Reason.NEW_MODEL,
    "predictors": Reason.NEW_PREDICTOR,
    "policy": Reason.NEW_POLICY,
    "columns": Reason.NEW_COLUMNS,
    "code": Reason.NEW_CODE,
    "survey": Reason.NEW_SURVEY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """All that decides a unit's record beside its rows, as digests.

    Attributes
    ----------
    model : of the versions that are applied, by their names in the job.
    policy : of the dataset's name, the grant's effect (which holds the contract) and purpose, and of what it was made
        from.
    columns : of what is written and counted: kept columns, outputs, threshold, order, what is monitored.
    code : of the package, and of the libraries that compute values.
    survey : of what is asked of the whole dataset, and of its answer as far as it is the same for all units; None
        without a survey.
    predictors : of the models that another library scores than the one that made them; None in a record of a release
        that kept none.
    """

    model: str
    policy: str
    columns: str
    code: str
    survey: str | None = None
    predictors: str | None = None

    def record(self) -> Record:
        """JSON types; `from_record` reads them."""
        return {name: getattr(self, name) for name in COMPONENTS}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The basis that `record` was made from."""
        always = {name: str(record[name]) for name in COMPONENTS if name not in ("survey", "predictors")}
        return cls(**always, survey=record.get("survey"), predictors=record.get("predictors"))

    def differing(self, other: Basis) -> tuple[Reason, ...]:
        """What is new here, compared with `other`; empty for equal ones."""
        return tuple(reason for name, reason in COMPONENTS.items() if getattr(self, name) != getattr(other, name))


def basis_of(
    plan: ScorePlan, given: GovernedInput, *, kernels: Mapping[str, Kernel], code: str, survey: str | None
) -> Basis:
    """The basis of `plan` over `given`, whose models are scored by `kernels`, as `rescoring.kernels` decides."""
    job = plan.job
    written = {
        "keep": list(job.keep),
        "outputs": [str(output) for output in plan.outputs],
        "threshold": plan.threshold,
        "sort_by": list(job.sort_by),
        "drift": job.monitor.drift,
        "slices": list(job.monitor.slices),  # limits judge what was counted, and change none of it
    }
    read = {
        "dataset": given.dataset.name,
        "effect": given.grant.effect.digest,
        "purpose": str(given.grant.purpose),
        "sources": sorted(digest(origin.record()) for origin in given.made_from()),
    }
    return Basis(
        model=digest({model.name: [model.version.digest, model.program_digest] for model in plan.models}),
        policy=digest(read),
        columns=digest(written),
        code=code,
        survey=survey,
        predictors=digest({name: kernel for name, kernel in kernels.items() if kernel != "xgboost"}),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Which rows a unit has: `identity` of the unit, and digest of the rows that repeat a key (None: no row does)."""

    identity: str
    repeats: str | None = None

    def spelled(self) -> str:
        """One text; `parse` reads it."""
        return self.identity if self.repeats is None else f"{self.identity}+{self.repeats}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """What was spelled as `text`."""
        identity, _, repeats = text.partition("+")
        return cls(identity=identity, repeats=repeats or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linkable:
    """A rescore whose units later runs may take over: its basis, and the rows of each unit by its id."""

    basis: Basis
    rows: Mapping[str, Rows]

    def identities(self) -> dict[str, str]:
        """What the manifest says of each unit."""
        return {unit: rows.spelled() for unit, rows in self.rows.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What a run that was published had scored: its basis, and its units by their rows.

    `basis` is None of a run that tells none, by its release or since several codes worked at it, which has no units
    here either.
    """

    run: str
    basis: Basis | None
    units: Mapping[Rows, str]

    @classmethod
    def of(cls, run: str, basis: Mapping[str, Any] | None, identities: Mapping[str, str]) -> Self:
        """From what a manifest says: its basis, and the rows of each unit as `Rows.spelled` has them."""
        if basis is None:
            return cls(run=run, basis=None, units={})
        return cls(
            run=run,
            basis=Basis.from_record(basis),
            units={Rows.parse(text): unit for unit, text in identities.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A unit that `run` scored as its `unit`."""

    run: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What is known of units before their files are looked at.

    Attributes
    ----------
    matches : all runs that scored a unit under this very basis, the newest first.
    reasons : of the other units, what is new about them.
    """

    matches: Mapping[str, tuple[Match, ...]]
    reasons: Mapping[str, tuple[Reason, ...]]


def decide_links(wanted: Linkable, earlier: Sequence[Earlier]) -> Decided:
    """For each unit the runs that scored it before, or why there is none.

    Parameters
    ----------
    earlier : the runs that the output's newest snapshots name, the newest first.
    """
    rows, basis = wanted.rows, wanted.basis
    same = [one for one in earlier if one.basis == basis]
    found = {
        unit: tuple(Match(run=one.run, unit=one.units[of]) for one in same if of in one.units)
        for unit, of in rows.items()
    }
    matches = {unit: match for unit, match in found.items() if match}
    why = _Why(basis, earlier)
    return Decided(matches=matches, reasons={unit: why.of(rows[unit]) for unit in rows if unit not in matches})


class _Why:
    """Reasons, by what the newest run with the same rows did otherwise."""

    def __init__(self, basis: Basis, earlier: Sequence[Earlier]) -> None:
        self._untold = bool(earlier) and earlier[0].basis is None
        self._newest: dict[Rows, tuple[Reason, ...]] = {}
        self._with_other_repeats: set[str] = set()
        for one in reversed(earlier):
            if one.basis is not None:
                self._newest |= dict.fromkeys(one.units, basis.differing(one.basis))
                self._with_other_repeats |= {rows.identity for rows in one.units}

    def of(self, rows: Rows) -> tuple[Reason, ...]:
        if rows in self._newest:
            return self._newest[rows]
        if rows.identity in self._with_other_repeats:
            return (Reason.NEW_SURVEY,)
        return (Reason.NEW_CODE,) if self._untold else (Reason.NEW_ROWS,)


def rows_of_units(units: Collection[Unit], repeats: Mapping[str, str]) -> dict[str, Rows]:
    """Which rows each of `units` has, by its id.

    Parameters
    ----------
    repeats : digest of the rows that repeat a key, by the path of the file; files without any aren't there.
    """
    return {unit.id: Rows(identity=unit.identity, repeats=repeats.get(unit.fragment.path)) for unit in units}


def counted(reasons: Mapping[str, Sequence[Reason]]) -> dict[str, int]:
    """Units by reason, a unit with several under all of them together; most first."""
    counts: dict[str, int] = {}
    for why in reasons.values():
        text = spelled(why)
        counts[text] = counts.get(text, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def spelled(reasons: Sequence[Reason]) -> str:
    """``new model, new policy``."""
    return ", ".join(reasons)
