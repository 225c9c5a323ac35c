"""The audit: who read what, for what, under which rules, with what outcome. Records on a hash-chained journal.

1. An *intent* is written before a run's first read, a *result* after its last. If the intent can't be written, nothing
   is read: the caller writes it first, and a failure of the journal ends the run.
2. A record names people, datasets, digests and counts. It never holds a value, an expression or a key.
3. A resumed run writes another intent; one result closes all intents of its run, dataset and purpose. An intent without
   a result is *open*: the run is still going, or was killed.
4. What else concerns governed data (rows expire, a key was rotated) is an *event* on the same journal. Of what can't be
   undone there are two: what is about to happen, and ``<event>_result`` with what came of it.
5. What the chain can't show by itself, an end that was cut off or a history written anew, its signed checkpoints show
   (`checkpoints`); `verify_audit` tells the kinds of damage apart (`audit_verdicts`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dataops.errors import InvalidInput
from dataops.governance.audit_chain import AuditFinding
from dataops.governance.audit_verdicts import INTENT, RESULT, Signed, judge_audit
from dataops.governance.checkpoints import ANCHORS_PREFIX, CHECKPOINTS_PREFIX, read_kept
from dataops.governance.signing import Signer
from dataops.records import Record, parse_time, require_name
from dataops.storage.journal import Entry, Journal
from dataops.storage.objects import Store

MAX_NAME_LENGTH = 300

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


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
    min_group_size: int = 1,
    expires_at: str | None = None,
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
        "min_group_size": min_group_size,
        "expires_at": expires_at,
    }
    return journal.append(body)


def record_result(
    journal: Journal,
    *,
    run: str,
    dataset: str,
    outcome: str,
    counts: Mapping[str, int],
    receipts_root: str | None,
    purpose: str | None = None,
) -> Entry:
    """The entry that says how the reading of `dataset` by `run` ended.

    `purpose` is that of the intent; one run may read a dataset for two. Without it all readings of the dataset ended.

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
    body |= {"purpose": purpose} if purpose else {}
    return journal.append(body)


def record_event(journal: Journal, event: str, /, **names_and_counts: object) -> Entry:
    """The entry that says that `event` happened (``expiry``, ``key_rotated`` ...).

    Parameters
    ----------
    event
        One word; ``intent`` and ``result`` have functions of their own.
    names_and_counts
        ``principal``, ``dataset`` and ``run`` where there are any: `audit show` filters by them. Names, digests and
        times as text of 300 characters at most, counts, None; or lists of these, or mappings of names to them. Never a
        value of a row.

    Raises
    ------
    InvalidInput : an event that isn't a word; something that is neither a name nor a count.
    """
    if require_name(event, "event") in (INTENT, RESULT):
        raise InvalidInput(f"an audit record '{event}' is written by `record_{event}`")
    for name, given in names_and_counts.items():
        if not _is_plain(given):
            raise InvalidInput(f"audit record '{event}': '{name}' is neither a name nor a count")
    return journal.append({"event": event, **names_and_counts})


def _is_plain(given: object) -> bool:
    match given:
        case None | bool():
            return True
        case int():
            return given >= 0
        case str():
            return len(given) <= MAX_NAME_LENGTH and not _CONTROL.search(given)
        case list() | tuple():
            return all(_is_plain(one) for one in given)
        case Mapping():
            return all(isinstance(name, str) and _is_plain(name) and _is_plain(one) for name, one in given.items())
    return False


def verify_audit(journal: Journal, signed: Signed | None = None) -> list[AuditFinding]:
    """What is wrong with the audit, or worth a warning; warnings come last. [] where it is whole.

    `signed` are its checkpoints, from `read_signed`, read before this looks at the journal: a run that ends meanwhile
    would look like records cut off. Without it the chain alone is judged.

    Raises
    ------
    Storage : the store failed: nothing is said about the records.
    """
    return judge_audit(journal.examine(), signed)


def read_signed(store: Store, anchors: Store | None, signers: Sequence[Signer]) -> Signed:
    """The checkpoints of the audit in `store`, with their copies; `anchors` is None where these can't be read."""
    return Signed(
        kept=read_kept(store, CHECKPOINTS_PREFIX),
        anchors=read_kept(anchors, ANCHORS_PREFIX) if anchors else None,
        signers=tuple(signers),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which records of the audit somebody wants to see; None: all. `since` is included, `until` is not."""

    person: str | None = None
    dataset: str | None = None
    run: str | None = None
    event: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A record of the audit, for people: a result has the person and the roles of its intent.

    Attributes
    ----------
    about : what was read, moved or let go: a dataset, a model with version or alias, a schedule, a key.
    announced : of a result of an event, the number of the record that said it before.
    """

    number: int
    written_at: str
    event: str
    principal: str | None
    roles: tuple[str, ...]
    purpose: str | None
    dataset: str | None
    about: str | None
    run: str | None
    rows: int | None
    outcome: str | None
    announced: int | None
    body: Mapping[str, object]


def select_records(entries: Iterable[Entry], asked: Asked) -> Iterator[Shown]:
    """The records that were asked for, in order."""
    intents: dict[str, Mapping[str, object]] = {}  # by run: whoever reads for it does so for all of its datasets
    for entry in entries:
        run = str(entry.body.get("run"))
        if entry.body.get("event") == INTENT:
            intents[run] = entry.body
        shown = _shown(entry, intents.get(run, {}) if entry.body.get("event") == RESULT else {})
        if _is_asked(shown, asked):
            yield shown


def _shown(entry: Entry, intent: Mapping[str, object]) -> Shown:
    body = {**{name: intent.get(name) for name in ("principal", "roles")}, **entry.body}
    counts, roles, announced = body.get("counts"), body.get("roles"), body.get("announced")
    rows = counts.get("read") if isinstance(counts, Mapping) else body.get("rows")
    return Shown(
        number=entry.number,
        written_at=entry.written_at,
        event=str(body.get("event")),
        principal=_text(body.get("principal")),
        roles=tuple(map(str, roles)) if isinstance(roles, list) else (),
        purpose=_text(body.get("purpose")),
        dataset=_text(body.get("dataset")),
        about=_about(body),
        run=_text(body.get("run")),
        rows=rows if isinstance(rows, int) else None,
        outcome=_text(body.get("outcome")),
        announced=announced if isinstance(announced, int) else None,
        body=entry.body,
    )


def _about(body: Mapping[str, object]) -> str | None:
    """The name of what a record is about: the first kind of name that it has."""
    model, version, alias = (body.get(name) for name in ("model", "version", "alias"))
    if model is not None and body.get("dataset") is None:
        named = [str(one) for one in (version, alias) if one is not None]  # both: the alias points at the version
        return "@".join([str(model), " as ".join(named)]) if named else str(model)
    return next((str(body[kind]) for kind in ("dataset", "schedule", "key") if body.get(kind) is not None), None)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _is_asked(shown: Shown, asked: Asked) -> bool:
    at = parse_time(shown.written_at)
    return (
        asked.person in (None, shown.principal)
        and asked.dataset in (None, shown.dataset)
        and asked.run in (None, shown.run)
        and asked.event in (None, shown.event)
        and (asked.since is None or at >= asked.since)
        and (asked.until is None or at < asked.until)
    )
