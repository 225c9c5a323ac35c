"""The registry: immutable model versions in a shared folder, readable by anything that reads files.

::

    <model>/versions/<n>/claim.json     first: this number is taken
    <model>/contents/<digest>.json      which number this very package has
    <model>/versions/<n>/...            program.json, model.*, metrics.json, card.md
    <model>/versions/<n>/signatures/    who vouches for the manifest, a record for each key
    <model>/versions/<n>/manifest.json  last: from now on the version exists

1. A number belongs to whoever puts its claim (see `claims`); that of a writer that died is not used again.
2. A version without a manifest is invisible. Its manifest, once there, is never written again.
3. Registering the same package again finishes what a crash left, or returns the version that is there.
4. A reader judges the signature of a manifest before it parses it, and size and digest of every file before it parses
   any: by its own `Trust`. It refuses a folder with a file that nobody vouched for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from dataops.errors import Format, Integrity, InvalidInput, NotFound, near_match
from dataops.governance.signing import Signer, SigningKey, Worth
from dataops.models.package import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    Manifest,
    Package,
    StoredModel,
    content_digest,
    files_of,
    manifest_of,
    parse_manifest,
    unpack,
    unpack_model,
)
from dataops.records import digest_bytes, require_name
from dataops.registry.claims import CLAIM, claim, numbers_with
from dataops.registry.signatures import (
    Judged,
    Signed,
    is_signature,
    judge_signatures,
    put_signature,
    require_signing,
    require_trusted,
)
from dataops.registry.tombstones import explain_missing, require_kept
from dataops.registry.trust import UNSIGNED, Trust
from dataops.storage.objects import Store

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
    """A version whose every byte was checked; `signed_by` are the keys whose signatures its reader trusts."""

    version: ModelVersion
    manifest: Manifest
    package: Package
    signed_by: tuple[str, ...] = ()


class Registry:
    """The models in a store, as they are to a reader of this trust."""

    __slots__ = ("store", "trust")

    def __init__(self, store: Store, trust: Trust = UNSIGNED) -> None:
        self.store = store
        self.trust = trust

    def register(self, model: str, package: Package, *, at: datetime, key: SigningKey | None = None) -> ModelVersion:
        """The new version of `model` that holds `package`, or the one that already does.

        Parameters
        ----------
        model
            A new or a known one.
        package
            What the version holds.
        at
            The time of registration; that of the first attempt is kept. A signature made now says it as its own.
        key
            Signs the version before it exists. Without one it is unsigned: readers who ask for a signature don't take
            it until somebody signs it.

        Raises
        ------
        Integrity : a file of the version was there with other bytes; or what the key signs counts for nobody here.
        Conflict : this very package is a version that is marked to be deleted.
        """
        require_signing(self.trust, key, at=at)
        files = files_of(package)
        number, claimed_at = claim(self.store, require_name(model, "model"), content_digest(package, files), at)
        require_kept(self.store, model, number)
        for name, data in files.items():
            self._put(_key(model, number, name), data)
        manifest = manifest_of(package, files, model=model, version=number, at=claimed_at)
        if key is not None:
            put_signature(self.store, _signed(model, number, manifest), key, at=at)
        self._put(_key(model, number, MANIFEST), manifest)
        return _version(parse_manifest(manifest, model=model, version=number))

    def sign(
        self, model: str, version: int, key: SigningKey, *, at: datetime, version_digest: str | None = None
    ) -> ModelVersion:
        """The version, signed by `key` now or earlier; every byte of it is checked first, whoever signed it before.

        Parameters
        ----------
        version_digest
            Of the version that was decided on: no other is signed. Default: whatever has that number now.

        Raises
        ------
        NotFound, Integrity, Format : as `read`, apart from signatures; or what the key signs, or signed before, counts
            for nobody here; or the version was exchanged since the decision.
        """
        require_signing(self.trust, key, at=at)
        found = Registry(self.store, replace(self.trust, signers=None)).read(model, version).version
        if version_digest not in (None, found.digest):
            raise Integrity(f"{found.reference} was exchanged since it was looked at; nothing was signed")
        signed = Signed(model=model, version=version, manifest=found.digest)
        put_signature(self.store, signed, key, at=at)
        own = tuple(one for one in self.trust.signers or () if one.id == key.key_id)
        if any(one.worth is not Worth.GOOD for one in judge_signatures(self.store, signed, own)):
            raise Integrity(
                f"{signed.key(key.key_id)} is of a time at which the key doesn't count: delete it and sign again"
            )
        return found

    def _put(self, key: str, data: bytes) -> None:
        if not self.store.put_if_absent(key, data):
            raise Integrity(f"{key} holds other bytes than this version's: it was changed after it was written")

    def find(self, model: str, version: int) -> ModelVersion:
        """The version, if its manifest is there, trusted and in order (its files are not read).

        Raises
        ------
        NotFound : no such model, or no such version of it.
        Integrity : no signature that this reader trusts; the message says what there is and what to do.
        Format : a format that it doesn't take.
        """
        return _version(self._trusted(model, version)[0])

    def read_manifest(self, model: str, version: int) -> Manifest:
        """The manifest of a version, parsed, whoever signed it: to list and to compare, not to load by.

        Raises
        ------
        NotFound : no such model, or no such version of it.
        Integrity, Format : as `parse_manifest`.
        """
        return parse_manifest(self._manifest_bytes(model, version), model=model, version=version)

    def judge(self, model: str, version: int, signers: tuple[Signer, ...]) -> list[Judged]:
        """What the version's signatures are worth to who trusts `signers`; those by other keys are unknown."""
        signed = _signed(model, version, self._manifest_bytes(model, version))
        return judge_signatures(self.store, signed, signers, others=True)

    def read(self, model: str, version: int) -> LoadedVersion:
        """The version with its package: its manifest is trusted before it is parsed, and every byte checked against it
        before any is parsed.

        Raises
        ------
        NotFound : no such model or version.
        Integrity : no signature that this reader trusts, more bytes than it takes, or a file is missing, changed or not
            in the manifest.
        Format : a format of record or model that isn't read here.
        """
        manifest, signed_by, files = self._checked(model, version)
        return LoadedVersion(
            version=_version(manifest), manifest=manifest, package=unpack(manifest, files), signed_by=signed_by
        )

    def read_model(self, model: str, version: int) -> tuple[ModelVersion, StoredModel]:
        """The version with its model alone, for whoever was given the rest: to parse a program takes its time.

        As much is checked, and it raises, as by `read`.
        """
        manifest, _, files = self._checked(model, version)
        return _version(manifest), unpack_model(manifest, files)

    def _checked(self, model: str, version: int) -> tuple[Manifest, tuple[str, ...], dict[str, bytes]]:
        """The manifest, the keys whose signatures of it are good, and the files that it lists; there are no others."""
        manifest, signed_by = self._trusted(model, version)
        folder = f"{model}/versions/{version}/"
        names = {key.removeprefix(folder) for key in self.store.list_with_links(folder.rstrip("/"))}
        unlisted = sorted(name for name in names - manifest.files.keys() - UNLISTED if not is_signature(name))
        if unlisted:
            raise Integrity(f"{folder} holds {unlisted}, which the manifest doesn't list: remove them or register anew")
        _require_size(manifest, self.trust.max_model_bytes)
        # By name, not by listing: on a network folder a listing may lag behind the manifest.
        return manifest, signed_by, {name: self._get_file(manifest, name) for name in manifest.files}

    def _trusted(self, model: str, version: int) -> tuple[Manifest, tuple[str, ...]]:
        """The manifest, and the keys whose signatures of it are good."""
        data = self._manifest_bytes(model, version)
        signed_by = require_trusted(self.store, _signed(model, version, data), self.trust)
        manifest = parse_manifest(data, model=model, version=version)
        if manifest.model_format not in self.trust.formats:
            raise Format(
                f"{model}@{version} is a model of format {manifest.model_format}, which its reader doesn't take: it "
                f"takes {sorted(self.trust.formats)}"
            )
        return manifest, signed_by

    def _manifest_bytes(self, model: str, version: int) -> bytes:
        try:
            return self.store.get_at_most(_key(require_name(model, "model"), version, MANIFEST), MAX_MANIFEST_BYTES)
        except NotFound:
            raise NotFound(self._unknown(model, version)) from None

    def _get_file(self, manifest: Manifest, name: str) -> bytes:
        where = f"{name} of {manifest.model} version {manifest.version}"
        try:
            return self.store.get_at_most(_key(manifest.model, manifest.version, name), manifest.files[name].size_bytes)
        except NotFound:
            raise Integrity(f"{where} is missing") from None
        except InvalidInput:
            raise Integrity(f"{where} is, or lies behind, a symbolic link: put the file itself there") from None

    def list_models(self) -> list[str]:
        """The models that have a version, sorted."""
        parts = (key.split("/") for key in self.store.list_with_links(""))
        return sorted({part[0] for part in parts if len(part) == 4 and part[1] == "versions" and part[3] == MANIFEST})

    def versions(self, model: str) -> list[ModelVersion]:
        """The versions of `model`, oldest first, whoever signed them; none for a model that isn't there."""
        return [_version(self.read_manifest(model, number)) for number in self.numbers(model)]

    def numbers(self, model: str) -> list[int]:
        """The numbers of the versions of `model`, ascending: what they hold isn't looked at."""
        return numbers_with(self.store, require_name(model, "model"), MANIFEST)

    def _unknown(self, model: str, version: int) -> str:
        numbers = numbers_with(self.store, model, MANIFEST)
        if not numbers:
            return f"the registry has no model {model!r}.{near_match(model, self.list_models())}"
        gone = explain_missing(self.store, model, version)
        known = f"its newest is {numbers[-1]} (`dataops model list` shows them all)"
        return (
            f"{model} has no version {version}; {known}.{gone}"
            if gone
            else f"{model} has no version {version}; {known}"
        )


def _key(model: str, version: int, name: str) -> str:
    return f"{model}/versions/{version}/{name}"


def _require_size(manifest: Manifest, max_bytes: int) -> None:
    """Nothing, if the files of a version are said to have `max_bytes` at most: what has more isn't read at all."""
    sizes = [entry.size_bytes for entry in manifest.files.values()]
    if min(sizes) < 0 or sum(sizes) > max_bytes:
        raise Integrity(
            f"the files of {manifest.model} version {manifest.version} are said to have {sum(sizes)} bytes; their "
            f"reader takes at most {max_bytes}"
        )


def _signed(model: str, version: int, manifest: bytes) -> Signed:
    return Signed(model=model, version=version, manifest=digest_bytes(manifest))


def _version(manifest: Manifest) -> ModelVersion:
    return ModelVersion(
        model=manifest.model,
        version=manifest.version,
        digest=manifest.digest,
        registered_at=manifest.registered_at,
        model_format=manifest.model_format,
    )
