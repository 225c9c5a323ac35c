"""What every format version left on disk is read by today's code, and today's code writes the same keys."""

from __future__ import annotations

import ast
import base64
import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dataops.bench.results import Result
from dataops.datasets.commit import UnitRecord
from dataops.datasets.following import Taken
from dataops.datasets.links import Links
from dataops.datasets.snapshot import Manifest, manifest_key, read_snapshot, snapshot_journal
from dataops.datasets.survey import Survey
from dataops.datasets.tombstones import TOMBSTONES_FOLDER, require_unmarked, tombstones
from dataops.declarations.jobs import job_from_record
from dataops.declarations.loader import parse_yaml
from dataops.declarations.metrics import Task
from dataops.declarations.promotion import Promotion
from dataops.errors import DataopsError
from dataops.features.encoder import Encoded
from dataops.features.program import FeatureProgram
from dataops.governance.audit import verify_audit
from dataops.governance.audit_verdicts import Signed
from dataops.governance.checkpoints import CONTEXT, Checkpoint, Kept
from dataops.governance.grant import Effect
from dataops.governance.key_files import made_at
from dataops.governance.keys import read_secret
from dataops.governance.policy_file import parse_policy
from dataops.governance.policy_tests import POLICY_TEST_FORMAT, parse_policy_tests
from dataops.governance.signing import Signature, Signer, Worth, sign, verify
from dataops.models.calibration import Calibration
from dataops.models.centres import CentresModel
from dataops.models.golden import Golden, check_golden
from dataops.models.linear import LinearModel
from dataops.models.predictor import BOOSTED, LINEAR, load_predictor
from dataops.promotion.findings import Evidence
from dataops.promotion.gates import judge
from dataops.promotion.verdict import verdict_page
from dataops.records import canonical_bytes, decode_record, digest_bytes, parse_time
from dataops.registry import moves
from dataops.registry.aliases import history
from dataops.registry.heartbeats import Heartbeat, heartbeat_key, read_heartbeats
from dataops.registry.moves import MoveKind
from dataops.registry.pins import pin_history
from dataops.registry.signatures import VersionSignature, judge_signatures
from dataops.registry.tombstones import deleted, marked
from dataops.registry.versions import Registry
from dataops.rescoring.kernels import read_choice, read_kernels
from dataops.runs.ledger import DONE_FOLDER, PLANS_FOLDER, RUNS_FOLDER, Ledger, Run
from dataops.runs.log import read_log
from dataops.runtime.ratchet import Ratchet
from dataops.scheduling.beats import Beat, read_beats
from dataops.scheduling.book import book_names
from dataops.scheduling.events import event_from_record, event_record
from dataops.scheduling.requests import Request, Stop
from dataops.scheduling.signed import Signing, find_identity, name_bytes, read_signed
from dataops.scheduling.state import state_from_record, state_record
from dataops.scheduling.submissions import SubmissionState
from dataops.scheduling.submissions import fold as fold_submission
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore
from dataops.training.search_trials import Trial, TrialEnd, fold
from tests.bench.sample import a_result
from tests.compat.scheduled import AT, PERSON, REQUEST, SIGNER
from tests.compat.writing import HERE, write_records

ROOT = HERE.parent.parent
EXAMPLES = sorted(path.name for path in HERE.iterdir() if path.suffix != ".py" and path.is_file())
# Keys that a format gained since its example was written; the reader does without them.
ADDED: Mapping[str, set[str]] = {
    "alias-1.json": {
        *(f".body.{key}" for key in ("generation", "kind", "moved_at", "previous", "signature")),
        *(f".body.signature.{key}" for key in ("context", "key_id", "value")),
    },
    "audit-1.model_gc.json": {".body.heartbeats"},
    "bench-result-1.json": {".end_to_end", ".metric"},
    **{
        f"manifest-1{variant}.json": {f".lineage.split_by{key}" for key in ("", ".keys")} for variant in ("", ".replay")
    },
    **{
        f"schedule-1.{event}.json": {".body.state.took"}
        for event in (
            *(
                "changed",
                "ended",
                "missed",
                "paused",
                "queued",
                "resumed",
                "skipped",
                "stopping",
                "told",
                "unwanted",
                "wanted",
            ),
        )
    },
    "audit-1.model_gc_result.json": {".body.heartbeats"},
    "metrics-1.json": {
        *(
            f".datasets.*.replicates{key}"
            for key in ("", ".scheme", ".overall", ".slices", ".slices.*", ".slices.*.north", ".slices.*.south")
        ),
        *(f".datasets.*.selection{key}" for key in ("", ".rows", ".slices", ".slices.*")),
    },
    "model-version-1.json": {
        *(f".lineage.cluster{key}" for key in ("", ".threads", ".workers")),
        *(f".lineage.libraries{key}" for key in ("", ".*")),
        *(f".lineage.fit{key}" for key in ("", ".converged", ".passes")),
    },
    "run-1.train.json": {".declaration.evaluate.quantile", ".declaration.task"},
    "verdict-1.json": {
        ".override",
        ".promotion.format",
        *(f".promotion.rules.{key}" for key in ("confidence", "min_gain", "slice")),
        *(f".findings.{key}" for key in ("confidence", "gain", "kind", "low", "rows", "slice")),
    },
}
# Mappings whose keys are names of columns, datasets, rules: they differ from line to line.
NAMED = {"broken", "datasets", "files", "inputs", "metrics", "params", "reads", "rows", "slices", "unknown", "versions"}
NAMED |= {"libraries", "repeated", "set_aside", "unknown_categories"}


def example(name: str) -> bytes:
    return (HERE / name).read_bytes()


def record(name: str) -> dict[str, Any]:
    return dict(json.loads(example(name)))


def put(store: MemoryStore, key: str, name: str) -> None:
    assert store.put_if_absent(key, example(name))


def read_entry(name: str, kind: str) -> Mapping[str, Any]:
    store, number = MemoryStore(), record(name)["number"]
    put(store, f"journal/{number:010d}.json", name)
    return Journal(store, "journal", kind).read(number).body


def read_alias(name: str) -> None:
    if name != "alias-1.json":
        read_move(name)
        return
    store = MemoryStore()
    put(store, "wealth/aliases/champion/0000000001.json", name)
    (move,) = history(Registry(store), "wealth")
    assert (move.version, move.actor, move.reason) == (1, "ana", "the first one")


def read_move(name: str) -> None:
    """A move that was signed, as the last of its history."""
    body = read_entry(name, "alias")
    signed = {key: value for key, value in body.items() if key != "signature"}
    verify(
        Signature.from_record(body["signature"]),
        canonical_bytes(signed),
        moves.CONTEXT,
        [signer()],
        parse_time(body["moved_at"]),
    )
    assert MoveKind(body["kind"]) is MoveKind(name.split(".")[1])


def read_pin(name: str) -> None:
    body, store = read_entry(name, "pin"), MemoryStore()
    put(store, f"wealth/pins/{body['version']}/0000000001.json", name)
    assert [one.pinned for one in pin_history(Registry(store), "wealth", body["version"])] == [True]


def read_model_signature(name: str) -> None:
    found, store = VersionSignature.from_bytes(example(name)), MemoryStore()
    put(store, found.signed.key(found.signature.key_id), name)
    (judged,) = judge_signatures(store, found.signed, [signer()])
    assert judged.worth is Worth.GOOD


def read_model_tombstone(name: str) -> None:
    store, version = MemoryStore(), record(name)["version"]
    gone = name == "model-deletion-1.json"
    put(store, f"wealth/tombstones/{version}{'-deleted' if gone else ''}.json", name)
    stone = (deleted if gone else marked)(store, "wealth", version)
    assert stone is not None
    assert stone.actor == "ana"


def read_audit(name: str) -> None:
    """The first two records are a whole audit, up to their checkpoint; the others are entries of a longer one."""
    if name not in ("audit-1.json", "audit-1.result.json", "checkpoint-1.json"):
        assert read_entry(name, "audit")["event"] == name.split(".")[1]
        return
    store = MemoryStore()
    put(store, "audit/0000000001.json", "audit-1.json")
    put(store, "audit/0000000002.json", "audit-1.result.json")
    kept = {2: Kept(count=2, data=example("checkpoint-1.json"))}
    assert verify_audit(Journal(store, "audit", "audit"), Signed(kept=kept, anchors=kept, signers=(signer(),))) == []


def signer() -> Signer:
    """Who signed the examples."""
    key = record("signing-key-1.json")
    public_key = base64.b64decode(key["public_key"])
    return Signer(id=key["id"], public_key=public_key, owner="ana", start=made_at(key["id"]))


def read_checkpoint(name: str) -> None:
    checkpoint = Checkpoint.from_bytes(example(name))
    assert checkpoint.to_bytes() == example(name)
    at = parse_time(checkpoint.written_at)
    assert verify(checkpoint.signature, checkpoint.payload, CONTEXT, [signer()], at) == signer()
    read_audit(name)


def read_event(name: str) -> None:
    variant = name.split(".")[1]
    assert read_entry(name, "event")["event"] == ("run_started" if variant == "json" else variant)


def read_program(name: str) -> None:
    program = FeatureProgram.from_record(decode_record(example(name), "feature-program", 1)["program"])
    assert program.source_columns() == ("age", "hours", "trade")


def read_later_program(name: str) -> None:
    program = FeatureProgram.from_record(decode_record(example(name), "feature-program", 2)["program"])
    seen = pa.array([1_750_000_000], pa.timestamp("s", "UTC"))  # 17:06:40 in Paris
    _, found = program.run(pa.table({"age": [45], "hours": [38.0], "trade": ["smith"], "seen": seen}))
    clock = np.deg2rad(17 * 15)
    age = (np.log(46) - 3.816538355542362) / 0.23980227141460447
    expected = [age, 0, np.sin(clock), np.cos(clock), 0.25, 6 / 11, 1, 501, 2]
    np.testing.assert_allclose(found.values, [expected], rtol=1e-6)


def put_key(name: str, folder: Path) -> str:
    """The id of the key in `folder`."""
    folder.mkdir(mode=0o700)
    key_id = str(record(name)["id"])
    path = folder / f"{key_id}.json"
    path.touch(mode=0o600)
    path.write_bytes(example(name))
    return key_id


def read_key(name: str, folder: Path) -> None:
    assert read_secret(folder, put_key(name, folder)) == bytes(range(32))


def read_signing_key(name: str, folder: Path) -> None:
    signature = sign(folder, put_key(name, folder), b"payload", "test/1")
    assert verify(signature, b"payload", "test/1", [signer()], signer().start) == signer()


def read_golden(name: str) -> None:
    program = FeatureProgram.from_record(
        decode_record(example("feature-program-1.json"), "feature-program", 1)["program"]
    )
    golden = Golden.from_record(decode_record(example(name), "golden", 1))
    check_golden(golden, program, LinearModel.from_bytes(example("linear-model-1.json")))


def read_golden_numbers(name: str) -> None:
    golden = Golden.from_record(decode_record(example(name), "golden", 2))
    assert golden.task is Task.REGRESSION
    assert golden.record() == {key: value for key, value in record(name).items() if key != "format"}
    assert any(one is not None and one > 1 for one in golden.predictions)


def read_golden_clusters(name: str) -> None:
    golden = Golden.from_record(decode_record(example(name), "golden", 3))
    assert golden.task is Task.CLUSTERS
    assert golden.record() == {key: value for key, value in record(name).items() if key != "format"}
    assert set(golden.predictions) == {0, 1}


def read_centres(name: str) -> None:
    model = CentresModel.from_bytes(example(name))
    assert (model.clusters, model.task) == (2, Task.CLUSTERS)
    assert model.to_bytes() == example(name)


def read_linked(name: str) -> None:
    model = LinearModel.from_bytes(example(name))
    assert (model.link, model.task) == ("identity", Task.REGRESSION)
    assert model.to_bytes() == example(name)


def read_calibration(name: str) -> None:
    found = Calibration.from_record(decode_record(example(name), "calibration", 1))
    assert found.record() == {key: value for key, value in record(name).items() if key != "format"}
    made = found.of(np.array([-2.0, 0.5], np.float32)).tolist()
    assert made == ([-3.0, -1.125] if found.method == "sigmoid" else [-3.25, -0.5])


def read_heartbeat(name: str) -> None:
    store, beat = MemoryStore(), Heartbeat.from_bytes(example(name))
    assert beat.to_bytes() == example(name)
    put(store, f"wealth/heartbeats/{heartbeat_key(beat.app, beat.host, beat.process, 1)}", name)
    assert read_heartbeats(store, "wealth") == [beat]


def read_seen(name: str) -> None:
    store, said = MemoryStore(), record(name)
    put(store, f"wealth/champion/{said['generation']:010d}.json", name)
    seen = Ratchet("wealth", "champion", store).seen()
    assert seen is not None
    assert (seen.generation, seen.digest) == (said["generation"], said["digest"])


def read_linear(name: str) -> None:
    model = LinearModel.from_bytes(example(name))
    assert [len(table) for table in model.categorical] == [5, 3]


def read_boosted(name: str) -> None:
    model = load_predictor(BOOSTED, example(name))
    rows = Encoded.of(numeric=np.zeros((2, 2), np.float32), codes=np.zeros((2, 2), np.int32))
    assert model.predict(rows).shape == (2,)


def read_manifest(name: str) -> None:
    manifest = Manifest.from_bytes(example(name))
    assert manifest.to_bytes() == example(name)
    assert manifest.rows in (manifest.counts.get("passed"), manifest.counts.get("rows"))


def read_metrics(name: str) -> None:
    metrics = decode_record(example(name), "metrics", 1)["datasets"]
    promotion = Promotion.model_validate({"model": "wealth", "rules": ({"metric": "roc_auc", "minimum": 0.6},)})
    assert judge(Evidence(candidate=metrics), promotion).passed


def read_version(_name: str) -> None:
    """A version's folder as a whole: every file by the digests in its manifest."""
    store = MemoryStore()
    files = {
        "claim.json": "model-claim-1.json",
        "program.json": "feature-program-1.json",
        "model.json": "linear-model-1.json",
        "metrics.json": "metrics-1.json",
        "reference.json": "reference-1.json",
        "card.md": "model-version-1.card.md",
        "manifest.json": "model-version-1.json",
    }
    for file, name in files.items():
        put(store, f"wealth/versions/1/{file}", name)
    content = record("model-claim-1.json")["content"]
    put(store, f"wealth/contents/{content.removeprefix('sha256:')}.json", "model-content-1.json")
    registry = Registry(store)
    loaded = registry.read("wealth", 1)
    assert loaded.package.model_format == LINEAR
    again = registry.register("wealth", loaded.package, at=loaded.version.registered_at)
    assert (again.version, again.digest) == (1, loaded.version.digest)


def read_run(name: str) -> None:
    run = Run.from_bytes(example(name))
    assert run.to_bytes() == example(name)
    assert job_from_record(run.declaration).name == run.job
    for pinned in run.inputs.values():
        assert Effect.from_record(pinned["grant"]["effect"]).columns


SNAPSHOTS = ("snapshot-1.json", "snapshot-1.replay.json", "snapshot-1.expiry.json")


def read_snapshot_of(name: str) -> None:
    """A dataset was made, a replay added to it, all of it expired: what a snapshot names are the manifests so far."""
    journal = (name,) if name not in SNAPSHOTS else SNAPSHOTS[: SNAPSHOTS.index(name) + 1]
    files = [one.replace("snapshot", "manifest") for one in journal]
    store, manifests = MemoryStore(), [Manifest.from_bytes(example(file)) for file in files]
    dataset = manifests[0].dataset
    for number, (snapshot, manifest, file) in enumerate(zip(journal, manifests, files, strict=True), start=1):
        put(store, f"datasets/{dataset}/snapshots/{number:010d}.json", snapshot)
        put(store, manifest_key(dataset, manifest.run), file)
    assert snapshot_journal(store, dataset).verify() == []
    found = read_snapshot(store, dataset)
    assert found is not None
    assert found.manifests == tuple(manifests[-1:] if name == SNAPSHOTS[-1] else manifests)


def read_done(name: str) -> None:
    store, run, event = MemoryStore(), Run.from_bytes(example("run-1.rescore.json")), "event-1.json"
    done = record(name)["run"]
    put(store, f"{DONE_FOLDER}/{run.work_digest.removeprefix('sha256:')}/{done}.json", name)
    put(store, f"{RUNS_FOLDER}/{done}/run.json", "run-1.rescore.json")
    put(store, f"{RUNS_FOLDER}/{done}/events/0000000001.json", event)
    ledger = Ledger(store)
    assert ledger.find_done(run.work_digest) is None  # its end isn't among the examples' first event
    ledger.emit(done, "run_done", result={})
    found = ledger.find_done(run.work_digest)
    assert found is not None
    assert found.run == run


def read_plan(name: str) -> None:
    store, run = MemoryStore(), Run.from_bytes(example(name.replace("plan", "run")))
    put(store, f"{PLANS_FOLDER}/{run.id}/input.json", name)
    (unit,) = Ledger(store).plan(run.id, "input")
    assert unit.rows == run.inputs["input"]["rows"]
    assert (unit.aside is None) == (run.replay_of is None)


def read_survey(name: str) -> None:
    survey = Survey.from_bytes(example(name))
    assert survey.to_bytes() == example(name)
    assert [file.rows for file in survey.repeated.values()] == list(survey.duplicates)
    assert survey.asked.rare == (("region", 20),)


def read_tombstone(name: str) -> None:
    store, stone = MemoryStore(), record(name)
    put(store, f"{TOMBSTONES_FOLDER}/{stone['dataset']}/{stone['run']}/0.json", name)
    (found,) = tombstones(store, stone["dataset"], stone["run"])
    assert len(found["files"]) == 2
    require_unmarked(store, stone["dataset"], stone["run"])  # it expired; it wasn't given up


def read_followed(name: str) -> None:
    taken = Taken.from_bytes(example(name))
    assert taken.to_bytes() == example(name)
    assert [fragment.path for fragment in taken.fragments] == ["part-000.parquet"]


def read_links_of(name: str) -> None:
    links = Links.from_bytes(example(name))
    assert links.to_bytes() == example(name)


def read_kernels_of(name: str) -> None:
    store = MemoryStore()
    put(store, "kernels/one.json", name)
    assert read_kernels(store, "kernels/one.json") == {"wealth": "xgboost"}


def read_kernel_choice(name: str) -> None:
    store = MemoryStore()
    put(store, "kernels/one.json", name)
    choice = read_choice(store, "kernels/one.json")
    assert choice is not None
    assert (choice.kernel, choice.row_seconds, choice.for_rows(100)) == ("onedal", 2.5e-07, "xgboost")


def read_unit(name: str) -> None:
    unit = UnitRecord.from_bytes(example(name))
    assert unit.to_bytes() == example(name)


def read_verdict(name: str) -> None:
    verdict = decode_record(example(name), "verdict", 1)
    assert "may be promoted" in verdict_page(verdict)
    assert Promotion.model_validate_json(json.dumps(verdict["promotion"])).model == "wealth"


def read_policy(name: str) -> None:
    (document,) = parse_yaml(example(name).decode(), name)
    policy = parse_policy(document.value, source=name, lines=document.lines)
    assert [rule.id for rule in policy.rules] == [
        "use",
        "no-health",
        "bands",
        "who",
        "adults",
        "few",
        "crowds",
        "review",
    ]


def read_trial(name: str) -> None:
    trials = {0: Trial(number=0, params={})}
    trial = fold(trials, read_entry(name, "trial"))
    assert {
        "trial-1.json": trial.params == {"learning_rate": 0.1, "max_depth": 3},
        "trial-1.reached.json": trial.curve == {9: 0.4375},
        "trial-1.ended.json": (trial.end, trial.figure) == (TrialEnd.DONE, 0.8125),
    }[name]


def read_policy_tests(name: str) -> None:
    (document,) = parse_yaml(example(name).decode(), name)
    tests = parse_policy_tests(document.value, source=name, lines=document.lines)
    assert [(test.roles, test.principal) for test in tests] == [(("data_science",), None), ((), "ana")]


def read_scheduled(name: str) -> None:
    """The state after an event is read strictly, and is that of the events before it."""
    body = read_entry(name, "schedule")
    event, state = event_from_record(body["event"]), state_from_record(body["state"])
    assert (event_record(event), state_record(state)) == (body["event"], body["state"])
    assert (event.event, state.name) == (name.split(".")[1], "nightly")


def read_schedule_name(name: str) -> None:
    store = MemoryStore()
    put(store, "schedule-names/nightly.json", name)
    assert book_names(store) == ["nightly"]


def read_submission(name: str) -> None:
    events = ("taken", "started", "retry", "ended")
    found = fold_submission(REQUEST.id, [read_entry(f"submission-1.{event}.json", "submission") for event in events])
    assert found is not None
    assert (found.state, found.request, found.exit_code) == (SubmissionState.FAILED, REQUEST, 10)
    assert (found.retries, found.next_try_at) == (1, AT + timedelta(minutes=1))


def read_request(name: str) -> None:
    assert Request.from_bytes(example(name)) == REQUEST


def read_stop(name: str) -> None:
    assert Stop.from_bytes(example(name)).id == REQUEST.id


def read_open(name: str) -> None:
    assert set(decode_record(example(name), "submission-open", 1)) == {"format"}


def read_signed_request(name: str) -> None:
    request, signature = read_signed(example(name))
    public = Ed25519PrivateKey.from_private_bytes(bytes.fromhex("1a" * 32)).public_key().public_bytes_raw()
    signer = Signer(id=SIGNER.key_id, public_key=public, owner=PERSON, start=AT)
    signing = Signing(place=REQUEST.inbox, signers=(signer,))
    assert request == REQUEST
    assert signing.writer_of_request(request, signature, key_id=REQUEST.id, now=AT) == PERSON


def read_signed_name(name: str) -> None:
    assert example(name) == name_bytes()


def read_identity(name: str) -> None:
    store = MemoryStore()
    put(store, "identity.json", name)
    assert find_identity(store) == record(name)["id"]


def read_bench(name: str) -> None:
    assert decode_record(example(name), "bench", 1)["scale"] == 0.01


def read_bench_result(name: str) -> None:
    result = Result.from_record(record(name))
    assert result == a_result()
    assert result.throughput == record(name)["throughput"]


def read_beat(name: str) -> None:
    store, beat = MemoryStore(), Beat.from_bytes(example(name))
    put(store, beat.key, name)
    assert read_beats(store) == [beat]
    assert (beat.holds, beat.ended) == (1, False)


def read_log_of(name: str) -> None:
    store = MemoryStore()
    put(store, "runs/one/log/0000000001.json", name)
    (logged,) = read_log(store, "one")
    assert (len(logged.lines), logged.lost) == (1, 0)


READERS: Mapping[str, Callable[[str], None]] = {
    "alias-1": read_alias,
    "audit-1": read_audit,
    "beat-1": read_beat,
    "bench-1": read_bench,
    "bench-result-1": read_bench_result,
    "calibration-1": read_calibration,
    "checkpoint-1": read_checkpoint,
    "cluster-centres-1": read_centres,
    "done-1": read_done,
    "event-1": read_event,
    "feature-program-1": read_program,
    "feature-program-2": read_later_program,
    "followed-1": read_followed,
    "golden-1": read_golden,
    "golden-2": read_golden_numbers,
    "golden-3": read_golden_clusters,
    "heartbeat-1": read_heartbeat,
    "kernels-1": read_kernels_of,
    "kernel-choice-1": read_kernel_choice,
    "linear-model-1": read_linear,
    "linear-model-2": read_linked,
    "links-1": read_links_of,
    "log-1": read_log_of,
    "manifest-1": read_manifest,
    "model-deletion-1": read_model_tombstone,
    "model-signature-1": read_model_signature,
    "model-tombstone-1": read_model_tombstone,
    "pin-1": read_pin,
    "metrics-1": read_metrics,
    "model-claim-1": read_version,
    "model-content-1": read_version,
    "model-version-1": read_version,
    "plan-1": read_plan,
    "policy-1": read_policy,
    "policy-test-1": read_policy_tests,
    "reference-1": read_version,
    "run-1": read_run,
    "schedule-1": read_scheduled,
    "schedule-name-1": read_schedule_name,
    "seen-1": read_seen,
    "snapshot-1": read_snapshot_of,
    "submission-1": read_submission,
    "storage-identity-1": read_identity,
    "submission-name-1": read_signed_name,
    "submission-open-1": read_open,
    "submission-request-1": read_request,
    "submission-signed-1": read_signed_request,
    "submission-stop-1": read_stop,
    "survey-1": read_survey,
    "tombstone-1": read_tombstone,
    "trial-1": read_trial,
    "unit-1": read_unit,
    "verdict-1": read_verdict,
    "xgboost-ubj-1": read_boosted,
}
KEYS: Mapping[str, Callable[[str, Path], None]] = {"key-1": read_key, "signing-key-1": read_signing_key}
# What people write, and what XGBoost does
NO_RECORDS = {"policy-1", "policy-test-1", "xgboost-ubj-1"}
# What tasks of one run leave for one another: gone at its end, so that no other release reads it
IN_BETWEEN = {"exchange-1"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_todays_code_reads_what_a_version_wrote(name: str, tmp_path: Path) -> None:
    kind = name.split(".", maxsplit=1)[0]
    if kind in KEYS:
        KEYS[kind](name, tmp_path / "keys")
    else:
        READERS[kind](name)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".json")])
def test_an_example_says_its_format_and_names_no_machine(name: str) -> None:
    kind, version = name.split(".", maxsplit=1)[0].rsplit("-", 1)
    assert record(name)["format"] == f"dataops/{kind}/{version}"
    assert not [root for root in (b"/home/", b"/tmp/", b"/root", b"/Users/", b"/work/") if root in example(name)]


def test_the_manifest_of_a_version_names_the_examples_beside_it() -> None:
    files = record("model-version-1.json")["files"]
    assert files["program.json"]["sha256"] == digest_bytes(example("feature-program-1.json"))


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return write_records(tmp_path_factory.mktemp("today") / "people")


def keys(value: Any, place: str = "") -> Iterator[str]:
    """The paths of all keys below `value`: items of a list together, names that are data as ``*``."""
    if isinstance(value, Mapping):
        data_keyed = place.rsplit(".", 1)[-1] in NAMED
        for key, below in value.items():
            path = f"{place}.{'*' if data_keyed or key.startswith('broken:') else key}"
            yield path
            yield from keys(below, path)
    elif isinstance(value, list):
        for item in value:
            yield from keys(item, place)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".json")])
def test_todays_code_writes_the_same_keys(name: str, today: dict[str, bytes]) -> None:
    """Fails where a record gained or lost a key: that needs a new format version, or the old reader must allow it."""
    assert name in today, f"no run of today wrote {name}"
    assert sorted(set(keys(json.loads(today[name]))) - ADDED.get(name, set())) == sorted(set(keys(record(name))))


def test_what_runs_today_wrote_has_an_example(today: dict[str, bytes]) -> None:
    assert sorted(today) == sorted(set(EXAMPLES) - {"xgboost-ubj-1.ubj"})


def formats_in_code() -> set[str]:
    """``<kind>-<version>`` of every record that the package encodes or keeps a journal of."""
    found: set[str] = set()
    for path in (ROOT / "dataops").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", "")
            literals = [one.value if isinstance(one, ast.Constant) else None for one in node.args]
            if name == "encode_record" and isinstance(literals[0], str):
                found.add(f"{literals[0]}-{literals[1]}")
            if name == "Journal":
                found.add(f"{literals[2]}-1")
    return found


def test_every_format_that_the_code_writes_has_an_example() -> None:
    written = formats_in_code()
    assert {"run-1", "audit-1", "snapshot-1"} <= written
    assert written | NO_RECORDS == {name.split(".")[0] for name in EXAMPLES} | IN_BETWEEN


def test_the_formats_of_what_people_write_stand_in_their_examples() -> None:
    assert example("policy-1.yaml").startswith(b"format: dataops/policy/1\n")
    assert example("policy-test-1.yaml").startswith(f"format: {POLICY_TEST_FORMAT}\n".encode())


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".json") and not name.startswith("key")])
def test_another_version_of_a_format_is_refused(name: str) -> None:
    kind, version = name.split(".", maxsplit=1)[0].rsplit("-", 1)
    with pytest.raises(DataopsError, match=f"expected a record of format dataops/{kind}/{int(version) + 1}"):
        decode_record(example(name), kind, int(version) + 1)


def test_the_key_of_the_example_opens_for_its_owner_alone(tmp_path: Path) -> None:
    read_key("key-1.json", tmp_path / "keys")
    os.chmod(tmp_path / "keys" / f"{record('key-1.json')['id']}.json", 0o644)  # noqa: PTH101 - the attack
    with pytest.raises(DataopsError, match="opened by others"):
        read_secret(tmp_path / "keys", record("key-1.json")["id"])
