"""Attempts to get past the policy by way of a model: its features, slices and scores, and the cluster that makes it.

Each has a column of its own in one town, which prepares, trains and scores once under the policy and once without it.
An attempt that is refused is a job of its own under the policy, and a part of the town's jobs without.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import xgboost
from distributed import Client, Future, wait

from dataops.declarations.features import FeatureSpec
from dataops.errors import AccessDenied, DataopsError, InvalidInput
from dataops.features.fitting import asked_of, fit_encoder
from dataops.features.summary import merge
from dataops.governance.expressions import parse_expression
from dataops.runs.promotion import promote_version
from dataops.training.reading import PartContext, Selection, SummaryContext, encode_unit, summarise_unit
from tests.attacks.bypasses import Refusal
from tests.attacks.clinic import ALLOW, CLOSED, RULES, Clinic
from tests.attacks.listener import Listener, from_dask
from tests.attacks.scanner import Hit, Scanner
from tests.line.running import Line

PEOPLE = 240  # in each file
FILES = 2
OUTCOME = {"rich": "logicalType: boolean, classification: outcome"}
CUT = "{generalise: {prefix: 3}}"

Values = Callable[["Lesson", int, bool], Any]  # of a row, by its number in the file and whether it is rich


def halves(lesson: Lesson, row: int, _rich: bool) -> str:
    """Two groups; of what they are called, a mask leaves the first three letters."""
    return ("abc", "def")[row % 2] + lesson.canary


def everywhere(lesson: Lesson, _row: int, _rich: bool) -> str | int:
    return lesson.token


def of_the_hidden(lesson: Lesson, row: int, _rich: bool) -> str:
    return lesson.canary if is_minor(row) else ("baker", "smith")[row % 2]


def of_few(lesson: Lesson, row: int, _rich: bool) -> str:
    return lesson.canary if row in (3, 4) else ("baker", "smith")[row % 2]


def of_few_beside_one(lesson: Lesson, row: int, _rich: bool) -> str:
    return lesson.canary if row in (3, 4) else "baker"


def of_the_rich(lesson: Lesson, _row: int, rich: bool) -> int:
    return int(lesson.token) if rich else 5


def is_minor(row: int) -> bool:
    return row % 10 == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One attempt: a column, what it is used for, and where its canary is found without a policy.

    Attributes
    ----------
    use : key of the job that names it: numeric, categorical, slices, keep, target, weight; "" for none.
    digits : of the number that its rows hold; 0: a text. Trees hold seven digits and a bit.
    grouped : its rows may be read, figures about few of them may not.
    known : places where it is found under the policy too, and which aren't for everybody (SECURITY.md).
    """

    name: str
    values: Values
    use: str
    found: str
    mask: str = ""
    tag: str = "work"
    digits: int = 0
    grouped: bool = False
    known: str = ""
    refused: Refusal | None = None

    @property
    def column(self) -> str:
        return f"c_{hashlib.sha256(self.name.encode()).hexdigest()[:6]}"

    @property
    def canary(self) -> str:
        return f"zq7_{hashlib.sha256(self.name.encode()).hexdigest()[:10]}_vxw9"  # a name that Dask doesn't split

    @property
    def token(self) -> str | int:
        chosen = int(hashlib.sha256(self.name.encode()).hexdigest()[:12], 16)
        return 10 ** (self.digits - 1) + chosen % (6 * 10 ** (self.digits - 2)) if self.digits else self.canary


HEALTH = "sensitive.health"
DENIED = (AccessDenied, r"\(sensitive.health\): denied by rule 'health'")
PROGRAM, METRICS, CARD = r"registry/.*program\.json", r"registry/.*metrics\.json", r"registry/.*card\.md"

LESSONS = (
    Lesson(name="categories of a masked column", values=halves, use="categorical", mask=CUT, found=PROGRAM),
    Lesson(name="categories that only hidden rows have", values=of_the_hidden, use="categorical", found=PROGRAM),
    Lesson(name="categories of few rows", grouped=True, values=of_few, use="categorical", found=PROGRAM),
    Lesson(
        name="categories of a denied column",
        values=halves,
        use="categorical",
        tag=HEALTH,
        found=PROGRAM,
        refused=DENIED,
    ),
    Lesson(
        name="categories that are pseudonyms",
        values=everywhere,
        use="categorical",
        mask="{pseudonym: {domain: person}}",
        found=PROGRAM,
        refused=(InvalidInput, "is a pseudonym"),
    ),
    Lesson(
        name="categories under a constant",
        values=everywhere,
        use="categorical",
        mask="{constant: x}",
        found=PROGRAM,
        refused=(InvalidInput, "can't repeat on raw data"),
    ),
    Lesson(
        name="median and mean of a masked column",
        values=everywhere,
        use="numeric",
        mask="{generalise: {width: 1000000000000}}",
        digits=12,
        found=PROGRAM,
    ),
    Lesson(
        name="median and mean of a denied column",
        values=everywhere,
        use="numeric",
        tag=HEALTH,
        digits=12,
        found=PROGRAM,
        refused=DENIED,
    ),
    Lesson(
        name="thresholds of trees",
        values=of_the_rich,
        use="numeric",
        mask="{generalise: {width: 1000000}}",
        digits=8,
        found="trees",
    ),
    Lesson(name="slices in the metrics", values=halves, use="slices", mask=CUT, found=METRICS),
    Lesson(name="slices in the card", values=halves, use="slices", mask=CUT, found=CARD),
    Lesson(name="slices in the report", values=halves, use="slices", mask=CUT, found=r"storage/runs/.*report\.html"),
    Lesson(name="slices in events of runs", values=halves, use="slices", mask=CUT, found="storage/runs/.*events/"),
    Lesson(name="slices in what is printed", values=halves, use="slices", mask=CUT, found="printed"),
    Lesson(name="slices by a denied column", values=halves, use="slices", tag=HEALTH, found=METRICS, refused=DENIED),
    Lesson(name="slices of few rows", grouped=True, values=of_few, use="slices", found=METRICS),
    Lesson(
        name="slices by difference from the whole", grouped=True, values=of_few_beside_one, use="slices", found=METRICS
    ),
    Lesson(
        name="scores with a masked column",
        values=everywhere,
        use="keep",
        mask="redact",
        found="datasets/scores/.*cells",
    ),
    Lesson(
        name="scores with a pseudonym",
        values=everywhere,
        use="keep",
        mask="{pseudonym: {domain: person}}",
        found="datasets/scores/.*cells",
    ),
    Lesson(
        name="scores with a denied column",
        values=everywhere,
        use="keep",
        tag=HEALTH,
        found="datasets/scores/.*cells",
        refused=DENIED,
    ),
    Lesson(
        name="a target that probes a denied column",
        values=halves,
        use="target",
        tag=HEALTH,
        found="ready/.*cells",
        refused=DENIED,
    ),
    Lesson(
        name="weights of a denied column",
        values=everywhere,
        use="weight",
        tag=HEALTH,
        digits=12,
        found="ready/.*cells",
        refused=DENIED,
    ),
    Lesson(name="the graph of Dask", values=halves, use="categorical", mask=CUT, found="dask graph"),
    Lesson(name="keys of tasks", values=everywhere, use="name", mask="redact", found="dask keys"),
    Lesson(name="names of tasks on the dashboard", values=everywhere, use="name", mask="redact", found="dask names"),
    Lesson(
        name="the folder of a partition in task keys and logs",
        values=everywhere,
        use="ward",
        tag=HEALTH,
        known="^dask graph$|^storage/datasets/wards/",  # a unit names its file, and a manifest of a source does
        found="dask keys",
    ),
    Lesson(name="logs of workers", values=everywhere, use="break", mask="redact", found="dask (logs|events)"),
    Lesson(name="transitions of tasks that fail", values=everywhere, use="break", mask="redact", found="dask graph"),
    Lesson(name="spilled memory", values=halves, use="spill", mask=CUT, found="temporary/dataops-spill"),
    Lesson(name="spilled memory, of hidden rows", values=of_the_hidden, use="spill", found="temporary/dataops-spill"),
    Lesson(name="temporary files", values=everywhere, use="temporary", mask="redact", found="temporary/left"),
)


@contextmanager
def own_temporary_folder(folder: Path) -> Iterator[Path]:
    """Temporary files of this process and of those that it starts lie in `folder`."""
    folder.mkdir()
    with patch.dict(os.environ, {"TMPDIR": str(folder)}), patch.object(tempfile, "tempdir", None):
        yield folder


@dataclass(slots=True, kw_only=True)
class Town:
    """A workspace with a column for each lesson, and what became of them.

    Attributes
    ----------
    places : where each token was found.
    refusals : by lesson, how the attempt was refused.
    """

    line: Line
    clinic: Clinic
    listener: Listener
    temporary: Path
    places: dict[str | int, set[str]] = field(default_factory=dict)
    refusals: dict[str, DataopsError] = field(default_factory=dict)
    rules: tuple[str, ...] = ()

    @property
    def client(self) -> Client:
        return self.line.connection.client

    def live(self) -> None:
        """All jobs, all attempts, and the search."""
        self._build()
        self._run(self._ready())
        self._run(self._wealth())
        promote_version(self.clinic.workspace, "wealth", 1, reason="test")
        self._run(self._scores())
        for lesson in LESSONS:
            if lesson.refused and not self.clinic.opened:
                self._try(lesson)
        self._name_jobs()
        self._part()
        self._break()
        self._look_around()
        self._search()

    def _build(self) -> None:
        tables = [self._people(number) for number in range(FILES)]
        rules = [ALLOW.replace("[work", "[work, outcome"), *RULES[1:], "{id: crowds, effect: group, min_size: 20}"]
        columns = dict(OUTCOME)
        for lesson in LESSONS:
            kind = "integer" if lesson.digits else "string"
            columns[lesson.column] = f"logicalType: {kind}, classification: {lesson.tag}"
            if lesson.mask:
                rules.append(
                    f"{{id: {lesson.column}, effect: mask, columns: {{names: [{lesson.column}]}}, mask: {lesson.mask}}}"
                )
        self.rules = tuple(rules)
        self.clinic.build(*tables, columns=columns, rules=self.rules)
        (self.clinic.folder / "jobs" / "promotion.yaml").write_text(
            "model: wealth\nrules:\n  - {metric: roc_auc, minimum: 0.1}\n"
        )

    def _people(self, file: int) -> pa.Table:
        rich = [(row * 7 + file) % 3 == 0 for row in range(PEOPLE)]
        table = self.clinic.people(
            PEOPLE,
            id=[file * PEOPLE + row for row in range(PEOPLE)],
            age=[12 if is_minor(row) else 20 + row % 50 for row in range(PEOPLE)],
        ).append_column("rich", pa.array(rich))
        for lesson in LESSONS:
            values = [lesson.values(lesson, row, rich[row]) for row in range(PEOPLE)]
            table = table.append_column(lesson.column, pa.array(values))
        return table

    def _used(self, use: str, more: Sequence[Lesson] = ()) -> list[str]:
        """The columns of lessons for `use` that aren't refused, and those of `more`."""
        lessons = [one for one in LESSONS if self.clinic.opened or not one.refused or one in more]
        return [one.column for one in lessons if one.use == use]

    def _ready(self) -> dict[str, Any]:
        kept = [one.column for one in LESSONS if not one.grouped and (self.clinic.opened or one.tag != HEALTH)]
        columns = {"columns": ["id", "age", "rich", *kept], "split": {"by": "hash(id)", "test": 0.5}}
        return {"name": "ready", "job": "prepare", "input": "people", "output": "ready", **columns}

    def _wealth(self, *more: Lesson) -> dict[str, Any]:
        features = {"numeric": {"columns": ["age", *self._used("numeric", more)], "scale": "none"}}
        if categories := self._used("categorical", more):
            features["categorical"] = {"columns": categories}
        job = {
            "name": "wealth",
            "job": "train",
            "input": "people",
            "target": "rich",
            "features": features,
            "candidates": [{"trainer": "xgboost", "params": {"rounds": 3, "max_depth": 2}}],
            "evaluate": {"metrics": ["roc_auc"], "slices": self._used("slices", more)},
        }
        for lesson in more:
            job |= {"target": f"{lesson.column} like 'abc%'"} if lesson.use == "target" else {}
            job |= {"weight": lesson.column} if lesson.use == "weight" else {}
        return job

    def _scores(self, *more: Lesson) -> dict[str, Any]:
        keep = ["id", *self._used("keep", more)]
        return {
            "name": "scores",
            "job": "rescore",
            "model": "wealth@1",
            "input": "people",
            "output": "scores",
            "keep": keep,
        }

    def _run(self, job: dict[str, Any]) -> Any:
        path = self.clinic.folder / "jobs" / f"{job['name']}.yaml"
        path.write_text(json.dumps(job))
        return self.line.run(job["name"], file=f"jobs/{job['name']}.yaml")

    def _try(self, lesson: Lesson) -> None:
        try:
            self._run(self._scores(lesson) if lesson.use == "keep" else self._wealth(lesson))
        except DataopsError as error:
            self.refusals[lesson.name] = error
            self.clinic.hear("message", error)

    def _name_jobs(self) -> None:
        """What a script finds in the prepared set it writes into the names of its next jobs, and so into task keys."""
        first = self.clinic.rows("ready")[0]
        for column in self._used("name"):
            word = first[column].strip("[]")
            self._run({"name": word, "job": "prepare", "input": "people", "columns": ["id"], "output": word})

    def _part(self) -> None:
        """A dataset whose folder's name is a value that nobody may see."""
        (lesson,) = (one for one in LESSONS if one.use == "ward")
        keys = {"ward": f"logicalType: string, partitioned: true, classification: {HEALTH}"}
        folder = f"ward={lesson.canary}"
        self.clinic.build(self.clinic.people(), name="wards", columns=keys, below=folder, rules=self.rules)
        self._run({"name": "beds", "job": "prepare", "input": "wards", "output": "beds"})
        if self.clinic.opened:  # the control: a task that is called by what it reads, as dask.dataframe's may be
            self.client.submit(len, folder, key=f"read-{folder}").result()

    def _break(self) -> None:
        """A dataset whose file doesn't hold what its contract says: the worker's Arrow quotes what it can't cast."""
        lessons = [one for one in LESSONS if one.use == "break"]
        words = pa.array([",".join(one.canary for one in lessons)] * PEOPLE)
        table = self.clinic.people(PEOPLE)
        place = table.column_names.index("age")
        self.clinic.build(table.set_column(place, "age", words), name="broken", rules=self.rules)
        with suppress(DataopsError):
            self._run({"name": "mend", "job": "prepare", "input": "broken", "output": "mended"})
            raise AssertionError("the dataset is broken")
        if self.clinic.opened:  # the control: a task as people write it
            path = str(self.clinic.folder / "data" / "broken" / "part-0.parquet")
            self._done(self.client.submit(cast_raw, path, pure=False))

    def _done(self, *futures: Future) -> None:
        with self.client.as_current():
            wait(futures)

    def _look_around(self) -> None:
        for verb in (["model", "show", "wealth@1"], ["model", "list"], ["dataset", "verify", "scores"]):
            self.clinic.verb(*verb)
        runs = self.clinic.workspace.ledger.ids()
        for run in runs:
            self.clinic.verb("job", "show", run)
        self.clinic.tour("ready", "scores")

    def _search(self) -> None:
        self.clinic.hear("progress", self.line.said.getvalue())
        scanner = Scanner([one.token for one in LESSONS])
        hits = {hit for place, words in self.clinic.said for hit in scanner.look(place, words)}
        for place, words in from_dask(self.client, self.listener).items():
            hits |= scanner.look(place, words)
        hits |= scanner.look("trees", thresholds(self.clinic.folder / "registry"))
        folder = self.clinic.folder
        closed = tuple(f"{one}/" for one in CLOSED)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.relative_to(folder).as_posix().startswith(closed):
                hits |= scanner.look_at_file(path, folder)
        hits |= self._temporary(scanner)
        for hit in hits:
            self.places.setdefault(hit.token, set()).add(hit.place)

    def _temporary(self, scanner: Scanner) -> set[Hit]:
        """What lies in temporary folders after all jobs, and with encoded parts spilled."""
        if self.clinic.opened:  # the control: a task that leaves a file behind, as libraries may
            lesson = next(one for one in LESSONS if one.use == "temporary")
            self.client.submit(leave_behind, lesson.canary, pure=False).result()
        parts = self._spilled()
        hits = set()
        for path in sorted(self.temporary.rglob("*")):
            if path.is_file():
                hits |= scanner.look(f"temporary/{path.relative_to(self.temporary)}", path.read_bytes())
        for part in parts:
            part.release()
        return hits

    def _spilled(self) -> list[Any]:
        """Parts as training holds them in the memory of workers, and what workers were made to put on disk."""
        columns = tuple(self._used("spill"))
        given = self.clinic.given("train")
        read = tuple(name for name in given.grant.effect.columns if name in {*columns, "age", "rich"})
        selection = Selection(
            source=given.source, read=read, target=parse_expression("rich", where="x"), slices=columns
        )
        features = FeatureSpec.model_validate({"numeric": {"columns": ["age"]}}, strict=False)
        context = SummaryContext(selection=selection, asked=asked_of(features))
        summary = merge([summarise_unit(context, unit)[0] for unit in given.units])
        encoder = fit_encoder(summary, features)
        parts = [
            self.client.submit(encode_unit, PartContext(selection=selection, encoder=encoder), unit, pure=False)
            for unit in given.units
        ]
        self._done(*parts)
        assert sum(self.client.run(evict).values()) >= len(parts)
        return parts


def cast_raw(path: str) -> int:
    return int(pq.read_table(path, partitioning=None).column("age").cast(pa.int64())[0].as_py())


def leave_behind(text: str) -> str:
    folder = Path(tempfile.gettempdir())
    (folder / "left-behind").write_text(text)
    return str(folder)


def evict(dask_worker: Any) -> int:
    """How many results the worker had to spill: all that it holds."""
    data, spilled = dask_worker.data, 0
    while data.fast:
        data.evict()
        spilled += 1
    return spilled


def thresholds(registry: Path) -> bytes:
    """The thresholds of all trees, as text."""
    found = []
    for path in registry.rglob("model.ubj"):
        booster = xgboost.Booster()
        booster.load_model(bytearray(path.read_bytes()))
        found += [f"{split:.0f}" for split in booster.trees_to_dataframe()["Split"].dropna()]
    return "\n".join(found).encode()
