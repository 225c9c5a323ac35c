from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataops.declarations.promotion import Promotion
from dataops.errors import Conflict, Integrity, InvalidInput, NotFound
from dataops.promotion.evidence import Sources
from dataops.promotion.findings import Called, Measured
from dataops.promotion.override import Override, override_of, parse_override, tell_ended
from dataops.promotion.promote import promote
from dataops.promotion.verdict import verdict_key
from dataops.records import digest_bytes
from dataops.registry.aliases import current, history, move, resolve
from dataops.registry.rollback import rollback
from dataops.registry.tombstones import Tombstone, mark
from dataops.registry.trust import Trust
from dataops.registry.versions import Registry
from dataops.storage.journal import Journal
from dataops.storage.objects import MemoryStore, PosixStore
from tests.registry.examples import AT, make_key, make_metrics, make_package
from tests.storage.faulty import MODES, Crash, FaultyStore, Mode, crash_points

RULES = Promotion.model_validate(
    {
        "model": "income",
        "rules": [{"metric": "roc_auc", "minimum": 0.85}, {"metric": "roc_auc", "max_loss": 0.005}],
    }
)


def register(registry: Registry, roc_auc: float, run: str = "run") -> int:
    package = make_package(f"{run}-{roc_auc}", make_metrics(roc_auc=roc_auc))
    return registry.register("income", package, at=AT).version


def callable_(*_) -> Called:
    """What a version in these tests says, whose model is made up, instead of being loaded."""
    return Called(rows=16, seconds=0.1, memory_mb=1.0)


def unread(**sources) -> Sources:
    return Sources(**{"call": callable_, **sources})


def promoted(registry: Registry, version: int, **options):
    options = {"promotion": RULES, "actor": "ada", "reason": "spring data", "clock": lambda: AT, **options}
    options.setdefault("sources", unread())
    return promote(registry, "income", version, **options)


@pytest.fixture
def registry():
    return Registry(MemoryStore())


def verdicts(registry: Registry) -> list[dict]:
    keys = registry.store.list("income/verdicts")
    pages, records = ([key for key in keys if key.endswith(end)] for end in (".md", ".json"))
    assert [page[:-3] for page in pages] == [record[:-5] for record in records]
    return [json.loads(registry.store.get(key)) for key in records]


def test_a_version_that_passes_becomes_the_champion_and_the_alias_names_its_verdict(registry):
    result = promoted(registry, register(registry, 0.9))
    assert result.moved
    assert resolve(registry, "income").version == 1
    moved = current(registry, "income")
    assert moved == result.move
    data = registry.store.get(f"{verdict_key('income', moved.verdict_digest)}.json")
    assert digest_bytes(data) == moved.verdict_digest == result.verdict_digest
    record = json.loads(data)
    assert (record["passed"], record["champion"], record["actor"]) == (True, None, "ada")
    assert record["judged_at"] == "2026-01-31T12:00:00.000000Z"
    assert record["promotion"]["rules"][0]["minimum"] == 0.85


def test_a_refusal_names_each_limit_leaves_a_verdict_and_moves_nothing(registry):
    promoted(registry, register(registry, 0.9))
    with pytest.raises(Conflict) as refusal:
        promoted(registry, register(registry, 0.84))
    message = str(refusal.value)
    assert "income@2 is not promoted to champion: 2 of 2 limits failed" in message
    assert "rule 1, roc_auc on holdout: 0.84, at least 0.85" in message
    assert "rule 2, roc_auc on holdout: 0.84, may lose 0.005 against the champion (to 0.895)" in message
    assert [m.version for m in history(registry, "income")] == [1]
    [refused] = [record for record in verdicts(registry) if not record["passed"]]
    assert refused["champion"]["version"] == 1
    assert [(f["value"], f["bound"], f["champion"], f["outcome"]) for f in refused["findings"]] == [
        (0.84, 0.85, 0.9, "failed"),
        (0.84, 0.9 - 0.005, 0.9, "failed"),
    ]
    page = message.rpartition("verdict: ")[2]
    assert "is not promoted" in registry.store.get(page).decode()


def test_the_champion_is_compared_by_value_and_by_number(registry):
    promoted(registry, register(registry, 0.9))
    promoted(registry, register(registry, 0.896))
    assert [m.version for m in history(registry, "income")] == [1, 2]
    with pytest.raises(Conflict):
        promoted(registry, register(registry, 0.89))


def test_without_rules_it_is_refused_and_the_verdict_says_why(registry):
    with pytest.raises(Conflict, match="not gated, so not promoted"):
        promoted(registry, register(registry, 0.99), promotion=Promotion(model="income", rules=()))
    assert verdicts(registry)[0]["reasons"] == ["no rules: not gated, so not promoted"]
    assert current(registry, "income") is None


def test_promoting_the_champion_again_changes_nothing(registry):
    version = register(registry, 0.9)
    first = promoted(registry, version)
    again = promoted(registry, version)
    assert not again.moved
    assert again.move == first.move
    assert len(list(history(registry, "income"))) == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"promotion": Promotion(model="delay", rules=())}, InvalidInput),
        ({"actor": ""}, InvalidInput),
        ({"reason": "  "}, InvalidInput),
        ({"alias": "../x"}, InvalidInput),
        ({"alias": "7"}, InvalidInput),
        ({"version": 9}, NotFound),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_verdict(registry, options, error):
    version = register(registry, 0.9)
    with pytest.raises(error):
        promoted(registry, **{"version": version, **options})
    assert registry.store.list("income/verdicts") == registry.store.list("income/aliases") == []


def test_a_broken_candidate_is_never_promoted(registry):
    version = register(registry, 0.9)
    registry.store.delete("income/versions/1/model.json")
    with pytest.raises(Integrity):
        promoted(registry, version)
    assert current(registry, "income") is None


def test_a_broken_champion_is_not_a_missing_one(registry):
    promoted(registry, register(registry, 0.9))
    registry.store.delete("income/versions/1/metrics.json")
    with pytest.raises(Conflict, match="the champion can't be read"):
        promoted(registry, register(registry, 0.99))
    absolute = Promotion(model="income", rules=RULES.rules[:1])
    assert promoted(registry, 2, promotion=absolute).moved


def against_the_gates(**changes):
    given = {"why": "the old one is unfair", "until": AT + timedelta(days=30), **changes}
    return Override(**given)


def test_a_person_promotes_against_the_gates_and_what_failed_stays_visible(registry):
    promoted(registry, register(registry, 0.9))
    result = promoted(registry, register(registry, 0.84), override=against_the_gates())
    assert (result.moved, result.overridden, result.verdict.passed) == (True, True, False)
    moved = current(registry, "income")
    assert (moved.version, moved.actor) == (2, "ada")
    assert moved.reason == "spring data (against its gates until 2026-03-02: the old one is unfair)"
    (record,) = [record for record in verdicts(registry) if record["override"]]
    assert record["passed"] is False
    assert record["override"] == {
        "by": "ada",
        "why": "the old one is unfair",
        "until": "2026-03-02T12:00:00.000000Z",
    }
    assert [finding["outcome"] for finding in record["findings"]] == ["failed", "failed"]
    page = registry.store.get(f"{verdict_key('income', moved.verdict_digest)}.md").decode()
    assert page.startswith("# income version 2 is promoted against its gates to champion\n")
    assert "- **Overridden by:** ada, until 2026-03-02: the old one is unfair\n" in page
    assert "## What failed\n\n- rule 1, roc_auc on holdout: 0.84, at least 0.85\n" in page
    assert override_of(registry, moved) == against_the_gates()


def test_a_rollback_to_a_version_that_was_promoted_against_its_gates_shows_that(registry):
    promoted(registry, register(registry, 0.9))
    promoted(registry, register(registry, 0.5), override=against_the_gates())
    promoted(registry, register(registry, 0.95))
    back = rollback(registry, "income", actor="bob", reason="slow")
    assert (back.version, back.verdict_digest) == (2, None)
    assert override_of(registry, back) == against_the_gates()
    again = rollback(registry, "income", actor="bob", reason="worse")
    assert (again.version, override_of(registry, again)) == (1, None)


def test_an_override_that_ended_is_told_with_what_to_do(registry):
    promoted(registry, register(registry, 0.9))
    moved = promoted(registry, register(registry, 0.5), override=against_the_gates()).move
    end = AT + timedelta(days=30)
    assert tell_ended(registry, moved, now=end) is None
    told = tell_ended(registry, moved, now=end + timedelta(seconds=1))
    assert told.startswith("income@2 was promoted against its gates until 2026-03-02, which is over")
    promoted(registry, register(registry, 0.95))
    assert tell_ended(registry, current(registry, "income"), now=end + timedelta(days=9)) is None


def test_an_override_that_nobody_needed_is_not_recorded(registry):
    result = promoted(registry, register(registry, 0.9), override=against_the_gates())
    assert not result.overridden
    assert [record["override"] for record in verdicts(registry)] == [None]
    assert override_of(registry, result.move) is None


@pytest.mark.parametrize(
    "changes",
    [{"why": " "}, {"until": AT}, {"until": AT - timedelta(days=1)}, {"until": AT + timedelta(days=400)}],
)
def test_an_override_says_why_and_ends_within_a_year(registry, changes):
    with pytest.raises(InvalidInput, match="an override"):
        promoted(registry, register(registry, 0.1), override=against_the_gates(**changes))
    assert registry.store.list("income/verdicts") == registry.store.list("income/aliases") == []


def test_without_rules_a_person_may_promote_too(registry):
    nothing = Promotion(model="income", rules=())
    result = promoted(registry, register(registry, 0.9), promotion=nothing, override=against_the_gates())
    assert result.overridden
    assert verdicts(registry)[0]["reasons"] == ["no rules: not gated, so not promoted"]


def test_nobody_promotes_what_is_not_whole(registry):
    version = register(registry, 0.9)
    registry.store.delete("income/versions/1/model.json")
    with pytest.raises(Integrity):
        promoted(registry, version, override=against_the_gates())
    assert current(registry, "income") is None


def test_a_verdict_that_was_changed_is_no_override(registry):
    moved = promoted(registry, register(registry, 0.1), override=against_the_gates()).move
    key = f"{verdict_key('income', moved.verdict_digest)}.json"
    data = registry.store.get(key)
    registry.store.delete(key)
    assert override_of(registry, moved) is None
    registry.store.put_if_absent(key, data.replace(b"2026-03-02", b"2036-03-02"))
    assert override_of(registry, moved) is None


@pytest.mark.parametrize(
    ("why", "until", "message"),
    [
        ("x", None, "why and until when"),
        (None, "2026-12-31", "why and until when"),
        ("x", "31.12.2026", "is no day"),
        ("x", "2026-02-30", "is no day"),
    ],
)
def test_an_override_is_written_with_why_and_a_day(why, until, message):
    with pytest.raises(InvalidInput, match=message):
        parse_override(why, until, now=AT)


def test_an_override_holds_to_the_end_of_its_day():
    assert parse_override(None, None, now=AT) is None
    assert parse_override("x", "2026-12-31", now=AT).until == datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert parse_override("x", "30d", now=AT).until == datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC)


def test_a_champion_whose_move_nobody_signed_is_no_champion_to_compare_with(tmp_path):
    key, signer = make_key(tmp_path / "keys")
    registry = Registry(MemoryStore(), Trust(signers=(signer,)))
    for figure in (0.9, 0.91):
        package = make_package(f"run-{figure}", make_metrics(roc_auc=figure))
        registry.register("income", package, at=AT, key=key)
    forged = move(Registry(registry.store), "income", "champion", 1, actor="eve", reason="mine")
    with pytest.raises(Conflict, match="the champion can't be read \\(generation 1"):
        promoted(registry, 2, key=key)
    with pytest.raises(
        Conflict, match="the champion can't be read"
    ):  # nor is the version that it names its own champion
        promoted(registry, 1, key=key)
    impact = Promotion.model_validate({"model": "income", "rules": [{"impact": {"job": "compared", "max_flipped": 1}}]})
    with pytest.raises(Conflict, match="the champion can't be read"):  # nor one that a run may be compared with
        promoted(registry, 2, key=key, promotion=impact, sources=unread(impact=impact_of_nothing))
    absolute = Promotion(model="income", rules=RULES.rules[:1])
    again = promoted(registry, 1, promotion=absolute, key=key)  # the very version that the forged move names
    assert again.moved
    assert (current(registry, "income"), again.move.trusted) == (again.move, True)
    assert again.move.generation == forged.generation + 1


def impact_of_nothing(*_) -> Measured:
    return Measured(run="compared-1", figures={"rows": 1000, "flipped_up": 0.0, "flipped_down": 0.0})


def test_a_version_that_is_marked_to_be_deleted_is_not_promoted(registry):
    version = register(registry, 0.9)
    stone = Tombstone(model="income", version=version, digest="sha256:", at=AT, actor="bob")
    mark(registry.store, stone)
    with pytest.raises(Conflict, match=r"income@1 is to be deleted since .*model pin income@1"):
        promoted(registry, version)
    assert verdicts(registry) == []


def test_a_version_that_is_marked_while_it_is_judged_is_not_promoted(registry):
    version = register(registry, 0.9)
    stone = Tombstone(model="income", version=version, digest="sha256:", at=AT, actor="bob")
    times = iter([AT])

    def clock() -> datetime:
        mark(registry.store, stone)
        return next(times)  # it is judged once: who tries for ever fails here

    with pytest.raises(Conflict, match="income@1 is to be deleted since"):
        promoted(registry, version, clock=clock)


def test_a_version_that_was_exchanged_while_it_was_judged_is_not_promoted(registry):
    register(registry, 0.9)
    other = Registry(MemoryStore())
    register(other, 0.1)

    def figures(loaded):
        for key in registry.store.list("income/versions/1"):
            registry.store.delete(key)
        for key in other.store.list("income/versions/1"):
            registry.store.put_if_absent(key, other.store.get(key))
        return loaded.package.metrics

    with pytest.raises(Integrity, match="income@1 is no longer what was decided on"):
        promoted(registry, 1, sources=unread(figures=figures))
    assert current(registry, "income") is None


def test_without_a_key_nothing_is_promoted_where_readers_ask_for_signatures(tmp_path):
    key, signer = make_key(tmp_path / "keys")
    registry = Registry(MemoryStore(), Trust(signers=(signer,)))
    registry.register("income", make_package("run", make_metrics(roc_auc=0.9)), at=AT, key=key)
    with pytest.raises(Integrity, match="no signing key here"):
        promoted(registry, 1, override=against_the_gates())
    assert current(registry, "income") is None


def test_no_run_is_looked_at_unless_a_rule_asks(registry):
    def never(*_):
        raise AssertionError("nobody asked")

    promoted(registry, register(registry, 0.9), sources=unread(impact=never))
    promoted(registry, register(registry, 0.91), sources=unread(impact=never))


def test_a_version_is_called_under_the_limits_of_the_rules_or_else_under_the_defaults(registry):
    asked = []

    def call(_, limits):
        asked.append(limits.seconds)
        return callable_()

    promoted(registry, register(registry, 0.9), sources=unread(call=call))
    limited = Promotion.model_validate(
        {"model": "income", "rules": [{"metric": "roc_auc", "minimum": 0.5}, {"callable": {"seconds": 7}}]},
        strict=False,
    )
    promoted(registry, register(registry, 0.91), sources=unread(call=call), promotion=limited)
    assert asked == [30, 7]


GATED = [[{"metric": "roc_auc", "minimum": 0.5}], [{"metric": "roc_auc", "minimum": 0.5}, {"callable": {}}], []]


@pytest.mark.parametrize("rules", GATED, ids=["no callable rule", "a callable rule", "no rule"])
def test_nobody_promotes_a_version_that_cannot_be_called(registry, rules):
    promotion = Promotion.model_validate({"model": "income", "rules": rules}, strict=False)
    killed = unread(call=lambda *_: Called(failed="it killed the process that loaded it: SIGSEGV"))
    version = register(registry, 0.9)
    for override in (None, against_the_gates()):
        with pytest.raises(Conflict, match=r"(?s)can't be loaded and called, which no override changes.*SIGSEGV"):
            promoted(registry, version, promotion=promotion, sources=killed, override=override)
    assert current(registry, "income") is None
    assert {record["override"] for record in verdicts(registry)} == {None}


@pytest.mark.parametrize("rules", GATED, ids=["no callable rule", "a callable rule", "no rule"])
def test_a_limit_that_a_call_missed_refuses_and_a_person_may_know_better(registry, rules):
    promotion = Promotion.model_validate({"model": "income", "rules": rules}, strict=False)
    slow = unread(call=lambda *_: Called(missed="it hadn't predicted its golden rows after 30 seconds"))
    version = register(registry, 0.9)
    with pytest.raises(Conflict, match="after 30 seconds"):
        promoted(registry, version, promotion=promotion, sources=slow)
    result = promoted(registry, version, promotion=promotion, sources=slow, override=against_the_gates())
    assert (result.moved, result.overridden) == (True, True)
    page = registry.store.get(f"{verdict_key('income', result.verdict_digest)}.md").decode()
    assert "after 30 seconds" in page


def test_a_version_of_an_earlier_release_has_no_golden_rows_and_a_rule_about_calling_says_so(registry):
    older = unread(call=lambda *_: Called(rows=16, seconds=0.1, memory_mb=1.0, compared=False))
    version = register(registry, 0.9)
    ruled = Promotion.model_validate({"model": "income", "rules": GATED[1]}, strict=False)
    with pytest.raises(Conflict, match="no golden rows"):
        promoted(registry, version, promotion=ruled, sources=older)
    assert promoted(registry, version, sources=older).moved


def test_figures_may_come_from_a_fresh_evaluation_of_both(registry):
    promoted(registry, register(registry, 0.9))
    fresh = {1: make_metrics(roc_auc=0.86, rows=50), 2: make_metrics(roc_auc=0.87, rows=50)}
    promoted(registry, register(registry, 0.5), sources=unread(figures=lambda loaded: fresh[loaded.version.version]))
    assert resolve(registry, "income").version == 2


def test_a_version_of_another_target_is_not_better_than_the_champion(registry):
    for figure, target in ((0.9, "income > 50"), (0.99, "income > 0")):
        package = make_package("run", make_metrics(roc_auc=figure))
        package = replace(package, lineage={**package.lineage, "target": target})
        registry.register("income", package, at=AT)
    promoted(registry, 1)
    with pytest.raises(
        Conflict, match=r"1 of 2 limits failed\n.*predicts something else \(income > 50, here income > 0"
    ):
        promoted(registry, 2)


def test_a_champion_that_changed_in_between_is_judged_against_anew(registry):
    for figure in (0.9, 0.95, 0.91):
        register(registry, figure)
    promoted(registry, 1)
    rivals = iter([2])

    def figures(loaded):
        if loaded.version.version == 1:  # somebody promotes version 2 while version 3 is compared with version 1
            for rival in rivals:
                move(registry, "income", "champion", rival, actor="bob", reason="faster")
        return loaded.package.metrics

    with pytest.raises(Conflict, match="may lose"):
        promoted(registry, 3, sources=unread(figures=figures))
    assert [m.version for m in history(registry, "income")] == [1, 2]
    passed_then_failed = [(r["champion"]["version"], r["passed"]) for r in verdicts(registry) if r["version"] == 3]
    assert sorted(passed_then_failed) == [(1, True), (2, False)]


@pytest.mark.parametrize("mode", MODES)
def test_a_crash_at_any_storage_operation_leaves_the_old_or_the_new_champion(mode: Mode):
    def attempt(fail_at: int) -> bool:
        registry = Registry(MemoryStore())
        promoted(registry, register(registry, 0.9))
        version = register(registry, 0.91)
        dying = FaultyStore(registry.store, fail_at, mode)
        with suppress(Crash):
            promoted(Registry(dying), version)
        assert [m.version for m in history(registry, "income")] in ([1], [1, 2])
        promoted(registry, version)
        moves = list(history(registry, "income"))
        assert [m.version for m in moves] == [1, 2]
        assert all(f"{verdict_key('income', m.verdict_digest)}.json" in registry.store.list("") for m in moves)
        return dying.fault.operations >= fail_at

    crash_points(attempt, at_least=15)


def register_and_promote_ten(root: Path, writer: int) -> list[str]:
    registry = Registry(PosixStore(root))
    return [promoted(registry, register(registry, 0.9, f"{writer}-{run}")).move.version_digest for run in range(10)]


def test_processes_that_promote_at_once_lose_nothing(tmp_path):
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        digests = [one for made in pool.map(register_and_promote_ten, [tmp_path] * 4, range(4)) for one in made]
    registry = Registry(PosixStore(tmp_path))
    moves = list(history(registry, "income"))
    assert [m.generation for m in moves] == list(range(1, 41))
    assert sorted(m.version_digest for m in moves) == sorted(digests) == sorted(set(digests))
    assert Journal(registry.store, "income/aliases/champion", "alias").verify() == []
    judged = {
        digest_bytes(registry.store.get(key)): json.loads(registry.store.get(key)) for key in verdict_keys(registry)
    }
    for before, after in zip([None, *moves], moves, strict=False):
        champion = judged[after.verdict_digest]["champion"]
        assert (champion and champion["generation"]) == (before and before.generation)


def verdict_keys(registry: Registry) -> list[str]:
    return [key for key in registry.store.list("income/verdicts") if key.endswith(".json")]
