"""The audit: who read what, for what, under which rules, with what outcome. Records on a hash-chained journal.

1. An *intent* is written before a run's first read, a *result* after its last. If the intent can't be written, nothing
   is read: the caller writes it first, and a failure of the journal ends the run.
2. A record names people, datasets, digests and counts. It never holds a value, an expression or a key.
3. A resumed run writes another intent; one result closes all intents of its run and dataset. An intent without a result
   is *open*: the run is still going, or was killed.
4. What the chain can't show by itself is an end that was cut off: `verify_audit` then sees a shorter journal that is
   whole. A result whose intent is missing is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dataops.errors import DataopsError, InvalidInput
from dataops.records import Record, require_name
from dataops.storage.journal import Entry, Journal

INTENT = "intent"
RESULT = "result"


def record_intent(
    journal: Journal,
    *,
    run: str,
    principal: str,
    roles: Iterable[str],
    purpose: str,
    dataset: str,
    snapshot: int | str | None,
    effect_digest: str,
    policy_digest: str,
) -> Entry:
    """The entry that says what `run` is about to read; written before the first read.

    Raises
    ------
    Storage : it can't be written: nothing may be read.
    """
    body: Record = {
        "event": INTENT,
        "run": run,
        "principal": principal,
        "roles": sorted(roles),
        "purpose": purpose,
        "dataset": dataset,
        "snapshot": snapshot,
        "effect_digest": effect_digest,
        "policy_digest": policy_digest,
    }
    return journal.append(body)


def record_result(
    journal: Journal, *, run: str, dataset: str, outcome: str, counts: Mapping[str, int], receipts_root: str | None
) -> Entry:
    """The entry that says how the reading of `dataset` by `run` ended.

    `outcome` is one word (``done``, ``failed``, ``cancelled``), never a message: it might quote what it failed on.
    `counts` are rows by what became of them. `receipts_root` is the Merkle root of the receipts of all units, None
    where the run ended without them.

    Raises
    ------
    InvalidInput : an outcome that isn't a word, a count that isn't a whole number.
    """
    require_name(outcome, "outcome")
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise InvalidInput(f"audit of run '{run}': count '{name}' is not a whole number of rows")
    body: Record = {
        "event": RESULT,
        "run": run,
        "dataset": dataset,
        "outcome": outcome,
        "counts": dict(counts),
        "receipts_root": receipts_root,
    }
    return journal.append(body)


def verify_audit(journal: Journal) -> list[str]:
    """What is wrong with the audit: the chain's findings, results without an intent, and open intents (``open: ...``).

    An open intent is a warning (see rule 3); every other finding means that the audit is not as it was written.
    """
    findings = list(journal.verify())
    try:
        return findings + _unpaired(journal)
    except DataopsError as error:
        # The chain's own findings say where; entries behind the broken one can't be paired
        return findings or [str(error)]


def _unpaired(journal: Journal) -> list[str]:
    findings = []
    announced: set[tuple[str, str]] = set()
    still_open: dict[tuple[str, str], int] = {}
    for entry in journal.entries():
        reading = (str(entry.body.get("run")), str(entry.body.get("dataset")))
        event = entry.body.get("event")
        if event == INTENT:
            announced.add(reading)
            still_open[reading] = entry.number
        elif event != RESULT:
            findings.append(f"entry {entry.number}: neither an intent nor a result")
        elif reading not in announced:
            findings.append(
                f"entry {entry.number}: run '{reading[0]}' has a result for dataset '{reading[1]}' but no intent"
            )
        else:
            still_open.pop(reading, None)
    return findings + [
        f"open: entry {number}: run '{run}' announced that it reads dataset '{dataset}' and has no result yet"
        for (run, dataset), number in still_open.items()
    ]
