"""The end of an override is told wherever its version came back, whatever became of the key that signed it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from dataops.promotion.override import tell_ended
from dataops.registry.aliases import last_move, move, resolve
from dataops.registry.rollback import rollback
from dataops.registry.trust import Trust
from dataops.registry.versions import Registry
from dataops.registry.vouching import vouch
from dataops.storage.objects import MemoryStore
from tests.registry.examples import AT, make_key, make_package, put_verdict

TAKEN = {"why": "agreed", "by": "ada", "until": "2026-02-01T23:59:59.000000Z"}
LATER = AT + timedelta(days=30)


def test_the_end_of_an_override_outlives_the_key_that_signed_its_promotion(tmp_path: Path) -> None:
    old, signer = make_key(tmp_path)
    new, newer = make_key(tmp_path, AT + timedelta(hours=1), number=2)
    registry = Registry(MemoryStore(), Trust(signers=(signer, newer)))
    signed = {"actor": "ada", "reason": "spring", "key": old, "at": AT}
    for number, changes in ((1, {"passed": False, "override": TAKEN}), (2, {})):
        registry.register("income", make_package(f"run-{number}"), at=AT, key=old)
        verdict = put_verdict(registry, number, **changes)
        move(registry, "income", "champion", number, verdict_digest=verdict, **signed)
    vouch(registry, rollback(registry, "income", **signed), actor="bob", key=new)
    registry.sign("income", 1, new, at=AT + timedelta(hours=1))
    revoked = Registry(registry.store, Trust(signers=(replace(signer, revoked=AT), newer)))
    assert resolve(revoked, "income").version == 1
    for reader in (registry, revoked):
        last = last_move(reader, "income")
        assert "income@1 was promoted against its gates until 2026-02-01" in str(tell_ended(reader, last, now=LATER))


def test_what_nobody_signed_hides_no_override(tmp_path: Path) -> None:
    key, signer = make_key(tmp_path)
    registry = Registry(MemoryStore(), Trust(signers=(signer,)))
    signed = {"actor": "ada", "reason": "spring", "key": key, "at": AT}
    for number, changes in ((1, {"passed": False, "override": TAKEN}), (2, {})):
        registry.register("income", make_package(f"run-{number}"), at=AT, key=key)
        verdict = put_verdict(registry, number, **changes)
        move(registry, "income", "champion", number, verdict_digest=verdict, **signed)
    move(Registry(registry.store), "income", "champion", 1, actor="eve", reason="as if no gate had said no")
    back = rollback(registry, "income", **signed)
    assert (back.version, tell_ended(registry, back, now=LATER)) == (2, None)
    last = rollback(registry, "income", **signed)
    assert last.version == 1
    assert tell_ended(registry, last, now=LATER) is not None
