"""Verification of a registry: every byte of every version, every signature, every move of every alias.

1. Everything that is wrong is gathered: one damaged version hides no other.
2. What a reader of this trust would refuse is a finding. What it would take, but somebody should know (a registration
   that was cut off, an old move by a key that doesn't count), is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from dataops.errors import DataopsError, Format, Integrity, InvalidInput, NotFound
from dataops.governance.signing import Worth
from dataops.models.package import MANIFEST
from dataops.records import NAME_PATTERN, require_name
from dataops.registry.aliases import alias_journal, history, list_aliases
from dataops.registry.claims import CLAIM
from dataops.registry.moves import AliasMove
from dataops.registry.signatures import Judged, Signed, explain_untrusted
from dataops.registry.tombstones import deletions, marked
from dataops.registry.versions import LoadedVersion, Registry
from dataops.registry.vouching import verdict_fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFinding:
    """What is wrong with a version or an alias (`place`: ``income@3``, ``income@champion``), in words."""

    place: str
    message: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return {"place": self.place, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was looked at, and what is wrong with it.

    Attributes
    ----------
    versions, moves, bytes_read : how many versions and moves of aliases, and how many bytes of the versions' files.
    """

    versions: int = 0
    moves: int = 0
    bytes_read: int = 0
    findings: tuple[ModelFinding, ...] = ()

    @property
    def broken(self) -> tuple[ModelFinding, ...]:
        """What a reader would refuse."""
        return tuple(one for one in self.findings if not one.warning)

    @property
    def warnings(self) -> tuple[ModelFinding, ...]:
        """What it would take all the same."""
        return tuple(one for one in self.findings if one.warning)

    def __add__(self, other: Verified) -> Verified:
        return Verified(
            versions=self.versions + other.versions,
            moves=self.moves + other.moves,
            bytes_read=self.bytes_read + other.bytes_read,
            findings=self.findings + other.findings,
        )


def verify_registry(registry: Registry) -> Verified:
    """All models of which anything is left: also one whose every manifest was taken away."""
    names = {key.partition("/")[0] for key in registry.store.list_with_links("") if "/" in key}
    models = sorted(name for name in names if NAME_PATTERN.fullmatch(name))
    return sum((verify_model(registry, model) for model in models), Verified())


def verify_model(registry: Registry, model: str) -> Verified:
    """All that is there of `model`: its versions, its aliases, and what was left behind.

    Raises
    ------
    NotFound : no such model.
    """
    numbers = registry.numbers(model)
    if not numbers and not registry.store.list_with_links(model):
        registry.read_manifest(model, 1)  # says that there is no such model, and which one is near
    found = sum((verify_version(registry, model, number) for number in numbers), Verified())
    found += Verified(findings=tuple(_left_behind(registry, model, numbers)))
    return sum((verify_alias(registry, model, alias) for alias in list_aliases(registry, model)), found)


def verify_version(registry: Registry, model: str, version: int) -> Verified:
    """Every byte of a version, and its signatures."""
    place = f"{model}@{version}"
    findings: list[ModelFinding] = []
    size = 0
    try:
        loaded = _read_unsigned(registry, model, version)
        size = sum(entry.size_bytes for entry in loaded.manifest.files.values())
    except NotFound as error:
        return Verified(findings=(ModelFinding(place=place, message=str(error)),))
    except (Integrity, Format, InvalidInput) as error:
        findings.append(ModelFinding(place=place, message=str(error)))
    findings += _signatures(registry, model, version)
    if (stone := marked(registry.store, model, version)) is not None:
        said = f"marked to be deleted since {stone.at:%Y-%m-%d %H:%M} UTC, by {stone.actor}"
        findings.append(ModelFinding(place=place, message=said, warning=True))
    return Verified(versions=1, bytes_read=size, findings=tuple(findings))


def verify_alias(registry: Registry, model: str, alias: str) -> Verified:
    """Every move of an alias: that it follows the one before, who signed it, and what it points at."""
    place = f"{model}@{alias}"
    try:
        if broken := alias_journal(registry, model, alias).verify():
            return Verified(findings=tuple(ModelFinding(place=place, message=one) for one in broken))
        moves = list(history(registry, model, alias))
    except (Integrity, Format, InvalidInput) as error:
        return Verified(findings=(ModelFinding(place=place, message=str(error)),))
    gone = {stone.version for stone in deletions(registry.store, model)}
    findings = [finding for one in moves for finding in _move(registry, one, gone, last=one is moves[-1])]
    return Verified(moves=len(moves), findings=tuple(findings))


def _read_unsigned(registry: Registry, model: str, version: int) -> LoadedVersion:
    return Registry(registry.store, replace(registry.trust, signers=None)).read(model, version)


def _signatures(registry: Registry, model: str, version: int) -> Iterator[ModelFinding]:
    signers = registry.trust.signers
    if signers is None:
        return
    try:
        judged = registry.judge(model, version, signers)
    except DataopsError as error:
        yield ModelFinding(place=f"{model}@{version}", message=str(error))
        return
    if any(one.worth is Worth.GOOD for one in judged):
        for one in judged:
            if one.worth is not Worth.GOOD:
                yield ModelFinding(place=f"{model}@{version}", message=_beside(one), warning=True)
        return
    signed = Signed(model=model, version=version, manifest="")
    yield ModelFinding(place=signed.reference, message=explain_untrusted(signed, judged))


def _beside(judged: Judged) -> str:
    return f"a signature beside a good one doesn't count: {judged.words}"


def _move(registry: Registry, move: AliasMove, gone: set[int], *, last: bool) -> Iterator[ModelFinding]:
    place = f"{move.model}@{move.alias}"

    def finding(message: str, *, warning: bool) -> ModelFinding:
        return ModelFinding(place=place, message=f"generation {move.generation}: {message}", warning=warning)

    if not move.trusted:
        # an old one can't be signed any more; readers follow the last
        yield finding(move.words, warning=not last)
    if move.verdict_digest is not None and (said := verdict_fault(registry, move)):
        yield finding(said, warning=False)
    if move.version in gone and not last:
        return
    try:
        if registry.read_manifest(move.model, move.version).digest != move.version_digest:
            yield finding(f"version {move.version} is not the one that it was moved to", warning=False)
    except (NotFound, Integrity, Format) as error:
        yield finding(str(error), warning=False)


def _left_behind(registry: Registry, model: str, numbers: list[int]) -> Iterator[ModelFinding]:
    """Numbers that were claimed and have no manifest, but for versions that were deleted."""
    folder = f"{require_name(model, 'model')}/versions"
    deleted = {stone.version for stone in deletions(registry.store, model)}
    names: dict[str, set[str]] = {}
    for key in registry.store.list_with_links(folder):
        number, _, name = key.removeprefix(f"{folder}/").partition("/")
        names.setdefault(number, set()).add(name)
    for number, files in sorted(names.items()):
        place = f"{model}/versions/{number}"
        if not number.isdecimal():
            yield ModelFinding(place=place, message="no version has such a name", warning=True)
        elif int(number) in deleted and files - {CLAIM}:
            said = "its deletion was cut off: `dataops model gc` brings it to its end"
            yield ModelFinding(place=place, message=said, warning=True)
        elif int(number) not in {*numbers, *deleted} and MANIFEST not in files:
            said = "its registration was cut off; registering the same package again finishes it"
            yield ModelFinding(place=place, message=said, warning=True)
