"""A workspace, opened: settings, stores, the person at the keyboard with roles, the policies in force."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dataops.datasets.access import GovernedInput, Reader, open_inputs
from dataops.declarations.catalog import read_principals
from dataops.declarations.clusters import ClusterFile, read_cluster
from dataops.declarations.inputs import INPUT
from dataops.declarations.jobs import Job
from dataops.declarations.policy_files import policy_files, read_policy_file, stray_files
from dataops.declarations.rescore import RescoreJob
from dataops.declarations.signers import SIGNERS_FILE
from dataops.errors import AccessDenied, InvalidInput, NotFound
from dataops.governance.policy_file import parse_policy
from dataops.governance.rules import Policy
from dataops.governance.signing import SigningKey, current_signing_key, parse_signing_key
from dataops.records import now_utc
from dataops.registry.trust import UNSIGNED, Trust, read_trust
from dataops.registry.versions import Registry
from dataops.runs.arriving import open_followed
from dataops.runs.ledger import Ledger
from dataops.settings import SIGNING_KEY_VARIABLE, Settings, find_file, find_workspace, read_settings
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore, ReadOnlyStore, Store, open_store

AUDIT_PREFIX = "audit"
STEWARD = "steward"  # the role for what isn't anybody's: true values in quarantine, letting data go


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What every verb of the command line works on."""

    settings: Settings
    store: Store
    registry: Registry
    ledger: Ledger
    audit: Journal
    held_key: SigningKey | None = None
    """A signing key that came with the environment; it goes before those in the folder of keys."""
    acting_for: str | None = None
    """Whose rights count, where a scheduler script carries out what somebody submitted; None: the own ones."""

    @property
    def principal(self) -> str:
        """Who reads: the user of the operating system, or the one that this process acts for."""
        return os_user() if self.acting_for is None else self.acting_for

    @property
    def submitter(self) -> str | None:
        """Somebody else than this process's account, whose submission it carries out; None where there is none."""
        return None if self.acting_for == os_user() else self.acting_for

    def reader(self) -> Reader:
        """The `principal`, with the roles of ``principals.yaml`` and the policies of ``policies/``.

        Raises
        ------
        AccessDenied : the user has no role.
        InvalidInput : a policy or the principals file is wrong.
        """
        principal = self.principal
        path = self.settings.workspace / "principals.yaml"
        roles = read_principals(path).roles_of(principal)
        if not roles:
            raise AccessDenied(f"the user '{principal}' has no role: add '{principal}' to {path}")
        return Reader(principal=principal, roles=roles, policies=self.policies(), asked_at=now_utc())

    def require_steward(self, what: str) -> None:
        """Nothing, if the `principal` has the role ``steward``.

        Parameters
        ----------
        what : what is refused, and why: the beginning of the message.

        Raises
        ------
        AccessDenied : it hasn't.
        """
        principal, path = self.principal, self.settings.workspace / "principals.yaml"
        roles = read_principals(path).roles_of(principal)
        if STEWARD not in roles:
            raise AccessDenied(
                f"{what}: for the role '{STEWARD}' alone, and '{principal}' has {', '.join(roles) or 'none'} in {path}"
            )

    def policies(self) -> tuple[Policy, ...]:
        """All policies of the workspace, by file name.

        Raises
        ------
        InvalidInput : a policy is wrong or holds nothing, or a file lies below ``policies/`` that isn't read.
        """
        root = self.settings.workspace
        if strays := stray_files(root):
            raise InvalidInput("\n".join(f"{root / stray.name}: {stray.reason}" for stray in strays))
        documents = [one for path in policy_files(root) for one in read_policy_file(path)]
        return tuple(parse_policy(one.value, source=one.source, lines=one.lines) for one in documents)

    def open_inputs(self, job: Job, *, snapshot: int | None = None) -> dict[str, GovernedInput]:
        """The inputs of `job` by their names in a run, as the person at the keyboard may read them: all of them under
        the policies of one moment.

        Parameters
        ----------
        snapshot : of a job that follows files as they arrive: the files as they were recorded in this one, instead of
            those that are there now.
        """
        if isinstance(job, RescoreJob) and job.followed is not None:
            return {INPUT: open_followed(self.settings, self.store, self.reader(), job, snapshot=snapshot)}
        return open_inputs(self.settings, self.store, self.reader(), job.inputs)

    def signing_key(self) -> SigningKey | None:
        """The key that signs what this workspace registers and moves; None where it has none.

        Raises
        ------
        InvalidInput : others may open the folder of the keys.
        """
        folder = Path(self.settings.keys)
        if self.held_key is not None:
            return self.held_key
        try:
            return SigningKey(folder=folder, key_id=current_signing_key(folder))
        except NotFound:
            return None

    def cluster(self, path: str | None) -> ClusterFile:
        """The cluster file at `path` (`find_file`), or the one that the settings name."""
        return read_cluster(self.cluster_place(path), workspace=self.settings.workspace)

    def cluster_place(self, path: str | None) -> Path:
        """Where the cluster file at `path` is, or the one that the settings name."""
        return self.find_file(path) if path else Path(self.settings.cluster)

    def find_file(self, file: str) -> Path:
        """What somebody means by `file`; see `dataops.settings.find_file`."""
        return find_file(self.settings.workspace, file)


def os_user() -> str:
    """The name of the user that the operating system runs this process as; the environment has no say in it."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return getpass.getuser()


def open_workspace(
    folder: str | None = None, environ: Mapping[str, str] | None = None, *, read_only: bool = False
) -> Workspace:
    """The workspace at `folder`, or the one that the present folder lies in.

    With `read_only` nothing of it is written, not even to try out its stores: for an account that may only look. A
    store that isn't there yet is an empty one then.

    Raises
    ------
    NotFound : no workspace there.
    InvalidInput : its settings or its ``signers.yaml`` are wrong.
    """
    variables = os.environ if environ is None else environ
    root = Path(folder).resolve() if folder else find_workspace(Path.cwd())
    if folder and not (root / "dataops.yaml").is_file():
        raise NotFound(f"{root} is no workspace: it has no dataops.yaml; `dataops init {folder}` makes one")
    settings = read_settings(root, variables)
    held_key = _parsed(take_signing_key() if variables is os.environ else variables.get(SIGNING_KEY_VARIABLE))
    open_one = _open_to_look if read_only else open_store
    store = open_one(settings.storage)
    return Workspace(
        settings=settings,
        store=store,
        registry=Registry(open_one(settings.registry), _trust(root)),
        ledger=Ledger(store),
        audit=Journal(store, AUDIT_PREFIX, "audit"),
        held_key=held_key,
    )


def _open_to_look(url: str) -> Store:
    """The store at `url` for reading; an empty one where there is none yet."""
    try:
        return open_store(url, read_only=True)
    except NotFound:
        return ReadOnlyStore(MemoryStore())


@cache
def take_signing_key() -> str | None:
    """What the environment gave as signing key, good or not; it is taken out: what this process starts doesn't inherit
    it. None where it gave none.
    """
    return os.environ.pop(SIGNING_KEY_VARIABLE, None)


def _parsed(text: str | None) -> SigningKey | None:
    if text is None:
        return None
    try:
        return parse_signing_key(text)
    except InvalidInput as error:
        raise InvalidInput(f"{SIGNING_KEY_VARIABLE}: {error}") from None


def _trust(root: Path) -> Trust:
    """Signatures count by the keys that the workspace lists; one without a list asks for none."""
    path = root / SIGNERS_FILE
    return read_trust(path) if path.exists() else UNSIGNED
