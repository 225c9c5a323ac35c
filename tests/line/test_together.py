"""Versions that scored one file in one pass, compared by outcomes: on the very same rows, of the newest days alone,
with a challenger's alias that points nowhere yet, and a champion that is taken back by its figures.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from distributed import Client
from sklearn.metrics import roc_auc_score

from dataops.cli.main import main
from dataops.declarations.metrics import Metric
from dataops.engine.connect import Connection
from dataops.errors import AccessDenied, Conflict, InvalidInput
from dataops.promotion.override import Override
from dataops.records import now_utc
from dataops.registry.aliases import last_move
from dataops.runs.execute import Outcome
from dataops.runs.guarding import Guard, Kept, guard_champion
from dataops.runs.models import set_alias
from dataops.runs.promotion import promote_version
from tests.line.people import make_people, make_workspace
from tests.line.running import Line

DAYS, ROWS = 6, 200
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: outcomes
name: outcomes
version: 1.0.0
status: active
schema:
  - name: outcomes
    properties:
      - {name: person_id, logicalType: string, physicalType: string, required: true, classification: pii.direct}
      - {name: rich, logicalType: boolean, physicalType: bool, classification: outcome}
      - {name: seen_at, logicalType: timestamp, physicalType: "timestamp[us, tz=UTC]", classification: work}
"""
JOBS = """\
name: daily_scores
job: rescore
model: wealth@champion
challengers: {next: wealth@challenger}
input: {dataset: people_daily, follow: true, settle_seconds: 0}
keep: [person_id]
outputs: [probability]
errors: {max_rate: 0.1}
output: people_daily_scores
---
name: daily_realised
job: evaluate
scores: people_daily_scores
labels: people_outcomes
key: [person_id]
target: rich
metrics: [roc_auc, log_loss]
---
name: lately_realised
job: evaluate
scores: people_daily_scores
labels: people_outcomes
key: [person_id]
target: rich
metrics: [roc_auc, log_loss]
latest: {column: seen_at, days: 2}
"""
RULES = """\
model: wealth
rules:
  - {realised: {job: daily_realised, metric: roc_auc, max_loss: 0.3, min_rows: 150}}
  - {metric: roc_auc, minimum: 0.6}
"""


def make_day(day: int) -> pa.Table:
    """The grown-ups of a day, all of whom are scored."""
    table = make_people(np.random.default_rng(100 + day), day * ROWS, ROWS, "secret")
    age = np.where(np.arange(ROWS) % 20 == 0, 40, np.maximum(table["age"].to_numpy(), 18))
    return table.set_column(table.schema.get_field_index("age"), "age", pa.array(age, pa.int32()))


def arrive(line: Line, day: int) -> None:
    """Day `day` arrives, and with it the outcomes of that day."""
    table = make_day(day)
    pq.write_table(table, line.folder / f"data/people_daily/day-{day}.parquet")
    seen = pa.array([FIRST + timedelta(days=day, minutes=i) for i in range(ROWS)], pa.timestamp("us", "UTC"))
    outcomes = table.select(["person_id", "rich"]).append_column("seen_at", seen)
    pq.write_table(outcomes, line.folder / f"data/people_outcomes/day-{day}.parquet")


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    """Version 1 is champion; nothing arrived, and nobody challenges."""
    folder = make_workspace(tmp_path_factory.mktemp("together") / "town", files=2)
    (folder / "contracts/outcomes.yaml").write_text(CONTRACT)
    (folder / "jobs/daily.yaml").write_text(JOBS)
    for name, contract in (("people_daily", "people"), ("people_outcomes", "outcomes")):
        (folder / "data" / name).mkdir()
        entry = f"name: {name}\nurl: data/{name}\nzone: production\ncontract: contracts/{contract}.yaml\n"
        (folder / "catalog" / f"{name}.yaml").write_text(entry)
    line = Line(folder=folder, connection=Connection(client=cluster, dashboard="", workers=2, threads=1))
    line.run("people_ready")
    line.run("wealth")
    promote_version(line.workspace, "wealth", 1, reason="test")
    (folder / "jobs/promotion.yaml").write_text(RULES)
    return line


def daily(line: Line, job: str) -> Outcome:
    return line.run(job, file="jobs/daily.yaml")


@pytest.fixture(scope="module")
def scored(days: Line) -> Line:
    """Of six days two with nobody beside the champion, four with version 2."""
    for day in range(DAYS):
        if day == 2:
            set_alias(days.workspace, "wealth@2", "challenger", reason="to be compared")
        arrive(days, day)
        assert not daily(days, "daily_scores").skipped
    return days


def rows_of(line: Line, versions: set[int], days: range) -> tuple[list[bool], dict[int, list[float]]]:
    """Outcomes of `days`, and what each of `versions` gave, in one order."""
    labels = [rich for day in days for rich in make_day(day)["rich"].to_pylist()]
    rows = line.rows("people_daily_scores")[days.start * ROWS : days.stop * ROWS]
    columns = {1: "probability", 2: "probability_next"}
    return labels, {version: [row[columns[version]] for row in rows] for version in versions}


def test_an_alias_that_points_nowhere_yet_is_stood_in_for_and_said(scored: Line) -> None:
    runs = [scored.workspace.ledger.read(run) for run in scored.workspace.ledger.ids() if "daily_scores" in run]
    runs.sort(key=lambda run: run.created_at)
    assert [run.challengers["next"]["version"] for run in runs] == [1, 1, 2, 2, 2, 2]
    said = scored.said.getvalue()
    assert said.count("note: challenger next: wealth@challenger points nowhere yet, so wealth@1 stands in") == 2
    first = scored.rows("people_daily_scores")[: 2 * ROWS]
    assert all(row["probability"] == row["probability_next"] for row in first)


def test_a_version_that_is_not_there_is_no_alias_that_points_nowhere(days: Line) -> None:
    job = JOBS.partition("---")[0].replace("wealth@challenger", "wealth@9").replace("daily_scores", "nobody")
    (days.folder / "jobs/nobody.yaml").write_text(job)
    typed = CliRunner().invoke(main, ["job", "explain", "jobs/nobody.yaml", "-w", str(days.folder)])
    assert typed.exit_code == 3
    (days.folder / "jobs/nobody.yaml").unlink()


def test_two_versions_are_compared_on_the_rows_that_both_scored(scored: Line) -> None:
    result = daily(scored, "daily_realised").state.result
    (pair,) = result["compared"]
    labels, scores = rows_of(scored, {1, 2}, range(2, DAYS))
    assert pair["judged"] == len(labels) == 4 * ROWS
    for one in pair["versions"]:
        bound = one["overall"]["roc_auc_error_bound"]
        assert one["overall"]["roc_auc"] == pytest.approx(roc_auc_score(labels, scores[one["version"]]), abs=bound)
    judged = {(one["candidate"], one["version"]): one["judged"] for one in result["versions"]}
    assert judged == {("own", 1): 6 * ROWS, ("next (wealth@1)", 1): 2 * ROWS, ("next (wealth@2)", 2): 4 * ROWS}


def test_only_the_newest_days_are_judged_where_a_job_asks_for_them(scored: Line) -> None:
    result = daily(scored, "lately_realised").state.result
    # the newest outcome is of the sixth day, at 03:19: what is over two days older isn't judged
    assert result["realised"]["outcomes"] == 2 * ROWS
    labels, scores = rows_of(scored, {1}, range(4, DAYS))
    own = next(one for one in result["versions"] if one["candidate"] == "own")
    figures = own["metrics"]["realised"]["overall"]
    expected = roc_auc_score(labels, scores[1])
    assert figures["roc_auc"] == pytest.approx(expected, abs=figures["roc_auc_error_bound"])
    assert [one["judged"] for one in result["compared"]] == [2 * ROWS]


@pytest.mark.parametrize(
    ("column", "family", "why"),
    [
        ("rich", InvalidInput, "latest: 'rich' is bool; expected dates or timestamps"),
        ("sean_at", InvalidInput, "no column 'sean_at'"),
    ],
)
def test_days_are_counted_by_a_column_of_times(scored: Line, column: str, family: type[Exception], why: str) -> None:
    text = JOBS.rpartition("---\n")[2].replace("column: seen_at", f"column: {column}")
    (scored.folder / "jobs/wrong.yaml").write_text(text)
    before = scored.workspace.ledger.ids()
    with pytest.raises(family, match=why):
        scored.run("lately_realised", file="jobs/wrong.yaml")
    assert scored.workspace.ledger.ids() == before
    (scored.folder / "jobs/wrong.yaml").unlink()


def test_a_group_too_small_to_show_compares_nobody(scored: Line) -> None:
    """One company has fewer rows than the policies show figures about: another figure less would tell of them."""
    policy = scored.folder / "policies/people.yaml"
    before = policy.read_text()
    small = 2 * ROWS + 1
    try:
        policy.write_text(f"{before}  - {{id: crowds, effect: group, min_size: {small}}}\n")
        result = daily(scored, "daily_realised").state.result
        assert "compared" not in result
        assert "fewer than the policies show" in result["not_compared"]
        policy.write_text(f"{before}  - {{id: crowds, effect: group, min_size: {7 * ROWS}}}\n")
        with pytest.raises(AccessDenied):
            daily(scored, "daily_realised")
    finally:
        policy.write_text(before)


def _type(line: Line, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--workspace", str(line.folder)])


def test_a_challenger_is_gated_by_outcomes_and_its_promotion_guarded(scored: Line) -> None:
    workspace = scored.workspace
    daily(scored, "daily_realised")
    rules = scored.folder / "jobs/promotion.yaml"
    rules.write_text(RULES.replace("max_loss: 0.3", "min_gain: 0.3"))
    with pytest.raises(Conflict, match=r"rule 1, roc_auc on daily_realised-.*has to gain 0.3 on the champion"):
        promote_version(workspace, "wealth", 2, reason="too early")
    rules.write_text(RULES)
    asked = Guard(job="daily_realised", metric=Metric.ROC_AUC, minimum=0.99, within=timedelta(days=7))
    first = guard_champion(workspace, "wealth", asked, now=now_utc() + timedelta(days=8))
    assert (first.outcome, first.why) == (Kept.KEPT, "7 days of probation are over")
    promote_version(workspace, "wealth", 2, reason="better on outcomes")
    unknown = guard_champion(workspace, "wealth", asked, now=now_utc())
    assert unknown.outcome is Kept.UNKNOWN
    assert "judged no row that wealth@2 scored as champion yet" in unknown.why
    arrive(scored, DAYS)
    daily(scored, "daily_scores")
    daily(scored, "daily_realised")
    few = Guard(job="daily_realised", metric=Metric.ROC_AUC, minimum=0.99, min_rows=ROWS + 1)
    assert "fewer than 201 don't count" in guard_champion(workspace, "wealth", few, now=now_utc()).why
    kept = Guard(job="daily_realised", metric=Metric.ROC_AUC, minimum=0.5, max_loss=0.4)
    assert guard_champion(workspace, "wealth", kept, now=now_utc()).outcome is Kept.KEPT

    options = [
        "--job",
        "daily_realised",
        "--metric",
        "roc_auc",
        "--minimum",
        "0.99",
        "--by",
        "schedule nightly",
        "--json",
    ]
    typed = _type(scored, "model", "guard", "wealth", *options)
    assert typed.exit_code == 0, typed.output
    told = json.loads(typed.stdout)
    assert (told["outcome"], told["judged"], told["champion"]) == ("rolled_back", "wealth@2", "wealth@1")
    last = last_move(workspace.registry, "wealth")
    assert last is not None
    assert (last.version, str(last.kind)) == (1, "rolled_back")
    assert last.reason.startswith("schedule nightly: roc_auc is 0.")
    assert "on 200 rows of daily_realised-" in last.reason
    shown = json.loads(_type(scored, "audit", "show", "--json").output)
    assert [one["reason"] for one in shown if one.get("event") == "model_rollback"] == [last.reason]

    again = json.loads(_type(scored, "model", "guard", "wealth", *options).stdout)
    assert (again["outcome"], again["judged"]) == ("rolled_back", "wealth@1")  # it tells what it did, and does no more
    other = guard_champion(workspace, "wealth", asked, now=now_utc())
    assert (other.outcome, "no probation" in other.why) == (Kept.KEPT, True)
    assert len(list((Path(str(scored.folder)) / "registry/wealth/aliases/champion").iterdir())) == 3


def test_a_guard_that_bounds_nothing_is_refused(scored: Line) -> None:
    with pytest.raises(InvalidInput, match="a guard bounds something"):
        guard_champion(scored.workspace, "wealth", Guard(job="daily_realised", metric=Metric.ROC_AUC), now=now_utc())
    typed = _type(scored, "model", "guard", "wealth", "--job", "x", "--metric", "roc", "--minimum", "0.5")
    assert typed.exit_code == 2
    assert "Did you mean 'roc_auc'" in typed.output


def test_an_override_lets_a_version_through_that_outcomes_refuse(scored: Line) -> None:
    rules = scored.folder / "jobs/promotion.yaml"
    rules.write_text(RULES.replace("max_loss: 0.3", "min_gain: 0.3"))
    override = Override(why="agreed", until=now_utc() + timedelta(days=2))
    promoted = promote_version(scored.workspace, "wealth", 2, reason="again", override=override)
    assert promoted.overridden
    assert [finding.kind for finding in promoted.verdict.failed] == ["realised"]
    rules.write_text(RULES)
