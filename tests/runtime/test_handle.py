"""The handle: it follows the alias, checks before it swaps, and never stops answering."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dataops.declarations.signers import add_signer
from dataops.errors import DataopsError, Format, Integrity, InvalidInput, NotFound
from dataops.models.golden import make_golden
from dataops.registry.moves import MoveKind
from dataops.registry.trust import Trust
from dataops.runtime import UNSIGNED, load
from tests.registry.examples import make_package
from tests.runtime.examples import (
    AT,
    ROWS,
    expected,
    make_key,
    make_model,
    make_registry,
    opened,
    promote,
    register,
    wait_until,
)

ALIAS = "income/aliases/champion"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A registry with three versions, the first of them champion."""
    registry = make_registry(tmp_path / "models")
    for number in (1, 2, 3):
        register(registry, float(number))
    promote(registry, 1)
    return tmp_path / "models"


def test_a_handle_answers_with_the_version_that_the_alias_names(models: Path) -> None:
    with opened(models) as model:
        answers = model.predict(ROWS)
        assert answers.dtype == np.float32
        assert answers == pytest.approx(expected(1.0), abs=1e-6)
        assert (model.version.reference, model.generation, model.last_error) == ("income@1", 1, None)


def test_arrow_frames_and_dicts_have_the_same_answers(models: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pa.Table.from_pylist(ROWS)
    with opened(models) as model:
        want = model.predict(ROWS).tolist()
        assert model.predict(table).tolist() == want
        assert model.predict(table.to_batches()[0]).tolist() == want
        assert model.predict(pandas.DataFrame(ROWS)).tolist() == want
        assert model.predict(pandas.DataFrame({**pandas.DataFrame(ROWS), "other": [object()] * 3})).tolist() == want
        assert asyncio.run(model.predict_async(ROWS)).tolist() == want
        assert model.predict([]).tolist() == []


def test_a_promotion_and_a_rollback_are_followed_when_it_looks(models: Path) -> None:
    with opened(models) as model:
        held = model.serving
        assert not model.refresh()
        promote(make_registry(models), 2)
        assert model.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)
        assert model.refresh()
        assert (model.version.version, model.generation) == (2, 2)
        assert model.predict(ROWS) == pytest.approx(expected(2.0), abs=1e-6)
        promote(make_registry(models), 1, kind=MoveKind.ROLLED_BACK)
        assert model.refresh()
        assert (model.version.version, model.generation) == (1, 3)
        assert held.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)


def test_a_promotion_is_followed_by_itself(models: Path) -> None:
    with opened(models, every=0.05) as model:
        promote(make_registry(models), 3)
        wait_until(lambda: model.version.version == 3)
        assert model.predict(ROWS) == pytest.approx(expected(3.0), abs=1e-6)


def test_threads_get_whole_answers_of_one_version_while_versions_change(models: Path) -> None:
    answers = [expected(float(number)) for number in (1, 2, 3)]
    wrong: list[object] = []
    done = threading.Event()
    with opened(models, every=0.01) as model:

        def ask() -> None:
            while not done.is_set():
                got = model.predict(ROWS)
                if not any(np.allclose(got, answer, atol=1e-6) for answer in answers):
                    wrong.append(got)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for generation in range(2, 12):
            promote(make_registry(models), generation % 3 + 1)
            wait_until(lambda wanted=generation: model.generation == wanted)  # type: ignore[misc]
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_a_version_that_answers_otherwise_than_it_promised_does_not_serve(models: Path) -> None:
    registry = make_registry(models)
    package = replace(make_package("other"), model=make_model(0.5).to_bytes())
    golden = make_golden(package.program, make_model(0.501))
    broken = registry.register("income", replace(package, golden=golden), at=AT)
    with opened(models) as model:
        promote(registry, broken.version)
        with pytest.raises(Integrity, match="answers otherwise than when it was registered"):
            model.refresh()
        assert isinstance(model.last_error, Integrity)
        assert model.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)
        promote(registry, 2)
        model.refresh()
        assert model.last_error is None
        assert model.version.version == 2


@pytest.mark.parametrize("file", ["model.json", "program.json", "golden.json", "card.md"])
def test_a_changed_file_is_found_and_the_last_good_version_serves(models: Path, file: str) -> None:
    changed = models / "income/versions/2" / file
    data = bytearray(changed.read_bytes())
    data[len(data) // 2] ^= 1
    changed.chmod(0o644)
    changed.write_bytes(data)
    with opened(models) as model:
        promote(make_registry(models), 2)
        with pytest.raises(Integrity):
            model.refresh()
        assert model.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)


def test_a_registry_that_is_away_stops_nothing(models: Path) -> None:
    with opened(models, every=0.01) as model:
        away = models.with_name("away")
        models.rename(away)
        wait_until(lambda: model.last_error is not None)
        assert model.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)
        away.rename(models)
        promote(make_registry(models), 2)
        wait_until(lambda: model.version.version == 2)
        assert model.last_error is None


def test_what_was_seen_is_not_gone_back_behind(models: Path) -> None:
    registry = make_registry(models)
    with opened(models) as model:
        promote(registry, 2)
        model.refresh()
        registry.store.delete(f"{ALIAS}/0000000002.json")
        with pytest.raises(Integrity, match="generation 2 was seen before"):
            model.refresh()
        promote(registry, 3)  # the same number, another history
        with pytest.raises(Integrity, match="history was written anew"):
            model.refresh()
        promote(registry, 1)
        with pytest.raises(Integrity, match="written anew"):
            model.refresh()
        assert model.version.version == 2


def test_what_was_seen_is_kept_over_restarts_and_for_all_processes_of_a_folder(models: Path, tmp_path: Path) -> None:
    registry, state = make_registry(models), tmp_path / "state"
    shutil.copytree(models, tmp_path / "old copy")
    promote(registry, 2)
    with opened(models, state=state) as model, opened(models, state=state) as other:
        promote(registry, 3)
        model.refresh()
        assert [path.name for path in sorted((state / "income/champion").iterdir())] == ["0000000003.json"]
        other.refresh()
    with pytest.raises(Integrity, match="generation 3 was seen before"), opened(tmp_path / "old copy", state=state):
        pass
    with opened(tmp_path / "old copy"):  # who keeps nothing can't know
        pass
    kept = state / "income/champion/0000000003.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "generation": 1}))
    with pytest.raises(Integrity, match="was altered"), opened(models, state=state):
        pass


def test_what_is_seen_is_kept_even_if_the_version_can_not_be_served(models: Path, tmp_path: Path) -> None:
    registry, state = make_registry(models), tmp_path / "state"
    with opened(models, state=state) as model:
        (models / "income/versions/3/model.json").unlink()
        promote(registry, 3)
        with pytest.raises(Integrity, match="missing"):
            model.refresh()
        assert model.version.version == 1
    assert (state / "income/champion/0000000002.json").exists()


def test_trust_must_be_said(models: Path) -> None:
    with pytest.raises(InvalidInput, match="say whom this application trusts"):
        load(models, "income")
    with pytest.raises(NotFound):
        load(models, "income", trust=models.parent / "no-signers.yaml")
    for inside in (models / "signers.yaml", models / "../models/income/signers.yaml"):
        with pytest.raises(InvalidInput, match=r"trust=.* lies in the registry"):
            load(models, "income", trust=inside)
    with pytest.raises(InvalidInput, match=r"state=.* lies in the registry"):
        load(models, "income", trust=UNSIGNED, state=models / "state")
    with pytest.raises(InvalidInput, match=r"state=.* lies in the registry"):
        load("s3://bucket/models", "income", trust=UNSIGNED, state="s3://bucket/models/income/state")


@pytest.mark.parametrize("arguments", [{"every": 0}, {"every": -1.0}, {"jitter": 2.0}])
def test_an_interval_that_can_not_be_is_refused(models: Path, arguments: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="expected seconds above 0"):
        load(models, "income", trust=UNSIGNED, **arguments)  # type: ignore[arg-type]


def test_an_unknown_model_alias_or_registry_is_said(models: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load(tmp_path / "nowhere", "income", trust=UNSIGNED)
    with pytest.raises(NotFound):
        load(models, "incomes", trust=UNSIGNED)
    with pytest.raises(NotFound, match="income@beta"):
        load(models, "income", "beta", trust=UNSIGNED)


def test_a_format_that_the_application_does_not_take_is_refused(models: Path) -> None:
    with pytest.raises(Format, match="doesn't take"):
        load(models, "income", trust=Trust(signers=None, formats=frozenset({"xgboost-ubj/1"})))


def test_only_what_trusted_keys_signed_is_followed(tmp_path: Path) -> None:
    key, signer = make_key(tmp_path / "keys")
    stranger, _ = make_key(tmp_path / "other keys", number=2)
    trust, models = Trust(signers=(signer,)), tmp_path / "models"
    registry, written_by_anyone = make_registry(models, trust), make_registry(models)
    at = AT + timedelta(hours=1)
    register(registry, 1.0, key=key, at=at)
    promote(registry, 1, key=key)
    with opened(models, trust=trust) as model:
        unsigned = register(written_by_anyone, 2.0, at=at)
        promote(written_by_anyone, unsigned.version, key=stranger)
        with pytest.raises(Integrity, match=r"not to be trusted.*`dataops model history income`"):
            model.refresh()
        promote(written_by_anyone, unsigned.version, key=key)  # the move is good, the version is not
        with pytest.raises(Integrity, match=r"it is not signed.*`dataops model sign income@2`"):
            model.refresh()
        assert model.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)
        registry.sign("income", 2, key, at=at)
        model.refresh()
        assert model.predict(ROWS) == pytest.approx(expected(2.0), abs=1e-6)
    revoked = Trust(signers=(replace(signer, revoked=AT),))
    with pytest.raises(Integrity, match="revoked"):
        load(models, "income", trust=revoked)


def test_a_key_that_is_added_or_revoked_counts_without_a_restart(tmp_path: Path) -> None:
    old, signer = make_key(tmp_path / "keys")
    new, added = make_key(tmp_path / "keys", at=AT + timedelta(minutes=1), number=2)
    models, file = tmp_path / "models", tmp_path / "signers.yaml"
    registry, at = make_registry(models), AT + timedelta(hours=1)
    register(registry, 1.0, key=old, at=at)
    register(registry, 2.0, key=new, at=at)
    promote(registry, 1, key=old)
    add_signer(tmp_path, signer)
    with opened(models, trust=file) as model:
        promote(registry, 2, key=new)
        with pytest.raises(Integrity, match=r"not in signers\.yaml"):
            model.refresh()
        add_signer(tmp_path, added)
        assert model.refresh()
        assert model.predict(ROWS) == pytest.approx(expected(2.0), abs=1e-6)
        whole = file.read_text()
        file.write_text(whole.replace("}", ", revoked: 2026-01-01}"))
        promote(registry, 1, key=old)
        with pytest.raises(Integrity, match="revoked"):
            model.refresh()
        file.unlink()
        with pytest.raises(NotFound):
            model.refresh()
        assert model.version.version == 2
        file.write_text(whole)
        assert model.refresh()
        assert model.version.version == 1


def test_an_error_that_is_kept_holds_nothing_of_what_was_read(models: Path) -> None:
    registry = make_registry(models)
    with opened(models, every=0.01) as model:
        (models / "income/versions/3/model.json").unlink()
        promote(registry, 3)
        wait_until(lambda: isinstance(model.last_error, Integrity))
        wait_until(
            lambda: model.last_error.__traceback__ is None and model.last_error.__context__.__traceback__ is None
        )


def test_a_version_without_golden_rows_is_taken(tmp_path: Path) -> None:
    registry = make_registry(tmp_path / "models")
    register(registry, 1.0, golden=False)
    promote(registry, 1)
    with opened(tmp_path / "models") as model:
        assert model.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)


def test_nothing_is_written_where_nothing_is_asked_for(models: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*")}
    with opened(models, every=0.01) as model:
        model.predict(ROWS)
        model.refresh()
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*")} == before


def test_a_closed_handle_answers_and_looks_no_more(models: Path) -> None:
    with opened(models, every=0.01) as model:
        threads = {thread.name for thread in threading.enumerate()}
        assert "dataops-income@champion" in threads
    assert "dataops-income@champion" not in {thread.name for thread in threading.enumerate()}
    assert model.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)


def test_a_handle_that_nobody_has_looks_no_more(models: Path) -> None:
    model = load(models, "income", trust=UNSIGNED, every=0.01)
    assert model.version.version == 1
    del model
    wait_until(lambda: "dataops-income@champion" not in {thread.name for thread in threading.enumerate()})


def test_the_signature_says_what_goes_in_and_what_comes_out(models: Path) -> None:
    with opened(models) as model:
        said = model.explain_signature()
    assert said["inputs"] == [{"name": "age", "type": "int64"}, {"name": "job", "type": "string"}]
    assert (said["derived"], said["only"]) == ({}, None)
    assert "probability" in said["output"]
    assert json.loads(json.dumps(said)) == said


def test_errors_of_the_runtime_are_ours(models: Path) -> None:
    with opened(models) as model, pytest.raises(DataopsError):
        model.predict([{"age": 1}])
