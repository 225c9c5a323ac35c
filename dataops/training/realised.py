"""Realised performance: published scores joined with the outcomes that came later, and judged as models are.

1. Scores and outcomes are read to evaluate, the keys of both to score: so they are masked alike, and nobody joins what
   the policies don't let them read on both sides.
2. Rows are joined by two keyed hashes of 64 bits each, of keys as their reader sees them, under a secret that lasts as
   long as the run. No key leaves a worker.
3. A large join is done in passes over shares of the hashes, so that memory is bounded by `ROWS_PER_PASS`, not by rows.
4. Counts are exact and merge in any order, as in evaluation.
5. Each model version is judged on the rows that it scored: those of the manifests that name it. An output that grows
   by file or by replay may hold scores of several.
6. The metrics say the task: probabilities are judged, or the numbers of a regression (`tasks`).
7. A row without a key has no outcome: nulls are not equal to nulls. How many there are is in the result.
8. Where the job asks for the newest outcomes, older ones are as if they weren't known (`latest`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dataops.datasets.access import GovernedInput, totals
from dataops.datasets.publish import require_within_thresholds
from dataops.datasets.reading import Source
from dataops.datasets.receipt import Receipt
from dataops.datasets.scan import read_unit
from dataops.datasets.snapshot import Manifest, Snapshot
from dataops.datasets.units import Unit
from dataops.declarations.evaluate import EvaluateJob
from dataops.declarations.inputs import INPUT, LABEL_KEYS, LABELS, SCORE_KEYS
from dataops.declarations.metrics import Task
from dataops.declarations.outputs import OWN, Output, column_name
from dataops.engine.work import Work
from dataops.errors import InvalidInput
from dataops.governance.contract import schema_of
from dataops.governance.expressions import Expression, parse_expression, result_type
from dataops.governance.hashing import keyed_hashes
from dataops.governance.marks import plain_marks
from dataops.records import Record
from dataops.training.latest import find_since, is_later, require_times
from dataops.training.outcome_join import Joined, Keyed, Words, join
from dataops.training.reading import Selection, read_figures, target_values
from dataops.training.realised_figures import Scorer, version_figures
from dataops.training.tasks import judge_of

ROWS_PER_PASS = 4_000_000
_JUDGED: Mapping[Task, tuple[Output, str]] = {
    Task.BINARY: (Output.PROBABILITY, "probabilities"),
    Task.REGRESSION: (Output.PREDICTION, "numbers that a regression predicted"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RealisedPlan:
    """An evaluate job, resolved against the scores and the outcomes.

    Attributes
    ----------
    predictions : the columns of scores to judge, by the name of the model in the job that made them.
    scores, score_keys, outcome_keys : where scores and the keys of both sides are read.
    outcomes : how rows with a known outcome are selected.
    """

    job: EvaluateJob
    predictions: Mapping[str, str]
    scores: Source
    score_keys: Source
    outcome_keys: Source
    outcomes: Selection

    def reading(self, sources: Mapping[str, Source]) -> RealisedPlan:
        """The plan over `sources`, by the run's name of the input."""
        return replace(
            self,
            scores=sources[INPUT],
            score_keys=sources[SCORE_KEYS],
            outcome_keys=sources[LABEL_KEYS],
            outcomes=replace(self.outcomes, source=sources[LABELS]),
        )

    def columns_read(self) -> dict[str, tuple[str, ...]]:
        """The columns that are read, by the run's name of the input."""
        return {
            INPUT: tuple(self.predictions.values()),
            SCORE_KEYS: self.job.key,
            LABELS: self.outcomes.read,
            LABEL_KEYS: self.job.key,
        }


def plan_realised(job: EvaluateJob, inputs: Mapping[str, GovernedInput], *, where: str) -> RealisedPlan:
    """`job` over `inputs`.

    Raises
    ------
    AccessDenied : a key, the target, a slice or a score is denied for the purpose that it is read for.
    InvalidInput : what is called scores isn't what a rescore job made with probabilities, or numbers; a column that
        isn't there; a target of another type; keys that are masked otherwise, or of another type, on both sides.
    """
    scores, labels = inputs[INPUT], inputs[LABELS]
    _require_rescored(scores, where)
    judge, predictions = judge_of(job.task), _predictions(scores, job.task, where)
    target = parse_expression(job.target, where=f"{where}: target")
    scores.require_columns(list(predictions.values()), where=f"{where}: scores")
    labels.require_columns((*target.columns, *job.slices), where=f"{where}: labels")
    for keys in (inputs[SCORE_KEYS], inputs[LABEL_KEYS]):
        keys.require_columns(job.key, where=f"{where}: key")
    _require_joinable(job, inputs[SCORE_KEYS], inputs[LABEL_KEYS], where)
    judge.require_target(_target_type(target, labels, where), where)
    if job.latest is not None:
        require_times(job.latest, labels, where)
    named = {*target.columns, *job.slices, *([job.latest.column] if job.latest else [])}
    read = tuple(name for name in labels.grant.effect.columns if name in named)
    return RealisedPlan(
        job=job,
        predictions=predictions,
        scores=scores.source,
        score_keys=inputs[SCORE_KEYS].source,
        outcome_keys=inputs[LABEL_KEYS].source,
        outcomes=Selection(source=labels.source, read=read, target=target, slices=job.slices, task=job.task),
    )


def _target_type(target: Expression, labels: GovernedInput, where: str) -> pa.DataType:
    return result_type(target, schema_of(labels.masked_columns()), where=f"{where}: target")


def _require_rescored(scores: GovernedInput, where: str) -> None:
    if any(manifest.lineage.get("kind") != "rescore" for manifest in scores.dataset.snapshot.manifests):
        raise InvalidInput(
            f"{where}: scores: '{scores.dataset.name}' was not made by a rescore job, so nobody knows which model to "
            "judge; name the output of one"
        )


def _scorers(manifest: Manifest) -> dict[str, Scorer]:
    """What scored the rows of `manifest`, by its name in the job."""
    applied = {OWN: manifest.lineage, **manifest.lineage.get("challengers", {})}
    return {
        name: Scorer(name=name, model=one["model"], version=one["model_version"], digest=one["model_digest"])
        for name, one in applied.items()
    }


def _predictions(scores: GovernedInput, task: Task, where: str) -> dict[str, str]:
    """The columns of probabilities, or of numbers, by the name of the model in the job."""
    output, what = _JUDGED[task]
    stored = {column.name for column in scores.dataset.contract.columns if column.type == pa.float32()}
    names = dict.fromkeys(name for manifest in scores.dataset.snapshot.manifests for name in _scorers(manifest))
    named = {name: column_name(output, name) for name in names}
    found = {name: column for name, column in named.items() if column in stored}
    if not found:
        raise InvalidInput(
            f"{where}: scores: '{scores.dataset.name}' holds no {what}: metrics of task {task} judge the column "
            f"`{output}` of a job that rescores by such a model and has it among its outputs"
        )
    return found


def _require_joinable(job: EvaluateJob, scores: GovernedInput, labels: GovernedInput, where: str) -> None:
    ours, theirs = ({column.name: column for column in one.masked_columns()} for one in (scores, labels))
    for name in job.key:
        if plain_marks(ours[name]) != plain_marks(theirs[name]):
            raise InvalidInput(
                f"{where}: key: '{name}' is masked otherwise in '{scores.dataset.name}' than in "
                f"'{labels.dataset.name}', both read to score: equal keys would not look alike. Score anew, or let one "
                "mask hold for both"
            )
        if ours[name].type != theirs[name].type:
            raise InvalidInput(
                f"{where}: key: '{name}' is {ours[name].type} in '{scores.dataset.name}' and {theirs[name].type} in "
                f"'{labels.dataset.name}'; give both one type"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinContext:
    """What a worker needs to read one side of the join: rows whose hash is `share` of `shares`.

    `since` is the time after which outcomes are judged, microseconds since 1970, where the job asks for the newest.
    """

    plan: RealisedPlan
    secret: bytes = field(repr=False)
    share: int
    shares: int
    since: int | None = None


def read_outcomes(context: JoinContext, unit: Unit) -> Keyed:
    """Outcomes that are known and new enough, with their keys; only rows that both purposes let through."""
    selection, latest = context.plan.outcomes, context.plan.job.latest
    outcome = read_unit(selection.source, unit, selection.read)
    target = _known_target(selection, outcome.table)
    wanted = np.isfinite(target)
    if latest is not None:
        wanted &= is_later(outcome.table.column(latest.column), context.since)
    share = _share(context, context.plan.outcome_keys, unit, outcome.places.in_file(), wanted)
    rows = share.rows
    return Keyed(
        keys=share.keys,
        values=target[None, rows],
        slices={name: outcome.table.column(name).take(pa.array(rows)).combine_chunks() for name in selection.slices},
        receipts=(outcome.receipt, share.receipt),
        keyless=share.keyless,
    )


def read_scores(context: JoinContext, unit: Unit) -> Keyed:
    """Scores with their keys; only rows that both purposes let through."""
    plan = context.plan
    read = read_unit(plan.scores, unit, list(plan.predictions.values()))
    wanted = np.ones(read.table.num_rows, np.bool_)
    share = _share(context, plan.score_keys, unit, read.places.in_file(), wanted)
    values = [read.table.column(name).to_numpy()[share.rows] for name in plan.predictions.values()]
    return Keyed(
        keys=share.keys,
        values=np.array(values, np.float32),
        slices={},
        receipts=(read.receipt, share.receipt),
        keyless=share.keyless,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Share:
    """The rows of a unit that are of one share, with their hashes, uint64 (2, n_rows), and the receipt of the reading
    of keys; `keyless` rows more have no key, and are of the first share.
    """

    rows: npt.NDArray[np.intp]
    keys: Words
    receipt: Receipt
    keyless: int


def _share(
    context: JoinContext,
    source: Source,
    unit: Unit,
    positions: npt.NDArray[np.int64],
    wanted: npt.NDArray[np.bool_],
) -> _Share:
    """Which of the `wanted` rows at `positions` of `unit` stand in `source` and are of the context's share."""
    read = read_unit(source, unit, context.plan.job.key)
    _, rows, at_key = np.intersect1d(positions, read.places.in_file(), assume_unique=True, return_indices=True)
    rows, table = rows[wanted[rows]], read.table.take(pa.array(at_key[wanted[rows]]))
    has_key = _has_key([table.column(name) for name in context.plan.job.key])
    keys = _hashes(context, table)
    # the upper bits tell the share, since the lower ones find rows within it
    chosen = np.flatnonzero(has_key & ((keys[0] >> np.uint64(32)) % np.uint64(context.shares) == context.share))
    keyless = 0 if context.share else int(np.count_nonzero(~has_key))
    return _Share(rows=rows[chosen], keys=keys[:, chosen], receipt=read.receipt, keyless=keyless)


def _has_key(columns: Sequence[pa.ChunkedArray]) -> npt.NDArray[np.bool_]:
    """Which rows have a value in each of `columns`, bool (n_rows,)."""
    valid: npt.NDArray[np.bool_] = np.logical_and.reduce([column.is_valid().to_numpy() for column in columns])
    return valid


def _known_target(selection: Selection, table: pa.Table) -> npt.NDArray[np.float32]:
    """The outcome of each row of `table`, float32 (n_rows,), NaN where it isn't known."""
    filled = pc.fill_null(target_values(selection.target, table), float("nan"))
    target: npt.NDArray[np.float32] = filled.to_numpy(zero_copy_only=False).astype(np.float32)
    return target


def _hashes(context: JoinContext, table: pa.Table) -> Words:
    columns = [table.column(name) for name in context.plan.job.key]
    half = len(context.secret) // 2
    return np.array([keyed_hashes(columns, key=part) for part in (context.secret[:half], context.secret[half:])])


def run_realised(plan: RealisedPlan, inputs: Mapping[str, GovernedInput], work: Work) -> dict[str, Any]:
    """The run's result: how well each model did where the outcome is known, on how many rows, and what was read.

    Raises
    ------
    ContractViolation : a key stands twice among the outcomes; a rule is broken more often than it allows.
    InvalidInput : no scored row has an outcome.
    AccessDenied : fewer rows have one than the policies show figures about.
    """
    measures = judge_of(plan.job.task).measures(plan.job.metrics, plan.job.points)
    rows = max(totals(inputs[name].units)[0] for name in (INPUT, LABELS))
    shares = max(1, -(-rows // ROWS_PER_PASS))
    secret = secrets.token_bytes(64)
    files = _scorers_by_file(inputs[INPUT].dataset.snapshot)
    models = [[files[unit.fragment.path].get(name) for name in plan.predictions] for unit in inputs[INPUT].units]
    latest = plan.job.latest
    since = None if latest is None else find_since(latest, plan.outcomes, work, inputs[LABELS].units)
    joined = Joined()
    for share in range(shares):
        context = JoinContext(plan=plan, secret=secret, share=share, shares=shares, since=since)
        told = f" ({share + 1} of {shares})" if shares > 1 else ""
        outcomes = work.map_units(f"outcomes{told}", read_outcomes, context, inputs[LABELS].units)
        scored = work.map_units(f"scores{told}", read_scores, context, inputs[INPUT].units)
        if not share:
            reads = _require_allowed(inputs, outcomes, scored)
        joined = joined.with_share(join(outcomes, scored, models=models, task=plan.job.task, points=measures.points))
    if not joined.judged:
        keyless = f" {joined.scored_keyless} scored rows have no key." if joined.scored_keyless else ""
        raise InvalidInput(
            f"none of the {joined.scored} scored rows has a known outcome ({joined.outcomes} outcomes are known): is "
            f"{', '.join(plan.job.key)} the key of both, and did outcomes come yet?{keyless}"
        )
    least = max(given.grant.effect.min_group_size for given in inputs.values())
    return {
        "realised": {
            "scores": _told(inputs[INPUT]),
            "labels": _told(inputs[LABELS]),
            "scored": joined.scored,
            "outcomes": joined.outcomes,
            "judged": joined.judged,
            "scored_keyless": joined.scored_keyless,
            "outcomes_keyless": joined.outcomes_keyless,
        },
        **version_figures(joined, list(files.values()), measures, least),
        "primary_metric": str(plan.job.metrics[0]),
        "reads": reads,
    }


def _scorers_by_file(snapshot: Snapshot) -> dict[str, dict[str, Scorer]]:
    """What scored the rows of each file, by its name in the job."""
    return {
        fragment.path: found
        for manifest in snapshot.manifests
        for found in [_scorers(manifest)]
        for fragment in manifest.fragments
    }


def _told(given: GovernedInput) -> Record:
    manifest = given.dataset.snapshot.manifests[-1]
    return {"dataset": given.dataset.name, "snapshot": given.dataset.snapshot.number, "run": manifest.run}


def _require_allowed(
    inputs: Mapping[str, GovernedInput], outcomes: Sequence[Keyed], scored: Sequence[Keyed]
) -> dict[str, Any]:
    """What was read of each input, if its rows broke no rule more often than allowed."""
    receipts = {
        INPUT: [one.receipts[0] for one in scored],
        SCORE_KEYS: [one.receipts[1] for one in scored],
        LABELS: [one.receipts[0] for one in outcomes],
        LABEL_KEYS: [one.receipts[1] for one in outcomes],
    }
    for name, of_input in receipts.items():
        require_within_thresholds(inputs[name], of_input)
    return {name: read_figures(of_input) for name, of_input in receipts.items()}
