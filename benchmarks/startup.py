"""What every verb takes from its start to its end: seconds, and seconds of a processor.

    python benchmarks/startup.py            # seven turns
    python benchmarks/startup.py --quick    # two turns, and the help of every tenth verb

1. Verbs that look at something do so in a workspace of 20,000 flights with one model and one run; ``job run`` finds
   there that nothing changed. Every verb's ``--help`` is measured as well: what it costs to ask how it is used.
2. Each is a process of its own, in turns. It has to end with 0, and to print JSON where it is asked to; CPU seconds are
   of the process and all that it waited for. One verb runs twice a turn (``null``).
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from history import arguments, write_record
from measuring import Spread, end_on_signal, require
from ours import run_here
from scored_sets import NARROW, data_of, make_workspace

from dataops.cli.main import main as command_line

ROWS = 20_000
TURNS, QUICK_TURNS, QUICK = 7, 2, 10
NULL, TWICE = "null", "status"
VERBS = {
    "--help": "",
    "status": "status",
    "job list": "job list",
    "job show": "job show {run}",
    "job explain": "job explain jobs/jobs.yaml scores",
    "job run, nothing changed": "job run jobs/jobs.yaml scores",
    "dataset list": "dataset list",
    "dataset show": "dataset show rows",
    "dataset verify": "dataset verify scores",
    "model list": "model list",
    "model show": "model show scorer@1",
    "model verify": "model verify scorer@1",
    "policy check": "policy check",
    "audit show": "audit show",
    "audit verify": "audit verify",
    "lineage show": "lineage show scores",
    "quarantine list": "quarantine list",
    "schedule list": "schedule list",
    "cluster status": "cluster status",
    "keys list": "keys list",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Seconds of one process, and seconds of a processor."""

    wall: float
    cpu: float


def main() -> None:
    """Measures, prints, writes the record."""
    end_on_signal()
    parser = arguments(__doc__, "startup", quick="two turns, the help of every tenth verb")
    parser.add_argument("--turns", type=int, default=None, help="default: 7, with --quick 2")
    parser.add_argument("--every", type=int, default=None, help="the help of every so many verbs, not of all")
    given = parser.parse_args()
    turns = given.turns or (QUICK_TURNS if given.quick else TURNS)
    helped = sorted(verbs(command_line))[:: given.every or (QUICK if given.quick else 1)]
    with tempfile.TemporaryDirectory(prefix="dataops-startup-") as folder:
        workspace = make_workspace(Path(folder), NARROW, data_of(NARROW, ROWS))
        run = [run_here(workspace, name).state.run.id for name in ("ready", "scorer", "scores")][-1]
        commands = {name: line.format(run=run).split() for name, line in VERBS.items()}
        runs: dict[str, list[Took]] = {name: [] for name in (*commands, NULL)}
        helps: list[list[Took]] = []
        for turn in range(turns):
            for name, words in commands.items():
                runs[name].append(started(words or ["--help"], Path(folder), as_json=bool(words)))
            runs[NULL].append(started(commands[TWICE], Path(folder), as_json=True))
            helps.append([started([*verb.split(), "--help"], Path(folder), as_json=False) for verb in helped])
            print(f"turn {turn + 1}: {len(commands) + len(helped)} verbs ended well", flush=True)
    show(runs, helps, helped)
    phases = {name: [one.wall for one in found] for name, found in runs.items() if name != NULL}
    phases["--help of a verb"] = [statistics.median(one.wall for one in turn) for turn in helps]
    cpu = {f"{name}, CPU seconds": Spread.of([one.cpu for one in found]) for name, found in runs.items()}
    cpu["--help of a verb, CPU seconds"] = Spread.of([statistics.median(one.cpu for one in turn) for turn in helps])
    pairs = zip(runs[NULL], runs[TWICE], strict=True)
    ratios = {f"{NULL}: {TWICE}/{TWICE}": Spread.of([one.wall / other.wall for one, other in pairs])}
    record = {"question": "startup", "quick": given.quick, "verbs": len(helped)}
    write_record(given.record, record, ratios, phases=phases, cluster=None, figures=cpu)


def verbs(group: click.Group, path: str = "") -> Iterator[str]:
    """Every verb of the command line, with the words before it."""
    for name, command in group.commands.items():
        here = f"{path} {name}".strip()
        if isinstance(command, click.Group):
            yield from verbs(command, here)
        else:
            yield here


def started(words: Sequence[str], folder: Path, *, as_json: bool) -> Took:
    """What a verb took, from the start of its process until it was gone."""
    command = [sys.executable, "-m", "dataops.cli.main", *words, *(["--json"] if as_json else [])]
    before, begun = _cpu(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    took = Took(wall=time.perf_counter() - begun, cpu=_cpu() - before)
    require(done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-500:]}")
    if as_json:
        json.loads(done.stdout)
    else:
        require("Usage" in done.stdout, f"{' '.join(words)} explains itself")
    return took


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def show(runs: dict[str, list[Took]], helps: Sequence[Sequence[Took]], helped: Sequence[str]) -> None:
    """The table."""
    print(f"{'':<28}{'median s':>10}{'min':>8}{'max':>8}{'CPU s':>8}")
    for name, found in runs.items():
        wall = Spread.of([one.wall for one in found])
        cpu = statistics.median(one.cpu for one in found)
        print(f"{name:<28}{wall.median:10.2f}{wall.min:8.2f}{wall.max:8.2f}{cpu:8.2f}")
    middles = {name: statistics.median(turn[place].wall for turn in helps) for place, name in enumerate(helped)}
    slowest = max(middles, key=lambda name: middles[name])
    print(
        f"--help of {len(helped)} verbs: median {statistics.median(middles.values()):.2f} s, "
        f"at most {middles[slowest]:.2f} s ({slowest})",
        flush=True,
    )


if __name__ == "__main__":
    main()
