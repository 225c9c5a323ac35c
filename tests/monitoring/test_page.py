"""The page on a real Dask dashboard: its tab, its document, its JSON, its metrics, and what tasks did by worker."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from bokeh.client import pull_session
from distributed import Client, LocalCluster

from dataops.engine.connect import Connection
from dataops.engine.progress import Progress
from dataops.engine.telling import TOPIC, Teller
from dataops.errors import Compute
from dataops.monitoring.flow import Done
from dataops.monitoring.page import NAME, PATH, PagePlugin, page_address
from dataops.runs.showing import shown
from tests.line.people import make_workspace
from tests.line.running import Line
from tests.monitoring.messages import BUSY, RUN


def page_of(client: Client) -> str:
    return page_address(client.dashboard_link)


def get(address: str) -> str:
    with urlopen(address, timeout=30) as answer:  # noqa: S310  # on this machine
        return bytes(answer.read()).decode()


def eventually(look: Callable[[], Any]) -> Any:
    """What `look` finds, once it finds anything."""
    ends = time.monotonic() + 60
    while not (found := look()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return found


def texts(address: str, **arguments: str) -> str:
    """All text of the document that a browser would get."""
    session = pull_session(url=address, arguments=arguments)
    try:
        parts = [str(model.text) for model in session.document.models if hasattr(model, "text")]
        return re.sub(r"\s+", " ", unescape(re.sub("<[^>]*>", " ", " ".join(parts))))
    finally:
        session.close()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, cluster: Client) -> Line:
    folder = make_workspace(tmp_path_factory.mktemp("page") / "people")
    dashboard = str(cluster.dashboard_link)
    return Line(folder=folder, connection=Connection(client=cluster, dashboard=dashboard, workers=2, threads=1))


@pytest.fixture(scope="module")
def run(line: Line) -> str:
    return line.run("people_ready").state.run.id


@pytest.fixture
def client() -> Iterator[Client]:
    """A scheduler of its own, in this process."""
    at = {"host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(n_workers=0, processes=False, **at) as started,
        Client(started, set_as_default=False) as connected,
    ):
        yield connected


def play(client: Client, run: str = "played-1-2") -> Teller:
    """A run that goes on, as a driver tells of it."""
    teller = Teller(client, run)
    for message in BUSY:
        fields = {name: value for name, value in message.items() if name not in ("event", "run", "at", "client")}
        teller.tell(message["event"], **fields, **({"client": client.id} if "client" in message else {}))
    teller.close()
    return teller


def test_every_page_of_the_dashboard_has_our_tab_once(cluster: Client, run: str) -> None:
    cluster.register_plugin(PagePlugin())
    for page in ("status", "workers"):
        assert get(str(cluster.dashboard_link).replace("status", page)).count(f'href="{PATH}"') == 1


def test_a_run_is_told_where_people_can_watch_it(cluster: Client, line: Line, run: str) -> None:
    assert page_of(cluster) in line.said.getvalue()


def test_the_page_fetches_nothing_from_elsewhere(cluster: Client, run: str) -> None:
    html = get(page_of(cluster))
    fetched = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"']([^\"']+)", html)
    assert len(fetched) > 3
    assert [url for url in fetched if "//" in url] == []


def test_a_run_that_was_done_shows_phases_receipts_and_what_was_masked(cluster: Client, run: str) -> None:
    told = texts(page_of(cluster), run=run)
    for words in ("people_ready", "done", "prepare", "publish", "What became of rows", "masked"):
        assert words in told
    assert "people_ready" in texts(page_of(cluster))
    assert "No such run here" in texts(page_of(cluster), run="nobody")


def test_json_tells_phases_with_units_rows_and_receipts(cluster: Client, line: Line, run: str) -> None:
    record = json.loads(get(f"{page_of(cluster)}.json"))
    (found,) = [one for one in record["runs"] if one["run"] == run]
    assert (found["state"], found["kind"], found["workers"]) == ("done", "prepare", 2)
    phases = {one["phase"]: one for one in found["phases"]}
    assert phases["publish"]["outcome"] == "done"
    counts = line.workspace.ledger.state(run).result["reads"]["input"]["counts"]
    assert {name: phases["prepare"]["counts"][name] for name in ("read", "passed", "quarantined")} == {
        name: counts[name] for name in ("read", "passed", "quarantined")
    }
    assert phases["prepare"]["units_done"] == phases["prepare"]["units"] > 0


def test_no_name_of_a_person_and_no_filter_goes_to_the_dashboard(cluster: Client, line: Line, run: str) -> None:
    state = line.workspace.ledger.state(run)
    filters = [text for given in state.run.inputs.values() for text in given["grant"]["effect"]["filters"]]
    assert filters
    events = [message for _, message in cluster.get_events("dataops") if message["run"] == run]
    told = json.dumps(events) + get(f"{page_of(cluster)}.json")
    assert f'"{state.run.principal}"' not in told
    for text in filters:
        assert json.dumps(text) not in told


def test_what_workers_did_adds_up_to_the_rows_that_were_read(cluster: Client, line: Line, run: str) -> None:
    rows, size = cluster.run_on_scheduler(_flow_of, run=run)
    assert rows == pytest.approx(line.workspace.ledger.state(run).result["reads"]["input"]["counts"]["read"])
    assert size > 0


def test_workers_are_numbered_as_in_the_recording() -> None:
    """By those that were there when the run began, not by who was first with a task."""
    plugin = PagePlugin()
    plugin._scheduler = SimpleNamespace(workers={"tcp://a:1": None, "tcp://b:1": None})
    plugin.log_event(TOPIC, BUSY[0])
    task = Done(worker="tcp://b:1", start=1.0, stop=2.0, rows=1, size_bytes=1)
    plugin._done[RUN] = [task]
    plugin.flush()
    assert plugin.board.runs[RUN].flow.workers == ("tcp://a:1", "tcp://b:1")


def _flow_of(dask_scheduler: Any, run: str) -> tuple[float, float]:
    plugin = dask_scheduler.plugins[NAME]
    plugin.flush()
    cells = [cell for by_worker in plugin.board.runs[run].flow.bins.values() for cell in by_worker.values()]
    return sum(rows for rows, _ in cells), sum(size for _, size in cells)


def test_dask_s_own_fine_performance_page_knows_run_and_phase(cluster: Client, run: str) -> None:
    assert (run, "prepare") in cluster.run_on_scheduler(_spans)
    eventually(lambda: cluster.run_on_scheduler(_spans)[(run, "prepare")] > 0)  # it comes with a heartbeat


def _spans(dask_scheduler: Any) -> dict[tuple[str, ...], float]:
    found = dask_scheduler.extensions["spans"].spans.values()
    return {
        one.name: sum(value for key, value in one.cumulative_worker_metrics.items() if key[-1] == "seconds")
        for one in found
    }


def test_metrics_are_beside_dask_s_own(cluster: Client, run: str) -> None:
    pytest.importorskip("prometheus_client")
    told = get(str(cluster.dashboard_link).replace("status", "metrics"))
    assert "dask_scheduler_workers" in told
    assert float(re.findall(r'^dataops_runs_total\{state="done"\} (\S+)', told, re.MULTILINE)[0]) >= 1
    assert float(re.findall(r'^dataops_rows_total\{kind="prepare"\} (\S+)', told, re.MULTILINE)[0]) > 0


def test_a_run_that_goes_on_shows_and_changes_while_somebody_looks(client: Client) -> None:
    client.register_plugin(PagePlugin())
    teller = play(client)
    session = pull_session(url=page_of(client))
    try:
        assert any("10 of 40 units" in text for text in drawn(client))
        teller.tell("progress", phase="score", units=20, rows=2000)
        eventually(lambda: any("20 of 40 units" in text for text in drawn(client)))
    finally:
        session.close()


def drawn(client: Client) -> list[str]:
    """The texts of the documents that somebody looks at, as the server has them."""
    documents = [one.document for one in client.cluster.scheduler.plugins[NAME]._app.get_sessions(f"/{PATH}")]
    return [str(model.text) for document in documents for model in list(document.models) if hasattr(model, "text")]


def test_a_run_whose_driver_goes_without_a_word_is_lost(client: Client) -> None:
    client.register_plugin(PagePlugin())
    with Client(client.scheduler.address, set_as_default=False) as driver:
        play(driver, "left-1-2")
    state = eventually(lambda: json.loads(get(f"{page_of(client)}.json"))["runs"][0]["state"] != "running")
    assert state
    assert json.loads(get(f"{page_of(client)}.json"))["runs"][0]["state"] == "lost"


def test_a_run_whose_driver_was_cut_off_and_comes_back_goes_on(client: Client) -> None:
    client.register_plugin(PagePlugin())
    plugin = client.cluster.scheduler.plugins[NAME]
    with Client(client.scheduler.address, set_as_default=False) as driver:
        teller = play(driver, "cut-1-2")
        driver.loop.add_callback(driver.scheduler_comm.comm.abort)
        eventually(lambda: ("runs", "lost") in plugin.board.totals)
        eventually(lambda: plugin.board.runs["cut-1-2"].state == "running")
        teller.tell("progress", phase="score", units=20, rows=2000)
        eventually(lambda: plugin.board.runs["cut-1-2"].phase.units_done == 20)
        teller.tell("run_ended", state="done")
        teller.close()
    assert plugin.board.runs["cut-1-2"].state == "done"


def test_what_the_scheduler_sees_itself_nobody_else_tells(client: Client) -> None:
    client.register_plugin(PagePlugin())
    teller = play(client)
    teller.tell("client_left", client=client.id)
    teller.tell("worked", tasks=5)
    teller.tell("progress", phase="score", units=20, rows=2000)
    teller.close()
    run = client.cluster.scheduler.plugins[NAME].board.runs["played-1-2"]
    assert (run.state, run.phase.units_done) == ("running", 20)


def test_a_run_that_fails_says_why_and_what_came_after_does_not_undo_it(client: Client) -> None:
    connection = Connection(client=client, dashboard=str(client.dashboard_link), workers=0, threads=0)
    said = Progress(io.StringIO())
    with (
        pytest.raises(Compute),
        shown(connection, "failing-1-2", job="failing", kind="prepare", figures={}, progress=said) as (_, page),
    ):
        raise Compute("workers died several times over unit u000003")
    (run,) = json.loads(get(f"{page}.json"))["runs"]
    assert (run["state"], run["error"]) == ("failed", "Compute: workers died several times over unit u000003")
    assert "workers died several times over unit u000003" in texts(page)
    assert "dataops job resume failing-1-2" in texts(page, run="failing-1-2")


def test_a_cluster_without_runs_has_its_page_too(client: Client) -> None:
    client.register_plugin(PagePlugin())
    assert "No run on this cluster yet" in texts(page_of(client))
    assert json.loads(get(f"{page_of(client)}.json"))["runs"] == []


def test_behind_a_prefix_all_is_below_it() -> None:
    options = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"http_prefix": "/hub/dask"}}
    with LocalCluster(n_workers=0, processes=False, **options) as started, Client(started) as client:
        client.register_plugin(PagePlugin())
        port = client.cluster.scheduler.http_server.port
        address = f"http://127.0.0.1:{port}/hub/dask/{PATH}"
        assert json.loads(get(f"{address}.json"))["runs"] == []
        assert "<html" in get(address)
        with pytest.raises(HTTPError):
            get(f"http://127.0.0.1:{port}/{PATH}")


def test_a_scheduler_without_a_dashboard_keeps_its_board() -> None:
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None) as started, Client(started) as client:
        client.register_plugin(PagePlugin())
        play(client)
        assert list(client.cluster.scheduler.plugins[NAME].board.runs) == ["played-1-2"]


def test_nothing_goes_on_in_the_process_after_its_cluster_ended(client: Client) -> None:
    client.register_plugin(PagePlugin())
    app = client.cluster.scheduler.plugins[NAME]._app
    assert app is not None
    client.cluster.close()
    assert app._stats_job is None or not app._stats_job.is_running()
    assert not app._cleanup_job.is_running()


def test_what_is_on_disk_is_what_travels() -> None:
    folder = Path(__file__).parent.parent.parent / "dataops" / "monitoring" / "templates"
    assert {path.name for path in folder.glob("page*")} >= {"page.css", "page_runs.html", "page_head.html"}
