"""The registry: immutable model versions in a shared folder, readable by anything that reads files.

::

    <model>/versions/<n>/claim.json     first: this number is taken
    <model>/contents/<digest>.json      which number this very package has
    <model>/versions/<n>/...            program.json, model.*, metrics.json, card.md
    <model>/versions/<n>/manifest.json  last: from now on the version exists

1. A number belongs to whoever puts its claim. Numbers only go up; that of a writer that died is not used again.
2. A version without a manifest is invisible. Its manifest, once there, is never written again.
3. Registering the same package again finishes what a crash left, or returns the version that is there.
4. A reader checks size and digest of every file before it parses any, and refuses a folder with a file that nobody
   vouched for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dataops.errors import Integrity, NotFound, near_match
from dataops.models.package import (
    MANIFEST,
    Manifest,
    Package,
    content_digest,
    files_of,
    manifest_of,
    parse_manifest,
    unpack,
)
from dataops.records import decode_record, encode_record, format_time, new_nonce, parse_time, require_name
from dataops.storage.objects import Store

CLAIM = "claim.json"
UNLISTED = frozenset({CLAIM, MANIFEST})
"""The files of a version's folder that its manifest can't list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A version that exists: which one, and the digest that names it beyond doubt."""

    model: str
    version: int
    digest: str
    registered_at: datetime
    model_format: str

    @property
    def reference(self) -> str:
        """How people and job files name it: ``income@3``."""
        return f"{self.model}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedVersion:
    """A version whose every byte was checked."""

    version: ModelVersion
    manifest: Manifest
    package: Package


class Registry:
    """The models in a store."""

    __slots__ = ("store",)

    def __init__(self, store: Store) -> None:
        self.store = store

    def register(self, model: str, package: Package, *, at: datetime) -> ModelVersion:
        """The new version of `model` that holds `package`, or the one that already does.

        Parameters
        ----------
        model
            A new or a known one.
        package
            What the version holds.
        at
            The time of registration; that of the first attempt is kept.

        Raises
        ------
        Integrity : a file of the version was there with other bytes.
        """
        files = files_of(package)
        number, claimed_at = self._claim(require_name(model, "model"), content_digest(package, files), at)
        for name, data in files.items():
            self._put(_key(model, number, name), data)
        manifest = manifest_of(package, files, model=model, version=number, at=claimed_at)
        self._put(_key(model, number, MANIFEST), manifest)
        return _version(parse_manifest(manifest, model=model, version=number))

    def _claim(self, model: str, content: str, at: datetime) -> tuple[int, datetime]:
        """The number and time of the version that is to hold `content`, the same for every attempt."""
        key = f"{model}/contents/{content.removeprefix('sha256:')}.json"
        try:
            data = self.store.get(key)
        except NotFound:
            number = self._claim_number(model, content)
            data = encode_record("model-content", 1, {"version": number, "claimed_at": format_time(at)})
            if not self.store.put_if_absent(
                key, data
            ):  # somebody registers the same package now: go on with their number
                data = self.store.get(key)
        record = decode_record(data, "model-content", 1)
        return int(record["version"]), parse_time(record["claimed_at"])

    def _claim_number(self, model: str, content: str) -> int:
        # The listing only says where to begin: a stale one costs a few attempts, never a number taken twice.
        number = max(self._numbers(model, CLAIM), default=0) + 1
        claim = encode_record("model-claim", 1, {"content": content, "nonce": new_nonce()})
        while not self.store.put_if_absent(_key(model, number, CLAIM), claim):
            number += 1
        return number

    def _put(self, key: str, data: bytes) -> None:
        if not self.store.put_if_absent(key, data):
            raise Integrity(f"{key} holds other bytes than this version's: it was changed after it was written")

    def find(self, model: str, version: int) -> ModelVersion:
        """The version, if its manifest is there and in order (its files are not read).

        Raises
        ------
        NotFound : no such model, or no such version of it.
        """
        return _version(self.read_manifest(model, version))

    def read_manifest(self, model: str, version: int) -> Manifest:
        """The manifest of a version, parsed; raises as `find`."""
        try:
            data = self.store.get(_key(require_name(model, "model"), version, MANIFEST))
        except NotFound:
            raise NotFound(self._unknown(model, version)) from None
        return parse_manifest(data, model=model, version=version)

    def read(self, model: str, version: int) -> LoadedVersion:
        """The version with its package; every byte is checked against the manifest before any is parsed.

        Raises
        ------
        NotFound : no such model or version.
        Integrity : a file is missing, changed or not in the manifest.
        Format : a format of record or model that isn't read here.
        """
        manifest = self.read_manifest(model, version)
        folder = f"{model}/versions/{version}/"
        names = {key.removeprefix(folder) for key in self.store.list(folder.rstrip("/"))}
        unknown = sorted(names - manifest.files.keys() - UNLISTED)
        if unknown:
            raise Integrity(f"{folder} holds {unknown}, which the manifest doesn't list: remove them or register anew")
        # By name, not by listing: on a network folder a listing may lag behind the manifest.
        files = {name: self._get_file(manifest, name) for name in manifest.files}
        return LoadedVersion(version=_version(manifest), manifest=manifest, package=unpack(manifest, files))

    def _get_file(self, manifest: Manifest, name: str) -> bytes:
        try:
            return self.store.get(_key(manifest.model, manifest.version, name))
        except NotFound:
            raise Integrity(f"{name} of {manifest.model} version {manifest.version} is missing") from None

    def list_models(self) -> list[str]:
        """The models that have a version, sorted."""
        parts = (key.split("/") for key in self.store.list(""))
        return sorted({part[0] for part in parts if len(part) == 4 and part[1] == "versions" and part[3] == MANIFEST})

    def versions(self, model: str) -> list[ModelVersion]:
        """The versions of `model`, oldest first; none for a model that isn't there."""
        return [self.find(model, number) for number in self._numbers(require_name(model, "model"), MANIFEST)]

    def _numbers(self, model: str, name: str) -> list[int]:
        """The numbers of the version folders of `model` that hold the file `name`, ascending."""
        parts = (key.split("/") for key in self.store.list(f"{model}/versions"))
        return sorted(int(part[2]) for part in parts if len(part) == 4 and part[3] == name and part[2].isdecimal())

    def _unknown(self, model: str, version: int) -> str:
        numbers = self._numbers(model, MANIFEST)
        if not numbers:
            return f"the registry has no model {model!r}.{near_match(model, self.list_models())}"
        return f"{model} has no version {version}; its newest is {numbers[-1]} (`dataops model list` shows them all)"


def _key(model: str, version: int, name: str) -> str:
    return f"{model}/versions/{version}/{name}"


def _version(manifest: Manifest) -> ModelVersion:
    return ModelVersion(
        model=manifest.model,
        version=manifest.version,
        digest=manifest.digest,
        registered_at=manifest.registered_at,
        model_format=manifest.model_format,
    )
