"""Two runs beside each other: what is not the same of what they did, and what got slower. Pure.

1. What differs is named first: inputs, model, code, shape of the cluster. Nobody takes more rows for a slower machine.
2. Phases of the same rows are held against each other by their seconds, others by their seconds a row.
3. A phase got slower where it took longer by more than the noise, in percent *and* in seconds. How far two runs of the
   same job differ on a machine is for its owner to know: the percent are an argument.
4. Why is said only as far as the records show it: more processor time, more waiting, or fewer tasks at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dataops.monitoring import wording

NOISE_PERCENT = 10.0
NOISE_SECONDS = 0.5
_SAME_ROWS = 0.001  # of a difference in rows that changes no time
_NAMED = 3  # phases beside the first one in a sentence


class Verdict(StrEnum):
    """What became of a phase."""

    SAME = "same"
    SLOWER = "slower"
    FASTER = "faster"
    NOT_JUDGED = "not judged"
    """It is in one of the runs only, or failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTook:
    """What a phase took in one run, all attempts together; None: not known.

    Attributes
    ----------
    attempts : how many at the run had it, and came to an end of it.
    rows : of the units that it did in these seconds.
    busy_seconds, cpu_seconds : of its tasks: how long they took, and what their threads used of a processor.
    busy : share of its threads' time that went into tasks.
    cores : that all workers together used, on average.
    peak_memory : bytes that one worker held at most.
    """

    seconds: float
    failed: bool = False
    attempts: int = 1
    rows: int | None = None
    tasks: int | None = None
    busy_seconds: float | None = None
    cpu_seconds: float | None = None
    busy: float | None = None
    cores: float | None = None
    peak_memory: int | None = None

    @property
    def rate(self) -> float | None:
        """Rows a second."""
        return self.rows / self.seconds if self.rows and self.seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two runs: `facts` are what may differ, by name, in words."""

    run: str
    state: str
    created_at: str
    facts: Mapping[str, str]
    phases: Mapping[str, PhaseTook]

    @property
    def seconds(self) -> float:
        """Of all phases together."""
        return sum(one.seconds for one in self.phases.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PhasePair:
    """A phase of both runs.

    Attributes
    ----------
    ratio : of seconds, or of seconds a row where `per_row`: the second run's to the first's; None: not judged.
    extra_seconds : that the second run took more than the first would have taken for its rows.
    """

    phase: str
    first: PhaseTook | None
    second: PhaseTook | None
    verdict: Verdict
    ratio: float | None = None
    per_row: bool = False
    extra_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two runs, held against each other.

    Attributes
    ----------
    differences : what isn't the same, as (what, of the first, of the second).
    said : what got slower, in a sentence or two.
    """

    first: Side
    second: Side
    differences: tuple[tuple[str, str, str], ...]
    phases: tuple[PhasePair, ...]
    said: str
    noise_percent: float = field(default=NOISE_PERCENT)


def compare_sides(first: Side, second: Side, *, noise_percent: float = NOISE_PERCENT) -> Compared:
    """What differs between two runs, phase by phase.

    Parameters
    ----------
    noise_percent : by how much times of the same work differ anyway.
    """
    names = dict.fromkeys((*first.phases, *second.phases))
    pairs = tuple(_pair(name, first.phases.get(name), second.phases.get(name), noise_percent) for name in names)
    return Compared(
        first=first,
        second=second,
        differences=tuple(_differences(first.facts, second.facts)),
        phases=pairs,
        said=_said(pairs, noise_percent),
        noise_percent=noise_percent,
    )


def _differences(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys((*first, *second)):
        ours, theirs = first.get(name, "-"), second.get(name, "-")
        if ours != theirs:
            yield name, ours, theirs


def _pair(phase: str, first: PhaseTook | None, second: PhaseTook | None, noise_percent: float) -> PhasePair:
    if first is None or second is None or first.failed or second.failed or not first.seconds:
        return PhasePair(phase=phase, first=first, second=second, verdict=Verdict.NOT_JUDGED)
    share, per_row = 1.0, False
    if first.rows and second.rows and abs(second.rows - first.rows) > _SAME_ROWS * first.rows:
        share, per_row = second.rows / first.rows, True
    expected = first.seconds * share
    ratio, extra = second.seconds / expected, second.seconds - expected
    verdict = Verdict.SAME
    if abs(extra) > NOISE_SECONDS and abs(ratio - 1) > noise_percent / 100:
        verdict = Verdict.SLOWER if extra > 0 else Verdict.FASTER
    return PhasePair(
        phase=phase, first=first, second=second, verdict=verdict, ratio=ratio, per_row=per_row, extra_seconds=extra
    )


def _said(pairs: Sequence[PhasePair], noise_percent: float) -> str:
    noise = f"beyond noise ({noise_percent:g} percent and {NOISE_SECONDS:g} seconds)"
    if not any(one.ratio is not None for one in pairs):
        return "The runs have no phase in common that ended well in both: nothing can be compared."
    slower = sorted((one for one in pairs if one.verdict is Verdict.SLOWER), key=lambda one: -one.extra_seconds)
    faster = sorted((one for one in pairs if one.verdict is Verdict.FASTER), key=lambda one: one.extra_seconds)
    if slower:
        worst, *others = slower
        also = f" Also slower: {_listed(others)}." if others else ""
        return f"{_took(worst)}{_why(worst)}.{also}{f' Faster: {_listed(faster)}.' if faster else ''}"
    if faster:
        return f"Nothing got slower {noise}. Faster: {_listed(faster)}."
    return f"Nothing got slower or faster {noise}."


def _took(pair: PhasePair) -> str:
    first, second = pair.first, pair.second
    if first is None or second is None:  # not judged
        return ""
    row = " a row" if pair.per_row else ""
    return (
        f"'{pair.phase}' got slower: {pair.ratio:.2f} times as long{row} ({_time_of(first)}, then {_time_of(second)})"
    )


def _time_of(took: PhaseTook) -> str:
    time = wording.duration(took.seconds)
    return time if took.attempts == 1 else f"{time} in {took.attempts} attempts"


def _listed(pairs: Sequence[PhasePair]) -> str:
    named = ", ".join(f"'{one.phase}' ({one.ratio:.2f} times as long)" for one in pairs[:_NAMED])
    return named + (f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else "")


def _why(pair: PhasePair) -> str:
    """What the records say of a phase that got slower: half of what it took longer has to be explained by it."""
    first, second = pair.first, pair.second
    if first is None or second is None or pair.ratio is None or not first.busy_seconds or not second.busy_seconds:
        return ""
    share = second.rows / first.rows if pair.per_row and first.rows and second.rows else 1.0
    grown = (pair.ratio - 1) / 2
    if first.cpu_seconds and second.cpu_seconds and (cpu := second.cpu_seconds / first.cpu_seconds / share) > 1 + grown:
        return f"; its tasks took {cpu:.2f} times the processor time"
    if second.busy_seconds / first.busy_seconds / share > 1 + grown:
        return "; its tasks took longer for the same processor time: they waited for disks, other workers or other work"
    if first.busy is not None and second.busy is not None and second.busy < first.busy:
        return f"; its tasks took no longer, but less of its threads' time: {second.busy:.0%}, {first.busy:.0%} before"
    return ""


def compared_record(found: Compared) -> dict[str, Any]:
    """`found` as JSON; the runs are ``a`` and ``b``."""
    return {
        "a": _side_record(found.first),
        "b": _side_record(found.second),
        "differences": [{"what": what, "a": ours, "b": theirs} for what, ours, theirs in found.differences],
        "phases": [
            {
                "phase": one.phase,
                "verdict": one.verdict.value,
                "ratio": one.ratio,
                "per_row": one.per_row,
                "extra_seconds": round(one.extra_seconds, 3),
                "a": _took_record(one.first),
                "b": _took_record(one.second),
            }
            for one in found.phases
        ],
        "noise": {"percent": found.noise_percent, "seconds": NOISE_SECONDS},
        "said": found.said,
    }


def _side_record(side: Side) -> dict[str, Any]:
    return {"run": side.run, "state": side.state, "created_at": side.created_at, "seconds": round(side.seconds, 3)}


def _took_record(took: PhaseTook | None) -> dict[str, Any] | None:
    if took is None:
        return None
    return {name: getattr(took, name) for name in took.__dataclass_fields__} | {"rows_per_second": took.rate}
