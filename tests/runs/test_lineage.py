"""The lineage of a line of jobs: whole OpenLineage events, columns traced through masks, nothing of any row."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dataops.engine.progress import Progress
from dataops.errors import ContractViolation, Format, Storage
from dataops.governance.lineage import run_uuid
from dataops.records import now_utc, parse_time
from dataops.runs.execute import Options
from dataops.runs.lineage import read_events, walk_from
from dataops.runs.replay import replay_quarantine
from dataops.runs.retention import expire_dataset
from tests.governance.openlineage import require_openlineage
from tests.line.running import CLUSTER, Line

Told = dict[str, list[dict[str, Any]]]


def told(line: Line) -> Told:
    """The events of each job, in the order in which they were said."""
    events: Told = {}
    # by their own times: two runs of one second are kept in the order of their ids
    for event in sorted(read_events(line.workspace.store), key=lambda event: str(event["eventTime"])):
        events.setdefault(event["job"]["name"], []).append(event)
    return events


def uses(event: dict[str, Any], column: str) -> set[tuple[str, str, str, bool]]:
    """Dataset, column, subtype and masking of all that `column` of the output comes from."""
    (output, *_) = event["outputs"]
    fields = output["facets"]["columnLineage"]["fields"][column]["inputFields"]
    return {
        (one["name"], one["field"], how["subtype"], how["masking"]) for one in fields for how in one["transformations"]
    }


def schema(dataset: dict[str, Any]) -> list[str]:
    return [field["name"] for field in dataset["facets"]["schema"]["fields"]]


def filters(event: dict[str, Any]) -> set[tuple[str, str]]:
    (output, *_) = event["outputs"]
    rows = output["facets"]["columnLineage"]["dataset"]
    assert all(how["type"] == "INDIRECT" for one in rows for how in one["transformations"])
    return {(one["field"], how["description"]) for one in rows for how in one["transformations"]}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cluster: Any) -> Line:
    from dataops.engine.connect import Connection
    from tests.line.people import make_workspace

    connection = Connection(client=cluster, dashboard="http://127.0.0.1", workers=2, threads=1)
    folder = make_workspace(tmp_path_factory.mktemp("lineage") / "town", files=2)
    line = Line(folder=folder, connection=connection)
    line.run_all()
    return line


class TestAWholeLine:
    def test_tells_a_start_and_an_end_of_each_run_under_one_id(self, whole: Line) -> None:
        for events in told(whole).values():
            assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
            assert len({event["run"]["runId"] for event in events}) == 1
        names = sorted(path.name for path in (whole.storage / "lineage").rglob("*.json"))
        assert names == ["01-start.json"] * 3 + ["02-complete.json"] * 3

    def test_is_what_openlineage_s_own_classes_take(self, whole: Line) -> None:
        events = list(read_events(whole.workspace.store))
        assert len(events) == 6
        for event in events:
            require_openlineage(event)

    def test_names_each_input_once_with_version_rows_and_rules(self, whole: Line) -> None:
        prepared, _, scored = (told(whole)[job][-1] for job in ("people_ready", "wealth", "people_scores"))
        (people,) = prepared["inputs"]
        assert people["facets"]["version"]["datasetVersion"].startswith("sha256:")
        assert people["facets"]["dataops_dataset"]["zone"] == "historical"
        assert people["inputFacets"]["inputStatistics"]["rowCount"] == 800
        rules = {one["name"]: one for one in people["inputFacets"]["dataQualityAssertions"]["assertions"]}
        broken = {name for name, one in rules.items() if not one["success"]}
        assert len(broken) == 1
        assert all(rules[name]["params"]["rows"] > 0 and rules[name]["column"] == "age" for name in broken)
        assert [one["name"] for one in scored["inputs"]] == ["people_new", "wealth"]

    def test_reads_the_version_that_the_run_before_made(self, whole: Line) -> None:
        events = told(whole)
        (ready,) = events["people_ready"][-1]["outputs"]
        learnt = next(one for one in events["wealth"][-1]["inputs"] if one["name"] == "people_ready")
        assert learnt["facets"]["version"] == ready["facets"]["version"]
        registered = {one["facets"]["version"]["datasetVersion"] for one in events["wealth"][-1]["outputs"]}
        applied = events["people_scores"][-1]["inputs"][-1]["facets"]["version"]["datasetVersion"]
        assert applied in registered
        assert len(registered) == 2

    def test_traces_columns_and_marks_what_was_masked_on_the_way(self, whole: Line) -> None:
        prepared, learnt, scored = (told(whole)[job][-1] for job in ("people_ready", "wealth", "people_scores"))
        assert uses(prepared, "age") == {("people_old", "age", "TRANSFORMATION", True)}
        assert uses(prepared, "hours") == {("people_old", "hours", "IDENTITY", False)}
        assert uses(prepared, "long_hours") == {("people_old", "hours", "TRANSFORMATION", False)}
        assert uses(prepared, "split") == {("people_old", "person_id", "TRANSFORMATION", True)}
        assert uses(learnt, "prediction") == {
            ("people_ready", column, "AGGREGATION", False) for column in ("rich", "age", "hours", "trade", "long_hours")
        }
        assert ("wealth", "prediction", "TRANSFORMATION", False) in uses(scored, "probability")
        assert ("people_new", "age", "TRANSFORMATION", True) in uses(scored, "probability")
        assert uses(scored, "person_id") == {("people_new", "person_id", "TRANSFORMATION", True)}

    def test_traces_every_column_of_an_output_to_columns_that_are_there(self, whole: Line) -> None:
        for event in read_events(whole.workspace.store):
            there = {(one["name"], column) for one in event["inputs"] for column in schema(one)}
            for output in event["outputs"]:
                fields = output["facets"]["columnLineage"]["fields"]
                assert set(fields) == set(schema(output))
                rows = output["facets"]["columnLineage"]["dataset"]
                traced = [one for field in fields.values() for one in field["inputFields"]]
                assert {(one["name"], one["field"]) for one in [*traced, *rows]} <= there
                assert all(field["inputFields"] for field in fields.values())

    def test_says_which_columns_decided_what_rows_there_are(self, whole: Line) -> None:
        assert filters(told(whole)["people_ready"][-1]) >= {
            ("age", "policy"),
            ("rich", "labelled"),
            ("age", "contract"),
        }
        assert filters(told(whole)["wealth"][-1]) >= {("split", "split"), ("rich", "target known")}

    def test_says_what_was_written(self, whole: Line) -> None:
        (ready,) = told(whole)["people_ready"][-1]["outputs"]
        rows = ready["outputFacets"]["outputStatistics"]["rowCount"]
        assert rows == len(whole.rows("people_ready"))
        assert ready["outputFacets"]["outputStatistics"]["size"] > 0

    def test_holds_no_value_no_condition_and_no_mask_parameter(self, whole: Line) -> None:
        text = "".join(json.dumps(event) for event in read_events(whole.workspace.store))
        assert "person_id" in text
        for hidden in ("secret", "baker", "north", "age >= 18", "hours > 40", "width", "part-000", "domain"):
            assert hidden not in text

    def test_outlives_the_records_of_the_runs(self, whole: Line) -> None:
        before = told(whole)
        with patch.object(type(whole.workspace.ledger), "read", side_effect=AssertionError):
            assert told(whole) == before


class TestWhatGoesWrong:
    def test_a_failed_run_tells_the_family_and_no_output(self, town: Line) -> None:
        with (
            patch(
                "dataops.preparation.prepare.require_within_thresholds", side_effect=ContractViolation("CANARY in age")
            ),
            pytest.raises(ContractViolation),
        ):
            town.run("people_ready")
        (_, failed) = told(town)["people_ready"]
        require_openlineage(failed)
        assert failed["eventType"] == "FAIL"
        assert failed["outputs"] == []
        assert failed["run"]["facets"]["errorMessage"]["message"] == "ContractViolation"
        assert "CANARY" not in json.dumps(failed)

    def test_a_resumed_run_goes_on_under_its_id(self, town: Line) -> None:
        with (
            patch("dataops.preparation.prepare.publish", side_effect=Storage("full")),
            pytest.raises(Storage) as stopped,
        ):
            town.run("people_ready")
        run = str(stopped.value.__notes__).split("resume ")[1].split("`")[0]
        town.resume(run)
        events = told(town)["people_ready"]
        assert [event["eventType"] for event in events] == ["START", "FAIL", "START", "COMPLETE"]
        assert len({event["run"]["runId"] for event in events}) == 1

    def test_a_replay_names_the_run_whose_rows_it_takes_and_both_made_the_dataset(self, town: Line) -> None:
        first = town.run("people_ready").state.run
        contract = town.folder / "contracts/people.yaml"
        contract.write_text(contract.read_text().replace("maximum: 120", "maximum: 200"))
        with town._standing(), Progress(town.said) as progress:
            options = Options(cluster=CLUSTER)
            outcome = replay_quarantine(town.workspace, "people_old", options=options, progress=progress)
        assert outcome is not None
        event = told(town)["people_ready"][-1]
        require_openlineage(event)
        assert event["run"]["facets"]["parent"]["run"]["runId"] == run_uuid(first.id, parse_time(first.created_at))
        assert event["outputs"][0]["facets"]["dataops_dataset"]["runs"] == [first.id, outcome.state.run.id]
        assert event["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 40
        walk = walk_from(town.workspace, "people_ready", ways=["up"])["up"].record()
        assert [step["run"] for step in walk["steps"]] == [first.id, outcome.state.run.id]

        # rows of a replay are as old as those that it was added to
        later = now_utc() + timedelta(days=1)
        hour = timedelta(hours=1)
        plan = expire_dataset(town.workspace, "people_ready", older_than=hour, at=later, do=False).plan
        assert [one.published_at for one in plan.gone] == [plan.gone[0].published_at] * 2

    @pytest.mark.parametrize("error", [Storage("the disk is full"), ValueError("4711")])
    def test_lineage_that_cannot_be_written_undoes_no_run(self, town: Line, error: Exception) -> None:
        with patch("dataops.runs.lineage.write_event", side_effect=error):
            outcome = town.run("people_ready")
        assert outcome.state.state == "done"
        assert town.rows("people_ready")
        assert list((town.storage / "lineage").rglob("*")) == []
        assert f"no lineage of this run's complete ({type(error).__name__})" in town.said.getvalue()
        assert "4711" not in town.said.getvalue()

    def test_a_foreign_file_among_the_events_is_named(self, town: Line) -> None:
        (town.storage / "lineage" / "run-1").mkdir(parents=True)
        Path(town.storage / "lineage" / "run-1" / "01-start.json").write_text("[]")
        with pytest.raises(Format, match=r"lineage/run-1/01-start.json is not an OpenLineage event"):
            list(read_events(town.workspace.store))
