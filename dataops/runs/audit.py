"""The workspace's audit: told before a run reads, signed at its end, checked when somebody asks.

1. A checkpoint that can't be written is said, and undoes nothing: what it would have signed is on the audit already,
   and `dataops audit verify` says which records nobody signed for.
2. Checkpoints are read before the records: a run that ends meanwhile doesn't look like an attack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from dataops.declarations.signers import read_signers
from dataops.errors import DataopsError, NotFound, Storage
from dataops.governance.audit import read_signed, record_event, record_intent, verify_audit
from dataops.governance.audit_chain import AuditFinding
from dataops.governance.audit_verdicts import judge_checkpoints
from dataops.governance.checkpoints import write_checkpoint
from dataops.records import now_utc
from dataops.runs.workspace import Workspace, os_user
from dataops.storage.objects import Store, open_store, prove


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditState:
    """What there is of the audit, and what is wrong with it.

    Attributes
    ----------
    records : how many there are, None where that can't be told.
    head : digest of the last record.
    signed : up to which record a checkpoint that can be trusted goes; 0 for none.
    """

    records: int | None
    head: str | None
    signed: int
    findings: tuple[AuditFinding, ...]

    @property
    def broken(self) -> tuple[AuditFinding, ...]:
        """What means that the audit is not as it was written."""
        return tuple(one for one in self.findings if not one.is_warning)

    @property
    def warnings(self) -> tuple[AuditFinding, ...]:
        """What may be all the same."""
        return tuple(one for one in self.findings if one.is_warning)


def announce(workspace: Workspace, run: str, pinned: Mapping[str, Any]) -> None:
    """The audit's intent of a reading, written before the first row is read.

    Parameters
    ----------
    pinned : what is read, as `GovernedInput.pinned` says it and a run's record keeps it.

    Raises
    ------
    Storage : it can't be written: nothing may be read.
    """
    grant = pinned["grant"]
    record_intent(
        workspace.audit,
        run=run,
        principal=grant["principal"],
        roles=grant["roles"],
        purpose=grant["purpose"],
        dataset=pinned["dataset"],
        snapshot=pinned["content_digest"],
        effect_digest=grant["effect"]["digest"],
        policy_digest=grant["policy_digest"],
        min_group_size=grant["effect"].get("min_group_size", 1),
        expires_at=grant["expires_at"],
    )


def sign_audit(workspace: Workspace) -> str | None:
    """What kept a checkpoint of the audit from being written, or its copy; None where all went well."""
    try:
        return _sign_audit(workspace)
    except DataopsError as error:
        return f"no checkpoint of the audit was signed: {error}"
    except Exception as error:  # noqa: BLE001  # whatever it is, the run is done, and verify says what is unsigned
        return f"no checkpoint of the audit was signed ({type(error).__name__}); see `dataops audit verify`"


@dataclass(slots=True)
class Signing:
    """What kept the audit from being signed when `signed` was left; None where nothing did."""

    note: str | None = None


@contextmanager
def signed(workspace: Workspace) -> Iterator[Signing]:
    """Whatever is written to the audit inside is signed at the end, done or failed."""
    signing = Signing()
    try:
        yield signing
    except BaseException as error:
        if note := sign_audit(workspace):
            error.add_note(note)
        raise
    signing.note = sign_audit(workspace)


@dataclass(slots=True)
class CameOfIt:
    """What the audit is told afterwards, beside the names that it was told before."""

    word: str = "done"
    facts: dict[str, object] = field(default_factory=dict)


@contextmanager
def announced(workspace: Workspace, event: str, facts: Mapping[str, object]) -> Iterator[CameOfIt]:
    """The audit says what is about to happen inside, and afterwards what came of it, under ``<event>_result``."""
    before = record_event(workspace.audit, event, principal=os_user(), **facts)
    outcome = CameOfIt()

    def tell() -> None:
        names = {name: facts[name] for name in ("dataset", "run", "model") if name in facts}
        told = {**names, **outcome.facts, "announced": before.number, "outcome": outcome.word}
        record_event(workspace.audit, f"{event}_result", principal=os_user(), **told)

    try:
        yield outcome
    except BaseException:
        outcome.word = "failed"
        with suppress(DataopsError):  # a second error would hide the first
            tell()
        raise
    tell()


def _sign_audit(workspace: Workspace) -> str | None:
    settings = workspace.settings
    key = workspace.signing_key()
    if key is None:
        raise NotFound(f"no signing key in {settings.keys}: make one with `dataops keys init`")
    anchors = note = None
    try:
        prove(opened := open_store(settings.anchors))
        anchors = opened
    except Storage as error:
        note = f"the audit's checkpoint was not copied to the anchors: {error}"
    write_checkpoint(
        workspace.audit,
        workspace.store,
        anchors,
        key=key,
        signers=read_signers(settings.workspace),
        at=now_utc(),
    )
    return note


def check_audit(workspace: Workspace) -> AuditState:
    """The state of the workspace's audit, its checkpoints and their anchors.

    Raises
    ------
    InvalidInput : ``signers.yaml`` is wrong.
    Storage : the store failed.
    """
    signed = read_signed(workspace.store, _anchors(workspace), read_signers(workspace.settings.workspace))
    findings = tuple(verify_audit(workspace.audit, signed))
    broken = any(not one.is_warning for one in findings)
    tail = None if broken else workspace.audit.tail()
    return AuditState(
        records=None if broken else tail.number if tail else 0,
        head=tail.digest if tail else None,
        signed=max((one.count for one in judge_checkpoints(signed)[0]), default=0),
        findings=findings,
    )


def _anchors(workspace: Workspace) -> Store | None:
    try:
        return open_store(workspace.settings.anchors, read_only=True)
    except (NotFound, Storage):
        return None
