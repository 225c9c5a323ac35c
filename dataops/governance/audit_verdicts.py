"""Verdicts on the audit: what was done to it, told from its records, its checkpoints and their anchors. Pure.

What can be told, and by what:

1. *altered*: a record doesn't match its own digest, or can't be read at all.
2. *restamped*: a record was edited and its digest computed again. Its successor still names the old digest; of the last
   record, a checkpoint does.
3. *missing*: no record of that number is there, though later ones are. A checkpoint is missing where only its anchor is
   left.
4. *reordered*: a whole record lies at another's place.
5. *truncated*: a checkpoint or an anchor knows of more records than there are.
6. *forked*: the records agree with each other, but not with a checkpoint: they were written anew from some point on.
7. *unsigned_tail* (a warning): records after the last good checkpoint, or all of them. They agree with each other, and
   that is all that is known.
8. *bad_signature*, *unknown_signer*, *revoked_signer*, *signer_out_of_term*: a checkpoint that proves nothing. It isn't
   used for 5 and 6, so a forged one can't accuse a whole audit of more than itself.
9. *anchor_differs*: the two places have different checkpoints of the same record. *unanchored* (a warning): there is no
   copy.
10. *open* (a warning): an intent without a result: the run is going on, or was killed. *unannounced*: a result with no
   open intent before it. One result closes all intents of its run, dataset and purpose that are open; another needs an
   intent of its own, unless it says word for word the same: *repeated* (a warning), since two processes may end one
   run. *strange*: something that nobody here writes.

Of two faults at the same place the one nearer to the bytes is told. Records removed from the end, together with every
checkpoint and anchor that knew them, leave no trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataops.errors import Format
from dataops.governance.audit_chain import AuditFinding, Kind, Link, find_moved, judge_chain, last_number, restamped
from dataops.governance.checkpoints import Checkpoint, Kept, judge_checkpoint
from dataops.governance.signing import Signer, Worth, explain_worth
from dataops.storage.journal import Examined

INTENT = "intent"
RESULT = "result"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What is known of the audit's checkpoints: those in its own store, the copies, and whose signatures count.

    `anchors` is None where the place of the copies can't be read; a finding of its own then says so.
    """

    kept: Mapping[int, Kept]
    anchors: Mapping[int, Kept] | None
    signers: Sequence[Signer]


def judge_audit(examined: Iterable[Examined], signed: Signed | None = None) -> list[AuditFinding]:
    """All that is wrong with an audit, or worth a warning; none where it is whole.

    Parameters
    ----------
    examined
        What lies at each place, in the order of the numbers.
    signed
        Its checkpoints, read before the records were; None: signatures aren't looked at.
    """
    findings: list[AuditFinding] = []
    pairing = _Pairing()
    links: dict[int, Link] = {}
    places: list[int] = []
    for one in examined:
        if one.place is None:
            findings.append(AuditFinding(kind=Kind.STRANGE, number=None, message=one.fault))
            continue
        places.append(one.place)
        if one.entry is None:
            findings.append(AuditFinding(kind=Kind.ALTERED, number=one.place, message=one.fault))
            continue
        entry = one.entry
        links[one.place] = Link(place=one.place, number=entry.number, previous=entry.previous, digest=entry.digest)
        pairing.take(one.place, entry.body)
    known, of_checkpoints = judge_checkpoints(signed) if signed else ([], [])
    moved = find_moved(links)
    last = last_number(links, places, moved)
    of_chain = judge_chain(links, places, moved, {one.count: one.head for one in known})
    findings += [*of_chain, *of_checkpoints]
    if signed is not None:
        told = {one.number for one in of_chain}
        findings += _judge_against(known, links, last, told)
        findings += _tail(known, last)
    # Records that aren't there can't be paired: each would be told again as something else
    broken = any(not one.is_warning for one in findings)
    findings += [one for one in pairing.findings() if not broken or one.kind not in (Kind.UNANNOUNCED, Kind.REPEATED)]
    return sorted(findings, key=lambda one: (one.is_warning, one.number or 0))


def _judge_against(
    known: Sequence[Checkpoint], links: Mapping[int, Link], last: int, told: set[int | None]
) -> Iterator[AuditFinding]:
    """What the checkpoints know otherwise than the records say; of each kind the first."""
    matching = 0
    forked = False
    for checkpoint in known:
        link = links.get(checkpoint.count)
        if checkpoint.count > last:
            message = f"a checkpoint of {checkpoint.written_at} knows {checkpoint.count} records, and there are {last}"
            yield AuditFinding(kind=Kind.TRUNCATED, number=last + 1, message=message)
            return
        if link is None or checkpoint.count in told or forked:
            continue  # what is wrong with that record has been told
        if link.digest == checkpoint.head:
            matching = checkpoint.count
        elif checkpoint.count == last and _digest_before(link, links) == checkpoint.previous:
            yield restamped(checkpoint.count)
        else:
            forked = True
            message = (
                f"records {matching + 1} to {checkpoint.count} agree with each other, but record {checkpoint.count} is "
                f"not the one that a checkpoint of {checkpoint.written_at} knows: they were written anew"
            )
            yield AuditFinding(kind=Kind.FORKED, number=checkpoint.count, message=message)


def _digest_before(link: Link, links: Mapping[int, Link]) -> str | None:
    before = links.get(link.place - 1)
    return before.digest if before else None


def _tail(known: Sequence[Checkpoint], last: int) -> Iterator[AuditFinding]:
    signed = max((one.count for one in known), default=0)
    if last > signed:
        which = f"records {signed + 1} to {last} come" if last > signed + 1 else f"record {last} comes"
        after = "after the last checkpoint" if signed else "with no checkpoint that can be trusted"
        yield AuditFinding(
            kind=Kind.UNSIGNED_TAIL, number=signed + 1, message=f"{which} {after}: nobody has signed for them yet"
        )


def judge_checkpoints(signed: Signed) -> tuple[list[Checkpoint], list[AuditFinding]]:
    """The checkpoints that can be trusted, by count, and what is wrong with the others."""
    good: list[Checkpoint] = []
    findings: list[AuditFinding] = []
    anchors = signed.anchors or {}
    for count in sorted({*signed.kept, *anchors}):
        here, there = signed.kept.get(count), anchors.get(count)
        if here and there and here.data != there.data and not (here.fault or there.fault):
            message = f"the anchor of checkpoint {count} is not the one that lies with the audit"
            findings.append(AuditFinding(kind=Kind.ANCHOR_DIFFERS, number=count, message=message))
        elif here is None:
            message = f"checkpoint {count} is missing: only its anchor is left"
            findings.append(AuditFinding(kind=Kind.MISSING, number=count, message=message))
        for kept in {one.data: one for one in (here, there) if one}.values():
            judged = _judge_kept(kept, signed.signers)
            good += [judged] if isinstance(judged, Checkpoint) else []
            findings += [judged] if isinstance(judged, AuditFinding) else []
    return good, findings + _unanchored(signed)


def _judge_kept(kept: Kept, signers: Sequence[Signer]) -> Checkpoint | AuditFinding:
    try:
        checkpoint = kept.checkpoint()
    except Format as error:
        message = f"checkpoint {kept.count} can't be used: {error}"
        return AuditFinding(kind=Kind.ALTERED, number=kept.count, message=message)
    worth = judge_checkpoint(checkpoint, signers)
    if worth is Worth.GOOD:
        return checkpoint
    message = f"checkpoint {kept.count} proves nothing: {explain_worth(worth, checkpoint.signature.key_id)}"
    return AuditFinding(kind=Kind(worth.value), number=kept.count, message=message)


def _unanchored(signed: Signed) -> list[AuditFinding]:
    if not signed.kept:
        return []
    if signed.anchors is None:
        message = "the place of the anchors can't be read: checkpoints were not compared with their copies"
        return [AuditFinding(kind=Kind.UNANCHORED, number=None, message=message)]
    without = sorted(set(signed.kept) - set(signed.anchors))
    if not without:
        return []
    message = f"{len(without)} of {len(signed.kept)} checkpoints have no anchor, the first of record {without[0]}"
    return [AuditFinding(kind=Kind.UNANCHORED, number=without[0], message=message)]


class _Pairing:
    """Intents and their results, as they come."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, str | None], int] = {}
        self._last: dict[tuple[str, str, str | None], Any] = {}
        self._found: list[AuditFinding] = []

    def take(self, number: int, body: Any) -> None:
        """Note the record of that number."""
        event = body.get("event") if isinstance(body, Mapping) else None
        if not isinstance(event, str):
            message = f"record {number} says of no event"
            self._found.append(AuditFinding(kind=Kind.STRANGE, number=number, message=message))
            return
        run, dataset, purpose = str(body.get("run")), str(body.get("dataset")), body.get("purpose")
        reading = (run, dataset, str(purpose) if purpose else None)
        if event == INTENT:
            self._open[reading] = number
        elif event == RESULT:
            ended = [one for one in self._open if one == reading or (reading[2] is None and one[:2] == reading[:2])]
            if not ended:
                self._found.append(self._judge_second(number, reading, body))
            for one in ended:
                del self._open[one]
            self._last[reading] = body

    def _judge_second(self, number: int, reading: tuple[str, str, str | None], body: Any) -> AuditFinding:
        run, dataset, _ = reading
        if self._last.get(reading) == body:
            message = f"record {number}: run '{run}' has the same result for dataset '{dataset}' again"
            return AuditFinding(kind=Kind.REPEATED, number=number, message=message)
        message = f"record {number}: run '{run}' has a result for dataset '{dataset}' but no open intent"
        return AuditFinding(kind=Kind.UNANNOUNCED, number=number, message=message)

    def findings(self) -> list[AuditFinding]:
        """What doesn't pair."""
        return self._found + [
            AuditFinding(
                kind=Kind.OPEN,
                number=number,
                message=f"record {number}: run '{run}' announced that it reads '{dataset}' and has no result yet",
            )
            for (run, dataset, _purpose), number in self._open.items()
        ]
