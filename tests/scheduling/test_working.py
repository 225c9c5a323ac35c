"""Steps at work: processes of their own, with their logs and answers, that end when they are told to, and with their
script.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataops.errors import Compute
from dataops.runs.log import MAX_LINE, MAX_LINES, Lines, plain_line, read_log
from dataops.scheduling import working
from dataops.scheduling.working import Result, StepCommand, SubprocessChild, SubprocessStarter, parse_answer
from dataops.storage.objects import MemoryStore
from tests.faults.driver import ROOT, alive, wait_for

RUN = "scores-20260301t010000-1a2b3c"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def start(store: MemoryStore, tmp_path: Path) -> Callable[[str], SubprocessChild]:
    """Starts a step that runs some lines of Python."""

    def begin(code: str) -> SubprocessChild:
        program = (sys.executable, "-I", "-S", "-c", textwrap.dedent(code))
        return SubprocessStarter(store, tmp_path, program=program).start(StepCommand(run=RUN, arguments=("a", "b")))

    return begin


def ended(child: SubprocessChild) -> Result:
    wait_for(lambda: child.poll() is not None, "the step ended", poll_seconds=0.01)
    result = child.poll()
    assert result is not None
    return result


class TestAStep:
    def test_answers_with_the_json_on_its_stdout(self, start: Callable[[str], SubprocessChild]) -> None:
        result = ended(start("import json, sys; print(json.dumps({'words': sys.argv[1:]}, indent=2))"))
        assert result == Result(exit_code=0, answer={"words": ["a", "b"]})

    def test_is_started_in_the_workspace_and_knows_who_started_it(
        self, start: Callable[[str], SubprocessChild], tmp_path: Path
    ) -> None:
        told = ended(
            start(
                """
                import json, os
                print(json.dumps({"at": os.getcwd(), "by": os.environ["DATAOPS_PARENT_PID"], "leads": os.getpgid(0)}))
                print()
                """
            )
        ).answer
        assert told["at"] == str(tmp_path)
        assert told["by"] == str(os.getpid())
        assert told["leads"] != os.getpgid(0)

    @pytest.mark.parametrize(
        ("error", "code", "may_pass"),
        [
            ({"family": "Storage", "message": "no answer"}, 10, True),
            ({"family": "Compute", "message": "no worker"}, 11, True),
            ({"family": "Conflict", "message": "somebody was first", "may_pass": True}, 5, True),
            ({"family": "Conflict", "message": "refused"}, 5, False),
            ({"family": "AccessDenied", "message": "no role"}, 7, False),
        ],
    )
    def test_that_fails_says_why_and_whether_it_may_pass(
        self, start: Callable[[str], SubprocessChild], error: dict[str, object], code: int, may_pass: bool
    ) -> None:
        result = ended(start(f"import sys; print({json.dumps({'error': error})!r}); sys.exit({code})"))
        assert (result.exit_code, result.error, result.may_pass) == (code, error["message"], may_pass)
        assert result.family == error["family"]

    def test_that_says_nothing_is_quoted_by_its_last_line(self, start: Callable[[str], SubprocessChild]) -> None:
        result = ended(start("import sys; print('one', file=sys.stderr); sys.exit('two')"))
        assert (result.exit_code, result.error, result.may_pass) == (1, "two", False)

    def test_that_is_killed_may_go_well_later(self, start: Callable[[str], SubprocessChild]) -> None:
        result = ended(start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
        assert (result.exit_code, result.error, result.may_pass) == (-9, "killed by SIGKILL", True)

    def test_leaves_nothing_running_behind(self, start: Callable[[str], SubprocessChild], tmp_path: Path) -> None:
        result = ended(
            start(
                """
                import json, subprocess, sys
                left = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
                print(json.dumps({"left": left.pid}))
                """
            )
        )
        left = result.answer["left"]
        wait_for(lambda: not psutil.pid_exists(left) or not alive(psutil.Process(left)), "what it left ended")

    def test_that_cannot_be_started_says_so(self, store: MemoryStore, tmp_path: Path) -> None:
        starter = SubprocessStarter(store, tmp_path, program=(str(tmp_path / "nothing"),))
        with pytest.raises(Compute, match="could not be started"):
            starter.start(StepCommand(run=RUN, arguments=()))


class TestStopping:
    def test_asks_it_to_end(self, start: Callable[[str], SubprocessChild]) -> None:
        child = start("import time; time.sleep(600)")
        child.stop()
        child.stop()
        assert ended(child).exit_code == -signal.SIGTERM

    def test_kills_what_does_not_listen(
        self, start: Callable[[str], SubprocessChild], store: MemoryStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(working, "GRACE_SECONDS", 0.2)
        child = start(
            """
            import signal, sys, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("deaf", file=sys.stderr, flush=True)
            time.sleep(600)
            """
        )
        wait_for(lambda: child._last == "deaf", "it is deaf", poll_seconds=0.01)
        child.stop()
        assert ended(child).exit_code == -signal.SIGKILL


class TestItsLog:
    def test_holds_what_it_said(self, start: Callable[[str], SubprocessChild], store: MemoryStore) -> None:
        ended(start("import sys; print('one\\x1b[31m two\\x07', file=sys.stderr); print('three', file=sys.stderr)"))
        assert [line for one in read_log(store, RUN) for line in one.lines] == ["one two", "three"]

    def test_is_a_record_for_many_lines(self, start: Callable[[str], SubprocessChild], store: MemoryStore) -> None:
        ended(start("import sys; [print(n, file=sys.stderr) for n in range(300)]"))
        records = list(read_log(store, RUN))
        assert [line for one in records for line in one.lines] == [str(number) for number in range(300)]
        assert len(records) < 10
        assert list(read_log(store, RUN, start=len(records) + 1)) == []

    def test_keeps_the_newest_of_too_many_lines_and_counts_the_others(self, store: MemoryStore) -> None:
        lines = Lines(store, RUN)
        for number in range(MAX_LINES + 7):
            lines.add(f"{number}\n")
        lines.write()
        lines.write()
        (record,) = read_log(store, RUN)
        assert (record.lost, record.lines[0], len(record.lines)) == (7, "7", MAX_LINES)

    def test_that_cannot_be_written_is_counted(self, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
        from dataops.errors import Storage

        lines, create = Lines(store, RUN), MemoryStore._create

        def fail(*_: object) -> bool:
            raise Storage("no space left")

        lines.add("lost")
        monkeypatch.setattr(MemoryStore, "_create", fail)
        lines.write()
        monkeypatch.setattr(MemoryStore, "_create", create)
        lines.add("kept")
        lines.write()
        (record,) = read_log(store, RUN)
        assert (record.lines, record.lost) == (("kept",), 1)

    def test_of_two_scripts_is_one(self, store: MemoryStore) -> None:
        for word in ("one", "two"):
            lines = Lines(store, RUN)
            lines.add(word)
            lines.write()
        assert [one.lines for one in read_log(store, RUN)] == [("one",), ("two",)]

    @pytest.mark.parametrize(
        ("line", "plain"),
        [("10 %\r50 %\r100 %\n", "100 %"), ("a\x00b\x1b]0;title\x07c", "ab]0;titlec"), ("x" * 9000, "x" * MAX_LINE)],
    )
    def test_holds_plain_lines(self, line: str, plain: str) -> None:
        assert plain_line(line) == plain


@pytest.mark.parametrize(
    ("printed", "answer"),
    [
        (b"", {}),
        (b"words", {}),
        (b"[1]", {}),
        (b'{"a": 1}', {"a": 1}),
        (b'noise\n{"a": 1}\n', {"a": 1}),
        (b"[" * 100_000, {}),
        (b'\xff{"a"', {}),
    ],
)
def test_an_answer_is_one_json_object(printed: bytes, answer: dict[str, object]) -> None:
    assert parse_answer(printed) == answer


class TestTheDeathOfItsScript:
    """The step is the command line itself, in a process that was started as steps are."""

    STEP = """
        import sys, time
        from dataops.scheduling.parent import end_with_parent
        end_with_parent()
        print("begun", file=sys.stderr, flush=True)
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            open(sys.argv[1], "w").write("interrupted")
    """
    SCRIPT = """
        import os, subprocess, sys
        step = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], start_new_session=True,
                                stderr=subprocess.PIPE, env={**os.environ, "DATAOPS_PARENT_PID": str(os.getpid())})
        step.stderr.readline()
        print(step.pid, flush=True)
        step.wait()
    """

    def test_interrupts_it(self, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        words = [sys.executable, "-c", textwrap.dedent(self.SCRIPT), textwrap.dedent(self.STEP), str(mark)]
        script = subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert script.stdout is not None
        step = psutil.Process(int(script.stdout.readline()))
        script.kill()
        script.communicate()
        wait_for(lambda: not alive(step), "the step of a dead script ended", poll_seconds=0.05)
        assert mark.read_text() == "interrupted"

    def test_before_the_step_looked_interrupts_it_too(self, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "DATAOPS_PARENT_PID": "1"}
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(self.STEP), str(mark)], env=environ, timeout=60, check=True
        )
        assert mark.read_text() == "interrupted"
        assert time.monotonic() - began < 60


def test_what_says_nothing_of_a_script_runs_on(tmp_path: Path) -> None:
    code = "from dataops.scheduling.parent import end_with_parent; import threading; end_with_parent(); "
    code += "print(threading.active_count())"
    environ = {name: value for name, value in os.environ.items() if name != "DATAOPS_PARENT_PID"}
    environ["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_a_process_that_no_thread_can_follow_is_ended_and_told_as_not_started(
    start: Callable[[str], SubprocessChild], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    class Exhausted:
        def __init__(self, **_: object) -> None:
            pass

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    class Noted(subprocess.Popen[bytes]):  # this process may have children of other tests
        def __init__(self, *given: Any, **how: Any) -> None:
            super().__init__(*given, **how)
            begun.append(self.pid)

    monkeypatch.setattr(working.threading, "Thread", Exhausted)
    monkeypatch.setattr(working.subprocess, "Popen", Noted)
    with pytest.raises(Compute, match="could not be followed: can't start new thread"):
        start("import time; time.sleep(60)")
    (pid,) = begun
    assert not psutil.pid_exists(pid)


def test_a_log_that_no_thread_can_write_is_written_at_the_end(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(working.threading.Thread, "start", refuse)
    writer = working._Writer(Lines(store, RUN))
    with writer:
        writer.add("fold 1")
    assert [record.lines for record in read_log(store, RUN)] == [("fold 1",)]
