"""Training against what people use today: linear trainers (`logistic.py`), then boosting (`boosting.py`).

    python benchmarks/training.py            # both: an hour
    python benchmarks/training.py --quick    # a tenth of the rows, one turn each: minutes

Each is a benchmark of its own, with options and a record of its own; the last line is one JSON object for each.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

QUESTIONS = ("logistic", "boosting")


def main() -> None:
    """Runs them, one after another, with the options that were given."""
    here = Path(__file__).parent
    codes = [
        subprocess.run([sys.executable, here / f"{name}.py", *sys.argv[1:]], check=False).returncode
        for name in QUESTIONS
    ]
    sys.exit(max(map(abs, codes)))


if __name__ == "__main__":
    main()
