"""Lines of findings that are made after the file was read."""

from __future__ import annotations

import pytest

from dataops.declarations.loader import parse_yaml
from dataops.declarations.locate import locate, located
from dataops.errors import Conflict, InvalidInput, NotFound

TEXT = """\
name: late
input: flights
derive:
  evening: "hour > 18"
  hours: "minutes / 60"
features: {numeric: {columns: [hour, hours]}}
candidates:
  - {trainer: logistic}
  - {trainer: xgbost}
"""
DOCUMENT = parse_yaml(TEXT, "jobs/x.yaml")[0]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("derive.evening: no column 'hour' in dataset 'flights'. Did you mean 'hours'?", 4),
        ("no column 'minutes' in dataset 'flights'.", 5),
        ("features: 'hours' is a pseudonym", 6),
        ("derive.hours asks for 1 column of dataset 'flights' that 'me' may not read", 5),
        ("candidates[1]: there is no trainer 'xgbost'. Did you mean 'xgboost'?", 9),
        ("candidates[0]: trainer logistic: unknown parameter 'l3'.", 8),
    ],
)
def test_a_finding_gets_the_line_of_what_it_names(said, line):
    assert locate(DOCUMENT, f"jobs/x.yaml: {said}") == f"jobs/x.yaml:{line}: {said}"


@pytest.mark.parametrize(
    "message",
    [
        "jobs/x.yaml: no column 'elsewhere'. Did you mean 'hours'?",
        "jobs/x.yaml:3: derive: a line already",
        "jobs/y.yaml: no column 'hour'",
        "no column 'hour'",
        "jobs/x.yaml: nothing is named",
    ],
)
def test_without_a_place_there_is_no_line(message):
    assert locate(DOCUMENT, message) == message


def test_each_line_of_a_message_is_a_finding_of_its_own():
    message = "jobs/x.yaml: no column 'hour'\n  as it is\njobs/x.yaml: no column 'minutes'"
    assert (
        locate(DOCUMENT, message) == "jobs/x.yaml:4: no column 'hour'\n  as it is\njobs/x.yaml:5: no column 'minutes'"
    )


def test_errors_keep_their_family_and_notes():
    error = InvalidInput("jobs/x.yaml: no column 'hour'")
    error.add_note("a way on")
    with pytest.raises(InvalidInput, match=r"^jobs/x\.yaml:4: no column 'hour'") as raised, located(DOCUMENT):
        raise error
    assert raised.value.__notes__ == ["a way on"]


def test_what_the_document_names_and_nobody_has_is_found_in_it():
    with pytest.raises(NotFound, match=r"^jobs/x\.yaml:2: no dataset 'flights'"), located(DOCUMENT):
        raise NotFound("no dataset 'flights'. Known: a.")
    with pytest.raises(NotFound, match=r"^no dataset 'other'"), located(DOCUMENT):
        raise NotFound("no dataset 'other'.")


def test_other_errors_pass_as_they_are():
    error = Conflict("'flights' is busy")
    with pytest.raises(Conflict) as raised, located(DOCUMENT):
        raise error
    assert raised.value is error
