"""The page asks nobody, and the README's table is what the records say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.scripts import BENCHMARKS, loaded

report, questions, suite = loaded("report"), loaded("questions"), loaded("suite")
results_table = loaded("results_table")
KEPT = report.KEPT


def record(question: str, **changes: Any) -> dict[str, Any]:
    return {
        "format": "dataops/benchmark/1",
        "question": question,
        "quick": False,
        "size": "",
        "measured_at": "2026-01-02T00:00:00Z",
        "commit": "abc1234",
        "machine": {"processor": "a <b>fast</b> one", "cores": 2, "memory_bytes": 2**34},
        "versions": {"python": "3.11.7"},
        "ratios": {"pandas/dataops": {"median": 5.1, "min": 4.2, "max": 6.0}},
        "phases": {"start": [1.0, 2.0, 3.0], "work": [0.5]},
        **changes,
    }


def spread(median: float) -> dict[str, float]:
    return {"median": median, "min": median, "max": median}


def test_the_page_shows_every_record_and_asks_nobody(tmp_path: Path) -> None:
    later = {"commit": "def5678", "measured_at": "2026-01-03T00:00:00Z"}
    noisy = record("noise", noise={"worst": 0.3, "after rescoring": 0.3}, measured_at="2026-01-04T00:00:00Z")
    limits = {"pandas/dataops": 2.8}
    costs = {"pandas": {"work s": 12.5, "rows/s": 1e6, "versions": {"pandas": "3 <b>"}}, "ours": {"peak MB": 210.0}}
    told = {"limits": limits, "costs": costs, **later}
    records = [record("rescoring"), record("rescoring", **told), record("mine"), noisy]
    report.write_report(tmp_path / "report.html", records)
    page = (tmp_path / "report.html").read_text()
    for said in ("1. abc1234", "2. def5678", "pandas/dataops", "5.1", "at least 2.8", "too noisy: 30%"):
        assert said in page
    for said in ("<th>peak MB</th>", '<td class="n">12.5</td><td class="n">1,000,000</td>', "pandas 3 &lt;b&gt;"):
        assert said in page
    assert "at least 2.8: missed" not in page
    assert "<b>fast" not in page
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    tags = re.sub(r"(<script[^>]*>).*?</script>", r"\1", page, flags=re.DOTALL)
    assert not re.search(r"<[^>]*(src|href)=", tags)
    assert "<!--chart" not in page


@pytest.mark.parametrize(
    ("name", "median", "missed"),
    [
        ("pandas/dataops", 2.0, True),
        ("pandas/dataops", 4.0, False),
        ("dataops/bare", 4.0, True),
        ("governed/raw", 2.0, False),
    ],
)
def test_of_peers_at_least_is_asked_and_of_us_at_most(name: str, median: float, missed: bool) -> None:
    _, found = results_table.judged(name, median, 3.0)
    assert found == missed


def test_the_table_says_medians_and_from_where_to_where() -> None:
    records = [record("rescoring"), record("rescoring", quick=True, measured_at="2027-01-01T00:00:00Z")]
    table = report.table(records)
    assert "| pandas/dataops: 5.1 (4.2 to 6) |  | `python benchmarks/rescoring.py` |" in table
    assert "2 cores of a <b>fast</b> one, 16 GiB; commit abc1234." in table
    assert "How noisy it was at rescoring isn't known." in table
    assert table == report.table(list(reversed(records)))


def test_what_was_asked_stands_beside_each_figure_and_says_what_missed_it() -> None:
    ratios = {"pandas/dataops": spread(2.0), "dataops/bare": spread(1.1), "null: dataops/dataops": spread(1.0)}
    limits = {"pandas/dataops": 2.8, "dataops/bare": 1.25, "spark/dataops": 3.0}
    table = report.table([record("rescoring", ratios=ratios, limits=limits, missing={"spark": "no Java"})])
    assert "| pandas/dataops: 2; dataops/bare: 1.1; left out: spark |" in table
    assert "| pandas/dataops: at least 2.8: missed; dataops/bare: at most 1.25 |" in table
    table = report.table([record("larger", ratios={"memory": spread(1.3)}, limits={"memory": 1.15})])
    assert "| memory: 1.3 | at most 1.15: missed |" in table


PEERS, SHORT = ({one.name: getattr(one, name) for one in questions.QUESTIONS} for name in ("peers", "short"))


def test_what_a_run_was_decides_before_its_time() -> None:
    sizes = ["", *(" ".join(of["rescoring"]) for of in (PEERS, SHORT)), "--rows 5"]
    ranked = [record("rescoring", size=size, measured_at=f"{year}") for year, size in enumerate(sizes, 2026)]
    ranked.append(record("rescoring", quick=True, measured_at="2040"))
    for place, best in enumerate(ranked):
        assert results_table.newest(ranked[place:]) == {"rescoring": best}
        assert results_table.newest(ranked[: place - 1 : -1] if place else ranked[::-1]) == {"rescoring": best}
    later = {**ranked[1], "measured_at": "2050"}
    assert results_table.newest([later, *ranked[1:]]) == {"rescoring": later}
    assert results_table.newest([record("mine", measured_at="2"), record("mine")])["mine"]["measured_at"] > "2"


def test_a_run_without_peers_answers_no_question_about_them() -> None:
    ratios = {"null: dataops/dataops": spread(1.0)}
    alone = record("prepare", size=" ".join(SHORT["prepare"]), ratios=ratios, measured_at="2027-01-01T00:00:00Z")
    table = report.table([alone])
    assert "| flights read, derived, filtered and written: dataops alone | start: 2 s; work: 0.5 s |" in table
    assert "Polars" not in table
    assert "Polars" in report.table([alone, record("prepare", ratios={"polars/dataops": spread(0.9), **ratios})])


def test_noise_is_told_of_each_run() -> None:
    days = [f"2026-01-{day:02d}T00:00:00Z" for day in range(1, 7)]
    records = [
        record("units", measured_at=days[0]),
        record("noise", measured_at=days[1], noise={"worst": 0.3, "before": 0.1, "after units": 0.3}),
        record("rooms", measured_at=days[2], commit="def5678"),
        record("noise", measured_at=days[3], noise={"worst": 0.04, "before": 0.04, "after rooms": 0.01}),
        record("startup", measured_at=days[4]),
        record("startup", measured_at=days[5], quick=True),
        record("noise", measured_at=days[5], noise={"worst": 0.02, "before": 0.02, "after startup": 0.01}),
    ]
    last = report.table(records).splitlines()[-1]
    assert "commits abc1234, def5678." in last
    assert f"units ({days[1]}): the same work strayed by 30% at most, too noisy: no more than 10% would do." in last
    assert f"rooms ({days[3]}): the same work strayed by 4% at most, quiet enough." in last
    assert last.endswith("How noisy it was at startup isn't known.")
    kept = list(results_table.newest(records).values())
    assert report.table(kept) == report.table(records)


def test_the_table_is_written_between_the_markers_and_nowhere_else(tmp_path: Path) -> None:
    kept, readme = tmp_path / "measured.json", tmp_path / "README.md"
    kept.write_text(json.dumps([record("units"), record("rooms")]))
    readme.write_text(f"# A\n\n{report.BEGIN}\nold\n{report.END}\n\nmore\n")
    command = [sys.executable, BENCHMARKS / "report.py", "--records", kept, "--into"]
    subprocess.run([*command, readme], check=True, timeout=60)
    written = readme.read_text()
    assert written == f"# A\n\n{report.BEGIN}\n{report.table(report.read_records(kept))}\n{report.END}\n\nmore\n"
    assert report.with_table(written, report.read_records(kept)) == written
    for bad in ("no markers", report.BEGIN, f"{report.END}{report.BEGIN}", written * 2):
        readme.write_text(bad)
        done = subprocess.run([*command, readme], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert report.BEGIN in done.stderr
        assert readme.read_text() == bad


def test_a_record_with_options_says_them_in_its_command() -> None:
    assert "`python benchmarks/units.py --rows 5`" in report.table([record("units", size="--rows 5")])


def test_kept_records_are_the_newest_of_each_question(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    lines = [record("units"), record("units", commit="new", measured_at="2027-01-01T00:00:00Z"), record("rooms")]
    history.write_text("".join(json.dumps(one) + "\n" for one in lines))
    command = [sys.executable, BENCHMARKS / "report.py", "--records", history]
    subprocess.run([*command, "--keep", tmp_path / "kept.json"], check=True, timeout=60)
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert {one["question"]: one["commit"] for one in kept} == {"units": "new", "rooms": "abc1234"}
    command = [sys.executable, BENCHMARKS / "report.py", "--table", "--records"]
    both = [
        subprocess.check_output([*command, path], text=True, timeout=60) for path in (history, tmp_path / "kept.json")
    ]
    assert both[0] == both[1]


@pytest.mark.skipif(not KEPT.exists(), reason="no records are kept with the project yet")
def test_the_figures_of_the_readme_are_those_of_the_kept_records() -> None:
    readme = (BENCHMARKS.parent / "README.md").read_text(encoding="utf-8")
    assert report.with_table(readme, report.read_records(KEPT)) == readme


def test_every_question_has_its_script_and_every_script_its_question() -> None:
    written = {path.stem for path in BENCHMARKS.glob("*.py") if "write_record(" in path.read_text()}
    assert written - {"history", "suite"} == set(questions.BY_NAME)


def test_noise_is_told_with_where_it_was() -> None:
    steady, shaken = [1.0] * 20, [1.0, 2.0] * 10
    assert suite.verdict({"before": steady}).startswith("the machine was quiet enough")
    said = suite.verdict({"before": steady, "after rooms": shaken})
    assert said.startswith("the machine was too noisy: 100 percent (after rooms)")


def test_a_question_that_fails_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, tuple[str, ...]]] = []

    def ask(question: Any, options: tuple[str, ...], _records: Path) -> bool:
        tried.append((question.name, options))
        return question.name != "rooms"

    monkeypatch.setattr(suite, "ask", ask)
    monkeypatch.setattr(suite, "PAIRS", 2)
    monkeypatch.setattr(
        sys, "argv", ["suite.py", "--short", "--quick", "--only", "startup,rooms", "--records", str(tmp_path)]
    )
    with pytest.raises(SystemExit, match="failed: rooms"):
        suite.main()
    assert [name for name, _ in tried] == ["rooms", "startup"]
    assert all(options.count("--quick") == 1 for _, options in tried)
    assert (tmp_path / "report.html").is_file()
    [noise] = report.read_records(tmp_path / "history.jsonl")
    assert set(noise["noise"]) == {"worst", "before", "after rooms", "after startup"}
