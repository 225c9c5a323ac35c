"""What a report says of drift: the figures of a run as rows of tables and small charts.

1. Pure, as `sections`: the same figures give the same rows.
2. What moved most stands first; what is made of too few rows stands last, and says so.
3. A small chart has a pair of bars for each coarse cell: the share then, and the share now. Categories aren't named:
   who may see them finds them in the version's feature program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dataops.monitoring import wording
from dataops.monitoring.sections import Figures

TOO_FEW = "too few rows"
MILD, STRONG = 0.1, 0.25
"""The population stability index from which on a cell is shaded, and shaded more (Siddiqi 2006)."""
CHART_WIDTH, WIDEST_CELL, BAR_HEIGHT = 160, 13, 30  # pixels of the small charts
LONGEST_CHART = 40  # cells; the rest is in the numbers
MOST_NAMED = 3
METRICS: Mapping[str, str] = {
    "psi": "stability index",
    "js": "Jensen-Shannon",
    "ks": "Kolmogorov-Smirnov",
    "missing": "missing",
    "unknown": "unknown",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar of a small chart, in pixels from its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    now: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A row of the table: a feature or the score; texts, and how strongly the index is shaded: 0 to 2."""

    name: str
    kind: str
    psi: str
    level: int
    js: str = ""
    ks: str = ""
    missing: str = ""
    unknown: str = ""
    bars: tuple[Bar, ...] = ()
    shares: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The index of each feature by the values of a slice: ``values`` are (value, rows), ``rows`` (feature, cells)."""

    column: str
    values: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """A limit that was reached; `figure` is that of all rows, or of the first slice."""

    what: str
    level: str
    where: tuple[str, ...]
    figure: str
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The section; `unknown` says why there is nothing else."""

    unknown: str = ""
    reference: str = ""
    rows_then: str = ""
    rows: str = ""
    raised: tuple[Raised, ...] = ()
    features: tuple[Feature, ...] = ()
    slices: tuple[Slice, ...] = ()
    scores: tuple[tuple[str, float, float], ...] = ()


def drift(figures: Figures) -> Drift | None:
    """The section on drift; None where the run has none."""
    found = figures["result"].get("drift")
    if not found:
        return None
    if isinstance(found.get("unknown"), str):
        return Drift(unknown=found["unknown"])
    columns = sorted(found["columns"], key=_order)
    return Drift(
        reference=found["reference"],
        rows_then=_rows(found["rows_then"]),
        rows=_rows(found["rows"]),
        raised=_all_raised(found["raised"]),
        features=tuple(_feature(column) for column in columns),
        slices=tuple(_slice(name, by_value, columns) for name, by_value in sorted(found["slices"].items())),
        scores=_scores(found["histogram_then"], figures["result"].get("scores") or ()),
    )


def _order(column: Mapping[str, Any]) -> tuple[bool, bool, float, str]:
    return column["kind"] != "score", "psi" not in column, -column.get("psi", 0.0), column["column"]


def _rows(rows: int | None) -> str:
    return TOO_FEW if rows is None else wording.count(rows)


def _feature(column: Mapping[str, Any]) -> Feature:
    name, kind = wording.plain(column["column"]), column["kind"]
    if "psi" not in column:
        return Feature(name=name, kind=kind, psi=TOO_FEW, level=0)
    shown = min(len(column["then"]), LONGEST_CHART)
    bound = column.get("ks_error_bound", 0.0)
    between = f" to {column['ks'] + bound:.3f}" if bound >= 0.0005 else ""
    return Feature(
        name=name,
        kind=kind,
        psi=f"{column['psi']:.3f}",
        level=_level(column["psi"]),
        js=f"{column['js']:.3f}",
        ks=f"{column['ks']:.3f}{between}" if "ks" in column else "",
        missing=_change(column.get("missing_shares")),
        unknown=_change(column.get("unknown_shares")),
        bars=_bars(column["then"][:shown], column["now"][:shown]),
        shares=tuple(
            (_share(before), _share(after)) for before, after in zip(column["then"], column["now"], strict=True)
        ),
    )


def _level(psi: float) -> int:
    return (psi >= MILD) + (psi >= STRONG)


def _share(share: float) -> str:
    return wording.percent(share, 1)


def _change(shares: Sequence[float | None] | None) -> str:
    if shares is None:
        return ""
    before, after = (TOO_FEW if share is None else _share(share) for share in shares)
    return before if before == after else f"{before} to {after}"


def _bars(then: Sequence[float], now: Sequence[float]) -> tuple[Bar, ...]:
    largest = max((*then, *now), default=0.0) or 1.0
    cell_width = min(WIDEST_CELL, CHART_WIDTH / max(len(then), 1))
    width = round(0.4 * cell_width, 2)
    bars = []
    for cell, pair in enumerate(zip(then, now, strict=True)):
        for place, share in enumerate(pair):
            height = round(BAR_HEIGHT * share / largest, 2)
            x = round(cell * cell_width + place * width, 2)
            bars.append(Bar(x=x, y=round(BAR_HEIGHT - height, 2), width=width, height=height, now=place == 1))
    return tuple(bars)


def _slice(name: str, by_value: Mapping[str, Mapping[str, Any]], columns: Sequence[Mapping[str, Any]]) -> Slice:
    values = tuple((wording.plain(value), _rows(one["rows"])) for value, one in sorted(by_value.items()))
    found = [{column["column"]: column.get("psi") for column in one["columns"]} for _, one in sorted(by_value.items())]
    rows = tuple(
        (wording.plain(column["column"]), tuple(_cell(one[column["column"]]) for one in found)) for column in columns
    )
    return Slice(column=wording.plain(name), values=values, rows=rows)


def _cell(psi: float | None) -> tuple[str, int]:
    return (TOO_FEW, 0) if psi is None else (f"{psi:.3f}", _level(psi))


def _all_raised(raised: Sequence[Mapping[str, Any]]) -> tuple[Raised, ...]:
    """The limits, once for a feature's figure in all rows and all slices."""
    together: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for one in raised:
        together.setdefault((one["column"], one["metric"], one["level"]), []).append(one)
    return tuple(_raised(some) for some in together.values())


def _raised(some: Sequence[Mapping[str, Any]]) -> Raised:
    slices: dict[str, list[str]] = {}
    for one in some:
        if "slice" in one:
            slices.setdefault(one["slice"], []).append(one["value"])
    where = [] if len(some) == sum(map(len, slices.values())) else ["all rows"]
    where += [f"{name}: {_values(values)}" for name, values in slices.items()]
    first = some[0]
    return Raised(
        what=f"{METRICS[first['metric']]} of {wording.plain(first['column'])}",
        level=first["level"],
        where=tuple(where),
        figure=f"{first['figure']:.3f}",
        limit=f"{first['limit']:g}",
    )


def _values(values: Sequence[str]) -> str:
    named = ", ".join(wording.plain(value) for value in values[:MOST_NAMED])
    return named if len(values) <= MOST_NAMED else f"{len(values)} values"


def _scores(then: Sequence[int], now: Sequence[int]) -> tuple[tuple[str, float, float], ...]:
    """Each bin's name, and the shares of rows in it then and now, in percent."""
    if len(then) != len(now) or not sum(then) or not sum(now):
        return ()
    edges = [number / len(now) for number in range(len(now) + 1)]
    return tuple(
        (f"{low:.2f} to {high:.2f}", 100 * before / sum(then), 100 * after / sum(now))
        for (low, high), before, after in zip(pairwise(edges), then, now, strict=True)
    )
