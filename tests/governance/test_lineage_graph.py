"""Walks over lineage: both ways, through versions that several runs made, along single columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataops.errors import NotFound
from dataops.governance.contract import Column
from dataops.governance.lineage import (
    ColumnLineage,
    ColumnUse,
    DatasetFacts,
    DatasetId,
    EventType,
    ModelFacts,
    Reading,
    RunFacts,
    Subtype,
    run_event,
)
from dataops.governance.lineage_graph import Branch, Direction, Graph, Link

START = datetime(2026, 1, 31, tzinfo=UTC)


def dataset(name: str, number: int, runs: tuple[str, ...], *, columns: str = "ab", **changes: Any) -> DatasetFacts:
    known: dict[str, Any] = {
        "id": DatasetId(namespace="file:///s", name=name),
        "columns": tuple(Column(name=column, type=pa.int32()) for column in columns),
        "zone": "historical",
        "origin": "job",
        "version": f"sha256:{name}-{'-'.join(runs)}",
        "snapshot": number,
        "runs": runs,
    }
    return DatasetFacts(**known | changes)


def source(number: int = 1) -> DatasetFacts:
    return dataset("people", number, (f"source-{number}",), origin="catalog")


def came_from(read: DatasetFacts, **columns: str) -> ColumnLineage:
    """Output column to input column; in capitals, it is masked on the way."""
    return ColumnLineage(
        fields={
            name: (
                ColumnUse(
                    dataset=read.id, column=old.lower(), subtype=Subtype.TRANSFORMATION, masking=old.isupper(), why="x"
                ),
            )
            for name, old in columns.items()
        }
    )


def ran(
    run: str,
    day: int,
    inputs: Sequence[DatasetFacts | ModelFacts],
    outputs: Sequence[DatasetFacts | ModelFacts],
    *,
    kind: EventType = EventType.COMPLETE,
    masked: dict[str, str] | None = None,
) -> dict[str, Any]:
    at = START + timedelta(days=day)
    reading = Reading(
        input="input",
        dataset=inputs[0].id.name,
        purpose="train",
        roles=("analyst",),
        zone="historical",
        policy="sha256:p",
        effect="sha256:e",
        masked=masked or {},
    )
    facts = RunFacts(
        id=run,
        job=run,
        kind="prepare",
        created_at=at,
        namespace="file:///s",
        code={"version": "1", "digest": "sha256:c"},
        engine=("Dask", "1"),
        readings=(reading,),
    )
    return run_event(kind, facts, at=at, inputs=inputs, outputs=outputs)


def names(branch: Branch) -> list[str]:
    """All places of a walk by reference, the start left out."""
    return [name for link in branch.links for below in link.branches for name in (below.place.reference, *names(below))]


def line() -> Graph:
    ready = dataset("ready", 1, ("r1",), made_of=came_from(source(), a="A", b="b"))
    scores = dataset("scores", 1, ("r2",), columns="cd", made_of=came_from(ready, c="a", d="b"))
    return Graph.of_events([ran("r1", 1, [source()], [ready], masked={"a": "redact"}), ran("r2", 2, [ready], [scores])])


def test_a_walk_goes_up_to_the_source_and_down_to_the_end() -> None:
    graph = line()
    up, down = (
        graph.walk(graph.find(name), way) for name, way in (("scores", Direction.UP), ("people", Direction.DOWN))
    )
    assert names(up) == ["ready@1", "people@1"]
    assert names(down) == ["ready@1", "scores@1"]
    assert up.links[0].branches[0].links[0].branches[0].masks == {"a": "redact"}
    assert names(graph.walk(graph.find("people"), Direction.UP)) == []


def test_a_column_is_followed_through_its_names_and_marked_where_it_was_masked() -> None:
    graph = line()
    up = graph.walk(graph.find("scores"), Direction.UP, ["c"])
    ready = up.links[0].branches[0]
    people = ready.links[0].branches[0]
    assert (ready.columns, people.columns) == ({"a": False}, {"a": True})
    down = graph.walk(graph.find("people"), Direction.DOWN, ["b"])
    assert down.links[0].branches[0].columns == {"b": False}
    assert down.links[0].branches[0].links[0].branches[0].columns == {"d": False}
    with pytest.raises(NotFound, match=r"dataset 'scores@1' has no column 'x'\. Known: c, d"):
        graph.walk(graph.find("scores"), Direction.UP, ["x"])


def test_a_step_that_makes_nothing_of_a_column_ends_its_walk() -> None:
    scores = dataset("scores", 1, ("r1",), columns="c", made_of=came_from(source(), c="a"))
    graph = Graph.of_events([ran("r1", 1, [source()], [scores])])
    assert graph.walk(graph.find("people"), Direction.DOWN, ["b"]).links == ()


def test_a_feature_goes_on_into_what_its_model_predicts_wherever_the_walk_starts() -> None:
    model = ModelFacts(
        id=DatasetId(namespace="file:///r", name="income"),
        features=(("a", "int32"), ("b", "int32")),
        version=1,
        digest="sha256:m",
        made_of=came_from(source(), a="a", b="b", prediction="a"),
    )
    scores = dataset("scores", 1, ("r2",), columns="cp", made_of=came_from(source(), c="a"))
    said = ColumnUse(dataset=model.id, column="prediction", subtype=Subtype.TRANSFORMATION, masking=False, why="model")
    scores = replace(scores, made_of=ColumnLineage(fields={**came_from(source(), c="a").fields, "p": (said,)}))
    graph = Graph.of_events([ran("r1", 1, [source()], [model]), ran("r2", 2, [source(), model], [scores])])
    down = graph.walk(graph.find("income"), Direction.DOWN, ["b"])
    assert names(down) == ["scores@1"]
    assert down.columns == {"b": False, "prediction": False}
    assert down.links[0].branches[0].columns == {"p": False}
    assert graph.walk(graph.find("income"), Direction.UP, ["b"]).columns == {"b": False}
    from_above = graph.walk(graph.find("people"), Direction.DOWN, ["a"]).links[0].branches[0]
    assert (from_above.place.name, from_above.columns) == ("income", {"a": False, "prediction": False})


def test_a_version_of_several_runs_leads_to_each_of_them() -> None:
    first, both = dataset("ready", 1, ("r1",)), dataset("ready", 2, ("r1", "r2"))
    graph = Graph.of_events([ran("r1", 1, [source(1)], [first]), ran("r2", 2, [source(2)], [both])])
    assert names(graph.walk(graph.find("ready"), Direction.UP)) == ["people@1", "people@2"]
    assert names(graph.walk(graph.find("ready", 1), Direction.UP)) == ["people@1"]


def test_what_was_made_of_an_earlier_version_is_not_said_to_be_of_a_later_one() -> None:
    first, second = dataset("ready", 1, ("r1",)), dataset("ready", 2, ("r2",))
    scores = dataset("scores", 1, ("r3",))
    graph = Graph.of_events(
        [
            ran("r1", 1, [source(1)], [first]),
            ran("r3", 2, [first], [scores]),
            ran("r2", 3, [source(2)], [second]),
        ]
    )
    assert names(graph.walk(graph.find("ready", 1), Direction.DOWN)) == ["scores@1"]
    assert names(graph.walk(graph.find("ready"), Direction.DOWN)) == []
    # but of a source, whatever it was at the time
    assert names(graph.walk(graph.find("people"), Direction.DOWN)) == ["ready@1", "scores@1", "ready@2"]


def test_a_run_that_failed_made_nothing_and_one_that_was_resumed_did() -> None:
    ready = dataset("ready", 1, ("r1",))
    planned = dataset("ready", 1, (), version=None, snapshot=None)
    begun = [
        ran("r1", 1, [source()], [planned], kind=EventType.START),
        ran("r1", 2, [source()], [], kind=EventType.FAIL),
    ]
    graph = Graph.of_events(begun)
    assert names(graph.walk(graph.find("people"), Direction.DOWN)) == []
    assert not graph.around("r1", Direction.UP).step.done
    resumed = [*begun, ran("r1", 3, [source()], [planned], kind=EventType.START), ran("r1", 4, [source()], [ready])]
    for events in (resumed, [*resumed[:2], resumed[3], resumed[2]]):
        graph = Graph.of_events(events)
        assert names(graph.walk(graph.find("people"), Direction.DOWN)) == ["ready@1"]


def test_a_step_that_two_ways_lead_to_is_told_once() -> None:
    a, b = dataset("a", 1, ("r1",)), dataset("b", 1, ("r2",))
    c, d = dataset("c", 1, ("r3",)), dataset("d", 1, ("r4",))
    graph = Graph.of_events(
        [ran("r1", 1, [source()], [a]), ran("r2", 2, [a], [b]), ran("r3", 3, [a], [c]), ran("r4", 4, [b, c], [d])]
    )
    up = graph.walk(graph.find("d"), Direction.UP)
    assert names(up) == ["b@1", "a@1", "people@1", "c@1", "a@1"]
    told = up.links[0].branches[1].links[0].branches[0].links[0]
    assert (told.step.run, told.again, told.branches) == ("r1", True, ())


@given(st.permutations(range(4)))
def test_the_order_of_the_events_changes_nothing(order: list[int]) -> None:
    made = [dataset(f"d{number}", 1, (f"r{number}",)) for number in range(4)]
    events = [
        ran(f"r{number}", number, [made[number - 1] if number else source()], [made[number]]) for number in range(4)
    ]
    graph = Graph.of_events(events[number] for number in order)
    assert names(graph.walk(graph.find("people"), Direction.DOWN)) == ["d0@1", "d1@1", "d2@1", "d3@1"]
    assert graph.walk(graph.find("d3"), Direction.UP).record()["steps"][0]["run"] == "r3"


@pytest.mark.parametrize(
    ("name", "number", "says"),
    [
        ("redy", None, "Did you mean 'ready'"),
        ("ready", 4, "lineage knows 'ready' as 1, not as 4"),
        ("r1x", None, "'r1'"),
    ],
)
def test_an_unknown_name_is_told_with_its_near_match(name: str, number: int | None, says: str) -> None:
    with pytest.raises(NotFound, match=says):
        line().find(name, number)


def test_before_any_run_it_says_so() -> None:
    with pytest.raises(NotFound, match="No run has told any yet"):
        Graph.of_events([]).find("ready")


def test_a_run_is_shown_with_what_it_read_and_what_it_made() -> None:
    graph = line()
    up, down = graph.around("r1", Direction.UP), graph.around("r1", Direction.DOWN)
    assert isinstance(up, Link)
    assert [one.place.reference for one in up.branches] == ["people@1"]
    assert [one.place.reference for one in down.branches] == ["ready@1"]
    assert names(down.branches[0]) == ["scores@1"]
