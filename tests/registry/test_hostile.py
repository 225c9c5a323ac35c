"""Who may write the registry, and who may sign, does harm: an application refuses all of it and goes on serving.

First what is signed in good order and is evil all the same, then what was tampered with by somebody without a key. The
canary is a file that code in a model would make.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from dataops.errors import DataopsError, Format, Integrity, NotFound
from dataops.governance.signing import Signer, SigningKey
from dataops.models.package import MANIFEST, MODEL_FILES, Package, files_of, manifest_of
from dataops.models.predictor import BOOSTED, LINEAR, SKLEARN
from dataops.records import digest, digest_bytes, encode_record
from dataops.registry.claims import CLAIM
from dataops.registry.moves import AliasMove, MoveKind
from dataops.registry.signatures import Signed, put_signature
from dataops.registry.trust import Trust
from dataops.registry.versions import Registry
from dataops.runtime import Handle
from tests.registry.examples import make_package
from tests.runtime.examples import AT, ROWS, expected, make_key, make_registry, opened, promote, register

CANARY = "canary"


class Trap:
    """Unpickled, it makes the canary."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {CANARY}",)


PICKLE = pickle.dumps(Trap())


@dataclass
class Place:
    """A signed registry whose version 1 is served, and who may sign there."""

    folder: Path
    registry: Registry
    key: SigningKey
    signer: Signer
    handle: Handle

    def promote(self, version: int, **options: Any) -> AliasMove:
        return promote(self.registry, version, **{"key": self.key, **options})

    def path(self, name: str, version: int = 2) -> Path:
        return self.folder / "income" / "versions" / str(version) / name

    def refuses(self, *kinds: type[DataopsError]) -> None:
        """It doesn't follow, says why, and answers as before."""
        before = self.handle.version
        for _ in range(2):
            with pytest.raises(kinds or (Integrity, Format)):
                self.handle.refresh()
        assert self.handle.last_error is not None
        assert self.handle.version == before
        assert self.handle.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)

    def recovers(self) -> None:
        """The next version that is good is followed."""
        good = register(self.registry, 7.0, key=self.key)
        self.promote(good.version)
        assert self.handle.refresh()
        assert self.handle.last_error is None
        assert self.handle.predict(ROWS) == pytest.approx(expected(7.0), abs=1e-6)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    key, signer = make_key(tmp_path / "keys")
    trust = Trust(signers=(signer,))
    registry = make_registry(tmp_path / "models", trust)
    register(registry, 1.0, key=key)
    promote(registry, 1, key=key)
    with opened(tmp_path / "models", trust=trust, state=tmp_path / "state") as handle:
        yield Place(tmp_path / "models", registry, key, signer, handle)
    assert list(work.iterdir()) == [], "code in a model ran"
    assert not list(tmp_path.rglob(f"{CANARY}*"))


def publish(place: Place, package: Package, files: Mapping[str, bytes] = {}) -> None:
    """The next version, in good order: every file listed with its digest, signed, promoted by a signed move."""
    store, number = place.registry.store, max(place.registry.numbers("income")) + 1
    held = {**files_of(package), **files}
    manifest = manifest_of(package, held, model="income", version=number, at=AT)
    assert store.put_if_absent(f"income/versions/{number}/{CLAIM}", b"{}")
    for name, data in held.items():
        assert store.put_if_absent(f"income/versions/{number}/{name}", data)
    put_signature(store, Signed(model="income", version=number, manifest=digest_bytes(manifest)), place.key, at=AT)
    assert store.put_if_absent(f"income/versions/{number}/{MANIFEST}", manifest)
    place.promote(number)


# signed, and evil


@pytest.mark.parametrize("model_format", MODEL_FILES)
def test_a_signed_pickle_under_the_name_of_a_model_is_refused(place: Place, model_format: str) -> None:
    publish(place, replace(make_package("evil"), model_format=model_format, model=PICKLE))
    place.refuses(Format)
    place.recovers()


@pytest.mark.parametrize("name", ["program.json", "metrics.json", "golden.json", "reference.json"])
def test_a_signed_pickle_in_place_of_a_record_is_refused(place: Place, name: str) -> None:
    publish(place, make_package("evil"), {name: PICKLE})
    place.refuses()
    place.recovers()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("card.md", PICKLE),
        ("metrics.json", encode_record("metrics", 1, {"other": {}})),
        ("program.json", encode_record("feature-program", 1, {"program": 1})),
        ("program.json", encode_record("feature-program", 1, {"other": {}})),
        ("golden.json", encode_record("golden", 1, {"rows": [[1]]})),
        ("program.json", b"[" * 100_000),
    ],
)
def test_a_signed_file_that_holds_something_else_is_refused(place: Place, name: str, data: bytes) -> None:
    publish(place, make_package("evil"), {name: data})
    place.refuses(Integrity, Format)
    place.recovers()


@pytest.mark.parametrize("name", ["model.pkl", "__init__.py"])
def test_a_signed_file_of_another_name_is_refused_by_who_promotes(place: Place, name: str) -> None:
    with pytest.raises(Integrity, match="lists"):
        publish(place, make_package("evil"), {name: PICKLE})
    assert not place.handle.refresh()
    place.recovers()


def skops_file(content: Any, members: Mapping[str, bytes]) -> bytes:
    out = BytesIO()
    schema = {"__class__": "LogisticRegression", "__module__": "sklearn.linear_model._logistic", **content}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", json.dumps({"protocol": 2, "_skops_version": "0.16.0", **schema}))
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def call(module: str, name: str, loader: str) -> dict[str, Any]:
    return {"__module__": module, "__class__": name, "__loader__": loader, "__id__": 1, "content": f"touch {CANARY}"}


def estimator(content: Any) -> dict[str, Any]:
    return {"__loader__": "ObjectNode", "__id__": 9, "content": content}


EMPTY: dict[str, Any] = {"__module__": "builtins", "__class__": "dict", "__loader__": "DictNode", "content": {}}


def lying_bomb(declared: int) -> bytes:
    """A zip file whose list of members says that one has `declared` bytes; it has sixteen million."""
    data = bytearray(skops_file(estimator(EMPTY), {"0.npy": bytes(1 << 24)}))
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<I", declared)
    return bytes(data)


SKOPS: dict[str, Callable[[], bytes]] = {
    "os.system": lambda: skops_file(call("posix", "system", "FunctionNode"), {}),
    "os.system in a part": lambda: skops_file(estimator(call("os", "system", "FunctionNode")), {}),
    "partial": lambda: skops_file(call("functools", "partial", "PartialNode"), {}),
    "partial in a part": lambda: skops_file(estimator(call("functools", "partial", "PartialNode")), {}),
    "an old protocol": lambda: skops_file({**call("posix", "system", "FunctionNode"), "protocol": 0}, {}),
    "an unknown protocol": lambda: skops_file({**estimator(EMPTY), "protocol": 99}, {}),
    "no protocol": lambda: skops_file({**estimator(EMPTY), "protocol": "x"}, {}),
    "a zip bomb that says so": lambda: lying_bomb(0xFFFFFFF0),
    "a zip bomb that says less": lambda: lying_bomb(100),
    "traversal": lambda: skops_file(estimator(EMPTY), {f"../{CANARY}": b"x", f"/{CANARY}": b"x"}),
    "traversal in an array's name": lambda: skops_file(
        estimator({**call("numpy", "ndarray", "NdArrayNode"), "type": "numpy", "file": f"../{CANARY}"}),
        {f"../{CANARY}": PICKLE},
    ),
    "a pickle for an array": lambda: skops_file(
        estimator({**call("numpy", "ndarray", "NdArrayNode"), "type": "numpy", "file": "0.npy"}), {"0.npy": PICKLE}
    ),
    "a schema that never ends": lambda: skops_file(estimator(json.loads("[" * 900 + "]" * 900)), {}),
}


@pytest.mark.parametrize("made", SKOPS.values(), ids=SKOPS)
def test_a_signed_skops_file_that_would_do_more_is_refused(place: Place, made: Callable[[], bytes]) -> None:
    pytest.importorskip("skops.io", reason="the extra skops isn't installed")
    publish(place, replace(make_package("evil"), model_format=SKLEARN, model=made()))
    place.refuses(Format)
    place.recovers()


def test_a_signed_model_that_answers_otherwise_than_it_promised_is_refused(place: Place) -> None:
    good = place.registry.read("income", 1).package
    publish(place, replace(good, model=good.model.replace(b"1.0", b"1.5")))
    place.refuses(Integrity)
    place.recovers()


def test_a_signed_version_of_a_format_or_size_that_the_reader_does_not_take_is_refused_unread(place: Place) -> None:
    small = Trust(signers=(place.signer,), max_model_bytes=100_000, formats=frozenset({LINEAR}))
    with opened(place.folder, trust=small) as handle:
        publish(place, replace(make_package("large"), model=b" " * 200_000))
        with pytest.raises(Integrity, match="takes at most 100000"):
            handle.refresh()
        publish(place, replace(make_package("other"), model_format=BOOSTED, model=PICKLE))
        with pytest.raises(Format, match="which its reader doesn't take"):
            handle.refresh()
        assert handle.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)


def ruin(begin: int, end: int) -> dict[str, int]:
    """How many mutated models had which verdict; each is parsed and called, all in one process."""
    command = [sys.executable, "-m", "tests.registry.ruined", str(begin), str(end)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=250)
    said = [line.split() for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"mutation {begin + len(said)} killed its process ({done.returncode})"
    assert [int(number) for number, _ in said] == list(range(begin, end))
    verdicts = [one for _, one in said]
    return {one: verdicts.count(one) for one in set(verdicts)}


def test_mutated_trees_are_refused_or_answer_as_before() -> None:
    found = ruin(0, 60)
    assert found["refused"] > 20


@pytest.mark.faults
def test_a_thousand_mutated_trees_are_refused_or_answer_as_before() -> None:
    found = ruin(1000, 2000)
    assert found["refused"] > 400


# tampered with, without a key


def flipped(place: Place, name: str) -> None:
    path = place.path(name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def swapped(place: Place, name: str) -> None:
    path, other = place.path(name), place.path(name, 1)
    data = other.read_bytes()
    path.unlink()
    path.write_bytes(data)


def linked(place: Place, name: str) -> None:
    path = place.path(name)
    shutil.move(path, place.folder.parent / "elsewhere")
    path.symlink_to(place.folder.parent / "elsewhere")


FILES = ("program.json", "model.json", "metrics.json", "card.md", "golden.json", MANIFEST)


def missing(place: Place, name: str) -> None:
    place.path(name).unlink()


SAME = {"program.json", "metrics.json", "card.md"}
"""Files that both versions have alike."""


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (how, name)
        for how in (flipped, swapped, linked, missing)
        for name in FILES
        if how is not swapped or name not in SAME
    ],
)
def test_a_file_that_was_changed_exchanged_taken_away_or_linked_is_refused(
    place: Place, how: Callable[[Place, str], None], name: str
) -> None:
    register(place.registry, 2.0, key=place.key)
    place.promote(2)
    how(place, name)
    place.refuses(DataopsError)
    if how is linked:  # who writes there refuses to go on too
        place.path(name).unlink()
    place.recovers()


@pytest.mark.parametrize("name", ["evil.pkl", "__init__.py", "signatures/evil.py", "model.json.bak", "sub/model.json"])
def test_a_file_more_is_refused(place: Place, name: str) -> None:
    register(place.registry, 2.0, key=place.key)
    place.promote(2)
    place.path(name).parent.mkdir(exist_ok=True)
    place.path(name).write_bytes(PICKLE)
    place.refuses(Integrity)
    place.recovers()


@pytest.mark.parametrize("how", ["renamed", "copied", "linked", "of another model"])
def test_a_folder_under_another_name_is_refused(place: Place, how: str) -> None:
    register(place.registry, 2.0, key=place.key)
    register(place.registry, 3.0, key=place.key)
    place.promote(3)
    two, three = place.path("", 2), place.path("", 3)
    shutil.rmtree(three)
    if how == "renamed":
        two.rename(three)
    elif how == "copied":
        shutil.copytree(two, three)
    elif how == "linked":
        three.symlink_to(two)
    else:
        other = place.registry.register("delay", make_package("delay"), at=AT, key=place.key)
        shutil.copytree(place.folder / "delay" / "versions" / str(other.version), three)
    place.refuses(DataopsError)
    if how != "linked":
        place.recovers()


def signed_by_another(place: Place, number: int = 2) -> tuple[SigningKey, Signer]:
    return make_key(place.folder.parent / f"keys-{number}", number=number)


def test_a_version_and_a_move_by_nobody_or_by_a_key_that_is_not_trusted_are_refused(place: Place) -> None:
    eve, _ = signed_by_another(place)
    writer = Registry(place.registry.store)  # asks for nothing, as who writes the folder by hand
    for key in (None, eve):
        version = register(writer, 2.0 if key is None else 3.0, key=key)
        promote(writer, version.version, key=place.key)
        place.refuses(Integrity)
    promote(writer, 1, key=eve)
    place.refuses(Integrity)
    promote(writer, 1)
    place.refuses(Integrity)
    place.recovers()


def test_a_version_signed_by_a_revoked_key_is_refused(place: Place, tmp_path: Path) -> None:
    lost, signer = signed_by_another(place)
    revoked = replace(signer, revoked=AT)
    trust = Trust(signers=(place.signer, revoked))
    version = register(Registry(place.registry.store), 2.0, key=lost)
    with opened(place.folder, trust=trust) as handle:
        promote(Registry(place.registry.store), version.version, key=place.key)
        with pytest.raises(Integrity, match="revoked"):
            handle.refresh()
        promote(Registry(place.registry.store), 1, key=lost)
        with pytest.raises(Integrity, match="revoked"):
            handle.refresh()
        assert handle.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)
    place.refuses(Integrity)


def moves_of(place: Place) -> Path:
    return place.folder / "income" / "aliases" / "champion"


def test_a_move_that_was_edited_or_put_in_again_is_refused(place: Place) -> None:
    register(place.registry, 2.0, key=place.key)
    place.promote(2)
    place.promote(1, kind=MoveKind.ROLLED_BACK)
    assert place.handle.refresh()
    entries = sorted(moves_of(place).iterdir())
    old = json.loads(entries[1].read_bytes())  # "promoted version 2", signed in good order
    again = moves_of(place) / f"{4:010d}.json"
    again.write_bytes(entries[1].read_bytes())
    place.refuses(Integrity)
    fields = {name: value for name, value in old.items() if name not in ("format", "digest")}
    fields |= {"number": 4, "previous": json.loads(entries[2].read_bytes())["digest"]}
    again.unlink()
    again.write_bytes(encode_record("alias", 1, {**fields, "digest": digest(fields)}))
    place.refuses(Integrity)
    fields["body"] = {**fields["body"], "generation": 4, "previous": fields["previous"]}
    again.unlink()
    again.write_bytes(encode_record("alias", 1, {**fields, "digest": digest(fields)}))
    place.refuses(Integrity)


@pytest.mark.parametrize("restarted", [False, True])
def test_an_older_copy_of_the_registry_is_not_followed(place: Place, tmp_path: Path, restarted: bool) -> None:
    register(place.registry, 2.0, key=place.key)
    place.promote(2)
    older = shutil.copytree(place.folder, tmp_path / "older")  # every signature in it is good
    place.promote(1, kind=MoveKind.ROLLED_BACK)
    assert place.handle.refresh()
    shutil.rmtree(place.folder)
    shutil.copytree(older, place.folder)
    place.refuses(Integrity)
    if restarted:
        with (
            pytest.raises(Integrity, match="generation 3 was seen before"),
            opened(place.folder, trust=place.registry.trust, state=tmp_path / "state"),
        ):
            pass
    register(place.registry, 3.0, key=place.key)
    place.promote(3)  # another generation 3 than the one that was seen
    place.refuses(Integrity)


def test_a_registry_that_is_gone_or_empty_stops_nobody(place: Place) -> None:
    shutil.move(place.folder, place.folder.with_name("away"))
    place.refuses(NotFound)
    place.folder.mkdir()
    place.refuses(NotFound)
    place.folder.rmdir()
    shutil.move(place.folder.with_name("away"), place.folder)
    place.recovers()
