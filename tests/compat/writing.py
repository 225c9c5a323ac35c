"""The records that today's code writes, from one small deterministic workspace.

``python -m tests.compat.writing`` writes them beside this file, as the examples of their format versions. Run it once,
when a format version is new: an example is what that version wrote, so the file of an old version is never made again
(`write_examples` leaves files that exist alone).
"""

from __future__ import annotations

import io
import json
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from dataops import records
from dataops.bench.place import MARK, take_place
from dataops.bench.results import add_result
from dataops.bench.sizes import size_of
from dataops.declarations.clusters import LocalFile
from dataops.declarations.features import FeatureSpec
from dataops.declarations.jobs import find_job
from dataops.engine.connect import Connection
from dataops.engine.progress import Progress
from dataops.errors import ContractViolation
from dataops.features.encoder import Encoder
from dataops.features.fitting import asked_of, fit_encoder
from dataops.features.kinds import CategoricalColumn, NumericColumn
from dataops.features.making import with_made
from dataops.features.program import FeatureProgram, compose_program
from dataops.features.steps import RowSteps
from dataops.features.summary import summarise
from dataops.features.target import Outcomes
from dataops.models.calibration import Calibration
from dataops.models.centres import CentresModel
from dataops.models.golden import make_golden
from dataops.models.linear import LinearModel
from dataops.models.onedal import Choice
from dataops.rescoring.kernels import keep_choice, keep_kernels
from dataops.runs.execute import Options, resume, run_job
from dataops.runs.keys import KeyKind, rotate_key
from dataops.runs.models import (
    collect_versions,
    pin_version,
    roll_back,
    set_alias,
    sign_reference,
    unpin_version,
)
from dataops.runs.promotion import promote_version
from dataops.runs.replay import replay_quarantine
from dataops.runs.reproduce import reproduce
from dataops.runs.retention import collect_garbage, expire_dataset
from dataops.runs.workspace import Workspace, open_workspace, os_user
from dataops.runtime import load
from dataops.training.search_trials import BEGUN, ENDED, REACHED, TrialLog
from tests.bench.sample import a_result
from tests.compat.scheduled import scheduled_records
from tests.line.people import CONTRACT, POLICY, give_roles, make_workspace

HERE = Path(__file__).parent
PRINCIPAL = "ana"
JOBS = "jobs/people.yaml"
_SECRET = bytes(range(32))
_BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
_BOOSTED = "  - {trainer: xgboost, params: {rounds: 15, max_depth: 3}}\n"
_REFUSED, _FOLLOWED = "people_refused", "people_streamed"
_AGES = "logicalTypeOptions: {minimum: 0, maximum: 120}"
_WHOLE = """\
    quality:
      - {metric: rowCount, mustBeGreaterThan: 1000, customProperties: [{property: action, value: warn}]}
      - {id: twins, metric: duplicateValues, arguments: {properties: [age, trade, region]},
         customProperties: [{property: action, value: warn}]}
    properties:
"""
_RULES = """\
  - {id: few, effect: mask, columns: {names: [region]}, mask: {rare: {min_count: 20}}}
  - {id: crowds, effect: group, min_size: 20}
  - {id: review, effect: allow, roles: [review], principals: [ana], expires: 2027-01-31, purposes: [evaluate],
     zones: [historical], datasets: [people_old], columns: {names: [hours]}}
"""
POLICY_TESTS = """\
format: dataops/policy-test/1
tests:
  - name: health is hidden from everybody
    as: [data_science]
    purpose: train
    dataset: people_old
    classifications: ["sensitive.*"]
    expect: denied
  - {principal: ana, purpose: train, dataset: people_old, columns: [age], expect: masked,
     mask: {generalise: {width: 5}}, rows: "age >= 18"}
"""

Namer = Callable[[Mapping[str, Any]], str]


def write_records(folder: Path, *, boosted: bool = False) -> dict[str, bytes]:
    """The files of `folder`'s line by the name of their example, after every job has run in this process."""
    with ExitStack() as stack:
        for replaced in _surroundings():
            stack.enter_context(replaced)
        make_workspace(folder, files=1, policy=POLICY + _RULES)
        _fix_inputs(folder, boosted=boosted)
        _run_line(open_workspace(str(folder), {}))
        scheduled = scheduled_records()
    return {
        **_collect(folder),
        **scheduled,
        "feature-program-2.json": _every_feature(),
        **_regression(),
        **_clustering(),
        **_calibrations(),
        **_benchmark(folder.parent / "bench"),
    }


def _plain_program() -> FeatureProgram:
    numeric = NumericColumn(name="age", fill=40.0, mean=41.5, scale=12.0)
    categorical = CategoricalColumn(name="trade", categories=("baker", "smith"))
    schema = pa.schema([("age", pa.int32()), ("trade", pa.string())])
    return compose_program(schema, RowSteps(), Encoder(numeric=(numeric,), categorical=(categorical,)))


def _clustering() -> dict[str, bytes]:
    """Two centres, and their golden rows."""
    model = CentresModel(numeric=((-0.75,), (1.25,)), categorical=(((0.0, 0.5, 0.5),), ((0.25, 0.75, 0.0),)))
    return {
        "cluster-centres-1.json": model.to_bytes(),
        "golden-3.json": records.encode_record("golden", 3, make_golden(_plain_program(), model).record()),
    }


def _regression() -> dict[str, bytes]:
    """A linear model of a number, and its golden rows."""
    program = _plain_program()
    model = LinearModel(intercept=37.5, numeric=(1.25,), categorical=((0.0, -2.0, 4.5),), link="identity")
    golden = make_golden(program, model)
    return {
        "linear-model-2.json": model.to_bytes(),
        "golden-2.json": records.encode_record("golden", 2, golden.record()),
    }


def _calibrations() -> dict[str, bytes]:
    """A calibration of each method."""
    line = Calibration(method="sigmoid", slope=0.75, intercept=-1.5)
    curve = Calibration(method="isotonic", given=(-66.0, -2.0, 0.5, 64.5), made=(-40.0, -3.25, -0.5, 31.0))
    return {
        "calibration-1.json": records.encode_record("calibration", 1, curve.record()),
        "calibration-1.sigmoid.json": records.encode_record("calibration", 1, line.record()),
    }


def _benchmark(folder: Path) -> dict[str, bytes]:
    """What marks the folder of a benchmark, and a result."""
    place = take_place(folder, size_of(0.01, 0), None)
    add_result(place.results, a_result())
    return {
        "bench-1.json": (folder / MARK).read_bytes(),
        "bench-result-1.json": place.results.read_bytes().removesuffix(b"\n"),
    }


def _every_feature() -> bytes:
    """A feature program with every kind of feature that the first release didn't know."""
    table = pa.table(
        {
            "age": pa.array([31, 45, None, 62], pa.int32()),
            "hours": [38.0, 40.5, 12.0, 40.0],
            "trade": ["baker", "smith", "baker", None],
            "seen": pa.array([0, 10**9, 2 * 10**9, 3 * 10**9], pa.timestamp("s", "UTC")),
        }
    )
    numeric = [
        {"columns": ["age"], "indicator": True, "clip": [0, 99], "log": True},
        {"columns": ["hours"], "bins": 2},
    ]
    categorical = [{"columns": ["trade"], "encode": encode} for encode in ("frequency", "target", "hash")]
    dates = {"columns": ["seen"], "parts": ["hour"], "encode": "cyclical", "zone": "Europe/Paris"}
    crosses = {"columns": ["trade", "age"]}
    features = {"numeric": numeric, "categorical": categorical, "dates": dates, "crosses": crosses}
    spec = FeatureSpec.model_validate_json(json.dumps(features), strict=True)
    asked, outcomes = asked_of(spec), Outcomes(target=np.array([0, 1, 1, 0]), folds=np.arange(4))
    made = with_made(table, asked.made)
    summary = summarise(made, asked.numeric, asked.categorical, asked.targets, outcomes)
    program = compose_program(table.schema, RowSteps(), fit_encoder(summary, spec))
    return records.encode_record("feature-program", 2, {"program": program.record()})


def _surroundings() -> Iterator[Any]:
    """Clock, chance and person, as they are in every example."""
    ticks, nonces, tokens = count(), count(1), count(1)

    def now() -> datetime:
        return _BEGIN + timedelta(seconds=next(ticks))

    def nonce() -> str:
        return f"{next(nonces):032x}"

    yield patch.object(secrets, "token_hex", lambda _n: f"{next(tokens):06x}")
    yield patch.object(secrets, "token_bytes", lambda _n: _SECRET)
    fixed: Mapping[Any, Callable[[], Any]] = {
        records.now_utc: now,
        records.new_nonce: nonce,
        os_user: lambda: PRINCIPAL,
    }
    ours = [one for name, one in sys.modules.items() if name.startswith(("dataops.", "tests.line.people"))]
    for original, replaced in fixed.items():
        for module in ours:
            if getattr(module, original.__name__, None) is original:
                yield patch.object(module, original.__name__, replaced)


def _fix_inputs(folder: Path, *, boosted: bool) -> None:
    jobs = (folder / JOBS).read_text()
    refused = jobs.split("---\n")[-1].replace("people_scores", _REFUSED).replace("max_rate: 0.1", "max_rate: 0")
    jobs = jobs.replace("{trainer: logistic}", "{trainer: logistic, params: {l2: 1.0}}")
    jobs = jobs if boosted else jobs.replace(_BOOSTED, "")
    followed = jobs.split("---\n")[-1].replace("people_scores", _FOLLOWED)
    followed = followed.replace("input: people_new", "input: {dataset: people_new, follow: true, settle_seconds: 0}")
    (folder / JOBS).write_text(f"{jobs}---\n{refused}---\n{followed}")
    (folder / "contracts/people.yaml").write_text(CONTRACT.replace("    properties:\n", _WHOLE))
    for path in (folder / "data").rglob("*.parquet"):
        os.utime(path, ns=(0, int(_BEGIN.timestamp()) * 10**9))


def _serve(workspace: Workspace) -> None:
    """An application serves the champion; it isn't closed, which would take its heartbeat away."""
    settings = workspace.settings
    state = settings.workspace / "state"
    with patch("socket.gethostname", lambda: "web-1"):
        load(settings.registry, "wealth", trust=workspace.registry.trust, every=None, state=state, app="shop")


def _run_line(workspace: Workspace) -> None:
    options, folder = Options(cluster=LocalFile()), workspace.settings.workspace
    with cluster_in_process() as connection, Progress(io.StringIO(), quiet=True) as progress:

        @contextmanager
        def joined(*_: object, **__: object) -> Iterator[Connection]:
            yield connection

        def run(name: str) -> None:
            declared = find_job(folder / JOBS, name)
            run_job(workspace, declared.job, source=JOBS, options=options, progress=progress)

        with patch("dataops.runs.execute.connect", joined):
            run("people_ready")
            run("wealth")
            promote_version(workspace, "wealth", 1, reason="the first one")
            run("people_scores")
            with suppress(ContractViolation):
                run(_REFUSED)
            (failed,) = [one for one in workspace.ledger.ids() if one.startswith(_REFUSED)]
            with suppress(ContractViolation):
                resume(workspace, failed, options=options, progress=progress)
            contract = folder / "contracts/people.yaml"
            contract.write_text(contract.read_text().replace(_AGES, "logicalTypeOptions: {minimum: 0}"))
            replay_quarantine(workspace, "people_old", options=options, progress=progress)
            contract.write_text(contract.read_text().replace("logicalTypeOptions: {minimum: 0}", _AGES))
            run(_FOLLOWED)
            keep_kernels(workspace.store, "plans/example/kernels.json", {"wealth": "xgboost"})
            choice = Choice(
                kernel="onedal", reason="oneDAL gives the same scores 2.5 times as fast", row_seconds=2.5e-07
            )
            keep_choice(workspace.store, "kernels/example/code.json", choice)
            reproduce(workspace, "wealth@1", options=options, progress=progress)
            _search(workspace)
    _tend_models(workspace)
    rotate_key(workspace, KeyKind.SIGNING)
    _let_go(workspace)
    _serve(workspace)


def _search(workspace: Workspace) -> None:
    """A search of one trial."""
    log = TrialLog(workspace.store, "example", "xgboost")
    log.append(BEGUN, 0, params={"learning_rate": 0.1, "max_depth": 3})
    log.append(REACHED, 0, rounds=9, loss=0.4375)
    log.append(ENDED, 0, outcome="done", figure=0.8125, why=None, seconds=1.5)


def _tend_models(workspace: Workspace) -> None:
    """Three more versions: one is let go, one is promoted, rolled back and marked to be deleted, the newest stays."""
    registry, week = workspace.registry, timedelta(days=7)
    package = registry.read("wealth", 1).package
    _, newer, newest = (
        registry.register("wealth", replace(package, card=card), at=records.now_utc(), key=workspace.signing_key())
        for card in ("# Another\n", "# A better one\n", "# The last\n")
    )
    promote_version(workspace, "wealth", newer.version, reason="the second one")
    roll_back(workspace, "wealth", reason="worse than it seemed")
    set_alias(workspace, newest.reference, "challenger", reason="to be compared")
    sign_reference(workspace, newest.reference)
    pin_version(workspace, newer.reference, reason="to be looked at")
    give_roles(workspace.settings.workspace, "data_science", "steward")
    at = records.now_utc() + timedelta(days=30)
    collect_versions(workspace, "wealth", keep=1, grace=week, at=at, do=True)
    unpin_version(workspace, newer.reference, reason="seen")
    collect_versions(workspace, "wealth", keep=1, grace=week, at=at + week, do=True)


def _let_go(workspace: Workspace) -> None:
    """All rows of a dataset expire, and their files are marked and deleted at once."""
    for path in Path(workspace.settings.storage).rglob("*.parquet"):
        os.utime(path, ns=(0, int(_BEGIN.timestamp()) * 10**9))
    nothing = timedelta()
    expire_dataset(workspace, "people_ready", older_than=nothing, at=records.now_utc(), do=True)
    collect_garbage(workspace, dataset="people_ready", grace=nothing, at=records.now_utc(), do=True)


@contextmanager
def cluster_in_process() -> Iterator[Connection]:
    """One worker in this process: the clock and chance above are its own too."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield Connection(client=client, dashboard="none", workers=1, threads=1)


def _journal(variants: Mapping[str, str] | None = None) -> Namer:
    """Of a journal's records: the event names the variant; one that is mapped to "" is the plain example."""

    def name(record: Mapping[str, Any]) -> str:
        event = str(record["body"].get("event", ""))
        return (variants or {}).get(event, event)

    return name


def _plain(_record: Mapping[str, Any]) -> str:
    return ""


def _replay(record: Mapping[str, Any]) -> str:
    return "replay" if "replay_of" in record else ""


def _snapshot(body: Mapping[str, Any]) -> str:
    if "expiry" in body:
        return "expiry"
    last = body["manifests"][-1]
    return _replay(last) or ("source" if last["run"].startswith("source-") else "")


_NAMERS: Mapping[str, Namer] = {
    "alias": lambda record: {"promoted": ""}.get(kind := record["body"]["kind"], kind),
    "audit": _journal({"intent": ""}),
    "trial": _journal({"begun": ""}),
    "event": _journal({"run_started": ""}),
    "manifest": lambda record: (
        _replay(record["lineage"])
        or {"prepare": "", None: "source"}.get(kind := record["lineage"].get("kind"), str(kind))
    ),
    "plan": lambda record: "replay" if "aside" in record["units"][0] else "",
    "run": lambda record: _replay(record) or {"prepare": ""}.get(kind := record["declaration"]["job"], kind),
    "snapshot": lambda record: _snapshot(record["body"]),
    "unit": lambda record: "rescore" if record["summary"] else "",
}


def _collect(folder: Path) -> dict[str, bytes]:
    """The first file of each format and variant, in the order of their names."""
    policy = (folder / "policies/people.yaml").read_bytes()
    found: dict[str, bytes] = {"policy-1.yaml": policy, "policy-test-1.yaml": POLICY_TESTS.encode()}
    for path in sorted(folder.rglob("*.json")):
        data = path.read_bytes()
        record = json.loads(data)
        if "format" not in record:
            continue  # lineage: the format is OpenLineage's
        _dataops, kind, version = record["format"].split("/")
        if kind == "model-content" and record["version"] != 1:
            continue  # the other examples are of version 1
        if kind == "done" and not record["run"].startswith("people_scores-"):
            continue  # the run beside it is of this job
        if kind == "verdict" and record["champion"] is not None:
            continue  # the example is of the first promotion; which digest sorts first is chance
        variant = _NAMERS.get(kind, _plain)(record)
        found.setdefault(f"{kind}-{version}{f'.{variant}' if variant else ''}.json", data)
    (card,) = folder.glob("registry/*/versions/1/card.md")
    found["model-version-1.card.md"] = card.read_bytes()
    for path in folder.glob("registry/*/versions/2/model.ubj"):
        found["xgboost-ubj-1.ubj"] = path.read_bytes()
    return found


def write_examples() -> list[str]:
    """The names of the examples that were not there yet, now written."""
    with tempfile.TemporaryDirectory() as folder:
        made = write_records(Path(folder) / "people", boosted=True)
    new = {name: data for name, data in made.items() if not (HERE / name).exists()}
    for name, data in new.items():
        (HERE / name).write_bytes(data)
    return sorted(new)


if __name__ == "__main__":
    sys.stdout.write("\n".join(write_examples()) + "\n")
