"""OpenLineage events: shapes that OpenLineage's own client takes, ids that sort by time, nothing of a row."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.governance.contract import Action, Column, Rule, RuleKind
from dataops.governance.lineage import (
    FACETS,
    ColumnLineage,
    ColumnUse,
    DatasetFacts,
    DatasetId,
    EventType,
    ModelFacts,
    Reading,
    RuleOutcome,
    RunFacts,
    Subtype,
    run_event,
    run_uuid,
)
from tests.governance.openlineage import MODULES, facet_class, require_openlineage

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
PEOPLE, MODEL = DatasetId(namespace="file:///s", name="people"), DatasetId(namespace="file:///r", name="income")
AGE = Column(name="age", type=pa.int32(), classification="pii.quasi", description="4711")
LIMIT = Rule(id="age-limit", kind=RuleKind.MAXIMUM, column="age", arguments={"value": 4711}, description="4711")
READING = Reading(
    input="input",
    dataset="people",
    purpose="train",
    roles=("b", "a"),
    zone="historical",
    policy="sha256:p",
    effect="sha256:e",
    masked={"age": "generalise"},
)


def make_run(**changes: Any) -> RunFacts:
    known: dict[str, Any] = {
        "id": "ready-20260131t120000-abcdef",
        "job": "ready",
        "kind": "prepare",
        "created_at": AT,
        "namespace": "file:///s",
        "code": {"version": "1", "digest": "sha256:c"},
        "engine": ("Dask", "2026.8"),
        "readings": (READING,),
    }
    return RunFacts(**known | changes)


def make_dataset(**changes: Any) -> DatasetFacts:
    known: dict[str, Any] = {"id": PEOPLE, "columns": (AGE,), "zone": "historical", "origin": "catalog"}
    return DatasetFacts(**known | changes)


def make_event(kind: EventType = EventType.COMPLETE, **changes: Any) -> dict[str, Any]:
    uses = (ColumnUse(dataset=PEOPLE, column="age", subtype=Subtype.TRANSFORMATION, masking=True, why="mask"),)
    rows = (ColumnUse(dataset=PEOPLE, column="age", subtype=Subtype.FILTER, why="policy"),)
    made_of = ColumnLineage(fields={"band": uses}, rows=rows)
    known: dict[str, Any] = {
        "at": AT,
        "inputs": [
            make_dataset(
                rows=9, size_bytes=90, files=2, version="sha256:v", tested=(RuleOutcome(rule=LIMIT, broken=2),)
            ),
            ModelFacts(id=MODEL, features=(("age", "int32"),), version=3, digest="sha256:m", metrics=("roc_auc",)),
        ],
        "outputs": [make_dataset(id=DatasetId(namespace="file:///s", name="ready"), made_of=made_of, rows=7)],
    }
    return run_event(kind, make_run(), **known | changes)


@pytest.mark.parametrize("name", sorted(FACETS))
def test_a_facet_names_the_schema_that_openlineage_gives_it(name: str) -> None:
    version, _, definition = FACETS[name].partition("/")
    url = f"https://openlineage.io/spec/facets/{version}/{definition}.json#/$defs/{definition}"
    assert facet_class(name)._get_schema() == url
    assert set(FACETS) == set(MODULES)


@pytest.mark.parametrize("kind", EventType)
def test_an_event_is_what_openlineage_takes(kind: EventType) -> None:
    require_openlineage(make_event(kind, error="Storage" if kind is EventType.FAIL else None))


def test_a_replay_names_the_run_that_it_replays() -> None:
    earlier = ("ready-20260130t120000-aaaaaa", "ready", AT - timedelta(days=1))
    event = run_event(EventType.START, make_run(parent=earlier), at=AT)
    require_openlineage(event)
    assert event["run"]["facets"]["parent"]["run"]["runId"] == run_uuid(earlier[0], earlier[2])


def test_before_anything_was_read_nothing_is_said_of_rows_and_rules() -> None:
    unread = make_dataset(tested=(RuleOutcome(rule=LIMIT),))
    (start,) = run_event(EventType.START, make_run(), at=AT, inputs=[unread])["inputs"]
    assert start["inputFacets"] == {}
    assert "version" not in start["facets"]


@pytest.mark.parametrize(
    ("action", "severity"), [(Action.WARN, "warn"), (Action.QUARANTINE, "error"), (Action.FAIL, "error")]
)
def test_a_rule_is_told_with_the_rows_that_broke_it(action: Action, severity: str) -> None:
    rule = Rule(id="r", kind=RuleKind.NOT_NULL, column="age", action=action)
    for broken in (0, 2):
        event = make_event(inputs=[make_dataset(rows=5, tested=(RuleOutcome(rule=rule, broken=broken),))])
        (told,) = event["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
        assert (told["success"], told["params"]["rows"], told["severity"]) == (broken == 0, broken, severity)


def test_a_rule_of_the_whole_row_names_no_column() -> None:
    rule = Rule(id="r", kind=RuleKind.EXPRESSION, arguments={"sql": "age > 4711"})
    event = make_event(inputs=[make_dataset(rows=5, tested=(RuleOutcome(rule=rule, broken=0),))])
    require_openlineage(event)
    assert "column" not in event["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"][0]
    assert "4711" not in json.dumps(event)


def test_descriptions_and_limits_of_rules_stay_at_home() -> None:
    assert "4711" not in json.dumps(make_event())


@given(run=st.text(max_size=30), seconds=st.integers(0, 4_000_000_000))
def test_a_run_s_id_is_a_uuid_that_sorts_by_time(run: str, seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    made = run_uuid(run, at)
    assert str(uuid.UUID(made)) == made
    assert (uuid.UUID(made).version, uuid.UUID(made).variant) == (7, uuid.RFC_4122)
    assert made == run_uuid(run, at) < run_uuid(run, at + timedelta(seconds=1))
    assert made != run_uuid(run + "x", at)
