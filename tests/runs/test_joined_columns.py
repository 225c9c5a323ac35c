"""What policies take from join jobs is found by ``dataops policy check``, before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataops.declarations.jobs import read_jobs
from dataops.governance.policy_world import Severity
from dataops.runs.explain import _join
from dataops.runs.known_datasets import known_dataset, with_promised
from dataops.runs.policy import check_workspace
from dataops.runs.workspace import open_workspace
from tests.line.voyages import JOBS, POLICY, make_port
from tests.preparation.joining import job_of, plan_of


def findings(folder: Path) -> list[tuple[Severity, str]]:
    return [(one.severity, one.message) for one in check_workspace(open_workspace(str(folder), {})).findings]


def test_jobs_that_may_run_give_no_finding_about_them(tmp_path: Path) -> None:
    assert not [message for _, message in findings(make_port(tmp_path)) if "job '" in message]


@pytest.mark.parametrize(
    ("change", "to", "column", "use"),
    [
        ("columns: [built]", "columns: [owner]", "owner", "column"),
        ("to: [name]", "to: [owner]", "owner", "join key"),
        ("by: [ship]", "by: [captain]", "captain", "column"),
        ("mean(crew)", "max(captain)", "captain", "column"),
    ],
)
def test_denied_column_is_an_error_where_a_join_reads_it(
    tmp_path: Path, change: str, to: str, column: str, use: str
) -> None:
    folder = make_port(tmp_path)
    assert change in JOBS
    (folder / "jobs/port.yaml").write_text(JOBS.replace(change, to))
    told = [message for severity, message in findings(folder) if severity is Severity.ERROR]
    assert any(f"reads '{column}'" in one and f"as {use}, and it is denied" in one for one in told)


def test_mask_that_makes_keys_one_is_told(tmp_path: Path) -> None:
    mask = (
        "  - {id: ports, effect: mask, roles: [data_science], purposes: [train], zones: [historical],\n"
        "     datasets: ['*'], columns: {names: [port]}, mask: {generalise: {prefix: 1}}}\n"
    )
    told = [message for _, message in findings(make_port(tmp_path, policy=POLICY + mask))]
    assert any("reads 'port'" in one and "join key" in one and "keys that differ become one" in one for one in told)


def test_output_promises_its_columns_to_jobs_that_read_it(tmp_path: Path) -> None:
    folder = make_port(tmp_path)
    workspace = open_workspace(str(folder), {})
    known = {name: known_dataset(workspace, name, declared=True) for name in ("voyages", "weather", "ships")}
    jobs = [one.job for one in read_jobs(folder / "jobs/port.yaml")]
    promised = {name: one.promised for name, one in with_promised(jobs, known).items()}
    assert promised["by_port"] == ("port", "ship", "voyages", "crew", "last_ship")
    assert promised["loud"] == ("voyage_id", "port", "wind")
    assert promised["sailings"][-5:] == ("weather_hour", "notes", "built", "voyages_of_ship", "mean_crew")


def test_an_aggregate_of_any_time_is_told_as_one_that_sees_later_rows(tmp_path: Path) -> None:
    workspace = open_workspace(str(make_port(tmp_path)), {})
    plan, _ = plan_of(workspace, job_of(workspace, "sailings"))
    assert [_join(one)["as_of"] for one in plan.joins] == ["sails_at", "", "any time, also later"]
