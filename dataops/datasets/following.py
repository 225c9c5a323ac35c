"""Following: which of the files that arrived a run takes, so that the rows of each are scored exactly once. Deciding is
pure; what runs took is read back from the runs that were published.

1. A file is taken by the run whose manifest is part of the output and whose record lists it; that record is put before
   the run begins, names the run before it, and is named by the manifest by its digest. So what was taken is what was
   published, whoever died in between.
2. A run is added to its output only right behind the run that it saw as the last one (`snapshot.publish_snapshot`): of
   two that took the same files one is published, the other publishes nothing.
3. *Repeated*: size and footer of a file that was taken, or is taken now, under another name, and the same bytes if both
   are still there, unchanged; else size and footer must do. Skipped, unless the job says otherwise.
4. *Changed*: a path that was taken, with another size, time or footer by now. Its rows stay as they were scored, and it
   is named at every look: who delivers rows again gives the file another name.
5. *Late*: the time in its folder's name lies more than the allowed lateness below the newest that was taken before this
   look. What becomes of it is the job's to say.
6. What was skipped isn't noted down: each look decides anew, so a rule that is changed holds from the next look on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from dataops.datasets.arrivals import Arrived, Waits
from dataops.datasets.snapshot import Fragment
from dataops.datasets.source import HIVE_NULL
from dataops.declarations.follow import Late, Repeated
from dataops.errors import Integrity, InvalidInput, NotFound
from dataops.records import Record, decode_record, digest_bytes, encode_record
from dataops.storage.disk import hide_values
from dataops.storage.objects import Store

MICROSECONDS = 1_000_000
SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a job says of files that aren't simply new.

    Attributes
    ----------
    watermark : partition column whose values are times, and the Arrow type that its contract gives them; None: no file
        is late.
    lateness_seconds : how far below the newest time that was taken a file may lie.
    """

    repeated: Repeated = Repeated.SKIP
    late: Late = Late.SCORE
    watermark: tuple[str, pa.DataType] | None = None
    lateness_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Files by what becomes of them, each in exactly one of these; `late` are also among `new` if they are scored."""

    new: tuple[Fragment, ...]
    before: tuple[Fragment, ...]
    repeated: tuple[Fragment, ...]
    changed: tuple[Fragment, ...]
    late: tuple[Fragment, ...]

    def counts(self, arrived: Arrived) -> dict[str, int]:
        """Files by what becomes of them."""
        return {
            "files": len(self.new),
            "rows": sum(one.rows for one in self.new),
            "before": len(self.before),
            "waiting": len(arrived.waiting),
            "repeated": len(self.repeated),
            "changed": len(self.changed),
            "late": len(self.late),
        }

    def named(self, arrived: Arrived) -> dict[str, tuple[str, ...]]:
        """Some of the files that need a look, as messages may say them."""
        found = {
            str(reason): [hide_values(path) for path, why in arrived.waiting.items() if why is reason]
            for reason in (Waits.UNFINISHED, Waits.UNNAMED)
        }
        found |= {
            "changed": [one.shown for one in self.changed],
            "late": [one.shown for one in self.late],
            "repeated": [one.shown for one in self.repeated],
        }
        return {what: tuple(names[:SHOWN]) for what, names in found.items() if names}


def sort_arrivals(
    fragments: Sequence[Fragment],
    taken: Sequence[Fragment],
    rules: Rules,
    *,
    same_bytes: Callable[[Fragment, Fragment], bool],
) -> Sorted:
    """`fragments` by what becomes of them.

    Parameters
    ----------
    taken : what runs that are part of the output took.
    same_bytes : whether two files of one size and footer are the same; also where one of them is gone.
    """
    by_path = {one.path: one for one in taken}
    looks: dict[tuple[int, str], list[Fragment]] = {}
    for one in taken:
        looks.setdefault(_look(one), []).append(one)
    mark = _newest(taken, rules)
    found: dict[str, list[Fragment]] = {name: [] for name in Sorted.__dataclass_fields__}
    for one in fragments:
        if one.path in by_path:
            found["before" if _is_unchanged(one, by_path[one.path]) else "changed"].append(one)
            continue
        if any(same_bytes(one, other) for other in looks.get(_look(one), ())):
            found["repeated"].append(one)
            if rules.repeated is Repeated.SKIP:
                continue
        if mark is not None and (time := _time(one, rules)) is not None and time < mark:
            found["late"].append(one)
            if rules.late is not Late.SCORE:
                continue
        found["new"].append(one)
        looks.setdefault(_look(one), []).append(one)
    return Sorted(**{name: tuple(some) for name, some in found.items()})


def _look(one: Fragment) -> tuple[int, str]:
    """What two files with the same content have in common, as far as footers tell."""
    return one.size_bytes, one.digest


def _is_unchanged(now: Fragment, then: Fragment) -> bool:
    """Whether a file is as it was taken; one with a new time may hold other rows behind the same footer."""
    return _look(now) == _look(then) and then.modified_ns in (None, now.modified_ns)


def _newest(taken: Sequence[Fragment], rules: Rules) -> float | None:
    times = [time for one in taken if (time := _time(one, rules)) is not None]
    return max(times) - rules.lateness_seconds if times else None


def _time(one: Fragment, rules: Rules) -> float | None:
    """The time in the folder's name, in seconds since 1970; None where there is none."""
    if rules.watermark is None:
        return None
    column, kind = rules.watermark
    text = dict(one.partition).get(column)
    if text is None or text == HIVE_NULL:
        return None
    try:
        micros = pa.array([text], pa.string()).cast(kind).cast(pa.timestamp("us")).cast(pa.int64())[0].as_py()
    except pa.ArrowException:
        raise InvalidInput(f"{one.shown}: the value of '{column}' in its folder's name is no {kind}") from None
    return float(micros) / MICROSECONDS


def spell_counts(counts: Mapping[str, int]) -> str:
    """`Sorted.counts` for people: ``2 new files (80 rows), 1 waiting``."""
    files = f"{counts['files']:,} new file{'s' * (counts['files'] != 1)} ({counts['rows']:,} rows)"
    others = [f"{counts[what]:,} {what}" for what in ("waiting", "repeated", "changed", "late") if counts.get(what)]
    return ", ".join([files, *others])


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one run takes, with the run that it goes on from; its record isn't for readers: paths hold values.

    Attributes
    ----------
    previous : the run before it, and the digest of that one's record; None for the first.
    counts : of its look, see `Sorted.counts`.
    named : some of the files that it doesn't take or that are late, without values, by what became of them.
    """

    dataset: str
    previous: tuple[str, str] | None
    fragments: tuple[Fragment, ...]
    counts: Mapping[str, int]
    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The stored record."""
        body: dict[str, Any] = {
            "dataset": self.dataset,
            "previous": list(self.previous) if self.previous else None,
            "fragments": [fragment.record() for fragment in self.fragments],
            "counts": dict(self.counts),
            "named": {what: list(names) for what, names in self.named.items()},
        }
        return encode_record("followed", 1, body)

    @classmethod
    def from_bytes(cls, data: bytes) -> Taken:
        """What was stored in `data`."""
        body = decode_record(data, "followed", 1)
        previous = body["previous"]
        return cls(
            dataset=body["dataset"],
            previous=(previous[0], previous[1]) if previous else None,
            fragments=tuple(Fragment.from_record(one) for one in body["fragments"]),
            counts=body["counts"],
            named={what: tuple(names) for what, names in body["named"].items()},
        )

    def lineage(self) -> Record:
        """What the run's manifest says of it."""
        return {"previous": self.previous[0] if self.previous else None, "record": digest_bytes(self.to_bytes())}


def taken_key(run: str) -> str:
    """The key of what `run` takes: beside its plan, which isn't for readers either."""
    return f"plans/{run}/followed.json"


def read_taken(store: Store, run: str, record_digest: str | None = None) -> Taken:
    """What `run` takes.

    Raises
    ------
    Integrity : its record is gone, or isn't the one of `record_digest`: nobody knows what was scored then.
    """
    try:
        data = store.get(taken_key(run))
    except NotFound:
        raise Integrity(_lost(run, "is gone")) from None
    if record_digest is not None and digest_bytes(data) != record_digest:
        raise Integrity(_lost(run, "isn't the one that the run was published with"))
    return Taken.from_bytes(data)


def _lost(run: str, what: str) -> str:
    return (
        f"the record of the files that run {run} took {what}: nothing can be added without scoring files twice. Put it "
        "back from a copy, or follow into another output"
    )


def read_chain(store: Store, run: str, record_digest: str) -> Iterator[Taken]:
    """What `run` took, and every run before it."""
    found = read_taken(store, run, record_digest)
    yield found
    while found.previous is not None:
        found = read_taken(store, *found.previous)
        yield found
