"""What a run must have come to, whatever died on its way: that of a run without a fault, and nothing else."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dataops.datasets.snapshot import Manifest, read_snapshot
from dataops.datasets.verify import verify_dataset
from dataops.errors import Conflict
from dataops.runs.audit import check_audit
from dataops.runs.ledger import State
from tests.runs.offline import SCORES, Offline

UNITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """A workspace whose people weren't scored yet, and what comes of it without a fault.

    Attributes
    ----------
    whole : the workspace with what came of it.
    parts : the bytes of each unit's part.
    """

    folder: Path
    whole: Path
    parts: Mapping[str, bytes]
    rows: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]


def published(town: Offline) -> Manifest | None:
    """The one manifest that readers of the scores see; None: they see nothing."""
    snapshot = read_snapshot(town.workspace.store, SCORES)
    if snapshot is None:
        return None
    (manifest,) = snapshot.manifests
    return manifest


def only_run(town: Offline) -> str:
    """The id of the one run that there was."""
    (run,) = town.workspace.ledger.ids()
    return run


def records(town: Offline, run: str) -> dict[str, bytes]:
    """The bytes of the unit records that are on disk."""
    units = town.storage / "datasets" / SCORES / "runs" / run / "units"
    return {path.stem: path.read_bytes() for path in units.glob("u*.json")}


def require_same(town: Offline, run: str, undisturbed: Undisturbed) -> Manifest:
    """The manifest of `run`, which is done and published, made what a run without a fault makes, and left nothing."""
    manifest = require_made(town, run, undisturbed)
    _require_nothing_left_to_do(town, run)
    return manifest


def require_made(town: Offline, run: str, undisturbed: Undisturbed) -> Manifest:
    """The manifest of `run`, which is done and published, and made what a run without a fault makes."""
    manifest = published(town)
    assert manifest is not None
    assert manifest.run == run
    assert town.workspace.ledger.state(run).state is State.DONE
    assert dict(manifest.counts) == dict(undisturbed.counts)
    assert len(records(town, run)) == len(manifest.units) == UNITS
    _require_digests(town, manifest)
    assert town.line.parts(SCORES, run) == undisturbed.parts
    assert town.rows() == undisturbed.rows
    _require_verified(town)
    _require_orphans_unread(town, manifest, undisturbed)
    return manifest


def _require_digests(town: Offline, manifest: Manifest) -> None:
    """Each part is the very file that the manifest names."""
    for fragment in manifest.fragments:
        data = (town.storage / "datasets" / SCORES / fragment.path).read_bytes()
        assert fragment.size_bytes == len(data)
        assert fragment.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


def _require_verified(town: Offline) -> None:
    workspace = town.workspace
    assert verify_dataset(workspace.settings, workspace.store, SCORES).findings == ()
    kinds = Counter(str(one.kind) for one in check_audit(workspace).findings)
    assert set(kinds) <= {"unsigned tail", "unsigned_tail"}, kinds


def orphans(town: Offline, manifest: Manifest) -> list[Path]:
    """Files that attempts left that died or came second: of parts, and under temporary names."""
    home = town.storage / "datasets" / SCORES
    named = {str(home / fragment.path) for fragment in manifest.fragments}
    found = [path for path in (home / "runs" / manifest.run / "data").iterdir() if str(path) not in named]
    return found + [path for path in home.rglob(".*") if path.is_file()]


def _require_orphans_unread(town: Offline, manifest: Manifest, undisturbed: Undisturbed) -> None:
    """Nobody notices when what is in them is no Parquet."""
    for path in orphans(town, manifest):
        path.unlink()  # a temporary name may be another name of a record: whoever put it died before it was gone
        path.write_bytes(b"an orphan that nobody may read")
    assert town.rows() == undisturbed.rows
    _require_verified(town)


def _require_nothing_left_to_do(town: Offline, run: str) -> None:
    """Neither the run nor its job begins a unit again."""
    before = records(town, run), published(town)
    with pytest.raises(Conflict, match="is done"):
        town.resume(run)
    again = town.run()
    assert again.skipped
    assert again.state.run.id == run
    assert (records(town, run), published(town)) == before
    assert only_run(town) == run
