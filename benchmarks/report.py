"""What came out: a page with the history of every question, or the table of results in the README.

    python benchmarks/report.py                       # draws report.html beside the records
    python benchmarks/report.py --table               # the README's table, of the newest records, as Markdown
    python benchmarks/report.py --keep measured.json  # the newest records in one file, for --records

1. The page is one file that asks nobody: scripts are in it, and its content security policy forbids outside requests.
2. Records of other options or machines aren't drawn on one chart: they say nothing about each other.
3. Same records, same table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from history import HISTORY, newest, read_history, record_folder
from report_page import page
from results_table import table

Record = Mapping[str, Any]


def main() -> None:
    """Draws, or prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--records", type=Path, default=record_folder() / HISTORY, help="the history, or a file of --keep"
    )
    parser.add_argument("--table", action="store_true", help="print the README's table")
    parser.add_argument("--keep", type=Path, help="write the newest record of each question into this file")
    parser.add_argument("--output", type=Path, default=None, help="the page; default: report.html beside the records")
    given = parser.parse_args()
    records = read_records(given.records)
    if given.keep:
        given.keep.write_text(json.dumps(list(newest(records).values()), indent=1) + "\n")
    if given.table:
        print(table(records))
    if not given.keep and not given.table:
        output = given.output or given.records.parent / "report.html"
        write_report(output, records)
        print(output)


def read_records(path: Path) -> list[Record]:
    """Of a history, or of a file with a list of records."""
    return list(read_history(path)) if path.suffix == ".jsonl" else list(json.loads(path.read_text()))


def write_report(path: Path, records: Sequence[Record]) -> None:
    """The page of all records is at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(records), encoding="utf-8")


if __name__ == "__main__":
    main()
