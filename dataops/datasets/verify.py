"""Verification: what the records say of a dataset, derived again from the files.

For a dataset that a job made: the record of every unit, byte for byte; every part's size, digest and rows; the rows of
its quarantine and error files; the receipts of its units, their sum and their Merkle root; and
``read = passed + filtered + dropped + quarantined + failed`` over the rows that the input's own footers hold. A replay
is held against the quarantine that it took, which no other may have taken: over all manifests, what was read is what
passed, was filtered or dropped, failed, and what still waits in quarantine. A run that follows is held against the
files that it took, which no other may have taken.
For a dataset of the catalog: that every file is still what the newest snapshot says, and no file came or went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dataops.datasets.catalog import is_declared, open_dataset, read_entry
from dataops.datasets.counted import Counted, count_manifest, files_taken
from dataops.datasets.receipt import spell_rows
from dataops.datasets.snapshot import Fragment, Manifest, read_manifest, read_snapshot
from dataops.datasets.source import read_fragments
from dataops.errors import Integrity, NotFound
from dataops.settings import Settings, resolve_url
from dataops.storage.files import open_files
from dataops.storage.objects import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was counted, by name, and what doesn't hold; nothing in `findings`: all is well.

    Attributes
    ----------
    runs : of a made dataset what each run of it read, and what became of that: ``run``, ``replay_of`` and counts.
    """

    checks: Mapping[str, object]
    findings: tuple[str, ...]
    runs: tuple[Mapping[str, object], ...] = ()


def verify_dataset(settings: Settings, store: Store, name: str) -> Verified:
    """The dataset `name`, counted and compared with its records.

    Raises
    ------
    NotFound : no such dataset.
    """
    if is_declared(settings, name):
        return _verify_source(settings, store, name)
    dataset = open_dataset(settings, store, name)
    findings: list[str] = []
    counted = [count_manifest(settings, store, dataset, one, findings) for one in dataset.snapshot.manifests]
    counted = _with_what_was_taken(store, counted, findings)
    _require_files_taken_once(store, dataset.snapshot.manifests, findings)
    for one in counted:
        _require_conserved(one, findings)
    checks = {"dataset": name, "snapshot": dataset.snapshot.number, **_facts(counted)}
    return Verified(checks=checks, findings=tuple(findings), runs=tuple(map(_run_record, counted)))


def _verify_source(settings: Settings, store: Store, name: str) -> Verified:
    # what was recorded last, before opening it records what lies there now
    snapshot = read_snapshot(store, name) or open_dataset(settings, store, name).snapshot
    url = resolve_url(settings.workspace, read_entry(settings.workspace, name).url)
    found = read_fragments(open_files(url))  # every footer again, none taken over
    listed = {fragment.path: fragment for fragment in snapshot.fragments}
    gone = sorted(set(listed) - {one.path for one in found})
    findings = [f"{listed[path].shown}: gone since snapshot {snapshot.number}" for path in gone]
    findings += [
        f"{one.shown}: {'changed' if one.path in listed else 'new'} since snapshot {snapshot.number}"
        for one in found
        if one.path not in listed or _content(listed[one.path]) != _content(one)
    ]
    checks = {
        "dataset": name,
        "snapshot": snapshot.number,
        "files": len(found),
        "rows": sum(fragment.rows for fragment in found),
    }
    return Verified(checks=checks, findings=tuple(findings))


def _content(fragment: Fragment) -> tuple[object, ...]:
    """What must be as it was: a release may measure the bytes of row groups in another way than one before it."""
    return fragment.identity, fragment.partition, [group.rows for group in fragment.row_groups]


def _with_what_was_taken(store: Store, counted: list[Counted], findings: list[str]) -> list[Counted]:
    """`counted`, where each replay expects the rows of the quarantine that it took, which no other may have taken."""
    by_run = {one.manifest.run: one for one in counted}
    taken: dict[str, str] = {}
    found = []
    for one in counted:
        run, replayed = one.manifest.run, one.manifest.replay_of
        if replayed is None:
            found.append(one)
            continue
        if replayed in taken:
            findings.append(
                f"run {run}: took the quarantine of run {replayed}, which run {taken[replayed]} took before"
            )
        taken.setdefault(replayed, run)
        rows = by_run[replayed].quarantined if replayed in by_run else _set_aside(store, one.manifest.dataset, replayed)
        found.append(replace(one, expected=rows))
    return found


def _set_aside(store: Store, dataset: str, run: str) -> int | None:
    """Rows that `run` set aside by its manifest; None where that is gone (its rows are no part of the dataset)."""
    try:
        return read_manifest(store, dataset, run).counts["quarantined"]
    except NotFound:
        return None


def _require_files_taken_once(store: Store, manifests: Sequence[Manifest], findings: list[str]) -> None:
    by: dict[str, str] = {}
    for manifest in manifests:
        try:
            files = files_taken(store, manifest)
        except Integrity as error:
            findings.append(str(error))
            continue
        twice = [one for one in files if one.path in by]
        if twice:
            findings.append(
                f"run {manifest.run}: took {len(twice)} files that other runs took before, {twice[0].shown} first "
                f"(run {by[twice[0].path]})"
            )
        by |= dict.fromkeys([one.path for one in files], manifest.run)


def _require_conserved(one: Counted, findings: list[str]) -> None:
    accounted = one.passed + one.filtered + one.dropped + one.quarantined + one.failed
    if one.expected is None or one.expected == accounted:
        return
    replayed = one.manifest.replay_of
    holder = f"the quarantine of run {replayed} holds" if replayed else "the input's footers hold"
    holder = holder if one.manifest.follows is None else "the files that it took hold"
    findings.append(f"run {one.manifest.run}: {holder} {one.expected} rows, {one.read} are accounted for")


def _facts(counted: Sequence[Counted]) -> dict[str, object]:
    """The figures of the dataset: of all its manifests together, then of each where there are several."""
    runs = {one.manifest.run for one in counted}
    whole = [one for one in counted if one.manifest.replay_of not in runs]  # of a replay: what it took is gone by now
    taken = {one.manifest.replay_of for one in counted}
    footers = [one.expected for one in whole]
    passed, filtered, dropped, failed = (
        sum(getattr(one, name) for one in counted) for name in ("passed", "filtered", "dropped", "failed")
    )
    waiting = sum(one.quarantined for one in counted if one.manifest.run not in taken)
    facts: dict[str, object] = {
        "runs" if len(counted) > 1 else "run": "\n".join(one.manifest.run for one in counted),
        "parts": sum(len(one.manifest.fragments) for one in counted),
        "rows in the input's footers": (
            "unknown (the input changed since)" if None in footers else sum(rows for rows in footers if rows)
        ),
        **_in_parts(counted, passed),
        "rows filtered": filtered,
        "rows dropped": dropped,
        **({"rows failed": failed} if failed else {}),
        "rows in quarantine files": _in_quarantine(sum(one.quarantined for one in counted), waiting),
        "accounted for": spell_rows(
            {
                "read": sum(one.read for one in whole),
                "passed": passed,
                "filtered": filtered,
                "dropped": dropped,
                "quarantined": waiting,
                "failed": failed,
            }
        ),
    }
    if len(counted) > 1:
        facts["by run"] = "\n".join(map(_by_run, counted))
    return facts


def _in_parts(counted: Sequence[Counted], passed: int) -> dict[str, object]:
    """Rows that passed, and those of the output where they aren't the same."""
    if all(one.made is None for one in counted):
        return {"rows in the parts (passed)": passed}
    made = sum(one.passed if one.made is None else one.made for one in counted)
    return {"rows passed": passed, "rows in the parts (made of them)": made}


def _in_quarantine(rows: int, waiting: int) -> int | str:
    """How many rows quarantine files hold, and how many of them a replay took: those are elsewhere too."""
    if rows == waiting:
        return rows
    return f"{rows:,}, {f'{rows - waiting:,}' if waiting else 'all'} of them replayed"


def _by_run(one: Counted) -> str:
    replayed = f" (replay of {one.manifest.replay_of})" if one.manifest.replay_of else ""
    return f"{one.manifest.run}{replayed}: {spell_rows(one.rows)}"


def _run_record(one: Counted) -> dict[str, object]:
    return {"run": one.manifest.run, "replay_of": one.manifest.replay_of, **one.rows}
