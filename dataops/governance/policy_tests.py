"""Policy tests: what the policies must say of one person and one dataset, written down and checked. Pure.

::

    format: dataops/policy-test/1
    tests:
      - {as: [analyst], purpose: train, dataset: people_old, columns: [age], expect: masked,
         mask: {generalise: {width: 5}}, rows: "age >= 18"}
      - {as: [analyst], purpose: score, dataset: people_new, classifications: ["sensitive.*"], expect: denied}
      - {name: nobody benchmarks, principal: ana, purpose: benchmark, dataset: people_old, expect: denied}

1. A test asks as somebody: with roles (``as``), or as a user of ``principals.yaml`` (``principal``).
2. ``expect`` must hold for each of the columns. Without columns only ``denied`` can be expected: of the whole request.
3. A test that covers nothing fails, or a renamed column would take its test with it. Unknown keys, users, roles,
   datasets, columns and purposes are refused with their near match.
4. A request that is refused as a whole shows no column: each counts as denied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from dataops.errors import AccessDenied, Format, InvalidInput, near_match
from dataops.governance.contract import Contract
from dataops.governance.expressions import parse_expression, tree_of
from dataops.governance.findings import Findings
from dataops.governance.findings import Place as Path
from dataops.governance.grant import ColumnDecision, Grant, Purpose, Verdict
from dataops.governance.masking import Mask, parse_mask
from dataops.governance.names import folded
from dataops.governance.policy_world import KnownDataset, Place, World, spell_names
from dataops.governance.rules import ANY, classifications_of

POLICY_TEST_FORMAT = "dataops/policy-test/1"

_KEYS = ("name", "as", "principal", "purpose", "dataset", "columns", "classifications", "expect", "mask", "rows")
_REQUIRED = ("purpose", "dataset", "expect")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTest:
    """One expectation.

    Attributes
    ----------
    principal, roles : who asks; a principal has the roles of ``principals.yaml``.
    columns, classifications : names, or patterns; both empty: the whole request.
    mask : that the columns must have, None for any.
    rows : SQL that must be among the row filters, None for any.
    """

    name: str
    place: Place
    principal: str | None
    roles: tuple[str, ...]
    purpose: str
    dataset: str
    columns: tuple[str, ...]
    classifications: tuple[str, ...]
    expect: Verdict
    mask: Mask | None = None
    rows: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TestOutcome:
    """What became of a test: it passed if nothing failed."""

    __test__ = False  # not one of pytest's

    test: PolicyTest
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all that was expected holds."""
        return not self.failures


def parse_policy_tests(value: Any, *, source: str, lines: Mapping[Path, int]) -> tuple[PolicyTest, ...]:
    """The tests in one YAML document.

    Parameters
    ----------
    value, source, lines
        As for `policy_file.parse_policy`.

    Raises
    ------
    Format : policy tests of another format version.
    InvalidInput : all findings, each with file and line.
    """
    findings = Findings(source=source, lines=lines)
    if not isinstance(value, Mapping):
        findings.add((), "expected a mapping with format, tests")
        findings.require_none()
    found = value.get("format")
    if isinstance(found, str) and found != POLICY_TEST_FORMAT and found.startswith("dataops/"):
        raise Format(f"{findings.where(('format',))}: expected {POLICY_TEST_FORMAT}, found {found}")
    if found != POLICY_TEST_FORMAT:
        findings.add(("format",), f"expected {POLICY_TEST_FORMAT}")
    _check_keys(value, (), ("format", "tests"), ("tests",), findings)
    listed = value.get("tests", [])
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        findings.add(("tests",), "expected a list of tests, one at least")
        listed = []
    tests = [_test(one, ("tests", index), source, lines, findings) for index, one in enumerate(listed)]
    findings.require_none()
    return tuple(test for test in tests if test is not None)


def _check_keys(
    value: Mapping[str, Any], path: Path, known: Sequence[str], required: Sequence[str], findings: Findings
) -> None:
    for key in value:
        if key not in known:
            findings.add((*path, key), f"unknown key.{near_match(key, known)}")
    for key in required:
        if key not in value:
            findings.add(path, f"'{key}' is missing")


def _test(value: Any, path: Path, source: str, lines: Mapping[Path, int], findings: Findings) -> PolicyTest | None:
    if not isinstance(value, Mapping):
        findings.add(path, "expected a test: a mapping with as, purpose, dataset, columns, expect")
        return None
    _check_keys(value, path, _KEYS, _REQUIRED, findings)
    if ("as" in value) == ("principal" in value):
        findings.add(path, "a test asks either with roles (as: [...]) or as a user (principal: ...)")
    expect = _word(value, "expect", path, Verdict, findings)
    purpose = _word(value, "purpose", path, Purpose, findings)
    columns, classifications = (_texts(value, key, path, findings) for key in ("columns", "classifications"))
    test = PolicyTest(
        name=_text(value, "name", path, findings) or _spelled(value, purpose, expect),
        place=(source, lines.get(path)),
        principal=_text(value, "principal", path, findings),
        roles=_texts(value, "as", path, findings),
        purpose=purpose,
        dataset=_text(value, "dataset", path, findings) or "",
        columns=columns,
        classifications=classifications,
        expect=Verdict(expect or Verdict.DENIED),
        mask=_mask(value, path, findings),
        rows=_rows(value, path, findings),
    )
    for key, message in _misfits(test, value):
        findings.add((*path, key) if key else path, message)
    return test


def _misfits(test: PolicyTest, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that don't go together: they would look as if they were checked."""
    whole = "columns" not in value and "classifications" not in value
    if "columns" in value and "classifications" in value:
        yield "classifications", "give columns or classifications, not both: one may hide that the other covers nothing"
    if whole and test.expect != Verdict.DENIED and "expect" in value:
        yield "expect", f"'{test.expect}' is said of columns: list columns or classifications"
    if "mask" in value and test.expect != Verdict.MASKED:
        yield "mask", "belongs to expect: masked"
    if "rows" in value and whole:
        yield "rows", "a request that is refused has no row filters"


def _spelled(value: Mapping[str, Any], purpose: str, expect: str) -> str:
    """A name for a test that has none: what it asks."""
    who = value.get("principal") or value.get("as")
    what = value.get("columns") or value.get("classifications") or "anything"
    shown = [", ".join(map(str, one)) if isinstance(one, list) else str(one) for one in (what, who)]
    return f"{shown[0]} of {value.get('dataset')} for {purpose}, asked by {shown[1]}, is {expect}"


def _text(value: Mapping[str, Any], key: str, path: Path, findings: Findings) -> str | None:
    found = value.get(key)
    if key not in value:
        return None
    if not isinstance(found, str) or not found.strip():
        findings.add((*path, key), "expected text; put it in quotes if it is text")
        return None
    return found


def _word(value: Mapping[str, Any], key: str, path: Path, words: type[Verdict | Purpose], findings: Findings) -> str:
    found = _text(value, key, path, findings)
    if found is not None and found not in set(words):
        findings.add((*path, key), f"expected {', '.join(words)}.{near_match(found, words)}")
        return ""
    return found or ""


def _texts(value: Mapping[str, Any], key: str, path: Path, findings: Findings) -> tuple[str, ...]:
    if key not in value:
        return ()
    listed = value[key]
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        findings.add((*path, key), "expected a list with at least one entry")
        return ()
    for index, entry in enumerate(listed):
        if not isinstance(entry, str) or not entry.strip():
            findings.add((*path, key, index), "expected text; put it in quotes if it is text")
    return tuple(entry for entry in listed if isinstance(entry, str))


def _mask(value: Mapping[str, Any], path: Path, findings: Findings) -> Mask | None:
    if "mask" not in value:
        return None
    try:
        return parse_mask(value["mask"], where="not a mask")
    except InvalidInput as error:
        findings.add((*path, "mask"), str(error))
        return None


def _rows(value: Mapping[str, Any], path: Path, findings: Findings) -> str | None:
    text = _text(value, "rows", path, findings)
    try:
        return parse_expression(text, where="row filter").sql if text is not None else None
    except InvalidInput as error:
        findings.add((*path, "rows"), str(error))
        return None


def run_test(test: PolicyTest, world: World) -> TestOutcome:
    """What became of `test` under the policies of `world`."""
    failures = tuple(_unknown(test, world))
    dataset = world.datasets.get(test.dataset)
    if not failures and dataset is not None:
        failures = tuple(_failures(test, world, dataset))
    return TestOutcome(test=test, failures=failures)


def _unknown(test: PolicyTest, world: World) -> Iterator[str]:
    """Names that nobody has."""
    known = {role for roles in world.principals.values() for role in roles}
    known |= {role for rule in world.rules for role in rule.roles if role != ANY}
    held = {folded(role) for role in known}
    for role in test.roles:
        if folded(role) not in held:
            yield f"no principal and no rule has the role '{role}'.{near_match(role, known)}"
    if test.principal is not None and test.principal not in world.principals:
        yield f"principals.yaml has no '{test.principal}'.{near_match(test.principal, world.principals)}"
    dataset = world.datasets.get(test.dataset)
    if dataset is None:
        yield f"no dataset '{test.dataset}'.{near_match(test.dataset, world.datasets)}"
    elif dataset.contract is None:
        yield f"dataset '{test.dataset}' has no columns to test yet: run the job that makes it"
    else:
        yield from _unknown_columns(test, dataset.contract)


def _unknown_columns(test: PolicyTest, contract: Contract) -> Iterator[str]:
    names = [column.name for column in contract.columns]
    for name in test.columns:
        if name not in names:
            yield f"dataset '{test.dataset}' has no column '{name}'.{near_match(name, names)}"
    tags = {tag for column in contract.columns for tag in classifications_of(column)}
    for pattern in test.classifications:
        if not any(fnmatchcase(tag, folded(pattern)) for tag in tags):
            near = near_match(pattern, tags)
            yield f"covers nothing: no column of dataset '{test.dataset}' is classified '{pattern}'.{near}"


def _failures(test: PolicyTest, world: World, dataset: KnownDataset) -> Iterator[str]:
    principal, roles = test.principal or "anyone", test.roles
    if test.principal is not None:
        roles = world.principals[test.principal]
    try:
        grant = world.decide(principal=principal, roles=roles, purpose=test.purpose, dataset=dataset)
    except AccessDenied as error:
        if test.expect != Verdict.DENIED:
            yield f"expected {test.expect}, but the request is refused: {_one_line(error)}"
        elif test.rows is not None:
            yield f"expected the row filter {test.rows}, but the request is refused: {_one_line(error)}"
        return
    if not test.columns and not test.classifications:
        shown = [one.column for one in grant.decisions if one.readable]
        yield f"expected a refusal, but {spell_names(shown)} may be read"
    for decision in _covered(test, dataset, grant):
        if failure := _failure(test, decision):
            yield failure
    if test.rows is not None and tree_of(test.rows) not in map(tree_of, grant.effect.filters):
        yield f"expected the row filter {test.rows}, found {'; '.join(grant.effect.filters) or 'none'}"


def _covered(test: PolicyTest, dataset: KnownDataset, grant: Grant) -> Iterator[ColumnDecision]:
    patterns = [folded(pattern) for pattern in test.classifications]
    for column in dataset.contract.columns if dataset.contract else ():
        tagged = any(fnmatchcase(tag, pattern) for tag in classifications_of(column) for pattern in patterns)
        if column.name in test.columns or tagged:
            yield grant.decision(column.name)


def _failure(test: PolicyTest, decision: ColumnDecision) -> str | None:
    found = decision.verdict
    if found != test.expect:
        return f"'{decision.column}' is {found}, expected {test.expect}: {decision.reason}"
    if test.mask is None or decision.mask is None:
        return None
    # which key holds is nothing that a test could know
    mask = replace(decision.mask, key_id=None, purpose=None)
    return None if mask == test.mask else f"'{decision.column}' is masked by {mask}, expected {test.mask}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
