"""What was made of what, as a person sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataops.governance.lineage import EventType
from dataops.runs.lineage import write_event
from dataops.storage.objects import open_store
from tests.cli.conftest import Call
from tests.governance.test_lineage_graph import came_from, dataset, ran, source

RUN = "ready-20260131t000000-abcdef"


@pytest.fixture
def told(workspace: Path) -> Path:
    """A workspace in which lineage was told by runs whose records are gone."""
    store = open_store(str(workspace / "storage"))
    ready = dataset("ready", 1, (RUN,), made_of=came_from(source(), a="A", b="b"))
    scores = dataset("scores", 3, ("scored",), columns="cd", made_of=came_from(ready, c="a", d="b"))
    for event in (
        ran(RUN, 1, [source()], [ready], masked={"a": "redact"}),
        ran("scored", 2, [ready], [scores]),
    ):
        write_event(store, event["run"]["facets"]["dataops_run"]["run"], EventType.COMPLETE, event)
    return workspace


def test_a_walk_is_printed_as_a_tree_both_ways(told: Path, dataops: Call) -> None:
    shown = dataops("lineage", "show", "ready")
    assert shown.code == 0
    assert shown.out.splitlines() == [
        "ready@1  historical, made",
        "was made of:",
        f"└─ prepare {RUN}  as analyst, policy p",
        "   └─ people@1  historical, source; read to train (effect e); masked: a (redact)",
        "was made into:",
        "└─ prepare scored  to train (effect e); as analyst, policy p",
        "   └─ scores@3  historical, made",
    ]


def test_one_way_alone_and_one_column_alone(told: Path, dataops: Call) -> None:
    up = dataops("lineage", "show", "scores@3", "--up", "--column", "c").out
    assert "was made into" not in up
    assert "people@1  historical, source; read to train (effect e); column a (masked)" in up
    down = dataops("lineage", "show", "people", "--down", "--column", "b").out
    assert "was made of" not in down
    assert "scores@3  historical, made; column d" in down


def test_json_nests_places_and_steps(told: Path, dataops: Call) -> None:
    shown = dataops("lineage", "show", "ready", "--json").json
    (step,) = shown["up"]["steps"]
    assert (step["run"], step["places"][0]["masked"]) == (RUN, {"a": "redact"})
    assert shown["down"]["steps"][0]["places"][0]["name"] == "scores"


def test_a_run_is_shown_too_but_has_no_columns(told: Path, dataops: Call) -> None:
    assert dataops("lineage", "show", RUN).out.startswith(f"prepare {RUN}  to train (effect e); as analyst")
    refused = dataops("lineage", "show", RUN, "--column", "a")
    assert (refused.code, "is a run" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        (("redy",), 3, "Did you mean 'ready'"),
        (("ready@7",), 3, "as 1, not as 7"),
        (("ready", "--column", "x"), 3, "has no column 'x'"),
        (("ready@champion",), 3, "no model 'ready'"),
    ],
)
def test_what_lineage_does_not_know_is_said(
    told: Path, dataops: Call, name: tuple[str, ...], code: int, says: str
) -> None:
    shown = dataops("lineage", "show", *name)
    assert (shown.code, shown.out) == (code, "")
    assert says in shown.err


def test_before_any_run_nothing_is_known(workspace: Path, dataops: Call) -> None:
    shown = dataops("lineage", "show", "people_ready")
    assert (shown.code, "run a job" in shown.err) == (3, True)


def test_export_writes_an_event_a_line_in_order_and_overwrites_nothing(told: Path, dataops: Call) -> None:
    assert dataops("lineage", "export", "events.jsonl", "--json").json == {"file": "events.jsonl", "events": 2}
    lines = (told / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"]["facets"]["dataops_run"]["run"] for line in lines] == [RUN, "scored"]
    again = dataops("lineage", "export", "events.jsonl")
    assert (again.code, "is there already" in again.err) == (4, True)
    assert (told / "events.jsonl").read_text().splitlines() == lines
    assert dataops("lineage", "export", "-").out.splitlines() == lines


def test_export_of_nothing_is_an_empty_file(workspace: Path, dataops: Call) -> None:
    assert dataops("lineage", "export", "-").out == ""
    assert dataops("lineage", "export", "none.jsonl").code == 0
    assert (workspace / "none.jsonl").read_text() == ""
