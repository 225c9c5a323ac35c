"""A version is called in a process of its own: what it may take, and what becomes of one that kills."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from dataops.declarations.promotion import CallableLimits, Promotion
from dataops.errors import Conflict
from dataops.models.golden import make_golden
from dataops.models.linear import LinearModel
from dataops.models.package import Package
from dataops.models.predictor import LINEAR, load_predictor
from dataops.promotion import calling
from dataops.promotion.calling import call_version
from dataops.promotion.promote import promote
from dataops.registry.versions import LoadedVersion, Registry
from dataops.storage.objects import MemoryStore
from tests.registry.examples import AT, make_package

MODEL = LinearModel(intercept=0.1, numeric=(0.2,), categorical=((0.0, 0.3, -0.3),)).to_bytes()


def package(model: bytes = MODEL, **changes: Any) -> Package:
    made = make_package()
    golden = make_golden(made.program, load_predictor(LINEAR, MODEL))
    return replace(made, **{"model": model, "golden": golden, **changes})


def loaded(given: Package) -> LoadedVersion:
    registry = Registry(MemoryStore())
    return registry.read("income", registry.register("income", given, at=AT).version)


def limits(**given: Any) -> CallableLimits:
    return CallableLimits.model_validate(given)


def test_a_version_is_loaded_and_answers_as_it_did_with_what_it_took():
    called = call_version(loaded(package()), limits(ms_per_row=100))
    assert called.failed == ""
    assert called.rows == 16
    assert 0 <= called.seconds < 30  # some machines count a processor in steps of 10 ms
    assert 0 <= called.memory_mb < 512
    assert 0 < called.ms_per_row < 1000


def test_where_the_list_has_no_peak_what_its_parent_took_is_not_the_version_s(monkeypatch):
    code = (
        "from dataops.promotion import caller\n"
        "told = caller._told_mb\n"
        "caller._told_mb = lambda name: None if name == 'VmHWM' else told(name)\n"
        "held = bytearray(b'x') * (256 << 20)\n"
        "del held\n"
        "caller.main()\n"
    )
    monkeypatch.setattr(calling, "COMMAND", (calling.COMMAND[0], "-c", code))
    called = call_version(loaded(package()), limits())
    assert called.failed == ""
    assert 0 <= called.memory_mb < 128


def test_no_module_is_taken_from_the_folder_that_it_is_called_in(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken from here')")
    monkeypatch.chdir(tmp_path)
    assert call_version(loaded(package()), limits()).failed == ""


def test_a_version_that_answers_otherwise_is_refused():
    other = LinearModel(intercept=0.9, numeric=(0.2,), categorical=((0.0, 0.3, -0.3),)).to_bytes()
    assert "answers otherwise than when it was registered" in call_version(loaded(package(other)), limits()).failed


def test_a_model_that_cannot_be_read_says_why():
    assert "model" in call_version(loaded(package(b"{}")), limits()).failed


def test_without_golden_rows_it_is_called_and_nobody_knows_what_to_expect():
    called = call_version(loaded(package(golden=None)), limits())
    assert (called.failed, called.missed, called.compared, called.rows) == ("", "", False, 16)
    assert "model" in call_version(loaded(package(b"{}", golden=None)), limits()).failed


DEATHS = {
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "it killed the process that loaded it: SIGSEGV",
    "import ctypes; ctypes.string_at(8)": "it killed the process that loaded it: SIGSEGV",
    "import os; os._exit(3)": "ended without an answer (exit 3)",
    "import signal; signal.pause()": "hadn't predicted its golden rows after 1 seconds by the clock",
    "while True: pass": "hadn't predicted its golden rows after 0.1 seconds of a processor",
    "held = bytearray(1 << 30)": "it takes more than the 64 MB that it may",
}


@pytest.mark.parametrize("deed", DEATHS, ids=["segfault", "bad read", "exit", "hangs", "spins", "memory"])
def test_a_version_that_kills_overstays_or_swells_ends_its_own_process_alone(deed, monkeypatch):
    """The caller itself runs; only loading a model is another deed."""
    code = (
        "from dataops.promotion import caller\n"
        f"def load(*_):\n    {deed}\n"
        "caller.load_predictor = load\n"
        "caller.main()\n"
    )
    monkeypatch.setattr(calling, "COMMAND", (calling.COMMAND[0], "-c", code))
    overstays = "seconds" in DEATHS[deed]
    if "clock" in DEATHS[deed]:  # the others must not end by it, however busy the machine
        monkeypatch.setattr(calling, "CLOCK_LEAST_SECONDS", 0.0)
    called = call_version(loaded(package()), limits(seconds=0.1 if overstays else 60, memory_mb=64))
    assert DEATHS[deed] in called.failed + called.missed
    assert bool(called.missed) is (overstays or deed.startswith("held"))  # the limits are missed, all else is its own


def test_seconds_are_those_of_a_processor_so_that_a_busy_machine_refuses_nothing(monkeypatch):
    """Waiting is what other work on the machine does to a process: four times the limit passes by the clock."""
    code = (
        "import time\n"
        "from dataops.promotion import caller\n"
        "load_predictor = caller.load_predictor\n"
        "def load(*given):\n    time.sleep(2)\n    return load_predictor(*given)\n"
        "caller.load_predictor = load\n"
        "caller.main()\n"
    )
    monkeypatch.setattr(calling, "COMMAND", (calling.COMMAND[0], "-c", code))
    called = call_version(loaded(package()), limits(seconds=0.5))
    assert (called.failed, called.missed) == ("", "")
    assert 0 <= called.seconds < 0.5


def test_the_process_knows_no_secret_of_this_one(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    told = """import json, os, sys
sys.stdin.buffer.read()
print(json.dumps({"failed": str(os.environ.get("AWS_SECRET_ACCESS_KEY"))}))"""
    monkeypatch.setattr(calling, "COMMAND", (calling.COMMAND[0], "-c", told))
    assert call_version(loaded(package()), limits()).failed == "None"


def answering(code: str, monkeypatch):
    """A version whose process does `code` once it was told, instead of being loaded."""
    lines = f"import json, os, sys, time\nsys.stdin.buffer.read()\n{code}"
    monkeypatch.setattr(calling, "COMMAND", (calling.COMMAND[0], "-c", lines))
    return call_version(loaded(package()), limits())


GOOD = '{"rows": 16, "seconds": 0.1, "memory_mb": 1.0, "ms_per_row": 0.1}'


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (f"print('{GOOD}')", ""),
        (f"print('{GOOD}', flush=True); os._exit(3)", "ended without an answer (exit 3)"),
        (f"print('{GOOD}', flush=True); os.abort()", "killed the process that loaded it: SIGABRT"),
        ("print('[' * 60000)", "ended without an answer"),
        ('print(\'{"rows": "16"}\')', "ended without an answer"),
        ("print('{\"seconds\": true}')", "ended without an answer"),
        ("print('{\"seconds\": NaN}')", "ended without an answer"),
        ("print('{\"seconds\": 1' + '0' * 400 + '}')", "ended without an answer"),
        ("os.kill(os.getpid(), 40); time.sleep(60)", "killed the process that loaded it: signal 40"),
        ("print('{\"compared\": 1}')", "ended without an answer"),
        ("print('{\"more\": 1}')", "ended without an answer"),
        ("while True: os.write(1, b'x' * 4096)", "more than 65536 bytes"),
    ],
)
def test_an_answer_counts_if_it_is_one_and_the_process_ended_well(code, why, monkeypatch):
    failed = answering(code, monkeypatch).failed
    assert why in failed
    assert bool(failed) is bool(why)


def test_one_that_answers_and_lingers_is_out_of_time_and_leaves_no_process(monkeypatch):
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(real(*arguments, **options))
        return started[-1]

    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(calling, "START_SECONDS", 0.0)
    monkeypatch.setattr(calling, "CLOCK_LEAST_SECONDS", 0.0)
    lines = f"import os, signal\nprint('{GOOD}', flush=True)\nos.close(1)\nsignal.pause()"
    monkeypatch.setattr(calling, "COMMAND", (calling.COMMAND[0], "-c", lines))
    assert "after 2 seconds by the clock" in call_version(loaded(package()), limits(seconds=0.2)).missed
    assert [process.returncode for process in started] == [-signal.SIGKILL]


@pytest.mark.parametrize("held", [False, True], ids=["lets go of the answer", "holds on to it"])
def test_what_it_started_ends_with_it(held, monkeypatch, tmp_path):
    """A pipe that the child alone holds is closed when it ends; the child would sleep on without anybody knowing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    watched = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    if held:
        monkeypatch.setattr(calling, "START_SECONDS", 1.0)
        monkeypatch.setattr(calling, "CLOCK_LEAST_SECONDS", 0.0)
    code = f"""
ready, told = os.pipe()
if not os.fork():
    os.open({str(pipe)!r}, os.O_WRONLY)
    {"pass" if held else "os.close(1)"}
    os.write(told, b"!")
    time.sleep(600)
os.read(ready, 1)
print('{GOOD}', flush=True)"""
    monkeypatch.setattr(
        calling, "COMMAND", (calling.COMMAND[0], "-c", f"import os, sys, time\nsys.stdin.buffer.read(){code}")
    )
    called = call_version(loaded(package()), limits(seconds=0.1))
    assert (called.failed, bool(called.missed)) == ("", held)
    os.set_blocking(watched, True)
    assert os.read(watched, 1) == b""
    os.close(watched)


def test_one_that_kills_is_refused_and_the_one_that_judges_lives(monkeypatch):
    monkeypatch.setattr(calling, "COMMAND", (calling.COMMAND[0], "-c", "import os; os.abort()"))
    registry = Registry(MemoryStore())
    version = registry.register("income", package(), at=AT).version
    rules = [{"metric": "roc_auc", "minimum": 0.5}, {"callable": {}}]
    promotion = Promotion.model_validate({"model": "income", "rules": rules}, strict=False)
    with pytest.raises(Conflict, match=r"rule 2, call: it killed the process that loaded it: SIGABRT"):
        promote(registry, "income", version, promotion=promotion, actor="ada", reason="spring")
