"""Batch rescoring against what people use today, and against the bare work.

    python benchmarks/rescoring.py                            # all sets, all peers, three rounds: an hour or more
    python benchmarks/rescoring.py --quick                    # a tenth of the rows, one round: minutes
    python benchmarks/rescoring.py --sets narrow --only spark,bare

1. Everybody runs in a process of its own, reads the same Parquet files, applies the same registered version (booster
   and values of the feature program), and writes Parquet with the key columns and the probability, on the same cores.
   Peers run as their own documentation advises (`peers/`), in environments of their own that are built once into the
   cache; one that can't be built is left out and said so.
   The four files of ``narrow`` are the same file four times, and boosted trees of ours score each distinct row of a
   unit once, where peers score every row: data whose rows don't repeat gain nothing from that.
2. What each wrote is compared row by row (1e-6; sorted where a peer doesn't keep the order) before any figure counts.
3. Start-up (importing, also in workers; cluster, JVM) is apart from work, for everybody alike. CPU seconds and peak
   memory of each process are taken from outside. Where oneDAL is installed, the first run of a version measures what it
   brings, once: that run is printed and not counted.
4. Rounds are A B C ... A B C ...; a ratio is of two runs of one round. One contestant runs twice a round (``null``):
   what its ratio to itself strays from 1 is noise. Ratios of CPU seconds stand beside: other work
   on the machine touches them less.
5. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from compared import compare_rows, read_output
from history import arguments, data_of_files, machine, write_record
from measuring import Spread, Watched, costs_of, end_on_signal, phases_of, plain_spreads, require, watch
from ours import ENVIRONMENT, parts_of, run_apart, run_here
from pace import cores
from peers.environments import FRAMES, ONEDAL, RAY, SPARK, CannotBuild, Environment, build, variables
from scored_sets import QUICK, SETS, ScoredSet, data_of, describe, make_workspace

from dataops.records import canonical_bytes
from dataops.runs.workspace import Workspace

UNIT_BYTES = 64 * 2**20  # of the bare work's units
SPARK_BATCH = 100_000  # rows: at its default of 10,000 the pipeline alone takes nearly twice the CPU a row
RAY_SHARES = {"read": 0.5, "actor": 0.5, "write": 0.5, "batch": None}
OURS, BARE = "dataops", "bare"
PEERS = ("pandas", "dask", "spark", "ray")
WITHOUT, DRIFT, NULL = " without onedal", " with drift", " null"
LIMITS = {  # from the issue that asked for them: at least for peers, at most for the bare work
    "narrow": {
        "pandas/dataops": 2.8,
        "dask/dataops": 2.2,
        "spark/dataops": 3.0,
        "ray/dataops": 2.6,
        "pandas/dataops without onedal": 1.8,
        "dask/dataops without onedal": 1.4,
        "spark/dataops without onedal": 1.9,
        "ray/dataops without onedal": 1.7,
        "dataops/bare": 1.25,
        "dataops/bare without onedal": 1.25,
        "dataops with drift/bare": 1.45,
        "dataops with drift/bare without onedal": 1.45,
    }
}
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Somebody who scores.

    Attributes
    ----------
    script : in ``peers``.
    changes : of the description, for this one.
    job : ours: the rescore job.
    """

    name: str
    script: str
    python: Path
    env: Mapping[str, str]
    changes: Mapping[str, Any] = field(default_factory=dict)
    job: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run of a contestant, and where its output lies."""

    watched: Watched
    files: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Of work, without what a peer imported once the work had begun."""
        return self.watched.phases["work"].seconds - self._imported("seconds")

    @property
    def start_seconds(self) -> float:
        """Of start-up."""
        return self.watched.phases["start"].seconds + self._imported("seconds")

    @property
    def cpu_seconds(self) -> float:
        """Of work, of all processes."""
        return self.watched.phases["work"].cpu_seconds - self._imported("cpu_seconds")

    def _imported(self, what: str) -> float:
        return float(self.watched.told.get("imported", {}).get(what, 0.0))


def main() -> None:
    """Measures, prints tables, writes the record."""
    end_on_signal()
    given = _arguments()
    wanted = set(given.only.split(",")) if given.only else {*PEERS, BARE}
    environments, missing = find_environments(wanted, onedal=not given.no_onedal)
    record: dict[str, Any] = {"question": "rescoring", "quick": given.quick, "missing": missing, "sets": {}}
    record |= {"phases": {}, "data": {}, "costs": {}}
    ratios: dict[str, Spread] = {}
    for name in given.sets.split(","):
        scored = SETS[name]
        with tempfile.TemporaryDirectory(prefix="dataops-rescoring-", dir=given.scratch) as folder:
            found, record["sets"][name] = measure_set(scored, Path(folder), environments, given)
        record["data"][name] = record["sets"][name].pop("data")
        record["phases"] |= record["sets"][name].pop("phases")
        prefix = "" if name == "narrow" else f"{name}: "
        record["costs"] |= {prefix + who: cost for who, cost in record["sets"][name].pop("costs").items()}
        ratios |= {prefix + ratio: spread for ratio, spread in found.items()}
    record["limits"] = LIMITS["narrow"]
    parts = {name: record.pop(name) for name in ("phases", "data", "costs")}
    write_record(given.record, record, ratios, **parts, cluster=(cores(), 1))


def _arguments() -> argparse.Namespace:
    parser = arguments(__doc__, "rescoring", quick="a tenth of the rows, one round")
    parser.add_argument("--only", default="", help=f"some of {','.join((*PEERS, BARE))}; we always run")
    parser.add_argument("--sets", default=",".join(SETS), help=f"some of: {', '.join(SETS)}; default: all")
    parser.add_argument("--rounds", type=int, default=None, help="default: 3, with --quick 1")
    parser.add_argument("--rows", type=int, default=None, help="rows of each set, instead of its own")
    parser.add_argument("--no-onedal", action="store_true", help="leave oneDAL out")
    parser.add_argument("--scratch", type=Path, default=None, help="where outputs are written; default: the system's")
    given = parser.parse_args()
    unknown = {*given.sets.split(",")} - set(SETS) | {*filter(None, given.only.split(","))} - {*PEERS, BARE}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    given.rounds = given.rounds or (1 if given.quick else 3)
    return given


def find_environments(
    wanted: set[str], *, onedal: bool
) -> tuple[dict[str, tuple[Path, dict[str, str]]], dict[str, str]]:
    """Interpreter and variables by peer, and why a peer is missing."""
    found: dict[str, tuple[Path, dict[str, str]]] = {WITHOUT: (Path(sys.executable), ENVIRONMENT)}
    missing: dict[str, str] = {}
    asked: dict[str, Environment] = {"pandas": FRAMES, "dask": FRAMES, "spark": SPARK, "ray": RAY}
    asked = {name: one for name, one in asked.items() if name in wanted} | ({OURS: ONEDAL} if onedal else {})
    for name, environment in asked.items():
        try:
            python = build(environment)
            found[name] = (python, variables(environment, python))
        except CannotBuild as error:
            missing[name if name != OURS else "onedal"] = str(error)
            print(f"left out: {name if name != OURS else 'onedal'}: {error}", flush=True)
    return found | ({BARE: found[WITHOUT]} if BARE in wanted else {}), missing


def contestants(environments: Mapping[str, tuple[Path, dict[str, str]]], scored: ScoredSet) -> list[Contestant]:
    """Who scores this set, in the order of a round."""
    boosted, narrow = scored.trainer == "xgboost", scored.name == "narrow"
    found: list[Contestant] = []

    def add(name: str, script: str, place: str, **more: Any) -> None:
        if place in environments:
            python, env = environments[place]
            found.append(Contestant(name=name, script=script, python=python, env=env, **more))

    both = (("", OURS), (WITHOUT, WITHOUT)) if boosted else (("", WITHOUT),)
    for suffix, place in both:
        add(OURS + suffix, "with_dataops.py", place, job="scores")
        if BARE in environments:
            add(BARE + suffix, "bare.py", place, changes={"unit_bytes": UNIT_BYTES})
        if narrow:
            add(OURS + DRIFT + suffix, "with_dataops.py", place, job="scores_drift")
    for name in PEERS:
        changes = {"spark": {"spark_batch": SPARK_BATCH}, "ray": {"ray": RAY_SHARES}}.get(name, {})
        add(name, f"with_{name}.py", name, changes=changes)
    if narrow:
        add(OURS + WITHOUT + NULL, "with_dataops.py", WITHOUT, job="scores")
    return found


def measure_set(
    scored: ScoredSet,
    folder: Path,
    environments: Mapping[str, tuple[Path, dict[str, str]]],
    given: argparse.Namespace,
) -> tuple[dict[str, Spread], dict[str, Any]]:
    """Ratios of one set, and its part of the record."""
    rows = given.rows or scored.rows // (QUICK if given.quick else 1)
    workspace = make_workspace(folder / "workspace", scored, data_of(scored, rows))
    for name in ("ready", "scorer"):
        run_here(workspace, name)
    spec = {**describe(scored, workspace), "cores": len(os.sched_getaffinity(0))}
    print(f"\n== {scored.name}: {spec['rows']:,} rows, {len(spec['files'])} files, {_model(scored)}", flush=True)
    if scored.name == "narrow":
        again = "the same file four times" if spec["rows"] == scored.rows else "of the same three million flights"
        print(f"   the files are {again}; dataops scores each distinct row of a unit once, peers every row", flush=True)
    everybody = contestants(environments, scored)
    runs: dict[str, list[Ran]] = {one.name: [] for one in everybody}
    failed: dict[str, str] = {}
    measure_onedal(everybody, workspace)
    for turn in range(given.rounds):
        for one in [one for one in everybody if one.name not in failed]:
            kernel = {"kernel": _kernel(runs, one.name.replace(BARE, OURS))}  # the bare work's is ours
            try:
                runs[one.name].append(run_one(one, {**spec, **kernel}, workspace, folder / f"out-{turn}"))
            except RuntimeError as error:
                if one.job is not None:
                    raise
                failed[one.name] = str(error)
                del runs[one.name]
                print(f"left out: {one.name} failed: {error}", flush=True)
                continue
            _say(one.name, turn, runs[one.name][-1])
        check_outputs({name: found[-1] for name, found in runs.items()}, scored.keep, spec["rows"])
        shutil.rmtree(folder / f"out-{turn}", ignore_errors=True)
    show(runs, spec["rows"])
    ratios, cpu = find_ratios(runs, lambda ran: ran.seconds), find_ratios(runs, lambda ran: ran.cpu_seconds)
    show_ratios(ratios, cpu, LIMITS.get(scored.name, {}))
    measured = {"ratios": plain_spreads(ratios), "cpu": plain_spreads(cpu), "failed": failed}
    phases: dict[str, list[float]] = {}
    for who in (one.name for one in everybody if one.job is not None and NULL not in one.name):
        phases |= phases_of([ran.watched for ran in runs[who]], f"{scored.name}: {who}: ")
    data = data_of_files(spec["files"], spec["rows"])
    recorded = _recorded(runs, spec, given.rounds)
    costs = costs_of(
        {name: [ran.watched for ran in found] for name, found in runs.items()}, spec["rows"], recorded["bytes"]
    )
    return ratios, {**recorded, **measured, "phases": phases, "data": data, "costs": costs}


def measure_onedal(everybody: Sequence[Contestant], workspace: Workspace) -> None:
    """What oneDAL brings is measured in the first run of a version: seconds that no later run takes."""
    for one in everybody:
        if one.name == OURS and one.job is not None and f"{OURS}{WITHOUT}" in {other.name for other in everybody}:
            ran = run_apart(workspace, one.job, "--again", python=one.python, env=one.env)
            print(f"  first run of the version, not counted: {ran.phases['work'].seconds:.2f} s", flush=True)


def run_one(one: Contestant, spec: Mapping[str, Any], workspace: Workspace, outputs: Path) -> Ran:
    """One run."""
    if one.job is not None:
        watched = run_apart(workspace, one.job, "--again", python=one.python, env=one.env)
        return Ran(watched=watched, files=tuple(parts_of(workspace, one.job)))
    script = str(Path(__file__).parent / "peers" / one.script)
    outputs.mkdir(exist_ok=True)
    description, output = outputs / f"{one.name}.json", outputs / one.name.replace(" ", "-")
    description.write_bytes(canonical_bytes({**spec, **one.changes}))
    env = {**one.env, "OMP_NUM_THREADS": str(spec["cores"] if one.name == "pandas" else 1)}
    watched = watch([str(one.python), script, str(description), str(output)], env=env)
    return Ran(watched=watched, files=tuple(sorted(map(str, output.glob("*.parquet")), key=_by_numbers)))


def _by_numbers(path: str) -> list[int]:
    return [int(number) for number in _NUMBER.findall(Path(path).name)]


def check_outputs(runs: Mapping[str, Ran], keep: Sequence[str], rows: int) -> None:
    """All wrote the same rows.

    Raises
    ------
    AssertionError : one lost, doubled or changed something, with its name.
    """
    oracle = "pandas" if "pandas" in runs else next(iter(runs))
    expected = read_output(runs[oracle].files, keep)
    require(expected.num_rows == rows, f"{oracle}: {expected.num_rows} rows of {rows}")
    differences = {}
    for name, ran in runs.items():
        if name != oracle:
            differences[name] = compare_rows(name, read_output(ran.files, keep), expected, keep)
    worst = max(differences.values(), default=0.0)
    print(
        f"checked: {rows:,} rows of {len(runs)} outputs equal those of {oracle}, at most {worst:.1e} apart", flush=True
    )


def find_ratios(runs: Mapping[str, Sequence[Ran]], cost: Callable[[Ran], float]) -> dict[str, Spread]:
    """Ratios of what runs cost, run by run of one round."""

    def ratio(one: str, other: str) -> Spread | None:
        if one not in runs or other not in runs:
            return None
        return Spread.of([cost(a) / cost(b) for a, b in zip(runs[one], runs[other], strict=True)])

    found: dict[str, Spread | None] = {}
    for suffix in ("", WITHOUT):
        for peer in PEERS:
            found[f"{peer}/dataops{suffix}"] = ratio(peer, OURS + suffix)
            found[f"{peer}/dataops{DRIFT}{suffix}"] = ratio(peer, OURS + DRIFT + suffix)
        found[f"dataops/bare{suffix}"] = ratio(OURS + suffix, BARE + suffix)
        found[f"dataops{DRIFT}/bare{suffix}"] = ratio(OURS + DRIFT + suffix, BARE + suffix)
    found["null: dataops/dataops"] = ratio(OURS + WITHOUT + NULL, OURS + WITHOUT)
    return {name: spread for name, spread in found.items() if spread is not None}


def show(runs: Mapping[str, Sequence[Ran]], rows: int) -> None:
    """The table of contestants."""
    print(
        f"\n{'':<34}{'work s':>9}{'min':>8}{'max':>8}{'start s':>9}{'CPU s':>9}{'rows/s':>12}"
        f"{'largest':>10}{'together':>10}",
        flush=True,
    )
    for name, found in runs.items():
        work = Spread.of([one.seconds for one in found])
        start = Spread.of([one.start_seconds for one in found])
        cpu = Spread.of([one.cpu_seconds for one in found])
        peak = max(one.watched.peak for one in found) / 2**20
        total = max(sum(held for _, held in one.watched.peaks) for one in found) / 2**20
        print(
            f"{name:<34}{work.median:9.2f}{work.min:8.2f}{work.max:8.2f}{start.median:9.2f}{cpu.median:9.1f}"
            f"{rows / work.median:12,.0f}{peak:7,.0f} MB{total:7,.0f} MB"
        )


def show_ratios(ratios: Mapping[str, Spread], cpu: Mapping[str, Spread], limits: Mapping[str, float]) -> None:
    """The table of ratios, with what was asked for."""
    print(f"\n{'':<44}{'median':>8}{'min':>8}{'max':>8}{'of CPU':>8}  asked", flush=True)
    for name, one in ratios.items():
        limit = limits.get(name)
        bound = "most" if "/bare" in name else "least"
        asked = "" if limit is None else f"at {bound} {limit}"
        missed = limit is not None and (one.median > limit if bound == "most" else one.median < limit)
        print(
            f"{name:<44}{one.median:8.2f}{one.min:8.2f}{one.max:8.2f}{cpu[name].median:8.2f}"
            f"  {asked}{'  MISSED' if missed else ''}"
        )


def _model(scored: ScoredSet) -> str:
    kind = "boosted trees, 100 rounds, depth 6" if scored.trainer == "xgboost" else "logistic"
    return (
        f"{len(scored.numeric)} numeric and {len(scored.categorical)} categorical features, {kind}; no rules, no masks"
    )


def _kernel(runs: Mapping[str, Sequence[Ran]], name: str) -> str:
    """What scored in the last run of `name`."""
    found = runs.get(name)
    kernels = (
        found[-1].watched.told["result"].get("kernels", {}) if found and "result" in found[-1].watched.told else {}
    )
    return next(iter(kernels.values()), "xgboost")


def _say(name: str, turn: int, ran: Ran) -> None:
    told = ran.watched.told
    with_what = told.get("predictor") or next(iter(told.get("result", {}).get("kernels", {}).values()), "")
    figures = f"{ran.seconds:8.2f} s, start-up {ran.start_seconds:6.2f} s"
    print(f"  round {turn + 1}: {name:<34} {figures}  {with_what}", flush=True)


def _recorded(runs: Mapping[str, Sequence[Ran]], spec: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """One set's part of the record."""
    return {
        "rows": spec["rows"],
        "bytes": sum(Path(path).stat().st_size for path in spec["files"]),
        "rounds": rounds,
        "policy": "every column allowed, no rules, no masks",
        "load_after": machine()["load_before"],
        "runs": {name: [_run_record(one) for one in found] for name, found in runs.items()},
    }


def _run_record(ran: Ran) -> dict[str, Any]:
    phases = {name: asdict(phase) for name, phase in ran.watched.phases.items()}
    peaks = [{"process": name, "peak_bytes": held} for name, held in ran.watched.peaks]
    return {"phases": phases, "processes": peaks, "told": dict(ran.watched.told)}


if __name__ == "__main__":
    main()
