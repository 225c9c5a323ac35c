"""A question of two phases, as small as one can be; what `PLANTED` says is slept in one of them besides."""

from __future__ import annotations

import json
import os
import time

from history import arguments, data_of_files, write_record
from measuring import Spread, require, seconds

SECONDS = 0.2  # of each phase: slept, so that other work on the machine changes less than what counts as noise


def main() -> None:
    given = arguments(__doc__, "tiny", quick="fewer repeats").parse_args()
    repeats = 3 if given.quick else 5
    planted: dict[str, float] = json.loads(os.environ.get("PLANTED", "{}"))
    phases: dict[str, list[float]] = {"read": [], "sum": []}
    for _ in range(repeats):
        for name, found in phases.items():
            found.append(seconds(lambda name=name: time.sleep(SECONDS + planted.get(name, 0.0))))
    require(sum(range(10)) == 45, "the sum")
    record = {"question": "tiny", "quick": given.quick}
    ratios = {"read/sum": Spread.of([a / b for a, b in zip(phases["read"], phases["sum"], strict=True)])}
    write_record(given.record, record, ratios, phases=phases, data=data_of_files([__file__], 10), cluster=(1, 1))


if __name__ == "__main__":
    main()
