"""``dataops``: nouns, then verbs. Results on stdout, progress and messages on stderr, one exit code per family of
errors, and never a traceback: a message says what happened, and what to do.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dataops.cli import (
    audit,
    bench,
    cluster,
    contract,
    dataset,
    demo,
    job,
    lineage,
    model,
    policy,
    quarantine,
    schedule,
    status,
    workspace,
)
from dataops.cli.output import print_error
from dataops.engine.collecting import collect_rarely
from dataops.errors import DataopsError, Storage
from dataops.scheduling.parent import end_with_parent
from dataops.version import VERSION

INTERRUPTED = 130
EXIT_CODES = f"""Exit codes: 0 done, 1 unexpected, 2 wrong input or usage, 3 not found, 4 exists, 5 conflict or
refused promotion, 6 contract broken, 7 access denied, 8 integrity, 9 unknown format, 10 storage, 11 cluster or task,
{INTERRUPTED} interrupted."""

_AS_JSON = "dataops.json"


class Main(click.Group):
    """The group that turns errors into messages and exit codes, also where it is a command of another program."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of one call; remembers whether it asks for JSON."""
        as_json = "--json" in args
        with _messages(as_json=as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[_AS_JSON] = as_json
        if parent is None:
            collect_rarely()
            end_with_parent()
        return context

    def invoke(self, ctx: click.Context) -> Any:
        """The command's result; what goes wrong ends the process with a message and its exit code."""
        with _messages(as_json=ctx.meta.get(_AS_JSON, False)):
            return super().invoke(ctx)


@contextmanager
def _messages(*, as_json: bool) -> Iterator[None]:
    """Errors become a message and an exit; click's own ways of ending pass through."""
    try:
        yield
    except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
        raise
    except click.ClickException as error:
        _end("Usage", _usage(error), error.exit_code, as_json=as_json)
    except DataopsError as error:
        message = _with_notes(str(error), error)
        _end(type(error).__name__, message, error.exit_code, as_json=as_json, may_pass=error.may_pass)
    except (KeyboardInterrupt, click.Abort) as error:
        _end("Interrupted", _with_notes("stopped", error), INTERRUPTED, as_json=as_json)
    except OSError as error:
        if error.errno == errno.EPIPE:  # whoever read our output has seen enough: click ends quietly
            raise
        message = _with_notes(f"{error.filename or 'the disk'}: {error.strerror or type(error).__name__}", error)
        _end(Storage.__name__, message, Storage.exit_code, as_json=as_json, may_pass=Storage.may_pass)
    except Exception as error:  # noqa: BLE001  # the last line of defence: its text may hold values
        message = f"{type(error).__name__} at {_place(error)}: a bug in dataops, please report it"
        _end("Unexpected", _with_notes(message, error), 1, as_json=as_json)


def _end(family: str, message: str, exit_code: int, *, as_json: bool, may_pass: bool = False) -> None:
    print_error(family, message, as_json=as_json, may_pass=may_pass)
    raise click.exceptions.Exit(exit_code) from None


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    message = _missing(error) if isinstance(error, click.MissingParameter) else error.format_message()
    if context is None:
        return message
    return f"{message}\n{context.get_usage()}\n`{context.command_path} -h` explains it."


def _missing(error: click.MissingParameter) -> str:
    """What is missing, in a line: click lists choices in several, with tabs."""
    wanted = error.param
    if wanted is None:
        return error.format_message()
    is_option = isinstance(wanted, click.Option)
    name = max(wanted.opts, key=len) if is_option else wanted.make_metavar(error.ctx or click.get_current_context())
    if not isinstance(wanted.type, click.Choice):
        return f"{name} is missing"
    *others, last = map(str, wanted.type.choices)
    return f"{name} is missing: {' or '.join([', '.join(others), last] if others else [last])}"


def _with_notes(message: str, error: BaseException) -> str:
    """`message` and what was noted on the error on its way here: how to go on."""
    return "\n".join([message, *getattr(error, "__notes__", ())])


def _place(error: BaseException) -> str:
    """File and line of the innermost frame of ours: where to look, without any value."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "dataops" in Path(frame.filename).parts]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


@click.group(
    name="dataops",  # what `dask dataops` is called by
    cls=Main,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=EXIT_CODES,
)
@click.version_option(VERSION)
def main() -> None:
    """Governed data, parallel training, batch rescoring and promotion as one line, on Dask.

    \b
    First steps:
      dataops demo                    the whole line on real data, in ./demo
      dataops init DIR                a workspace for data of your own
      dataops job run FILE [NAME]     run a job of a job file
    """


for command in (
    demo.demo,
    workspace.init,
    workspace.keys,
    job.job,
    dataset.dataset,
    contract.contract,
    model.model,
    policy.policy,
    quarantine.quarantine,
    audit.audit,
    lineage.lineage,
    schedule.schedule,
    status.status,
    cluster.cluster,
    bench.bench,
):
    main.add_command(command)

if __name__ == "__main__":
    sys.exit(main())
