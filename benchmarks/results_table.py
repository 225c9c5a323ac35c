"""The table of results as the README tells it, in Markdown: which record of a question counts, and what it says.

1. What a run was decides before its time: one without options, then one beside the peers, then a short one, then one of
   other options, last one of ``--quick``. Of equal ones the newest counts.
2. Each figure stands beside what was asked of it, and says where that was missed.
3. A run without the peers answers no question about them.
4. How much the machine strayed is told of each run, by the noise record at its end, and where that isn't known.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from pace import LIMIT
from questions import BY_NAME, QUESTIONS, Question

Record = Mapping[str, Any]
NOISE = "noise"  # how the machine did: no question of ours
AGAINST = " against "  # in what is asked: behind it stand the others


def newest(records: Iterable[Record]) -> dict[str, Record]:
    """The record of each question that counts, each with the ``noise`` of the machine in its run, where that is known.

    So those that were chosen once can be kept by themselves: of them the same are chosen again.
    """
    records = list(records)
    questions = [one for one in records if one["question"] != NOISE]
    ranked = sorted(questions, key=lambda one: (-rank(one), str(one["measured_at"])))
    chosen = {one["question"]: one for one in ranked}
    found = {}
    for name, record in chosen.items():
        noise = record.get(NOISE) or noise_beside(record, records)
        found[name] = {**record, NOISE: noise} if noise else record
    return found


def rank(record: Record) -> int:
    """How little a record says about its question by what its run was; 0 says most."""
    if record["quick"]:
        return 4
    size, question = record.get("size") or "", BY_NAME.get(record["question"])
    known = [(), question.peers, question.short] if question else [()]
    sizes = [None if one is None else " ".join(one) for one in known]
    return sizes.index(size) if size in sizes else 3


def noise_beside(record: Record, records: Iterable[Record]) -> dict[str, Any] | None:
    """By how much the same work strayed in the run that a record is of, and when that run ended; None if it is of none.

    A run's noise is written at its end, and names the questions that it asked. If a question was asked again before,
    the noise is of that.
    """
    at, name = str(record["measured_at"]), record["question"]
    later = sorted((one for one in records if str(one["measured_at"]) >= at), key=lambda one: str(one["measured_at"]))
    for one in later:
        if one["question"] == NOISE and f"after {name}" in one[NOISE]:
            return {"worst": one[NOISE]["worst"], "measured_at": one["measured_at"]}
        if one["question"] == name and one is not record:
            return None
    return None


def table(records: Iterable[Record]) -> str:
    """The record of each question that counts as the README tells it: in Markdown, without a line's end."""
    found = newest(records)
    lines = ["| what | measured | asked | command |", "| --- | --- | --- | --- |"]
    for question in QUESTIONS:
        if (record := found.get(question.name)) is not None:
            command = " ".join(
                filter(None, [question.command, "--quick" if record["quick"] else "", record.get("size")])
            )
            cells = [what(question, record), measured(question, record), asked(question, record), f"`{command}`"]
            lines.append(f"| {' | '.join(one.replace('|', chr(92) + '|') for one in cells)} |")
    return "\n".join([*lines, "", *measured_on(found)])


def what(question: Question, record: Record) -> str:
    """What was asked, without those it was asked against where none of them ran."""
    alone = AGAINST in question.asked and not told(question, record)
    return f"{question.asked.partition(AGAINST)[0]}: dataops alone" if alone else question.asked


def told(question: Question, record: Record) -> dict[str, Mapping[str, float]]:
    """Ratios and figures that the table tells: those that `headline` names, or whose names begin as it says. A run of
    the same beside itself is none.
    """
    both = {**record["ratios"], **record.get("figures", {})}
    begun = tuple(head for head in question.headline if head not in both)
    chosen = {name: one for name, one in both.items() if name in question.headline or name.startswith(begun)}
    chosen = chosen or record["ratios"] or record.get("figures", {})
    return {name: one for name, one in chosen.items() if "null" not in name}


def measured(question: Question, record: Record) -> str:
    """Ratios and figures in words: the median, and from where to where; seconds where there is neither; who was left
    out.
    """
    words = [f"{name}: {_figure(one)}" for name, one in told(question, record).items()]
    if not words:
        words = [f"{name}: {number(statistics.median(found))} s" for name, found in record["phases"].items() if found]
    rows, missing = record.get("data") or {}, record.get("missing") or {}
    words += [f"{rows['rows']:,} rows"] if "rows" in rows else []
    return "; ".join([*words, *([f"left out: {', '.join(missing)}"] if missing else [])])


def asked(question: Question, record: Record) -> str:
    """What was asked of each figure that is told, in words, and which of them missed it."""
    chosen, limits = told(question, record), record.get("limits") or {}
    words = []
    for name, one in chosen.items():
        bound, missed = judged(name, one["median"], limits.get(name))
        if bound:
            words.append(f"{f'{name}: ' if len(chosen) > 1 else ''}{bound}{': missed' if missed else ''}")
    return "; ".join(words)


def measured_on(records: Mapping[str, Record]) -> list[str]:
    """When, on which machines, of which commits, and how noisy it was in each run.

    Parameters
    ----------
    records : of `newest`.
    """
    questions = sorted(records.values(), key=lambda one: (str(one["measured_at"]), str(one["question"])))
    if not questions:
        return ["Nothing was measured yet."]
    days = sorted({str(one["measured_at"])[:10] for one in questions})
    machines = dict.fromkeys(machine_words(one) for one in questions)
    commits = dict.fromkeys(str(one["commit"]) for one in questions)
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    many = "s" if len(commits) > 1 else ""
    said = " ".join(noise_words(questions))
    return [f"Measured {when} on {'; '.join(machines)}; commit{many} {', '.join(commits)}. {said}"]


def noise_words(records: Iterable[Record]) -> list[str]:
    """How steady the machine was, run by run, and of which records that isn't known, in sentences."""
    runs: dict[tuple[str, float], list[str]] = {}
    unknown = []
    for one in records:
        if noise := one.get(NOISE):
            runs.setdefault((str(noise["measured_at"]), noise["worst"]), []).append(one["question"])
        else:
            unknown.append(one["question"])
    said = [
        f"The machine at {', '.join(names)} ({at}): the same work strayed by {worst:.0%} at most, "
        f"{f'too noisy: no more than {LIMIT:.0%} would do' if worst > LIMIT else 'quiet enough'}."
        for (at, worst), names in runs.items()
    ]
    return said + ([f"How noisy it was at {', '.join(unknown)} isn't known."] if unknown else [])


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
