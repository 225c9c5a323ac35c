"""A small clinic to attack: a workspace that an attempt fills, runs jobs on, and is then searched for its canary.

1. A clinic is *governed* or *open*. Both are built by the same calls; the open one has a policy that allows everything,
   which is what makes it the control: what an attempt can't find there, it proves nothing about.
2. Jobs run in this process, without a cluster and without drawing reports (those have a town of their own): the
   declaration, the grant, the records, the audit, the governed read and the commit are the real ones.
3. Searched is all that a workspace keeps, but for what a data scientist isn't to read (`CLOSED`), and all that was
   said: progress, printed output, messages of errors with their causes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner, Result

from dataops.cli.main import main
from dataops.datasets.access import GovernedInput, open_inputs
from dataops.datasets.snapshot import read_snapshot
from dataops.datasets.units import Unit
from dataops.declarations.clusters import LocalFile
from dataops.declarations.jobs import read_jobs
from dataops.engine.connect import Connection
from dataops.engine.progress import Progress
from dataops.engine.tasks import Failure, attempt_all
from dataops.engine.work import Work
from dataops.runs.execute import Options, Outcome, resume, run_job
from dataops.runs.init import init_workspace
from dataops.runs.replay import replay_quarantine
from dataops.runs.workspace import Workspace, open_workspace, os_user
from tests.attacks.scanner import Hit, Scanner

ROWS = 30
DECLARED = ("data", "contracts", "policies", "catalog", "jobs", "keys")  # sources, and what people wrote themselves
STEWARDS = ("storage/quarantine", "storage/plans", "storage/surveys")
CLOSED = (*DECLARED, *STEWARDS)

EVERYBODY = "roles: [data_science], purposes: [train, evaluate, score, benchmark], zones: [historical, production]"
ALLOW = f'{{id: use, effect: allow, {EVERYBODY}, datasets: ["*"], columns: {{classifications: [work, "pii.*"]}}}}'
OPEN = (f'{{id: all, effect: allow, {EVERYBODY}, datasets: ["*"], columns: {{classifications: ["*", unclassified]}}}}',)
RULES = (
    ALLOW,
    '{id: health, effect: deny, columns: {classifications: ["sensitive.*"]}}',
    "{id: mail, effect: mask, columns: {names: [mail]}, mask: redact}",
    "{id: pay, effect: mask, columns: {names: [salary]}, mask: {generalise: {width: 1000000000}}}",
    '{id: adults, effect: filter, datasets: [people], where: "age >= 18"}',
)

COLUMNS = {
    "id": "logicalType: integer, classification: work",
    "secret": "logicalType: string, classification: sensitive.health",
    "mail": "logicalType: string, classification: pii.direct",
    "salary": "logicalType: integer, classification: pii.quasi",
    "age": "logicalType: integer, classification: work",
    "trade": "logicalType: string, classification: work",
}

CLUSTER = LocalFile.model_validate({"kind": "local"})


class Inline(Work):
    """Work that is done here, unit after unit, as a worker does it."""

    def _run(self, phase: str, function: Any, context: Any, waiting: Sequence[Unit], land: Any, on_killed: Any) -> None:
        for unit in waiting:
            (outcome,) = attempt_all(function, context, [unit])
            if isinstance(outcome, Failure):
                raise outcome.error()
            land(unit, outcome)


class Nobody:
    """The client of no cluster: nothing can be shown or recorded there, and nobody hears what is told."""

    id, status = "", "closed"

    def register_plugin(self, plugin: object) -> None:
        raise ConnectionError


@contextmanager
def inline() -> Iterator[None]:
    """Jobs run in this process, and draw no report; nothing waits for the disk, for no machine goes down here."""

    @contextmanager
    def nowhere(*_: object, **__: object) -> Iterator[Connection]:
        yield Connection(client=Nobody(), dashboard="", workers=1, threads=1)  # type: ignore[arg-type]

    with (
        patch("dataops.runs.execute.connect", nowhere),
        patch("dataops.runs.execute.Work", Inline),
        patch("dataops.runs.execute.write_run_report", lambda *_: "no report"),
        patch("os.fsync", lambda _: None),
    ):
        yield


@dataclass(slots=True, kw_only=True)
class Clinic:
    """A workspace under attack.

    Attributes
    ----------
    canary, number : the text and the whole number that nobody may see; both occur in this clinic alone.
    said : what was printed or raised, by the place where it was heard.
    output : the dataset that the last job was to make, and its newest snapshot before.
    closed : what isn't searched.
    lawful : folders of made sets that an attempt starts from, whose rows were read when they might.
    """

    folder: Path
    canary: str
    number: int
    opened: bool
    said: list[tuple[str, bytes]] = field(default_factory=list)
    output: tuple[str, int] = ("", 0)
    closed: tuple[str, ...] = CLOSED
    lawful: list[str] = field(default_factory=list)

    @property
    def workspace(self) -> Workspace:
        """The workspace, read anew from its files."""
        return open_workspace(str(self.folder), {})

    @property
    def storage(self) -> Path:
        """The folder of its storage."""
        return self.folder / "storage"

    def people(self, n_rows: int = ROWS, **columns: Any) -> pa.Table:
        """`n_rows` grown-ups without secrets; `columns` replace what is there, one value stands for all rows."""
        plain = {
            "id": list(range(n_rows)),
            "secret": ["none"] * n_rows,
            "mail": ["m@x"] * n_rows,
            "salary": [5] * n_rows,
            "age": [40] * n_rows,
            "trade": [("baker", "smith")[row % 2] for row in range(n_rows)],
        }
        given = {
            name: value if isinstance(value, (list, pa.Array)) else [value] * n_rows for name, value in columns.items()
        }
        return pa.table({name: value for name, value in {**plain, **given}.items() if value != [None] * n_rows})

    def build(
        self,
        *tables: pa.Table,
        columns: Mapping[str, str | None] | None = None,
        rules: Sequence[str] = RULES,
        quality: str = "",
        below: str = "",
        name: str = "people",
    ) -> None:
        """Fill the clinic: the dataset `name` of `tables`, its contract, and the policy of `rules` if it is governed.

        Parameters
        ----------
        columns : more columns of the contract, as ODCS writes their keys; None takes one away.
        quality : checks of the whole table, as ODCS writes them.
        below : partition folders of the files.
        """
        if not self.folder.exists():
            init_workspace(self.folder)
            (self.folder / "principals.yaml").write_text(f"principals:\n  {os_user()}: {{roles: [data_science]}}\n")
        self.contract({**COLUMNS, **(columns or {})}, quality=quality, name=name)
        home = self.folder / "data" / name / below
        home.mkdir(parents=True)
        for number, table in enumerate(tables):
            pq.write_table(table, home / f"part-{number}.parquet")
        entry = f"name: {name}\nurl: data/{name}\nzone: historical\ncontract: contracts/{name}.yaml\n"
        (self.folder / "catalog" / f"{name}.yaml").write_text(entry)
        self.policy(rules)

    def contract(self, columns: Mapping[str, str | None], *, quality: str = "", name: str = "people") -> None:
        """Write the contract anew; a name may be mapped: ``{"plain": "physicalName: odd, ..."}``."""
        lines = [f"      - {{name: {key}, {keys}}}" for key, keys in columns.items() if keys is not None]
        head = f"apiVersion: v3.1.0\nkind: DataContract\nid: {name}\nname: {name}\nversion: 1.0.0\nstatus: active\n"
        table = f"schema:\n  - name: {name}\n{quality}    properties:\n"
        (self.folder / "contracts" / f"{name}.yaml").write_text(head + table + "\n".join(lines) + "\n")

    def policy(self, rules: Sequence[str]) -> None:
        """Write the policy anew; the open clinic has its own."""
        listed = "".join(f"  - {rule}\n" for rule in (OPEN if self.opened else rules))
        (self.folder / "policies" / "people.yaml").write_text(f"format: dataops/policy/1\nname: p\nrules:\n{listed}")

    def prepare(self, *, output: str = "made", **keys: Any) -> Outcome:
        """A prepare job, over `people` where `keys` don't say otherwise, run to its end."""
        return self.run({"name": output, "job": "prepare", "input": "people", "output": output, **keys})

    def run(self, job: Mapping[str, Any]) -> Outcome:
        """The outcome of `job`."""
        path = self.folder / "jobs" / "attack.yaml"
        path.write_text(json.dumps(job))  # JSON is YAML
        (declared,) = read_jobs(path)
        self._expect(job["output"])
        with inline(), self._progress() as progress:
            options = Options(cluster=CLUSTER, again=True)
            return run_job(self.workspace, declared.job, source=str(path), options=options, progress=progress)

    def resume(self) -> Outcome:
        """The outcome of the newest run, taken up again."""
        self._expect(self.output[0])
        with inline(), self._progress() as progress:
            ledger = self.workspace.ledger
            # two runs may begin in one second: ids don't tell which came first
            newest = max(ledger.ids(), key=lambda run: ledger.read(run).created_at)
            return resume(self.workspace, newest, options=Options(cluster=CLUSTER), progress=progress)

    def replay(self) -> Outcome | None:
        """The outcome of a replay of all that waits in quarantine."""
        self._expect(self.output[0])
        with inline(), self._progress() as progress:
            return replay_quarantine(self.workspace, "people", options=Options(cluster=CLUSTER), progress=progress)

    def verb(self, *words: str) -> Result:
        """What a verb of the command line said; heard as ``printed``."""
        result = CliRunner().invoke(main, [*words, "-w", str(self.folder)])
        self.hear("printed", f"{result.output}{result.stderr if result.stderr_bytes else ''}{result.exception!r}")
        return result

    def runner(self, words: Sequence[str]) -> str:
        """What a verb that needs no workspace printed."""
        result = CliRunner().invoke(main, list(words))
        return str(result.output)

    def given(self, purpose: str) -> GovernedInput:
        """The people, as they may be read for `purpose`."""
        workspace = self.workspace
        return open_inputs(workspace.settings, workspace.store, workspace.reader(), {"input": ("people", purpose)})[
            "input"
        ]

    def tour(self, *datasets: str) -> None:
        """All verbs that a data scientist looks around with, on `datasets` and the newest run: under the policy, for
        no control looks at what they print.
        """
        if self.opened:
            return
        jobs = str(self.folder / "jobs" / "attack.yaml")
        verbs = [["job", "explain", jobs], ["policy", "check"], ["audit", "show"], ["quarantine", "list"]]
        for name in datasets:
            verbs += [["dataset", "show", name], ["policy", "explain", name, "--purpose", "train"]]
            verbs += [["lineage", "show", name]]
        for run in self.workspace.ledger.ids()[-1:]:
            verbs += [["job", "show", run]]
        for verb in verbs:
            self.verb(*verb)
            self.verb(*verb, "--json")
        self.verb("contract", "check", "people")

    @contextmanager
    def _progress(self) -> Iterator[Progress]:
        heard = io.StringIO()
        try:
            with Progress(heard) as progress:
                yield progress
        finally:
            self.hear("progress", heard.getvalue())

    def hear(self, place: str, words: object) -> None:
        """Remember what was said at `place`; of an error also its notes and what it came from."""
        self.said.append((place, words.encode() if isinstance(words, str) else repr(words).encode()))
        if isinstance(words, BaseException):
            for part in (getattr(words, "__notes__", []), words.__cause__, words.__context__):
                self.said.append((place, repr(part).encode()))

    def rows(self, dataset: str = "made") -> list[dict[str, Any]]:
        """All rows of the newest snapshot of a made dataset."""
        snapshot = read_snapshot(self.workspace.store, dataset)
        assert snapshot is not None, f"{dataset} wasn't made"
        home = self.storage / "datasets" / dataset
        return [row for part in snapshot.fragments for row in pq.read_table(home / part.path).to_pylist()]

    def column(self, name: str, dataset: str = "made") -> list[Any]:
        """The values of a column of a made dataset."""
        return [row[name] for row in self.rows(dataset)]

    def _expect(self, dataset: str) -> None:
        self.output = (dataset, self._snapshot(dataset))

    def _snapshot(self, dataset: str) -> int:
        found = read_snapshot(self.workspace.store, dataset) if self.folder.exists() else None
        return found.number if found else 0

    def published_since(self) -> bool:
        """Whether the last job came to publish anything."""
        name, before = self.output
        return bool(name) and self._snapshot(name) > before

    def look(self) -> set[Hit]:
        """Where the canary is found, of all that a data scientist may read."""
        scanner = Scanner([self.canary, self.number])
        closed = tuple(f"{one}/" for one in (*self.closed, *self.lawful))
        hits = {hit for place, words in self.said for hit in scanner.look(place, words)}
        for path in sorted(self.folder.rglob("*")) if self.folder.exists() else ():
            name = path.relative_to(self.folder).as_posix()
            if path.is_file() and not name.startswith(closed):
                hits |= scanner.look_at_file(path, self.folder)
        return hits
