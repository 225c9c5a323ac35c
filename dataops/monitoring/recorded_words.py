"""What a report says of a run's records beside the charts: a line for each phase, and what there is to know. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataops.monitoring import wording

Figures = Mapping[str, Any]
RARE_SECONDS = 0.05  # less of waiting isn't worth a column


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseLine:
    """A phase, all attempts together, in words; ``-`` where the records don't say it.

    Attributes
    ----------
    number : of its colour; None where no task of it was recorded.
    rows : of the units that it did, by the run's own events where they say it.
    busy : how much of its threads' time went into tasks.
    cores : that all workers together used, on average.
    memory : the most that a worker's process held.
    waited : thread time for data from other workers and from disk.
    """

    name: str
    number: int | None
    time: str
    rows: str
    rate: str
    tasks: str
    busy: str
    cores: str
    memory: str
    waited: str
    failed: bool


def phase_lines(figures: Figures) -> tuple[PhaseLine, ...]:
    """The phases that ended, in order; none where nothing was recorded."""
    recorded = figures.get("recorded")
    if not recorded or "phases" not in recorded:
        return ()
    numbers = {name: number for number, name in enumerate(recorded["stream"]["names"])}
    known = {phase["phase"]: phase for phase in recorded["phases"]}
    by_name: dict[str, list[Figures]] = {}
    for phase in figures["phases"]:
        by_name.setdefault(phase["phase"], []).append(phase)
    return tuple(
        _line(ended, known.get(name), recorded["threads"], numbers.get(name)) for name, ended in by_name.items()
    )


def _line(ended: Sequence[Figures], phase: Figures | None, threads: int, number: int | None) -> PhaseLine:
    """A phase that ended in each of these attempts; of one that isn't recorded in all of them no sums are told."""
    name, seconds, failed = ended[0]["phase"], sum(one["seconds"] for one in ended), ended[-1]["outcome"] == "failed"
    summed = phase if all(one.get("recorded", True) for one in ended) else None
    tasks = summed["tasks"] if summed else 0
    rows = sum(one.get("rows", 0) for one in ended) or (summed["rows"] if summed else 0)
    busy, capacity = summed["busy_seconds"] if summed else 0.0, seconds * threads
    waited = summed["transfer_seconds"] + summed["disk_seconds"] if summed else 0.0
    cpu, memory = (phase["cpu_percent"], phase["peak_memory"]) if phase else (None, None)
    return PhaseLine(
        name=name,
        number=number,
        time=wording.duration(seconds),
        rows=wording.count(rows) if rows else "-",
        rate=wording.count(rows / seconds) if rows and seconds else "-",
        tasks=wording.count(tasks) if tasks else "-",
        busy=f"{min(100.0, 100 * busy / capacity):.0f}%" if tasks and capacity else "-",
        cores="-" if cpu is None else f"{cpu / 100:.1f}",
        memory="-" if memory is None else wording.size(memory),
        waited=wording.duration(waited) if waited >= RARE_SECONDS else "-",
        failed=failed,
    )


def remarks(figures: Figures) -> tuple[str, ...]:
    """What there is to know of the records, a sentence each."""
    recorded = figures.get("recorded")
    if not recorded:
        return ()
    said = [f"{problem[0].upper()}{problem[1:]}." for problem in recorded["problems"]]
    if recorded.get("attempts"):
        said.append(f"The run was taken up again {_times(len(recorded['attempts']))}: at the dashed lines.")
    if failed := sum(phase["failed"] for phase in recorded.get("phases", ())):
        said.append(f"{wording.count(failed)} tasks failed: red bars." if failed > 1 else "A task failed: a red bar.")
    if left_out := recorded.get("left_out"):
        lack = "the charts lack them" if recorded.get("whole") else "charts and table lack them"
        said.append(f"{wording.count(left_out)} parts of tasks were too many to be kept: {lack}.")
    if any(not one.get("recorded", True) for one in figures.get("phases", ())):
        said.append("Of an attempt there is no recording: the charts lack it, and its phases have no sums.")
    if hidden := recorded.get("stream", {}).get("hidden_lanes"):
        said.append(f"{wording.count(hidden)} more threads aren't shown.")
    if spilled := recorded.get("spilled"):
        said.append(f"Memory was short: a worker had up to {wording.size(spilled)} moved to its disk.")
    return tuple(said)


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
