from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dataops.errors import Storage
from dataops.monitoring import report, wording
from dataops.monitoring.report import render_report, write_scripts
from tests.monitoring import sample

SCRIPTS = "../scripts"
ADDRESS = re.compile(r"(?i)(?:[a-z]+:)?//[\w.-]+|@import|url\(")
VOID = {"meta", "link", "br", "img", "input"}
KINDS = pytest.mark.parametrize("kind", sorted(sample.ALL))


@cache
def rendered(kind: str) -> str:
    return render_report(sample.ALL[kind](), scripts=SCRIPTS)


class Page(HTMLParser):
    """The elements of a page with their attributes, the text of each script, and all visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.text += data

    @property
    def charts(self) -> list[dict[str, Any]]:
        return json.loads(self.scripts[0])

    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(attributes)) for tag, attributes in self.elements]


@KINDS
def test_no_outside_address_is_in_a_page(kind: str) -> None:
    assert ADDRESS.findall(rendered(kind)) == []


def test_a_page_that_stands_alone_adds_bokeh_and_nothing_else() -> None:
    page = render_report(sample.prepare_figures(), scripts=None)
    bokeh = Page(page).scripts[1]
    assert bokeh.strip() == report._script_text().strip()
    assert "src=" not in page.replace(bokeh, "")
    assert ADDRESS.findall(page.replace(bokeh, "")) == []


@KINDS
def test_the_browser_is_told_to_ask_nobody_and_to_run_no_other_script(kind: str) -> None:
    page = Page(rendered(kind))
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    (nonce,) = re.findall(r"'nonce-([0-9a-f]{32})'", rules["script-src"])
    running = [a for tag, a in page.elements if tag == "script" and a.get("type") != "application/json"]
    assert [a["nonce"] for a in running] == [nonce, nonce]
    assert "http" not in policy


@KINDS
def test_no_name_becomes_an_element_an_attribute_or_a_script(kind: str) -> None:
    name = "</script><!--<script></title></style>" + sample.MARKUP + sample.FORMULA + sample.HIDDEN
    hostile = Page(render_report(sample.hostile(sample.ALL[kind](), name), scripts=SCRIPTS))
    assert hostile.shape() == Page(rendered(kind)).shape()
    assert hostile.open == []
    assert wording.visible(name) in hostile.text


def test_no_name_in_a_chart_is_taken_for_a_formula() -> None:
    page = Page(render_report(sample.hostile(sample.train_figures(), sample.FORMULA), scripts=SCRIPTS))
    texts = json.dumps(page.charts, ensure_ascii=False)
    assert "@rows" in texts
    assert not [start for start in ("$$", r"\\[", r"\\(") if start in texts]


@KINDS
def test_every_chart_has_its_place(kind: str) -> None:
    page = Page(rendered(kind))
    places = [a["id"] for tag, a in page.elements if a.get("class") == "chart"]
    assert sorted(chart["target_id"] for chart in page.charts) == sorted(filter(None, places))
    assert len(set(places)) == len(places)


@KINDS
def test_numbers_have_separators_and_texts_no_em_dash(kind: str) -> None:
    text = Page(rendered(kind)).text
    assert "\N{EM DASH}" not in text
    without_ids = re.sub(r"sha256:\S+|\d{4}-\d\d-\d\d|\S*\d{8}t\d{6}\S*|ContractViolation.*", "", text)
    assert re.findall(r"(?<![\w.,])\d{4,}(?![\w.])", without_ids) == []


def test_receipts_are_there_to_the_row_with_the_rules_that_were_broken() -> None:
    text = Page(rendered("prepare")).text
    for number in ("144,962", "95,130", "1,203", "48,400", "17", "212", "180", "41"):
        assert number in text
    assert "wage_not_negative" in text
    assert "pseudonym domain person" in text
    assert "hispanic_origin" in text
    assert '"instance_weight" > 0 AND "age" >= 16' in text


def test_candidates_are_there_by_dataset_and_slice() -> None:
    text = Page(rendered("train")).text
    for part in ("ROC AUC by sex, on census_1995", "0.9460", "0.1210", "1.4 MB", "fewer than 20 rows", "0.0000031"):
        assert part in text


def test_scores_are_there_with_model_and_unknown_categories() -> None:
    text = Page(rendered("rescore")).text
    for part in ("103,422", "version 2", "income_scores", "state_of_previous_residence", "1,209", "6,232 of 149,000"):
        assert part in text


def test_a_failed_run_says_why_and_how_to_go_on() -> None:
    figures = sample.failed_figures()
    text = Page(render_report(figures, scripts=SCRIPTS)).text
    assert figures["error"] in text
    assert f"dataops job resume {figures['run']}" in text


@pytest.mark.parametrize(
    "figures",
    [sample.interrupted_figures(), {**sample.failed_figures(), "error": "KeyboardInterrupt: interrupted"}],
    ids=["driver gone", "stopped by hand"],
)
def test_an_interrupted_run_is_no_failure_and_can_be_resumed(figures: dict[str, Any]) -> None:
    text = Page(render_report(figures, scripts=SCRIPTS)).text
    assert "This run failed" not in text
    assert "interrupted" in text
    assert f"dataops job resume {figures['run']}" in text


def test_a_finished_run_is_not_to_be_resumed() -> None:
    assert "job resume" not in rendered("prepare")


@pytest.mark.parametrize("kind", ["prepare", "train", "rescore"])
def test_a_run_that_failed_in_its_last_phase_has_a_page_without_results(kind: str) -> None:
    figures = {**sample.ALL[kind](), "state": "failed", "error": "Compute: 1 task failed", "reads": {}, "result": {}}
    figures["phases"][-1]["outcome"] = "failed"
    page = Page(render_report(figures, scripts=SCRIPTS))
    assert "Compute: 1 task failed" in page.text
    assert [chart["target_id"] for chart in page.charts] == ["phases"]


RENDER = """
import sys
from dataops.errors import Storage
from dataops.monitoring import report, wording
from tests.monitoring import sample
for _ in range(int(sys.argv[1])):
    page = report.render_report(sample.rescore_figures(), scripts="../scripts")
sys.stdout.write(page)
"""


def test_same_figures_give_the_same_bytes_in_any_process() -> None:
    pages = []
    for seed, times in (("1", "1"), ("2", "2")):
        done = subprocess.run(
            [sys.executable, "-c", RENDER, times],
            env={"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        )
        pages.append(done.stdout)
    assert pages[0] == pages[1]
    assert len(pages[0]) > 10_000


def test_importing_the_report_loads_no_bokeh() -> None:
    code = "import sys, dataops.monitoring.report; sys.exit('bokeh' in sys.modules or 'jinja2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_finds_the_scripts_that_were_written(tmp_path: Path) -> None:
    write_scripts(tmp_path / "scripts")
    page = Page(rendered("prepare"))
    (source,) = [a["src"] for tag, a in page.elements if tag == "script" and "src" in a]
    assert source is not None
    assert (tmp_path / "run" / source).resolve().read_text() == report._script_text()


def test_scripts_are_written_once(tmp_path: Path) -> None:
    write_scripts(tmp_path)
    (script,) = tmp_path.iterdir()
    before = script.stat()
    write_scripts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [script.name]
    assert (script.stat().st_ino, script.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_torn_script_is_mended(tmp_path: Path) -> None:
    write_scripts(tmp_path)
    (script,) = tmp_path.iterdir()
    script.write_bytes(script.read_bytes()[:1000])
    write_scripts(tmp_path)
    assert script.read_text() == report._script_text()


def test_scripts_that_cannot_be_written_leave_nothing_half_done(tmp_path: Path, monkeypatch: Any) -> None:
    def torn(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", torn)
    with pytest.raises(Storage, match="No space left"):
        write_scripts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_scripts_of_another_bokeh_stay_for_the_reports_that_use_them(tmp_path: Path) -> None:
    older = tmp_path / "bokeh-3.0.0.min.js"
    older.write_text("older")
    write_scripts(tmp_path)
    assert older.read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 2


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_the_contrast_that_wcag_asks_for() -> None:
    style = (report.TEMPLATES / "style.css").read_text()
    named = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style))
    used = {named[name] for name in re.findall(r"[^-]color: var\(--(\w+)\)", style)}
    used |= set(re.findall(r"[^-]color: (#[0-9a-f]{6})", style))
    assert len(used) >= 5
    paper = luminance(named["soft"])
    assert [colour for colour in used if (paper + 0.05) / (luminance(colour) + 0.05) < 4.5] == []


def test_counts_of_too_few_rows_read_as_such() -> None:
    figures = sample.rescore_figures()
    figures["result"]["unknown_categories"] = {"occupation": None, "education": 0}
    page = report.render_report(figures, scripts="../scripts")
    assert "too few to say" in page
    figures["result"]["scores"] = None
    assert "<h2>Scores</h2>" not in report.render_report(figures, scripts="../scripts")
