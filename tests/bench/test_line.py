"""A whole benchmark at the smallest scale, typed as anybody would; then faults planted in what it left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from distributed import Client, LocalCluster

from dataops.bench import quality
from dataops.bench.making import Data, read_parts
from dataops.bench.place import Place, clear
from dataops.bench.quality import check_canaries, check_rows, rows_learnt
from dataops.bench.results import COUNTED, Check, read_results
from dataops.bench.room import COLUMNS, LEARNT
from dataops.bench.scores import Scored, check_scores
from dataops.bench.sizes import NEW, PAST, Size, size_of
from dataops.cli.main import main
from dataops.datasets.snapshot import DATASETS_FOLDER, read_snapshot
from dataops.errors import Integrity
from dataops.runs.ledger import RunState
from dataops.runs.workspace import Workspace, open_workspace
from tests.line.running import standing_cluster

SIZE = size_of(0.002, 5)
NAMES = ("scores, try 1", "scores, try 2", "scores_1", "scores_2")
UNREACHABLE = {"logistic": 0.75, "xgboost": 0.9999}
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A benchmark that was run, and what it left."""

    folder: Path
    called: Result

    @property
    def workspace(self) -> Workspace:
        return open_workspace(str(self.folder), {})

    @property
    def data(self) -> Data:
        known = read_parts(self.folder / "parts.jsonl")
        return Data(parts=tuple(known[part.path] for part in SIZE.parts()))

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads(self.called.stdout))

    def outcomes(self) -> dict[str, RunState]:
        ledger = self.workspace.ledger
        states = [ledger.state(run) for run in ledger.ids()]
        return {state.run.job: state for state in states}

    def scored(self) -> list[Scored]:
        runs = [run for phase in self.record["phases"][-2:] for run in phase["runs"]]
        jobs = ("scores", "scores", "scores_1", "scores_2")
        return [Scored(name=name, dataset=job, run=run) for name, job, run in zip(NAMES, jobs, runs, strict=True)]

    def judged(self) -> dict[str, Check]:
        """What is found of the scores, by the name of the check."""
        url, learnt = str(self.folder / "data"), rows_learnt(self.outcomes()["fraud"])
        checks = check_scores(self.workspace, self.scored(), self.data, data_url=url, learnt=learnt)
        return {check.name: check for check in checks}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run that asks more of a model than the data holds: it misses that check, and leaves everything.

    All of it is done on one cluster that stands, whose start is paid once.
    """
    folder = tmp_path_factory.mktemp("bench") / "bench"
    cluster = folder.parent / "standing.yaml"
    options = ["--scale", "0.002", "--seed", "5", "--cluster", str(cluster), "--quiet", "--json"]
    with patch.object(quality, "LEAST_AUC", UNREACHABLE), standing_cluster(2) as standing:
        cluster.write_text(f"kind: address\naddress: {standing.client.scheduler.address}\n")
        called = CliRunner().invoke(main, ["bench", str(folder), *options])
    return Done(folder=folder, called=called)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


def test_a_run_that_misses_quality_is_invalid_and_nothing_else_is_wrong_with_it(done: Done) -> None:
    assert done.called.exit_code == Integrity.exit_code, done.called.stderr
    assert "the run is invalid: ROC AUC, xgboost" in done.called.stderr
    assert done.record["valid"] is False
    assert done.record["throughput"] is None
    assert [check["name"] for check in done.record["checks"] if not check["holds"]] == ["ROC AUC, xgboost"]
    (result,), _ = read_results(done.folder / "results.jsonl")
    assert result.throughput is None
    whole = replace(result, checks=tuple(replace(check, holds=True) for check in result.checks))
    assert whole.throughput is not None
    assert "This run is invalid" in (done.folder / "bench.html").read_text()


def test_the_thresholds_that_hold_are_reached(done: Done) -> None:
    found = {check["name"]: check["found"] for check in done.record["checks"]}
    for trainer, least in quality.LEAST_AUC.items():
        assert float(found[f"ROC AUC, {trainer}"]) >= least
    assert float(found["ROC AUC, xgboost"]) > 0.7


def test_each_phase_says_its_rows_its_time_and_its_start_up(done: Done) -> None:
    phases = {phase["name"]: phase for phase in done.record["phases"]}
    assert list(phases) == ["generate", *COUNTED]
    assert phases["load"]["rows"] == sum(SIZE.rows.values())
    assert phases["governed load"]["rows"] == SIZE.rows[PAST]
    assert phases["prepare"]["rows"] == sum(SIZE.rows.values())
    assert phases["train"]["rows"] == done.data.good_rows(PAST)
    arrivals = int(phases["rescore"]["rows"])
    assert arrivals == sum(part.rows - part.tests - part.broken for part in done.data.of(NEW))
    assert phases["streams"]["rows"] == 2 * arrivals
    assert phases["rescore"]["seconds"] == max(phases["rescore"]["tries"])
    assert len(phases["rescore"]["tries"]) == 2
    for phase in phases.values():
        assert phase["seconds"] > 0
        assert phase["startup_seconds"] > 0
    assert sum(phase["seconds"] + phase["startup_seconds"] for phase in phases.values()) < done.record["seconds"] * 1.1


def test_the_room_that_is_asked_for_beforehand_is_that_of_the_jobs(done: Done) -> None:
    fraud = done.outcomes()["fraud"]
    (told,) = (event["needs"] for event in fraud.events if event["event"] == "fit_needs")
    assert f"for {COLUMNS} columns" in told
    assert rows_learnt(fraud) >= LEARNT * SIZE.rows[PAST]


def test_a_run_that_is_invalid_leaves_everything_and_keeps_personal_values_where_they_were_made(
    done: Done, client: Client
) -> None:
    settings = done.workspace.settings
    assert check_canaries(client, (settings.storage, settings.registry)).holds
    raw = check_canaries(client, (str(done.folder / "data"),))
    assert not raw.holds
    assert "in 36 places" in raw.found  # five columns of 4 files, two of 8


def parts_of(workspace: Workspace, name: str, number: int | None = None) -> list[Path]:
    snapshot = read_snapshot(workspace.store, name, number)
    assert snapshot is not None
    home = Path(workspace.settings.storage) / DATASETS_FOLDER / name
    return [home / fragment.path for fragment in snapshot.fragments]


@pytest.fixture
def copied(done: Done, tmp_path: Path) -> Done:
    """The run's folder, to be damaged."""
    shutil.copytree(done.folder, tmp_path / "bench", symlinks=True)
    return replace(done, folder=tmp_path / "bench")


def rewrite(path: Path, table: pa.Table) -> None:
    path.chmod(0o600)
    pq.write_table(table, path)


def plant_text(path: Path, value: str, column: str) -> None:
    table = pq.read_table(path)
    texts = table[column].cast(pa.string()).to_pylist()
    texts[-1] = value
    rewrite(path, table.set_column(table.schema.get_field_index(column), column, pa.array(texts)))


@pytest.mark.parametrize(
    ("dataset", "column", "value"),
    [
        ("payments", "customer_id", "KV-000000017"),
        ("arrivals", "card_number", "9990-1234-5678-9012"),
        ("training", "region", "ada.17@KanarienVogel.example"),
    ],
)
def test_one_personal_value_in_one_row_of_an_outcome_is_found(
    copied: Done, client: Client, dataset: str, column: str, value: str
) -> None:
    settings = copied.workspace.settings
    plant_text(parts_of(copied.workspace, dataset)[-1], value, column)
    check = check_canaries(client, (settings.storage, settings.registry))
    assert not check.holds
    assert f"{column} of {dataset}/" in check.found
    assert value not in check.found


def test_one_birthday_is_found(copied: Done, client: Client) -> None:
    path = parts_of(copied.workspace, "arrivals")[0]
    table = pq.read_table(path)
    days = table["born"].to_numpy().copy()
    days[3] += np.timedelta64(40, "D")
    rewrite(path, table.set_column(table.schema.get_field_index("born"), "born", pa.array(days)))
    check = check_canaries(client, (copied.workspace.settings.storage,))
    assert not check.holds
    assert "born of arrivals/" in check.found


def as_it_is(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column


def as_time(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.timestamp("us", "UTC"))


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def as_text_of_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.strftime(column.cast(pa.timestamp("us")), "%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("spelled", [as_it_is, as_time, as_text, as_text_of_times])
def test_birthdays_are_found_whatever_their_column_is_called_and_made_of(
    done: Done, tmp_path: Path, client: Client, spelled: Any
) -> None:
    born = pq.read_table(next((done.folder / "data/customers").glob("*.parquet")))["birth_date"]
    (tmp_path / "datasets/one").mkdir(parents=True)
    file = tmp_path / "datasets/one/part.parquet"
    pq.write_table(pa.table({"since": spelled(born)}), file)
    check = check_canaries(client, (str(tmp_path),))
    assert "since of one/part.parquet" in check.found
    years = pc.cast(pc.floor_temporal(born, unit="year"), pa.date32())
    pq.write_table(pa.table({"since": spelled(years)}), file)
    assert check_canaries(client, (str(tmp_path),)).holds


@pytest.mark.parametrize("name", ["records/card.json", "model/card.md", "page.html"])
def test_a_personal_value_in_a_record_or_page_is_found(tmp_path: Path, client: Client, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"x": 1}')
    assert check_canaries(client, (str(tmp_path),)).holds
    for personal in ("Ada van Kanarienvogel", "1957-03-14", "born 1957-03-14 00:00:00"):
        (tmp_path / name).write_text(json.dumps({"x": personal}))
        assert not check_canaries(client, (str(tmp_path),)).holds
    (tmp_path / name).write_text('{"x": "1957-01-01, 2025-03-14"}')
    assert check_canaries(client, (str(tmp_path),)).holds


def test_nothing_to_look_through_is_no_proof(tmp_path: Path, client: Client) -> None:
    assert not check_canaries(client, (str(tmp_path),)).holds


def test_each_arrival_has_one_score_in_every_try_and_stream(done: Done) -> None:
    checks = done.judged()
    assert [name for name, check in checks.items() if not check.holds] == []
    assert set(checks) == {f"{what}, {name}" for what in ("scored once", "ROC AUC") for name in NAMES} | {
        "equal scores"
    }


def scored_twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(5, 1)])


def left_out(table: pa.Table) -> pa.Table:
    return table.slice(1)


def one_for_another(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(1), table.slice(5, 1)])


def without_score(table: pa.Table) -> pa.Table:
    scores = table["probability"].to_numpy().copy()
    scores[0] = float("nan")
    place = table.schema.get_field_index("probability")
    return table.set_column(place, "probability", pa.array(scores, table.schema.field(place).type))


def of_nobody(table: pa.Table) -> pa.Table:
    ids = table["payment_id"].to_numpy().copy()
    ids[0] = 10**9
    return table.set_column(table.schema.get_field_index("payment_id"), "payment_id", pa.array(ids))


@pytest.mark.parametrize("fault", [scored_twice, left_out, one_for_another, without_score, of_nobody])
def test_a_row_that_is_scored_twice_or_not_at_all_is_found(copied: Done, fault: Any) -> None:
    path = parts_of(copied.workspace, "scores_1")[0]
    rewrite(path, fault(pq.read_table(path)))
    checks = copied.judged()
    assert [name for name in NAMES if not checks[f"scored once, {name}"].holds] == ["scores_1"]
    assert checks["equal scores"].found == "scores_1 unlike scores, try 1"


def test_the_first_try_is_looked_at_as_well(copied: Done) -> None:
    path = parts_of(copied.workspace, "scores", 1)[0]
    rewrite(path, left_out(pq.read_table(path)))
    checks = copied.judged()
    assert [name for name in NAMES if not checks[f"scored once, {name}"].holds] == ["scores, try 1"]
    assert not checks["equal scores"].holds


def with_scores(path: Path, scores: Any) -> None:
    table = pq.read_table(path)
    place = table.schema.get_field_index("probability")
    made = scores(table["probability"].to_numpy())
    rewrite(path, table.set_column(place, "probability", pa.array(made, table.schema.field(place).type)))


def test_scores_that_tell_nothing_are_found_in_every_rescore(copied: Done) -> None:
    """All of them alike and each row scored once: what is constant is still no score."""
    workspace = copied.workspace
    outcomes = [("scores", 1), ("scores", 2), ("scores_1", None), ("scores_2", None)]
    for path in (path for name, number in outcomes for path in parts_of(workspace, name, number)):
        with_scores(path, lambda scores: np.full_like(scores, 0.5))
    checks = copied.judged()
    assert [name for name, check in checks.items() if not check.holds] == [f"ROC AUC, {name}" for name in NAMES]
    assert {checks[f"ROC AUC, {name}"].found for name in NAMES} == {"0.5000"}


def test_one_score_that_differs_between_streams_is_found(copied: Done) -> None:
    with_scores(parts_of(copied.workspace, "scores_2")[-1], lambda scores: np.append(scores[:-1], scores[-1] * 0.999))
    assert [check.name for check in copied.judged().values() if not check.holds] == ["equal scores"]


def test_scores_of_other_rows_are_found(copied: Done) -> None:
    for path in parts_of(copied.workspace, "scores_1"):
        with_scores(path, np.flip)
    missed = [check.name for check in copied.judged().values() if not check.holds]
    assert missed == ["ROC AUC, scores_1", "equal scores"]


def test_what_a_run_never_published_is_no_score(copied: Done) -> None:
    journal = copied.folder / "storage" / DATASETS_FOLDER / "scores_1" / "snapshots"
    shutil.rmtree(journal)
    assert copied.judged()["scored once, scores_1"].found.startswith("0 of")


def rows_missed(done: Done, data: Data) -> list[str]:
    return [check.name for check in check_rows(done.outcomes(), data, done.workspace) if not check.holds]


def test_rows_that_are_lost_between_the_files_and_the_outcome_are_found(done: Done) -> None:
    assert rows_missed(done, done.data) == []
    first, *others = done.data.parts
    parts = [replace(part, broken=part.broken + 1) if part.path.startswith(NEW) else part for part in others]
    assert rows_missed(done, Data(parts=(first, *parts))) == ["rows of payments_new", "rows in arrivals"]


@pytest.mark.parametrize("dataset", quality.OUTPUTS)
def test_a_row_that_an_output_lost_is_found(copied: Done, dataset: str) -> None:
    path = parts_of(copied.workspace, dataset)[0]
    rewrite(path, pq.read_table(path).slice(1))
    assert rows_missed(copied, copied.data) == [f"rows in {dataset}"]


def test_the_policy_masks_what_the_workspace_says(done: Done) -> None:
    table = pq.read_table(parts_of(done.workspace, "arrivals")[0])
    assert not {"full_name", "email", "fraud"} & set(table.column_names)
    assert set(pc.unique(pc.utf8_length(table["customer_id"])).to_pylist()) == {32}
    assert table["card_number"][0].as_py().startswith("***")


def test_the_folder_takes_the_data_that_is_there_and_can_be_cleared(copied: Done) -> None:
    place = Place(folder=copied.folder, size=Size(scale=0.002, seed=5), storage=None)
    clear(place)
    assert sorted(path.name for path in copied.folder.iterdir()) == ["bench.html", "bench.json", "results.jsonl"]
