"""Pages whose commands are typed and whose answers are kept true.

A page's console blocks hold commands (``$ ...``) and what they answer; a block after "Write `FILE`:" is that file.
`retyped` types a page in an empty folder and gives its text with the answers of today: a page is true if that is its
text. What differs from run to run (ids, times, digests, seconds) is written as one example of it.

``python -m tests.docs.typed docs/guides/governance.md`` writes the answers into the page.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from click.testing import CliRunner

from dataops.cli.main import main as command_line
from dataops.engine.connect import Connection
from dataops.runs.log import Lines
from dataops.scheduling.working import Result, StepCommand, parse_answer
from dataops.storage.objects import Store
from tests.compat.writing import cluster_in_process

READER = "ana"
COMMENT = re.compile(r"\s+#\s.*$")
_STEP = re.compile(r"Write `(?P<file>[^`]+)`|^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_RUN = re.compile(r"\b([a-z][a-z0-9_]*)-\d{8}t\d{6}-(s?)[0-9a-f]{6}\b")  # of a submission: s
_VERDICT = re.compile(r"\bverdicts/[0-9a-f]{64}")
_VARYING = (
    (_RUN, r"\1-20260131t120000-\g<2>1a2b3c"),
    (re.compile(r"\b(key|signer)-\d{8}t\d{12}z-([0-9a-f]{12})\b"), r"\1-20260131t120000000000z-1a2b3c4d5e6f"),
    (re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z"), "2026-01-31T12:00:00.000000Z"),
    (re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}"), "2026-01-31 12:00:00"),
    (re.compile(r"sha256:[0-9a-f]{64}"), "sha256:" + "1a2b3c4d" * 8),
    (_VERDICT, "verdicts/" + "1a2b3c4d" * 8),
    (re.compile(r"\b(until|ended) \d{4}-\d{2}-\d{2}\b"), r"\1 2026-03-02"),
    (re.compile(r"\b(since|made|at|done|failed) \d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC"), r"\1 2026-01-31 12:00 UTC"),
    (re.compile(r", \d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC: "), ", 2026-01-31 12:00 UTC: "),  # what a status is of
    (re.compile(r"\b\d+ (s|min|h) (ago|late|after)\b"), r"5 s \2"),
    (re.compile(r"\b\d+ days (ago|late)\b"), r"200 days \1"),
    (re.compile(r"\b(done|failed|changed) in \d+ (s|min)\b"), r"\1 in 5 s"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "1a2b3c4d5e6f"),  # a scheduler script
    (re.compile(r"\| [\d.e+-]+ (s|MB|ms) \|"), r"| 0.1 \1 |"),
    (re.compile(r"([a-z]|[a-z]-\d| #\d) \d+\.\d(?=,|$)", re.MULTILINE), r"\1 0.1"),
    (re.compile(r"\beffect [0-9a-f]{8}\b"), "effect 1a2b3c4d"),
    (re.compile(r"\(UTC\), on \S+ as "), "(UTC), on your-machine as "),
    (re.compile(r"http://127\.0\.0\.1:\d+/dataops"), "http://127.0.0.1:8787/dataops"),
    (re.compile(r" \d+\.\d s$", re.MULTILINE), " 0.1 s"),
    (re.compile(r"about [\d,]+ seconds of work"), "about 1 seconds of work"),
)


_AS_READER = (
    sys.executable,
    "-c",
    (
        "import pwd, runpy, sys, types\n"
        f"pwd.getpwuid = lambda _: types.SimpleNamespace(pw_name={READER!r})\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path[0] = ''\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    ),
)
"""Runs a script as `READER` types it."""


def retyped(page: Path) -> str:
    """The text of `page` with what its commands answer, typed one after the other in the present folder."""
    written, text, named = [], page.read_text(), ""
    runs: dict[str, str] = {}
    end = 0
    for step in _STEP.finditer(text):
        if step["file"]:
            named = step["file"]
        elif step["kind"] == "console":
            written += [text[end : step.start("text")], "".join(_answered(step["text"], runs))]
            end = step.end("text")
        elif named:
            Path(named).write_text(step["text"])
            named = ""
    return "".join([*written, text[end:]])


def _answered(block: str, runs: dict[str, str]) -> Iterator[str]:
    """The commands of `block`, each with its answer; a run that a command names is the job's last one in `runs`, a
    verdict the last one of all.
    """
    for line in block.splitlines():
        if line.startswith("$ "):
            command = COMMENT.sub("", line.removeprefix("$ "))
            command = _VERDICT.sub(lambda named: runs.get("", named[0]), command)
            answer = _answer(_RUN.sub(lambda run: runs.get(run[1] + run[2], run[0]), command))
            runs.update((run[1] + run[2], run[0]) for run in _RUN.finditer(answer))
            runs.update(("", verdict[0]) for verdict in _VERDICT.finditer(answer))
            yield f"{line}\n{_without_what_varies(answer)}"


def _answer(command: str) -> str:
    words = shlex.split(command)
    if words[0] == "cd":
        os.chdir(words[1])
        return ""
    if words[0] != "dataops":
        if words[0] == "python":
            words[:1] = [sys.executable] if words[1] == "-c" else _AS_READER
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout
    result = CliRunner().invoke(command_line, words[1:], prog_name="dataops")
    # progress is for whoever waits; of what fails, the message is the answer
    return result.stdout if result.exit_code == 0 else result.stdout + result.stderr[result.stderr.rfind("error: ") :]


def _without_what_varies(answer: str) -> str:
    answer = answer.replace(f"{Path.cwd()}/", "").replace(str(Path.cwd()), ".")
    for pattern, example in _VARYING:
        answer = pattern.sub(example, answer)
    return "".join(f"{line.rstrip()}\n" for line in answer.splitlines())


class StepsHere:
    """Does the steps of schedules in this process, one after the other: a process of its own for each takes seconds."""

    def __init__(self, store: Store, *_: object, **__: object) -> None:
        self._store = store

    def start(self, command: StepCommand) -> SimpleNamespace:
        called = CliRunner().invoke(command_line, command.arguments, prog_name="dataops")
        log = Lines(self._store, command.run)
        for line in called.stderr.splitlines():
            log.add(line)
        log.write()
        answer = parse_answer(called.stdout_bytes)
        error = (answer.get("error") or {}).get("message") if called.exit_code else None
        ended = Result(exit_code=called.exit_code, answer=answer, error=error)
        return SimpleNamespace(poll=lambda: ended, stop=lambda: None)


@contextmanager
def typing_here() -> Iterator[None]:
    """Commands are typed by `READER`; the jobs run on one worker in this process, those of schedules too."""
    with cluster_in_process() as connection:

        @contextmanager
        def joined(*_: object, **__: object) -> Iterator[Connection]:
            yield connection

        reader = patch("pwd.getpwuid", lambda _uid: SimpleNamespace(pw_name=READER))
        steps = patch("dataops.scheduling.script.SubprocessStarter", StepsHere)
        with reader, steps, patch("dataops.runs.execute.connect", joined):
            yield


def main(pages: list[str]) -> None:
    """Write today's answers into `pages`."""
    for page in [Path(one).resolve() for one in pages]:
        with nullcontext(Path.cwd()) as home, tempfile.TemporaryDirectory() as folder, typing_here():
            os.chdir(folder)
            text = retyped(page)
            os.chdir(home)
        page.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
