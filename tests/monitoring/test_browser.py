"""Pages in a real browser: charts drawn, nothing on its console, no name run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dataops.monitoring.recorded import recorded_figures
from dataops.monitoring.report import render_report, write_scripts
from tests.monitoring import sample
from tests.monitoring.recorded_runs import a_rescore

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=20000",
    "--dump-dom",
]
GREETING = re.compile(r"\[bokeh [\d.]+\] setting log level")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def look(page: Path) -> tuple[str, list[str]]:
    """The page as the browser has it in the end, and what it said on its console."""
    profile = page.parent / "profile"
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return done.stdout, [line for line in said if not GREETING.search(line)]


def test_all_charts_are_drawn_with_the_scripts_beside_the_runs(tmp_path: Path) -> None:
    write_scripts(tmp_path / "scripts")
    page = tmp_path / "run" / "report.html"
    page.parent.mkdir()
    page.write_text(render_report(sample.rescore_figures(), scripts="../scripts"), encoding="utf-8")
    dom, said = look(page)
    assert said == []
    assert 'data-charts="4"' in dom


def test_the_charts_of_a_recording_are_drawn_too(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    figures = {**sample.rescore_figures(), "recorded": recorded_figures([*a_rescore(), *a_rescore()])}
    page.write_text(render_report(figures, scripts=None), encoding="utf-8")
    dom, said = look(page)
    assert said == []
    assert 'data-charts="7"' in dom


@pytest.mark.parametrize("name", [sample.MARKUP, sample.FORMULA], ids=["markup", "formula"])
def test_a_page_that_stands_alone_draws_hostile_names_as_text(tmp_path: Path, name: str) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_report(sample.hostile(sample.train_figures(), name), scripts=None), encoding="utf-8")
    dom, said = look(page)
    assert said == []  # the page's policy would complain here of any address that it is asked to fetch
    assert 'data-charts="8"' in dom
    assert not re.search("<html[^>]*data-evil", dom)


def test_markup_that_slipped_through_would_neither_run_nor_fetch(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    html = render_report(sample.failed_figures(), scripts=None)
    page.write_text(html.replace("</main>", f"{sample.MARKUP}</main>"), encoding="utf-8")
    dom, said = look(page)
    assert not re.search("<html[^>]*data-evil", dom)
    assert len([line for line in said if "Content Security Policy" in line]) >= 2


def test_a_page_that_lost_its_scripts_says_how_to_get_one_that_stands_alone(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_report(sample.prepare_figures(), scripts="../scripts"), encoding="utf-8")
    dom, _ = look(page)
    (notice,) = re.findall(r'<p[^>]*id="no-charts"[^>]*>', dom)
    assert "hidden" not in notice
    assert "data-charts" not in dom
