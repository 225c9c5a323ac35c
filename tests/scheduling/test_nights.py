"""The nights example in short: seven days of half of the flights, each step typed in this process. A retraining is
triggered, gated by outcomes and promoted; a challenger by mistake is refused, and rolled back where a person promotes
it. An application that embeds the champion follows all of it without a restart.

Needs the network once, for an archive that is kept in the user's cache.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from distributed import Client

from dataops.cli.main import main
from dataops.demo.fetch import cache_folder, fetch
from dataops.engine.connect import Connection
from dataops.errors import NotFound, Storage
from dataops.registry.aliases import history
from dataops.runs.audit import check_audit
from dataops.runs.ledger import State
from dataops.scheduling.working import Result, StepCommand, parse_answer
from dataops.storage.objects import Store
from tests.line.running import no_reports
from tests.runtime.examples import wait_until
from tests.runtime.traffic import APP, running
from tests.runtime.traffic import Client as Http

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
]  # a minute on a machine of its own, and several on one that others use

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/flights"
FIRST = date(2013, 11, 11)
DAYS = [date(2013, 11, day) for day in range(11, 18)]
TRAINED, OVERRIDDEN = date(2013, 11, 13), date(2013, 11, 15)
SMALLER = {
    "jobs/promotion.yaml": [
        ("min_gain: 0.002, min_rows: 3000", "max_loss: 0.1, min_rows: 250"),
        ("{metric: roc_auc, minimum: 0.6}", "{metric: roc_auc, minimum: 0.55}"),
        ("max_loss: 0.01, min_rows: 3000", "max_loss: 0.2, min_rows: 250"),
    ],
    "schedules/nights.yaml": [
        ("below: 0.68, min_rows: 2000", "below: 0.9, min_rows: 100"),
        ("cool_down: 3d", "cool_down: 1d"),
        ("minimum: 0.5, within: 14d, min_rows: 500", "minimum: 0.6, within: 14d, min_rows: 250"),
    ],
}


@pytest.fixture(scope="module")
def example() -> Any:
    sys.path.insert(0, str(EXAMPLE))
    try:
        import nights
    finally:
        sys.path.remove(str(EXAMPLE))
    return nights


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was done before anybody asked."""

    result: Result

    def poll(self) -> Result:
        return self.result

    def stop(self) -> None:
        pass


@dataclass(slots=True)
class TypedHere:
    """Starts steps by typing their verb in this process."""

    folder: Path
    typed: list[tuple[str, ...]] = field(default_factory=list)

    def start(self, command: StepCommand) -> Done:
        self.typed.append(command.arguments)
        with chdir(self.folder):
            said = CliRunner().invoke(main, list(command.arguments))
        answer = parse_answer(said.stdout.encode())
        error = (answer.get("error") or {}) if said.exit_code else {}
        return Done(
            Result(
                exit_code=said.exit_code,
                answer=answer,
                error=error.get("message"),
                may_pass=error.get("may_pass") is True,
            )
        )


@contextmanager
def standing(cluster: Client) -> Iterator[None]:
    """Jobs run on `cluster`, and draw no pages."""
    connection = Connection(client=cluster, dashboard="", workers=2, threads=1)

    @contextmanager
    def joined(*_: object, **__: object) -> Iterator[Connection]:
        yield connection

    with patch("dataops.runs.execute.connect", joined), no_reports():
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """The nights once they passed; `served` is the version that the application named after each day."""

    nights: Any
    page: Path
    said: list[str]
    served: Mapping[date, str]
    processes: set[int]

    def kinds(self, kind: str) -> list[tuple[date, str]]:
        """The days of decisions of a kind, and what was decided."""
        return [(one.at.date(), one.what) for one in self.nights.done if one.kind == kind]


@pytest.fixture(scope="module")
def passed(example: Any, cluster: Client, tmp_path_factory: pytest.TempPathFactory) -> Passed:
    try:
        tables = example.read_tables(fetch(example.ARCHIVE, cache_folder(os.environ)))
    except (NotFound, Storage) as error:
        pytest.skip(f"the flights can't be fetched: {error}")
    flights: pa.Table = tables["flights"]
    some = pc.and_(
        pc.equal(pc.bit_wise_and(flights["flight"], 1), 1), pc.is_in(flights["month"], pa.array([7, 8, 9, 10, 11]))
    )
    flights = example.join_flights({**tables, "flights": flights.filter(some)})
    folder = tmp_path_factory.mktemp("nights") / "town"
    starter = TypedHere(folder)

    def start(_store: Store, _folder: Path) -> TypedHere:
        return starter

    nights = example.make_nights(folder, flights, since=date(2013, 7, 1), until=FIRST, start=start)
    for file, changes in SMALLER.items():
        text = (folder / file).read_text()
        for before, after in changes:
            assert text.count(before) == 1
            text = text.replace(before, after)
        (folder / file).write_text(text)
    acts = {TRAINED: example.train_mistaken, OVERRIDDEN: example.promote_mistaken}
    said: list[str] = []
    served: dict[date, str] = {}
    with standing(cluster):
        nights.begin()
        command = [sys.executable, str(APP), str(folder / "registry"), "late_arrival"]
        with running([*command, "--signers", str(folder / "signers.yaml"), "--every", "0.2"]) as port:
            client = Http(port)
            for day in DAYS:
                example.let_pass(nights, [day], acts, said.append)
                last = list(history(nights.workspace.registry, "late_arrival"))[-1]
                wait_until(partial(_serves, client, f"late_arrival@{last.version}"))
                served[day] = client.ask("GET", "/health")[1]["version"]
            processes = {client.ask("GET", "/health")[1]["generation"]}
        page = example.write_page(nights.workspace, nights.done, folder / "nights.html")
    return Passed(nights=nights, page=page, said=said, served=served, processes=processes)


def _serves(client: Http, version: str) -> bool:
    return bool(client.ask("GET", "/health")[1]["version"] == version)


def test_every_day_was_scored_once_and_judged_a_day_later(passed: Passed) -> None:
    ledger = passed.nights.workspace.ledger
    scored = [ledger.state(run) for run in ledger.ids() if run.startswith("flight_scores-201311")]
    assert [state.state for state in scored] == [State.DONE] * len(DAYS)
    flights = passed.nights.flights
    expected = [pc.sum(pc.equal(flights["day"], day)).as_py() for day in DAYS]
    assert [state.result["reads"]["input"]["counts"]["passed"] for state in scored] == expected
    assert sum(line.startswith("2013-11-") for line in passed.said) == len(DAYS)


def test_a_figure_triggered_a_retraining_whose_version_outcomes_promoted(passed: Passed) -> None:
    ((day, what),) = passed.kinds("done")
    assert (day, what) == (date(2013, 11, 11), "late_arrival@2 is challenger")
    ((day, what),) = passed.kinds("promoted")
    assert (day, what) == (date(2013, 11, 13), "promoted: late_arrival@2 is champion")
    moves = list(history(passed.nights.workspace.registry, "late_arrival"))
    assert [(one.version, str(one.kind)) for one in moves] == [
        (1, "promoted"),
        (2, "promoted"),
        (3, "promoted"),
        (2, "rolled_back"),
    ]
    assert moves[1].reason == "schedule nightly, slot 20131113t103000z"
    assert all(one.trusted for one in moves)


def test_a_version_by_mistake_looks_well_on_paper_and_is_refused_by_outcomes(passed: Passed) -> None:
    registry = passed.nights.workspace.registry
    on_paper = registry.read("late_arrival", 3).package.metrics["holdout"]["overall"]["roc_auc"]
    assert on_paper > 0.55
    refused = [one for one in passed.kinds("refused") if "late_arrival@3" in one[1]]
    assert [day for day, _ in refused] == [date(2013, 11, 14), date(2013, 11, 15)]
    assert "no run of job 'flight_realised' judged late_arrival@3 and late_arrival@2 on the same rows" in refused[0][1]
    assert "rule 2, roc_auc on flight_realised-20131115t103000-" in refused[1][1]
    assert "may lose 0.1 against the champion" in refused[1][1]


def test_promoted_against_its_gates_it_is_rolled_back_by_its_first_outcomes(passed: Passed) -> None:
    ((day, what),) = passed.kinds("rolled_back")
    assert day == date(2013, 11, 17)
    assert "schedule nightly, slot 20131117t103000z: roc_auc is 0." in what
    assert what.endswith("below 0.6")
    typed = CliRunner().invoke(main, ["audit", "show", "--json", "-w", str(passed.nights.folder)])
    events = [one for one in json.loads(typed.output) if one.get("event") in ("model_rollback", "model_override")]
    assert [one["event"] for one in events] == ["model_override", "model_rollback"]
    assert events[1]["reason"] == what.removeprefix("rolled back: ")
    assert check_audit(passed.nights.workspace).broken == ()


def test_an_application_followed_it_all_without_a_restart(passed: Passed) -> None:
    versions = {day: version.partition("@")[2] for day, version in passed.served.items()}
    assert [versions[day] for day in DAYS] == ["1", "1", "2", "2", "3", "3", "2"]
    assert passed.processes == {4}  # the fourth generation, in the process that began with the first


def test_the_page_tells_it_and_asks_nobody(passed: Passed) -> None:
    text = passed.page.read_text()
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    body = text[: text.index("<script")]
    for told in ("rolled back", "refused", "promoted against its gates", "late_arrival@2 is champion", "Mon 11 Nov"):
        assert told in body
    assert "http://" not in body.replace("http://www.w3.org", "")
    data = json.loads(text.split('id="chart-data"')[1].split(">", 1)[1].split("</script>")[0])
    assert [one["target_id"] for one in data] == ["champions", "realised", "drift"]
