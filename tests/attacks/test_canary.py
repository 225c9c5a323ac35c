"""Canaries in what the policy denies or masks: nowhere in what a data scientist may read, whatever fails.

Scanned is all that a workspace keeps but its sources, keys and quarantine; what is printed; what Dask's scheduler and
workers say and are given. The same scanner finds the canaries where the policy lets them through, and in quarantine.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dataops.cli.main import main
from dataops.datasets.units import Unit
from dataops.engine.tasks import Failure, attempt
from dataops.errors import ContractViolation, DataopsError, Integrity
from tests.attacks.canaries import (
    CONTRACT,
    FILES,
    JOBS,
    OPEN_POLICY,
    ROWS,
    add_people,
    all_tokens,
    canary,
    exact_salary,
    make_people,
    make_workspace,
    tokens,
)
from tests.attacks.listener import Listener
from tests.attacks.listener import from_dask as heard_from
from tests.attacks.scanner import Hit, Scanner, Token
from tests.compat.writing import cluster_in_process
from tests.faults.driver import command
from tests.line.running import Line, standing_cluster

UNREADABLE = ("quarantine", "plans")  # the steward's; paths of sources


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return Scanner(all_tokens())


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    folder = make_workspace(tmp_path_factory.mktemp("canary") / "people")
    with standing_cluster(1) as connection:
        yield Line(folder=folder, connection=connection, reports=True)


@pytest.fixture(scope="module")
def listener(line: Line) -> Listener:
    listening = Listener()
    line.connection.client.cluster.scheduler.add_plugin(listening)
    return listening


@pytest.fixture(scope="module")
def governed(line: Line, listener: Listener) -> Line:
    """The line after all its jobs, under the policy."""
    line.run_all()
    return line


def key_tokens(line: Line) -> list[Token]:
    """The secret of the workspace's key, as its file has it."""
    (path,) = (
        path for path in (line.folder / "keys").rglob("*") if path.is_file() and b"dataops/key" in path.read_bytes()
    )
    body = json.loads(path.read_bytes())
    secrets = [value for name, value in body.items() if "secret" in name]
    assert secrets
    return secrets


def readable(line: Line, scanner: Scanner) -> set[Hit]:
    """What is found in registry and storage, but for what no data scientist may read."""
    folders = [line.folder / "registry", *(one for one in line.storage.iterdir() if one.name not in UNREADABLE)]
    return {hit for folder in folders if folder.exists() for hit in scanner.look_at_tree(folder)}


def from_dask(line: Line, listener: Listener) -> bytes:
    """All that the cluster said and was told."""
    return b"\n".join(heard_from(line.connection.client, listener).values())


def cells(line: Line, dataset: str) -> set[str]:
    return {str(value) for row in line.rows(dataset) for value in row.values()}


class TestUnderThePolicy:
    def test_nothing_is_left_in_what_may_be_read(self, governed: Line, scanner: Scanner) -> None:
        assert readable(governed, scanner) == set()

    def test_there_is_something_to_read(self, governed: Line) -> None:
        """The scan looked at parts, models, reports and events, not at empty folders."""
        for pattern in (
            "storage/datasets/people_ready/runs/*/data/*.parquet",
            "storage/datasets/people_scores/runs/*/data/*.parquet",
            "storage/runs/*/report.html",
            "storage/runs/*/run.json",
            "storage/runs/*/events/*.json",
            "storage/audit/*.json",
            "registry/wealth/versions/1/model.*",
            "registry/wealth/versions/2/model.*",
            "registry/wealth/versions/1/card.md",
        ):
            assert list(governed.folder.glob(pattern)), pattern
        for dataset in ("people_ready", "people_scores"):
            assert len(governed.rows(dataset)) == FILES * ROWS * 7 // 10
            assert {"ab", "cd", "ef"} < cells(governed, dataset)

    def test_nothing_is_printed(self, governed: Line, scanner: Scanner) -> None:
        run = governed.workspace.ledger.ids()[-1]
        verbs = (
            ["job", "list"],
            ["job", "show", run, "--json"],
            ["job", "explain", str(governed.folder / "jobs" / "people.yaml"), "people_scores"],
            ["dataset", "show", "people_old"],
            ["dataset", "show", "people_scores", "--json"],
            ["dataset", "verify", "people_scores"],
            ["model", "show", "wealth@1"],
            ["model", "list"],
            ["audit", "verify"],
        )
        said = [governed.said.getvalue()]
        for verb in verbs:
            result = CliRunner().invoke(main, [*verb, "-w", str(governed.folder)])
            assert result.exit_code == 0, result.output
            said.append(result.output)
        assert all(said)
        assert scanner.look("printed", "\n".join(said).encode()) == set()

    def test_nothing_reaches_a_report_of_its_own(self, governed: Line, scanner: Scanner, tmp_path: Path) -> None:
        for number, run in enumerate(governed.workspace.ledger.ids()):
            page = tmp_path / f"{number}.html"
            verb = ["job", "report", run, "--standalone", str(page), "-w", str(governed.folder)]
            assert CliRunner().invoke(main, verb).exit_code == 0
            assert scanner.look_at_file(page, tmp_path) == set()

    def test_nothing_reaches_the_scheduler(self, governed: Line, scanner: Scanner, listener: Listener) -> None:
        heard = from_dask(governed, listener)
        assert b"-score" in heard
        assert b"u000000-0-" in heard
        assert b"people_new" in heard
        assert scanner.look("dask", heard) == set()

    def test_no_key_leaves_its_file(self, governed: Line, listener: Listener) -> None:
        secret = Scanner(key_tokens(governed))
        assert secret.look("dask", from_dask(governed, listener)) == set()
        assert {Path(hit.place).parts[0] for hit in secret.look_at_tree(governed.folder)} == {"keys"}

    def test_the_steward_finds_what_a_rule_looked_at(self, governed: Line, scanner: Scanner) -> None:
        """Columns that rules look at, of the rows that broke one: these and nothing else."""
        hits = scanner.look_at_tree(governed.storage / "quarantine")
        aside = [(zone, row) for zone in ("old", "new") for row in range(FILES * ROWS) if row % 10 in (1, 2)]
        looked_at = ("diagnosis", "person")
        assert {hit.token for hit in hits} == {canary(kind, zone, row) for kind in looked_at for zone, row in aside}
        assert {hit.token for hit in hits if "cells of diagnosis" in hit.place} == {
            canary("diagnosis", zone, row) for zone, row in aside
        }


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The line after all its jobs, where everybody may see everything: on a cluster apart from the others'."""
    folder = make_workspace(tmp_path_factory.mktemp("open") / "people", policy=OPEN_POLICY)
    jobs = JOBS.replace("[address, trade, long_hours]", "[address, diagnosis]").replace("[region, address]", "[region]")
    (folder / "jobs" / "people.yaml").write_text(jobs)
    with cluster_in_process() as connection:
        opened = Line(folder=folder, connection=connection, reports=True)
        opened.run_all()
        yield opened


class TestWithoutIt:
    """The positive control: where the policy lets them through, the scanner finds them."""

    @pytest.mark.parametrize("kind", ["diagnosis", "person", "email", "phone", "address", "trade"])
    def test_they_are_found_in_the_prepared_set(self, opened: Line, scanner: Scanner, kind: str) -> None:
        hits = scanner.look_at_tree(opened.storage / "datasets" / "people_ready")
        column = {"person": "person_id"}.get(kind, kind)
        found = {hit.token for hit in hits if f"cells of {column}" in hit.place}
        assert found <= set(tokens(kind))
        assert len(found) >= FILES * ROWS // 10

    def test_exact_numbers_are_found(self, opened: Line, scanner: Scanner) -> None:
        hits = scanner.look_at_tree(opened.storage / "datasets" / "people_scores")
        assert {hit.token for hit in hits} & set(map(exact_salary, range(FILES * ROWS)))

    def test_they_are_found_in_the_model(self, opened: Line, scanner: Scanner) -> None:
        hits = scanner.look_at_tree(opened.folder / "registry")
        assert {hit.token for hit in hits} & set(tokens("diagnosis"))
        assert {hit.token for hit in hits} & set(tokens("address"))


def retyped(table: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, values)


def salary_of_words() -> list[pa.Table]:
    """A second file whose salaries are words: Arrow's error quotes the first of them."""
    second = make_people("old", ROWS)
    return [make_people("old", 0), retyped(second, "salary", pa.array(tokens("diagnosis")[:ROWS]))]


def age_too_large() -> list[pa.Table]:
    """A second file whose ages don't fit the contract's type: Arrow's error says the number."""
    second = make_people("old", ROWS)
    return [make_people("old", 0), retyped(second, "age", pa.array([exact_salary(row) for row in range(ROWS)]))]


def text_that_is_none() -> list[pa.Table]:
    """A second file whose diagnoses are bytes, and no UTF-8."""
    second = make_people("old", ROWS)
    words = [token.encode() + b"\xff\xfe" for token in tokens("diagnosis")[:ROWS]]
    return [make_people("old", 0), retyped(second, "diagnosis", pa.array(words, pa.binary()))]


PREPARE_BROKEN = """\
name: people_broken_ready
job: prepare
input: people_broken
output: people_broken_ready
"""


class TestWhatFails:
    @pytest.fixture
    def broken(self, line: Line, tmp_path: Path) -> Callable[[list[pa.Table]], Line]:
        """Makes a workspace whose dataset people_broken has these files."""

        def make(tables: list[pa.Table]) -> Line:
            folder = make_workspace(tmp_path / "broken")
            (folder / "jobs" / "broken.yaml").write_text(PREPARE_BROKEN)
            add_people(folder, "people_broken", "historical", tables)
            return Line(folder=folder, connection=line.connection, reports=True)

        return make

    def failed(self, broken: Line, scanner: Scanner, listener: Listener, family: type[DataopsError]) -> str:
        """The message of a run that fails; nothing of it, nor of what it leaves, holds a canary."""
        with pytest.raises(family) as raised:
            broken.run("people_broken_ready", file="jobs/broken.yaml")
        (run,) = broken.workspace.ledger.ids()
        CliRunner().invoke(main, ["job", "show", run, "-w", str(broken.folder)])
        assert scanner.look("message", repr(raised.value).encode()) == set()
        chain = [raised.value.__cause__, raised.value.__context__]
        assert scanner.look("chain", repr(chain).encode()) == set()
        assert scanner.look("dask", from_dask(broken, listener)) == set()
        assert readable(broken, scanner) == set()
        assert not list(broken.storage.glob("datasets/people_broken_ready/runs/*/manifest.json"))
        return str(raised.value)

    @pytest.mark.parametrize(
        ("tables", "column"),
        [(salary_of_words, "salary"), (age_too_large, "age"), (text_that_is_none, "diagnosis")],
    )
    def test_over_a_type_says_no_value(
        self,
        broken: Callable[[list[pa.Table]], Line],
        scanner: Scanner,
        listener: Listener,
        tables: Callable[[], list[pa.Table]],
        column: str,
    ) -> None:
        message = self.failed(broken(tables()), scanner, listener, DataopsError)
        assert column in message or "part-001.parquet" in message

    def test_over_a_rule_says_counts_alone(
        self, broken: Callable[[list[pa.Table]], Line], scanner: Scanner, listener: Listener
    ) -> None:
        line = broken([make_people("old", 0)])
        path = line.folder / "contracts" / "people.yaml"
        rule = """
        quality:
          - {id: short, type: sql, query: "length(diagnosis) < 5",
             customProperties: [{property: action, value: fail}]}"""
        path.write_text(CONTRACT.replace("        logicalTypeOptions: {maxLength: 20}", rule.strip("\n")))
        assert "short" in self.failed(line, scanner, listener, ContractViolation)

    def test_over_a_damaged_page_says_no_value(
        self, broken: Callable[[list[pa.Table]], Line], scanner: Scanner, listener: Listener
    ) -> None:
        line = broken([make_people("old", 0), make_people("old", ROWS)])
        path = line.folder / "data" / "people_broken" / "part-001.parquet"
        with pq.ParquetFile(path) as opened:
            column = opened.metadata.row_group(0).column(5)
            page = column.dictionary_page_offset or column.data_page_offset
        data = bytearray(path.read_bytes())
        data[page : page + 40] = b"\xff" * 40
        path.write_bytes(data)
        assert "part-001.parquet" in self.failed(line, scanner, listener, Integrity)

    def test_unexpectedly_in_a_task_says_where_alone(self, scanner: Scanner) -> None:
        value = canary("diagnosis", "old", 1)

        def breaks(context: object, unit: Unit) -> None:
            raise ValueError(f"invalid literal for int(): {value!r}") from KeyError(value)

        (unit,) = _one_unit()
        failure = attempt(breaks, None, unit)
        assert isinstance(failure, Failure)
        assert failure.family == "Compute"
        assert unit.id in failure.message
        assert scanner.look("failure", pickle.dumps(failure) + repr(failure).encode()) == set()

    def test_unexpectedly_in_the_driver_says_where_alone(
        self, broken: Callable[[list[pa.Table]], Line], scanner: Scanner
    ) -> None:
        line = broken([make_people("old", 0)])
        value = canary("diagnosis", "old", 1)
        with patch("dataops.runs.execute.run_prepare", side_effect=ValueError(value)), pytest.raises(ValueError):
            line.run("people_broken_ready", file="jobs/broken.yaml")
        assert readable(line, scanner) == set()
        with patch("dataops.runs.named.run_job", side_effect=ValueError(value)):
            verb = ["job", "run", "jobs/broken.yaml", "-w", str(line.folder)]
            result = CliRunner().invoke(main, verb)
        assert result.exit_code == 1
        assert "ValueError" in result.output
        assert scanner.look("printed", result.output.encode()) == set()

    def test_in_a_process_of_its_own_prints_no_value(
        self, broken: Callable[[list[pa.Table]], Line], scanner: Scanner
    ) -> None:
        """Driver, scheduler, nanny and worker, with all that any of them writes to the terminal."""
        line = broken(salary_of_words())
        result = command(line.folder, "job", "run", "jobs/broken.yaml", "--workers", "1")
        assert result.returncode == ContractViolation.exit_code
        assert "salary" in result.stderr
        assert scanner.look("printed", (result.stdout + result.stderr).encode()) == set()
        assert readable(line, scanner) == set()


def _one_unit() -> tuple[Unit, ...]:
    from dataops.datasets.snapshot import Fragment, RowGroup
    from dataops.datasets.units import plan_units

    groups = (RowGroup(rows=1, size_bytes=8),)
    return plan_units([Fragment(path="a.parquet", size_bytes=8, digest="sha256:0", row_groups=groups)])


class TestAPartitionFolder:
    """A hive partition's value is a column's value, and a folder's name."""

    def test_of_a_denied_column_is_not_told(
        self, line: Line, scanner: Scanner, listener: Listener, tmp_path: Path
    ) -> None:
        folder = make_workspace(tmp_path / "hive")
        (folder / "jobs" / "broken.yaml").write_text(PREPARE_BROKEN)
        plain = CONTRACT.replace("        logicalTypeOptions: {maxLength: 20}\n", "")
        (folder / "contracts" / "people.yaml").write_text(plain)
        table = make_people("old", 0).drop_columns(["diagnosis"])
        add_people(folder, "people_broken", "historical", [table], below=f"diagnosis={canary('diagnosis', 'old', 1)}")
        hive = Line(folder=folder, connection=line.connection, reports=True)
        hive.run("people_broken_ready", file="jobs/broken.yaml")
        assert len(hive.rows("people_broken_ready")) == ROWS * 8 // 10
        for part in ("runs", "audit", "done", "datasets/people_broken_ready"):
            assert list((folder / "storage" / part).rglob("*.json")), part
            assert scanner.look_at_tree(folder / "storage" / part) == set()
