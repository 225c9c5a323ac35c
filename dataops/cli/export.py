"""``dataops dataset export``: rows for other systems, as the policies show them."""

from __future__ import annotations

import click

from dataops.cli.options import json_option, workspace_option
from dataops.cli.output import print_facts, print_json, print_note

PURPOSES = ("train", "evaluate", "score", "benchmark")


@click.command()
@click.argument("name")
@click.argument("path", type=click.Path(file_okay=False))
@click.option("--purpose", type=click.Choice(PURPOSES), default="score", show_default=True, help="What it is read for.")
@click.option("--partition-by", "partition_by", multiple=True, metavar="COLUMN", help="Partition by it; repeatable.")
@workspace_option
@json_option
def export(
    name: str, path: str, *, purpose: str, partition_by: tuple[str, ...], workspace: str | None, as_json: bool
) -> None:
    """Write NAME as a Delta table to the folder PATH.

    The table holds the newest snapshot as the policies let you see it for the purpose, and the audit says that you took
    it. Spark, DuckDB and Polars read it. To export again changes nothing until there is a newer snapshot; then one
    commit replaces the rows; files of before stay until the table is vacuumed. Partitions are truth values, whole
    numbers, texts, dates or times. Needs the package deltalake, of the extra delta.

    \b
    Examples:
      dataops dataset export income_scores exports/income_scores
      dataops dataset export income_scores exports/by_sex --purpose evaluate --partition-by sex --json
    """
    from pathlib import Path

    from dataops.governance.grant import Purpose
    from dataops.runs.export import export_dataset
    from dataops.runs.workspace import open_workspace

    url = path if "://" in path else str(Path(path).absolute())
    exported, note = export_dataset(
        open_workspace(workspace), name, url, purpose=Purpose(purpose), partition_by=partition_by
    )
    print_note(note)
    if as_json:
        print_json({key: getattr(exported, key) for key in exported.__slots__})
        return
    print_facts(
        {
            "table": exported.url,
            "state": "written" if exported.written else "held this snapshot already",
            "version": exported.version,
            "snapshot": exported.snapshot,
            "files": exported.files,
            "rows": f"{exported.rows:,}",
        }
    )
