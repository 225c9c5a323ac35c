"""What a run of the benchmark came to: phases, quality, the metric; one line of JSON, read again by later releases.

1. The metric, *dataops throughput*, is the geometric mean of the phases' rows a second, so that a phase that gets
   twice as fast counts the same, whichever it is.
2. A run that misses a check has no metric: it is invalid, and says which check.
3. Start-up (clusters, processes) is told beside the seconds of a phase, and no part of them; the end-to-end rate has it
   all.
4. How rows and seconds are counted has a number, `METRIC`: results of another one are never compared.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dataops.bench.sizes import NEW, PAST
from dataops.errors import Format
from dataops.records import canonical_bytes, decode_record, encode_record

_FORMAT = "dataops/bench-result/1"
METRIC = 2
"""How the phases' rows and seconds are counted: whoever changes that counts on. 1: rows that the jobs read."""
MADE = "generate"
COUNTED = ("load", "governed load", "prepare", "train", "rescore", "streams")
"""The phases of the metric, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A phase: `rows` done in `seconds`, after `startup_seconds`; `tries` are the seconds of each, the worst counts."""

    name: str
    rows: int
    seconds: float
    startup_seconds: float
    tries: tuple[float, ...] = ()
    runs: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / max(self.seconds, 1e-9)

    @property
    def all_seconds(self) -> float:
        """Seconds of all tries, start-up too."""
        return (math.fsum(self.tries) if self.tries else self.seconds) + self.startup_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that must hold: what was `found`, what was `asked`, in words."""

    name: str
    found: str
    asked: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run. `data`, `cluster`, `machine`, `versions` and `code` say what was measured, by name; `metric` says how it
    was counted, 1 where a result of an older release doesn't say.
    """

    measured_at: str
    scale: float
    seed: int
    streams: int
    phases: tuple[Phase, ...]
    checks: tuple[Check, ...]
    seconds: float
    data: Mapping[str, Any] = field(default_factory=dict)
    cluster: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    metric: int = 1

    @property
    def missed(self) -> tuple[Check, ...]:
        """The checks that don't hold."""
        return tuple(check for check in self.checks if not check.holds)

    @property
    def throughput(self) -> float | None:
        """Rows a second, the geometric mean of the phases in `COUNTED`; None of a run that is invalid."""
        rates = {phase.name: phase.rate for phase in self.phases}
        if self.missed or not self.checks or any(not rates.get(name) for name in COUNTED):
            return None
        return math.exp(math.fsum(math.log(rates[name]) for name in COUNTED) / len(COUNTED))

    @property
    def end_to_end(self) -> float | None:
        """Payments a second, over all seconds of the phases in `COUNTED`; None of a run that is invalid."""
        seconds = math.fsum(phase.all_seconds for phase in self.phases if phase.name in COUNTED)
        known = self.data.get("rows", {})
        payments = sum(known.get(table, 0) for table in (PAST, NEW))
        return None if self.throughput is None or not payments else payments / max(seconds, 1e-9)

    def record(self) -> dict[str, Any]:
        """The result as JSON types."""
        throughput = self.throughput
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        phases = [
            {**told, "rows_per_second": phase.rate, "in_metric": phase.name in COUNTED}
            for phase, told in zip(self.phases, plain["phases"], strict=True)
        ]
        return {
            **plain,
            "format": _FORMAT,
            "valid": throughput is not None,
            "throughput": throughput,
            "end_to_end": self.end_to_end,
            "phases": phases,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Result:
        """The result that `record` was made from.

        Raises
        ------
        Format : keys are missing, or are other than those of this version.
        """
        told = ("format", "valid", "throughput", "end_to_end")
        try:
            body = {name: value for name, value in record.items() if name not in told}
            body["phases"] = tuple(_phase(one) for one in body["phases"])
            body["checks"] = tuple(Check(**one) for one in body["checks"])
            return cls(**body)
        except (KeyError, TypeError):
            raise Format(f"expected a result of {_FORMAT}, found one with other keys") from None


def _phase(record: Mapping[str, Any]) -> Phase:
    body = {name: value for name, value in record.items() if name not in ("rows_per_second", "in_metric")}
    return Phase(**{**body, "tries": tuple(body["tries"]), "runs": tuple(body["runs"])})


def add_result(path: Path, result: Result) -> None:
    """A line more in the file of results."""
    body = {name: value for name, value in result.record().items() if name != "format"}
    line = encode_record("bench-result", 1, body) + b"\n"
    with path.open("ab") as lines:
        cut_off = lines.tell() and not path.read_bytes().endswith(b"\n")
        lines.write(b"\n" + line if cut_off else line)


def read_results(path: Path) -> tuple[list[Result], int]:
    """The results in the file, oldest first, and how many lines can't be read: cut off, or of another version."""
    found, strange = [], 0
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            found.append(Result.from_record(decode_record(line, "bench-result", 1)))
        except Format:
            strange += bool(line)
    return found, strange


def comparable(results: Sequence[Result], with_: Result) -> list[Result]:
    """Those of `results` about the same data, side by side in as many streams, counted alike."""
    wanted = _sameness(with_)
    return [one for one in results if _sameness(one) == wanted]


def _sameness(result: Result) -> bytes:
    return canonical_bytes([result.metric, result.scale, result.seed, result.streams, result.data.get("digest")])
