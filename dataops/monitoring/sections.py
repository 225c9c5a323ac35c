"""What a report says, section by section: a run's figures as values that charts and tables show alike.

1. Pure: the same figures give the same sections. Figures of a run that failed or goes on lack results; what isn't there
   isn't shown, and nothing is guessed.
2. Every row that was read is shown under what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dataops.declarations.inputs import INPUT
from dataops.declarations.metrics import Task
from dataops.monitoring import wording

Figures = Mapping[str, Any]

FAILED = "failed"  # seldom: shown where there are any
OUTCOMES: Mapping[str, str] = {
    "passed": "passed",
    "filtered_by_policy": "filtered by policy",
    "filtered_by_job": "filtered by the job",
    "dropped": "dropped",
    "quarantined": "quarantined",
    FAILED: "couldn't be scored",
}
_BROKEN = "broken:"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigure:
    """One number of the strip at the top."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of the run that ended; names are told apart where a resumed run did a phase again."""

    name: str
    seconds: float
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Rows that one thing became of; `outcome` is a key of `OUTCOMES`."""

    outcome: str
    label: str
    rows: int
    share: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One input of the run: what was asked of it, what governance decided, what became of its rows.

    Attributes
    ----------
    read : rows read; None where the run didn't get that far.
    shares : of `read`, by outcome; they add up to it.
    broken : rule id -> rows that broke it (a row may break several).
    """

    name: str
    figures: Figures
    read: int | None
    shares: tuple[Share, ...]
    broken: Mapping[str, int]
    receipts_root: str | None

    @property
    def title(self) -> str:
        """``census_1995, read to evaluate``."""
        return f"{self.figures['dataset']}, read to {self.figures['purpose']}"

    def rows(self, *outcomes: str) -> int:
        """Rows of the given outcomes together."""
        return sum(share.rows for share in self.shares if share.outcome in outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """What governance decided, once for all readings that it decided alike."""

    readings: tuple[Reading, ...]
    masked: tuple[tuple[str, str], ...]
    denied: tuple[str, ...]
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Rows by score, in equal bins of 0 to 1; `positive` are the rows at one half or above.

    Of a regression rows by decile of its predictions, of a clustering by cluster, and no positive ones: None.
    """

    bins: tuple[tuple[str, int], ...]
    rows: int
    positive: int | None
    by: str = "score"


def phases(figures: Figures) -> tuple[Phase, ...]:
    """The phases that ended, in order."""
    seen: dict[str, int] = {}
    result = []
    for phase in figures["phases"]:
        name = phase["phase"]
        seen[name] = seen.get(name, 0) + 1
        shown = name if seen[name] == 1 else f"{name} (attempt {seen[name]})"
        result.append(Phase(name=shown, seconds=phase["seconds"], failed=phase["outcome"] == "failed"))
    return tuple(result)


def readings(figures: Figures) -> tuple[Reading, ...]:
    """The inputs, the one that the job names first."""
    # records are canonical JSON, sorted by key: the order for people is put back here
    inputs = sorted(figures["inputs"], key=lambda given: given["name"] != INPUT)
    return tuple(_reading(given, figures["reads"].get(given["name"])) for given in inputs)


def _reading(given: Figures, read: Figures | None) -> Reading:
    counts: Mapping[str, int] = (read or {}).get("counts", {})
    rows = counts.get("read")
    shares = [
        Share(outcome=name, label=label, rows=counts.get(name, 0), share=wording.percent(counts.get(name, 0), rows))
        for name, label in OUTCOMES.items()
        if rows is not None and (name != FAILED or counts.get(name))
    ]
    broken = {name.removeprefix(_BROKEN): n for name, n in counts.items() if name.startswith(_BROKEN)}
    root = (read or {}).get("receipts_root")
    return Reading(
        name=given["name"], figures=given, read=rows, shares=tuple(shares), broken=broken, receipts_root=root
    )


def governance(figures: Figures) -> tuple[Governance, ...]:
    """What governance decided, in the order of the inputs."""
    groups: dict[tuple[tuple[Any, ...], ...], list[Reading]] = {}
    for reading in readings(figures):
        masked = tuple((one["column"], one["mask"]) for one in reading.figures["masked"])
        decided = (masked, tuple(reading.figures["denied"]), tuple(reading.figures["filters"]))
        groups.setdefault(decided, []).append(reading)
    return tuple(
        Governance(readings=tuple(group), masked=masked, denied=denied, filters=filters)
        for (masked, denied, filters), group in groups.items()
    )


def scores(figures: Figures) -> Scores | None:
    """The distribution of scores; None where nothing was scored."""
    counts = figures["result"].get("scores")
    if not counts:
        return None
    if figures["result"].get("task") == Task.REGRESSION:
        deciles = tuple((f"decile {number}", rows) for number, rows in enumerate(counts, 1))
        return Scores(bins=deciles, rows=sum(counts), positive=None, by="decile")
    if figures["result"].get("task") == Task.CLUSTERS:
        clusters = tuple((f"cluster {number}", rows) for number, rows in enumerate(counts))
        return Scores(bins=clusters, rows=sum(counts), positive=None, by="cluster")
    edges = [number / len(counts) for number in range(len(counts) + 1)]
    names = [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)]
    positive = sum(rows for low, rows in zip(edges, counts, strict=False) if low >= 0.5)
    return Scores(bins=tuple(zip(names, counts, strict=True)), rows=sum(counts), positive=positive)


def unknown_categories(figures: Figures) -> tuple[tuple[str, int | None], ...]:
    """Columns with categories that the model doesn't know, and in how many rows; most rows first, then those of too few
    rows (or of all but too few) to say.
    """
    counts = figures["result"].get("unknown_categories", {})
    found = ((name, rows) for name, rows in counts.items() if rows != 0)
    return tuple(sorted(found, key=lambda pair: (-(pair[1] or 0), pair[0])))


def key_figures(figures: Figures) -> tuple[KeyFigure, ...]:
    """The strip at the top: rows and time."""
    known = [reading for reading in readings(figures) if reading.read is not None]
    seconds = sum(phase.seconds for phase in phases(figures))
    linked = figures.get("linked_rows", 0)
    rows = sum(reading.read or 0 for reading in known) - linked  # these cost this run no time
    shown = _FIGURES.get(figures["kind"], _row_figures)(figures, known)
    if seconds:
        shown.append(KeyFigure(label="time", value=wording.duration(seconds), note="in all phases"))
    if seconds and rows > 0:
        note = f"without {wording.count(linked)} scored before" if linked else ""
        shown.append(KeyFigure(label="rows per second", value=wording.count(rows / seconds), note=note))
    return tuple(shown)


def _row_figures(figures: Figures, known: Sequence[Reading]) -> list[KeyFigure]:
    read = sum(reading.read or 0 for reading in known)
    passed, aside, filtered = (
        sum(reading.rows(*outcomes) for reading in known)
        for outcomes in (("passed",), ("dropped", "quarantined", FAILED), ("filtered_by_policy", "filtered_by_job"))
    )
    if not known:
        planned = sum(given["rows"] for given in figures["inputs"])
        return [KeyFigure(label="rows planned", value=wording.count(planned))]
    return [
        KeyFigure(label="rows read", value=wording.count(read)),
        KeyFigure(
            label="scored" if figures["kind"] == "rescore" else "passed",
            value=wording.count(passed),
            note=wording.percent(passed, read),
        ),
        KeyFigure(label="filtered", value=wording.count(filtered), note=wording.percent(filtered, read)),
        KeyFigure(label="set aside", value=wording.count(aside), note=wording.percent(aside, read)),
    ]


def _train_figures(figures: Figures, known: Sequence[Reading]) -> list[KeyFigure]:
    versions = figures["result"].get("versions", ())
    learned = [reading for reading in known if reading.name == INPUT]
    judged = [reading for reading in known if reading.name != INPUT]
    shown = [
        KeyFigure(label=label, value=wording.count(sum(reading.rows("passed") for reading in some)))
        for label, some in (("rows learned from", learned), ("rows judged on", judged))
        if some
    ]
    if versions:
        shown.append(KeyFigure(label="candidates", value=wording.count(len(versions)), note="all registered"))
    return shown or _row_figures(figures, known)


def _evaluate_figures(figures: Figures, known: Sequence[Reading]) -> list[KeyFigure]:
    told = figures["result"].get("realised")
    if told is None:
        return _row_figures(figures, known)
    share = wording.percent(told["judged"], told["scored"])
    return [
        KeyFigure(label="rows scored", value=wording.count(told["scored"])),
        KeyFigure(label="outcomes known", value=wording.count(told["outcomes"])),
        KeyFigure(label="judged", value=wording.count(told["judged"]), note=share),
    ]


_FIGURES = {"train": _train_figures, "evaluate": _evaluate_figures}


def digests(figures: Figures) -> tuple[tuple[str, str], ...]:
    """What the run can be checked against, as (what, digest)."""
    found = [(f"code, dataops {figures['code']['version']}", figures["code"]["digest"])]
    for given in readings(figures):
        role = f"{given.figures['dataset']} ({given.name})"
        found += [(f"policy for {role}", given.figures["policy"]), (f"effect on {role}", given.figures["effect"])]
        if given.receipts_root:
            found.append((f"receipts of {role}", given.receipts_root))
    model = figures["result"].get("model")
    if isinstance(model, Mapping):
        found.append((f"model {model['model']}@{model['version']}", model["digest"]))
    for version in figures["result"].get("versions", ()):
        if "digest" in version:
            name = version.get("model", figures["result"].get("model"))
            found.append((f"model {name}@{version['version']}", version["digest"]))
    return tuple(found)
