"""What the command line says of a run: as facts for people, or as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from dataops.cli.explained import count
from dataops.cli.output import headline, print_facts, print_json, print_table

if TYPE_CHECKING:
    from dataops.runs.execute import Outcome
    from dataops.runs.ledger import RunState


def print_outcome(outcome: Outcome, *, as_json: bool) -> None:
    """The outcome of a run on stdout."""
    if as_json:
        print_json({**state_record(outcome.state), "skipped": outcome.skipped, "report": outcome.report})
        return
    print_facts({**state_facts(outcome.state), "report": outcome.report})
    if outcome.skipped and "arrivals" in outcome.state.result:
        click.echo("no file arrived since then that would be taken")
    aside = sum(read["counts"]["quarantined"] for read in outcome.state.result.get("reads", {}).values())
    if aside and "dataset" in outcome.state.result:  # only what writes a dataset keeps what it set aside
        click.echo(f"{count(aside, 'row')} set aside: dataops quarantine list")
    failed = sum(read["counts"].get("failed", 0) for read in outcome.state.result.get("reads", {}).values())
    if failed:
        click.echo(f"{count(failed, 'row')} couldn't be scored: dataops job errors {outcome.state.run.id}")


def _facts_of_files(result: Mapping[str, Any]) -> dict[str, object]:
    from dataops.datasets.following import spell_counts

    return {"arrivals": spell_counts(result["arrivals"])} if "arrivals" in result else {}


def state_record(state: RunState) -> dict[str, Any]:
    """The run as JSON."""
    return {
        "run": state.run.id,
        "job": state.run.job,
        "kind": state.run.kind,
        "state": state.state.value,
        "principal": state.run.principal,
        "created_at": state.run.created_at,
        "replay_of": state.run.replay_of,
        **_hindsight(state),
        "inputs": {
            name: {"dataset": pinned["dataset"], "snapshot": pinned["snapshot"], "purpose": pinned["grant"]["purpose"]}
            for name, pinned in state.run.inputs.items()
        },
        "model": state.run.model,
        "phase_seconds": state.phase_seconds(),
        "result": state.result,
        "error": state.error,
    }


def state_facts(state: RunState) -> dict[str, object]:
    """The run by the names of its facts, for people."""
    seconds = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in state.phase_seconds().items())
    return {
        "run": state.run.id,
        "state": state.state.value,
        **_hindsight(state),
        **({"replay of": state.run.replay_of} if state.run.replay_of else {}),
        **_facts_of_outcome(state.result),
        **_facts_of_rows(state),
        **({"error": state.error} if state.error else {}),
        "seconds": seconds,
    }


def _hindsight(state: RunState) -> dict[str, str]:
    """The label of a run whose model is younger than the slot that it is for; nothing for any other."""
    labels = [str(event["hindsight"]) for event in state.events if event.get("hindsight")]
    return {"hindsight": labels[0]} if labels else {}


def _facts_of_outcome(result: Mapping[str, Any]) -> dict[str, object]:
    """What was made, and of which models."""
    facts: dict[str, object] = {}
    if "dataset" in result:
        facts["made"] = f"dataset {result['dataset']}, snapshot {result['snapshot']}"
    facts |= _facts_of_files(result)
    if isinstance(model := result.get("model"), dict):
        facts["model"] = f"{model['model']}@{model['version']}"
    for version in result.get("versions", ()):
        figures = headline(version["metrics"], result.get("primary_metric"))
        name, told = (
            f"{version.get('model', result.get('model'))}@{version['version']}",
            f"{version['candidate']}: {figures}",
        )
        facts[name] = f"{facts[name]}; {told}" if name in facts else told  # champion of some rows, challenger of others
    for candidate, search in sorted(result.get("searches", {}).items()):
        best = next(one for one in search["trials"] if one["trial"] == search["best"])
        params = ", ".join(f"{name} {json.dumps(value)}" for name, value in best["params"].items())
        facts[f"search, {candidate}"] = f"{params}: the best of {count(len(search['trials']), 'trial')}"
    return facts


def print_searches(result: Mapping[str, Any]) -> None:
    """The trials of a run's searches on stdout, a table for each candidate."""
    for candidate, search in sorted(result.get("searches", {}).items()):
        rows = [
            [
                one["trial"],
                json.dumps(one["params"]),
                one["outcome"] if one["why"] is None else f"{one['outcome']}: {one['why']}",
                None if one["figure"] is None else format(one["figure"], ".4f"),
                "best" if one["trial"] == search["best"] else None,
                one["seconds"],
            ]
            for one in search["trials"]
        ]
        click.echo(f"\ntrials of {candidate}")
        print_table(["trial", "params", "outcome", search["metric"], "best", "seconds"], rows)


def _facts_of_rows(state: RunState) -> dict[str, object]:
    """What became of the rows."""
    from dataops.datasets.receipt import spell_rows

    facts: dict[str, object] = {}
    if told := state.result.get("realised"):
        keyless = f", {told['scored_keyless']:,} of them without a key" if told.get("scored_keyless") else ""
        facts["judged"] = f"{told['judged']:,} of {told['scored']:,} scored rows{keyless}"
    for name, read in state.result.get("reads", {}).items():
        facts[f"rows, {name}"] = spell_rows(read["counts"])
    for event in state.events:
        if event["event"] == "units_linked" and event["linked"]:
            facts["scored before"] = (
                f"{event['rows']:,} rows, in {event['linked']:,} of {count(event['units'], 'unit')}"
            )
    if drift := spell_drift(state.result.get("drift")):
        facts["drift"] = drift
    return facts


def spell_drift(drift: Mapping[str, Any] | None) -> str | None:
    """What a run's result says of drift, in a line; None where it says nothing."""
    if not drift:
        return None
    if "unknown" in drift:
        return f"unknown: {drift['unknown']}"
    raised = {(one["metric"], one["column"]): one for one in drift["raised"] if "slice" not in one}
    if raised:
        return "; ".join(
            f"{one['metric']} of {one['column']} is {one['figure']:.3f} ({one['level']} from {one['limit']:g})"
            for one in raised.values()
        )
    known = [one for one in drift["columns"] if "psi" in one]
    if not known:
        return "too few rows to tell"
    most = max(known, key=lambda one: one["psi"])
    slices = f"; {count(len(drift['raised']), 'limit')} reached in slices" if drift["raised"] else ""
    return f"psi {most['psi']:.3f} at most, of {most['column']}{slices}"
