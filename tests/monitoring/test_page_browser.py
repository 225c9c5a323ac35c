"""The page in a real browser: drawn, nothing on its console, nothing asked of anybody else, no name run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest
from distributed import Client, LocalCluster

from dataops.engine.telling import Teller
from dataops.monitoring.page import NAME, PagePlugin, page_address
from tests.monitoring import sample
from tests.monitoring.messages import BUSY
from tests.monitoring.shot import CHROMIUM, Seen, look

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
HOSTILE = "<img src=https://evil.example/x onerror=document.documentElement.dataset.evil=2>$$x$$-1-2"


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The address of a page with a run that goes on, one that is done, and one whose names are meant to run."""
    at = {"host": "127.0.0.1", "protocol": "tcp://", "dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(n_workers=0, processes=False, **at) as started,
        Client(started, set_as_default=False) as client,
    ):
        client.register_plugin(PagePlugin())
        for run, make in (("busy-1-2", None), ("done-1-2", sample.rescore_figures), (HOSTILE, sample.train_figures)):
            teller = Teller(client, run)
            for message in BUSY:
                fields = {name: value for name, value in message.items() if name not in ("event", "run", "at")}
                teller.tell(message["event"], **fields | ({"job": run} if "job" in fields else {}))
            if make is not None:
                figures = sample.hostile(make(), sample.MARKUP) if run == HOSTILE else make()
                teller.tell("run_ended", state="done", figures=figures)
            teller.close()
        assert len(client.cluster.scheduler.plugins[NAME].board.runs) == 3
        yield page_address(client.dashboard_link)


def seen(address: str, until: str) -> Seen:
    return asyncio.run(look(address, until=until, seconds=60))


def hosts(found: Seen) -> set[str]:
    """Whom the browser asked, but for what the page holds itself."""
    return {urlsplit(url).netloc for url in found.fetched if urlsplit(url).scheme in ("http", "https", "ws", "wss")}


@pytest.mark.parametrize(
    ("query", "until"),
    [("", "10 of 40 units"), ("?run=busy-1-2", "10 of 40 units"), ("?run=done-1-2", "Scores then and now")],
    ids=["all", "busy", "done"],
)
def test_a_browser_draws_it_without_a_complaint_and_asks_nobody_else(page: str, query: str, until: str) -> None:
    found = seen(page + query, until)
    assert found.complaints == []
    assert hosts(found) == {urlsplit(page).netloc}
    assert any(url.startswith("ws") for url in found.fetched)


def test_names_that_are_markup_or_formulas_are_text(page: str) -> None:
    for query, until in (("", "onerror"), (f"?run={quote(HOSTILE)}", "onerror")):
        found = seen(page + query, until)
        assert found.complaints == []
        assert hosts(found) == {urlsplit(page).netloc}
