"""Lineage walked: from events to what something was made of, and what was made of it. Pure.

1. Steps come from OpenLineage events alone: they are there when the runs, their data or their models aren't any more.
   A run that never ended made nothing.
2. A dataset is known by its name and the runs whose parts make it up, so a version that several runs made leads to
   each of them; a model version by the digest of its manifest.
3. With columns given, the walk follows these alone: a step that made none of them of an input ends there. What a model
   says is made of all its features: a feature carries over to its prediction.
4. A step is told once in a walk; where it comes up again, it says so and ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from dataops.errors import NotFound, near_match
from dataops.governance.lineage import PREDICTION_FIELD
from dataops.records import Record

DATASET, MODEL = "dataset", "model"
CATALOG = "catalog"


class Direction(StrEnum):
    """Which way to walk."""

    UP = "up"  # to what it was made of
    DOWN = "down"  # to what was made of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A dataset or model version as one step saw it.

    Attributes
    ----------
    kind : ``dataset`` or ``model``.
    number : of the snapshot, or of the model's version; None where nothing was published.
    digest : of the dataset's content, or of the version's manifest.
    columns : its names; of a model the features and the prediction.
    carries : names of the columns whose values were masked when they were made.
    runs : of a dataset, the runs whose parts make it up.
    """

    kind: str
    name: str
    number: int | None
    digest: str | None
    zone: str | None = None
    origin: str | None = None
    columns: tuple[str, ...] = ()
    carries: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    rows: int | None = None

    @property
    def reference(self) -> str:
        """How people name it: ``census@2``."""
        return self.name if self.number is None else f"{self.name}@{self.number}"

    def is_same(self, other: Place) -> bool:
        """Whether both are, at least in part, the same data or the same version."""
        if (self.kind, self.name) != (other.kind, other.name):
            return False
        return self.digest == other.digest or bool(set(self.runs) & set(other.runs))

    def record(self) -> Record:
        """As JSON."""
        body = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in body.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """That a column of an output depends on a column of an input, masked on the way or not."""

    output: str
    column: str
    input: str
    input_column: str
    masking: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A run, as its last word had it; `done` says whether it made its outputs. `readings` are those of `lineage`."""

    run: str
    job: str
    kind: str
    at: str
    done: bool
    readings: tuple[Mapping[str, Any], ...]
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    uses: tuple[Use, ...]

    def readings_of(self, place: Place) -> tuple[Mapping[str, Any], ...]:
        """How this run read `place`: none where that is a model."""
        of_dataset = [reading for reading in self.readings if reading["dataset"] == place.name]
        return tuple(of_dataset) if place.kind == DATASET else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A step between two places of a walk.

    Attributes
    ----------
    branches : upwards its inputs, downwards its outputs.
    readings : downwards, how it read the place before; of a walk that starts here, all its readings.
    again : it was told before.
    """

    step: Step
    branches: tuple[Branch, ...] = ()
    readings: tuple[Mapping[str, Any], ...] = ()
    again: bool = False

    def record(self) -> Record:
        """As JSON."""
        step = self.step
        return {
            "run": step.run,
            "job": step.job,
            "kind": step.kind,
            "at": step.at,
            "readings": [dict(reading) for reading in self.readings],
            "again": self.again,
            "places": [branch.record() for branch in self.branches],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A place of a walk and the steps that lead on from it.

    Attributes
    ----------
    columns : those that are followed, with whether the step towards the start of the walk masked them; empty where all
        are.
    readings : upwards, how the step read it: purpose, roles, policy, effect, masks.
    """

    place: Place
    columns: Mapping[str, bool] = field(default_factory=dict)
    readings: tuple[Mapping[str, Any], ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def masks(self) -> dict[str, str]:
        """Column to kind of mask, of all readings."""
        return {column: kind for reading in self.readings for column, kind in reading["masked"].items()}

    def record(self) -> Record:
        """As JSON."""
        return {
            **self.place.record(),
            "followed": dict(self.columns),
            "readings": [dict(reading) for reading in self.readings],
            "masked": self.masks,
            "steps": [link.record() for link in self.links],
        }


class Graph:
    """All steps that events tell of."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self.steps = {step.run: step for step in steps}

    @classmethod
    def of_events(cls, events: Iterable[Mapping[str, Any]]) -> Graph:
        """The graph of `events`: of each run the last event that says what it made, or else its last."""
        latest: dict[str, Mapping[str, Any]] = {}
        for event in events:
            run = event["run"]["facets"]["dataops_run"]["run"]
            if event["eventType"] == "COMPLETE" or latest.get(run, event)["eventType"] != "COMPLETE":
                latest[run] = event
        return cls(_step(event) for event in latest.values())

    def places(self) -> Iterator[Place]:
        """Every place of every step, in the order of time: what was seen last comes last."""
        for step in sorted(self.steps.values(), key=lambda step: step.at):
            yield from step.inputs
            if step.done:
                yield from step.outputs

    def find(self, name: str, number: int | None = None) -> Place:
        """The newest place called `name`, or the one of that `number`; a dataset before a model.

        Raises
        ------
        NotFound : nothing of that name or number, with the near match.
        """
        named = [place for place in self.places() if place.name == name and place.number is not None]
        found = [place for place in named if number in (None, place.number)]
        if found:
            newest = max(place.number or 0 for place in found if place.kind == found[0].kind)
            return next(place for place in reversed(found) if place.number == newest)
        if named:
            numbers = sorted({place.number or 0 for place in named})
            raise NotFound(f"lineage knows '{name}' as {', '.join(map(str, numbers))}, not as {number}")
        known = {place.name for place in self.places()} | set(self.steps)
        hint = near_match(name, known) or " No run has told any yet: run a job."
        raise NotFound(f"lineage knows nothing of '{name}'.{hint}")

    def walk(self, start: Place, direction: Direction, columns: Collection[str] | None = None) -> Branch:
        """From `start` on, as far as it goes.

        Raises
        ------
        NotFound : `start` has no such column.
        """
        if columns is not None:
            for name in columns:
                if name not in start.columns:
                    near = near_match(name, start.columns)
                    raise NotFound(f"{start.kind} '{start.reference}' has no column '{name}'.{near}")
        followed = None if columns is None else dict.fromkeys(_carried(start, direction, columns), False)
        return self._branch(Branch(place=start), direction, followed, seen=set())

    def around(self, run: str, direction: Direction) -> Link:
        """From a run on: to its inputs and beyond, or to its outputs and beyond."""
        return self._link(self.steps[run], None, direction, None, seen=set())

    def _branch(
        self, branch: Branch, direction: Direction, followed: Mapping[str, bool] | None, *, seen: set[str]
    ) -> Branch:
        steps = self._makers(branch.place) if direction is Direction.UP else self._users(branch.place)
        links = [self._link(step, branch.place, direction, followed, seen=seen) for step in steps]
        if followed is not None:
            links = [link for link in links if link.branches or link.again]
        return replace(branch, columns=followed or {}, links=tuple(links))

    def _link(
        self,
        step: Step,
        place: Place | None,
        direction: Direction,
        followed: Mapping[str, bool] | None,
        *,
        seen: set[str],
    ) -> Link:
        if step.run in seen:
            return Link(step=step, again=True)
        seen.add(step.run)
        branches = []
        for other in step.inputs if direction is Direction.UP else step.outputs:
            on = None if followed is None or place is None else _followed(step, place, other, followed, direction)
            if on != {}:
                readings = step.readings_of(other) if direction is Direction.UP else ()
                branches.append(self._branch(Branch(place=other, readings=readings), direction, on, seen=seen))
        return Link(step=step, branches=tuple(branches), readings=_told(step, place, direction))

    def _makers(self, place: Place) -> list[Step]:
        made = [step for step in self.steps.values() if step.done and any(one.is_same(place) for one in step.outputs)]
        if place.kind == DATASET:  # one that several runs made is not made by those that it was added to later
            made = [step for step in made if step.run in place.runs]
        return sorted(made, key=lambda step: step.at)

    def _users(self, place: Place) -> list[Step]:
        used = [
            step for step in self.steps.values() if step.done and any(self._reads(one, place) for one in step.inputs)
        ]
        return sorted(used, key=lambda step: step.at)

    @staticmethod
    def _reads(read: Place, place: Place) -> bool:
        # whatever a source was at the time: what was made of it is made of it
        return read.is_same(place) or (place.origin == CATALOG and (read.kind, read.name) == (DATASET, place.name))


def _told(step: Step, place: Place | None, direction: Direction) -> tuple[Mapping[str, Any], ...]:
    if place is None:
        return step.readings
    return step.readings_of(place) if direction is Direction.DOWN else ()


def _carried(start: Place, direction: Direction, columns: Collection[str]) -> Collection[str]:
    """`columns` and what of `start` itself is made of them: the prediction of a model."""
    if start.kind != MODEL or direction is Direction.UP:
        return columns
    return dict.fromkeys([*columns, PREDICTION_FIELD])


def _followed(
    step: Step, place: Place, other: Place, followed: Mapping[str, bool], direction: Direction
) -> dict[str, bool]:
    """The columns of `other` that those `followed` of `place` lead to, with whether the step masked them."""
    found: dict[str, bool] = {}
    for use in step.uses:
        near, far = (use.output, use.column), (use.input, use.input_column)
        if direction is Direction.DOWN:
            near, far = far, near
        if near[0] == place.name and near[1] in followed and far[0] == other.name:
            found[far[1]] = found.get(far[1], False) or use.masking
    return dict(sorted(found.items()))


def _step(event: Mapping[str, Any]) -> Step:
    run = event["run"]["facets"]
    return Step(
        run=run["dataops_run"]["run"],
        job=event["job"]["name"],
        kind=run["dataops_run"]["kind"],
        at=event["eventTime"],
        done=event["eventType"] == "COMPLETE",
        readings=tuple(run["dataops_policy"]["readings"]),
        inputs=tuple(_place(one) for one in event["inputs"]),
        outputs=tuple(_place(one) for one in event["outputs"]),
        uses=tuple(dict.fromkeys(use for one in event["outputs"] for use in _uses(one))),
    )


def _place(one: Mapping[str, Any]) -> Place:
    facets = one["facets"]
    columns = tuple(column["name"] for column in facets["schema"]["fields"])
    digest = facets.get("version", {}).get("datasetVersion")
    if model := facets.get("dataops_model"):
        return Place(kind=MODEL, name=one["name"], number=model["version"], digest=digest, columns=columns)
    known = facets["dataops_dataset"]
    statistics = {**one.get("inputFacets", {}), **one.get("outputFacets", {})}
    rows = next((facet["rowCount"] for facet in statistics.values() if "rowCount" in facet), None)
    return Place(
        kind=DATASET,
        name=one["name"],
        number=known["snapshot"],
        digest=digest,
        zone=known["zone"],
        origin=known["origin"],
        columns=columns,
        carries=tuple(column["name"] for column in known["columns"] if column["masks"]),
        runs=tuple(known["runs"]),
        rows=rows,
    )


def _uses(output: Mapping[str, Any]) -> Iterator[Use]:
    fields = output["facets"].get("columnLineage", {}).get("fields", {})
    for column, made in fields.items():
        for one in made["inputFields"]:
            masking = any(how["masking"] for how in one["transformations"])
            yield Use(
                output=output["name"],
                column=column,
                input=one["name"],
                input_column=one["field"],
                masking=masking,
            )
