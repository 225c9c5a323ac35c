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
from dataops.bench.quality import check_canaries, check_rows, check_scores
from dataops.bench.results import COUNTED, read_results
from dataops.bench.sizes import NEW, PAST, Size, size_of
from dataops.cli.main import main
from dataops.datasets.snapshot import DATASETS_FOLDER, read_snapshot
from dataops.errors import Integrity
from dataops.runs.ledger import RunState
from dataops.runs.workspace import Workspace, open_workspace
from tests.line.running import standing_cluster

SIZE = size_of(0.002, 5)
NAMES = ("scores", "scores_1", "scores_2")
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
    arrivals = int(phases["rescore"]["rows"])
    assert arrivals == sum(part.rows - part.tests - part.broken for part in done.data.of(NEW))
    assert phases["streams"]["rows"] == 2 * arrivals
    assert phases["rescore"]["seconds"] == max(phases["rescore"]["tries"])
    assert len(phases["rescore"]["tries"]) == 2
    for phase in phases.values():
        assert phase["seconds"] > 0
        assert phase["startup_seconds"] > 0
    assert sum(phase["seconds"] + phase["startup_seconds"] for phase in phases.values()) < done.record["seconds"] * 1.1


def test_a_run_that_is_invalid_leaves_everything_and_keeps_personal_values_where_they_were_made(
    done: Done, client: Client
) -> None:
    settings = done.workspace.settings
    assert check_canaries(client, (settings.storage, settings.registry)).holds
    raw = check_canaries(client, (str(done.folder / "data"),))
    assert not raw.holds
    assert "in 36 places" in raw.found  # five columns of 4 files, two of 8


def parts_of(workspace: Workspace, name: str) -> list[Path]:
    snapshot = read_snapshot(workspace.store, name)
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


@pytest.mark.parametrize("name", ["records/card.json", "model/card.md", "page.html"])
def test_a_personal_value_in_a_record_or_page_is_found(tmp_path: Path, client: Client, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"x": 1}')
    assert check_canaries(client, (str(tmp_path),)).holds
    (tmp_path / name).write_text('{"x": "Ada van Kanarienvogel"}')
    assert not check_canaries(client, (str(tmp_path),)).holds


def test_nothing_to_look_through_is_no_proof(tmp_path: Path, client: Client) -> None:
    assert not check_canaries(client, (str(tmp_path),)).holds


def test_each_arrival_has_one_score(done: Done) -> None:
    checks = list(check_scores(done.workspace, NAMES, done.data, SIZE))
    assert [check.holds for check in checks] == [True, True, True]


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
    checks = {check.name: check.holds for check in check_scores(copied.workspace, NAMES, copied.data, SIZE)}
    assert checks == {"scored once, scores": True, "scored once, scores_1": False, "scored once, scores_2": True}


def test_rows_that_are_lost_between_the_files_and_the_outcome_are_found(done: Done) -> None:
    assert [check.holds for check in check_rows(done.outcomes(), done.data)] == [True, True]
    first, *others = done.data.parts
    parts = [replace(part, broken=part.broken + 1) if part.path.startswith(PAST) else part for part in others]
    lost = Data(parts=(first, *parts))
    assert [check.holds for check in check_rows(done.outcomes(), lost)] == [False, True]


def test_the_policy_masks_what_the_workspace_says(done: Done) -> None:
    table = pq.read_table(parts_of(done.workspace, "arrivals")[0])
    assert not {"full_name", "email", "fraud"} & set(table.column_names)
    assert set(pc.unique(pc.utf8_length(table["customer_id"])).to_pylist()) == {32}
    assert table["card_number"][0].as_py().startswith("***")


def test_the_folder_takes_the_data_that_is_there_and_can_be_cleared(copied: Done) -> None:
    place = Place(folder=copied.folder, size=Size(scale=0.002, seed=5), storage=None)
    clear(place)
    assert sorted(path.name for path in copied.folder.iterdir()) == ["bench.html", "bench.json", "results.jsonl"]
