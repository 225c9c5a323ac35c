"""All questions, one after another, with how noisy the machine was; draws the report.

    python benchmarks/suite.py --short               # about ten minutes on two quiet cores (make bench)
    python benchmarks/suite.py --peers               # whatever is measured beside peers: an hour and more
    python benchmarks/suite.py --full                # everything, beside the peers: hours (make bench-full)
    python benchmarks/suite.py --short --only rooms,startup

1. A fixed piece of work on all cores is measured in turns with itself before, between and after the questions. Where
   nine of ten pairs don't stay within 10 percent, the machine was too noisy, and that is said with the results.
2. Every question writes its record into the folder of records, and its line into the history there.
3. At the end it says by how much the medians of the ratios moved since the run before of the same questions, options,
   data and machine: what moves by more than 10 percent isn't known that well.
4. A question that fails is told, and the others are asked all the same; then it exits with 1.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compare import difference
from history import HISTORY, begin, newest_of_each_size, read_history, record_folder, write_record
from measuring import Spread, end_on_signal
from pace import LIMIT, PAIRS, noise, pace
from questions import BY_NAME, QUESTIONS, Question
from report import write_report

Record = Mapping[str, Any]

PROJECT = Path(__file__).parent.parent


def main() -> None:
    """Asks them."""
    end_on_signal()
    given = _arguments()
    begin()
    asked = _asked(given)
    begun = time.monotonic()
    history = given.records / HISTORY
    earlier = newest_of_each_size(read_history(history))
    pieces = {"before": pace(PAIRS * 2)}
    _tell_noise("before", pieces["before"])
    failed = []
    for one in asked:
        options = (one.short if given.short else one.peers if given.peers else None) or ()
        if not ask(one, (*options, *(more for more in given.more if more not in options)), given.records):
            failed.append(one.name)
        pieces[f"after {one.name}"] = pace(PAIRS * 2)
        _tell_noise(f"after {one.name}", pieces[f"after {one.name}"])
    write_noise(given.records, pieces)
    page = given.records / "report.html"
    write_report(page, read_history(history))
    print(f"\n{verdict(pieces)}")
    print("\n".join(steadiness(earlier, newest_of_each_size(read_history(history)), [one.name for one in asked])))
    print(f"{len(asked) - len(failed)} questions in {(time.monotonic() - begun) / 60:.1f} minutes; report: {page}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--short", action="store_true", help="ten minutes on two cores, without peers to install")
    size.add_argument("--peers", action="store_true", help="whatever is measured beside peers: an hour and more")
    size.add_argument("--full", action="store_true", help="everything, with peers")
    parser.add_argument("--only", default="", help="some questions, with commas")
    parser.add_argument("--records", type=Path, default=record_folder(), help="the folder of records")
    parser.add_argument("--quick", dest="more", action="store_const", const=("--quick",), default=(), help="of each")
    given = parser.parse_args()
    if unknown := {*filter(None, given.only.split(","))} - set(BY_NAME):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(BY_NAME)}")
    return given


def _asked(given: argparse.Namespace) -> Sequence[Question]:
    named = {*filter(None, given.only.split(","))}
    if named:
        return [BY_NAME[name] for name in BY_NAME if name in named]
    return [one for one in QUESTIONS if given.full or (one.peers is not None if given.peers else one.short is not None)]


def ask(question: Question, options: Sequence[str], records: Path) -> bool:
    """Whether it was answered; what it says is passed on."""
    print(f"\n== {question.name}: {question.asked}", flush=True)
    begun = time.monotonic()
    record = str(records / f"{question.name}.json")
    process = subprocess.Popen(question.started(*options, "--record", record), cwd=PROJECT)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    print(f"-- {question.name}: {time.monotonic() - begun:.0f} s{f', FAILED with {code}' if code else ''}", flush=True)
    return code == 0


def verdict(pieces: Mapping[str, Sequence[float]]) -> str:
    """What the machine's noise means for the figures."""
    worst = max(noise(one) for one in pieces.values())
    if worst > LIMIT:
        where = ", ".join(name for name, one in pieces.items() if noise(one) > LIMIT)
        return (
            f"the machine was too noisy: {100 * worst:.0f} percent ({where}); no more than {100 * LIMIT:.0f} would do"
        )
    return f"the machine was quiet enough: the same work strayed by {100 * worst:.0f} percent at most"


def steadiness(earlier: Mapping[str, Record], now: Mapping[str, Record], names: Sequence[str]) -> list[str]:
    """By how much the medians of the ratios of the questions `names` moved between two runs, in lines.

    Parameters
    ----------
    earlier, now : the newest records before and after this run, by question and options.
    """
    moves = {
        f"{one['question']}: {name}": (earlier[key]["ratios"][name]["median"], spread["median"])
        for key, one in now.items()
        if one["question"] in names and key in earlier and earlier[key]["measured_at"] < one["measured_at"]
        if not difference(earlier[key], one)
        for name, spread in one["ratios"].items()
        if "null" not in name and name in earlier[key]["ratios"]
    }
    if not moves:
        return ["there is no earlier run to compare the ratios with: run it twice"]
    far = [
        f"  {name}: {before:.3g}, now {after:.3g}"
        for name, (before, after) in moves.items()
        if abs(after / before - 1) >= LIMIT
    ]
    said = f"medians of {len(moves)} ratios beside the run before: "
    return [said + (f"{len(far)} moved by {LIMIT:.0%} or more" if far else f"all within {LIMIT:.0%}"), *far]


def _tell_noise(when: str, pieces: Sequence[float]) -> None:
    print(f"noise {when}: {noise(pieces):.1%} (a piece took {Spread.of(pieces).median:.3f} s)", flush=True)


def write_noise(records: Path, pieces: Mapping[str, Sequence[float]]) -> None:
    """A record of its own: the report shows it with what was measured at the time."""
    strays = {when: noise(one) for when, one in pieces.items()}
    pairs = [pair for one in pieces.values() for pair in zip(one[::2], one[1::2], strict=True)]
    ratios = {"null: A/A": Spread.of([after / before for before, after in pairs])}
    record: dict[str, Any] = {"question": "noise", "quick": False, "noise": {"worst": max(strays.values()), **strays}}
    write_record(records / "noise.json", record, ratios, phases={when: list(one) for when, one in pieces.items()})


if __name__ == "__main__":
    main()
