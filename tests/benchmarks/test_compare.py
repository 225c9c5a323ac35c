"""What got slower is found and named by its phase; what didn't isn't."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.scripts import BENCHMARKS, loaded

TINY = Path(__file__).parent / "tiny.py"
compare = loaded("compare")


def measure(record: Path, planted: Mapping[str, float] | None = None) -> None:
    env = {**os.environ, "PYTHONPATH": str(BENCHMARKS), "PLANTED": json.dumps(planted or {})}
    subprocess.run([sys.executable, TINY, "--record", record], env=env, check=True, capture_output=True, timeout=60)


def compared(*given: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "compare.py"), *map(str, given)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def record(phases: Mapping[str, Sequence[float]], **changes: Any) -> dict[str, Any]:
    machine = {"processor": "a", "cores": 2}
    whole = {"format": "dataops/benchmark/1", "question": "q", "quick": False, "commit": "abc1234", "machine": machine}
    return {**whole, "measured_at": "2026-01-01T00:00:00Z", "ratios": {}, "phases": phases, **changes}


def verdicts(base: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    return {one.phase: one.verdict for one in compare.compare({"q": base}, {"q": new})[0]}


def test_a_sleep_that_is_planted_in_one_phase_is_caught_and_named(tmp_path: Path) -> None:
    measure(tmp_path / "base.json")
    measure(tmp_path / "new.json", {"sum": 1.0})
    done = compared(tmp_path / "base.json", tmp_path / "new.json")
    assert done.returncode == 1, done.stdout + done.stderr
    slow = [line for line in done.stdout.splitlines() if line.startswith("SLOWER")]
    assert len(slow) == 1
    assert "tiny, phase 'sum'" in slow[0]
    told = json.loads(compared(tmp_path / "base.json", tmp_path / "new.json", "--json").stdout)
    assert told["slower"] == ["tiny: sum"]


def test_commits_are_looked_up_in_the_history(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    slow = record({"fit": [2.0, 2.1, 2.2], "read": [1.0, 1.1, 1.2]}, commit="def5678")
    quick = record({"fit": [9.0]}, commit="def5678", quick=True, measured_at="2026-02-01T00:00:00Z")
    lines = [record({"fit": [1.0, 1.1, 1.2], "read": [1.0, 1.1, 1.2]}), slow, quick]
    history.write_text("".join(json.dumps(one) + "\n" for one in lines))
    done = compared("abc1234", "def", "--history", history, "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["slower"] == ["q: fit"]
    unknown = compared("abc1234", "0000000", "--history", history)
    assert unknown.returncode == 1
    assert "def5678, abc1234" in unknown.stderr


def test_repeats_that_overlap_decide_nothing_nor_do_too_few() -> None:
    assert verdicts(record({"a": [1.0, 1.1, 1.9]}), record({"a": [1.5, 1.6, 1.7]})) == {"a": "same"}
    assert verdicts(record({"a": [1.0, 1.0]}), record({"a": [9.0, 9.0]})) == {"a": "too few repeats"}


def test_one_slow_repeat_of_many_hides_nothing_and_shows_nothing() -> None:
    usual = [1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06]
    assert verdicts(record({"a": [*usual, 9.0]}), record({"a": [one * 1.5 for one in usual]})) == {"a": "slower"}
    assert verdicts(record({"a": usual}), record({"a": [*usual, 9.0]})) == {"a": "same"}


def test_what_the_null_run_strays_by_is_noise() -> None:
    base, new = record({"a": [1.0, 1.0, 1.01]}), {"a": [1.2, 1.2, 1.21]}
    null = {"null: ours/ours": {"median": 0.75, "min": 0.7, "max": 0.8}}
    assert verdicts(base, record(new)) == {"a": "slower"}
    assert verdicts(base, record(new, ratios=null)) == {"a": "same"}


def test_a_machine_that_was_slower_itself_isnt_held_against_a_phase() -> None:
    base, new = record({"a": [1.0, 1.0, 1.01]}, pace=[0.1] * 5), {"a": [1.5, 1.5, 1.51]}
    assert verdicts(base, record(new, pace=[0.1] * 5)) == {"a": "slower"}
    assert verdicts(base, record(new, pace=[0.15] * 5)) == {"a": "same"}


@pytest.mark.parametrize(
    "change",
    [{"quick": True}, {"data": {"rows": 2, "digest": "x"}}, {"machine": {"processor": "b", "cores": 2}}, {"size": "s"}],
)
def test_records_of_other_things_arent_compared(change: dict[str, Any]) -> None:
    found, apart = compare.compare({"q": record({"a": [1.0] * 3})}, {"q": record({"a": [9.0] * 3}, **change)})
    assert not found
    assert next(iter(change)) in apart["q"] or "processor" in apart["q"]


def test_libraries_that_changed_are_told() -> None:
    base, new = record({}, versions={"dask": "1", "numpy": "2"}), record({}, versions={"dask": "3", "numpy": "2"})
    assert compare.other_versions({"q": base}, {"q": new}) == ["dask was 1 in BASE and 3 in NEW"]


def test_how_the_machine_did_is_no_phase_of_ours() -> None:
    quiet, loud = record({"before": [0.1] * 5}, question="noise"), record({"before": [0.9] * 5}, question="noise")
    assert compare.compare({"noise --short": quiet}, {"noise --short": loud}) == ([], {})


def test_nothing_to_compare_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    for name, question in (("a", "q"), ("b", "other")):
        (tmp_path / name).write_text(json.dumps(record({"a": [1.0]}, question=question)))
    assert compared(tmp_path / "a", tmp_path / "b").returncode == 2


@pytest.mark.parametrize(
    ("new", "code", "said"), [([1.0] * 3, 0, "1 of 2"), ([9.0] * 3, 1, "1 of 2"), ([1.0], 2, "2 of 2")]
)
def test_what_couldnt_be_decided_is_counted_and_passes_for_nothing(
    tmp_path: Path, new: list[float], code: int, said: str
) -> None:
    (tmp_path / "a").write_text(json.dumps(record({"a": [1.0] * 3, "b": [1.0]})))
    (tmp_path / "b").write_text(json.dumps(record({"a": new, "b": [9.0]})))
    done = compared(tmp_path / "a", tmp_path / "b")
    assert done.returncode == code
    assert done.stdout.splitlines()[-1] == f"undecided: {said} phases, with too few repeats"
    assert "no phase got slower" not in done.stdout
    assert ("nothing could be decided" in done.stdout) == (code == 2)
    told = compared(tmp_path / "a", tmp_path / "b", "--json")
    assert told.returncode == code
    assert json.loads(told.stdout)["undecided"] == int(said[0])


def test_a_phase_that_only_one_side_has_is_named() -> None:
    base, new = record({"a": [1.0] * 3, "old": [1.0] * 3}), record({"a": [1.0] * 3, "renamed": [3.0] * 3})
    found, apart = compare.compare({"q": base}, {"q": new})
    assert [one.phase for one in found] == ["a"]
    assert apart == {"q: old": "no such phase in NEW", "q: renamed": "no such phase in BASE"}


STEADY = {"null: ours/ours": {"median": 1.0, "min": 0.99, "max": 1.01}}
SHAKEN = {"null: ours/ours": {"median": 1.0, "min": 0.8, "max": 1.1}}


def test_between_sessions_noise_is_what_null_runs_and_the_noise_record_strayed_by() -> None:
    def both(ratios: dict[str, Any], noise: float, at: str) -> tuple[str, str]:
        base = {"q": record({"a": [1.0] * 3}, ratios=ratios)}
        new = {"q": record({"a": [1.2] * 3}, ratios=ratios, measured_at=at)}
        if noise:
            base["noise --short"] = record({}, question="noise", noise={"worst": noise})
        return compare.compare(base, new)[0][0].verdict, " ".join(compare.doubts(base, new))

    near, far = "2026-01-01T00:09:00Z", "2026-01-01T00:11:00Z"
    assert both(STEADY, 0.3, near) == ("slower", "")
    assert both(SHAKEN, 0.0, near) == ("slower", "")
    again = "look again at what is slower: base and new in turns"
    other = "q: BASE and NEW are of other sessions"
    assert both(STEADY, 0.0, far) == ("slower", f"{other}; noise is at least 1% (of its null runs) {again}")
    assert both(SHAKEN, 0.0, far) == ("same", f"{other}; noise is at least 25% (of its null runs) {again}")
    assert both(STEADY, 0.3, far) == ("same", f"{other}; noise is at least 30% (of the noise records beside) {again}")
    without = "q: no null run in BASE and NEW; noise is at least"
    assert both({}, 0.3, near) == ("same", f"{without} 30% (of the noise records beside) {again}")
    verdict, said = both({}, 0.0, near)
    assert (verdict, said.partition(" (")[0]) == ("slower", f"{without} 10%")


def test_the_least_slowdown_that_is_seen_is_the_least_that_is_found() -> None:
    usual = [1.0, 1.02, 1.05, 1.1, 1.2]
    base = record({"a": usual}, ratios=STEADY)
    [found] = compare.compare_question(base, base)
    assert found.seen > 1.05
    for times, verdict in ((found.seen * 1.01, "slower"), (found.seen * 0.99, "same")):
        assert verdicts(base, record({"a": [one * times for one in usual]}, ratios=STEADY)) == {"a": verdict}
    [few] = compare.compare_question(record({"a": [1.0]}), record({"a": [9.0]}))
    assert few.seen is None


@pytest.mark.parametrize("repeats", [3, 5, 8])
def test_the_bounds_miss_what_is_true_as_seldom_as_they_say(repeats: int) -> None:
    """Of repeats from one distribution the lower bound is beyond 1 in at most 5 percent (three repeats: 1 in 20)."""
    chance = np.random.default_rng(repeats)
    turns, beyond = 2000, 0
    for _ in range(turns):
        base, new = ([chance.lognormal(0, 0.3) for _ in range(repeats)] for _ in range(2))
        low, high, known = compare.bounds(base, new)
        assert known
        assert low <= high
        beyond += low > 1
    level = 0.05 if repeats == 3 else 0.01
    assert beyond / turns <= level + 3 * (level / turns) ** 0.5


def test_the_chances_of_u_are_those_of_the_tables() -> None:
    chances = compare._chances_of_u(3, 3)
    assert [round(one * 20) for one in chances] == [1, 1, 2, 3, 3, 3, 3, 2, 1, 1]
