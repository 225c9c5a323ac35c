"""The model card: what a version is for, what it learned from, how well it does and where it shouldn't be used.

After Mitchell et al. 2019, "Model Cards for Model Reporting" (doi:10.1145/3287560.3287596). Rules:

1. It is made from what the run recorded; the author adds what it is for and its known limits, nothing else.
2. It names columns, counts and figures, and the groups that were evaluated apart; it never shows a row.
3. What isn't known is said to be unknown: a card without limits says that none were stated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataops.declarations.metrics import Task, point_of
from dataops.features.kinds import (
    BinColumn,
    CategoricalColumn,
    CodeColumn,
    HashColumn,
    LookupColumn,
    NumberColumn,
)
from dataops.features.program import FeatureProgram
from dataops.features.reference import Reference
from dataops.governance.grant import ColumnDecision, Grant
from dataops.models.markdown import number, plain, table

_TOO_SMALL = "too_small"
_BOUND = "_error_bound"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedOn:
    """The data of a training run: a dataset, one snapshot of it, and the rows that were learned from."""

    dataset: str
    snapshot: str
    rows: int


def write_card(
    *,
    model: str,
    target: str | None,
    trainer: str,
    params: Mapping[str, Any],
    data: TrainedOn,
    grant: Grant,
    program: FeatureProgram,
    metrics: Mapping[str, Any],
    reference: Reference | None = None,
    purpose: str = "",
    limits: Sequence[str] = (),
    task: Task = Task.BINARY,
    calibration: Mapping[str, Any] | None = None,
) -> str:
    """The card of a model version, Markdown.

    Parameters
    ----------
    model, target
        The model's name, and what it estimates, or estimates the probability of (a column or an expression); None of a
        clustering.
    trainer, params
        How it was made.
    data, grant
        What it was made from, and what the policies allowed of that.
    program
        The features.
    metrics
        In the shape of a package's metrics.
    reference
        What later rows are compared with.
    purpose, limits
        The author's words: what it is for, and what it isn't good for.
    task
        Whether it estimates a probability or a number, or finds clusters.
    calibration
        The ``method``, and by how many ``rows`` it was fitted; None without one.
    """
    sections = {
        "What it is for": _intent(target, purpose, task),
        "How it was made": _making(trainer, params, data, calibration),
        "What the policies allowed": _policy_effect(grant),
        "Features": _features(program),
        "How well it does": _figures(metrics),
        "What drift is measured against": _reference(reference),
        "Limits": _limits(limits, grant, metrics),
    }
    lines = [f"# Model card: {plain(model)}", ""]
    for heading, body in sections.items():
        lines += [f"## {heading}", "", *body, ""]
    return "\n".join(lines)


def _intent(target: str | None, purpose: str, task: Task) -> list[str]:
    what = "Estimates the probability of" if task is Task.BINARY else "Estimates the number"
    gives = f"- **{what}:** {plain(target)}"
    if task is Task.CLUSTERS:
        gives = "- **Says of a row:** which cluster it is in, by the nearest centre, and how far that is"
    return [f"- **Purpose:** {plain(purpose) or 'none was stated'}", gives]


def _making(
    trainer: str, params: Mapping[str, Any], data: TrainedOn, calibration: Mapping[str, Any] | None
) -> list[str]:
    settings = ", ".join(f"{plain(name)} {plain(value)}" for name, value in sorted(params.items()))
    return [
        f"- **Data:** {plain(data.dataset)}, snapshot {plain(data.snapshot)}, {number(data.rows)} rows",
        f"- **Trainer:** {plain(trainer)}{f' ({settings})' if settings else ''}",
        *(
            [f"- **Calibration:** {plain(calibration['method'])}, by {number(calibration['rows'])} of these rows"]
            if calibration
            else []
        ),
    ]


def _policy_effect(grant: Grant) -> list[str]:
    denied = [decision for decision in grant.decisions if not decision.readable]
    masked = [decision for decision in grant.decisions if decision.readable and decision.mask]
    plainly = [decision for decision in grant.decisions if decision.readable and not decision.mask]
    filters = len(grant.effect.filters)
    return [
        # Which dataset: what a prepare job left out of it before was denied, or not, in a read of its own.
        f"- **Dataset, purpose and zone:** {plain(grant.dataset)}, {plain(grant.purpose)}, {plain(grant.zone)}",
        f"- **Columns read as they are ({len(plainly)}):** {_names(plainly)}",
        f"- **Columns masked ({len(masked)}):** {_names(masked)}",
        f"- **Columns denied, never read ({len(denied)}):** {_names(denied)}",
        f"- **Rows:** {f'those that {filters} row filter(s) let through' if filters else 'all'}",
        f"- **Effect:** {plain(grant.effect.digest)}",
        f"- **Policies:** {plain(grant.policy_digest)}",
    ]


def _names(decisions: Sequence[ColumnDecision]) -> str:
    names = (f"{plain(d.column)} ({plain(d.mask)})" if d.mask else plain(d.column) for d in decisions)
    return ", ".join(names) or "none"


def _features(program: FeatureProgram) -> list[str]:
    numeric = [plain(column.name) + _extent(column) for column in program.encoder.numeric]
    categorical = [plain(column.name) + _extent(column) for column in program.encoder.categorical]
    derived = [f"{plain(name)} = {plain(expression.sql)}" for name, expression in program.steps.derive]
    generalised = [f"{plain(name)} ({plain(mask)})" for name, mask in program.steps.generalise]
    population = plain(program.steps.where.sql) if program.steps.where else "all rows"
    return [
        f"- **Numeric ({len(numeric)}):** {', '.join(numeric) or 'none'}",
        f"- **Categorical ({len(categorical)}):** {', '.join(categorical) or 'none'}",
        f"- **Derived:** {'; '.join(derived) or 'none'}",
        f"- **Generalised:** {', '.join(generalised) or 'none'}",
        f"- **Rows it applies to:** {population}",
        f"- **Feature program:** {plain(program.digest)}",
    ]


def _extent(column: NumberColumn | CodeColumn) -> str:
    match column:
        case CategoricalColumn() | LookupColumn():
            return f" ({len(column.categories)} known values)"
        case BinColumn():
            return f" ({len(column.edges) + 1} bins)"
        case HashColumn():
            return f" ({column.buckets} buckets)"
        case _:
            return ""


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics:
        return ["It was not evaluated."]
    rows = [
        [plain(dataset), number(figures.get("rows")), _named(name, figures), _figure(figures.get("overall", {}), name)]
        for dataset, figures in sorted(metrics.items())
        for name in _metric_names([figures.get("overall", {})])
    ]
    lines = table(("dataset", "rows", "metric", "value"), rows)
    for dataset, figures in sorted(metrics.items()):
        for column, groups in sorted(figures.get("slices", {}).items()):
            lines += ["", f"### {plain(dataset)} by {plain(column)}", "", *_slices(column, groups, figures)]
    return lines


def _reference(reference: Reference | None) -> list[str]:
    if reference is None:
        return ["Nothing: no reference was counted."]
    features = len(reference.spec.columns)
    slices = ", ".join(f"{plain(name)} ({len(values)} values)" for name, values in reference.spec.slices)
    edges = reference.decile_edges
    return [
        f"- **Rows:** the {number(reference.rows)} of {plain(reference.dataset)}, which it didn't learn from",
        f"- **Counted:** {features} features and the score, by cells that are fixed with this version",
        f"- **By slice:** {slices or 'none'}",
        f"- **Deciles of the score begin at:** {', '.join(map(number, edges)) if edges else 'too few rows'}",
    ]


def _slices(column: str, groups: Mapping[str, Mapping[str, Any]], report: Mapping[str, Any]) -> list[str]:
    names = _metric_names(groups.values())
    rows = [
        [plain(value), number(figures.get("rows")), *(_figure(figures, name) for name in names)]
        for value, figures in sorted(groups.items())
    ]
    return table((plain(column), "rows", *(_named(name, report) for name in names)), rows)


def _named(metric: str, report: Mapping[str, Any]) -> str:
    """A metric with the point that it was taken at, where the report tells one."""
    point = point_of(metric, report)
    told = point is not None and point[0] in report
    return plain(f"{metric} ({point[0].replace('_', ' ')} {point[1]:g})" if point and told else metric)


def _metric_names(many: Iterable[Mapping[str, Any]]) -> list[str]:
    names = {name for figures in many for name in figures}
    return sorted(name for name in names - {"rows", _TOO_SMALL} if not name.endswith(_BOUND))


def _figure(figures: Mapping[str, Any], name: str) -> str:
    """The figure with its error bound where it has one, or why there is none."""
    if name not in figures and _TOO_SMALL in figures:
        return plain(figures[_TOO_SMALL])
    bound = figures.get(f"{name}{_BOUND}")
    return number(figures.get(name)) + ("" if bound is None else f" (± {number(bound)})")


def _limits(limits: Sequence[str], grant: Grant, metrics: Mapping[str, Any]) -> list[str]:
    stated = [f"- **Stated:** {plain(limit)}" for limit in limits] or [
        "- **Stated:** none, which doesn't mean there are none"
    ]
    known = ["- A value of a categorical feature that training didn't see counts as unknown."]
    if not all(decision.readable for decision in grant.decisions):
        known.append(
            "- Denied columns are no features. That doesn't show how the model treats the groups that they tell apart: "
            "other columns can stand in for them."
        )
    if not any(figures.get("slices") for figures in metrics.values()):
        known.append("- It was not evaluated by group.")
    return [*stated, *known]
