"""Inputs whose files are followed, declared."""

from __future__ import annotations

from typing import Any

import pytest

from dataops.declarations.follow import Late, Repeated
from dataops.declarations.inputs import INPUT
from dataops.declarations.jobs import input_of, job_from_record, job_record, parse_job
from dataops.declarations.loader import parse_yaml
from dataops.declarations.rescore import RescoreJob
from dataops.errors import InvalidInput

HEAD = "name: scores\njob: rescore\nmodel: wealth@1\noutput: scores\n"


def parse(text: str) -> RescoreJob:
    job = parse_job(parse_yaml(f"{HEAD}input: {text}\n", "jobs.yaml")[0]).job
    assert isinstance(job, RescoreJob)
    return job


def test_a_name_alone_is_the_whole_dataset() -> None:
    job = parse("arrivals")
    assert (job.followed, input_of(job)) == (None, "arrivals")


def test_defaults_wait_a_minute_skip_what_repeats_and_score_what_is_late() -> None:
    followed = parse("{dataset: arrivals, follow: true}").followed
    assert followed is not None
    assert (followed.settle_seconds, followed.repeated, followed.late) == (60, Repeated.SKIP, Late.SCORE)
    assert parse("{dataset: arrivals, follow: true}").inputs[INPUT][0] == "arrivals"


@pytest.mark.parametrize(
    "more", ["", ", settle_seconds: 0", ", repeated: score", ", watermark: day, late: stop, lateness_seconds: 3600"]
)
def test_its_record_is_read_back(more: str) -> None:
    job = parse(f"{{dataset: arrivals, follow: true{more}}}")
    assert job_from_record(job_record(job)) == job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{dataset: arrivals}", r"input\.follow: a required key is missing"),
        ("{dataset: arrivals, follow: false}", r"jobs\.yaml:5: input\.follow"),
        ("{dataset: scores, follow: true}", "output"),
        ("{dataset: arrivals, follow: true, settle: 5}", "unknown key. Did you mean 'settle_seconds'"),
        ("{dataset: arrivals, follow: true, settle_seconds: -1}", "at least 0"),
        ("{dataset: arrivals, follow: true, settle_seconds: 1e+300}", "at most 31536000"),
        ("{dataset: arrivals, follow: true, settle_seconds: .inf}", "settle_seconds"),
        ("{dataset: arrivals, follow: true, settle_seconds: .nan}", "settle_seconds"),
        ("{dataset: arrivals, follow: true, late: skip}", r"input\.late: no file is late without a watermark"),
        ("{dataset: arrivals, follow: true, lateness_seconds: 5}", r"input\.lateness_seconds: no file is late"),
        ("{dataset: arrivals, follow: true, repeated: drop}", "'skip' or 'score'"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(text: str, expected: Any) -> None:
    with pytest.raises(InvalidInput, match=expected):
        parse(text)
