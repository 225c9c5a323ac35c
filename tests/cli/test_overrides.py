"""``dataops model promote --override``: a person promotes what its gates refuse, and everybody can see it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from dataops.records import now_utc
from dataops.runs.workspace import open_workspace
from tests.registry.examples import make_metrics, make_package

RULES = "format: 1\nmodel: wealth\nrules: [{metric: roc_auc, minimum: 0.8}]\n"


@pytest.fixture
def registered(workspace: Path) -> Path:
    """One version, which its gates refuse."""
    opened = open_workspace(str(workspace), {})
    package = make_package("a", make_metrics(0.7, 0.1))
    opened.registry.register("wealth", package, at=now_utc(), key=opened.signing_key())
    (workspace / "jobs" / "promotion.yaml").write_text(RULES)
    return workspace


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--override", "agreed"], "why and until when"),
        (["--until", "30d"], "why and until when"),
        (["--override", "agreed", "--until", "soon"], "'soon' is no day"),
        (["--override", "agreed", "--until", "2020-01-01"], "an override ends after now"),
        (["--override", "agreed", "--until", "999d"], "an override ends after now and within 366 days"),
        (["--override", " ", "--until", "30d"], "an override says why"),
    ],
)
def test_an_override_without_a_reason_or_a_proper_end_moves_nothing(registered, dataops, options, message):
    refused = dataops("model", "promote", "wealth@1", "--reason", "x", *options)
    assert refused.code == 2
    assert message in refused.err
    assert not (registered / "registry" / "wealth" / "aliases").exists()


def test_an_override_is_shown_wherever_the_champion_is(registered, dataops):
    assert dataops("model", "promote", "wealth@1", "--reason", "x").code == 5
    options = ["--reason", "x", "--override", "agreed with all", "--until", "30d"]
    promoted = dataops("model", "promote", "wealth@1", *options, "--json").json
    assert (promoted["moved"], promoted["overridden"]) == (True, True)
    assert "against its gates" in Path(promoted["verdict"]).read_text()
    shown = dataops("model", "champion", "wealth", "--json").json
    assert shown["override"].startswith("until 20")
    assert shown["override"].endswith(": agreed with all")
    assert "against its gates until" in dataops("model", "history", "wealth").out


def test_an_override_that_nobody_needs_is_none(registered, dataops):
    (registered / "jobs" / "promotion.yaml").write_text(RULES.replace("0.8", "0.5"))
    options = ["--reason", "x", "--override", "agreed", "--until", "30d", "--json"]
    promoted = dataops("model", "promote", "wealth@1", *options).json
    assert promoted["overridden"] is False
    assert "override" not in promoted


def test_an_override_that_is_over_is_warned_of_where_the_champion_is_asked_for(registered, dataops, monkeypatch):
    options = ["--reason", "x", "--override", "agreed", "--until", "30d"]
    assert dataops("model", "promote", "wealth@1", *options).code == 0
    assert "which is over" not in dataops("model", "champion", "wealth").err
    monkeypatch.setattr("dataops.records.now_utc", lambda: now_utc() + timedelta(days=32))
    shown = dataops("model", "champion", "wealth", "--json")
    assert shown.json["override"].startswith("ended 20")
    assert "note: wealth@1 was promoted against its gates until" in shown.err
    assert "`dataops model rollback wealth`" in shown.err
