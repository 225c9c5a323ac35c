"""The demo: raw census -> prepared training set -> two candidates -> a champion -> rescored production data.

Every step goes through the same calls as the command line's verbs; a second run finds each step done and says so.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataops.datasets.catalog import add_dataset
from dataops.datasets.receipt import spell_rows
from dataops.declarations.jobs import find_job
from dataops.declarations.templates import template_folder
from dataops.demo.census import ARCHIVE, write_census
from dataops.demo.fetch import cache_folder, fetch
from dataops.engine.progress import Progress
from dataops.runs.candidates import best_candidate
from dataops.runs.execute import Options, Outcome, run_job
from dataops.runs.init import init_workspace
from dataops.runs.promotion import promote_version, read_rules
from dataops.runs.workspace import Workspace, open_workspace

JOBS_FILE = "jobs/census.yaml"
MODEL = "income"
ZONES = {"census_1994": "historical", "census_1995": "production"}
COPIED = ("jobs/census.yaml", "jobs/promotion.yaml")
MOVED = {"jobs/contracts/census.yaml": "contracts/census.yaml", "jobs/policies/census.yaml": "policies/census.yaml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the line, as it is told at the end."""

    name: str
    what: str
    outcome: str
    seconds: float


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened, step by step."""

    steps: list[Step] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[Callable[[str], None]]:
        """Times a step; call what it yields with the outcome."""
        started, said = time.monotonic(), [""]
        yield lambda outcome: said.__setitem__(0, outcome)
        self.steps.append(Step(name=name, what=what, outcome=said[0], seconds=time.monotonic() - started))


def run_demo(folder: Path, *, progress: Progress, hold: Callable[[str], None] | None = None) -> tuple[Workspace, Story]:
    """The whole line in a workspace at `folder`, and the story of it.

    Parameters
    ----------
    hold : called with the address of the last run's page after it is done, while its cluster is still up.
    """
    story = Story()
    with story.step("fetch", f"{ARCHIVE.name} {ARCHIVE.version}, checked by digest") as told:
        progress.say(
            f"fetch: {ARCHIVE.name} {ARCHIVE.version}, the census of 1994 and 1995, unless it is there already"
        )
        archive = fetch(ARCHIVE, cache_folder(os.environ))
        census = write_census(archive, folder / "data")
        told("written as Parquet" if census.written else "was there")
    with story.step("workspace", str(folder)) as told:
        told(
            "made"
            if _make_workspace(folder, {"census_1994": census.historical, "census_1995": census.production})
            else "was there"
        )
    workspace = open_workspace(str(folder))
    for name in ("census_training", MODEL):
        _run(workspace, story, name, progress)
    with story.step("promote", f"the better candidate of '{MODEL}'") as told:
        promoted = _promote_best(workspace, story.outcomes[MODEL])
        told(promoted)
        progress.say(f"promote: {promoted}")
    _run(workspace, story, "income_scores", progress, hold=hold)
    return workspace, story


def _make_workspace(folder: Path, data: Mapping[str, Path]) -> bool:
    if (folder / "dataops.yaml").exists():
        return False
    init_workspace(folder)
    templates = template_folder()
    for source, target in {**{name: name for name in COPIED}, **MOVED}.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(templates / source, folder / target)
    settings = open_workspace(str(folder)).settings
    for name, zone in ZONES.items():
        url = str(data[name].resolve().relative_to(folder.resolve()))
        add_dataset(settings, name=name, url=url, zone=zone, contract="contracts/census.yaml", draft=False)
    return True


def _run(
    workspace: Workspace, story: Story, name: str, progress: Progress, *, hold: Callable[[str], None] | None = None
) -> None:
    declared = find_job(workspace.settings.workspace / JOBS_FILE, name)
    options = Options(cluster=workspace.cluster(None), hold=hold)
    with story.step(declared.job.job, name) as told:
        outcome = run_job(workspace, declared.job, source=declared.document.source, options=options, progress=progress)
        story.outcomes[name] = outcome
        told(("done before: " if outcome.skipped else "") + summary_line(outcome.state.result))


def summary_line(result: Mapping[str, Any]) -> str:
    """A run's result in one line."""
    if "versions" in result:
        shown = [
            f"{v['candidate']} AUC {v['metrics']['census_1995']['overall']['roc_auc']:.4f}" for v in result["versions"]
        ]
        return f"{', '.join(shown)} on 1995"
    return spell_rows(result["reads"]["input"]["counts"])


def _promote_best(workspace: Workspace, trained: Outcome) -> str:
    best = best_candidate(workspace.registry, MODEL, read_rules(workspace, MODEL))
    candidates = {version["version"]: version["candidate"] for version in trained.state.result["versions"]}
    promoted = promote_version(workspace, MODEL, best, reason="the better candidate by ROC AUC on 1995")
    verb = "is champion now" if promoted.moved else "was champion already"
    return f"{MODEL}@{best} ({candidates.get(best, 'of an earlier run')}) {verb}, generation {promoted.move.generation}"
