"""Heartbeats: what is served, said by who serves it; and what `dataops model deployed` makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from dataops.cli.main import main
from dataops.errors import DataopsError, Format, InvalidInput, Storage
from dataops.records import now_utc
from dataops.registry.heartbeats import Heartbeat, converged, heartbeat_key, read_heartbeats, served_versions
from dataops.runtime.beating import Beating
from dataops.storage.objects import MemoryStore, PosixStore, Store
from tests.runtime.examples import AT, ROWS, expected, make_registry, opened, promote, register


@pytest.fixture
def models(tmp_path: Path) -> Path:
    registry = make_registry(tmp_path / "registry")
    for number in (1, 2, 3):
        register(registry, float(number))
    promote(registry, 1)
    return tmp_path / "registry"


def beats_of(models: Path) -> list[Heartbeat]:
    return read_heartbeats(make_registry(models).store, "income")


def make_beat(number: int = 1) -> Heartbeat:
    return Heartbeat(
        app="shop",
        host="web-1",
        process=f"{number:012x}",
        model="income",
        alias="champion",
        version=2,
        version_digest="sha256:" + "0" * 64,
        generation=4,
        since=AT,
        at=AT,
        every=60.0,
        error=None,
    )


def put_beat(store: Store, beat: Heartbeat, number: int = 1) -> None:
    key = heartbeat_key(beat.app, beat.host, beat.process, number)
    assert store.put_if_absent(f"income/heartbeats/{key}", beat.to_bytes())


def test_a_process_says_what_it_serves_and_takes_it_back_at_its_end(models: Path) -> None:
    with opened(models, app="shop") as model:
        (beat,) = beats_of(models)
        assert (beat.app, beat.version, beat.generation, beat.error) == ("shop", 1, 1, None)
        promote(make_registry(models), 2)
        model.refresh()
        (beat,) = beats_of(models)
        assert (beat.version, beat.generation) == (2, 2)
        assert len(list((models / "income/heartbeats").rglob("*.json"))) == 1
    assert beats_of(models) == []


def test_what_goes_wrong_is_said_and_the_version_that_serves_on(models: Path) -> None:
    (models / "income/versions/3/model.json").unlink()
    with opened(models, app="shop") as model:
        promote(make_registry(models), 3)
        with pytest.raises(DataopsError):
            model.refresh()
        (beat,) = beats_of(models)
        assert beat.version == 1
        assert beat.error is not None
        assert "model.json of income version 3 is missing" in beat.error


def test_nothing_is_said_again_that_did_not_change(models: Path) -> None:
    with opened(models, app="shop") as model:
        (before,) = (models / "income/heartbeats").rglob("*.json")
        model.refresh()
        assert list((models / "income/heartbeats").rglob("*.json")) == [before]


def test_a_clock_that_is_put_back_silences_nobody(models: Path) -> None:
    with opened(models) as model:
        beating = Beating(str(models), "income", "champion", "shop", every=60.0)
        for now in (AT + timedelta(days=365), AT, AT + timedelta(seconds=30)):
            beating.beat(model.serving, None, now=now)
    (beat,) = beats_of(models)
    assert (beat.at, beating.failure) == (AT, None)


def test_where_nothing_can_be_written_the_application_serves_without_a_heartbeat(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_url: str) -> Store:
        raise Storage("this mount can only be read")

    monkeypatch.setattr("dataops.runtime.beating.open_store", refuse)
    with opened(models, app="shop") as model:
        assert model.predict(ROWS) == pytest.approx(expected(1.0), abs=1e-6)
        assert isinstance(model.heartbeat_error, Storage)
        assert model.last_error is None


@pytest.mark.parametrize("link", ["income/heartbeats", "income"])
def test_heartbeats_are_not_written_where_a_link_leads_out_of_the_registry(
    models: Path, tmp_path: Path, link: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with opened(models) as model:
        beating = Beating(str(models), "income", "champion", "shop", every=60.0)
        if (models / link).exists():
            (models / link).rename(tmp_path / "before")
        (models / link).symlink_to(elsewhere)
        beating.beat(model.serving, None, now=AT)
    assert isinstance(beating.failure, InvalidInput)
    assert "symbolic link" in str(beating.failure)
    assert list(elsewhere.iterdir()) == []


def test_a_heartbeat_comes_back_as_it_was_written() -> None:
    beat = make_beat()
    assert Heartbeat.from_bytes(beat.to_bytes()) == beat
    with pytest.raises(Format):
        Heartbeat.from_bytes(b'{"format":"dataops/heartbeat/1"}')


def test_the_last_heartbeat_of_each_process_holds_and_what_is_none_is_passed_over() -> None:
    store = MemoryStore()
    put_beat(store, replace(make_beat(), version=1), 9)
    put_beat(store, make_beat(), 10)
    put_beat(store, replace(make_beat(2), version=3))
    store.put_if_absent(f"income/heartbeats/shop@web-2/{3:012x}-{1:010d}.json", b"no record")
    store.put_if_absent(f"income/heartbeats/shop@web-2/{4:012x}-{1:010d}.json", b"x" * 9000)
    store.put_if_absent("income/heartbeats/other", replace(make_beat(), model="other").to_bytes())
    assert [(beat.process[-1], beat.version) for beat in read_heartbeats(store, "income")] == [("1", 2), ("2", 3)]
    assert served_versions(read_heartbeats(store, "income"), after=AT) == {2, 3}
    assert served_versions(read_heartbeats(store, "income"), after=AT + timedelta(seconds=1)) == set()


def test_what_an_application_may_write_keeps_nobody_from_the_others_heartbeats(tmp_path: Path) -> None:
    store = PosixStore(tmp_path)
    put_beat(store, make_beat())
    for number, every in ((5, float("inf")), (6, float("nan")), (7, 1e300), (8, True)):
        record = json.loads(make_beat(number).to_bytes()) | {"every": every}
        store.put_if_absent(f"income/heartbeats/shop@web-2/{number:012x}-{1:010d}.json", json.dumps(record).encode())
    folder = tmp_path / "income/heartbeats"
    (folder / "elsewhere").symlink_to(tmp_path)
    (folder / f"shop@web-1/{9:012x}-{1:010d}.json").symlink_to("/dev/zero")
    (beat,) = read_heartbeats(store, "income")
    assert (beat, beat.silent(AT)) == (make_beat(), False)


def test_a_promotion_has_converged_when_all_who_are_heard_serve_it() -> None:
    new, old = make_beat(1), replace(make_beat(2), generation=3)
    soon, late = AT + timedelta(seconds=90), AT + timedelta(seconds=200)
    assert converged([new], alias="champion", generation=4, now=soon)
    assert not converged([new, old], alias="champion", generation=4, now=soon)
    assert not converged([replace(new, error="Integrity: ...")], alias="champion", generation=4, now=soon)
    assert converged([new, old], alias="champion", generation=4, now=late)
    assert old.silent(late)
    assert not old.silent(soon)


def test_deployed_shows_who_serves_what_and_whether_all_do(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dataops.yaml").write_text(f"storage: storage\nregistry: {models}\n")
    monkeypatch.chdir(tmp_path)

    def deployed(*words: str) -> str:
        result = CliRunner().invoke(main, ["model", "deployed", "income", *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert "no application says" in deployed()
    with opened(models, app="shop") as model:
        assert "is served by all 1" in deployed()
        promote(make_registry(models), 2)
        said = json.loads(deployed("--json"))
        assert (said["version"], said["converged"]) == ("income@2", False)
        assert [(one["application"], one["version"], one["state"]) for one in said["applications"]] == [
            ("shop", "income@1", "behind")
        ]
        model.refresh()
        assert json.loads(deployed("--json"))["converged"] is True
    put_beat(make_registry(models).store, replace(make_beat(), at=now_utc() - timedelta(days=1)))
    assert "silent" in deployed()
