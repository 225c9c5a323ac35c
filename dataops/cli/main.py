"""``dataops``: nouns, then verbs. Results on stdout, progress and messages on stderr, one exit code per family of
errors.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import click

from dataops import __version__
from dataops.cli import audit, dataset, demo, job, model, workspace
from dataops.cli.output import print_error
from dataops.errors import DataopsError

EXIT_CODES = """Exit codes: 0 done, 1 unexpected, 2 wrong input or usage, 3 not found, 4 exists, 5 conflict or
refused promotion, 6 contract broken, 7 access denied, 8 integrity, 9 unknown format, 10 storage, 11 cluster or task, 130 interrupted."""


class Main(click.Group):
    """The group that turns errors into messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        """The command's result; a DataopsError ends the process with its message and code, never with a traceback."""
        try:
            return super().invoke(ctx)
        except DataopsError as error:
            print_error(type(error).__name__, str(error), as_json="--json" in sys.argv)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            print_error("Interrupted", "stopped; `dataops job resume RUN` goes on with what is missing", as_json=False)
            ctx.exit(130)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001  # the last line of defence: its text may hold values
            print_error("Unexpected", f"{type(error).__name__} at {_place(error)}: a bug in dataops", as_json=False)
            ctx.exit(1)


def _place(error: BaseException) -> str:
    """File and line of the innermost frame of ours: where to look, without any value."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "dataops" in Path(frame.filename).parts]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


@click.group(
    cls=Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=EXIT_CODES
)
@click.version_option(__version__)
def main() -> None:
    """Governed data, parallel training, batch rescoring and promotion as one line, on Dask.

    \b
    First steps:
      dataops demo                    the whole line on real data, in ./demo
      dataops init DIR                a workspace for data of your own
      dataops job run FILE [NAME]     run a job of a job file
    """


for command in (demo.demo, workspace.init, workspace.keys, job.job, dataset.dataset, model.model, audit.audit):
    main.add_command(command)
