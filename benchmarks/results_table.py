"""The table of results as the README tells it: of the newest record of each question, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from history import newest
from questions import QUESTIONS, Question

Record = Mapping[str, Any]


def table(records: Iterable[Record]) -> str:
    """The newest record of each question as the README tells it: in Markdown, without a line's end."""
    found = newest(records)
    lines = ["| what | measured | command |", "| --- | --- | --- |"]
    for question in QUESTIONS:
        if (record := found.get(question.name)) is not None:
            command = " ".join(
                filter(None, [question.command, "--quick" if record["quick"] else "", record.get("size")])
            )
            lines.append(f"| {question.asked} | {measured(question, record)} | `{command}` |")
    return "\n".join([*lines, "", *measured_on(found)])


def measured(question: Question, record: Record) -> str:
    """Ratios and figures in words: the median, and from where to where; seconds where there is neither."""
    told = {**record["ratios"], **record.get("figures", {})}
    chosen = (
        {name: one for name, one in told.items() if name.startswith(question.headline)} if question.headline else {}
    )
    chosen = chosen or record["ratios"] or record.get("figures", {})
    words = [f"{name}: {_figure(one)}" for name, one in chosen.items() if "null" not in name]
    if not words:
        words = [f"{name}: {number(sorted(found)[len(found) // 2])} s" for name, found in record["phases"].items()]
    rows = record.get("data") or {}
    return ("; ".join(words) + (f"; {rows['rows']:,} rows" if "rows" in rows else "")).replace("|", "\\|")


def measured_on(records: Mapping[str, Record]) -> list[str]:
    """When, on which machines, of which commits, and how noisy it was."""
    questions = sorted(
        (one for name, one in records.items() if name != "noise"),
        key=lambda one: (str(one["measured_at"]), str(one["question"])),
    )
    if not questions:
        return ["Nothing was measured yet."]
    days = sorted({str(one["measured_at"])[:10] for one in questions})
    machines = dict.fromkeys(machine_words(one) for one in questions)
    commits = dict.fromkeys(str(one["commit"]) for one in questions)
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    noisy = records.get("noise", {}).get("noise", {}).get("worst")
    said = "" if noisy is None else f" The same work strayed by {noisy:.0%} at most in the last run of all questions."
    return [f"Measured {when} on {'; '.join(machines)}; commit {', '.join(commits)}.{said}"]


def machine_words(record: Record) -> str:
    """The machine in a few words."""
    machine = record["machine"]
    memory = machine["memory_bytes"] / 2**30 if "memory_bytes" in machine else 0
    return f"{machine['cores']} cores of {machine['processor']}, {memory:.0f} GiB"


def judged(name: str, median: float, limit: float | None) -> tuple[str, bool]:
    """What was asked of a ratio, in words, and whether it was missed: of what a peer takes beside us at least so much,
    of everything else at most.
    """
    if limit is None:
        return "", False
    least = "/dataops" in name and not name.startswith(("dataops", "null"))
    return f"at {'least' if least else 'most'} {limit:g}", median < limit if least else median > limit


def _figure(spread: Mapping[str, float]) -> str:
    median, low, high = (number(spread[key]) for key in ("median", "min", "max"))
    return median if low == high else f"{median} ({low} to {high})"


def number(value: float) -> str:
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
