"""Which phase got slower between two records, or two commits.

    python benchmarks/compare.py base.json new.json    # two records
    python benchmarks/compare.py 7a1f77d bd3b131       # the newest records of two commits, from the history
    python benchmarks/compare.py 7a1f77d bd3b131 --json

1. For each phase of each question: the ratio of the medians of its repeats, and bounds of that ratio, from all ratios
   of a repeat of one to a repeat of the other (Moses' interval to the Mann-Whitney test, at most 1 percent on each side
   where there are repeats enough, else at most 5). So one slow repeat decides nothing.
2. A phase is slower where even the lower bound is beyond what is noise: 5 percent, or what the question's null run
   strayed from 1 in either record, and by as much more as the machine itself was slower at a fixed piece of work.
   The least slowdown that would have been seen so is told of each phase: what is less passes unseen.
3. With fewer than three repeats each nothing is decided. Records of other data, sizes or machines aren't compared, nor
   is a phase that one of them lacks: it is named, for it may have been renamed.
4. Bounds are of the repeats within a record: how far the machine drifts from one session to the next they can't know.
   Of records more than ten minutes apart, or without a null run, noise is at least how far single null runs strayed,
   and the same work in a suite's ``noise`` record beside them; 10 percent where neither is known; and that is said.
   A verdict across sessions is where to look, not a finding: look again, measuring base and new in turns (base, new,
   base, new), and compare those.
5. It exits with 1 where a phase got slower, and with 2 where no phase could be decided. How many couldn't is told.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from history import FORMAT, HISTORY, label, newest_of_each_size, read_history, record_folder
from pace import LIMIT, slower

FLOOR = 0.05  # of noise: less than that is nothing that somebody would go after
SESSION = timedelta(minutes=10)  # records that were written further apart are of other sessions
SURE, UNSURE = 0.01, 0.05
SLOWER, FASTER, SAME, UNKNOWN = "slower", "faster", "same", "too few repeats"
NOISE = "noise"  # how the machine did: no question of ours
ALIKE = ("quick", "size", "data", "cluster")
ALIKE_MACHINES = ("processor", "cores")

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One phase of one question in both records.

    Attributes
    ----------
    base, new : median seconds.
    ratio : of new to base; `low` and `high` are its bounds.
    noise : how far from 1 a ratio may be and mean nothing.
    seen : how many times slower it must have been at least to be found so; None with too few repeats.
    verdict : of `SLOWER`, `FASTER`, `SAME`, `UNKNOWN`.
    """

    question: str
    phase: str
    base: float
    new: float
    ratio: float
    low: float
    high: float
    noise: float
    seen: float | None
    verdict: str


def main() -> None:
    """Compares, prints, exits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="a record's file, or a commit of the history")
    parser.add_argument("new", metavar="NEW", help="a record's file, or a commit of the history")
    parser.add_argument("--history", type=Path, default=record_folder() / HISTORY, help="where commits are looked up")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args()
    base, new = (read_records(name, given.history) for name in (given.base, given.new))
    found, apart = compare(base, new)
    notes = [*doubts(base, new), *other_versions(base, new)]
    if given.json:
        slow = [f"{one.question}: {one.phase}" for one in found if one.verdict == SLOWER]
        told = {"slower": slow, "undecided": len(undecided(found)), "phases": [asdict(one) for one in found]}
        print(json.dumps({**told, "not_compared": apart, "notes": notes}))
    else:
        for note in notes:
            print(note)
        show(found, apart)
    decided = len(found) > len(undecided(found))
    sys.exit(int(any(one.verdict == SLOWER for one in found)) if decided else 2)


def read_records(name: str, history: Path) -> dict[str, Record]:
    """Records by question and options: of a file, or the newest of a commit."""
    path = Path(name)
    if path.suffix == ".jsonl":
        return newest_of_each_size(read_history(path))
    if path.is_file():
        read = json.loads(path.read_text())
        records = read if isinstance(read, list) else [read]
        if any(not isinstance(one, dict) or one.get("format") != FORMAT for one in records):
            sys.exit(f"{name} is no record of format {FORMAT}: measure again")
        return newest_of_each_size(records)
    known = read_history(history)
    found = [one for one in known if one["commit"] == name] or [
        one for one in known if str(one["commit"]).startswith(name)
    ]
    if not found:
        commits = ", ".join(dict.fromkeys(str(one["commit"]) for one in reversed(known[-200:]))) or "none"
        sys.exit(f"{name} is neither a file nor a commit of {history}; commits there, the newest first: {commits}")
    return newest_of_each_size(found)


def compare(base: Mapping[str, Record], new: Mapping[str, Record]) -> tuple[list[Compared], dict[str, str]]:
    """All phases that are in both, and why other questions and phases aren't compared."""
    found: list[Compared] = []
    apart: dict[str, str] = {}
    for question in sorted(name for name in {*base, *new} if name.split()[0] != NOISE):
        if question not in base or question not in new:
            apart[question] = f"not measured in {'BASE' if question not in base else 'NEW'}"
        elif why := difference(base[question], new[question]):
            apart[question] = why
        else:
            found += compare_question(base[question], new[question], noise_of(base, new))
            apart |= {f"{question}: {phase}": why for phase, why in missing_phases(base[question], new[question])}
    return found, apart


def missing_phases(base: Record, new: Record) -> Iterator[tuple[str, str]]:
    """Phases that only one has, each with why it isn't compared."""
    for phase in dict.fromkeys([*base["phases"], *new["phases"]]):
        lacking = [name for name, one in (("BASE", base), ("NEW", new)) if not one["phases"].get(phase)]
        if lacking:
            yield phase, f"no such phase in {' and '.join(lacking)}"


def undecided(found: Iterable[Compared]) -> list[Compared]:
    """Phases with too few repeats to say anything."""
    return [one for one in found if one.verdict == UNKNOWN]


def difference(base: Record, new: Record) -> str:
    """Why two records of a question say nothing about each other; empty if they do."""
    pairs = [(name, base.get(name), new.get(name)) for name in ALIKE]
    pairs += [(name, base["machine"].get(name), new["machine"].get(name)) for name in ALIKE_MACHINES]
    other = [f"{name}: {one} and {two}" for name, one, two in pairs if one != two]
    return "; ".join(other)


def other_versions(base: Mapping[str, Record], new: Mapping[str, Record]) -> list[str]:
    """Libraries that aren't the same in both, in words: they may be what got slower."""
    pairs = [(base[name].get("versions", {}), new[name].get("versions", {})) for name in base if name in new]
    found = [
        f"{library} was {one[library]} in BASE and {two[library]} in NEW"
        for one, two in pairs
        for library in one
        if library in two and one[library] != two[library]
    ]
    return list(dict.fromkeys(found))


def doubts(base: Mapping[str, Record], new: Mapping[str, Record]) -> list[str]:
    """Of which questions the repeats don't show all the noise, and what is taken for it, in words."""
    pairs = {name: (base[name], new[name]) for name in sorted(base) if name in new and name.split()[0] != NOISE}
    pairs = {name: pair for name, pair in pairs.items() if not difference(*pair)}
    found = []
    for name, (one, other) in pairs.items():
        if why := doubt(one, other):
            taken, of = unseen(one, other, noise_of(base, new))
            found.append(f"{name}: {why}; noise is at least {taken:.0%} ({of})")
    return [*found, *(["look again at what is slower: base and new in turns"] if found else [])]


def doubt(base: Record, new: Record) -> str:
    """Why there may be more noise than the repeats of two records show; empty where there is no reason."""
    times = [datetime.fromisoformat(str(one["measured_at"])) for one in (base, new)]
    found = ["BASE and NEW are of other sessions"] if abs(times[0] - times[1]) > SESSION else []
    lacking = [name for name, one in (("BASE", base), ("NEW", new)) if not _nulls(one)]
    return "; ".join(found + ([f"no null run in {' and '.join(lacking)}"] if lacking else []))


def unseen(base: Record, new: Record, beside: float) -> tuple[float, str]:
    """The noise that the repeats don't show, as a share, and of what that is known.

    Parameters
    ----------
    beside : of `noise_of`.
    """
    alone = max((max(one["max"], 1 / one["min"]) - 1 for of in (base, new) for one in _nulls(of)), default=0.0)
    known = max((alone, "of its null runs"), (beside, "of the noise records beside"))
    return known if known[0] else (LIMIT, "taken for want of a null run and a noise record")


def noise_of(base: Mapping[str, Record], new: Mapping[str, Record]) -> float:
    """By what share the same work strayed at most beside either, as a record of its own or one that was kept tells; 0
    where none does.
    """
    return max((float(one[NOISE]["worst"]) for of in (base, new) for one in of.values() if one.get(NOISE)), default=0.0)


def compare_question(base: Record, new: Record, beside: float = 0.0) -> Iterator[Compared]:
    """Each phase that both have.

    Parameters
    ----------
    beside : of `noise_of`.
    """
    drift = slower(base.get("pace", ()), new.get("pace", ()))
    noise = max(FLOOR, stray(base), stray(new), unseen(base, new, beside)[0] if doubt(base, new) else 0.0)
    for phase, repeats in base["phases"].items():
        if repeats and new["phases"].get(phase):
            yield compare_phase(label(base), phase, repeats, new["phases"][phase], noise, drift)


def compare_phase(
    question: str, phase: str, base: Sequence[float], new: Sequence[float], noise: float, drift: float
) -> Compared:
    """One phase.

    Parameters
    ----------
    noise : a share; `drift` : how many times slower the machine itself was.
    """
    low, high, known = bounds(base, new)
    verdict, seen = UNKNOWN, None
    if known:
        beyond, below = (1 + noise) * max(1.0, drift), min(1.0, drift) / (1 + noise)
        seen = float(f"{beyond / max(bounds(base, base)[0], 1e-9):.4g}")  # base so many times slower, beside itself
        verdict = SLOWER if low > beyond else FASTER if high < below else SAME
    before, after = statistics.median(base), statistics.median(new)
    ratio = after / before if before else math.inf
    rounded = {
        name: float(f"{value:.4g}") if math.isfinite(value) else 0.0
        for name, value in {"base": before, "new": after, "ratio": ratio, "low": low, "high": high}.items()
    }
    return Compared(question=question, phase=phase, noise=round(noise, 4), seen=seen, verdict=verdict, **rounded)


def stray(record: Record) -> float:
    """What the null runs of a record strayed from 1, by their medians; 0 where it has none."""
    return max((abs(one["median"] - 1) for one in _nulls(record)), default=0.0)


def _nulls(record: Record) -> list[Mapping[str, float]]:
    return [one for name, one in record["ratios"].items() if "null" in name]


def bounds(base: Sequence[float], new: Sequence[float]) -> tuple[float, float, bool]:
    """Lower and upper bound of the ratio, and whether there are repeats enough to believe them.

    The k-th least and the k-th greatest of all ratios of pairs: with k - 1 the greatest U for which the chance of so
    small a U, if nothing changed, is within the level (Moses; Hollander and Wolfe, Nonparametric Statistical Methods,
    chapter 4).
    """
    ratios = sorted(after / max(before, 1e-9) for before in base for after in new)
    chances = _chances_of_u(len(base), len(new))
    for level in (SURE, UNSURE):
        total = 0.0
        kept = -1
        for statistic, chance in enumerate(chances):
            total += chance
            if total > level + 1e-12:
                break
            kept = statistic
        if kept >= 0:
            return ratios[kept], ratios[-1 - kept], True
    return ratios[0], ratios[-1], False


def _chances_of_u(first: int, second: int) -> list[float]:
    """The chance of each value of Mann and Whitney's U if both are of one distribution: coefficients of Gauss's
    binomial, by Pascal's rule for it.
    """
    counts: dict[tuple[int, int], list[int]] = {}
    for one in range(first + 1):
        for two in range(second + 1):
            if not one or not two:
                counts[one, two] = [1]
                continue
            longer, shorter = counts[one, two - 1], counts[one - 1, two]
            total = [0] * (one * two + 1)
            for place, count in enumerate(longer):
                total[place] += count
            for place, count in enumerate(shorter):
                total[place + two] += count
            counts[one, two] = total
    whole = counts[first, second]
    return [count / sum(whole) for count in whole]


def show(found: Sequence[Compared], apart: Mapping[str, str]) -> None:
    """The table, and what it comes to."""
    wide = max((len(f"{one.question}: {one.phase}") for one in found), default=0)
    if found:
        heads = "".join(f"{one:>8}" for one in ("ratio", "low", "high", "seen"))
        print(f"{'question: phase':<{wide}}{'base s':>10}{'new s':>10}{heads}  verdict")
    for one in found:
        seconds = f"{one.base:10.4g}{one.new:10.4g}{one.ratio:8.2f}{one.low:8.2f}{one.high:8.2f}"
        beyond = f" (noise {one.noise:.0%})" if one.noise > FLOOR else ""
        seen = "-" if one.seen is None else f"{one.seen:.2f}"
        print(f"{f'{one.question}: {one.phase}':<{wide}}{seconds}{seen:>8}  {one.verdict}{beyond}")
    if found:
        print("seen: the least slowdown that would have been found")
    for question, why in apart.items():
        print(f"not compared: {question}: {why}")
    slow = [one for one in found if one.verdict == SLOWER]
    for one in slow:
        print(f"SLOWER: {one.question}, phase '{one.phase}': {one.ratio:.2f} times, at least {one.low:.2f}")
    if not found:
        print("nothing could be compared")
        return
    unknown = len(undecided(found))
    if unknown == len(found):
        print("nothing could be decided")
    elif not slow:
        print("no phase got slower" if not unknown else "no phase that could be decided got slower")
    print(f"undecided: {unknown} of {len(found)} phases{', with too few repeats' if unknown else ''}")


if __name__ == "__main__":
    main()
