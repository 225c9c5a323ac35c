from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from dataops.declarations.evaluate import EvaluateJob
from dataops.declarations.jobs import KINDS, find_job, job_from_record, job_record, read_jobs
from dataops.declarations.metrics import Metric, Points
from dataops.declarations.prepare import PrepareJob, parse_split_columns
from dataops.declarations.rescore import RescoreJob
from dataops.declarations.train import TrainJob
from dataops.errors import Format, InvalidInput, NotFound
from dataops.governance.grant import Purpose
from dataops.records import canonical_bytes, digest
from docs.generate import meanings_of

PREPARE = """\
name: census_training
job: prepare
input: census_1994
purpose: train
derive: {late: "arr_delay > 15", hour: "extract(hour from departure)", early: "not late"}
where: "arr_delay is not null"
split: {by: hash(person_id), test: 0.2}
output: census_training
"""
TRAIN = """\
name: income
job: train
input: census_training
target: income_over_50k
features:
  numeric: {columns: [age, wage per hour], impute: median, scale: standard}
  categorical: {columns: [education, occupation], encode: ordinal, min_count: 20}
weight: instance_weight
candidates:
  - {trainer: logistic, params: {l2: 1.0}}
  - {trainer: xgboost, params: {max_depth: 6, rounds: 200}}
evaluate: {metrics: [roc_auc, log_loss], slices: [sex, age_band]}
"""
RESCORE = """\
name: income_scores
job: rescore
model: income@champion
input: census_1995
keep: [person_id]
errors: {max_rate: 0.001}
output: income_scores
"""


def together(*jobs: str) -> str:
    return "---\n".join(jobs)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.yaml"


def findings(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read_jobs(path)
    return [line.replace(str(path), "jobs.yaml") for line in str(caught.value).splitlines()]


def test_the_design_pages_jobs_are_read(path: Path) -> None:
    path.write_text(together(PREPARE, TRAIN, RESCORE))
    prepare, train, rescore = (declared.job for declared in read_jobs(path))
    assert isinstance(prepare, PrepareJob)
    assert list(prepare.derive) == ["late", "hour", "early"]
    assert prepare.purpose is Purpose.TRAIN
    assert prepare.split is not None
    assert prepare.split.key_columns == ("person_id",)
    assert isinstance(train, TrainJob)
    assert train.features.columns == ("age", "wage per hour", "education", "occupation")
    assert train.evaluate.metrics == (Metric.ROC_AUC, Metric.LOG_LOSS)
    assert train.seed == 0
    assert isinstance(rescore, RescoreJob)
    assert rescore.reference.alias == "champion"
    assert rescore.errors.max_rate == 0.001


def test_defaults_are_those_that_the_reference_states(path: Path) -> None:
    path.write_text("name: s\njob: rescore\nmodel: income\ninput: a\noutput: b\n")
    (declared,) = read_jobs(path)
    assert isinstance(declared.job, RescoreJob)
    assert declared.job.errors.max_rate == 0.0
    assert declared.job.keep == ()
    assert declared.job.reference.alias == "champion"


def test_jobs_are_frozen(path: Path) -> None:
    path.write_text(RESCORE)
    job = find_job(path).job
    with pytest.raises(ValidationError):
        job.name = "other"


NONSENSE = [
    (TRAIN, "  numeric:", "  numerik:", "jobs.yaml:6: features.numerik: unknown key. Did you mean 'numeric'?"),
    (TRAIN, "impute: median", "impute: medain", "features.numeric.impute: expected 'median' or 'mean' or a number"),
    (TRAIN, "impute: median", "impte: median", "features.numeric.impte: unknown key. Did you mean 'impute'?"),
    (TRAIN, "min_count: 20", "min_count: 0", "features.categorical.min_count: expected a number of at least 1, found"),
    (TRAIN, "wage per hour]", "age]", "jobs.yaml:6: features.numeric.columns[1]: 'age' is listed twice"),
    (TRAIN, "occupation]", "education]", "features.categorical.columns[1]: 'education' is listed twice"),
    (TRAIN, "occupation]", "age]", "jobs.yaml:7: features.categorical.columns[1]: 'age' is listed under numeric"),
    (TRAIN, "occupation]", "income_over_50k]", "'income_over_50k' is the target, so it can't be a feature"),
    (
        TRAIN,
        "target: income_over_50k",
        "target: age",
        "jobs.yaml:6: features.numeric.columns[0]: 'age' is the target",
    ),
    (TRAIN, "target: income_over_50k", "target: '\"age\"'", "features.numeric.columns[0]: 'age' is the target"),
    (TRAIN, "weight: instance_weight", "weight: age", "features.numeric.columns[0]: 'age' is the weight"),
    (
        TRAIN,
        "{trainer: logistic,",
        "{trainer: logistic, trainr: a,",
        "candidates[0].trainr: unknown key. Did you mean 'trainer'",
    ),
    (TRAIN, "logistic", "../evil", "candidates[0].trainer: '../evil' can't name a trainer"),
    (TRAIN, "[roc_auc, log_loss]", "[roc_acu]", "expected 'roc_auc' or 'log_loss' or"),
    (TRAIN, "[roc_auc, log_loss]", "[roc_acu]", "Did you mean 'roc_auc'?"),
    (TRAIN, "[roc_auc, log_loss]", "[]", "evaluate.metrics: expected a list of at least 1, found an empty list"),
    (TRAIN, "[roc_auc, log_loss]", "[f1], threshold: 1.5", "evaluate.threshold: expected a number of at most 1"),
    (TRAIN, "[roc_auc, log_loss]", "[lift], top_share: 0", "evaluate.top_share: expected a number above 0"),
    (TRAIN, "{l2: 1.0}}", "{l2: 1.0}, calibrate: beta}", "calibrate: expected 'sigmoid' or 'isotonic'"),
    (TRAIN, "age_band]", "sex]", "evaluate.slices[1]: 'sex' is listed twice"),
    (TRAIN, "name: income\n", "name: Income\n", "jobs.yaml:1: name: 'Income' can't name a model"),
    (TRAIN, "target: income_over_50k\n", "", "jobs.yaml:1: target: a required key is missing"),
    (TRAIN, "target: income_over_50k", "target: ' '", "target: is empty"),
    (TRAIN, "weight: instance_weight", "seed: -1", "seed: expected a number of at least 0, found the number -1"),
    (PREPARE, "test: 0.2", "test: 1.2", "jobs.yaml:7: split.test: expected a number below 1, found the number 1.2"),
    (PREPARE, "test: 0.2", "test: 0", "split.test: expected a number above 0, found the number 0"),
    (PREPARE, "test: 0.2", "test: 20%", "split.test: expected a number, found '20%'"),
    (PREPARE, "hash(person_id)", "person_id", "split.by: expected 'hash(column)'"),
    (PREPARE, "hash(person_id)", "'hash(a, a)'", "split.by: a column is listed twice"),
    (
        PREPARE,
        "purpose: train",
        "purpose: trian",
        "purpose: expected 'train' or 'evaluate' or 'score' or 'benchmark'",
    ),
    (PREPARE, "output: census_training", "output: census_1994", "output: 'census_1994' is the input"),
    (PREPARE, "output: census_training", "output: /etc", "output: '/etc' can't name a dataset"),
    (PREPARE, "purpose: train", "columns: []", "columns: keeps no column"),
    (PREPARE, "purpose: train", "columns: [a, b, a]", "columns[2]: 'a' is listed twice"),
    (PREPARE, "late: ", "'': ", "derive.: can't name a column"),
    (PREPARE, "job: prepare", "job: prepair", "jobs.yaml:2: job: unknown kind of job. Did you mean 'prepare'?"),
    (PREPARE, "job: prepare", "job: [prepare]", "jobs.yaml:2: job: unknown kind of job."),
    (
        PREPARE,
        "job: prepare\n",
        "",
        "jobs.yaml:1: job: the kind of job is missing: prepare or join or train or rescore",
    ),
    (RESCORE, "max_rate: 0.001", "max_rate: 1.5", "jobs.yaml:6: errors.max_rate: expected a number of at most 1"),
    (RESCORE, "max_rate: 0.001", "max_rate: -0.1", "errors.max_rate: expected a number of at least 0"),
    (RESCORE, "max_rate: 0.001", "max_rate: .nan", "errors.max_rate: expected a number, found '.nan'"),
    (RESCORE, "income@champion", "income@", "jobs.yaml:3: model: 'income@' names no model version"),
    (RESCORE, "[person_id]", "[person_id, person_id]", "keep[1]: 'person_id' is listed twice"),
    (RESCORE, "[person_id]", '["a\\u202e", "b\\n"]', "keep[1]: can't name a column"),
]


@pytest.mark.parametrize(("text", "change", "to", "message"), NONSENSE)
def test_nonsense_is_found_early_with_its_line(path: Path, text: str, change: str, to: str, message: str) -> None:
    assert change in text
    (found,) = findings(path, text.replace(change, to, 1))
    assert message in found


def test_only_probabilities_are_calibrated(path: Path) -> None:
    calibrated = TRAIN.replace("{l2: 1.0}}", "{l2: 1.0}, calibrate: sigmoid}")
    path.write_text(calibrated)
    job = find_job(path).job
    assert isinstance(job, TrainJob)
    assert [one.calibrate for one in job.candidates] == ["sigmoid", None]
    record = job_record(job)
    assert [one.get("calibrate") for one in record["candidates"]] == ["sigmoid", None]
    assert ["calibrate" in one for one in record["candidates"]] == [True, False]
    numbers = calibrated.replace("[roc_auc, log_loss]", "[rmse]").replace("target: ", "task: regression\ntarget: ")
    (found,) = findings(path, numbers)
    assert "candidates[0].calibrate: only probabilities are calibrated" in found


def test_no_candidates_no_features(path: Path) -> None:
    start = TRAIN.index("candidates:")
    text = TRAIN[:start] + "candidates: []\n"
    assert findings(path, text) == ["jobs.yaml:9: candidates: expected a list of at least 1, found an empty list"]
    text = TRAIN[: TRAIN.index("features:")] + "features: {}\n" + TRAIN[start:]
    assert findings(path, text) == ["jobs.yaml:5: features: no features: list columns under numeric or categorical"]


def test_the_same_candidate_twice(path: Path) -> None:
    text = TRAIN.replace(
        "{trainer: xgboost, params: {max_depth: 6, rounds: 200}}", "{trainer: logistic, params: {l2: 1.0}}"
    )
    assert findings(path, text) == ["jobs.yaml:11: candidates[1]: the same trainer and params are listed twice"]


def test_findings_of_all_jobs_of_a_file_come_at_once(path: Path) -> None:
    text = together(PREPARE.replace("test: 0.2", "test: 2"), TRAIN, RESCORE.replace("keep:", "kepe:"))
    assert [line.split(": ")[1] for line in findings(path, text)] == ["split.test", "kepe"]


def test_two_jobs_of_one_name_are_refused_with_both_lines(path: Path) -> None:
    text = together(PREPARE, RESCORE.replace("name: income_scores", "name: census_training"))
    assert findings(path, text) == ["jobs.yaml:10: name: a job 'census_training' is already declared on line 1"]


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_a_file_without_jobs_is_refused(path: Path, text: str) -> None:
    assert findings(path, text) == ["jobs.yaml: declares no job"]


@pytest.mark.parametrize("text", ["- a\n", "train\n", "null\n"])
def test_a_document_that_is_no_job_is_refused(path: Path, text: str) -> None:
    (found,) = findings(path, text)
    assert "expected a job" in found


def test_a_job_is_found_by_name_or_by_being_the_only_one(path: Path) -> None:
    path.write_text(TRAIN)
    assert find_job(path).job.name == "income"
    path.write_text(together(PREPARE, TRAIN))
    assert find_job(path, "income").document.where().endswith("jobs.yaml:10")
    with pytest.raises(NotFound, match=r"declares no job 'incme'\. Did you mean 'income'"):
        find_job(path, "incme")
    with pytest.raises(InvalidInput, match="declares 2 jobs; name one of them: census_training, income"):
        find_job(path)


def test_a_job_goes_through_a_record_with_the_order_of_its_derivations(path: Path) -> None:
    path.write_text(together(PREPARE, TRAIN, RESCORE))
    for declared in read_jobs(path):
        record = job_record(declared.job)
        assert canonical_bytes(record)
        assert job_from_record(record) == declared.job
    prepare = job_from_record(job_record(find_job(path, "census_training").job))
    assert isinstance(prepare, PrepareJob)
    assert list(prepare.derive) == ["late", "hour", "early"]


def test_points_that_nobody_stated_are_in_no_record() -> None:
    usual = job_record(EvaluateJob(name="a", scores="b", labels="c", key=("d",), target="e"))
    assert {"threshold", "top_share"} & usual.keys() == set()
    stated = {**usual, "metrics": ["f1", "lift"], "threshold": 0.3, "top_share": 0.2}
    job = job_from_record(stated)
    assert isinstance(job, EvaluateJob)
    assert job.points == Points(threshold=0.3, top_share=0.2)
    assert job_record(job) == stated


def test_the_order_of_derivations_changes_the_records_digest() -> None:
    def record_digest(derive: dict[str, str]) -> str:
        return digest(job_record(PrepareJob(name="a", input="b", output="c", derive=derive)))

    assert record_digest({"age": "age + 1", "x": "age"}) != record_digest({"x": "age", "age": "age + 1"})


@pytest.mark.parametrize(
    "record", [{}, {"job": "fly"}, {"job": "rescore", "wings": 2}, {"job": "prepare", "derive": 3}]
)
def test_a_record_of_another_release_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(Format):
        job_from_record(record)


def test_split_columns_may_be_several_and_quoted() -> None:
    assert parse_split_columns("hash(a)") == ("a",)
    assert parse_split_columns('hash( a, "b c" , d )') == ("a", "b c", "d")


@pytest.mark.parametrize(
    "text", ["hash()", "hash(a", "md5(a)", "hash(a b)", "hash(hash(a))", "hash(a,)", 'hash("a)', ""]
)
def test_other_split_expressions_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_split_columns(text)


def test_every_key_of_every_job_is_documented() -> None:
    seen: list[str] = []
    queue: list[type] = list(KINDS.values())
    while queue:
        model = queue.pop()
        assert model.__doc__
        meanings = meanings_of(model)  # type: ignore[arg-type]
        for name, field in model.model_fields.items():  # type: ignore[attr-defined]
            assert meanings.get(name), f"{model.__name__}.{name}"
            told = (
                field.is_required()
                or name == "job"
                or "Default:" in meanings[name]
                or "Required, but" in meanings[name]
            )
            assert told, f"{model.__name__}.{name}"
            seen.append(name)
            queue += [
                t for t in (field.annotation, *getattr(field.annotation, "__args__", ())) if hasattr(t, "model_fields")
            ]
    assert {"trainer", "max_rate", "test", "min_count", "slices"} <= set(seen)
