"""Realised performance: scores judged by outcomes that came later, joined under two purposes."""

from __future__ import annotations

import json
import shutil
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from sklearn.metrics import roc_auc_score

from dataops.cli.main import main
from dataops.cli.outcome import print_outcome
from dataops.datasets.snapshot import append_snapshot, read_snapshot
from dataops.errors import AccessDenied, ContractViolation, InvalidInput
from dataops.monitoring import sections
from dataops.monitoring.report import render_report
from dataops.runs.execute import Outcome
from dataops.runs.report import report_figures
from dataops.training import realised
from tests.line.people import ROWS_PER_FILE
from tests.line.running import Line

JOB = """\
name: {name}
job: evaluate
scores: {scores}
labels: {labels}
key: [{key}]
target: {target}
metrics: [roc_auc, log_loss]
slices: [region]
"""


def _evaluate(
    line: Line,
    name: str,
    *,
    scores: str = "people_scores",
    labels: str = "people_new",
    key: str = "person_id",
    target: str = "rich",
) -> Outcome:
    file = line.folder / "jobs" / f"{name}.yaml"
    file.write_text(JOB.format(name=name, scores=scores, labels=labels, key=key, target=target))
    return line.run(name, file=f"jobs/{name}.yaml")


@pytest.fixture(scope="module")
def judged(line: Line, outcomes: dict[str, Outcome]) -> Outcome:
    assert outcomes["people_scores"].state.result["reads"]
    return _evaluate(line, "judged")


def _expected(line: Line) -> float:
    """Scores and outcomes, both in the order of the files: the scores of what passed."""
    raw = [
        row for file in sorted((line.folder / "data/people_new").glob("*")) for row in pq.read_table(file).to_pylist()
    ]
    passed = [row["rich"] for row in raw if 18 <= row["age"] <= 120]
    return float(roc_auc_score(passed, [row["probability"] for row in line.rows("people_scores")]))


def _type(line: Line, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--workspace", str(line.folder)])


def test_is_that_of_the_rows(line: Line, judged: Outcome) -> None:
    (version,) = judged.state.result["versions"]
    figures = version["metrics"]["realised"]
    told = judged.state.result["realised"]
    assert told["judged"] == told["scored"] == len(line.rows("people_scores")) == figures["rows"]
    bound = figures["overall"]["roc_auc_error_bound"]
    assert figures["overall"]["roc_auc"] == pytest.approx(_expected(line), abs=bound + 1e-9)
    assert set(figures["slices"]["region"]) == {"north", "south"}


def test_has_a_report_that_says_how_many_rows_were_judged(line: Line, judged: Outcome) -> None:
    figures = sections.key_figures(report_figures(judged.state))
    rows = f"{judged.state.result['realised']['judged']:,}"
    assert ("judged", rows, "100%") in [(one.label, one.value.replace("\u202f", ","), one.note) for one in figures]
    page = render_report(report_figures(judged.state), scripts="scripts")
    assert "How good the scores were" in page


def test_is_the_same_in_passes(line: Line, judged: Outcome) -> None:
    with patch.object(realised, "ROWS_PER_PASS", ROWS_PER_FILE):
        passes = _evaluate(line, "judged_in_passes")
    assert passes.state.result["versions"] == judged.state.result["versions"]
    assert passes.state.result["realised"] == judged.state.result["realised"]
    assert passes.state.result["reads"] == judged.state.result["reads"]


def test_is_shown_beside_what_was_promised(line: Line, judged: Outcome) -> None:
    shown = json.loads(_type(line, "model", "realised", "wealth", "--json").output)
    (one,) = [one for one in shown if one["run"] == judged.state.run.id]
    assert 0.5 < one["metrics"]["roc_auc"] < 1
    assert 0.5 < one["promised"]["roc_auc"] < 1
    assert "people_scores" in _type(line, "model", "realised", "wealth").output
    assert _type(line, "model", "realised", "welth").exit_code == 3


def test_outcomes_that_are_not_known_yet_judge_nothing(line: Line, outcomes: dict[str, Outcome]) -> None:
    some = _evaluate(line, "some", target="\"case when region = 'north' then rich end\"")
    told = some.state.result["realised"]
    assert 0 < told["judged"] < told["scored"]
    with pytest.raises(InvalidInput, match=r"none of the .* scored rows has a known outcome"):
        _evaluate(line, "none", target="\"case when region = 'west' then rich end\"")


def test_a_key_that_stands_twice_fails_by_its_count(line: Line, outcomes: dict[str, Outcome]) -> None:
    source = line.folder / "data" / "people_new" / "part-000.parquet"
    folder = line.folder / "data" / "people_twice"
    folder.mkdir(exist_ok=True)
    for name in ("a", "b"):
        shutil.copy(source, folder / f"{name}.parquet")
    entry = "name: people_twice\nurl: data/people_twice\nzone: production\ncontract: contracts/people.yaml\n"
    (line.folder / "catalog" / "people_twice.yaml").write_text(entry)
    with pytest.raises(ContractViolation, match=r"\d+ outcomes have a key that another one has too"):
        _evaluate(line, "twice", labels="people_twice")


@pytest.fixture(scope="module")
def both_versions(line: Line, outcomes: dict[str, Outcome]) -> dict[int | str, Outcome]:
    """An output judged as version 1 made it, as version 2 made it, and with the rows of both, as it comes to be where
    files are followed.
    """
    store, judged = line.workspace.store, dict[int | str, Outcome]()
    for version in (1, 2):
        job = f"name: grown\njob: rescore\nmodel: wealth@{version}\ninput: people_new\nkeep: [person_id]\n"
        (line.folder / "jobs" / "grown.yaml").write_text(f"{job}errors: {{max_rate: 0.1}}\noutput: people_grown\n")
        line.run("grown", file="jobs/grown.yaml")
        judged[version] = _evaluate(line, f"grown_{version}", scores="people_grown")
    first = read_snapshot(store, "people_grown", 1)
    assert first is not None
    append_snapshot(store, first.manifests[0], replace=False)
    judged["both"] = _evaluate(line, "grown_both", scores="people_grown")
    return judged


def test_each_version_is_judged_on_the_rows_that_it_scored(line: Line, both_versions: dict[int | str, Outcome]) -> None:
    result = both_versions["both"].state.result
    assert {one["version"]: one["candidate"] for one in result["versions"]} == {
        1: "own (wealth@1)",
        2: "own (wealth@2)",
    }
    for one in result["versions"]:
        (alone,) = both_versions[one["version"]].state.result["versions"]
        assert alone["candidate"] == "own"
        assert {**one, "candidate": "own"} == alone
        assert 2 * one["judged"] == result["realised"]["judged"]
    shown = json.loads(_type(line, "model", "realised", "wealth", "--json").output)
    rows = [(one["judged"], one["scored"]) for one in shown if one["run"] == both_versions["both"].state.run.id]
    assert rows == [(one["judged"], one["scored"]) for one in result["versions"]]


def test_a_row_without_a_key_has_no_outcome(line: Line, outcomes: dict[str, Outcome]) -> None:
    contract = (line.folder / "contracts/people.yaml").read_text()
    loose = contract.replace("physicalType: string, required: true", "physicalType: string")
    (line.folder / "contracts/loose.yaml").write_text(loose)
    for name, keyless in (("people_some", 3), ("people_late", 1)):
        folder = line.folder / "data" / name
        folder.mkdir()
        table = pq.read_table(line.folder / "data/people_new/part-000.parquet")
        adults = table.filter(pc.and_(pc.greater_equal(table["age"], 18), pc.less_equal(table["age"], 120)))
        ids = [None] * keyless + adults["person_id"].to_pylist()[keyless:]
        pq.write_table(adults.set_column(0, "person_id", pa.array(ids, pa.string())), folder / "a.parquet")
        entry = f"name: {name}\nurl: data/{name}\nzone: production\ncontract: contracts/loose.yaml\n"
        (line.folder / "catalog" / f"{name}.yaml").write_text(entry)
    job = "name: some_scores\njob: rescore\nmodel: wealth@1\ninput: people_some\nkeep: [person_id]\n"
    (line.folder / "jobs/some_scores.yaml").write_text(f"{job}output: people_some_scores\n")
    line.run("some_scores", file="jobs/some_scores.yaml")
    told = _evaluate(line, "keyless", scores="people_some_scores", labels="people_late").state.result["realised"]
    assert told["judged"] == told["scored"] - 3 == told["outcomes"] - 3
    assert (told["scored_keyless"], told["outcomes_keyless"]) == (3, 1)


def test_says_nothing_of_a_quarantine_that_it_does_not_keep(
    judged: Outcome, outcomes: dict[str, Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    assert any(read["counts"]["quarantined"] for read in judged.state.result["reads"].values())
    print_outcome(judged, as_json=False)
    assert "dataops quarantine" not in capsys.readouterr().out
    print_outcome(outcomes["people_scores"], as_json=False)
    assert "set aside: dataops quarantine list" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "family", "says"),
    [
        ({"key": "region"}, InvalidInput, "no column 'region' in dataset 'people_scores'"),
        ({"target": "diagnosis"}, AccessDenied, "health is nobody's business"),
        ({"target": "trade"}, InvalidInput, "a target is true/false or 1/0, this one is string"),
        ({"labels": "people_scores"}, InvalidInput, "holds the scores"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_a_run_exists(
    line: Line, outcomes: dict[str, Outcome], changes: dict[str, str], family: type[Exception], says: str
) -> None:
    before = line.workspace.ledger.ids()
    with pytest.raises(family, match=says):
        _evaluate(line, "refused", **changes)
    assert line.workspace.ledger.ids() == before


def test_scores_that_no_rescore_made_are_refused(line: Line, outcomes: dict[str, Outcome]) -> None:
    (line.folder / "jobs" / "strange.yaml").write_text(
        JOB.format(name="strange", scores="people_ready", labels="people_new", key="person_id", target="rich")
    )
    with pytest.raises(InvalidInput, match="'people_ready' was not made by a rescore job"):
        line.run("strange", file="jobs/strange.yaml")


def test_the_audit_knows_of_all_four_readings(line: Line, judged: Outcome) -> None:
    shown = json.loads(_type(line, "audit", "show", "--json").output)
    mine = [one for one in shown if one.get("run") == judged.state.run.id and "purpose" in one]
    found = {(one["dataset"], one["purpose"]) for one in mine}
    assert found == {
        (dataset, purpose) for dataset in ("people_scores", "people_new") for purpose in ("evaluate", "score")
    }
