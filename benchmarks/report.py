"""What came out: a page with the history of every question, or the table of results in the README.

    python benchmarks/report.py                       # draws report.html beside the records
    python benchmarks/report.py --table               # the README's table, as Markdown
    python benchmarks/report.py --keep benchmarks/measured.json  # the records it is of in one file, for --records
    python benchmarks/report.py --into README.md      # the table of the kept records stands between README's markers

1. The page is one file that asks nobody: scripts are in it, and its content security policy forbids outside requests.
2. Records of other options or machines aren't drawn on one chart: they say nothing about each other.
3. Same records, same table: of the history, and of those that were kept of it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from history import HISTORY, read_history, record_folder
from report_page import page
from results_table import newest, table

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
KEPT = Path(__file__).parent / "measured.json"
Record = Mapping[str, Any]


def main() -> None:
    """Draws, or prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--records",
        type=Path,
        default=None,
        help="the history (default; with --into the kept ones), or a file of --keep",
    )
    parser.add_argument("--table", action="store_true", help="print the README's table")
    parser.add_argument("--keep", type=Path, help="write the record of each question that counts into this file")
    parser.add_argument("--into", type=Path, help="write the table between the markers of this file")
    parser.add_argument("--output", type=Path, default=None, help="the page; default: report.html beside the records")
    given = parser.parse_args()
    source = given.records or (KEPT if given.into and not given.keep else record_folder() / HISTORY)
    if not source.is_file() and source.suffix != ".jsonl":
        sys.exit(f"{source} isn't there: --keep writes such a file, --records names another")
    records = read_records(source)
    if given.keep:
        given.keep.write_text(json.dumps(list(newest(records).values()), indent=1) + "\n")
    if given.table:
        print(table(records))
    if given.into:
        given.into.write_text(with_table(given.into.read_text(encoding="utf-8"), records), encoding="utf-8")
    if not given.keep and not given.table and not given.into:
        output = given.output or source.parent / "report.html"
        write_report(output, records)
        print(output)


def with_table(text: str, records: Sequence[Record]) -> str:
    """The text with the table of the records between its markers.

    Raises
    ------
    SystemExit : it hasn't each marker once, the one behind the other.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or text.count(BEGIN) + text.count(END) != 2:
        sys.exit(f"the table stands between the lines {BEGIN} and {END}: each is needed once, in this order")
    return f"{before}{BEGIN}\n{table(records)}\n{END}{after}"


def read_records(path: Path) -> list[Record]:
    """Of a history, or of a file with a list of records."""
    return list(read_history(path)) if path.suffix == ".jsonl" else list(json.loads(path.read_text()))


def write_report(path: Path, records: Sequence[Record]) -> None:
    """The page of all records is at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(records), encoding="utf-8")


if __name__ == "__main__":
    main()
