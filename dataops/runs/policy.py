"""The policies of a workspace, checked, tested and explained: only files and records are read, never a row.

1. A check goes on past a file that can't be read: all findings at once. Only where a policy itself can't be read is
   nothing judged, since what the others do depends on it.
2. Datasets of the catalog are known by their contracts, made ones by their newest manifest, and those that no job has
   made yet by the job file that promises them.
3. Files are named as the workspace has them: ``policies/people.yaml:7``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from dataops.datasets.catalog import dataset_names, is_declared, require_dataset
from dataops.declarations.catalog import read_principals
from dataops.declarations.jobs import DeclaredJob, parse_job
from dataops.declarations.loader import Document, read_yaml
from dataops.declarations.policy_files import POLICIES, POLICY_TESTS, policy_files, read_policy_file, stray_files
from dataops.errors import DataopsError, NotFound, near_match
from dataops.governance.column_types import spell_type
from dataops.governance.contract import Column
from dataops.governance.grant import ColumnDecision, Grant
from dataops.governance.keys import current_key_id, require_usable
from dataops.governance.masking import output_type
from dataops.governance.policy_check import check_policies, sort_findings
from dataops.governance.policy_file import parse_policy
from dataops.governance.policy_tests import PolicyTest, TestOutcome, parse_policy_tests, run_test
from dataops.governance.policy_world import (
    FindingKind,
    KnownDataset,
    Place,
    PolicyFinding,
    Severity,
    World,
    finding_at,
)
from dataops.governance.rules import Policy
from dataops.records import now_utc
from dataops.runs.column_uses import uses_of
from dataops.runs.known_datasets import known_dataset, with_promised
from dataops.runs.workspace import Workspace

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found, in the order of files and lines, and how the policy tests went.

    `judged` is False where a policy can't be read: then no rule was looked at and no test was run.
    """

    policies: int
    rules: int
    datasets: int
    jobs: int
    findings: tuple[PolicyFinding, ...]
    tests: tuple[TestOutcome, ...]
    judged: bool

    @property
    def errors(self) -> int:
        """Findings that can't stay."""
        return sum(finding.severity == Severity.ERROR for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Findings that may be meant."""
        return len(self.findings) - self.errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A grant with the contract that it is about."""

    dataset: KnownDataset
    grant: Grant

    def columns(self) -> list[dict[str, Any]]:
        """Each column as its reader would get it; no type where it isn't given."""
        columns = self.dataset.contract.columns if self.dataset.contract else ()
        return [self._column(column, self.grant.decision(column.name)) for column in columns]

    def _column(self, column: Column, decision: ColumnDecision) -> dict[str, Any]:
        mask = self.grant.effect.columns.get(column.name)
        type_ = column.type if mask is None else output_type(mask, column.type)
        return {
            "column": column.name,
            "type": spell_type(type_) if decision.readable else None,
            "classification": column.classification,
            "verdict": decision.verdict.value,
            "mask": str(decision.mask) if decision.mask else None,
            "rules": list(decision.rules),
            "reason": decision.reason,
        }


@dataclass(slots=True, kw_only=True)
class _Gathered:
    """What could be read of a workspace, and what is wrong with the rest."""

    root: Path
    findings: list[PolicyFinding] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    places: dict[tuple[str, str], Place] = field(default_factory=dict)
    jobs: list[DeclaredJob] = field(default_factory=list)
    unreadable_policy: bool = False

    def attempt(self, file: str, read: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T | None:
        """What `read` gives; None where it fails, with a finding for each line of the message."""
        try:
            return read(*arguments, **named)
        except DataopsError as error:
            self.fail(error, source=file)
            return None

    def fail(self, error: DataopsError, *, source: str) -> None:
        """Note what is wrong with the file `source`."""
        for line in self.relative(str(error)).split("\n"):
            place, message = _placed(line, source)
            self.findings.append(finding_at(place, Severity.ERROR, FindingKind.UNREADABLE, message))

    def relative(self, text: str) -> str:
        """`text` with paths as the workspace has them."""
        return text.replace(f"{self.root}/", "")


def _placed(line: str, source: str) -> tuple[Place, str]:
    """A message ``file:line: what`` as its place and what; `source` where it names none."""
    start, _, rest = line.partition(": ")
    file, _, number = start.rpartition(":")
    if file == source and number.isdigit():
        return (file, int(number)), rest
    return (source, None), line.removeprefix(f"{source}: ").strip()


def check_workspace(workspace: Workspace) -> Checked:
    """What is wrong with the policies of `workspace`, and how its policy tests went; nothing is raised for a file."""
    gathered = _Gathered(root=workspace.settings.workspace)
    _read_policies(gathered)
    _read_jobs(gathered)
    tests = _read_tests(gathered)
    world = _world(workspace, gathered)
    outcomes: tuple[TestOutcome, ...] = ()
    if not gathered.unreadable_policy:
        gathered.findings += check_policies(world)
        outcomes = tuple(run_test(test, world) for test in tests)
    for outcome in outcomes:
        if not outcome.passed:
            message = f"test '{outcome.test.name}' failed: {'; '.join(outcome.failures)}"
            gathered.findings.append(finding_at(outcome.test.place, Severity.ERROR, FindingKind.TEST, message))
    return Checked(
        policies=len(world.policies),
        rules=len(world.rules),
        datasets=len(world.datasets),
        jobs=len(gathered.jobs),
        findings=sort_findings(gathered.findings),
        tests=outcomes,
        judged=not gathered.unreadable_policy,
    )


def explain_policy(
    workspace: Workspace, *, principal: str | None, roles: Sequence[str], purpose: str, dataset: str
) -> Explained:
    """What somebody would see of `dataset`: a user of ``principals.yaml``, or anyone with `roles`.

    Raises
    ------
    AccessDenied : nothing of it, and why.
    NotFound : no such dataset or user, with the near match.
    InvalidInput : a policy, contract or the principals file is wrong.
    InvalidInput, Integrity, NotFound : a mask needs the current key, which can't be used.
    """
    root = workspace.settings.workspace
    principals = {name: one.roles for name, one in read_principals(root / "principals.yaml").principals.items()}
    if principal is not None and principal not in principals:
        raise NotFound(f"principals.yaml has no user '{principal}'.{near_match(principal, principals)}")
    require_dataset(workspace.settings, workspace.store, dataset)
    known = known_dataset(workspace, dataset, declared=is_declared(workspace.settings, dataset))
    world = World(
        policies=workspace.policies(),
        principals=principals,
        datasets={dataset: known},
        key_id=_key_id(workspace),
        at=now_utc(),
    )
    asks, holds = ("anyone", tuple(roles)) if principal is None else (principal, principals[principal])
    grant = world.decide(principal=asks, roles=holds, purpose=purpose, dataset=known)
    if grant.effect.needs_key:
        require_usable(Path(workspace.settings.keys), world.key_id)
    return Explained(dataset=known, grant=grant)


def _world(workspace: Workspace, gathered: _Gathered) -> World:
    root = workspace.settings.workspace
    read = gathered.attempt("principals.yaml", read_principals, root / "principals.yaml")
    return World(
        policies=tuple(gathered.policies),
        principals={name: one.roles for name, one in read.principals.items()} if read else {},
        datasets=_datasets(workspace, gathered),
        uses=uses_of(gathered.jobs, lambda declared, key: _job_place(gathered, declared, key)),
        places=gathered.places,
        key_id=_checked_key_id(workspace, gathered),
        at=now_utc(),
    )


def _key_id(workspace: Workspace) -> str | None:
    try:
        return current_key_id(Path(workspace.settings.keys))
    except NotFound:  # a policy that needs one says so when it decides
        return None


def _checked_key_id(workspace: Workspace, gathered: _Gathered) -> str | None:
    """The id of the current key; a finding where a mask asks for it and it can't be used."""
    key_id = gathered.attempt("keys", _key_id, workspace)
    masks = [rule.mask for policy in gathered.policies for rule in policy.rules]
    if any(mask is not None and mask.needs_key for mask in masks):
        gathered.attempt("keys", require_usable, Path(workspace.settings.keys), key_id)
    return key_id


def _job_place(gathered: _Gathered, declared: DeclaredJob, key: str) -> Place:
    return gathered.relative(declared.document.source), declared.document.line((key,))


def _documents(
    gathered: _Gathered, paths: Iterable[Path], read: Callable[[Path], list[Document]] = read_yaml
) -> tuple[list[Document], bool]:
    """The documents in `paths`, and whether all could be read."""
    found = [gathered.attempt(str(path.relative_to(gathered.root)), read, path) for path in paths]
    return [document for documents in found for document in documents or ()], None not in found


def _read_strays(gathered: _Gathered) -> None:
    strays = gathered.attempt(POLICIES, stray_files, gathered.root)
    for stray in strays or ():
        gathered.findings.append(finding_at((stray.name, None), Severity.ERROR, FindingKind.UNREADABLE, stray.reason))
    gathered.unreadable_policy |= strays is None or not all(stray.is_test for stray in strays)


def _read_policies(gathered: _Gathered) -> None:
    _read_strays(gathered)
    names: dict[str, str] = {}
    documents, all_read = _documents(gathered, policy_files(gathered.root), read_policy_file)
    gathered.unreadable_policy |= not all_read
    for document in documents:
        source = gathered.relative(document.source)
        policy = gathered.attempt(source, parse_policy, document.value, source=source, lines=document.lines)
        if policy is None:
            gathered.unreadable_policy = True
        elif policy.name in names:
            message = f"policy '{policy.name}' is in {names[policy.name]} already: give each file a name of its own"
            place = (source, document.line(("name",)))
            gathered.findings.append(finding_at(place, Severity.ERROR, FindingKind.UNREADABLE, message))
            gathered.unreadable_policy = True
        else:
            names[policy.name] = source
            gathered.policies.append(policy)
            gathered.places.update(_places(policy, document, source))


def _places(policy: Policy, document: Document, source: str) -> Mapping[tuple[str, str], Place]:
    """Where each rule and each of its keys stands; rules are in the order of the file."""
    found: dict[tuple[str, str], Place] = {}
    for index, rule in enumerate(policy.rules):
        found[(rule.qualified, "")] = (source, document.line(("rules", index)))
        for key in document.value["rules"][index]:
            found[(rule.qualified, key)] = (source, document.line(("rules", index, key)))
    return found


def _read_jobs(gathered: _Gathered) -> None:
    for document in _documents(gathered, sorted(gathered.root.glob("jobs/*.yaml")))[0]:
        if isinstance(document.value, dict) and "rules" in document.value and "job" not in document.value:
            continue  # rules of promotion
        source = gathered.relative(document.source)
        job = gathered.attempt(source, parse_job, document)
        if job is not None:
            gathered.jobs.append(job)


def _read_tests(gathered: _Gathered) -> list[PolicyTest]:
    found: list[PolicyTest] = []
    paths = policy_files(gathered.root, POLICY_TESTS)
    for document in _documents(gathered, paths, partial(read_policy_file, what="policy test"))[0]:
        source = gathered.relative(document.source)
        tests = gathered.attempt(source, parse_policy_tests, document.value, source=source, lines=document.lines)
        found += tests or ()
    return found


def _datasets(workspace: Workspace, gathered: _Gathered) -> dict[str, KnownDataset]:
    """The datasets of the catalog, those that jobs made, and those that the job files promise."""
    declared, made = dataset_names(workspace.settings, workspace.store)
    found: dict[str, KnownDataset] = {}
    for name in (*declared, *made):
        source = f"catalog/{name}.yaml" if name in declared else f"dataset '{name}'"
        known = gathered.attempt(source, known_dataset, workspace, name, declared=name in declared)
        if known is not None:
            found[name] = known
    return with_promised([one.job for one in gathered.jobs], found)
