"""What ``dataops job explain`` prints: whether the job may run, first and, since much stands between, last; for each
input its facts, columns and rules; then what the job would make.
"""

from __future__ import annotations

from typing import Any

import click

from dataops.cli.output import RULE_COLUMNS, print_facts, print_table, printable, spell_bytes, spell_limit


def print_explained(explained: dict[str, Any]) -> None:
    """What `explain_job` says, on stdout."""
    verdict = f"refused: {printable(explained['refused'])}" if explained["refused"] else "this job may run"
    click.echo(f"{verdict}\n")
    for given in explained["inputs"]:
        print_facts(_input_facts(given))
        click.echo("")
        columns = [
            [c["column"], c["used"], c["verdict"], c["mask"], c["classification"], ", ".join(c["rules"]) or c["reason"]]
            for c in given["columns"]
        ]
        print_table(["column", "used", "verdict", "mask", "classification", "decided by"], columns)
        click.echo("")
        rules = [
            [r["rule"], r["asks"], r["action"], spell_limit(r["max_rows"], r["max_percent"])]
            for r in given["contract_rules"]
        ]
        if rules:
            print_table(RULE_COLUMNS, rules, rare=("tolerated",))
            click.echo("")
    for rule, reason in explained["reasons"].items():
        click.echo(printable(f"{rule}: {reason}"))
    if explained["reasons"]:
        click.echo("")
    if explained["output"]:
        _print_output(explained["output"])
    if explained["units"] and explained["units"]["reasons"]:
        rows = [[f"{one['units']:,}", one["reason"], f"{one['rows']:,}"] for one in explained["units"]["reasons"]]
        print_table(["units", "why", "rows"], rows)
        click.echo("")
    if explained["estimated_seconds"] is not None:
        click.echo(_estimate(explained))
    click.echo(verdict)


def _print_output(output: dict[str, Any]) -> None:
    click.echo(printable(f"makes dataset {output['dataset']}"))
    rows = [[c["column"], ", ".join(c["made_of"]), c["classification"], c["masked"]] for c in output["columns"]]
    print_table(["column", "made of", "classification", "masked"], rows)
    click.echo("")
    if joins := output.get("joins"):
        rows = [
            [j["dataset"], ", ".join(j["on"]), j["as_of"], j["how"], j["expect"], _travels(j["buckets"])] for j in joins
        ]
        print_table(["joined", "on", "as of", "how", "expect", "rows"], rows, rare=("as of",))
        click.echo("")


def _travels(buckets: int) -> str:
    return f"by key, in {count(buckets, 'bucket')}" if buckets else "given to every worker"


def _estimate(explained: dict[str, Any]) -> str:
    seconds = f"{max(1, round(explained['estimated_seconds'])):,} s"
    runs = f"{explained['past_runs']} run{'s' * (explained['past_runs'] > 1)}"
    if explained["is_scaled"]:
        return f"about {seconds}, by the time that earlier runs of this job took for a row ({runs})"
    return f"earlier runs of this job took about {seconds} ({runs})"


def _input_facts(given: dict[str, Any]) -> dict[str, object]:
    from dataops.datasets.following import spell_counts

    rows = count(given["rows"], "row")
    if given["rows_at_most"] < given["rows"]:
        rows += f", at most {given['rows_at_most']:,} pass the row filters by the files' statistics"
    read = f"{spell_bytes(given['read_bytes'])} of {spell_bytes(given['stored_bytes'])} stored are read"
    if given["files_looked_at"] < given["files"]:
        read += f", by the footers of {given['files_looked_at']:,} of {given['files']:,} files"
    taken = {"arrivals": spell_counts(given["arrivals"])} if given.get("arrivals") else {}
    return {
        given["input"]: f"dataset {given['dataset']} ({given['zone']}), snapshot {given['snapshot']}",
        **taken,
        "read": f"to {given['purpose']}, as {given['as']}" + (f", until {given['until']}" if given["until"] else ""),
        "size": f"{count(given['units'], 'unit')}, {rows}",
        "bytes": read,
        "row filters": "\n".join(given["row_filters"]) or "none",
        "smallest group": f"figures about fewer than {given['min_group_size']} rows aren't shown"
        if given["min_group_size"] > 1
        else "any",
        "contract": f"{given['contract']}, {count(len(given['contract_rules']), 'rule')}",
    }


def count(number: int, what: str) -> str:
    """``1 row``, ``1,200 rows``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
