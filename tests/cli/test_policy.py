"""``dataops policy``: what is wrong is found before anything runs, and nothing is written or read but files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Call

POLICY = Path("policies/people.yaml")

TESTS = """\
format: dataops/policy-test/1
tests:
  - {as: [data_science], purpose: train, dataset: people_old, columns: [age], expect: masked,
     mask: {generalise: {width: 5}}, rows: "age >= 18"}
  - {as: [data_science], purpose: score, dataset: people_new, classifications: ["sensitive.*"], expect: denied}
"""


@pytest.fixture
def tests_file(workspace: Path) -> Path:
    Path("policies/tests").mkdir(exist_ok=True)
    path = Path("policies/tests/people.yaml")
    path.write_text(TESTS)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def append(rule: str) -> int:
    """Adds a rule; the line that it stands on."""
    text = POLICY.read_text()
    POLICY.write_text(f"{text}  - {{{rule}}}\n")
    return len(text.splitlines()) + 1


def test_policies_that_hold_and_tests_that_pass(workspace, dataops: Call, tests_file):
    before = files(workspace)
    called = dataops("policy", "check")
    assert called.code == 0
    assert re.search(r"looked at +5 rules in 1 policy, 4 datasets, 3 jobs\n", called.out)
    assert re.search(r"tests +2 of 2 passed\n", called.out)
    assert re.search(r"findings +0 errors, 0 warnings\n", called.out)
    dataops("policy", "explain", "people_old", "--purpose", "train")
    after = {path: content for path, content in files(workspace).items() if "probe" not in path}
    assert after == {path: content for path, content in before.items() if "probe" not in path}


def test_the_data_need_not_be_there(workspace, dataops: Call):
    shutil.rmtree("data")
    assert dataops("policy", "check").code == 0
    assert dataops("policy", "explain", "people_old", "--purpose", "train").code == 0


def test_no_policy_at_all_is_said(workspace, dataops: Call):
    POLICY.unlink()
    called = dataops("policy", "check")
    assert called.code == 0
    assert "no policy in policies/, so everything is denied" in called.out
    assert "none in policies/tests" in called.out


def test_errors_stand_with_file_and_line_and_exit_with_2(workspace, dataops: Call):
    append("id: ten, effect: mask, columns: {names: [age]}, mask: {generalise: {width: 10}}")
    append("id: rich, effect: mask, datasets: [people_old], columns: {names: [rich]}, mask: redact")
    called = dataops("policy", "check")
    assert called.code == 2
    assert "error: policies/people.yaml:14: 'people_new.age', 'people_old.age' would be allowed" in called.out
    assert "rule 'bands' of policy 'people', rule 'ten' of policy 'people'" in called.out
    assert "error: jobs/people.yaml:13: job 'wealth' reads 'rich' of dataset 'people_old' as target" in called.out
    assert "2 findings to mend in the policies" in called.err
    as_json = dataops("policy", "check", "--json")
    assert as_json.code == 2
    assert as_json.json["errors"] == 2
    places = {(one["file"], one["line"]) for one in as_json.json["findings"] if one["severity"] == "error"}
    assert places == {("policies/people.yaml", 14), ("jobs/people.yaml", 13)}


def test_a_split_key_is_traced_to_the_raw_column(workspace, dataops: Call):
    append("id: gone, effect: mask, datasets: [people_old], columns: {names: [person_id]}, mask: 'null'")
    called = dataops("policy", "check", "--json")
    (error,) = [one for one in called.json["findings"] if one["severity"] == "error"]
    assert (error["kind"], error["file"], error["line"]) == ("job", "jobs/people.yaml", 7)
    assert "so all are on one side" in error["message"]


def test_a_target_is_traced_through_what_a_job_derives(workspace, dataops: Call):
    jobs = Path("jobs/people.yaml")
    jobs.write_text(
        jobs.read_text().replace("derive:\n", "derive:\n  label: 'rich'\n").replace("target: rich", "target: label")
    )
    append("id: rich, effect: mask, datasets: [people_old], columns: {names: [rich]}, mask: redact")
    called = dataops("policy", "check")
    assert "job 'wealth' reads 'rich' of dataset 'people_old' as target" in called.out
    assert called.code == 2


def test_warnings_are_errors_only_where_that_is_asked_for(workspace, dataops: Call):
    append("id: later, effect: deny, datasets: [warehouse], columns: {names: [age]}")
    called = dataops("policy", "check")
    assert called.code == 0
    assert "no dataset is called 'warehouse', which rule 'later' of policy 'people' names." in called.out
    assert dataops("policy", "check", "--strict").code == 2


def test_a_slip_in_what_restricts_is_an_error(workspace, dataops: Call):
    append("id: typo, effect: deny, datasets: [poeple_old], columns: {names: [age]}")
    called = dataops("policy", "check")
    assert called.code == 2
    assert "no dataset is called 'poeple_old', which rule 'typo' of policy 'people' names. Did you mean" in called.out
    assert "So written, the word restricts nothing." in called.out


def test_a_test_that_fails_is_an_error_at_its_line(workspace, dataops: Call, tests_file):
    tests_file.write_text(TESTS.replace("expect: denied", "expect: visible"))
    called = dataops("policy", "check", "--json")
    assert called.code == 2
    (error,) = called.json["findings"]
    assert (error["kind"], error["file"], error["line"]) == ("test", "policies/tests/people.yaml", 5)
    assert "'diagnosis' is denied, expected visible: denied by rule 'no-health'" in error["message"]
    assert [one["passed"] for one in called.json["tests"]] == [True, False]


BROKEN = [
    ("policies/people.yaml", "effect: deny", "effect: dney", "policies/people.yaml:11: rules[1].effect"),
    (
        "policies/tests/people.yaml",
        "purpose: score",
        "purpose: socre",
        "policies/tests/people.yaml:5: tests[1].purpose",
    ),
    ("contracts/people.yaml", "float64", "flaot64", "no column type 'flaot64'. Did you mean 'float64'?"),
    ("catalog/people_old.yaml", "zone: historical", "zone: histroical", "catalog/people_old.yaml:3: zone"),
    ("principals.yaml", "roles:", "rolse:", "principals.yaml:2: "),
    ("jobs/people.yaml", "job: prepare", "job: prepaer", "jobs/people.yaml:2: job: unknown kind of job."),
    ("jobs/people.yaml", "derive:\n", "derive: [\n", "jobs/people.yaml:6: "),
]


@pytest.mark.parametrize(("file", "old", "new", "message"), BROKEN)
def test_a_file_that_can_not_be_read_is_a_finding_like_others(file, old, new, message, workspace, dataops, tests_file):
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new, 1))
    called = dataops("policy", "check")
    assert called.code == 2
    assert message in called.out
    assert "everything is denied" not in called.out
    assert ("not run, since a policy can't be read" in called.out) == (file == "policies/people.yaml")
    assert str(workspace) not in called.out


def test_two_policies_of_one_name_are_an_error(workspace, dataops: Call):
    shutil.copy(POLICY, "policies/twice.yaml")
    called = dataops("policy", "check")
    assert called.code == 2
    assert "error: policies/twice.yaml:2: policy 'people' is in policies/people.yaml already" in called.out


def test_what_somebody_would_see_column_by_column(workspace, dataops: Call):
    append("id: groups, effect: group, min_size: 20")
    append(
        "id: guest, effect: allow, roles: [guest], purposes: [train], zones: [historical], datasets: [people_old], "
        "columns: {names: [age, trade]}, expires: 2999-01-31"
    )
    called = dataops("policy", "explain", "--as", "guest", "--purpose", "train", "people_old", "--json")
    assert called.code == 0
    told = called.json
    assert (told["row_filters"], told["min_group_size"]) == ([], 20)
    assert told["expires_at"].startswith("2999-02-01T00:00:00")
    seen = {one["column"]: (one["verdict"], one["type"], one["rules"]) for one in told["columns"]}
    assert seen["trade"] == ("visible", "string", ["people/guest"])
    assert seen["diagnosis"] == ("denied", None, ["people/no-health"])
    assert seen["hours"] == ("denied", None, [])
    text = dataops("policy", "explain", "--as", "guest", "--purpose", "train", "people_old").out
    assert "only about 20 rows or more" in text
    assert "2999-02-01" in text


def test_a_masked_column_has_the_type_that_its_reader_gets(workspace, dataops: Call):
    append("id: hours, effect: mask, columns: {names: [hours]}, mask: redact")
    called = dataops("policy", "explain", "people_old", "--purpose", "score")
    assert re.search(r"^rows +only where age >= 18$", called.out, re.MULTILINE)
    assert re.search(r"^hours +string +work +masked +redact +people/hours$", called.out, re.MULTILINE)
    assert re.search(r"^age +int32 +pii.quasi +masked +generalise width 5 ", called.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("people_old --as visitor --purpose train", 7, "'anyone' (roles: visitor) may read nothing of dataset"),
        ("people_old --purpose benchmark", 7, "no policy allows any of it"),
        ("people_old --principal nobody --purpose train", 3, "principals.yaml has no user 'nobody'"),
        ("people_odl --purpose train", 3, "no dataset 'people_odl'"),
        ("people_old --purpose trian", 2, "trian"),
        ("people_old --as a --principal b --purpose train", 2, "not both"),
    ],
)
def test_what_can_not_be_explained_says_why(arguments, code, message, workspace, dataops, left_behind):
    called = dataops("policy", "explain", *arguments.split(), "--json")
    assert called.code == code
    assert message in called.json["error"]["message"]
    assert left_behind(workspace) == []


def test_a_dataset_that_a_job_made_is_explained_and_checked_too(on_the_session_s_cluster, dataops: Call, tests_file):
    assert dataops("job", "run", "jobs/people.yaml", "people_ready", "--quiet").code == 0
    tests_file.write_text(TESTS.replace('people_new, classifications: ["sensitive.*"]', "people_ready, columns: [age]"))
    called = dataops("policy", "check", "--json")
    (error,) = called.json["findings"]
    assert error["message"].startswith("test 'age of people_ready for score, asked by data_science, is denied' failed")
    assert "'age' is masked, expected denied: masked (generalise width 5) by rule 'bands'" in error["message"]
    explained = dataops("policy", "explain", "people_ready", "--purpose", "train", "--json")
    assert explained.json["zone"] == "historical"
    assert {one["column"] for one in explained.json["columns"]} >= {"age", "long_hours", "split"}


@pytest.mark.parametrize("name", ["x.yml", "X.YAML", "sub/x.yaml", "x.json", "tests/x.yml"])
def test_a_restriction_in_a_file_that_nobody_reads_stops_everything(workspace, dataops: Call, left_behind, name: str):
    stray = Path("policies", name)
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_text("format: dataops/policy/1\nname: x\nrules:\n  - {id: none, effect: deny}\n")
    called = dataops("policy", "check")
    assert called.code == 2
    assert f"error: policies/{name}: nobody reads it" in called.out
    before = left_behind(workspace)
    for verb in (("job", "run"), ("job", "explain")):
        refused = dataops(*verb, "jobs/people.yaml", "people_ready")
        assert refused.code == 2
        assert f"policies/{name}: nobody reads it" in refused.err
    assert left_behind(workspace) == before
    assert dataops("policy", "explain", "people_old", "--purpose", "train").code == 2


def test_files_without_content_and_links_to_nothing_are_said(workspace, dataops: Call, tests_file):
    tests_file.write_text("# later\n")
    Path("policies/empty.yaml").write_text("")
    Path("policies/gone.yaml").symlink_to("nowhere.yaml")
    called = dataops("policy", "check")
    assert called.code == 2
    assert "error: policies/empty.yaml: holds no policy: write one, or remove the file" in called.out
    assert "error: policies/gone.yaml: a symbolic link to nothing" in called.out
    assert "error: policies/tests/people.yaml: holds no policy test" in called.out
    assert dataops("policy", "explain", "people_old", "--purpose", "train").code == 2


def lose_mode(path: Path) -> None:
    path.chmod(0o640)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def exchange(path: Path) -> None:
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"secret": "ab" * 32}))


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "gone.json")


@pytest.mark.parametrize("spoil", [lose_mode, empty, exchange, link_to_nothing])
def test_a_key_that_cannot_be_used_is_found_before_a_worker_finds_it(workspace, dataops: Call, left_behind, spoil):
    (key,) = Path("keys").glob("key-*.json")
    secret = json.loads(key.read_text())["secret"]
    spoil(key)
    before = left_behind(workspace)
    codes = set()
    for verb in (
        ("policy", "explain", "people_old", "--purpose", "train"),
        ("job", "explain", "jobs/people.yaml", "people_ready"),
        ("job", "run", "jobs/people.yaml", "people_ready"),
    ):
        called = dataops(*verb)
        assert key.stem in called.err + called.out
        assert secret not in called.err + called.out
        codes.add(called.code)
    assert len(codes) == 1
    assert 0 not in codes
    assert left_behind(workspace) == before
    checked = dataops("policy", "check")
    assert checked.code == 2
    assert "error: keys" in checked.out


def test_a_key_that_no_mask_asks_for_is_not_opened(workspace, dataops: Call):
    (key,) = Path("keys").glob("key-*.json")
    key.chmod(0o640)
    text = POLICY.read_text()
    POLICY.write_text(text.replace("mask: {pseudonym: {domain: person}}", "mask: redact"))
    assert dataops("policy", "explain", "people_old", "--purpose", "train").code == 0
    assert "error: keys" not in dataops("policy", "check").out
